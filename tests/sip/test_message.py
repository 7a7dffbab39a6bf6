"""Messages: reading, writing, checking, answering."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import ParseError, SIPError
from simplestack.sip.message import (
    Limits,
    Request,
    Response,
    parse_message,
)

SUBSCRIBE = (
    "SUBSCRIBE sip:bob@example.com SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport\r\n"
    "Via: SIP/2.0/TCP b.example;branch=z9hG4bKb, SIP/2.0/UDP c.example;branch=z9hG4bKc\r\n"
    "Max-Forwards: 70\r\n"
    "From: Alice <sip:alice@example.com>;tag=1\r\n"
    "To: <sip:bob@example.com>\r\n"
    "Call-ID: 1@example.com\r\n"
    "CSeq: 5 SUBSCRIBE\r\n"
    "Contact: <sip:alice@192.0.2.1>\r\n"
    "Record-Route: <sip:p2.example;lr>,<sip:p1.example;lr>\r\n"
    "Event: presence\r\n"
    "\r\n"
)


def datagram(*fields: str, start: str = "", without: str = "", body: bytes = b"") -> bytes:
    """The SUBSCRIBE above with fields added, one left out, another start line."""
    lines = SUBSCRIBE.removesuffix("\r\n\r\n").split("\r\n")
    lines[0] = start or lines[0]
    kept = [line for line in lines if not without or not line.startswith(without + ":")]
    return "\r\n".join([*kept, *fields, "", ""]).encode("utf-8", "surrogateescape") + body


def request(data: bytes) -> Request:
    """A datagram that is a request."""
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


class ReadingTests(SynchronousTestCase):
    """RFC 3261 §7."""

    def test_response_read_late(self) -> None:
        """The header of a response is the same, whether all of it is asked for or one field."""
        lines = (
            "SIP/2.0 200 OK",
            "Via: SIP/2.0/UDP a.example;branch=z9hG4bK1",
            "v:SIP/2.0/UDP b.example",
            "CSeq:  7 NOTIFY ",
            "to: <sip:a@a.example>",
            "I: x",
            "Content-Length: 0",
        )
        response = parse_message("\r\n".join([*lines, "", ""]).encode())
        assert isinstance(response, Response)
        self.assertEqual(response.first("CSeq"), "7 NOTIFY")
        self.assertEqual(response.first("To"), "<sip:a@a.example>")
        self.assertIsNone(response.first("From"))
        self.assertEqual(response.first("Call-ID"), "x")
        self.assertEqual(
            response.headers,
            {
                "Via": ["SIP/2.0/UDP a.example;branch=z9hG4bK1", "SIP/2.0/UDP b.example"],
                "CSeq": ["7 NOTIFY"],
                "To": ["<sip:a@a.example>"],
                "Call-ID": ["x"],
                "Content-Length": ["0"],
            },
        )
        self.assertEqual(response.first("CSeq"), "7 NOTIFY")
        self.assertFalse(hasattr(response, "header"))

    def test_response_continued(self) -> None:
        """§7.3.1: a field that goes on in the next line is the same, whoever asks for it first."""
        text = (
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\n ;branch=z9hG4bK1\r\nCSeq: 1\r\n\tNOTIFY\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        for name in ("Via", "CSeq"):
            response = parse_message(text.encode())
            assert isinstance(response, Response)
            self.assertEqual(response.first(name), response.headers[name][0])
            self.assertEqual(response.top_via.branch, "z9hG4bK1")
            self.assertEqual(response.headers["CSeq"], ["1 NOTIFY"])

    def test_response_with_damage(self) -> None:
        """§8.2.2: "ignore any malformed header fields that are not necessary", of responses too."""
        for line in ("no field", "a\rb: c", "a: b\nc", "a: b\rTo: c", "a b: c", ": d"):
            text = f"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\n{line}\r\nContent-Length: 0\r\n\r\n"
            response = parse_message(text.encode())
            assert isinstance(response, Response)
            self.assertEqual(response.first("Via"), "SIP/2.0/UDP a")
            self.assertEqual([*response.headers], ["Via", "Content-Length"], line)

    def test_response_looked_at(self) -> None:
        """What may be no response without a body is read whole, and refused where it is bad."""
        for text in (
            "SIP/2.0 700 OK\r\nVia: SIP/2.0/UDP a\r\nContent-Length: 0\r\n\r\n",
            "SIP/2.0 200OK\r\nVia: SIP/2.0/UDP a\r\nContent-Length: 0\r\n\r\n",
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP a\r\nContent-Length: 7\r\n\r\n",
            "SIP/2.0 200 OK\r\nno field\r\n\r\nContent-Length: 0\r\n\r\n",
            "SIP/2.0 200 OK\r\n" + "a: b\r\n" * 256 + "Content-Length: 0\r\n\r\n",
        ):
            with self.assertRaises(ParseError, msg=text):
                parse_message(text.encode())

    def test_request(self) -> None:
        """§7.1: the parts of a request, header fields in order."""
        message = request(SUBSCRIBE.encode() + b"body")
        self.assertEqual((message.method, message.uri), ("SUBSCRIBE", "sip:bob@example.com"))
        self.assertEqual(message.body, b"body")
        self.assertEqual(message.request_uri.user, "bob")
        self.assertEqual(
            [via.host for via in message.vias], ["192.0.2.1", "b.example", "c.example"]
        )
        self.assertEqual(message.top_via.branch, "z9hG4bKa")
        self.assertEqual(
            [str(route) for route in message.record_routes],
            ["<sip:p2.example;lr>", "<sip:p1.example;lr>"],
        )
        self.assertEqual(len(message.headers["Via"]), 2)
        self.assertEqual(repr(message), "<Request SUBSCRIBE sip:bob@example.com>")

    def test_response(self) -> None:
        """§7.2: the parts of a response; a missing SP before an empty phrase is forgiven."""
        for line, status, reason in (
            ("SIP/2.0 200 OK", 200, "OK"),
            ("SIP/2.0 404 Not  Found", 404, "Not  Found"),
            ("sip/2.0 183 ", 183, ""),
            ("SIP/2.0 699", 699, ""),
        ):
            message = parse_message(datagram(start=line))
            assert isinstance(message, Response)
            self.assertEqual((message.status, message.reason), (status, reason))
            self.assertEqual(repr(message), f"<Response {status} {reason}>")

    def test_typed(self) -> None:
        """§20: values are read when asked for."""
        message = request(
            datagram(
                "Expires: 600",
                "Min-Expires: 60",
                "Accept: application/pidf+xml, text/*;q=0.1",
                "Supported: eventlist",
                "k: path,gruu",
                "Require:",
                "Allow: SUBSCRIBE, NOTIFY",
                "u: presence, reg",
                "SIP-If-Match: abc",
                "SIP-ETag: def",
                "Suppress-If-Match: *",
                "Subscription-State: active;expires=5",
                "c: Text/Plain;charset=UTF-8",
                "Content-Disposition: render;handling=optional",
                "e: GZIP",
                "Retry-After: 5",
                "Date: Sat, 13 Nov 2010 23:29:00 GMT",
                'Warning: 399 a "x, y", 307 b "z"',
                "Path: <sip:p;lr>, <sip:q;lr>",
                "Service-Route: <sip:s;lr>",
                "Route: <sip:r;lr>",
                "Unsupported: x",
                "Proxy-Require: y",
                'Authorization: Digest username="a"',
                "Authorization: Basic abc",
                'Proxy-Authorization: Digest username="p"',
                'WWW-Authenticate: Digest realm="w"',
                'Proxy-Authenticate: Digest realm="p"',
            )
        )
        self.assertEqual((message.expires, message.min_expires), (600, 60))
        assert message.accept is not None
        self.assertEqual(
            [media.type for media in message.accept], ["application/pidf+xml", "text/*"]
        )
        self.assertEqual(message.supported, {"eventlist", "path", "gruu"})
        self.assertEqual(message.require, frozenset())
        self.assertEqual(message.allow, {"SUBSCRIBE", "NOTIFY"})
        self.assertEqual(message.allow_events, {"presence", "reg"})
        self.assertEqual(
            (message.if_match, message.etag, message.suppress_if_match), ("abc", "def", "*")
        )
        assert message.subscription_state is not None
        self.assertEqual(message.subscription_state.expires, 5)
        assert message.content_type is not None
        self.assertEqual(message.content_type.type, "text/plain")
        assert message.content_disposition is not None
        self.assertFalse(message.content_disposition.required)
        self.assertEqual(message.content_encoding, ("gzip",))
        assert message.retry_after is not None
        self.assertEqual(message.retry_after.seconds, 5)
        assert message.date is not None
        self.assertEqual(message.date.year, 2010)
        self.assertEqual([w.text for w in message.warnings], ["x, y", "z"])
        self.assertEqual(
            [len(message.path), len(message.service_route), len(message.routes)], [2, 1, 1]
        )
        self.assertEqual((message.unsupported, message.proxy_require), ({"x"}, {"y"}))
        self.assertEqual([c.scheme for c in message.authorization], ["digest", "basic"])
        self.assertEqual(message.proxy_authorization[0].username, "p")
        self.assertEqual([c.param("realm") for c in message.challenges], ["w", "p"])
        assert message.event is not None
        self.assertEqual(message.event.package, "presence")

    def test_absent(self) -> None:
        """A field that may be missing is None or empty; §20.1: no Accept is no empty Accept."""
        message = request(SUBSCRIBE.encode())
        self.assertIsNone(message.accept)
        self.assertEqual(request(datagram("Accept:")).accept, ())
        self.assertIsNone(message.expires)
        self.assertIsNone(message.content_type)
        self.assertEqual(message.routes, ())
        self.assertEqual(message.supported, frozenset())
        self.assertIsNone(Request("OPTIONS", "sip:a").max_forwards)

    def test_mandatory(self) -> None:
        """§8.1.1: a field that every message has is missed with a 400."""
        message = Request("OPTIONS", "sip:a")
        for read in (
            lambda: message.top_via,
            lambda: message.from_,
            lambda: message.to,
            lambda: message.call_id,
            lambda: message.cseq,
        ):
            error = self.assertRaises(SIPError, read)
            self.assertEqual(error.status, 400)
            self.assertIn("is missing", error.text)

    def test_contact_star(self) -> None:
        """§10.2.2: "*" stands alone and is no address."""
        message = request(datagram("Contact: *", without="Contact"))
        self.assertTrue(message.contact_is_star)
        self.assertEqual(message.contacts, ())

    def test_line_ends(self) -> None:
        """§7.5: line ends before the start line are skipped; §7: CR and LF stand together alone."""
        self.assertEqual(request(b"\r\n\r\n\r\n" + SUBSCRIBE.encode()).method, "SUBSCRIBE")
        for field in ("X: a\nVia: b", "X: a\rb", "X: \n", "\rX: a"):
            error = self.assertRaises(ParseError, parse_message, datagram(field))
            self.assertEqual(error.status, 400)

    def test_content_length(self) -> None:
        """§18.3: a longer datagram is cut, a shorter one is a 400; and so is what is no number."""
        self.assertEqual(request(datagram("Content-Length: 2", body=b"abc")).body, b"ab")
        self.assertEqual(request(datagram("l:2", body=b"ab")).body, b"ab")
        self.assertEqual(request(datagram("l: 2", "l: 02", body=b"ab")).body, b"ab")
        for length in ("3", "-1", "", "a", "1 2", "9" * 30, "٢"):
            error = self.assertRaises(
                ParseError, parse_message, datagram(f"Content-Length: {length}", body=b"ab")
            )
            self.assertEqual(error.status, 400, length)
            assert isinstance(error.message, Request)
            self.assertEqual(error.message.cseq.number, 5)
        self.assertRaises(ParseError, parse_message, datagram("l: 1", "l: 2", body=b"ab"))

    def test_refused(self) -> None:
        """§7.1, §7.3: start lines and header lines that are none; what can be is kept for the answer."""
        for start, status in (
            ("SUBSCRIBE sip:bob@example.com", 400),
            ("SUBSCRIBE  sip:bob@example.com SIP/2.0", 400),
            ("SUBSCRIBE sip:bob@example.com  SIP/2.0", 400),
            ("SUBSCRIBE  SIP/2.0", 400),
            (" SUBSCRIBE sip:bob@example.com SIP/2.0", 400),
            ("SUBSCRIBE sip:bob@example.com SIP/2.0 ", 400),
            ("SUBSCRIBE\tsip:bob@example.com\tSIP/2.0", 400),
            ("SUB/SCRIBE sip:bob@example.com SIP/2.0", 400),
            ("SUBSCRIBE sip:bob@example.com HTTP/1.1", 400),
            ("SUBSCRIBE sip:bob@example.com SIP/2", 400),
            ("SUBSCRIBE sip:bob@example.com SIP/2.1", 505),
            ("SUBSCRIBE sip:bob@example.com sip/3.0", 505),
        ):
            error = self.assertRaises(ParseError, parse_message, datagram(start=start))
            self.assertEqual(error.status, status, start)
            self.assertTrue(error.text)
            assert isinstance(error.message, Request)
            self.assertEqual(len(error.message.vias), 3)
        for line in ("no colon", ": no name", "na me: x", "näme: x", "Via"):
            error = self.assertRaises(ParseError, parse_message, datagram(line))
            assert isinstance(error.message, Request)
            self.assertEqual(error.message.call_id, "1@example.com")

    def test_damaged_credentials(self) -> None:
        """What is said of a damaged field, in a Warning and the log, has no secret in it."""
        for field in (
            b'Authori zation: Digest username="bob", response="0123abcd"',
            b'response="0123abcd", nonce="x"',
            b"Auth@: Basic 0123abcd",
        ):
            data = b"OPTIONS sip:localhost SIP/2.0\r\n" + field + b"\r\n\r\n"
            error = self.assertRaises(ParseError, parse_message, data)
            self.assertIn("not a header field", error.text)
            self.assertNotIn("0123abcd", error.text)

    def test_version_case(self) -> None:
        """§7.1: the SIP-Version is case-insensitive."""
        self.assertEqual(request(datagram(start="OPTIONS sip:a Sip/2.0")).method, "OPTIONS")

    def test_nothing_to_answer(self) -> None:
        """Without a Via, or of a response that is none, nothing is left to answer."""
        for data in (
            b"",
            b"\r\n",
            b"\x00\xff" * 100,
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            datagram(start="SIP/2.0 99 x"),
            datagram(start="SIP/2.0 2000 x"),
            datagram(start="SIP/2.0 abc x"),
            datagram(start="SIP/3.0 200 OK"),
        ):
            error = self.assertRaises(ParseError, parse_message, data)
            self.assertIsNone(error.message, data)

    def test_no_end(self) -> None:
        """§7: "The empty line MUST be present even if the message-body is not"."""
        error = self.assertRaises(ParseError, parse_message, SUBSCRIBE.encode()[:-2])
        assert isinstance(error.message, Request)
        self.assertEqual(error.message.cseq.number, 5)

    def test_limits(self) -> None:
        """§21.5.7: what is too large is a 513, with enough read to say so."""
        limits = Limits(head=1000, lines=20, body=10)
        for data in (
            datagram("X: " + "x" * 1000),
            datagram("X: " + "x" * 100000),
            datagram(*["X: y"] * 20),
            datagram(body=b"x" * 11),
            datagram("l: 11", body=b"x" * 11),
        ):
            error = self.assertRaises(ParseError, parse_message, data, limits)
            self.assertEqual(error.status, 513)
            assert isinstance(error.message, Request)
            self.assertEqual(error.message.cseq.number, 5)
        parse_message(datagram("X: y", body=b"x" * 10), limits)

    def test_unknown_octets(self) -> None:
        """Octets that are no UTF-8 come out as they went in."""
        data = datagram("Subject: \udcff\udcfe é", 'X-Y: "\x01"', "Content-Length: 0")
        self.assertEqual(parse_message(data).to_bytes(), data)


class HeaderFieldTests(SynchronousTestCase):
    """Access to raw values."""

    def test_get(self) -> None:
        """§7.3.1: names are case-insensitive, lists are divided or on several lines alike."""
        message = request(SUBSCRIBE.encode())
        self.assertEqual(message.get("v"), "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa;rport")
        self.assertEqual(len(message.get_all("vIA")), 3)
        self.assertIsNone(message.get("Subject"))
        self.assertEqual(message.get_all("Subject"), [])
        message.set("Subject", "a, b")
        self.assertEqual(message.get_all("s"), ["a, b"])

    def test_change(self) -> None:
        """Values are set, added, put in front and removed by any spelling of the name."""
        message = request(SUBSCRIBE.encode())
        message.set("expires", "5")
        message.set("EXPIRES", "6")
        message.add("k", "a")
        message.add("Supported", "b")
        message.prepend("supported", "c")
        message.prepend("x-first", "1")
        message.remove("event")
        message.remove("event")
        self.assertEqual(message.expires, 6)
        self.assertEqual(message.headers["Supported"], ["c", "a", "b"])
        self.assertEqual(next(iter(message.headers)), "X-First")
        self.assertIsNone(message.event)

    def test_no_injection(self) -> None:
        """A line end in a value never leaves: it would be a header field of the sender's choice."""
        for value in ("a\r\nVia: b", "a\nb", "a\rb", "a\r\n"):
            message = Request("OPTIONS", "sip:a", {"Subject": [value]})
            self.assertRaises(ValueError, message.to_bytes)
        self.assertRaises(ValueError, Response(200, "OK\r\nX: y").to_bytes)

    def test_written(self) -> None:
        """§20.14: Content-Length is that of the body, whatever was said before."""
        message = Request(
            "MESSAGE", "sip:a", {"Content-Length": ["99"], "X": ["1", "2"]}, b"\xc3\xa9"
        )
        self.assertEqual(
            message.to_bytes(),
            b"MESSAGE sip:a SIP/2.0\r\nX: 1\r\nX: 2\r\nContent-Length: 2\r\n\r\n\xc3\xa9",
        )


