"""The resource list server: lists, their tables, and the subscriptions behind them (RFC 4662).

Each list has an AOR of its own, ``list:`` and what its URI says, on which the subscriptions to it
hang as on any other.  A subscription behind a list is a record of the AOR whose state it asks
for, without a remote target: what its NOTIFY would say is taken here.
"""

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from math import floor
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from simplestack.app.authentication import Authenticator
from simplestack.app.backend import BackEnd
from simplestack.app.deadlines import Deadlines
from simplestack.app.listdirectory import LIST, SERVICES, ListDirectory, is_list
from simplestack.app.placing import domain_of
from simplestack.app.resident import Residents
from simplestack.app.turn import Turns
from simplestack.app.watch import EndTurn, VirtualTurn, Watch
from simplestack.documents.resourcelists import DisplayName
from simplestack.documents.rlmi import ListName
from simplestack.event.limits import Limits
from simplestack.event.listpackage import ListPackage
from simplestack.event.lists import (
    PENDING_ENTRY,
    EntryState,
    ListEntry,
    ListTable,
    terminated_entry,
)
from simplestack.event.notifier import NotifyRequest
from simplestack.event.states import WAITING
from simplestack.event.subscription import Subscribing
from simplestack.interfaces import IEventPackage, IStore
from simplestack.outcome import Outcome
from simplestack.roles.lists import ResourceLists
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response
from simplestack.state import ChangeSet, Document, Removed, ResourceState, Subscription
from simplestack.transaction.failure import Verdict
from simplestack.xcap.flatlist import FlatEntry, FlatList

__all__ = ["ListServer"]

#: How long a subscription behind a list is made for, and when the list's refreshes renew it.
_LIFE: Final = 86400.0
_RENEWED: Final = 43200.0
#: When what ended for a while is tried again, in seconds.
_AGAIN: Final = 30.0
#: And when it is asked again whether somebody exists now.
_AGAIN_NOBODY: Final = 900.0
#: Endings after which one may subscribe again at once (RFC 6665 §4.1.3).
_AT_ONCE: Final = frozenset({"deactivated", "timeout"})
_FOR_A_WHILE: Final = frozenset({"probation", "giveup"})
_OK: Final = Response(200, "OK", {})


