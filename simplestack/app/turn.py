"""One request is one turn: place, trust, load, decide, apply, commit, release.

``Turns._attempt`` is the one function in which a request waits for anything.  It says what is
missing, and is called again from its start when that has come.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Any, ClassVar, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from simplestack.app.deadlines import Deadlines
from simplestack.app.delivery import Delivery
from simplestack.app.resident import Resident, Residents
from simplestack.app.undelivered import Undelivered
from simplestack.event.notifier import Notification, NotifyRequest
from simplestack.event.subscription import Subscribing
from simplestack.interfaces import IStore
from simplestack.outcome import Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response
from simplestack.state import ChangeSet, Document, Removed, ResourceState, Subscription
from simplestack.store.errors import Unavailable, Unstorable
from simplestack.transaction.failure import Lost, Verdict

__all__ = ["Attendant", "Turn", "Turns"]

#: What a client is asked to wait after a 503, in seconds.
RETRY_AFTER: Final = 5


class Turn(Protocol):
    """A request on its way through; SIP and XCAP requests each have their own."""

    @property
    def aor(self) -> str:
        """The AOR that the request is about; placed before the turn runs."""

    def trust(self, now: float) -> Deferred[Any] | None:
        """Learn who sent the request; raise SIPError, or say what to wait for."""

    def decide(self, state: ResourceState, now: float) -> Outcome[Any]:
        """The role's decision; raises SIPError."""

    def answer(self, response: Any) -> None:
        """Release the response."""

    def refuse(self, error: SIPError) -> None:
        """Answer with an error."""


class Attendant(Protocol):
    """Who makes turns of some AORs out of those of others; the resource lists do."""

    def concerns(self, changes: ChangeSet) -> bool:
        """Whether ``committed`` is to be called for these changes."""

    def committed(self, state: ResourceState, changes: ChangeSet) -> None:
        """Changes of an AOR have been committed, and what they are about has been released."""

    def prepare(self, state: ResourceState, now: float) -> Deferred[Any] | None:
        """What an AOR that was loaded waits for before its subscribers are told their state."""

    def tick(self, now: float) -> None:
        """A second has passed."""

    def woken(self, state: ResourceState, now: float) -> None:
        """The clock's turn of an AOR begins."""

    def answered(self, aor: str) -> None:
        """A NOTIFY about an AOR was answered with a 2xx."""


class _Pending:
    """A turn that has been applied and waits for its commit, by which it is called."""

    __slots__ = ("_turns", "changes", "notifications", "resident", "response", "turn")

    def __init__(
        self,
        turns: "Turns",
        resident: Resident,
        notifications: list[Notification],
        turn: Turn | None,
        response: object,
        changes: ChangeSet,
    ) -> None:
        self._turns = turns
        self.resident = resident
        self.notifications = notifications
        self.turn = turn
        self.response = response
        self.changes = changes

    def __call__(self, error: Exception | None) -> None:
        if error is None:
            self._turns.committed(self)
        else:
            self._turns.failed(self, error)


