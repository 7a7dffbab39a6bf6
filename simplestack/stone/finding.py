"""The knee: the highest rate that a server bears."""

from collections.abc import Iterator
from math import inf
from typing import Any, Final, NamedTuple

from simplestack.stone.results import short_of_users
from simplestack.stone.running import Run

__all__ = ["Bounds", "Search", "passes"]

#: The search ends where the highest good and the lowest bad rate are so near.
_NEAR: Final = 0.05
_STEPS: Final = 24


class Bounds(NamedTuple):
    """What a rate must keep to be borne."""

    #: Part of all operations and NOTIFYs that succeed.
    success: float = 0.999
    #: Seconds within which 99 % of the NOTIFYs come, or of the answers where there are none.
    p99: float = 4.0


def passes(step: dict[str, Any], bounds: Bounds) -> bool:
    """Whether the server has borne a step, and could go on with it."""
    return step["success"] >= bounds.success and _p99(step) <= bounds.p99 and not step.get("behind")


def _p99(step: dict[str, Any]) -> float:
    times = [step["notify"]["times"], step["first_notify"]]
    counted = [each["p99"] for each in times if each["count"]]
    if not counted:
        counted = [each["times"]["p99"] for each in step["operations"].values() if each["times"]]
    return max(counted, default=0.0)


class Search:
    """Doubles the rate until it is not borne, then halves what lies between."""

    def __init__(self, start: float, bounds: Bounds, most: float = inf) -> None:
        self._start = min(start, most)
        self.bounds = bounds
        #: The highest rate that can be asked for.
        self._most = most
        self.low = 0.0
        self.high = 0.0
        #: Whether the generator was the bound before the server, or the number of its users.
        self.bound = False
        self.crowded = False

    def take(self, step: dict[str, Any]) -> None:
        """Learn from a step."""
        rate = float(step["rate"])
        if passes(step, self.bounds):
            self.low = max(self.low, rate)
        else:
            self.high = min(self.high or rate, rate)
            self.bound = bool(step["generator"]["bound"])
            self.crowded = short_of_users(step)

    def next(self) -> float | None:
        """The next rate to try; None at the end."""
        if not self.high:
            return None if self.low >= self._most else min(self.low * 2 or self._start, self._most)
        if not self.low:
            return self.high / 4 if self.high > self._start / 1000 else None
        if self.high - self.low <= self.low * _NEAR:
            return None
        return (self.low + self.high) / 2

    def rates(self, made: Run) -> Iterator[float]:
        """For ``run``."""
        for _ in range(_STEPS):
            rate = self.next()
            if rate is None:
                return
            yield rate
            self.take(made.steps[-1])

    def knee(self, steps: list[dict[str, Any]]) -> dict[str, Any]:
        """What was found: the highest rate that was borne, and the lowest that was not."""
        at = next((step for step in steps if step["rate"] == self.low), None)
        return {
            "rate": self.low,
            "not_borne": self.high or None,
            "success": self.bounds.success,
            "p99": self.bounds.p99,
            "messages_per_second": at["messages_per_second"] if at else 0.0,
            "users": at["users"] if at else None,
            "generator_bound": self.bound,
            "short_of_users": self.crowded,
            "most": self.low >= self._most,
        }
