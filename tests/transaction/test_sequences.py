"""Whatever happens in whatever order: nothing raises, one final answer, and all comes to an end."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.message import Request, Response, parse_message
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.server import ServerTransaction
from simplestack.transaction.states import Event
from tests.transaction.messages import answer, request, text
from tests.wire import Counting, Recorder, Wire

STATUSES = (100, 180, 183, 200, 202, 302, 404, 408, 486, 500, 603)

client_steps = st.one_of(
    st.tuples(st.just("response"), st.sampled_from(STATUSES)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 0.5, 4.0, 32.0, 190.0])),
    st.tuples(st.just("close"), st.just(0)),
)

server_steps = st.one_of(
    st.tuples(st.just("request"), st.sampled_from(["same", "ACK", "CANCEL"])),
    st.tuples(st.just("respond"), st.sampled_from(STATUSES)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 0.5, 4.0, 32.0, 190.0])),
    st.tuples(st.just("close"), st.just(0)),
)

transports = st.sampled_from(["udp", "tcp", "tls"])


def finals(flow: Recorder, method: str) -> set[bytes]:
    """The different final responses to a method that were sent."""
    return {
        data
        for data in flow.sent
        if isinstance(message := parse_message(data), Response)
        and message.status >= 200
        and message.cseq.method == method
    }


def drain(layer: TransactionLayer, now: float) -> None:
    """Wake up whenever asked to until nothing waits; a layer that goes on for ever fails."""
    for _ in range(1000):
        wakeup = layer.next_wakeup()
        if wakeup is None:
            return
        now = max(now, wakeup)
        layer.advance(now)
    raise AssertionError("the timers go on for ever")


class SequenceTests(SynchronousTestCase):
    """Random events."""

    @settings(max_examples=200, deadline=None)
    @given(st.sampled_from(["INVITE", "NOTIFY"]), transports, st.lists(client_steps, max_size=20))
    def test_client(
        self, method: str, transport: str, steps: list[tuple[str, float | int]]
    ) -> None:
        """A client hears one final answer, in the end always (RFC 3261 §17.1)."""
        layer = TransactionLayer(lambda *_: None, Counting())
        flow = Recorder(transport)
        heard: list[Response | None] = []
        data = text(method, via="SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-c")
        layer.send(method, "z9hG4bK-c", data, flow, lambda response, _: heard.append(response), 0.0)
        now = 0.0
        for kind, value in steps:
            if kind == "response":
                layer.receive(answer(data, int(value)), flow, now)
            elif kind == "close":
                flow.alive = flow.alive and not flow.reliable
                layer.flow_closed(flow, now)
            else:
                now += value
                layer.advance(now)
            self.assertLessEqual(len(heard), 1)
        drain(layer, now)
        self.assertEqual(len(heard), 1)
        self.assertEqual(layer.counts()["client_transactions"], 0)
        self.assertEqual(layer._by_flow, {})

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(["INVITE", "PUBLISH", "SUBSCRIBE"]),
        transports,
        st.lists(server_steps, max_size=20),
    )
    def test_server(
        self, method: str, transport: str, steps: list[tuple[str, str | float | int]]
    ) -> None:
        """A request gets one final response, in the end always (RFC 3261 §17.2)."""
        transactions: list[ServerTransaction] = []

        def deliver(_: Request, transaction: ServerTransaction | None, now: float) -> None:
            if transaction is not None:
                transactions.append(transaction)

        layer = TransactionLayer(deliver, Counting(), reopen=lambda *_: False)
        flow = Recorder(transport)
        layer.receive(request(method), flow, 0.0)
        (transaction,) = transactions
        now = 0.0
        for kind, value in steps:
            if kind == "request" and value == "same":
                # Over TCP the transaction ends with its answer, and there are no copies.
                if transport == "udp" and now < 30.0:
                    layer.receive(request(method), flow, now)
            elif kind == "request":
                layer.receive(request(str(value)), flow, now)
            elif kind == "respond":
                response = transaction.request.response(int(value), to_tag=f"t{value}")
                transaction.respond(response, now)
            elif kind == "close":
                flow.alive = flow.alive and not flow.reliable
                layer.flow_closed(flow, now)
            else:
                now += float(value)
                layer.advance(now)
            self.assertLessEqual(len(finals(flow, method)), 1)
        drain(layer, now)
        for each in transactions:
            self.assertTrue(each.answered)
        if flow.alive and len(transactions) == 1:
            self.assertEqual(len(finals(flow, method)), 1)
        counts = layer.counts()
        self.assertEqual((counts["server_transactions"], counts["server_unanswered"]), (0, 0))

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from(list(Event)), st.sampled_from(STATUSES)), max_size=30)
    )
    def test_any_event_in_any_state(self, events: list[tuple[Event, int]]) -> None:
        """The machines are total: events that can't be in a state do nothing worse than others."""
        heard: list[Response | None] = []
        layer = TransactionLayer(lambda *_: None, Counting())
        data = text("NOTIFY", via="SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-c")
        transaction = layer.send(
            "NOTIFY",
            "z9hG4bK-c",
            data,
            Recorder(),
            lambda response, _: heard.append(response),
            0.0,
        )
        for event, status in events:
            transaction.handle(event, answer(data, status), 1.0)
            self.assertLessEqual(len(heard), 1)


