"""Resource lists: the state of many resources in the notifications of one subscription (RFC 4662)."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from math import floor
from typing import Final, NamedTuple

from zope.interface import implementer

from simplestack.documents.multipart import Part, free_boundary, write_part
from simplestack.documents.rlmi import MEDIA_TYPE as RLMI_TYPE
from simplestack.documents.rlmi import Instance, ListName, Resource, Rlmi
from simplestack.interfaces import Body, Decision, IEventPackage
from simplestack.state import ChangeSet, ResourceState

__all__ = [
    "ACTIVE_WITHOUT_STATE",
    "MULTIPART",
    "PENDING_ENTRY",
    "EntryState",
    "ListEntry",
    "ListPackage",
    "ListTable",
    "terminated_entry",
]

MULTIPART: Final = "multipart/related"
LISTS_TYPE: Final = "application/resource-lists+xml"

#: Resources without forking have one virtual subscription, whose id is unique in the resource.
_INSTANCE: Final = "1"
_VERSION: Final = b' version="0"'


class ListEntry(NamedTuple):
    """One resource of a list: its URI as the list has it, whose state that is, and its names."""

    uri: str
    aor: str
    names: tuple[ListName, ...] = ()


class EntryState(NamedTuple):
    """The state of one virtual subscription (RFC 4662 §5.5)."""

    #: active, pending or terminated.
    state: str
    reason: str = ""
    content_type: str = ""
    body: bytes = b""


PENDING_ENTRY: Final = EntryState("pending")
#: Active, but nothing may be seen.
ACTIVE_WITHOUT_STATE: Final = EntryState("active")
_TERMINATED: Final[dict[str, EntryState]] = {}


def terminated_entry(reason: str) -> EntryState:
    """The state of a virtual subscription that has ended, or was refused."""
    found = _TERMINATED.get(reason)
    if found is None:
        found = EntryState("terminated", reason)
        if len(_TERMINATED) < 32:
            _TERMINATED[reason] = found
    return found


class _Row:
    """What is known of one AOR of the list, and under which entries it stands there."""

    __slots__ = ("entries", "state")

    def __init__(self, entries: tuple[ListEntry, ...]) -> None:
        self.entries = entries
        self.state: EntryState | None = None


class ListTable:
    """The table of one list for one subscriber (RFC 4662 §5.6): a row for each AOR in it.

    ``limit`` is the most octets of one body, 0 for any number: what does not fit is told as soon
    as the NOTIFY before it has been answered, and stands without an instance until then, as what
    is not known does (§4.5).  ``interval`` is the shortest time between two notifications.
    """

    __slots__ = (
        "_altered",
        "_boundary",
        "_domain",
        "_limit",
        "_number",
        "_rows",
        "_said",
        "_token",
        "due",
        "interval",
        "name",
        "rest",
        "uri",
    )

    def __init__(self, uri: str, token: str, interval: float = 1.0, limit: int = 0) -> None:
        self.uri = uri
        self.name: tuple[ListName, ...] = ()
        self.interval = interval
        #: When what has been altered is due; None where nothing is.
        self.due: float | None = None
        #: Whether a part of the state waits until the last NOTIFY is answered.
        self.rest = False
        self._token = token
        self._boundary = f"list-{token}"
        self._domain = uri.rpartition("@")[2].partition(";")[0] or "localhost"
        self._limit = limit
        self._number = 0
        self._rows: dict[str, _Row] = {}
        #: URIs of entries to be told, and what is said of those that are no more.
        self._altered: dict[str, ListEntry] = {}
        #: When something was told last.
        self._said = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._rows))

    def state_of(self, aor: str) -> EntryState | None:
        """What is known of an AOR; None for nothing."""
        row = self._rows.get(aor)
        return None if row is None else row.state

    # ------------------------------------------------------------------ what changes

    def set_entries(
        self, name: tuple[ListName, ...], entries: Iterable[ListEntry], now: float
    ) -> tuple[list[str], list[str]]:
        """Make these the entries of the list; the AORs that have joined it, and that have left."""
        wanted: dict[str, list[ListEntry]] = {}
        for entry in entries:
            wanted.setdefault(entry.aor, []).append(entry)
        gone = [aor for aor in self._rows if aor not in wanted]
        for aor in gone:
            for entry in self._rows.pop(aor).entries:
                self._altered[entry.uri] = entry
        joined = []
        for aor, places in wanted.items():
            row = self._rows.get(aor)
            here = tuple(places)
            if row is None:
                self._rows[aor] = _Row(here)
                joined.append(aor)
                self._alter(here)
            elif row.entries != here:
                self._alter([each for each in row.entries if each not in here])
                self._alter([each for each in here if each not in row.entries])
                row.entries = here
        if name != self.name:
            self.name = name
            self._schedule(now)
        if self._altered:
            self._schedule(now)
        return joined, gone

    def tell(self, aor: str, state: EntryState, now: float) -> bool:
        """Take the state of an AOR; whether it is another than before."""
        row = self._rows.get(aor)
        if row is None or row.state == state:
            return False
        row.state = state
        self._alter(row.entries)
        self._schedule(now)
        return True

    def _alter(self, entries: Iterable[ListEntry]) -> None:
        for entry in entries:
            self._altered[entry.uri] = entry

    def _schedule(self, now: float) -> None:
        if self.due is None:
            self.due = max(now, self._said + self.interval)

    def settle(self) -> None:
        """Nothing is to be told: nobody has been told anything yet."""
        self._altered.clear()
        self.due = None
        self.rest = False

    # ------------------------------------------------------------------ what is told

    def full(self, now: float) -> Body:
        """The whole table: what does not fit follows.

        What has been altered is still told to those who got none of this.
        """
        omitted = False
        resources: list[Resource] = []
        parts: list[bytes] = []
        room = self._room()
        for row in self._rows.values():
            for entry in row.entries:
                resource, part = self._resource(entry, row.state)
                if room is not None:
                    if part and len(part) > room and parts:
                        self._altered[entry.uri] = entry
                        omitted = True
                        resource, part = resource._replace(instances=()), b""
                    room -= len(part)
                resources.append(resource)
                if part:
                    parts.append(part)
        self.rest = omitted
        self._said = floor(now)
        return self._body(resources, parts, True)

    def partial(self, now: float) -> Body | None:
        """What has been altered, as much of it as fits; None where nothing has."""
        self.due = None
        self.rest = False
        if not self._altered:
            return None
        resources: list[Resource] = []
        parts: list[bytes] = []
        altered, self._altered = self._altered, {}
        room = self._room()
        for uri, entry in altered.items():
            row = self._rows.get(entry.aor)
            here = None
            if row is not None:
                here = next((each for each in row.entries if each.uri == uri), None)
            if row is None or here is None:
                # "the resource list server SHOULD include that resource instance in the
                # meta-information in the first NOTIFY message sent to the subscriber following
                # the instance's unavailability" (RFC 4662 §4.5)
                gone = Instance(_INSTANCE, "terminated", "noresource")
                resources.append(Resource(uri, entry.names, (gone,)))
                continue
            resource, part = self._resource(here, row.state)
            if room is not None:
                size = len(part) + 160 + len(uri)
                if size > room and resources:
                    self._altered[uri] = here
                    continue
                room -= size
            resources.append(resource)
            if part:
                parts.append(part)
        self.rest = bool(self._altered)
        # The clock that wakes lists has a tick a second.
        self._said = floor(now)
        return self._body(resources, parts, False)

    def _room(self) -> int | None:
        """The octets for parts beside the meta-information of a full document, if limited."""
        if not self._limit:
            return None
        return max(1, self._limit - 400)

    def _resource(self, entry: ListEntry, state: EntryState | None) -> tuple[Resource, bytes]:
        if state is None:
            # "For any resource for which state information is not known, the corresponding
            # "uri" attribute will be set appropriately, and no <instance> elements will be
            # present for the resource." (§4.5)
            return Resource(entry.uri, entry.names), b""
        if state.state != "active":
            instance = Instance(_INSTANCE, state.state, state.reason or None)
            return Resource(entry.uri, entry.names, (instance,)), b""
        self._number += 1
        cid = f"{self._number}.{self._token}@{self._domain}"
        part = Part(
            (
                ("Content-Transfer-Encoding", "binary"),
                ("Content-ID", f"<{cid}>"),
                ("Content-Type", state.content_type or "application/octet-stream"),
            ),
            state.body,
        )
        # "the "cid" attribute … MUST be present if the "state" attribute is "active"" (§5.5)
        instance = Instance(_INSTANCE, "active", None, cid)
        return Resource(entry.uri, entry.names, (instance,)), write_part(part)

    def _body(self, resources: list[Resource], parts: list[bytes], full: bool) -> Body:
        root = Rlmi(self.uri, 0, full, self.name, tuple(resources)).to_bytes()
        self._number += 1
        start = f"{self._number}.{self._token}@{self._domain}"
        boundary = self._boundary
        content = b"".join(parts)
        if boundary.encode() in content:
            boundary = free_boundary([Part((), content)], boundary)
        mark = b"--" + boundary.encode()
        before, _, after = root.partition(_VERSION)
        head = (
            b"%b\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <%b>\r\n"
            b'Content-Type: application/rlmi+xml;charset="UTF-8"\r\n\r\n%b version="'
        ) % (mark, start.encode(), before)
        tail = b'"%b\r\n%b%b--\r\n' % (
            after,
            b"".join([b"%b\r\n%b\r\n" % (mark, part) for part in parts]),
            mark,
        )
        return Body(
            f'{MULTIPART};type="{RLMI_TYPE}";start="<{start}>";boundary="{boundary}"', head, tail
        )


@implementer(IEventPackage)
class ListPackage:
    """An event package applied to the resources of a list, to whose AOR the subscription is.

    ``tables`` has the table of each list by its AOR, the name of the package and the watcher:
    whose they are has been decided before they were made.
    """

    content_types: tuple[str, ...] = (MULTIPART,)
    #: The types of bodies that an initial SUBSCRIBE may have (RFC 5367 §4).
    subscribe_types = (LISTS_TYPE,)
    partial = True

    def __init__(
        self, inner: IEventPackage, tables: Mapping[str, Mapping[tuple[str, str], ListTable]]
    ) -> None:
        self.inner = inner
        self.name: str = inner.name
        # "The default, when no duration is specified, is taken from the underlying event
        # package." (RFC 4662 §4.2)
        self.default_expires: int = inner.default_expires
        self._tables = tables

    def recognizes(self, state: ResourceState) -> bool:
        """Whether there is such a list."""
        return state.aor in self._tables

    def authorize(self, state: ResourceState, watcher: str, now: float) -> Decision:
        """Who has a table sees it; what is in it is for each presentity to say."""
        if (self.name, watcher) in self._tables.get(state.aor, ()):
            return Decision("allow", watcher)
        return Decision("block", "")

    def affected(self, changes: ChangeSet) -> bool:
        """No record of the list's own AOR is shown."""
        return False

    def reauthorizes(self, changes: ChangeSet) -> bool:
        """Lists end their subscriptions themselves."""
        return False

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """Full state of the list."""
        table = self._table(state, permissions)
        return ListTable("", "").full(now) if table is None else table.full(now)

    def changed(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body | None:
        """Nothing: ``passed`` tells what has been altered when it is due."""
        return None

    def passed(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body | None:
        """What has been altered since the last notification."""
        table = self._table(state, permissions)
        if table is None or table.due is None or table.due > now:
            return None
        return table.partial(now)

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """When the next notification is due."""
        times = [
            table.due
            for (name, _), table in self._tables.get(state.aor, {}).items()
            if name == self.name and table.due is not None
        ]
        return min(times, default=None)

    def _table(self, state: ResourceState, permissions: Hashable) -> ListTable | None:
        return self._tables.get(state.aor, {}).get((self.name, str(permissions)))
