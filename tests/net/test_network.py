"""The sockets of a stack, for once real ones, on this machine."""

import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from simplestack.net.connections import StreamLimits
from simplestack.net.endpoints import parse_listen
from simplestack.net.network import ListenError, Network
from simplestack.net.stream import StreamFlow
from simplestack.net.tls import load_authorities
from simplestack.net.ways import UnreachableError
from simplestack.sip.message import Request, Response
from simplestack.sip.uri import parse_uri
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.server import ServerTransaction
from tests.asynchronous import asynchronous
from tests.net.doubles import Authority
from tests.ports import free_port

reactor: Any = installed


class Numbered:
    def __init__(self) -> None:
        self._count = count(1)

    def tag(self) -> str:
        """A tag."""
        return f"tag{next(self._count)}"

    def branch(self) -> str:
        """A branch."""
        return f"z9hG4bK{id(self)}.{next(self._count)}"


class Stack:
    """A transaction layer on a network that answers each request with 200."""

    def __init__(self, *listen: str, **options: Any) -> None:
        self.requests: list[Request] = []
        self.layer = TransactionLayer(self.deliver, Numbered())
        self.network = Network(
            reactor, self.layer, [parse_listen(text) for text in listen], **options
        )
        self.answer = True

    def deliver(self, request: Request, transaction: ServerTransaction | None, now: float) -> None:
        """Answer."""
        self.requests.append(request)
        if transaction is not None and self.answer:
            transaction.respond(request.response(200, to_tag="x"), now)

    def ask(self, flow: Flow, body: bytes = b"") -> "Deferred[Response | None]":
        """Send a request; the final response is to come."""
        done: Deferred[Response | None] = Deferred()
        request = Request(
            "MESSAGE",
            "sip:alice@example.com",
            {
                "Max-Forwards": ["70"],
                "From": ["<sip:bob@example.com>;tag=1"],
                "To": ["<sip:alice@example.com>"],
                "Call-ID": [flow.key],
                "CSeq": ["1 MESSAGE"],
            },
            body,
        )
        now = reactor.seconds()
        self.layer.start_request(request, flow, lambda response, _: done.callback(response), now)
        return done


class NetworkCase(TestCase):
    timeout = 20

    async def start(self, *listen: str, **options: Any) -> tuple[Stack, list[int]]:
        """A stack that listens, and its ports."""
        # The layer's clock is the one with which `Stack.ask` starts requests.
        stack = Stack(*listen, clock=reactor.seconds, **options)
        self.addCleanup(stack.network.stop)
        places = await stack.network.start()
        return stack, [place.port for place in places]

    async def exchange(self, there: str, uri: str, **options: Any) -> tuple[Flow, Response]:
        """One request from one stack to another, by the flow that the URI asks for."""
        server, ports = await self.start(there)
        client, _ = await self.start("udp:0:interface=127.0.0.1", "udp:0:interface=[::1]")
        flow = await client.network.flow_to(parse_uri(uri.format(*ports)), **options)
        response = await client.ask(flow)
        assert response is not None
        self.assertEqual([request.method for request in server.requests], ["MESSAGE"])
        return flow, response


