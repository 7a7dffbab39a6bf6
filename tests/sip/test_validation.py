"""The checks that every element makes of a message (RFC 3261 §8.1.1, §20)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import SIPError
from simplestack.sip.message import (
    Request,
    Response,
    validate_request,
    validate_response,
)
from tests.sip.test_message import SUBSCRIBE, datagram, request


def other(method: str, *fields: str) -> bytes:
    """A request of another method with these fields."""
    start = f"{method} sip:bob@example.com SIP/2.0"
    return datagram(*fields, f"CSeq: 5 {method}", start=start, without="CSeq")


class CheckTests(SynchronousTestCase):
    """What an endpoint refuses."""

    def refused(self, data: bytes, text: str, status: int = 400) -> None:
        """The request is read, and refused by the check with a text that names the fault."""
        error = self.assertRaises(SIPError, validate_request, request(data))
        self.assertEqual(error.status, status)
        self.assertIn(text, error.text)

    def test_good(self) -> None:
        """A good request passes, and so does one of RFC 2543 (RFC 4475 §3.4.1)."""
        validate_request(request(SUBSCRIBE.encode()))
        validate_request(request(datagram(without="Max-Forwards")))
        validate_request(request(datagram("From: sip:a@b", without="From")))
        validate_request(
            request(datagram("Expires: soon", "X-Unknown: ;;,", "Contact: *", without="Contact"))
        )

    def test_missing(self) -> None:
        """§8.1.1: every request has To, From, CSeq, Call-ID and Via."""
        for name in ("To", "From", "CSeq", "Call-ID", "Via"):
            self.refused(datagram(without=name), f"{name} is missing")

    def test_repeated(self) -> None:
        """§7.3.1: a field that is no list stands once."""
        for field in (
            "To: <sip:x@y>",
            "f: <sip:x@y>;tag=2",
            "CSeq: 5 SUBSCRIBE",
            "i: 2@example.com",
            "Max-Forwards: 70",
            "o: reg",
        ):
            self.refused(datagram(field), "more than once")
        for field in ("Expires: 5", "Content-Type: a/b", "Suppress-If-Match: x"):
            self.refused(datagram(field, field), "more than once")
        self.refused(other("PUBLISH", "SIP-If-Match: x", "SIP-If-Match: x"), "more than once")

    def test_syntax(self) -> None:
        """§25.1: each field that a server acts on is refused by name."""
        for field in (
            "Max-Forwards: many",
            "Contact: sip:a@b?c=d",
            "Contact: <sip:a@b>,",
            "Route: p1",
            "Record-Route: <sip:p",
            "Accept: xml",
            "Require: a b",
            "Supported: a;b",
            "Event: a b",
            "Content-Type: text",
            "Content-Encoding: a b",
            "Via: SIP/2.0/UDP",
            "Call-ID: a b",
            "CSeq: 1",
            "CSeq: 4294967296 SUBSCRIBE",
            'To: "x <sip:a@b>',
            "From: <sip:a@b>;tag=",
            "Date: Fri, 01 Jan 2010 16:00:00 EST",
        ):
            name = field.partition(":")[0]
            self.refused(datagram(field, without=name), f"{name}: ")
        self.refused(other("REGISTER", "Path: x"), "Path: ")
        self.refused(other("PUBLISH", "SIP-If-Match: a b"), "SIP-If-Match: ")
        self.refused(other("NOTIFY", "Subscription-State: <a"), "Subscription-State: ")

    def test_not_applicable(self) -> None:
        """§20: "Not applicable" means that ... If one is placed in a request by mistake, it MUST be
        ignored by the UAS receiving the request": as "-" in the tables of RFC 3261 §20, RFC 3265
        §7.1 and RFC 3903 §11.3 says, and in words RFC 3903 §6 of Contact and Record-Route.
        """
        for method, names in {
            "REGISTER": "Event Record-Route Reply-To SIP-ETag SIP-If-Match Subscription-State",
            "OPTIONS": "Event Expires Reply-To SIP-ETag SIP-If-Match Subscription-State",
            "PUBLISH": "Contact Path Record-Route Reply-To Subscription-State SIP-ETag",
            "SUBSCRIBE": "Path Reply-To SIP-If-Match Subscription-State Min-Expires",
            "NOTIFY": "Expires Path Reply-To SIP-If-Match Min-Expires Service-Route",
        }.items():
            for name in names.split():
                # Neither what is in it counts nor how often it is there.
                text = other(method, f"{name}: <a b", f"{name}: *", f"{name}: *")
                if name == "Event":
                    text = text.replace(b"\r\nEvent: presence", b"")
                validate_request(request(text))

    def test_not_necessary(self) -> None:
        """§8.2.2: "A UAS SHOULD ignore any malformed header fields that are not necessary for
        processing requests."
        """
        for method in ("REGISTER", "OPTIONS", "PUBLISH", "NOTIFY"):
            validate_request(request(other(method, "Accept: xml", "Allow: A/B")))
        validate_request(request(datagram("Allow: A/B", "Allow-Events: a b")))

    def test_cseq_method(self) -> None:
        """§8.1.1.5: "The method MUST match that of the request"; of an unknown method it is 501."""
        self.refused(datagram("CSeq: 5 NOTIFY", without="CSeq"), "another method")
        self.refused(datagram("CSeq: 5 subscribe", without="CSeq"), "another method")
        self.refused(datagram(start="NEWMETHOD sip:a SIP/2.0"), "another method", 501)

    def test_request_uri(self) -> None:
        """§25.1 and table 1 of §19.1.1: a Request-URI is a URI, without header fields."""
        for uri in (
            "<sip:bob@example.com>",
            "bob@example.com",
            "sip:bob@example.com?Route=x",
            '"a"',
        ):
            error = self.assertRaises(
                SIPError, validate_request, request(datagram(start=f"SUBSCRIBE {uri} SIP/2.0"))
            )
            self.assertEqual(error.status, 400, uri)
        validate_request(request(datagram(start="SUBSCRIBE foo:bar SIP/2.0")))

    def test_branch(self) -> None:
        """RFC 4475 §3.2.1: the magic cookie alone is no branch."""
        self.refused(datagram("Via: SIP/2.0/UDP a;branch=z9hG4bK", without="Via"), "branch")

    def test_star_among_contacts(self) -> None:
        """§10.3 step 6: "*" with another contact is a 400."""
        self.refused(datagram("Contact: *"), "*")
        self.refused(datagram("Contact: *, <sip:a@b>", without="Contact"), "Contact")

    def test_responses(self) -> None:
        """§8.1.3.3: a response with two Vias, or one that can't be matched, is discarded."""
        good = Response(
            200,
            headers=Request("X", "sip:a", request(SUBSCRIBE.encode()).headers)
            .response(200)
            .headers,
        )
        good.set("Via", "SIP/2.0/UDP a;branch=z9hG4bKa")
        validate_response(good)
        for name, value in (
            ("Via", "SIP/2.0/UDP a;branch=z9hG4bKa, SIP/2.0/UDP b"),
            ("CSeq", "9999999999 X"),
            ("To", "x"),
        ):
            bad = Response(200, headers=dict(good.headers))
            bad.set(name, value)
            self.assertRaises(SIPError, validate_response, bad)
            bad.remove(name)
            self.assertRaises(SIPError, validate_response, bad)
        good.add("Via", "SIP/2.0/UDP b")
        self.assertRaises(SIPError, validate_response, good)
