"""How answers of XCAP leave: by the socket, and by TLS."""

import socket
from collections.abc import Generator
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path
from ssl import create_default_context
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from simplestack.net.http import Exchange, XCAPResource, XCAPSite, send
from tests.net.doubles import Authority
from tests.net.test_http import CLOSE, request


class Socket(StringTransport):
    """A transport with a socket that takes so many octets at once."""

    connected = True
    disconnecting = False
    dataBuffer = b""

    def __init__(self, room: int | None) -> None:
        super().__init__()
        self.room = room
        #: What the socket has taken at once, and what waits for it.
        self.taken: list[bytes] = []
        self.waiting = b""

    @property
    def _tempDataLen(self) -> int:
        return len(self.waiting)

    def writeSomeData(self, data: bytes) -> int | Exception:
        """Take what there is room for; an error where the connection is lost."""
        if self.room is None:
            return ConnectionLost()
        self.taken.append(data[: self.room])
        return len(self.taken[-1])

    def write(self, data: bytes) -> None:
        """Wait with the rest."""
        self.waiting += data


class SendTests(SynchronousTestCase):
    """Octets that the socket takes go at once, in their order, and none twice."""

    def test_all(self) -> None:
        """All of it, or a part of it."""
        for room in (100, 6, 3, 0):
            socket = Socket(room)
            send(socket, b"abcdef")
            self.assertEqual(b"".join(socket.taken) + socket.waiting, b"abcdef")
            self.assertEqual(len(socket.waiting), max(0, 6 - room))

    def test_behind_others(self) -> None:
        """What waits comes first."""
        socket = Socket(3)
        for octets in (b"abcdef", b"gh"):
            send(socket, octets)
        self.assertEqual(socket.taken, [b"abc"])
        self.assertEqual(socket.waiting, b"defgh")

    def test_lost(self) -> None:
        """The reactor finds out that a connection is lost."""
        socket = Socket(None)
        send(socket, b"abc")
        self.assertEqual(socket.waiting, b"abc")

    def test_others(self) -> None:
        """Other transports are written to."""
        transport = StringTransport()
        send(transport, b"abc")
        self.assertEqual(transport.value(), b"abc")


class RealSocketTests(TestCase):
    """A site on a socket."""

    @inlineCallbacks
    def test_large(self) -> Generator[Deferred[Any], Any, None]:
        """A response that is larger than what a socket takes comes whole, and so do those behind."""
        body = b"0123456789" * 1_000_000

        def serve(exchange: Exchange) -> None:
            exchange.respond(200, (), body if exchange.uri == b"/large" else b"small")

        running: Any = reactor
        site = XCAPSite(XCAPResource(serve), running)
        port = running.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)

        def ask() -> bytes:
            with socket.create_connection(("127.0.0.1", port.getHost().port), 10) as client:
                client.sendall(request(uri="/large") + request("GET", "/small", b"", CLOSE))
                received = b""
                while data := client.recv(1_000_000):
                    received += data
                return received

        received: bytes = yield deferToThread(ask)
        head, _, rest = received.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: 10000000", head)
        self.assertEqual(rest[: len(body)], body)
        self.assertTrue(rest.endswith(b"\r\n\r\nsmall"))


class TLSTests(TestCase):
    """Over HTTPS as it is served, and as a client keeps its connection."""

    @inlineCallbacks
    def test_second_response(self) -> Generator[Deferred[Any], Any, None]:
        """Every response goes through TLS (RFC 9110 §4.2.2), the second of a connection and those
        that come later, too: none goes past it to the socket.
        """
        folder = self.mktemp()
        Path(folder).mkdir()
        authority = Authority(folder)
        key, certificate = authority.issue("127.0.0.1")

        def serve(exchange: Exchange) -> None:
            exchange.respond(200, (), b"secret")

        endpoint = serverFromString(
            reactor,
            f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}",
        )
        port = yield endpoint.listen(XCAPSite(XCAPResource(serve), reactor))
        self.addCleanup(port.stopListening)
        context = create_default_context(cafile=authority.path)

        def ask() -> list[bytes]:
            connection = HTTPSConnection(
                "127.0.0.1", port.getHost().port, timeout=10, context=context
            )
            with closing(connection):
                bodies = []
                for _ in range(3):
                    connection.request("GET", "/")
                    bodies.append(connection.getresponse().read())
                return bodies

        bodies = yield deferToThread(ask)
        self.assertEqual(bodies, [b"secret"] * 3)
