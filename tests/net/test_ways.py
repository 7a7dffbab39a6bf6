"""The way to a peer (RFC 3261 §18.1.1, RFC 3263)."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import FakeDatagramTransport, MemoryReactorClock
from twisted.names import dns
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net import ways
from simplestack.net.clockwork import Clockwork
from simplestack.net.connections import Connections, StreamLimits
from simplestack.net.datagram import UDPListener
from simplestack.net.dialing import Dialing
from simplestack.net.dns import Lookups
from simplestack.net.endpoints import ListenSpec
from simplestack.net.routes import Routes
from simplestack.net.stream import StreamConnection, StreamFactory, Surroundings
from simplestack.net.tls import client_context
from simplestack.net.ways import UnreachableError, Ways
from simplestack.sip.errors import SIPError
from simplestack.sip.message import DEFAULT_LIMITS
from simplestack.sip.uri import parse_uri
from simplestack.transaction.flow import Flow
from tests.net.doubles import Layer, Wire
from tests.net.test_dns import Resolver

LARGE = 1301


class Socket(FakeDatagramTransport):
    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self.host = IPv4Address("UDP", host, port)

    def getHost(self) -> IPv4Address:
        """Where it is bound."""
        return self.host


class WaysCase(SynchronousTestCase):
    listen: tuple[ListenSpec, ...] = (ListenSpec("udp", 5060, "192.0.2.1"),)
    records: tuple[tuple[str, Any], ...] = ()

    def setUp(self) -> None:
        """Sockets that are not, and a DNS that has these records."""
        # MemoryReactorClock is not annotated.
        make: Any = MemoryReactorClock
        self.reactor = make()
        self.layer = Layer()
        clock = self.reactor.seconds
        clockwork = Clockwork(self.reactor, self.layer, clock)
        self.connections = Connections(self.reactor, StreamLimits(), self.layer.flow_closed, clock)
        around = Surroundings(
            self.layer,
            clockwork,
            clock,
            self.connections,
            lambda transport, local, port, remote: (local, port),
            DEFAULT_LIMITS,
        )
        self.factory = StreamFactory("tcp", around)
        self.tls_factory = StreamFactory("tls", around)
        self.sockets = []
        for spec in self.listen:
            listener = UDPListener(spec, self.layer, clockwork, clock, Routes())
            listener.makeConnection(Socket(spec.interface, spec.port))
            self.sockets.append(listener)
        self.resolver = Resolver(*self.records)
        self.ways = Ways(
            self.sockets,
            self.connections,
            Dialing(self.reactor, around, client_context),
            Lookups(self.reactor, clock, self.resolver, "/nonexistent"),
            Routes(),
            clock,
        )

    def ready(self, uri: str, size: int = 0, prefer: str | None = None) -> str | None:
        """The key of the flow that is there."""
        flow = self.ways.ready(parse_uri(uri), size, prefer)
        return None if flow is None else flow.key

    def search(self, uri: str, size: int = 0, prefer: str | None = None) -> Deferred[Flow]:
        """The flow to come."""
        return self.ways.flow_to(parse_uri(uri), size, prefer)

    def dialled(self) -> list[tuple[str, int]]:
        """Where we connect to."""
        return [client[:2] for client in self.reactor.tcpClients]

    def accept(self) -> Wire:
        """The peer accepts our newest connection."""
        host, port, factory, *_ = self.reactor.tcpClients[-1]
        wire = Wire(host, port)
        factory.buildProtocol(IPv4Address("TCP", host, port)).makeConnection(wire)
        return wire

    def refuse(self) -> None:
        """The peer refuses our newest connection."""
        failure: Any = Failure
        factory = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, failure(Refused()))

    def come(self, host: str = "198.51.100.7", secure: bool = False) -> StreamConnection:
        """A peer connects to us."""
        factory = self.tls_factory if secure else self.factory
        connection: StreamConnection = factory.buildProtocol(IPv4Address("TCP", host, 40000))
        assert connection is not None
        connection.makeConnection(Wire(host))
        return connection


class NumericTests(WaysCase):
    def test_at_once(self) -> None:
        """RFC 3263 §4.1: UDP to an address, at the port given or the default one, no lookup."""
        for uri, place in (
            ("sip:alice@198.51.100.7", "198.51.100.7:5060"),
            ("sip:198.51.100.7:5070;transport=udp", "198.51.100.7:5070"),
            ("sip:a@example.com;maddr=198.51.100.9", "198.51.100.9:5060"),
        ):
            self.assertEqual(self.ready(uri), f"udp:192.0.2.1:5060>{place}")
        self.assertEqual(self.resolver.asked, [])

    def test_again(self) -> None:
        """The second time it is the same object, until its socket is closed."""
        uri = parse_uri("sip:198.51.100.7")
        flow = self.ways.ready(uri)
        self.assertIs(self.ways.ready(uri), flow)
        self.assertIs(self.successResultOf(self.ways.flow_to(uri)), flow)
        self.sockets[0].stopProtocol()
        self.assertIsNone(self.ways.ready(uri))

    def test_bounded(self) -> None:
        """What is remembered is bounded."""
        self.patch(ways, "_BOUND", 8)
        for number in range(100):
            self.ready(f"sip:198.51.100.{number}")
            self.ready(f"sip:198.51.100.{number}", LARGE)
            self.ways.failed(self.sockets[0].flow(("198.51.100.1", number)))
        self.assertLessEqual(len(self.ways._ready), 8)
        self.assertLessEqual(len(self.ways._kept), 8)
        self.assertLessEqual(len(self.ways._failed), 8)

    def test_tcp(self) -> None:
        """A connection is made, then taken again."""
        self.assertIsNone(self.ready("sip:198.51.100.7;transport=tcp"))
        search = self.search("sip:198.51.100.7;transport=tcp")
        self.assertEqual(self.dialled(), [("198.51.100.7", 5060)])
        self.accept()
        flow = self.successResultOf(search)
        self.assertEqual((flow.transport, flow.remote), ("tcp", ("198.51.100.7", 5060)))
        self.assertEqual(self.ready("sip:bob@198.51.100.7;transport=tcp"), flow.key)

    def test_one_connection_for_many(self) -> None:
        """Whoever wants a connection that is being made gets the same."""
        first = self.search("sip:a@198.51.100.7;transport=tcp")
        second = self.search("sip:b@198.51.100.7;transport=tcp")
        self.assertEqual(len(self.dialled()), 1)
        self.accept()
        self.assertIs(self.successResultOf(first), self.successResultOf(second))

    def test_no_way(self) -> None:
        """RFC 3261 §8.1.3.1: a transport failure is a 503; it says what was tried."""
        first = self.search("sip:a@198.51.100.7;transport=tcp")
        second = self.search("sip:b@198.51.100.7;transport=tcp")
        self.refuse()
        for search in (first, second):
            error = self.failureResultOf(search, UnreachableError).value
            self.assertEqual(error.status, 503)
            self.assertIn("tcp 198.51.100.7:5060: Connection was refused", error.text)

    def test_not_sip(self) -> None:
        """A URI that we can't send to gets its 416, not a lookup."""
        for uri in ("tel:+15551234", "sip:198.51.100.7;transport=sctp"):
            self.assertIsNone(self.ready(uri))
            error = self.failureResultOf(self.search(uri), SIPError).value
            self.assertEqual(error.status, 416)

    def test_too_many_connections(self) -> None:
        """We make no more connections than there may be."""
        self.connections.limits = StreamLimits(total=1)
        self.come("198.51.100.1")
        error = self.failureResultOf(self.search("sip:198.51.100.7;transport=tcp")).value
        self.assertIn("as many connections as there may be", str(error))

    def test_forget(self) -> None:
        """Searches end when the stack ends."""
        search = self.search("sip:198.51.100.7;transport=tcp")
        self.ways.forget()
        self.failureResultOf(search)


