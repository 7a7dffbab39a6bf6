"""The scenarios: what is prepared, and which operations follow at which rates.

A day in the office, and an hour with ten buddies, are rates for each user; what says so stands
beside each.  The rate of a run is spread over the kinds in their proportion, so that its result
can be told in users.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from simplestack.stone.configuration import Load
from simplestack.stone.population import watchers_of
from simplestack.stone.tally import (
    PUBLISH,
    REFRESH,
    REGISTER,
    RESUBSCRIBE,
    SUBSCRIBE,
    UNPUBLISH,
    UNREGISTER,
    UNSUBSCRIBE,
)

__all__ = ["SCENARIOS", "Habit", "Scenario", "mix", "users_of"]


class Habit(NamedTuple):
    """How often in an hour a user does something, or each of his subscriptions; and who says so."""

    kind: int
    hourly: float
    each_subscription: bool
    source: str


@dataclass(frozen=True)
class Scenario:
    """What is done to the server."""

    name: str
    #: What it is, in a sentence, and what its rate counts.
    text: str
    #: What everybody does once before the measuring, by kind, in this order.
    prepared: tuple[int, ...]
    #: The kinds that the rate is of; those of PUBLISH are divided by ``refresh``.
    kinds: tuple[int, ...] = ()
    habits: tuple[Habit, ...] = ()
    #: Everybody is cut off first, and each does it once.
    outage: bool = False


_DAY: Final = 8.0
_LIFE: Final = (
    "draft-ietf-simple-interdomain-scaling-analysis-08: a subscription lives for a working day "
    "of 8 hours"
)

_MIXED: Final = (
    Habit(
        PUBLISH,
        3.0,
        False,
        "draft-ietf-simple-interdomain-scaling-analysis-08: 3 changes of state in an hour; "
        "Sun Java System Instant Messaging 7 deployment planning guide, heavy user: at least 20 "
        "in a day",
    ),
    Habit(REFRESH, 1.0, False, "RFC 3903 §4.1: refreshed before it expires, here in an hour"),
    Habit(REGISTER, 1.0, False, "RFC 3261 §10.2.1: a binding lives for an hour by default"),
    Habit(RESUBSCRIBE, 1.0, True, "RFC 3856 §6.4: a subscription lives for an hour by default"),
    Habit(UNSUBSCRIBE, 1 / _DAY, True, _LIFE),
    Habit(SUBSCRIBE, 1 / _DAY, True, _LIFE),
    Habit(UNPUBLISH, 1 / _DAY, False, _LIFE + ", and so does the user's presence"),
    Habit(UNREGISTER, 1 / _DAY, False, _LIFE + ", and so does the user's binding"),
)

_TEN: Final = (
    Habit(
        PUBLISH,
        18.0,
        False,
        "tests/bench/traffic.py: 2 calls of 4 changes, 3 pauses of 2, a slip of 2, a note, a "
        "place in an hour",
    ),
    Habit(
        RESUBSCRIBE,
        3600 / 540,
        True,
        "tests/bench/traffic.py: a subscription of 600 s, refreshed when nine tenths are over",
    ),
)

SCENARIOS: Final[Mapping[str, Scenario]] = {
    each.name: each
    for each in (
        Scenario(
            "register",
            "REGISTER that refreshes a user's binding; the rate counts them",
            (REGISTER,),
            (REGISTER,),
        ),
        Scenario(
            "publish",
            "PUBLISH that modifies or refreshes, and nobody watches; the rate counts them",
            (PUBLISH,),
            (PUBLISH,),
        ),
        Scenario(
            "subscribe",
            "SUBSCRIBE in new dialogs, each with its NOTIFY; the rate counts them",
            (PUBLISH,),
            (SUBSCRIBE,),
        ),
        Scenario(
            "fan-out",
            "PUBLISH that modifies or refreshes, told to all watchers; the rate counts the PUBLISHes",
            (PUBLISH, SUBSCRIBE),
            (PUBLISH,),
        ),
        Scenario(
            "refresh-storm",
            "all clients come back after an outage: connection, REGISTER, PUBLISH, SUBSCRIBEs; "
            "the rate counts clients, and follows from the outage where it is not in rates",
            (REGISTER, PUBLISH, SUBSCRIBE),
            (REGISTER, PUBLISH, SUBSCRIBE),
            outage=True,
        ),
        Scenario(
            "mixed-day",
            "a working day of people in an office; the rate counts all requests",
            (REGISTER, PUBLISH, SUBSCRIBE),
            habits=_MIXED,
        ),
        Scenario(
            "ten-buddies",
            "an hour of people who watch their buddies; the rate counts all requests",
            (PUBLISH, SUBSCRIBE),
            habits=_TEN,
        ),
    )
}


def _hourly(load: Load) -> float:
    """Requests in an hour of all the users of the configuration, as in life."""
    subscriptions = sum(watchers_of(load))
    if load.lists:
        subscriptions = load.presentities if load.mutual else load.watchers
    return sum(
        habit.hourly * (subscriptions if habit.each_subscription else load.presentities)
        for habit in SCENARIOS[load.scenario].habits
    )


def mix(load: Load, rate: float) -> dict[int, float]:
    """Operations per second of each kind."""
    scenario = SCENARIOS[load.scenario]
    subscriptions = sum(watchers_of(load))
    if load.lists:
        subscriptions = load.presentities if load.mutual else load.watchers
    if scenario.habits:
        scale = rate / _hourly(load)
        return {
            habit.kind: scale
            * habit.hourly
            * (subscriptions if habit.each_subscription else load.presentities)
            for habit in scenario.habits
        }
    made: dict[int, float] = {}
    for kind in scenario.kinds:
        if scenario.outage and kind == SUBSCRIBE:
            made[kind] = rate * subscriptions / load.presentities
        elif kind == PUBLISH and not scenario.outage and load.refresh:
            made[PUBLISH] = rate * (1 - load.refresh)
            made[REFRESH] = rate * load.refresh
        else:
            made[kind] = rate
    return {kind: each for kind, each in made.items() if each > 0}


def users_of(load: Load, rate: float) -> float | None:
    """How many users in life make so many requests per second; None where that says nothing."""
    if not SCENARIOS[load.scenario].habits:
        return None
    return load.presentities * rate * 3600 / _hourly(load)