class TransportsTests(NetworkCase):
    @asynchronous
    async def test_udp(self) -> None:
        """A request and its response over UDP and IPv4; the response says where we are seen."""
        flow, response = await self.exchange("udp:0:interface=127.0.0.1", "sip:127.0.0.1:{}")
        self.assertEqual((flow.transport, response.status), ("udp", 200))
        self.assertEqual(response.top_via.port, flow.local[1])
        self.assertEqual(response.top_via.param("rport"), str(flow.local[1]))

    @asynchronous
    async def test_udp_ipv6(self) -> None:
        """The same over IPv6."""
        flow, response = await self.exchange("udp:0:interface=[::1]", "sip:[::1]:{}")
        self.assertEqual((flow.transport, flow.remote[0]), ("udp", "::1"))
        self.assertEqual(response.top_via.param("received"), "::1")

    @asynchronous
    async def test_dual_stack(self) -> None:
        """One socket for both families: IPv4 peers keep their kind of address."""
        _, response = await self.exchange("udp:0:interface=[::]", "sip:127.0.0.1:{}")
        self.assertEqual(response.top_via.param("received"), "127.0.0.1")

    @asynchronous
    async def test_everywhere(self) -> None:
        """A socket on every address shows the one that the peer reaches."""
        server, ports = await self.start("udp:0")
        flow = server.network.ready(parse_uri("sip:127.0.0.1:9"))
        assert flow is not None
        self.assertEqual(flow.local, ("127.0.0.1", ports[0]))

    @asynchronous
    async def test_large_datagram(self) -> None:
        """A datagram comes whole, past the 8,192 octets that Twisted reads by itself."""
        server, ports = await self.start("udp:0:interface=127.0.0.1")
        client, _ = await self.start("udp:0:interface=127.0.0.1")
        flow = client.network.ready(parse_uri(f"sip:127.0.0.1:{ports[0]}"))
        assert flow is not None
        response = await client.ask(flow, b"x" * 60_000)
        assert response is not None
        self.assertEqual((response.status, len(server.requests[0].body)), (200, 60_000))

    @asynchronous
    async def test_tcp(self) -> None:
        """A request over a new connection; the next one takes the same."""
        flow, response = await self.exchange(
            "tcp:0:interface=127.0.0.1", "sip:127.0.0.1:{};transport=tcp"
        )
        self.assertEqual((flow.transport, response.status), ("tcp", 200))

    @asynchronous
    async def test_tcp_ipv6(self) -> None:
        """The same over IPv6."""
        flow, response = await self.exchange("tcp:0:interface=[::1]", "sip:[::1]:{};transport=tcp")
        self.assertEqual((flow.remote[0], response.status), ("::1", 200))

    @asynchronous
    async def test_back(self) -> None:
        """A request goes back by the connection that the peer has made (RFC 5626 §3.1)."""
        server, ports = await self.start("tcp:0:interface=127.0.0.1")
        client, _ = await self.start()
        there = await client.network.flow_to(parse_uri(f"sip:127.0.0.1:{ports[0]};transport=tcp"))
        await client.ask(there)
        (back,) = server.network.connections._by_key.values()
        self.assertIs(server.network.existing(back.key), back)
        response = await server.ask(back)
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertEqual(response.top_via.port, ports[0])
        self.assertEqual(len(client.requests), 1)

    @asynchronous
    async def test_large_by_tcp(self) -> None:
        """RFC 3261 §18.1.1: a large request to a UDP address leaves by TCP to the same port."""
        port = free_port()
        await self.start(f"udp:{port}:interface=127.0.0.1", f"tcp:{port}:interface=127.0.0.1")
        client, _ = await self.start("udp:0:interface=127.0.0.1")
        uri = parse_uri(f"sip:127.0.0.1:{port}")
        flow = await client.network.flow_to(uri, 5000)
        response = await client.ask(flow, b"x" * 5000)
        assert response is not None
        self.assertEqual((flow.transport, response.status), ("tcp", 200))

    @asynchronous
    async def test_large_falls_back(self) -> None:
        """§18.1.1: where there is no TCP, it leaves by UDP all the same."""
        flow, response = await self.exchange(
            "udp:0:interface=127.0.0.1", "sip:127.0.0.1:{}", size=5000
        )
        self.assertEqual((flow.transport, response.status), ("udp", 200))

    @asynchronous
    async def test_retransmission(self) -> None:
        """RFC 3261 §17.1.2: the one timer of the reactor drives those of the transactions."""
        silent = Silent()
        port = reactor.listenUDP(0, silent, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client, _ = await self.start("udp:0:interface=127.0.0.1")
        flow = client.network.ready(parse_uri(f"sip:127.0.0.1:{port.getHost().port}"))
        assert flow is not None
        client.ask(flow)
        await deferLater(reactor, 0.8, lambda: None)
        self.assertEqual(len(silent.received), 2)
        self.assertEqual(silent.received[0], silent.received[1])


class TLSTests(NetworkCase):
    def setUp(self) -> None:
        """An authority that we trust."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.authority = Authority(directory)
        self.trust = load_authorities(self.authority.path)

    async def connect(self, uri: str, *names: str) -> tuple[Stack, Stack, Flow]:
        """A client that has connected to a server with these names in its certificate."""
        key, certificate = self.authority.issue(*names)
        server, ports = await self.start(
            f"tls:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        )
        self.server_port = ports[0]
        client, _ = await self.start(authorities=self.trust)
        flow = await client.network.flow_to(parse_uri(uri.format(ports[0])))
        return server, client, flow

    @asynchronous
    async def test_request(self) -> None:
        """A sips URI takes TLS, and the peer proves to be whom the URI names."""
        server, client, flow = await self.connect("sips:localhost:{}", "localhost")
        self.assertEqual((flow.transport, flow.secure), ("tls", True))
        response = await client.ask(flow)
        assert response is not None
        self.assertEqual((response.status, response.top_via.transport), (200, "TLS"))
        self.assertEqual(len(server.requests), 1)
        again = client.network.ready(parse_uri(f"sips:localhost:{self.server_port}"))
        self.assertIs(again, flow)
        (back,) = server.network.connections._by_key.values()
        response = await server.ask(back)
        assert response is not None
        self.assertEqual(response.status, 200)

    @asynchronous
    async def test_uri_and_address(self) -> None:
        """RFC 5922 §7.1: a sip URI in the certificate counts; and an address as an address."""
        await self.connect("sip:localhost:{};transport=tls", "sip:localhost")
        await self.connect("sips:127.0.0.1:{}", "127.0.0.1")

    @asynchronous
    async def test_somebody_else(self) -> None:
        """RFC 5922 §7.3: "If the server is not authenticated, the client MUST close"."""
        error = await self.failure(self.connect("sips:localhost:{}", "example.com", "*.localhost"))
        self.assertIn("the certificate of the peer is not of localhost", error.text)

    @asynchronous
    async def test_unknown_authority(self) -> None:
        """A certificate of an authority that we do not trust proves nothing."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.trust = load_authorities(Authority(directory).path)
        error = await self.failure(self.connect("sips:localhost:{}", "localhost"))
        self.assertIn("TLS failed: certificate verify failed: ", error.text)
        self.assertNotIn("_ssl.c", error.text)

    @asynchronous
    async def test_no_tls_there(self) -> None:
        """A peer that speaks no TLS, or says nothing, is no way."""
        _, ports = await self.start("tcp:0:interface=127.0.0.1")
        limits = StreamLimits(connect=0.3)
        client, _ = await self.start(authorities=self.trust, stream_limits=limits)
        error = await self.failure(client.network.flow_to(parse_uri(f"sips:localhost:{ports[0]}")))
        self.assertIn("no way to sips:localhost", error.text)
        silent = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(silent.stopListening)
        error = await self.failure(
            client.network.flow_to(parse_uri(f"sips:localhost:{silent.getHost().port}"))
        )
        self.assertIn("the TLS handshake took too long", error.text)

    @asynchronous
    async def test_resumption(self) -> None:
        """A peer that comes back takes up its session (RFC 5077, RFC 8446 §2.2)."""
        key, certificate = self.authority.issue("localhost")
        server, (port,) = await self.start(
            f"tls:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        )
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=self.authority.path)
            context.minimum_version = context.maximum_version = version
            session = None
            reused: list[bool | None] = []
            for _ in range(3):
                taken_up, session = await deferToThread(visit, context, port, session)
                reused.append(taken_up)
            self.assertEqual(reused, [False, True, True])
        self.assertEqual(server.network.counts()["streams_malformed"], 0)

    @asynchronous
    async def test_much_at_once(self) -> None:
        """What is larger than a record, and than the buffers of the system, comes whole."""
        server, client, _ = await self.connect("sips:localhost:{}", "localhost")
        (back,) = server.network.connections._by_key.values()
        asked = [server.ask(back, b"x" * 60_000) for _ in range(100)]
        for answer in asked:
            response = await answer
            assert response is not None
            self.assertEqual(response.status, 200)
        self.assertEqual([len(request.body) for request in client.requests], [60_000] * 100)

    @asynchronous
    async def test_farewell(self) -> None:
        """Who closes says so (RFC 8446 §6.1), and the other end closes as well."""
        server, client, flow = await self.connect("sips:localhost:{}", "localhost")
        (back,) = server.network.connections._by_key.values()
        assert isinstance(flow, StreamFlow) and flow._connection is not None
        secured = flow._connection._secured
        assert secured is not None
        await client.ask(flow)
        await server.network.connections.close()
        await until(lambda: not flow.alive and not len(client.network.connections))
        self.assertTrue(secured.ended)
        self.assertFalse(back.alive)

    @asynchronous
    async def test_not_tls(self) -> None:
        """Who speaks no TLS at a port of TLS is let go."""
        key, certificate = self.authority.issue("localhost")
        server, (port,) = await self.start(
            f"tls:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        )

        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", port), 5) as plain:
                plain.sendall(b"OPTIONS sip:localhost SIP/2.0\r\n\r\n")
                return b"".join(iter(lambda: plain.recv(1000), b""))

        await deferToThread(talk)
        await until(lambda: not len(server.network.connections))

    @asynchronous
    async def test_garbage(self) -> None:
        """Who sends garbage instead of a record is told so, and let go (RFC 8446 §6.2)."""
        key, certificate = self.authority.issue("localhost")
        server, (port,) = await self.start(
            f"tls:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        )
        context = ssl.create_default_context(cafile=self.authority.path)

        def talk() -> str:
            with (
                socket.create_connection(("127.0.0.1", port), 5) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as secured,
                socket.socket(fileno=os.dup(secured.fileno())) as beneath,
            ):
                secured.sendall(b"\r\n\r\n")
                secured.recv(10)
                beneath.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
                try:
                    secured.recv(10)
                except ssl.SSLError as error:
                    return error.reason
            return "nothing"

        self.assertIn("ALERT_BAD_RECORD_MAC", await deferToThread(talk))
        await until(lambda: not len(server.network.connections))

    async def failure(self, attempt: Awaitable[Any]) -> UnreachableError:
        """The error that an attempt has to end with."""
        try:
            await attempt
        except UnreachableError as error:
            return error
        raise AssertionError("a connection was made")


class ListeningTests(NetworkCase):
    @asynchronous
    async def test_taken(self) -> None:
        """A port that is taken: which, why, what to do; and then we listen nowhere."""
        _, (udp, tcp) = await self.start("udp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1")
        for taken, first in ((f"udp:{udp}", "tcp"), (f"tcp:{tcp}", "udp")):
            port = free_port()
            stack = Stack(f"{first}:{port}:interface=127.0.0.1", f"{taken}:interface=127.0.0.1")
            error = await self.refused(stack)
            self.assertIn(f"can't listen on {taken.replace(':', ' 127.0.0.1:')}", error)
            self.assertIn("another program has the port", error)
            await deferLater(reactor, 0, lambda: None)
            await self.start(f"{first}:{port}:interface=127.0.0.1")

    @asynchronous
    async def test_not_ours(self) -> None:
        """An address that this machine does not have."""
        for transport in ("udp", "tcp"):
            error = await self.refused(Stack(f"{transport}:0:interface=192.0.2.1"))
            self.assertIn("this machine does not have the address", error)

    @asynchronous
    async def test_start_again(self) -> None:
        """A network that was stopped can be started again."""
        stack, _ = await self.start("udp:0:interface=127.0.0.1")
        await stack.network.stop()
        (place,) = await stack.network.start()
        client, _ = await self.start("udp:0:interface=127.0.0.1")
        flow = client.network.ready(parse_uri(f"sip:127.0.0.1:{place.port}"))
        assert flow is not None
        response = await client.ask(flow)
        assert response is not None
        self.assertEqual(response.status, 200)

    @asynchronous
    async def test_existing(self) -> None:
        """The flow of a datagram peer is found by its key, also after a restart."""
        stack, (port,) = await self.start("udp:0:interface=127.0.0.1")
        key = f"udp:127.0.0.1:{port}>127.0.0.1:4444"
        flow = stack.network.existing(key)
        assert flow is not None
        self.assertEqual((flow.key, flow.remote), (key, ("127.0.0.1", 4444)))
        for other in (
            "",
            "udp",
            f"udp:127.0.0.1:{port}>",
            f"udp:127.0.0.1:{port}>[::1]:5060",
            f"udp:127.0.0.1:{port + 1}>127.0.0.1:4444",
            f"tcp:127.0.0.1:{port}>127.0.0.1:4444",
        ):
            self.assertIsNone(stack.network.existing(other), other)

    @asynchronous
    async def test_reopen(self) -> None:
        """RFC 3261 §18.2.2: a response whose connection has ended opens one to the sent-by."""
        server, _ = await self.start("tcp:0:interface=127.0.0.1")
        server.answer = False
        transactions: list[ServerTransaction] = []

        def keep(request: Request, transaction: ServerTransaction | None, now: float) -> None:
            assert transaction is not None
            transactions.append(transaction)

        server.layer.deliver = keep
        there = Remembering()
        port = reactor.listenTCP(0, Factory.forProtocol(lambda: there), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        server_port = server.network._streams[0].port
        peer = socket.create_connection(("127.0.0.1", server_port))
        peer.sendall(
            b"OPTIONS sip:a@example.com SIP/2.0\r\n"
            b"Via: SIP/2.0/TCP 127.0.0.1:%d;branch=z9hG4bKx\r\nMax-Forwards: 70\r\n"
            b"From: <sip:b@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: 1\r\n"
            b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n" % port.getHost().port
        )
        await until(lambda: transactions)
        peer.close()
        await until(lambda: not len(server.network.connections))
        (transaction,) = transactions
        transaction.respond(transaction.request.response(200, to_tag="x"), reactor.seconds())
        await until(lambda: there.received)
        self.assertIn(b"SIP/2.0 200 OK", there.received)

    @asynchronous
    async def test_counts(self) -> None:
        """What was not as it should be is counted for the operator."""
        stack, (port,) = await self.start("udp:0:interface=127.0.0.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"junk", ("127.0.0.1", port))
            peer.sendto(b"\r\n\r\n", ("127.0.0.1", port))
        await until(lambda: stack.network.counts()["datagrams_keepalive"])
        self.assertEqual(stack.network.counts()["datagrams_malformed"], 1)

    async def refused(self, stack: Stack) -> str:
        """Why a stack can't start."""
        try:
            await stack.network.start()
        except ListenError as error:
            return str(error)
        raise AssertionError("it listens")


class Silent(DatagramProtocol):
    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Remember it."""
        self.received.append(datagram)


class Remembering(Protocol):
    received = b""

    def dataReceived(self, data: bytes) -> None:
        """Remember it."""
        self.received += data
        assert self.transport is not None
        self.transport.loseConnection()


async def until(condition: Callable[[], Any]) -> None:
    """Let the reactor turn until something is so; the timeout of the test bounds it."""
    while not condition():
        await deferLater(reactor, 0.01, lambda: None)


def visit(
    context: ssl.SSLContext, port: int, session: ssl.SSLSession | None
) -> tuple[bool | None, ssl.SSLSession | None]:
    """A connection as a client makes it: whether the session was taken up, and the next one."""
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.settimeout(10)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as secured:
            # What is read first under TLS 1.3 are the tickets.
            secured.sendall(b"\r\n\r\n")
            assert secured.recv(10) == b"\r\n"
            return secured.session_reused, secured.session
