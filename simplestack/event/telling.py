"""What is told of a change: the body for each subscriber, if it is his turn (RFC 6665 §4.2.2)."""

from collections.abc import Collection
from typing import Final

from simplestack.documents.errors import DocumentError
from simplestack.event.coding import coded_tag
from simplestack.event.entity import Entity, entity_tag, suppresses
from simplestack.event.filtering import filtered, filtered_tags, is_empty, triggered
from simplestack.event.notification import Notification
from simplestack.event.pace import Pace
from simplestack.event.partial import Deltas, partial_tag
from simplestack.event.states import ACTIVE, TERMINATED, WAITING
from simplestack.event.usages import Usages
from simplestack.event.view import Usage, View, Watched
from simplestack.event.wish import Trail, decide
from simplestack.interfaces import Body, IEventPackage
from simplestack.state import ChangeSet, Removed

__all__ = ["Telling", "state_header"]

#: Only these ends leave the watcher what it was allowed to see: the state goes with the last
#: NOTIFY (RFC 6665 §4.2.1.4, §4.4.3).  All others end with no body.
_WITH_STATE: Final = frozenset({"timeout"})
#: Seconds in which a last NOTIFY, and one that it waited for, are answered or given up: two of
#: timer F (RFC 3261 §17.1.2.2).
_ANSWERED: Final = 64.0


