"""Watcher information: who subscribes to what of an AOR (RFC 3857, RFC 3858)."""

from collections.abc import Hashable, Iterable

from zope.interface import implementer

from simplestack.documents.watcherinfo import EVENTS, MEDIA_TYPE, Watcher, WatcherList
from simplestack.documents.watcherinfo import WatcherInfo as Information
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.partial import versioned
from simplestack.interfaces import Body, Decision, IEventPackage
from simplestack.roles.packages import Packages
from simplestack.state import ChangeSet, Removed, ResourceState, Subscription

__all__ = ["WatcherInfo", "WatcherInfoPackage"]

#: The permission of those who see every watcher; any other is the one watcher that is seen.
_ALL = "*"
#: The URI of a watcher without identity (RFC 3323 §4.1.1.3).
_ANONYMOUS_HOST = "@anonymous.invalid"
_ANONYMOUS = "sip:anonymous@anonymous.invalid"


class WatcherInfo(Packages):
    """Applies the event template-package ``winfo`` to any packages.

    For every package ``X`` there are ``X.winfo`` and, for the owner alone, ``X.winfo.winfo``:
    "by default, a server does not authorize any subscriptions to foo.winfo.winfo.winfo or any
    other deeper recursions" (RFC 3857 §4.6).
    """

    name = "winfo"

    def __init__(self, packages: Iterable[IEventPackage]) -> None:
        made: list[IEventPackage] = []
        for package in packages:
            first = WatcherInfoPackage(package)
            made += (first, WatcherInfoPackage(first, own=False))
        super().__init__(made)


@implementer(IEventPackage)
class WatcherInfoPackage:
    """The template applied to one package.

    The owner of the AOR sees all watchers.  With ``own``, "a user be allowed to monitor the state
    of their own subscription": whoever the inner package does not block sees his own and no
    other (RFC 3857 §4.6).
    """

    content_types: tuple[str, ...] = (MEDIA_TYPE,)
    #: "We arbitrarily choose one hour." (RFC 3857 §4.4)
    default_expires = 3600
    partial = True
    #: Watcher filters (RFC 4660 §7.2).
    subscribe_types = (FILTER_TYPE,)

    def __init__(self, inner: IEventPackage, own: bool = True) -> None:
        self.inner = inner
        self.own = own
        self.name = f"{inner.name}.winfo"

    def recognizes(self, state: ResourceState) -> bool:
        """Whether the inner package has this AOR."""
        return bool(self.inner.recognizes(state))

    def authorize(self, state: ResourceState, watcher: str, now: float) -> Decision:
        """Everything for the owner, his own for a watcher, nothing for others."""
        if watcher == state.aor:
            return Decision("allow", _ALL)
        if self.own and watcher and self.inner.authorize(state, watcher, now).handling != "block":
            return Decision("allow", watcher)
        return Decision("block", "")

    def affected(self, changes: ChangeSet) -> bool:
        """Whether a watcher of the inner package has changed its state."""
        name = self.inner.name
        for entry in changes.of(Subscription):
            record = entry.record if isinstance(entry, Removed) else entry
            if isinstance(record, Subscription) and record.package == name:
                return True
        return False

    def reauthorizes(self, changes: ChangeSet) -> bool:
        """Whether the inner package may decide otherwise now."""
        return self.own and bool(self.inner.reauthorizes(changes))

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """All watchers that may be seen."""
        return self._body(state.aor, "full", self._all(state, permissions, now))

    def changed(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body | None:
        """The watchers that have changed their state, ended ones as terminated (§4.7.2)."""
        watchers = self._altered(permissions, changes, now)
        return self._body(state.aor, "partial", watchers) if watchers else None

    def whole(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body:
        """All watchers, and those that the changes have ended."""
        ended = [
            each for each in self._altered(permissions, changes, now) if each.status == "terminated"
        ]
        return self._body(state.aor, "full", self._all(state, permissions, now) + ended)

    def _all(self, state: ResourceState, permissions: Hashable, now: float) -> list[Watcher]:
        name = self.inner.name
        return [
            _watcher(record, record.status, record.event, now)
            for record in state.subscriptions.values()
            if record.package == name and permissions in (_ALL, record.watcher)
        ]

    def _altered(self, permissions: Hashable, changes: ChangeSet, now: float) -> list[Watcher]:
        name = self.inner.name
        watchers = []
        for entry in changes.of(Subscription):
            record = entry.record if isinstance(entry, Removed) else entry
            if (
                not isinstance(record, Subscription)
                or record.package != name
                or permissions not in (_ALL, record.watcher)
            ):
                continue
            if isinstance(entry, Removed):
                event = entry.reason if entry.reason in EVENTS else "noresource"
                watchers.append(_watcher(record, "terminated", event, now))
            else:
                watchers.append(_watcher(record, record.status, record.event, now))
        return watchers

    def fingerprint(self, state: ResourceState, permissions: Hashable) -> bytes:
        """What the full document stands for, but for times that pass by themselves."""
        name = self.inner.name
        # Their order is another one when they have been read again.
        return "\n".join(
            sorted(
                [
                    f"{record.id} {record.status} {record.event}"
                    for record in state.subscriptions.values()
                    if record.package == name and permissions in (_ALL, record.watcher)
                ]
            )
        ).encode()

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """When the clock changes who may watch, and so who may see that he does."""
        if not self.own:
            return None
        boundary: float | None = self.inner.boundary(state, now)
        return boundary

    def _body(self, aor: str, state: str, watchers: list[Watcher]) -> Body:
        lists = (WatcherList(aor, self.inner.name, tuple(watchers)),)
        return versioned(MEDIA_TYPE, Information(0, state, lists).to_bytes())


def _watcher(record: Subscription, status: str, event: str, now: float) -> Watcher:
    remaining = record.expires_at - now
    # "This URI SHOULD be the authenticated identity of the watcher" (RFC 3858 §3).  Who wants to be
    # anonymous has said so in From; the rules know him all the same (RFC 5025 §3.1.1.2).
    hidden = not record.watcher or _ANONYMOUS_HOST in record.remote_uri
    return Watcher(
        _ANONYMOUS if hidden else record.watcher,
        record.id,
        status,
        event,
        record.display_name or None,
        None if status == "terminated" else max(0, int(remaining)),
        max(0, int(now - record.subscribed_at)),
    )
