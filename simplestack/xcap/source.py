"""Where each element of a document stands in its octets, so that an edit touches no others."""

import re
from bisect import bisect_right
from typing import Final, NamedTuple

from simplestack.documents import namespaces as ns
from simplestack.xcap.markup import normalize
from simplestack.xcap.nodes import Name, Step

__all__ = ["Attribute", "Element", "Source", "scan", "select", "select_below", "spliced"]

# Of a well-formed document: "<" begins markup and nothing else.  The group is there for a start
# tag alone.
_MARKUP: Final = re.compile(
    rb"""<(?:/[^>]*+>|([^\s/>!?]++)[^"'>]*+(?>(?:(?:"[^"]*+"|'[^']*+')[^>"']*+)*)>"""
    rb"""|!--.*?-->|\?.*?\?>|!\[CDATA\[.*?\]\]>)""",
    re.DOTALL,
)
_ATTRIBUTE: Final = re.compile(rb"""\s([^\s=/>]++)\s*+=\s*+("[^"]*+"|'[^']*+')""")
_SLASH: Final = ord("/")

#: The last so many documents up to this size are not scanned again.
_SOURCES: Final = 32
_REMEMBERED: Final = 65_536


class Source:
    """The places of all elements of a document, by their number in document order."""

    __slots__ = ("after", "closes", "data", "ends", "names", "opens", "starts")

    def __init__(self, data: bytes) -> None:
        self.data = data
        #: Names as written.
        self.names: list[bytes] = []
        self.starts: list[int] = []
        #: After the start tag.
        self.opens: list[int] = []
        #: Before the end tag; after the start tag where there is no end tag.
        self.closes: list[int] = []
        self.ends: list[int] = []
        #: The number of the first element after all that an element contains.
        self.after: list[int] = []

    def element(self, number: int, parent: "Element | None") -> "Element":
        """The element of a number."""
        return Element(
            self,
            number,
            parent,
            self.names[number],
            self.starts[number],
            self.opens[number],
            self.closes[number],
            self.ends[number],
        )


class Attribute(NamedTuple):
    """An attribute as written, with its place in the document."""

    name: bytes
    #: From the white space before the name …
    start: int
    #: … the opening quote …
    value_start: int
    #: … to after the closing one.
    end: int
    value: str


