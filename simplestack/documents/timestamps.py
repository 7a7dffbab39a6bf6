"""Date and time as presence documents write it (RFC 3339, xs:dateTime with a time zone)."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from simplestack.documents.errors import DocumentError

_FORM: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:)(\d\d)(?:\.(\d{1,12}))?(Z|[+-]\d\d:\d\d)", re.ASCII
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The years that can be written: from 1 to 9999, in UTC.
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH).total_seconds()
_END: Final = float((datetime.max.replace(tzinfo=UTC, microsecond=0) - _EPOCH).total_seconds() + 1)


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
    try:
        moment = datetime.fromisoformat(f"{minute}00{'+00:00' if zone == 'Z' else zone}")
    except ValueError as error:
        raise DocumentError(f'"{text[:40]}" is no date and time: {error}') from None
    if int(second) > 60:
        raise DocumentError(f'"{text[:40]}" is no date and time: a minute has 60 seconds')
    seconds = (moment - _EPOCH).total_seconds() + int(second)
    if fraction:
        seconds += float(f"0.{fraction}")
    if not _FIRST <= seconds < _END:
        raise DocumentError(f'"{text[:40]}" is not in the years 1 to 9999 of UTC')
    return seconds


def format_timestamp(now: float, digits: int = 0) -> str:
    """Write unix seconds as UTC, with ``digits`` (0, 3 or 6) after the second, cut off."""
    moment = _EPOCH + timedelta(seconds=now)
    if digits:
        written = moment.isoformat(timespec="milliseconds" if digits == 3 else "microseconds")
    else:
        written = moment.isoformat(timespec="seconds")
    return written[:-6] + "Z"
