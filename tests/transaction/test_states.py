"""Every state × every event of the four machines, on real transactions (RFC 3261 §17).

What is expected stands here once more, written from the figures: whatever is not listed is ignored.
"""

from collections.abc import Callable
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.message import Request, Response
from simplestack.transaction.client import ClientTransaction
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.server import ServerTransaction
from simplestack.transaction.states import MACHINES, Action, Event, Machine, Row, State
from tests.transaction.messages import answer, request, text
from tests.wire import Counting, Recorder

S, E = State, Event


class Outcome(NamedTuple):
    """What an event does: the next state, how many messages are sent, what the user is told."""

    state: State
    sent: int = 0
    told: tuple[object, ...] = ()


#: RFC 3261 Figure 5 with RFC 6026 §8.4.
INVITE_CLIENT = {
    (S.CALLING, E.PROVISIONAL): Outcome(S.PROCEEDING, 0, (180,)),
    (S.CALLING, E.SUCCESS): Outcome(S.ACCEPTED, 0, (200,)),
    (S.CALLING, E.FAILURE): Outcome(S.COMPLETED, 1, (486,)),
    (S.CALLING, E.TIMER_A): Outcome(S.CALLING, 1),
    (S.CALLING, E.TIMER_B): Outcome(S.TERMINATED, 0, ("timeout",)),
    (S.CALLING, E.TRANSPORT_ERROR): Outcome(S.TERMINATED, 0, ("transport",)),
    (S.PROCEEDING, E.PROVISIONAL): Outcome(S.PROCEEDING, 0, (180,)),
    (S.PROCEEDING, E.SUCCESS): Outcome(S.ACCEPTED, 0, (200,)),
    (S.PROCEEDING, E.FAILURE): Outcome(S.COMPLETED, 1, (486,)),
    (S.PROCEEDING, E.TIMER_C): Outcome(S.TERMINATED, 0, ("timeout",)),
    (S.PROCEEDING, E.TRANSPORT_ERROR): Outcome(S.TERMINATED, 0, ("transport",)),
    (S.COMPLETED, E.FAILURE): Outcome(S.COMPLETED, 1),
    (S.COMPLETED, E.TIMER_D): Outcome(S.TERMINATED),
    (S.COMPLETED, E.TRANSPORT_ERROR): Outcome(S.TERMINATED),
    (S.ACCEPTED, E.SUCCESS): Outcome(S.ACCEPTED, 0, (200,)),
    (S.ACCEPTED, E.TIMER_M): Outcome(S.TERMINATED),
}

#: RFC 3261 Figure 6.
NON_INVITE_CLIENT = {
    (S.TRYING, E.PROVISIONAL): Outcome(S.PROCEEDING, 0, (180,)),
    (S.TRYING, E.SUCCESS): Outcome(S.COMPLETED, 0, (200,)),
    (S.TRYING, E.FAILURE): Outcome(S.COMPLETED, 0, (486,)),
    (S.TRYING, E.TIMER_E): Outcome(S.TRYING, 1),
    (S.TRYING, E.TIMER_F): Outcome(S.TERMINATED, 0, ("timeout",)),
    (S.TRYING, E.TRANSPORT_ERROR): Outcome(S.TERMINATED, 0, ("transport",)),
    (S.PROCEEDING, E.PROVISIONAL): Outcome(S.PROCEEDING, 0, (180,)),
    (S.PROCEEDING, E.SUCCESS): Outcome(S.COMPLETED, 0, (200,)),
    (S.PROCEEDING, E.FAILURE): Outcome(S.COMPLETED, 0, (486,)),
    (S.PROCEEDING, E.TIMER_E): Outcome(S.PROCEEDING, 1),
    (S.PROCEEDING, E.TIMER_F): Outcome(S.TERMINATED, 0, ("timeout",)),
    (S.PROCEEDING, E.TRANSPORT_ERROR): Outcome(S.TERMINATED, 0, ("transport",)),
    (S.COMPLETED, E.TIMER_K): Outcome(S.TERMINATED),
}

