"""Where each element of a document stands in its octets, so that an edit touches no others."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from simplestack.documents import namespaces as ns
from simplestack.xcap.markup import normalize
from simplestack.xcap.nodes import Name, Step

__all__ = ["Attribute", "Element", "scan", "select"]

# Of a well-formed document: "<" begins markup and nothing else.  The group is there for a start
# tag alone.
_MARKUP: Final = re.compile(
    rb"""<(?:/[^>]*+>|([^\s/>!?]++)[^"'>]*+(?:(?:"[^"]*+"|'[^']*+')[^>"']*+)*+>"""
    rb"""|!--.*?-->|\?.*?\?>|!\[CDATA\[.*?\]\]>)""",
    re.DOTALL,
)
_SLASH: Final = ord("/")
_ATTRIBUTE: Final = re.compile(rb"""\s([^\s=/>]++)\s*+=\s*+("[^"]*+"|'[^']*+')""")

#: Documents up to this size are scanned once as long as they are in use.
_REMEMBERED: Final = 65_536


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
    """An element with its place: offsets into the document."""

    __slots__ = (
        "_attributes",
        "_declared",
        "children",
        "close",
        "data",
        "end",
        "name",
        "open",
        "parent",
        "start",
    )

    def __init__(
        self, data: bytes, name: bytes, parent: "Element | None", start: int, open_: int
    ) -> None:
        self.data = data
        #: As written, with its prefix.
        self.name = name
        self.parent = parent
        self.children: list[Element] = []
        self.start = start
        #: After the start tag.
        self.open = open_
        #: Before the end tag; as ``open`` and ``end`` where there is none.
        self.close = open_
        self.end = open_
        self._attributes: list[Attribute] | None = None
        self._declared: dict[str, str] | None = None

    @property
    def empty(self) -> bool:
        """Whether it is written as an empty-element tag."""
        return self.open == self.end

    @property
    def octets(self) -> bytes:
        """The element as written."""
        return self.data[self.start : self.end]

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
            if b"xmlns" not in self.data[self.start : self.open]:
                self._declared = {}
            else:
                self._read()
        assert self._declared is not None
        return self._declared

    def _read(self) -> None:
        attributes: list[Attribute] = []
        declared: dict[str, str] = {}
        for found in _ATTRIBUTE.finditer(self.data, self.start + 1 + len(self.name), self.open):
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

    def __iter__(self) -> Iterator["Element"]:
        return iter(self.children)

    def __repr__(self) -> str:
        return f"<Element {self.name!r} {self.start}:{self.end}>"


def scan(data: bytes) -> Element:
    """Find the elements of a well-formed document; the root is returned.

    The octets must have passed the XML parser.
    """
    return _remembered(data) if len(data) <= _REMEMBERED else _scan(data)


def _scan(data: bytes) -> Element:
    root: Element | None = None
    here: Element | None = None
    for found in _MARKUP.finditer(data):
        name = found[1]
        start, end = found.span()
        if name is not None:
            element = Element(data, name, here, start, end)
            if here is not None:
                here.children.append(element)
            else:
                root = element
            if data[end - 2] != _SLASH:
                here = element
        elif data[start + 1] == _SLASH and here is not None:
            here.close = start
            here.end = end
            here = here.parent
    assert root is not None
    return root


_remembered = lru_cache(maxsize=32)(_scan)


def select(candidates: list[Element], step: Step) -> list[Element]:
    """Those of the children of one parent that a step selects (RFC 4825 §6.3)."""
    name = step.name
    found = candidates if name is None else _named(candidates, name)
    if step.position is not None:
        found = found[step.position - 1 : step.position] if step.position else []
    attribute = step.attribute
    if attribute is None:
        return found
    literal = step.value.encode()
    matching = []
    for each in found:
        data = each.data
        # Only a value with a reference or white space may be written otherwise than it is.
        if (
            data.find(literal, each.start, each.open) >= 0
            or data.find(b"&", each.start, each.open) >= 0
            or b" " in literal
        ):
            has = each.attribute(attribute)
            if has is not None and has.value == step.value:
                matching.append(each)
    return matching


def _named(candidates: list[Element], name: Name) -> list[Element]:
    local = name.local.encode()
    known: dict[bytes, bool] = {}
    found = []
    for each in candidates:
        if not each.name.endswith(local):
            continue
        if each.data.find(b"xmlns", each.start, each.open) >= 0:
            is_named = each.is_named(name)
        else:
            # Siblings without declarations of their own are in one scope.
            maybe = known.get(each.name)
            is_named = known[each.name] = each.is_named(name) if maybe is None else maybe
        if is_named:
            found.append(each)
    return found
