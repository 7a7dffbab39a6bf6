"""Values of header fields."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import SIPError
from simplestack.sip.fields import (
    MAX_SECONDS,
    CSeq,
    Event,
    MediaType,
    NameAddr,
    RetryAfter,
    SubscriptionState,
    Via,
    WarningValue,
    format_date,
    parse_accept,
    parse_auth_params,
    parse_call_id,
    parse_challenge,
    parse_credentials,
    parse_cseq,
    parse_date,
    parse_disposition,
    parse_end,
    parse_entity_tag,
    parse_event,
    parse_expires,
    parse_max_forwards,
    parse_media_type,
    parse_name_addr,
    parse_name_addrs,
    parse_retry_after,
    parse_subscription_state,
    parse_tokens,
    parse_via,
    parse_vias,
    parse_warning,
)
from simplestack.sip.uri import Uri


class FieldTestCase(SynchronousTestCase):
    """Checks that texts are refused."""

    def refused(self, parse: Callable[[str], object], *texts: str) -> None:
        """Each text is a 400 that says what is wrong."""
        for text in texts:
            error = self.assertRaises(SIPError, parse, text)
            self.assertEqual(error.status, 400, text)
            self.assertTrue(error.text, text)


class AddressTests(FieldTestCase):
    """name-addr and addr-spec, RFC 3261 §20.10 and §25.1."""

    def test_forms(self) -> None:
        """A display name is quoted, of tokens, or not there; parameters follow the bracket."""
        uri = Uri("sip", "a", None, "b.example")
        for text, expected in (
            ("<sip:a@b.example>", NameAddr("", uri)),
            ("sip:a@b.example", NameAddr("", uri)),
            ('"A, \\"B\\"" <sip:a@b.example>;tag=x', NameAddr('A, "B"', uri, (("tag", "x"),))),
            ("A.  B <sip:a@b.example> ; tag = x", NameAddr("A. B", uri, (("tag", "x"),))),
            ("A<sip:a@b.example>", NameAddr("A", uri)),
            ('""<sip:a@b.example>', NameAddr("", uri)),
            ('"日本"\t<sip:a@b.example>', NameAddr("日本", uri)),
            ("Jürgen <sip:a@b.example>", NameAddr("Jürgen", uri)),
            ("sip:a@b.example ;tag=x", NameAddr("", uri, (("tag", "x"),))),
        ):
            self.assertEqual(parse_name_addr(text), expected, text)
            self.assertEqual(parse_name_addr(str(expected)), expected, text)

    def test_whose_parameter(self) -> None:
        """§20: without brackets, parameters are the header field's."""
        self.assertEqual(parse_name_addr("sip:a@b;x=1").uri.params, ())
        inside = parse_name_addr("<sip:a@b;x=1>;y=2")
        self.assertEqual((inside.uri.param("x"), inside.param("y")), ("1", "2"))

    def test_quoted_parameter(self) -> None:
        """RFC 5626 §4.1: +sip.instance is quoted, and stays so."""
        text = '<sip:a@b>;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>";reg-id=1'
        address = parse_name_addr(text)
        self.assertEqual(
            address.param("+sip.instance"), "<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"
        )
        self.assertEqual(str(address), text)

    def test_with_param(self) -> None:
        """A parameter is set once, whatever it was."""
        address = parse_name_addr("<sip:a@b>;expires=5;q=1").with_param("expires", "7")
        self.assertEqual(str(address), "<sip:a@b>;q=1;expires=7")
        self.assertTrue(address.has_param("q"))

    def test_tag(self) -> None:
        """§25.1: a tag is found among the parameters alone, and stands there once."""
        for text, tag in (
            ("<sip:a@h>;tag=1", "1"),
            ('"<x>;tag=2" <sip:a@h>;tag=1', "1"),
            ('"<x>;tag=2" <sip:a@h>', None),
            ('<sip:a@h>;x="<y>;tag=2"', None),
            ('<sip:a@h>;x="y>";tag=1', "1"),
            ("<sip:a@h;tag=1>", None),
        ):
            self.assertEqual(parse_end(text).tag, tag)
            self.assertEqual(parse_end(text).uri.host, "h")
        for text in ("<sip:a@h>;tag=1>;tag=2", "<sip:a@h>;tag=1;tag=2", "<sip:a@h>;x=<y>;tag=2"):
            self.refused(parse_end, text)

    def test_list(self) -> None:
        """§7.3.1: a list, where a comma in a display name divides nothing."""
        first, second = parse_name_addrs('"A, B" <sip:a@b>;q=1, <sip:c@d;x=1>')
        self.assertEqual((first.display, second.uri.param("x")), ("A, B", "1"))

    def test_refused(self) -> None:
        """What is no address."""
        self.refused(
            parse_name_addr,
            "",
            "<>",
            "<sip:a@b",
            "sip:a@b>",
            '"A <sip:a@b>',
            "A, B <sip:a@b>",
            "< sip:a@b>",
            "<sip:a@b >",
            "<sip:a@b>x",
            "<sip:a@b>;",
            "<sip:a@b>;;x",
            "sip:a@b?x=y",
            '"A\x01" <sip:a@b>',
            '"A" "B" <sip:a@b>',
            "<sip:a@b><sip:a@b>",
            "*",
        )
        self.refused(parse_name_addrs, "", "<sip:a@b>,", ",<sip:a@b>", "<sip:a@b> <sip:c@d>")


