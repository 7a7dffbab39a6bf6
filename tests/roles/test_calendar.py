"""Calendars as presence: what events mean, recurrences, time zones, and what is not told."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import parse_presence, validate
from simplestack.roles.calendar import (
    AWAY,
    BUSY,
    MEETING,
    TRAVEL,
    VACATION,
    Period,
    periods,
    presence,
)
from simplestack.roles.circumstances import activities
from simplestack.roles.timing import at, moments
from tests.roles.fakes import ALICE

#: Monday.
START = datetime(2025, 3, 24, tzinfo=UTC)
END = START + timedelta(days=14)


def calendar(*events: str, kind: str = "VEVENT") -> bytes:
    """An iCalendar file of events, each given by its lines."""
    written = "".join(
        f"BEGIN:{kind}\nUID:{place}\nDTSTAMP:20250101T000000Z\n{event}\nEND:{kind}\n"
        for place, event in enumerate(events)
    )
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//\n{written}END:VCALENDAR\n".replace(
        "\n", "\r\n"
    ).encode()


def utc(day: int, hour: int, minute: int = 0) -> float:
    """A time in March 2025."""
    return datetime(2025, 3, day, hour, minute, tzinfo=UTC).timestamp()


NOON = "DTSTART:20250325T120000Z\nDTEND:20250325T130000Z\nSUMMARY:secret\nLOCATION:secret"
AT_NOON = (utc(25, 12), utc(25, 13))


class CalendarTests(SynchronousTestCase):
    def said(self, *events: str, **more: str) -> list[Period]:
        """What is said of two weeks."""
        zone = ZoneInfo(more.get("zone", "UTC"))
        return periods(calendar(*events), START, END, zone=zone, user=more.get("user", ""))

    def test_meaning(self) -> None:
        """What an event says of its owner, by its properties (RFC 5545 §3.8)."""
        table = [
            ("", BUSY),
            ("ATTENDEE:mailto:bob@example.com", MEETING),
            ("STATUS:CONFIRMED", BUSY),
            ("STATUS:CANCELLED", None),
            ("TRANSP:TRANSPARENT", None),
            ("TRANSP:OPAQUE", BUSY),
            ("X-MICROSOFT-CDO-BUSYSTATUS:FREE", None),
            ("X-MICROSOFT-CDO-BUSYSTATUS:OOF", AWAY),
            ("X-MICROSOFT-CDO-BUSYSTATUS:OOF\nTRANSP:TRANSPARENT", AWAY),
            ("CATEGORIES:Work,Vacation", VACATION),
            ("CATEGORIES:Travel\nCATEGORIES:x", TRAVEL),
            ("CATEGORIES:Out of office", AWAY),
            ("CATEGORIES:Vacation\nCLASS:PRIVATE", BUSY),
            ("ATTENDEE:mailto:bob@example.com\nCLASS:CONFIDENTIAL", BUSY),
            ("ATTENDEE;PARTSTAT=DECLINED:mailto:alice@example.com", None),
            ("ATTENDEE;PARTSTAT=ACCEPTED:mailto:ALICE@example.com", MEETING),
            ("ATTENDEE;PARTSTAT=DECLINED:mailto:bob@example.com", MEETING),
        ]
        for lines, expected in table:
            said = self.said(f"{NOON}\n{lines}".rstrip(), user="alice@example.com")
            self.assertEqual(said, [] if expected is None else [Period(*AT_NOON, expected)], lines)

    def test_recurrence(self) -> None:
        """Recurrences with exceptions and moved ones (RFC 5545 §3.8.5, §3.8.4.4)."""
        series = (
            "DTSTART:20250303T090000Z\nDTEND:20250303T093000Z\nRRULE:FREQ=WEEKLY;BYDAY=MO,WE\n"
            "EXDATE:20250326T090000Z"
        )
        self.assertEqual(
            [each.start for each in self.said(series)],
            [utc(24, 9), utc(31, 9), utc(31, 9) + 2 * 86400],
        )
        moved = "RECURRENCE-ID:20250331T090000Z\nDTSTART:20250331T100000Z\nDTEND:20250331T103000Z"
        data = calendar(series, moved).replace(b"UID:1", b"UID:0")
        starts = [each.start for each in periods(data, START, END)]
        self.assertEqual(starts, [utc(24, 9), utc(31, 10), utc(31, 9) + 2 * 86400])

    def test_time_zones(self) -> None:
        """An hour of the day stays that hour when clocks change; 30 March 2025 in Berlin."""
        series = (
            "DTSTART;TZID=Europe/Berlin:20250328T100000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT=4"
        )
        self.assertEqual(
            [each.start for each in self.said(series)],
            [utc(28, 9), utc(29, 9), utc(30, 8), utc(31, 8)],
        )

    def test_floating(self) -> None:
        """A time without a zone, and a whole day, are those of the user's zone."""
        [noon, day] = self.said(
            "DTSTART:20250325T120000\nDTEND:20250325T130000",
            "DTSTART;VALUE=DATE:20250327\nDTEND;VALUE=DATE:20250328",
            zone="Europe/Berlin",
        )
        self.assertEqual((noon.start, noon.end), (utc(25, 11), utc(25, 12)))
        self.assertEqual((day.start, day.end), (utc(26, 23), utc(27, 23)))

    def test_overlap(self) -> None:
        """Overlapping events give periods that don't, with what all say of them."""
        said = self.said(
            "DTSTART:20250325T120000Z\nDTEND:20250325T140000Z",
            "DTSTART:20250325T130000Z\nDTEND:20250325T150000Z\nATTENDEE:mailto:b@x.org",
            "DTSTART:20250325T150000Z\nDTEND:20250325T160000Z\nATTENDEE:mailto:b@x.org",
        )
        self.assertEqual(
            said,
            [
                Period(utc(25, 12), utc(25, 13), BUSY),
                Period(utc(25, 13), utc(25, 14), BUSY | MEETING),
                Period(utc(25, 14), utc(25, 16), MEETING),
            ],
        )

    def test_free_busy(self) -> None:
        """VFREEBUSY with ends and durations (RFC 5545 §3.6.4)."""
        data = calendar(
            "FREEBUSY:20250325T080000Z/PT3H,20250325T120000Z/20250325T130000Z\n"
            "FREEBUSY;FBTYPE=FREE:20250326T080000Z/PT1H\n"
            "FREEBUSY;FBTYPE=BUSY-UNAVAILABLE:20250327T080000Z/PT1H",
            kind="VFREEBUSY",
        )
        self.assertEqual(
            periods(data, START, END),
            [
                Period(utc(25, 8), utc(25, 11), BUSY),
                Period(utc(25, 12), utc(25, 13), BUSY),
                Period(utc(27, 8), utc(27, 9), AWAY),
            ],
        )

    def test_too_often(self) -> None:
        """Rules that would keep us counting for hours are left out, and the rest counts."""
        for rule in ("FREQ=SECONDLY", "FREQ=MINUTELY;INTERVAL=2", "FREQ=DAILY;BYSECOND=1,2"):
            self.assertEqual(
                self.said(f"DTSTART:19700101T000000Z\nDURATION:PT1S\nRRULE:{rule}", NOON),
                [Period(*AT_NOON, BUSY)],
            )

    def test_refused(self) -> None:
        """What is no calendar is said to be none."""
        for data in (b"", b"<html/>", b"\xff\xfe\x00", b"BEGIN:VEVENT\r\nEND:VEVENT\r\n"):
            self.assertRaises(DocumentError, periods, data, START, END)

    def test_document(self) -> None:
        """The document is valid RPID, tells activities at their times, and nothing of the event."""
        document = presence(ALICE, self.said(f"{NOON}\nATTENDEE:mailto:bob@example.com"))
        data = document.to_bytes()
        validate(data)
        self.assertEqual(parse_presence(data), document)
        for word in (b"secret", b"bob"):
            self.assertNotIn(word, data)
        self.assertEqual(moments(document), AT_NOON)
        for now, expected in (
            (AT_NOON[0] - 1, set()),
            (AT_NOON[0], MEETING),
            (AT_NOON[1] - 1, MEETING),
            (AT_NOON[1], set()),
        ):
            self.assertEqual(set(activities(at(document, now, 0.0))), expected)

    def test_nothing(self) -> None:
        """A user who is free all the time has no person."""
        self.assertEqual(presence(ALICE, self.said()).persons, ())

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), max_size=8))
    def test_as_a_plain_count(self, spans: list[tuple[int, int]]) -> None:
        """At every hour he is busy exactly if an event is there."""
        events = [
            f"DTSTART:{START + timedelta(hours=first):%Y%m%dT%H%M%SZ}\nDURATION:PT{length}H"
            for first, length in spans
        ]
        said = self.said(*events)
        for hour in range(336):
            now = START.timestamp() + hour * 3600
            expected = any(first <= hour < first + length for first, length in spans)
            self.assertEqual(any(each.start <= now < each.end for each in said), expected)
