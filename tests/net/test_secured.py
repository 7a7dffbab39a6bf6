"""TLS without sockets: records in and out, the end, and what is no TLS (RFC 8446, RFC 5246)."""

import contextlib
import os
import ssl

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net.secured import Secured, explain
from simplestack.net.tls import ServerTLS
from tests.net.doubles import Authority

_VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
#: The first octet of a record (RFC 8446 §5.1).
_ALERT = 21


class Client:
    """A client of another make: Python's own, with the octets between us."""

    def __init__(self, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost", session=session
        )

    def meet(self, server: Secured) -> None:
        """Shake hands."""
        server.start()
        for _ in range(3):
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
            server.receive(self.outgoing.read())
            self.incoming.write(server.outgoing())
        assert server.shaken
        # The tickets.
        assert self.hear(server) == b""

    def say(self, *data: bytes) -> bytes:
        """The records in which this is said."""
        for each in data:
            self.tls.write(each)
        return self.outgoing.read()

    def hear(self, server: Secured) -> bytes:
        """What the server has said."""
        self.incoming.write(server.outgoing())
        said = b""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while piece := self.tls.read(1_000_000):
                said += piece
        return said


class SecuredCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A server's certificate, and who trusts it."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.authority = Authority(directory)
        self.server = ServerTLS(*self.authority.issue("localhost"))

    def context(self, version: ssl.TLSVersion) -> ssl.SSLContext:
        """A client's context for one version."""
        context = ssl.create_default_context(cafile=self.authority.path)
        context.minimum_version = context.maximum_version = version
        return context

    def pair(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[Client, Secured]:
        """Two ends that have shaken hands."""
        client, server = Client(self.context(version)), self.server.end()
        client.meet(server)
        return client, server


class RecordsTests(SecuredCase):
    def test_both_ways(self) -> None:
        """A record in is what was said, and what we say comes."""
        for version in _VERSIONS:
            client, server = self.pair(version)
            for number in range(3):
                said = b"request %d" % number
                self.assertEqual(server.receive(client.say(said)), said)
                server.protect(b"response %d" % number)
                self.assertEqual(client.hear(server), b"response %d" % number)
            self.assertEqual(server.outgoing(), b"")

    def test_many_at_once(self) -> None:
        """Records that come in one piece are all read, in their order."""
        for version in _VERSIONS:
            client, server = self.pair(version)
            said = [b"%d;" % number * number for number in range(1, 100)]
            self.assertEqual(server.receive(client.say(*said)), b"".join(said))
            self.assertEqual(server.receive(client.say(b"more")), b"more")

    def test_pieces(self) -> None:
        """A record is read when it is whole, however its octets come."""
        for version in _VERSIONS:
            client, server = self.pair(version)
            records = client.say(b"a" * 30, b"b" * 30)
            for size in (1, 2, 3, 7, len(records) // 2 + 1, len(records) - 1):
                pieces = [records[at : at + size] for at in range(0, len(records), size)]
                said = [server.receive(piece) for piece in pieces]
                self.assertEqual(b"".join(said), b"a" * 30 + b"b" * 30)
                self.assertEqual(said[-1], b"b" * 30 if size < len(records) / 2 else said[-1])
                records = client.say(b"a" * 30, b"b" * 30)

    def test_with_the_handshake(self) -> None:
        """What comes in one piece with the end of the handshake is read (RFC 8446 §2)."""
        client, server = Client(self.context(ssl.TLSVersion.TLSv1_3)), self.server.end()
        server.start()
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.do_handshake()
        self.assertEqual(server.receive(client.outgoing.read()), b"")
        client.incoming.write(server.outgoing())
        client.tls.do_handshake()
        self.assertEqual(server.receive(client.say(b"at once", b", too")), b"at once, too")

    def test_large(self) -> None:
        """RFC 8446 §5.1: "The length MUST NOT exceed 2^14 bytes"; what is longer is several."""
        for version in _VERSIONS:
            client, server = self.pair(version)
            for size in (16_383, 16_384, 16_385, 32_768, 200_001):
                said = os.urandom(size)
                at, records = 0, b""
                while at < size:
                    at += client.tls.write(said[at:])
                    records += client.outgoing.read()
                self.assertEqual(server.receive(records), said)
                server.protect(said)
                self.assertEqual(client.hear(server), said)


class FarewellTests(SecuredCase):
    def test_ours(self) -> None:
        """RFC 8446 §6.1: our close_notify ends what the peer reads; he may answer with his."""
        for version in _VERSIONS:
            client, server = self.pair(version)
            server.protect(b"last")
            server.farewell()
            self.assertEqual(client.hear(server), b"last")
            self.assertFalse(server.ended)
            client.tls.unwrap()
            self.assertEqual(server.receive(client.outgoing.read()), b"")
            self.assertTrue(server.ended)
            self.assertRaises(ssl.SSLError, server.protect, b"too late")

    def test_the_peers(self) -> None:
        """What was said before the end is read, what comes after it is not, and we answer."""
        for version in _VERSIONS:
            client, server = self.pair(version)
            records = client.say(b"first", b", last")
            self.assertRaises(ssl.SSLWantReadError, client.tls.unwrap)
            records += client.outgoing.read()
            self.assertEqual(server.receive(records + b"\0" * 10), b"first, last")
            self.assertTrue(server.ended)
            self.assertEqual(server.receive(b"anything"), b"")
            server.protect(b"bye")
            server.farewell()
            self.assertEqual(client.hear(server), b"bye")

    def test_before_the_handshake(self) -> None:
        """Who has said nothing yet says no farewell."""
        server = self.server.end()
        server.start()
        server.farewell()
        self.assertEqual(server.outgoing(), b"")


class NoTLSTests(SecuredCase):
    def test_no_handshake(self) -> None:
        """Who does not shake hands is told so by an alert if he speaks TLS (RFC 8446 §6.2)."""
        for said, tls in (
            (b"OPTIONS sip:localhost SIP/2.0\r\n\r\n", False),
            (b"\x16\x03\x01\x00\x05hello", True),
        ):
            server = self.server.end()
            server.start()
            error = self.assertRaises(ssl.SSLError, server.receive, said)
            self.assertNotIsInstance(error, ssl.SSLWantReadError)
            answer = server.outgoing()
            if tls:
                self.assertEqual(answer[0], _ALERT)
            self.assertRaises(ssl.SSLError, server.receive, b"again")
            server.farewell()
            self.assertEqual(server.outgoing(), b"")

    def test_garbage(self) -> None:
        """Garbage instead of a record, or a record that was changed, is the end, and told."""
        for version in _VERSIONS:
            for change in (0, 3, 20):
                client, server = self.pair(version)
                record = bytearray(client.say(b"request"))
                record[change] ^= 0x80
                error = self.assertRaises(ssl.SSLError, server.receive, bytes(record) + b"\0" * 99)
                self.assertNotIsInstance(error, ssl.SSLWantReadError)
                self.assertNotIn("_ssl.c", explain(error))
                error = self.assertRaises(ssl.SSLError, client.hear, server)
                self.assertIn("alert", explain(error))

    def test_renegotiation(self) -> None:
        """RFC 9325 §3.5: a client that wants to shake hands anew under TLS 1.2 may not."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context, None)
        client.set_connect_state()
        server = self.server.end()
        server.start()
        for _ in range(3):
            with contextlib.suppress(SSL.WantReadError):
                client.do_handshake()
            with contextlib.suppress(SSL.WantReadError):
                server.receive(client.bio_read(65_536))
            if answer := server.outgoing():
                client.bio_write(answer)
        self.assertTrue(server.shaken)
        client.renegotiate()
        self.assertRaises(SSL.WantReadError, client.do_handshake)
        with contextlib.suppress(ssl.SSLError):
            server.receive(client.bio_read(65_536))
        answer = server.outgoing()
        self.assertEqual(answer[0], _ALERT)
        client.bio_write(answer)
        self.assertRaises(SSL.Error, client.do_handshake)

    def test_said_without_a_reason(self) -> None:
        """RFC 8446 §6.1: a peer that answers with close_notify is told of, for which OpenSSL has no name."""
        context = ssl.create_default_context(cafile=self.authority.path)
        client = Secured(context, False, "localhost")
        client.start()
        client.outgoing()
        error = self.assertRaises(ssl.SSLError, client.receive, bytes((_ALERT, 3, 3, 0, 2, 1, 0)))
        self.assertIsNone(error.reason)
        self.assertEqual(explain(error), "TLS/SSL connection has been closed")
        self.assertEqual(explain(ssl.SSLError(1, "of our own")), "of our own")


class ResumptionTests(SecuredCase):
    def test_sessions(self) -> None:
        """RFC 8446 §2.2, RFC 5077: a client that comes back takes up its session."""
        for version in _VERSIONS:
            context = self.context(version)
            session = None
            for number in range(3):
                client, server = Client(context, session), self.server.end()
                client.meet(server)
                self.assertEqual(client.tls.session_reused, number > 0)
                self.assertEqual(server._object.session_reused, number > 0)
                self.assertEqual(server.receive(client.say(b"request")), b"request")
                session = client.tls.session

    def test_without_tickets(self) -> None:
        """RFC 5246 §7.4.1.2: where the client takes no tickets, the server remembers."""
        context = self.context(ssl.TLSVersion.TLSv1_2)
        context.options |= ssl.OP_NO_TICKET
        first, again = Client(context), self.server.end()
        first.meet(again)
        second = Client(context, first.tls.session)
        second.meet(self.server.end())
        self.assertTrue(second.tls.session_reused)
