"""What functions gave for the texts, and other values, that they were asked about last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["make_room", "remember", "remember_short", "share"]

K = TypeVar("K")
T = TypeVar("T")

#: The longest text in a header field that is kept, in characters.
_LONGEST_FIELD: Final = 512
#: The longest element of a document that is kept.
_LONGEST_ELEMENT: Final = 2000


class _Memory(dict[K, T]):
    """What a function gave for the keys that it was asked about last."""

    __slots__ = (
        "_before",
        "_gone",
        "_least",
        "_length",
        "_longest",
        "_parse",
        "_size",
        "_users_texts",
    )

    def __init__(
        self,
        parse: Callable[[K], T],
        size: int,
        each: int,
        length: Callable[[K], int],
        longest: int,
    ) -> None:
        self._parse = parse
        self._size = self._least = size
        self._users_texts = each
        self._length = length
        self._longest = longest
        #: What this memory held before it was full, where texts in use are found again.
        self._before: dict[K, T] = {}
        #: What of very many users has had its turn is let go one by one, as others come: all at once
        #: it would hold up whoever waits.
        self._gone: dict[K, T] = {}

    def __missing__(self, key: K) -> T:
        if self._length(key) > self._longest:
            return self._parse(key)
        value = self._before.get(key)
        if value is None:
            value = self._parse(key)
        if self._gone:
            self._gone.popitem()
        if len(self) >= self._size:
            if self._users_texts:
                self._gone = self._before
            self._before = self.copy()
            self.clear()
        self[key] = value
        return value

    def make_room(self, users: int) -> None:
        """Keep what so many users say all the time."""
        self._size = max(self._least, self._users_texts * users)


#: Those that keep more where there are more users.
_OF_USERS: Final[list[_Memory[str, Any]]] = []


def make_room(users: int) -> None:
    """Keep the addresses of so many users, where that is more than is kept anyhow."""
    for memory in _OF_USERS:
        memory.make_room(users)


def remember(size: int, each: int = 0) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Keep up to twice `size` results of a function of one text, those used last.

    `each` is how many texts a user has that he says again and again: after `make_room` so many
    are kept for each user, where that is more. What such a memory forgets goes one by one.

    Texts over 512 characters are not kept, so that strangers can't fill the memory with
    long ones. What is known is found without a call of Python code: header fields repeat so
    often that this is most of what reading them costs.
    """

    def decorate(parse: Callable[[str], T]) -> Callable[[str], T]:
        memory = _Memory(parse, size, each, len, _LONGEST_FIELD)
        if each:
            _OF_USERS.append(memory)
        return memory.__getitem__

    return decorate


@remember(16_384, each=2)
def share(text: str) -> str:
    """The text itself; the same object for all who say it, so that it is in memory once.

    Strangers choose such texts, so they are not interned: some versions of Python keep for ever
    what is.
    """
    return text


def remember_short(
    size: int, length: Callable[[K], int]
) -> Callable[[Callable[[K], T]], Callable[[K], T]]:
    """Keep up to twice `size` results of a function of what users write in documents.

    `length` says how many characters a value holds.  One with over 2,000 is read again each time,
    so that nobody fills the memory with long ones, which lived on when nobody has them any more.
    Whatever is kept is found without a call of Python code.
    """

    def decorate(read: Callable[[K], T]) -> Callable[[K], T]:
        return _Memory(read, size, 0, length, _LONGEST_ELEMENT).__getitem__

    return decorate
