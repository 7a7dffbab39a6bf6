"""The timers of RFC 3261 §17 (Table 4 of Appendix A), and the queue in which they wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, NamedTuple, TypeVar

__all__ = ["Alarm", "Fifo", "TimerQueue", "Timers"]

Item = TypeVar("Item")


class Timers(NamedTuple):
    """Durations in seconds; the lettered ones of Table 4 are computed from the three estimates.

    For a reliable transport A, E and G do not run at all, and D, I, J and K are zero.
    """

    #: Round-trip time estimate (§17.1.1.1).
    T1: float = 0.5
    #: The longest retransmission interval of non-INVITE requests and INVITE responses.
    T2: float = 4.0
    #: The longest time that a message remains in the network.
    T4: float = 5.0
    #: After this time a non-INVITE request that nobody has answered is answered with 500.  The
    #: client's timer F, which started when it first sent, must not have fired by then: the rest
    #: up to 64*T1 is for lost copies of the request and for the way back.
    guard: float = 24.0
    #: The same for INVITE, whose client waits on after a provisional response: less than the
    #: three minutes of a proxy's timer C (§16.6).
    guard_invite: float = 170.0

    @property
    def trying_invite(self) -> float:
        """A 100 (Trying) is due unless the user answers an INVITE within 200 ms (§17.2.1)."""
        return 0.2

    @property
    def trying(self) -> float:
        """When 100 (Trying) is due for other requests.

        "after the amount of time it takes a client transaction's Timer E to be reset to T2"
        (RFC 4320 §4.1): 3.5 s with the default values.
        """
        elapsed = 0.0
        interval = self.T1
        while interval < self.T2:
            elapsed += interval
            interval *= 2
        return elapsed

    def retransmit(self, attempt: int) -> float:
        """Timers E and G: MIN(T1 * 2**attempt, T2) (§17.1.2.2, §17.2.1)."""
        return min(self.T1 * 2.0**attempt, self.T2)

    def retransmit_invite(self, attempt: int) -> float:
        """Timer A: T1 * 2**attempt (§17.1.1.2)."""
        return self.T1 * 2.0**attempt

    @property
    def B(self) -> float:
        """INVITE transaction timeout."""
        return 64 * self.T1

    @property
    def C(self) -> float:
        """Wait for the final response after a provisional one: "larger than 3 minutes" (§16.6)."""
        return 185.0

    @property
    def D(self) -> float:
        """Wait for retransmissions of responses to INVITE: "at least 32 seconds" (§17.1.1.2)."""
        return max(32.0, 64 * self.T1)

    @property
    def F(self) -> float:
        """Non-INVITE transaction timeout."""
        return 64 * self.T1

    @property
    def H(self) -> float:
        """Wait for the ACK."""
        return 64 * self.T1

    @property
    def I(self) -> float:  # noqa: E743  # the RFC's name
        """Wait for retransmissions of the ACK."""
        return self.T4

    @property
    def J(self) -> float:
        """Wait for retransmissions of non-INVITE requests."""
        return 64 * self.T1

    @property
    def K(self) -> float:
        """Wait for retransmissions of responses to other requests."""
        return self.T4

    @property
    def L(self) -> float:
        """Wait for retransmissions of an accepted INVITE (RFC 6026 §7.1)."""
        return 64 * self.T1

    @property
    def M(self) -> float:
        """Wait for further 2xx responses to INVITE (RFC 6026 §7.2)."""
        return 64 * self.T1


class Fifo(Generic[Item]):
    """Timers of one constant duration: the one that was started first fires first.

    Nothing is ever cancelled: whoever fires finds out whether the item still waits for it.
    ``slack`` says how much later than due it may fire, which lets many share one wake-up.
    """

    __slots__ = ("_queue", "deadlines", "duration", "fire", "items", "slack", "stale")

    def __init__(
        self,
        queue: TimerQueue,
        duration: float,
        fire: Callable[[Item, float], None],
        slack: float,
        stale: Callable[[Item, float], bool] | None,
    ) -> None:
        self._queue = queue
        self.duration = duration
        self.fire = fire
        self.slack = slack
        self.stale = stale
        # One of pairs would give the collector of cycles something to look through for each timer.
        self.deadlines: deque[float] = deque()
        self.items: deque[Item] = deque()

    def add(self, item: Item, now: float) -> float:
        """Start a timer at ``now``; returns its deadline."""
        deadline = now + self.duration
        self.deadlines.append(deadline)
        self.items.append(item)
        queue = self._queue
        if deadline + self.slack < queue.wakeup:
            queue.wakeup = deadline + self.slack
        return deadline

    def pop(self) -> Item:
        """Take out the one that was started first."""
        self.deadlines.popleft()
        return self.items.popleft()


class Alarm:
    """A single timer of an odd duration, which can be cancelled."""

    __slots__ = ("deadline", "function")

    def __init__(self, deadline: float, function: Callable[[float], None]) -> None:
        self.deadline = deadline
        self.function: Callable[[float], None] | None = function

    def cancel(self) -> None:
        """Never fire; harmless if it has fired already."""
        self.function = None


_NEVER: Final = float("inf")


class TimerQueue:
    """All timers of a transaction layer: a FIFO for each constant duration, a heap for odd ones.

    Adding to a FIFO is an append, firing a popleft; with 96,000 transactions waiting for
    timer J neither grows.  Time comes in by argument, from a clock that never goes back.
    """

    __slots__ = ("_alarms", "_fifos", "_serial", "wakeup")

    def __init__(self) -> None:
        self._fifos: list[Fifo] = []  # type: ignore[type-arg]  # each has items of its own type
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._serial = count()
        #: The earliest time at which something may be due; infinite if nothing waits.
        self.wakeup = _NEVER

    def fifo(
        self,
        duration: float,
        fire: Callable[[Item, float], None],
        slack: float = 0.0,
        stale: Callable[[Item, float], bool] | None = None,
    ) -> Fifo[Item]:
        """A new FIFO that calls ``fire(item, now)``.

        ``stale(item, deadline)`` tells of an item at the head that it no longer waits, so that
        nobody need wake up for it.
        """
        fifo = Fifo(self, duration, fire, slack, stale)
        self._fifos.append(fifo)
        return fifo

    def at(self, deadline: float, function: Callable[[float], None]) -> Alarm:
        """Call ``function(now)`` at the deadline, once."""
        alarm = Alarm(deadline, function)
        heappush(self._alarms, (deadline, next(self._serial), alarm))
        if deadline < self.wakeup:
            self.wakeup = deadline
        return alarm

    def advance(self, now: float) -> int:
        """Fire all that is due at ``now``; returns how many there were."""
        fired = 0
        alarms = self._alarms
        while alarms and alarms[0][0] <= now:
            function = heappop(alarms)[2].function
            if function is not None:
                fired += 1
                function(now)
        for fifo in self._fifos:
            deadlines = fifo.deadlines
            if not deadlines or deadlines[0] > now:
                continue
            fire = fifo.fire
            # What is added meanwhile waits for the next call, were its duration zero.
            for _ in range(len(deadlines)):
                if deadlines[0] > now:
                    break
                fired += 1
                fire(fifo.pop(), now)
        self.wakeup = self._earliest()
        return fired

    def next_wakeup(self) -> float | None:
        """When to call ``advance`` next; None if nothing waits."""
        return None if self.wakeup == _NEVER else self.wakeup

    def _earliest(self) -> float:
        alarms = self._alarms
        while alarms and alarms[0][2].function is None:
            heappop(alarms)
        earliest = alarms[0][0] if alarms else _NEVER
        for fifo in self._fifos:
            deadlines = fifo.deadlines
            stale = fifo.stale
            if stale is not None:
                items = fifo.items
                while deadlines and stale(items[0], deadlines[0]):
                    fifo.pop()
            if deadlines and deadlines[0] + fifo.slack < earliest:
                earliest = deadlines[0] + fifo.slack
        return earliest

    def __len__(self) -> int:
        """How many timers wait, stale ones included."""
        return len(self._alarms) + sum([len(fifo.items) for fifo in self._fifos])
