"""The one XML parser: UTF-8 only, no DTD, no entities, no network, bounded."""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents.errors import DocumentError, XMLError
from simplestack.documents.vocabulary import Vocabulary


class Limits(NamedTuple):
    """How large a document may be: octets in all, levels of elements, tags opened."""

    octets: int = 1_048_576
    depth: int = 64
    nodes: int = 50_000


DEFAULT: Final = Limits()


def _parser(*, content_only: bool, recover: bool = False) -> etree.XMLParser:
    # The encoding is given, so that a declaration cannot choose another one.
    # IDs are not collected: without a DTD there are none, and the table costs.
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        no_network=True,
        huge_tree=False,
        recover=recover,
        collect_ids=False,
        strip_cdata=content_only,
        remove_comments=content_only,
        remove_pis=content_only,
    )


def _make_faithful() -> etree.XMLParser:
    return _parser(content_only=False)


def _make_content() -> etree.XMLParser:
    return _parser(content_only=True)


def _make_fragment() -> etree.XMLParser:
    return _parser(content_only=True, recover=True)


_FAITHFUL: Final = _make_faithful()
_CONTENT: Final = _make_content()
_FRAGMENT: Final = _make_fragment()

_VOCABULARY: Final = Vocabulary()

_ENCODINGS: Final = (b"utf-8", b"utf8", b"us-ascii", b"ascii")


def parse(data: bytes, *, limits: Limits = DEFAULT) -> etree._Element:
    """Parse a document and keep comments, processing instructions and CDATA.

    :raises XMLError: for anything that is not a well-formed XML 1.0 document
        in UTF-8 without a document type declaration, within the limits.
    """
    return _parse(data, _FAITHFUL, _make_faithful, limits)


def parse_content(data: bytes, *, limits: Limits = DEFAULT) -> etree._Element:
    """Parse a document of which only elements, attributes and text matter.

    Comments and processing instructions are left out of the tree.

    :raises XMLError: as :func:`parse` does.
    """
    return _parse(data, _CONTENT, _make_content, limits)


def parse_fragment(data: bytes) -> etree._Element | None:
    """Read an element with prefixes that nothing but the document around it declares.

    Names with such a prefix come as they are written.  Of what is not well-formed anything may
    come, or None.
    """
    position = data.find(b"<!DOCTYPE")
    if position >= 0 and _in_prolog(data, position):
        return None
    try:
        root: etree._Element | None
        if _VOCABULARY.takes(data):
            root = etree.fromstring(data, _FRAGMENT)
        else:
            root = _VOCABULARY.read(data, _make_fragment)
    except etree.XMLSyntaxError:
        return None
    return root


def serialize(root: etree._Element) -> bytes:
    """Write a tree as a document: UTF-8 with its declaration."""
    return etree.tostring(root, encoding="UTF-8", xml_declaration=True)


def line_of(node: etree._Element) -> int | None:
    """Give the line an element begins in, None for one that was not parsed."""
    line: object = node.sourceline
    return line if isinstance(line, int) else None


def required(node: etree._Element, name: str) -> str:
    """Give an attribute without white space around it.

    :raises DocumentError: if it is missing or empty.
    """
    value = node.get(name, "").strip()
    if not value:
        line = line_of(node)
        raise DocumentError(f'<{local_name(node)}> in line {line} has no "{name}"', line)
    return value


def given(node: etree._Element, name: str) -> str:
    """Give an attribute without white space around it, which may be empty, as schemas let it be.

    :raises DocumentError: if it is missing.
    """
    value = node.get(name)
    return required(node, name) if value is None else value.strip()


def local_name(node: etree._Element) -> str:
    """Give the name of an element without its namespace."""
    return str(node.tag).rpartition("}")[2]


