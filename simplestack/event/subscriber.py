"""A subscription of ours at another server: the subscriber of RFC 6665 §4.1, without sockets."""

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from simplestack.documents.errors import DocumentError
from simplestack.documents.rlmi import MEDIA_TYPE as RLMI_TYPE
from simplestack.event.lists import (
    ACTIVE_WITHOUT_STATE,
    PENDING_ENTRY,
    EntryState,
    terminated_entry,
)
from simplestack.event.nestedlist import RELATED
from simplestack.event.remotestate import TABLES, StateTable
from simplestack.interfaces import Identifiers
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import SubscriptionState
from simplestack.sip.message import Request, Response
from simplestack.sip.uri import Uri, parse_uri
from simplestack.transaction.dialog import Dialog, from_notify, routing, uac
from simplestack.transaction.useragent import check_content

__all__ = ["Subscriber", "resubscribe_after"]

#: Seconds until the first NOTIFY must be there: timer N is 64*T1 (RFC 6665 §4.1.2.4).
_TIMER_N: Final = 32.0
#: Reasons after which subscribing again can't help.
_FINAL: Final = frozenset({"rejected", "noresource", "invariant"})
#: Reasons after which one may subscribe again at once.
_AT_ONCE: Final = frozenset({"deactivated", "timeout"})
_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0

#: Seconds before what failed is tried again: at first, and at the most.
_RETRY: Final = 15.0
_LONGEST_RETRY: Final = 1800.0
#: A shorter subscription is not refreshed at its own pace, in seconds.
_BRIEF: Final = 15.0
#: What has lasted so long, in seconds, did not fail.
_LASTING: Final = 60.0
#: The longest pause that a notifier can ask for.
_LONGEST_WISH: Final = 86_400.0
#: Nobody has this resource, by the word of who should.
_NO_RESOURCE: Final = frozenset({404, 410, 604})
#: Refusals that another try may overcome, beside 5xx.
_PASSING: Final = frozenset({408, 480, 486})
#: Refusals of a refresh that end the subscription (RFC 6665 §4.1.2.2, RFC 5057 §5.2).
_ENDING: Final = frozenset({404, 405, 410, 416, 480, 482, 483, 484, 485, 489, 501, 604})
#: Octets of a NOTIFY body that are kept; and of one of a list.
_LARGEST: Final = 32768
_LARGEST_LIST: Final = 65536
#: What a subscriber takes beside the types of the package (RFC 4662 §4.3).
_LIST_TYPES: Final = (RELATED, RLMI_TYPE)


def resubscribe_after(state: SubscriptionState, endings: int = 1) -> float | None:
    """How many seconds after a termination to subscribe again; None never to (RFC 6665 §4.1.3).

    ``endings`` counts terminations in a row of what did not last: from the second on even "at once"
    is after a pause, and no pause is shorter than that.

    "If a "retry-after" parameter is also present, the client SHOULD wait at least the number of
    seconds specified by that parameter" holds for probation, giveup and unknown reasons; with
    deactivated, rejected, noresource and invariant it has no meaning.
    """
    reason = state.reason or ""
    if reason in _FINAL:
        return None
    pause: float = min(_LONGEST_PAUSE, _PAUSE * 2.0 ** min(endings - 1, 10))
    if reason in _AT_ONCE:
        return 0.0 if endings <= 1 else pause
    if state.retry_after is None:
        return pause
    wish = min(float(state.retry_after), _LONGEST_WISH)
    return wish if endings <= 1 else max(wish, pause)


