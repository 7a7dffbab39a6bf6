"""The four state machines of RFC 3261 §17 as tables, with RFC 6026 and RFC 4320 worked in.

Each table is total: for each of its states and each of its events it says what to do and which
state comes next.  Above a row stands the sentence that it obeys; rows without one are for what
can't happen or needs nothing done, and name why: so the file is long, and holds nothing else.
``client.py`` and ``server.py`` carry the actions out; ``diagram.py`` draws the tables.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = [
    "INVITE_CLIENT",
    "INVITE_SERVER",
    "MACHINES",
    "NON_INVITE_CLIENT",
    "NON_INVITE_SERVER",
    "Action",
    "Compiled",
    "Do",
    "Event",
    "Machine",
    "Row",
    "State",
    "Table",
]


class State(IntEnum):
    """Where a transaction is."""

    CALLING = 0
    TRYING = 1
    PROCEEDING = 2
    COMPLETED = 3
    CONFIRMED = 4
    ACCEPTED = 5
    TERMINATED = 6


class Event(IntEnum):
    """What can happen to a transaction."""

    # Responses from the network, to a client.
    PROVISIONAL = 0
    SUCCESS = 1
    FAILURE = 2
    # Requests from the network, to a server.
    REQUEST = 3
    ACK = 4
    CANCEL = 5
    # Responses from the transaction user, to a server.
    USER_100 = 6
    #: A 100 of the user before RFC 4320 §4.1 allows it.
    USER_100_EARLY = 7
    USER_PROVISIONAL = 8
    USER_SUCCESS = 9
    USER_FAILURE = 10
    USER_408 = 11
    # The clock.
    TRYING_DUE = 12
    GUARD = 13
    TIMER_A = 14
    TIMER_B = 15
    TIMER_C = 16
    TIMER_D = 17
    TIMER_E = 18
    TIMER_F = 19
    TIMER_G = 20
    TIMER_H = 21
    TIMER_I = 22
    TIMER_J = 23
    TIMER_K = 24
    TIMER_L = 25
    TIMER_M = 26
    # The transport.
    TRANSPORT_ERROR = 27


class Action(Enum):
    """What a transaction does on an event; the value is how diagrams say it."""

    SEND_REQUEST = "send request"
    SEND_ACK = "send ACK"
    SEND_RESPONSE = "send response"
    SEND_100 = "send 100 unless answered"
    SEND_487 = "send 487"
    SEND_500 = "send 500"
    REPEAT = "send again"
    #: The provisional or further 2xx response to the user.
    PASS = "response to TU"
    #: The final response to the user, who gets one.
    FINISH = "final response to TU"
    PASS_REQUEST = "request to TU"
    PASS_ACK = "ACK to TU"
    INFORM_TIMEOUT = "inform TU of timeout"
    INFORM_TRANSPORT = "inform TU of transport error"
    START_TRYING = "start the wait for 100"
    START_GUARD = "start guard"
    START_A = "start A"
    START_B = "start B"
    START_C = "start C"
    START_D = "start D"
    START_E = "start E"
    START_E_T2 = "start E with T2"
    START_F = "start F"
    START_G = "start G"
    START_H = "start H"
    START_I = "start I"
    START_J = "start J"
    START_K = "start K"
    START_L = "start L"
    START_M = "start M"


class Row(NamedTuple):
    """What happens in one state on one event: the actions in order, and the next state."""

    actions: tuple[Action, ...]
    state: State


class Machine(NamedTuple):
    """A state machine: the row by which it begins, and one for every state and event."""

    name: str
    section: str
    initial: Row
    table: dict[tuple[State, Event], Row]

    @property
    def states(self) -> tuple[State, ...]:
        """The states of this machine in their order."""
        return tuple(sorted({state for state, _ in self.table}))

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of this machine in their order."""
        return tuple(sorted({event for _, event in self.table}))


def _to(state: State, *actions: Action) -> Row:
    return Row(actions, state)


S, E, A = State, Event, Action