#: RFC 3261 Figure 7 with RFC 6026 §8.6; the guard and CANCEL (§9.2) answer.
INVITE_SERVER = {
    # The provisional response that brought it there is sent again.
    (S.PROCEEDING, E.REQUEST): Outcome(S.PROCEEDING, 1),
    (S.PROCEEDING, E.CANCEL): Outcome(S.COMPLETED, 1),
    (S.PROCEEDING, E.USER_PROVISIONAL): Outcome(S.PROCEEDING, 1),
    (S.PROCEEDING, E.USER_SUCCESS): Outcome(S.ACCEPTED, 1),
    (S.PROCEEDING, E.USER_FAILURE): Outcome(S.COMPLETED, 1),
    (S.PROCEEDING, E.GUARD): Outcome(S.COMPLETED, 1),
    (S.PROCEEDING, E.TRANSPORT_ERROR): Outcome(S.PROCEEDING, 0, ("transport",)),
    (S.COMPLETED, E.REQUEST): Outcome(S.COMPLETED, 1),
    (S.COMPLETED, E.ACK): Outcome(S.CONFIRMED),
    (S.COMPLETED, E.TIMER_G): Outcome(S.COMPLETED, 1),
    (S.COMPLETED, E.TIMER_H): Outcome(S.TERMINATED, 0, ("timeout",)),
    (S.COMPLETED, E.TRANSPORT_ERROR): Outcome(S.COMPLETED, 0, ("transport",)),
    (S.CONFIRMED, E.TIMER_I): Outcome(S.TERMINATED),
    (S.ACCEPTED, E.ACK): Outcome(S.ACCEPTED, 0, ("ACK",)),
    (S.ACCEPTED, E.USER_SUCCESS): Outcome(S.ACCEPTED, 1),
    (S.ACCEPTED, E.TIMER_L): Outcome(S.TERMINATED),
    (S.ACCEPTED, E.TRANSPORT_ERROR): Outcome(S.ACCEPTED, 0, ("transport",)),
}

#: RFC 3261 Figure 8 with RFC 4320 §4; the guard answers.
NON_INVITE_SERVER = {
    # Over a reliable transport, where it is allowed at any time: the only one that is tried there.
    (S.TRYING, E.USER_100): Outcome(S.PROCEEDING, 1),
    (S.TRYING, E.USER_SUCCESS): Outcome(S.COMPLETED, 1),
    (S.TRYING, E.USER_FAILURE): Outcome(S.COMPLETED, 1),
    (S.TRYING, E.TRYING_DUE): Outcome(S.PROCEEDING, 1),
    (S.TRYING, E.GUARD): Outcome(S.COMPLETED, 1),
    (S.TRYING, E.TRANSPORT_ERROR): Outcome(S.TRYING, 0, ("transport",)),
    (S.PROCEEDING, E.REQUEST): Outcome(S.PROCEEDING, 1),
    (S.PROCEEDING, E.USER_100): Outcome(S.PROCEEDING, 1),
    (S.PROCEEDING, E.USER_SUCCESS): Outcome(S.COMPLETED, 1),
    (S.PROCEEDING, E.USER_FAILURE): Outcome(S.COMPLETED, 1),
    (S.PROCEEDING, E.GUARD): Outcome(S.COMPLETED, 1),
    (S.PROCEEDING, E.TRANSPORT_ERROR): Outcome(S.PROCEEDING, 0, ("transport",)),
    (S.COMPLETED, E.REQUEST): Outcome(S.COMPLETED, 1),
    (S.COMPLETED, E.TIMER_J): Outcome(S.TERMINATED),
    (S.COMPLETED, E.TRANSPORT_ERROR): Outcome(S.COMPLETED, 0, ("transport",)),
}

EXPECTED = dict(
    zip(
        [machine.name for machine in MACHINES],
        (INVITE_CLIENT, NON_INVITE_CLIENT, INVITE_SERVER, NON_INVITE_SERVER),
        strict=True,
    )
)

RESPONSES = {E.PROVISIONAL: 180, E.SUCCESS: 200, E.FAILURE: 486}
USER = {
    E.USER_100: 100,
    E.USER_100_EARLY: 100,
    E.USER_PROVISIONAL: 183,
    E.USER_SUCCESS: 200,
    E.USER_FAILURE: 404,
    E.USER_408: 408,
}


