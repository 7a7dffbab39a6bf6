"""When operations are due: an open loop, in which nobody waits for the server."""

from collections.abc import Iterator
from random import Random

__all__ = ["Source", "moments"]


def moments(
    start: float, end: float, rate: float, phase: float, random: Random | None
) -> Iterator[float]:
    """The moments from ``start`` to ``end``, at so many per second.

    Evenly, the first of them a part ``phase`` of the interval after the start, so that several
    processes take turns; or, with a ``random``, as a Poisson process.
    """
    if rate <= 0:
        return
    if random is None:
        at = 0
        while (moment := start + (at + phase) / rate) < end:
            yield moment
            at += 1
        return
    moment = start + random.expovariate(rate)
    while moment < end:
        yield moment
        moment += random.expovariate(rate)


class Source:
    """The operations of one kind in a step; at most so many."""

    __slots__ = ("_moments", "blocked", "due", "kind", "left", "waited")

    def __init__(self, kind: int, moments: Iterator[float], most: int | None = None) -> None:
        self.kind = kind
        self._moments = moments
        #: How many may begin still; -1 for no bound.
        self.left = -1 if most is None else most
        #: The next one's moment; infinite after the last.
        self.due = 0.0
        #: Whether the next one waits for somebody to do it, and when one last did: what was due
        #: before has waited because of that.
        self.blocked = False
        self.waited = 0.0
        self.advance()

    def advance(self) -> None:
        """Go to the next one."""
        self.blocked = False
        if self.left == 0:
            self.due = float("inf")
            return
        if self.left > 0:
            self.left -= 1
        self.due = next(self._moments, float("inf"))