class ReuseTests(WaysCase):
    def test_connection_of_the_peer(self) -> None:
        """A peer behind a NAT is reached by the connection that it made (RFC 5626 §3.1)."""
        flow = self.come().flow
        assert flow is not None
        key = flow.key
        self.assertEqual(self.ready("sip:a@10.0.0.1:5060;transport=tcp", 0, key), key)
        self.assertEqual(self.ready("sip:a@10.0.0.1", LARGE, key), key)
        self.assertEqual(
            self.ready("sip:a@10.0.0.1;transport=udp", 0, key), "udp:192.0.2.1:5060>10.0.0.1:5060"
        )
        self.assertIsNone(self.ready("sip:a@10.0.0.1;transport=tls", 0, key))
        self.assertIsNone(self.ready("sips:a@10.0.0.1", 0, key))

    def test_port_of_the_connection(self) -> None:
        """A Contact that names the port of the peer's connection leads there."""
        flow = self.come().flow
        assert flow is not None
        self.assertEqual(self.ready("sip:a@198.51.100.7:40000;transport=tcp"), flow.key)

    def test_secure(self) -> None:
        """RFC 3261 §26.2.2: a sips URI takes a TLS connection, "transport=tcp" or not."""
        flow = self.come(secure=True).flow
        assert flow is not None
        for uri in (
            "sips:a@10.0.0.1",
            "sips:a@10.0.0.1;transport=tcp",
            "sip:a@10.0.0.1;transport=tls",
            "sips:a@198.51.100.7:40000",
        ):
            self.assertEqual(self.ready(uri, 0, flow.key), flow.key)
        self.assertEqual(self.ready("sips:a@198.51.100.7:40000"), flow.key)
        self.assertIsNone(self.ready("sips:example.com", 0, None))

    def test_gone(self) -> None:
        """When the connection has ended, the URI alone counts."""
        connection = self.come()
        flow = connection.flow
        assert flow is not None
        self.assertEqual(self.ready("sip:a@10.0.0.1", 0, flow.key), flow.key)
        connection.close()
        self.assertEqual(
            self.ready("sip:a@10.0.0.1", 0, flow.key), "udp:192.0.2.1:5060>10.0.0.1:5060"
        )


