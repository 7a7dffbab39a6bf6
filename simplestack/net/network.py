"""All sockets of a stack: where it listens, the flows there are, the ways to peers."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from ssl import SSLContext
from typing import Any, Final

from OpenSSL import crypto
from twisted.internet.defer import Deferred, fail, gatherResults, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from simplestack.net.clockwork import Clockwork
from simplestack.net.connections import Connections, StreamLimits
from simplestack.net.datagram import LARGEST, UDPListener
from simplestack.net.dialing import Dialing
from simplestack.net.dns import Lookups
from simplestack.net.endpoints import ListenSpec, join_address, split_advertised
from simplestack.net.readers import Readers
from simplestack.net.routes import Routes
from simplestack.net.stream import StreamFactory, StreamFlow, Surroundings
from simplestack.net.tls import Identity, ServerTLS, client_context
from simplestack.net.ways import Ways
from simplestack.sip.message import DEFAULT_LIMITS, Limits
from simplestack.sip.uri import Uri
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.location import Target

__all__ = ["ListenError", "Network", "listening_advice"]

_BACKLOG: Final = 511


class ListenError(Exception):
    """A place to listen that can't be had; the text says which, why, and what to do."""


class Network:
    """The sockets of one stack, for one transaction layer.

    `clock` is the monotonic clock of the transactions; the reactor's own is but a wake-up.
    `lookups` may be given to resolve names otherwise. Outgoing TLS trusts `authorities`, or
    the system's where it is None, and shows the certificate of the first TLS listener.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        layer: TransactionLayer,
        listen: Sequence[ListenSpec] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        stream_limits: StreamLimits | None = None,
        message_limits: Limits = DEFAULT_LIMITS,
        lookups: Lookups | None = None,
        authorities: Sequence[crypto.X509] | None = None,
    ) -> None:
        self.listen = tuple(listen)
        self.clockwork = Clockwork(reactor, layer, clock)
        limits = stream_limits or StreamLimits()
        self.connections = Connections(reactor, limits, layer.flow_closed, clock)
        self._reactor = reactor
        self._layer = layer
        self._clock = clock
        self._message_limits = message_limits
        self._authorities = authorities
        self._routes = Routes()
        self._datagrams: list[UDPListener] = []
        self._ports: list[Any] = []
        self._streams: list[ListenSpec] = []
        self._tls: list[ServerTLS] = []
        self._readers = Readers(reactor)
        self._around = Surroundings(
            layer,
            self.clockwork,
            clock,
            self.connections,
            self._sent_by,
            message_limits,
            self._readers,
        )
        self._dialing = Dialing(reactor, self._around, self._client_context)
        self._ways = Ways(
            self._datagrams,
            self.connections,
            self._dialing,
            Lookups(reactor, clock) if lookups is None else lookups,
            self._routes,
            clock,
        )
        if layer.reopen is None:
            layer.reopen = self.reopen

    def start(self) -> Deferred[list[ListenSpec]]:
        """Listen everywhere; the result, there at once, has the ports that the system chose.

        Fails with ListenError if a place can't be had; those that could are given up, which
        takes the reactor a turn.
        """
        places: list[ListenSpec] = []
        self.clockwork.start()
        self.connections.closed = False
        self._datagrams.clear()
        try:
            for spec in self.listen:
                places.append(self._listen(spec))
        except (CannotListenError, OSError, ValueError) as error:
            self.stop()
            return fail(ListenError(_explain(self.listen[len(places)], error)))
        return succeed(places)

    def pause(self) -> None:
        """Take in nothing more, as before ``stop``; what is sent still leaves."""
        for port in self._ports:
            port.stopReading()
        self._readers.pause()

    def stop(self) -> Deferred[None]:
        """Close what is open; connections get a moment to send what is queued for them."""
        self.clockwork.stop()
        self._ways.forget()
        ports, self._ports = self._ports, []
        self._streams.clear()
        self._tls.clear()
        ending: list[Deferred[Any]] = [maybeDeferred(port.stopListening) for port in ports]
        ending.append(self.connections.close())
        return gatherResults(ending).addCallback(lambda _: None)

    def reload(self) -> None:
        """Read the certificates again, for connections to come.

        Those that can't be read stay as they were: then ValueError, with a line for each.
        """
        problems = []
        for server in self._tls:
            try:
                server.reload()
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("; ".join(problems))
        self._dialing.renew()

    def ready(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Flow | None:
        """See `Ways.ready`."""
        return self._ways.ready(uri, size, prefer)

    def lasting(self, uri: Uri, prefer: str | None = None) -> Flow | None:
        """See `Ways.lasting`."""
        return self._ways.lasting(uri, prefer)

    def flow_to(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Deferred[Flow]:
        """See `Ways.flow_to`."""
        return self._ways.flow_to(uri, size, prefer)

    def failed(self, flow: Flow) -> None:
        """See `Ways.failed`."""
        self._ways.failed(flow)

    def existing(self, key: str) -> Flow | None:
        """The living flow of this key: a connection that is open, or a socket and an address."""
        flow: Flow | None = self.connections.by_key(key)
        if flow is not None:
            return flow
        name, _, remote = key.partition(">")
        for listener in self._datagrams:
            if listener.open and listener.name == name:
                host, _, port = remote.rpartition(":")
                host = host.strip("[]")
                if port.isdecimal() and listener.reaches(host):
                    return listener.flow((host, int(port)))
        return None

    def reopen(self, flow: Flow, address: tuple[str, int], data: bytes) -> bool:
        """Send a response, whose connection has ended, by a new one (RFC 3261 §18.2.2).

        Not under TLS: there is no name that the new peer could prove.
        """
        if flow.transport != "tcp" or self.connections.full:
            return False
        there = self.connections.toward("tcp", *address)
        if there is not None:
            there.send(data)
            return True

        def send(found: StreamFlow) -> None:
            found.send(data)

        def lost(failure: Failure) -> None:
            self._log.debug(
                "A response can't be sent to {peer}: {why}",
                peer=join_address(*address),
                why=failure.value,
            )

        target = Target("tcp", *address, address[0])
        dialled = self._dialing.dial(target, self.connections.limits.connect)
        Deferred.fromCoroutine(dialled).addCallbacks(send, lost)
        return True

    def counts(self) -> dict[str, int]:
        """Figures for the operator: what is open, and what was not as it should be."""
        connections = self.connections
        return {
            "connections": len(connections),
            "connections_refused": connections.refused,
            "connections_expired": connections.expired,
            "streams_malformed": connections.malformed,
            "datagrams_malformed": sum(one.malformed for one in self._datagrams),
            "datagrams_keepalive": sum(one.keepalives for one in self._datagrams),
            "datagrams_unsent": sum(one.unsent for one in self._datagrams),
        }

    def _listen(self, spec: ListenSpec) -> ListenSpec:
        reactor = self._reactor
        if spec.transport == "udp":
            listener = UDPListener(
                spec,
                self._layer,
                self.clockwork,
                self._clock,
                self._routes,
                self._message_limits,
            )
            port = reactor.listenUDP(
                spec.port, listener, interface=spec.interface, maxPacketSize=LARGEST
            )
            self._ports.append(port)
            self._datagrams.append(listener)
            return spec._replace(port=port.getHost().port)
        server = None
        if spec.transport == "tls":
            server = ServerTLS(spec.key, spec.certificate, spec.chain)
            self._tls.append(server)
        factory = StreamFactory(spec.transport, self._around, server)
        port = reactor.listenTCP(spec.port, factory, backlog=_BACKLOG, interface=spec.interface)
        self._ports.append(port)
        place = spec._replace(port=port.getHost().port)
        self._streams.append(place)
        return place

    def _sent_by(self, transport: str, local: str, port: int, remote: str) -> tuple[str, int]:
        """The sent-by of our Via on a stream: where a new connection would reach us."""
        for spec in self._streams:
            everywhere = spec.interface == "::" or (not spec.interface and ":" not in local)
            if spec.transport == transport and (everywhere or spec.interface == local):
                if spec.advertise:
                    host, advertised = split_advertised(spec.advertise)
                    return host.strip("[]"), advertised or spec.port
                return local, spec.port
        return local, port

    def _client_context(self) -> SSLContext:
        for spec in self.listen:
            if spec.transport == "tls":
                identity = Identity(spec.key, spec.certificate, spec.chain)
                return client_context(self._authorities, identity)
        return client_context(self._authorities)


def listening_advice(error: Exception, other: str) -> str:
    """Why a port can't be had, and what to do; ``other`` is an example of another one."""
    cause = getattr(error, "socketError", error)
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE:
        return (
            "another program has the port, perhaps another simplestack; stop that, or choose"
            f" another port, for example {other}"
        )
    if number == errno.EACCES:
        return "a port below 1024 takes a privilege; choose a higher one, or grant it"
    if number == errno.EADDRNOTAVAIL:
        return "this machine does not have the address; `ip address` shows those it has"
    return str(getattr(cause, "strerror", None) or cause)


def _explain(spec: ListenSpec, error: CannotListenError | OSError | ValueError) -> str:
    advice = listening_advice(error, f"{spec.transport}:{spec.port + 10}")
    return f"can't listen on {spec}: {advice}"