class ViaTests(FieldTestCase):
    """Via, RFC 3261 §20.42."""

    def test_parts(self) -> None:
        """Transport, sent-by and parameters, with LWS where the grammar lets it be."""
        via = parse_via("sip / 2.0 / udp  Example.com : 5070 ; branch = z9hG4bKaB ; rport")
        self.assertEqual(
            via, Via("UDP", "example.com", 5070, (("branch", "z9hG4bKaB"), ("rport", None)))
        )
        self.assertEqual((via.branch, via.rport, via.received), ("z9hG4bKaB", "", None))
        self.assertEqual(str(via), "SIP/2.0/UDP example.com:5070;branch=z9hG4bKaB;rport")

    def test_ipv6(self) -> None:
        """RFC 5118 §4.5: sent-by has brackets, received is read with and without them."""
        for received in ("2001:db8::9:255", "[2001:db8::9:255]"):
            via = parse_via(f"SIP/2.0/UDP [2001:db8::9:1];received={received};branch=z9hG4bKas3")
            self.assertEqual((via.host, via.received), ("[2001:db8::9:1]", received))
        self.assertEqual(parse_via("SIP/2.0/TCP [::1]:5061").port, 5061)

    def test_with_param(self) -> None:
        """RFC 3581 §4: rport is filled in at its place, received is added."""
        via = parse_via("SIP/2.0/UDP a;rport;branch=z9hG4bKx")
        via = via.with_param("rport", "9988").with_param("received", "192.0.2.1")
        self.assertEqual(str(via), "SIP/2.0/UDP a;rport=9988;branch=z9hG4bKx;received=192.0.2.1")

    def test_branch(self) -> None:
        """§25.1: a branch is found among the parameters alone, and stands there once."""
        around = 'SIP/2.0/UDP h;x="a;branch=abc;b"'
        self.assertEqual(parse_via(around).branch, None)
        self.assertEqual(parse_via(f"{around};branch=z").branch, "z")
        self.assertEqual(parse_via(f"{around};branch").branch, "")
        via = parse_via("SIP/2.0/UDP h;rport;branch=z9hG4bK-1;ttl=1")
        self.assertEqual(via.params, (("rport", None), ("branch", "z9hG4bK-1"), ("ttl", "1")))
        for text in (";branch=a;branch=b", ";branch;branch=b", ";branch=b;branch", ";branch=;a"):
            self.refused(parse_via, "SIP/2.0/UDP h" + text)

    def test_list(self) -> None:
        """§7.3.1: several hops in one field."""
        self.assertEqual(
            [via.host for via in parse_vias("SIP/2.0/UDP a;branch=1, SIP/2.0/TCP b")], ["a", "b"]
        )

    def test_refused(self) -> None:
        """What is no Via."""
        self.refused(
            parse_via,
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 a",
            "SIP/3.0/UDP a",
            "HTTP/2.0/UDP a",
            "SIP/2.0/UDP a:",
            "SIP/2.0/UDP a:99999",
            "SIP/2.0/UDP a:123456",
            "SIP/2.0/UDP a b",
            "SIP/2.0/UDP a;",
            "SIP/2.0/UDP a;;branch=x",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDP [:::1]",
            "SIP/2.0/UDP 1.2.3.400",
            "SIP/2.0/UDP a;branch=x;branch=y",
        )
        self.refused(parse_vias, "", "SIP/2.0/UDP a,")