class Telling(Usages):
    """Decides notifications for usages and views.

    Between what has changed and a notification stand what a view shows, the triggers and the pace
    of the subscriber, his condition, and the form in which he is told.
    """

    __slots__ = ()

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
            if view.virtual:
                # Lists have a pace of their own, which is no slower for being behind them.
                behind = [usage for usage in view.usages if not usage.subscription.remote_target]
                self._show(package, view, behind, seen, ticked, changes, now, out)
            if view.steps is not None and not view.joins:
                self._pass(package, view, now)
            return
        usages: Collection[Usage] = view.usages
        if held is not None:
            view.held = None
            del self._resting[view]
            if seen is not held:
                held.update(seen)
                seen = held
            elif view.virtual:
                # They have been told.
                usages = [usage for usage in view.usages if usage.subscription.remote_target]
        told = len(out)
        self._show(package, view, usages, seen, ticked, changes, now, out)
        if len(out) > told and self._limits.notify_interval and len(view.usages) > view.virtual:
            view.rests = now + self._limits.notify_interval

    def _pass(self, package: IEventPackage, view: View, now: float) -> None:
        """Remember a state that is told later, for those who are told every one."""
        entity = self._full(package, view, now)
        for usage in view.usages:
            if usage.trail is not None:
                usage.trail.passes(entity)

    def _show(
        self,
        package: IEventPackage,
        view: View,
        usages: Collection[Usage],
        seen: ChangeSet,
        ticked: bool,
        changes: ChangeSet,
        now: float,
        out: list[Notification],
    ) -> None:
        """Tell these of those who look through a view what has changed in it."""
        body: Body | None
        if ticked:
            put_off = getattr(package, "put_off", None)
            if put_off is not None and all(usage.busy for usage in usages):
                # In place of what waits would go the whole state, each time anew.
                put_off(self.state, view.permissions, now)
                return
            passed = getattr(package, "passed", package.full)
            body = passed(self.state, view.permissions, view.content_type, now)
        else:
            body = self._changed(package, view, seen, now)
        if body is None:
            return
        if package.partial and view.what is None:
            entity = Entity(body, self._tag(package, view))
            for usage in usages:
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
            view.built = self._turn
        tag = known.tag
        for usage in usages:
            # Nobody is told what he was told before, whatever it was meanwhile.
            before = usage.entity
            if before is known or usage.closing:
                continue
            if before is None or usage.stale or before.lasting != tag:
                if usage.pace is None and not usage.triggers:
                    self._tell(usage, known, changes, now, out)
                else:
                    self._offer(usage, known, seen, changes, now, out)

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
            if usage.trail is not None:
                usage.trail.passes(entity)
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
            body = self._changed(package, view, held, now)
            entity = None if body is None else self._made(package, view, body)
            if (usage.busy and view.what is None) or hasattr(package, "passed"):
                # What a list told when its time had come is in no record that has changed.
                entity = self._full(package, view, now)
            if entity is None:
                pace.held = None
                return
            if view.what is None:
                self._tell(usage, entity, changes, now, out)
                return
        else:
            entity = self._current(usage, now)
        if held is not None and entity is not None and not usage.stale:
            before = usage.entity
            if before is not None and (
                before.lasting == entity.tag != ""
                or (usage.triggers and not _awaited(usage, entity))
            ):
                # What had changed is as it was.
                pace.held = None
                return
        self._tell(usage, entity, changes, now, out)

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
                view = usage.view
                if entity.empty and usage.entity is None:
                    # There is nothing to which a difference could be applied.
                    body, stale = None, usage.deltas is not None
                elif usage.deltas is not None:
                    body = self._partly(usage, usage.deltas, entity)
                elif view is not None and view.steps is not None:
                    body = self._stepwise(usage, view, entity)
            usage.entity = entity
        dialog = usage.dialog
        dialog.granted = granted = dialog.granted + 1
        if granted > dialog.reserved:
            self._reserve(dialog, changes)
        usage.unreleased += 1
        usage.stale = stale
        usage.told = self._turn
        header = state_header(record.status, record.expires_at - now)
        if usage.pace is not None:
            usage.pace.told(now)
            header += usage.pace.rates.text
        out.append(Notification(record, header, body, False, tag))

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
        shared = len(dialog.usages) > 1 and record.status != WAITING
        if (reason not in _WITH_STATE or shared) and record.remote_target:
            # It does not know yet, nor does it expect it: a restart must tell it after all.  In a
            # dialog that goes on nobody else may have its id before it does.
            ended = record._replace(
                status=TERMINATED,
                event=reason,
                cseq_reserved=max(dialog.granted, dialog.reserved),
                expires_at=max(record.expires_at, now + _ANSWERED),
            )
            self.state.ended[ended.id] = ended
            changes.put(ended)

    def _tell_ended(self, changes: ChangeSet, out: list[Notification]) -> None:
        """Say to the subscribers of what has ended before a restart that it has."""
        for record in list(self.state.ended.values()):
            usage = self._usages.get(record.id)
            if usage is None or usage.unreleased or usage.dialog.outstanding is not None:
                continue
            usage.unreleased += 1
            dialog = usage.dialog
            dialog.granted += 1
            if dialog.granted > dialog.reserved:
                self._reserve(dialog, changes)
            ended = record._replace(cseq_reserved=dialog.reserved)
            self.state.ended[ended.id] = usage.subscription = ended
            changes.put(ended)
            out.append(Notification(ended, f"terminated;reason={ended.event}", None, True))

    def _changed(
        self, package: IEventPackage, view: View, seen: ChangeSet, now: float
    ) -> Body | None:
        """What has changed; where a filter waits for documents with versions, the whole of it.

        A filter may leave nothing of a watcher or a contact that was in a document before.  So its
        documents are full ones, with what has ended in them.
        """
        body = package.changed(self.state, view.permissions, view.content_type, seen, now)
        if body is not None and package.partial and view.what is not None:
            whole = getattr(package, "whole", None)
            if whole is None:
                return package.full(self.state, view.permissions, view.content_type, now)
            body = whole(self.state, view.permissions, view.content_type, seen, now)
        return body

    def _made(self, package: IEventPackage, view: View, body: Body) -> Entity:
        """The entity of what a view shows."""
        if package.partial and view.what is None:
            return Entity(body, self._tag(package, view))
        return _entity(view, body)

    def _full(self, package: IEventPackage, view: View, now: float) -> Entity:
        """Full state for a view; of a partial package it is true for this turn alone."""
        entity = view.entity
        if entity is None or (
            view.built != self._turn and (view.held is not None or package.partial)
        ):
            body = package.full(self.state, view.permissions, view.content_type, now)
            if entity is not None and entity.raw == body:
                return entity
            view.entity = entity = self._made(package, view, body)
            view.built = self._turn
        return entity

    def _tag(self, package: IEventPackage, view: View) -> str:
        """The entity-tag of what a partial package shows; its documents are never the same."""
        if view.tagged != self._turn:
            view.tagged = self._turn
            view.tag = partial_tag(package, self.state, view.permissions, view.content_type)
        return view.tag

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

    def _has_already(self, usage: Usage, now: float) -> bool:
        """Whether the condition of a subscriber lets him not be told the full state."""
        condition = usage.subscription.suppress
        if not condition:
            return False
        entity = self._current(usage, now)
        tag = "" if entity is None else entity.tag
        return suppresses(condition, coded_tag(tag, usage.subscription.accept_encoding))

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
        """What tells a subscriber of an entity, by what he knows; a list has whole states."""
        assert view.steps is not None
        if not usage.subscription.remote_target:
            return entity.body
        trail = usage.trail
        if trail is None:
            since = usage.subscription.subscribed_at
            trail = usage.trail = Trail(usage.version > 0, since, view.joins)
        return trail.step(view.steps, view.permissions, entity)


def _entity(view: View, raw: Body) -> Entity:
    """The entity of a view, of which a filter may leave less than is permitted."""
    if view.what is None:
        return Entity(raw, entity_tag(raw.content_type, raw.data))
    body = filtered(raw, view.what)
    tag, lasting = filtered_tags(body)
    return Entity(body, tag, raw, is_empty(body), lasting)


def _awaited(usage: Usage, entity: Entity) -> bool:
    """Whether one of the triggers of a subscriber has happened since it was told last."""
    before = usage.entity
    if before is None or usage.stale:
        return True
    return triggered(before.raw.render(0), entity.raw.render(0), usage.triggers)


def state_header(status: str, remaining: float) -> str:
    """The value of Subscription-State of a subscription that goes on."""
    # "MUST NOT be used to lengthen a subscription": cut, but for what floating point loses.
    return f"{status};expires={int(remaining + 0.001) if remaining > 0 else 0}"
