"""Subscriptions: what a SUBSCRIBE, the clock, or a failed NOTIFY makes of them (RFC 6665 §4.2)."""

from collections.abc import Iterable, Mapping
from typing import Final

from simplestack.event.conditional import condition_of
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.filtering import merged
from simplestack.event.limits import DEFAULT_LIMITS, Limits
from simplestack.event.negotiation import allow_events, choose, offers, partial_form
from simplestack.event.pace import RATES, check_rates, paced
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
from simplestack.event.wish import decide, narrow
from simplestack.interfaces import Identifiers, IEventPackage
from simplestack.outcome import Incoming, Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Event, NameAddr
from simplestack.sip.grammar import format_params, parse_params
from simplestack.sip.message import Request, Response
from simplestack.state import ChangeSet, Removed, ResourceState, Subscription
from simplestack.transaction.dialog import check_sequence
from simplestack.transaction.failure import Verdict

__all__ = ["Subscribing"]

#: RFC 6665 §4.2.1.1: 423 "If and only if the expiration interval is greater than zero AND smaller
#: than one hour AND less than a notifier-configured minimum".
_HOUR: Final = 3600
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
        granted = self._granted(request, package)
        accept = self._accept(request, package)
        content_type, body = self._body(request, package, incoming.aor, None)
        target = self._target(request)
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
        record = Subscription(
            aor=incoming.aor,
            id=record_id,
            package=event.package,
            status=status,
            event="subscribe",
            watcher=identity,
            display_name=from_.display[:_SHOWN],
            call_id=request.call_id,
            local_tag=tag,
            remote_tag=from_.tag or "",
            local_uri=f"<{request.to.uri}>",
            remote_uri=f"<{from_.uri}>",
            remote_target=target,
            route_set=route_set,
            contact=incoming.contact,
            remote_cseq=request.cseq.number,
            cseq_reserved=reserved,
            event_id=event.id or "",
            event_params=_event_params(event),
            accept=accept,
            content_type=content_type,
            body=body,
            subscribed_at=now,
            expires_at=now + granted,
            flow=incoming.flow,
            by_flow=1 if incoming.by_flow else 0,
            user_agent=(request.get("User-Agent") or "")[:_SHOWN],
            accept_encoding=", ".join(request.headers.get("Accept-Encoding", ())),
        )
        # What it asks for must be understood.
        narrow(package, decision, record)
        if "Suppress-If-Match" in request.headers:
            record = record._replace(suppress=condition_of(request, package, state, record, now))
        self._check_size(record)
        if granted == 0 and status == ACTIVE:
            # A fetch (RFC 6665 §4.4.3).
            changes.remove(record, "timeout")
        else:
            self._admit(state, record, changes)
            if granted:
                changes.put(record)
            else:
                # "The waiting state is also needed to allow for authorization of fetch attempts"
                # (RFC 3857 §4.7.1)
                self._step(changes, record, "timeout", now)
                self._forget(state, changes)
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
        granted = self._granted(request, package)
        accept = self._accept(request, package)
        content_type, body = usage.content_type, usage.body
        if request.body:
            # Without a body, the client "does not wish to update the filters" (RFC 4660 §5.2.2).
            content_type, body = self._body(request, package, usage.aor, usage)
        # SUBSCRIBE is a target refresh request (RFC 6665 §3.1); the route set stays.
        target = self._target(request) or usage.remote_target
        cseq = request.cseq.number
        by_flow = 1 if incoming.by_flow else 0
        record = usage._replace(
            remote_target=target,
            remote_cseq=cseq,
            contact=incoming.contact,
            event_params=_event_params(event),
            accept=accept,
            content_type=content_type,
            body=body,
            expires_at=now + granted,
            flow=incoming.flow,
            by_flow=by_flow,
            accept_encoding=", ".join(request.headers.get("Accept-Encoding", ())),
            suppress="",
        )
        if "Suppress-If-Match" in request.headers:
            record = record._replace(suppress=condition_of(request, package, state, record, now))
        self._check_size(record)
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
                self._forget(state, changes)
        for other in usages:
            if other is not usage:
                changes.put(
                    other._replace(
                        remote_target=target,
                        remote_cseq=cseq,
                        contact=incoming.contact,
                        flow=incoming.flow,
                        by_flow=by_flow,
                    )
                )
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

    # ------------------------------------------------------------------ what a request says

    def _granted(self, request: Request, package: IEventPackage) -> int:
        """The seconds that the subscription gets; 0 ends it, or is a fetch."""
        expires = request.expires
        limits = self.limits
        if expires is None:
            # "the implied default MUST be defined by the event package" (RFC 6665 §3.1.1)
            return min(int(package.default_expires), limits.max_expires)
        if 0 < expires < limits.min_expires and expires < _HOUR:
            raise SIPError(423, headers=[("Min-Expires", str(min(limits.min_expires, _HOUR)))])
        return min(expires, limits.max_expires)

    def _accept(self, request: Request, package: IEventPackage) -> str:
        """The Accept values, once it is clear that we can serve one of them.

        "if a SUBSCRIBE request contains an "Accept" header field, but that field does not
        indicate a media type that the notifier is capable of generating in its NOTIFY requests,
        then the proper error response is 406" (RFC 6665 §4.1.2.1)
        """
        values = request.headers.get("Accept")
        if values is None:
            return ""
        accept = ", ".join(values)
        types = package.content_types
        if not accept or (choose(accept, types) is None and partial_form(accept, package) is None):
            raise SIPError(
                406,
                headers=[("Accept", ", ".join(offers(package)))],
                text="no body type is acceptable",
            )
        return accept

    def _body(
        self, request: Request, package: IEventPackage, aor: str, before: Subscription | None
    ) -> tuple[str, bytes]:
        """The content type and body that the subscription has, if the package understands it.

        RFC 3261 §8.2.3: a body that is not understood and not optional gets 415.  Filters are
        merged with those that were there before.  A package may have a method ``read_body`` that
        does this in place of it.
        """
        body = request.body
        if not body:
            return "", b""
        if len(body) > self.limits.body:
            raise SIPError(413, text=f"a body has at most {self.limits.body} octets here")
        read = getattr(package, "read_body", None)
        if read is not None:
            found: tuple[str, bytes] = read(request, before, aor, self.limits.body)
            return found
        kept = b""
        if before is not None and before.content_type == FILTER_TYPE:
            kept = before.body
        understood: tuple[str, ...] = getattr(package, "subscribe_types", ())
        media_type = request.content_type
        if media_type is not None and media_type.type in understood:
            if media_type.type == FILTER_TYPE:
                filters = merged(kept, body, aor, package.name)
                if len(filters) > self.limits.body:
                    raise SIPError(413, text="the filters together are too long")
                return (FILTER_TYPE, filters) if filters else ("", b"")
            return request.get("Content-Type") or "", body
        disposition = request.content_disposition
        if disposition is not None and not disposition.required:
            return "", b""
        what = "Content-Type is missing" if media_type is None else f"no {media_type.type} here"
        raise SIPError(415, headers=[("Accept", ", ".join(understood))], text=what)

    def _target(self, request: Request) -> str | None:
        """The one Contact URI of the subscriber; None without Contact."""
        contacts: tuple[NameAddr, ...] = request.contacts
        if request.contact_is_star or len(contacts) > 1:
            # "exactly one SIP or SIPS URI" (RFC 3261 §8.1.1.8)
            raise SIPError(400, text="there must be one Contact")
        if not contacts:
            return None
        uri = contacts[0].uri
        if not uri.is_sip:
            raise SIPError(400, text="Contact must be a SIP or SIPS URI")
        return str(uri._replace(headers=()) if uri.headers else uri)

    def _check_size(self, record: Subscription) -> None:
        """Refuse what keeps too much of the subscriber's own making."""
        length = (
            len(record.call_id)
            + len(record.remote_tag)
            + len(record.local_uri)
            + len(record.remote_uri)
            + len(record.remote_target)
            + len(record.route_set)
            + len(record.event_id)
            + len(record.event_params)
            + len(record.accept)
            + len(record.content_type)
            + len(record.accept_encoding)
            + len(record.suppress)
        )
        if length > self.limits.head:
            raise SIPError(513, text="the header fields of the subscription are too long")

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
        base = first.local_tag.partition(".")[0]
        for identifier in self._ids(base):
            if identifier not in state.subscriptions:
                return identifier
        # RFC 6665 §4.5.2 lets a notifier refuse dialog sharing with a 403 that says so.
        raise SIPError(403, text=f"dialog sharing is not supported beyond {self.limits.per_dialog}")

    def _admit(self, state: ResourceState, record: Subscription, changes: ChangeSet) -> None:
        """Make room for a new subscription, or refuse it.

        "if another subscription is received to the same resource, from the same watcher, for the
        same event package, event package parameters and filter … the FSM enters the terminated
        state with a "giveup" event" (RFC 3857 §4.7.1)
        """
        limits = self.limits
        watcher = record.watcher
        count = state.watchers.get(watcher, 0)
        if state.waiting:
            wish = _wish(record)
            for other in state.subscriptions.values():
                if other.watcher == watcher and other.status == WAITING and _wish(other) == wish:
                    changes.remove(other, "giveup")
                    count -= 1
        if count >= (limits.per_watcher if watcher else limits.anonymous):
            raise SIPError(403, text="too many subscriptions of this watcher")
        if len(state.subscriptions) - len(changes) >= limits.per_resource:
            raise SIPError(
                503,
                headers=[("Retry-After", str(limits.retry_after))],
                text="too many subscriptions to this resource",
            )

    def _step(
        self, changes: ChangeSet, record: Subscription, event: str, now: float, silent: bool = False
    ) -> None:
        """Enter what an event makes of a subscription."""
        entry = transition(record, event, now + self.limits.waiting_time, silent=silent)
        if entry is not None:
            enter(changes, entry)

    def _forget(self, state: ResourceState, changes: ChangeSet) -> None:
        """Keep the waiting watchers few, after some have been entered into the changes.

        One that asks for the same as a newer one is redundant; of the others the oldest go first.
        Both end by ``giveup`` (RFC 3857 §4.7.1).
        """
        made = [
            entry
            for entry in changes.of(Subscription)
            if type(entry) is Subscription and entry.status == WAITING
        ]
        if not made:
            return
        waiting = made + [
            record
            for record in state.subscriptions.values()
            if record.status == WAITING and (Subscription, record.id) not in changes.entries
        ]
        waiting.sort(key=_age, reverse=True)
        kept: set[tuple[str | bytes, ...]] = set()
        for record in waiting:
            wish = _wish(record)
            if wish not in kept and len(kept) < self.limits.waiting:
                kept.add(wish)
                continue
            before = state.subscriptions.get(record.id)
            if before is not None:
                changes.remove(before, "giveup", silent=not record.local_tag)
            else:
                # A fetch ends as any fetch.
                changes.remove(record._replace(status=PENDING), "timeout")

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
        self._forget(state, changes)
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
        self._admit(state, record, changes)
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
        self._forget(state, changes)
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


def _event_params(event: Event) -> str:
    """The parameters of Event but for the id, as text."""
    if not event.params:
        return ""
    return format_params(tuple([param for param in event.params if param[0] != "id"]))


def _wish(record: Subscription) -> tuple[str | bytes, ...]:
    """What a watcher asks for: of two waiting ones with the same wish one is redundant."""
    return (
        record.watcher,
        record.package,
        record.event_params,
        record.content_type,
        record.body,
    )


def _age(record: Subscription) -> float:
    return record.subscribed_at