class EventTests(FieldTestCase):
    """Event and Subscription-State, RFC 6665 §8.2."""

    def test_event(self) -> None:
        """A package with templates; parameters nobody knows are kept."""
        event = parse_event('presence.winfo ; id=4;unknown="a b";flag')
        self.assertEqual(event.package, "presence.winfo")
        self.assertEqual((event.id, event.param("unknown"), event.param("flag")), ("4", "a b", ""))
        self.assertIsNone(parse_event("presence").id)
        # It is "compared byte by byte" (§8.2.1), quotes and all.
        self.assertEqual(parse_event('presence;id="a b"').id, '"a b"')
        self.assertEqual(str(event), 'presence.winfo;id=4;unknown="a b";flag')
        self.assertEqual(parse_event("Presence"), Event("Presence"))

    def test_subscription_state(self) -> None:
        """A state with reason, expires and retry-after."""
        state = parse_subscription_state("Terminated;reason=Probation;retry-after=60")
        self.assertEqual(
            (state.state, state.reason, state.retry_after), ("terminated", "probation", 60)
        )
        self.assertIsNone(state.expires)
        self.assertEqual(parse_subscription_state("active;expires=600").expires, 600)
        self.assertIsNone(parse_subscription_state("active;expires=x").expires)
        self.assertEqual(str(SubscriptionState("active", (("expires", "5"),))), "active;expires=5")

    def test_refused(self) -> None:
        """What is neither."""
        for parse in (parse_event, parse_subscription_state):
            self.refused(parse, "", "a b", ";id=1", "a;", "a,b", "é")


class MediaTests(FieldTestCase):
    """Content-Type and Accept, RFC 3261 §20.15 and §20.1."""

    def test_media_type(self) -> None:
        """Type and subtype in lower case, parameters unquoted when asked."""
        media = parse_media_type('Multipart / Related ; boundary="a b";charset=UTF-8')
        self.assertEqual(media.type, "multipart/related")
        self.assertEqual((media.param("boundary"), media.param("charset")), ("a b", "UTF-8"))
        self.assertEqual(str(media), 'multipart/related;boundary="a b";charset=UTF-8')

    def test_accept(self) -> None:
        """Ranges with their preference; an empty Accept takes nothing (§20.1)."""
        first, second, third = parse_accept("application/*;q=0.5, text/plain, */*;q=x")
        self.assertEqual((first.q, second.q, third.q), (0.5, 1.0, 1.0))
        self.assertTrue(first.matches("application/pidf+xml"))
        self.assertFalse(first.matches("text/plain"))
        self.assertTrue(second.matches("text/plain"))
        self.assertTrue(third.matches("a/b"))
        self.assertEqual(parse_accept(""), ())
        self.assertEqual(parse_accept("a/b"), (MediaType("a/b"),))

    def test_refused(self) -> None:
        """What is no media type."""
        self.refused(parse_media_type, "", "text", "text/", "/plain", "a/b/c", "a/b;", "a/b;c=")
        self.refused(parse_accept, "text", "a/b, c")


