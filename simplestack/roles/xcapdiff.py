"""Changes of XCAP documents: the event package ``xcap-diff`` (RFC 5875)."""

from collections.abc import Hashable
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote

from zope.interface import implementer

from simplestack.documents.resourcelists import LISTS_MEDIA_TYPE
from simplestack.documents.xcapdiff import MEDIA_TYPE, XcapDiff
from simplestack.event.wish import Known
from simplestack.interfaces import Body, Decision, IEventPackage
from simplestack.sip.errors import SIPError
from simplestack.sip.grammar import parse_params
from simplestack.state import ChangeSet, Document, ResourceState, Subscription
from simplestack.xcap.globaltree import GlobalTree
from simplestack.xcap.selection import Collection, Selection, read_selection
from simplestack.xcap.selectors import DocumentSelector
from simplestack.xcap.server import XCAPServer
from simplestack.xcap.snapshot import Snapshot, changes_between, take

__all__ = ["XCAPDiffPackage"]

#: Modes of ``diff-processing`` that show what has changed in a document.
_PATCHING: Final = frozenset({"xcap-patching", "aggregate"})


class Watching(NamedTuple):
    """What a subscriber wants to see, and who he is."""

    watcher: str
    selection: Selection
    #: Whether patches are told, and whether each version is.
    patching: bool
    history: bool


@implementer(IEventPackage)
class XCAPDiffPackage:
    """Tells users what becomes of their documents.

    A subscription to ``sip:alice@example.com`` sees the documents of Alice and those of the global
    tree; Alice and the administrators may have one.
    """

    name = "xcap-diff"
    content_types: tuple[str, ...] = (MEDIA_TYPE,)
    subscribe_types: tuple[str, ...] = (LISTS_MEDIA_TYPE,)
    #: RFC 5875 §4.5.
    default_expires = 3600
    partial = False

    def __init__(self, server: XCAPServer, tree: GlobalTree | None = None) -> None:
        self._server = server
        self._tree = GlobalTree() if tree is None else tree
        self._read = lru_cache(256)(read_selection)

    def recognizes(self, state: ResourceState) -> bool:
        """True: every user may have documents."""
        return True

    def authorize(self, state: ResourceState, watcher: str, now: float) -> Decision:
        """The user himself and administrators: those who may read his documents (§7)."""
        if watcher and (watcher == state.aor or watcher in self._server.admins):
            return Decision("allow", watcher)
        return Decision("block", None)

    def narrowed(self, permissions: Hashable, subscription: Subscription) -> Hashable:
        """What the subscriber lists (§4.4), in the mode that he prefers (§4.3).

        Raises SIPError: 400 where the list can't be read or there is none, 413 where it is long.
        """
        if permissions is None:
            return None
        if subscription.body:
            selection = self._read(subscription.body, self._server)
        elif not subscription.remote_target:
            # An entry of a list (RFC 4662) says no more than whose documents they are: all.
            selection = self._everything(subscription.aor)
        else:
            raise SIPError(400, text="the body must be a list of XCAP resources")
        mode = next(
            (
                value
                for name, value in parse_params(subscription.event_params)
                if name == "diff-processing"
            ),
            None,
        )
        mode = (mode or "").lower()
        return Watching(subscription.watcher, selection, mode in _PATCHING, mode == "xcap-patching")

    def _everything(self, aor: str) -> Selection:
        """All collections of a user (RFC 5875 §4.4)."""
        owner = quote(aor, safe="/:@!$&'()*+,;=~")
        return Selection(
            tuple(
                [
                    Collection(f"{auid}/users/{owner}/", auid, "users", aor)
                    for auid in self._server.usages
                ]
            )
        )

    def affected(self, changes: ChangeSet) -> bool:
        """Whether a document has changed."""
        return changes.touches(Document)

    def reauthorizes(self, changes: ChangeSet) -> bool:
        """Never: who may read is said by the usages."""
        return False

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """References to the documents, and the contents of elements and attributes."""
        watching = _watching(permissions)
        selection = watching.selection
        if selection.sees_global:
            self._tree.watch(state.aor, self._made(watching))
        return take(selection, self._server, state, watching.watcher, self._tree)

    def _made(self, watching: Watching) -> list[str]:
        """The ids of documents made of all users' that somebody watches and may read."""
        server, selection = self._server, watching.selection
        found = []
        for usage in server.usages.values():
            path = getattr(usage, "gathers", "")
            place = DocumentSelector(usage.auid, "", path)
            if (
                path
                and server.readable(place, watching.watcher)
                and (
                    any(each.has("") and each.auid == usage.auid for each in selection.collections)
                    or any(
                        each.document == place
                        for each in (*selection.documents, *selection.components)
                    )
                )
            ):
                found.append(place.id)
        return found

    def changed(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body | None:
        """The same as it is now; ``told`` says what of it is new."""
        return self.full(state, permissions, content_type, now)

    def told(self, permissions: Hashable, known: Known, body: Body) -> Body:
        """What tells a subscriber of the state in ``body``."""
        assert isinstance(body, Snapshot)
        if not known.trail and not known.again:
            return body
        changes = changes_between(
            [each for each in known.trail if isinstance(each, Snapshot)],
            body,
            # "the notifier MAY at any time temporarily use the "no-patching" mode" (§4.8): without
            # some of the versions the history would not be the full one.
            patching=_watching(permissions).patching and not known.broken,
            whole=known.whole,
            again=known.again,
            since=known.since,
        )
        return Body(MEDIA_TYPE, XcapDiff(f"{self._server.root}/", tuple(changes)).to_bytes())

    def joins(self, permissions: Hashable) -> bool:
        """Whether several versions may be told as one: all modes but ``xcap-patching`` (§4.3)."""
        return not _watching(permissions).history

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """None: documents do not change by the clock."""
        return None


def _watching(permissions: Hashable) -> Watching:
    assert isinstance(permissions, Watching)
    return permissions
