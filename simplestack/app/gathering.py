"""What is of no user, and what is of all: the global tree, and documents made of all users'."""

from collections.abc import Callable
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from simplestack.app.turn import Turns
from simplestack.interfaces import IApplicationUsage
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request
from simplestack.state import ChangeSet, Document, Record, Removed, ResourceState
from simplestack.xcap.globaltree import GlobalTree
from simplestack.xcap.selectors import GLOBAL, DocumentSelector
from simplestack.xcap.server import XCAPServer

__all__ = ["Documents", "Gathering"]

#: The event package that tells of documents.
XCAP_DIFF: Final = "xcap-diff"

#: All documents of one usage, of every user.
Documents = Callable[[str], "Deferred[list[Document]]"]
#: All records of an AOR.
Load = Callable[[str], "Deferred[list[Record]]"]


def _nothing(aor: str) -> "Deferred[list[Record]]":
    return succeed([])


class Gathering:
    """Gathers the documents of all users that one is made of, and keeps ``tree`` as committed.

    Subscriptions hang on their users' AORs, these documents do not.  What is committed of them is
    told in turns of their own of those AORs that ``tree`` names.  ``documents`` and ``load`` read
    the store.
    """

    log = Logger()

    def __init__(
        self,
        server: XCAPServer,
        turns: Turns,
        *,
        documents: Documents | None = None,
        load: Load = _nothing,
        tree: GlobalTree | None = None,
    ) -> None:
        self.server = server
        self.documents = documents
        self.tree = GlobalTree() if tree is None else tree
        self._turns = turns
        self._load = load
        #: The documents of all users by AUID, as long as none of them is written.
        self._all: dict[str, tuple[Document, ...]] = {}
        #: How often documents that are gathered were written, or began to be.
        self._writes = 0
        self._writing = 0
        #: Documents that are being made anew, by id, and whether once more.
        self._renewing: dict[str, bool] = {}

    def gathered(
        self, auid: str, path: str
    ) -> "tuple[Document, ...] | Deferred[tuple[Document, ...]]":
        """The documents of all users that a computed one is made of.

        Raises SIPError 503 where they can't be read.
        """
        found = self._all.get(auid)
        if found is not None:
            return found
        if self.documents is None:
            raise SIPError(503, text="documents of all users can't be read here")
        return self.documents(auid).addCallback(self._keep, auid, path, self._writes)

    def _keep(
        self, documents: "list[Document]", auid: str, path: str, writes: int
    ) -> tuple[Document, ...]:
        users = [each for each in documents if each.path == path and each.aor != GLOBAL]
        found = tuple(sorted(users))
        # What is being written may be in it or not.
        if writes == self._writes and not self._writing:
            self._all[auid] = found
        return found

    def write(self, auid: str, begins: bool) -> None:
        """A document is about to be written, or has been, or has failed to be."""
        if self.server.usages[auid].gathers:
            self._all.pop(auid, None)
            self._writes += 1
            self._writing += 1 if begins else -1

    def forget(self) -> None:
        """Users were removed with all their documents."""
        self._all.clear()
        self._writes += 1
        for usage in self.server.usages.values():
            if usage.gathers:
                self._renew(usage)

    # For those who watch from other AORs

    def awaited(self, request: Request, identity: str) -> "Deferred[Any] | None":
        """What must be known before the first NOTIFY of a subscription can be made."""
        event = request.event
        if event is None or event.package != XCAP_DIFF:
            return None
        return self._missing(identity)

    def prepare(self, state: ResourceState, now: float) -> "Deferred[Any] | None":
        """What must be known before the subscribers of an AOR that was loaded can be told."""
        for subscription in state.subscriptions.values():
            if subscription.package == XCAP_DIFF:
                missing = self._missing(subscription.watcher)
                if missing is not None:
                    return missing
        return None

    def _missing(self, identity: str) -> "Deferred[Any] | None":
        if not self.tree.loaded:
            return self._read_tree()
        if self.documents is not None:
            for usage in self.server.usages.values():
                place = DocumentSelector(usage.auid, "", usage.gathers)
                if (
                    usage.gathers
                    and place.id not in self.tree.made
                    and self.server.readable(place, identity)
                ):
                    return self._make(usage)
        return None

    def _read_tree(self) -> "Deferred[Any]":
        return self._load(GLOBAL).addCallback(self._learn_tree, self.tree.commits)

    def _learn_tree(self, records: "list[Record]", commits: int) -> "Deferred[Any] | None":
        if self.tree.loaded:
            return None
        if commits != self.tree.commits:
            # What was committed meanwhile may not be in it.
            return self._read_tree()
        self.tree.load(records)
        return None

    def _make(self, usage: IApplicationUsage) -> "Deferred[None]":
        found = self.gathered(usage.auid, usage.gathers)
        gathered = found if isinstance(found, Deferred) else succeed(found)
        return gathered.addCallback(self._made, usage)

    def _made(self, gathered: tuple[Document, ...], usage: IApplicationUsage) -> None:
        document = self.server.union(usage, gathered)
        self.tree.made[document.id] = document

    def committed(self, changes: ChangeSet) -> None:
        """Documents were changed that may be watched from other AORs: tell who does."""
        if changes.aor == GLOBAL:
            self.tree.apply(changes)
            self._show("")
            return
        for entry in changes.of(Document):
            record = entry.record if isinstance(entry, Removed) else entry
            usage = self.server.usages[cast("Document", record).auid]
            if usage.gathers == cast("Document", record).path:
                self._renew(usage)

    def _renew(self, usage: IApplicationUsage) -> None:
        """Make a document that is made of all users' anew, if anybody watches it."""
        id_ = f"{usage.auid}/{usage.gathers}"
        if not self.tree.is_wanted(id_):
            self.tree.made.pop(id_, None)
        elif id_ in self._renewing:
            self._renewing[id_] = True
        else:
            self._renewing[id_] = False
            self._make(usage).addBoth(self._renewed, id_, usage)

    def _renewed(self, result: object, id_: str, usage: IApplicationUsage) -> None:
        again = self._renewing.pop(id_)
        if isinstance(result, Failure):
            # The next change, or the next who subscribes, makes it again.
            self.log.failure("{document} could not be made", result, document=id_)
            self.tree.made.pop(id_, None)
        else:
            self._show(id_)
        if again:
            self._renew(usage)

    def _show(self, made: str) -> None:
        """Tell those who watch the tree, or of it this document that is made of all users'."""
        for aor, seen in list(self.tree.watchers.items()):
            if (not made or made in seen) and not self._turns.show(aor, XCAP_DIFF):
                del self.tree.watchers[aor]