class Subscriber:
    """One subscription to one resource for one watcher.

    ``next`` gives the SUBSCRIBE that is due, without Via and Contact; ``answered`` takes what came
    of it, None for nothing; ``notified`` takes the NOTIFYs of its Call-ID and tag.  ``entry`` is
    what a list says of the resource, ``due`` the time of the next ``next``, None where only an
    event from outside leads on.  What has failed is shown as ``probation`` and tried again after
    a pause that doubles, or after what Retry-After says; what has been refused waits for
    ``again``.  What is granted for less than 15 seconds is asked for after such a pause as well.

    One SUBSCRIBE makes one dialog: the first NOTIFY, or the answer, says which.  What is told in parts,
    also of a resource that is a list itself (RFC 4662 §6), is in ``entry`` as a whole.
    """

    __slots__ = (
        "_accept",
        "_began",
        "_brief",
        "_briefs",
        "_dialog",
        "_endings",
        "_expires",
        "_failures",
        "_identifiers",
        "_initial",
        "_missed",
        "_notified",
        "_refused_at",
        "_spread",
        "_table",
        "_until",
        "aor",
        "asked",
        "due",
        "entry",
        "leaving",
        "over",
        "package",
        "watcher",
    )

    def __init__(
        self,
        aor: str,
        package: str,
        watcher: str,
        accept: Sequence[str],
        identifiers: Identifiers,
        now: float,
        expires: int = 3600,
    ) -> None:
        self.aor = aor
        self.package = package
        self.watcher = watcher
        #: What a list says of the resource; None while nobody knows.
        self.entry: EntryState | None = None
        self.due: float | None = now
        #: The SUBSCRIBE that has no answer yet.
        self.asked: Request | None = None
        #: Whether the subscription is being ended, and whether it has.
        self.leaving = False
        self.over = False
        self._accept = (*accept, *_LIST_TYPES)
        #: What NOTIFYs in parts add up to, and its media type; how many in a row could not be used.
        self._table: tuple[str, StateTable] | None = None
        self._missed = 0
        self._identifiers = identifiers
        self._expires = expires
        # Refreshes of those who began together are not to come together.
        self._spread = crc32(f"{aor}\n{watcher}".encode("utf-8", "replace")) % 1024 / 1024.0
        #: The SUBSCRIBE that makes the dialog.
        self._initial: Request | None = None
        self._dialog: Dialog | None = None
        self._notified = False
        #: When the subscription ends unless it is refreshed.
        self._until = 0.0
        #: Tries in a row that got nowhere; terminations in a row.
        self._failures = 0
        self._endings = 0
        #: When the SUBSCRIBE was made that makes the dialog.
        self._began = 0.0
        #: Whether the last grant was brief, and how many in a row before it were.
        self._brief = False
        self._briefs = 0
        #: When it was refused for good.
        self._refused_at: float | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        """Call-ID and local tag of the NOTIFYs that are for it; None where there can be none."""
        initial = self._initial
        return None if initial is None else (initial.call_id, initial.from_.tag or "")

    @property
    def established(self) -> bool:
        """Whether there is a dialog."""
        return self._dialog is not None

    def next_hop(self, request: Request) -> Uri:
        """Where to send a SUBSCRIBE."""
        dialog = self._dialog
        if dialog is None or request.to.tag is None:
            return parse_uri(request.uri)
        return routing(dialog.remote_target, dialog.route_set).next_hop

    # ------------------------------------------------------------------ what is sent

    def next(self, now: float) -> Request | None:
        """The SUBSCRIBE that it is time for, if it is."""
        if self.due is None or now < self.due or self.asked is not None:
            return None
        self.due = None
        if self.leaving:
            self.over = True
            return None
        if self._initial is not None and not self._notified:
            # "If this timer expires prior to the receipt of a NOTIFY request, the subscriber
            # considers the subscription failed, and cleans up any state" (§4.1.2.4)
            self._failed(now, None)
            return None
        self._briefs = self._briefs + 1 if self._brief else 0
        if self._dialog is not None and now < self._until:
            self.asked = self._in_dialog(self._dialog, self._expires)
        else:
            self._began = now
            self.asked = self._initially()
        return self.asked

    def postpone(self, until: float, now: float) -> None:
        """Nothing can be sent before then: others have found nobody there."""
        if self._dialog is not None and now < self._until:
            self.due = min(until, self._until)
            return
        self._forget()
        self.entry = terminated_entry("probation")
        self.due = until + self._spread

    def again(self, now: float) -> None:
        """Subscribe anew where it was refused, unless that was a moment ago."""
        if self._refused_at is not None and now - self._refused_at >= _LONGEST_PAUSE:
            self._refused_at = None
            self.due = now

    def leave(self, now: float) -> Request | None:
        """The SUBSCRIBE that ends it; None where there is nothing to be ended."""
        self.leaving = True
        if self._dialog is None:
            self.over = self.asked is None
            self.due = None if self.over else now + _TIMER_N
            return None
        self.due = now + _TIMER_N
        return self._in_dialog(self._dialog, 0)

    def _initially(self) -> Request:
        self._forget()
        headers = {
            "Max-Forwards": ["70"],
            "From": [f"<{self.watcher}>;tag={self._identifiers.tag()}"],
            "To": [f"<{self.aor}>"],
            "Call-ID": [self._identifiers.call_id()],
            "CSeq": ["1 SUBSCRIBE"],
        }
        request = Request("SUBSCRIBE", self.aor, headers)
        self._complete(request, self._expires)
        self._initial = request
        self._notified = False
        return request

    def _in_dialog(self, dialog: Dialog, expires: int) -> Request:
        self._dialog, request = dialog.request("SUBSCRIBE")
        self._complete(request, expires)
        return request

    def _complete(self, request: Request, expires: int) -> None:
        request.set("Event", self.package)
        request.set("Supported", "eventlist")
        request.set("Accept", ", ".join(self._accept))
        request.set("Expires", str(expires))

    # ------------------------------------------------------------------ what is answered

    def answered(self, request: Request, response: Response | None, now: float) -> None:
        """Take what came of a SUBSCRIBE, with the CSeq number of its last try."""
        if request is self.asked:
            self.asked = None
        if self.leaving:
            if self._dialog is None or response is None or response.status >= 300:
                self.over = True
            return
        if self.key != (request.call_id, request.from_.tag or ""):
            # A NOTIFY has ended it meanwhile.
            return
        dialog = self._dialog
        number = request.cseq.number
        if dialog is not None and dialog.local_cseq < number:
            self._dialog = dialog = dialog._replace(local_cseq=number)
        status = 408 if response is None else response.status
        if response is not None and 200 <= status < 300:
            self._accepted(request, response, now)
            return
        pause = None if response is None else _retry_after(response)
        if request.to.tag is None:
            self._refused(status, pause, now)
        elif status == 481:
            # "If this refresh fails with 481": the notifier has lost it, and may make a new one.
            self._forget()
            self._ended(now)
            self.due = now + (0.0 if self._endings == 1 else self._pause(self._endings))
        elif status in _ENDING:
            self._refused(status, pause, now)
        else:
            # "the original subscription is still considered valid for the duration of the most
            # recently known "Expires" value" (§4.1.2.2)
            self._failures += 1
            self.due = min(self._until, now + (pause or self._pause(self._failures)))

    def _accepted(self, request: Request, response: Response, now: float) -> None:
        try:
            granted = response.expires
            if self._dialog is None:
                self._dialog = uac(request, response)
            elif self._dialog.remote_tag == response.to.tag:
                self._dialog = self._dialog.answered(response)
        except SIPError:
            self._failed(now, None)
            return
        self._failures = 0
        if granted is None:
            granted = request.expires or self._expires
        if not self._notified:
            self._until = now + granted
            self.due = now + _TIMER_N
            if self.entry is None or self.entry.state != "active":
                self.entry = PENDING_ENTRY
        else:
            self._granted(granted, now)

    def _granted(self, seconds: float, now: float) -> None:
        self._until = now + seconds
        self._brief = seconds < _BRIEF
        if self._brief:
            # It ends, for a notifier that grants no time would be asked all the time.
            self.due = now + self._pause(self._briefs + 1)
        else:
            # A tenth before its end, or sooner.
            self.due = now + seconds * (0.9 - 0.1 * self._spread)

    def _refused(self, status: int, pause: float | None, now: float) -> None:
        if status in _NO_RESOURCE:
            self._give_up("noresource", now)
        elif status in _PASSING or (status >= 500 and status < 600 and status not in _ENDING):
            self._failed(now, pause)
        else:
            self._give_up("rejected", now)

    def _failed(self, now: float, pause: float | None) -> None:
        """It could not be made, which may pass."""
        self._forget()
        self._failures += 1
        self.entry = terminated_entry("probation")
        self.due = now + (self._pause(self._failures) if pause is None else pause)

    def _give_up(self, reason: str, now: float) -> None:
        self._forget()
        self._refused_at = now
        self.entry = terminated_entry(reason)
        self.due = None

    def _ended(self, now: float) -> None:
        self._endings = 1 if now - self._began >= _LASTING else self._endings + 1

    def _pause(self, failures: int) -> float:
        pause: float = min(_LONGEST_RETRY, _RETRY * 2.0 ** min(failures - 1, 10))
        return pause * (1.0 + 0.25 * self._spread)

    def _forget(self) -> None:
        self._initial = None
        self._dialog = None
        self._table = None

    # ------------------------------------------------------------------ what is told

    def notified(self, notify: Request, now: float) -> None:
        """Take a NOTIFY, which may come before the answer to SUBSCRIBE (§4.4.1).

        Raises SIPError: 400, 413, 415, 481, 500 where it is out of order.
        """
        initial = self._initial
        event = notify.event
        if initial is None or event is None or (event.package, event.id) != (self.package, None):
            raise SIPError(481)
        state = notify.subscription_state
        if state is None:
            raise SIPError(400, text="Subscription-State is missing")
        dialog = self._dialog
        if dialog is None:
            dialog = from_notify(initial, notify)
        elif dialog.remote_tag != notify.from_.tag:
            raise SIPError(481, text="there is one dialog for one SUBSCRIBE")
        else:
            dialog = dialog.received(notify)
        media_type = notify.content_type
        listed = media_type is not None and media_type.type == RELATED
        most = _LARGEST_LIST if listed else _LARGEST
        if len(notify.body) > most:
            raise SIPError(413, text=f"a body has at most {most} octets")
        known = check_content(notify, self._accept)
        self._dialog = dialog
        self._notified = True
        if state.state == "terminated":
            self._terminated(state, now)
        elif not self.leaving:
            self._take(notify, known, state, now)

    def _take(self, notify: Request, known: bool, state: SubscriptionState, now: float) -> None:
        self._failures = 0
        if state.expires is not None:
            self._granted(state.expires, now)
        else:
            self._granted(max(0.0, self._until - now), now)
        if state.state == "pending":
            self.entry = PENDING_ENTRY
            return
        media_type = notify.content_type
        if known and media_type is not None and media_type.type in TABLES:
            self._take_part(notify, media_type.type, now)
        elif known and media_type is not None:
            self.entry = EntryState("active", "", notify.get("Content-Type") or "", notify.body)
        elif self.entry is None or self.entry.state != "active":
            self.entry = ACTIVE_WITHOUT_STATE

    def _take_part(self, notify: Request, media_type: str, now: float) -> None:
        """Take what may be a part of the state; what can't be used is asked for again, in a while."""
        if self._table is None or self._table[0] != media_type:
            self._table = (media_type, TABLES[media_type]())
        table = self._table[1]
        try:
            found = table.take(notify.get("Content-Type") or "", notify.body)
        except DocumentError:
            found = None
        if found is not None:
            self._missed = 0
            self.entry = EntryState("active", "", *found)
            return
        pause: float = min(_LONGEST_PAUSE, _PAUSE * 2.0 ** min(self._missed, 10))
        self._missed += 1
        self.due = now + pause if self.due is None else min(self.due, now + pause)
        if self.entry is None or self.entry.state != "active":
            self.entry = ACTIVE_WITHOUT_STATE

    def _terminated(self, state: SubscriptionState, now: float) -> None:
        self._forget()
        if self.leaving:
            self.over = True
            return
        self._ended(now)
        reason = state.reason or ""
        pause = resubscribe_after(state, self._endings)
        if pause is None:
            before = self.entry
            self._give_up(reason, now)
            if reason == "invariant" and before is not None and before.state == "active":
                # "The subscription has been terminated because the resource state is guaranteed
                # not to change for the foreseeable future." (§4.1.3)
                self.entry = before
            return
        if pause:
            self.entry = terminated_entry(reason or "noresource")
        self.due = now + pause


def _retry_after(response: Response) -> float | None:
    """The seconds of a Retry-After, within reason."""
    try:
        value = response.retry_after
    except SIPError:
        return None
    return None if value is None else min(max(1.0, float(value.seconds)), 86400.0)
