"""URIs: SIP and SIPS taken apart, all others kept whole (RFC 3261 §19.1, RFC 3966)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from mypy_extensions import mypyc_attr

from simplestack.sip.grammar import bad
from simplestack.sip.memory import remember

__all__ = ["Uri", "parse_host", "parse_uri"]

_ESCAPED: Final = r"%[0-9A-Fa-f]{2}"
_UNRESERVED: Final = r"A-Za-z0-9\-_.!~*'()"

# A "#" in a dialled code should be escaped, and often is not.
_is_user: Final = re.compile(rf"(?>(?:[{_UNRESERVED}&=+$,;?/#]++|{_ESCAPED})+)").fullmatch
_is_password: Final = re.compile(rf"(?>(?:[{_UNRESERVED}&=+$,]++|{_ESCAPED})*)").fullmatch
_is_param: Final = re.compile(rf"(?>(?:[{_UNRESERVED}\[\]/:&+$]++|{_ESCAPED})+)").fullmatch
_is_header: Final = re.compile(rf"(?>(?:[{_UNRESERVED}\[\]/?:+$]++|{_ESCAPED})*)").fullmatch
_is_opaque: Final = re.compile(rf"(?>(?:[{_UNRESERVED};/?:@&=+$,\[\]]++|{_ESCAPED})+)").fullmatch
_is_unreserved: Final = re.compile(rf"[{_UNRESERVED}]").fullmatch
_triplets: Final = re.compile(_ESCAPED).sub
_is_scheme: Final = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*+").fullmatch
# The underscore is no part of a hostname, and part of many.
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_\-]*[A-Za-z0-9_])?"
_is_hostname: Final = re.compile(rf"{_LABEL}(?>(?:\.{_LABEL})*)\.?").fullmatch


def _escaper(safe: str) -> Callable[[str], str]:
    """A function that escapes all but unreserved characters and those in `safe`."""
    is_plain = re.compile(rf"[A-Za-z0-9\-_.{re.escape(safe)}]*+").fullmatch

    def escape(text: str) -> str:
        if (text.isalnum() and text.isascii()) or is_plain(text):
            return text
        return quote_from_bytes(text.encode("utf-8", "surrogateescape"), safe)

    return escape


_escape_user: Final = _escaper("!~*'()&=+$,;?/")
_escape_password: Final = _escaper("!~*'()&=+$,")
_escape_param: Final = _escaper("!~*'()[]/:&+$")
_escape_header: Final = _escaper("!~*'()[]/?:+$")

# RFC 3261 §19.1.4: "A user, ttl, or method uri-parameter appearing in only one URI never
# matches" and so does maddr; a URI without transport "can resolve to different transports".
_NEVER_IGNORED: Final = ("user", "ttl", "method", "maddr", "transport")


@mypyc_attr(acyclic=True)
class Uri:
    """A URI; it does not change.

    For `sip` and `sips` all text is unescaped, once: `user` ("" if there is none) and
    `password` in their case, `host` in lower case (an IPv6 reference with its brackets, in
    its shortest form), the names of `params` in lower case. For every other scheme `opaque`
    is all that follows the colon.
    """

    __slots__ = (
        "_aor",
        "_text",
        "headers",
        "host",
        "opaque",
        "params",
        "password",
        "port",
        "scheme",
        "user",
    )

    def __init__(
        self,
        scheme: str,
        user: str = "",
        password: str | None = None,
        host: str = "",
        port: int | None = None,
        params: tuple[tuple[str, str | None], ...] = (),
        headers: tuple[tuple[str, str], ...] = (),
        opaque: str = "",
    ) -> None:
        self.scheme = scheme
        self.user = user
        self.password = password
        self.host = host
        self.port = port
        self.params = params
        self.headers = headers
        self.opaque = opaque
        # Made when they are asked for: what is parsed is remembered, and asked again and again.
        self._aor = ""
        self._text = ""

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Uri) and self._parts() == other._parts())

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"<Uri {self}>"

    def _parts(self) -> tuple[object, ...]:
        return (
            self.scheme, self.user, self.password, self.host, self.port, self.params, self.headers,
            self.opaque,
        )  # fmt: skip

    def replace(
        self,
        *,
        host: str | None = None,
        params: tuple[tuple[str, str | None], ...] | None = None,
        headers: tuple[tuple[str, str], ...] | None = None,
    ) -> Uri:
        """The same URI with other parts."""
        return Uri(
            self.scheme,
            self.user,
            self.password,
            self.host if host is None else host,
            self.port,
            self.params if params is None else params,
            self.headers if headers is None else headers,
            self.opaque,
        )

    @property
    def is_sip(self) -> bool:
        """Whether the scheme is sip or sips."""
        return not self.opaque

    def param(self, name: str) -> str | None:
        """The value of a URI parameter; "" if it has none, None if it is not there."""
        for key, value in self.params:
            if key == name:
                return value or ""
        return None

    def has_param(self, name: str) -> bool:
        """Whether the URI parameter is there, with a value or without."""
        return name in dict(self.params)

    @property
    def userinfo(self) -> str:
        """User and password as they stand before the @, escaped; "" if there is none."""
        if self.password is None:
            return _escape_user(self.user)
        return f"{_escape_user(self.user)}:{_escape_password(self.password)}"

    @property
    def hostport(self) -> str:
        """Host and, where one is given, port."""
        return self.host if self.port is None else f"{self.host}:{self.port}"

    @property
    def aor(self) -> str:
        """The canonical address-of-record (RFC 3261 §10.3 step 5), always in ASCII.

        "all URI parameters MUST be removed (including the user-param), and any escaped
        characters MUST be converted to their unescaped form": what the grammar lets stand
        unescaped does. Scheme sips becomes sip. A tel URI loses its visual separators and
        all parameters but the phone-context of a local number (RFC 3966 §5).
        """
        aor = self._aor
        if not aor:
            if self.scheme == "tel":
                aor = _tel_aor(self.opaque)
            elif self.opaque:
                aor = f"{self.scheme}:{self.opaque}"
            elif self.user:
                aor = f"sip:{_escape_user(self.user)}@{self.host}"
            else:
                aor = f"sip:{self.host}"
            self._aor = aor
        return aor

    def __str__(self) -> str:
        if not self._text:
            self._text = self._written()
        return self._text

    def _written(self) -> str:
        if self.opaque:
            return f"{self.scheme}:{self.opaque}"
        text = f"{self.scheme}:{self.userinfo}@" if self.user else f"{self.scheme}:"
        text += self.host if self.port is None else f"{self.host}:{self.port}"
        for name, value in self.params:
            text += ";" + _escape_param(name)
            if value is not None:
                text += "=" + _escape_param(value)
        return text + _format_headers(self.headers) if self.headers else text

    def equals(self, other: Uri) -> bool:
        """Whether two URIs are equivalent by RFC 3261 §19.1.4; not a transitive relation.

        What is escaped equals what is not, also for the reserved characters that may stand
        unescaped in a user part.
        """
        if (
            self.scheme != other.scheme
            or self.user != other.user
            or self.password != other.password
            or self.host != other.host
            or self.port != other.port
        ):
            return False
        if self.opaque:
            return self.aor == other.aor if self.scheme == "tel" else self.opaque == other.opaque
        mine, theirs = dict(self.params), dict(other.params)
        for name in mine.keys() | theirs.keys():
            if name in mine and name in theirs:
                if (mine[name] or "").lower() != (theirs[name] or "").lower():
                    return False
            elif name in _NEVER_IGNORED:
                return False
        return self._sorted_headers() == other._sorted_headers()

    def key(self) -> str:
        """A text that is the same only for equivalent URIs, to find a contact by.

        All parameters are in it, so two URIs that differ by one that §19.1.4 ignores are
        equivalent and have different keys.
        """
        if self.opaque:
            return self.aor
        text = f"{self.scheme}:{self.userinfo}@{self.host}:{'' if self.port is None else self.port}"
        for name, value in sorted(self.params):
            text += f";{_escape_param(name)}"
            if value:
                text += f"={_escape_param(value.lower())}"
        return text + _format_headers(self._sorted_headers()) if self.headers else text

    def _sorted_headers(self) -> list[tuple[str, str]]:
        return sorted((name.lower(), value) for name, value in self.headers)


@remember(8192, each=2)
def parse_uri(text: str) -> Uri:
    """Read a URI; a scheme that is not sip or sips is kept whole as `opaque`.

    Raises SIPError 400. Whether a scheme is supported (416) is for whoever routes by it.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or not _is_scheme(scheme):
        raise bad(f"not a URI: {text[:60]}")
    scheme = scheme.lower()
    if scheme not in ("sip", "sips"):
        if not _is_opaque(rest):
            raise bad(f"bad URI: {text[:60]}")
        return Uri(scheme, opaque=rest)
    user, password = "", None
    userinfo, at, hostpart = rest.partition("@")
    if not at:
        userinfo, hostpart = "", rest
    else:
        user, colon, secret = userinfo.partition(":")
        if not _is_user(user) or not _is_password(secret):
            raise bad(f"bad user part in URI: {text[:60]}")
        user = _unescape(user)
        password = _unescape(secret) if colon else None
    hostpart, question, query = hostpart.partition("?")
    hostport, semicolon, tail = hostpart.partition(";")
    host, port = _parse_hostport(hostport, text)
    params = _parse_uri_params(tail, text) if semicolon else ()
    headers = _parse_uri_headers(query, text) if question else ()
    uri = Uri(scheme, user, password, host, port, params, headers)
    if "%" in rest:
        uri._text = f"{scheme}:{_escaped(userinfo)}{at}{uri.hostport}"
        for part in tail.split(";") if semicolon else ():
            name, equals, value = _escaped(part).partition("=")
            uri._text += f";{name.lower()}{equals}{value}"
        uri._text += question + _escaped(query)
    return uri


