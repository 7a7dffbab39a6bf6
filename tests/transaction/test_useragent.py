"""The checks of a user agent server (RFC 3261 §8.2) and OPTIONS (§11.2)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request
from simplestack.transaction.useragent import (
    Capabilities,
    check_content,
    check_max_forwards,
    check_require,
    inspect,
    options,
)
from tests.transaction.messages import request

OURS = Capabilities(
    methods=("OPTIONS", "PUBLISH", "SUBSCRIBE", "CANCEL"),
    domains={"example.com"},
    content_types={"PUBLISH": ("application/pidf+xml",), "SUBSCRIBE": ("application/x",)},
    extensions=("path",),
    events=("presence", "reg"),
    encodings=("gzip",),
    server="simplestack",
)
PIDF = "Content-Type: application/pidf+xml\r\n"


class InspectTests(SynchronousTestCase):
    """Each check, and their order."""

    def refusal(self, message: Request, *, merged: bool = False) -> SIPError:
        """The error that a request is refused with."""
        error: SIPError = self.assertRaises(SIPError, inspect, message, OURS, merged=merged)
        return error

    def test_fine(self) -> None:
        """What we can do passes."""
        inspect(request("OPTIONS"), OURS)
        inspect(request("PUBLISH", more=PIDF, body="<x/>"), OURS)
        inspect(request("SUBSCRIBE", more="Require: path\r\n"), OURS)

    def test_method(self) -> None:
        """405 with Allow for a known method, 501 for others (RFC 3261 §8.2.1, §21.5.2)."""
        for method, status in (("MESSAGE", 405), ("NEWFANGLED", 501), ("publish", 501)):
            error = self.refusal(request(method))
            self.assertEqual(error.status, status)
            self.assertIn(("Allow", "OPTIONS, PUBLISH, SUBSCRIBE, CANCEL"), error.headers)

    def test_scheme(self) -> None:
        """416 for the Request-URI (RFC 3261 §8.2.2.1), never for To (RFC 4475 §3.3.3)."""
        self.assertEqual(self.refusal(request(uri="tel:+1")).status, 416)
        self.assertEqual(self.refusal(request(uri="nobodyKnowsThisScheme:x")).status, 416)
        inspect(request(to="<isbn:2983792873>"), OURS)

    def test_domain(self) -> None:
        """404 for a domain that is not ours (RFC 3261 §8.2.2.1), but in dialogs."""
        self.assertEqual(self.refusal(request(uri="sip:a@other.example.com")).status, 404)
        inspect(request("SUBSCRIBE", uri="sip:a@192.0.2.1", to="<sip:a@b>;tag=x"), OURS)

    def test_merged(self) -> None:
        """482 for a merged request (RFC 3261 §8.2.2.2)."""
        self.assertEqual(self.refusal(request(), merged=True).status, 482)

    def test_require(self) -> None:
        """420 with Unsupported listing what we lack (RFC 3261 §8.2.2.3)."""
        error = self.refusal(request(more="Require: a, Path, b\r\nRequire: a\r\n"))
        self.assertEqual(error.status, 420)
        self.assertEqual(error.headers, (("Unsupported", "a, b"),))

    def test_require_of_cancel_is_ignored(self) -> None:
        """Require in CANCEL and ACK is ignored (RFC 3261 §8.2.2.3)."""
        for method in ("CANCEL", "ACK"):
            check_require(request(method, more="Require: a\r\n"), ())

    def test_content_type(self) -> None:
        """415 with Accept for a type that the method does not take (RFC 3261 §8.2.3)."""
        for more in ("Content-Type: text/plain\r\n", "", "Content-Type: application/x\r\n"):
            error = self.refusal(request("PUBLISH", more=more, body="x"))
            self.assertEqual(error.status, 415)
            self.assertEqual(error.headers, (("Accept", "application/pidf+xml"),))
        error = self.refusal(request("OPTIONS", more=PIDF, body="x"))
        self.assertEqual(error.headers, (("Accept", ""),))

    def test_content_encoding(self) -> None:
        """415 with Accept-Encoding for a coding we lack (RFC 3261 §8.2.3, §21.4.13)."""
        more = PIDF + "Content-Encoding: br\r\n"
        error = self.refusal(request("PUBLISH", more=more, body="x"))
        self.assertEqual(error.status, 415)
        self.assertEqual(error.headers, (("Accept-Encoding", "gzip, identity"),))
        inspect(request("PUBLISH", more=PIDF + "Content-Encoding: gzip\r\n", body="x"), OURS)

    def test_optional_body(self) -> None:
        """An optional body that is not understood is ignored (RFC 3261 §8.2.3, §20.11)."""
        more = "Content-Type: text/plain\r\nContent-Disposition: render;handling=optional\r\n"
        self.assertFalse(check_content(request("PUBLISH", more=more, body="x"), ("a/b",)))
        self.assertTrue(
            check_content(request("PUBLISH", more=PIDF, body="x"), ("application/pidf+xml",))
        )
        self.assertFalse(check_content(request("PUBLISH", more=PIDF), ()))
        required = more.replace("optional", "required")
        error = self.refusal(request("PUBLISH", more=required, body="x"))
        self.assertEqual(error.status, 415)

    def test_order(self) -> None:
        """Method, scheme, domain, merged, Require, content: the first fault answers (§8.2)."""
        parts = {
            "method": "NEW",
            "uri": "tel:+1",
            "more": "Require: a\r\nContent-Type: text/plain\r\n",
            "body": "x",
        }
        seen = []
        for key, value in (
            ("method", "OPTIONS"),
            ("uri", "sip:other.example.com"),
            ("uri", "sip:example.com"),
            ("merged", ""),
            ("more", "Content-Type: text/plain\r\n"),
            ("body", ""),
        ):
            message = request(
                parts["method"], uri=parts["uri"], more=parts["more"], body=parts["body"]
            )
            seen.append(self.refusal(message, merged="merged" not in parts).status)
            parts[key] = value
        self.assertEqual(seen, [501, 416, 404, 482, 420, 415])

    def test_max_forwards(self) -> None:
        """Who passes requests on counts down and refuses at 0 with 483 (RFC 3261 §16.3); a UAS
        does not look at it (RFC 4475 §3.3.11).
        """
        message = request()
        self.assertEqual(check_max_forwards(message), 69)
        message.set("Max-Forwards", "0")
        error = self.assertRaises(SIPError, check_max_forwards, message)
        self.assertEqual(error.status, 483)
        inspect(message, OURS)
        message.remove("Max-Forwards")
        self.assertIsNone(check_max_forwards(message))


class OptionsTests(SynchronousTestCase):
    """The answer to OPTIONS."""

    def test_truthful(self) -> None:
        """Allow, Accept, Accept-Encoding, Supported and Allow-Events say what we do (§11.2)."""
        response = options(request(), OURS, "t")
        self.assertEqual((response.status, response.to.tag, response.body), (200, "t", b""))
        self.assertEqual(response.allow, frozenset(OURS.methods))
        self.assertEqual(response.get("Accept"), "application/pidf+xml, application/x")
        self.assertEqual(response.get("Accept-Encoding"), "gzip, identity")
        self.assertEqual(response.supported, {"path"})
        self.assertEqual(response.allow_events, {"presence", "reg"})
        self.assertEqual(response.get("Server"), "simplestack")

    def test_little(self) -> None:
        """Where there is nothing to say, nothing is made up."""
        response = options(request(), Capabilities(("OPTIONS",), (), {}), "t")
        self.assertEqual(response.get("Accept"), "")
        self.assertNotIn("Allow-Events", response.headers)
        self.assertNotIn("Server", response.headers)
