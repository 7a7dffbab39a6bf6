"""How a subscription stands: what it was told last, and why it is or is not told more."""

from typing import Any

from simplestack.event.view import Usage

__all__ = ["standing"]


def standing(usage: Usage, now: float) -> dict[str, Any]:
    """What JSON can hold: the subscription, its last NOTIFY, and what happens next."""
    record = usage.subscription
    dialog = usage.dialog
    return {
        "subscription": record.id,
        "status": record.status,
        "expires_in": max(0, round(record.expires_at - now)),
        "notifications": dialog.cseq,
        "because": _because(usage, now),
        "wishes": _wishes(usage),
    }


def _wishes(usage: Usage) -> list[str]:
    """What of the state, and when, the subscriber has asked for."""
    wishes = []
    if usage.view is not None and usage.view.what is not None:
        wishes.append("what its filter leaves")
    if usage.triggers:
        wishes.append("what its filter waits for")
    if usage.pace is not None:
        wishes.append(usage.pace.rates.text.lstrip(";").replace(";", ", "))
    if usage.deltas is not None:
        wishes.append("partial documents")
    if usage.subscription.suppress:
        wishes.append("nothing while it has the state")
    return wishes


def _because(usage: Usage, now: float) -> str:
    dialog = usage.dialog
    record = usage.subscription
    status = record.status
    if dialog.paused:
        return "the subscriber wants nothing for a time; the newest state is sent then"
    if dialog.outstanding is usage:
        if usage.waiting is not None:
            return "a NOTIFY waits for its answer; the newest state is sent when that has come"
        return "a NOTIFY was sent and waits for its answer"
    if usage.waiting is not None:
        return "it waits for the answer to another NOTIFY of its dialog"
    if usage.unreleased:
        return "a NOTIFY is decided and leaves when its state is stored"
    if status == "pending":
        return "it is pending: nothing is shown until the presentity decides"
    if usage.view is None:
        return "nothing that it sees has changed since the server started"
    pace, view = usage.pace, usage.view
    if pace is not None and pace.held is not None:
        wait = max(0, round(pace.ready - now))
        return f"a change waits {wait} seconds more, for the rate that it has asked for"
    if view.held is not None:
        wait = max(0, round(view.rests - now))
        return f"a change waits {wait} seconds more, as all do who see the same"
    if record.suppress:
        return "it has said that it has this state, or wants none (Suppress-If-Match)"
    if usage.triggers and usage.entity is not view.entity:
        return "nothing has happened that its filter waits for"
    if usage.stale:
        return "its last NOTIFY failed; the next has full state"
    return "it was told all there is: nothing that it sees has changed since"
