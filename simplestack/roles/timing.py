"""What a presence document says at a moment: states that begin and end by the clock.

RFC 4480 §3.1 (``from`` and ``until``) and RFC 4481 (timed status).
"""

from typing import Final, TypeVar

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, length, read
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Device, Note, Person, Presence, Tuple
from simplestack.documents.timestamps import parse_timestamp
from simplestack.sip.memory import remember_short

__all__ = ["ALWAYS", "at", "moments", "period"]

_TIMED_STATUS: Final = f"{{{ns.TIMED_STATUS}}}timed-status"
_TS: Final = f"{{{ns.TIMED_STATUS}}}"
_PIDF: Final = f"{{{ns.PIDF}}}"
_RPID: Final = f"{{{ns.RPID}}}"
_LANG: Final = f"{{{ns.XML}}}lang"
_FOREVER: Final = float("inf")

#: The period of what neither begins nor ends.
ALWAYS: Final = (-_FOREVER, _FOREVER)

Component = TypeVar("Component", Tuple, Person, Device)


def period(element: Element) -> tuple[float, float]:
    """From when (included) until when (excluded) an element holds, in unix seconds."""
    xml = element.xml
    if 'from="' not in xml and 'until="' not in xml:
        return ALWAYS
    return _period(element)


@remember_short(2048, length)
def _period(element: Element) -> tuple[float, float]:
    if not element.name.startswith((_RPID, _TS)):
        return ALWAYS
    root = element.tree()
    start, end = root.get("from"), root.get("until")
    return (
        _moment(start, -_FOREVER) if start is not None else -_FOREVER,
        _moment(end, _FOREVER) if end is not None else _FOREVER,
    )


def _moment(text: str, otherwise: float) -> float:
    try:
        return parse_timestamp(text)
    except DocumentError:
        return otherwise


def moments(presence: Presence) -> tuple[float, ...]:
    """The moments at which ``at`` may give another document, in rising order."""
    found: set[float] = set()
    for service in presence.tuples:
        for each in service.elements + service.status:
            found.update(period(each))
    for component in presence.persons + presence.devices:
        for each in component.elements:
            found.update(period(each))
    found.difference_update(ALWAYS)
    return tuple(sorted(found))


def at(presence: Presence, now: float, published_at: float) -> Presence:
    """The document as it holds at ``now``; the same object where time changes nothing.

    Elements whose period has not begun or is over are left out.  A timed status that has begun
    since the publication becomes the status (RFC 4481 §3: "The PA MAY either discard that
    element or MAY convert it to a regular <status> element if it considers that information
    more credible"); one that covered the time of publication is discarded, since the status
    beside it is the later word.  One that has ended since goes; those of the past and the future
    are carried.
    """
    tuples = tuple([_service(each, now, published_at) for each in presence.tuples])
    persons = tuple([_lasting(each, now) for each in presence.persons])
    devices = tuple([_lasting(each, now) for each in presence.devices])
    if (tuples, persons, devices) == (presence.tuples, presence.persons, presence.devices):
        return presence
    return presence._replace(tuples=tuples, persons=persons, devices=devices)


def _holds(element: Element, now: float) -> bool:
    start, end = period(element)
    return start <= now < end


def _lasting(component: Component, now: float) -> Component:
    elements = component.elements
    kept = tuple([each for each in elements if _holds(each, now)])
    return component if len(kept) == len(elements) else component._replace(elements=kept)


def _service(service: Tuple, now: float, published_at: float) -> Tuple:
    kept: list[Element] = []
    begun: list[tuple[float, Element]] = []
    for each in service.elements:
        start, end = period(each)
        if each.name != _TIMED_STATUS:
            if start <= now < end:
                kept.append(each)
        elif start > now or end <= published_at:
            kept.append(each)
        elif now < end and start > published_at:
            begun.append((start, each))
    status = tuple([each for each in service.status if _holds(each, now)])
    if len(kept) != len(service.elements) or len(status) != len(service.status):
        service = service._replace(elements=tuple(kept), status=status)
    # "overlapping appointments are common in calendars": the one that began last has the word.
    for _, each in sorted(begun):
        service = _converted(service, each)
    return service


def _converted(service: Tuple, timed: Element) -> Tuple:
    basic = service.basic
    notes: list[Note] = []
    status = {each.name: each for each in service.status}
    for child in timed.tree():
        if child.tag in (_TS + "basic", _PIDF + "basic"):
            value = (child.text or "").strip()
            basic = value if value in ("open", "closed") else basic
        elif child.tag in (_TS + "note", _PIDF + "note"):
            notes.append(Note(child.text or "", child.get(_LANG)))
        else:
            status[child.tag] = read(child)
    return service._replace(
        basic=basic, notes=(*notes, *service.notes), status=tuple(status.values())
    )
