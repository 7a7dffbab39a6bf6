"""What goes over the wire: templates, credentials, framing, times."""

import hashlib
import socket

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import parse_presence
from simplestack.sip.message import Request, parse_message
from simplestack.sip.validation import validate_request
from simplestack.stone.credentials import Credentials, values_of
from simplestack.stone.errors import StoneError
from simplestack.stone.histogram import LONGEST, Counts, Times
from simplestack.stone.templates import (
    MARK_LENGTH,
    Body,
    PublishTemplate,
    RegisterTemplate,
    SubscribeTemplate,
    mark,
    options_request,
    respelled,
)
from simplestack.stone.wire import Link, message_end
from simplestack.stone.worker import list_of

_CHALLENGE = (
    b"SIP/2.0 401 Unauthorized\r\n"
    b'www-authenticate: Basic realm="x"\r\n'
    b'WWW-Authenticate: Digest realm="example.com", nonce="abc", qop="auth,auth-int", '
    b'opaque="o", algorithm=SHA-256\r\n'
    b'WWW-Authenticate: Digest realm="example.com", nonce="md", qop="auth", algorithm=MD5\r\n\r\n'
)


class TemplateTest(SynchronousTestCase):
    """Every request that is sent is one that a strict server takes."""

    def setUp(self) -> None:
        """A link, and a user."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind(("127.0.0.1", 0))
        self.link = Link(made, b"UDP", b"abcdef")
        self.addCleanup(self.link.close)
        self.credentials = Credentials("alice", "secret")
        self.aor = b"sip:alice@example.com"

    def read(self, data: bytes) -> Request:
        """Parse it as the server does, with every check that it makes."""
        message = parse_message(data)
        assert isinstance(message, Request)
        validate_request(message)
        self.assertEqual(message.top_via.branch, "z9hG4bKabcdef0000000001")
        return message

    def test_register(self) -> None:
        """REGISTER with a rising CSeq in one Call-ID (RFC 3261 §10.2), and one that removes."""
        template = RegisterTemplate(self.credentials, self.aor, b"example.com", self.link, 60)
        first = self.read(template.write(b"0000000001", False))
        second = self.read(template.write(b"0000000001", True))
        self.assertEqual(
            (first.uri, first.cseq.number, second.cseq.number), ("sip:example.com", 1, 2)
        )
        self.assertEqual((first.expires, second.expires), (60, 0))
        self.assertEqual(first.call_id, second.call_id)

    def test_former_contacts(self) -> None:
        """Who has come back from an outage removes what it had before, too (RFC 3261 §10.2.2)."""
        template = RegisterTemplate(
            self.credentials, self.aor, b"example.com", self.link, 60, [b"sip:a@b", b"sip:a@c"]
        )
        for ending, count in ((False, 1), (True, 3)):
            data = template.write(b"0000000001", ending)
            self.read(data)
            self.assertEqual(len(values_of(data, b"Contact")), count)

    def test_size(self) -> None:
        """A document has the size that was asked for, whatever the names are."""
        for entity, contact in (
            (b"sip:a@b.example", b"sip:a@192.0.2.1"),
            (b"sip:u000001@presence.customers.example", b"sip:u000001@[2001:db8::1234:5678]:45678"),
            (b"sip:u000001@" + b"very." * 10 + b"long", b"sip:u000001@[2001:db8::1]:45678"),
        ):
            for size in (350, 351, 1000):
                body = Body.of_size(entity, contact, size)
                document = body.before + mark(b"abcdef", 1, 1, 1) + body.after
                self.assertEqual(len(document), size)
                self.assertEqual(parse_presence(document).entity.encode(), entity)

    def test_publish(self) -> None:
        """PUBLISH: initial, modifying, refreshing without a body, removing (RFC 3903 §4)."""
        body = Body.of_size(self.aor, b"sip:alice@192.0.2.1", 600)
        template = PublishTemplate(self.credentials, self.aor, self.link, 60, body)
        marked = mark(b"abcdef", 1, 2, 3)
        first = self.read(template.write(b"0000000001", b"", marked, False))
        self.assertEqual(len(first.body), 600)
        self.assertIn(marked, first.body)
        self.assertIsNone(first.get("SIP-If-Match"))
        refreshing = self.read(template.write(b"0000000001", b"tag", b"", False))
        self.assertEqual((refreshing.get("SIP-If-Match"), refreshing.body), ("tag", b""))
        self.assertEqual(self.read(template.write(b"0000000001", b"tag", b"", True)).expires, 0)

    def test_subscribe(self) -> None:
        """SUBSCRIBE in a new dialog, and within it (RFC 6665 §4.1.2)."""
        template = SubscribeTemplate(self.credentials, self.aor, self.link, 60)
        made = template.write(
            b"0000000001",
            b"01",
            1,
            b"sip:bob@example.com",
            b"<sip:bob@example.com>",
            b"",
            b"",
            False,
        )
        request = self.read(made)
        self.assertEqual(
            (request.call_id, request.from_.tag, request.to.tag), ("d01-abcdef", "s01", None)
        )
        body = list_of([b"sip:bob@example.com", b"sip:carol@example.com"])
        listed = template.write(
            b"0000000001", b"01", 2, b"sip:x@192.0.2.1", b"<sip:a@b.c>;tag=x", b"", body, True
        )
        request = self.read(listed)
        self.assertEqual((request.expires, request.to.tag, request.body), (0, "x", body))

    def test_options(self) -> None:
        """OPTIONS asks whether the server is there (RFC 3261 §11)."""
        self.read(options_request(b"example.com", self.link, b"0000000001"))

    def test_own_body(self) -> None:
        """An own document needs a place for the mark."""
        body = Body.own(b"<a>{entity} {mark}</a>", self.aor, b"application/pidf+xml")
        self.assertEqual((body.before, body.after), (b"<a>" + self.aor + b" ", b"</a>"))
        self.assertRaises(ValueError, Body.own, b"<a/>", self.aor, b"x/y")

    def test_a_mark_has_one_length(self) -> None:
        """Content-Length is precomputed."""
        for presentity, serial, moment in ((0, 0, 0), (99_999, 2**31, 2**50)):
            self.assertEqual(len(mark(b"abcdef", presentity, serial, moment)), MARK_LENGTH)

    def test_respelled(self) -> None:
        """Compact forms and any case are found, too (RFC 3261 §7.3.3)."""
        data = (
            b"NOTIFY sip:a SIP/2.0\r\nv:SIP/2.0/UDP x\r\nCALL-ID : d1\r\ncseq:1 NOTIFY\r\n\r\nv:x"
        )
        made = respelled(data)
        self.assertIn(b"\r\nVia: SIP/2.0/UDP x\r\nCall-ID: d1\r\nCSeq: 1 NOTIFY\r\n", made)
        self.assertTrue(made.endswith(b"\r\n\r\nv:x"))


class CredentialsTest(SynchronousTestCase):
    """Digest with a cached nonce (RFC 7616)."""

    def test_response(self) -> None:
        """The response is that of RFC 7616 §3.4.1, with a rising count."""
        made = Credentials("alice", "secret")
        self.assertEqual(made.line(b"PUBLISH", b"sip:a"), b"")
        made.challenged(_CHALLENGE)
        made.line(b"PUBLISH", b"sip:a")
        line = made.line(b"PUBLISH", b"sip:a").decode()

        def hashed(text: str) -> str:
            return hashlib.sha256(text.encode()).hexdigest()

        ha1, ha2 = hashed("alice:example.com:secret"), hashed("PUBLISH:sip:a")
        expected = hashed(f"{ha1}:abc:00000002:73746f6e65:auth:{ha2}")
        self.assertTrue(line.startswith("Authorization: Digest "))
        self.assertIn(f'response="{expected}"', line)
        self.assertIn('opaque="o"', line)
        self.assertIn("nc=00000002", line)

    def test_without_qop(self) -> None:
        """A challenge without qop is answered as RFC 2617 §3.2.2.1 says, without a count."""
        made = Credentials("alice", "secret")
        made.challenged(b'x 401 y\r\nWWW-Authenticate: Digest realm="r", nonce="n"\r\n\r\n')
        line = made.line(b"PUBLISH", b"sip:a").decode()

        def hashed(text: str) -> str:
            return hashlib.md5(text.encode()).hexdigest()

        response = hashed(f"{hashed('alice:r:secret')}:n:{hashed('PUBLISH:sip:a')}")
        self.assertIn(f'response="{response}"', line)
        self.assertNotIn("nc=", line)
        self.assertNotIn("qop", line)

    def test_preferred(self) -> None:
        """One algorithm alone is answered with where the configuration says so."""
        made = Credentials("alice", "secret", "MD5")
        made.challenged(_CHALLENGE)
        self.assertEqual(made.algorithm, "MD5")
        self.assertRaises(StoneError, Credentials("a", "b", "SHA-512-256").challenged, _CHALLENGE)

    def test_next_nonce(self) -> None:
        """A nextnonce is counted from 1 (RFC 7616 §3.5)."""
        made = Credentials("alice", "secret")
        made.challenged(_CHALLENGE)
        made.line(b"PUBLISH", b"sip:a")
        made.adopt("next")
        line = made.line(b"PUBLISH", b"sip:a")
        self.assertIn(b'nonce="next"', line)
        self.assertIn(b"nc=00000001", line)

    def test_proxy(self) -> None:
        """A 407 is answered with Proxy-Authorization (RFC 3261 §22.3)."""
        made = Credentials("alice", "secret")
        made.challenged(_CHALLENGE.replace(b"401", b"407").replace(b"WWW-A", b"Proxy-A"))
        self.assertTrue(made.line(b"PUBLISH", b"sip:a").startswith(b"Proxy-Authorization: "))


class FramingTest(SynchronousTestCase):
    """Messages on a stream end where Content-Length says (RFC 3261 §18.3)."""

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(st.tuples(st.binary(max_size=40), st.sampled_from([b"Content-Length: ", b"l:"]))),
        st.binary(max_size=5),
    )
    def test_ends(self, bodies: list[tuple[bytes, bytes]], rest: bytes) -> None:
        """Each is found, by the long name and the compact one, and one that is not whole is not."""
        messages = [
            b"SIP/2.0 200 OK\r\n%b%d\r\n\r\n%b" % (name, len(body), body) for body, name in bodies
        ]
        data = b"".join(messages)
        start = 0
        for message in messages:
            end = message_end(data, start)
            self.assertEqual(data[start:end], message)
            start = end
        self.assertEqual(message_end(data + b"SIP/2.0 200 OK\r\nl: 9\r\n\r\n" + rest, start), -1)

    def test_no_length(self) -> None:
        """A length that is none ends the run."""
        self.assertRaises(StoneError, message_end, b"X\r\nContent-Length: x\r\n\r\n", 0)

    def test_values(self) -> None:
        """Header fields are found whatever their case, and not in the body."""
        data = b"A b c\r\nTO: x\r\nt:y\r\n\r\nTo: z"
        self.assertEqual(values_of(data, b"To", b"t"), [b"x", b"y"])


class TimesTest(SynchronousTestCase):
    """Times are counted to three digits, and merge."""

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(1, LONGEST), min_size=1, max_size=60))
    def test_percentiles(self, values: list[int]) -> None:
        """Any percentile is within two thousandths of the true one."""
        counts = Counts()
        for value in values:
            counts.note(value)
        times = Times(counts.encoded())
        self.assertEqual(times.total, len(values))
        ordered = sorted(values)
        self.assertLess(abs(times.longest() * 1e6 - ordered[-1]), ordered[-1] * 0.002 + 1)
        middle = ordered[(len(ordered) + 1) // 2 - 1]
        self.assertLess(abs(times.at(50) * 1e6 - middle), middle * 0.002 + 1)

    def test_merged(self) -> None:
        """What two processes counted is one histogram."""
        one, two = Counts(), Counts()
        one.note(1000)
        two.note(3000)
        times = Times(one.encoded())
        times.add(two.encoded())
        times.add("")
        self.assertEqual((times.total, round(times.longest(), 3)), (2, 0.003))
        self.assertEqual(Times().encoded(), "")
        self.assertEqual(Times().at(99), 0.0)

    def test_out_of_bounds(self) -> None:
        """What is negative, or too long, is counted still."""
        counts = Counts()
        counts.note(-5)
        counts.note(LONGEST * 3)
        self.assertEqual(Times(counts.encoded()).total, 2)
