"""Client transactions: a request that we send and its responses (RFC 3261 §17.1).

The layer makes them, feeds them and forgets them; the tables of ``states`` drive them.  Each keeps
no more than the bytes that it may have to send again.  The methods named like an action of the
tables carry it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from simplestack.sip.message import Request, Response, parse_message
from simplestack.transaction.flow import Flow
from simplestack.transaction.states import (
    INVITE_CLIENT,
    NON_INVITE_CLIENT,
    Compiled,
    Event,
    State,
)
from simplestack.transaction.timers import Alarm

if TYPE_CHECKING:
    from simplestack.transaction.layer import TransactionLayer

__all__ = [
    "ClientTransaction",
    "Done",
    "Failure",
    "InviteClientTransaction",
    "NonInviteClientTransaction",
    "Others",
]

#: Why a transaction did not end as it should.
Failure: TypeAlias = Literal["timeout", "transport"]
#: Gets the final response, or None after a failure, and the time.
Done: TypeAlias = Callable[[Response | None, float], None]
#: Gets the other responses, and the time.
Others: TypeAlias = Callable[[Response, float], None]

_TERMINATED: Final = State.TERMINATED
_NEVER: Final = float("inf")


class ClientTransaction:
    """A request that we send (RFC 3261 §17.1).

    ``done(response, now)`` is called once: with the final response, or with None when there was
    none; ``failure`` then says why.  ``others(response, now)``, where it was given, gets every
    provisional response and, of INVITE, each further 2xx (RFC 6026 §7.2).
    """

    __slots__ = (
        "_attempt",
        "_data",
        "_done",
        "_layer",
        "_machine",
        "_others",
        "failure",
        "flow",
        "key",
        "repeat_at",
        "state",
    )

    def __init__(
        self,
        machine: Compiled,
        layer: TransactionLayer,
        key: str,
        data: bytes,
        flow: Flow,
        done: Done,
        others: Others | None,
    ) -> None:
        self._machine = machine
        self._layer = layer
        self.key = key
        self._data = data
        self.flow = flow
        self._done: Done | None = done
        self._others = others
        self.state = machine.initial
        self.failure: Failure | None = None
        self._attempt = 0
        #: When the request is to be sent again; infinite once that is over.
        self.repeat_at = _NEVER

    @property
    def timeout(self) -> Event:
        """The event of timer B or F."""
        raise NotImplementedError

    def due(self, now: float) -> Event:
        """The event that has happened when the request is to be sent again: timer A or E."""
        raise NotImplementedError

    def start(self, now: float) -> None:
        """Do what the entry into the machine asks for."""
        for action in self._machine.entry:
            action(self, None, now)

    def handle(self, event: Event, response: Response | None, now: float) -> None:
        """Let an event happen: what the table says."""
        actions, self.state = self._machine.table[self.state][event]
        for action in actions:
            action(self, response, now)
        if self.state is _TERMINATED:
            self._layer.forget_client(self)

    def abandon(self) -> None:
        """Send the request no more, and call nobody: its user does not care any more.

        What has been sent may still be answered; "any response received that does not match an
        existing client transaction state machine is simply dropped" (RFC 6026 §7.2).  Not for
        INVITE, whose final response wants an ACK.
        """
        self._done = self._others = None
        self.repeat_at = _NEVER
        if self.state not in (State.COMPLETED, _TERMINATED):
            self.state = _TERMINATED
            self._layer.forget_client(self)

    def _send_request(self, response: Response | None, now: float) -> None:
        self.flow.send(self._data)

    def _repeat(self, response: Response | None, now: float) -> None:
        self._layer.retransmitted += 1
        self.flow.send(self._data)

    def _pass(self, response: Response, now: float) -> None:
        if self._others is not None:
            self._others(response, now)

    def _finish(self, response: Response | None, now: float) -> None:
        self.repeat_at = _NEVER
        done = self._done
        if done is not None:
            self._done = None
            done(response, now)

    def _inform_timeout(self, response: Response | None, now: float) -> None:
        self.failure = "timeout"
        self._layer.forget_client(self)
        self._finish(None, now)

    def _inform_transport(self, response: Response | None, now: float) -> None:
        self.failure = "transport"
        self._layer.forget_client(self)
        self._finish(None, now)


class NonInviteClientTransaction(ClientTransaction):
    """A request other than INVITE that we send (RFC 3261 §17.1.2).

    Nothing is kept of one in state Completed.  All that it would do until timer K fires is to drop
    what comes again, and "any response received that does not match an existing client transaction
    state machine is simply dropped" as well (RFC 6026 §7.2).  Timer F is put off until timer E
    has fired: before that nothing can be due, and most requests are answered.
    """

    __slots__ = ("_waits_f",)

    def __init__(
        self,
        layer: TransactionLayer,
        key: str,
        data: bytes,
        flow: Flow,
        done: Done,
        others: Others | None,
    ) -> None:
        super().__init__(_NON_INVITE_CLIENT, layer, key, data, flow, done, others)
        #: Whether timer F is put off until timer E has fired for the first time.
        self._waits_f = False

    @property
    def timeout(self) -> Event:
        """Timer F."""
        return Event.TIMER_F

    def due(self, now: float) -> Event:
        """Timer E, or timer F where that is over too."""
        late = self._waits_f and now >= self.repeat_at + self._layer.late_timeout_fifo.duration
        return Event.TIMER_F if late else Event.TIMER_E

    def _start_e(self, response: Response | None, now: float) -> None:
        if self._waits_f:
            self._start_late_f(now)
        if not self.flow.reliable:
            fifos = self._layer.repeat_fifos
            attempt = self._attempt
            self.repeat_at = fifos[attempt].add(self, now)
            if attempt + 1 < len(fifos):
                self._attempt = attempt + 1

    def _start_e_t2(self, response: Response | None, now: float) -> None:
        if self._waits_f:
            self._start_late_f(now)
        self.repeat_at = self._layer.repeat_fifos[-1].add(self, now)

    def _start_f(self, response: Response | None, now: float) -> None:
        if self.flow.reliable:
            self._layer.timeout_fifo.add(self.key, now)
        else:
            self._waits_f = True

    def _start_late_f(self, now: float) -> None:
        self._waits_f = False
        # Timer E was due at ``repeat_at``, however late it comes.
        self._layer.late_timeout_fifo.add(self.key, min(now, self.repeat_at))

    def _start_k(self, response: Response | None, now: float) -> None:
        if self.flow.reliable:
            self.handle(Event.TIMER_K, None, now)
        else:
            self._data = b""
            self._layer.forget_client(self)


class InviteClientTransaction(ClientTransaction):
    """An INVITE that we send (RFC 3261 §17.1.1)."""

    __slots__ = ("_timer_c",)

    def __init__(
        self,
        layer: TransactionLayer,
        key: str,
        data: bytes,
        flow: Flow,
        done: Done,
        others: Others | None,
    ) -> None:
        super().__init__(_INVITE_CLIENT, layer, key, data, flow, done, others)
        self._timer_c: Alarm | None = None

    @property
    def timeout(self) -> Event:
        """Timer B."""
        return Event.TIMER_B

    def due(self, now: float) -> Event:
        """Timer A."""
        return Event.TIMER_A

    def _start_a(self, response: Response | None, now: float) -> None:
        if not self.flow.reliable:
            fifos = self._layer.repeat_invite_fifos
            self.repeat_at = fifos[self._attempt].add(self, now)
            self._attempt = min(self._attempt + 1, len(fifos) - 1)

    def _start_b(self, response: Response | None, now: float) -> None:
        self._layer.timeout_fifo.add(self.key, now)

    def _start_c(self, response: Response | None, now: float) -> None:
        self.repeat_at = _NEVER
        if self._timer_c is not None:
            self._timer_c.cancel()
        layer = self._layer
        self._timer_c = layer.queue.at(now + layer.timers.C, self._timer_c_fires)

    def _timer_c_fires(self, now: float) -> None:
        self.handle(Event.TIMER_C, None, now)

    def _start_d(self, response: Response | None, now: float) -> None:
        self._settle()
        if self.flow.reliable:
            self.handle(Event.TIMER_D, None, now)
        else:
            self._layer.wait(self._layer.timers.D, self, Event.TIMER_D, now)

    def _start_m(self, response: Response | None, now: float) -> None:
        self._settle()
        self._layer.wait(self._layer.timers.M, self, Event.TIMER_M, now)

    def _settle(self) -> None:
        self.repeat_at = _NEVER
        self._layer.detach(self)
        if self._timer_c is not None:
            self._timer_c.cancel()
            self._timer_c = None

    def _send_ack(self, response: Response, now: float) -> None:
        """Send the ACK for a response of 300 or more, built as §17.1.1.3 says."""
        invite = parse_message(self._data)
        headers = {"Via": invite.headers["Via"][:1]}
        for name in ("Max-Forwards", "Route", "From", "Call-ID"):
            if name in invite.headers:
                headers[name] = invite.headers[name]
        # "The To header field in the ACK MUST equal the To header field in the response being
        # acknowledged"
        headers["To"] = response.headers.get("To") or invite.headers["To"]
        headers["CSeq"] = [f"{invite.cseq.number} ACK"]
        uri = invite.uri if isinstance(invite, Request) else ""
        # From here on it is the ACK that is sent again.
        self._data = Request("ACK", uri, headers).to_bytes()
        self.flow.send(self._data)


_NON_INVITE_CLIENT: Final = Compiled(NON_INVITE_CLIENT, NonInviteClientTransaction)
_INVITE_CLIENT: Final = Compiled(INVITE_CLIENT, InviteClientTransaction)
