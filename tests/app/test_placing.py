"""Which AOR a request is about, and our Contact."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.placing import Placing, behind_nat, domain_of
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request
from simplestack.sip.uri import parse_uri
from tests.wire import Recorder

BOB = "sip:bob@example.com"


def request(method: str, uri: str, to: str = "", **headers: str) -> Request:
    """A request with what matters."""
    values = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return Request(method, uri, {"To": [to or f"<{uri}>"], **values})


class PlacingTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two domains."""
        self.placing = Placing(("example.com", "192.0.2.1", "example.org"))

    def refused(self, asked: Request, status: int) -> None:
        """The request is refused with this status."""
        error = self.assertRaises(SIPError, self.placing.place, asked)
        self.assertEqual(error.status, status)

    def test_register(self) -> None:
        """RFC 3261 §10.3 steps 1 and 5: the domain is in the Request-URI, the AOR in To."""
        for to in (f"<{BOB}>", "Bob <sips:bob@EXAMPLE.com:5061;x=y>;tag=1", "sip:bob@example.com"):
            asked = request("REGISTER", "sip:example.com", to)
            self.assertEqual(self.placing.place(asked), BOB)
        self.refused(request("REGISTER", "sip:elsewhere.com", f"<{BOB}>"), 404)
        self.refused(request("REGISTER", "sip:example.com", "<sip:bob@elsewhere.com>"), 404)
        self.refused(request("REGISTER", "sip:example.com", "<sip:example.com>"), 404)
        self.refused(request("REGISTER", "sip:example.com", "<tel:+15551234>"), 400)

    def test_out_of_dialog(self) -> None:
        """RFC 3903 §4, RFC 3856 §4: everything else names its AOR in the Request-URI."""
        asked = request("PUBLISH", "sip:bob@Example.COM:5060;transport=tcp", "<sip:x@y.com>")
        self.assertEqual(self.placing.place(asked), BOB)
        asked = request("SUBSCRIBE", "sips:bob@example.com")
        self.assertEqual(self.placing.place(asked), BOB)
        self.assertEqual(self.placing.place(request("SUBSCRIBE", "sip:b%6Fb@example.com")), BOB)
        self.refused(request("PUBLISH", "sip:bob@elsewhere.com"), 404)
        self.refused(request("PUBLISH", "sip:example.com"), 404)

    def test_in_dialog(self) -> None:
        """RFC 3261 §12.2.1.1: requests in a dialog go to our Contact, which names the domain."""
        asked = request("SUBSCRIBE", "sip:bob@198.51.100.1:5060;domain=example.com", "<x:y>;tag=1")
        self.assertEqual(self.placing.place(asked), BOB)
        # A Contact at a host that is the name of another domain.
        asked = request("SUBSCRIBE", "sip:bob@192.0.2.1:5060;domain=Example.com", f"<{BOB}>;tag=1")
        self.assertEqual(self.placing.place(asked), BOB)
        # The parameter may get lost on the way; then To names the AOR.
        asked = request("SUBSCRIBE", "sip:bob@198.51.100.1", f"<{BOB}>;tag=1")
        self.assertEqual(self.placing.place(asked), BOB)
        asked = request("SUBSCRIBE", "sip:bob@198.51.100.1;domain=elsewhere.com", f"<{BOB}>;tag=1")
        self.refused(asked, 404)

    def test_contact(self) -> None:
        """RFC 3261 §12.1.1: what we give as Contact leads back to the same AOR, by the transport."""
        for transport, local, uri, secure in (
            ("udp", ("192.0.2.7", 5060), "sip:bob@192.0.2.7:5060;domain=example.com", False),
            (
                "tcp",
                ("2001:db8::7", 5070),
                "sip:bob@[2001:db8::7]:5070;transport=tcp;domain=example.com",
                False,
            ),
            ("tls", ("192.0.2.7", 5061), "sips:bob@192.0.2.7:5061;domain=example.com", True),
            (
                "tls",
                ("192.0.2.7", 5061),
                "sip:bob@192.0.2.7:5061;transport=tls;domain=example.com",
                False,
            ),
        ):
            flow = Recorder(transport, local)
            asked = request("SUBSCRIBE", "sips:bob@example.com" if secure else BOB)
            self.assertEqual(self.placing.contact(asked, BOB, flow), uri)
            parse_uri(uri)
            back = request("SUBSCRIBE", uri, f"<{BOB}>;tag=1")
            self.assertEqual(self.placing.place(back), BOB)

    def test_contact_of_strange_users(self) -> None:
        """Escapes in the user part survive the way out and back."""
        for aor in ("sip:a%40b@example.com", "sip:%00@example.com", "sip:a%25b;c@example.org"):
            uri = self.placing.contact(request("SUBSCRIBE", aor), aor, Recorder())
            back = request("SUBSCRIBE", uri, f"<{aor}>;tag=1")
            self.assertEqual(self.placing.place(back), aor)

    def test_contact_behind_sips_route(self) -> None:
        """RFC 3261 §12.1.1: SIPS as well where the topmost Record-Route is one."""
        asked = request("SUBSCRIBE", BOB, Record_Route="<sips:proxy.example.com;lr>")
        contact = self.placing.contact(asked, BOB, Recorder("tls"))
        self.assertTrue(contact.startswith("sips:"))

    def test_contact_for_sips_contact(self) -> None:
        """RFC 3261 §12.1.1: SIPS where the Contact is one "if there was no Record-Route header
        field"; where there is, that alone says what comes next.
        """
        asked = request("SUBSCRIBE", BOB, Contact="<sips:alice@192.0.2.9:5061>")
        contact = self.placing.contact(asked, BOB, Recorder("tls"))
        self.assertTrue(contact.startswith("sips:"))
        asked.set("Record-Route", "<sip:proxy.example.com;lr>")
        contact = self.placing.contact(asked, BOB, Recorder("tls"))
        self.assertTrue(contact.startswith("sip:"))

    def test_domain_of(self) -> None:
        """The domain is what follows the last @."""
        self.assertEqual(domain_of("sip:a%40b@example.com"), "example.com")

    def test_behind_nat(self) -> None:
        """RFC 5626 §5, RFC 3581 §2: who believes to be elsewhere, or asks, is reached by his flow."""
        contact = parse_uri("sip:bob@10.0.0.7")
        self.assertTrue(behind_nat("10.0.0.7", "192.0.2.9", contact))
        self.assertFalse(behind_nat("192.0.2.9", "192.0.2.9", parse_uri("sip:bob@192.0.2.9")))
        self.assertTrue(behind_nat("192.0.2.9", "192.0.2.9", parse_uri("sip:bob@192.0.2.9;ob")))
        self.assertFalse(behind_nat("10.0.0.7", "192.0.2.9", None))
        # He knows where he can be reached.
        self.assertFalse(behind_nat("10.0.0.7", "192.0.2.9", parse_uri("sip:bob@192.0.2.9:6000")))
