"""HTTP under XCAP: framing, limits, compression, CORS, mounting (RFC 9110, RFC 9112)."""

import gzip
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from twisted.web.test.requesthelper import DummyChannel

from simplestack.net.http import Exchange, XCAPResource, XCAPSite

_HERE = IPv4Address("TCP", "192.0.2.1", 40000)
CLOSE = "Connection: close"
Respond = Callable[[int, tuple[tuple[str, str], ...], bytes], None]


class Wire:
    """A connection to a site."""

    def __init__(self, site: Any, address: Any = _HERE) -> None:
        self.channel = site.buildProtocol(address)
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)

    def send(self, octets: bytes) -> bytes:
        """Send octets, and take what has been answered."""
        if not self.transport.disconnecting:
            self.channel.dataReceived(octets)
        found: bytes = self.transport.value()
        self.transport.clear()
        return found


_OF_SITE = ("max_connections", "per_address", "timeout")


class Case(SynchronousTestCase):
    """A site whose exchanges are answered at once, or kept."""

    def setUp(self) -> None:
        """A site with small limits."""
        self.clock = Clock()
        self.exchanges: list[Exchange] = []
        self.held = False
        self.answer: tuple[int, tuple[tuple[str, str], ...], bytes] = (
            200,
            (("ETag", '"a"'),),
            b"x",
        )
        self.make()

    def make(self, **options: Any) -> None:
        """Make resource and site anew."""
        site = {each: options.pop(each) for each in _OF_SITE if each in options}
        self.resource = XCAPResource(self.serve, **({"max_body": 100} | options))
        self.site = XCAPSite(self.resource, self.clock, **site)

    def serve(self, exchange: Exchange) -> None:
        """Take an exchange."""
        self.exchanges.append(exchange)
        if not self.held:
            exchange.respond(*self.answer)


