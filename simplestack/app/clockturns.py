"""The turns of the clock: what an AOR does because its time has come, and not because of a request."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from simplestack.app.deadlines import Deadlines
from simplestack.app.resident import Resident, Residents
from simplestack.app.turn import RETRY_AFTER, Turns
from simplestack.event.subscription import Subscribing
from simplestack.interfaces import IRole
from simplestack.state import ChangeSet, Document, ResourceState, Subscription

__all__ = ["ClockTurns"]

#: When the clock's turn of an AOR is tried again after a fault, in seconds.
FAULT_PAUSE: Final = 60
#: Turns of the clock that run in one go.
_SLICE: Final = 50


class ClockTurns:
    """Runs a turn of each AOR whose time has come: something expires, or is to be told now."""

    log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        turns: Turns,
        *,
        roles: Sequence[IRole],
        subscribing: Subscribing,
        residents: Residents,
        deadlines: Deadlines,
        clock: Callable[[], float],
    ) -> None:
        self._turns = turns
        self._roles = roles
        self._subscribing = subscribing
        self._residents = residents
        self._deadlines = deadlines
        self._clock = clock
        #: Each says what an AOR that was loaded waits for before its subscribers are told.
        self.preparing: list[Callable[[ResourceState, float], Deferred[Any] | None]] = []
        #: AORs whose time has come, and whose turn has not.
        self._due: deque[str] = deque()

    def tick(self) -> None:
        """Run the turns of the AORs whose time has come; called every second."""
        now = self._clock()
        attendant = self._turns.attendant
        if attendant is not None:
            attendant.tick(now)
        waited = bool(self._due)
        self._due.extend(self._deadlines.due(now))
        if self._due and not waited:
            self._wake_some()

    def _wake_some(self) -> None:
        """Run some of the turns that are due; the others when requests have had theirs."""
        due, later = self._due, self._turns.later
        left = _SLICE
        try:
            while due and (left or later is None):
                left -= 1
                self.wake(due.popleft())
        finally:
            if due and later is not None:
                later(self._wake_some)

    def wake(self, aor: str) -> None:
        """Run the turn of the clock for an AOR.

        Subscribers who were loaded are told the full state.
        """
        resident = self._residents.get(aor)
        if resident is None:
            loaded = self._residents.load(aor)
            loaded.addCallbacks(lambda _: self.wake(aor), lambda _: self._later(aor))
            return
        now = self._clock()
        if resident.untold:
            attendant = self._turns.attendant
            preparing = self.preparing
            for prepare in preparing if attendant is None else (attendant.prepare, *preparing):
                missing = prepare(resident.state, now)
                if missing is not None:
                    missing.addCallbacks(lambda _: self.wake(aor), lambda _: self._later(aor))
                    return
        try:
            self._act(resident, now)
        except Exception:
            # The clock of the others must go on.
            self.log.failure("the clock's turn of {aor} failed", aor=aor)
            self._turns.repair(resident)
            self._deadlines.set(aor, now + FAULT_PAUSE)

    def _act(self, resident: Resident, now: float) -> None:
        turns, state, notifier = self._turns, resident.state, resident.notifier
        aor = state.aor
        changes = ChangeSet(aor)
        if turns.attendant is not None:
            turns.attendant.woken(state, now)
        for role in self._roles:
            changes.update(role.expire(state, now))
        changes.update(self._subscribing.expire(state, now))
        self._clear(state, changes, now)
        due = turns.undelivered.due(aor, now)
        told = turns.resume(resident, due, now)
        notify = tuple([each for each in due if each in state.subscriptions and each not in told])
        if resident.untold:
            resident.untold = False
            # Which says what the changes mean, too.
            state.apply(changes)
            notifier.settle(changes, now)
            notifications = notifier.full_state(changes, now)
        else:
            notifications = turns.apply(resident, changes, notify, now)
            boundary = notifier.boundary(now)
            if boundary is not None and boundary <= now:
                # What the other changes mean has been told.
                passed = ChangeSet(aor)
                notifications += notifier.tick(passed, now)
                changes.update(passed)
        turns.conclude(resident, changes, notifications, now)
        for deadline in (state.deadline(), notifier.boundary(now)):
            if deadline is not None:
                self._deadlines.set(aor, deadline)

    def _clear(self, state: ResourceState, changes: ChangeSet, now: float) -> None:
        """End what is over of roles that are not served any more, for else nobody does."""
        for record in state:
            if (
                not isinstance(record, (Document, Subscription))
                and record.expires_at <= now
                and (type(record), record.id) not in changes.entries
            ):
                changes.remove(record, "expired")

    def _later(self, aor: str) -> None:
        self._deadlines.set(aor, self._clock() + RETRY_AFTER)
