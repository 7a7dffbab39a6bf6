"""Registration information: ``application/reginfo+xml`` (RFC 3680, with RFC 5628 GRUUs)."""

from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, declarations, read
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, attribute, text
from simplestack.documents.numbers import optional_number, required_number
from simplestack.documents.xml import line_of, parse_content, required

MEDIA_TYPE: Final = "application/reginfo+xml"

REGISTRATION_STATES: Final = frozenset({"init", "active", "terminated"})
CONTACT_STATES: Final = frozenset({"active", "terminated"})
EVENTS: Final = frozenset(
    {
        "registered",
        "created",
        "refreshed",
        "shortened",
        "expired",
        "deactivated",
        "probation",
        "unregistered",
        "rejected",
    }
)

_NS: Final = f"{{{ns.REGINFO}}}"
_GRUU: Final = f"{{{ns.GRUUINFO}}}"
_PUB_GRUU: Final = _GRUU + "pub-gruu"
_TEMP_GRUU: Final = _GRUU + "temp-gruu"
_LANG: Final = f"{{{ns.XML}}}lang"


class TemporaryGruu(NamedTuple):
    """The newest temporary GRUU and the CSeq that made the oldest valid one (RFC 5628 §5)."""

    uri: str
    first_cseq: int


class Contact(NamedTuple):
    """One contact (RFC 3680 §5.1); times in seconds.

    ``unknown_params`` are the Contact header field's parameters that have no
    attribute here, as (name, value); ``elements`` those of other namespaces.
    """

    id: str
    state: str
    event: str
    uri: str
    display_name: str | None = None
    duration_registered: int | None = None
    expires: int | None = None
    retry_after: int | None = None
    q: str | None = None
    callid: str | None = None
    cseq: int | None = None
    unknown_params: tuple[tuple[str, str], ...] = ()
    display_name_lang: str | None = None
    pub_gruu: str | None = None
    temp_gruu: TemporaryGruu | None = None
    elements: tuple[Element, ...] = ()


class Registration(NamedTuple):
    """The contacts of one address-of-record; ``state`` is init, active or terminated."""

    aor: str
    id: str
    state: str
    contacts: tuple[Contact, ...] = ()


class RegInfo(NamedTuple):
    """A whole document; ``state`` is ``full`` or ``partial``."""

    version: int
    state: str
    registrations: tuple[Registration, ...] = ()

    def to_bytes(self) -> bytes:
        """Write the document."""
        body = "".join([_write_registration(each) for each in self.registrations])
        return (
            f'{DECLARATION}<reginfo xmlns="{ns.REGINFO}"{declarations(body)}'
            f' version="{self.version}" state="{self.state}">{body}</reginfo>'
        ).encode()


def parse_reginfo(data: bytes) -> RegInfo:
    """Read a registration information document.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not registration information.
    """
    root = parse_content(data)
    if root.tag != _NS + "reginfo":
        raise DocumentError(f"the root element is not <reginfo> of {ns.REGINFO}")
    state = required(root, "state")
    if state not in ("full", "partial"):
        raise DocumentError('the "state" of <reginfo> is neither full nor partial')
    return RegInfo(
        required_number(root, "version"),
        state,
        tuple(_read_registration(each) for each in root.iterchildren(_NS + "registration")),
    )


def _read_registration(node: etree._Element) -> Registration:
    return Registration(
        required(node, "aor"),
        required(node, "id"),
        _one_of(node, "state", REGISTRATION_STATES),
        tuple(_read_contact(each) for each in node.iterchildren(_NS + "contact")),
    )


def _read_contact(node: etree._Element) -> Contact:
    uri = display_name = lang = pub_gruu = temp_gruu = None
    unknown: list[tuple[str, str]] = []
    elements: list[Element] = []
    for child in node:
        tag = child.tag
        if tag == _NS + "uri":
            uri = (child.text or "").strip()
        elif tag == _NS + "display-name":
            display_name = child.text or ""
            lang = child.get(_LANG)
        elif tag == _NS + "unknown-param":
            unknown.append((required(child, "name"), (child.text or "").strip()))
        elif tag == _PUB_GRUU:
            pub_gruu = required(child, "uri")
        elif tag == _TEMP_GRUU:
            temp_gruu = TemporaryGruu(required(child, "uri"), required_number(child, "first-cseq"))
        elif not tag.startswith(_NS):
            elements.append(read(child))
    if not uri:
        raise DocumentError(f"<contact> in line {line_of(node)} has no <uri>", line_of(node))
    return Contact(
        required(node, "id"),
        _one_of(node, "state", CONTACT_STATES),
        _one_of(node, "event", EVENTS),
        uri,
        display_name,
        optional_number(node, "duration-registered"),
        optional_number(node, "expires"),
        optional_number(node, "retry-after"),
        node.get("q"),
        node.get("callid"),
        optional_number(node, "cseq"),
        tuple(unknown),
        lang,
        pub_gruu,
        temp_gruu,
        tuple(elements),
    )


def _one_of(node: etree._Element, name: str, values: frozenset[str]) -> str:
    value = required(node, name)
    if value not in values:
        line = line_of(node)
        raise DocumentError(f'"{name}" in line {line} is none of {", ".join(sorted(values))}', line)
    return value


def _write_registration(each: Registration) -> str:
    return (
        f'<registration aor="{attribute(each.aor)}" id="{attribute(each.id)}"'
        f' state="{each.state}">{"".join([_write_contact(c) for c in each.contacts])}'
        "</registration>"
    )


def _write_contact(contact: Contact) -> str:
    written = (
        f'<contact id="{attribute(contact.id)}" state="{contact.state}" event="{contact.event}"'
    )
    if contact.duration_registered is not None:
        written += f' duration-registered="{contact.duration_registered}"'
    if contact.expires is not None:
        written += f' expires="{contact.expires}"'
    if contact.retry_after is not None:
        written += f' retry-after="{contact.retry_after}"'
    if contact.q is not None:
        written += f' q="{attribute(contact.q)}"'
    if contact.callid is not None:
        written += f' callid="{attribute(contact.callid)}"'
    if contact.cseq is not None:
        written += f' cseq="{contact.cseq}"'
    written += f"><uri>{text(contact.uri)}</uri>"
    if contact.display_name is not None:
        lang = contact.display_name_lang
        written += (
            "<display-name" if lang is None else f'<display-name xml:lang="{attribute(lang)}"'
        )
        written += f">{text(contact.display_name)}</display-name>"
    for name, value in contact.unknown_params:
        written += f'<unknown-param name="{attribute(name)}">{text(value)}</unknown-param>'
    if contact.pub_gruu is not None:
        written += f'<gr:pub-gruu uri="{attribute(contact.pub_gruu)}"/>'
    if contact.temp_gruu is not None:
        uri, first = contact.temp_gruu
        written += f'<gr:temp-gruu uri="{attribute(uri)}" first-cseq="{first}"/>'
    for extension in contact.elements:
        written += extension.xml
    return written + "</contact>"