class Client:
    """A client transaction and all that can be seen of it."""

    def __init__(self, method: str) -> None:
        self.flow = Recorder()
        self.told: list[object] = []
        self.layer = TransactionLayer(lambda *_: None, Counting())
        via = "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-c"
        self.data = text(method, via=via)
        self.transaction: ClientTransaction = self.layer.send(
            method, "z9hG4bK-c", self.data, self.flow, self.done, 0.0, self.others
        )

    def done(self, response: Response | None, now: float) -> None:
        """The one final answer."""
        self.told.append(self.transaction.failure if response is None else response.status)

    def others(self, response: Response, now: float) -> None:
        """What else comes."""
        self.told.append(response.status)

    def happen(self, event: Event) -> None:
        """Let an event happen."""
        status = RESPONSES.get(event)
        response = None if status is None else answer(self.data, status)
        self.transaction.handle(event, response, 1.0)


class Server:
    """A server transaction and all that can be seen of it."""

    def __init__(self, method: str, transport: str) -> None:
        self.flow = Recorder(transport)
        self.delivered: list[str] = []
        self.layer = TransactionLayer(self.deliver, Counting())
        self.request = request(method)
        self.layer.receive(self.request, self.flow, 0.0)
        self.delivered.clear()

    def deliver(self, request: Request, transaction: ServerTransaction | None, now: float) -> None:
        """What the user gets."""
        self.delivered.append(request.method)
        if transaction is not None:
            self.transaction = transaction

    @property
    def told(self) -> list[object]:
        """What the user is told."""
        failure = self.transaction.failure
        return [*self.delivered, *([] if failure is None else [failure])]

    def happen(self, event: Event) -> None:
        """Let an event happen."""
        status = USER.get(event)
        # Out of TRYING no 100 is early: only the table knows the event there.
        impossible = event is E.USER_100_EARLY and self.transaction.state is not S.TRYING
        if status is not None and not impossible:
            self.transaction.respond(self.request.response(status, to_tag="b"), 1.0)
        else:
            self.transaction.handle(event, request("ACK") if event is E.ACK else None, 1.0)


def client(method: str, *events: Event) -> Callable[[Event], Client]:
    """Makes a client that these events have happened to."""

    def make(_: Event) -> Client:
        made = Client(method)
        for event in events:
            made.happen(event)
        return made

    return make


def server(method: str, *events: Event, reliable: Event | None = None) -> Callable[[Event], Server]:
    """Makes a server that these events have happened to; over TCP for one event to come."""

    def make(coming: Event) -> Server:
        made = Server(method, "tcp" if coming is reliable or E.TIMER_J in events else "udp")
        for event in events:
            if event is not E.TIMER_J:
                made.happen(event)
        return made

    return make


#: How each state is reached, from the beginning.  Over TCP timer J fires at once.
PATHS: dict[str, dict[State, Callable[[Event], Client | Server]]] = {
    "INVITE client": {
        S.CALLING: client("INVITE"),
        S.PROCEEDING: client("INVITE", E.PROVISIONAL),
        S.COMPLETED: client("INVITE", E.FAILURE),
        S.ACCEPTED: client("INVITE", E.SUCCESS),
        S.TERMINATED: client("INVITE", E.SUCCESS, E.TIMER_M),
    },
    "non-INVITE client": {
        S.TRYING: client("NOTIFY"),
        S.PROCEEDING: client("NOTIFY", E.PROVISIONAL),
        S.COMPLETED: client("NOTIFY", E.SUCCESS),
        S.TERMINATED: client("NOTIFY", E.SUCCESS, E.TIMER_K),
    },
    "INVITE server": {
        S.PROCEEDING: server("INVITE", E.USER_PROVISIONAL),
        S.COMPLETED: server("INVITE", E.USER_FAILURE),
        S.CONFIRMED: server("INVITE", E.USER_FAILURE, E.ACK),
        S.ACCEPTED: server("INVITE", E.USER_SUCCESS),
        S.TERMINATED: server("INVITE", E.USER_SUCCESS, E.TIMER_L),
    },
    "non-INVITE server": {
        S.TRYING: server("PUBLISH", reliable=E.USER_100),
        S.PROCEEDING: server("PUBLISH", E.TRYING_DUE),
        S.COMPLETED: server("PUBLISH", E.USER_SUCCESS),
        S.TERMINATED: server("PUBLISH", E.USER_SUCCESS, E.TIMER_J),
    },
}


