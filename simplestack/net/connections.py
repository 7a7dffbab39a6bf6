"""The stream connections that are open, and how long each may stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger

if TYPE_CHECKING:
    from simplestack.net.stream import StreamConnection, StreamFlow

__all__ = ["Connections", "StreamLimits"]


class StreamLimits(NamedTuple):
    """Bounds on stream connections; times in seconds, sizes in octets."""

    #: Connections at one time, accepted and made.
    total: int = 10_000
    #: Of these, accepted from one address.
    per_address: int = 1_000
    #: Until the first message after connecting, and from its first octet to its last, is there.
    message: float = 30.0
    #: Without hearing anything, keep-alives included (RFC 5626 §4.4.1 has them every two minutes).
    idle: float = 3_900.0
    #: Queued for a peer that has not emptied the buffers before.
    unread: int = 1_048_576
    #: Without a peer taking anything from full buffers.
    unread_time: float = 30.0
    #: To connect, and again for the handshake of TLS.
    connect: float = 10.0
    #: To connect where UDP is still to be tried after (RFC 3261 §18.1.1).
    connect_instead: float = 2.0
    #: From closing a connection to cutting it off.
    close: float = 5.0


class Connections:
    """All stream connections of a network.

    One sweep every few seconds looks at their times, so that no connection needs a timer of
    the reactor.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        reactor: Any,
        limits: StreamLimits,
        ended: Callable[[StreamFlow, float], None],
        clock: Callable[[], float],
    ) -> None:
        self.limits = limits
        #: Streams that ended with what was no SIP, connections refused, and ended by a limit.
        self.malformed = self.refused = self.expired = 0
        #: Whether all connections are being closed, and none may come.
        self.closed = False
        self._reactor = reactor
        self._ended = ended
        self._clock = clock
        self._open: dict[StreamConnection, str] = {}
        self._accepted: Counter[str] = Counter()
        #: Those with something to send in this turn of the reactor.
        self._sending: list[StreamConnection] = []
        self._by_key: dict[str, StreamFlow] = {}
        self._by_remote: dict[tuple[str, str, int], list[StreamFlow]] = {}
        self._call: Any = None
        self._emptied: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        """Whether there are as many connections as there may be; none when all are closed."""
        return self.closed or len(self._open) >= self.limits.total

    def admits(self, host: str) -> bool:
        """Whether one more connection from the address may be accepted; counts refusals."""
        if self.full or self._accepted[host] >= self.limits.per_address:
            self.refused += 1
            return False
        return True

    def add(self, connection: StreamConnection) -> None:
        """A connection was made."""
        host = connection.address if connection.domain is None else ""
        self._open[connection] = host
        if host:
            self._accepted[host] += 1
        if self._call is None:
            self._schedule()
        if self.closed:
            connection.abort()

    def opened(self, flow: StreamFlow) -> None:
        """A connection can be used."""
        self._by_key[flow.key] = flow
        self._by_remote.setdefault((flow.transport, *flow.remote), []).append(flow)

    def lost(self, connection: StreamConnection, flow: StreamFlow | None, now: float) -> None:
        """A connection has ended; tells the transactions on it."""
        host = self._open.pop(connection, "")
        if host:
            self._accepted[host] -= 1
            if not self._accepted[host]:
                del self._accepted[host]
        if flow is not None:
            if self._by_key.get(flow.key) is flow:
                del self._by_key[flow.key]
            place = (flow.transport, *flow.remote)
            flows = self._by_remote.get(place, [])
            if flow in flows:
                flows.remove(flow)
            if not flows:
                self._by_remote.pop(place, None)
            self._ended(flow, now)
        if not self._open:
            if self._call is not None:
                self._call.cancel()
                self._call = None
            emptied, self._emptied = self._emptied, []
            for waiting in emptied:
                waiting.callback(None)

    def sending(self, connection: StreamConnection) -> None:
        """Have a connection flushed when this turn of the reactor is over.

        So what a peer is sent at once leaves with one call of the system, and in one TLS record.
        """
        if not self._sending:
            self._reactor.callLater(0, self._flush)
        self._sending.append(connection)

    def _flush(self) -> None:
        sending, self._sending = self._sending, []
        for connection in sending:
            connection.flush()

    def by_key(self, key: str) -> StreamFlow | None:
        """The living flow with this key."""
        flow = self._by_key.get(key)
        return flow if flow is not None and flow.alive else None

    def toward(self, transport: str, host: str, port: int, domain: str = "") -> StreamFlow | None:
        """A living flow to an address, over TLS one whose peer has proved to be `domain`.

        Where `domain` is that very address, a connection that was accepted from there will
        do: its port is one that only this peer can have told of.
        """
        for flow in self._by_remote.get((transport, host, port), ()):
            if flow.alive and (
                transport != "tls" or flow.domain == domain or (not flow.domain and domain == host)
            ):
                return flow
        return None

    def flows(self) -> list[StreamFlow]:
        """All living flows."""
        return [flow for flow in self._by_key.values() if flow.alive]

    def sweep(self) -> None:
        """End what has overstayed."""
        now = self._clock()
        limits = self.limits
        for connection in list(self._open):
            if connection.closing is not None:
                if now - connection.closing > limits.close:
                    connection.abort()
            elif (
                connection.begun is not None and now - connection.begun > limits.message
            ) or now - connection.heard > limits.idle:
                self.expired += 1
                self._log.debug("{peer} was too slow or silent", peer=connection.flow)
                connection.close()
            elif connection.stuck is not None and now - connection.stuck > limits.unread_time:
                self.expired += 1
                self._log.debug("{peer} does not read what it is sent", peer=connection.flow)
                connection.abort()

    def close(self) -> Deferred[None]:
        """Close all; fires when all have ended, at the latest after `limits.close` and a bit."""
        self.closed = True
        done: Deferred[None] = Deferred()
        if not self._open:
            done.callback(None)
            return done
        self._emptied.append(done)
        for connection in list(self._open):
            connection.close()
        cut = self._reactor.callLater(self.limits.close, self._abort_all)

        def settle(_: None) -> None:
            if cut.active():
                cut.cancel()

        done.addCallback(settle)
        return done

    def _abort_all(self) -> None:
        for connection in list(self._open):
            connection.abort()

    def _schedule(self) -> None:
        limits = self.limits
        shortest = min(limits.message, limits.idle, limits.unread_time, limits.close)
        self._call = self._reactor.callLater(max(0.1, min(5.0, shortest / 4)), self._tick)

    def _tick(self) -> None:
        self._call = None
        self.sweep()
        if self._open and self._call is None:
            self._schedule()
