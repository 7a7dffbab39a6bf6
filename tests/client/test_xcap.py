"""Documents at an XCAP server."""

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http_headers import Headers

from simplestack.client.account import Account
from simplestack.client.errors import (
    AuthenticationError,
    ClientError,
    NoAnswerError,
    RefusedError,
)
from simplestack.client.xcap import Fetched, XCAPClient
from simplestack.sip.digest import challenges, ha1, verify
from simplestack.sip.fields import parse_credentials

BOB = Account("bob@example.com", "builder")
TYPE = "application/auth-policy+xml"
#: Status, headers, body.
Reply = tuple[int, dict[str, str], bytes]


class FakeResponse:
    def __init__(self, reply: Reply) -> None:
        self.code, headers, self._body = reply
        self.phrase = b"Phrase"
        self.headers = Headers({name: value.split("\n") for name, value in headers.items()})

    def deliverBody(self, protocol: Any) -> None:
        """All at once."""
        transport = StringTransport()
        protocol.makeConnection(transport)
        for start in range(0, len(self._body), 65536):
            protocol.dataReceived(self._body[start : start + 65536])
        lost = transport.disconnected if hasattr(transport, "disconnected") else False
        protocol.connectionLost(Failure(ResponseFailed([]) if lost else ResponseDone()))


class Server:
    """An ``IAgent`` that asks a function what the server says."""

    def __init__(self, answer: Callable[[str, str, Headers, bytes], Reply]) -> None:
        self.requests: list[tuple[str, str, Headers]] = []
        self._answer = answer

    def request(
        self, method: bytes, url: bytes, headers: Headers, body: Any = None
    ) -> "Deferred[Any]":
        """Answer."""
        data = b"" if body is None else body._inputFile.getvalue()
        self.requests.append((method.decode(), url.decode(), headers))
        return succeed(FakeResponse(self._answer(method.decode(), url.decode(), headers, data)))


class Documents:
    """A server of one document, which somebody else may change."""

    def __init__(self, body: bytes | None = None) -> None:
        self.body = body
        self.version = 1
        #: How often somebody else writes between our GET and our PUT.
        self.others = 0

    def answer(self, method: str, url: str, headers: Headers, body: bytes) -> Reply:
        """RFC 4825 §8."""
        etag = f'"{self.version}"'
        if method == "GET":
            if self.body is None:
                return 404, {}, b""
            reply: Reply = (200, {"ETag": etag}, self.body)
            if self.others:
                self.others -= 1
                self.version += 1
            return reply
        match = headers.getRawHeaders("If-Match")
        if match not in (None, [etag]) or (
            headers.hasHeader("If-None-Match") and self.body is not None
        ):
            return 412, {}, b""
        if method == "DELETE":
            self.body = None
            return 200, {}, b""
        created = self.body is None
        self.body = body
        self.version += 1
        return (201 if created else 200), {"ETag": f'"{self.version}"'}, b""


