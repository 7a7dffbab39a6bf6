"""URIs: syntax, escapes, comparison, addresses-of-record."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import SIPError
from simplestack.sip.uri import Uri, parse_uri


class SyntaxTests(SynchronousTestCase):
    """RFC 3261 §19.1.1 and §25.1."""

    def test_all_parts(self) -> None:
        """§19.1.1: every part of a SIP URI is found, names and host in lower case."""
        uri = parse_uri(
            "SIPS:Alice:p%40ss@Example.COM:5061;Transport=TCP;lr?Subject=a%20b&Priority=urgent"
        )
        self.assertEqual(
            uri,
            Uri(
                "sips",
                "Alice",
                "p@ss",
                "example.com",
                5061,
                (("transport", "TCP"), ("lr", None)),
                (("Subject", "a b"), ("Priority", "urgent")),
            ),
        )
        self.assertEqual(
            str(uri),
            "sips:Alice:p%40ss@example.com:5061;transport=TCP;lr?Subject=a%20b&Priority=urgent",
        )

    def test_examples(self) -> None:
        """§19.1.3: the examples are read and written unchanged."""
        for text in (
            "sip:alice@atlanta.com",
            "sip:alice:secretword@atlanta.com;transport=tcp",
            "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:+1-212-555-1212:1234@gateway.com;user=phone",
            "sips:1212@gateway.com",
            "sip:alice@192.0.2.4",
            "sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com",
            "sip:alice;day=tuesday@atlanta.com",
            "sip:alice@atlanta.com.",
            "sip:[2001:db8::10]:5070;lr",
        ):
            self.assertEqual(str(parse_uri(text)), text)

    def test_ipv6(self) -> None:
        """RFC 5954 §4: one IPv6 address has one form here, whichever was written."""
        self.assertEqual(parse_uri("sip:a@[2001:0DB8:0:0::1]").host, "[2001:db8::1]")
        self.assertEqual(parse_uri("sip:[::ffff:192.0.2.1]:5060").port, 5060)

    def test_params(self) -> None:
        """A parameter without a value says "", one that is not there None."""
        uri = parse_uri("sip:a.example;lr;x=%3B")
        self.assertEqual(uri.param("lr"), "")
        self.assertEqual(uri.param("x"), ";")
        self.assertIsNone(uri.param("y"))
        self.assertTrue(uri.has_param("lr"))
        self.assertFalse(uri.has_param("y"))

    def test_other_schemes(self) -> None:
        """RFC 3261 §25.1 absoluteURI: other schemes are kept whole."""
        for text in ("tel:+1-201-555-0123;ext=3", "urn:service:sos", "http://[::1]:80/a?b=c%20d"):
            uri = parse_uri(text)
            self.assertEqual(f"{uri.scheme}:{uri.opaque}", text)
            self.assertEqual(str(uri), text)
            self.assertFalse(uri.is_sip)

    def test_refused(self) -> None:
        """What the grammar does not allow is a 400 that says so."""
        for text in (
            "",
            "alice",
            "alice@example.com",
            "sip:",
            "sip:@example.com",
            "sip:alice@",
            "sip:alice@exa mple.com",
            "sip:al ice@example.com",
            "sip:al%zzice@example.com",
            "sip:al%4",
            "sip:alice@example.com:",
            "sip:alice@example.com:65536",
            "sip:alice@example.com:5060x",
            "sip:alice@example..com",
            "sip:alice@-example.com",
            "sip:alice@192.0.2.256",
            "sip:alice@1.2.3",
            "sip:alice@[::1",
            "sip:alice@[::g]",
            "sip:alice@[fe80::1%25eth0]",
            "sip:alice@[]",
            "sip:alice@example.com;",
            "sip:alice@example.com;a=b;A=c",
            "sip:alice@example.com;a=<",
            "sip:alice@example.com?",
            "sip:alice@example.com?a",
            "sip:alice@example.com?=b",
            "sip:alice@example.com?a=b&",
            "sip:alice@bob@example.com",
            "sip:älice@example.com",
            "sip:alice@exämple.com",
            "sip:alice@example.com\r\nVia: x",
            "1sip:alice@example.com",
            "urn:",
            "urn:a b",
            "http://example.com/\u0661",
        ):
            error = self.assertRaises(SIPError, parse_uri, text)
            self.assertEqual(error.status, 400, text)
            self.assertTrue(error.text, text)

    def test_escapes_once(self) -> None:
        """§19.1.2: what is escaped twice is unescaped once, and bytes that are no UTF-8 survive."""
        uri = parse_uri("sip:%2541%FF%C3%A9@example.com")
        self.assertEqual(uri.user, "%41\udcffé")
        self.assertEqual(str(uri), "sip:%2541%FF%C3%A9@example.com")

    def test_reserved_characters_stay_escaped(self) -> None:
        """RFC 3261 §19.1.4: "Characters other than those in the "reserved" set ... are equivalent
        to their "%" HEX HEX encoding": so a reserved one is another one when it is not escaped.
        """
        for text in (
            "sip:a%2Fb%3D@h.example",
            "sip:a%2Cb%3Bc:p%26@h.example:5070",
            "sip:h.example;pn-prid=00fc13%3Aremote%26a1b2%3Avoip;x=%2F?b=%2F",
        ):
            self.assertEqual(str(parse_uri(text)), text)
        # Others may be written either way, and are written plain.
        self.assertEqual(str(parse_uri("sip:%61%2f@H.example;%4Cr=%7e")), "sip:a%2F@h.example;lr=~")


class ComparisonTests(SynchronousTestCase):
    """RFC 3261 §19.1.4."""

    def test_equivalent(self) -> None:
        """The sets that §19.1.4 calls equivalent."""
        for one, other in (
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
        ):
            self.assertTrue(parse_uri(one).equals(parse_uri(other)), one)
            self.assertTrue(parse_uri(other).equals(parse_uri(one)), one)

    def test_not_equivalent(self) -> None:
        """The sets that §19.1.4 calls not equivalent."""
        for one, other in (
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
            ("sip:bob@biloxi.com", "sip:bob:x@biloxi.com"),
            ("sip:bob@biloxi.com", "sip:biloxi.com"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;user=ip"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;ttl=1"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;method=INVITE"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;maddr=192.0.2.1"),
            ("urn:a:b", "urn:a:c"),
        ):
            self.assertFalse(parse_uri(one).equals(parse_uri(other)), one)
            self.assertFalse(parse_uri(other).equals(parse_uri(one)), one)
            self.assertNotEqual(parse_uri(one).key(), parse_uri(other).key(), one)

    def test_key(self) -> None:
        """Order of parameters, case of host and names, and escapes make no other key."""
        one = parse_uri("sip:%61lice@Example.com;Transport=TCP;ob?b=1&A=2")
        other = parse_uri("sip:alice@example.COM;OB;transport=tcp?a=2&B=1")
        self.assertEqual(one.key(), other.key())


class AddressOfRecordTests(SynchronousTestCase):
    """RFC 3261 §10.3 step 5."""

    def test_canonical(self) -> None:
        """Parameters, port and password go, escapes that need not be are undone, case of user stays."""
        for text, aor in (
            ("sip:Alice@EXAMPLE.com:5060;transport=tcp", "sip:Alice@example.com"),
            ("sips:alice@example.com", "sip:alice@example.com"),
            ("sip:%61lice:secret@example.com", "sip:alice@example.com"),
            ("sip:a%40b%20c@example.com", "sip:a%40b%20c@example.com"),
            ("sip:%c3%a9@example.com", "sip:%C3%A9@example.com"),
            ("sip:*72#@example.com", "sip:*72%23@example.com"),
            ("sip:example.com", "sip:example.com"),
            ("sip:a@[2001:DB8::0]", "sip:a@[2001:db8::]"),
            ("tel:+1-(201)-555.0123;ext=3", "tel:+12015550123"),
            ("tel:7042;Phone-Context=Example.com", "tel:7042;phone-context=example.com"),
            ("urn:service:sos", "urn:service:sos"),
        ):
            uri = parse_uri(text)
            self.assertEqual(uri.aor, aor)
            self.assertTrue(aor.isascii())
            self.assertEqual(parse_uri(aor).aor, aor)
