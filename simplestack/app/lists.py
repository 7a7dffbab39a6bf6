"""The resource list server: which lists are watched, and the tables of these (RFC 4662).

Each list has an AOR of its own, ``list:`` and what its URI says, on which the subscriptions to it
hang as on any other.
"""

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from math import floor
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from simplestack.app.clockturns import ClockTurns
from simplestack.app.listdirectory import SERVICES, ListDirectory
from simplestack.app.localresources import LocalResources
from simplestack.app.serviceindex import LIST, is_list
from simplestack.app.virtual import VirtualSubscriptions
from simplestack.app.watch import EndTurn, Watch
from simplestack.documents.resourcelists import DisplayName
from simplestack.documents.rlmi import ListName
from simplestack.event.listpackage import ListPackage
from simplestack.event.lists import ListEntry, ListTable
from simplestack.event.states import WAITING
from simplestack.event.subscription import Subscribing
from simplestack.interfaces import IEventPackage, IStore
from simplestack.roles.lists import ResourceLists
from simplestack.sip.errors import SIPError
from simplestack.state import ChangeSet, Document, Removed, ResourceState, Subscription
from simplestack.xcap.flatlist import FlatEntry, FlatList

__all__ = ["ListServer"]

#: How long a subscription behind a list is made for, and when the list's refreshes renew it.
_LIFE: Final = 86400.0
_RENEWED: Final = 43200.0
#: Entries of a list that are subscribed to in one go.
_SLICE: Final = 50


