"""Challenges and credentials: WWW-Authenticate, Authorization (RFC 3261 §22, RFC 7616 §3.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from mypy_extensions import mypyc_attr

from simplestack.sip.grammar import QUOTED, TOKEN, bad, quote, unquote
from simplestack.sip.memory import remember

__all__ = [
    "Challenge",
    "Credentials",
    "parse_auth_params",
    "parse_challenge",
    "parse_credentials",
]

_find_params: Final = re.compile(
    rf'[ \t]*+({TOKEN}++)[ \t]*+=[ \t]*+(?:"([^"\\\x00-\x08\x0a-\x1f\x7f]*+)"|({QUOTED}|[^\s",;]++))'
    r"[ \t]*+(?:,|\Z)|[ \t]*+,|[ \t]++\Z|(.+)",
    re.DOTALL,
).findall

# Of ASCII; a control character becomes a space.
_VISIBLE: Final = bytes([32] * 32 + [*range(32, 127)] + [32] * 129)

# RFC 7616 §3.5: what stands in quotes and what must not.
_UNQUOTED: Final = ("algorithm", "stale", "nc", "qop", "userhash", "username*")


@mypyc_attr(acyclic=True)
class Credentials:
    """What Authorization says: the scheme in lower case, parameters by lower-case name, unquoted."""

    __slots__ = ("params", "scheme")

    def __init__(self, scheme: str, params: dict[str, str]) -> None:
        self.scheme = scheme
        self.params = params

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Credentials)
            and self.scheme == other.scheme
            and self.params == other.params
        )

    def __hash__(self) -> int:
        return hash((self.scheme, tuple(self.params.items())))

    def param(self, name: str) -> str:
        """A parameter's value, "" if it is not there."""
        return self.params.get(name, "")

    @property
    def username(self) -> str:
        """The user's name, from `username*` (RFC 7616 §3.4) if it is given there.

        Raises SIPError 400: "Sending both username and username* in the same header option
        MUST be treated as an error."
        """
        extended = self.params.get("username*")
        if extended is None:
            return self.params.get("username", "")
        if "username" in self.params:
            raise bad("both username and username* are given")
        charset, _, rest = extended.partition("'")
        value = rest.partition("'")[2]
        if charset.upper() != "UTF-8":
            raise bad("username* is not in UTF-8")
        return unquote_to_bytes(value).decode("utf-8", "surrogateescape")

    @property
    def algorithm(self) -> str:
        """The algorithm, upper case; MD5 where none is named (RFC 7616 §3.3)."""
        return self.params.get("algorithm", "MD5").upper()

    @property
    def nonce_count(self) -> int:
        """The nonce count, and 1 where there is no qop: such a nonce is good once.

        Raises SIPError 400 unless nc is 8LHEX (RFC 7616 §3.4).
        """
        if not self.params.get("qop"):
            return 1
        text = self.params.get("nc", "")
        count = _hexadecimal(text) if len(text) == 8 else -1
        if count < 0:
            raise bad("nc is not 8 hexadecimal digits")
        return count

    def __str__(self) -> str:
        return _format(self.scheme, self.params, _UNQUOTED)


class Challenge(NamedTuple):
    """What WWW-Authenticate says: the scheme in lower case, parameters by lower-case name, unquoted."""

    scheme: str
    params: Mapping[str, str]

    def param(self, name: str) -> str:
        """A parameter's value, "" if it is not there."""
        return self.params.get(name, "")

    @property
    def algorithm(self) -> str:
        """The algorithm, upper case; MD5 where none is named (RFC 7616 §3.3)."""
        return self.params.get("algorithm", "MD5").upper()

    @property
    def stale(self) -> bool:
        """Whether the credentials were good and only the nonce too old."""
        return self.params.get("stale", "").lower() == "true"

    @property
    def qop(self) -> tuple[str, ...]:
        """The qualities of protection on offer, lower case; none from RFC 2069 servers."""
        return tuple(self.params.get("qop", "").lower().replace(",", " ").split())

    def __str__(self) -> str:
        return _format(self.scheme, self.params, ("algorithm", "stale", "userhash"))


