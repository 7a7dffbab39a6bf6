"""By which way a NOTIFY goes, and what is told of its fate."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.delivery import Delivery, next_hop
from simplestack.event.notifier import NotifyRequest
from simplestack.interfaces import Body
from simplestack.sip.message import Request, Response
from simplestack.sip.uri import Uri, parse_uri
from simplestack.transaction.failure import Lost
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from tests.event.fakes import AOR, Agent, Counter, FakePackage, subscribe
from tests.wire import Counting, Recorder


class FakeWays:
    """Ways that a test opens and closes."""

    def __init__(self) -> None:
        self.flows: dict[str, Recorder] = {}
        self.at_once: Recorder | None = None
        self.for_long: Recorder | None = None
        self.asked: list[tuple[Uri, str | None]] = []
        self.searching: Deferred[Flow] = Deferred()
        self.failures: list[Flow] = []

    def existing(self, key: str) -> Flow | None:
        """What the test says."""
        return self.flows.get(key)

    def ready(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Flow | None:
        """What the test says."""
        self.asked.append((uri, prefer))
        return self.at_once

    def lasting(self, uri: Uri, prefer: str | None = None) -> Flow | None:
        """What the test says."""
        return self.for_long

    def flow_to(self, uri: Uri, size: int = 0, prefer: str | None = None) -> "Deferred[Flow]":
        """When the test says."""
        return self.searching

    def failed(self, flow: Flow) -> None:
        """Keep it."""
        self.failures.append(flow)


class DeliveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Ways, and what is reported."""
        self.ways = FakeWays()
        self.layer = TransactionLayer(lambda *_: None, Counting())
        self.told: list[tuple[str, int | None, Lost | None]] = []
        self.now = 0.0
        self.delivery = Delivery(self.ways, self.layer, Counter(), lambda: self.now, self.tell)

    def tell(
        self, aor: str, notify: NotifyRequest, response: Response | None, lost: Lost | None
    ) -> None:
        """Keep what is reported."""
        self.told.append((aor, None if response is None else response.status, lost))

    def notify(self, by_flow: bool = False, *headers: str) -> NotifyRequest:
        """A NOTIFY to Alice."""
        incoming = subscribe(headers=headers)
        incoming.by_flow, incoming.flow = by_flow, "her flow"
        (notify,) = Agent(FakePackage()).subscribe(incoming)
        return notify

    def answer(self, flow: Recorder, status: int) -> None:
        """Alice answers what she got last."""
        request = flow.messages[-1]
        assert isinstance(request, Request)
        self.layer.receive(request.response(status), flow, 1.0)

    def test_by_flow(self) -> None:
        """RFC 5626 §5.3: behind a NAT the flow of the SUBSCRIBE is taken while it lives."""
        flow = self.ways.flows["her flow"] = Recorder("tcp")
        self.delivery.send(AOR, self.notify(True))
        self.assertEqual(len(flow.sent), 1)
        self.assertEqual(self.ways.asked, [])
        # Not by who can be reached at his Contact.
        self.ways.at_once = Recorder()
        self.delivery.send(AOR, self.notify(False))
        self.assertEqual(len(flow.sent), 1)
        self.assertEqual(len(self.ways.at_once.sent), 1)

    def test_asked_once(self) -> None:
        """The way that lasts is taken again while it lives, but not by what is too large for it."""
        flow = self.ways.at_once = self.ways.for_long = Recorder()
        notify = self.notify()
        for _ in range(3):
            self.delivery.send(AOR, notify)
        self.assertEqual((len(flow.sent), len(self.ways.asked)), (3, 1))
        # "If a request is within 200 bytes of the path MTU, or if it is larger than 1300 bytes
        # and the path MTU is unknown, the request MUST be sent using ... TCP" (RFC 3261 §18.1.1)
        large = NotifyRequest(
            notify.subscription, False, 9, notify.head, "active", Body("text/plain", bytes(1300)), 0
        )
        stream = self.ways.at_once = Recorder("tcp")
        self.delivery.send(AOR, large)
        self.assertEqual((len(stream.sent), len(self.ways.asked)), (1, 2))
        self.assertIn(b"\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;rport;branch=", stream.sent[0])
        self.assertIn(b"\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=", flow.sent[0])
        flow.alive = False
        self.delivery.send(AOR, notify)
        self.assertEqual((len(stream.sent), len(self.ways.asked)), (2, 3))

    def test_asked_each_time(self) -> None:
        """A way that was looked up is asked for each time: it may be another one (RFC 3263)."""
        self.ways.at_once = Recorder()
        notify = self.notify()
        for _ in range(3):
            self.delivery.send(AOR, notify)
        self.assertEqual(len(self.ways.asked), 3)

    def test_flow_is_gone(self) -> None:
        """Where the flow is gone the Contact is tried."""
        self.ways.at_once = Recorder()
        self.delivery.send(AOR, self.notify(True))
        self.assertEqual(len(self.ways.at_once.sent), 1)
        self.assertEqual(self.ways.asked, [(parse_uri("sip:alice@192.0.2.9"), "her flow")])

    def test_route(self) -> None:
        """RFC 3261 §12.2.1.1: the first route is the next hop, strict or loose."""
        for route in ("<sip:proxy.example.com;lr>", "<sip:strict.example.com>"):
            subscription = self.notify(False, f"Record-Route: {route}").subscription
            self.assertEqual(next_hop(subscription), parse_uri(route.strip("<>")))

    def test_answer(self) -> None:
        """The final response is reported, whatever it is; provisional ones are not."""
        for status in (200, 481, 503):
            flow = self.ways.at_once = Recorder("tcp")
            self.delivery.send(AOR, self.notify())
            self.answer(flow, 100)
            self.answer(flow, status)
        self.assertEqual(self.told, [(AOR, 200, None), (AOR, 481, None), (AOR, 503, None)])
        self.assertEqual(self.ways.failures, [])

    def test_timeout(self) -> None:
        """RFC 3261 §17.1.2.2: after timer F there was no answer; the way is not the first choice then."""
        flow = self.ways.at_once = Recorder()
        self.delivery.send(AOR, self.notify())
        self.layer.advance(33.0)
        self.assertEqual(self.told, [(AOR, None, "timeout")])
        self.assertEqual(self.ways.failures, [flow])

    def test_connection_lost(self) -> None:
        """RFC 3261 §17.1.4: a connection that breaks is reported as such."""
        flow = self.ways.at_once = Recorder("tcp")
        self.delivery.send(AOR, self.notify())
        flow.alive = False
        self.layer.flow_closed(flow, 1.0)
        self.assertEqual(self.told, [(AOR, None, "transport")])

    def test_search(self) -> None:
        """What takes lookups and connections is sent when they are there."""
        self.delivery.send(AOR, self.notify())
        self.assertEqual(self.told, [])
        flow = Recorder("tcp")
        self.ways.searching.callback(flow)
        self.assertEqual(len(flow.sent), 1)

    def test_no_way(self) -> None:
        """Where there is no way that is reported, and nothing sent."""
        self.delivery.send(AOR, self.notify())
        self.ways.searching.errback(OSError("no route"))
        self.assertEqual(self.told, [(AOR, None, "unreachable")])

    def test_sought_in_vain(self) -> None:
        """A way that was not found a moment ago is not sought for each NOTIFY that would take it.

        RFC 6665 §4.2.2 leaves to the notifier when to try again; it does after 15 s and more.
        """
        self.ways.searching.errback(OSError("no route"))
        self.delivery.send(AOR, self.notify())
        self.ways.searching = Deferred()
        self.now = 4.9
        self.delivery.send(AOR, self.notify())
        self.assertEqual(self.told, [(AOR, None, "unreachable")] * 2)
        # Not so where another connection of his lives, nor where his Contact is another one.
        flow = self.ways.flows["her flow"] = Recorder("tcp")
        self.delivery.send(AOR, self.notify(True))
        self.assertEqual(len(flow.sent), 1)
        self.delivery.send(AOR, self.notify(False, "Record-Route: <sip:proxy.example.com;lr>"))
        self.assertEqual(len(self.told), 2)
        # 10 s later it is sought, in time for those who are tried again after 15 s.
        self.now = 14.9
        found = Recorder("tcp")
        self.ways.searching = Deferred()
        self.delivery.send(AOR, self.notify())
        self.ways.searching.callback(found)
        self.assertEqual((len(self.told), len(found.sent)), (2, 1))
