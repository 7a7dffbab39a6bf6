"""The room that an AOR has for subscriptions and for waiting watchers, and who goes first."""

from simplestack.event.limits import Limits
from simplestack.event.states import PENDING, WAITING
from simplestack.sip.errors import SIPError
from simplestack.state import ChangeSet, ResourceState, Subscription

__all__ = ["admit", "forget_waiting"]


def admit(state: ResourceState, record: Subscription, changes: ChangeSet, limits: Limits) -> None:
    """Make room for a new subscription, or refuse it.

    "if another subscription is received to the same resource, from the same watcher, for the
    same event package, event package parameters and filter … the FSM enters the terminated
    state with a "giveup" event" (RFC 3857 §4.7.1)

    :raises SIPError: 403 or 503.
    """
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


def forget_waiting(state: ResourceState, changes: ChangeSet, limits: Limits) -> None:
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
        if wish not in kept and len(kept) < limits.waiting:
            kept.add(wish)
            continue
        before = state.subscriptions.get(record.id)
        if before is not None:
            changes.remove(before, "giveup", silent=not record.local_tag)
        else:
            # A fetch ends as any fetch.
            changes.remove(record._replace(status=PENDING), "timeout")


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