#: Over UDP the layer keeps less than the object of these; test_client and test_server look at it.
COMPACT = {
    ("non-INVITE client", S.COMPLETED),
    ("non-INVITE client", S.TERMINATED),
    ("non-INVITE server", S.COMPLETED),
}


class TotalityTests(SynchronousTestCase):
    """The tables are whole."""

    def test_every_state_has_every_event(self) -> None:
        """No state leaves an event of its machine undefined."""
        for machine in MACHINES:
            pairs = {(state, event) for state in machine.states for event in machine.events}
            self.assertEqual(set(machine.table), pairs, machine.name)

    def test_terminated_is_the_end(self) -> None:
        """A terminated transaction does nothing and stays so (RFC 3261 §17)."""
        for machine in MACHINES:
            for event in machine.events:
                row = machine.table[S.TERMINATED, event]
                self.assertEqual(row, Row((), S.TERMINATED), f"{machine.name} {event.name}")

    def test_every_state_is_reached_and_left(self) -> None:
        """From every state the end can be reached, from the beginning every state."""
        for machine in MACHINES:
            reached = {machine.initial.state}
            while True:
                more = {row.state for (state, _), row in machine.table.items() if state in reached}
                if more <= reached:
                    break
                reached |= more
            self.assertEqual(reached, set(machine.states), machine.name)
            for state in machine.states:
                seen = {state}
                while True:
                    more = {row.state for (at, _), row in machine.table.items() if at in seen}
                    if more <= seen:
                        break
                    seen |= more
                self.assertIn(S.TERMINATED, seen, f"{machine.name} {state.name}")

    def test_one_final_response_each(self) -> None:
        """Rows that finish leave the states that can finish: the user gets one final response."""
        final = {
            Action.FINISH,
            Action.INFORM_TIMEOUT,
            Action.SEND_487,
            Action.SEND_500,
        }
        for machine in MACHINES:
            for (state, event), row in machine.table.items():
                if final & set(row.actions) and state is not S.COMPLETED:
                    self.assertNotIn(row.state, (S.CALLING, S.TRYING, S.PROCEEDING), event.name)


class MatrixTests(SynchronousTestCase):
    """One test for every state and event of every machine."""

    def check(self, machine: Machine, state: State, event: Event) -> None:
        """Reach the state, let the event happen, compare all that can be seen."""
        subject = PATHS[machine.name][state](event)
        self.assertIs(subject.transaction.state, state)
        sent, told = len(subject.flow.sent), len(subject.told)
        subject.happen(event)
        expected = EXPECTED[machine.name].get((state, event), Outcome(state))
        happened = Outcome(
            subject.transaction.state, len(subject.flow.sent) - sent, tuple(subject.told[told:])
        )
        self.assertEqual(happened, expected)
        if happened.state is S.TERMINATED and (machine.name, state) not in COMPACT:
            # "Once the transaction is in the "Terminated" state, it MUST be destroyed immediately."
            counts = subject.layer.counts()
            self.assertEqual(counts["server_transactions"] + counts["client_transactions"], 0)


def _add(machine: Machine, state: State, event: Event) -> None:
    def test(self: MatrixTests) -> None:
        self.check(machine, state, event)

    name = f"test_{machine.name}_{state.name}_{event.name}".replace(" ", "_").replace("-", "_")
    test.__name__ = name.lower()
    test.__doc__ = f"{machine.section}: {machine.name}, {state.name}, {event.name}."
    setattr(MatrixTests, name.lower(), test)


for _machine in MACHINES:
    for _state, _event in _machine.table:
        _add(_machine, _state, _event)
