"""Numbers, tokens, dates and other plain values of header fields (RFC 3261 §20)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr

from simplestack.sip.grammar import (
    QUOTED,
    TOKEN,
    Params,
    bad,
    find_param,
    format_params,
    integer,
    is_token,
    parse_params,
    quote,
    split_list,
    unquote,
)
from simplestack.sip.memory import remember

__all__ = [
    "MAX_SECONDS",
    "CSeq",
    "Disposition",
    "RetryAfter",
    "WarningValue",
    "format_date",
    "parse_call_id",
    "parse_cseq",
    "parse_date",
    "parse_disposition",
    "parse_entity_tag",
    "parse_expires",
    "parse_max_forwards",
    "parse_retry_after",
    "parse_tokens",
    "parse_warning",
]

MAX_SECONDS: Final = 2**32 - 1
"""The largest delta-seconds; larger ones are cut to it."""

_MALFORMED_EXPIRES: Final = 3600

_WORD: Final = r"[A-Za-z0-9\-.!%*_+`'~()<>:\\\"/\[\]?{}]"
_is_call_id: Final = re.compile(rf"{_WORD}++(?>(?:@{_WORD}++)?)").fullmatch
_retry_after: Final = re.compile(r"([0-9]+)[ \t]*+(\(.*\))?[ \t]*+(;.*)?", re.DOTALL).fullmatch
_warning: Final = re.compile(rf"([0-9]{{3}})[ \t]++([^ \t\"]++)[ \t]++({QUOTED})").fullmatch
_disposition: Final = re.compile(rf"({TOKEN}++)[ \t]*+(;.*)?", re.DOTALL).fullmatch
_date: Final = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) "
    r"([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
).fullmatch
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
)


@mypyc_attr(acyclic=True)
class CSeq:
    """The number that orders requests, and the method (§20.16)."""

    __slots__ = ("method", "number")

    def __init__(self, number: int, method: str) -> None:
        self.number = number
        self.method = method

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, CSeq) and self.number == other.number and self.method == other.method
        )

    def __hash__(self) -> int:
        return hash((self.number, self.method))

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


class RetryAfter(NamedTuple):
    """When to ask again: seconds, a comment and parameters (§20.33)."""

    seconds: int
    comment: str = ""
    params: Params = ()

    def __str__(self) -> str:
        comment = f" ({self.comment})" if self.comment else ""
        return f"{self.seconds}{comment}{format_params(self.params)}"


class WarningValue(NamedTuple):
    """What went wrong: three digits, who says so, and the text (§20.43)."""

    code: int
    agent: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.agent} {quote(self.text)}"


class Disposition(NamedTuple):
    """What a body is for: a token in lower case, and parameters (§20.11)."""

    type: str
    params: Params = ()

    @property
    def required(self) -> bool:
        """Whether a body that isn't understood is an error: so unless handling=optional."""
        return (find_param(self.params, "handling") or "required").lower() != "optional"

    def __str__(self) -> str:
        return self.type + format_params(self.params)


def parse_cseq(text: str) -> CSeq:
    """Read a CSeq. Raises SIPError 400.

    §8.1.1.5: "The sequence number value MUST be expressible as a 32-bit unsigned integer".
    """
    number, _, method = text.partition(" ")
    if not method.isalpha() or not method.isascii():
        number, _, method = text.replace("\t", " ").partition(" ")
        method = method.lstrip(" ")
        if not is_token(method):
            raise bad(f"bad CSeq: {text[:60]}")
    value = integer(number, 2**32)
    if value is None or value == 2**32:
        raise bad(f"bad CSeq: {text[:60]}")
    return CSeq(value, method)


def parse_call_id(text: str) -> str:
    """Check a Call-ID, `word [ "@" word ]`; it is compared in its case. Raises SIPError 400."""
    at = text.find("@")
    # A token before "@", and one behind it, is what nearly all are.
    word = text if at < 0 else text[:at]
    if not (is_token(word) and (at < 0 or is_token(text[at + 1 :]))) and not _is_call_id(text):
        raise bad(f"bad Call-ID: {text[:60]}")
    return text


@remember(256)
def parse_max_forwards(text: str) -> int:
    """Read a Max-Forwards; above 255 it is 255 (§20.22). Raises SIPError 400."""
    value = integer(text, 255)
    if value is None:
        raise bad(f"bad Max-Forwards: {text[:60]}")
    return value


@remember(1024)
def parse_expires(text: str) -> int:
    """Read delta-seconds, cut to 2**32-1.

    §20.10: "Malformed values SHOULD be treated as equivalent to 3600." A negative value is
    malformed, for the grammar has none.
    """
    value = integer(text, MAX_SECONDS)
    return _MALFORMED_EXPIRES if value is None else value


@remember(1024)
def parse_tokens(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of tokens, which may be empty. Raises SIPError 400."""
    tokens = tuple([part for part in split_list(text) if part])
    for token in tokens:
        if not is_token(token):
            raise bad(f"not a token: {token[:60]}")
    return tokens


def parse_entity_tag(text: str) -> str:
    """Check a SIP-ETag or SIP-If-Match: one token (RFC 3903 §11.3). Raises SIPError 400."""
    if not is_token(text):
        raise bad(f"bad entity-tag: {text[:60]}")
    return text


@remember(256)
def parse_retry_after(text: str) -> RetryAfter:
    """Read a Retry-After. Raises SIPError 400."""
    match = _retry_after(text)
    if not match:
        raise bad(f"bad Retry-After: {text[:60]}")
    return RetryAfter(
        integer(match[1], MAX_SECONDS) or 0,
        (match[2] or "")[1:-1],
        parse_params((match[3] or "").rstrip(" \t")),
    )


@remember(256)
def parse_warning(text: str) -> WarningValue:
    """Read one warning-value. Raises SIPError 400."""
    match = _warning(text)
    if not match:
        raise bad(f"bad Warning: {text[:60]}")
    return WarningValue(int(match[1]), match[2], unquote(match[3]))


@remember(256)
def parse_disposition(text: str) -> Disposition:
    """Read a Content-Disposition. Raises SIPError 400."""
    match = _disposition(text)
    if not match:
        raise bad(f"bad Content-Disposition: {text[:60]}")
    return Disposition(match[1].lower(), parse_params((match[2] or "").rstrip(" \t")))


@remember(256)
def parse_date(text: str) -> datetime:
    """Read a SIP-date, which is RFC 1123's and in GMT alone (§20.17). Raises SIPError 400."""
    match = _date(text)
    try:
        if not match:
            raise ValueError
        day, month, year, hour, minute, second = match.group(2, 3, 4, 5, 6, 7)
        return datetime(
            int(year),
            _MONTHS.index(month) + 1,
            int(day),
            int(hour),
            int(minute),
            min(int(second), 59),
            tzinfo=UTC,
        )
    except ValueError:
        raise bad(f"bad Date: {text[:60]}") from None


def format_date(seconds: float) -> str:
    """The SIP-date of a moment, given in seconds since 1970."""
    date = datetime.fromtimestamp(int(seconds), UTC)
    return (
        f"{_DAYS[date.weekday()]}, {date.day:02} {_MONTHS[date.month - 1]} {date.year:04} "
        f"{date.hour:02}:{date.minute:02}:{date.second:02} GMT"
    )
