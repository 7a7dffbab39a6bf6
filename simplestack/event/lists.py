"""Resource lists: the state of many resources in the notifications of one subscription (RFC 4662)."""

from collections.abc import Collection, Iterable, Iterator
from hashlib import blake2b
from math import floor
from typing import Final, NamedTuple

from simplestack.documents.errors import DocumentError
from simplestack.documents.multipart import Part, free_boundary, write_part
from simplestack.documents.rlmi import MEDIA_TYPE as RLMI_TYPE
from simplestack.documents.rlmi import Instance, ListName, Resource, Rlmi
from simplestack.event.filtering import filtered, filtering_in, triggered
from simplestack.event.partialpresence import MEDIA_TYPE as PRESENCE_TYPE
from simplestack.event.partialpresence import PRESENCE_DELTAS
from simplestack.interfaces import Body

__all__ = [
    "ACTIVE_WITHOUT_STATE",
    "IN_PARTS",
    "MULTIPART",
    "PENDING_ENTRY",
    "EntryState",
    "ListEntry",
    "ListTable",
    "terminated_entry",
]

MULTIPART: Final = "multipart/related"
#: Stands in place of filters for who is told changed documents in parts (RFC 5263).
IN_PARTS: Final = b"in parts"

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
        "_limit",
        "_mark",
        "_number",
        "_rows",
        "_said",
        "_selections",
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

    def selection(self, filters: bytes, now: float) -> "ListTable":
        """This list as filters leave it, a filter document (RFC 4660 §4); or in parts."""
        found = self._selections.get(filters)
        if found is None:
            if filters == IN_PARTS:
                found = PartialTable(self.uri, self._token, self.interval, self._limit)
            else:
                found = FilteredTable(self.uri, self._token, self.interval, self._limit, filters)
            entries = [each for row in self._rows.values() for each in row.entries]
            found.set_entries(self.name, entries, now)
            for aor, row in self._rows.items():
                if row.state is not None:
                    found.tell(aor, row.state, now)
            found.settle()
            self._selections[filters] = found
        return found

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
        if self._limit:
            # The meta-information of a full document names everybody, and can't be split.
            room = max(self._limit // 4, self._limit - 400 - self._meta())
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
        room = max(1, self._limit - 400) if self._limit else None
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
        # Linphone takes quotation marks for a part of the boundary, and it needs none.
        return Body(
            f'{MULTIPART};type="{RLMI_TYPE}";start="<{start}>";boundary={boundary}', head, tail
        )


class FilteredTable(ListTable):
    """A table of a list as filters leave the states in it."""

    __slots__ = ("_filters", "_heard", "_held")

    def __init__(self, uri: str, token: str, interval: float, limit: int, filters: bytes) -> None:
        super().__init__(uri, token, interval, limit)
        self._filters = filters
        #: By AOR the state that is told, before any filter, where it is one for triggers.
        self._heard: dict[str, bytes] = {}
        #: Newer ones, for which no trigger has happened.
        self._held: dict[str, EntryState] = {}

    def set_entries(
        self, name: tuple[ListName, ...], entries: Iterable[ListEntry], now: float
    ) -> tuple[list[str], list[str]]:
        """Make these the entries of the list."""
        joined, gone = super().set_entries(name, entries, now)
        for aor in gone:
            self._heard.pop(aor, None)
            self._held.pop(aor, None)
        return joined, gone

    def tell(self, aor: str, state: EntryState, now: float) -> bool:
        """Take what the filter for an AOR leaves, if it is what its triggers wait for."""
        chosen = None
        if state.state == "active" and state.body:
            chosen = filtering_in(self._filters, aor, self.uri)
        triggers = () if chosen is None else chosen.triggers
        self._held.pop(aor, None)
        before = self._heard.pop(aor, None)
        if triggers:
            if before is not None and not triggered(before, state.body, triggers):
                self._heard[aor] = before
                self._held[aor] = state
                return False
            self._heard[aor] = state.body
        return super().tell(aor, self._left(aor, state), now)

    def _left(self, aor: str, state: EntryState) -> EntryState:
        chosen = None
        if state.state == "active" and state.body:
            chosen = filtering_in(self._filters, aor, self.uri)
        if chosen is None or chosen.what is None:
            return state
        return state._replace(body=filtered(Body(state.content_type, state.body), chosen.what).data)

    def full(self, now: float) -> Body:
        """The whole table as it is now, whatever the triggers wait for (RFC 4660 §5.3.1)."""
        held, self._held = self._held, {}
        for aor, state in held.items():
            self._heard[aor] = state.body
            self._rows[aor].state = self._left(aor, state)
        return super().full(now)


class PartialTable(ListTable):
    """A table of a list that tells presence documents in parts where it can (RFC 5263).

    All who are told by it have the same documents, or are told the whole.  A document whose newest
    state only some were told goes whole to all, the next time; its version rises with each.
    """

    __slots__ = ("_pending", "_stepping", "_told", "_versions")

    def __init__(self, uri: str, token: str, interval: float = 1.0, limit: int = 0) -> None:
        super().__init__(uri, token, interval, limit)
        #: By the URI of the entry the document that all have; and the version of the last one.
        self._told: dict[str, bytes] = {}
        self._versions: dict[str, int] = {}
        #: What is about to be told to all, by the same.
        self._pending: dict[str, bytes] = {}
        self._stepping = False

    def full(self, now: float) -> Body:
        """The whole table, with whole documents."""
        body = super().full(now)
        for uri in self._altered:
            # Some have it now, or have none at all.
            self._told.pop(uri, None)
        for row in self._rows.values():
            for entry in row.entries:
                if entry.uri not in self._altered and row.state is not None:
                    self._told[entry.uri] = row.state.body
        return body

    def partial(self, now: float) -> Body | None:
        """What has been altered; documents that all have are told in parts."""
        self._pending.clear()
        self._stepping = True
        try:
            body = super().partial(now)
        finally:
            self._stepping = False
        for uri, document in self._pending.items():
            if uri not in self._altered:
                self._told[uri] = document
                self._versions[uri] = self._versions.get(uri, 1) + 1
        return body

    def _resource(self, entry: ListEntry, state: EntryState | None) -> tuple[Resource, bytes]:
        if state is None or state.state != "active" or not _is_presence(state):
            self._told.pop(entry.uri, None)
            return super()._resource(entry, state)
        version = self._versions.get(entry.uri, 1) + self._stepping
        before = self._told.get(entry.uri) if self._stepping else None
        if self._stepping:
            self._pending[entry.uri] = state.body
        try:
            made = PRESENCE_DELTAS.whole(state.body)
            if before is not None:
                step = PRESENCE_DELTAS.difference(before, state.body)
                if len(step.data) + len(step.tail or b"") < len(made.data) + len(made.tail or b""):
                    made = step
        except DocumentError:
            # It goes as it is.
            self._pending.pop(entry.uri, None)
            self._told.pop(entry.uri, None)
            return super()._resource(entry, state)
        told = EntryState("active", "", made.content_type, made.render(version))
        return super()._resource(entry, told)


def _is_presence(state: EntryState) -> bool:
    return bool(state.body) and state.content_type.partition(";")[0].strip() == PRESENCE_TYPE
