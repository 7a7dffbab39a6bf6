"""A subscription that keeps itself: the subscriber of RFC 6665."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.logger import Logger

from simplestack.client.errors import (
    ClientError,
    NoAnswerError,
    TerminatedError,
    refusal,
)
from simplestack.client.refreshing import Refreshing
from simplestack.client.useragent import UserAgent, contact_of
from simplestack.event.subscriber import resubscribe_after
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Event, SubscriptionState
from simplestack.sip.message import Request, Response
from simplestack.transaction.dialog import Dialog, from_notify, routing, uac
from simplestack.transaction.flow import Flow
from simplestack.transaction.useragent import check_content

__all__ = ["Subscription"]

#: Seconds until the first NOTIFY must be there: timer N is 64*T1 (RFC 6665 §4.1.2.4).
_TIMER_N = 32.0
#: Seconds to wait for the last NOTIFY after we have unsubscribed.
_LAST_NOTIFY = 1.0
#: Responses to a refresh that end the subscription (RFC 6665 §4.1.2.2, RFC 5057).
_ENDING: Final = frozenset({404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604})
_LONGEST_PAUSE = 60.0


class Subscription:
    """Subscribes to the state of a resource, until it is stopped or the notifier ends it for good.

    ``target`` is the URI of the resource, ``event`` the Event header field value, ``accept`` the
    media types to ask for, ``expires`` seconds; 0 fetches the state once.  With ``lists`` the
    resource may be a list of others (RFC 4662).

    ``on_state(body, content_type)`` is called for each NOTIFY that is not merely the end, with
    b"" and None where it has no body; ``state`` has its Subscription-State.  ``on_end(error)`` is
    called once: with None after a fetch or ``stop``, else with what ended the subscription.  Once
    ``stop`` was called no more state is told of.
    ``on_trouble(error, pause)`` is told of each failure that is waited out.

    One SUBSCRIBE makes one dialog: the packages that we know allow no more (RFC 3856 §6.9,
    RFC 3857 §4.9, RFC 3680 §4.9), so NOTIFYs of a second one are answered with 481.
    """

    log = Logger()

    def __init__(
        self,
        agent: UserAgent,
        target: str,
        event: str,
        accept: Sequence[str],
        *,
        on_state: Callable[[bytes, str | None], None],
        on_end: Callable[[ClientError | None], None] | None = None,
        on_trouble: Callable[[ClientError, float], None] | None = None,
        expires: int = 3600,
        lists: bool = False,
    ) -> None:
        self.target = target
        self.event = event
        self.accept = tuple(accept)
        self.lists = lists
        self.expires = expires
        #: What the last NOTIFY said; None before the first one.
        self.state: SubscriptionState | None = None
        self._agent = agent
        self._on_state = on_state
        self._on_end = on_end
        self._on_trouble = on_trouble
        self._refreshing = Refreshing(agent.reactor, self._refresh, self._troubled, self._finish)
        self._dialog: Dialog | None = None
        #: The SUBSCRIBE that makes the dialog, and whose NOTIFYs are ours.
        self._initial: Request | None = None
        #: When the subscription ends unless it is refreshed, by the agent's clock.
        self._until = 0.0
        self._flow = ""
        self._notified = False
        self._endings = 0
        self._stopping = False
        self._ended = False
        self._timer_n: Any = None
        self._last: Deferred[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether it is over for good."""
        return self._ended

    def start(self) -> Deferred[None]:
        """Subscribe; fires when the notifier has agreed, fails with ClientError where it doesn't."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self._agent.watch_flows(self._flow_lost)
        try:
            granted = await self._subscribe()
        except ClientError:
            self._ended = True
            self._refreshing.stop()
            self._agent.unwatch_flows(self._flow_lost)
            raise
        if granted is not None and self.expires:
            self._refreshing.granted(granted)

    def refresh(self) -> None:
        """Refresh now: the notifier sends the full state (RFC 6665 §4.2.1.2)."""
        if not self._ended:
            self._refreshing.soon()

    def stop(self) -> Deferred[None]:
        """Unsubscribe, and wait for a moment for the NOTIFY that ends it; never fails."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        self._refreshing.stop()
        if not self._ended and self._dialog is not None:
            try:
                response = await self._in_dialog(self._dialog, 0)
                if response.status < 300 and not self._ended:
                    self._last = Deferred()
                    await self._last.addTimeout(_LAST_NOTIFY, self._agent.reactor)
            except (ClientError, TookTooLong) as error:
                self.log.debug("the subscription was not ended properly: {why}", why=error)
        self._finish(None)

    # Sending SUBSCRIBE.

    async def _subscribe(self) -> float | None:
        """Make a new subscription; the result is for how long, None where it is over already."""
        agent = self._agent
        tag = agent.identifiers.tag()
        request = agent.new_request("SUBSCRIBE", self.target, agent.identifiers.call_id(), 1, tag)
        self._complete(request, self.expires)
        self._forget_dialog()
        self._initial = request
        self._notified = False
        agent.attend(request.call_id, tag, self._notify)
        try:
            response = await agent.request(request, contact=self._contact)
        except ClientError:
            self._forget(request)
            raise
        if response.status >= 300:
            self._forget(request)
            raise refusal(response)
        if self._initial is not request:
            # A NOTIFY came before the response, and has ended it.
            return None
        try:
            if self._dialog is None:
                self._dialog = uac(request, response)
            elif self._dialog.remote_tag == response.to.tag:
                self._dialog = self._dialog.answered(response)
            self._dialog = self._dialog._replace(local_cseq=request.cseq.number)
        except SIPError as error:
            self._forget(request)
            raise ClientError(f"the server's answer makes no dialog: {error.text}") from None
        if not self._notified:
            self._timer_n = agent.reactor.callLater(_TIMER_N, self._unnotified, request)
        return self._granted(response, request)

    async def _refresh(self) -> float | None:
        if self._dialog is None or self._agent.clock() >= self._until:
            return await self._subscribe()
        asked = self._dialog
        response = await self._in_dialog(asked, self.expires)
        if response.status >= 300:
            if response.status == 481:
                # "If this refresh fails with 481 ... the subscriber considers the subscription
                # terminated" and may make a new one: the notifier has lost the dialog.
                self._forget_dialog()
                return await self._subscribe()
            if response.status in _ENDING:
                self._forget_dialog()
            raise refusal(response)
        dialog = self._still(asked)
        if dialog is None:
            return None
        self._dialog = dialog.answered(response)
        return self._granted(response, None)

    async def _in_dialog(self, dialog: Dialog, expires: int) -> Response:
        """Send a SUBSCRIBE in the dialog, whose CSeq rises with every try."""
        self._dialog, request = dialog.request("SUBSCRIBE")
        self._complete(request, expires)
        hop = routing(dialog.remote_target, dialog.route_set).next_hop
        try:
            try:
                return await self._agent.request(
                    request, next_hop=hop, prefer=self._flow, contact=self._contact
                )
            except NoAnswerError:
                if dialog.route_set:
                    raise
                # The notifier's Contact may be an address that its certificate does not have, or
                # that is not for us: then the server that we came by is our outbound proxy, which
                # "local policy" may choose (RFC 3261 §8.1.2).
                request.set("CSeq", f"{request.cseq.number + 1} SUBSCRIBE")
                return await self._agent.request(request, contact=self._contact)
        finally:
            now = self._still(dialog)
            if now is not None:
                self._dialog = now._replace(local_cseq=request.cseq.number)

    def _still(self, dialog: Dialog) -> Dialog | None:
        """The state of the dialog now, None if it has ended meanwhile."""
        now = self._dialog
        return now if now is not None and now.id == dialog.id else None

    def _complete(self, request: Request, expires: int) -> None:
        request.set("Event", self.event)
        request.set("Accept", ", ".join(self.accept))
        request.set("Expires", str(expires))
        if self.lists:
            request.set("Supported", "eventlist")

    def _contact(self, flow: Flow) -> str:
        self._flow = flow.key
        return f"<{contact_of(self._agent.account.uri, flow)}>"

    def _granted(self, response: Response, request: Request | None) -> float:
        """How long the subscription lasts by a 2xx; a NOTIFY may tell otherwise."""
        asked = self.expires if request is None else request.expires or 0
        granted = asked if response.expires is None else response.expires
        self._until = self._agent.clock() + granted
        return float(granted)

    # Taking NOTIFY.

    def _notify(self, notify: Request, flow: Flow) -> None:
        """A NOTIFY with our Call-ID and tag; it may come before the response (RFC 6665 §4.4.1)."""
        initial = self._initial
        event = notify.event
        if initial is None or event is None or _key(event) != _key(initial.event):
            raise SIPError(481)
        state = notify.subscription_state
        if state is None:
            raise SIPError(400, text="Subscription-State is missing")
        if self._dialog is None:
            dialog = from_notify(initial, notify)
        elif self._dialog.remote_tag != notify.from_.tag:
            raise SIPError(481, text="there is one dialog for one SUBSCRIBE")
        else:
            dialog = self._dialog.received(notify)
        known = check_content(notify, self.accept)
        self._dialog = dialog
        self._notified = True
        self._stop_timer_n()
        self._take(notify.body if known else b"", notify, state)

    def _take(self, body: bytes, notify: Request, state: SubscriptionState) -> None:
        terminated = state.state == "terminated"
        self.state = state
        if not terminated:
            self._endings = 0
            if state.expires is not None:
                self._until = self._agent.clock() + state.expires
                if self.expires:
                    self._refreshing.granted(state.expires)
        if not self._stopping and (body or not terminated):
            media_type = notify.content_type if body else None
            try:
                self._on_state(body, media_type.type if media_type else None)
            except Exception:
                self.log.failure("A NOTIFY was not worked off")
        if terminated:
            self._terminated(state)

    def _terminated(self, state: SubscriptionState) -> None:
        self._forget_dialog()
        if self._stopping or not self.expires:
            self._finish(None)
            return
        self._endings += 1
        error = TerminatedError(state.reason or "without a reason")
        pause = resubscribe_after(state, self._endings)
        if pause is None:
            self._finish(error)
            return
        if pause:
            self._troubled(error, pause)
        self._refreshing.soon(pause)

    def _unnotified(self, request: Request) -> None:
        """Timer N: "If this timer expires prior to the receipt of a NOTIFY request, the subscriber
        considers the subscription failed, and cleans up any state" (RFC 6665 §4.1.2.4).
        """
        self._timer_n = None
        if self._initial is not request:
            return
        self._forget_dialog()
        error = NoAnswerError("the subscription was accepted, but no NOTIFY came")
        if self.state is None:
            self._finish(error)
        else:
            # It has worked before.
            self._troubled(error, _LONGEST_PAUSE)
            self._refreshing.soon(_LONGEST_PAUSE)

    # How it ends.

    def _troubled(self, error: ClientError, pause: float) -> None:
        if self._on_trouble is not None:
            self._on_trouble(error, pause)

    def _finish(self, error: ClientError | None) -> None:
        self._refreshing.stop()
        self._stop_timer_n()
        self._forget_dialog()
        self._agent.unwatch_flows(self._flow_lost)
        last, self._last = self._last, None
        if not self._ended:
            self._ended = True
            if self._on_end is not None:
                self._on_end(error)
        if last is not None and not last.called:
            last.callback(None)

    def _forget_dialog(self) -> None:
        if self._initial is not None:
            self._forget(self._initial)

    def _forget(self, request: Request) -> None:
        self._agent.leave(request.call_id, request.from_.tag or "")
        if self._initial is request:
            self._initial = None
            self._dialog = None

    def _stop_timer_n(self) -> None:
        timer, self._timer_n = self._timer_n, None
        if timer is not None:
            timer.cancel()

    def _flow_lost(self, flow: Flow) -> None:
        # A notifier behind whose back the connection broke may have no other way to us.
        if flow.key == self._flow:
            self._refreshing.soon(1.0)


def _key(event: Event | None) -> tuple[str, str | None]:
    """What an event is compared by (RFC 6665 §8.2.1)."""
    return ("", None) if event is None else (event.package, event.id)
