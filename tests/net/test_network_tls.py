"""TLS by the sockets of a stack, for once real ones, on this machine."""

import os
import socket
import ssl
from collections.abc import Awaitable
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from simplestack.net.connections import StreamLimits
from simplestack.net.stream import StreamFlow
from simplestack.net.tls import load_authorities
from simplestack.net.ways import UnreachableError
from simplestack.sip.uri import parse_uri
from simplestack.transaction.flow import Flow
from tests.asynchronous import asynchronous
from tests.net.doubles import Authority
from tests.net.stacks import NetworkCase, Stack, reactor, until


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
