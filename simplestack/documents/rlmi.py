"""Resource list meta-information: ``application/rlmi+xml`` (RFC 4662 §5)."""

from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, attribute, text
from simplestack.documents.numbers import required_number
from simplestack.documents.xml import parse_content, required

MEDIA_TYPE: Final = "application/rlmi+xml"

STATES: Final = frozenset({"active", "pending", "terminated"})

_NS: Final = f"{{{ns.RLMI}}}"
_LANG: Final = f"{{{ns.XML}}}lang"
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


class ListName(NamedTuple):
    """A name for people, in one language."""

    text: str
    lang: str | None = None


class Instance(NamedTuple):
    """One virtual subscription; ``cid`` names the part with its state (RFC 4662 §5.4)."""

    id: str
    state: str
    reason: str | None = None
    cid: str | None = None


class Resource(NamedTuple):
    """One resource of the list."""

    uri: str
    names: tuple[ListName, ...] = ()
    instances: tuple[Instance, ...] = ()


class Rlmi(NamedTuple):
    """A whole document."""

    uri: str
    version: int
    full_state: bool
    names: tuple[ListName, ...] = ()
    resources: tuple[Resource, ...] = ()
    cid: str | None = None

    def to_bytes(self) -> bytes:
        """Write the document."""
        head = (
            f'uri="{attribute(self.uri)}" version="{self.version}"'
            f' fullState="{"true" if self.full_state else "false"}"{_cid(self.cid)}'
        )
        return (
            f'{DECLARATION}<list xmlns="{ns.RLMI}" {head}>{_names(self.names)}'
            f"{''.join([_write(each) for each in self.resources])}</list>"
        ).encode()


def parse_rlmi(data: bytes) -> Rlmi:
    """Read a document; elements of other namespaces are ignored.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not resource list meta-information.
    """
    root = parse_content(data)
    if root.tag != _NS + "list":
        raise DocumentError(f"the root element is not <list> of {ns.RLMI}")
    full = _BOOLEANS.get(required(root, "fullState"))
    if full is None:
        raise DocumentError('"fullState" of <list> is neither true nor false')
    return Rlmi(
        required(root, "uri"),
        required_number(root, "version"),
        full,
        _read_names(root),
        tuple(
            Resource(
                required(node, "uri"),
                _read_names(node),
                tuple(_read_instance(each) for each in node.iterchildren(_NS + "instance")),
            )
            for node in root.iterchildren(_NS + "resource")
        ),
        root.get("cid"),
    )


def _read_names(node: etree._Element) -> tuple[ListName, ...]:
    return tuple(
        ListName(each.text or "", each.get(_LANG)) for each in node.iterchildren(_NS + "name")
    )


def _read_instance(node: etree._Element) -> Instance:
    state = required(node, "state")
    if state not in STATES:
        raise DocumentError(f'"state" of <instance> is none of {", ".join(sorted(STATES))}')
    return Instance(required(node, "id"), state, node.get("reason"), node.get("cid"))


def _names(names: tuple[ListName, ...]) -> str:
    written = ""
    for value, lang in names:
        head = "name" if lang is None else f'name xml:lang="{attribute(lang)}"'
        written += f"<{head}>{text(value)}</name>"
    return written


def _cid(cid: str | None) -> str:
    return "" if cid is None else f' cid="{attribute(cid)}"'


def _write(resource: Resource) -> str:
    written = f'<resource uri="{attribute(resource.uri)}">{_names(resource.names)}'
    for id_, state, reason, cid in resource.instances:
        said = "" if reason is None else f' reason="{attribute(reason)}"'
        written += f'<instance id="{attribute(id_)}" state="{state}"{said}{_cid(cid)}/>'
    return written + "</resource>"
