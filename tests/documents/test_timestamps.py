"""Times of RFC 3339."""

import contextlib
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import DocumentError
from simplestack.documents.timestamps import format_timestamp, parse_timestamp


class TimestampTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """Zones and fractions are read; a leap second is the second after it (RFC 3339 §5.7)."""
        for text, seconds in (
            ("1970-01-01T00:00:00Z", 0.0),
            ("1970-01-01T01:00:00+01:00", 0.0),
            ("1969-12-31T19:00:00.250-05:00", 0.25),
            (" 2005-10-27T16:49:29Z\n", 1130431769.0),
            ("1990-12-31T23:59:60Z", 662688000.0),
        ):
            self.assertEqual(parse_timestamp(text), seconds)

    def test_refused(self) -> None:
        """A zone is mandatory and T and Z are capital (RFC 3863 §4.1.7; RFC 4745 erratum 1455)."""
        for text in (
            "",
            "2005-10-27T16:49:29",
            "2005-10-27t16:49:29Z",
            "2005-10-27T16:49:29z",
            "2005-10-27 16:49:29Z",
            "2005-13-27T16:49:29Z",
            "2005-10-27T16:49:61Z",
            "2005-10-27T24:49:00Z",
            "0000-01-01T00:00:00Z",
            "2005-10-27T16:49:29+25:00",
            "20051027T164929Z",
            "٢٠٠٥-10-27T16:49:29Z",
        ):
            self.assertRaises(DocumentError, parse_timestamp, text)

    def test_what_cannot_be_written(self) -> None:
        """What is read can be written: times are of the years 1 to 9999 in UTC (RFC 3339 §1)."""
        for text in (
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "9999-12-31T23:59:60Z",
            "9999-12-31T23:59:59.999999999999Z",
        ):
            self.assertRaises(DocumentError, parse_timestamp, text)
        for text in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
            self.assertEqual(format_timestamp(parse_timestamp(text)), text)

    @given(
        st.datetimes(
            timezones=st.just(UTC), min_value=datetime(1, 1, 2), max_value=datetime(9998, 1, 1)
        )
    )
    def test_roundTrip(self, moment: datetime) -> None:
        """What is written is read as the same moment, cut to its digits."""
        whole = moment.replace(microsecond=0)
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        seconds = (whole - epoch).total_seconds()
        self.assertEqual(parse_timestamp(format_timestamp(seconds)), seconds)
        self.assertEqual(parse_timestamp(format_timestamp(seconds, 3)), seconds)
        self.assertEqual(parse_timestamp(whole.isoformat()), seconds)

    @given(st.text(max_size=30))
    def test_anyText(self, text: str) -> None:
        """Any text is a time or raises the documented error."""
        with contextlib.suppress(DocumentError):
            parse_timestamp(text)
