"""One list as one subscriber watches it, and the turns that subscribe to what is in it."""

from typing import Any, Protocol

from twisted.internet.defer import Deferred

from simplestack.app.authentication import Authenticator
from simplestack.event.lists import ListTable
from simplestack.outcome import Outcome
from simplestack.sip.errors import SIPError
from simplestack.state import ChangeSet, ResourceState
from simplestack.xcap.flatlist import FlatList

__all__ = ["EndTurn", "VirtualTurn", "Watch"]


class Watch:
    """One list as one subscriber watches it: its table and the subscriptions behind it."""

    __slots__ = (
        "again",
        "aor",
        "flat",
        "id",
        "opening",
        "package",
        "ready",
        "since",
        "table",
        "until",
        "waiting",
        "watcher",
    )

    def __init__(self, aor: str, package: str, watcher: str, table: ListTable, id_: str) -> None:
        self.aor = aor
        self.package = package
        self.watcher = watcher
        self.table = table
        #: The id of all subscriptions behind it: there is one for each AOR.
        self.id = id_
        self.flat = FlatList(None, ())
        #: Turns under way that count on it.
        self.opening = 0
        #: AORs that have not been heard of yet.
        self.waiting: set[str] = set()
        #: Who waits until all have been heard of.
        self.ready: list[Deferred[None]] = []
        #: AORs to be tried again, and when.
        self.again: dict[str, float] = {}
        #: When the subscriptions behind it were made, or renewed, and when they end.
        self.since = 0.0
        self.until = 0.0


class Behind(Protocol):
    """Who decides the subscriptions behind lists; ``ListServer`` is one."""

    authenticator: Authenticator

    def installed(self, state: ResourceState, watch: Watch, now: float) -> Outcome[None]:
        """The subscription to one resource."""

    def ended(self, state: ResourceState, id_: str, now: float) -> Outcome[None]:
        """The end of one."""

    def refused(self, watch: Watch, aor: str, error: SIPError) -> None:
        """A resource can't be subscribed to."""


class VirtualTurn:
    """Subscribes to one resource of a list, or ends that; provides ``Turn``."""

    __slots__ = ("_exists", "_server", "_watch", "aor", "ending")

    def __init__(self, server: Behind, watch: Watch | str, aor: str, ending: bool = False) -> None:
        self._server = server
        self._watch = watch
        self.aor = aor
        self.ending = ending
        self._exists: bool | None = None

    def __repr__(self) -> str:
        return f"<VirtualTurn {self.aor}>"

    def trust(self, now: float) -> Deferred[Any] | None:
        """The subscriber of the list was authenticated; that the resource exists is seen to."""
        if self._exists is None and not self.ending:
            exists = self._server.authenticator.exists(self.aor)
            if isinstance(exists, Deferred):
                return exists.addCallback(self._learn)
            self._exists = exists
        if not self._exists and not self.ending:
            raise SIPError(404)
        return None

    def _learn(self, exists: bool) -> None:
        self._exists = exists

    def decide(self, state: ResourceState, now: float) -> Outcome[None]:
        """The subscription, made, renewed, told again, or ended."""
        watch = self._watch
        if self.ending or isinstance(watch, str):
            return self._server.ended(state, watch if isinstance(watch, str) else watch.id, now)
        return self._server.installed(state, watch, now)

    def answer(self, response: None) -> None:
        """It is made; what it says comes by ``deliver``."""

    def refuse(self, error: SIPError) -> None:
        """It is not."""
        if isinstance(self._watch, Watch) and not self.ending:
            self._server.refused(self._watch, self.aor, error)


class EndTurn:
    """Ends all subscriptions to a list that is no more; provides ``Turn``."""

    def __init__(self, aor: str) -> None:
        self.aor = aor

    def trust(self, now: float) -> None:
        """Nobody asks."""

    def decide(self, state: ResourceState, now: float) -> Outcome[None]:
        """Each ends by ``noresource``."""
        changes = ChangeSet(self.aor)
        for record in state.subscriptions.values():
            changes.remove(record, "noresource")
        return Outcome(None, changes)

    def answer(self, response: None) -> None:
        """They are told."""

    def refuse(self, error: SIPError) -> None:
        """They end by their time."""
