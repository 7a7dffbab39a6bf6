"""Messages out of streams."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import ParseError
from simplestack.sip.framer import KEEP_ALIVE, KeepAlive, StreamFramer
from simplestack.sip.message import Limits, Request, Response

HEAD = (
    b"MESSAGE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKa\r\nCall-ID: 1\r\n"
)


def message(body: bytes = b"") -> bytes:
    """A request with a body."""
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


class FramerTests(SynchronousTestCase):
    """RFC 3261 §18.3 and RFC 5626 §3.5.1."""

    def fed(self, data: bytes, size: int, limits: Limits | None = None) -> list[object]:
        """What comes of data in pieces of one size; a fault is the last of it."""
        framer = StreamFramer() if limits is None else StreamFramer(limits)
        seen: list[object] = []

        def take(found: list[Request | Response | KeepAlive]) -> None:
            for one in found:
                seen.append(one if isinstance(one, KeepAlive) else one.to_bytes())

        for start in range(0, len(data), size):
            try:
                take(framer.feed(data[start : start + size]))
            except ParseError as error:
                take(list(error.earlier))
                answer = error.message and error.message.get("Call-ID")
                seen.append((error.status, error.text, answer))
                self.assertEqual(framer.feed(message()), [])
                self.assertFalse(framer.waiting)
                break
        return seen

    def check(self, data: bytes, expected: list[object], limits: Limits | None = None) -> None:
        """In pieces of every kind the same comes out."""
        for size in (len(data), 1, 2, 3, 7, 50):
            self.assertEqual(self.fed(data, size, limits), expected, size)

    def test_messages(self) -> None:
        """§18.3: Content-Length tells where a message ends, whatever is in the body."""
        one, two, three = message(), message(b"\r\n\r\nINVITE"), message(b"\x00" * 500)
        self.check(one + two + three, [one, two, three])

    def test_responses(self) -> None:
        """A response is read as a request is."""
        data = b"SIP/2.0 200 OK\r\nCall-ID: 1\r\nContent-Length: 1\r\n\r\nx"
        self.check(data + message(), [data, message()])

    def test_keep_alive(self) -> None:
        """RFC 5626 §3.5.1: CRLF CRLF between messages asks for a CRLF."""
        data = b"\r\n\r\n" + message() + b"\r\n\r\n\r\n\r\n" + message(b"x") + b"\r\n\r\n"
        self.check(data, [KEEP_ALIVE, message(), KEEP_ALIVE, KEEP_ALIVE, message(b"x"), KEEP_ALIVE])
        self.assertEqual(repr(KEEP_ALIVE), "<KeepAlive>")

    def test_line_end(self) -> None:
        """RFC 3261 §7.5: a line end before a start line is skipped."""
        self.check(b"\r\n" + message() + b"\r\n" + message(), [message(), message()])
        self.check(b"\r\n\r\n\r\n" + message(), [KEEP_ALIVE, message()])

    def test_waiting(self) -> None:
        """A message that has begun is waited for; line ends are none."""
        framer = StreamFramer()
        for data, waiting in (
            (b"", False),
            (b"\r\n", False),
            (message(b"ab")[:10], True),
            (message(b"ab")[10:-1], True),
            (b"b", False),
        ):
            framer.feed(data)
            self.assertEqual(framer.waiting, waiting, data)

    def test_faults(self) -> None:
        """§18.3: a message whose end can't be known is refused after those before it."""
        good = message(b"x")
        for field, text in (
            (b"X-A: 1", "Content-Length is missing"),
            (b"Content-Length: -1", "bad Content-Length: -1"),
            (b"l: 1\r\nContent-Length: 2", "several Content-Length"),
            (b"nonsense\r\nl: 0", "not a header field: nonsense"),
        ):
            self.check(good + HEAD + field + b"\r\n\r\n" + good, [good, (400, text, "1")])

    def test_version(self) -> None:
        """§7.1: another version is a 505, and how it ends a message can't be known."""
        data = message().replace(b"SIP/2.0\r\n", b"SIP/3.0\r\n", 1)
        self.check(data, [(505, "only SIP/2.0 is spoken here: SIP/3.0", "1")])

    def test_limits(self) -> None:
        """§21.5.7: a header or body beyond the limits is a 513 before it is all there."""
        limits = Limits(head=300, lines=10, body=10)
        large = (513, "the header is too large", "1")
        self.check(HEAD + b"X-A: " + b"x" * 400, [large], limits)
        self.check(HEAD + b"X-A: " + b"x" * 400 + b"\r\nl: 0\r\n\r\n", [large], limits)
        self.check(b"x" * 400, [(513, "the header is too large", None)], limits)
        self.check(HEAD + b"l: 11\r\n\r\n", [(513, "the body is too large", "1")], limits)
        lines = HEAD + b"a: b\r\n" * 20 + b"l: 0\r\n\r\n"
        self.check(lines, [(513, "too many header fields", "1")], limits)
        self.check(message(b"x" * 10), [message(b"x" * 10)], limits)

    def test_exact_limit(self) -> None:
        """A header of just the limit's size is taken, one octet more is not."""
        data = message()
        size = len(data) - 4
        self.check(data, [data], Limits(head=size))
        self.check(data, [(513, "the header is too large", "1")], Limits(head=size - 1))

    def test_not_sip(self) -> None:
        """What is no SIP at all leaves nothing to answer."""
        self.check(
            b"\x16\x03\x01\x02\x00\r\n\r\n", [(400, "bad Request-Line: \x16\x03\x01\x02\x00", None)]
        )