class Turns:
    """Runs the turns of requests and of failed notifications; ``ClockTurns`` has those of the clock."""

    log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        *,
        subscribing: Subscribing,
        residents: Residents,
        deadlines: Deadlines,
        store: IStore,
        clock: Callable[[], float],
    ) -> None:
        self._subscribing = subscribing
        self._residents = residents
        self._deadlines = deadlines
        self._store = store
        self._clock = clock
        #: Sends the NOTIFY requests; the assembly sets it, since each of the two needs the other.
        self.delivery: Delivery
        #: Set by the assembly where there are resource lists.
        self.attendant: Attendant | None = None
        #: Runs something when what has come meanwhile has been taken; the assembly sets it.
        self.later: Callable[[Callable[[], None]], object] | None = None
        #: The subscriptions that did not get their last NOTIFY.
        self.undelivered = Undelivered(deadlines)

    def run(self, turn: Turn) -> None:
        """Take a placed request through its turn, however long parts of it take to come."""
        try:
            missing = self._attempt(turn)
        except SIPError as error:
            turn.refuse(error)
        except Exception:
            # Nothing of it was applied, or memory is read again: nothing is torn.
            self.log.failure("a turn failed: {turn!r}", turn=turn)
            turn.refuse(SIPError(500))
        else:
            if missing is not None:
                missing.addCallbacks(self._again, self._unavailable, (turn,), {}, (turn,))
                missing.addErrback(self._broken, turn)

    def _again(self, _: object, turn: Turn) -> None:
        self.run(turn)

    def _unavailable(self, failure: Failure, turn: Turn) -> None:
        # The store or a credential source did not answer; they log why, once.
        turn.refuse(_sorry(failure.value))

    def _broken(self, failure: Failure, turn: Turn) -> None:
        self.log.failure("a turn failed: {turn!r}", failure=failure, turn=turn)

    def _attempt(self, turn: Turn) -> Deferred[Any] | None:
        now = self._clock()
        missing = turn.trust(now)
        if missing is not None:
            return missing
        resident = self._residents.get(turn.aor)
        if resident is None:
            return self._residents.load(turn.aor)
        outcome = turn.decide(resident.state, now)
        changes, notify = outcome.changes, outcome.notify
        if notify and self.undelivered.waits(turn.aor):
            # Who subscribes again is there again.
            self.resume(resident, notify, now)
        try:
            notifications = self.apply(resident, changes, notify, now)
            self.conclude(resident, changes, notifications, now, turn, outcome.response)
        except Exception:
            self.repair(resident)
            raise
        return None

    def apply(
        self, resident: Resident, changes: ChangeSet, notify: tuple[str, ...], now: float
    ) -> list[Notification]:
        """Make the changes in memory, and decide who is told."""
        if not changes and not notify:
            return []
        resident.state.apply(changes)
        resident.notifier.settle(changes, now)
        return resident.notifier.after(changes, notify, now)

    def conclude(
        self,
        resident: Resident,
        changes: ChangeSet,
        notifications: list[Notification],
        now: float,
        turn: Turn | None = None,
        response: object = None,
    ) -> None:
        """Commit what has been applied, and release when it is committed."""
        resident.used = now
        if changes:
            self._watch_clock(resident, changes, now)
        elif not resident.uncommitted:
            self._release(resident, notifications, turn, response)
            return
        # Without changes of its own a turn still waits for the commit of those that it has seen.
        resident.uncommitted += 1
        self._store.commit(
            changes, _Pending(self, resident, notifications, turn, response, changes)
        )

    def _watch_clock(self, resident: Resident, changes: ChangeSet, now: float) -> None:
        aor = resident.state.aor
        for entry in changes.entries.values():
            if not isinstance(entry, (Removed, Document)):
                self._deadlines.set(aor, entry.expires_at)
        boundary = resident.notifier.boundary(now)
        if boundary is not None:
            self._deadlines.set(aor, boundary)

    def committed(self, pending: _Pending) -> None:
        """Release what waited for a commit."""
        resident, changes = pending.resident, pending.changes
        resident.uncommitted -= 1
        try:
            self._release(resident, pending.notifications, pending.turn, pending.response)
            attendant = self.attendant
            if attendant is not None and attendant.concerns(changes):
                attendant.committed(resident.state, changes)
        except Exception:
            self.log.failure("a committed turn could not be released")

    def _release(
        self,
        resident: Resident,
        notifications: list[Notification],
        turn: Turn | None,
        response: object,
    ) -> None:
        if turn is not None:
            turn.answer(response)
        if notifications:
            for request in resident.notifier.release(notifications, self._clock()):
                self.delivery.send(resident.state.aor, request)

    def failed(self, pending: _Pending, error: Exception) -> None:
        """Take back what could not be committed, and refuse what waited for it."""
        resident, turn = pending.resident, pending.turn
        resident.uncommitted -= 1
        try:
            if self._residents.get(resident.state.aor) is resident:
                self.distrust([resident.state.aor])
            if turn is not None:
                turn.refuse(_sorry(error))
        except Exception:
            self.log.failure("a turn that failed could not be refused")

    def distrust(self, aors: Collection[str]) -> None:
        """Forget what memory holds of AORs whose changes failed to be committed.

        The store is the truth.  Subscribers are told it when it can be read again.
        """
        for aor in aors:
            resident = self._residents.evict(aor)
            if resident is not None and len(resident.notifier):
                # Who takes over has something newer to say to everybody.
                resident.notifier.abandon()
                self._deadlines.set(aor, self._clock() + RETRY_AFTER)

    def _change(self, resident: Resident, changes: ChangeSet, now: float) -> None:
        """A turn that nobody asked for."""
        if not changes:
            return
        try:
            self.conclude(resident, changes, self.apply(resident, changes, (), now), now)
        except Exception:
            self.log.failure("a turn of {aor} failed", aor=changes.aor)
            self.repair(resident)

    def repair(self, resident: Resident) -> None:
        """Forget what memory holds of an AOR after a fault; it is read again behind what is being
        committed.
        """
        aor = resident.state.aor
        if self._residents.get(aor) is not resident:
            return
        self.distrust([aor])
        if resident.uncommitted:
            committed: Deferred[None] = Deferred()
            self._store.commit(ChangeSet(aor), _firing(committed))
            self._residents.load(aor, committed).addErrback(lambda _: None)

    # Users who are removed

    def forget(self, aors: Collection[str]) -> None:
        """End what users who no longer exist have: their state, and what they watch.

        Their watchers are told ``noresource``, their phones ``rejected`` (RFC 3680 §5.2.2).
        """
        if not aors:
            return
        gone = frozenset(aors)
        now = self._clock()
        for resident in self._residents:
            state = resident.state
            changes = ChangeSet(state.aor)
            if state.aor in gone:
                for record in list(state):
                    reason = "noresource" if isinstance(record, Subscription) else "rejected"
                    changes.remove(record, reason)
            else:
                for subscription in state.subscriptions.values():
                    if subscription.watcher in gone:
                        changes.remove(subscription, "rejected")
            self._change(resident, changes, now)

    def show(self, aor: str, package: str) -> bool:
        """Tell the subscribers of an AOR what a package shows of what is no record of it.

        False where nobody subscribes to that package.
        """
        resident = self._residents.get(aor)
        if resident is None:
            # Whoever subscribes is told when it is loaded.
            return False
        if resident.untold:
            return True
        state, notifier = resident.state, resident.notifier
        if not any(each.package == package for each in state.subscriptions.values()):
            return False
        now = self._clock()
        changes = ChangeSet(aor)
        try:
            self.conclude(resident, changes, notifier.show(package, changes, now), now)
            boundary = notifier.boundary(now)
            if boundary is not None:
                self._deadlines.set(aor, boundary)
        except Exception:
            self.log.failure("a turn of {aor} failed", aor=aor)
            self.repair(resident)
        return True

    # Answers to NOTIFY

    def notified(
        self, aor: str, notify: NotifyRequest, response: Response | None, lost: Lost | None
    ) -> None:
        """Go on after a NOTIFY: its final response, or None and why there was none."""
        resident = self._residents.get(aor)
        if resident is None:
            return
        identifier = notify.subscription.id
        ok = response is not None and response.status < 300
        now = self._clock()
        judgement = None
        if not ok and not resident.notifier.awaits(identifier, notify.cseq):
            # It was sent before what memory held was lost.
            return
        if not ok and not notify.final and identifier in resident.state.subscriptions:
            judgement = self.undelivered.judge(aor, identifier, response, lost)
            if judgement.asked:
                resident.notifier.pause(identifier)
                self.undelivered.put_off(aor, identifier, now, judgement)
                return
        for request in resident.notifier.answered(identifier, notify.cseq, ok, now):
            self.delivery.send(aor, request)
        if notify.final and lost in (None, "timeout") and identifier in resident.state.ended:
            # Without a connection it may not even have left: so it does when this is read again.
            self._close(resident, identifier, now)
        if ok or notify.final:
            if self.undelivered.failed(aor):
                self.undelivered.forgive(aor, identifier)
            if ok and self.attendant is not None:
                self.attendant.answered(aor)
            # Rates count where the SUBSCRIBE asked for some: hardly anybody's does.
            if response is not None and notify.subscription.event_params:
                self._repace(resident, identifier, response, now)
        elif judgement is None:
            self.undelivered.forgive(aor, identifier)
        elif judgement.verdict is Verdict.RETRY:
            self.undelivered.put_off(aor, identifier, now, judgement)
        elif judgement.verdict is not Verdict.NOTHING:
            self._end(resident, identifier, response, judgement.verdict, now)

    def _close(self, resident: Resident, identifier: str, now: float) -> None:
        """Forget a subscription whose subscriber knows that it has ended, or can't be told."""
        changes = ChangeSet(resident.state.aor)
        ended = resident.state.ended[identifier]
        changes.remove(ended, ended.event, silent=True)
        resident.state.apply(changes)
        self.conclude(resident, changes, [], now)

    def _repace(self, resident: Resident, identifier: str, response: Response, now: float) -> None:
        """Take the rates that a 2xx to NOTIFY asks for (RFC 6446 §4.1)."""
        try:
            event = response.event
        except SIPError:
            return
        if event is not None:
            changes = self._subscribing.repaced(resident.state, identifier, event)
            if changes:
                self.conclude(resident, changes, self.apply(resident, changes, (), now), now)

    def resume(self, resident: Resident, identifiers: Iterable[str], now: float) -> list[str]:
        """Go on with those who wanted nothing for a time; those who are told something by that."""
        told = []
        for identifier in identifiers:
            for request in resident.notifier.resume(identifier, now):
                told.append(request.subscription.id)
                self.delivery.send(resident.state.aor, request)
        return told

    def _end(
        self,
        resident: Resident,
        identifier: str,
        response: Response | None,
        verdict: Verdict,
        now: float,
    ) -> None:
        """End what a failed NOTIFY ends."""
        state = resident.state
        aor = state.aor
        self.log.info(
            "a subscription to {aor} ends: its NOTIFY got {status}",
            aor=aor,
            status="no answer" if response is None else response.status,
        )
        self.undelivered.forgive(aor, identifier)
        changes = self._subscribing.failed(state, identifier, verdict, now)
        for _, ended in changes.entries:
            self.undelivered.forgive(aor, ended)
        self._change(resident, changes, now)

    def failing(self) -> int:
        """How many subscriptions did not get their last NOTIFY."""
        return len(self.undelivered)


def _firing(deferred: Deferred[None]) -> Callable[[Exception | None], object]:
    """What fires the Deferred with what a commit comes to."""

    def settled(error: Exception | None) -> None:
        if error is None:
            deferred.callback(None)
        else:
            deferred.errback(error)

    return settled


def _sorry(error: BaseException | None) -> SIPError:
    """The answer where the store failed."""
    if isinstance(error, Unstorable):
        return SIPError(400, text=str(error))
    seconds = error.retry_after if isinstance(error, Unavailable) else RETRY_AFTER
    return SIPError(503, headers=[("Retry-After", str(seconds))])
