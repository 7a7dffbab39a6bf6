"""SIP over a stream (RFC 3261 §18.3, RFC 5626 §3.5.1), and how long connections may stay."""

import contextlib
import os
import ssl
from itertools import cycle
from typing import Any

from hypothesis import given, settings, strategies
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net.clockwork import Clockwork
from simplestack.net.connections import Connections, StreamLimits
from simplestack.net.stream import StreamConnection, StreamFactory, Surroundings
from simplestack.net.tls import ServerTLS
from simplestack.sip.message import Limits
from tests.net.doubles import Authority, Layer, Wire, message

PIECES = (
    message(1),
    message(2, body=b"x" * 100),
    b"\r\n",
    b"\r\n\r\n",
    b"SIP/2.0 200 OK\r\n",
    message(3).replace(b": 0", b": -1"),
    message(4, body=b"x" * 1200),
)


class StreamCase(SynchronousTestCase):
    limits = StreamLimits(message=30, idle=600, unread=100_000, unread_time=20, close=5)

    def setUp(self) -> None:
        """A listening port without a socket."""
        self.reactor = Clock()
        self.layer = Layer()
        clock = self.reactor.seconds
        self.clockwork = Clockwork(self.reactor, self.layer, clock)
        self.connections = Connections(self.reactor, self.limits, self.layer.flow_closed, clock)
        around = Surroundings(
            self.layer,
            self.clockwork,
            clock,
            self.connections,
            lambda transport, local, port, remote: (local, 5060),
            Limits(head=2000, body=1000),
        )
        self.factory = StreamFactory("tcp", around)
        self.around = around

    def connect(
        self, host: str = "198.51.100.7", port: int = 40000
    ) -> tuple[StreamConnection, Wire]:
        """A connection that a peer has made."""
        connection = self.factory.buildProtocol(IPv4Address("TCP", host, port))
        assert connection is not None
        wire = Wire(host, port)
        connection.makeConnection(wire)
        return connection, wire

    def dial(self) -> tuple[StreamConnection, Wire]:
        """A connection that we have made."""
        connection = StreamConnection("tcp", self.around, "")
        wire = Wire()
        connection.makeConnection(wire)
        return connection, wire

    def lose(self, connection: StreamConnection) -> None:
        """The connection is gone."""
        failure: Any = Failure
        connection.connectionLost(failure(ConnectionDone()))

    def wait(self, seconds: float) -> None:
        """Let time pass, second by second."""
        for _ in range(int(seconds)):
            self.reactor.advance(1)