class LargeTests(WaysCase):
    def test_leaves_by_tcp(self) -> None:
        """RFC 3261 §18.1.1: more than 1,300 octets leave by TCP, less do not."""
        self.assertIsNotNone(self.ready("sip:198.51.100.7", LARGE - 1))
        self.assertIsNone(self.ready("sip:198.51.100.7", LARGE))
        search = self.search("sip:198.51.100.7", LARGE)
        self.accept()
        flow = self.successResultOf(search)
        self.assertEqual(flow.transport, "tcp")
        self.assertEqual(self.ready("sip:198.51.100.7", LARGE), flow.key)
        self.assertEqual(self.ready("sip:198.51.100.7"), "udp:192.0.2.1:5060>198.51.100.7:5060")

    def test_falls_back(self) -> None:
        """§18.1.1: where TCP is refused, UDP it is; and TCP is not tried each time."""
        search = self.search("sip:198.51.100.7", LARGE)
        self.refuse()
        self.assertEqual(self.successResultOf(search).transport, "udp")
        self.reactor.advance(60)
        self.assertEqual(
            self.ready("sip:bob@198.51.100.7", LARGE), "udp:192.0.2.1:5060>198.51.100.7:5060"
        )
        self.assertEqual(len(self.dialled()), 1)
        self.reactor.advance(600)
        self.assertIsNone(self.ready("sip:bob@198.51.100.7", LARGE))

    def test_does_not_wait_long(self) -> None:
        """A peer that does not answer to TCP delays the request by little."""
        self.search("sip:198.51.100.7", LARGE)
        self.assertEqual(self.reactor.tcpClients[-1][3], 2)
        self.search("sip:198.51.100.8;transport=tcp", LARGE)
        self.assertEqual(self.reactor.tcpClients[-1][3], 10)


