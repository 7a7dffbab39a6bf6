"""The conditions of composition rules: when, by whom, how fresh, and in what circumstances."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents.errors import DocumentError
from simplestack.documents.numbers import required_number
from simplestack.documents.xml import local_name
from simplestack.roles.circumstances import activities, places, spheres
from simplestack.roles.conflicts import age
from simplestack.roles.source import Source

__all__ = ["Conditions", "Hours", "read_conditions", "said_at"]

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK: Final = frozenset(range(7))


class Hours(NamedTuple):
    """A time of the day on days of the week, from ``start`` until ``end``.

    One that ends before it begins ends on the next day.
    """

    days: frozenset[int]
    start: time
    end: time

    def holds(self, moment: datetime) -> bool:
        """Whether a local time is in it."""
        clock = moment.time()
        day = moment.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= clock < self.end
        return (day in self.days and clock >= self.start) or (
            (day - 1) % 7 in self.days and clock < self.end
        )

    def edges(self, moment: datetime) -> list[float]:
        """When it begins and ends around a local time and in the week after it."""
        return [
            datetime.combine(moment.date() + timedelta(days), clock, moment.tzinfo).timestamp()
            for days in range(-1, 9)
            for clock in (self.start, self.end)
        ]


class Conditions(NamedTuple):
    """What must hold of a source: one of each kind that is named."""

    hours: tuple[Hours, ...] = ()
    sources: frozenset[str] = frozenset()
    activities: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()
    spheres: frozenset[str] = frozenset()
    #: The source said so last fewer than these seconds ago.
    fresh: int | None = None
    #: The source said so last these seconds ago or more.
    stale: int | None = None

    def hold(self, source: Source, moment: datetime) -> bool:
        """Whether all kinds hold of a source at a local time."""
        if self.hours and not any(each.holds(moment) for each in self.hours):
            return False
        if self.sources and self.sources.isdisjoint((source.kind, source.publisher)):
            return False
        if self.fresh is not None or self.stale is not None:
            old = moment.timestamp() - said_at(source)
            if self.fresh is not None and old >= self.fresh:
                return False
            if self.stale is not None and old < self.stale:
                return False
        presence = source.presence
        return (
            (not self.activities or not self.activities.isdisjoint(activities(presence)))
            and (not self.places or not self.places.isdisjoint(places(presence)))
            and (not self.spheres or not self.spheres.isdisjoint(spheres(presence)))
        )

    def edges(self, sources: Sequence[Source], moment: datetime) -> list[float]:
        """The times at which what ``hold`` says may change by the clock."""
        found = [edge for each in self.hours for edge in each.edges(moment)]
        for limit in (self.fresh, self.stale):
            if limit is not None:
                found += [said_at(source) + limit for source in sources]
        return found


def said_at(source: Source) -> float:
    """When a source last said something: its newest timestamp, or its publication."""
    presence = source.presence
    times = [
        age(each, source)[0]
        for components in (presence.tuples, presence.persons, presence.devices)
        for each in components
    ]
    return max(times, default=source.published_at)


def read_conditions(node: etree._Element | None) -> Conditions:
    """Read a ``<when>``; None holds always.

    :raises DocumentError: where a condition is not known or has a value that it can't have.
    """
    hours: list[Hours] = []
    words: dict[str, set[str]] = {
        "source": set(),
        "activity": set(),
        "place": set(),
        "sphere": set(),
    }
    ages: dict[str, int] = {}
    for child in node if node is not None else ():
        name = local_name(child)
        if name == "time":
            hours.append(_hours(child))
        elif name in ("fresh", "stale"):
            ages[name] = required_number(child, "seconds")
        elif name in words:
            text = (child.text or "").strip()
            words[name].add(text if name == "source" else text.lower())
        else:
            raise DocumentError(f"there is no condition <{name}>")
    return Conditions(
        tuple(hours),
        frozenset(words["source"]),
        frozenset(words["activity"]),
        frozenset(words["place"]),
        frozenset(words["sphere"]),
        ages.get("fresh"),
        ages.get("stale"),
    )


def _hours(node: etree._Element) -> Hours:
    names = node.get("days", "").split()
    if not set(names) <= set(_DAYS):
        raise DocumentError(f"days are {' '.join(_DAYS)}")
    days = frozenset([_DAYS.index(name) for name in names]) or _WEEK
    return Hours(days, _clock(node, "from"), _clock(node, "until"))


def _clock(node: etree._Element, name: str) -> time:
    text = node.get(name, "00:00")
    try:
        # The end of a day is the begin of the next.
        return time.fromisoformat("00:00" if text == "24:00" else text).replace(tzinfo=None)
    except ValueError:
        raise DocumentError(f'"{text[:20]}" is not a time of day such as 18:30') from None
