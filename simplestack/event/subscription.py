"""Subscriptions: what a SUBSCRIBE, the clock, or a failed NOTIFY makes of them (RFC 6665 §4.2)."""

from collections.abc import Iterable, Mapping
from typing import Final

from simplestack.event.conditional import condition_of
from simplestack.event.limits import DEFAULT_LIMITS, Limits
from simplestack.event.negotiation import allow_events
from simplestack.event.pace import RATES, check_rates, paced
from simplestack.event.room import admit, forget_waiting
from simplestack.event.states import (
    ACTIVE,
    INITIAL,
    JUDGED,
    PENDING,
    TERMINATED,
    WAITING,
    enter,
    transition,
)
from simplestack.event.terms import (
    accept_of,
    body_of,
    check_size,
    duration_of,
    params_of,
    target_of,
)
from simplestack.event.wish import decide, narrow
from simplestack.interfaces import Identifiers, IEventPackage
from simplestack.outcome import Incoming, Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Event
from simplestack.sip.grammar import format_params, parse_params
from simplestack.sip.memory import share
from simplestack.sip.message import Request, Response
from simplestack.state import ChangeSet, Removed, ResourceState, Subscription
from simplestack.transaction.dialog import check_sequence
from simplestack.transaction.failure import Verdict

__all__ = ["Subscribing"]

#: So much of a User-Agent and of a display name is kept; they are shown to people only.
_SHOWN: Final = 100
#: What an administrator or a role may do to a subscription (RFC 6665 §4.1.3).
_REVOCATIONS: Final = frozenset({"deactivated", "probation", "rejected", "giveup", "noresource"})


