"""The subscriptions behind lists: one for each resource, package and watcher (RFC 4662 §4.6).

Of a resource of this server it is a record of its AOR, without a remote target: what its NOTIFY
would say is taken here.  Resources of other domains are those of ``BackEnd``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred

from simplestack.app.backend import BackEnd
from simplestack.app.localresources import LocalResources
from simplestack.app.serviceindex import is_list
from simplestack.app.watch import Watch
from simplestack.event.lists import PENDING_ENTRY, EntryState, terminated_entry
from simplestack.event.notifier import NotifyRequest
from simplestack.event.states import WAITING
from simplestack.event.subscription import Subscribing
from simplestack.outcome import Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response
from simplestack.state import ChangeSet, ResourceState, Subscription
from simplestack.transaction.failure import Verdict

__all__ = ["VirtualSubscriptions", "VirtualTurn"]

#: When what ended for a while is tried again, in seconds.
_AGAIN: Final = 30.0
#: And when it is asked again whether somebody exists now.
_AGAIN_NOBODY: Final = 900.0
#: Endings after which one may subscribe again at once (RFC 6665 §4.1.3).
_AT_ONCE: Final = frozenset({"deactivated", "timeout"})
_FOR_A_WHILE: Final = frozenset({"probation", "giveup"})
_OK: Final = Response(200, "OK", {})


class VirtualSubscriptions:
    """Makes, renews and ends what is behind the lists in ``watches``, which are shared by their ids.

    ``heard(watch, aor)`` is called when something is known of a resource, new or not.
    """

    def __init__(
        self,
        resources: LocalResources,
        watches: Mapping[str, Watch],
        heard: Callable[[Watch, str], None],
    ) -> None:
        self.resources = resources
        self._watches = watches
        self._heard = heard
        self._subscribing = Subscribing(resources.packages, resources.limits)
        self._residents = resources.residents
        self._deadlines = resources.deadlines
        self._turns = resources.turns
        self._clock = resources.clock
        #: The ids of watches that were refused something, by the AOR that it is of.
        self._refused: dict[str, set[str]] = {}
        #: Subscribes to resources of other domains; None where they are not served.
        self.backend: BackEnd | None = None

    def subscribe(self, watch: Watch, aor: str) -> None:
        """A list shows a resource from now on, or wants to be told of it once more."""
        if not self.resources.include(aor):
            # Nobody waits for other domains: what is known of them now is in the first NOTIFY.
            backend = self.backend
            state = (
                terminated_entry("noresource")
                if backend is None
                else backend.watch(watch.id, aor, watch.package, watch.watcher, watch.sealed)
            )
            self.told(watch.id, aor, state)
            return
        self._turns.run(VirtualTurn(self, watch, aor))

    def _end(self, id_: str, aor: str) -> None:
        if self.resources.include(aor):
            self._turns.run(VirtualTurn(self, id_, aor, True))

    def leave(self, watch: Watch, aor: str) -> None:
        """A list shows a resource no more."""
        watch.again.pop(aor, None)
        self._pardon(watch.id, aor)
        if self.backend is not None and not self.resources.include(aor):
            self.backend.leave(watch.id, aor, watch.package, watch.watcher, watch.sealed)
        else:
            self._end(watch.id, aor)

    def told(self, id_: str, aor: str, state: EntryState | None) -> None:
        """What is known of a resource of another domain, if anything."""
        watch = self._watches.get(id_)
        if watch is not None:
            if state is not None:
                watch.table.tell(aor, state, self._clock())
            self._heard(watch, aor)

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
            cseq_reserved=self.resources.limits.cseq_block,
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
        return Outcome(None, self._subscribing.install(state, record, now), (watch.id,))

    def ended(self, state: ResourceState, id_: str, now: float) -> Outcome[None]:
        """The end of a subscription behind a list; a pending one becomes a waiting watcher."""
        if id_ in self._watches and state.aor in self._watches[id_].table:
            # It was wanted again meanwhile.
            return Outcome(None, ChangeSet(state.aor))
        return Outcome(None, self._subscribing.failed(state, id_, Verdict.USAGE, now))

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
        """Ask again when the rules of this AOR may say otherwise: by a change, or by the clock."""
        self._refused.setdefault(aor, set()).add(watch.id)
        resident = self._residents.get(aor)
        if resident is not None:
            now = self._clock()
            boundary = self.resources.packages[watch.package].boundary(resident.state, now)
            if boundary is not None:
                self._try_again(watch, aor, boundary - now)

    def waits(self, aor: str) -> bool:
        """Whether somebody was refused there who waits for other rules."""
        return aor in self._refused

    def _pardon(self, id_: str, aor: str) -> None:
        refused = self._refused.get(aor)
        if refused is not None:
            refused.discard(id_)
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
        self._turns.notified(aor, notify, _OK, None)
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
                self.subscribe(watch, aor)
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

    def reconsider(self, changes: ChangeSet) -> None:
        """Ask an AOR again for those who were refused and whom these changes of it may let in."""
        aor = changes.aor
        for id_ in list(self._refused.get(aor, ())):
            watch = self._watches.get(id_)
            if watch is None:
                self._pardon(id_, aor)
            elif self.resources.packages[watch.package].reauthorizes(changes):
                self._pardon(id_, aor)
                watch.again.pop(aor, None)
                known = watch.table.state_of(aor)
                if known is not None and known.state == "terminated":
                    self.subscribe(watch, aor)

    def retry(self, watch: Watch, now: float) -> None:
        """Try again what it is time for."""
        if watch.again:
            for aor in [aor for aor, when in watch.again.items() if when <= now]:
                del watch.again[aor]
                self._pardon(watch.id, aor)
                self.subscribe(watch, aor)
            if watch.again:
                self._deadlines.set(watch.aor, min(watch.again.values()))


class VirtualTurn:
    """Subscribes to one resource of a list, or ends that; provides ``Turn``."""

    __slots__ = ("_exists", "_server", "_watch", "aor", "ending")

    def __init__(
        self, server: "VirtualSubscriptions", watch: Watch | str, aor: str, ending: bool = False
    ) -> None:
        self._server = server
        self._watch = watch
        self.aor = aor
        self.ending = ending
        self._exists: bool | None = None

    def __repr__(self) -> str:
        return f"<VirtualTurn {self.aor}>"

    def trust(self, now: float) -> Deferred[Any] | None:
        """The subscriber of the list was authenticated; that the resource exists is seen to."""
        if self._exists is None and not self.ending:
            exists = self._server.resources.authenticator.exists(self.aor)
            if isinstance(exists, Deferred):
                return exists.addCallback(self._learn)
            self._exists = exists
        if not self._exists and not self.ending:
            raise SIPError(404)
        return None

    def _learn(self, exists: bool) -> None:
        self._exists = exists

    def decide(self, state: ResourceState, now: float) -> Outcome[None]:
        """The subscription, made, renewed, told again, or ended."""
        watch = self._watch
        if self.ending or isinstance(watch, str):
            return self._server.ended(state, watch if isinstance(watch, str) else watch.id, now)
        return self._server.installed(state, watch, now)

    def answer(self, response: None) -> None:
        """It is made; what it says comes by ``deliver``."""

    def refuse(self, error: SIPError) -> None:
        """It is not."""
        if isinstance(self._watch, Watch) and not self.ending:
            self._server.refused(self._watch, self.aor, error)
