"""The AORs that are in memory."""

from collections.abc import Callable, Iterator
from typing import cast

from twisted.internet.defer import Deferred, succeed

from simplestack.event.notifier import Notifier
from simplestack.interfaces import IStore
from simplestack.state import Record, ResourceState

__all__ = ["Resident", "Residents"]


class Resident:
    """One AOR in memory: its records and its notifier."""

    __slots__ = ("notifier", "state", "uncommitted", "untold", "used")

    def __init__(self, state: ResourceState, notifier: Notifier, now: float) -> None:
        self.state = state
        self.notifier = notifier
        #: When a turn last ran, in seconds of the wall clock.
        self.used = now
        #: How many turns wait for their commit.
        self.uncommitted = 0
        #: Whether subscribers were loaded who must be told the state as it is now.
        self.untold = len(notifier) > 0


class Residents:
    """All AORs in memory, loaded on first touch.

    An AOR stays while it has live subscriptions, whose dialogs hang on it, or uncommitted turns;
    any other leaves when it has been idle for ``idle`` seconds.
    """

    def __init__(
        self,
        store: IStore,
        notifier: Callable[[ResourceState], Notifier],
        clock: Callable[[], float],
        idle: float,
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._clock = clock
        self._idle = idle
        self._residents: dict[str, Resident] = {}
        self._loading: dict[str, list[Deferred[None]]] = {}

    def get(self, aor: str) -> Resident | None:
        """The AOR, where it is in memory."""
        return self._residents.get(aor)

    def load(self, aor: str, after: Deferred[None] | None = None) -> Deferred[None]:
        """Bring an AOR into memory; where ``after`` is given, it is read when that has fired.

        The Deferreds of one AOR fire in the order of the calls, which keeps its requests in
        theirs.
        """
        if aor in self._residents:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        if aor in self._loading:
            self._loading[aor].append(waiting)
            return waiting
        self._loading[aor] = [waiting]
        loaded = self._read(None, aor) if after is None else after.addCallback(self._read, aor)
        loaded.addCallback(self._loaded, aor)
        loaded.addCallbacks(self._resume, self._fail, callbackArgs=(aor,), errbackArgs=(aor,))
        return waiting

    def _read(self, _: None, aor: str) -> Deferred[list[Record]]:
        return cast("Deferred[list[Record]]", self._store.load(aor))

    def _loaded(self, records: list[Record], aor: str) -> None:
        state = ResourceState(aor, records)
        self._residents[aor] = Resident(state, self._notifier(state), self._clock())

    def _resume(self, _: None, aor: str) -> None:
        for waiting in self._loading.pop(aor):
            waiting.callback(None)

    def _fail(self, reason: object, aor: str) -> None:
        for waiting in self._loading.pop(aor):
            waiting.errback(reason)  # type: ignore[arg-type]  # an errback is given a Failure

    def evict(self, aor: str) -> Resident | None:
        """Forget what memory holds of an AOR, because the store knows better."""
        return self._residents.pop(aor, None)

    def sweep(self) -> int:
        """Let the idle ones go; how many went."""
        limit = self._clock() - self._idle
        idle = [
            aor
            for aor, resident in self._residents.items()
            if resident.used < limit and not resident.uncommitted and not len(resident.notifier)
        ]
        for aor in idle:
            del self._residents[aor]
        return len(idle)

    def __len__(self) -> int:
        return len(self._residents)

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._residents.values()))