class Subscribing:
    """Decides SUBSCRIBE requests for the given packages, by name.

    A package may have an attribute ``subscribe_types``: the types of SUBSCRIBE bodies that it
    understands.  Without it, it understands none.  ``wish.decide`` says how it uses them.

    In a dialog our tag is ``ID.random``, where ID is the id of the subscription; subscriptions
    that share the dialog have the ids ``ID~1``, ``ID~2`` and so on.  So a dialog is found without
    an index, and who learns the id from watcher information can't guess the tag.
    """

    def __init__(
        self, packages: Mapping[str, IEventPackage], limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.packages = packages
        self.limits = limits
        #: The value of Allow-Events in responses.
        self.allow_events = allow_events(packages)

    # ------------------------------------------------------------------ SUBSCRIBE

    def decide(
        self, incoming: Incoming, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[Response]:
        """Decide a SUBSCRIBE: initial, refresh, fetch, or end of a subscription.

        The answer is 200 for pending subscriptions as well: notifiers "MUST NOT generate 202
        response codes to SUBSCRIBE" (RFC 6665 §8.3.1), the NOTIFY says which it is.  It is 204
        where the subscriber has already what a NOTIFY would tell him (RFC 5839 §7.1).

        :raises SIPError: 400, 403, 404, 406, 413, 415, 423, 481, 489, 500, 503 or 513; nothing
            changes.
        """
        request = incoming.request
        event, package = self._package(request)
        tag = request.to.tag
        if not tag:
            return self._initial(incoming, state, now, identifiers, event, package)
        usages = self._usages(state, tag, request)
        if not usages:
            raise SIPError(481, "Subscription Does Not Exist")
        if usages[0].watcher != incoming.identity:
            raise SIPError(403, text="this is another's subscription")
        check_sequence(max([usage.remote_cseq for usage in usages]), request.cseq.number)
        event_id = event.id or ""
        for usage in usages:
            if usage.package == event.package and usage.event_id == event_id:
                return self._refresh(incoming, state, now, event, package, usage, usages)
        return self._initial(incoming, state, now, identifiers, event, package, usages)

    def _package(self, request: Request) -> tuple[Event, IEventPackage]:
        values = request.headers.get("Event")
        if values and len(values) > 1:
            # "Subscribers MUST include exactly one "Event" header field" (RFC 6665 §3.1.2)
            raise SIPError(400, text="there must be one Event")
        event = request.event
        package = None if event is None else self.packages.get(event.package)
        if event is None or package is None:
            # Also without Event (RFC 6665 §4.2.3), and for templates that are too deep
            # (RFC 3857 §4.6).
            what = "Event is missing" if event is None else f"no package {event.package}"
            raise SIPError(489, headers=[("Allow-Events", self.allow_events)], text=what)
        if event.params:
            check_rates(dict(event.params))
        return event, package

    def _initial(
        self,
        incoming: Incoming,
        state: ResourceState,
        now: float,
        identifiers: Identifiers,
        event: Event,
        package: IEventPackage,
        sharing: list[Subscription] | None = None,
    ) -> Outcome[Response]:
        request = incoming.request
        if not package.recognizes(state):
            raise SIPError(404)
        granted = duration_of(request, package, self.limits)
        accept = accept_of(request, package)
        content_type, body = body_of(request, package, incoming.aor, None, self.limits)
        target = target_of(request)
        if target is None:
            raise SIPError(400, text="Contact is missing")
        identity = incoming.identity
        decision = package.authorize(state, identity, now)
        status = INITIAL[decision.handling]
        if status == TERMINATED:
            raise SIPError(403, text="the subscription is not allowed")
        changes = ChangeSet(incoming.aor)
        from_ = request.from_
        if sharing:
            first = sharing[0]
            record_id = self._shared_id(state, first)
            tag, route_set, reserved = first.local_tag, first.route_set, first.cseq_reserved
        else:
            record_id = identifiers.record_id()
            tag = f"{record_id}.{identifiers.tag()}"
            # "taken in order and preserving all URI parameters" (RFC 3261 §12.1.1)
            route_set = ", ".join(request.headers.get("Record-Route", ()))
            reserved = self.limits.cseq_block
        # In the order of the fields, for by their names it would take three times as long.  Texts
        # that many subscriptions have in common are in memory once.
        record = Subscription(
            incoming.aor,
            record_id,  # id
            event.package,
            status,
            "subscribe",  # event
            identity,  # watcher
            from_.display[:_SHOWN],  # display_name
            request.call_id,
            tag,  # local_tag
            from_.tag or "",  # remote_tag
            share(f"<{request.to.uri}>"),  # local_uri
            share(f"<{from_.uri}>"),  # remote_uri
            target,  # remote_target
            route_set,
            share(incoming.contact),  # contact
            request.cseq.number,  # remote_cseq
            reserved,  # cseq_reserved
            event.id or "",  # event_id
            params_of(event),  # event_params
            share(accept),
            content_type,
            body,
            now,  # subscribed_at
            now + granted,  # expires_at
            incoming.flow,
            1 if incoming.by_flow else 0,  # by_flow
            share((request.get("User-Agent") or "")[:_SHOWN]),  # user_agent
            ", ".join(request.headers.get("Accept-Encoding", ())),  # accept_encoding
        )
        # What it asks for must be understood.
        narrow(package, decision, record)
        if "Suppress-If-Match" in request.headers:
            record = record._replace(suppress=condition_of(request, package, state, record, now))
        check_size(record, self.limits)
        if granted == 0 and status == ACTIVE:
            # A fetch (RFC 6665 §4.4.3).
            changes.remove(record, "timeout")
        else:
            admit(state, record, changes, self.limits)
            if granted:
                changes.put(record)
            else:
                # "The waiting state is also needed to allow for authorization of fetch attempts"
                # (RFC 3857 §4.7.1)
                self._step(changes, record, "timeout", now)
                forget_waiting(state, changes, self.limits)
        if sharing:
            _follow(changes, sharing, record)
        return Outcome(self._accepted(incoming, tag, granted), changes, (record_id,))

    def _refresh(
        self,
        incoming: Incoming,
        state: ResourceState,
        now: float,
        event: Event,
        package: IEventPackage,
        usage: Subscription,
        usages: list[Subscription],
    ) -> Outcome[Response]:
        request = incoming.request
        granted = duration_of(request, package, self.limits)
        accept = accept_of(request, package)
        content_type, body = usage.content_type, usage.body
        if request.body:
            # Without a body, the client "does not wish to update the filters" (RFC 4660 §5.2.2).
            content_type, body = body_of(request, package, usage.aor, usage, self.limits)
        # SUBSCRIBE is a target refresh request (RFC 6665 §3.1); the route set stays.
        record = usage._replace(
            remote_target=target_of(request) or usage.remote_target,
            remote_cseq=request.cseq.number,
            contact=incoming.contact,
            event_params=params_of(event),
            accept=accept,
            content_type=content_type,
            body=body,
            expires_at=now + granted,
            flow=incoming.flow,
            by_flow=1 if incoming.by_flow else 0,
            accept_encoding=", ".join(request.headers.get("Accept-Encoding", ())),
            suppress="",
        )
        if "Suppress-If-Match" in request.headers:
            record = record._replace(suppress=condition_of(request, package, state, record, now))
        check_size(record, self.limits)
        changes = ChangeSet(incoming.aor)
        # "assuming that the subscriber is still authorized" (RFC 6665 §4.2.1.4)
        handling = decide(package, state, record, now).handling
        step = JUDGED.get((usage.status, handling))
        judged = None if step is None else transition(record, step, now)
        # What would be told is there already, and nothing else is new (RFC 5839 §6.3).
        quiet = judged is None and record.suppress != ""
        if type(judged) is Removed:
            granted = 0
            enter(changes, judged)
        else:
            if type(judged) is Subscription:
                record = judged
            if granted:
                changes.put(record)
            else:
                self._step(changes, record, "timeout", now, silent=quiet)
                forget_waiting(state, changes, self.limits)
        if len(usages) > 1:
            _follow(changes, [other for other in usages if other is not usage], record)
        if quiet:
            return Outcome(self._accepted(incoming, None, granted, 204), changes)
        return Outcome(self._accepted(incoming, None, granted), changes, (record.id,))

    def _accepted(
        self, incoming: Incoming, tag: str | None, granted: int, status: int = 200
    ) -> Response:
        response = incoming.request.response(status, to_tag=tag, record_route=True)
        headers = response.headers
        # "200-class responses to SUBSCRIBE requests also MUST contain an "Expires" header field"
        # (RFC 6665 §3.1.1)
        headers["Expires"] = [str(granted)]
        headers["Contact"] = [f"<{incoming.contact}>"]
        headers["Allow-Events"] = [self.allow_events]
        return response

    # ------------------------------------------------------------------ the subscriptions there are

    def _usages(self, state: ResourceState, tag: str, request: Request) -> list[Subscription]:
        """The subscriptions of the dialog of a request (RFC 3261 §12)."""
        call_id = request.call_id
        remote_tag = request.from_.tag or ""
        found = []
        for identifier in self._ids(tag.partition(".")[0]):
            usage = state.subscriptions.get(identifier)
            if (
                usage is not None
                and usage.status != WAITING
                and usage.local_tag == tag
                and usage.call_id == call_id
                and usage.remote_tag == remote_tag
            ):
                found.append(usage)
        return found

    def _ids(self, base: str) -> Iterable[str]:
        return [base, *[f"{base}~{n}" for n in range(1, self.limits.per_dialog)]]

    def _shared_id(self, state: ResourceState, first: Subscription) -> str:
        _, *others = self._ids(first.local_tag.partition(".")[0])
        for identifier in others:
            # The id of who made the dialog says that a dialog begins, with CSeq numbers of its own.
            # Nor is it that of one whose last NOTIFY is on its way.
            if identifier not in state.subscriptions and identifier not in state.ended:
                return identifier
        # RFC 6665 §4.5.2 lets a notifier refuse dialog sharing with a 403 that says so.
        raise SIPError(403, text=f"dialog sharing is not supported beyond {self.limits.per_dialog}")

    def _step(
        self, changes: ChangeSet, record: Subscription, event: str, now: float, silent: bool = False
    ) -> None:
        """Enter what an event makes of a subscription."""
        entry = transition(record, event, now + self.limits.waiting_time, silent=silent)
        if entry is not None:
            enter(changes, entry)

    # ------------------------------------------------------------------ other events

    def expire(self, state: ResourceState, now: float) -> ChangeSet:
        """End the subscriptions whose time is over.

        Active ones by ``timeout``; pending ones become waiting, so that their AOR learns of them
        (RFC 3857 §4.7.1); waiting ones are given up.  Who could not be told of an end by now
        knows it.
        """
        changes = ChangeSet(state.aor)
        for record in state.ended.values():
            if record.expires_at <= now:
                changes.remove(record, record.event, silent=True)
        for record in list(state.subscriptions.values()):
            if record.expires_at <= now:
                event = "giveup" if record.status == WAITING else "timeout"
                self._step(changes, record, event, now)
        forget_waiting(state, changes, self.limits)
        return changes

    def install(self, state: ResourceState, record: Subscription, now: float) -> ChangeSet:
        """Make a subscription that no SUBSCRIBE asked for: that of a list to one of its resources.

        It is authorized and limited as any other.

        :raises SIPError: 403, 404 or 503.
        """
        package = self.packages[record.package]
        if not package.recognizes(state):
            raise SIPError(404)
        status = INITIAL[package.authorize(state, record.watcher, now).handling]
        if status == TERMINATED:
            raise SIPError(403, text="the subscription is not allowed")
        record = record._replace(status=status)
        changes = ChangeSet(record.aor)
        admit(state, record, changes, self.limits)
        changes.put(record)
        return changes

    def failed(
        self, state: ResourceState, subscription_id: str, verdict: Verdict, now: float
    ) -> ChangeSet:
        """What the failure of a NOTIFY ends (RFC 6665 §4.2.2, RFC 5057 §5.1).

        The subscriber is told nothing: its end of the dialog is gone.  For the AOR's owner it is
        as if the subscription had not been refreshed.
        """
        changes = ChangeSet(state.aor)
        usage = state.subscriptions.get(subscription_id)
        if usage is None or usage.status == WAITING:
            return changes
        if verdict is Verdict.DIALOG:
            for identifier in self._ids(usage.local_tag.partition(".")[0]):
                other = state.subscriptions.get(identifier)
                if other is not None and other.local_tag == usage.local_tag:
                    self._step(changes, other, "timeout", now, silent=True)
        elif verdict is Verdict.USAGE:
            self._step(changes, usage, "timeout", now, silent=True)
        forget_waiting(state, changes, self.limits)
        return changes

    def repaced(self, state: ResourceState, subscription_id: str, event: Event) -> ChangeSet:
        """What the Event of a 2xx to NOTIFY asks for (RFC 6446 §4.1); other rates replace all.

        It counts only where the last SUBSCRIBE asked for rates; what can't be read changes
        nothing.
        """
        changes = ChangeSet(state.aor)
        record = state.subscriptions.get(subscription_id)
        if (
            record is None
            or record.status == WAITING
            or record.package != event.package
            or not paced(record.event_params)
        ):
            return changes
        asked = {name: value for name, value in event.params if name in RATES}
        try:
            check_rates(asked)
        except SIPError:
            return changes
        params = parse_params(record.event_params)
        kept = [(name, value) for name, value in params if name not in RATES]
        changed = format_params((*kept, *asked.items()))
        if changed != record.event_params:
            changes.put(record._replace(event_params=changed))
        return changes

    def revoke(
        self,
        state: ResourceState,
        subscription_id: str,
        reason: str,
        retry_after: int | None = None,
    ) -> ChangeSet:
        """End a subscription from our side, by one of the reasons of RFC 6665 §4.1.3.

        A reason that its state does not know (RFC 3857 §4.7.1) changes nothing.

        :raises ValueError: where the reason is none by which a notifier can end a subscription.
        """
        if reason not in _REVOCATIONS:
            raise ValueError(f"a subscription is not revoked by {reason!r}")
        changes = ChangeSet(state.aor)
        record = state.subscriptions.get(subscription_id)
        if record is not None:
            if reason == "giveup" and record.status not in (PENDING, WAITING):
                return changes
            entry = transition(record, reason, record.expires_at, retry_after=retry_after)
            if entry is not None:
                enter(changes, entry)
        return changes


def _follow(changes: ChangeSet, others: Iterable[Subscription], record: Subscription) -> None:
    """Let the others of a dialog go where its last SUBSCRIBE has come from (RFC 3261 §12.2.2)."""
    for other in others:
        changes.put(
            other._replace(
                remote_target=record.remote_target,
                remote_cseq=record.remote_cseq,
                contact=record.contact,
                flow=record.flow,
                by_flow=record.by_flow,
            )
        )