class XCAPTests(SynchronousTestCase):
    def client(self, server: Any, root: str = "http://127.0.0.1:8080") -> XCAPClient:
        """A client of bob's."""
        return XCAPClient(Clock(), BOB, root, agent=server)

    def test_document(self) -> None:
        """RFC 4825 §6.2: root, AUID, "users", the XUI, and the path."""
        client = self.client(None, "https://example.com/xcap")
        self.assertEqual(
            client.document("pres-rules"),
            "https://example.com/xcap/pres-rules/users/sip:bob@example.com/index",
        )
        odd = XCAPClient(Clock(), Account("b%20b@example.com"), "http://h/", agent=object())
        self.assertEqual(
            odd.document("a", "b c/d"), "http://h/a/users/sip:b%2520b@example.com/b%20c/d"
        )

    def test_roots(self) -> None:
        """What is no HTTP URL is refused in one line."""
        for root in ("", "ftp://h/", "http://", "http://h:port/", "http://[::1/", "http://a b/"):
            error = self.assertRaises(ValueError, XCAPClient, Clock(), BOB, root)
            self.assertNotIn("\n", str(error))

    def test_read_and_write(self) -> None:
        """RFC 4825 §7: a document is created, read, replaced and removed, each with the entity-tag
        of what is meant.
        """
        client = self.client(Server(Documents().answer))
        url = client.document("pres-rules")
        self.assertIsNone(self.successResultOf(client.get(url)))
        self.assertEqual(self.successResultOf(client.put(url, b"<a/>", TYPE, match="")), '"2"')
        self.assertEqual(self.successResultOf(client.get(url)), Fetched(b"<a/>", '"2"'))
        error = self.failureResultOf(client.put(url, b"<b/>", TYPE, match=""), RefusedError)
        self.assertEqual(error.value.status, 412)
        self.successResultOf(client.put(url, b"<b/>", TYPE, match='"2"'))
        self.successResultOf(client.delete(url))
        self.assertIsNone(self.successResultOf(client.get(url)))

    def test_edit(self) -> None:
        """RFC 4825 §7.11: what somebody else changed meanwhile is not overwritten, but changed."""
        documents = Documents(b"a")
        client = self.client(Server(documents.answer))
        documents.others = 2
        edited = client.edit(client.document("x"), TYPE, lambda body: (body or b"") + b"b")
        self.assertEqual(self.successResultOf(edited), b"ab")
        self.assertEqual(documents.body, b"ab")

    def test_edit_without_end(self) -> None:
        """Where somebody else is always first we give up."""
        documents = Documents(b"a")
        documents.others = 1000
        client = self.client(Server(documents.answer))
        edited = client.edit(client.document("x"), TYPE, lambda body: b"b")
        self.failureResultOf(edited, ClientError)

    def test_edit_without_change(self) -> None:
        """What stays as it is is not written."""
        server = Server(Documents(b"a").answer)
        client = self.client(server)
        self.successResultOf(client.edit(client.document("x"), TYPE, lambda body: b"a"))
        self.assertEqual([method for method, _, _ in server.requests], ["GET"])

    def test_digest(self) -> None:
        """RFC 7616 §3.4: the challenge is answered, and the nonce used again."""
        secret = ha1("SHA-512-256", "bob", "example.com", "builder")
        counts: list[int] = []

        def answer(method: str, url: str, headers: Headers, body: bytes) -> Reply:
            for value in headers.getRawHeaders("Authorization", []):
                credentials = parse_credentials(value)
                self.assertEqual(credentials.param("uri"), "/x?y=z")
                if verify(credentials, secret, method):
                    counts.append(credentials.nonce_count)
                    return 200, {"ETag": '"1"'}, b"<a/>"
            offers = "\n".join(['Basic realm="example.com"', *challenges("example.com", "n")])
            return 401, {"WWW-Authenticate": offers}, b""

        client = self.client(Server(answer))
        for _ in range(2):
            self.successResultOf(client.get("http://127.0.0.1:8080/x?y=z"))
        self.assertEqual(counts, [1, 2])

    def test_wrong_password(self) -> None:
        """A server that refuses the answer to its challenge is not asked again."""
        nonces = iter("abcdefghij")

        def answer(method: str, url: str, headers: Headers, body: bytes) -> Reply:
            return 401, {"WWW-Authenticate": challenges("r", next(nonces))[0]}, b""

        server = Server(answer)
        client = self.client(server)
        self.failureResultOf(client.get(client.document("x")), AuthenticationError)
        self.assertEqual(len(server.requests), 2)

    def test_basic(self) -> None:
        """RFC 7617 §4: the password goes over TLS alone, and only where nothing better is on
        offer.
        """

        def answer(method: str, url: str, headers: Headers, body: bytes) -> Reply:
            if headers.getRawHeaders("Authorization") == ["Basic Ym9iOmJ1aWxkZXI="]:
                return 200, {"ETag": '"1"'}, b"<a/>"
            return 401, {"WWW-Authenticate": 'Basic realm="r"'}, b""

        secure = self.client(Server(answer), "https://h/")
        self.assertIsNotNone(self.successResultOf(secure.get(secure.document("x"))))
        server = Server(answer)
        plain = self.client(server)
        self.failureResultOf(plain.get(plain.document("x")), AuthenticationError)
        self.assertFalse(
            any(headers.hasHeader("Authorization") for _, _, headers in server.requests)
        )

    def test_conflict(self) -> None:
        """RFC 4825 §11: a conflict report is told in one line."""
        report = (
            b'<xcap-error xmlns="urn:ietf:params:xml:ns:xcap-error">'
            b'<schema-validation-error phrase="no such element"/></xcap-error>'
        )
        headers = {"Content-Type": "application/xcap-error+xml"}
        client = self.client(Server(lambda *_: (409, headers, report)))
        failure = self.failureResultOf(
            client.put(client.document("x"), b"<a/>", TYPE), RefusedError
        )
        self.assertEqual(str(failure.value), "409 Phrase: schema-validation-error: no such element")

    def test_too_large(self) -> None:
        """A document without end is not read to its end."""
        client = self.client(Server(lambda *_: (200, {}, bytes(5_000_000))))
        self.failureResultOf(client.get(client.document("x")), ClientError)

    def test_no_answer(self) -> None:
        """What happened on the way is told in one line."""

        class Nobody:
            def __init__(self, error: Exception) -> None:
                self._error = error

            def request(self, *_: Any) -> "Deferred[Any]":
                """Fail."""
                return fail(self._error)

        for error, why in (
            (Refused(), "refused"),
            (ResponseFailed([Failure(Refused())]), "refused"),
            (SSL.Error([("a", "b", "certificate verify failed")]), "certificate verify failed"),
        ):
            client = self.client(Nobody(error))
            failure = self.failureResultOf(client.get(client.document("x")), NoAnswerError)
            self.assertIn(why, str(failure.value))
            self.assertNotIn("\n", str(failure.value))

    def test_silence(self) -> None:
        """A server that says nothing is not waited for for ever."""
        clock = Clock()

        class Silent:
            def request(self, *_: Any) -> "Deferred[Any]":
                """Nothing."""
                return Deferred()

        client = XCAPClient(clock, BOB, "http://h/", agent=Silent())
        got = client.get(client.document("x"))
        clock.advance(31)
        self.failureResultOf(got, NoAnswerError)

    def test_slow_answer(self) -> None:
        """The connection of a server that does not end its answer is ended."""
        clock = Clock()
        transport = StringTransport()

        class Slow(FakeResponse):
            def deliverBody(self, protocol: Any) -> None:
                """A part of it."""
                protocol.makeConnection(transport)
                protocol.dataReceived(b"<")

        class Agent:
            def request(self, *_: Any) -> "Deferred[Any]":
                """The beginning of an answer."""
                return succeed(Slow((200, {}, b"")))

        client = XCAPClient(clock, BOB, "http://h/", agent=Agent())
        got = client.get(client.document("x"))
        clock.advance(29)
        self.assertFalse(transport.disconnected)
        clock.advance(2)
        self.failureResultOf(got, NoAnswerError)
        self.assertTrue(transport.disconnected)