class ScalarTests(FieldTestCase):
    """Numbers, tokens and dates."""

    def test_cseq(self) -> None:
        """§8.1.1.5: 32 bits, leading zeros and LWS; the method in its case."""
        self.assertEqual(parse_cseq("0009  \t INVITE"), CSeq(9, "INVITE"))
        self.assertEqual(parse_cseq("1\tx"), CSeq(1, "x"))
        self.assertEqual(parse_cseq(f"{2**32 - 1} A").number, 2**32 - 1)
        self.assertEqual(str(CSeq(4, "NOTIFY")), "4 NOTIFY")
        self.refused(
            parse_cseq, "", "1", "INVITE", "INVITE 1", f"{2**32} A", "-1 A", "1 A B", "1 A/B"
        )

    def test_call_id(self) -> None:
        """§25.1: word [ "@" word ]."""
        for text in ("a", "f81d4fae-7dec@192.0.2.4", "()<>:\\\"/[]?{}@-.!%*_+`'~"):
            self.assertEqual(parse_call_id(text), text)
        self.refused(parse_call_id, "", "a b", "@a", "a@", "a@b@c", "a,b", "a;b", "é")

    def test_numbers(self) -> None:
        """§20.22: Max-Forwards is 0 to 255; §20.10: an expiry that is no number means 3600."""
        self.assertEqual(parse_max_forwards("0"), 0)
        self.assertEqual(parse_max_forwards("300"), 255)
        self.refused(parse_max_forwards, "", "-1", "a", "1 2")
        self.assertEqual(parse_expires("0"), 0)
        self.assertEqual(parse_expires("1" * 100), MAX_SECONDS)
        for text in ("", "-1", "soon", "1.5"):
            self.assertEqual(parse_expires(text), 3600, text)

    def test_tokens(self) -> None:
        """§20.32 and others: lists of option tags, which may be empty."""
        self.assertEqual(parse_tokens("100rel, path,outbound"), ("100rel", "path", "outbound"))
        self.assertEqual(parse_tokens(""), ())
        self.refused(parse_tokens, "a b", "a, b;c")

    def test_entity_tag(self) -> None:
        """RFC 3903 §11.3: an entity-tag is one token."""
        self.assertEqual(parse_entity_tag("dx200xyz"), "dx200xyz")
        self.assertEqual(parse_entity_tag("*"), "*")
        self.refused(parse_entity_tag, "", "a,b", '"a"')

    def test_retry_after(self) -> None:
        """§20.33: seconds, a comment, parameters."""
        self.assertEqual(
            parse_retry_after("18000 (I'm in a meeting (again));duration=3600"),
            RetryAfter(18000, "I'm in a meeting (again)", (("duration", "3600"),)),
        )
        self.assertEqual(str(RetryAfter(5, "a")), "5 (a)")
        self.assertEqual(parse_retry_after("9" * 30).seconds, MAX_SECONDS)
        self.refused(parse_retry_after, "", "soon", "-5", "5 minutes")

    def test_warning(self) -> None:
        """§20.43: code, agent and quoted text."""
        value = WarningValue(399, "simplestack", 'bad "To"')
        self.assertEqual(parse_warning(str(value)), value)
        self.assertEqual(
            parse_warning("307 isi.edu \"Session parameter 'foo' not understood\"").agent, "isi.edu"
        )
        self.refused(parse_warning, "", "1812 overture x", "399 a b", '399 "b"', '39 a "b"')

    def test_disposition(self) -> None:
        """§20.11, erratum 4567: a body must be understood unless handling=optional."""
        self.assertTrue(parse_disposition("session").required)
        self.assertFalse(parse_disposition("Render; handling=Optional").required)
        self.assertEqual(
            str(parse_disposition("Render;handling=optional")), "render;handling=optional"
        )
        self.refused(parse_disposition, "", "a b")

    def test_date(self) -> None:
        """§20.17: RFC 1123 in GMT alone."""
        date = parse_date("Sat, 13 Nov 2010 23:29:00 GMT")
        self.assertEqual(date, datetime(2010, 11, 13, 23, 29, tzinfo=UTC))
        self.assertEqual(format_date(date.timestamp()), "Sat, 13 Nov 2010 23:29:00 GMT")
        self.refused(
            parse_date,
            "",
            "Fri, 01 Jan 2010 16:00:00 EST",
            "Fri, 32 Jan 2010 16:00:00 GMT",
            "2010-01-01T16:00:00Z",
        )