class AnsweringTests(SynchronousTestCase):
    """RFC 3261 §8.2.6."""

    def test_copied(self) -> None:
        """§8.2.6.2: Via, From, To, Call-ID and CSeq are copied, To gets a tag."""
        message = request(datagram("Timestamp: 54"))
        answer = message.response(200, to_tag="t")
        self.assertEqual((answer.status, answer.reason), (200, "OK"))
        for name in ("Via", "From", "Call-ID", "CSeq", "Timestamp"):
            self.assertEqual(answer.headers[name], message.headers[name])
        self.assertEqual(answer.headers["To"], ["<sip:bob@example.com>;tag=t"])
        self.assertNotIn("Record-Route", answer.headers)
        answer.add("Via", "x")
        self.assertEqual(len(message.headers["Via"]), 2)

    def test_tag_stays(self) -> None:
        """§8.2.6.2: with a To tag in the request, "the To header field in the response MUST equal that of the request"."""
        for to in (
            "<sip:bob@example.com>;tag=x",
            "sip:bob@example.com ; TAG=x",
            '"a;tag=y" <sip:a@b>;tag=x',
        ):
            message = request(datagram(f"To: {to}", without="To"))
            self.assertEqual(message.response(200, to_tag="t").headers["To"], [to])
        message = request(datagram('To: "a;tag=y" <sip:tag@b;tag=z>', without="To"))
        self.assertEqual(message.response(200, to_tag="t").to.tag, "t")

    def test_record_route(self) -> None:
        """§12.1.1: the UAS copies Record-Route into a response that makes a dialog."""
        message = request(SUBSCRIBE.encode())
        answer = message.response(200, record_route=True)
        self.assertEqual(answer.headers["Record-Route"], message.headers["Record-Route"])

    def test_refusal(self) -> None:
        """§20.43: a refusal brings its header fields, and a Warning that a person can read."""
        error = SIPError(423, headers=[("Min-Expires", "60")], text='say "more"\r\nthan 60')
        answer = request(SUBSCRIBE.encode()).refusal(error, "t")
        self.assertEqual((answer.status, answer.reason), (423, "Interval Too Brief"))
        self.assertEqual(answer.min_expires, 60)
        (warning,) = answer.warnings
        self.assertEqual(
            (warning.code, warning.agent, warning.text), (399, "simplestack", 'say "more"  than 60')
        )
        self.assertEqual(answer.to.tag, "t")
        answer.to_bytes()

    def test_broken_request(self) -> None:
        """A request that lacks what is copied, or has it broken, is answered all the same."""
        answer = Request("X", "sip:a", {"Via": ["v"], "To": ['"tag']}).refusal(SIPError(400), "t")
        self.assertEqual(answer.headers, {"Via": ["v"], "To": ['"tag']})
