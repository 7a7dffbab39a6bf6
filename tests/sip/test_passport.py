"""Identity header fields and PASSporTs (RFC 8224, RFC 8225)."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import SIPError
from simplestack.sip.passport import IdentityValue, Party, parse_identity, party
from simplestack.sip.uri import parse_uri

INFO = "https://cert.example.org/passport.cer"
#: RFC 8224 §4.1.1.
HEADER = (
    "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1Ijoi"
    "aHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9"
)
ORIGIN = Party("tn", "12155551212")
DESTINATION = Party("uri", "sip:alice@example.com")


def encoded(value: object) -> str:
    """A part of a full form."""
    return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def decoded(octets: bytes) -> list[object]:
    """Header and payload of what is signed."""
    return [json.loads(urlsafe_b64decode(part + b"==")) for part in octets.split(b".")]


class PartyTests(SynchronousTestCase):
    def test_numbers(self) -> None:
        """Numbers are digits alone (§8.3), where they are labelled as such and global (§8.1)."""
        for text, number in (
            ("tel:+1-215-555-1212", "12155551212"),
            ("tel:+1(215)555.1212;ext=9", "12155551212"),
            ("sip:+12155551212@example.com;user=phone", "12155551212"),
            ("sip:+1-215-555-1212;x=y@h;user=phone", "12155551212"),
            ("sips:+12155551212@example.com", "12155551212"),
        ):
            self.assertEqual(party(parse_uri(text)), Party("tn", number), text)
        self.assertEqual(party(parse_uri("tel:+1-215")).aor, "tel:+1215")

    def test_uris(self) -> None:
        """Of a URI are left scheme, user and host, in lower case (§8.5)."""
        for text, uri in (
            ("sip:Alice@Example.COM", "sip:alice@example.com"),
            ("sips:alice:secret@example.com:5061;transport=tcp?a=b", "sips:alice@example.com"),
            ("sip:%41lice@example.com", "sip:alice@example.com"),
            ("sip:a%40b@example.com", "sip:a%40b@example.com"),
            ("sip:2125551212@example.com", "sip:2125551212@example.com"),
            ("sip:911@example.com;user=phone", "sip:911@example.com"),
            ("sip:+x@example.com", "sip:+x@example.com"),
            ("tel:911;phone-context=h", "tel:911;phone-context=h"),
        ):
            self.assertEqual(party(parse_uri(text)), Party("uri", uri), text)
        self.assertEqual(party(parse_uri("sips:Alice@h")).aor, "sip:alice@h")
        self.assertEqual(party(parse_uri("sips:Alice@H")).host, "h")


class ValueTests(SynchronousTestCase):
    def test_parsed(self) -> None:
        """The forms and parameters of §4."""
        compact = parse_identity(f"..abc_-;info=<{INFO}>")
        self.assertEqual(compact, IdentityValue("", "", "abc_-", INFO))
        full = parse_identity(f'a.b.c ; alg=ES256 ; info=<{INFO};x=1>;ppt="shaken";other')
        self.assertEqual(full, IdentityValue("a", "b", "c", f"{INFO};x=1", "ES256", "shaken"))
        for bad in ("", "abc", "..abc", f"a.b;info=<{INFO}>", f"a..c;info=<{INFO}>", "..c;info=x"):
            self.assertEqual(self.assertRaises(SIPError, parse_identity, bad).status, 400, bad)

    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever stands there is read, or 400."""
        try:
            parse_identity(text)
        except SIPError as error:
            self.assertEqual(error.status, 400)

    def test_compact(self) -> None:
        """What a compact form leaves out is written as RFC 8225 §9 says."""
        signed = IdentityValue("", "", "s", INFO).signed(ORIGIN, DESTINATION, 1471375418)
        header, _, payload = signed.partition(b".")
        self.assertEqual(header.decode(), HEADER)
        self.assertEqual(
            urlsafe_b64decode(payload + b"=="),
            b'{"dest":{"uri":["sip:alice@example.com"]},"iat":1471375418,'
            b'"orig":{"tn":"12155551212"}}',
        )

    def test_full(self) -> None:
        """A full form is signed as it stands, if it says what the request does (§6.2.4)."""
        payload = {"orig": {"tn": ORIGIN.value}, "dest": {"uri": [DESTINATION.value]}, "iat": 5}
        value = IdentityValue(HEADER, encoded(payload), "s", INFO)
        self.assertEqual(value.issued, 5)
        signed = value.signed(ORIGIN, DESTINATION, 9)
        self.assertEqual(signed.decode(), f"{HEADER}.{encoded(payload)}")
        header = decoded(signed)[0]
        assert isinstance(header, dict)
        more = {"dest": {"uri": ["sip:x@y", DESTINATION.value]}, "more": 1}
        IdentityValue(HEADER, encoded(payload | more), "s", INFO).signed(ORIGIN, DESTINATION, 9)
        for bad in (
            value._replace(header=encoded(header | {"typ": "jwt"})),
            value._replace(header=encoded(header | {"alg": "none"})),
            value._replace(header=encoded(header | {"ppt": "x"})),
            value._replace(header="!"),
            value._replace(header=encoded([1])),
            value._replace(info="https://other.example"),
            value._replace(payload=encoded(payload | {"orig": {"tn": "1"}})),
            value._replace(payload=encoded(payload | {"orig": {"uri": ORIGIN.value}})),
            value._replace(payload=encoded(payload | {"dest": {"uri": ["sip:x@y"]}})),
            value._replace(payload=encoded(payload | {"dest": DESTINATION.value})),
            value._replace(payload=encoded("[" * 100)),
        ):
            error = self.assertRaises(SIPError, bad.signed, ORIGIN, DESTINATION, 9)
            self.assertEqual(error.status, 438, bad)
        for iat in ("5", None, True):
            dated = value._replace(payload=encoded(payload | {"iat": iat}))
            error = self.assertRaises(SIPError, getattr, dated, "issued")
            self.assertEqual(error.status, 438)

    def test_signature(self) -> None:
        """Both alphabets of base64 are taken."""
        self.assertEqual(IdentityValue("", "", "_-8=", INFO).signature_octets, b"\xff\xef")
        self.assertEqual(IdentityValue("", "", "/+8", INFO).signature_octets, b"\xff\xef")
        bad = IdentityValue("", "", "a", INFO)
        self.assertEqual(self.assertRaises(SIPError, getattr, bad, "signature_octets").status, 438)
