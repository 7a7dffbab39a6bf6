"""The torture messages of RFC 4475, as datagrams and as streams."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import ParseError, SIPError
from simplestack.sip.framer import KEEP_ALIVE, KeepAlive, StreamFramer
from simplestack.sip.message import (
    Request,
    Response,
    parse_message,
    validate_request,
    validate_response,
)
from tests.torture import CASES, FOLDER, octets

# Two octets more than its second Content-Length says; on a stream they begin a message.
LEFT_OVER = ("dblreq.dat",)
NEXT = (
    b"OPTIONS sip:next@example.com SIP/2.0\r\nVia: SIP/2.0/TCP c;branch=z9hG4bKn\r\n"
    b"Content-Length: 2\r\n\r\nok"
)


def request(name: str) -> Request:
    """A message that is read as a request."""
    message = parse_message(octets(f"{name}.dat"))
    assert isinstance(message, Request)
    return message


def response(name: str) -> Response:
    """A message that is read as a response."""
    message = parse_message(octets(f"{name}.dat"))
    assert isinstance(message, Response)
    return message


def contents(message: Request | Response) -> tuple[str, dict[str, list[str]], bytes]:
    """All that is in a message, to compare."""
    return message.start_line(), message.headers, message.body


Seen = list[tuple[str, dict[str, list[str]], bytes] | KeepAlive]


def stream(pieces: list[bytes]) -> tuple[Seen, ParseError | None, StreamFramer]:
    """What a framer makes of pieces: the messages, the fault and the framer."""
    framer = StreamFramer()
    seen: Seen = []
    for piece in pieces:
        try:
            found = framer.feed(piece)
        except ParseError as error:
            seen += [m if isinstance(m, KeepAlive) else contents(m) for m in error.earlier]
            return seen, error, framer
        seen += [m if isinstance(m, KeepAlive) else contents(m) for m in found]
    return seen, None, framer


class TableTests(SynchronousTestCase):
    """All messages, each against its line of the index."""

    def test_all_there(self) -> None:
        """RFC 4475, appendix: the archive has 50 messages, and the index has them all."""
        self.assertEqual(len(CASES), 50)
        self.assertEqual(
            {case["file"] for case in CASES}, {path.name for path in FOLDER.glob("*.dat")}
        )

    def test_datagrams(self) -> None:
        """Each is read, or refused with its status and enough to answer it."""
        for case in CASES:
            try:
                message = parse_message(octets(case["file"]))
            except ParseError as error:
                self.assertEqual(error.status, case["parse"], case["file"])
                self.assertEqual(
                    isinstance(error.message, Request), bool(case["endpoint"]), case["file"]
                )
                self.assertTrue(error.text, case["file"])
            else:
                self.assertIsNone(case["parse"], case["file"])
                kind = Request if case["kind"] == "request" else Response
                self.assertIsInstance(message, kind, case["file"])

    def test_checks(self) -> None:
        """Each that is read passes the checks of an endpoint, or is refused with its status."""
        for case in CASES:
            if case["parse"] is not None:
                continue
            message = parse_message(octets(case["file"]))
            try:
                if isinstance(message, Request):
                    validate_request(message)
                else:
                    validate_response(message)
            except SIPError as error:
                self.assertEqual(error.status, case["validate"], f"{case['file']}: {error}")
                self.assertTrue(error.text, case["file"])
            else:
                self.assertIsNone(case["validate"], case["file"])

    def test_streams(self) -> None:
        """RFC 3261 §18.3: whole, byte by byte and followed by another message, a stream gives the same."""
        for case in CASES:
            data = octets(case["file"])
            whole, fault, framer = stream([data])
            pieces, fault_in_pieces, _ = stream([bytes([octet]) for octet in data])
            self.assertEqual(whole, pieces, case["file"])
            self.assertEqual(str(fault), str(fault_in_pieces), case["file"])
            if case["stream"] == "close":
                self.assertIsNotNone(fault, case["file"])
                continue
            self.assertEqual(fault is not None, case["file"] in LEFT_OVER, case["file"])
            if case["stream"] == "wait":
                self.assertEqual(whole, [], case["file"])
                self.assertTrue(framer.waiting, case["file"])
                continue
            self.assertEqual(whole[0], contents(parse_message(data)), case["file"])

    def test_trailing_data(self) -> None:
        """A message that follows on a stream is read, and in a datagram it is dropped (§18.3)."""
        for case in CASES:
            if case["stream"] != "message":
                continue
            data = octets(case["file"])
            if case["file"] in LEFT_OVER:
                continue
            alone = stream([data])[0]
            both, fault, framer = stream([data + NEXT])
            self.assertIsNone(fault, case["file"])
            self.assertEqual(both, [*alone, contents(parse_message(NEXT))], case["file"])
            self.assertFalse(framer.waiting)
            self.assertEqual(
                contents(parse_message(data + NEXT)), contents(parse_message(data)), case["file"]
            )

    def test_written_again(self) -> None:
        """What is read and written is the same when it is read again."""
        for case in CASES:
            if case["parse"] is not None:
                continue
            message = parse_message(octets(case["file"]))
            again = parse_message(message.to_bytes())
            again.headers.pop("Content-Length", None)
            message.headers.pop("Content-Length", None)
            self.assertEqual(contents(message), contents(again), case["file"])


class DetailTests(SynchronousTestCase):
    """What must be found in single messages."""

    def test_wsinv(self) -> None:
        """§3.1.1.1: folding, compact forms, odd case and LWS; an unknown field keeps its value."""
        message = request("wsinv")
        self.assertEqual(message.to.tag, "1918181833n")
        self.assertEqual(message.from_.display, 'J Rosenberg \\"')
        self.assertEqual(message.from_.tag, "98asjd8")
        self.assertEqual(message.max_forwards, 68)
        self.assertEqual(str(message.cseq), "9 INVITE")
        self.assertEqual([via.transport for via in message.vias], ["UDP", "TCP", "UDP"])
        self.assertEqual(
            [via.branch for via in message.vias],
            ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"],
        )
        self.assertEqual(message.get("Subject"), "")
        self.assertEqual(message.get("UnknownHeaderWithUnusualValue"), ";;,,;;,;")
        self.assertEqual(
            message.get("newfangledheader"), "newfangled value continued newfangled value"
        )
        self.assertTrue(message.routes[0].uri.has_param("lr"))
        self.assertEqual(message.routes[0].uri.param("unknownwith"), "value")
        self.assertEqual(message.routes[0].uri.param("unknown-no-value"), "")
        contact = message.contacts[0]
        self.assertEqual(contact.display, 'Quoted string ""')
        self.assertEqual(contact.param("newparam"), "newvalue")
        self.assertEqual(contact.param("q"), "0.33")
        self.assertEqual(len(message.body), 150)

    def test_intmeth(self) -> None:
        """§3.1.1.2: all characters that methods, URIs, names and parameters may have."""
        message = request("intmeth")
        self.assertEqual(message.method, "!interesting-Method0123456789_*+`.%indeed'~")
        self.assertEqual(
            message.request_uri.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"
        )
        self.assertEqual(message.request_uri.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
        self.assertEqual(message.to.display, "BEL:\x07 NUL:\x00 DEL:\x7f")
        self.assertEqual(message.from_.display, "token1~` token2'+_ token3*%!.-")
        self.assertEqual(message.from_.param("fromparam''~+*_!.-%"), "работающий")
        self.assertEqual(message.get("extensionHeader-!.%*+_`'~"), "\ufeff大停電")

    def test_esc01(self) -> None:
        """§3.1.1.3: escapes are undone once."""
        message = request("esc01")
        self.assertEqual(message.request_uri.user, "sips:user@example.com")
        self.assertEqual(message.request_uri.host, "example.net")
        self.assertEqual(message.to.uri.user, "user")
        self.assertEqual(message.from_.uri.user, "I have spaces")
        contact = message.contacts[0].uri
        self.assertEqual(contact.user, "caller")
        self.assertTrue(contact.has_param("lr"))
        self.assertEqual(contact.param("name"), "value%41")
        self.assertEqual(str(contact), "sip:caller@host5.example.net;lr;name=value%2541")

    def test_escnull(self) -> None:
        """§3.1.1.4: an escaped NUL shortens nothing; the two contacts differ."""
        message = request("escnull")
        self.assertEqual(message.to.uri.user, "null-\x00-null")
        self.assertEqual(message.to.uri.aor, "sip:null-%00-null@example.com")
        first, second = message.contacts
        self.assertFalse(first.uri.equals(second.uri))
        self.assertNotEqual(first.uri.key(), second.uri.key())

    def test_esc02(self) -> None:
        """§3.1.1.5: % is no escape in a method, a field's name, or a quoted string."""
        message = request("esc02")
        self.assertEqual(message.method, "RE%47IST%45R")
        self.assertEqual(message.to.display, "%Z%45")
        self.assertEqual(len(message.contacts), 2)
        self.assertEqual(message.get("C%6Fntact"), "<sip:alias2@host2.example.com>")

    def test_lwsdisp(self) -> None:
        """§3.1.1.6: a display name may touch the bracket."""
        self.assertEqual(request("lwsdisp").from_.display, "caller")

    def test_longreq(self) -> None:
        """§3.1.1.7: long values are taken whole."""
        message = request("longreq")
        self.assertEqual(len(message.vias), 34)
        self.assertEqual(len(message.to.uri.params), 3)
        self.assertEqual(message.to.uri.port, 6000)
        self.assertEqual(len(message.call_id), 141)

    def test_dblreq(self) -> None:
        """§3.1.1.8: what follows in the datagram is dropped; a stream has a keep-alive there."""
        message = request("dblreq")
        self.assertEqual((message.method, message.body), ("REGISTER", b""))
        self.assertNotIn(b"joe@example.com", message.to_bytes())
        seen, fault, _ = stream([octets("dblreq.dat")])
        self.assertEqual(len(seen), 2)
        self.assertNotIn(KEEP_ALIVE, seen)
        assert fault is not None
        self.assertIsNone(fault.message)

    def test_semiuri(self) -> None:
        """§3.1.1.9: a semicolon in the user part belongs to it."""
        uri = request("semiuri").request_uri
        self.assertEqual((uri.user, uri.host), ("user;par=u@example.net", "example.com"))
        self.assertEqual(uri.params, ())

    def test_transports(self) -> None:
        """§3.1.1.10: transports nobody knows are read."""
        self.assertEqual(
            [via.transport for via in request("transports").vias],
            ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"],
        )

    def test_mpart01(self) -> None:
        """§3.1.1.11: a binary body is taken octet for octet."""
        message = request("mpart01")
        self.assertEqual(len(message.body), int(message.get("Content-Length") or ""))
        self.assertIn(b"\x00", message.body)
        content_type = message.content_type
        assert content_type is not None
        self.assertEqual(content_type.type, "multipart/mixed")
        self.assertEqual(content_type.param("boundary"), "7a9cbec02ceef655")

    def test_reasons(self) -> None:
        """§3.1.1.12, §3.1.1.13: a reason phrase beyond ASCII, and an empty one."""
        self.assertIn("просто", response("unreason").reason)
        message = response("noreason")
        self.assertEqual((message.status, message.reason), (100, ""))

    def test_escruri(self) -> None:
        """§3.1.2.11: header fields in a Request-URI never become header fields."""
        self.assertNotIn("Route", request("escruri").headers)

    def test_cparam(self) -> None:
        """§3.3.12, §3.3.13: outside of <> a parameter is the field's, inside it is the URI's."""
        outside = request("cparam01").contacts[0]
        self.assertTrue(outside.has_param("unknownparam"))
        self.assertFalse(outside.uri.has_param("unknownparam"))
        inside = request("cparam02").contacts[0]
        self.assertFalse(inside.has_param("unknownparam"))
        self.assertTrue(inside.uri.has_param("unknownparam"))

    def test_regescrt(self) -> None:
        """§3.3.14: an escaped header stays in the contact's URI and is escaped again."""
        contact = request("regescrt").contacts[0]
        self.assertEqual(contact.uri.headers, (("Route", "<sip:sip.example.com>"),))
        self.assertIn("Route=%3Csip:sip.example.com%3E", str(contact))

    def test_schemes(self) -> None:
        """§3.3.2 to §3.3.4: schemes nobody knows are read, to be refused by whoever routes."""
        self.assertEqual(request("unkscm").request_uri.scheme, "nobodyknowsthisscheme")
        self.assertEqual(request("novelsc").request_uri.scheme, "soap.beep")
        message = request("unksm2")
        self.assertEqual(message.to.uri.scheme, "isbn")
        self.assertEqual(message.from_.uri.opaque, "//www.example.com")
        self.assertEqual(message.contacts[0].uri.opaque, "John_Smith")

    def test_extensions(self) -> None:
        """§3.3.5: the tags of Require and Proxy-Require, for the 420."""
        message = request("bext01")
        self.assertEqual(message.require, {"nothingSupportsThis", "nothingSupportsThisEither"})
        self.assertEqual(len(message.proxy_require), 2)

    def test_regaut01(self) -> None:
        """§3.3.7: of an unknown scheme the name is read and nothing more."""
        (credentials,) = request("regaut01").authorization
        self.assertEqual((credentials.scheme, credentials.params), ("nooneknowsthisscheme", {}))

    def test_inv2543(self) -> None:
        """§3.4.1: what RFC 2543 left out is not missed."""
        message = request("inv2543")
        self.assertIsNone(message.top_via.branch)
        self.assertIsNone(message.from_.tag)
        self.assertIsNone(message.max_forwards)
        self.assertTrue(message.body.startswith(b"v=0"))
