"""The table of a list for those who want it otherwise: by filters, or with documents in parts."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from simplestack.documents.errors import DocumentError
from simplestack.documents.rlmi import ListName, Resource
from simplestack.event.filtering import filtered, filtering_in, triggered
from simplestack.event.lists import EntryState, ListEntry, ListTable
from simplestack.event.partialpresence import MEDIA_TYPE as PRESENCE_TYPE
from simplestack.event.partialpresence import PRESENCE_DELTAS
from simplestack.interfaces import Body

__all__ = ["IN_PARTS", "FilteredTable", "PartialTable", "selection"]

#: Stands in place of filters for who is told changed documents in parts (RFC 5263).
IN_PARTS: Final = b"in parts"

#: Beginnings of types that filters are not for.
_OPAQUE: Final = ("multipart/", "application/pkcs7")


def selection(table: ListTable, filters: bytes, now: float) -> ListTable:
    """A list as filters leave it, a filter document (RFC 4660 §4); or in parts."""
    found = table.selection(filters)
    if found is None:
        uri, token, interval, limit = table.uri, table.token, table.interval, table.limit
        if filters == IN_PARTS:
            found = PartialTable(uri, token, interval, limit)
        else:
            found = FilteredTable(uri, token, interval, limit, filters)
        table.select(filters, found, now)
    return found


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
        if _can_be_filtered(state):
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
        if _can_be_filtered(state):
            chosen = filtering_in(self._filters, aor, self.uri)
        if chosen is None or chosen.what is None:
            return state
        return state._replace(body=filtered(Body(state.content_type, state.body), chosen.what).data)

    def full(self, now: float) -> Body:
        """The whole table as it is now, whatever the triggers wait for (RFC 4660 §5.3.1)."""
        held, self._held = self._held, {}
        for aor, state in held.items():
            self._heard[aor] = state.body
            row = self._rows[aor]
            row.state = self._left(aor, state)
            # It is another version of the list, with another entity-tag.
            self._remark(row)
        return super().full(now)


def _can_be_filtered(state: EntryState) -> bool:
    # What is signed, encrypted, or a list of another server, comes as it is.
    return (
        state.state == "active" and bool(state.body) and not state.content_type.startswith(_OPAQUE)
    )


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
        except DocumentError:
            # It goes as it is.
            self._pending.pop(entry.uri, None)
            self._told.pop(entry.uri, None)
            return super()._resource(entry, state)
        if before:
            # Who was told none, or one that can't be read, is told the whole.
            with suppress(DocumentError):
                step = PRESENCE_DELTAS.difference(before, state.body)
                if len(step.data) + len(step.tail or b"") < len(made.data) + len(made.tail or b""):
                    made = step
        told = EntryState("active", "", made.content_type, made.render(version))
        return super()._resource(entry, told)


def _is_presence(state: EntryState) -> bool:
    return bool(state.body) and state.content_type.partition(";")[0].strip() == PRESENCE_TYPE
