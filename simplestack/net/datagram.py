"""SIP over UDP (RFC 3261 §18)."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from simplestack.net.clockwork import Clockwork
from simplestack.net.endpoints import ListenSpec, join_address, split_advertised
from simplestack.net.routes import Routes, mapped, unmapped
from simplestack.sip.errors import ParseError
from simplestack.sip.message import DEFAULT_LIMITS, Limits, Request, Response, parse_message
from simplestack.transaction.flow import Flow

__all__ = ["LARGEST", "Receiver", "UDPFlow", "UDPListener"]

LARGEST: Final = 65535
"""Octets of the largest datagram; Twisted reads 8,192 unless told."""

_FLOWS = 16384
_RECEIVE_BUFFER: Final = 4 * 1024 * 1024


class Receiver(Protocol):
    """Where messages go: the transaction layer."""

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """Take a message that could be read."""

    def reject(self, error: ParseError, flow: Flow, now: float) -> None:
        """Take one that could not, to be answered where possible."""


class UDPFlow:
    """A socket together with the address of a peer; costs little and is made at need."""

    __slots__ = ("_address", "_key", "_listener", "_local", "_sent_by", "remote")

    transport = "udp"
    reliable = False
    secure = False

    def __init__(self, listener: UDPListener, address: tuple[str, int]) -> None:
        self._listener = listener
        self._address = address
        self.remote = (unmapped(address[0]), address[1])
        self._local: tuple[str, int] | None = None
        self._sent_by = ""
        self._key = ""

    @property
    def local(self) -> tuple[str, int]:
        """The sent-by of our Via toward this peer."""
        local = self._local
        if local is None:
            local = self._local = self._listener.sent_by(self.remote[0])
        return local

    @property
    def sent_by(self) -> str:
        """The same as it is written."""
        if not self._sent_by:
            self._sent_by = join_address(*self.local)
        return self._sent_by

    @property
    def alive(self) -> bool:
        """Whether the socket is open; of the peer a datagram socket knows nothing."""
        return self._listener.open

    @property
    def key(self) -> str:
        """The flow in text: ``udp:192.0.2.1:5060>198.51.100.7:5060``."""
        if not self._key:
            self._key = f"{self._listener.name}>{join_address(*self.remote)}"
        return self._key

    def send(self, data: bytes) -> None:
        """Send one datagram. Never raises: what can't be sent is counted, and lost."""
        listener = self._listener
        try:
            listener.sendto(data, self._address)
        except (OSError, OverflowError):
            # A full buffer, no route, or too large: the same as lost on the way (§17 resends).
            listener.unsent += 1
        clockwork = listener.clockwork
        if clockwork.asleep:
            clockwork.wake()

    def toward(self, remote: tuple[str, int]) -> UDPFlow:
        """The flow of the same socket to another address and port."""
        return self if remote == self.remote else self._listener.flow(remote)

    def __repr__(self) -> str:
        return f"<UDPFlow {self.key}>"


class UDPListener(DatagramProtocol):
    """A UDP socket: reads datagrams, hands messages to the transaction layer.

    `malformed`, `keepalives` and `unsent` count what was not a message, what only kept a
    NAT binding, and what the system did not take.
    """

    noisy = False
    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        spec: ListenSpec,
        layer: Receiver,
        clockwork: Clockwork,
        clock: Callable[[], float],
        routes: Routes,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.spec = spec
        self.clockwork = clockwork
        self.open = False
        self.ipv6 = ":" in spec.interface
        self.dual = spec.interface == "::"
        self.port = spec.port
        self.name = ""
        self.malformed = self.keepalives = self.unsent = 0
        self.sendto: Callable[[bytes, tuple[str, int]], object] = _closed
        self._layer = layer
        self._clock = clock
        self._routes = routes
        self._limits = limits
        self._flows: dict[tuple[str, int], UDPFlow] = {}
        self._advertised = split_advertised(spec.advertise) if spec.advertise else None
        self._said = float("-inf")

    def startProtocol(self) -> None:
        """The socket is bound."""
        transport: Any = self.transport
        host = transport.getHost()
        self.port = host.port
        self.name = f"udp:{join_address(unmapped(host.host), host.port)}"
        # Twisted's write() looks at the form of the address each time, which takes longer
        # than to send; ours come from the socket, or have been looked at.
        bound = getattr(transport, "socket", None)
        self.sendto = transport.write if bound is None else bound.sendto
        if bound is not None:
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.open = True

    def stopProtocol(self) -> None:
        """The socket is closed."""
        self.open = False
        self.sendto = _closed
        self._flows.clear()

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """One datagram, one message."""
        flow = self._flows.get(addr)
        if flow is None:
            flow = self._remember(addr)
        try:
            message = parse_message(datagram, self._limits)
        except ParseError as error:
            self._unreadable(datagram, error, flow)
            return
        self._layer.receive(message, flow, self._clock())
        clockwork = self.clockwork
        if clockwork.asleep:
            clockwork.wake()

    def connectionRefused(self) -> None:
        """An ICMP error came for something sent earlier; a socket for all peers goes on."""

    def flow(self, remote: tuple[str, int]) -> UDPFlow:
        """The flow of this socket to an address; it must be of the socket's family."""
        address = (mapped(remote[0]), remote[1]) if self.dual else remote
        return self._flows.get(address) or self._remember(address)

    def reaches(self, host: str) -> bool:
        """Whether the socket is of the family of the IP address."""
        return (":" in host) == self.ipv6 or self.dual

    def sent_by(self, remote: str) -> tuple[str, int]:
        """The sent-by of our Via toward a peer (RFC 3261 §18.1.1)."""
        if self._advertised is not None:
            host, port = self._advertised
            return host.strip("[]"), port or self.port
        if self.spec.interface in ("", "::"):
            return self._routes.source(remote), self.port
        return self.spec.interface, self.port

    def _remember(self, address: tuple[str, int]) -> UDPFlow:
        # Strangers can make up addresses: past the bound we forget all and begin anew, which
        # costs the peers that are still there one small object each.
        if len(self._flows) >= _FLOWS:
            self._flows.clear()
        flow = self._flows[address] = UDPFlow(self, address)
        return flow

    def _unreadable(self, datagram: bytes, error: ParseError, flow: UDPFlow) -> None:
        if not datagram.strip(b"\r\n\0 "):
            self.keepalives += 1
            return
        self.malformed += 1
        now = self._clock()
        if now - self._said >= 1.0:
            self._said = now
            self._log.debug(
                "A datagram of {size} octets from {peer} is no SIP message: {why} ({count} so far)",
                size=len(datagram),
                peer=join_address(*flow.remote),
                why=error,
                count=self.malformed,
            )
        self._layer.reject(error, flow, now)


def _closed(data: bytes, address: tuple[str, int]) -> None:
    raise OSError("the socket is closed")