def parse_auth_params(text: str) -> dict[str, str]:
    """Read `name=value` pairs between commas, unquoted, by lower-case name.

    Raises SIPError 400, also when a name comes twice.
    """
    quoted = text.split('"')
    last = len(quoted) - 1
    if last % 2 or "\\" in text or not _is_clean(text):
        return _read(text)
    # What stands between the quoted values is nearly always the same; the values are not.
    shape, names = _read_shape('"'.join(quoted[::2]))
    params = shape.copy()
    at = 1
    for name in names:
        params[name] = quoted[at]
        at += 2
    return params


@remember(512)
def _read_shape(shape: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read what stands around quoted values, a quote in place of each.

    Gives all parameters, those of the quoted values empty, and the names of these in their order.
    Raises SIPError 400, also when a name comes twice.
    """
    params: dict[str, str] = {}
    count = 0
    *parts, tail = shape.split('"')
    names = []
    for part in parts:
        unquoted, name = _read_between(part if count else f",{part}")
        params.update(unquoted)
        params[name] = ""
        names.append(name)
        count += 1 + len(unquoted)
    if tail and not tail.isspace():
        if count and tail.lstrip(" \t")[0] != ",":
            raise bad("bad authentication parameters")
        unquoted = _read(tail)
        params.update(unquoted)
        count += len(unquoted)
    if len(params) != count:
        raise bad("an authentication parameter appears twice")
    return params, tuple(names)


def _read_between(text: str) -> tuple[dict[str, str], str]:
    """The parameters after a quoted value, and the name that the next one is for."""
    params = _read(f'{text}""') if text.lstrip(" \t")[:1] == "," else {}
    if not params or params[name := next(reversed(params))]:
        raise bad("bad authentication parameters")
    del params[name]
    return params, name


def _is_clean(text: str) -> bool:
    """Whether no control character is in the text; of what is not ASCII it says no."""
    if not text.isascii():
        return False
    data = text.encode("ascii")
    return data.translate(_VISIBLE) == data


def _hexadecimal(text: str) -> int:
    """What the digits say, -1 if there is something else."""
    # Where there are no spaces ``fromhex`` takes digits alone; ``int`` would take "0x" and "_".
    if text.isalnum():
        try:
            return int.from_bytes(bytes.fromhex(text), "big")
        except ValueError:
            pass
    return -1


def _read(text: str) -> dict[str, str]:
    params: dict[str, str] = {}
    for name, plain, other, rest in _find_params(text):
        if name:
            name = name.lower()
            if name in params:
                raise bad(f"{name} appears twice")
            params[name] = plain or (unquote(other) if other[:1] == '"' else other)
        elif rest:
            raise bad("bad authentication parameters")
    return params


def parse_credentials(text: str) -> Credentials:
    """Read an Authorization. Of a scheme other than Digest only the name is read.

    Raises SIPError 400.
    """
    scheme, params = _parse(text)
    return Credentials(scheme, params)


def parse_challenge(text: str) -> Challenge:
    """Read a WWW-Authenticate or Proxy-Authenticate. Raises SIPError 400."""
    scheme, params = _parse(text)
    return Challenge(scheme, params)


def _parse(text: str) -> tuple[str, dict[str, str]]:
    scheme, _, rest = text.partition(" ")
    scheme = scheme.lower()
    return scheme, parse_auth_params(rest) if scheme == "digest" else {}


def _format(scheme: str, params: Mapping[str, str], unquoted: tuple[str, ...]) -> str:
    return (
        scheme.capitalize()
        + " "
        + ", ".join(
            [
                f"{name}={value}" if name in unquoted else f"{name}={quote(value)}"
                for name, value in params.items()
            ]
        )
    )
