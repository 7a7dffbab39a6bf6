"""The notifier of one AOR: who is told what, and when (RFC 6665 §4.2.2)."""

from collections.abc import Collection, Iterable
from math import inf

from simplestack.event.notification import Head, Notification, NotifyRequest
from simplestack.event.states import ACTIVE, JUDGED, TERMINATED, WAITING, enter, transition
from simplestack.event.telling import Telling, state_header
from simplestack.event.view import Usage, Watched
from simplestack.event.wish import Trail, decide, other_wish
from simplestack.state import ChangeSet, Removed, Subscription

__all__ = ["Notification", "Notifier", "NotifyRequest"]


class Notifier(Telling):
    """Tells the subscribers of one AOR what changes.

    A body is built once for a view, however many subscriptions share it, and at once, so that it
    never shows what a later turn changes and perhaps fails to commit.  In a dialog at most one
    NOTIFY waits for its answer; of those that would have to wait only the newest is kept, and it
    has full state.  Versions of partial documents and CSeq numbers are counted here; their upper
    bounds are committed in blocks, and what is loaded goes on above them.
    """

    __slots__ = ()

    # ------------------------------------------------------------------ in a turn

    def settle(self, changes: ChangeSet, now: float) -> ChangeSet:
        """Apply what new rules mean for the subscriptions that there are.

        Pending ones are approved or rejected, active ones rejected or deactivated, waiting
        watchers forgotten (RFC 3857 §4.7.1).  What this changes is applied and entered into
        ``changes``, and returned.
        """
        extra = ChangeSet(self.state.aor)
        # Packages that nobody watches or waits for need not be asked.
        if self._watched:
            for watched in list(self._watched.values()):
                if watched.package.reauthorizes(changes):
                    self._reauthorize(watched, extra, now)
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
            self._reauthorize(watched, extra, now)
            watched.timed = False
        self._also(changes, extra)
        return self._tell_all(changes, (), now, due)

    def full_state(self, changes: ChangeSet, now: float) -> list[Notification]:
        """Everybody's full state, as after a restart; enters what it changes."""
        extra = ChangeSet(self.state.aor)
        for watched in self._watched.values():
            self._reauthorize(watched, extra, now)
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
        told = self._tell_all(changes, everybody, now, list(self._watched.values()))
        self._tell_ended(changes, told)
        return told

    def show(self, name: str, changes: ChangeSet, now: float) -> list[Notification]:
        """What is to be told because something that is no record of this AOR has changed what a
        package shows; enters what it changes.
        """
        watched = self._watched.get(name)
        return [] if watched is None else self._tell_all(changes, (), now, (watched,))

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
        return min(times) if times else None

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

    def awaits(self, subscription_id: str, cseq: int) -> bool:
        """Whether this is the NOTIFY of its dialog that is not answered yet."""
        usage = self._usages.get(subscription_id)
        return usage is not None and usage.dialog.waits_for(usage) and usage.dialog.cseq == cseq

    def abandon(self) -> None:
        """Send no NOTIFY again that is not answered yet: others come from who takes over.

        Last ones of subscriptions that nobody takes over go on.
        """
        for usage in self._usages.values():
            request = usage.dialog.request
            if (
                request is not None
                and usage.dialog.waits_for(usage)
                and (not usage.closing or usage.subscription.id in self.state.ended)
            ):
                request.abandon()

    def answered(
        self, subscription_id: str, cseq: int, ok: bool, now: float
    ) -> list[NotifyRequest]:
        """Go on in a dialog whose NOTIFY has had its final response, or none at all.

        The answer to another NOTIFY than the one that waits changes nothing.  After a failure (``ok`` is false) the subscription gets full state next time.
        """
        usage = self._usages.get(subscription_id)
        if usage is None:
            return []
        dialog = usage.dialog
        if not dialog.waits_for(usage) or dialog.cseq != cseq:
            return []
        dialog.outstanding = dialog.request = None
        if not ok:
            usage.stale = True
        elif usage.trail is not None:
            usage.trail.knows(usage.sent.partition("-")[0])
        requests: list[NotifyRequest] = []
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
                    header = state_header(status, each.subscription.expires_at - now)
                    if each.pace is not None:
                        header += each.pace.rates.text
                    if each.trail is not None:
                        notification = self._joined(each, each.trail, notification)
                requests.append(self._request(each, notification, header))
                break
        # After its last NOTIFY nothing of a usage is left.
        if (
            usage.closing
            and not dialog.waits_for(usage)
            and usage.waiting is None
            and not usage.unreleased
        ):
            self._drop(usage)
        return requests

    def _joined(self, usage: Usage, trail: Trail, notification: Notification) -> Notification:
        """A notification that had to wait, as it is said now that its turn has come."""
        view = usage.view
        if view is None or view.steps is None or notification.body is None:
            return notification
        tag = notification.tag.partition("-")[0]
        body = trail.joined(view.steps, view.permissions, tag)
        if body is not None:
            notification.body = body
        return notification

    def pause(self, subscription_id: str) -> None:
        """Send nothing in a dialog whose NOTIFY has got a Retry-After, until ``resume``."""
        usage = self._usages.get(subscription_id)
        if usage is not None and usage.dialog.waits_for(usage):
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
        return self.answered(outstanding.subscription.id, usage.dialog.cseq, False, now)

    def _request(
        self, usage: Usage, notification: Notification, state_header: str
    ) -> NotifyRequest:
        dialog = usage.dialog
        dialog.outstanding = usage
        usage.sent = notification.tag
        if usage.trail is not None:
            usage.trail.sent(notification.tag.partition("-")[0])
        dialog.cseq = cseq = dialog.cseq + 1
        if usage.head is None:
            usage.head = Head(usage.subscription, self._events, self._require)
        # Of these forms the first version is 1 (RFC 5263 §4.4), of all others 0.
        version = usage.version if usage.deltas is None else usage.version + 1
        if notification.body is not None:
            usage.version += 1
        dialog.request = request = NotifyRequest(
            usage.subscription,
            notification.final,
            cseq,
            usage.head,
            state_header,
            notification.body,
            version,
            notification.tag,
        )
        return request

    # ------------------------------------------------------------------ authorization

    def _reauthorize(self, watched: Watched, extra: ChangeSet, now: float) -> None:
        """Put everybody who watches a package, or waits for it, where he belongs by the rules."""
        # What says otherwise now may end at another time, though nobody sees more or less yet.
        watched.alter(now)
        for usage in watched:
            self._judge(watched, usage, extra, now)
        if watched.waits:
            for record in self.state.subscriptions.values():
                if record.status == WAITING and record.package == watched.name:
                    decision = watched.package.authorize(self.state, record.watcher, now)
                    event = JUDGED.get((WAITING, decision.handling))
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
            ticked = watched.by_clock and watched in due
            if ticked or (seen and watched.seen and watched.package.affected(seen)):
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
        removed = False
        for (kind, identifier), entry in changes.entries.items():
            if kind is not Subscription:
                continue
            if type(entry) is Removed:
                removed = True
            usage = self._usages.get(identifier)
            if usage is not None and usage.closing:
                record = entry.record if type(entry) is Removed else entry
                if type(record) is Subscription and record.status == TERMINATED:
                    # Its end has been told when it came.
                    quiet.add(identifier)
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
            if entry.status == TERMINATED:
                quiet.add(identifier)
                continue
            if entry.status == WAITING:
                self._wait(entry.package)
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
            if (
                before.remote_target != entry.remote_target
                or before.contact != entry.contact
                or before.flow != entry.flow
            ):
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
        if removed and not self.state.waiting:
            self._wait_no_more()
        # A change set of its own: what telling enters into the other one is nobody's news.
        seen = ChangeSet(changes.aor)
        seen.entries = {
            key: entry
            for key, entry in changes.entries.items()
            if key[0] is not Subscription or key[1] not in quiet
        }
        return seen
