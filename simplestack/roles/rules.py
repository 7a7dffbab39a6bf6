"""Presence authorization: what the rules of a user let a watcher see (RFC 4745, RFC 5025)."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, element, length
from simplestack.documents.pidf import Device, Person, Presence, Tuple, closed
from simplestack.documents.presrules import (
    ALL,
    Condition,
    Identity,
    Member,
    Rule,
    Ruleset,
    Sphere,
    SubHandling,
    Transformations,
    UserInput,
    Validity,
)
from simplestack.interfaces import Decision
from simplestack.sip.errors import SIPError
from simplestack.sip.memory import remember_short
from simplestack.sip.uri import parse_uri

__all__ = [
    "BLOCKED",
    "EVERYTHING",
    "NOTHING",
    "POLITE",
    "Permissions",
    "combine",
    "combined",
    "holds",
    "matching",
    "permitted",
]

_RPID: Final = f"{{{ns.RPID}}}"
_DATA_MODEL: Final = f"{{{ns.DATA_MODEL}}}"
_PIDF: Final = f"{{{ns.PIDF}}}"
_USER_INPUT: Final = f"{_RPID}user-input"
_SERVICE_CLASS: Final = f"{_RPID}service-class"
# Elements of these namespaces are never "unknown" (RFC 5025 §3.3.2.14).
_GOVERNED: Final = frozenset({ns.RPID, ns.DATA_MODEL, ns.PIDF})
_ALL: Final = frozenset({ALL})
#: So many URIs that differ in their parameters alone are compared as RFC 3261 §19.1.4 has it.
_MOST_ALIKE: Final = 16


class Permissions(NamedTuple):
    """What several matching rules grant together: a value, equal where the view is the same.

    ``services``, ``persons`` and ``devices`` say which components are shown, ``attributes``,
    ``user_input`` and ``unknown`` what is shown of them.  ``polite`` shows what a presentity
    that is not available would (RFC 5025 §3.2.1).
    """

    services: frozenset[Member] = frozenset()
    persons: frozenset[Member] = frozenset()
    devices: frozenset[Member] = frozenset()
    attributes: frozenset[str] = frozenset()
    user_input: UserInput = UserInput.FALSE
    #: (namespace, name) of unknown attributes.
    unknown: frozenset[tuple[str, str]] = frozenset()
    all_attributes: bool = False
    polite: bool = False


NOTHING: Final = Permissions()
EVERYTHING: Final = Permissions(_ALL, _ALL, _ALL, all_attributes=True)
POLITE: Final = Permissions(polite=True)
BLOCKED: Final = Decision("block", NOTHING)


def combined(rules: Sequence[Rule]) -> Decision:
    """What matching rules say together (RFC 4745 §10.2).

    Without any, or without an action in any, the default is ``block`` (RFC 5025 §3.2.1).
    """
    # "For integer, real-valued and date-time permissions, the resulting permission is the
    # maximum value across the permission values in the matching set of rules."
    handling = SubHandling.BLOCK
    for rule in rules:
        asked = rule.actions.sub_handling
        if asked is not None and asked > handling:
            handling = asked
    if handling is SubHandling.ALLOW:
        return Decision("allow", _combined(tuple([rule.transformations for rule in rules])))
    if handling is SubHandling.POLITE_BLOCK:
        return Decision("polite-block", POLITE)
    return Decision(handling.token, NOTHING)


def matching(ruleset: Ruleset, watcher: str, sphere: str | None, now: float) -> list[Rule]:
    """The rules all of whose conditions are TRUE; one without conditions always matches.

    ``watcher`` is his AOR, "" where nobody knows who he is; ``sphere`` is that of the presentity,
    None where it is undefined.
    """
    found = []
    for rule in ruleset.rules:
        for condition in rule.conditions:
            if not holds(condition, watcher, sphere, now):
                break
        else:
            found.append(rule)
    return found


def combine(transformations: Collection[Transformations]) -> Permissions:
    """The union of what matching rules grant (RFC 4745 §10.2)."""
    all_attributes = any(each.all_attributes for each in transformations)
    services = frozenset[Member]().union(*[each.services for each in transformations])
    persons = frozenset[Member]().union(*[each.persons for each in transformations])
    devices = frozenset[Member]().union(*[each.devices for each in transformations])
    # One spelling for each meaning, so that equal views are equal values.
    services = _ALL if ALL in services else services
    persons = _ALL if ALL in persons else persons
    devices = _ALL if ALL in devices else devices
    if all_attributes:
        return Permissions(services, persons, devices, all_attributes=True)
    return Permissions(
        services,
        persons,
        devices,
        frozenset[str]().union(*[each.attributes for each in transformations]),
        max((each.user_input for each in transformations), default=UserInput.FALSE),
        frozenset[tuple[str, str]]().union(*[each.unknown for each in transformations]),
    )


# The watchers whom the same rules match are many.
_combined: Final = lru_cache(256)(combine)


def holds(condition: Condition, watcher: str, sphere: str | None, now: float) -> bool:
    """Whether one condition is TRUE of a watcher."""
    if isinstance(condition, Identity):
        if not watcher:
            # "the request is considered unauthenticated [...] and will match only an empty
            # <identity> element" (RFC 5025 §3.1.1.2)
            return not condition.members
        return condition.admits(watcher)
    if isinstance(condition, Validity):
        return condition.holds(now)
    if isinstance(condition, Sphere):
        return sphere is not None and sphere.lower() in condition.tokens
    # "If a child element of the <conditions> element is in a namespace that is not known or
    # not supported, then this child element evaluates to FALSE." (RFC 4745 §7)
    return False


def permitted(presence: Presence, permissions: Permissions) -> Presence:
    """The document as these permissions show it: what none grants is not in it (RFC 5025 §3.3)."""
    if permissions == EVERYTHING:
        return presence
    if permissions.polite:
        return closed(presence.entity)
    services, persons, devices = permissions.services, permissions.persons, permissions.devices
    shown = Presence(
        presence.entity,
        tuple([each for each in presence.tuples if services and _shows_service(services, each)]),
        tuple([each for each in presence.persons if persons and _shows(persons, each)]),
        tuple([each for each in presence.devices if devices and _shows_device(devices, each)]),
    )
    if permissions.all_attributes:
        return shown._replace(notes=presence.notes)
    names = _names(permissions.attributes, permissions.unknown)
    return shown._replace(
        tuples=tuple([_service(each, permissions, names) for each in shown.tuples]),
        persons=tuple([_person(each, permissions, names) for each in shown.persons]),
        devices=tuple([_device(each, permissions, names) for each in shown.devices]),
        notes=presence.notes if "note" in permissions.attributes else (),
    )


# Which components are shown (RFC 5025 §3.3.1).


def _shows(members: frozenset[Member], component: Tuple | Person | Device) -> bool:
    return (
        ALL in members
        or Member("occurrence-id", component.id) in members
        or (component.class_ is not None and Member("class", component.class_) in members)
    )


def _shows_service(members: frozenset[Member], service: Tuple) -> bool:
    if _shows(members, service):
        return True
    contact = service.contact
    if contact is None:
        return False
    scheme, colon, _ = contact.partition(":")
    return (bool(colon) and Member("service-uri-scheme", scheme) in members) or _has_uri(
        members, "service-uri", contact
    )


def _shows_device(members: frozenset[Member], device: Device) -> bool:
    return _shows(members, device) or _has_uri(members, "deviceID", device.device_id)


def _has_uri(members: frozenset[Member], kind: str, uri: str) -> bool:
    """Whether one of the members of a kind is a URI that is equivalent to this one."""
    if Member(kind, uri) in members:
        return True
    known = _uris(members, kind)
    return bool(known) and any(_same_uri(each, uri) for each in known.get(_place(uri), ()))


@lru_cache(32)
def _uris(members: frozenset[Member], kind: str) -> Mapping[str, list[str]]:
    """The URIs of a kind among the members, by what equivalent ones have in common.

    A user may name thousands, and publish thousands of components.  Of those that differ in their
    parameters alone ``_MOST_ALIKE`` are compared; others must be written the same.
    """
    found: dict[str, list[str]] = {}
    for member in sorted(members):
        if member.kind == kind:
            alike = found.setdefault(_place(member.value), [])
            if len(alike) < _MOST_ALIKE:
                alike.append(member.value)
    return found


def _place(uri: str) -> str:
    """What URIs that are equivalent have in common."""
    lower = uri.lower()
    if lower.startswith("urn:uuid:"):
        return lower
    try:
        parsed = parse_uri(uri)
    except SIPError:
        return uri
    if parsed.opaque:
        return parsed.aor if parsed.scheme == "tel" else f"{parsed.scheme}:{parsed.opaque}"
    return f"{parsed.scheme}:{parsed.user}@{parsed.host}:{parsed.port}"


def _same_uri(one: str, other: str) -> bool:
    """URI equivalence as the scheme defines it; a URN of UUIDs has no case (RFC 4122 §3)."""
    if one == other:
        return True
    scheme, _, rest = one.lower().partition(":")
    if scheme == "urn":
        other_scheme, _, other_rest = other.lower().partition(":")
        if rest.startswith("uuid:"):
            return (scheme, rest) == (other_scheme, other_rest)
    try:
        return parse_uri(one).equals(parse_uri(other))
    except SIPError:
        return False


# What is shown of them (RFC 5025 §3.3.2).


@lru_cache(256)
def _names(attributes: frozenset[str], unknown: frozenset[tuple[str, str]]) -> frozenset[str]:
    """The names of the extension elements that are shown."""
    names = {
        f"{_DATA_MODEL if attribute == 'deviceID' else _RPID}{attribute}"
        for attribute in attributes
        if attribute != "note"
    }
    if "note" in attributes:
        names |= {f"{_DATA_MODEL}note", f"{_PIDF}note"}
    names |= {f"{{{space}}}{name}" for space, name in unknown if space and space not in _GOVERNED}
    names |= {name for space, name in unknown if not space}
    return frozenset(names)


def _service(service: Tuple, permissions: Permissions, names: frozenset[str]) -> Tuple:
    """Contact, basic status, timestamp and service-class are always shown."""
    attributes = permissions.attributes
    return Tuple(
        service.id,
        service.basic,
        service.contact,
        service.contact_priority,
        service.timestamp,
        service.notes if "note" in attributes else (),
        service.device_id if "deviceID" in attributes else None,
        service.class_ if "class" in attributes else None,
        _elements(service.elements, permissions.user_input, names, _SERVICE_CLASS),
    )


def _person(person: Person, permissions: Permissions, names: frozenset[str]) -> Person:
    """The timestamp is always shown."""
    attributes = permissions.attributes
    return Person(
        person.id,
        person.class_ if "class" in attributes else None,
        _elements(person.elements, permissions.user_input, names),
        person.notes if "note" in attributes else (),
        person.timestamp,
    )


def _device(device: Device, permissions: Permissions, names: frozenset[str]) -> Device:
    """Device ID and timestamp are always shown."""
    attributes = permissions.attributes
    return Device(
        device.id,
        device.device_id,
        device.class_ if "class" in attributes else None,
        _elements(device.elements, permissions.user_input, names),
        device.notes if "note" in attributes else (),
        device.timestamp,
    )


def _elements(
    elements: tuple[Element, ...], user_input: UserInput, names: frozenset[str], always: str = ""
) -> tuple[Element, ...]:
    shown = []
    for each in elements:
        name = each.name
        if name in names or name == always:
            shown.append(each)
        elif name == _USER_INPUT and user_input:
            shown.append(each if user_input is UserInput.FULL else _reduced((each, user_input)))
    return tuple(shown)


def _first_length(granted: tuple[Element, UserInput]) -> int:
    return length(granted[0])


@remember_short(512, _first_length)
def _reduced(granted: tuple[Element, UserInput]) -> Element:
    """A <user-input> without the attributes that are not granted (RFC 5025 §3.3.2.12)."""
    each, user_input = granted
    tree = each.tree()
    threshold = tree.get("idle-threshold")
    kept = []
    if user_input is UserInput.THRESHOLDS and threshold is not None:
        kept.append(("idle-threshold", threshold))
    return element(ns.RPID, "user-input", tree.text or "", kept)