#: RFC 3261 §17.1.1, Figure 5 as RFC 6026 §8.4 replaces it.
INVITE_CLIENT: Final = Machine(
    "INVITE client",
    "RFC 3261 §17.1.1, RFC 6026 §7.2",
    # "The client transaction MUST pass the request to the transport layer for transmission ... If
    # an unreliable transport is being used, the client transaction MUST start timer A with a
    # value of T1 ... For any transport, the client transaction MUST start timer B"
    _to(S.CALLING, A.SEND_REQUEST, A.START_A, A.START_B),
    {
        # "If the client transaction receives a provisional response while in the "Calling"
        # state, it transitions to the "Proceeding" state ... the provisional response MUST be
        # passed to the TU."  Timer C bounds the wait for a final response (§16.6 item 11).
        (S.CALLING, E.PROVISIONAL): _to(S.PROCEEDING, A.PASS, A.START_C),
        # "If a 2xx response is received while the client INVITE state machine is in the
        # "Calling" or "Proceeding" states, it MUST transition to the "Accepted" state, pass the
        # 2xx response to the TU, and set Timer M to 64*T1." (RFC 6026 §7.2)
        (S.CALLING, E.SUCCESS): _to(S.ACCEPTED, A.START_M, A.FINISH),
        # "When in either the "Calling" or "Proceeding" states, reception of a response with
        # status code from 300-699 MUST cause the client transaction to transition to
        # "Completed".  The client transaction MUST pass the received response up to the TU, and
        # the client transaction MUST generate an ACK request ... MUST start Timer D"
        (S.CALLING, E.FAILURE): _to(S.COMPLETED, A.SEND_ACK, A.START_D, A.FINISH),
        # "When timer A fires, the client transaction MUST retransmit the request by passing it to
        # the transport layer, and MUST reset the timer with a value of 2*T1."
        (S.CALLING, E.TIMER_A): _to(S.CALLING, A.REPEAT, A.START_A),
        # "If the client transaction is still in the "Calling" state when timer B fires, the
        # client transaction SHOULD inform the TU that a timeout has occurred."
        (S.CALLING, E.TIMER_B): _to(S.TERMINATED, A.INFORM_TIMEOUT),
        # Timer C starts with the first provisional response, timers D and M with a final one.
        (S.CALLING, E.TIMER_C): _to(S.CALLING),
        (S.CALLING, E.TIMER_D): _to(S.CALLING),
        (S.CALLING, E.TIMER_M): _to(S.CALLING),
        # "The client transaction SHOULD inform the TU that a transport failure has occurred, and
        # the client transaction SHOULD transition directly to the "Terminated" state." (§17.1.4)
        (S.CALLING, E.TRANSPORT_ERROR): _to(S.TERMINATED, A.INFORM_TRANSPORT),
        # "Any further provisional responses MUST be passed up to the TU while in the
        # "Proceeding" state."  Timer C "MUST be reset" by them (§16.7 item 2).
        (S.PROCEEDING, E.PROVISIONAL): _to(S.PROCEEDING, A.PASS, A.START_C),
        # RFC 6026 §7.2 as above.
        (S.PROCEEDING, E.SUCCESS): _to(S.ACCEPTED, A.START_M, A.FINISH),
        # §17.1.1.2 as above.
        (S.PROCEEDING, E.FAILURE): _to(S.COMPLETED, A.SEND_ACK, A.START_D, A.FINISH),
        # "In the "Proceeding" state, the client transaction SHOULD NOT retransmit the request
        # any longer."
        (S.PROCEEDING, E.TIMER_A): _to(S.PROCEEDING),
        # Timer B is for the "Calling" state: a phone may ring for longer.
        (S.PROCEEDING, E.TIMER_B): _to(S.PROCEEDING),
        # "If the client transaction has received a provisional response, the proxy MUST generate
        # a CANCEL request" is a proxy's part (§16.8); we stop waiting.
        (S.PROCEEDING, E.TIMER_C): _to(S.TERMINATED, A.INFORM_TIMEOUT),
        (S.PROCEEDING, E.TIMER_D): _to(S.PROCEEDING),
        (S.PROCEEDING, E.TIMER_M): _to(S.PROCEEDING),
        # §17.1.4 as above.
        (S.PROCEEDING, E.TRANSPORT_ERROR): _to(S.TERMINATED, A.INFORM_TRANSPORT),
        # After the final response nothing else counts.
        (S.COMPLETED, E.PROVISIONAL): _to(S.COMPLETED),
        (S.COMPLETED, E.SUCCESS): _to(S.COMPLETED),
        # "Any retransmissions of a response with status code 300-699 that are received while in
        # the "Completed" state MUST cause the ACK to be re-passed to the transport layer for
        # retransmission, but the newly received response MUST NOT be passed up to the TU."
        (S.COMPLETED, E.FAILURE): _to(S.COMPLETED, A.REPEAT),
        (S.COMPLETED, E.TIMER_A): _to(S.COMPLETED),
        (S.COMPLETED, E.TIMER_B): _to(S.COMPLETED),
        (S.COMPLETED, E.TIMER_C): _to(S.COMPLETED),
        # "If Timer D fires while the client transaction is in the "Completed" state, the client
        # transaction MUST move to the "Terminated" state."
        (S.COMPLETED, E.TIMER_D): _to(S.TERMINATED),
        (S.COMPLETED, E.TIMER_M): _to(S.COMPLETED),
        # Figure 5: "Transport Err. / Inform TU".  The user has its final response already.
        (S.COMPLETED, E.TRANSPORT_ERROR): _to(S.TERMINATED),
        # "Any 2xx responses that match this client transaction and that are received while in
        # the "Accepted" state MUST be passed up to the TU."  Others are dropped.
        (S.ACCEPTED, E.PROVISIONAL): _to(S.ACCEPTED),
        (S.ACCEPTED, E.SUCCESS): _to(S.ACCEPTED, A.PASS),
        (S.ACCEPTED, E.FAILURE): _to(S.ACCEPTED),
        (S.ACCEPTED, E.TIMER_A): _to(S.ACCEPTED),
        (S.ACCEPTED, E.TIMER_B): _to(S.ACCEPTED),
        (S.ACCEPTED, E.TIMER_C): _to(S.ACCEPTED),
        (S.ACCEPTED, E.TIMER_D): _to(S.ACCEPTED),
        # "When Timer M fires and the state machine is in the "Accepted" state, the machine MUST
        # transition to the "Terminated" state." (RFC 6026 §7.2)
        (S.ACCEPTED, E.TIMER_M): _to(S.TERMINATED),
        # Nothing is sent any more.
        (S.ACCEPTED, E.TRANSPORT_ERROR): _to(S.ACCEPTED),
        # "Once the transaction is in the "Terminated" state, it MUST be destroyed immediately."
        (S.TERMINATED, E.PROVISIONAL): _to(S.TERMINATED),
        (S.TERMINATED, E.SUCCESS): _to(S.TERMINATED),
        (S.TERMINATED, E.FAILURE): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_A): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_B): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_C): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_D): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_M): _to(S.TERMINATED),
        (S.TERMINATED, E.TRANSPORT_ERROR): _to(S.TERMINATED),
    },
)

