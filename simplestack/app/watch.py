"""One list as one subscriber watches it, and the turn that ends all subscriptions to it."""

from twisted.internet.defer import Deferred

from simplestack.event.lists import ListTable
from simplestack.outcome import Outcome
from simplestack.sip.errors import SIPError
from simplestack.state import ChangeSet, ResourceState
from simplestack.xcap.flatlist import FlatList

__all__ = ["EndTurn", "Watch"]


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
        "sealed",
        "since",
        "table",
        "until",
        "waiting",
        "watcher",
    )

    def __init__(
        self,
        aor: str,
        package: str,
        watcher: str,
        table: ListTable,
        id_: str,
        sealed: tuple[str, ...] = (),
    ) -> None:
        self.aor = aor
        self.package = package
        self.watcher = watcher
        self.table = table
        #: The id of all subscriptions behind it: there is one for each AOR.
        self.id = id_
        #: Types of signed or encrypted bodies that the subscriber takes.
        self.sealed = sealed
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
