"""Presence documents: ``application/pidf+xml``.

RFC 3863, with the data model of RFC 4479 and the elements of RFC 4480 (RPID),
4481 (timed status), 4482 (CIPID) and 5196 (capabilities), which are carried
as :class:`~simplestack.documents.elements.Element` values.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, declarations, read
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, attribute, text
from simplestack.documents.schema import Schema
from simplestack.documents.timestamps import parse_timestamp
from simplestack.documents.xml import line_of, local_name, parse_content, required

MEDIA_TYPE: Final = "application/pidf+xml"

_PIDF: Final = f"{{{ns.PIDF}}}"
_PRESENCE: Final = _PIDF + "presence"
_TUPLE: Final = _PIDF + "tuple"
_STATUS: Final = _PIDF + "status"
_BASIC: Final = _PIDF + "basic"
_CONTACT: Final = _PIDF + "contact"
_NOTE: Final = _PIDF + "note"
_TIMESTAMP: Final = _PIDF + "timestamp"
_DM: Final = f"{{{ns.DATA_MODEL}}}"
_PERSON: Final = _DM + "person"
_DEVICE: Final = _DM + "device"
_DEVICE_ID: Final = _DM + "deviceID"
_DM_NOTE: Final = _DM + "note"
_DM_TIMESTAMP: Final = _DM + "timestamp"
_CLASS: Final = f"{{{ns.RPID}}}class"
_LANG: Final = f"{{{ns.XML}}}lang"

_PRIORITY: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


class Note(NamedTuple):
    """A comment for people, in one language (RFC 3863 §4.1.6)."""

    text: str
    lang: str | None = None


class Tuple(NamedTuple):
    """A service (RFC 3863 §4.1.2, RFC 4479 §3.3).

    ``contact_priority`` and ``timestamp`` are as written; ``status`` holds the
    extension elements of ``<status>`` and ``elements`` those of the tuple,
    but for the first device ID and the class.
    """

    id: str
    basic: str | None = None
    contact: str | None = None
    contact_priority: str | None = None
    timestamp: str | None = None
    notes: tuple[Note, ...] = ()
    device_id: str | None = None
    class_: str | None = None
    elements: tuple[Element, ...] = ()
    status: tuple[Element, ...] = ()

    @property
    def priority(self) -> float:
        """The contact priority; without one the lowest (RFC 3863 §4.1.5), below any given."""
        return -1.0 if self.contact_priority is None else float(self.contact_priority)

    @property
    def time(self) -> float | None:
        """The timestamp in unix seconds, None if missing or not readable."""
        return _time(self.timestamp)


class Person(NamedTuple):
    """The human user (RFC 4479 §3.2); ``elements`` without the class."""

    id: str
    class_: str | None = None
    elements: tuple[Element, ...] = ()
    notes: tuple[Note, ...] = ()
    timestamp: str | None = None

    @property
    def time(self) -> float | None:
        """The timestamp in unix seconds, None if missing or not readable."""
        return _time(self.timestamp)


class Device(NamedTuple):
    """A physical device (RFC 4479 §3.4); ``elements`` without device ID and class."""

    id: str
    device_id: str
    class_: str | None = None
    elements: tuple[Element, ...] = ()
    notes: tuple[Note, ...] = ()
    timestamp: str | None = None

    @property
    def time(self) -> float | None:
        """The timestamp in unix seconds, None if missing or not readable."""
        return _time(self.timestamp)


class Presence(NamedTuple):
    """A whole presence document; ``extensions`` are the other children of its root."""

    entity: str
    tuples: tuple[Tuple, ...] = ()
    persons: tuple[Person, ...] = ()
    devices: tuple[Device, ...] = ()
    notes: tuple[Note, ...] = ()
    extensions: tuple[Element, ...] = ()

    def to_bytes(self) -> bytes:
        """Write the document; prefixes are declared on the root as far as they are used."""
        body = self.body()
        return (
            f'{DECLARATION}<presence xmlns="{ns.PIDF}"{declarations(body)}'
            f' entity="{attribute(self.entity)}">{body}</presence>'
        ).encode()

    def body(self) -> str:
        """Write what the root element contains, in the order of the schema."""
        return "".join(self.parts())

    def parts(self) -> list[str]:
        """Write the children of the root element one by one."""
        return (
            [_write_tuple(each) for each in self.tuples]
            + [_write_note("note", note) for note in self.notes]
            + [_write_person(each) for each in self.persons]
            + [_write_device(each) for each in self.devices]
            + [each.xml for each in self.extensions]
        )


def parse_presence(data: bytes) -> Presence:
    """Read a presence document.

    Checked are the structure, the ids and the basic status; children may come
    in any order. Elements of unknown names in the namespaces of PIDF and of
    the data model are left out (RFC 3863 §4.2.3), all others are kept.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not a presence document.
    """
    root = parse_content(data)
    if root.tag != _PRESENCE:
        raise DocumentError(f"the root element is not <presence> of {ns.PIDF}")
    return read_presence(root)


def read_presence(root: etree._Element) -> Presence:
    """Read the attributes and children of a root, whatever its name (also ``<pidf-full>``).

    :raises DocumentError: as :func:`parse_presence` does.
    """
    entity = root.get("entity", "").strip()
    if not entity:
        raise DocumentError(f'<{local_name(root)}> has no "entity"')
    tuples: list[Tuple] = []
    persons: list[Person] = []
    devices: list[Device] = []
    notes: list[Note] = []
    extensions: list[Element] = []
    for child in root:
        tag = child.tag
        if tag == _TUPLE:
            tuples.append(_read_tuple(child))
        elif tag == _PERSON:
            persons.append(_read_person(child))
        elif tag == _DEVICE:
            devices.append(_read_device(child))
        elif tag == _NOTE:
            notes.append(_read_note(child))
        elif not tag.startswith(_PIDF):
            extensions.append(read(child))
    ids = [each.id for each in tuples]
    ids += [each.id for each in persons]
    ids += [each.id for each in devices]
    if len(set(ids)) != len(ids):
        raise DocumentError('two elements of the document have the same "id"')
    return Presence(
        entity, tuple(tuples), tuple(persons), tuple(devices), tuple(notes), tuple(extensions)
    )


def validate(data: bytes) -> None:
    """Check a document against the schemas of PIDF and all its extensions.

    :raises XMLError: if the bytes are not XML that we take.
    :raises SchemaError: if the schemas refuse it.
    """
    Schema("all-presence").validate(parse_content(data))


def closed(entity: str) -> Presence:
    """Give the document of a presentity that is not available, one closed service.

    A polite-blocked watcher and the watcher of a user without state get the
    same one (RFC 5025 §3.2.1).
    """
    return Presence(entity, (Tuple("closed", "closed"),))


def registered(
    entity: str, contacts: Iterable[tuple[str, str, str | None]], timestamp: str | None = None
) -> Presence:
    """Give the document of a registered user: one open service per (id, contact URI, q)."""
    return Presence(
        entity,
        tuple(
            Tuple(id_, "open", contact, q if q and _PRIORITY.fullmatch(q) else None, timestamp)
            for id_, contact, q in contacts
        ),
    )


def _time(timestamp: str | None) -> float | None:
    if timestamp is None:
        return None
    try:
        return parse_timestamp(timestamp)
    except DocumentError:
        return None


def _read_tuple(node: etree._Element) -> Tuple:
    basic = contact = priority = timestamp = device_id = class_ = None
    seen_status = False
    notes: list[Note] = []
    elements: list[Element] = []
    status: list[Element] = []
    for child in node:
        tag = child.tag
        if tag == _STATUS:
            seen_status = True
            for value in child:
                name = value.tag
                if name == _BASIC:
                    basic = (value.text or "").strip()
                    if basic != "open" and basic != "closed":
                        raise DocumentError(
                            f"<basic> in line {line_of(value)} is neither open nor closed",
                            line_of(value),
                        )
                elif not name.startswith(_PIDF):
                    status.append(read(value))
        elif tag == _CONTACT:
            contact = (child.text or "").strip()
            priority = child.get("priority")
            # "If the 'priority' value is out of the range, applications just
            # SHOULD ignore the value" (RFC 3863 §4.1.5).
            if priority is not None and not _PRIORITY.fullmatch(priority):
                priority = None
        elif tag == _NOTE:
            notes.append(_read_note(child))
        elif tag == _TIMESTAMP:
            timestamp = (child.text or "").strip()
        elif tag == _DEVICE_ID and device_id is None:
            device_id = (child.text or "").strip()
        elif tag == _CLASS and class_ is None:
            class_ = (child.text or "").strip()
        elif not tag.startswith(_PIDF):
            elements.append(read(child))
    id_ = required(node, "id")
    if not seen_status:
        raise DocumentError(f'tuple "{id_}" has no <status>', line_of(node))
    return Tuple(
        id_,
        basic,
        contact,
        priority,
        timestamp,
        tuple(notes),
        device_id,
        class_,
        tuple(elements),
        tuple(status),
    )


def _read_person(node: etree._Element) -> Person:
    _, class_, elements, notes, timestamp = _read_component(node)
    return Person(required(node, "id"), class_, elements, notes, timestamp)


def _read_device(node: etree._Element) -> Device:
    device_id, class_, elements, notes, timestamp = _read_component(node)
    id_ = required(node, "id")
    if not device_id:
        raise DocumentError(f'device "{id_}" has no <deviceID>', line_of(node))
    return Device(id_, device_id, class_, elements, notes, timestamp)


def _read_component(
    node: etree._Element,
) -> tuple[str | None, str | None, tuple[Element, ...], tuple[Note, ...], str | None]:
    device_id = class_ = timestamp = None
    elements: list[Element] = []
    notes: list[Note] = []
    for child in node:
        tag = child.tag
        if tag == _DM_NOTE:
            notes.append(_read_note(child))
        elif tag == _DM_TIMESTAMP:
            timestamp = (child.text or "").strip()
        elif tag == _DEVICE_ID:
            device_id = (child.text or "").strip()
        elif tag == _CLASS and class_ is None:
            class_ = (child.text or "").strip()
        elif not tag.startswith(_DM):
            elements.append(read(child))
    return device_id, class_, tuple(elements), tuple(notes), timestamp


def _read_note(node: etree._Element) -> Note:
    return Note(node.text or "", node.get(_LANG))


def _write_note(name: str, note: Note) -> str:
    if note.lang is None:
        return f"<{name}>{text(note.text)}</{name}>"
    return f'<{name} xml:lang="{attribute(note.lang)}">{text(note.text)}</{name}>'


def _write_tuple(each: Tuple) -> str:
    written = f'<tuple id="{attribute(each.id)}"><status>'
    if each.basic is not None:
        written += f"<basic>{each.basic}</basic>"
    for extension in each.status:
        written += extension.xml
    written += "</status>"
    if each.device_id is not None:
        written += f"<dm:deviceID>{text(each.device_id)}</dm:deviceID>"
    if each.class_ is not None:
        written += f"<rpid:class>{text(each.class_)}</rpid:class>"
    for extension in each.elements:
        written += extension.xml
    if each.contact is not None:
        if each.contact_priority is None:
            written += f"<contact>{text(each.contact)}</contact>"
        else:
            written += f'<contact priority="{each.contact_priority}">{text(each.contact)}</contact>'
    for note in each.notes:
        written += _write_note("note", note)
    if each.timestamp is not None:
        written += f"<timestamp>{text(each.timestamp)}</timestamp>"
    return written + "</tuple>"


def _write_person(each: Person) -> str:
    return (
        f'<dm:person id="{attribute(each.id)}">'
        f"{_write_component(None, each.class_, each.elements, each.notes, each.timestamp)}</dm:person>"
    )


def _write_device(each: Device) -> str:
    return (
        f'<dm:device id="{attribute(each.id)}">'
        f"{_write_component(each.device_id, each.class_, each.elements, each.notes, each.timestamp)}"
        "</dm:device>"
    )


def _write_component(
    device_id: str | None,
    class_: str | None,
    elements: tuple[Element, ...],
    notes: tuple[Note, ...],
    timestamp: str | None,
) -> str:
    """Write the children of a person or device in the order of the schema of RFC 4479."""
    written = "" if class_ is None else f"<rpid:class>{text(class_)}</rpid:class>"
    for extension in elements:
        written += extension.xml
    if device_id is not None:
        written += f"<dm:deviceID>{text(device_id)}</dm:deviceID>"
    for note in notes:
        written += _write_note("dm:note", note)
    if timestamp is not None:
        written += f"<dm:timestamp>{text(timestamp)}</dm:timestamp>"
    return written