#: RFC 3261 §17.1.2, Figure 6.  Both kinds of final response are treated alike.
NON_INVITE_CLIENT: Final = Machine(
    "non-INVITE client",
    "RFC 3261 §17.1.2",
    # "When entering this state, the client transaction SHOULD set timer F to fire in 64*T1
    # seconds.  The request MUST be passed to the transport layer for transmission.  If an
    # unreliable transport is in use, the client transaction MUST set timer E to fire in T1"
    _to(S.TRYING, A.SEND_REQUEST, A.START_E, A.START_F),
    {
        # "If a provisional response is received while in the "Trying" state, the response MUST be
        # passed to the TU, and then the client transaction SHOULD move to the "Proceeding" state."
        (S.TRYING, E.PROVISIONAL): _to(S.PROCEEDING, A.PASS),
        # "If a final response (status codes 200-699) is received while in the "Trying" state, the
        # response MUST be passed to the TU, and the client transaction MUST transition to the
        # "Completed" state. ... it MUST set Timer K to fire in T4 seconds for unreliable
        # transports, and zero seconds for reliable transports."
        (S.TRYING, E.SUCCESS): _to(S.COMPLETED, A.START_K, A.FINISH),
        (S.TRYING, E.FAILURE): _to(S.COMPLETED, A.START_K, A.FINISH),
        # "If timer E fires while still in this state, the timer is reset, but this time with a
        # value of MIN(2*T1, T2)." (doubling on: erratum to §17.1.2.2)
        (S.TRYING, E.TIMER_E): _to(S.TRYING, A.REPEAT, A.START_E),
        # "If Timer F fires while the client transaction is still in the "Trying" state, the client
        # transaction SHOULD inform the TU about the timeout, and then it SHOULD enter the
        # "Terminated" state."
        (S.TRYING, E.TIMER_F): _to(S.TERMINATED, A.INFORM_TIMEOUT),
        # Timer K starts with the final response.
        (S.TRYING, E.TIMER_K): _to(S.TRYING),
        # "The client transaction SHOULD inform the TU that a transport failure has occurred, and
        # the client transaction SHOULD transition directly to the "Terminated" state." (§17.1.4)
        (S.TRYING, E.TRANSPORT_ERROR): _to(S.TERMINATED, A.INFORM_TRANSPORT),
        # Figure 6: "1xx / resp. to TU".
        (S.PROCEEDING, E.PROVISIONAL): _to(S.PROCEEDING, A.PASS),
        # "If a final response (status codes 200-699) is received while in the "Proceeding" state,
        # the response MUST be passed to the TU, and the client transaction MUST transition to the
        # "Completed" state."
        (S.PROCEEDING, E.SUCCESS): _to(S.COMPLETED, A.START_K, A.FINISH),
        (S.PROCEEDING, E.FAILURE): _to(S.COMPLETED, A.START_K, A.FINISH),
        # "If Timer E fires while in the "Proceeding" state, the request MUST be passed to the
        # transport layer for retransmission, and Timer E MUST be reset with a value of T2"
        (S.PROCEEDING, E.TIMER_E): _to(S.PROCEEDING, A.REPEAT, A.START_E_T2),
        # "If timer F fires while in the "Proceeding" state, the TU MUST be informed of a timeout,
        # and the client transaction MUST transition to the terminated state."
        (S.PROCEEDING, E.TIMER_F): _to(S.TERMINATED, A.INFORM_TIMEOUT),
        (S.PROCEEDING, E.TIMER_K): _to(S.PROCEEDING),
        # §17.1.4 as above.
        (S.PROCEEDING, E.TRANSPORT_ERROR): _to(S.TERMINATED, A.INFORM_TRANSPORT),
        # "The "Completed" state exists to buffer any additional response retransmissions that may
        # be received"; "only a single 2xx response to a non-INVITE is ever delivered to a UAC."
        (S.COMPLETED, E.PROVISIONAL): _to(S.COMPLETED),
        (S.COMPLETED, E.SUCCESS): _to(S.COMPLETED),
        (S.COMPLETED, E.FAILURE): _to(S.COMPLETED),
        (S.COMPLETED, E.TIMER_E): _to(S.COMPLETED),
        (S.COMPLETED, E.TIMER_F): _to(S.COMPLETED),
        # "If Timer K fires while in this state, the client transaction MUST transition to the
        # "Terminated" state."
        (S.COMPLETED, E.TIMER_K): _to(S.TERMINATED),
        # Nothing is sent any more.
        (S.COMPLETED, E.TRANSPORT_ERROR): _to(S.COMPLETED),
        # "Once the transaction is in the terminated state, it MUST be destroyed immediately."
        (S.TERMINATED, E.PROVISIONAL): _to(S.TERMINATED),
        (S.TERMINATED, E.SUCCESS): _to(S.TERMINATED),
        (S.TERMINATED, E.FAILURE): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_E): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_F): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_K): _to(S.TERMINATED),
        (S.TERMINATED, E.TRANSPORT_ERROR): _to(S.TERMINATED),
    },
)

