"""Composition: one presence document out of what several sources say (RFC 4479 §3.5)."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeVar
from zlib import crc32

from zope.interface import implementer

from simplestack.documents.elements import Element
from simplestack.documents.pidf import Device, Note, Person, Presence, Tuple
from simplestack.interfaces import ICompositionPolicy

__all__ = ["PUBLICATION", "REGISTRATION", "Source", "UnionPolicy"]

PUBLICATION: Final = "publication"
REGISTRATION: Final = "registration"

Component = TypeVar("Component", Tuple, Person, Device)


class Source(NamedTuple):
    """Somebody or something that says what the state of a presentity is."""

    #: ``publication``, ``registration`` or another kind.
    kind: str
    #: Tells sources of a kind apart and stays the same as long as the source is there.
    id: str
    presence: Presence
    #: When the source said so last, in seconds of the wall clock.
    published_at: float


@implementer(ICompositionPolicy)
class UnionPolicy:
    """Shows what any source says: all services, one person, one device per device ID.

    Registrations stand in only where no other source gives a service.  Persons of
    one class become one person and devices of one device ID and class one device: of every
    element in it, and of the notes, those of the newest source that has any.  Newest is the
    later timestamp, or the later publication where there is none.  Different classes stay
    apart, because a rule may show one and not the other.
    """

    name = "union"

    def compose(self, sources: Sequence[Source], entity: str, now: float) -> Presence:
        """The document of the entity; ids are unique in it and its order is always the same."""
        lasting = [source for source in sources if source.kind != REGISTRATION]
        if any(source.presence.tuples for source in lasting):
            sources = lasting
        if len(sources) == 1:
            only = sources[0].presence
            if len(only.persons) < 2 and len(only.devices) < 2:
                return only if only.entity == entity else only._replace(entity=entity)
        ordered = sorted(sources, key=_kind_and_id)
        ids: set[str] = set()
        return Presence(
            entity,
            tuple(
                [
                    _with_unique_id(each, source, ids)
                    for source in ordered
                    for each in source.presence.tuples
                ]
            ),
            tuple([_with_unique_id(each, source, ids) for each, source in _persons(ordered)]),
            tuple([_with_unique_id(each, source, ids) for each, source in _devices(ordered)]),
            _distinct([note for source in ordered for note in source.presence.notes]),
            _distinct([each for source in ordered for each in source.presence.extensions]),
        )


def _kind_and_id(source: Source) -> tuple[str, str]:
    return source.kind, source.id


def _with_unique_id(component: Component, source: Source, ids: set[str]) -> Component:
    """The component itself, or under another id where one before it has the same.

    The new id depends on the source alone, so it stays when other sources come and go.
    """
    id_ = component.id
    if id_ in ids:
        id_ = f"{component.id}.{crc32(source.id.encode()):08x}"
        while id_ in ids:
            id_ += "x"
        component = component._replace(id=id_)
    ids.add(id_)
    return component


def _persons(sources: Sequence[Source]) -> list[tuple[Person, Source]]:
    groups: dict[str | None, list[tuple[Person, Source]]] = {}
    for source in sources:
        for person in source.presence.persons:
            groups.setdefault(person.class_, []).append((person, source))
    return [_merged(group) for group in groups.values()]


def _devices(sources: Sequence[Source]) -> list[tuple[Device, Source]]:
    groups: dict[tuple[str, str | None], list[tuple[Device, Source]]] = {}
    for source in sources:
        for device in source.presence.devices:
            # UUIDs are written in either case (RFC 4122 §3).
            key = device.device_id.lower(), device.class_
            groups.setdefault(key, []).append((device, source))
    return [_merged(group) for group in groups.values()]


Whole = TypeVar("Whole", Person, Device)


def _merged(group: list[tuple[Whole, Source]]) -> tuple[Whole, Source]:
    """One component out of several: of every element, what the newest source says."""
    if len(group) == 1:
        return group[0]
    first, source = group[0]
    ids = sorted({component.id for component, _ in group})
    # Under an id of its own, for a rule that shows one of them by its id must not show all.
    id_ = first.id if len(ids) == 1 else f"{ids[0]}.{crc32(' '.join(ids).encode()):08x}"
    group = sorted(group, key=_age, reverse=True)
    newest, _ = group[0]
    elements: dict[str, list[Element]] = {}
    notes: tuple[Note, ...] = ()
    for component, _ in group:
        own: dict[str, list[Element]] = {}
        for each in component.elements:
            own.setdefault(each.name, []).append(each)
        for name, values in own.items():
            elements.setdefault(name, values)
        notes = notes or component.notes
    merged = newest._replace(
        id=id_,
        elements=tuple([value for name in sorted(elements) for value in elements[name]]),
        notes=notes,
    )
    return merged, source


def _age(member: tuple[Person | Device, Source]) -> tuple[float, float]:
    component, source = member
    time = component.time
    published_at = source.published_at
    # A device whose clock is ahead is not newer than its PUBLISH.
    return published_at if time is None or time > published_at else time, published_at


T = TypeVar("T", Note, Element)


def _distinct(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))