class ListServer:
    """Knows the lists there are, and keeps the tables of those that are watched.

    ``root`` is the XCAP root URI.
    """

    log = Logger()

    def __init__(
        self,
        role: ResourceLists,
        resources: LocalResources,
        *,
        store: IStore,
        clock_turns: ClockTurns,
        root: str,
    ) -> None:
        self.role = role
        self.authenticator = resources.authenticator
        self._residents = resources.residents
        self._deadlines = resources.deadlines
        self._turns = resources.turns
        self._clock_turns = clock_turns
        self._clock = resources.clock
        self.directory = ListDirectory(
            role,
            store,
            self._residents,
            resources.domains,
            root,
            self._clock,
            self.authenticator.users,
        )
        self._tables: dict[str, dict[tuple[str, str], ListTable]] = {}
        self.packages: dict[str, IEventPackage] = {
            name: ListPackage(package, self._tables, role.interval)
            for name, package in resources.packages.items()
        }
        #: Decides SUBSCRIBE to lists.
        self.subscribing = Subscribing(self.packages, resources.limits._replace(body=65536))
        self._watches: dict[str, Watch] = {}
        #: What each document serves as a source of.
        self._sources: dict[tuple[str, str], set[str]] = {}
        self.virtual = VirtualSubscriptions(resources, self._watches, self._heard)

    # ------------------------------------------------------------------ watches

    def open(self, aor: str, package: str, watcher: str, flat: FlatList, accept: str = "") -> Watch:
        """The table of a list for a watcher, which is filled from now on.

        ``accept`` are the values of Accept of who subscribes first.
        """
        id_ = _id(aor, package, watcher)
        watch = self._watches.get(id_)
        now = self._clock()
        if watch is None:
            uri = "sip:" + aor[len(LIST) :]
            table = ListTable(uri, id_, self.role.interval, self.role.max_body)
            watch = self._watches[id_] = Watch(aor, package, watcher, table, id_, _sealed(accept))
            watch.since, watch.until = now, now + _LIFE
            self._tables.setdefault(aor, {})[package, watcher] = table
            self._fill(watch, flat, now)
            if not watch.waiting:
                table.settle()
        elif flat != watch.flat:
            # What other servers keep of it is something else now.
            self._fill(watch, flat, now)
        return watch

    def when_ready(self, watch: Watch) -> "Deferred[None] | None":
        """Fires when all resources of this server have been heard of; None where they have."""
        if not watch.waiting:
            return None
        ready: Deferred[None] = Deferred()
        watch.ready.append(ready)
        return ready

    def _fill(self, watch: Watch, flat: FlatList, now: float) -> None:
        """Give a watch the entries that its list has now."""
        for source in watch.flat.sources - flat.sources:
            watchers = self._sources.get(source)
            if watchers is not None:
                watchers.discard(watch.id)
                if not watchers:
                    del self._sources[source]
        for source in flat.sources:
            self._sources.setdefault(source, set()).add(watch.id)
        watch.flat = flat
        entries = [_entry(each) for each in flat.entries]
        joined, gone = watch.table.set_entries(_names(flat.name), entries, now)
        for aor in gone:
            self.virtual.leave(watch, aor)
            self._heard(watch, aor)
        watch.waiting.update(joined)
        self._join(watch, deque(joined))

    def _join(self, watch: Watch, joined: deque[str]) -> None:
        """Subscribe to who has joined a list; of many to some now, so that requests have turns."""
        later = self._turns.later
        left = _SLICE
        while joined and (left or later is None):
            aor = joined.popleft()
            # Who has left meanwhile is not waited for.
            if aor in watch.waiting:
                left -= 1
                self.virtual.subscribe(watch, aor)
        if joined and later is not None and self._watches.get(watch.id) is watch:
            later(lambda: self._join(watch, joined))

    def _heard(self, watch: Watch, aor: str) -> None:
        if aor in watch.waiting:
            watch.waiting.discard(aor)
            if not watch.waiting:
                ready, watch.ready = watch.ready, []
                if ready:
                    # All that is known is in the first notification.
                    watch.table.settle()
                for each in ready:
                    each.callback(None)
        self._stir(watch)

    def _stir(self, watch: Watch) -> None:
        """See that what has been altered is told when it is due."""
        due = watch.table.soonest()
        if due is None or watch.ready:
            return
        resident = self._residents.get(watch.aor)
        if resident is not None:
            resident.notifier.altered(watch.package, self._clock())
            # The wheel has whole seconds, and turns somewhere in each: at its next turn it is due.
            self._deadlines.set(watch.aor, floor(due))

    def refresh(self, watch: Watch) -> None:
        """The subscriber refreshes: what has ended is tried again, what gets old renewed."""
        now = self._clock()
        renewing = watch.until - now < _RENEWED
        if renewing:
            watch.since, watch.until = now, now + _LIFE
        for aor in list(watch.table):
            state = watch.table.state_of(aor)
            if state is None or renewing or state.state == "terminated":
                self.virtual.subscribe(watch, aor)

    def sweep(self, aor: str, state: ResourceState | None) -> None:
        """Let go what nobody watches any more of a list."""
        wanted = set()
        if state is not None:
            wanted = {
                (record.package, record.watcher)
                for record in state.subscriptions.values()
                if record.status != WAITING
            }
        for key in list(self._tables.get(aor, ())):
            watch = self._watches[_id(aor, *key)]
            if key not in wanted and not watch.opening:
                self._close(watch)

    def release(self, watch: Watch) -> None:
        """A turn that counted on a watch is over."""
        watch.opening -= 1
        if not watch.opening:
            resident = self._residents.get(watch.aor)
            if resident is None or not resident.uncommitted:
                self.sweep(watch.aor, None if resident is None else resident.state)

    def _close(self, watch: Watch) -> None:
        del self._watches[watch.id]
        tables = self._tables[watch.aor]
        del tables[watch.package, watch.watcher]
        if not tables:
            del self._tables[watch.aor]
        for source in watch.flat.sources:
            watchers = self._sources.get(source)
            if watchers is not None:
                watchers.discard(watch.id)
                if not watchers:
                    del self._sources[source]
        for aor in watch.table:
            self.virtual.leave(watch, aor)
        for each in watch.ready:
            each.callback(None)

    # ------------------------------------------------------------------ as the attendant of turns

    def concerns(self, changes: ChangeSet) -> bool:
        """Documents, what may let in who was refused, and what happens to subscriptions to lists."""
        return is_list(changes.aor) or changes.touches(Document) or self.virtual.waits(changes.aor)

    def committed(self, state: ResourceState, changes: ChangeSet) -> None:
        """Follow what has been changed: lists that were edited, and those that nobody watches."""
        if is_list(state.aor):
            self.sweep(state.aor, state)
            return
        self.virtual.reconsider(changes)
        affected: set[str] = set()
        for entry in changes.of(Document):
            record = entry.record if isinstance(entry, Removed) else entry
            if not isinstance(record, Document):
                continue
            affected |= self._sources.get((record.aor, record.id), set())
            if record.auid == SERVICES:
                self.directory.index.change(record, isinstance(entry, Removed))
        for id_ in affected:
            watch = self._watches.get(id_)
            if watch is not None:
                resolved = self.directory.resolve(watch.aor, watch.package, lenient=True)
                resolved.addCallback(self._edited, watch)
                resolved.addErrback(self._uneditable, watch)

    def _edited(self, flat: FlatList | None, watch: Watch) -> None:
        if self._watches.get(watch.id) is not watch:
            return
        if flat is None:
            self._turns.run(EndTurn(watch.aor))
            return
        self._fill(watch, flat, self._clock())
        self._stir(watch)

    def _uneditable(self, failure: Any, watch: Watch) -> None:
        # It does not serve the package any more, or the store can't be read.
        if failure.check(SIPError) and failure.value.status == 489:
            self._turns.run(EndTurn(watch.aor))

    def prepare(self, state: ResourceState, now: float) -> Deferred[Any] | None:
        """Find the subscriptions behind a list again before its subscribers are told the state."""
        if not is_list(state.aor):
            return None
        missing = self.directory.load()
        if missing is not None:
            return missing
        for record in list(state.subscriptions.values()):
            if record.status == WAITING or record.package not in self.packages:
                continue
            watch = self._watches.get(_id(state.aor, record.package, record.watcher))
            if watch is None:
                return self._restore(state, record)
            ready = self.when_ready(watch)
            if ready is not None:
                return ready
        return None

    def _restore(self, state: ResourceState, record: Subscription) -> Deferred[Any]:
        resolved = self.directory.resolve(state.aor, record.package, lenient=True)

        def found(flat: FlatList | None) -> None:
            none = FlatList(None, ())
            self.open(state.aor, record.package, record.watcher, flat or none, record.accept)
            if flat is None:
                self._turns.run(EndTurn(state.aor))

        def lost(failure: Failure) -> None:
            # What can't be read now may be there all the same.
            if not isinstance(failure.value, SIPError) or failure.value.status == 503:
                failure.raiseException()
            found(None)

        return resolved.addCallbacks(found, lost)

    def tick(self, now: float) -> None:
        """A second has passed."""
        if self.virtual.backend is not None:
            self.virtual.backend.tick(now)

    def woken(self, state: ResourceState, now: float) -> None:
        """Try again what it is time for."""
        for package, watcher in list(self._tables.get(state.aor, ())):
            watch = self._watches[_id(state.aor, package, watcher)]
            self.virtual.retry(watch, now)

    def answered(self, aor: str) -> None:
        """Go on with what did not fit into the NOTIFY before."""
        tables = self._tables.get(aor)
        if tables is None:
            return
        now = self._clock()
        resting = [
            (name, each)
            for (name, _), table in tables.items()
            for each in table.tables()
            if each.rest
        ]
        resident = self._residents.get(aor)
        if resting and resident is not None:
            # In place of what has to wait goes full state, whose rest would wait in turn.
            if not all(resident.notifier.quiet(name) for name, _ in resting):
                return
            for name, table in resting:
                table.due = now
                resident.notifier.altered(name, now)
            self._clock_turns.wake(aor)

    def __len__(self) -> int:
        return len(self._watches)

    def __iter__(self) -> Iterator[Watch]:
        return iter(list(self._watches.values()))


def _sealed(accept: str) -> tuple[str, ...]:
    """The types of signed and encrypted bodies in an Accept."""
    # "resource list servers SHOULD pass along indication for support of "multipart/signed" and
    # "application/pkcs7-mime" content types to any SIP back-end subscriptions" (RFC 4662 §7.3)
    named = accept.lower()
    return tuple([each for each in ("multipart/signed", "application/pkcs7-mime") if each in named])


def _entry(flat: FlatEntry) -> ListEntry:
    return ListEntry(flat.uri, flat.aor, _names(flat.name))


def _names(name: DisplayName | None) -> tuple[ListName, ...]:
    return () if name is None else (ListName(name.text, name.lang),)


def _id(aor: str, package: str, watcher: str) -> str:
    text = f"{aor}\n{package}\n{watcher}".encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=12).hexdigest()