class Element:
    """An element with its place: offsets into the document.

    ``name`` is as written, with its prefix; ``open`` is after the start tag, ``close`` before the
    end tag, or as ``open`` where there is none.
    """

    __slots__ = (
        "_attributes",
        "_declared",
        "close",
        "end",
        "name",
        "number",
        "open",
        "parent",
        "source",
        "start",
    )

    def __init__(
        self,
        source: Source,
        number: int,
        parent: "Element | None",
        name: bytes,
        start: int,
        open_: int,
        close: int,
        end: int,
    ) -> None:
        self.source = source
        self.number = number
        self.parent = parent
        self.name = name
        self.start = start
        self.open = open_
        self.close = close
        self.end = end
        self._attributes: list[Attribute] | None = None
        self._declared: dict[str, str] | None = None

    @property
    def empty(self) -> bool:
        """Whether it is written as an empty-element tag."""
        return self.open == self.end

    @property
    def octets(self) -> bytes:
        """The element as written."""
        return self.source.data[self.start : self.end]

    @property
    def children(self) -> list["Element"]:
        """The child elements, in order."""
        source = self.source
        after, element = source.after, source.element
        found = []
        number, end = self.number + 1, after[self.number]
        while number < end:
            found.append(element(number, self))
            number = after[number]
        return found

    def _children_saying(self, literal: bytes) -> list["Element"]:
        """The child elements in which these octets stand, and perhaps others.

        All where something is written with references.
        """
        source, data = self.source, self.source.data
        place, close = self.open, self.close
        if data.find(b"&", place, close) >= 0:
            return self.children
        place = data.find(literal, place, close)
        if place < 0:
            return []
        after = source.after
        numbers = []
        number, end = self.number + 1, after[self.number]
        while number < end:
            numbers.append(number)
            number = after[number]
        starts = [source.starts[each] for each in numbers]
        found: list[Element] = []
        while place >= 0:
            index = bisect_right(starts, place)
            if index:
                found.append(source.element(numbers[index - 1], self))
            if index == len(numbers):
                break
            place = data.find(literal, starts[index], close)
        return found

    @property
    def attributes(self) -> list[Attribute]:
        """The attributes, without namespace declarations, in order."""
        if self._attributes is None:
            self._read()
        assert self._attributes is not None
        return self._attributes

    @property
    def declared(self) -> dict[str, str]:
        """The namespaces that the start tag declares, by prefix; "" is the default."""
        if self._declared is None:
            if not self.says(b"xmlns"):
                self._declared = {}
            else:
                self._read()
        assert self._declared is not None
        return self._declared

    def says(self, text: bytes) -> bool:
        """Whether these octets stand in the start tag."""
        return self.source.data.find(text, self.start, self.open) >= 0

    def _read(self) -> None:
        attributes: list[Attribute] = []
        declared: dict[str, str] = {}
        place = self.start + 1 + len(self.name)
        for found in _ATTRIBUTE.finditer(self.source.data, place, self.open):
            name = found[1]
            value = normalize(found[2][1:-1].decode())
            if name == b"xmlns":
                declared[""] = value
            elif name.startswith(b"xmlns:"):
                declared[name[6:].decode()] = value
            else:
                attributes.append(
                    Attribute(name, found.start(), found.start(2), found.end(), value)
                )
        self._attributes, self._declared = attributes, declared

    def namespace(self, prefix: str) -> str | None:
        """The namespace that a prefix stands for here, None where it is not declared."""
        if prefix == "xml":
            return ns.XML
        element: Element | None = self
        while element is not None:
            found = element.declared.get(prefix)
            if found is not None:
                return found
            element = element.parent
        return "" if not prefix else None

    def scope(self) -> dict[str, str]:
        """All namespaces in scope, by prefix, but that of ``xml``."""
        scope: dict[str, str] = {}
        element: Element | None = self
        while element is not None:
            for prefix, namespace in element.declared.items():
                scope.setdefault(prefix, namespace)
            element = element.parent
        return {prefix: namespace for prefix, namespace in scope.items() if namespace}

    def is_named(self, name: Name) -> bool:
        """Whether this is its expanded name."""
        prefix, _, local = self.name.rpartition(b":")
        return local.decode() == name.local and self.namespace(prefix.decode()) == name.namespace

    def attribute(self, name: Name) -> Attribute | None:
        """The attribute of an expanded name."""
        for attribute in self.attributes:
            prefix, _, local = attribute.name.rpartition(b":")
            if local.decode() == name.local:
                namespace = self.namespace(prefix.decode()) if prefix else ""
                if namespace == name.namespace:
                    return attribute
        return None

    def __repr__(self) -> str:
        return f"<Element {self.name!r} {self.start}:{self.end}>"


def scan(data: bytes) -> Element:
    """Find the elements of a well-formed document; the root is returned.

    The octets must have passed the XML parser.
    """
    source = _remembered.get(data)
    if source is None:
        source = _scan(data)
        _remember(source)
    return source.element(0, None)


def spliced(
    source: Source,
    data: bytes,
    place: int,
    first: int,
    last: int,
    fragment: Source | None,
    parent: Element,
) -> None:
    """Remember the places in ``data``, which came of the document by an edit of elements.

    At ``place`` the children of ``parent`` numbered from ``first`` up to ``last``, with all that they
    contain, gave way to those of the fragment.  Reckoning is several times quicker than scanning
    again for the next edit.
    """
    new = Source(data)
    grown = len(data) - len(source.data)
    fragment = Source(b"") if fragment is None else fragment
    more = len(fragment.starts) - (last - first)
    new.names = source.names[:first] + fragment.names + source.names[last:]
    for mine, old, theirs in (
        (new.starts, source.starts, fragment.starts),
        (new.opens, source.opens, fragment.opens),
        (new.closes, source.closes, fragment.closes),
        (new.ends, source.ends, fragment.ends),
    ):
        mine += old[:first]
        mine += [place + each for each in theirs]
        mine += [grown + each for each in old[last:]] if grown else old[last:]
    new.after += source.after[:first]
    new.after += [first + each for each in fragment.after]
    new.after += [more + each for each in source.after[last:]] if more else source.after[last:]
    # Of the elements that begin before, those around the place end later, and no others.
    around: Element | None = parent
    while around is not None:
        new.closes[around.number] += grown
        new.ends[around.number] += grown
        new.after[around.number] += more
        around = around.parent
    _remember(new)


