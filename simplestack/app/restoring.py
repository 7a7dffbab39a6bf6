"""After a start: every user who has subscribers is woken, and the subscribers are told."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

__all__ = ["Restoring"]

#: Users whose state is being read at the same time: what the readers take in one go, and so few
#: that a request never waits long behind them.
_TOGETHER = 24
#: Seconds after which it is looked whether others' time has come.
_GRAIN = 0.02


class Restoring:
    """Wakes AORs one after the other, spread evenly over ``window`` seconds.

    A few are loaded at a time, and the reactor goes round in between: where the window is too short
    for so many it takes longer, and requests have their turn meanwhile. ``restored`` is called with
    the seconds that it took.
    """

    def __init__(
        self,
        reactor: Any,
        aors: Sequence[str],
        window: float,
        load: Callable[[str], Deferred[None]],
        wake: Callable[[str], object],
        restored: Callable[[float], object],
    ) -> None:
        self._reactor = reactor
        self._aors = aors
        self._window = window
        self._load = load
        self._wake = wake
        self._restored = restored
        self._next = 0
        self._loading = 0
        self._began = 0.0
        self._call: Any = None
        self._ended = False

    def start(self) -> None:
        """Begin."""
        self._began = self._reactor.seconds()
        self._go()

    def stop(self) -> None:
        """Wake nobody more."""
        self._ended = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _due(self) -> int:
        """How many may have been woken by now."""
        count = len(self._aors)
        passed = self._reactor.seconds() - self._began
        return count if passed >= self._window else int(count * passed / self._window) + 1

    def _go(self) -> None:
        self._call = None
        due = min(self._due(), len(self._aors))
        while self._next < due and self._loading < _TOGETHER and not self._ended:
            aor = self._aors[self._next]
            self._next += 1
            self._loading += 1
            # Where it can't be read it is woken all the same, which sees to that.
            self._load(aor).addBoth(self._loaded, aor)
        self._follow()

    def _loaded(self, _: object, aor: str) -> None:
        self._loading -= 1
        if not self._ended:
            self._wake(aor)
            self._follow()

    def _follow(self) -> None:
        """Go on when the reactor has gone round, or when the time of the next has come."""
        if self._call is not None or self._ended:
            return
        if self._next < len(self._aors):
            if self._loading < _TOGETHER:
                wait = 0.0 if self._next < self._due() else _GRAIN
                self._call = self._reactor.callLater(wait, self._go)
        elif not self._loading:
            self._ended = True
            self._restored(self._reactor.seconds() - self._began)
