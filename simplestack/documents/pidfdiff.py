"""Partial presence documents: ``application/pidf-diff+xml`` (RFC 5262)."""

from typing import Final, NamedTuple

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import PREFIXES, declarations
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, attribute
from simplestack.documents.numbers import optional_number
from simplestack.documents.pidf import Presence, read_presence
from simplestack.documents.xml import parse, parse_content
from simplestack.documents.xmldiff import difference
from simplestack.documents.xmlpatch import Operation, apply, apply_partly, read_operations
from simplestack.documents.xmltree import Document, Element, Node, document_of

MEDIA_TYPE: Final = "application/pidf-diff+xml"

_NS: Final = f"{{{ns.PIDF_DIFF}}}"
_FULL: Final = _NS + "pidf-full"
_DIFF: Final = _NS + "pidf-diff"
# What every document that we write declares or may declare on its root.
_AROUND: Final = {"": ns.PIDF, **{prefix: uri for uri, prefix in PREFIXES.items()}}

_ROOT: Final = "<presence{}".format(
    "".join([f' xmlns{":" if prefix else ""}{prefix}="{uri}"' for prefix, uri in _AROUND.items()])
)
_STAND_IN: Final = "unchanged"


class PidfFull(NamedTuple):
    """The full state, with its place in the sequence of documents."""

    presence: Presence
    version: int | None = None

    def to_bytes(self) -> bytes:
        """Write the document."""
        body = self.presence.body()
        version = "" if self.version is None else f' version="{self.version}"'
        return (
            f'{DECLARATION}<p:pidf-full xmlns="{ns.PIDF}" xmlns:p="{ns.PIDF_DIFF}"'
            f'{declarations(body)} entity="{attribute(self.presence.entity)}"{version}>'
            f"{body}</p:pidf-full>"
        ).encode()


class PidfDiff(NamedTuple):
    """What has changed since the document one version before."""

    entity: str | None
    version: int | None
    operations: tuple[Operation, ...] = ()

    def to_bytes(self) -> bytes:
        """Write the document."""
        body = "".join([operation.to_xml("p", _AROUND) for operation in self.operations])
        entity = "" if self.entity is None else f' entity="{attribute(self.entity)}"'
        version = "" if self.version is None else f' version="{self.version}"'
        # Selectors use prefixes as well, so they are looked for everywhere.
        used = [(prefix, uri) for uri, prefix in PREFIXES.items() if f"{prefix}:" in body]
        declared = "".join([f' xmlns:{prefix}="{uri}"' for prefix, uri in used])
        return (
            f'{DECLARATION}<p:pidf-diff xmlns="{ns.PIDF}" xmlns:p="{ns.PIDF_DIFF}"'
            f"{declared}{entity}{version}>{body}</p:pidf-diff>"
        ).encode()


def parse_pidf_diff(data: bytes) -> PidfFull | PidfDiff:
    """Read a partial presence document, of which the first is a full one.

    :raises XMLError: if the bytes are not XML that we take.
    :raises PatchError: if an operation is not as RFC 5261 says.
    :raises DocumentError: if the XML is not a partial presence document.
    """
    root = parse(data)
    version = optional_number(root, "version")
    if root.tag == _FULL:
        return PidfFull(read_presence(parse_content(data)), version)
    if root.tag == _DIFF:
        return PidfDiff(root.get("entity"), version, tuple(read_operations(root)))
    raise DocumentError(
        f"the root element is neither <pidf-full> nor <pidf-diff> of {ns.PIDF_DIFF}"
    )


def presence_document(data: bytes) -> bytes:
    """Make the presence document of a ``<pidf-full>``, in its own layout.

    It is what the operations of later documents are applied to: they may count
    text nodes and name ``presence``.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the root element is not ``<pidf-full>``.
    """
    parsed = parse(data)
    if parsed.tag != _FULL:
        raise DocumentError(f"the root element is not <pidf-full> of {ns.PIDF_DIFF}")
    document = document_of(parsed)
    root = document.root
    root.name = (ns.PIDF, "presence")
    prefixes = [prefix for prefix, uri in sorted(root.declared.items()) if uri == ns.PIDF]
    root.prefix = prefixes[0] if prefixes else "pidf"
    root.declared.setdefault(root.prefix, ns.PIDF)
    root.attributes.pop(("", "version"), None)
    return document.to_bytes()


def patch(document: bytes, changes: PidfDiff, partly: bool = False) -> bytes:
    """Apply changes to a presence document; with ``partly`` to what was kept of one.

    :raises XMLError: if the document is not XML that we take.
    :raises PatchError: if an operation cannot be applied; a full document is due then.
    """
    return (apply_partly if partly else apply)(document, changes.operations)


def changes_between(old: Presence, new: Presence, version: int | None = None) -> PidfDiff:
    """Give what turns the document of one value into that of another.

    It applies to what ``old.to_bytes()`` wrote, and to what earlier changes
    made of that.
    """
    parts, new_parts = old.parts(), new.parts()
    same = {part: number for number, part in enumerate({*parts} & {*new_parts})}
    operations = difference(
        _tree(old.entity, _reduced(parts, same)), _tree(new.entity, _reduced(new_parts, same))
    )
    if any(_is_stand_in(node) for each in operations for node in each.content):
        # Something unchanged has moved and must be written out.
        operations = difference(_tree(old.entity, parts), _tree(new.entity, new_parts))
    return PidfDiff(new.entity, version, tuple(operations))


def _reduced(parts: list[str], same: dict[str, int]) -> list[str]:
    """Let a small element stand in for every part that both documents have."""
    return [f'<{_STAND_IN} id="{same[part]}"/>' if part in same else part for part in parts]


def _is_stand_in(node: Node) -> bool:
    return isinstance(node, Element) and node.name == (ns.PIDF, _STAND_IN)


def _tree(entity: str, parts: list[str]) -> Document:
    # Which prefixes the roots declare differs by what they contain. What is
    # added declares what it needs, so that those of the root can stay.
    head = f'{_ROOT} entity="{attribute(entity)}">'
    return document_of(parse(f"{head}{''.join(parts)}</presence>".encode()))