def _parse(
    data: bytes,
    parser: etree.XMLParser,
    make: Callable[[], etree.XMLParser],
    limits: Limits,
) -> etree._Element:
    if len(data) > limits.octets:
        raise XMLError("too-large", f"the document is larger than {limits.octets} octets")
    if not data.isascii():
        _check_utf8(data)
    _check_declared_encoding(data)
    # A document type declaration is refused before libxml2 sees it: it is
    # what entities, external subsets and their expansion need (RFC 3470 §4.14).
    position = data.find(b"<!DOCTYPE")
    if position >= 0 and _in_prolog(data, position):
        line, column = _place(data, position)
        raise XMLError("dtd", "a document type declaration is not allowed here", line, column)
    ends = data.count(b"</")
    # Each node has an octet of its own.
    if len(data) > limits.nodes and data.count(b"<") - ends > limits.nodes:
        raise XMLError("too-many-nodes", f"the document has more than {limits.nodes} nodes")
    try:
        if _VOCABULARY.takes(data):
            root = etree.fromstring(data, parser)
        else:
            read = _VOCABULARY.read(data, make)
            assert read is not None, "only a parser that recovers gives nothing"
            root = read
    except etree.XMLSyntaxError as error:
        raise _refusal(error, limits) from None
    # Every level but the last one needs an end tag, so few end tags mean few levels.
    if ends >= limits.depth and _deeper_than(root, limits.depth):
        raise _too_deep(limits)
    return root


def _check_utf8(data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line, column = _place(data, error.start)
        raise XMLError("not-utf-8", "the document is not encoded in UTF-8", line, column) from None


def _check_declared_encoding(data: bytes) -> None:
    # Nearly all documents begin alike, with a short declaration.
    end = data.find(b"?>", 0, 200)
    if not (_is_utf8(data) if end < 0 else _is_utf8_again(data[:end])):
        raise XMLError(
            "not-utf-8", "the document is not encoded in UTF-8, or declares another encoding", 1, 1
        )


def _is_utf8(opening: bytes) -> bool:
    """Whether a document that begins so is encoded in UTF-8, and declares no other encoding."""
    if b"\0" in opening[:4]:
        return False
    start = 3 if opening.startswith(b"\xef\xbb\xbf") else 0
    if not opening.startswith(b"<?xml", start):
        return True
    _, found, rest = opening[start:].partition(b"encoding")
    name = rest.strip(b"\t\r\n =\"'").split(b'"')[0].split(b"'")[0].lower()
    return not found or name in _ENCODINGS


_is_utf8_again: Final = lru_cache(64)(_is_utf8)


def _in_prolog(data: bytes, position: int) -> bool:
    """Tell whether a ``<!DOCTYPE`` stands before the root element, not in a comment or text."""
    here = 0
    while here < position:
        here = data.find(b"<", here)
        if data.startswith(b"<!--", here):
            end, width = data.find(b"-->", here + 4), 3
        elif data.startswith(b"<?", here):
            end, width = data.find(b"?>", here + 2), 2
        else:
            return here == position
        if end < 0 or end > position:
            return False
        here = end + width
    return True


def _place(data: bytes, offset: int) -> tuple[int, int]:
    return data.count(b"\n", 0, offset) + 1, offset - data.rfind(b"\n", 0, offset)


def _refusal(error: etree.XMLSyntaxError, limits: Limits) -> XMLError:
    line, column = error.position
    reason = (error.msg or "empty").partition(", line ")[0]
    if "Excessive depth" in reason:
        return _too_deep(limits)
    return XMLError(
        "not-well-formed", f"line {line}, column {column}: {reason}", int(line), int(column)
    )


def _too_deep(limits: Limits) -> XMLError:
    return XMLError("too-deep", f"the document has more than {limits.depth} levels of elements")


@cache
def _level(depth: int) -> etree.XPath:
    return etree.XPath(f"boolean({'/*' * (depth + 1)})")


def _deeper_than(root: etree._Element, depth: int) -> bool:
    # Level by level, in libxml2: in Python each element would become an object.
    return bool(_level(depth)(root))
