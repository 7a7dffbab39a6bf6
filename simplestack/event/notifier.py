"""The notifier of one AOR: who is told what, and when (RFC 6665 §4.2.2)."""

from collections.abc import Collection, Hashable, Iterable, Mapping
from math import inf

from simplestack.documents.errors import DocumentError
from simplestack.event.coding import coded_tag
from simplestack.event.entity import Entity, entity_tag, suppresses
from simplestack.event.filtering import filtered, filtering_of, is_empty, triggered
from simplestack.event.limits import DEFAULT_LIMITS, Limits
from simplestack.event.negotiation import allow_events, choose, partial_form
from simplestack.event.notification import Notification, NotifyRequest, head
from simplestack.event.pace import Pace, agree, paced
from simplestack.event.partial import Deltas, partial_tag
from simplestack.event.states import ACTIVE, JUDGED, WAITING, enter, transition
from simplestack.event.view import Dialog, Usage, View, Watched
from simplestack.event.wish import Trail, decide, other_wish
from simplestack.interfaces import Body, IEventPackage
from simplestack.state import ChangeSet, Removed, ResourceState, Subscription

__all__ = ["Notification", "Notifier", "NotifyRequest"]

#: Only these ends leave the watcher what it was allowed to see: the state goes with the last
#: NOTIFY (RFC 6665 §4.2.1.4, §4.4.3).  All others end with no body.
_WITH_STATE = frozenset({"timeout"})


