"""Date and time as presence documents write it (RFC 3339, xs:dateTime with a time zone)."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from simplestack.documents.errors import DocumentError

_FORM: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:)(\d\d)(?:\.(\d{1,12}))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
#: What xs:dateTime has besides: other years, 24 o'clock, and any number of digits.
_DATETIME: Final = re.compile(
    r"(-?)(\d{4,})(-\d\d-\d\dT)(\d\d)(:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_DAY: Final = 86400.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The years that can be written: from 1 to 9999, in UTC.
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH).total_seconds()
_END: Final = float((datetime.max.replace(tzinfo=UTC, microsecond=0) - _EPOCH).total_seconds() + 1)
_LAST: Final = _END - 1.0


def parse_timestamp(text: str) -> float:
    """Read a time as unix seconds.

    "T" and "Z" are capital and the time zone is mandatory (RFC 3863 §4.1.7,
    erratum 1455 of RFC 4745). A leap second counts as the second after it.

    :raises DocumentError: for any other form, and for what is not in the years 1 to 9999 of UTC.
    """
    return _parse(text.strip())


@lru_cache(maxsize=4096)
def _parse(text: str) -> float:
    found = _FORM.fullmatch(text)
    if found is None:
        raise DocumentError(f'"{text[:40]}" is not a date and time with a time zone (RFC 3339)')
    minute, second, fraction, zone = found.groups()
    seconds = _seconds(minute, second, fraction, zone, text)
    if not _FIRST <= seconds < _END:
        raise DocumentError(f'"{text[:40]}" is not in the years 1 to 9999 of UTC')
    return seconds


def _seconds(minute: str, second: str, fraction: str | None, zone: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(f"{minute}00{'+00:00' if zone == 'Z' else zone}")
    except ValueError as error:
        raise DocumentError(f'"{text[:40]}" is no date and time: {error}') from None
    if int(second) > 60:
        raise DocumentError(f'"{text[:40]}" is no date and time: a minute has 60 seconds')
    seconds = (moment - _EPOCH).total_seconds() + int(second)
    if fraction:
        seconds += float(f"0.{fraction}")
    return seconds


def parse_datetime(text: str) -> float:
    """Read an xs:dateTime that has a time zone as unix seconds.

    Beside what ``parse_timestamp`` reads that is 24:00:00, the begin of the next day, and all years
    and fractions.  What is not in the years 1 to 9999 of UTC is the first or last second of them.

    :raises DocumentError: for any other form.
    """
    text = text.strip()
    found = _DATETIME.fullmatch(text)
    if found is None:
        return _parse(text)
    sign, year, day, hour, rest, fraction, zone = found.groups()
    if sign or len(year) > 4:
        return _FIRST if sign else _LAST
    midnight = hour == "24" and rest == ":00:00" and not (fraction or "").strip("0")
    seconds = _seconds(
        f"{year}{day}{'00' if midnight else hour}{rest[:4]}",
        rest[4:],
        (fraction or "")[:12],
        zone,
        text,
    )
    return min(max(_FIRST, seconds + _DAY if midnight else seconds), _LAST)


def format_timestamp(now: float, digits: int = 0) -> str:
    """Write unix seconds as UTC, with ``digits`` (0, 3 or 6) after the second, cut off."""
    moment = _EPOCH + timedelta(seconds=now)
    if digits:
        written = moment.isoformat(timespec="milliseconds" if digits == 3 else "microseconds")
    else:
        written = moment.isoformat(timespec="seconds")
    return written[:-6] + "Z"
