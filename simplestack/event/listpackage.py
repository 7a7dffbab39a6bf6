"""The template of RFC 4662: an event package applied to the resources of a list."""

from collections.abc import Hashable, Mapping

from zope.interface import implementer

from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.filtering import merged
from simplestack.event.listbody import LISTS_TYPE, MIXED, read_body, read_request
from simplestack.event.lists import MULTIPART, ListTable
from simplestack.event.listselection import IN_PARTS, selection
from simplestack.event.negotiation import partial_form
from simplestack.interfaces import Body, Decision, IEventPackage
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request
from simplestack.state import ChangeSet, ResourceState, Subscription

__all__ = ["ListPackage"]


@implementer(IEventPackage)
class ListPackage:
    """An event package applied to the resources of a list, to whose AOR the subscription is.

    ``tables`` has the table of each list by its AOR, the name of the package and the watcher:
    whose they are has been decided before they were made.
    """

    content_types: tuple[str, ...] = (MULTIPART,)
    #: The types of bodies that an initial SUBSCRIBE may have (RFC 5367 §4).
    subscribe_types: tuple[str, ...] = (LISTS_TYPE,)
    partial = True

    def __init__(
        self,
        inner: IEventPackage,
        tables: Mapping[str, Mapping[tuple[str, str], ListTable]],
        interval: float = 1.0,
    ) -> None:
        self.inner = inner
        self.name: str = inner.name
        # "The default, when no duration is specified, is taken from the underlying event
        # package." (RFC 4662 §4.2)
        self.default_expires: int = inner.default_expires
        if FILTER_TYPE in getattr(inner, "subscribe_types", ()):
            self.subscribe_types = (LISTS_TYPE, FILTER_TYPE, MIXED)
        #: The shortest time between two notifications that a subscriber can ask for.
        self.interval = interval
        self._tables = tables

    def read_body(
        self, request: Request, before: Subscription | None, aor: str, most: int
    ) -> tuple[str, bytes]:
        """The content type and body that a subscription has after a SUBSCRIBE with a body.

        Recipients stay as they are, filters are merged with those that were there before.

        :raises SIPError: 400, 413, 415, 488.
        """
        found = read_request(request)
        if found.filters and FILTER_TYPE not in self.subscribe_types:
            raise SIPError(415, headers=[("Accept", LISTS_TYPE)], text="no filters here")
        if before is not None and found.recipients:
            # "a resource list server receiving a subsequent SUBSCRIBE request with a
            # resource-list body … rejects it with a 415" (RFC 5367 §5.1)
            raise SIPError(415, text="the list can't be changed by another SUBSCRIBE")
        kept = found if before is None else read_body(before.content_type, before.body)
        if found.filters:
            old = b"" if before is None else kept.filters
            filters = merged(old, found.filters, aor, self.name)
            if len(filters) > most:
                raise SIPError(413, text="the filters together are too long")
            kept = kept._replace(filters=filters)
        return kept.write()

    def narrowed(self, permissions: Hashable, subscription: Subscription) -> Hashable:
        """What filters leave of the list (RFC 4660 §4), or the list in parts (RFC 5263)."""
        selected = self._selected(subscription)
        return (permissions, selected) if selected else permissions

    def _selected(self, subscription: Subscription) -> bytes:
        """Which selection of the list a subscriber is told by; b"" is the list as it is."""
        if subscription.content_type not in ("", LISTS_TYPE):
            filters = read_body(subscription.content_type, subscription.body).filters
            if filters:
                return filters
        if partial_form(subscription.accept, self.inner) is not None:
            return IN_PARTS
        return b""

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
        table = self._table(state, permissions, now)
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
        table = self._table(state, permissions, now)
        if table is None or table.due is None or table.due > now:
            return None
        return table.partial(now)

    def put_off(self, state: ResourceState, permissions: Hashable, now: float) -> None:
        """A notification is under way to everybody who is told by these permissions."""
        table = self._table(state, permissions, now)
        if table is not None and table.due is not None and table.due <= now:
            table.put_off(now)

    def fingerprint(self, state: ResourceState, permissions: Hashable) -> bytes:
        """What stands for the state of the list (RFC 5839 §4)."""
        table = self._table(state, permissions, 0.0)
        return b"" if table is None else table.fingerprint()

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """When the next notification is due."""
        times = []
        for (name, watcher), table in self._tables.get(state.aor, {}).items():
            if name != self.name:
                continue
            if len(table.tables()) > 1:
                table.keep(
                    [
                        self._selected(each)
                        for each in state.subscriptions.values()
                        if each.watcher == watcher and each.package == name
                    ]
                )
            due = table.soonest()
            if due is not None:
                times.append(due)
        return min(times, default=None)

    def _table(self, state: ResourceState, permissions: Hashable, now: float) -> ListTable | None:
        watcher, filters = permissions if isinstance(permissions, tuple) else (permissions, b"")
        table = self._tables.get(state.aor, {}).get((self.name, str(watcher)))
        return selection(table, filters, now) if table is not None and filters else table
