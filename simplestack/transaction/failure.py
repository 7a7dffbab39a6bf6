"""What a failed NOTIFY, or other request in a dialog, ends (RFC 5057 §5, RFC 6665 §4.2.2).

RFC 5057 sorts the response codes into those that fail the transaction alone, those that end the
usage (here: the subscription) and those that end the dialog with all usages in it.

RFC 6665 says of timeouts that "the notifier SHOULD remove the subscription", for the sake of
networks in which subscribers have "crashed or disappeared".  We remove it later: a timeout, a
connection that broke, or a refusal of one transaction leaves the subscription alone, and what the
subscriber missed is made good by a NOTIFY with the newest state after a pause that doubles.  Only
after as many failures in a row as ``Patience`` allows does the subscription end.  A phone that
changes its network, or a Wi-Fi that is gone for half a minute, so keeps its subscription, which it
believes to have for an hour; and the strain that the RFC fears stays bounded, for a dead subscriber
costs a handful of transactions.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Literal, NamedTuple, TypeAlias

from simplestack.sip.errors import recognized

__all__ = ["Judgement", "Lost", "Patience", "Verdict", "judge"]

#: Why there was no final response: none came in time, the connection broke under the request, or
#: there was no way to the peer.
Lost: TypeAlias = Literal["timeout", "transport", "unreachable"]


class Verdict(Enum):
    """What ends."""

    #: Nothing; the next change is sent as ever.
    NOTHING = "nothing"
    #: Nothing, but the newest state must be sent again after a pause.
    RETRY = "retry"
    #: The subscription.
    USAGE = "usage"
    #: The dialog, with all subscriptions in it.
    DIALOG = "dialog"


class Judgement(NamedTuple):
    """What ends, and for RETRY after how many seconds to send again."""

    verdict: Verdict
    retry_in: float | None = None
    #: Whether nothing may be sent until then.
    asked: bool = False


class Patience(NamedTuple):
    """How long undelivered NOTIFYs are borne with."""

    #: The subscription ends with this many failures in a row.
    failures: int = 5
    #: Seconds before the first further try; it doubles with each failure.
    pause: float = 15.0
    #: Seconds before the first further try where a connection broke: the peer may well be there by
    #: another; the pauses follow.
    reconnect: float = 1.0
    #: The longest Retry-After that is waited for, in seconds.
    longest: float = 3600.0


#: "Destroys Usage" (RFC 5057 §5.2, the table): the peer lacks what the usage is made of.
_USAGE: Final = frozenset({405, 480, 481, 489, 501})
#: "Destroys Dialog": who is at the other end, or the way to it, is gone.
_DIALOG: Final = frozenset({404, 410, 416, 482, 483, 484, 485, 502, 604})
#: Failures that another try may overcome: "Receiving a 408 will have the same effect on usages and
#: dialogs as a real transaction timeout"; 500, 503 and 504 complain about this transaction only.
_PASSING: Final = frozenset({408, 500, 503, 504})

_DEFAULT: Final = Patience()
_NOTHING: Final = Judgement(Verdict.NOTHING)
_ENDS_USAGE: Final = Judgement(Verdict.USAGE)
_ENDS_DIALOG: Final = Judgement(Verdict.DIALOG)


def judge(
    status: int | None,
    retry_after: float | None = None,
    failures: int = 1,
    *,
    lost: Lost = "timeout",
    patience: Patience = _DEFAULT,
) -> Judgement:
    """Judge the outcome of a NOTIFY.

    ``status`` is that of the final response, None where there was none; ``lost`` then says why.
    ``retry_after`` is the number in its Retry-After.  ``failures`` counts those in a row, this one
    included; a success ends the row.
    """
    if status is None:
        if failures >= patience.failures:
            return _ENDS_USAGE
        if lost == "transport":
            pause = patience.pause * 2.0 ** (failures - 2) if failures > 1 else patience.reconnect
        else:
            pause = patience.pause * 2.0 ** (failures - 1)
        return Judgement(Verdict.RETRY, pause)
    if status < 300:
        return _NOTHING
    status = recognized(status)
    # RFC 6665 §4.2.2: "a 404, 405, 410, 416, 480-485, 489, 501, or 604 response to the NOTIFY
    # request, the notifier MUST remove the corresponding subscription."
    if status in _USAGE:
        return _ENDS_USAGE
    if status in _DIALOG:
        return _ENDS_DIALOG
    if failures >= patience.failures:
        return _ENDS_USAGE
    if retry_after is not None:
        # "It SHOULD NOT forward any other requests to that server for the duration specified in
        # the Retry-After header field" (RFC 3261 §21.5.4)
        return Judgement(Verdict.RETRY, min(max(retry_after, 1.0), patience.longest), True)
    if status in _PASSING:
        return Judgement(Verdict.RETRY, patience.pause * 2.0 ** (failures - 1))
    # The same NOTIFY would be refused again; the next change may be taken.
    return _NOTHING
