"""Changes of XCAP resources: ``application/xcap-diff+xml`` (RFC 5874)."""

from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, attribute, text
from simplestack.documents.xml import line_of, parse, required
from simplestack.documents.xmlpatch import Operation, read_operations
from simplestack.documents.xmltree import Element, element_of

MEDIA_TYPE: Final = "application/xcap-diff+xml"

_NS: Final = f"{{{ns.XCAP_DIFF}}}"
_AROUND: Final = {"d": ns.XCAP_DIFF}
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class DocumentChange(NamedTuple):
    """A document that exists, was created, changed or removed (RFC 5874 §4).

    Without ``previous_etag`` it is or has become known, without ``new_etag``
    it is gone. ``unchanged`` says that the body is the same in spite of a new
    entity-tag; without that and ``operations`` the changes are not told.
    ``selector`` is relative to the XCAP root.
    """

    selector: str
    new_etag: str | None = None
    previous_etag: str | None = None
    operations: tuple[Operation, ...] = ()
    unchanged: bool = False


class ElementState(NamedTuple):
    """An element: its content, or with ``exists`` only whether it is there.

    The content may be given as it stands in its document, in ``source``, with the namespaces in
    scope there: "local namespace declarations within the located element exist unmodified as in
    the source document" (§3).
    """

    selector: str
    element: Element | None = None
    exists: bool | None = None
    source: str = ""
    scope: tuple[tuple[str, str], ...] = ()


class AttributeState(NamedTuple):
    """An attribute: its value, or with ``exists`` only whether it is there."""

    selector: str
    value: str = ""
    exists: bool | None = None


class XcapDiff(NamedTuple):
    """A whole document; the selectors are relative to ``xcap_root``."""

    xcap_root: str
    changes: tuple[DocumentChange | ElementState | AttributeState, ...] = ()

    def to_bytes(self) -> bytes:
        """Write the document."""
        return (
            f'{DECLARATION}<d:xcap-diff xmlns:d="{ns.XCAP_DIFF}"'
            f' xcap-root="{attribute(self.xcap_root)}">'
            f"{''.join([_write(change) for change in self.changes])}</d:xcap-diff>"
        ).encode()


def parse_xcap_diff(data: bytes) -> XcapDiff:
    """Read an xcap-diff document.

    :raises XMLError: if the bytes are not XML that we take.
    :raises PatchError: if an operation is not as RFC 5261 says.
    :raises DocumentError: if the XML is not an xcap-diff document.
    """
    root = parse(data)
    if root.tag != _NS + "xcap-diff":
        raise DocumentError(f"the root element is not <xcap-diff> of {ns.XCAP_DIFF}")
    changes: list[DocumentChange | ElementState | AttributeState] = []
    for node in root.iterchildren(_NS + "document", _NS + "element", _NS + "attribute"):
        selector = required(node, "sel")
        if node.tag == _NS + "document":
            changes.append(
                DocumentChange(
                    selector,
                    node.get("new-etag"),
                    node.get("previous-etag"),
                    tuple(read_operations(node)),
                    node.find(_NS + "body-not-changed") is not None,
                )
            )
        elif node.tag == _NS + "element":
            child = next(node.iterchildren("*"), None)
            element = None if child is None else element_of(child, {})
            changes.append(ElementState(selector, element, _exists(node)))
        else:
            changes.append(AttributeState(selector, node.text or "", _exists(node)))
    return XcapDiff(required(root, "xcap-root"), tuple(changes))


def _exists(node: etree._Element) -> bool | None:
    value = node.get("exists")
    if value is None:
        return None
    if value.strip() not in _BOOLEANS:
        line = line_of(node)
        raise DocumentError(f'"exists" in line {line} is neither true nor false', line)
    return _BOOLEANS[value.strip()]


def _write(change: DocumentChange | ElementState | AttributeState) -> str:
    head = f' sel="{attribute(change.selector)}"'
    if isinstance(change, DocumentChange):
        if change.new_etag is not None:
            head += f' new-etag="{attribute(change.new_etag)}"'
        if change.previous_etag is not None:
            head += f' previous-etag="{attribute(change.previous_etag)}"'
        inner = "".join([operation.to_xml("d", _AROUND) for operation in change.operations])
        if change.unchanged:
            inner = "<d:body-not-changed/>"
        return f"<d:document{head}>{inner}</d:document>" if inner else f"<d:document{head}/>"
    if change.exists is not None:
        head += f' exists="{int(change.exists)}"'
    if isinstance(change, ElementState):
        if change.source:
            return _write_source(head, change.source, dict(change.scope))
        inner = "" if change.element is None else change.element.write()
        return f"<d:element{head}>{inner}</d:element>"
    return f"<d:attribute{head}>{text(change.value)}</d:attribute>"


def _write_source(head: str, source: str, scope: dict[str, str]) -> str:
    """An element as it was written; no prefix of its own may be taken for ours."""
    prefix = "d"
    while scope.get(prefix, ns.XCAP_DIFF) != ns.XCAP_DIFF:
        prefix += "d"
    scope[prefix] = ns.XCAP_DIFF
    if prefix == "d":
        del scope[prefix]
    for each, uri in sorted(scope.items()):
        head += f' xmlns{":" if each else ""}{each}="{attribute(uri)}"'
    return f"<{prefix}:element{head}>{source}</{prefix}:element>"
