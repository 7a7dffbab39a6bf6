"""Addresses: From, To, Contact, Route, Record-Route, Path and their like (RFC 3261 §20.10)."""

from __future__ import annotations

import re
from typing import Final

from mypy_extensions import mypyc_attr

from simplestack.sip.grammar import (
    QUOTED,
    TOKEN,
    Params,
    bad,
    find_param,
    format_params,
    is_token,
    parse_params,
    quote,
    split_list,
    unquote,
)
from simplestack.sip.memory import remember
from simplestack.sip.uri import Uri, parse_uri

__all__ = ["NameAddr", "parse_end", "parse_name_addr", "parse_name_addrs"]

# A display name without quotes is tokens; letters beyond ASCII are taken as they are meant.
_name_addr: Final = re.compile(
    rf"(?:({QUOTED})[ \t]*+|((?>(?:{TOKEN}|[ \t\x80-\U0010ffff])*)))<([^<>]*+)>(.*)", re.DOTALL
).fullmatch


@mypyc_attr(acyclic=True)
class NameAddr:
    """An address: display name (unquoted, "" if none), URI, and header parameters.

    It does not change; each dialog has one of its own, and so it is no NamedTuple, which takes
    longer to make.
    """

    __slots__ = ("display", "params", "uri")

    def __init__(self, display: str, uri: Uri, params: Params = ()) -> None:
        self.display = display
        self.uri = uri
        self.params = params

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, NameAddr)
            and self.display == other.display
            and self.uri == other.uri
            and self.params == other.params
        )

    def __hash__(self) -> int:
        return hash((self.display, self.uri, self.params))

    def __repr__(self) -> str:
        return f"<NameAddr {self}>"

    @property
    def tag(self) -> str | None:
        """The tag that names one end of a dialog (RFC 3261 §19.3)."""
        for name, value in self.params:
            if name == "tag":
                return value or ""
        return None

    def param(self, name: str) -> str | None:
        """What a header parameter says, unquoted; "" if it has no value, None if not there."""
        return find_param(self.params, name)

    def has_param(self, name: str) -> bool:
        """Whether the header parameter is there."""
        return any(key == name for key, _ in self.params)

    def with_param(self, name: str, value: str | None) -> NameAddr:
        """The same address with this parameter (the value as it is to be written) set."""
        params = tuple([pair for pair in self.params if pair[0] != name])
        return NameAddr(self.display, self.uri, (*params, (name, value)))

    def __str__(self) -> str:
        display = quote(self.display) + " " if self.display else ""
        return f"{display}<{self.uri}>{format_params(self.params)}"


@remember(4096, each=3)
def parse_name_addr(text: str) -> NameAddr:
    """Read `name-addr / addr-spec` and the parameters after it.

    RFC 3261 §20: "If the URI is not enclosed in angle brackets, any semicolon-delimited
    parameters are header-parameters, not URI parameters", and a URI with a comma, question
    mark or semicolon must be enclosed. Raises SIPError 400.
    """
    if text[:1] == "<":
        # As nearly all are written.
        end = text.find(">")
        if end > 0 and text.find("<", 1, end) < 0:
            return NameAddr("", parse_uri(text[1:end]), parse_params(text[end + 1 :].rstrip(" \t")))
    if match := _name_addr(text):
        quoted, tokens, uri, params = match.groups()
        display = unquote(quoted) if quoted else " ".join((tokens or "").split())
        return NameAddr(display, parse_uri(uri), parse_params(params.rstrip(" \t")))
    uri, semicolon, tail = text.partition(";")
    if "?" in uri or "," in uri:
        raise bad(f"a URI with ? or , must stand in <>: {text[:60]}")
    return NameAddr("", parse_uri(uri.strip(" \t")), parse_params(semicolon + tail.rstrip(" \t")))


def parse_end(text: str) -> NameAddr:
    """Read From or To: one end of a dialog. Raises SIPError 400."""
    at = text.rfind(">;tag=")
    if at > 0:
        # Each dialog has a tag of its own, behind an address that comes again and again.
        tag = text[at + 6 :]
        if is_token(tag):
            untagged = parse_name_addr(text[: at + 1])
            if not untagged.params:
                return NameAddr(untagged.display, untagged.uri, (("tag", tag),))
    return parse_name_addr(text)


def parse_name_addrs(text: str) -> tuple[NameAddr, ...]:
    """Read a comma-separated list of addresses, at least one. Raises SIPError 400."""
    if "," not in text:
        return (parse_name_addr(text),)
    return tuple([parse_name_addr(part) for part in split_list(text)])
