"""Server transactions: a request that we answer (RFC 3261 §17.2).

The layer makes them, feeds them and forgets them; the tables of ``states`` drive them.  Each keeps
the request until it is answered.  The methods named like an action of the tables carry it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Via, parse_name_addr
from simplestack.sip.message import Request, Response, parse_message
from simplestack.transaction.client import Failure
from simplestack.transaction.flow import Flow
from simplestack.transaction.hops import response_flow
from simplestack.transaction.states import (
    INVITE_SERVER,
    NON_INVITE_SERVER,
    Compiled,
    Event,
    State,
)

if TYPE_CHECKING:
    from simplestack.transaction.layer import TransactionLayer

__all__ = ["InviteServerTransaction", "NonInviteServerTransaction", "ServerTransaction"]

_ACCEPTED: Final = State.ACCEPTED
_TERMINATED: Final = State.TERMINATED
_TRYING: Final = State.TRYING
_USER_SUCCESS: Final = Event.USER_SUCCESS
_NEVER: Final = float("inf")


class ServerTransaction:
    """A request that we answer (RFC 3261 §17.2)."""

    __slots__ = (
        "_last",
        "_layer",
        "_machine",
        "failure",
        "flow",
        "key",
        "repeat_at",
        "request",
        "state",
        "via",
    )

    def __init__(
        self,
        machine: Compiled,
        layer: TransactionLayer,
        key: str,
        request: Request,
        via: Via,
        flow: Flow,
    ) -> None:
        self._machine = machine
        self._layer = layer
        self.key = key
        self.request = request
        #: The topmost Via as the client sent it, without what we put in.
        self.via = via
        #: The flow that the request came by.
        self.flow = flow
        self.state = machine.initial
        #: The last response, as it was sent.
        self._last: bytes | None = None
        self.failure: Failure | None = None
        #: When the response is to be sent again, of INVITE; infinite once that is over.
        self.repeat_at = _NEVER

    def due(self, now: float) -> Event:
        """The event that has happened when the response is to be sent again: timer G."""
        return Event.TIMER_G

    @property
    def branch(self) -> str:
        """The branch parameter of the topmost Via; "" from RFC 2543 elements."""
        return self.via.branch or ""

    @property
    def answered(self) -> bool:
        """Whether the final response has been given."""
        return self.state not in (State.TRYING, State.PROCEEDING)

    def start(self, now: float) -> None:
        """Do what the entry into the machine asks for; the request goes to the user."""
        for action in self._machine.entry:
            action(self, None, now)

    def handle(self, event: Event, message: Request | None, now: float) -> None:
        """Let an event happen: what the table says."""
        actions, self.state = self._machine.table[self.state][event]
        for action in actions:
            action(self, message, now)
        if self.state is _TERMINATED:
            self._layer.forget_server(self)

    def respond(self, response: Response, now: float) -> bool:
        """Send a response; false where the table drops it.

        There is one final response: later ones are dropped, as are those that RFC 4320 forbids
        for requests other than INVITE: 101 to 199, an early 100 over UDP, and 408.  The 2xx of an
        INVITE may be passed again, unchanged, until its ACK has come (RFC 6026 §7.1).  Raises
        ValueError, and nothing has happened, if the response can't be put on the wire.
        """
        actions, state = self._machine.table[self.state][self._classify(response.status)]
        if not actions:
            return False
        data = response.to_bytes()
        if self.state is _ACCEPTED and data != self._last:
            return False
        self.state = state
        for action in actions:
            action(self, data, now)
        if self.state is _TERMINATED:
            self._layer.forget_server(self)
        if response.status >= 300:
            self._layer.forget_merged(self)
        return True

    def _classify(self, status: int) -> Event:
        raise NotImplementedError

    def _send_response(self, data: bytes, now: float) -> None:
        self._last = data
        flow = self.flow
        if not flow.reliable:
            response_flow(self.via, flow).send(data)
        elif flow.alive:
            flow.send(data)
        elif not self._layer.reopened(self, data):
            self.handle(Event.TRANSPORT_ERROR, None, now)

    def _repeat(self, message: Request | None, now: float) -> None:
        if self._last is not None:
            self._layer.retransmitted += 1
            self._send_response(self._last, now)

    def _send_100(self, message: Request | None, now: float) -> None:
        if self._last is None:
            # "the insertion of tags in the To header field of the response ... is downgraded from
            # MAY to SHOULD NOT" (§17.2.1)
            self._send_response(self.request.response(100).to_bytes(), now)

    def _send_487(self, message: Request | None, now: float) -> None:
        self._send_own(487, now)

    def _send_500(self, message: Request | None, now: float) -> None:
        self._layer.guarded += 1
        self._send_own(500, now)

    def _send_own(self, status: int, now: float) -> None:
        response = self.request.response(status, to_tag=self.to_tag())
        self._send_response(response.to_bytes(), now)

    def to_tag(self) -> str:
        """The To tag for a response that the layer makes."""
        return self._layer.identifiers.tag()

    def _pass_request(self, message: Request | None, now: float) -> None:
        self._layer.deliver(self.request, self, now)

    def _inform_transport(self, message: Request | None, now: float) -> None:
        self.failure = "transport"
        self._layer.undeliverable += 1


class NonInviteServerTransaction(ServerTransaction):
    """A request other than INVITE that we answer (RFC 3261 §17.2.2, RFC 4320).

    Once it is answered over UDP the layer keeps the bytes of the response in its place.
    """

    __slots__ = ()

    def __init__(
        self, layer: TransactionLayer, key: str, request: Request, via: Via, flow: Flow
    ) -> None:
        super().__init__(_NON_INVITE_SERVER, layer, key, request, via, flow)

    def _classify(self, status: int) -> Event:
        if status >= 300:
            return Event.USER_408 if status == 408 else Event.USER_FAILURE
        if status >= 200:
            return _USER_SUCCESS
        if status > 100:
            return Event.USER_PROVISIONAL
        if self.state is _TRYING and not self.flow.reliable:
            return Event.USER_100_EARLY
        return Event.USER_100

    def _start_trying(self, message: Request | None, now: float) -> None:
        self._layer.trying_fifo.add(self.key, now)

    def _start_guard(self, message: Request | None, now: float) -> None:
        self._layer.guard_fifo.add(self, now)

    def _start_j(self, message: bytes | Request | None, now: float) -> None:
        layer = self._layer
        layer.unanswered -= 1
        if self.flow.reliable:
            self.handle(Event.TIMER_J, None, now)
        else:
            layer.server_completed(self.key, self._last or b"", now)


class InviteServerTransaction(ServerTransaction):
    """An INVITE that we answer (RFC 3261 §17.2.1, RFC 6026 §7.1)."""

    __slots__ = ("_attempt",)

    def __init__(
        self, layer: TransactionLayer, key: str, request: Request, via: Via, flow: Flow
    ) -> None:
        super().__init__(_INVITE_SERVER, layer, key, request, via, flow)
        self._attempt = 0

    def _classify(self, status: int) -> Event:
        if status >= 300:
            return Event.USER_FAILURE
        return Event.USER_SUCCESS if status >= 200 else Event.USER_PROVISIONAL

    def to_tag(self) -> str:
        """The To tag of the last response, else a new one (§9.2: "SHOULD be the same")."""
        return self.response_tag() or super().to_tag()

    def response_tag(self) -> str | None:
        """The To tag of the last response, None if there was none."""
        if self._last is None:
            return None
        try:
            return parse_name_addr(parse_message(self._last).headers["To"][0]).tag
        except (SIPError, KeyError):
            return None

    def _start_trying(self, message: Request | None, now: float) -> None:
        timers = self._layer.timers
        self._layer.wait(timers.trying_invite, self, Event.TRYING_DUE, now)

    def _start_guard(self, message: Request | None, now: float) -> None:
        self._layer.wait(self._layer.timers.guard_invite, self, Event.GUARD, now)

    def _start_g(self, message: bytes | Request | None, now: float) -> None:
        if not self.flow.reliable:
            fifos = self._layer.repeat_fifos
            self.repeat_at = fifos[self._attempt].add(self, now)
            self._attempt = min(self._attempt + 1, len(fifos) - 1)

    def _start_h(self, message: bytes | Request | None, now: float) -> None:
        self._layer.unanswered -= 1
        self._layer.wait(self._layer.timers.H, self, Event.TIMER_H, now)

    def _start_i(self, message: Request | None, now: float) -> None:
        self.repeat_at = _NEVER
        if self.flow.reliable:
            self.handle(Event.TIMER_I, None, now)
        else:
            self._layer.wait(self._layer.timers.I, self, Event.TIMER_I, now)

    def _start_l(self, message: bytes | Request | None, now: float) -> None:
        self._layer.unanswered -= 1
        self._layer.wait(self._layer.timers.L, self, Event.TIMER_L, now)

    def _pass_ack(self, message: Request, now: float) -> None:
        self._layer.deliver(message, None, now)

    def _inform_timeout(self, message: Request | None, now: float) -> None:
        self.failure = "timeout"
        self._layer.unacknowledged += 1


_NON_INVITE_SERVER: Final = Compiled(NON_INVITE_SERVER, NonInviteServerTransaction)
_INVITE_SERVER: Final = Compiled(INVITE_SERVER, InviteServerTransaction)
