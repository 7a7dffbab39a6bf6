"""The lookups that locating a SIP server takes (RFC 3263), through twisted.names."""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.names import client, dns, error

__all__ = ["Lookups", "NaptrRecord", "Record", "SrvRecord"]


class NaptrRecord(NamedTuple):
    """A naming authority pointer (RFC 3403 §4)."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class SrvRecord(NamedTuple):
    """The location of a service (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str


Record: TypeAlias = NaptrRecord | SrvRecord | str
"""An answer; an address is its text."""

_TYPES = {"NAPTR": dns.NAPTR, "SRV": dns.SRV, "A": dns.A, "AAAA": dns.AAAA}
_METHODS = {
    "NAPTR": "lookupNamingAuthorityPointer",
    "SRV": "lookupService",
    "A": "lookupAddress",
    "AAAA": "lookupIPV6Address",
}
_BOUND = 4096
#: Seconds that an answer is kept: the least, whatever its TTL says, the most, and without one.
_LEAST, _MOST, _NONE = 5.0, 3600.0, 30.0
#: Seconds to wait for an answer, the first time and again, and for all of it.
_TRIES = (1, 2, 3)
_PATIENCE = 7.0


class Lookups:
    """Answers to DNS questions, kept for as long as their TTL says and bounded in number.

    Names in the hosts file have the addresses there, and no other records. A question that
    no server answers is the same as one that has no answer, for a shorter time.

    `resolver` is any `twisted.internet.interfaces.IResolver`; without one the servers of
    ``/etc/resolv.conf`` are asked, and the file is read again when it has changed.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        clock: Callable[[], float],
        resolver: Any = None,
        hosts: str = "/etc/hosts",
        configuration: str = "/etc/resolv.conf",
    ) -> None:
        self._reactor = reactor
        self._clock = clock
        self._resolver = resolver
        self._hosts = _File(hosts)
        self._configuration = _File(configuration)
        self._system: Any = None
        self._names: dict[str, list[str]] = {}
        self._known: dict[tuple[str, str], tuple[float, list[Record]]] = {}

    async def ask(self, kind: str, name: str) -> list[Record]:
        """The records of `kind` (NAPTR, SRV, A or AAAA) that `name` has; never fails."""
        name = name.rstrip(".").lower()
        listed = self._listed(name)
        if listed is not None:
            if kind not in ("A", "AAAA"):
                return []
            return [address for address in listed if (":" in address) == (kind == "AAAA")]
        known = self._known.get((kind, name))
        now = self._clock()
        if known is not None and known[0] > now:
            return known[1]
        records, ttl = await self._query(kind, name)
        if len(self._known) >= _BOUND:
            self._known.clear()
        self._known[kind, name] = (now + ttl, records)
        return records

    async def _query(self, kind: str, name: str) -> tuple[list[Record], float]:
        resolver = self._resolver if self._resolver is not None else self._of_system()
        try:
            asked: Deferred[Any] = getattr(resolver, _METHODS[kind])(name, timeout=_TRIES)
            asked.addTimeout(_PATIENCE, self._reactor)
            answers, _, _ = await asked
        except (error.DomainError, error.DNSNameError, error.AuthoritativeDomainError):
            return [], _NONE
        except Exception as failure:
            self._log.debug(
                "No answer for {kind} of {name}: {why!r}", kind=kind, name=name, why=failure
            )
            return [], _LEAST
        found = [answer for answer in answers if answer.type == _TYPES[kind]]
        if not found:
            return [], _NONE
        ttl = min(max(_LEAST, min(answer.ttl for answer in found)), _MOST)
        return [_record(answer.payload) for answer in found], ttl

    def _listed(self, name: str) -> list[str] | None:
        text = self._hosts.changed()
        if text is not None:
            self._names = _read_hosts(text)
        listed = self._names.get(name)
        # RFC 6761 §6.3: names under localhost are always this machine.
        if listed is None and (name == "localhost" or name.endswith(".localhost")):
            return ["127.0.0.1", "::1"]
        return listed

    def _of_system(self) -> Any:
        text = self._configuration.changed()
        if text is not None or self._system is None:
            servers = [(server, dns.PORT) for server in _read_servers(text or "")]
            # Twisted does not annotate it.
            make: Any = client.Resolver
            self._system = make(
                servers=servers or [("127.0.0.1", dns.PORT)],
                timeout=_TRIES,
                reactor=self._reactor,
            )
        return self._system


class _File:
    """A file that is read when it has changed."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None

    def changed(self) -> str | None:
        """Its text if it is not what it was at the last call; an absent file is empty."""
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return None
            with open(self._path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            seen, text = (0, 0), ""
            if seen == self._seen:
                return None
        self._seen = seen
        return text


def _read_hosts(text: str) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words and _is_address(words[0]):
            for name in words[1:]:
                addresses = names.setdefault(name.rstrip(".").lower(), [])
                if words[0] not in addresses:
                    addresses.append(words[0])
    return names


def _read_servers(text: str) -> list[str]:
    servers = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1 and _is_address(words[1]):
            servers.append(words[1])
    return servers


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _record(payload: Any) -> Record:
    if isinstance(payload, dns.Record_NAPTR):
        return NaptrRecord(
            payload.order,
            payload.preference,
            _text(payload.flags),
            _text(payload.service),
            _text(payload.regexp),
            _text(payload.replacement),
        )
    if isinstance(payload, dns.Record_SRV):
        return SrvRecord(payload.priority, payload.weight, payload.port, _text(payload.target))
    # A and AAAA hold the octets of the address.
    return str(ip_address(payload.address))


def _text(value: Any) -> str:
    data = value.name if isinstance(value, dns.Name) else getattr(value, "string", value)
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
