"""The transaction layer: which transaction a message belongs to, and what it does (RFC 3261 §17)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from simplestack.sip.errors import ParseError, SIPError
from simplestack.sip.fields import Via
from simplestack.sip.message import METHODS, Request, Response
from simplestack.transaction.client import (
    ClientTransaction,
    Done,
    InviteClientTransaction,
    NonInviteClientTransaction,
    Others,
)
from simplestack.transaction.flow import DEFAULT_PORTS, Flow, via
from simplestack.transaction.hops import response_flow, stamp
from simplestack.transaction.limits import Limits
from simplestack.transaction.matching import (
    MergedRequests,
    branch_and_sent_by,
    has_cookie,
    request_key,
)
from simplestack.transaction.refusal import refusal
from simplestack.transaction.server import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
)
from simplestack.transaction.states import Event, State
from simplestack.transaction.timers import Fifo, TimerQueue, Timers

__all__ = ["Deliver", "Identifiers", "Reopen", "TransactionLayer"]

#: Gets each new request, its transaction and the time.  An ACK for a 2xx and a CANCEL that has
#: ended an INVITE come without a transaction: there is nothing to answer.
Deliver: TypeAlias = Callable[[Request, ServerTransaction | None, float], None]
#: Opens a connection like the flow, which has ended, to the address, and sends; false if it won't.
Reopen: TypeAlias = Callable[[Flow, tuple[str, int], bytes], bool]

#: How much later than due timer J may fire, which only forgets something.
_SLACK: Final = 0.25
# A member of an enumeration takes two lookups.
_FAILURE: Final = Event.FAILURE
_SUCCESS: Final = Event.SUCCESS
_PROVISIONAL: Final = Event.PROVISIONAL


class Identifiers(Protocol):
    """Where tags and branches come from: unique, and not to be guessed."""

    def tag(self) -> str:
        """A From or To tag (RFC 3261 §19.3)."""

    def branch(self) -> str:
        """A Via branch with the magic cookie (RFC 3261 §8.1.1.7)."""


class TransactionLayer:
    """All transactions of one stack, client and server (RFC 3261 §17, RFC 6026, RFC 4320).

    Messages and times come in by calls; messages go out by ``flow.send``, requests to the user by
    ``deliver``.  Nothing here waits: call ``advance(now)`` no later than ``next_wakeup()`` says.
    """

    def __init__(
        self,
        deliver: Deliver,
        identifiers: Identifiers,
        timers: Timers | None = None,
        *,
        limits: Limits | None = None,
        reopen: Reopen | None = None,
        closed: Callable[[Flow], None] | None = None,
    ) -> None:
        self.deliver = deliver
        self.identifiers = identifiers
        self.timers = timers = timers or Timers()
        self.limits = limits or Limits()
        self.reopen = reopen
        #: Is told of each connection that has ended, after the transactions.
        self.closed = closed
        self.queue = queue = TimerQueue()
        # An answered non-INVITE over UDP is the bytes of its response: state Completed.
        self._servers: dict[str, ServerTransaction | bytes] = {}
        self._clients: dict[str, ClientTransaction] = {}
        # Client transactions that wait for a response on a stream.
        self._by_flow: dict[str, set[ClientTransaction]] = {}
        self._merged = MergedRequests(timers.J, self.limits.server_transactions)

        # Timeouts stand before repetitions, so that a late wake-up doesn't send what it gives up.
        self.timeout_fifo: Fifo[str] = queue.fifo(
            timers.F, self._timeout_fires, stale=self._has_response
        )
        # What is left of timer F when timer E fires first: most requests have their answer by then.
        self.late_timeout_fifo: Fifo[str] = queue.fifo(
            max(0.0, timers.F - timers.retransmit(0)),
            self._timeout_fires,
            stale=self._has_response,
        )
        self.guard_fifo: Fifo[ServerTransaction] = queue.fifo(
            max(0.0, timers.guard - timers.trying), self._guard_fires, stale=_is_over
        )
        self.trying_fifo: Fifo[str] = queue.fifo(
            timers.trying, self._trying_fires, stale=self._is_answered
        )
        self._j_fifo: Fifo[str] = queue.fifo(timers.J, self._j_fires, _SLACK)
        self._soon: Fifo[tuple[ClientTransaction, Event]] = queue.fifo(0.0, self._event_fires)
        self._waits: dict[float, Fifo[tuple[ClientTransaction | ServerTransaction, Event]]] = {}
        self.repeat_fifos = self._repeat_fifos(timers.retransmit, timers.T2)
        self.repeat_invite_fifos = self._repeat_fifos(timers.retransmit_invite, timers.B)

        #: Server transactions without a final response.
        self.unanswered = 0
        self.absorbed = 0
        self.retransmitted = 0
        self.stray = 0
        self.dropped = 0
        self.refused = 0
        self.rejected = 0
        self.guarded = 0
        self.unacknowledged = 0
        self.undeliverable = 0

    def _repeat_fifos(
        self, interval: Callable[[int], float], longest: float
    ) -> list[Fifo[ClientTransaction | ServerTransaction]]:
        fifos: list[Fifo[ClientTransaction | ServerTransaction]] = []
        while not fifos or fifos[-1].duration < longest:
            duration = interval(len(fifos))
            fifos.append(self.queue.fifo(duration, self._repeat_fires, 0.0, _is_stale))
        return fifos

    # Messages from the network.

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """Take in a message that came by a flow."""
        if isinstance(message, Request):
            self._receive_request(message, flow, now)
        else:
            self._receive_response(message, now)

    def reject(self, error: ParseError, flow: Flow, now: float) -> None:
        """Answer bytes that could not be parsed, if what could be read of them is a request.

        The response is sent without a transaction; a request sent again gets the same.  Responses
        and ACK are never answered.
        """
        if isinstance(error.message, Request):
            self._refuse(error.message, error, flow)
        else:
            self.dropped += 1

    def _receive_response(self, response: Response, now: float) -> None:
        try:
            branch, sent_by = branch_and_sent_by(response)
        except SIPError:
            self.dropped += 1
            return
        _, _, method = (response.first("CSeq") or "").rpartition(" ")
        # "If the response has the same value of the branch parameter in the top Via header field
        # as the branch parameter in the top Via header field of the request that created the
        # transaction [and] if the method parameter in the CSeq header field matches the method of
        # the request that created the transaction." (§17.1.3)
        key = f"{branch.lower()} {method}"
        try:
            transaction = self._clients[key]
        except KeyError:
            # "Any response received that does not match an existing client transaction state
            # machine is simply dropped." (RFC 6026 §7.2)
            self.stray += 1
            return
        # "If the value of the "sent-by" parameter in that header field value does not correspond
        # to a value that the client transport is configured to insert into requests, the response
        # MUST be silently discarded." (§18.1.2)
        if sent_by != transaction.flow.sent_by:
            host = transaction.flow.local[0].strip("[]").lower()
            if response.top_via.host.strip("[]") != host:
                self.stray += 1
                return
        status = response.status
        event = _FAILURE if status >= 300 else _SUCCESS if status >= 200 else _PROVISIONAL
        transaction.handle(event, response, now)

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        try:
            top = request.top_via
        except SIPError as error:
            self._refuse(request, error, flow)
            return
        method = request.method
        key = request_key(request, top, "INVITE" if method == "ACK" else method)
        known = self._servers.get(key)
        if known is not None:
            self.absorbed += 1
            if isinstance(known, bytes):
                self.retransmitted += 1
                response_flow(top, flow).send(known)
            elif method == "ACK":
                self._acknowledged(known, request, now)
            else:
                known.handle(Event.REQUEST, None, now)
            return
        if method == "ACK":
            stamp(request, top, flow)
            self.deliver(request, None, now)
            return
        limits = self.limits
        if self.unanswered >= limits.unanswered or (
            len(self._servers) >= limits.server_transactions and not self._forget_oldest()
        ):
            self.refused += 1
            retry_after = str(limits.retry_after)
            full = SIPError(503, headers=(("Retry-After", retry_after),), text="too many requests")
            self._refuse(request, full, flow)
            return
        stamp(request, top, flow)
        self.unanswered += 1
        transaction: ServerTransaction
        if method == "INVITE":
            transaction = InviteServerTransaction(self, key, request, top, flow)
        else:
            transaction = NonInviteServerTransaction(self, key, request, top, flow)
        self._servers[key] = transaction
        if method == "CANCEL":
            self._cancel(request, top, transaction, now)
        else:
            transaction.start(now)

    def _forget_oldest(self) -> bool:
        """Forget the response that waits for copies of its request longest, if there is one."""
        if not self._j_fifo.items:
            return False
        del self._servers[self._j_fifo.pop()]
        return True

    def _acknowledged(
        self, transaction: ServerTransaction | bytes, ack: Request, now: float
    ) -> None:
        if isinstance(transaction, InviteServerTransaction):
            if not has_cookie(transaction.via):
                # "the To tag of the ACK matches the To tag of the response sent by the server
                # transaction" (§17.2.3)
                try:
                    tag = ack.to.tag
                except SIPError:
                    tag = None
                if tag != transaction.response_tag():
                    return
            transaction.handle(Event.ACK, ack, now)

    def _cancel(
        self, cancel: Request, top: Via, transaction: ServerTransaction, now: float
    ) -> None:
        """Answer a CANCEL, and with it the INVITE that it is for (RFC 3261 §9.2)."""
        target = self._servers.get(request_key(cancel, top, "INVITE"))
        tag = self.identifiers.tag()
        if isinstance(target, InviteServerTransaction):
            tag = target.response_tag() or tag
            pending = target.state is State.PROCEEDING
            target.handle(Event.CANCEL, None, now)
            tag = target.response_tag() or tag
            transaction.respond(cancel.response(200, to_tag=tag), now)
            if pending:
                self.deliver(cancel, None, now)
            return
        # "assuming that the request method is anything but CANCEL or ACK"; it "has no impact on
        # the processing of transactions with any other method", but matches them.
        others = METHODS - {"INVITE", "ACK", "CANCEL"}
        if any(request_key(cancel, top, method) in self._servers for method in others):
            transaction.respond(cancel.response(200, to_tag=tag), now)
        else:
            transaction.respond(cancel.response(481, to_tag=tag), now)

    def _refuse(self, request: Request, error: SIPError, flow: Flow) -> None:
        """Answer without a transaction, as far as the request can be read."""
        answer = refusal(request, error, flow)
        if answer is None:
            self.dropped += 1
            return
        self.rejected += 1
        back, data = answer
        back.send(data)

    # Requests of ours.

    def send(
        self,
        method: str,
        branch: str,
        data: bytes,
        flow: Flow,
        done: Done,
        now: float,
        others: Others | None = None,
    ) -> ClientTransaction:
        """Send a request that is ready for the wire, whose topmost Via has this branch.

        ``done(response, now)`` is called once, never before this returns: with the final response,
        or with None after timer B or F fired or the transport failed (``failure`` says which).
        ``others`` gets provisional responses and, of INVITE, further 2xx.  An ACK has no
        transaction: send it by the flow.  Raises ValueError where the branch is in use.
        """
        key = f"{branch.lower()} {method}"
        if key in self._clients:
            raise ValueError(f"there is a transaction {key}")
        transaction: ClientTransaction
        if method == "INVITE":
            transaction = InviteClientTransaction(self, key, data, flow, done, others)
        else:
            transaction = NonInviteClientTransaction(self, key, data, flow, done, others)
        self._clients[key] = transaction
        if flow.reliable:
            self._by_flow.setdefault(flow.key, set()).add(transaction)
            if not flow.alive:
                self._soon.add((transaction, Event.TRANSPORT_ERROR), now)
                return transaction
        transaction.start(now)
        return transaction

    def start_request(
        self,
        request: Request,
        flow: Flow,
        done: Done,
        now: float,
        others: Others | None = None,
    ) -> ClientTransaction:
        """Put our Via with a new branch on top of a request and send it; see ``send``.

        A request that is sent again with credentials must have lost the Via of its first try.
        """
        branch = self.identifiers.branch()
        request.prepend("Via", via(flow, branch))
        return self.send(request.method, branch, request.to_bytes(), flow, done, now, others)

    # Time, and connections that end.

    def advance(self, now: float) -> None:
        """Let all timers fire that are due."""
        self.queue.advance(now)

    def next_wakeup(self) -> float | None:
        """When ``advance`` must be called next, None if nothing waits.

        It may be earlier after any other call: a network that keeps one timer asks again.
        """
        return self.queue.next_wakeup()

    def flow_closed(self, flow: Flow, now: float) -> None:
        """A connection has ended: what waits for a response on it has failed (§17.1.4)."""
        for transaction in list(self._by_flow.pop(flow.key, ())):
            transaction.handle(Event.TRANSPORT_ERROR, None, now)
        if self.closed is not None:
            self.closed(flow)

    def counts(self) -> dict[str, int]:
        """How many transactions there are, and what has been counted since the start."""
        return {
            "server_transactions": len(self._servers),
            "server_unanswered": self.unanswered,
            "client_transactions": len(self._clients),
            "timers": len(self.queue),
            "retransmissions_absorbed": self.absorbed,
            "retransmissions_sent": self.retransmitted,
            "stray_responses": self.stray,
            "messages_dropped": self.dropped,
            "requests_rejected": self.rejected,
            "requests_over_limit": self.refused,
            "requests_unanswered_in_time": self.guarded,
            "responses_unacknowledged": self.unacknowledged,
            "responses_undeliverable": self.undeliverable,
        }

    # Merged requests.

    def merged(self, transaction: ServerTransaction, now: float) -> bool:
        """Whether the request has come by another path as well (RFC 3261 §8.2.2.2).

        The first that is asked about is remembered for timer J to twice that, unless it is
        refused: its sender may try the same again, and what had no effect has none twice.
        """
        return self._merged.check(transaction.request, transaction.key, now)

    def forget_merged(self, transaction: ServerTransaction) -> None:
        """Forget a request that was refused."""
        self._merged.forget(transaction.request, transaction.key)

    # For the transactions.

    def wait(
        self,
        duration: float,
        transaction: ClientTransaction | ServerTransaction,
        event: Event,
        now: float,
    ) -> None:
        """Let an event happen to a transaction after one of the constant durations."""
        fifo = self._waits.get(duration)
        if fifo is None:
            fifo = self._waits[duration] = self.queue.fifo(duration, self._event_fires)
        fifo.add((transaction, event), now)

    def server_completed(self, key: str, response: bytes, now: float) -> None:
        """From now on the bytes of the response stand for the transaction; start timer J."""
        self._servers[key] = response
        self._j_fifo.add(key, now)

    def forget_server(self, transaction: ServerTransaction) -> None:
        """The transaction has terminated."""
        if self._servers.get(transaction.key) is transaction:
            del self._servers[transaction.key]

    def forget_client(self, transaction: ClientTransaction) -> None:
        """The transaction has terminated."""
        if self._clients.get(transaction.key) is transaction:
            del self._clients[transaction.key]
        if transaction.flow.reliable:
            self.detach(transaction)

    def detach(self, transaction: ClientTransaction) -> None:
        """The transaction does not depend on its connection any more."""
        key = transaction.flow.key
        waiting = self._by_flow.get(key)
        if waiting is not None:
            waiting.discard(transaction)
            if not waiting:
                del self._by_flow[key]

    def reopened(self, transaction: ServerTransaction, data: bytes) -> bool:
        """Send a response whose connection has ended by a new one; false where that can't be.

        "the server SHOULD open a connection to the IP address in the "received" parameter, if
        present, using the port in the "sent-by" value, or the default port for that transport, if
        no port is specified." (§18.2.2)
        """
        if self.reopen is None:
            return False
        flow = transaction.flow
        port = transaction.via.port or DEFAULT_PORTS[flow.transport]
        return self.reopen(flow, (flow.remote[0], port), data)

    # Timers that fire.

    def _timeout_fires(self, key: str, now: float) -> None:
        transaction = self._clients.get(key)
        if transaction is not None:
            transaction.handle(transaction.timeout, None, now)

    def _trying_fires(self, key: str, now: float) -> None:
        transaction = self._servers.get(key)
        if isinstance(transaction, ServerTransaction):
            transaction.handle(Event.TRYING_DUE, None, now)

    def _has_response(self, key: str, deadline: float) -> bool:
        return key not in self._clients

    def _is_answered(self, key: str, deadline: float) -> bool:
        return not isinstance(self._servers.get(key), ServerTransaction)

    def _guard_fires(self, transaction: ServerTransaction, now: float) -> None:
        transaction.handle(Event.GUARD, None, now)

    def _j_fires(self, key: str, now: float) -> None:
        self._servers.pop(key, None)

    def _repeat_fires(self, transaction: ClientTransaction | ServerTransaction, now: float) -> None:
        # An earlier entry of one that waits again, or waits no more.
        if transaction.repeat_at <= now:
            transaction.handle(transaction.due(now), None, now)

    def _event_fires(
        self, item: tuple[ClientTransaction | ServerTransaction, Event], now: float
    ) -> None:
        transaction, event = item
        transaction.handle(event, None, now)


def _is_stale(transaction: ClientTransaction | ServerTransaction, deadline: float) -> bool:
    return transaction.repeat_at != deadline


def _is_over(transaction: ServerTransaction, deadline: float) -> bool:
    return transaction.answered
