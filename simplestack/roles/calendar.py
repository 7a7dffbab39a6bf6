"""What a calendar (RFC 5545) says of its owner, as presence: busy, in a meeting, out of office.

Needs the extra ``calendar``.  Nothing of an event is told but what kind of thing the user does:
no subject, no place, no guests.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Any, Final, NamedTuple

import icalendar
import recurring_ical_events  # type: ignore[import-untyped]  # it has no types

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import element
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Person, Presence
from simplestack.documents.timestamps import format_timestamp

__all__ = ["Period", "activities", "periods", "presence"]

BUSY: Final = frozenset({"busy", "appointment"})
MEETING: Final = frozenset({"busy", "meeting"})
AWAY: Final = frozenset({"away"})
VACATION: Final = frozenset({"away", "vacation"})
HOLIDAY: Final = frozenset({"holiday"})
TRAVEL: Final = frozenset({"busy", "travel"})

#: Categories that say more, by words that calendars use.
_CATEGORIES: Final = {
    "out of office": AWAY,
    "vacation": VACATION,
    "holiday": HOLIDAY,
    "travel": TRAVEL,
}
#: Events, and recurrences of them in the time that is asked for, that are read.
_MAX_COMPONENTS: Final = 20_000
_MAX_EVENTS: Final = 2_000
_MAX_PERIODS: Final = 500
#: Rules that recur more often than an hour describe no appointments and cost much.
_TOO_OFTEN: Final = frozenset({"SECONDLY", "MINUTELY"})


class Period(NamedTuple):
    """A time in which the user does something; unix seconds."""

    start: float
    end: float
    activities: frozenset[str]


def periods(
    data: bytes, start: datetime, end: datetime, *, zone: tzinfo = UTC, user: str = ""
) -> list[Period]:
    """What an iCalendar file says of the time from ``start`` until ``end``, recurrences included.

    ``zone`` is for times that name none and for whole days; ``user`` the address of the owner,
    whose declined invitations do not count.

    :raises DocumentError: where it is no iCalendar file, or a larger one than is read.
    """
    try:
        calendar = icalendar.Calendar.from_ical(data)
    except (ValueError, KeyError, IndexError) as error:
        raise DocumentError(f"this is not an iCalendar file: {error}"[:200]) from None
    if calendar.name != "VCALENDAR":
        raise DocumentError("this is not an iCalendar file: it has no VCALENDAR")
    if len(calendar.subcomponents) > _MAX_COMPONENTS:
        raise DocumentError(f"a calendar has at most {_MAX_COMPONENTS} components")
    calendar.subcomponents = [
        each for each in calendar.subcomponents if not _recurs_too_often(each)
    ]
    found = [*_events(calendar, start, end, zone, user), *_free_busy(calendar, zone)]
    return _apart([each for each in found if each.end > start.timestamp()])


def _recurs_too_often(component: Any) -> bool:
    rules = component.get("RRULE", ())
    for rule in rules if isinstance(rules, list) else [rules]:
        frequency = rule.get("FREQ", ()) if hasattr(rule, "get") else ()
        names = [frequency] if isinstance(frequency, str) else frequency
        if any(str(name).upper() in _TOO_OFTEN for name in names):
            return True
        if any(name in rule for name in ("BYSECOND", "BYMINUTE") if hasattr(rule, "get")):
            return True
    return False


def _events(
    calendar: Any, start: datetime, end: datetime, zone: tzinfo, user: str
) -> Iterator[Period]:
    query = recurring_ical_events.of(calendar, skip_bad_series=True)
    try:
        events = query.between(start, end)
    except (ValueError, OverflowError) as error:
        raise DocumentError(f"the calendar can't be read: {error}"[:200]) from None
    for event in events[:_MAX_EVENTS]:
        kinds = activities(event, user)
        if kinds:
            first = _moment(event.start, zone)
            last = _moment(event.end, zone)
            if last > first:
                yield Period(first, last, kinds)


def activities(event: Any, user: str = "") -> frozenset[str]:
    """The activities (RFC 4480 §3.2) of one event; none where the user is free."""
    shown = _text(event, "X-MICROSOFT-CDO-BUSYSTATUS")
    if _text(event, "STATUS") == "CANCELLED" or shown == "FREE" or _declined(event, user):
        return frozenset()
    if shown == "OOF":
        return AWAY
    if _text(event, "TRANSP") == "TRANSPARENT":
        return frozenset()
    if _text(event, "CLASS") in ("PRIVATE", "CONFIDENTIAL"):
        # "CLASS … a way of capturing the scope of the access the calendar owner intends".
        return BUSY
    for name in _categories(event):
        if name in _CATEGORIES:
            return _CATEGORIES[name]
    return MEETING if event.get("ATTENDEE") else BUSY


def _text(event: Any, name: str) -> str:
    return str(event.get(name, "")).strip().upper()


def _categories(event: Any) -> list[str]:
    value = event.get("CATEGORIES", ())
    values = value if isinstance(value, list) else [value]
    return [str(name).strip().lower() for each in values for name in getattr(each, "cats", ())]


def _declined(event: Any, user: str) -> bool:
    value = event.get("ATTENDEE", ())
    for each in value if isinstance(value, list) else [value]:
        address = str(each).partition(":")[2].lower()
        if user and address == user.lower():
            return str(each.params.get("PARTSTAT", "")).upper() == "DECLINED"
    return False


def _free_busy(calendar: Any, zone: tzinfo) -> Iterator[Period]:
    """The periods of VFREEBUSY components (RFC 5545 §3.6.4)."""
    for component in calendar.walk("VFREEBUSY"):
        value = component.get("FREEBUSY", ())
        for each in value if isinstance(value, list) else [value]:
            kind = str(each.params.get("FBTYPE", "BUSY")).upper()
            if kind == "FREE":
                continue
            for first, last in _spans(each):
                end = first + last if isinstance(last, timedelta) else last
                kinds = AWAY if kind == "BUSY-UNAVAILABLE" else BUSY
                yield Period(_moment(first, zone), _moment(end, zone), kinds)


def _spans(value: Any) -> list[tuple[Any, Any]]:
    found = getattr(value, "dts", None)
    if found is None:
        return [value.dt] if isinstance(getattr(value, "dt", None), tuple) else []
    return [each.dt for each in found]


def _moment(value: date | datetime, zone: tzinfo) -> float:
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return (value if value.tzinfo is not None else value.replace(tzinfo=zone)).timestamp()


def _apart(found: list[Period]) -> list[Period]:
    """The same as periods that do not overlap, in order, each as long as it can be."""
    edges = sorted({edge for each in found for edge in (each.start, each.end)})
    found.sort()
    result: list[Period] = []
    current: list[Period] = []
    position = 0
    for start, end in pairwise(edges):
        while position < len(found) and found[position].start <= start:
            current.append(found[position])
            position += 1
        current = [each for each in current if each.end > start]
        kinds = frozenset[str]().union(*[each.activities for each in current])
        if not kinds:
            continue
        if result and result[-1].end == start and result[-1].activities == kinds:
            result[-1] = result[-1]._replace(end=end)
        elif len(result) < _MAX_PERIODS:
            result.append(Period(start, end, kinds))
    return result


def presence(entity: str, said: list[Period]) -> Presence:
    """The document that says so: one person with each activity in its period."""
    elements = tuple(
        [
            element(
                ns.RPID,
                "activities",
                [element(ns.RPID, name) for name in sorted(each.activities)],
                [("from", format_timestamp(each.start)), ("until", format_timestamp(each.end))],
            )
            for each in said
        ]
    )
    return Presence(entity, (), (Person("calendar", None, elements),) if elements else ())