class ReceivingTests(StreamCase):
    def test_options(self) -> None:
        """Small messages leave at once."""
        _, wire = self.connect()
        self.assertEqual(wire.options, ["nodelay", "keepalive"])

    def test_flow(self) -> None:
        """A connection is a flow (RFC 5626 §3.1); its sent-by is where we listen."""
        connection, _ = self.connect()
        flow = connection.flow
        assert flow is not None
        self.assertEqual(flow.key, "tcp:192.0.2.1:5060>198.51.100.7:40000")
        self.assertEqual((flow.transport, flow.reliable, flow.secure), ("tcp", True, False))
        self.assertEqual((flow.local, flow.remote), (("192.0.2.1", 5060), ("198.51.100.7", 40000)))
        self.assertIs(flow.toward(("198.51.100.7", 5060)), flow)

    def test_whole_bytewise_and_many(self) -> None:
        """RFC 3261 §18.3: Content-Length alone says where a message ends."""
        data = message(1, body=b"hello") + message(2) + b"\r\n" + message(3)
        for size in (1, 7, len(data)):
            connection, _ = self.connect()
            for start in range(0, len(data), size):
                connection.dataReceived(data[start : start + size])
            self.assertEqual(self.layer.numbers, ["1", "2", "3"])
            self.assertEqual(self.layer.received[0][0].body, b"hello")
            self.layer.received.clear()

    def test_answer(self) -> None:
        """RFC 3261 §18.2.2: responses leave by the connection the request came on."""
        connection, wire = self.connect()
        connection.dataReceived(message(1))
        self.layer.received[0][1].send(b"answer")
        self.reactor.advance(0)
        self.assertEqual(wire.value(), b"answer")

    def test_together(self) -> None:
        """What is sent in one turn of the reactor leaves with one call, in its order."""
        connection, wire = self.connect()
        connection.dataReceived(message(1))
        flow = self.layer.received[0][1]
        for part in (b"first ", b"second ", b"third"):
            flow.send(part)
        self.assertEqual((wire.value(), wire.sends), (b"", 0))
        self.reactor.advance(0)
        self.assertEqual((wire.value(), wire.sends), (b"first second third", 1))
        flow.send(b", fourth")
        self.reactor.advance(0)
        self.assertEqual((wire.value()[18:], wire.sends), (b", fourth", 2))

    def test_the_rest_is_queued(self) -> None:
        """What the socket does not take waits, and what is sent later stands behind it."""
        connection, wire = self.connect()
        wire.room = 8
        connection.write(b"0123456789")
        self.reactor.advance(0)
        connection.write(b"abc")
        self.reactor.advance(0)
        self.assertIs(wire.producer, connection)
        self.assertEqual((wire.drain(), wire.sends), (b"0123456789abc", 1))
        self.assertIsNone(wire.producer)
        connection.write(b"def")
        self.reactor.advance(0)
        self.assertEqual((wire.drain(), wire.sends), (b"def", 2))

    def test_nothing_after_the_end(self) -> None:
        """What was written before a connection ended and has not left is dropped."""
        for end in (self.lose, StreamConnection.abort):
            connection, wire = self.connect()
            connection.write(b"x")
            end(connection)
            self.reactor.advance(0)
            self.assertEqual(wire.value(), b"")

    def test_all_leaves_before_the_end(self) -> None:
        """A connection that is closed sends first what was written (RFC 3261 §18.3)."""
        connection, wire = self.connect()
        connection.write(b"last words")
        connection.close()
        self.assertEqual((wire.value(), wire.disconnecting), (b"last words", True))

    def test_ping(self) -> None:
        """RFC 5626 §3.5.1: a double CRLF gets a single one, bytewise too."""
        connection, wire = self.connect()
        connection.dataReceived(message(1) + b"\r\n\r\n" + message(2))
        self.reactor.advance(0)
        self.assertEqual(wire.drain(), b"\r\n")
        for octet in (b"\r", b"\n", b"\r"):
            connection.dataReceived(octet)
            self.reactor.advance(0)
            self.assertEqual(wire.value(), b"")
        connection.dataReceived(b"\n")
        self.reactor.advance(0)
        self.assertEqual(wire.value(), b"\r\n")
        self.assertEqual(self.layer.numbers, ["1", "2"])

    def test_unframeable(self) -> None:
        """RFC 3261 §18.3: what comes before the fault counts; the fault is answered; the end."""
        self.layer.answer = b"400"
        connection, wire = self.connect()
        faulty = message(2).replace(b"Content-Length: 0", b"Content-Length: x")
        connection.dataReceived(message(1) + faulty + message(3))
        self.assertEqual(self.layer.numbers, ["1"])
        ((error, flow),) = self.layer.rejected
        assert error.message is not None
        self.assertEqual((error.status, error.message.call_id), (400, "2"))
        self.assertEqual(wire.value(), b"400")
        self.assertTrue(wire.disconnecting)
        self.assertFalse(flow.alive)
        connection.dataReceived(message(4))
        self.assertEqual((self.layer.numbers, self.connections.malformed), (["1"], 1))

    def test_oversize(self) -> None:
        """A header or body past the limits is refused as soon as that shows."""
        for data in (b"OPTIONS " + b"x" * 3000, message(1, body=b"x" * 1001)[:-900]):
            connection, wire = self.connect()
            connection.dataReceived(data)
            self.assertEqual(self.layer.rejected.pop()[0].status, 513)
            self.assertTrue(wire.disconnecting)

    def test_a_fault_of_ours(self) -> None:
        """A message that breaks something here does not take the connection along."""
        connection, wire = self.connect()
        self.layer.fault = RuntimeError("a bug")
        connection.dataReceived(message(1))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.layer.fault = None
        connection.dataReceived(message(2))
        self.assertEqual((self.layer.numbers, wire.disconnecting), (["2"], False))

    def test_lost(self) -> None:
        """The transactions on a connection hear of its end; its flow stays dead."""
        connection, wire = self.connect()
        flow = connection.flow
        assert flow is not None
        self.lose(connection)
        self.assertEqual((self.layer.closed, flow.alive), ([flow], False))
        self.assertIsNone(self.connections.by_key(flow.key))
        flow.send(b"x")
        self.assertEqual(wire.value(), b"")

    def test_wakes_the_clock(self) -> None:
        """What is sent to a dead flow has a timer too: it says that the request failed."""
        connection, _ = self.connect()
        flow = connection.flow
        assert flow is not None
        self.lose(connection)
        self.assertTrue(self.clockwork.asleep)
        flow.send(b"x")
        self.assertFalse(self.clockwork.asleep)

    @given(
        strategies.lists(strategies.sampled_from(PIECES), max_size=6),
        strategies.lists(strategies.integers(1, 400), min_size=1, max_size=8),
    )
    @settings(max_examples=60, deadline=None)
    def test_any_cut(self, pieces: list[bytes], sizes: list[int]) -> None:
        """However the network cuts a stream, the same comes of it (RFC 3261 §18.3)."""
        whole, parts = self.outcome(pieces, [10_000]), self.outcome(pieces, sizes)
        self.assertEqual(whole, parts)

    def outcome(self, pieces: list[bytes], sizes: list[int]) -> tuple[Any, ...]:
        """What comes of a stream that is cut into pieces of these sizes."""
        self.layer.received.clear()
        self.layer.rejected.clear()
        connection, wire = self.connect()
        data = b"".join(pieces)
        turn = cycle(sizes)
        while data:
            size = next(turn)
            connection.dataReceived(data[:size])
            data = data[size:]
        self.reactor.advance(0)
        bodies = [message.body for message, _ in self.layer.received]
        faults = [error.status for error, _ in self.layer.rejected]
        outcome = (self.layer.numbers, bodies, faults, wire.value(), wire.disconnecting)
        self.lose(connection)
        return outcome