class Notifier:
    """Tells the subscribers of one AOR what changes.

    A body is built once for a view, however many subscriptions share it, and at once, so that it
    never shows what a later turn changes and perhaps fails to commit.  In a dialog at most one
    NOTIFY waits for its answer; of those that would have to wait only the newest is kept, and it
    has full state.  Versions of partial documents and CSeq numbers are counted here; their upper
    bounds are committed in blocks, and what is loaded goes on above them.
    """

    __slots__ = (
        "_events",
        "_limits",
        "_paced",
        "_packages",
        "_require",
        "_resting",
        "_turn",
        "_usages",
        "_watched",
        "state",
    )

    def __init__(
        self,
        state: ResourceState,
        packages: Mapping[str, IEventPackage],
        limits: Limits = DEFAULT_LIMITS,
        require: str = "",
    ) -> None:
        self.state = state
        self._require = require
        self._packages = packages
        self._limits = limits
        self._events = allow_events(packages)
        self._usages: dict[str, Usage] = {}
        self._watched: dict[str, Watched] = {}
        #: The usages that have agreed on rates.
        self._paced: dict[Usage, None] = {}
        #: The views that keep something back.
        self._resting: dict[View, None] = {}
        self._turn = 0
        # An id sorts before those of the subscriptions that share its dialog.
        for identifier in sorted(state.subscriptions):
            record = state.subscriptions[identifier]
            if record.status != WAITING:
                # "CSeq … MUST be strictly monotonically increasing" (RFC 3261 §12.2.1.1), and no
                # document version was above its CSeq number.
                usage = self._adopt(record, record.cseq_reserved, record.cseq_reserved)
                self._set_pace(usage, record.subscribed_at)
                watched = self._place_for(record.package)
                if watched is not None:
                    watched.others[usage] = None
                    watched.fresh = True

    def __len__(self) -> int:
        return len(self._usages)

    def usage(self, subscription_id: str) -> Usage | None:
        """The live end of a subscription, for those who tell how it stands."""
        return self._usages.get(subscription_id)

    # ------------------------------------------------------------------ in a turn

    def settle(self, changes: ChangeSet, now: float) -> ChangeSet:
        """Apply what new rules mean for the subscriptions that there are.

        Pending ones are approved or rejected, active ones rejected or deactivated, waiting
        watchers forgotten (RFC 3857 §4.7.1).  What this changes is applied and entered into
        ``changes``, and returned.
        """
        extra = ChangeSet(self.state.aor)
        if self.state.subscriptions:
            for name, package in self._packages.items():
                if package.reauthorizes(changes):
                    self._reauthorize(name, package, extra, now)
        self._also(changes, extra)
        return extra

    def after(self, changes: ChangeSet, notify: Iterable[str], now: float) -> list[Notification]:
        """What is to be told after changes that have been applied.

        ``notify`` names subscriptions that are told in any case.  Subscriptions whose block of
        CSeq numbers is used up are entered into ``changes`` with a new one.
        """
        if not self._usages and not changes.touches(Subscription):
            return []
        return self._tell_all(changes, notify, now, ())

    def tick(self, changes: ChangeSet, now: float) -> list[Notification]:
        """What is to be told because a boundary has passed; enters what it changes."""
        due = [
            watched
            for watched in self._watched.values()
            if not watched.timed or (watched.due is not None and watched.due <= now)
        ]
        extra = ChangeSet(self.state.aor)
        for watched in due:
            self._reauthorize(watched.name, watched.package, extra, now)
            watched.timed = False
        self._also(changes, extra)
        return self._tell_all(changes, (), now, due)

    def full_state(self, changes: ChangeSet, now: float) -> list[Notification]:
        """Everybody's full state, as after a restart; enters what it changes."""
        extra = ChangeSet(self.state.aor)
        for watched in self._watched.values():
            self._reauthorize(watched.name, watched.package, extra, now)
            watched.fresh = False
        self._also(changes, extra)
        # What nobody here can tell the state of, since its role was taken away, rests.
        everybody = [
            key
            for key, usage in self._usages.items()
            if not usage.closing
            and usage.subscription.package in self._packages
            and not self._has_already(usage, now)
        ]
        return self._tell_all(changes, everybody, now, list(self._watched.values()))

    def boundary(self, now: float) -> float | None:
        """The next time at which ``tick`` has something to do, if there is one."""
        if not self._watched:
            return None
        times = []
        for watched in self._watched.values():
            if not watched.timed:
                watched.due = watched.package.boundary(self.state, now)
                watched.timed = True
            if watched.due is not None:
                times.append(watched.due)
        if self._paced or self._resting:
            times += [usage.pace.due for usage in self._paced if usage.pace is not None]
            times += [view.rests for view in self._resting if view.usages]
            times = [time for time in times if time < inf]
        return min(times, default=None)

    def has(self, subscription_id: str) -> bool:
        """Whether a subscription has a live end here."""
        usage = self._usages.get(subscription_id)
        return usage is not None and not usage.closing

    def quiet(self, name: str) -> bool:
        """Whether no notification of a package is under way."""
        watched = self._watched.get(name)
        return watched is None or not any(usage.busy for usage in watched)

    def altered(self, name: str, now: float) -> None:
        """Something that is no record of this AOR has moved the next boundary of a package."""
        watched = self._watched.get(name)
        if watched is not None:
            watched.alter(now)

    # ------------------------------------------------------------------ after the commit

    def release(self, notifications: Iterable[Notification], now: float) -> list[NotifyRequest]:
        """The requests that can leave at once; of the others the newest waits."""
        requests = []
        for notification in notifications:
            usage = self._usages.get(notification.subscription.id)
            if usage is None:
                # Its dialog ended meanwhile.
                continue
            usage.unreleased -= 1
            dialog = usage.dialog
            if usage.waiting is not None:
                dialog.granted -= 1
                usage.waiting = None
            if dialog.outstanding is None:
                requests.append(self._request(usage, notification, notification.state_header))
            else:
                usage.waiting = notification
        return requests

    def answered(self, subscription_id: str, ok: bool, now: float) -> list[NotifyRequest]:
        """Go on in a dialog whose NOTIFY has had its final response, or none at all.

        After a failure (``ok`` is false) the subscription gets full state next time.
        """
        usage = self._usages.get(subscription_id)
        if usage is None or usage.dialog.outstanding is not usage:
            return []
        dialog = usage.dialog
        dialog.outstanding = None
        if not ok:
            usage.stale = True
        elif usage.trail is not None:
            usage.trail.knows(usage.sent)
        usages = dialog.usages
        if len(usages) > 1:
            # The others have waited longer.
            usages = (*[each for each in usages if each is not usage], usage)
        for each in usages:
            notification = each.waiting
            if notification is not None:
                each.waiting = None
                header = notification.state_header
                if not notification.final:
                    status = notification.subscription.status
                    header = _state_header(status, each.subscription.expires_at - now)
                    if each.pace is not None:
                        header += each.pace.rates.text
                requests = [self._request(each, notification, header)]
                break
        else:
            requests = []
        # After its last NOTIFY nothing of a usage is left.
        if (
            usage.closing
            and usage.dialog.outstanding is not usage
            and usage.waiting is None
            and not usage.unreleased
        ):
            self._drop(usage)
        return requests

    def pause(self, subscription_id: str) -> None:
        """Send nothing in a dialog whose NOTIFY has got a Retry-After, until ``resume``."""
        usage = self._usages.get(subscription_id)
        if usage is not None and usage.dialog.outstanding is usage:
            usage.dialog.paused = True

    def resume(self, subscription_id: str, now: float) -> list[NotifyRequest]:
        """Go on in a dialog, if it was paused: with the newest of what had to wait."""
        usage = self._usages.get(subscription_id)
        if usage is None or not usage.dialog.paused:
            return []
        usage.dialog.paused = False
        outstanding = usage.dialog.outstanding
        if outstanding is None:
            return []
        return self.answered(outstanding.subscription.id, False, now)

    def _request(
        self, usage: Usage, notification: Notification, state_header: str
    ) -> NotifyRequest:
        dialog = usage.dialog
        dialog.outstanding = usage
        usage.sent = notification.tag.partition("-")[0]
        dialog.cseq = cseq = dialog.cseq + 1
        if usage.head is None:
            usage.head = head(usage.subscription, self._events, self._require)
        # Of these forms the first version is 1 (RFC 5263 §4.4), of all others 0.
        version = usage.version if usage.deltas is None else usage.version + 1
        if notification.body is not None:
            usage.version += 1
        return NotifyRequest(
            usage.subscription,
            notification.final,
            cseq,
            usage.head,
            state_header,
            notification.body,
            version,
            notification.tag,
        )

    # ------------------------------------------------------------------ authorization

    def _reauthorize(self, name: str, package: IEventPackage, extra: ChangeSet, now: float) -> None:
        watched = self._watched.get(name)
        if watched is not None:
            for usage in watched:
                self._judge(watched, usage, extra, now)
        for record in self.state.subscriptions.values():
            if record.status == WAITING and record.package == name:
                handling = package.authorize(self.state, record.watcher, now).handling
                event = JUDGED.get((WAITING, handling))
                if event is not None:
                    extra.remove(record, event)

    def _judge(self, watched: Watched, usage: Usage, extra: ChangeSet, now: float) -> None:
        """Put one usage where it belongs by the rules of now."""
        record = self.state.subscriptions.get(usage.subscription.id)
        if record is None or record.status == WAITING or usage.closing:
            return
        decision = decide(watched.package, self.state, record, now)
        event = JUDGED.get((record.status, decision.handling))
        if event is not None:
            entry = transition(record, event, now)
            if entry is not None:
                enter(extra, entry)
        elif record.status == ACTIVE:
            before = usage.view
            view = self._place(watched, usage, decision.permissions)
            if view is not before:
                if watched.moved is None:
                    watched.moved = []
                watched.moved.append(usage)

    def _place(self, watched: Watched, usage: Usage, permissions: Hashable) -> View:
        """Put a usage where it sees what these permissions show, in the form that it asked for."""
        package = watched.package
        accept = usage.subscription.accept
        form = partial_form(accept, package)
        if form is not None:
            content_type, usage.deltas = form
        else:
            content_type = choose(accept, package.content_types) or package.content_types[0]
            usage.deltas = None
        chosen = filtering_of(usage.subscription)
        if chosen is None:
            usage.triggers = ()
            return watched.place(usage, content_type, permissions)
        usage.triggers = chosen.triggers
        return watched.place(usage, content_type, permissions, chosen.what)

    def _also(self, changes: ChangeSet, extra: ChangeSet) -> None:
        if extra:
            self.state.apply(extra)
            changes.update(extra)

    # ------------------------------------------------------------------ who is told

    def _tell_all(
        self,
        changes: ChangeSet,
        notify: Iterable[str],
        now: float,
        due: Collection[Watched],
    ) -> list[Notification]:
        self._turn += 1
        for watched in self._watched.values():
            if watched.fresh and (watched in due or watched.package.affected(changes)):
                # Loaded, and now it matters what they see.
                watched.fresh = False
                extra = ChangeSet(self.state.aor)
                for usage in list(watched.others):
                    self._judge(watched, usage, extra, now)
                self._also(changes, extra)
        forced: dict[Usage, None] = {}
        finals: dict[Usage, Removed] = {}
        seen = self._follow(changes, forced, finals, now)
        for usage in finals:
            usage.closing = True
        for identifier in notify:
            named = self._usages.get(identifier)
            if named is not None and not named.closing:
                forced[named] = None
        for usage in forced:
            usage.stale = True
        out: list[Notification] = []
        for watched in list(self._watched.values()):
            ticked = watched in due
            if ticked or (seen and watched.package.affected(seen)):
                watched.alter(now)
                for view in list(watched.views.values()):
                    self._spread(watched, view, seen, ticked, changes, now, out)
            elif self._resting:
                for view in list(watched.views.values()):
                    if view.held is not None and view.rests <= now:
                        self._spread(watched, view, view.held, False, changes, now, out)
            if watched.moved:
                watched.alter(now)
                for usage in watched.moved:
                    view_now = usage.view
                    if view_now is not None and not usage.closing and usage.told != self._turn:
                        entity = self._full(watched.package, view_now, now)
                        if usage.entity is None or usage.entity.tag != entity.tag:
                            self._offer(usage, entity, seen, changes, now, out)
                watched.moved = None
        if self._paced:
            for usage in list(self._paced):
                pace = usage.pace
                if (
                    pace is not None
                    and pace.due <= now
                    and not usage.closing
                    and usage not in forced
                ):
                    self._keep_pace(usage, pace, changes, now, out)
        for usage in forced:
            if usage.told != self._turn and not usage.closing:
                self._tell(usage, self._current(usage, now), changes, now, out, True)
        for usage, removed in finals.items():
            self._finish(usage, removed, changes, now, out)
        for view in [view for view in self._resting if not view.usages]:
            del self._resting[view]
        return out

    def _follow(
        self,
        changes: ChangeSet,
        forced: dict[Usage, None],
        finals: dict[Usage, Removed],
        now: float,
    ) -> ChangeSet:
        """Bring the usages up to date; the changes as the packages may see them.

        Packages don't see what is no step of the state machine, such as a refresh, nor what is
        transient: "if an authorized watcher performs a fetch operation … watcherinfo
        notifications SHOULD NOT be sent for any transient states" (RFC 3857 §4.7.2).
        """
        quiet: set[str] = set()
        for (kind, identifier), entry in changes.entries.items():
            if kind is not Subscription:
                continue
            usage = self._usages.get(identifier)
            if usage is not None and usage.closing:
                continue
            if type(entry) is Removed:
                record = entry.record
                assert type(record) is Subscription
                if usage is None:
                    if record.status == WAITING:
                        continue
                    quiet.add(identifier)
                    if not entry.silent:
                        finals[self._adopt(record, 0, 0)] = entry
                    continue
                usage.subscription = record
                usage.head = None
                if entry.silent:
                    self._vanish(usage, forced)
                else:
                    finals[usage] = entry
                continue
            assert type(entry) is Subscription
            if entry.status == WAITING:
                if entry.local_tag:
                    # It ended for the subscriber, though its AOR still remembers it.
                    if usage is None:
                        usage = self._adopt(entry, 0, 0)
                    usage.subscription = entry
                    usage.head = None
                    finals[usage] = Removed(entry, entry.event)
                elif usage is not None:
                    self._vanish(usage, forced)
                continue
            if usage is None:
                usage = self._adopt(entry, 0, 0)
                self._set_pace(usage, now)
                self._enrol(usage)
                forced[usage] = None
                continue
            before = usage.subscription
            usage.subscription = entry
            if usage.pace is not None or before.event_params != entry.event_params:
                held = usage.pace is not None and usage.pace.held is not None
                self._set_pace(usage, now)
                if held and usage.pace is None:
                    forced[usage] = None
            if before.remote_target != entry.remote_target or before.contact != entry.contact:
                usage.head = None
            refreshed = before.remote_cseq != entry.remote_cseq
            if refreshed and usage.trail is not None and not entry.suppress:
                # A refresh is told the whole, unless it says that this is known.
                usage.trail.restart()
            if (
                before.accept != entry.accept
                or before.body != entry.body
                or other_wish(self._packages, before, entry)
            ):
                # Its body type, or what it wants to see, may be another one now.
                self._retire(usage)
                self._enrol(usage)
                watched = self._watched.get(entry.package)
                if watched is not None:
                    watched.fresh = True
            if before.status == entry.status:
                quiet.add(identifier)
            else:
                forced[usage] = None
        if not quiet:
            return changes
        seen = ChangeSet(changes.aor)
        seen.entries = {
            key: entry
            for key, entry in changes.entries.items()
            if key[0] is not Subscription or key[1] not in quiet
        }
        return seen

    def _spread(
        self,
        watched: Watched,
        view: View,
        seen: ChangeSet,
        ticked: bool,
        changes: ChangeSet,
        now: float,
        out: list[Notification],
    ) -> None:
        """Tell all who look through a view what has changed in it, unless it rests."""
        package = watched.package
        held = view.held
        if now < view.rests and not (ticked and package.partial):
            if held is None:
                held = view.held = ChangeSet(changes.aor)
                self._resting[view] = None
            held.update(seen)
            return
        if held is not None:
            view.held = None
            del self._resting[view]
            held.update(seen)
            seen = held
        told = len(out)
        self._show(watched.package, view, seen, ticked, changes, now, out)
        if len(out) > told and self._limits.notify_interval:
            view.rests = now + self._limits.notify_interval

    def _show(
        self,
        package: IEventPackage,
        view: View,
        seen: ChangeSet,
        ticked: bool,
        changes: ChangeSet,
        now: float,
        out: list[Notification],
    ) -> None:
        if ticked:
            passed = getattr(package, "passed", package.full)
            body: Body | None = passed(self.state, view.permissions, view.content_type, now)
        else:
            body = package.changed(self.state, view.permissions, view.content_type, seen, now)
        if body is None:
            return
        if package.partial:
            entity = Entity(body, self._tag(package, view))
            for usage in view.usages:
                if usage.closing:
                    continue
                if usage.stale or usage.busy:
                    whole = self._full(package, view, now)
                    self._offer(usage, whole, seen, changes, now, out)
                else:
                    self._offer(usage, entity, seen, changes, now, out)
            return
        known = view.entity
        if known is None or known.raw != body:
            known = view.entity = _entity(view, body)
        for usage in view.usages:
            # Nobody is told what he was told before, whatever it was meanwhile.
            if usage.entity is not known and not usage.closing:
                before = usage.entity
                if before is None or usage.stale or before.tag != known.tag:
                    self._offer(usage, known, seen, changes, now, out)

    def _full(self, package: IEventPackage, view: View, now: float) -> Entity:
        """Full state for a view; of a partial package it is true for this turn alone."""
        entity = view.entity
        if (
            entity is None
            or view.held is not None
            or (package.partial and view.built != self._turn)
        ):
            body = package.full(self.state, view.permissions, view.content_type, now)
            if entity is not None and entity.raw == body:
                return entity
            if package.partial:
                entity = Entity(body, self._tag(package, view))
            else:
                entity = _entity(view, body)
            view.entity = entity
            view.built = self._turn
        return entity

    def _tag(self, package: IEventPackage, view: View) -> str:
        """The entity-tag of what a partial package shows; its documents are never the same."""
        if view.tagged != self._turn:
            view.tagged = self._turn
            view.tag = partial_tag(package, self.state, view.permissions, view.content_type)
        return view.tag

    def _has_already(self, usage: Usage, now: float) -> bool:
        """Whether the condition of a subscriber lets him not be told the full state."""
        condition = usage.subscription.suppress
        if not condition:
            return False
        entity = self._current(usage, now)
        tag = "" if entity is None else entity.tag
        return suppresses(condition, coded_tag(tag, usage.subscription.accept_encoding))

    def _current(self, usage: Usage, now: float) -> Entity | None:
        """The state that a usage may see; None while it is pending."""
        record = usage.subscription
        watched = self._watched.get(record.package)
        if watched is None or record.status != ACTIVE:
            return None
        package = watched.package
        view = usage.view
        if view is None:
            decision = decide(package, self.state, record, now)
            view = self._place(watched, usage, decision.permissions)
        return self._full(package, view, now)

    def _offer(
        self,
        usage: Usage,
        entity: Entity,
        seen: ChangeSet,
        changes: ChangeSet,
        now: float,
        out: list[Notification],
    ) -> None:
        """Tell a subscriber of a change, if he waits for such, at the pace that he has."""
        if usage.triggers and not _awaited(usage, entity):
            return
        pace = usage.pace
        if pace is not None and (pace.held is not None or now < pace.ready):
            # "A compliant notifier MUST NOT generate a notification if the interval since the
            # most recent notification is less than the reciprocal value of the "max-rate"
            # parameter, except when generating the notification either upon receipt of a
            # SUBSCRIBE request, when the subscription state is changing from "pending" to
            # "active" state, or upon termination" (RFC 6446 §5.2)
            pace.hold(seen)
            return
        self._tell(usage, entity, changes, now, out)

    def _keep_pace(
        self, usage: Usage, pace: Pace, changes: ChangeSet, now: float, out: list[Notification]
    ) -> None:
        """Tell what was held back, or that nothing has changed where it is time for that."""
        held, view = pace.held, usage.view
        if held is None and usage.busy:
            # What is on its way says no less.
            pace.told(now)
            return
        package = self._packages.get(usage.subscription.package)
        if package is None:
            pace.told(now)
            return
        if package.partial and held is not None and view is not None and not usage.stale:
            body = package.changed(self.state, view.permissions, view.content_type, held, now)
            entity = None if body is None else Entity(body, self._tag(package, view))
            if usage.busy:
                entity = self._full(package, view, now)
            if entity is None:
                pace.held = None
            else:
                self._tell(usage, entity, changes, now, out)
            return
        entity = self._current(usage, now)
        if held is not None and entity is not None and not usage.stale:
            before = usage.entity
            if before is not None and (
                before.tag == entity.tag != "" or (usage.triggers and not _awaited(usage, entity))
            ):
                # What had changed is as it was.
                pace.held = None
                return
        self._tell(usage, entity, changes, now, out)

    def _set_pace(self, usage: Usage, now: float) -> None:
        """Agree on rates, or on none, with a subscriber."""
        record = usage.subscription
        rates = None
        if record.event_params and paced(record.event_params):
            limits = self._limits
            rates = agree(
                record.event_params,
                int(record.expires_at - now),
                limits.notify_interval,
                limits.repeat_interval,
            )
        if rates is None:
            usage.pace = None
            self._paced.pop(usage, None)
        elif usage.pace is None:
            usage.pace = Pace(rates, now)
            self._paced[usage] = None
        else:
            usage.pace.change(rates, now)

    def _tell(
        self,
        usage: Usage,
        entity: Entity | None,
        changes: ChangeSet,
        now: float,
        out: list[Notification],
        forced: bool = False,
    ) -> None:
        """Decide a notification; ``forced`` says that more than the state makes it due."""
        body, tag = (None, "") if entity is None else (entity.body, entity.tag)
        stale = False
        record = usage.subscription
        if record.accept_encoding:
            tag = coded_tag(tag, record.accept_encoding)
        if record.suppress:
            if suppresses(record.suppress, tag):
                # "As long as the condition remains true, and there are no reportable changes in
                # the NOTIFY header, all subsequent NOTIFY requests MUST also be suppressed."
                # (RFC 5839 §6.3)
                usage.stale = stale = True
                if not forced:
                    if usage.pace is not None:
                        usage.pace.told(now)
                    return
                body = None
            else:
                record = self._lift(usage, changes)
        if not stale:
            if entity is not None:
                if entity.empty and usage.entity is None:
                    # There is nothing to which a difference could be applied.
                    body, stale = None, usage.deltas is not None
                elif usage.deltas is not None:
                    body = self._partly(usage, usage.deltas, entity)
                elif usage.view is not None and usage.view.steps is not None:
                    body = self._stepwise(usage, usage.view, entity)
            usage.entity = entity
        dialog = usage.dialog
        dialog.granted = granted = dialog.granted + 1
        if granted > dialog.reserved:
            self._reserve(dialog, changes)
        usage.unreleased += 1
        usage.stale = stale
        usage.told = self._turn
        header = _state_header(record.status, record.expires_at - now)
        if usage.pace is not None:
            usage.pace.told(now)
            header += usage.pace.rates.text
        out.append(Notification(record, header, body, False, tag))

    def _partly(self, usage: Usage, deltas: Deltas, entity: Entity) -> Body:
        """The partial form of an entity for a subscriber, shared by all who have the same.

        It is the whole where he may have missed something, and where that is no larger.
        """
        forms = entity.forms
        if forms is None:
            forms = entity.forms = {}
        before = usage.entity
        has = "" if before is None or usage.stale or usage.busy else before.tag
        body = forms.get(has)
        if body is None:
            try:
                body = deltas.whole(entity.body.data)
                if before is not None and has:
                    step = deltas.difference(before.body.data, entity.body.data)
                    if len(step.data) + len(step.tail or b"") < len(body.data) + len(
                        body.tail or b""
                    ):
                        body = step
            except DocumentError:
                body = entity.body
            forms[has] = body
        return body

    def _stepwise(self, usage: Usage, view: View, entity: Entity) -> Body:
        """What tells a subscriber of an entity, by what he knows."""
        assert view.steps is not None
        trail = usage.trail
        if trail is None:
            trail = usage.trail = Trail(usage.version > 0)
        return trail.step(view.steps, view.permissions, entity)

    def _lift(self, usage: Usage, changes: ChangeSet) -> Subscription:
        """Forget a condition that does not hold any more: the subscriber sees what comes next."""
        usage.subscription = record = usage.subscription._replace(suppress="")
        self.state.subscriptions[record.id] = record
        changes.put(record)
        return record

    def _finish(
        self,
        usage: Usage,
        removed: Removed,
        changes: ChangeSet,
        now: float,
        out: list[Notification],
    ) -> None:
        """Decide the last notification of a subscription."""
        record = usage.subscription
        reason = removed.reason
        body, tag = None, ""
        if reason in _WITH_STATE and record.status == ACTIVE:
            self._enrol(usage)
            entity = self._current(usage, now)
            if entity is not None:
                tag = coded_tag(entity.tag, record.accept_encoding)
                if not suppresses(record.suppress, tag) and not (
                    entity.empty and usage.entity is None
                ):
                    body = entity.body
                    if usage.deltas is not None:
                        # "When the PA receives a SUBSCRIBE request (refresh or termination)
                        # within the associated subscription, it SHOULD send a NOTIFY request
                        # containing the full presence document." (RFC 5263 §4.4)
                        usage.entity = None
                        body = self._partly(usage, usage.deltas, entity)
        self._retire(usage)
        usage.unreleased += 1
        dialog = usage.dialog
        dialog.granted += 1
        if dialog.granted > dialog.reserved:
            self._reserve(dialog, changes)
        header = f"terminated;reason={reason}"
        if removed.retry_after is not None:
            header += f";retry-after={removed.retry_after}"
        out.append(Notification(record, header, body, True, tag))

    def _reserve(self, dialog: Dialog, changes: ChangeSet) -> None:
        """Reserve the next block of CSeq numbers in all records that share the dialog."""
        dialog.reserved = reserved = dialog.granted + self._limits.cseq_block - 1
        subscriptions = self.state.subscriptions
        for usage in dialog.usages:
            record = usage.subscription
            if record.id in subscriptions and record.status != WAITING:
                record = record._replace(cseq_reserved=reserved)
                usage.subscription = record
                subscriptions[record.id] = record
                changes.put(record)

    # ------------------------------------------------------------------ the index

    def _adopt(self, record: Subscription, cseq: int, version: int) -> Usage:
        """The live end of a subscription that is new here."""
        base, shared, _ = record.id.partition("~")
        dialog = None
        if shared:
            for identifier in self.sharing(base):
                if identifier in self._usages:
                    dialog = self._usages[identifier].dialog
                    break
        if dialog is None:
            dialog = Dialog(cseq, record.cseq_reserved)
        else:
            dialog.reserved = max(dialog.reserved, record.cseq_reserved)
            if cseq > dialog.cseq:
                dialog.cseq = dialog.granted = cseq
        usage = Usage(record, dialog, version)
        self._usages[record.id] = usage
        return usage

    def sharing(self, base: str) -> Iterable[str]:
        """The ids that subscriptions of one dialog may have."""
        return [base, *[f"{base}~{n}" for n in range(1, self._limits.per_dialog)]]

    def _place_for(self, name: str) -> Watched | None:
        watched = self._watched.get(name)
        if watched is None:
            package = self._packages.get(name)
            if package is None:
                return None
            watched = self._watched[name] = Watched(name, package)
        return watched

    def _enrol(self, usage: Usage) -> None:
        """See that the package of a usage is watched, and the usage with it."""
        watched = self._place_for(usage.subscription.package)
        if watched is not None and usage.view is None:
            watched.others[usage] = None

    def _retire(self, usage: Usage) -> None:
        """Take a usage out of what is watched; it sees no more changes."""
        watched = self._watched.get(usage.subscription.package)
        if watched is not None:
            watched.leave(usage)
            if not watched:
                del self._watched[watched.name]

    def _vanish(self, usage: Usage, forced: dict[Usage, None]) -> None:
        """Forget a usage whose dialog is gone at the other end."""
        self._retire(usage)
        usage.closing = True
        dialog = usage.dialog
        self._drop(usage)
        if dialog.outstanding is usage:
            dialog.outstanding = None
            dialog.paused = False
            for other in dialog.usages:
                if other.waiting is not None:
                    forced[other] = None

    def _drop(self, usage: Usage) -> None:
        dialog = usage.dialog
        dialog.usages = tuple([other for other in dialog.usages if other is not usage])
        self._usages.pop(usage.subscription.id, None)
        self._paced.pop(usage, None)


def _entity(view: View, raw: Body) -> Entity:
    """The entity of a view, of which a filter may leave less than is permitted."""
    if view.what is None:
        return Entity(raw, entity_tag(raw.content_type, raw.data))
    body = filtered(raw, view.what)
    return Entity(body, entity_tag(body.content_type, body.data), raw, is_empty(body))


def _awaited(usage: Usage, entity: Entity) -> bool:
    """Whether one of the triggers of a subscriber has happened since it was told last."""
    before = usage.entity
    if before is None or usage.stale:
        return True
    return triggered(before.raw.data, entity.raw.data, usage.triggers)


def _state_header(status: str, remaining: float) -> str:
    # "MUST NOT be used to lengthen a subscription": cut, but for what floating point loses.
    return f"{status};expires={int(remaining + 0.001) if remaining > 0 else 0}"
