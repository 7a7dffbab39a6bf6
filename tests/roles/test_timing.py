"""What holds at a moment: periods of RPID, timed status, and what their ends cause."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, element
from simplestack.documents.pidf import Device, Note, Person, Presence, Tuple, parse_presence
from simplestack.documents.timestamps import parse_timestamp
from simplestack.roles.timing import ALWAYS, at, moments, period
from tests.documents.examples import examples
from tests.roles.fakes import ALICE


def stamp(second: int) -> str:
    """A timestamp in the first hour of time."""
    return f"1970-01-01T00:{second // 60:02}:{second % 60:02}Z"


def rpid(name: str, start: int | None = None, end: int | None = None) -> Element:
    """An RPID element with a period."""
    attributes = [("from", stamp(start))] if start is not None else []
    attributes += [("until", stamp(end))] if end is not None else []
    return element(ns.RPID, name, "", attributes)


def timed(basic: str, start: int, end: int | None = None, more: str = "") -> Element:
    """A ``<timed-status>``."""
    until = f' until="{stamp(end)}"' if end is not None else ""
    return Element(
        f"{{{ns.TIMED_STATUS}}}timed-status",
        f'<ts:timed-status from="{stamp(start)}"{until}><ts:basic>{basic}</ts:basic>{more}'
        "</ts:timed-status>",
    )


class PeriodTests(SynchronousTestCase):
    def test_period(self) -> None:
        """A period begins with its from and ends before its until; each may be missing."""
        self.assertEqual(period(rpid("mood")), ALWAYS)
        self.assertEqual(period(rpid("mood", 5)), (5.0, ALWAYS[1]))
        self.assertEqual(period(rpid("mood", None, 9)), (ALWAYS[0], 9.0))
        self.assertEqual(period(rpid("mood", 5, 9)), (5.0, 9.0))

    def test_foreign(self) -> None:
        """Attributes of these names mean nothing in other namespaces."""
        foreign = Element("{urn:x}a", f'<ns1:a xmlns:ns1="urn:x" until="{stamp(5)}"/>')
        self.assertEqual(period(foreign), ALWAYS)

    def test_unreadable(self) -> None:
        """A time that can't be read bounds nothing."""
        odd = Element(f"{{{ns.RPID}}}mood", '<rpid:mood until="soon"/>')
        self.assertEqual(period(odd), ALWAYS)


class AtTests(SynchronousTestCase):
    def test_unchanged(self) -> None:
        """Without periods the document is the same object."""
        presence = Presence(ALICE, (Tuple("t", "open"),), (Person("p", None, (rpid("mood"),)),))
        self.assertIs(at(presence, 5.0, 0.0), presence)
        self.assertEqual(moments(presence), ())

    def test_periods(self) -> None:
        """Elements of every component are there while they hold (RFC 4480 §3.1)."""
        mood, later = rpid("mood", None, 10), rpid("sphere", 10, 20)
        presence = Presence(
            ALICE,
            (Tuple("t", "open", status=(mood,), elements=(later,)),),
            (Person("p", None, (mood, later)),),
            (Device("d", "urn:x", None, (mood, later)),),
        )
        self.assertEqual(moments(presence), (10.0, 20.0))
        for now, expected in ((9.0, (mood,)), (10.0, (later,)), (19.9, (later,)), (20.0, ())):
            held = at(presence, now, 0.0)
            self.assertEqual(held.persons[0].elements, expected)
            self.assertEqual(held.devices[0].elements, expected)
            service = held.tuples[0]
            self.assertEqual((*service.status, *service.elements), expected)

    def test_timed_status(self) -> None:
        """A timed status is carried, then is the status, then is gone (RFC 4481 §3)."""
        trip = timed("closed", 10, 20, "<ts:note>in Tokyo</ts:note>")
        [service] = (Tuple("t", "open", elements=(trip,), notes=(Note("here"),)),)
        presence = Presence(ALICE, (service,))
        self.assertIs(at(presence, 9.0, 0.0), presence)
        [during] = at(presence, 10.0, 0.0).tuples
        self.assertEqual(during, Tuple("t", "closed", notes=(Note("in Tokyo"), Note("here"))))
        [after] = at(presence, 20.0, 0.0).tuples
        self.assertEqual(after, service._replace(elements=()))

    def test_timed_status_without_end(self) -> None:
        """Without until it holds until the publication ends."""
        presence = Presence(ALICE, (Tuple("t", "open", elements=(timed("closed", 10),)),))
        self.assertEqual(at(presence, 1e9, 0.0).tuples[0].basic, "closed")

    def test_past(self) -> None:
        """A status that was of the past when it was published is history, and carried."""
        presence = Presence(ALICE, (Tuple("t", "open", elements=(timed("closed", 1, 2),)),))
        self.assertIs(at(presence, 10.0, 5.0), presence)

    def test_encompassing_the_present(self) -> None:
        """One that covers the time of publication is discarded: the status is the later word."""
        presence = Presence(ALICE, (Tuple("t", "open", elements=(timed("closed", 1, 20),)),))
        self.assertEqual(at(presence, 10.0, 5.0).tuples, (Tuple("t", "open"),))

    def test_overlapping(self) -> None:
        """Of overlapping ones, which receivers must take, that which began last has the word."""
        both = (timed("closed", 10, 30), timed("open", 20, 40))
        presence = Presence(ALICE, (Tuple("t", "closed", elements=both),))
        self.assertEqual(at(presence, 15.0, 0.0).tuples[0].basic, "closed")
        self.assertEqual(at(presence, 25.0, 0.0).tuples[0].basic, "open")

    def test_status_extensions(self) -> None:
        """Extensions of a timed status take the place of those of the same name."""
        old = Element("{urn:x}a", '<ns1:a xmlns:ns1="urn:x">old</ns1:a>')
        new = Element("{urn:x}a", '<ns1:a xmlns:ns1="urn:x">new</ns1:a>')
        trip = timed("closed", 10, 20, new.xml)
        presence = Presence(ALICE, (Tuple("t", "open", status=(old,), elements=(trip,)),))
        self.assertEqual(at(presence, 15.0, 0.0).tuples[0].status, (new,))

    def test_example(self) -> None:
        """The example of RFC 4481 §4: closed for a week in August 2005."""
        [example] = [each for each in examples("presence") if each.file.startswith("rfc4481")]
        presence = parse_presence(example.data)
        start, end = moments(presence)
        self.assertEqual(start, parse_timestamp("2005-08-15T10:20:00.000-05:00"))
        for now, basic in ((start - 1, "open"), (start, "closed"), (end, "open")):
            self.assertEqual(at(presence, now, start - 86400).tuples[0].basic, basic)
