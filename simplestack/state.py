"""The state of one address-of-record (AOR): its records, and the changes made to them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias, TypeVar

from mypy_extensions import mypyc_attr

__all__ = [
    "RECORD_KINDS",
    "Absence",
    "Binding",
    "ChangeSet",
    "Document",
    "Publication",
    "Record",
    "Removed",
    "ResourceState",
    "Subscription",
    "fields_of",
    "row_of",
]


class Binding(NamedTuple):
    """A contact bound to an AOR by REGISTER (RFC 3261 §10.3).

    ``id`` names the contact in registration information (RFC 3680 §5.2.2) and lasts as long as
    the binding does.  Times are seconds of the wall clock.
    """

    aor: str
    id: str
    #: The Contact URI as it was registered.
    uri: str
    #: The key by which two registrations are of the same contact: the comparable form of the URI,
    #: or instance and reg-id where the client sent them (RFC 5626 §6).
    key: str
    display_name: str
    #: Contact header field parameters as registered, without q and expires: ";a=b;c".
    params: str
    #: Priority in thousandths, 0 to 1000.
    q: int
    call_id: str
    cseq: int
    expires_at: float
    registered_at: float
    refreshed_at: float
    #: What happened last: registered, created, refreshed, shortened … (RFC 3680 §5.2.2).
    event: str
    #: Path header field values, in order, joined by ", " (RFC 3327).
    path: str
    instance: str
    reg_id: int
    user_agent: str
    #: The flow that the registration came by, as ``Flow.key``.
    flow: str


class Publication(NamedTuple):
    """Event state published with PUBLISH (RFC 3903)."""

    aor: str
    #: Stays the same while the entity-tag changes with every PUBLISH.
    id: str
    package: str
    entity_tag: str
    #: The authenticated identity that publishes.
    publisher: str
    content_type: str
    body: bytes
    published_at: float
    expires_at: float


#: The fields of a subscription in their order.
_SUBSCRIPTION: Final[dict[str, type]] = {
    "aor": str,
    "id": str,
    "package": str,
    "status": str,
    "event": str,
    "watcher": str,
    "display_name": str,
    "call_id": str,
    "local_tag": str,
    "remote_tag": str,
    "local_uri": str,
    "remote_uri": str,
    "remote_target": str,
    "route_set": str,
    "contact": str,
    "remote_cseq": int,
    "cseq_reserved": int,
    "event_id": str,
    "event_params": str,
    "accept": str,
    "content_type": str,
    "body": bytes,
    "subscribed_at": float,
    "expires_at": float,
    "flow": str,
    "by_flow": int,
    "user_agent": str,
    "accept_encoding": str,
    "suppress": str,
}


@mypyc_attr(acyclic=True)
class Subscription:
    """A subscription to the state of an AOR, with its dialog (RFC 6665), or a waiting watcher.

    ``status`` is pending, active or waiting (RFC 3857 §4.7.1); a waiting one has no dialog any
    more and ``expires_at`` is when it is forgotten.  One that is terminated is kept until its
    subscriber has been told; ``event`` is then the reason.

    Of these there are the most, so it is no NamedTuple: as compiled code has it, it is made in a
    tenth of the time, numbers need no objects, and the collector of cycles does not look into it.
    It does not change either, and has those methods of a NamedTuple that are needed.
    """

    __slots__ = tuple(_SUBSCRIPTION)

    _field_defaults: ClassVar[dict[str, str]] = {"accept_encoding": "", "suppress": ""}

    def __init__(
        self,
        aor: str,
        #: Names the watcher in watcher information (RFC 3858 §4.1).
        id: str,  # noqa: A002  # as the field of the others
        package: str,
        status: str,
        #: The winfo event that led to the status: subscribe, approved, … (RFC 3858 §4.1).
        event: str,
        #: The AOR of the watcher as it was authenticated.
        watcher: str,
        display_name: str,
        call_id: str,
        local_tag: str,
        remote_tag: str,
        #: The dialog's local URI, the To of the SUBSCRIBE, as header field text without the tag.
        local_uri: str,
        #: The dialog's remote URI, the From of the SUBSCRIBE, as header field text without the tag.
        remote_uri: str,
        #: The Contact URI of the subscriber.
        remote_target: str,
        #: Record-Route of the SUBSCRIBE in its order, joined by ", ": the route set of the notifier.
        route_set: str,
        #: The Contact URI that the notifier gave.
        contact: str,
        remote_cseq: int,
        #: CSeq numbers of NOTIFY up to this one may have been used; a restart goes on above it.
        cseq_reserved: int,
        #: The ``id`` parameter of the Event header field.
        event_id: str,
        #: All other Event parameters, as text: ";a=b".
        event_params: str,
        #: Accept header field values, joined by ", ".
        accept: str,
        #: The content type of the SUBSCRIBE body and the body: a filter or a list.
        content_type: str,
        body: bytes,
        subscribed_at: float,
        expires_at: float,
        #: The flow that the last SUBSCRIBE came by, as ``Flow.key``.
        flow: str,
        #: 1 where the NOTIFY must go back by the flow: the client is behind a NAT or asked for it.
        by_flow: int,
        user_agent: str,
        #: Accept-Encoding header field values, joined by ", ".
        accept_encoding: str = "",
        #: The entity-tag of what the subscriber has, or "*": bodies that match are not sent
        #: (Suppress-If-Match, RFC 5839 §6.2).
        suppress: str = "",
    ) -> None:
        self.aor = aor
        self.id = id
        self.package = package
        self.status = status
        self.event = event
        self.watcher = watcher
        self.display_name = display_name
        self.call_id = call_id
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.local_uri = local_uri
        self.remote_uri = remote_uri
        self.remote_target = remote_target
        self.route_set = route_set
        self.contact = contact
        self.remote_cseq = remote_cseq
        self.cseq_reserved = cseq_reserved
        self.event_id = event_id
        self.event_params = event_params
        self.accept = accept
        self.content_type = content_type
        self.body = body
        self.subscribed_at = subscribed_at
        self.expires_at = expires_at
        self.flow = flow
        self.by_flow = by_flow
        self.user_agent = user_agent
        self.accept_encoding = accept_encoding
        self.suppress = suppress

    def _replace(self, **changes: Any) -> "Subscription":
        """The same with other values of some fields."""
        for name in changes:
            if name not in _SUBSCRIPTION:
                raise ValueError(f"a subscription has no {name}")
        return Subscription(
            *[changes[name] if name in changes else getattr(self, name) for name in _SUBSCRIPTION]
        )

    def row(self) -> tuple[Any, ...]:
        """The values of all fields in their order."""
        return (
            self.aor,
            self.id,
            self.package,
            self.status,
            self.event,
            self.watcher,
            self.display_name,
            self.call_id,
            self.local_tag,
            self.remote_tag,
            self.local_uri,
            self.remote_uri,
            self.remote_target,
            self.route_set,
            self.contact,
            self.remote_cseq,
            self.cseq_reserved,
            self.event_id,
            self.event_params,
            self.accept,
            self.content_type,
            self.body,
            self.subscribed_at,
            self.expires_at,
            self.flow,
            self.by_flow,
            self.user_agent,
            self.accept_encoding,
            self.suppress,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subscription) and self.row() == other.row()

    def __hash__(self) -> int:
        return hash(self.row())

    def __repr__(self) -> str:
        said = [f"{name}={getattr(self, name)!r}" for name in _SUBSCRIPTION]
        return f"Subscription({', '.join(said)})"


class Document(NamedTuple):
    """An XCAP document (RFC 4825) in the tree of the AOR."""

    aor: str
    #: ``auid/path`` with the path below the user's directory: ``pres-rules/index``.
    id: str
    auid: str
    path: str
    entity_tag: str
    content_type: str
    body: bytes
    modified_at: float


class Absence(NamedTuple):
    """That an XCAP document was removed, while there may be somebody who has not been told.

    "After the notifier has reported the existence of an XCAP component, it MUST also report its
    removal consistently" (RFC 5875 §4.7), also where it is killed in between.
    """

    aor: str
    #: The ``id`` of the document.
    id: str
    auid: str
    path: str
    #: The last one that the document had.
    entity_tag: str
    removed_at: float
    #: When all who may not have been told are told everything, or gone.
    expires_at: float


Record: TypeAlias = Binding | Publication | Subscription | Document | Absence
Kind: TypeAlias = (
    type[Binding] | type[Publication] | type[Subscription] | type[Document] | type[Absence]
)
R = TypeVar("R", Binding, Publication, Subscription, Document, Absence)

#: Every kind of record, in a fixed order.  Each is one table whose key is ``(aor, id)``.
RECORD_KINDS: Final[tuple[Kind, ...]] = (Binding, Publication, Subscription, Document, Absence)


def fields_of(kind: type) -> dict[str, type]:
    """The fields of a kind of record in their order, with their types."""
    return _SUBSCRIPTION if kind is Subscription else kind.__annotations__


def row_of(record: Record) -> Sequence[Any]:
    """The values of all fields of a record in their order."""
    return record.row() if isinstance(record, Subscription) else record


class Removed(NamedTuple):
    """The removal of a record, and why.

    ``reason`` is the event that the packages report: of a binding one of RFC 3680 §5.2.2
    (expired, unregistered, deactivated, rejected, probation), of a subscription the reason code
    of Subscription-State (RFC 6665 §4.1.3) or ``"timeout"`` on unsubscribing.
    ``silent`` removals send nothing to the subscriber: its dialog is gone.
    """

    record: Record
    reason: str
    retry_after: int | None = None
    silent: bool = False


@mypyc_attr(acyclic=True)
class ChangeSet:
    """What one turn changes of one AOR: ``(kind, id) → record | Removed``.

    The same object updates memory, the store and other nodes.  Later entries replace earlier ones.
    """

    __slots__ = ("aor", "entries")

    def __init__(self, aor: str, records: Iterable[Record] = ()) -> None:
        self.aor = aor
        self.entries: dict[tuple[Kind, str], Record | Removed] = {}
        for record in records:
            self.entries[type(record), record.id] = record

    def put(self, record: Record) -> None:
        """Create or replace a record."""
        self.entries[type(record), record.id] = record

    def remove(
        self,
        record: Record,
        reason: str,
        *,
        retry_after: int | None = None,
        silent: bool = False,
    ) -> None:
        """Remove a record; one that was never stored may be removed as well."""
        self.entries[type(record), record.id] = Removed(record, reason, retry_after, silent)

    def update(self, other: "ChangeSet") -> None:
        """Take over the entries of another change set of the same AOR."""
        self.entries.update(other.entries)

    def of(self, kind: type[R]) -> Iterator[R | Removed]:
        """The entries of one kind."""
        for (entry_kind, _), entry in self.entries.items():
            if entry_kind is kind:
                yield entry  # type: ignore[misc]  # the key says which kind the entry is

    def touches(self, kind: Kind) -> bool:
        """Whether any entry is of this kind."""
        return any(entry_kind is kind for entry_kind, _ in self.entries)

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChangeSet):
            return NotImplemented
        return self.aor == other.aor and self.entries == other.entries

    def __hash__(self) -> int:
        raise TypeError("a ChangeSet is mutable")

    def __repr__(self) -> str:
        return f"ChangeSet({self.aor!r}, {list(self.entries.values())!r})"


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