class LimitsTests(StreamCase):
    limits = StreamLimits(
        total=4, per_address=2, message=30, idle=600, unread=100_000, unread_time=20, close=5
    )

    def test_per_address(self) -> None:
        """One address has a bounded number of connections, and again after some ended."""
        first, _ = self.connect(port=1)
        self.connect(port=2)
        address = IPv4Address("TCP", "198.51.100.7", 3)
        self.assertIsNone(self.factory.buildProtocol(address))
        self.assertIsNotNone(self.factory.buildProtocol(IPv4Address("TCP", "198.51.100.8", 3)))
        self.lose(first)
        self.assertIsNotNone(self.factory.buildProtocol(address))
        self.assertEqual(self.connections.refused, 1)

    def test_total(self) -> None:
        """All have a bounded number together."""
        for number in range(4):
            self.connect(f"198.51.100.{number}")
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "198.51.100.9", 1)))

    def test_silent_stranger(self) -> None:
        """Who connects and says nothing is let go; keep-alives say nothing."""
        connection, wire = self.connect()
        self.wait(20)
        connection.dataReceived(b"\r\n\r\n")
        self.assertFalse(wire.disconnecting)
        self.wait(20)
        self.assertTrue(wire.disconnecting)
        self.assertEqual(self.connections.expired, 1)

    def test_slow_message(self) -> None:
        """A message has to come to an end, however small the pieces."""
        connection, wire = self.connect()
        connection.dataReceived(message(1))
        self.wait(100)
        self.assertFalse(wire.disconnecting)
        for octet in message(2)[:40]:
            connection.dataReceived(bytes((octet,)))
            self.wait(1)
        self.assertTrue(wire.disconnecting)

    def test_many_messages_in_time(self) -> None:
        """A peer that always has a message under way is not slow if each is in time."""
        connection, wire = self.connect()
        connection.dataReceived(message(1)[:50])
        for number in range(1, 10):
            self.wait(20)
            connection.dataReceived(message(number)[50:] + message(number + 1)[:50])
        self.assertFalse(wire.disconnecting)

    def test_idle(self) -> None:
        """Silence ends a connection, a keep-alive keeps it."""
        connection, wire = self.connect()
        connection.dataReceived(message(1))
        self.wait(500)
        connection.dataReceived(b"\r\n\r\n")
        self.wait(500)
        self.assertFalse(wire.disconnecting)
        self.wait(120)
        self.assertTrue(wire.disconnecting)

    def test_does_not_read(self) -> None:
        """A peer that does not read is cut off before it has cost much memory."""
        connection, wire = self.connect()
        flow = connection.flow
        assert flow is not None
        sent = 0
        while flow.alive and sent < 1_000_000:
            flow.send(b"x" * 10_000)
            self.reactor.advance(0)
            sent += 10_000
        self.assertTrue(wire.aborted)
        self.assertLess(len(wire.value()), wire.room + 65_536 + 100_000 + 20_000)
        flow.send(b"x")
        self.assertEqual(len(wire.value()), sent)

    def test_does_not_read_for_long(self) -> None:
        """Nor does it keep full buffers for long; one that reads may go on."""
        connection, wire = self.connect()
        connection.dataReceived(message(1))
        connection.write(b"x" * 140_000)
        self.wait(15)
        wire.drain()
        self.wait(30)
        self.assertFalse(wire.aborted)
        connection.write(b"x" * 140_000)
        self.wait(30)
        self.assertTrue(wire.aborted)

    def test_cut_off(self) -> None:
        """A connection that was closed and does not end is cut off."""
        connection, wire = self.connect()
        connection.close()
        connection.close()
        self.assertEqual((wire.disconnecting, wire.producer), (True, None))
        self.wait(12)
        self.assertTrue(wire.aborted)

    def test_ours_may_wait(self) -> None:
        """From a peer that we called we do not expect the first word."""
        connection, wire = self.dial()
        flow = self.successResultOf(connection.ready)
        self.assertIs(flow, connection.flow)
        self.wait(100)
        self.assertFalse(wire.disconnecting)

    def test_no_timers(self) -> None:
        """One timer looks at all connections, and there is none without them."""
        connections = [self.connect(f"198.51.100.{number}")[0] for number in range(3)]
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.wait(100)
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        for connection in connections:
            self.lose(connection)
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class ConnectionsTests(StreamCase):
    def test_found(self) -> None:
        """A connection is found by its key and by the address of its other end."""
        connection, _ = self.connect()
        flow = connection.flow
        assert flow is not None
        self.assertIs(self.connections.by_key(flow.key), flow)
        self.assertIs(self.connections.toward("tcp", "198.51.100.7", 40000), flow)
        self.assertIsNone(self.connections.toward("tcp", "198.51.100.7", 40001))
        self.assertIsNone(self.connections.toward("tls", "198.51.100.7", 40000))
        connection.close()
        self.assertIsNone(self.connections.by_key(flow.key))
        self.assertIsNone(self.connections.toward("tcp", "198.51.100.7", 40000))
        self.lose(connection)
        self.assertEqual((len(self.connections), self.connections._by_remote), (0, {}))

    def test_who_it_is(self) -> None:
        """RFC 5922 §7.3: a TLS connection serves the domain that its peer has proved to be."""
        ours = StreamConnection("tls", self.around, "example.com")
        ours.makeConnection(Wire())
        self.assertIsNone(ours.flow)
        ours._open()
        toward = self.connections.toward
        self.assertIs(toward("tls", "198.51.100.7", 40000, "example.com"), ours.flow)
        self.assertIsNone(toward("tls", "198.51.100.7", 40000, "example.org"))
        self.assertIsNone(toward("tls", "198.51.100.7", 40000, "198.51.100.7"))
        theirs = StreamConnection("tls", self.around)
        theirs.makeConnection(Wire("198.51.100.8"))
        self.assertIs(toward("tls", "198.51.100.8", 40000, "198.51.100.8"), theirs.flow)
        self.assertIsNone(toward("tls", "198.51.100.8", 40000, "example.com"))

    def test_close(self) -> None:
        """All connections get a moment to send what is queued, then are cut off."""
        self.successResultOf(self.connections.close())
        self.connections.closed = False
        first, first_wire = self.connect(port=1)
        second, second_wire = self.connect(port=2)
        done = self.connections.close()
        self.assertTrue(first_wire.disconnecting and second_wire.disconnecting)
        self.lose(first)
        self.assertNoResult(done)
        self.wait(6)
        self.assertTrue(second_wire.aborted)
        self.lose(second)
        self.successResultOf(done)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_none_after_the_end(self) -> None:
        """A connection that comes about when all are closed is cut off."""
        self.connections.close()
        self.assertIsNone(self.factory.buildProtocol(IPv4Address("TCP", "198.51.100.7", 1)))
        late, wire = self.dial()
        self.assertTrue(wire.aborted)
        self.lose(late)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_failed_handshake(self) -> None:
        """A connection of ours that ends before it can be used says so."""
        connection = StreamConnection("tls", self.around, "example.com")
        connection.makeConnection(Wire())
        ready: Deferred[Any] = connection.ready
        self.lose(connection)
        error = self.failureResultOf(ready, ConnectionError).value
        self.assertIn("the peer closed the connection", str(error))
        self.assertEqual(self.layer.closed, [])


class SecuredTests(StreamCase):
    """What TLS adds."""

    def test_last_words(self) -> None:
        """RFC 8446 §6.1: what was said before the close_notify counts, in one piece with it, too."""
        directory = self.mktemp()
        os.mkdir(directory)
        authority = Authority(directory)
        server = ServerTLS(*authority.issue("localhost"))
        connection, wire = StreamConnection("tls", self.around, None, server.end()), Wire()
        connection.makeConnection(wire)
        context = ssl.create_default_context(cafile=authority.path)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        connection.dataReceived(outgoing.read())
        incoming.write(wire.drain())
        client.do_handshake()
        client.write(message(1))
        with contextlib.suppress(ssl.SSLWantReadError):
            client.unwrap()
        connection.dataReceived(outgoing.read())
        self.assertEqual(self.layer.numbers, ["1"])
        self.assertTrue(wire.disconnecting)
        self.lose(connection)