def request(method: str = "GET", uri: str = "/a", body: bytes = b"", *fields: str) -> bytes:
    """A request in octets."""
    lines = [f"{method} {uri} HTTP/1.1", "Host: a", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


class ExchangeTests(Case):
    """What comes in and goes out."""

    def test_request(self) -> None:
        """Method, target as written, header fields in lower case, and body are passed on."""
        Wire(self.site).send(
            request(
                "PUT", "/a%2Fb/~~/c%5b1%5d?d(e=f)", b"body", "If-Match: 1", "if-match: 2", "X: ü"
            )
        )
        [found] = self.exchanges
        self.assertEqual(found.method, "PUT")
        self.assertEqual(found.uri, b"/a%2Fb/~~/c%5b1%5d?d(e=f)")
        self.assertEqual(found.target, found.uri)
        self.assertEqual(found.headers["if-match"], "1, 2")
        self.assertEqual(found.headers["x"], "ü")
        self.assertEqual(found.body, b"body")
        self.assertFalse(found.secure)

    def test_absolute_form(self) -> None:
        """RFC 9112 §3.2.2: "a server MUST accept the absolute-form in requests"."""
        Wire(self.site).send(request("GET", "http://xcap.example.com/a/b?c"))
        self.assertEqual(self.exchanges[0].uri, b"/a/b?c")
        self.assertEqual(self.exchanges[0].target, b"http://xcap.example.com/a/b?c")

    def test_response(self) -> None:
        """A response has its length, says no-cache (RFC 4825 §9), and no more than was given."""
        found = Wire(self.site).send(request())
        head, _, body = found.partition(b"\r\n\r\n")
        lines = sorted(head.split(b"\r\n"))
        self.assertEqual(body, b"x")
        self.assertEqual(lines.pop(2)[:5], b"Date:")
        self.assertEqual(
            lines,
            [
                b"Cache-Control: no-cache",
                b"Content-Length: 1",
                b'ETag: "a"',
                b"HTTP/1.1 200 OK",
                b"Server: simplestack",
                b"Vary: Accept-Encoding",
            ],
        )

    def test_head(self) -> None:
        """RFC 9110 §9.3.2: HEAD has the header fields of GET and no content."""
        found = Wire(self.site).send(request("HEAD"))
        self.assertIn(b"Content-Length: 1\r\n", found)
        self.assertTrue(found.endswith(b"\r\n\r\n"))

    def test_not_modified(self) -> None:
        """RFC 9110 §15.4.5: 304 has no content, and no length that a client could wait for."""
        self.answer = (304, (("ETag", '"a"'),), b"")
        found = Wire(self.site).send(request())
        self.assertNotIn(b"Content-Length", found)
        self.assertNotIn(b"Transfer-Encoding", found)

    def test_options(self) -> None:
        """OPTIONS says what can be used, without asking who wants to know."""
        found = Wire(self.site).send(request("OPTIONS"))
        self.assertIn(b"Allow: GET, HEAD, PUT, DELETE, OPTIONS\r\n", found)
        self.assertEqual(self.exchanges, [])

    def test_pipelining(self) -> None:
        """RFC 9112 §9.3.2: responses come in the order of their requests."""
        self.held = True
        wire = Wire(self.site)
        self.assertEqual(wire.send(request(uri="/1") + request(uri="/2") + request(uri="/3")), b"")
        self.assertEqual([each.uri for each in self.exchanges], [b"/1"])
        answers = b""
        for number in range(3):
            self.exchanges[number].respond(200, (), b"%d" % number)
            answers += wire.send(b"")
        bodies = [each.rpartition(b"\r\n\r\n")[2] for each in answers.split(b"HTTP/1.1")[1:]]
        self.assertEqual(bodies, [b"0", b"1", b"2"])
        self.assertFalse(wire.transport.disconnecting)

    def test_pipelining_without_reading(self) -> None:
        """RFC 9112 §9.3.2 has the responses in order, not all at once: a client that does not read
        one gets no other made, so that few octets of requests don't become many that wait.
        """
        self.held = True
        wire = Wire(self.site)
        wire.send(b"".join([request(uri=f"/{number}") for number in range(5)]))
        producer: Any = wire.transport.producer
        for asked in range(1, 6):
            # What a transport says whose buffer is full.
            producer.pauseProducing()
            self.exchanges[-1].respond(200, (), b"")
            self.assertEqual(len(self.exchanges), asked)
            self.assertEqual(wire.transport.producerState, "paused")
            producer.resumeProducing()
            self.assertEqual(len(self.exchanges), min(asked + 1, 5))
        self.assertEqual([each.uri for each in self.exchanges], [b"/%d" % n for n in range(5)])
        self.assertEqual(wire.send(b"").count(b"HTTP/1.1 200"), 5)
        self.assertEqual(wire.transport.producerState, "producing")
        wire.send(request(uri="/more"))
        self.assertEqual(len(self.exchanges), 6)

    def test_client_has_gone(self) -> None:
        """An answer to nobody is dropped."""
        self.held = True
        wire = Wire(self.site)
        wire.send(request())
        wire.channel.connectionLost()
        self.exchanges[0].respond(200, (), b"x")
        self.assertEqual(wire.transport.value(), b"")

    def test_close(self) -> None:
        """RFC 9112 §9.6: a client that asks for it is left after the response."""
        wire = Wire(self.site)
        self.assertIn(b"200 OK", wire.send(request("GET", "/", b"", "Connection: close")))
        self.assertTrue(wire.transport.disconnecting)

    @given(st.binary(max_size=80), st.booleans())
    def test_any_octets(self, octets: bytes, lines: bool) -> None:
        """What is no HTTP is answered 400 or waited for, never with an exception."""
        self.setUp()
        wire = Wire(self.site)
        found = wire.send(octets + (b"\r\n\r\n" if lines else b""))
        self.assertIn(found[:12], (b"", b"HTTP/1.1 400", b"HTTP/1.1 200", b"HTTP/1.0 200"))


class LimitTests(Case):
    """What a client can grow has a bound."""

    def test_content_length(self) -> None:
        """A body that will be too large is refused before any of it has come: 413."""
        wire = Wire(self.site)
        found = wire.send(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n")
        self.assertIn(b"HTTP/1.1 413 ", found)
        self.assertIn(b"Connection: close", found)
        self.assertIn(b"100 octets", found)
        # What was under way is read away, so that the answer is not lost with the connection.
        self.assertEqual(wire.send(b"x" * 100), b"")
        self.assertFalse(wire.transport.disconnecting)
        wire.send(b"x")
        self.assertTrue(wire.transport.disconnecting)
        self.assertEqual(self.exchanges, [])

    def test_flood(self) -> None:
        """A client that goes on is cut off."""
        wire = Wire(self.site)
        wire.send(b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\n")
        for _ in range(17):
            wire.send(b"x" * 100)
        self.assertTrue(wire.transport.disconnecting or wire.transport.disconnected)

    def test_chunked(self) -> None:
        """A body without a length is counted while it comes."""
        wire = Wire(self.site)
        head = b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertEqual(wire.send(head + b"40\r\n" + b"x" * 64 + b"\r\n"), b"")
        self.assertIn(b" 413 ", wire.send(b"40\r\n" + b"x" * 64 + b"\r\n"))
        self.assertEqual(wire.send(b"40\r\n" + b"x" * 64 + b"\r\n"), b"")
        wire.send(b"0\r\n\r\n")
        self.assertTrue(wire.transport.disconnecting)
        self.assertEqual(self.exchanges, [])

    def test_chunked_within_the_limit(self) -> None:
        """A chunked body that is small enough is a body like any other."""
        head = b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        Wire(self.site).send(head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        self.assertEqual(self.exchanges[0].body, b"abc")

    def test_expectation(self) -> None:
        """RFC 9110 §10.1.1: 100 for a body that is welcome, no 100 after a 413."""
        head = b"PUT /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
        self.assertEqual(Wire(self.site).send(head % 50), b"HTTP/1.1 100 Continue\r\n\r\n")
        found = Wire(self.site).send(head % 101)
        self.assertEqual((found.count(b"HTTP/1.1"), b"100 Continue" in found), (1, False))

    def test_connections(self) -> None:
        """Only so many connections are held, and one that ends makes room."""
        self.make(max_connections=2)
        wires = [Wire(self.site) for _ in range(2)]
        self.assertIsNone(self.site.buildProtocol(None))
        wires[0].channel.connectionLost()
        self.assertIsNotNone(self.site.buildProtocol(None))

    def test_connections_from_one_address(self) -> None:
        """Only so many of them come from one address; who has none, as a socket file, counts not."""
        self.make(max_connections=9, per_address=2)
        here, there = (IPv4Address("TCP", f"192.0.2.{number}", 1) for number in (1, 2))
        wires = [Wire(self.site, here) for _ in range(2)]
        self.assertIsNone(self.site.buildProtocol(here))
        Wire(self.site, there)
        for _ in range(3):
            Wire(self.site, UNIXAddress("/run/xcap"))
        wires[0].channel.connectionLost()
        self.assertIsNotNone(self.site.buildProtocol(here))
        wires[1].channel.connectionLost()
        self.assertEqual((self.site.connections, len(self.site.by_address)), (4, 2))

    def test_silence(self) -> None:
        """A connection on which nothing comes is closed."""
        self.make(timeout=10)
        wire = Wire(self.site)
        wire.send(b"GET /a HTTP/1.1\r\n")
        self.clock.advance(11)
        self.assertTrue(wire.transport.disconnecting)

    def test_slow_request(self) -> None:
        """A request that comes octet by octet is not waited for longer than one that does not come;
        each has its own time.
        """
        self.make(timeout=10)
        for octets in (request(), b"PUT /a HTTP/1.1\r\nContent-Length: 50\r\n\r\n" + b"x" * 50):
            wire = Wire(self.site)
            for _ in range(3):
                self.clock.advance(9)
                self.assertIn(b"200 OK", wire.send(request()))
            for number in range(len(octets)):
                self.assertEqual(wire.transport.disconnecting, number > 12)
                wire.send(octets[number : number + 1])
                self.clock.advance(0.8)

    def test_long_head(self) -> None:
        """Neither a request line nor header fields can go on for ever."""
        wire = Wire(self.site)
        for _ in range(20):
            wire.send(b"GET /" + b"x" * 2000)
        self.assertTrue(wire.transport.disconnecting)
        wire = Wire(self.site)
        wire.send(b"GET / HTTP/1.1\r\n")
        for _ in range(20):
            wire.send(b"X: " + b"x" * 2000 + b"\r\n")
        self.assertTrue(wire.transport.disconnecting)


class CompressionTests(Case):
    """gzip on request (RFC 9110 §8.4, §12.5.3)."""

    def ask(self, *fields: str) -> tuple[bytes, bytes]:
        """Head and body of the answer to a GET."""
        self.answer = (200, (), b"<a/>" * 500)
        found = Wire(self.site).send(request("GET", "/", b"", *fields))
        head, _, body = found.partition(b"\r\n\r\n")
        return head, body

    def test_asked_for(self) -> None:
        """A client that takes gzip gets it, with the length of what is sent."""
        for field in ("gzip", "deflate, GZIP;q=0.5", "x-gzip ; q=1"):
            head, body = self.ask(f"Accept-Encoding: {field}")
            self.assertIn(b"Content-Encoding: gzip", head)
            self.assertIn(b"Vary: Accept-Encoding", head)
            self.assertIn(b"Content-Length: %d" % len(body), head)
            self.assertEqual(gzip.decompress(body), b"<a/>" * 500)

    def test_without_content(self) -> None:
        """A 304 has of Vary and Cache-Control what the 200 would have had (RFC 9110 §15.4.5)."""
        for status, body in ((200, b"x" * 5000), (304, b""), (200, b"x")):
            self.answer = (status, (("ETag", '"a"'),), body)
            head = Wire(self.site).send(request()).partition(b"\r\n\r\n")[0]
            self.assertIn(b"Vary: Accept-Encoding", head, status)
            self.assertIn(b"Cache-Control: no-cache", head)

    def test_not_asked_for(self) -> None:
        """One that does not, or refuses it, gets the document as it is."""
        for fields in ((), ("Accept-Encoding: identity",), ("Accept-Encoding: gzip;q=0.0",)):
            head, body = self.ask(*fields)
            self.assertNotIn(b"Content-Encoding", head)
            self.assertEqual(body, b"<a/>" * 500)


class SharingTests(Case):
    """Scripts of web pages (CORS)."""

    def test_off(self) -> None:
        """By default no page is let in."""
        found = Wire(self.site).send(request("GET", "/", b"", "Origin: https://a.example"))
        self.assertNotIn(b"Access-Control", found)

    def test_origins(self) -> None:
        """With the setting its origins are, and no others."""
        self.make(origins=["https://a.example"])
        found = Wire(self.site).send(request("GET", "/", b"", "Origin: https://a.example"))
        self.assertIn(b"Access-Control-Allow-Origin: https://a.example\r\n", found)
        self.assertIn(b"Access-Control-Expose-Headers: ETag", found)
        self.assertIn(b"Vary: Origin", found)
        for others in (("Origin: https://b.example",), ()):
            found = Wire(self.site).send(request("GET", "/", b"", *others))
            self.assertNotIn(b"Access-Control", found)
            # Caches must not give the one answer for the other.
            self.assertIn(b"Vary: Origin", found)

    def test_preflight(self) -> None:
        """A preflight is answered without credentials, which it can't have."""
        self.make(origins=["*"])
        found = Wire(self.site).send(
            request("OPTIONS", "/", b"", "Origin: https://a", "Access-Control-Request-Method: PUT")
        )
        self.assertIn(b"Access-Control-Allow-Methods: GET, HEAD, PUT, DELETE, OPTIONS", found)
        self.assertIn(b"If-Match", found)
        self.assertEqual(self.exchanges, [])


class MountTests(Case):
    """The resource in a site of another program."""

    def test_below_a_path(self) -> None:
        """What is above the root is taken off, and the encoding stays."""
        root = Resource()
        services = Resource()
        root.putChild(b"services", services)
        services.putChild(b"xcap", self.resource)
        site = Site(root, reactor=self.clock)
        found = Wire(site).send(request("GET", "/services/xcap/a/users/x%2Fy/b?c"))
        self.assertIn(b"200 OK", found)
        self.assertEqual(self.exchanges[0].uri, b"/a/users/x%2Fy/b?c")

    def test_limit_in_another_site(self) -> None:
        """A body that another site has let through is refused at the resource."""
        site = Site(self.resource, reactor=self.clock)
        found = Wire(site).send(request("PUT", "/a", b"x" * 101))
        self.assertIn(b"HTTP/1.1 413 ", found)
        self.assertEqual(self.exchanges, [])

    def test_leaf(self) -> None:
        """Nothing can be put below the XCAP root."""
        self.assertRaises(ValueError, self.resource.putChild, b"a", Resource())
        child: Any = self.resource.getChildWithDefault(b"a", Request(DummyChannel()))
        self.assertEqual(child.code, 404)
