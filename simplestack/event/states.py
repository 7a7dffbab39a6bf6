"""The subscription state machine of RFC 3857 §4.7.1 as tables, and its steps on records."""

from collections.abc import Mapping
from typing import Final

from simplestack.state import ChangeSet, Removed, Subscription

__all__ = [
    "ACTIVE",
    "EVENTS",
    "INIT",
    "INITIAL",
    "JUDGED",
    "NEXT",
    "PENDING",
    "STATES",
    "TERMINATED",
    "WAITING",
    "enter",
    "transition",
]

INIT: Final = "init"
PENDING: Final = "pending"
ACTIVE: Final = "active"
WAITING: Final = "waiting"
TERMINATED: Final = "terminated"

STATES: Final = (INIT, PENDING, ACTIVE, WAITING, TERMINATED)
EVENTS: Final = (
    "subscribe",
    "approved",
    "deactivated",
    "probation",
    "rejected",
    "timeout",
    "giveup",
    "noresource",
)

#: What a SUBSCRIBE leads to from ``init``, by what the policy says of the watcher
#: (handling of RFC 5025 §3.2.1).  A polite block is to look like an approval.
INITIAL: Final[Mapping[str, str]] = {
    "allow": ACTIVE,
    "polite-block": ACTIVE,
    "confirm": PENDING,
    "block": TERMINATED,
}

#: Figure 1 of RFC 3857 but for ``init``.  A pair that is not here is an event that the state
#: does not know, and changes nothing.
NEXT: Final[Mapping[tuple[str, str], str]] = {
    (PENDING, "approved"): ACTIVE,
    (PENDING, "timeout"): WAITING,
    (PENDING, "noresource"): TERMINATED,
    (PENDING, "rejected"): TERMINATED,
    (PENDING, "deactivated"): TERMINATED,
    (PENDING, "probation"): TERMINATED,
    (PENDING, "giveup"): TERMINATED,
    (ACTIVE, "noresource"): TERMINATED,
    (ACTIVE, "rejected"): TERMINATED,
    (ACTIVE, "deactivated"): TERMINATED,
    (ACTIVE, "probation"): TERMINATED,
    (ACTIVE, "timeout"): TERMINATED,
    (WAITING, "noresource"): TERMINATED,
    (WAITING, "rejected"): TERMINATED,
    (WAITING, "giveup"): TERMINATED,
    (WAITING, "approved"): TERMINATED,
}

#: The event that a new policy decision is for a subscription.  An active one whose permission is
#: taken back without a refusal can't return to pending, for the machine has no such way: it is
#: deactivated, so that the watcher subscribes anew and becomes pending.
JUDGED: Final[Mapping[tuple[str, str], str]] = {
    (PENDING, "allow"): "approved",
    (PENDING, "polite-block"): "approved",
    (PENDING, "block"): "rejected",
    (ACTIVE, "block"): "rejected",
    (ACTIVE, "confirm"): "deactivated",
    (WAITING, "allow"): "approved",
    (WAITING, "polite-block"): "approved",
    (WAITING, "block"): "rejected",
}


def transition(
    subscription: Subscription,
    event: str,
    forgotten_at: float,
    *,
    retry_after: int | None = None,
    silent: bool = False,
) -> Subscription | Removed | None:
    """The subscription after an event; None where its state does not know the event.

    ``forgotten_at`` is when a watcher that becomes waiting is forgotten.  A ``silent`` step is
    not told to the subscriber, because its dialog is gone; a waiting watcher then has no tags.
    """
    status = NEXT.get((subscription.status, event))
    if status is None:
        return None
    if status == TERMINATED:
        return Removed(subscription, event, retry_after, silent)
    if status == WAITING:
        tag = "" if silent else subscription.local_tag
        return subscription._replace(
            status=status, event=event, expires_at=forgotten_at, local_tag=tag
        )
    return subscription._replace(status=status, event=event)


def enter(changes: ChangeSet, entry: Subscription | Removed) -> None:
    """Enter the result of a transition into a change set."""
    record = entry.record if isinstance(entry, Removed) else entry
    changes.entries[Subscription, record.id] = entry