class ListServer:
    """Knows the lists there are, and keeps the tables of those that are watched.

    ``root`` is the XCAP root URI; ``domains`` are those whose users are here.
    """

    log = Logger()

    def __init__(
        self,
        role: ResourceLists,
        packages: Mapping[str, IEventPackage],
        limits: Limits,
        *,
        store: IStore,
        residents: Residents,
        deadlines: Deadlines,
        turns: Turns,
        authenticator: Authenticator,
        clock: Callable[[], float],
        domains: tuple[str, ...],
        root: str,
    ) -> None:
        self.role = role
        self.authenticator = authenticator
        self._limits = limits
        self.directory = ListDirectory(
            role, store, residents, domains, root, clock, authenticator.users
        )
        self._residents = residents
        self._deadlines = deadlines
        self._turns = turns
        self._clock = clock
        self._domains = domains
        self._tables: dict[str, dict[tuple[str, str], ListTable]] = {}
        self.packages: dict[str, IEventPackage] = {
            name: ListPackage(package, self._tables) for name, package in packages.items()
        }
        #: Decides SUBSCRIBE to lists.
        self.subscribing = Subscribing(self.packages, limits._replace(body=65536))
        self._virtual = Subscribing(packages, limits)
        self._watches: dict[str, Watch] = {}
        #: What each document serves as a source of.
        self._sources: dict[tuple[str, str], set[str]] = {}
        #: Watches that were refused something, by the AOR that it is of.
        self._refused: dict[str, set[str]] = {}
        #: Subscribes to resources of other domains; None where they are not served.
        self.backend: BackEnd | None = None

    # ------------------------------------------------------------------ watches

    def open(self, aor: str, package: str, watcher: str, flat: FlatList) -> Watch:
        """The table of a list for a watcher, which is filled from now on."""
        id_ = _id(aor, package, watcher)
        watch = self._watches.get(id_)
        now = self._clock()
        if watch is None:
            uri = "sip:" + aor[len(LIST) :]
            table = ListTable(uri, id_, self.role.interval, self.role.max_body)
            watch = self._watches[id_] = Watch(aor, package, watcher, table, id_)
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
            watch.again.pop(aor, None)
            self._pardon(watch, aor)
            self._drop(watch, aor)
            self._heard(watch, aor)
        watch.waiting.update(joined)
        for aor in joined:
            self._subscribe(watch, aor)

    def _subscribe(self, watch: Watch, aor: str) -> None:
        if domain_of(aor) not in self._domains:
            # Nobody waits for other domains: what is known of them now is in the first NOTIFY.
            backend = self.backend
            state = (
                terminated_entry("noresource")
                if backend is None
                else backend.watch(watch.id, aor, watch.package, watch.watcher)
            )
            self.told(watch.id, aor, state)
            return
        self._turns.run(VirtualTurn(self, watch, aor))

    def _end(self, id_: str, aor: str) -> None:
        if domain_of(aor) in self._domains:
            self._turns.run(VirtualTurn(self, id_, aor, True))

    def _drop(self, watch: Watch, aor: str) -> None:
        """A list shows a resource no more."""
        if self.backend is not None and domain_of(aor) not in self._domains:
            self.backend.leave(watch.id, aor, watch.package, watch.watcher)
        else:
            self._end(watch.id, aor)

    def told(self, id_: str, aor: str, state: EntryState | None) -> None:
        """What is known of a resource of another domain, if anything."""
        watch = self._watches.get(id_)
        if watch is not None:
            if state is not None:
                watch.table.tell(aor, state, self._clock())
            self._heard(watch, aor)

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
                self._subscribe(watch, aor)

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
            self._drop(watch, aor)
            self._pardon(watch, aor)
        for each in watch.ready:
            each.callback(None)

    # ------------------------------------------------------------------ behind the lists

    def installed(self, state: ResourceState, watch: Watch, now: float) -> Outcome[None]:
        """The subscription to one resource: made, renewed where it is old, told in any case."""
        if self._watches.get(watch.id) is not watch:
            return Outcome(None, ChangeSet(state.aor))
        known = state.subscriptions.get(watch.id)
        if known is not None and known.status != WAITING:
            changes = ChangeSet(state.aor)
            resident = self._residents.get(state.aor)
            lost = resident is not None and not resident.notifier.has(watch.id)
            if lost or known.expires_at < watch.until - 1:
                changes.put(known._replace(expires_at=watch.until))
            return Outcome(None, changes, (watch.id,))
        record = Subscription(
            aor=state.aor,
            id=watch.id,
            package=watch.package,
            status="pending",
            event="subscribe",
            watcher=watch.watcher,
            display_name="",
            call_id="",
            local_tag=watch.id,
            remote_tag="",
            local_uri="",
            remote_uri="",
            remote_target="",
            route_set="",
            contact="",
            remote_cseq=0,
            cseq_reserved=self._limits.cseq_block,
            event_id="",
            event_params="",
            accept="",
            content_type="",
            body=b"",
            subscribed_at=watch.since,
            expires_at=watch.until,
            flow=watch.aor,
            by_flow=0,
            user_agent="",
        )
        return Outcome(None, self._virtual.install(state, record, now), (watch.id,))

    def ended(self, state: ResourceState, id_: str, now: float) -> Outcome[None]:
        """The end of a subscription behind a list; a pending one becomes a waiting watcher."""
        if id_ in self._watches and state.aor in self._watches[id_].table:
            # It was wanted again meanwhile.
            return Outcome(None, ChangeSet(state.aor))
        return Outcome(None, self._virtual.failed(state, id_, Verdict.USAGE, now))

    def refused(self, watch: Watch, aor: str, error: SIPError) -> None:
        """A resource can't be subscribed to."""
        if error.status == 403:
            state = terminated_entry("rejected")
            self._await(watch, aor)
        elif error.status == 404:
            state = terminated_entry("noresource")
            self._try_again(watch, aor, _AGAIN_NOBODY)
        else:
            state = terminated_entry("probation")
            self._try_again(watch, aor, _AGAIN)
        watch.table.tell(aor, state, self._clock())
        self._heard(watch, aor)

    def _await(self, watch: Watch, aor: str) -> None:
        """Ask again when documents of this AOR change: they may be its rules."""
        self._refused.setdefault(aor, set()).add(watch.id)

    def _pardon(self, watch: Watch, aor: str) -> None:
        refused = self._refused.get(aor)
        if refused is not None:
            refused.discard(watch.id)
            if not refused:
                del self._refused[aor]

    def _try_again(self, watch: Watch, aor: str, pause: float) -> None:
        when = self._clock() + pause
        watch.again[aor] = when
        self._deadlines.set(watch.aor, when)

    def deliver(self, aor: str, notify: NotifyRequest) -> None:
        """Take what a subscription behind a list is told; it is answered at once."""
        id_ = notify.subscription.id
        watch = self._watches.get(id_)
        self._turns.notified(aor, notify, _OK, False)
        if watch is None or watch.aor != notify.subscription.flow:
            if not notify.final:
                self._reclaim(notify.subscription.flow, id_, aor)
            return
        if aor not in watch.table:
            if not notify.final:
                self._end(id_, aor)
            return
        status, _, params = notify.state_header.partition(";")
        reason = ""
        if notify.final:
            reason = params.partition("reason=")[2].partition(";")[0]
            resident = self._residents.get(aor)
            again = resident is not None and id_ in resident.state.subscriptions
            if reason in _AT_ONCE or again:
                self._subscribe(watch, aor)
                return
            if reason in _FOR_A_WHILE:
                self._try_again(watch, aor, _AGAIN)
            else:
                self._await(watch, aor)
            state = terminated_entry(reason or "noresource")
        elif status == "pending":
            state = PENDING_ENTRY
        else:
            state = EntryState("active", "", *notify.content)
        watch.table.tell(aor, state, self._clock())
        self._heard(watch, aor)

    def _reclaim(self, list_aor: str, id_: str, aor: str) -> None:
        """Somebody is told of by a subscription that nobody here knows of.

        After a restart its list may not have been looked at yet.
        """

        def loaded(_: object) -> None:
            resident = self._residents.get(list_aor)
            if resident is not None and resident.untold:
                # Its own turn will find the subscription again.
                return
            if id_ not in self._watches:
                self._end(id_, aor)

        if is_list(list_aor):
            self._residents.load(list_aor).addCallbacks(loaded, lambda _: None)

    # ------------------------------------------------------------------ as the attendant of turns

    def concerns(self, changes: ChangeSet) -> bool:
        """Documents, and what happens to subscriptions to lists."""
        return is_list(changes.aor) or changes.touches(Document)

    def committed(self, state: ResourceState, changes: ChangeSet) -> None:
        """Follow what has been changed: lists that were edited, and those that nobody watches."""
        if is_list(state.aor):
            self.sweep(state.aor, state)
            return
        for id_ in self._refused.pop(state.aor, ()):
            refused = self._watches.get(id_)
            if refused is not None:
                known = refused.table.state_of(state.aor)
                if known is not None and known.state == "terminated":
                    self._subscribe(refused, state.aor)
        affected: set[str] = set()
        for entry in changes.of(Document):
            record = entry.record if isinstance(entry, Removed) else entry
            if not isinstance(record, Document):
                continue
            affected |= self._sources.get((record.aor, record.id), set())
            if record.auid == SERVICES:
                self.directory.reindex(record, isinstance(entry, Removed))
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
            self.open(state.aor, record.package, record.watcher, flat or FlatList(None, ()))
            if flat is None:
                self._turns.run(EndTurn(state.aor))

        return resolved.addCallbacks(found, lambda _: found(None))

    def tick(self, now: float) -> None:
        """A second has passed."""
        if self.backend is not None:
            self.backend.tick(now)

    def woken(self, state: ResourceState, now: float) -> None:
        """Try again what it is time for."""
        for package, watcher in list(self._tables.get(state.aor, ())):
            watch = self._watches[_id(state.aor, package, watcher)]
            if watch.again:
                due = [aor for aor, when in watch.again.items() if when <= now]
                for aor in due:
                    del watch.again[aor]
                    self._subscribe(watch, aor)
                if watch.again:
                    self._deadlines.set(watch.aor, min(watch.again.values()))

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
            self._turns.wake(aor)

    def __len__(self) -> int:
        return len(self._watches)

    def __iter__(self) -> Iterator[Watch]:
        return iter(list(self._watches.values()))


def _entry(flat: FlatEntry) -> ListEntry:
    return ListEntry(flat.uri, flat.aor, _names(flat.name))


def _names(name: DisplayName | None) -> tuple[ListName, ...]:
    return () if name is None else (ListName(name.text, name.lang),)


def _id(aor: str, package: str, watcher: str) -> str:
    text = f"{aor}\n{package}\n{watcher}".encode("utf-8", "surrogateescape")
    return blake2b(text, digest_size=12).hexdigest()