#: RFC 3261 §17.2.1, Figure 7 as RFC 6026 §8.6 replaces it.
INVITE_SERVER: Final = Machine(
    "INVITE server",
    "RFC 3261 §17.2.1, RFC 6026 §7.1",
    # "The server transaction MUST generate a 100 (Trying) response unless it knows that the TU
    # will generate a provisional or final response within 200 ms ... The request MUST be passed
    # to the TU."
    _to(S.PROCEEDING, A.START_TRYING, A.PASS_REQUEST),
    {
        # "If a request retransmission is received while in the "Proceeding" state, the most recent
        # provisional response that was received from the TU MUST be passed to the transport layer"
        (S.PROCEEDING, E.REQUEST): _to(S.PROCEEDING, A.REPEAT),
        # No final response was sent that an ACK could be for.
        (S.PROCEEDING, E.ACK): _to(S.PROCEEDING),
        # "If the UAS has not issued a final response for the original request, its behavior
        # depends on the method of the original request.  If the original request was an INVITE,
        # the UAS SHOULD immediately respond to the INVITE with a 487" (§9.2)
        (S.PROCEEDING, E.CANCEL): _to(S.COMPLETED, A.SEND_487, A.START_G, A.START_H),
        # "So long as the server transaction is in the "Proceeding" state, each of these MUST be
        # passed to the transport layer for transmission."
        (S.PROCEEDING, E.USER_PROVISIONAL): _to(S.PROCEEDING, A.SEND_RESPONSE),
        # "If the SIP element's TU issues a 2xx response for this transaction while the state
        # machine is in the "Proceeding" state, the state machine MUST transition to the "Accepted"
        # state and set Timer L to 64*T1" (RFC 6026 §7.1)
        (S.PROCEEDING, E.USER_SUCCESS): _to(S.ACCEPTED, A.SEND_RESPONSE, A.START_L),
        # "While in the "Proceeding" state, if the TU passes a response with status code from 300 to
        # 699 to the server transaction, the response MUST be passed to the transport layer for
        # transmission, and the state machine MUST enter the "Completed" state.  For unreliable
        # transports, timer G is set to fire in T1 seconds ... When the "Completed" state is
        # entered, timer H MUST be set to fire in 64*T1 seconds for all transports."
        (S.PROCEEDING, E.USER_FAILURE): _to(S.COMPLETED, A.SEND_RESPONSE, A.START_G, A.START_H),
        # "MUST generate a 100 (Trying) response unless it knows that the TU will generate a
        # provisional or final response within 200 ms"
        (S.PROCEEDING, E.TRYING_DUE): _to(S.PROCEEDING, A.SEND_100, A.START_GUARD),
        # No request stays without a final response, should the user never give one.
        (S.PROCEEDING, E.GUARD): _to(S.COMPLETED, A.SEND_500, A.START_G, A.START_H),
        # Timers G, H, I and L start later.
        (S.PROCEEDING, E.TIMER_G): _to(S.PROCEEDING),
        (S.PROCEEDING, E.TIMER_H): _to(S.PROCEEDING),
        (S.PROCEEDING, E.TIMER_I): _to(S.PROCEEDING),
        (S.PROCEEDING, E.TIMER_L): _to(S.PROCEEDING),
        # "the server transaction SHOULD inform the TU that a failure has occurred, and MUST remain
        # in the current state." (RFC 6026 §8.8)
        (S.PROCEEDING, E.TRANSPORT_ERROR): _to(S.PROCEEDING, A.INFORM_TRANSPORT),
        # "Furthermore, while in the "Completed" state, if a request retransmission is received, the
        # server SHOULD pass the response to the transport for retransmission."
        (S.COMPLETED, E.REQUEST): _to(S.COMPLETED, A.REPEAT),
        # "If an ACK is received while the server transaction is in the "Completed" state, the
        # server transaction MUST transition to the "Confirmed" state. ... When this state is
        # entered, timer I is set to fire in T4 seconds for unreliable transports, and zero"
        (S.COMPLETED, E.ACK): _to(S.CONFIRMED, A.START_I),
        # "If the UAS has already sent a final response for that request, the CANCEL has no effect"
        (S.COMPLETED, E.CANCEL): _to(S.COMPLETED),
        # One final response has been sent; there are no others.
        (S.COMPLETED, E.USER_PROVISIONAL): _to(S.COMPLETED),
        (S.COMPLETED, E.USER_SUCCESS): _to(S.COMPLETED),
        (S.COMPLETED, E.USER_FAILURE): _to(S.COMPLETED),
        (S.COMPLETED, E.TRYING_DUE): _to(S.COMPLETED),
        (S.COMPLETED, E.GUARD): _to(S.COMPLETED),
        # "If timer G fires, the response is passed to the transport layer once more for
        # retransmission, and timer G is set to fire in MIN(2*T1, T2) seconds."
        (S.COMPLETED, E.TIMER_G): _to(S.COMPLETED, A.REPEAT, A.START_G),
        # "If timer H fires while in the "Completed" state, it implies that the ACK was never
        # received.  In this case, the server transaction MUST transition to the "Terminated"
        # state, and MUST indicate to the TU that a transaction failure has occurred."
        (S.COMPLETED, E.TIMER_H): _to(S.TERMINATED, A.INFORM_TIMEOUT),
        (S.COMPLETED, E.TIMER_I): _to(S.COMPLETED),
        (S.COMPLETED, E.TIMER_L): _to(S.COMPLETED),
        # RFC 6026 §8.8 as above.
        (S.COMPLETED, E.TRANSPORT_ERROR): _to(S.COMPLETED, A.INFORM_TRANSPORT),
        # "The purpose of the "Confirmed" state is to absorb any additional ACK messages that
        # arrive, triggered from retransmissions of the final response."
        (S.CONFIRMED, E.REQUEST): _to(S.CONFIRMED),
        (S.CONFIRMED, E.ACK): _to(S.CONFIRMED),
        (S.CONFIRMED, E.CANCEL): _to(S.CONFIRMED),
        (S.CONFIRMED, E.USER_PROVISIONAL): _to(S.CONFIRMED),
        (S.CONFIRMED, E.USER_SUCCESS): _to(S.CONFIRMED),
        (S.CONFIRMED, E.USER_FAILURE): _to(S.CONFIRMED),
        (S.CONFIRMED, E.TRYING_DUE): _to(S.CONFIRMED),
        (S.CONFIRMED, E.GUARD): _to(S.CONFIRMED),
        # "As Timer G is ignored in this state, any retransmissions of the response will cease."
        (S.CONFIRMED, E.TIMER_G): _to(S.CONFIRMED),
        # The ACK was received.
        (S.CONFIRMED, E.TIMER_H): _to(S.CONFIRMED),
        # "Once timer I fires, the server MUST transition to the "Terminated" state."
        (S.CONFIRMED, E.TIMER_I): _to(S.TERMINATED),
        (S.CONFIRMED, E.TIMER_L): _to(S.CONFIRMED),
        (S.CONFIRMED, E.TRANSPORT_ERROR): _to(S.CONFIRMED),
        # "While in the "Accepted" state, any retransmissions of the INVITE received will match this
        # transaction state machine and will be absorbed by the machine without changing its state."
        (S.ACCEPTED, E.REQUEST): _to(S.ACCEPTED),
        # "Any ACKs received from the network while in the "Accepted" state MUST be passed directly
        # to the TU and not absorbed."
        (S.ACCEPTED, E.ACK): _to(S.ACCEPTED, A.PASS_ACK),
        # §9.2 as above.
        (S.ACCEPTED, E.CANCEL): _to(S.ACCEPTED),
        (S.ACCEPTED, E.USER_PROVISIONAL): _to(S.ACCEPTED),
        # "Any retransmission of the 2xx response passed from the TU to the transaction while in the
        # "Accepted" state MUST be passed to the transport layer for transmission."
        (S.ACCEPTED, E.USER_SUCCESS): _to(S.ACCEPTED, A.SEND_RESPONSE),
        (S.ACCEPTED, E.USER_FAILURE): _to(S.ACCEPTED),
        (S.ACCEPTED, E.TRYING_DUE): _to(S.ACCEPTED),
        (S.ACCEPTED, E.GUARD): _to(S.ACCEPTED),
        (S.ACCEPTED, E.TIMER_G): _to(S.ACCEPTED),
        (S.ACCEPTED, E.TIMER_H): _to(S.ACCEPTED),
        (S.ACCEPTED, E.TIMER_I): _to(S.ACCEPTED),
        # "When Timer L fires and the state machine is in the "Accepted" state, the machine MUST
        # transition to the "Terminated" state."
        (S.ACCEPTED, E.TIMER_L): _to(S.TERMINATED),
        # Figure 7 of RFC 6026: "Transport Err. / Inform TU".
        (S.ACCEPTED, E.TRANSPORT_ERROR): _to(S.ACCEPTED, A.INFORM_TRANSPORT),
        # "Once the transaction is in the "Terminated" state, it MUST be destroyed immediately."
        (S.TERMINATED, E.REQUEST): _to(S.TERMINATED),
        (S.TERMINATED, E.ACK): _to(S.TERMINATED),
        (S.TERMINATED, E.CANCEL): _to(S.TERMINATED),
        (S.TERMINATED, E.USER_PROVISIONAL): _to(S.TERMINATED),
        (S.TERMINATED, E.USER_SUCCESS): _to(S.TERMINATED),
        (S.TERMINATED, E.USER_FAILURE): _to(S.TERMINATED),
        (S.TERMINATED, E.TRYING_DUE): _to(S.TERMINATED),
        (S.TERMINATED, E.GUARD): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_G): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_H): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_I): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_L): _to(S.TERMINATED),
        (S.TERMINATED, E.TRANSPORT_ERROR): _to(S.TERMINATED),
    },
)