_remembered: Final[dict[bytes, Source]] = {}


def _remember(source: Source) -> None:
    if len(source.data) <= _REMEMBERED:
        if len(_remembered) >= _SOURCES:
            del _remembered[next(iter(_remembered))]
        _remembered[source.data] = source


def _scan(data: bytes) -> Source:
    source = Source(data)
    names, starts, opens = source.names, source.starts, source.opens
    closes, ends, after = source.closes, source.ends, source.after
    enclosing: list[int] = []
    for found in _MARKUP.finditer(data):
        start, end = found.span()
        name = found[1]
        if name is not None:
            names.append(name)
            starts.append(start)
            opens.append(end)
            closes.append(end)
            ends.append(end)
            if data[end - 2] == _SLASH:
                after.append(len(starts))
            else:
                enclosing.append(len(after))
                after.append(0)
        elif data[start + 1] == _SLASH:
            number = enclosing.pop()
            closes[number] = start
            ends[number] = end
            after[number] = len(starts)
    return source


def select(candidates: list[Element], step: Step) -> list[Element]:
    """Those of the children of one parent that a step selects (RFC 4825 §6.3)."""
    name = step.name
    if step.position is None:
        # Without a position the order of the tests is all the same; this one is quick.
        if step.attribute is not None:
            candidates = _having(candidates, step.attribute, step.value)
        return candidates if name is None else _named(candidates, name)
    found = candidates if name is None else _named(candidates, name)
    found = found[step.position - 1 : step.position] if step.position else []
    return found if step.attribute is None else _having(found, step.attribute, step.value)


def select_below(parent: Element, step: Step) -> list[Element]:
    """Those of the children of an element that a step selects.

    Of many children few are looked at where the step says what stands in the one.
    """
    value = step.value
    if step.position is None and step.attribute is not None and value and " " not in value:
        return select(parent._children_saying(value.encode()), step)
    return select(parent.children, step)


def _having(candidates: list[Element], name: Name, value: str) -> list[Element]:
    if len(candidates) > 1 and " " not in value:
        candidates = _saying(candidates, value.encode())
    found = []
    for each in candidates:
        attribute = each.attribute(name)
        if attribute is not None and attribute.value == value:
            found.append(each)
    return found


def _saying(candidates: list[Element], literal: bytes) -> list[Element]:
    """Those in which the value stands as it is, where none is written with references."""
    data = candidates[0].source.data
    place, end = candidates[0].start, candidates[-1].end
    if not literal or data.find(b"&", place, end) >= 0:
        return candidates
    starts = [each.start for each in candidates]
    found: list[Element] = []
    while (place := data.find(literal, place, end)) >= 0:
        number = bisect_right(starts, place)
        found.append(candidates[number - 1])
        if number == len(starts):
            break
        place = starts[number]
    return found


def _named(candidates: list[Element], name: Name) -> list[Element]:
    local = name.local.encode()
    known: dict[bytes, bool] = {}
    found = []
    for each in candidates:
        if not each.name.endswith(local):
            continue
        if each.says(b"xmlns"):
            is_named = each.is_named(name)
        else:
            # Siblings without declarations of their own are in one scope.
            maybe = known.get(each.name)
            is_named = known[each.name] = each.is_named(name) if maybe is None else maybe
        if is_named:
            found.append(each)
    return found
