"""The one reactor timer that moves the timers of all transactions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from twisted.logger import Logger

__all__ = ["Clockwork", "Timed"]


class Timed(Protocol):
    """What has timers to be moved: the transaction layer."""

    def advance(self, now: float) -> None:
        """Fire what is due at `now`."""

    def next_wakeup(self) -> float | None:
        """When something is due next; None if nothing is."""


class Clockwork:
    """Calls `advance` while there are timers, and sleeps while there are none.

    Every timer of a transaction starts with a message received or sent, so whoever does
    either looks at `asleep` and calls `wake`: no timer of the reactor per transaction, and no
    question to the layer per message. Awake, it looks at least every `grain` seconds, which
    is how late a timer started meanwhile can fire.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        reactor: Any,
        timed: Timed,
        clock: Callable[[], float],
        grain: float = 0.05,
        longest: float = 0.1,
    ) -> None:
        self.asleep = True
        self._reactor = reactor
        self._timed = timed
        self._clock = clock
        self._grain = grain
        self._longest = longest
        self._call: Any = None
        self._stopped = False

    def wake(self) -> None:
        """Start to look at the timers, within `grain` seconds."""
        if self.asleep and not self._stopped:
            self.asleep = False
            self._call = self._reactor.callLater(self._grain, self._tick)

    def start(self) -> None:
        """Begin to look, after a stop."""
        self._stopped = False
        self.asleep = True

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self.asleep = False
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _tick(self) -> None:
        self._call = None
        now = self._clock()
        try:
            self._timed.advance(now)
        except Exception:
            self._log.failure("A timer of a transaction failed")
        if self._stopped:
            return
        due = self._timed.next_wakeup()
        if due is None:
            self.asleep = True
            return
        delay = min(max(due - now, self._grain), self._longest)
        self._call = self._reactor.callLater(delay, self._tick)