@remember(4096)
def parse_host(text: str) -> str:
    """A host in canonical form: name, IPv4 address or bracketed IPv6 address, lower case.

    Raises SIPError 400.
    """
    if text[:1] == "[":
        try:
            if text[-1] != "]" or "%" in text:
                raise bad(f"bad host: {text[:60]}")
            return f"[{IPv6Address(text[1:-1]).compressed}]"
        except AddressValueError:
            raise bad(f"bad IPv6 address: {text[:60]}") from None
    if not _is_hostname(text):
        raise bad(f"bad host: {text[:60]}")
    if text[-1:].isdigit() and text.rpartition(".")[2].isdigit():
        try:
            IPv4Address(text)
        except AddressValueError:
            raise bad(f"bad IPv4 address: {text[:60]}") from None
    return text.lower()


def _parse_hostport(text: str, uri: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if not colon or text[-1:] == "]":
        return parse_host(text), None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise bad(f"bad port in URI: {uri[:60]}")
    return parse_host(host), int(port)


def _parse_uri_params(text: str, uri: str) -> tuple[tuple[str, str | None], ...]:
    params: dict[str, str | None] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if not _is_param(name) or (value and not _is_param(value)):
            raise bad(f"bad parameter in URI: {uri[:60]}")
        name = _unescape(name).lower()
        if name in params:
            raise bad(f"a parameter appears twice in URI: {uri[:60]}")
        params[name] = _unescape(value) if equals else None
    return tuple(params.items())


def _parse_uri_headers(text: str, uri: str) -> tuple[tuple[str, str], ...]:
    headers = []
    for part in text.split("&"):
        name, equals, value = part.partition("=")
        if not name or not equals or not _is_header(name) or not _is_header(value):
            raise bad(f"bad header in URI: {uri[:60]}")
        headers.append((_unescape(name), _unescape(value)))
    return tuple(headers)


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _escaped(text: str) -> str:
    """The text with all that must be escaped, or is and is not the same without."""
    return _triplets(_without_need, text)


def _without_need(triplet: re.Match[str]) -> str:
    character = chr(int(triplet[0][1:], 16))
    return character if _is_unreserved(character) else triplet[0].upper()


def _format_headers(headers: Iterable[tuple[str, str]]) -> str:
    return "?" + "&".join([f"{_escape_header(n)}={_escape_header(v)}" for n, v in headers])


_VISUAL_SEPARATORS: Final = str.maketrans("", "", "-.()")


def _tel_aor(opaque: str) -> str:
    number, _, params = opaque.partition(";")
    number = number.translate(_VISUAL_SEPARATORS).lower()
    if number[:1] != "+":
        for param in params.lower().split(";"):
            if param.startswith("phone-context="):
                return f"tel:{number};{param}"
    return f"tel:{number}"
