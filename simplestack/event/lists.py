"""Resource lists: the state of many resources in the notifications of one subscription (RFC 4662)."""

from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from math import floor
from typing import Final, NamedTuple

from simplestack.documents.multipart import Part, free_boundary, write_part
from simplestack.documents.rlmi import MEDIA_TYPE as RLMI_TYPE
from simplestack.documents.rlmi import Instance, ListName, Resource, Rlmi
from simplestack.interfaces import Body

__all__ = [
    "ACTIVE_WITHOUT_STATE",
    "MULTIPART",
    "PENDING_ENTRY",
    "EntryState",
    "ListEntry",
    "ListTable",
    "terminated_entry",
]

MULTIPART: Final = "multipart/related"

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

    __slots__ = ("entries", "mark", "state")

    def __init__(self, entries: tuple[ListEntry, ...]) -> None:
        self.entries = entries
        self.state: EntryState | None = None
        #: What tells this row from all others.
        self.mark = 0

    def marked(self) -> int:
        """What tells this row, as it is now, from all others."""
        digest = blake2b(digest_size=16)
        for uri, aor, names in self.entries:
            digest.update(f"{uri}\n{aor}\n{names}\n".encode("utf-8", "surrogatepass"))
        state = self.state
        if state is not None:
            head = f"{state.state}\n{state.reason}\n{state.content_type}\n"
            digest.update(head.encode("utf-8", "surrogatepass"))
            digest.update(state.body)
        return int.from_bytes(digest.digest(), "big")


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
        "_mark",
        "_number",
        "_rows",
        "_said",
        "_selections",
        "due",
        "interval",
        "limit",
        "name",
        "rest",
        "token",
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
        self.token = token
        self._boundary = f"list-{token}"
        self._domain = uri.rpartition("@")[2].partition(";")[0] or "localhost"
        self.limit = limit
        self._number = 0
        self._rows: dict[str, _Row] = {}
        #: URIs of entries to be told, and what is said of those that are no more.
        self._altered: dict[str, ListEntry] = {}
        #: When something was told last.
        self._said = 0
        #: What tells this state of the table from all others, whatever led to it.
        self._mark = 0

        #: The same list for those who have filters, by these.
        self._selections: dict[bytes, ListTable] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def number(self) -> int:
        """How many parts have been made."""
        return self._number

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
            row = self._rows.pop(aor)
            self._mark ^= row.mark
            for entry in row.entries:
                self._altered[entry.uri] = entry
        joined = []
        for aor, places in wanted.items():
            found = self._rows.get(aor)
            here = tuple(places)
            if found is None:
                found = self._rows[aor] = _Row(here)
                self._remark(found)
                joined.append(aor)
                self._alter(here)
            elif found.entries != here:
                self._alter([each for each in found.entries if each not in here])
                self._alter([each for each in here if each not in found.entries])
                found.entries = here
                self._remark(found)
        if name != self.name:
            self.name = name
            self._schedule(now)
        if self._altered:
            self._schedule(now)
        for selection in self._selections.values():
            selection.set_entries(name, [each for here in wanted.values() for each in here], now)
        return joined, gone

    def tell(self, aor: str, state: EntryState, now: float) -> bool:
        """Take the state of an AOR; whether it is another than before."""
        row = self._rows.get(aor)
        if row is None or row.state == state:
            return False
        row.state = state
        self._remark(row)
        self._alter(row.entries)
        self._schedule(now)
        for selection in self._selections.values():
            selection.tell(aor, state, now)
        return True

    def _remark(self, row: _Row) -> None:
        self._mark ^= row.mark
        row.mark = row.marked()
        self._mark ^= row.mark

    def fingerprint(self) -> bytes:
        """What stands for all that there is to tell, of which nobody lacks a part."""
        # What has a rest is not known by anybody yet, and is never the same.
        number = self._number if self.rest else 0
        return f"{self._mark:x} {number} {self.name}".encode("utf-8", "surrogatepass")

    def _alter(self, entries: Iterable[ListEntry]) -> None:
        for entry in entries:
            self._altered[entry.uri] = entry

    def _schedule(self, now: float) -> None:
        if self.due is None:
            self.due = max(now, self._said + self.interval)

    def put_off(self, now: float) -> None:
        """Nobody can be told now: try again when the clock has gone on."""
        self.due = floor(now) + 1.0

    def settle(self) -> None:
        """Nothing is to be told: nobody has been told anything yet."""
        self._altered.clear()
        self.due = None
        self.rest = False
        for selection in self._selections.values():
            selection.settle()

    # ------------------------------------------------------------------ for those with filters

    def selection(self, filters: bytes) -> "ListTable | None":
        """This list for those who have these filters, if anybody has."""
        return self._selections.get(filters)

    def select(self, filters: bytes, table: "ListTable", now: float) -> None:
        """Let another table, which is empty, have what this one has, for those with filters."""
        entries = [each for row in self._rows.values() for each in row.entries]
        table.set_entries(self.name, entries, now)
        for aor, row in self._rows.items():
            if row.state is not None:
                table.tell(aor, row.state, now)
        table.settle()
        self._selections[filters] = table

    def keep(self, wanted: Collection[bytes]) -> None:
        """Forget what nobody watches: ``wanted`` are the filters of the subscribers, b"" for none."""
        for filters in [each for each in self._selections if each not in wanted]:
            del self._selections[filters]
        if b"" not in wanted:
            self._altered.clear()
            self.due = None
            self.rest = False

    def tables(self) -> tuple["ListTable", ...]:
        """This table, and those for subscribers with filters."""
        return (self, *self._selections.values())

    def soonest(self) -> float | None:
        """When something of these is due next."""
        if not self._selections:
            return self.due
        return min([each.due for each in self.tables() if each.due is not None], default=None)

    # ------------------------------------------------------------------ what is told

    def full(self, now: float) -> Body:
        """The whole table: what does not fit follows.

        What has been altered is still told to those who got none of this.
        """
        omitted = False
        resources: list[Resource] = []
        parts: list[bytes] = []
        room = None
        if self.limit:
            # The meta-information of a full document names everybody, and can't be split.
            room = max(self.limit // 4, self.limit - 400 - self._meta())
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
        # What has been altered and is not due yet is what the last partial document left.
        self.rest = omitted or (self.due is None and bool(self._altered))
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
        room = max(1, self.limit - 400) if self.limit else None
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

    def _meta(self) -> int:
        """About how many octets the meta-information of a full document has."""
        size = 0
        for row in self._rows.values():
            for uri, _, names in row.entries:
                size += 150 + len(uri) + sum([30 + len(each.text) for each in names])
        return size

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
        cid = f"{self._number}.{self.token}@{self._domain}"
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
        start = f"{self._number}.{self.token}@{self._domain}"
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
        # Linphone takes quotation marks for a part of the boundary, and it needs none.
        return Body(
            f'{MULTIPART};type="{RLMI_TYPE}";start="<{start}>";boundary={boundary}', head, tail
        )
