"""Media types: Content-Type and Accept (RFC 3261 §20.1, §20.15)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from simplestack.sip.grammar import (
    TOKEN,
    Params,
    bad,
    find_param,
    format_params,
    parse_params,
    split_list,
)
from simplestack.sip.memory import remember

__all__ = ["MediaType", "parse_accept", "parse_media_type"]

_media_type: Final = re.compile(
    rf"({TOKEN}++)[ \t]*+/[ \t]*+({TOKEN}++)[ \t]*+(;.*)?", re.DOTALL
).fullmatch
_is_q: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch


class MediaType(NamedTuple):
    """A media type or range: "application/pidf+xml", lower case, and parameters."""

    type: str
    params: Params = ()

    def param(self, name: str) -> str | None:
        """What a parameter says, unquoted; "" if it has no value, None if it is not there."""
        return find_param(self.params, name)

    @property
    def q(self) -> float:
        """The preference in an Accept, 0 to 1; 1 where none is given or it can't be read."""
        q = self.param("q")
        return float(q) if q and _is_q(q) else 1.0

    def matches(self, media_type: str) -> bool:
        """Whether this range takes in the media type, given in lower case."""
        mine = self.type
        return mine in (media_type, "*/*") or (
            mine.endswith("/*") and media_type.startswith(mine[:-1])
        )

    def __str__(self) -> str:
        return self.type + format_params(self.params)


@remember(1024)
def parse_media_type(text: str) -> MediaType:
    """Read `type/subtype;parameters`. Raises SIPError 400."""
    match = _media_type(text)
    if not match:
        raise bad(f"bad media type: {text[:60]}")
    return MediaType(f"{match[1]}/{match[2]}".lower(), parse_params((match[3] or "").rstrip(" \t")))


@remember(1024)
def parse_accept(text: str) -> tuple[MediaType, ...]:
    """Read a list of media ranges; an empty one accepts nothing. Raises SIPError 400."""
    return tuple([parse_media_type(part) for part in split_list(text) if part])
