"""SIP over TCP and TLS connections (RFC 3261 §18, RFC 5626 §3.5.1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from OpenSSL.SSL import Error as TLSError
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from simplestack.net.clockwork import Clockwork
from simplestack.net.connections import Connections
from simplestack.net.datagram import Receiver
from simplestack.net.endpoints import join_address
from simplestack.net.routes import unmapped
from simplestack.net.tls import serves
from simplestack.sip.errors import ParseError
from simplestack.sip.framer import KeepAlive, StreamFramer
from simplestack.sip.message import DEFAULT_LIMITS, Limits, Request, Response

__all__ = ["SentBy", "StreamConnection", "StreamFactory", "StreamFlow", "Surroundings"]

SentBy = Callable[[str, str, int, str], tuple[str, int]]
"""From transport, local address, local port and remote address to the sent-by of our Via."""

_PONG = b"\r\n"


class Surroundings(NamedTuple):
    """What all connections of a network share."""

    layer: Receiver
    clockwork: Clockwork
    clock: Callable[[], float]
    connections: Connections
    sent_by: SentBy
    limits: Limits = DEFAULT_LIMITS


class StreamFlow:
    """A connection as the transaction floor sees it; once it is closed it stays dead."""

    __slots__ = (
        "_clockwork",
        "_connection",
        "alive",
        "domain",
        "key",
        "local",
        "remote",
        "secure",
        "transport",
    )

    reliable = True

    def __init__(
        self,
        connection: StreamConnection,
        transport: str,
        local: tuple[str, int],
        remote: tuple[str, int],
        sent_by: tuple[str, int],
        domain: str,
    ) -> None:
        self._connection: StreamConnection | None = connection
        self._clockwork = connection.clockwork
        self.transport = transport
        self.secure = transport == "tls"
        self.local = sent_by
        self.remote = remote
        #: For whom the peer has shown a certificate; "" for nobody.
        self.domain = domain
        self.key = f"{transport}:{join_address(*local)}>{join_address(*remote)}"
        self.alive = True

    def send(self, data: bytes) -> None:
        """Send one message. Never raises; on a closed connection it is lost."""
        connection = self._connection
        if connection is not None and self.alive:
            connection.write(data)
        clockwork = self._clockwork
        if clockwork.asleep:
            clockwork.wake()

    def toward(self, remote: tuple[str, int]) -> StreamFlow:
        """The flow itself: a connection has one other end."""
        return self

    def end(self) -> None:
        """The connection is no more."""
        self.alive = False
        self._connection = None

    def __repr__(self) -> str:
        return f"<StreamFlow {self.key}{'' if self.alive else ' closed'}>"


@implementer(IPushProducer, IHandshakeListener)
class StreamConnection(Protocol):
    """One TCP or TLS connection, accepted or made by us.

    It lets go of a peer that sends what can't be framed, that is slow with a message, silent
    for long, or does not read what it is sent; `Connections.sweep` looks at the times.
    """

    _log = Logger()

    def __init__(self, transport: str, around: Surroundings, domain: str | None = None) -> None:
        #: None for a connection that was accepted, else whom we connect to.
        self.domain = domain
        self.flow: StreamFlow | None = None
        #: Fires with the flow when it can be used.
        self.ready: Deferred[StreamFlow] = Deferred()
        self.clockwork = around.clockwork
        #: When the peer was heard last.
        self.heard = around.clock()
        #: Since when we wait for the message that has begun, or for the first one.
        self.begun: float | None = self.heard if domain is None else None
        #: Since when the peer has not read what is there for it.
        self.stuck: float | None = None
        #: Since when we wait for the connection to end.
        self.closing: float | None = None
        self._name = transport
        self._around = around
        self._framer = StreamFramer(around.limits)
        self._unread = 0
        # Whether a message has come; a keep-alive proves nothing.
        self._proved = domain is not None

    def connectionMade(self) -> None:
        """The connection stands; under TLS the handshake is still to come."""
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        self._around.connections.add(self)
        if self._name == "tcp" or self.domain is None:
            self._open()

    def handshakeCompleted(self) -> None:
        """The TLS handshake is done: look whose certificate it was (RFC 5922 §7.3)."""
        if self.domain is None or self.flow is not None:
            return
        transport: Any = self.transport
        certificate = transport.getPeerCertificate()
        if certificate is None or not serves(certificate.to_cryptography(), self.domain):
            # "If the server is not authenticated, the client MUST close the connection
            # immediately."
            self._fail(ConnectionError(f"the certificate of the peer is not of {self.domain}"))
            self.abort()
            return
        self._open()

    def dataReceived(self, data: bytes) -> None:
        """A piece of the stream; it may hold any number of messages, or a part of one."""
        flow = self.flow
        if flow is None or not flow.alive:
            return
        around = self._around
        self.heard = now = around.clock()
        framer = self._framer
        try:
            messages = framer.feed(data)
        except ParseError as error:
            for message in error.earlier:
                self._take(message, flow, now)
            if flow.alive:
                self._refuse(error, flow, now)
            return
        for message in messages:
            self._take(message, flow, now)
        if framer.waiting:
            if self.begun is None or (messages and self._proved):
                self.begun = now
        elif self._proved:
            self.begun = None
        clockwork = self.clockwork
        if clockwork.asleep:
            clockwork.wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, by whomever."""
        flow = self.flow
        if flow is not None:
            flow.end()
        self._around.connections.lost(self, flow, self._around.clock())
        self._fail(reason.value)

    def write(self, data: bytes) -> None:
        """Queue octets; a peer that leaves too many unread is disconnected."""
        assert self.transport is not None
        self.transport.write(data)
        if self.stuck is not None:
            self._unread += len(data)
            if self._unread > self._around.connections.limits.unread:
                self._log.debug(
                    "{peer} does not read what it is sent: disconnected", peer=self.flow
                )
                self.abort()

    def pauseProducing(self) -> None:
        """Too much is waiting to be sent: count from here; Twisted says it at each write."""
        if self.stuck is None:
            self.stuck = self._around.clock()
            self._unread = 0

    def resumeProducing(self) -> None:
        """All that waited is sent."""
        self.stuck = None
        self._unread = 0

    def stopProducing(self) -> None:
        """The transport is going; connectionLost follows."""

    def close(self) -> None:
        """End the connection after what is queued has left."""
        if self.closing is None:
            self.closing = self._around.clock()
            if self.flow is not None:
                self.flow.alive = False
            transport: Any = self.transport
            transport.unregisterProducer()
            transport.loseConnection()

    def abort(self) -> None:
        """End the connection now."""
        if self.flow is not None:
            self.flow.alive = False
        if self.closing is None:
            self.closing = self._around.clock()
        transport: Any = self.transport
        transport.abortConnection()

    @property
    def address(self) -> str:
        """The address of the peer."""
        transport: Any = self.transport
        return unmapped(transport.getPeer().host)

    def _open(self) -> None:
        transport: Any = self.transport
        here, there = transport.getHost(), transport.getPeer()
        local = (unmapped(here.host), here.port)
        remote = (unmapped(there.host), there.port)
        sent_by = self._around.sent_by(self._name, *local, remote[0])
        self.flow = StreamFlow(self, self._name, local, remote, sent_by, self.domain or "")
        self._around.connections.opened(self.flow)
        self.ready.callback(self.flow)

    def _fail(self, error: BaseException | None) -> None:
        if self.domain is None or self.flow is not None or self.ready.called:
            return
        if isinstance(error, TLSError):
            error = ConnectionError(f"TLS failed: {_explain(error)}")
        elif error is None or isinstance(error, ConnectionDone):
            error = ConnectionError("the peer closed the connection")
        self.ready.errback(error)

    def _take(self, message: Request | Response | KeepAlive, flow: StreamFlow, now: float) -> None:
        if not flow.alive:
            return
        if isinstance(message, KeepAlive):
            self.write(_PONG)
            return
        self._proved = True
        try:
            self._around.layer.receive(message, flow, now)
        except Exception:
            self._log.failure("A message from {peer} was not worked off", peer=flow.key)

    def _refuse(self, error: ParseError, flow: StreamFlow, now: float) -> None:
        self._around.connections.malformed += 1
        self._log.debug("{peer} sends what is no SIP: {why}", peer=flow.key, why=error)
        self._around.layer.reject(error, flow, now)
        self.close()


class StreamFactory(Factory):
    """Makes the connections of one listening port, as many as the limits let in."""

    noisy = False

    def __init__(self, transport: str, around: Surroundings) -> None:
        self._name = transport
        self._around = around

    def buildProtocol(self, addr: IAddress | None) -> StreamConnection | None:
        """A connection, or None (the port then hangs up) where there are enough."""
        host = unmapped(getattr(addr, "host", ""))
        if not self._around.connections.admits(host):
            return None
        return StreamConnection(self._name, self._around)


def _explain(error: BaseException) -> str:
    """The reasons in an OpenSSL error, which comes as a list of triples."""
    if error.args and isinstance(error.args[0], list | tuple):
        reasons = [str(entry[-1]) for entry in error.args[0] if entry]
        if reasons:
            return ", ".join(reasons)
    return str(error) or "handshake refused"