class SocketsTests(WaysCase):
    listen = (
        ListenSpec("udp", 5060, "192.0.2.1"),
        ListenSpec("udp", 5070, "127.0.0.1"),
        ListenSpec("udp", 5080, "::1"),
    )

    def test_route(self) -> None:
        """Of several sockets that of the route to the peer is taken, of its family."""
        self.assertEqual(self.ready("sip:127.0.0.1:9"), "udp:127.0.0.1:5070>127.0.0.1:9")
        self.assertEqual(self.ready("sip:[::1]:9"), "udp:[::1]:5080>[::1]:9")

    def test_preferred(self) -> None:
        """The socket that the peer has reached is known to be one that reaches it."""
        key = "udp:192.0.2.1:5060>127.0.0.1:4444"
        self.assertEqual(self.ready("sip:127.0.0.1:9", 0, key), "udp:192.0.2.1:5060>127.0.0.1:9")


class WithoutUDPTests(WaysCase):
    listen = ()

    def test_tcp_instead(self) -> None:
        """RFC 3263 §4.1: without UDP, "another transport, such as TCP, MAY be used"."""
        search = self.search("sip:198.51.100.7")
        self.accept()
        self.assertEqual(self.successResultOf(search).transport, "tcp")


class NamesTests(WaysCase):
    records = (
        ("example.com", dns.Record_NAPTR(1, 1, b"s", b"SIP+D2T", b"", b"t.example.com", ttl=9)),
        ("t.example.com", dns.Record_SRV(1, 1, 5070, b"a.example.com", ttl=9)),
        ("t.example.com", dns.Record_SRV(2, 1, 5080, b"b.example.com", ttl=9)),
        ("a.example.com", dns.Record_A("198.51.100.1", ttl=9)),
        ("b.example.com", dns.Record_A("198.51.100.2", ttl=9)),
    )

    def test_located(self) -> None:
        """RFC 3263 §4: NAPTR, SRV, then addresses; a target that fails gives way to the next."""
        self.assertIsNone(self.ready("sip:example.com"))
        search = self.search("sip:example.com")
        self.assertEqual(self.dialled(), [("198.51.100.1", 5070)])
        self.refuse()
        self.assertEqual(self.dialled()[1:], [("198.51.100.2", 5080)])
        self.accept()
        flow = self.successResultOf(search)
        self.assertEqual(flow.remote, ("198.51.100.2", 5080))
        self.assertEqual(self.ready("sip:example.com"), flow.key)

    def test_failed_lately(self) -> None:
        """§4.3: a target that failed, also by a timeout of a request, is tried last for a while."""
        search = self.search("sip:example.com")
        self.accept()
        flow = self.successResultOf(search)
        self.ways.failed(flow)
        self.assertIsNone(self.ready("sip:example.com"))
        self.search("sip:example.com")
        self.assertEqual(self.dialled()[1:], [("198.51.100.2", 5080)])

    def test_udp_name(self) -> None:
        """A name with a port has addresses only; the answer serves for a while, not forever."""
        search = self.search("sip:alice@b.example.com:5090")
        key = "udp:192.0.2.1:5060>198.51.100.2:5090"
        self.assertEqual(self.successResultOf(search).key, key)
        asked = len(self.resolver.asked)
        self.assertEqual(self.ready("sip:alice@b.example.com:5090"), key)
        self.assertEqual(len(self.resolver.asked), asked)
        self.reactor.advance(31)
        self.assertIsNone(self.ready("sip:alice@b.example.com:5090"))

    def test_unknown(self) -> None:
        """A name without records can't be reached, and the error says so."""
        error = self.failureResultOf(self.search("sip:nobody.example"), UnreachableError).value
        self.assertIn("nobody.example has no address", error.text)
