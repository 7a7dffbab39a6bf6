"""How often a subscriber is told: rate control (RFC 6446)."""

import re
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from math import ceil, inf
from typing import Final, NamedTuple

from simplestack.sip.errors import SIPError
from simplestack.sip.grammar import parse_params
from simplestack.state import ChangeSet

__all__ = ["RATES", "Pace", "Rates", "agree", "check_rates", "paced"]

#: The parameters of Event that ask for a pace, and of Subscription-State that say which it is.
RATES: Final = ("max-rate", "min-rate", "adaptive-min-rate")

_RATE: Final = re.compile(r"\d{1,2}(?:\.\d{1,10})?", re.ASCII)
#: How many reciprocals of adaptive-min-rate its rolling average is taken over: "several times
#: larger than reciprocal value" (RFC 6446 §7.4).
_PERIODS: Final = 10
#: So many notifications are remembered for it; more make the next pause no longer.
_REMEMBERED: Final = 100


class Rates(NamedTuple):
    """The pace that a subscription has, in seconds, and as parameters of Subscription-State."""

    #: A notification comes not sooner after the last.
    shortest: float = 0.0
    #: A notification comes not later after the last, though nothing has changed.
    longest: float = inf
    #: adaptive-min-rate, in notifications per second; 0 for none.
    adaptive: float = 0.0
    text: str = ""


def paced(event_params: str) -> bool:
    """Whether parameters of Event ask for a pace."""
    return "-rate" in event_params and any(f";{name}" in event_params for name in RATES)


def check_rates(params: Mapping[str, str | None]) -> None:
    """See that the parameters of an Event are rates where they should be.

    :raises SIPError: 400 for what is no rate; "Zero is not an allowed value" (RFC 6446 §5.1).
    """
    for name in RATES:
        if name in params and _rate(params[name]) is None:
            raise SIPError(400, text=f"{name} is a number above 0 and below 100")


def _rate(text: str | None) -> float | None:
    if text is None or not _RATE.fullmatch(text):
        return None
    return float(text) or None


@lru_cache(512)
def agree(event_params: str, remaining: int, interval: float, repeat: float) -> Rates | None:
    """The pace of a subscription that asks for one and lasts for ``remaining`` more seconds.

    Our own policy: ``interval`` is the shortest time between notifications, ``repeat`` the
    shortest between two of which the second says nothing new.  None where no pace is asked for.
    """
    asked = dict(parse_params(event_params)) if paced(event_params) else {}
    rates = {name: rate for name in RATES if (rate := _rate(asked.get(name))) is not None}
    if not rates:
        return None
    texts = {name: asked[name] or "" for name in rates}

    def adjust(name: str, rate: float) -> None:
        if name in rates and rates[name] != rate:
            rates[name] = rate
            texts[name] = _written(rate)

    most = rates.get("max-rate")
    if most is not None:
        if interval:
            most = min(most, 1 / interval)
        # "the notifier MUST increase the maximum rate and set it to the reciprocal value of the
        # remaining subscription expiration time" (RFC 6446 §5.3)
        if remaining > 0:
            most = max(most, 1 / remaining)
        adjust("max-rate", most)
    fastest = min([1 / repeat if repeat else inf, inf if most is None else most])
    for name in ("min-rate", "adaptive-min-rate"):
        # "the notifier MUST adjust the subscriber provided "min-rate" value to a value equal to
        # or lower than the "max-rate" value" (RFC 6446 §8)
        if name in rates:
            adjust(name, min(rates[name], fastest))
    adaptive = rates.get("adaptive-min-rate", 0.0)
    least = rates.get("min-rate")
    if least is not None and adaptive and least >= adaptive:
        # "A subscriber SHOULD choose a "min-rate" value lower than the "adaptive-min-rate"
        # value, otherwise, the notifier MUST NOT consider the "min-rate" value." (RFC 6446 §8)
        least = None
        del texts["min-rate"]
    return Rates(
        1 / most if most is not None else 0.0,
        1 / least if least is not None else inf,
        adaptive,
        "".join([f";{name}={text}" for name, text in texts.items()]),
    )


def _written(rate: float) -> str:
    """A rate in ten decimals, so rounded that it is not lower."""
    text = f"{ceil(rate * 1e10) / 1e10:.10f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


class Pace:
    """When a subscriber that has agreed on rates may, and must, be told again."""

    __slots__ = ("_history", "_last", "_timeout", "held", "rates")

    def __init__(self, rates: Rates, now: float) -> None:
        self.rates = rates
        self._last = -inf
        self._timeout = inf
        self._history: deque[float] | None = None
        #: What has changed and was not told yet, where something has.
        self.held: ChangeSet | None = None
        self.change(rates, now)

    def change(self, rates: Rates, now: float) -> None:
        """Take other rates, from now on."""
        self.rates = rates
        if not rates.adaptive:
            self._history = None
        elif self._history is None:
            # "initialized to contain a history of having sent a "period * adaptive-min-rate"
            # number of notifications for the "period"" (RFC 6446 §7.2)
            step = 1 / rates.adaptive
            self._history = deque(
                [now - step * number for number in range(_PERIODS, 0, -1)], _REMEMBERED
            )
        self._timeout = self._until_next(now)

    def told(self, now: float) -> None:
        """Take note of a notification."""
        self._last = now
        self.held = None
        if self._history is not None:
            self._history.append(now)
        self._timeout = self._until_next(now)

    def _until_next(self, now: float) -> float:
        """The longest time to the next notification (RFC 6446 §7.4, equation 2)."""
        rates = self.rates
        timeout = rates.longest
        history = self._history
        if history is not None:
            start = now - _PERIODS / rates.adaptive
            while history and history[0] <= start:
                history.popleft()
            # count / (adaptive-min-rate² × period), where the period is ten reciprocals.
            timeout = min(timeout, max(1, len(history)) / (rates.adaptive * _PERIODS))
        return max(timeout, rates.shortest)

    @property
    def ready(self) -> float:
        """When the next notification may come."""
        return self._last + self.rates.shortest

    @property
    def due(self) -> float:
        """When something is to be done: a change to be told, or a time to be kept."""
        if self.held is not None:
            return self.ready
        return self._last + self._timeout if self._last > -inf else inf

    def hold(self, changes: ChangeSet) -> None:
        """Keep changes until it is time."""
        if self.held is None:
            self.held = ChangeSet(changes.aor)
        self.held.update(changes)
