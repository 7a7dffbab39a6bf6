"""All that is known of one address-of-record."""

from collections.abc import Iterable, Iterator

from simplestack.state.binding import Binding
from simplestack.state.changes import ChangeSet, Kind, Record, Removed
from simplestack.state.document import Absence, Document
from simplestack.state.publication import Publication
from simplestack.state.subscription import Subscription

__all__ = ["ResourceState"]


class ResourceState:
    """All records of one AOR: the unit of memory, of ordering and of sharding."""

    __slots__ = (
        "absences",
        "aor",
        "bindings",
        "documents",
        "ended",
        "publications",
        "subscriptions",
        "waiting",
        "watchers",
    )

    def __init__(self, aor: str, records: Iterable[Record] = ()) -> None:
        self.aor = aor
        self.bindings: dict[str, Binding] = {}
        self.publications: dict[str, Publication] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.documents: dict[str, Document] = {}
        #: How many subscriptions each watcher has, and how many of all are in the state "waiting".
        self.watchers: dict[str, int] = {}
        self.waiting = 0
        #: Subscriptions that are no more, whose last NOTIFY is not answered yet.
        self.ended: dict[str, Subscription] = {}
        #: Few have any: None until there is one.
        self.absences: dict[str, Absence] | None = None
        if records:
            self.apply(ChangeSet(aor, records))

    def apply(self, changes: ChangeSet) -> None:
        """Make the changes.  Total: it can't fail, and applying twice is applying once."""
        for (kind, key), entry in changes.entries.items():
            if kind is Subscription:
                self._subscribe(key, entry)
                continue
            records = self._records(kind)
            if isinstance(entry, Removed):
                records.pop(key, None)
            else:
                records[key] = entry

    def _subscribe(self, key: str, entry: Record | Removed) -> None:
        """Enter what becomes of a subscription."""
        before = self.subscriptions.get(key)
        if before is not None:
            self._count(before, -1)
        if isinstance(entry, Subscription) and entry.status != "terminated":
            self.subscriptions[key] = entry
            self._count(entry, 1)
            return
        if before is not None:
            del self.subscriptions[key]
        if isinstance(entry, Subscription):
            self.ended[key] = entry
        elif self.ended:
            self.ended.pop(key, None)

    def _count(self, subscription: Subscription, difference: int) -> None:
        watcher = subscription.watcher
        count = self.watchers.get(watcher, 0) + difference
        if count:
            self.watchers[watcher] = count
        else:
            del self.watchers[watcher]
        if subscription.status == "waiting":
            self.waiting += difference

    def _records(self, kind: Kind) -> dict[str, Record]:
        records: object
        if kind is Subscription:
            records = self.subscriptions
        elif kind is Publication:
            records = self.publications
        elif kind is Binding:
            records = self.bindings
        elif kind is Document:
            records = self.documents
        else:
            if self.absences is None:
                self.absences = {}
            records = self.absences
        return records  # type: ignore[return-value]  # each dict holds its own kind

    def __iter__(self) -> Iterator[Record]:
        yield from self.bindings.values()
        yield from self.publications.values()
        yield from self.subscriptions.values()
        yield from self.documents.values()
        yield from self.ended.values()
        if self.absences:
            yield from self.absences.values()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResourceState):
            return NotImplemented
        return self.aor == other.aor and set(self) == set(other)

    def __hash__(self) -> int:
        raise TypeError("a ResourceState is mutable")

    def deadline(self) -> float | None:
        """The earliest wall-clock time at which a record of this AOR expires, if any does."""
        times = [binding.expires_at for binding in self.bindings.values()]
        times += [publication.expires_at for publication in self.publications.values()]
        times += [subscription.expires_at for subscription in self.subscriptions.values()]
        times += [subscription.expires_at for subscription in self.ended.values()]
        if self.absences:
            times += [absence.expires_at for absence in self.absences.values()]
        return min(times, default=None)
