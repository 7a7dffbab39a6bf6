"""What becomes of each element where several sources say different things of one component.

``CONFLICTS`` is the table, for the elements of PIDF, RPID (RFC 4480), CIPID (RFC 4482) and
capabilities (RFC 5196); docs/operating/composition.md shows it.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple, TypeVar
from zlib import crc32

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, element, length, read
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Device, Note, Person, Tuple
from simplestack.documents.timestamps import format_timestamp, parse_timestamp
from simplestack.roles.source import ORDER, Source, place_in
from simplestack.roles.timing import ALWAYS, period
from simplestack.sip.memory import remember_short

__all__ = [
    "CONFLICTS",
    "Resolution",
    "age",
    "distinct",
    "input_time",
    "merged",
    "source_priority",
]

_RPID: Final = f"{{{ns.RPID}}}"
_CIPID: Final = f"{{{ns.CIPID}}}"
_CAPS: Final = f"{{{ns.CAPS}}}"
_DM: Final = f"{{{ns.DATA_MODEL}}}"
_PIDF: Final = f"{{{ns.PIDF}}}"
_USER_INPUT: Final = f"{_RPID}user-input"
_NOTE: Final = f"{_RPID}note"

Whole = TypeVar("Whole", Tuple, Person, Device)


class Resolution(Enum):
    """How a conflict about an element is resolved."""

    #: What all say stands together.
    JOINED = "joined"
    #: What was said last stands alone.
    NEWEST = "newest wins"
    #: What the source of highest priority says stands alone; the newest of several such.
    PRIORITY = "highest priority wins"


#: Every other element is NEWEST.  ``class`` has no conflicts: classes are never merged.
CONFLICTS: Final[Mapping[str, Resolution]] = {
    f"{_PIDF}basic": Resolution.JOINED,
    f"{_PIDF}contact": Resolution.PRIORITY,
    f"{_PIDF}note": Resolution.NEWEST,
    f"{_PIDF}timestamp": Resolution.NEWEST,
    f"{_DM}deviceID": Resolution.JOINED,
    f"{_RPID}activities": Resolution.JOINED,
    f"{_RPID}mood": Resolution.NEWEST,
    f"{_RPID}place-is": Resolution.NEWEST,
    f"{_RPID}place-type": Resolution.NEWEST,
    f"{_RPID}privacy": Resolution.NEWEST,
    f"{_RPID}relationship": Resolution.PRIORITY,
    f"{_RPID}service-class": Resolution.PRIORITY,
    f"{_RPID}sphere": Resolution.NEWEST,
    f"{_RPID}status-icon": Resolution.NEWEST,
    f"{_RPID}time-offset": Resolution.NEWEST,
    f"{_RPID}user-input": Resolution.NEWEST,
    f"{_CIPID}card": Resolution.PRIORITY,
    f"{_CIPID}display-name": Resolution.PRIORITY,
    f"{_CIPID}homepage": Resolution.PRIORITY,
    f"{_CIPID}icon": Resolution.PRIORITY,
    f"{_CIPID}map": Resolution.PRIORITY,
    f"{_CIPID}sound": Resolution.PRIORITY,
    f"{_CAPS}servcaps": Resolution.NEWEST,
    f"{_CAPS}devcaps": Resolution.NEWEST,
}


def age(component: Tuple | Person | Device, source: Source) -> tuple[float, float]:
    """When this was said; greater is newer."""
    time = component.time
    published_at = source.published_at
    # A device whose clock is ahead is not newer than its PUBLISH.
    return published_at if time is None or time > published_at else time, published_at


def source_priority(source: Source, order: Sequence[str] = ORDER) -> int:
    """The priority of a source; greater is higher."""
    return -place_in(order, source.kind, source.publisher or source.kind)


def input_time(elements: Iterable[Element], said_at: float) -> float | None:
    """When the user last did something, as ``<user-input>`` tells it; None without one.

    An active one is as young as what it stands in; an idle one tells it by ``last-input``.
    """
    times = [_last_input(each, said_at) for each in elements if each.name == _USER_INPUT]
    return max(times, default=None)


def _last_input(each: Element, said_at: float) -> float:
    state, last = _user_input(each)
    if last is not None:
        return min(last, said_at)
    # Idle since nobody knows when is older than anything that is known.
    return said_at if state == "active" else -1.0


@remember_short(512, length)
def _user_input(each: Element) -> tuple[str, float | None]:
    tree = each.tree()
    last = tree.get("last-input")
    try:
        return (tree.text or "").strip(), None if last is None else parse_timestamp(last)
    except DocumentError:
        return (tree.text or "").strip(), None


class _Said(NamedTuple):
    """What one component says of one element."""

    values: list[Element]
    age: tuple[float, float]
    priority: int


def merged(group: list[tuple[Whole, Source]], order: Sequence[str] = ORDER) -> tuple[Whole, Source]:
    """One component out of several of one class: each element as ``CONFLICTS`` says.

    The result does not depend on the order of the group.  Its source is that of the first id.
    """
    if len(group) == 1:
        return group[0]
    group = sorted(group, key=_place)
    first, source = group[0]
    ids = sorted({component.id for component, _ in group})
    # Under an id of its own, for a rule that shows one of them by its id must not show all.
    id_ = first.id if len(ids) == 1 else f"{ids[0]}.{crc32(' '.join(ids).encode()):08x}"
    group.sort(key=_age, reverse=True)
    newest, _ = group[0]
    notes: tuple[Note, ...] = ()
    for component, _ in group:
        notes = notes or component.notes
    elements = _resolved([(component.elements, each) for component, each in group], group, order)
    result = newest._replace(id=id_, elements=elements, notes=notes)
    if isinstance(result, Tuple):
        result = _service(result, group, order)
    return result, source


def _place(member: tuple[Tuple | Person | Device, Source]) -> tuple[str, str, str]:
    component, source = member
    return source.kind, source.id, component.id


def _age(member: tuple[Tuple | Person | Device, Source]) -> tuple[float, float]:
    return age(*member)


def _resolved(
    said: list[tuple[tuple[Element, ...], Source]],
    group: Sequence[tuple[Tuple | Person | Device, Source]],
    order: Sequence[str],
) -> tuple[Element, ...]:
    """The elements of several components, newest first."""
    found: dict[str, list[_Said]] = {}
    for (elements, source), member in zip(said, group, strict=True):
        own: dict[str, list[Element]] = {}
        for each in elements:
            own.setdefault(each.name, []).append(each)
        for name, values in own.items():
            found.setdefault(name, []).append(
                _Said(values, age(*member), source_priority(source, order))
            )
    result: list[Element] = []
    for name in sorted(found):
        result += _resolve(name, found[name])
    return tuple(result)


def _resolve(name: str, said: list[_Said]) -> list[Element]:
    if len(said) == 1:
        return said[0].values
    resolution = CONFLICTS.get(name, Resolution.NEWEST)
    if resolution is Resolution.JOINED:
        values = list(dict.fromkeys([value for each in said for value in each.values]))
        return [_joined(tuple(values))] if name == f"{_RPID}activities" else values
    if resolution is Resolution.PRIORITY:
        return max(said, key=_by_priority).values
    if name == _USER_INPUT:
        return max(said, key=_by_input).values
    return said[0].values


def _by_priority(each: _Said) -> tuple[int, tuple[float, float]]:
    return each.priority, each.age


def _by_input(each: _Said) -> tuple[float, tuple[float, float]]:
    time = input_time(each.values, each.age[0])
    return -1.0 if time is None else time, each.age


def _joined(values: tuple[Element, ...]) -> Element:
    """One ``<activities>`` that says what several do, for the time in which all hold."""
    return values[0] if len(values) == 1 else _join(values)


def _lengths(values: tuple[Element, ...]) -> int:
    return sum([length(each) for each in values])


@remember_short(512, _lengths)
def _join(values: tuple[Element, ...]) -> Element:
    notes: dict[Element, None] = {}
    activities: dict[Element, None] = {}
    for value in values:
        for child in value.tree():
            (notes if child.tag == _NOTE else activities)[read(child)] = None
    if len(activities) > 1:
        # "unknown" says nothing where another one knows.
        activities.pop(element(ns.RPID, "unknown"), None)
    periods = [period(value) for value in values]
    start, end = max(start for start, _ in periods), min(end for _, end in periods)
    attributes = []
    if start != ALWAYS[0]:
        attributes.append(("from", format_timestamp(start)))
    if end != ALWAYS[1]:
        attributes.append(("until", format_timestamp(end)))
    return element(ns.RPID, "activities", [*notes, *activities], attributes)


def _service(service: Tuple, group: list[tuple[Tuple, Source]], order: Sequence[str]) -> Tuple:
    """What only services have: status, contact, and devices."""
    members = [member for member, _ in group]
    basics = {member.basic for member in members}
    contacts = {member.contact for member in members}
    devices = list(dict.fromkeys([m.device_id for m in members if m.device_id is not None]))
    priorities = [member for member in members if member.contact_priority is not None]
    best = max(priorities, key=_contact_priority, default=None)
    more = tuple([element(ns.DATA_MODEL, "deviceID", each) for each in devices[1:]])
    status = _resolved([(member.status, source) for member, source in group], group, order)
    return service._replace(
        basic="open" if "open" in basics else next(iter(basics - {None}), None),
        # Of services with different contacts none is named: a rule that shows one of them by its
        # URI must not show what the others say.
        contact=service.contact if len(contacts) == 1 else None,
        contact_priority=None if best is None or len(contacts) > 1 else best.contact_priority,
        device_id=devices[0] if devices else None,
        elements=tuple(dict.fromkeys((*more, *service.elements))),
        status=status,
    )


def _contact_priority(service: Tuple) -> float:
    return service.priority


T = TypeVar("T", Note, Element)


def distinct(values: Iterable[T]) -> tuple[T, ...]:
    """Each value once, in order."""
    return tuple(dict.fromkeys(values))
