"""The names that libxml2 has learned, and never forgets."""

from collections.abc import Callable, Iterator
from io import BytesIO
from threading import Thread
from typing import Any, Final

from lxml import etree

__all__ = ["SAMPLE", "Vocabulary"]

#: One document of so many is looked at.
SAMPLE: Final = 256
#: Octets that libxml2 may learn.
_ROOM: Final = 64 * 1_048_576
#: Octets that each name takes beside its own.
_ENTRY: Final = 50
#: White space between tags is kept as names are, where it is shorter than this.
_BLANK: Final = 60


class Vocabulary:
    """Bounds the memory that strangers can fill with names.

    libxml2 keeps every name of an element, an attribute, a namespace and a processing instruction
    in a dictionary, and lxml has one dictionary for each thread, for as long as that lives. Whoever
    may publish could so fill the memory with names that nobody uses twice.

    One document of ``SAMPLE`` is therefore read in a thread of its own, which takes its dictionary
    with it, and what is new in it counts as if it were in all of them; which one it will be cannot
    be foreseen. When there is no ``room`` left, every document is read so. That takes about 0.1 ms
    more for each, and is the same otherwise.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._known: set[str] = set()

    def takes(self, data: bytes) -> bool:
        """Whether a document may be read where its names stay."""
        return self._room > 0 and hash(data) % SAMPLE != 0

    def read(self, data: bytes, make: Callable[[], etree.XMLParser]) -> etree._Element | None:
        """Read a document where its names go again, with a parser that is made for it.

        Raises etree.XMLSyntaxError.
        """
        reading = _Reading(data, make, self._room > 0)
        thread = Thread(target=reading.run, name="simplestack XML")
        thread.start()
        thread.join()
        if self._room > 0:
            # Of what is not well-formed all may be names.
            new = None if reading.words is None else reading.words - self._known
            octets = len(data) if new is None else sum(len(word) + _ENTRY for word in new)
            self._room -= SAMPLE * octets
            self._known |= new or set()
        if reading.error is not None:
            raise reading.error
        return reading.root


class _Reading:
    """What the thread does, and what comes of it."""

    def __init__(self, data: bytes, make: Callable[[], etree.XMLParser], listen: bool) -> None:
        self._data = data
        self._make = make
        self._listen = listen
        self.words: set[str] | None = None
        self.root: etree._Element | None = None
        self.error: etree.XMLSyntaxError | None = None

    def run(self) -> None:
        """Parse; a parser that another thread has used would bring its dictionary."""
        try:
            self.root = etree.fromstring(self._data, self._make())
        except etree.XMLSyntaxError as error:
            self.error = error
        if self._listen:
            try:
                self.words = set(_words(self._data))
            except etree.XMLSyntaxError:
                self.words = None


def _words(data: bytes) -> Iterator[str]:
    """All that libxml2 learns from a document. Raises etree.XMLSyntaxError."""
    # What its stubs say of the events is not what they are.
    walk: Any = etree.iterparse(
        BytesIO(data),
        events=("start", "start-ns", "pi"),
        encoding="utf-8",
        no_network=True,
        resolve_entities=False,
        remove_comments=True,
    )
    for event, item in walk:
        if event == "start-ns":
            yield f"{item[0]}={item[1]}"
        elif event == "pi":
            yield item.target
        else:
            yield item.tag
            yield from item.attrib
    for node in walk.root.iter():
        for text in (node.text, node.tail):
            if text and len(text) < _BLANK and text.isspace():
                yield text
