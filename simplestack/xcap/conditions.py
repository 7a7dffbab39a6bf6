"""Conditional requests: entity-tags and dates (RFC 4825 §7.11, RFC 9110 §13)."""

import re
from collections.abc import Mapping
from email.utils import formatdate, mktime_tz, parsedate_tz
from functools import lru_cache
from typing import Final

from simplestack.sip.errors import SIPError
from simplestack.state import Document

__all__ = ["check", "http_date", "quoted"]

_TAG: Final = re.compile(r'[ \t,]*+(W/)?("[\x21\x23-\x7e\x80-\uffff]*+")[ \t]*+(?:,|\Z)')

NOT_MODIFIED: Final = 304
_SAFE: Final = ("GET", "HEAD")


def quoted(entity_tag: str) -> str:
    """An entity-tag as header fields write it."""
    return f'"{entity_tag}"'


def http_date(when: float) -> str:
    """A time as Last-Modified writes it (RFC 9110 §5.6.7)."""
    return _date_of(int(when))


@lru_cache(maxsize=1024)
def _date_of(second: int) -> str:
    return formatdate(second, usegmt=True)


def check(headers: Mapping[str, str], method: str, document: Document | None) -> bool:
    """Whether the request may go on; False where the answer is 304.

    The order is that of RFC 9110 §13.2.2.  A document's nodes have its entity-tag.  Raises
    SIPError 412, and 400 for a field that can't be read.
    """
    tag = None if document is None else quoted(document.entity_tag)
    field = headers.get("if-match")
    if field is not None:
        # "An origin server MUST use the strong comparison function" (RFC 9110 §13.1.1)
        if not _any(field, tag, strong=True):
            raise _failed("If-Match", tag)
    elif "if-unmodified-since" in headers and document is not None:
        since = _date(headers["if-unmodified-since"])
        if since is not None and int(document.modified_at) > since:
            raise _failed("If-Unmodified-Since", tag)
    field = headers.get("if-none-match")
    if field is not None:
        if _any(field, tag, strong=False):
            if method in _SAFE:
                return False
            raise _failed("If-None-Match", tag)
    elif "if-modified-since" in headers and method in _SAFE and document is not None:
        since = _date(headers["if-modified-since"])
        if since is not None and int(document.modified_at) <= since:
            return False
    return True


def _any(field: str, tag: str | None, *, strong: bool) -> bool:
    if field == tag:
        return True
    if field.strip() == "*":
        return tag is not None
    found = False
    position = 0
    while position < len(field):
        match = _TAG.match(field, position)
        if match is None:
            if not field[position:].strip(" \t,"):
                break
            raise SIPError(400, text="If-Match or If-None-Match is not a list of entity-tags")
        if match[2] == tag and not (strong and match[1]):
            found = True
        position = match.end()
    return found


def _date(field: str) -> float | None:
    """The time, None where the field is none: it is ignored then (RFC 9110 §13.1.3)."""
    try:
        parsed = parsedate_tz(field)
        return None if parsed is None else mktime_tz(parsed)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def _failed(field: str, tag: str | None) -> SIPError:
    if tag is None:
        return SIPError(
            412, "Precondition Failed", text=f"{field} is not met: there is no document"
        )
    return SIPError(
        412,
        "Precondition Failed",
        headers=[("ETag", tag)],
        text=f"{field} is not met: the document's entity-tag is {tag}",
    )
