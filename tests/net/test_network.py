"""The sockets of a stack, for once real ones, on this machine."""

import socket
from typing import Any

from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater

from simplestack.net.network import ListenError
from simplestack.sip.message import Request
from simplestack.sip.uri import parse_uri
from simplestack.transaction.server import ServerTransaction
from tests.asynchronous import asynchronous
from tests.net.stacks import NetworkCase, Stack, reactor, until
from tests.ports import free_port


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
