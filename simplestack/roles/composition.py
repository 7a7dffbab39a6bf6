"""Composition: one presence document out of what several sources say (RFC 4479 §3.5)."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar
from zlib import crc32

from zope.interface import implementer

from simplestack.documents.pidf import Device, Person, Presence, Tuple
from simplestack.interfaces import ICompositionPolicy
from simplestack.roles.conflicts import distinct, merged
from simplestack.roles.source import (
    HARD_STATE,
    PUBLICATION,
    REGISTRATION,
    Source,
    considered,
)

__all__ = [
    "HARD_STATE",
    "PUBLICATION",
    "REGISTRATION",
    "Choice",
    "Source",
    "UnionPolicy",
    "assembled",
    "grouped",
]

Component = TypeVar("Component", Tuple, Person, Device)

#: Where a component is its own group, because nothing says what else describes the same.
_APART: Final = None


class Choice(Protocol):
    """Makes one component of several that describe the same thing."""

    def __call__(self, group: list[tuple[Component, Source]], /) -> tuple[Component, Source]:
        """The component that is shown, and the source that its id may be made unique by."""


@implementer(ICompositionPolicy)
class UnionPolicy:
    """Shows what any source says: all services, one person, one device per device ID.

    Registrations stand in only where no other live source gives a service.  Persons of
    one class become one person and devices of one device ID and class one device, of whose
    elements the table in ``conflicts`` says what becomes of them.  Newest is the
    later timestamp, or the later publication where there is none.  Different classes stay
    apart, because a rule may show one and not the other.
    """

    name = "union"

    def compose(self, sources: Sequence[Source], entity: str, now: float) -> Presence:
        """The document of the entity; ids are unique in it and its order is always the same."""
        sources = considered(sources)
        if len(sources) == 1:
            only = sources[0].presence
            if len(only.persons) < 2 and len(only.devices) < 2:
                return only if only.entity == entity else only._replace(entity=entity)
        return assembled(sources, entity, _apart, merged)

    def boundary(self, sources: Sequence[Source], now: float) -> float | None:
        """Time alone changes nothing."""
        return None

    def configured(self, parameters: Any) -> "UnionPolicy":
        """There is nothing to choose."""
        return self


def _apart(service: Tuple) -> None:
    return _APART


def assembled(
    sources: Sequence[Source],
    entity: str,
    pivot: Callable[[Tuple], str | None],
    choose: Choice,
) -> Presence:
    """The document in which ``choose`` makes one component of each group.

    Services are of one group where ``pivot`` and class are the same, and None is like no other;
    persons where the class is; devices where device ID and class are.
    """
    ordered = sorted(sources, key=_kind_and_id)
    ids: set[str] = set()
    # Components keep the order of their sources, for watchers that take the first for the best.
    services = grouped(ordered, _tuples, lambda each: _service_key(pivot(each), each))
    persons = grouped(ordered, _persons, lambda each: (each.class_,))
    # UUIDs are written in either case (RFC 4122 §3).
    devices = grouped(ordered, _devices, lambda each: (each.device_id.lower(), each.class_))
    return Presence(
        entity,
        tuple([_with_unique_id(*choose(group), ids) for group in services]),
        tuple([_with_unique_id(*choose(group), ids) for group in persons]),
        tuple([_with_unique_id(*choose(group), ids) for group in devices]),
        distinct([note for source in ordered for note in source.presence.notes]),
        distinct([each for source in ordered for each in source.presence.extensions]),
    )


def grouped(
    sources: Sequence[Source],
    components: Callable[[Presence], tuple[Component, ...]],
    key: Callable[[Component], tuple[str | None, ...] | None],
) -> list[list[tuple[Component, Source]]]:
    """The components of several sources by what they describe, in the order of the sources."""
    found: dict[object, list[tuple[Component, Source]]] = {}
    for source in sources:
        for each in components(source.presence):
            name: object = key(each)
            found.setdefault(object() if name is None else name, []).append((each, source))
    return list(found.values())


def _service_key(pivot: str | None, service: Tuple) -> tuple[str | None, ...] | None:
    return None if pivot is None else (pivot, service.class_)


def _tuples(presence: Presence) -> tuple[Tuple, ...]:
    return presence.tuples


def _persons(presence: Presence) -> tuple[Person, ...]:
    return presence.persons


def _devices(presence: Presence) -> tuple[Device, ...]:
    return presence.devices


def _kind_and_id(source: Source) -> tuple[int, str, str]:
    # What a device publishes stands before what stays without one.
    return source.kind in (HARD_STATE, REGISTRATION), source.kind, source.id


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
