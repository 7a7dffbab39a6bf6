"""The basic rules of the SIP grammar (RFC 3261 §25.1): tokens, quoted strings, parameters.

Text has been unfolded before it comes here, so LWS is spaces and tabs. The patterns use
possessive repetition, or a last alternative that takes the whole rest, so that no text makes
them work more than in proportion to its length. Of a group the repetition is written as an
atomic group, `(?>(?:...)*)`: before Python 3.11.5 `(?:...)*+` matches what it should not.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from simplestack.sip.errors import SIPError

__all__ = [
    "QUOTED",
    "TOKEN",
    "Params",
    "bad",
    "find_param",
    "format_params",
    "integer",
    "is_token",
    "parse_params",
    "quote",
    "split_list",
    "unfold",
    "unquote",
    "unquote_param",
]

Params: TypeAlias = tuple[tuple[str, str | None], ...]
"""Parameters in order: lower-case name, and the value as written, quotes included."""

TOKEN: Final = r"[A-Za-z0-9\-.!%*_+`'~]"
"""A character of `token`."""

QUOTED: Final = r'"(?>(?:[^"\\\x00-\x08\x0a-\x1f\x7f]++|\\[^\r\n])*)"'
"""A `quoted-string`: control characters stand only in a quoted-pair."""

# gen-value is a token, a host or a quoted string. Beyond it we take characters that phones
# write unquoted and that no rule reads as a separator.
_VALUE: Final = r"[A-Za-z0-9\-.!%*_+`'~\[\]:/@=&$?#^|{}]"

# What most parameters are called, as most write it.
_NAMES: Final = frozenset(
    ["alias", "branch", "expires", "id", "lr", "ob", "q", "received", "reg-id", "rport", "tag"]
).union(["transport", "ttl", "user", "+sip.instance"])


def _table(characters: str) -> bytes:
    """What leaves alone octets that the pattern matches, and none of the others."""
    plain = re.compile(characters)
    table = bytearray(256)
    table[0] = 1
    for code in range(1, 128):
        if plain.fullmatch(chr(code)):
            table[code] = code
    return bytes(table)


#: What stands in a list of parameters that has nothing quoted.
_PLAIN: Final = _table(_VALUE + "|;")
_TOKEN: Final = _table(TOKEN)
_find_params: Final = re.compile(
    rf"[ \t]*+;[ \t]*+({TOKEN}++)[ \t]*+(?:=[ \t]*+({QUOTED}|{_VALUE}++))?|(.+)", re.DOTALL
).findall
_folds: Final = re.compile(r"\r\n[ \t]+").sub
_quoted_pair: Final = re.compile(r"\\(.)", re.DOTALL)
_to_escape: Final = re.compile(r'["\\\x00-\x08\x0b\x0c\x0e-\x1f\x7f]')
_list_parts: Final = re.compile(rf'{QUOTED}|<[^<>]*+>|[^,"<(]++|(,)|(\()|.', re.DOTALL)
_comment_part: Final = re.compile(rf"{QUOTED}|[^()\"\\]++|\\.|(\()|(\))|.", re.DOTALL)


def bad(text: str) -> SIPError:
    """The 400 that says what is wrong with the syntax."""
    return SIPError(400, text=text)


def is_token(text: str) -> bool:
    """Whether the text is a `token`."""
    if not text.isascii():
        return False
    data = text.encode("ascii")
    return data != b"" and data.translate(_TOKEN) == data


def unfold(text: str) -> str:
    """Lines that were continued on the next, as one line each (RFC 3261 §7.3.1)."""
    return _folds(" ", text)


def integer(text: str, maximum: int) -> int | None:
    """The value of 1*DIGIT, at most `maximum`; None where the text is no such number."""
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 20:
        text = text.lstrip("0") or "0"
        if len(text) > 20:
            return maximum
    return min(int(text), maximum)


def quote(text: str) -> str:
    """A quoted-string that says the text; line ends, which none can hold, become spaces."""
    text = text.replace("\r", " ").replace("\n", " ")
    return '"' + _to_escape.sub(r"\\\g<0>", text) + '"'


def unquote(text: str) -> str:
    """What a quoted-string says; its syntax has been checked."""
    text = text[1:-1]
    return _quoted_pair.sub(r"\1", text) if "\\" in text else text


def unquote_param(value: str | None) -> str:
    """What a parameter's value says: "" where it has none, without the quotes if it has any."""
    if value is None:
        return ""
    return unquote(value) if value[:1] == '"' else value


def parse_params(text: str) -> Params:
    """The `*( SEMI generic-param )` that stands after a value; "" is none.

    Raises SIPError 400. RFC 3261 §7.3.1: "any given parameter-name MUST NOT appear more
    than once."
    """
    if not text:
        return ()
    parts = text.split(";")
    data = text.encode("utf-8", "surrogateescape")
    # Quotes, spaces and what may not stand there at all are for a closer look.
    if parts[0] or data.translate(_PLAIN) != data:
        return _read_params(text)
    found: list[tuple[str, str | None]] = []
    for at in range(1, len(parts)):
        name, equals, value = parts[at].partition("=")
        if name not in _NAMES or (equals and not value):
            return _read_params(text)
        for before, _ in found:
            if before == name:
                raise bad("a parameter appears twice")
        found.append((name, value if equals else None))
    return tuple(found)


def _read_params(text: str) -> Params:
    """Of any spelling what `parse_params` reads."""
    found = _find_params(text)
    if found[-1][2]:
        raise bad(f"bad parameters: {found[-1][2][:40]}")
    params = tuple([(name.lower(), value or None) for name, value, _ in found])
    if len(dict(params)) != len(params):
        raise bad("a parameter appears twice")
    return params


def find_param(params: Params, name: str) -> str | None:
    """What the parameter says, unquoted; "" if it has no value, None if it is not there."""
    for key, value in params:
        if key == name:
            return unquote_param(value)
    return None


def format_params(params: Params) -> str:
    """The parameters with a semicolon before each."""
    text = ""
    for name, value in params:
        text += f";{name}" if value is None else f";{name}={value}"
    return text


def split_list(text: str) -> list[str]:
    """The elements of a comma-separated list, stripped; commas in quotes, <> and comments don't count.

    Empty text has no elements; an empty element between two commas is "".
    """
    if "," not in text:
        text = text.strip(" \t")
        return [text] if text else []
    if '"' not in text and "<" not in text and "(" not in text:
        return [part.strip(" \t") for part in text.split(",")]
    parts: list[str] = []
    start = position = 0
    comments = "(" in text
    while match := _list_parts.match(text, position):
        position = match.end()
        if match[1]:
            parts.append(text[start : position - 1].strip(" \t"))
            start = position
        elif match[2] and comments:
            end = _comment_end(text, position)
            # A parenthesis that nothing closes is a mark in a URI, and so are those after it.
            comments = end > 0
            position = end or position
    parts.append(text[start:].strip(" \t"))
    return parts


def _comment_end(text: str, position: int) -> int:
    """Where the comment ends that was opened before `position`; 0 if nowhere."""
    depth = 1
    while match := _comment_part.match(text, position):
        position = match.end()
        if match[1]:
            depth += 1
        elif match[2]:
            depth -= 1
            if not depth:
                return position
    return 0
