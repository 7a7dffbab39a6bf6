"""Node selectors and the namespace bindings of their prefixes (RFC 4825 §6.3, §6.4)."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from simplestack.documents import namespaces as ns
from simplestack.sip.errors import SIPError
from simplestack.xcap.markup import unescape
from simplestack.xcap.selectors import decode

__all__ = ["Name", "NodeSelector", "Step", "parse", "parse_bindings"]

_NCNAME: Final = r"[^\W\d][\w.\-\u00b7]*+"
_QNAME: Final = rf"(?>(?:{_NCNAME}:)?){_NCNAME}"
_STEP: Final = re.compile(
    rf"""(\*|{_QNAME})(?>(?:\[([0-9]++)\])?)(?>(?:\[@({_QNAME})=("[^"]*+"|'[^']*+')\])?)\Z"""
)
_ATTRIBUTE: Final = re.compile(rf"@({_QNAME})\Z")
#: What is meant as a step or an attribute of RFC 4825 and not as somebody's extension of it.
_MEANT: Final = re.compile(rf"@|\[|(?:\*|{_QNAME})(?:\[|\Z)|\Z")
_NAMESPACES: Final = "namespace::*"
_BINDING: Final = re.compile(rf"[ \t]*+({_NCNAME})[ \t]*+=[ \t]*+(.*)\Z", re.DOTALL)
_SCHEME: Final = re.compile(rf"[ \t\r\n]*+({_QNAME})\(")

#: Positions beyond this match nothing; no document has as many elements.
_FAR: Final = 10


class Name(NamedTuple):
    """An expanded name."""

    namespace: str
    local: str


class Step(NamedTuple):
    """One step of an element selector: what an element must be to be chosen."""

    #: None for the wildcard.
    name: Name | None
    position: int | None = None
    #: The attribute that it must have, and the value.
    attribute: Name | None = None
    value: str = ""


class NodeSelector(NamedTuple):
    """A parsed node selector: of an element, of its attribute, or of its namespace bindings."""

    steps: tuple[Step, ...]
    #: The attribute, where it is one.
    attribute: Name | None = None
    #: The prefix by which the URI names the attribute.
    prefix: str = ""
    #: Whether the namespace bindings of the element are selected.
    namespaces: bool = False


@lru_cache(maxsize=4096)
def parse(node: tuple[bytes, ...], query: bytes, default: str) -> NodeSelector:
    """Read a node selector, split and still percent-encoded.

    ``default`` is the default document namespace of the usage.  Raises SIPError 400 where it is
    bad or a prefix is not bound, 404 for an extension selector, which none is understood of (§8).
    """
    bindings = parse_bindings(query)
    texts = [decode(each, "the node selector") for each in node]
    attribute: Name | None = None
    prefix = ""
    namespaces = texts[-1] == _NAMESPACES if texts else False
    if namespaces:
        texts.pop()
    elif texts and texts[-1].startswith("@"):
        found = _ATTRIBUTE.match(texts[-1])
        if found is None:
            raise _bad(texts[-1])
        attribute = _attribute(found[1], bindings)
        prefix = found[1].rpartition(":")[0]
        texts.pop()
    if not texts:
        raise SIPError(400, text="the node selector names no element")
    steps = tuple([_step(each, bindings, default) for each in texts])
    return NodeSelector(steps, attribute, prefix, namespaces)


def _step(text: str, bindings: Mapping[str, str], default: str) -> Step:
    found = _STEP.match(text)
    if found is None:
        if _MEANT.match(text):
            raise _bad(text)
        raise SIPError(404, text=f"{text[:80]!r} is no selector that is known here")
    name, digits, attribute, value = found.groups()
    position = None
    if digits is not None:
        digits = digits.lstrip("0")
        position = int(digits or "0") if len(digits) <= _FAR else 10**_FAR
    return Step(
        None if name == "*" else _expand(name, bindings, default),
        position,
        None if attribute is None else _attribute(attribute, bindings),
        "" if value is None else unescape(value[1:-1]),
    )


def _attribute(text: str, bindings: Mapping[str, str]) -> Name:
    # "An unprefixed attribute QName is in no namespace."
    return _expand(text, bindings, "")


def _expand(text: str, bindings: Mapping[str, str], default: str) -> Name:
    prefix, _, local = text.rpartition(":")
    if not prefix:
        return Name(default, local)
    if prefix == "xml":
        return Name(ns.XML, local)
    namespace = bindings.get(prefix)
    if namespace is None:
        raise SIPError(
            400, text=f"the query of the URI binds no prefix {prefix!r}: xmlns({prefix}=…)"
        )
    return Name(namespace, local)


@lru_cache(maxsize=1024)
def parse_bindings(query: bytes) -> Mapping[str, str]:
    """The prefixes that the query binds with xmlns() (RFC 4825 §6.4).

    Expressions of other XPointer schemes are ignored.  Raises SIPError 400.
    """
    text = decode(query, "the query")
    bindings: dict[str, str] = {}
    position = 0
    while text[position:].strip(" \t\r\n"):
        found = _SCHEME.match(text, position)
        if found is None:
            raise SIPError(
                400, text="the query of the URI is not a list of xmlns(prefix=namespace)"
            )
        data, position = _data(text, found.end())
        if found[1] == "xmlns":
            binding = _BINDING.match(data)
            if binding is None:
                raise SIPError(400, text=f"xmlns({data[:80]}) is not xmlns(prefix=namespace)")
            if binding[1] not in ("xml", "xmlns"):
                bindings[binding[1]] = binding[2]
    return bindings


def _data(text: str, position: int) -> tuple[str, int]:
    """The data of an XPointer scheme up to its balanced parenthesis, ^ being the escape."""
    depth, data = 1, []
    while position < len(text):
        character = text[position]
        position += 1
        if character == "^":
            if text[position : position + 1] not in ("^", "(", ")"):
                break
            data.append(text[position])
            position += 1
            continue
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if not depth:
                return "".join(data), position
        data.append(character)
    raise SIPError(400, text="a parenthesis in the query of the URI is not closed")


def _bad(text: str) -> SIPError:
    return SIPError(400, text=f"{text[:80]!r} is not a step of a node selector")
