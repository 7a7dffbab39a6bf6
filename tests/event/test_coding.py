"""Content-Encoding of NOTIFY bodies (RFC 3261 §20.2, §20.12)."""

import gzip
import zlib

from twisted.trial.unittest import SynchronousTestCase

from simplestack.event.coding import choose_coding
from simplestack.event.notifier import NotifyRequest
from simplestack.sip.errors import SIPError
from tests.event.fakes import Agent, FakePackage, PartialPackage, publication, read, subscribe

LONG = b"a long state that says the same again and again. " * 20


class ChoiceTests(SynchronousTestCase):
    """Which coding is taken."""

    def test_choices(self) -> None:
        """The highest q, of equal ones what makes less; never what is not accepted (§20.2)."""
        for accept, wanted in (
            ("", ""),
            ("identity", ""),
            ("gzip", "gzip"),
            ("deflate", "deflate"),
            ("gzip, deflate", "deflate"),
            ("GZIP;q=1.0, deflate;q=0.5", "gzip"),
            ("gzip;q=0", ""),
            ("compress, x-gzip", ""),
            ("*", "deflate"),
            ("*, deflate;q=0", "gzip"),
            ("identity, gzip;q=0.5", ""),
            ("gzip;q=nonsense", ""),
            (";;,=", ""),
        ):
            self.assertEqual(choose_coding(accept), wanted, accept)


class NotificationTests(SynchronousTestCase):
    """Bodies on their way."""

    def setUp(self) -> None:
        """An agent with a long state."""
        self.agent = Agent(FakePackage())
        self.agent.put(publication("p", LONG))

    def join(self, *headers: str, number: int = 1) -> NotifyRequest:
        """A subscriber's first NOTIFY."""
        (notify,) = self.agent.subscribe(subscribe(headers=headers, call_id=f"c{number}"))
        self.agent.answer(notify)
        return notify

    def test_coded(self) -> None:
        """Who accepts a coding gets it; the others get the body as it is (§20.12)."""
        plain = read(self.join())
        self.assertIsNone(plain.get("Content-Encoding"))
        for number, coding in enumerate(("gzip", "deflate"), 2):
            message = read(self.join(f"Accept-Encoding: {coding}", number=number))
            self.assertEqual(message.get("Content-Encoding"), coding)
            decode = gzip.decompress if coding == "gzip" else zlib.decompress
            self.assertEqual(decode(message.body), plain.body)
            self.assertLess(len(message.body), len(plain.body))
            self.assertEqual(message.get("Content-Type"), plain.get("Content-Type"))
            # "This meta-data MUST include … Content-Encoding" (RFC 5839 §4).
            self.assertNotEqual(message.etag, plain.etag)

    def test_nothing_to_gain(self) -> None:
        """A short body is sent as it is."""
        self.agent.put(publication("p", b"short"))
        message = read(self.join("Accept-Encoding: gzip"))
        self.assertEqual(message.body, b"short")
        self.assertIsNone(message.get("Content-Encoding"))

    def test_shared(self) -> None:
        """The same octets for all, made once."""
        first = read(self.join("Accept-Encoding: deflate", number=1))
        second = read(self.join("Accept-Encoding: deflate, br", number=2))
        self.assertEqual((first.body, first.etag), (second.body, second.etag))

    def test_refresh(self) -> None:
        """A refresh says it anew, a restart does not forget it; conditions hold with it."""
        message = read(self.join("Accept-Encoding: deflate"))
        self.agent.restart()
        record = self.agent.one()
        for cseq, headers, count in (
            (2, ["Accept-Encoding: deflate", f"Suppress-If-Match: {message.etag}"], 0),
            (3, ["Accept-Encoding: deflate"], 1),
            (4, [f"Suppress-If-Match: {message.etag}"], 1),
        ):
            told = self.agent.subscribe(
                subscribe(headers=headers, to_tag=record.local_tag, call_id="c1", cseq=cseq)
            )
            self.assertEqual(len(told), count)
            for notify in told:
                self.agent.answer(notify)
        self.assertEqual(read(told[0]).body, LONG)

    def test_versions(self) -> None:
        """Documents that carry a version of their own are coded too (RFC 6665 §5.3.2)."""
        self.agent = Agent(PartialPackage())
        self.agent.put(publication("p", LONG))
        message = read(self.join("Accept-Encoding: gzip"))
        self.assertTrue(gzip.decompress(message.body).startswith(b"full 0"))

    def test_too_long(self) -> None:
        """What is kept of Accept-Encoding is bounded (513)."""
        error = self.assertRaises(SIPError, self.join, "Accept-Encoding: " + "x" * 5000)
        self.assertEqual(error.status, 513)
