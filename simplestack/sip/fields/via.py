"""Via: the path that a request has taken (RFC 3261 §20.42, RFC 3581)."""

from __future__ import annotations

import re
from typing import Final

from mypy_extensions import mypyc_attr

from simplestack.sip.grammar import (
    TOKEN,
    Params,
    bad,
    find_param,
    format_params,
    is_token,
    parse_params,
    split_list,
)
from simplestack.sip.memory import remember
from simplestack.sip.uri import parse_host

__all__ = ["BRANCH_COOKIE", "Via", "parse_via", "parse_vias"]

BRANCH_COOKIE: Final = "z9hG4bK"
"""What a branch begins with that is unique as RFC 3261 §8.1.1.7 wants it."""

_hop: Final = re.compile(
    rf"({TOKEN}++)[ \t]*+/[ \t]*+({TOKEN}++)[ \t]*+/[ \t]*+({TOKEN}++)[ \t]++"
    r"(\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9_.\-]++)(?:[ \t]*+:[ \t]*+([0-9]{1,5}))?[ \t]*+"
).fullmatch


@mypyc_attr(acyclic=True)
class Via:
    """One hop: transport in upper case, sent-by host (lower case) and port, parameters.

    Made for every request, and so no NamedTuple, which takes longer to make.
    """

    __slots__ = ("host", "params", "port", "transport")

    def __init__(
        self, transport: str, host: str, port: int | None = None, params: Params = ()
    ) -> None:
        self.transport = transport
        self.host = host
        self.port = port
        self.params = params

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Via) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, str, int | None, Params]:
        return self.transport, self.host, self.port, self.params

    def param(self, name: str) -> str | None:
        """What a parameter says; "" if it has no value, None if it is not there."""
        return find_param(self.params, name)

    @property
    def branch(self) -> str | None:
        """The transaction's identifier, in its case; None from RFC 2543 elements."""
        for name, value in self.params:
            if name == "branch":
                return value or ""
        return None

    @property
    def received(self) -> str | None:
        """The address that the request came from, where it isn't sent-by (§18.2.1)."""
        return self.param("received")

    @property
    def rport(self) -> str | None:
        """The port that the request came from; "" where the sender asks for it (RFC 3581)."""
        return self.param("rport")

    def with_param(self, name: str, value: str | None) -> Via:
        """The same hop with this parameter set, in its place if it is there."""
        pair = (name, value)
        params = tuple([pair if old[0] == name else old for old in self.params])
        if pair not in params:
            params = (*params, pair)
        return Via(self.transport, self.host, self.port, params)

    def __str__(self) -> str:
        sent_by = self.host if self.port is None else f"{self.host}:{self.port}"
        return f"SIP/2.0/{self.transport} {sent_by}{format_params(self.params)}"


@remember(2048)
def _read_hop(text: str) -> tuple[str, str, int | None]:
    """What stands before the parameters: transport, host, port."""
    match = _hop(text)
    if not match:
        raise bad(f"bad Via: {text[:60]}")
    protocol, version, transport, host, port = match.groups()
    if protocol.upper() != "SIP" or version != "2.0":
        raise bad(f"Via of another protocol: {text[:60]}")
    if port and int(port) > 65535:
        raise bad(f"bad port in Via: {text[:60]}")
    return transport.upper(), parse_host(host), int(port) if port else None


def parse_via(text: str) -> Via:
    """Read one hop of SIP/2.0. Raises SIPError 400."""
    at = text.find(";branch=")
    if at > 0:
        # The branch is another one each time, the rest is not.
        end = text.find(";", at + 8)
        if end < 0:
            end = len(text)
        branch = text[at + 8 : end]
        if is_token(branch):
            around = _read_around(text[: at + 7] + text[end:])
            if around is not None:
                hop, before, behind = around
                params: Params = (("branch", branch),)
                if before:
                    params = before + params
                if behind:
                    params = params + behind
                return Via(hop.transport, hop.host, hop.port, params)
    return _read(text)


@remember(2048)
def _read_around(text: str) -> tuple[Via, Params, Params] | None:
    """Read a hop whose branch was left out; the parameters before and behind that.

    None where it can't be said whether it was the branch.
    """
    hop = _read(text)
    branch = ("branch", None)
    if '"' in text or branch not in hop.params:
        return None
    at = hop.params.index(branch)
    return hop, hop.params[:at], hop.params[at + 1 :]


def _read(text: str) -> Via:
    hop, semicolon, params = text.partition(";")
    transport, host, port = _read_hop(hop)
    if not semicolon:
        return Via(transport, host, port)
    return Via(transport, host, port, parse_params(";" + params.rstrip(" \t")))


def parse_vias(text: str) -> tuple[Via, ...]:
    """Read a comma-separated list of hops, at least one. Raises SIPError 400."""
    if "," not in text:
        return (parse_via(text),)
    return tuple([parse_via(part) for part in split_list(text)])
