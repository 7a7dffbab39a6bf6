"""Extension elements, carried verbatim from one document into another."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.markup import attribute, text
from simplestack.documents.xml import parse_content

# The prefixes that our documents declare on their root where they are used.
PREFIXES: Final[Mapping[str, str]] = {
    ns.DATA_MODEL: "dm",
    ns.RPID: "rpid",
    ns.CIPID: "c",
    ns.CAPS: "caps",
    ns.TIMED_STATUS: "ts",
    ns.PIDF: "pidf",
    ns.GRUUINFO: "gr",
    ns.COMMON_POLICY: "cp",
    ns.PRES_RULES: "pr",
}
_RESERVED: Final = frozenset(PREFIXES.values())
_QUALIFIED: Final = re.compile(r"\s*([A-Za-z_][\w.-]*):[A-Za-z_][\w.-]*\s*")
_NO_SCOPE: Final[dict[str, str]] = {}


class Element(NamedTuple):
    """One element with all it contains, as a value.

    ``name`` is ``{namespace}local``; ``xml`` its text, in which the prefixes
    of :data:`PREFIXES` are taken as declared outside and every other one is
    declared inside. Two elements of the same meaning that were written with
    other prefixes for these namespaces or other indentation are equal.
    """

    name: str
    xml: str

    @property
    def namespace(self) -> str:
        """The namespace, empty for none."""
        return self.name[1:].partition("}")[0] if self.name.startswith("{") else ""

    @property
    def local(self) -> str:
        """The name without its namespace."""
        return self.name.rpartition("}")[2]

    def standalone(self) -> bytes:
        """The element as a document of its own, with every prefix declared."""
        end = len(self.xml) - 1
        for position, character in enumerate(self.xml):
            if character in " />" and position:
                end = position
                break
        return f"{self.xml[:end]}{declarations(self.xml)}{self.xml[end:]}".encode()

    def tree(self) -> etree._Element:
        """Parse the element, to look inside it or to change it."""
        return parse_content(self.standalone())


#: How a prefix looks, at the begin of a tag and of an attribute, and how it is declared.
_MARKS: Final = [
    (f"{prefix}:", f"<{prefix}:", f" {prefix}:", f' xmlns:{prefix}="{namespace}"')
    for namespace, prefix in PREFIXES.items()
]


def length(each: Element) -> int:
    """How many characters an element holds."""
    return len(each.xml)


def declarations(body: str) -> str:
    """Write the namespace declarations that a root around ``body`` needs."""
    found = ""
    for prefix, tag, attr, declaration in _MARKS:
        # A false alarm (" c:" in some text) declares a prefix too many.
        if prefix in body and (tag in body or attr in body):
            found += declaration
    return found


def read(node: etree._Element) -> Element:
    """Take an element out of a parsed tree."""
    return Element(node.tag, _write(node, _NO_SCOPE))


def element(
    namespace: str,
    local: str,
    content: str | Iterable[Element] = "",
    attributes: Iterable[tuple[str, str]] = (),
) -> Element:
    """Build an element of one of the namespaces in :data:`PREFIXES`.

    ``content`` is its text or its child elements; attributes have no namespace.
    """
    inner = text(content) if isinstance(content, str) else "".join(e.xml for e in content)
    start = f"{PREFIXES[namespace]}:{local}"
    head = start + "".join(f' {name}="{attribute(value)}"' for name, value in attributes)
    return Element(
        f"{{{namespace}}}{local}", f"<{head}>{inner}</{start}>" if inner else f"<{head}/>"
    )


def _qualified(name: str) -> str | None:
    """Give ``prefix:local`` for a name of a namespace in :data:`PREFIXES`."""
    # Names are chosen by strangers: long ones must not fill the cache.
    return _qualified_short(name) if len(name) < 100 else _qualify(name)


def _qualify(name: str) -> str | None:
    namespace, _, local = name[1:].partition("}")
    prefix = PREFIXES.get(namespace)
    return f"{prefix}:{local}" if prefix else None


_qualified_short: Final = lru_cache(maxsize=1024)(_qualify)


def _write(node: etree._Element, scope: dict[str, str]) -> str:
    """Write an element within ``scope``, the foreign namespaces declared around it."""
    tag: str = node.tag
    name = _qualified(tag)
    ours = name is not None
    if name is None:
        unstubbed: Any = node  # whose stub says that each has a prefix
        name, declared, scope = _foreign(tag, unstubbed.prefix, scope)
    else:
        declared = ""
    if node.attrib:
        for key, value in _attributes(node):
            written, more, scope = _attribute_name(key, scope)
            declared += f'{more} {written}="{attribute(value)}"'
            if ":" in value:
                more, scope = _content_prefix(node, value, scope)
                declared += more
    content: str = node.text or ""
    if len(node):
        # White space between the elements of a known namespace is layout
        # only; inside a foreign element it may be content, and stays.
        inner = "" if ours and content.isspace() else text(content)
        for child in node:
            inner += _write(child, scope)
            tail = child.tail
            if tail and not (ours and tail.isspace()):
                inner += text(tail)
    elif content:
        if ":" in content:
            more, scope = _content_prefix(node, content, scope)
            declared += more
        inner = text(content)
    else:
        return f"<{name}{declared}/>"
    return f"<{name}{declared}>{inner}</{name}>"


def _attributes(node: etree._Element) -> list[tuple[str, str]]:
    return cast("list[tuple[str, str]]", node.items())


def _foreign(
    tag: str, prefix: str | None, scope: dict[str, str]
) -> tuple[str, str, dict[str, str]]:
    """Name an element of a namespace that is not ours, and declare that where needed."""
    if tag[0] != "{":
        return tag, "" if "" in scope else ' xmlns=""', {**scope, "": ""}
    namespace, _, local = tag[1:].partition("}")
    known = scope.get(namespace)
    if known is not None:
        return f"{known}:{local}", "", scope
    chosen = _free_prefix(prefix, scope)
    declaration = f' xmlns:{chosen}="{attribute(namespace)}"'
    return f"{chosen}:{local}", declaration, {**scope, namespace: chosen}


def _attribute_name(key: str, scope: dict[str, str]) -> tuple[str, str, dict[str, str]]:
    if key[0] != "{":
        return key, "", scope
    namespace, _, local = key[1:].partition("}")
    if namespace == ns.XML:
        return f"xml:{local}", "", scope
    name = _qualified(key)
    if name is not None:
        return name, "", scope
    return _foreign(key, None, scope)


def _content_prefix(
    node: etree._Element, value: str, scope: dict[str, str]
) -> tuple[str, dict[str, str]]:
    """Keep the prefix of a qualified name that stands in content, as in ``xsi:type="a:b"``."""
    found = _QUALIFIED.fullmatch(value)
    if found is None:
        return "", scope
    prefix = found[1]
    namespace = node.nsmap.get(prefix)
    if namespace is None or prefix in _RESERVED or prefix in scope.values():
        return "", scope
    return f' xmlns:{prefix}="{attribute(namespace)}"', {**scope, namespace: prefix}


def _free_prefix(wanted: str | None, scope: dict[str, str]) -> str:
    taken = scope.values()
    if wanted and wanted not in _RESERVED and wanted not in taken:
        return wanted
    number = 1
    while f"ns{number}" in taken:
        number += 1
    return f"ns{number}"
