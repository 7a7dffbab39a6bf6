"""Where to send: from a URI or a Via to transports, addresses and ports (RFC 3263).

A generator that yields the DNS ``Query`` it needs and is sent the records, until it returns the
targets to try in their order.  It asks nothing itself, so it can be driven by any resolver::

    steps = locate(uri, random=random)
    try:
        query = next(steps)
        while True:
            query = steps.send(await resolver.ask(query.kind, query.name))
    except StopIteration as stop:
        targets = stop.value
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Via
from simplestack.sip.memory import remember
from simplestack.sip.uri import Uri
from simplestack.transaction.flow import DEFAULT_PORTS

__all__ = ["LARGE", "Query", "Steps", "Target", "locate", "locate_response"]

#: "if it is larger than 1300 bytes and the path MTU is unknown, the request MUST be sent using an
#: RFC 2914 congestion controlled transport protocol, such as TCP" (RFC 3261 §18.1.1).
LARGE: Final = 1300

#: As many records of one answer are looked at, and as many targets given: a zone that lists
#: thousands must not make us try them all.
_MOST: Final = 16

Kind: TypeAlias = Literal["NAPTR", "SRV", "A", "AAAA"]
#: Gives numbers from 0 up to, without, 1.
Random: TypeAlias = Callable[[], float]


class Query(NamedTuple):
    """A question to the DNS.

    The answer to NAPTR is a sequence of records with the attributes order, preference, flags,
    service, regexp and replacement; to SRV with priority, weight, port and target; to A and AAAA
    of addresses in text.
    """

    kind: Kind
    name: str


class Target(NamedTuple):
    """An address to try."""

    #: ``udp``, ``tcp`` or ``tls``.
    transport: str
    #: IPv4 or IPv6 address, without brackets.
    address: str
    port: int
    #: The host of the URI: the name that the certificate of a TLS server must have (RFC 5922 §7).
    host: str


Steps: TypeAlias = Generator[Query, Sequence[Any], list[Target]]

_SERVICES: Final = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}
_PREFIXES: Final = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}


def locate(
    uri: Uri,
    *,
    random: Random,
    size: int = 0,
    transports: Collection[str] = ("udp", "tcp", "tls"),
    families: Iterable[Kind] = ("A", "AAAA"),
) -> Steps:
    """The targets for a request of ``size`` octets to a URI (§4).

    ``transports`` are those that we can send by, ``families`` the address records to ask for in
    order of preference.  Large requests that would go by UDP get TCP targets, each followed by its
    UDP one: "if the attempt to establish the connection generates either an ICMP Protocol Not
    Supported, or results in a TCP reset, the element SHOULD retry the request, using UDP" (RFC 3261
    §18.1.1).

    Raises SIPError 416 where the URI is not SIP, or asks for a transport that we lack.
    """
    if not uri.is_sip:
        raise SIPError(416, text=f"no way to a {uri.scheme} URI")
    # "We define TARGET as the value of the maddr parameter of the URI, if present, otherwise, the
    # host value of the hostport component of the URI." (§4)
    host = uri.param("maddr") or uri.host
    secure = uri.scheme == "sips"
    name = host.strip("[]")
    wanted = uri.param("transport")
    numeric = _is_numeric(name)
    if wanted is not None:
        # "If the URI specifies a transport protocol in the transport parameter, that transport
        # protocol SHOULD be used."
        transport = wanted.lower()
        if secure and transport in ("tcp", "tls"):
            transport = "tls"
        if transport not in DEFAULT_PORTS or (secure and transport != "tls"):
            raise SIPError(416, text=f"no transport {wanted[:32]} for a {uri.scheme} URI")
    elif numeric or uri.port is not None:
        # "if no transport protocol is specified, but the TARGET is a numeric IP address, the client
        # SHOULD use UDP for a SIP URI, and TCP for a SIPS URI"; the same with an explicit port.
        transport = _default(secure, transports)
    else:
        found = yield from _by_naptr(name, secure, random, transports, families)
        return _finish(found, uri.host, size, transports)
    addresses: list[tuple[str, str, int]]
    if numeric:
        addresses = [(transport, name, uri.port or DEFAULT_PORTS[transport])]
    elif uri.port is not None:
        # "If the TARGET was not a numeric IP address, but a port is present in the URI, the client
        # performs an A or AAAA record lookup of the domain name."
        addresses = yield from _hosts(transport, name, uri.port, families)
    else:
        # "If ... no port was present in the URI, the client performs an SRV query ... If no SRV
        # records were found, the client performs an A or AAAA record lookup of the domain name."
        addresses = yield from _by_srv(transport, _PREFIXES[transport] + name, random, families)
        if not addresses:
            addresses = yield from _hosts(transport, name, DEFAULT_PORTS[transport], families)
    return _finish(addresses, uri.host, size, transports)


def locate_response(via: Via, *, random: Random, families: Iterable[Kind] = ("A", "AAAA")) -> Steps:
    """The targets for a response whose connection has ended and can't be opened again (§5).

    "If the sent-by is a numeric IP address" it is used as it stands; with a port, addresses of the
    name; else SRV records of the transport in the Via, "using the service identifier "_sips"" for
    TLS, and without them addresses at the default port.
    """
    transport = via.transport.lower()
    if transport not in DEFAULT_PORTS:
        return []
    name = via.host.strip("[]")
    addresses: list[tuple[str, str, int]]
    if _is_numeric(name):
        addresses = [(transport, name, via.port or DEFAULT_PORTS[transport])]
    elif via.port is not None:
        addresses = yield from _hosts(transport, name, via.port, families)
    else:
        addresses = yield from _by_srv(transport, _PREFIXES[transport] + name, random, families)
        if not addresses:
            addresses = yield from _hosts(transport, name, DEFAULT_PORTS[transport], families)
    return [Target(*address, via.host) for address in addresses[:_MOST]]


_Found: TypeAlias = list[tuple[str, str, int]]
_Finding: TypeAlias = Generator[Query, Sequence[Any], _Found]


def _by_naptr(
    name: str, secure: bool, random: Random, transports: Collection[str], families: Iterable[Kind]
) -> _Finding:
    """Without transport, port or numeric address: NAPTR, then SRV, then addresses (§4.1)."""
    pointers = []
    for record in (yield Query("NAPTR", name))[:_MOST]:
        # "a client resolving a SIPS URI MUST discard any services that do not contain "SIPS" as the
        # protocol in the service field"; "The resource record will contain an empty regular
        # expression and a replacement value"
        transport = _SERVICES.get(record.service.upper())
        if (
            transport in transports
            and transport is not None
            and (transport == "tls" or not secure)
            and record.flags.lower() == "s"
            and not record.regexp
            and record.replacement.strip(".")
        ):
            pointers.append((record.order, record.preference, transport, record.replacement))
    pointers.sort(key=lambda pointer: pointer[:2])
    found: _Found = []
    for _, _, transport, replacement in pointers:
        found += yield from _by_srv(transport, replacement.rstrip("."), random, families)
    if not pointers:
        # "If no NAPTR records are found, the client constructs SRV queries for those transport
        # protocols it supports, and does a query for each. ... The client MAY use any transport
        # protocol it desires which is supported by the server."
        for transport in ("tls",) if secure else ("udp", "tcp"):
            if transport in transports:
                found += yield from _by_srv(
                    transport, _PREFIXES[transport] + name, random, families
                )
    if not found:
        # "If no SRV records are found, the client SHOULD use TCP for a SIPS URI, and UDP for a SIP
        # URI."
        transport = _default(secure, transports)
        found = yield from _hosts(transport, name, DEFAULT_PORTS[transport], families)
    return found


def _by_srv(transport: str, service: str, random: Random, families: Iterable[Kind]) -> _Finding:
    found: _Found = []
    for target, port in _ordered((yield Query("SRV", service))[:_MOST], random):
        # RFC 2782: "A Target of "." means that the service is decidedly not available at this
        # domain."
        host = target.rstrip(".")
        if host:
            found += yield from _hosts(transport, host, port, families)
        if len(found) >= _MOST:
            break
    return found


def _ordered(records: Sequence[Any], random: Random) -> list[tuple[str, int]]:
    """SRV records in the order to try them: by priority, and by chance within one (RFC 2782)."""
    order: list[tuple[str, int]] = []
    for priority in sorted({record.priority for record in records}):
        # "arrange all SRV RRs (that have not been ordered yet) in any order, except that all those
        # with weight 0 are placed at the beginning of the list."
        rest = sorted(
            [record for record in records if record.priority == priority],
            key=lambda record: record.weight > 0,
        )
        while rest:
            # "choose a uniform random number between 0 and the sum computed (inclusive), and select
            # the RR whose running sum value is the first in the selected order which is greater
            # than or equal to the random number selected."
            chosen = int(random() * (sum([record.weight for record in rest]) + 1))
            running = 0
            for index, record in enumerate(rest):
                running += record.weight
                if running >= chosen:
                    order.append((record.target, record.port))
                    del rest[index]
                    break
    return order


def _hosts(transport: str, name: str, port: int, families: Iterable[Kind]) -> _Finding:
    if _is_numeric(name):
        # Not right in a SRV target, but plain.
        return [(transport, name, port)]
    found: _Found = []
    for family in families:
        for address in (yield Query(family, name))[:_MOST]:
            found.append((transport, address, port))
    return found


def _finish(found: _Found, host: str, size: int, transports: Collection[str]) -> list[Target]:
    targets = []
    for transport, address, port in found[:_MOST]:
        if transport == "udp" and size > LARGE and "tcp" in transports:
            targets.append(Target("tcp", address, port, host))
        if transport in transports:
            targets.append(Target(transport, address, port, host))
    return list(dict.fromkeys(targets))


def _default(secure: bool, transports: Collection[str]) -> str:
    if secure:
        return "tls"
    # "However, another transport, such as TCP, MAY be used"
    return "udp" if "udp" in transports else "tcp"


@remember(4096, each=1)
def _is_numeric(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
