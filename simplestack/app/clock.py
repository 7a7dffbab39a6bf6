"""Clocks that are good to wait by: they never go back, and never stand still."""

import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, cast

from twisted.internet.base import ReactorBase
from twisted.logger import Logger

__all__ = ["SteadyClock", "steady"]

#: The wall clock has been set, where it differs by more than this, in seconds.
_SET: Final = 2.0
#: How slow the clock goes at the least while it is ahead of the wall clock.
_SLOWEST: Final = 0.5


def steady(reactor: Any) -> None:
    """Let the timers of a reactor go by the monotonic clock, before it has any.

    Twisted's go by the wall clock: set that back by an hour, and for an hour none fires.
    """
    if isinstance(reactor, ReactorBase) and not reactor.getDelayedCalls():
        cast(Any, reactor).seconds = time.monotonic


class SteadyClock:
    """The time in seconds of the wall clock, as ``now`` tells it.

    Where the wall clock is set forward it goes there too, so that what has expired is over.
    Where that is set back it goes slower until it is caught up, at half the speed at most: all
    that waits for a time goes on, and lasts at most twice as long.  ``follow`` is to be called
    every second.
    """

    log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._then = monotonic()
        self._base = wall()
        self._rate = 1.0
        #: How far ahead of the wall clock it was at the last look.
        self._ahead = 0.0

    def now(self) -> float:
        """The time; never less than before."""
        return self._base + (self._monotonic() - self._then) * self._rate

    def follow(self) -> None:
        """See how the wall clock stands."""
        then = self._monotonic()
        now = self._base + (then - self._then) * self._rate
        wall = self._wall()
        ahead = now - wall
        if ahead > self._ahead + _SET:
            self.log.warn(
                "the clock was set back by {seconds:.0f} s, which is followed over {catching:.0f} s"
                " so that nothing stands still; a restart follows at once",
                seconds=ahead - self._ahead,
                catching=ahead / _SLOWEST,
            )
        elif ahead < -_SET:
            self.log.warn("the clock was set forward by {seconds:.0f} s", seconds=-ahead)
        self._then = then
        self._base = max(now, wall)
        self._ahead = max(ahead, 0.0)
        self._rate = max(_SLOWEST, 1.0 - self._ahead)