class TwoEnds(SynchronousTestCase):
    """Two layers and a bad network between them."""

    def talk(self, wire: Wire, method: str, count: int, pause: float) -> list[int | None]:
        """Send requests from one end; the other answers each after a pause. What is heard."""
        self.served: list[str] = []
        heard: list[int | None] = []

        def deliver(request: Request, transaction: ServerTransaction | None, now: float) -> None:
            if transaction is None:
                return
            self.served.append(request.call_id)

            def respond() -> None:
                transaction.respond(request.response(200 if method != "INVITE" else 486), wire.now)

            if pause:
                wire.at(now + pause, respond)
            else:
                respond()

        client = TransactionLayer(lambda *_: None, Counting("client"))
        server = TransactionLayer(deliver, Counting("server"))
        wire.join(client, server)
        for number in range(count):
            message = request(method, call_id=f"call-{number}", via="SIP/2.0/UDP x")
            message.remove("Via")
            client.start_request(
                message,
                wire.flows[0],
                lambda response, _: heard.append(None if response is None else response.status),
                wire.now,
            )
            wire.run(wire.now + 0.05)
        wire.run(wire.now + 300.0)
        for layer in (client, server):
            counts = layer.counts()
            for name in ("client_transactions", "server_transactions", "timers"):
                self.assertEqual(counts[name], 0, name)
        return heard

    def test_good_network(self) -> None:
        """Each request is served once and heard of once, over every transport."""
        for transport in ("udp", "tcp", "tls"):
            for method in ("SUBSCRIBE", "INVITE"):
                heard = self.talk(Wire(transport), method, 20, 0.0)
                self.assertEqual(heard, [486 if method == "INVITE" else 200] * 20)
                self.assertEqual(len(self.served), 20)

    def test_bad_network(self) -> None:
        """With a third lost and repeated, in any order, all are served once and heard of."""
        for seed in range(5):
            for method in ("PUBLISH", "INVITE"):
                wire = Wire(seed=seed, loss=0.33, repeat=0.33, delay=(0.0, 1.5))
                heard = self.talk(wire, method, 20, 0.0)
                self.assertEqual(heard, [486 if method == "INVITE" else 200] * 20)
                self.assertEqual(sorted(self.served), sorted({*self.served}))
                self.assertEqual(len(self.served), 20)

    def test_slow_user(self) -> None:
        """A user that takes ten seconds: 100 keeps the client, one answer is heard."""
        wire = Wire(seed=1, loss=0.3, repeat=0.3, delay=(0.0, 1.0))
        self.assertEqual(self.talk(wire, "PUBLISH", 10, 10.0), [200] * 10)

    def test_silent_user(self) -> None:
        """A user that never answers: the client hears 500 before it would give up."""
        self.assertEqual(self.talk(Wire(), "PUBLISH", 3, 1000.0), [500] * 3)

    def test_dead_network(self) -> None:
        """If everything is lost the client hears of a timeout, once."""
        wire = Wire(loss=1.0)
        self.assertEqual(self.talk(wire, "PUBLISH", 3, 0.0), [None] * 3)
        self.assertEqual(self.served, [])

    def test_connection_that_ends(self) -> None:
        """When a connection ends the client hears of it at once."""
        wire = Wire("tcp")
        heard: list[Response | None] = []
        client = TransactionLayer(lambda *_: None, Counting())
        server = TransactionLayer(lambda *_: None, Counting())
        wire.join(client, server)
        client.start_request(
            request("PUBLISH"), wire.flows[0], lambda response, _: heard.append(response), 0.0
        )
        wire.run(1.0)
        wire.close()
        self.assertEqual(heard, [None])
