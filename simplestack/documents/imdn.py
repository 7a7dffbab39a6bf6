"""Instant message disposition notifications: ``message/imdn+xml`` (RFC 5438)."""

from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, declarations, read
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, text
from simplestack.documents.xml import local_name, parse_content

MEDIA_TYPE: Final = "message/imdn+xml"
# The namespace of the CPIM headers that ask for notifications (RFC 5438 §6).
CPIM_NAMESPACE: Final = "urn:ietf:params:imdn"

STATUSES: Final = {
    "delivery": frozenset({"delivered", "failed", "forbidden", "error"}),
    "display": frozenset({"displayed", "forbidden", "error"}),
    "processing": frozenset({"processed", "stored", "forbidden", "error"}),
}

_NS: Final = f"{{{ns.IMDN}}}"
_SIMPLE: Final = ("message-id", "datetime", "recipient-uri", "original-recipient-uri", "subject")


class Imdn(NamedTuple):
    """What became of a message.

    ``kind`` is ``delivery``, ``display`` or ``processing`` and ``status`` one
    of its :data:`STATUSES`; both are None where the document says neither.
    """

    message_id: str
    datetime: str
    kind: str | None = None
    status: str | None = None
    recipient_uri: str | None = None
    original_recipient_uri: str | None = None
    subject: str | None = None
    elements: tuple[Element, ...] = ()

    def to_bytes(self) -> bytes:
        """Write the document."""
        values = (
            self.message_id,
            self.datetime,
            self.recipient_uri,
            self.original_recipient_uri,
            self.subject,
        )
        body = "".join(
            [
                f"<{name}>{text(value)}</{name}>"
                for name, value in zip(_SIMPLE, values, strict=True)
                if value is not None
            ]
        )
        if self.kind is not None:
            body += (
                f"<{self.kind}-notification><status><{self.status}/></status>"
                f"</{self.kind}-notification>"
            )
        body += "".join([each.xml for each in self.elements])
        return (f'{DECLARATION}<imdn xmlns="{ns.IMDN}"{declarations(body)}>{body}</imdn>').encode()


def parse_imdn(data: bytes) -> Imdn:
    """Read a notification.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not a notification.
    """
    root = parse_content(data)
    if root.tag != _NS + "imdn":
        raise DocumentError(f"the root element is not <imdn> of {ns.IMDN}")
    simple: dict[str, str] = {}
    kind = status = None
    elements: list[Element] = []
    for child in root:
        name = local_name(child)
        if not str(child.tag).startswith(_NS):
            elements.append(read(child))
        elif name in _SIMPLE:
            simple[name] = (child.text or "").strip()
        elif name.removesuffix("-notification") in STATUSES:
            kind = name.removesuffix("-notification")
            status = _status(child, kind)
    if not simple.get("message-id") or not simple.get("datetime"):
        raise DocumentError("<imdn> needs <message-id> and <datetime>")
    return Imdn(
        simple["message-id"],
        simple["datetime"],
        kind,
        status,
        simple.get("recipient-uri"),
        simple.get("original-recipient-uri"),
        simple.get("subject"),
        tuple(elements),
    )


def _status(node: etree._Element, kind: str) -> str:
    found = [
        local_name(child)
        for group in node.iterchildren(_NS + "status")
        for child in group
        if str(child.tag).startswith(_NS)
    ]
    if len(found) != 1 or found[0] not in STATUSES[kind]:
        raise DocumentError(f"<{kind}-notification> has no status of RFC 5438")
    return found[0]
