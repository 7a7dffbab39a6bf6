"""Connections that we make ourselves, over TCP and TLS."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from ssl import SSLContext
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory

from simplestack.net.stream import StreamConnection, StreamFlow, Surroundings
from simplestack.net.tls import client_end
from simplestack.transaction.location import Target

__all__ = ["Dialing"]


class Dialing:
    """Makes connections; whoever wants one that is just being made waits for the same.

    `context` makes the TLS context when the first TLS connection wants it.
    """

    def __init__(
        self, reactor: Any, around: Surroundings, context: Callable[[], SSLContext]
    ) -> None:
        self._reactor = reactor
        self._around = around
        self._make_context = context
        self._context: SSLContext | None = None
        self._waiting: dict[Target, list[Deferred[StreamFlow]]] = {}

    def renew(self) -> None:
        """Make another TLS context for the connections to come."""
        self._context = None

    async def dial(self, target: Target, timeout: float) -> StreamFlow:
        """Connect to the target within `timeout` seconds.

        Under TLS the certificate must be that of ``target.host`` (RFC 5922 §7.3). Raises an
        exception whose text says what happened.
        """
        waiting = self._waiting.get(target)
        if waiting is not None:
            turn: Deferred[StreamFlow] = Deferred()
            waiting.append(turn)
            return await turn
        connections = self._around.connections
        if connections.full or len(connections) + len(self._waiting) >= connections.limits.total:
            raise ConnectionError("there are as many connections as there may be")
        self._waiting[target] = []
        try:
            flow = await self._connect(target, timeout)
        except BaseException as error:
            for turn in self._waiting.pop(target):
                turn.errback(error)
            raise
        for turn in self._waiting.pop(target):
            turn.callback(flow)
        return flow

    async def _connect(self, target: Target, timeout: float) -> StreamFlow:
        secure = target.transport == "tls"
        domain = target.host.strip("[]") if secure else ""
        secured = None
        if secure:
            if self._context is None:
                self._context = self._make_context()
            secured = client_end(self._context, domain)
        connection = StreamConnection(target.transport, self._around, domain, secured)
        kind = TCP6ClientEndpoint if ":" in target.address else TCP4ClientEndpoint
        endpoint: Any = kind(self._reactor, target.address, target.port, timeout=ceil(timeout))
        await endpoint.connect(_Single(connection))
        connection.ready.addTimeout(timeout, self._reactor)
        try:
            return await connection.ready
        except TookTooLong:
            connection.abort()
            raise ConnectionError("the TLS handshake took too long") from None


class _Single(Factory):
    """The factory of one connection."""

    noisy = False

    def __init__(self, connection: StreamConnection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._connection