#: RFC 3261 §17.2.2, Figure 8, with the actions of RFC 4320 §4.
NON_INVITE_SERVER: Final = Machine(
    "non-INVITE server",
    "RFC 3261 §17.2.2, RFC 4320 §4",
    # "The state machine is initialized in the "Trying" state and is passed a request other than
    # INVITE or ACK when initialized.  This request is passed up to the TU."
    _to(S.TRYING, A.START_TRYING, A.PASS_REQUEST),
    {
        # "Once in the "Trying" state, any further request retransmissions are discarded."
        (S.TRYING, E.REQUEST): _to(S.TRYING),
        # "An SIP element MAY respond to a non-INVITE request with a Status-Code of 100 over a
        # reliable transport at any time." (RFC 4320 §4.1)
        (S.TRYING, E.USER_100): _to(S.PROCEEDING, A.SEND_RESPONSE),
        # "An SIP element MUST NOT respond to a non-INVITE request with a Status-Code of 100 over
        # any unreliable transport, such as UDP, before the amount of time it takes a client
        # transaction's Timer E to be reset to T2."
        (S.TRYING, E.USER_100_EARLY): _to(S.TRYING),
        # "An SIP element MUST NOT send any provisional response with a Status-Code other than 100
        # to a non-INVITE request."
        (S.TRYING, E.USER_PROVISIONAL): _to(S.TRYING),
        # "If the TU passes a final response (status codes 200-699) to the server while in the
        # "Trying" or "Proceeding" state, the transaction MUST enter the "Completed" state, and the
        # response MUST be passed to the transport layer for transmission." (erratum to §17.2.2)
        (S.TRYING, E.USER_SUCCESS): _to(S.COMPLETED, A.SEND_RESPONSE, A.START_J),
        (S.TRYING, E.USER_FAILURE): _to(S.COMPLETED, A.SEND_RESPONSE, A.START_J),
        # "A transaction-stateful SIP element MUST NOT send a response with Status-Code of 408 to a
        # non-INVITE request." (RFC 4320 §4.2)
        (S.TRYING, E.USER_408): _to(S.TRYING),
        # "Without regard to transport, an SIP element MUST respond to a non-INVITE request with a
        # Status-Code of 100 if it has not otherwise responded after the amount of time it takes a
        # client transaction's Timer E to be reset to T2." (RFC 4320 §4.1)
        (S.TRYING, E.TRYING_DUE): _to(S.PROCEEDING, A.SEND_100, A.START_GUARD),
        # No request stays without a final response, should the user never give one.
        (S.TRYING, E.GUARD): _to(S.COMPLETED, A.SEND_500, A.START_J),
        # Timer J starts with the final response.
        (S.TRYING, E.TIMER_J): _to(S.TRYING),
        # "the server transaction SHOULD inform the TU that a failure has occurred, and MUST remain
        # in the current state." (RFC 6026 §8.8)
        (S.TRYING, E.TRANSPORT_ERROR): _to(S.TRYING, A.INFORM_TRANSPORT),
        # "If a retransmission of the request is received while in the "Proceeding" state, the most
        # recently sent provisional response MUST be passed to the transport layer for
        # retransmission."
        (S.PROCEEDING, E.REQUEST): _to(S.PROCEEDING, A.REPEAT),
        # "Any further provisional responses that are received from the TU while in the
        # "Proceeding" state MUST be passed to the transport layer for transmission."
        (S.PROCEEDING, E.USER_100): _to(S.PROCEEDING, A.SEND_RESPONSE),
        # Cannot be early any more.
        (S.PROCEEDING, E.USER_100_EARLY): _to(S.PROCEEDING),
        # RFC 4320 §4.1 as above.
        (S.PROCEEDING, E.USER_PROVISIONAL): _to(S.PROCEEDING),
        # §17.2.2 as above.
        (S.PROCEEDING, E.USER_SUCCESS): _to(S.COMPLETED, A.SEND_RESPONSE, A.START_J),
        (S.PROCEEDING, E.USER_FAILURE): _to(S.COMPLETED, A.SEND_RESPONSE, A.START_J),
        # RFC 4320 §4.2 as above.
        (S.PROCEEDING, E.USER_408): _to(S.PROCEEDING),
        # The user has sent a 100 itself.
        (S.PROCEEDING, E.TRYING_DUE): _to(S.PROCEEDING, A.START_GUARD),
        # No request stays without a final response.
        (S.PROCEEDING, E.GUARD): _to(S.COMPLETED, A.SEND_500, A.START_J),
        (S.PROCEEDING, E.TIMER_J): _to(S.PROCEEDING),
        # RFC 6026 §8.8 as above.
        (S.PROCEEDING, E.TRANSPORT_ERROR): _to(S.PROCEEDING, A.INFORM_TRANSPORT),
        # "While in the "Completed" state, the server transaction MUST pass the final response to
        # the transport layer for retransmission whenever a retransmission of the request is
        # received."
        (S.COMPLETED, E.REQUEST): _to(S.COMPLETED, A.REPEAT),
        # "Any other final responses passed by the TU to the server transaction MUST be discarded
        # while in the "Completed" state."
        (S.COMPLETED, E.USER_100): _to(S.COMPLETED),
        (S.COMPLETED, E.USER_100_EARLY): _to(S.COMPLETED),
        (S.COMPLETED, E.USER_PROVISIONAL): _to(S.COMPLETED),
        (S.COMPLETED, E.USER_SUCCESS): _to(S.COMPLETED),
        (S.COMPLETED, E.USER_FAILURE): _to(S.COMPLETED),
        (S.COMPLETED, E.USER_408): _to(S.COMPLETED),
        (S.COMPLETED, E.TRYING_DUE): _to(S.COMPLETED),
        (S.COMPLETED, E.GUARD): _to(S.COMPLETED),
        # "The server transaction remains in this state until Timer J fires, at which point it MUST
        # transition to the "Terminated" state."
        (S.COMPLETED, E.TIMER_J): _to(S.TERMINATED),
        # RFC 6026 §8.8 as above.
        (S.COMPLETED, E.TRANSPORT_ERROR): _to(S.COMPLETED, A.INFORM_TRANSPORT),
        # "The server transaction MUST be destroyed the instant it enters the "Terminated" state."
        (S.TERMINATED, E.REQUEST): _to(S.TERMINATED),
        (S.TERMINATED, E.USER_100): _to(S.TERMINATED),
        (S.TERMINATED, E.USER_100_EARLY): _to(S.TERMINATED),
        (S.TERMINATED, E.USER_PROVISIONAL): _to(S.TERMINATED),
        (S.TERMINATED, E.USER_SUCCESS): _to(S.TERMINATED),
        (S.TERMINATED, E.USER_FAILURE): _to(S.TERMINATED),
        (S.TERMINATED, E.USER_408): _to(S.TERMINATED),
        (S.TERMINATED, E.TRYING_DUE): _to(S.TERMINATED),
        (S.TERMINATED, E.GUARD): _to(S.TERMINATED),
        (S.TERMINATED, E.TIMER_J): _to(S.TERMINATED),
        (S.TERMINATED, E.TRANSPORT_ERROR): _to(S.TERMINATED),
    },
)

MACHINES: Final[tuple[Machine, ...]] = (
    INVITE_CLIENT,
    NON_INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_SERVER,
)

#: ``[state][event]`` gives the functions to call, as (transaction, message, now), and the state.
Table: TypeAlias = tuple[tuple[tuple[tuple["Do", ...], State], ...], ...]
Do: TypeAlias = Callable[[Any, Any, float], None]


class Compiled:
    """A machine for fast dispatch: the methods of a class of transactions in place of the actions.

    An action is the method by its name: START_J is ``_start_j``.  States and events that the
    machine does not have are ignored.
    """

    __slots__ = ("entry", "initial", "table")

    def __init__(self, machine: Machine, transaction: type) -> None:
        def functions(row: Row) -> tuple[Do, ...]:
            return tuple(
                [getattr(transaction, f"_{action.name.lower()}") for action in row.actions]
            )

        self.initial = machine.initial.state
        self.entry = functions(machine.initial)
        rows = []
        for state in State:
            ignored = Row((), state)
            row = [machine.table.get((state, event), ignored) for event in Event]
            rows.append(tuple([(functions(entry), entry.state) for entry in row]))
        self.table: Table = tuple(rows)
