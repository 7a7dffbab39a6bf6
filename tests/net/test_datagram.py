"""SIP over UDP (RFC 3261 §18)."""

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import FakeDatagramTransport
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net import datagram
from simplestack.net.clockwork import Clockwork
from simplestack.net.datagram import UDPListener
from simplestack.net.endpoints import ListenSpec
from simplestack.net.routes import Routes
from simplestack.sip.message import Limits
from simplestack.transaction.flow import Flow
from tests.net.doubles import Layer, message

PEER = ("198.51.100.7", 40000)


class Socket(FakeDatagramTransport):
    def getHost(self) -> IPv4Address:
        """Where it is bound."""
        return IPv4Address("UDP", "127.0.0.1", 5070)


class FixedRoutes(Routes):
    def source(self, host: str) -> str:
        """One address for all."""
        return "192.0.2.77"


class UDPListenerTests(SynchronousTestCase):
    def listener(self, spec: ListenSpec, limits: Limits | None = None) -> UDPListener:
        """A listener on a transport that remembers."""
        self.reactor = Clock()
        self.layer = Layer()
        clock = self.reactor.seconds
        self.clockwork = Clockwork(self.reactor, self.layer, clock)
        listener = UDPListener(
            spec, self.layer, self.clockwork, clock, FixedRoutes(), limits or Limits()
        )
        self.transport = Socket()
        listener.makeConnection(self.transport)
        return listener

    def setUp(self) -> None:
        """Listen on one address."""
        self.udp = self.listener(ListenSpec("udp", 5060, "127.0.0.1"))

    def test_message(self) -> None:
        """A datagram is a message, and its answer leaves by the same socket."""
        self.udp.datagramReceived(message(1, "UDP"), PEER)
        (received, flow), *more = self.layer.received
        self.assertEqual((received.call_id, more), ("1", []))
        self.assertEqual(flow.remote, PEER)
        self.assertEqual(
            (flow.transport, flow.reliable, flow.secure, flow.alive), ("udp", False, False, True)
        )
        flow.send(b"answer")
        self.assertEqual(self.transport.written, [(b"answer", PEER)])

    def test_the_same_peer_is_the_same_flow(self) -> None:
        """RFC 5626 §3.1: a flow is a socket and the address of the peer."""
        self.udp.datagramReceived(message(1), PEER)
        self.udp.datagramReceived(message(2), PEER)
        self.udp.datagramReceived(message(3), ("198.51.100.7", 40001))
        first, second, third = (flow for _, flow in self.layer.received)
        self.assertIs(first, second)
        self.assertNotEqual(first.key, third.key)

    def test_toward(self) -> None:
        """RFC 3261 §18.2.2: a response may go to another port of the peer, by the same socket."""
        flow: Flow = self.udp.flow(PEER)
        self.assertIs(flow.toward(PEER), flow)
        other = flow.toward(("198.51.100.7", 5060))
        self.assertEqual(other.remote, ("198.51.100.7", 5060))
        self.assertIs(self.udp.flow(("198.51.100.7", 5060)), other)

    def test_wakes_the_clock(self) -> None:
        """A message received or sent may have started a timer."""
        self.assertTrue(self.clockwork.asleep)
        self.udp.datagramReceived(message(1), PEER)
        self.assertFalse(self.clockwork.asleep)
        self.reactor.advance(1)
        self.assertTrue(self.clockwork.asleep)
        self.udp.flow(PEER).send(b"request")
        self.assertFalse(self.clockwork.asleep)

    def test_malformed(self) -> None:
        """What can't be read goes to the layer, to be answered if it can be, and is counted."""
        self.udp.datagramReceived(b"junk", PEER)
        self.udp.datagramReceived(message(1)[:-6] + b"99\r\n\r\n", PEER)
        self.assertEqual(self.udp.malformed, 2)
        self.assertEqual(self.layer.received, [])
        first, second = (error for error, _ in self.layer.rejected)
        self.assertIsNone(first.message)
        assert second.message is not None
        self.assertEqual((second.status, second.message.call_id), (400, "1"))

    def test_too_large(self) -> None:
        """A message past the limits gets 513 (RFC 3261 §21.5.7)."""
        udp = self.listener(ListenSpec("udp", 5060, "127.0.0.1"), Limits(body=10))
        udp.datagramReceived(message(1, body=b"x" * 11), PEER)
        self.assertEqual([error.status for error, _ in self.layer.rejected], [513])

    def test_keepalives(self) -> None:
        """Datagrams that only keep a NAT binding are no messages and not malformed."""
        for data in (b"\r\n\r\n", b"\r\n", b"", b"\0\0\0\0", b"\0"):
            self.udp.datagramReceived(data, PEER)
        self.assertEqual((self.udp.keepalives, self.udp.malformed), (5, 0))
        self.assertEqual((self.layer.received, self.layer.rejected), ([], []))
        self.assertEqual(self.transport.written, [])

    def test_errors_of_writes(self) -> None:
        """What the system does not take is lost, as on the way; nobody hears an exception."""
        for error in (OSError(90, "Message too long"), OverflowError("port")):

            def refuse(data: bytes, address: object, error: Exception = error) -> None:
                raise error

            self.udp.sendto = refuse
            self.udp.flow(PEER).send(b"x")
        self.assertEqual(self.udp.unsent, 2)
        self.udp.connectionRefused()
        self.assertTrue(self.udp.open)

    def test_closed(self) -> None:
        """After the socket is closed its flows are dead, and sending is harmless."""
        flow = self.udp.flow(PEER)
        self.udp.stopProtocol()
        self.assertFalse(flow.alive)
        flow.send(b"x")
        self.assertEqual(self.transport.written, [])

    def test_made_up_addresses(self) -> None:
        """Strangers' addresses take no more memory than the bound lets them."""
        self.patch(datagram, "_FLOWS", 10)
        for port in range(1, 35):
            self.udp.datagramReceived(message(port), ("198.51.100.7", port))
        self.assertLessEqual(len(self.udp._flows), 10)
        self.assertEqual(len(self.layer.received), 34)

    def test_sent_by(self) -> None:
        """RFC 3261 §18.1.1: our Via shows where we are reached."""
        local = self.listener(ListenSpec("udp", 5060, "127.0.0.1")).flow(PEER).local
        self.assertEqual(local, ("127.0.0.1", 5070))
        everywhere = self.listener(ListenSpec("udp", 5060, ""))
        self.assertEqual(everywhere.flow(PEER).local, ("192.0.2.77", 5070))
        named = self.listener(ListenSpec("udp", 5060, "", "sip.example.com:5080"))
        self.assertEqual(named.flow(PEER).local, ("sip.example.com", 5080))
        half = self.listener(ListenSpec("udp", 5060, "", "[2001:db8::1]"))
        self.assertEqual(half.flow(PEER).local, ("2001:db8::1", 5070))

    def test_dual_stack(self) -> None:
        """IPv4 peers of an IPv6 socket keep their IPv4 address (RFC 3261 §18.2.1, received)."""
        udp = self.listener(ListenSpec("udp", 5060, "::"))
        udp.datagramReceived(message(1), ("::ffff:198.51.100.7", 40000))
        flow = self.layer.received[0][1]
        self.assertEqual(flow.remote, PEER)
        flow.send(b"x")
        self.assertEqual(self.transport.written, [(b"x", ("::ffff:198.51.100.7", 40000))])
        self.assertIs(udp.flow(PEER), flow)
        self.assertTrue(udp.reaches("198.51.100.7") and udp.reaches("2001:db8::1"))

    def test_families(self) -> None:
        """A socket sends to addresses of its family."""
        self.assertTrue(self.udp.reaches("192.0.2.1"))
        self.assertFalse(self.udp.reaches("2001:db8::1"))
        six = self.listener(ListenSpec("udp", 5060, "::1"))
        self.assertFalse(six.reaches("192.0.2.1"))
        self.assertTrue(six.flow(("2001:db8::1", 5060)).key.endswith(">[2001:db8::1]:5060"))


class RoutesTests(SynchronousTestCase):
    def test_loopback(self) -> None:
        """Packets to this machine leave from the address that they go to."""
        routes = Routes()
        self.assertEqual(routes.source("127.0.0.1"), "127.0.0.1")
        self.assertEqual(routes.source("127.0.0.1"), "127.0.0.1")
        self.assertEqual(routes.source("::1"), "::1")