class AuthorizationTests(FieldTestCase):
    """Authorization and WWW-Authenticate, RFC 7616 §3.3 and §3.4."""

    def test_credentials(self) -> None:
        """Names in lower case, values unquoted and unescaped, LWS and commas as they may be."""
        credentials = parse_credentials(
            'DIGEST Username="A\\"b", realm = "r, s" ,NC=0000000A,qop=auth, uri="",, nonce="n"'
        )
        self.assertEqual(credentials.scheme, "digest")
        self.assertEqual(
            credentials.params,
            {
                "username": 'A"b',
                "realm": "r, s",
                "nc": "0000000A",
                "qop": "auth",
                "uri": "",
                "nonce": "n",
            },
        )
        self.assertEqual((credentials.username, credentials.nonce_count), ('A"b', 10))
        self.assertEqual(credentials.algorithm, "MD5")
        self.assertEqual(credentials.param("opaque"), "")

    def test_written(self) -> None:
        """§3.4: algorithm, qop and nc must not be quoted, all others must."""
        text = 'Digest username="a\\"", nc=00000001, qop=auth, algorithm=SHA-256, uri="sip:a"'
        self.assertEqual(str(parse_credentials(text)), text)
        text = 'Digest realm="a", qop="auth,auth-int", stale=true, algorithm=MD5'
        self.assertEqual(str(parse_challenge(text)), text)

    def test_extended_username(self) -> None:
        """§3.4: username* is in UTF-8, and an error beside username."""
        self.assertEqual(
            parse_credentials("Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe").username, "Jäsøn Doe"
        )
        both = parse_credentials("Digest username*=UTF-8''a, username=\"a\"")
        self.assertRaises(SIPError, lambda: both.username)
        other = parse_credentials("Digest username*=ISO-8859-1''a")
        self.assertRaises(SIPError, lambda: other.username)

    def test_nonce_count(self) -> None:
        """§3.5: nc is 8 hexadecimal digits; without qop a nonce is good once."""
        self.assertEqual(parse_credentials("Digest nc=7").nonce_count, 1)
        self.assertEqual(parse_credentials("Digest qop=auth, nc=0000aBcD").nonce_count, 0xABCD)
        for nc in (
            "1",
            "0000000g",
            "000000001",
            "-0000001",
            "0x000001",
            "0_000001",
            "0000 001",
            "٠٠٠٠٠٠٠١",
            "",
        ):
            credentials = parse_credentials(f'Digest qop=auth, nc="{nc}"')
            self.assertRaises(SIPError, lambda c=credentials: c.nonce_count)

    def test_challenge(self) -> None:
        """§3.3: stale, algorithm and qop are case-insensitive."""
        challenge = parse_challenge(
            'Digest realm="r", stale=TRUE, algorithm=sha-256, qop="AUTH, x"'
        )
        self.assertTrue(challenge.stale)
        self.assertEqual((challenge.algorithm, challenge.qop), ("SHA-256", ("auth", "x")))
        self.assertEqual(parse_challenge('Basic realm="r"').scheme, "basic")

    def test_refused(self) -> None:
        """Parameters that are none, and one that comes twice."""
        self.refused(
            parse_credentials,
            "Digest a",
            "Digest a=",
            'Digest a="b',
            'Digest a="b" c="d"',
            "Digest a=b c",
            "Digest a=b;c=d",
            "Digest a=1, A=2",
            "Digest =b",
            "Digest " + "a" * 16000,
            'Digest a="' + "\\" * 16000,
        )
        self.assertEqual(parse_auth_params(""), {})
