"""SIP over TCP and TLS connections (RFC 3261 §18, RFC 5626 §3.5.1)."""

from __future__ import annotations

from collections.abc import Callable
from ssl import SSLError as TLSError
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from simplestack.net.clockwork import Clockwork
from simplestack.net.connections import Connections
from simplestack.net.datagram import Receiver
from simplestack.net.endpoints import join_address
from simplestack.net.readers import Readers
from simplestack.net.routes import unmapped
from simplestack.net.secured import Secured, explain
from simplestack.net.tls import ServerTLS, serves
from simplestack.sip.errors import ParseError
from simplestack.sip.framer import KeepAlive, StreamFramer
from simplestack.sip.message import DEFAULT_LIMITS, Limits, Request, Response

__all__ = ["SentBy", "StreamConnection", "StreamFactory", "StreamFlow", "Surroundings"]

SentBy = Callable[[str, str, int, str], tuple[str, int]]
"""From transport, local address, local port and remote address to the sent-by of our Via."""

_PONG: Final = b"\r\n"
#: Octets read at once; a TLS record has a few more than 16,384.
_PIECE: Final = 32_768
#: Octets that wait for a peer before it counts as one that does not read.
_FULL: Final = 65_536


class Surroundings:
    """What all connections of a network share."""

    __slots__ = ("clock", "clockwork", "connections", "layer", "limits", "readers", "sent_by")

    def __init__(
        self,
        layer: Receiver,
        clockwork: Clockwork,
        clock: Callable[[], float],
        connections: Connections,
        sent_by: SentBy,
        limits: Limits = DEFAULT_LIMITS,
        readers: Readers | None = None,
    ) -> None:
        self.layer = layer
        self.clockwork = clockwork
        self.clock = clock
        self.connections = connections
        self.sent_by = sent_by
        self.limits = limits
        #: Who reads the connections; None for their transports.
        self.readers = readers


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
        "sent_by",
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
        self.sent_by = join_address(*sent_by)
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


class StreamConnection:
    """One TCP or TLS connection, accepted or made by us: what Twisted calls a protocol.

    It lets go of a peer that sends what can't be framed, that is slow with a message, silent
    for long, or does not read what it is sent; `Connections.sweep` looks at the times.

    It is read by `Readers` until its end is near, then by its transport, which finds out what has
    become of it. What is written in one turn of the reactor leaves together at its end, directly by the
    socket; the transport's own queue, which takes three calls of the system and a turn more, is
    for what the socket does not take.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        transport: str,
        around: Surroundings,
        domain: str | None = None,
        secured: Secured | None = None,
    ) -> None:
        #: What Twisted calls so: the socket with its queue.
        self.transport: Any = None
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
        self._secured = secured
        self._out: list[bytes] = []
        self._socket: Any = None
        # The handle of the socket while `Readers` read it.
        self._handle = -1
        # Whether the transport has a queue, and how much was put there since it was empty.
        self._queued = False
        self._registering = False
        self._unread = 0
        # Whether a message has come; a keep-alive proves nothing.
        self._proved = domain is not None

    def makeConnection(self, transport: Any) -> None:
        """The connection stands; under TLS the handshake is still to come."""
        self.transport = transport
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)
        self._socket = transport.getHandle()
        readers = self._around.readers
        if readers is not None:
            handle = self._socket.fileno()
            if readers.add(handle, self):
                transport.stopReading()
                self._handle = handle
        self._around.connections.add(self)
        if self._name == "tcp" or self.domain is None:
            self._open()
        if self._secured is not None and self.closing is None:
            self._secured.start()
            self._transmit(self._secured.outgoing())

    def read(self) -> bool:
        """Read what is there; False where there is nothing and will be nothing."""
        try:
            data: bytes = self._socket.recv(_PIECE)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if data:
            self.dataReceived(data)
        return data != b""

    def hand_back(self) -> None:
        """Have the transport read from now on."""
        self._handle = -1
        self.transport.startReading()

    def lost(self, reason: Failure) -> None:
        """The reactor has let go of everything."""
        self._handle = -1
        self.transport.connectionLost(reason)

    def dataReceived(self, data: bytes) -> None:
        """A piece of the stream; it may hold any number of messages, or a part of one."""
        secured = self._secured
        if secured is not None:
            data = self._said(data, secured)
        if data:
            self._read_stream(data)
        if secured is not None and secured.ended:
            # "Each party MUST send a "close_notify" alert before closing its write side" (RFC
            # 8446 §6.1); a peer that has closed his wants no more of us.
            self.close()

    def _read_stream(self, data: bytes) -> None:
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
        self._leave_readers(closed=True)
        self._socket = None
        self._out.clear()
        flow = self.flow
        if flow is not None:
            flow.end()
        self._around.connections.lost(self, flow, self._around.clock())
        self._fail(reason.value)

    def write(self, data: bytes) -> None:
        """Send octets at the end of this turn of the reactor."""
        out = self._out
        if not out:
            self._around.connections.sending(self)
        out.append(data)

    def flush(self) -> None:
        """Send what was written; a peer that leaves too much unread is disconnected."""
        out = self._out
        secured = self._secured
        if not out or (secured is not None and not secured.shaken):
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        if secured is not None:
            try:
                secured.protect(data)
            except TLSError as error:
                self._broken(error, secured)
                return
            data = secured.outgoing()
        self._transmit(data)

    def resumeProducing(self) -> None:
        """The transport's queue is empty: the socket takes octets again."""
        # It says so once when we begin to ask.
        if not self._registering:
            self._unregister()
            self.stuck = None

    def stopProducing(self) -> None:
        """The transport is going; connectionLost follows."""

    def close(self) -> None:
        """End the connection after what is queued has left."""
        if self.closing is not None:
            return
        secured = self._secured
        if secured is not None and not secured.shaken:
            # Nothing can have been said yet, and nobody waits for more.
            self.abort()
            return
        self.flush()
        if self.closing is not None:
            return
        self.closing = self._around.clock()
        if self.flow is not None:
            self.flow.alive = False
        if secured is not None:
            secured.farewell()
            self._transmit(secured.outgoing())
        self._unregister()
        self._leave_readers()
        self.transport.loseConnection()

    def abort(self) -> None:
        """End the connection now."""
        if self.flow is not None:
            self.flow.alive = False
        if self.closing is None:
            self.closing = self._around.clock()
        self._leave_readers()
        self._socket = None
        self._out.clear()
        self.transport.abortConnection()

    @property
    def address(self) -> str:
        """The address of the peer."""
        return unmapped(self.transport.getPeer().host)

    def _open(self) -> None:
        transport = self.transport
        here, there = transport.getHost(), transport.getPeer()
        local = (unmapped(here.host), here.port)
        remote = (unmapped(there.host), there.port)
        sent_by = self._around.sent_by(self._name, *local, remote[0])
        self.flow = StreamFlow(self, self._name, local, remote, sent_by, self.domain or "")
        self._around.connections.opened(self.flow)
        self.ready.callback(self.flow)

    def _said(self, data: bytes, secured: Secured) -> bytes:
        """What the peer says under TLS."""
        shaken = secured.shaken
        try:
            data = secured.receive(data)
        except TLSError as error:
            self._broken(error, secured)
            return b""
        if not shaken:
            self._transmit(secured.outgoing())
            if secured.shaken:
                self._shaken(secured)
        return data

    def _shaken(self, secured: Secured) -> None:
        """The TLS handshake is done: look whose certificate it was (RFC 5922 §7.3)."""
        if self.domain is not None and self.flow is None:
            certificate = secured.certificate
            if certificate is None or not serves(certificate, self.domain):
                # "If the server is not authenticated, the client MUST close the connection
                # immediately."
                self._fail(ConnectionError(f"the certificate of the peer is not of {self.domain}"))
                self.abort()
                return
            self._open()
        self.flush()

    def _broken(self, error: TLSError, secured: Secured) -> None:
        """TLS has failed; the peer is told why, as far as TLS tells."""
        self._fail(error)
        if self.closing is None:
            self._transmit(secured.outgoing())
            self.closing = self._around.clock()
            if self.flow is not None:
                self.flow.alive = False
            self._unregister()
            self._leave_readers()
            self.transport.loseConnection()

    def _transmit(self, data: bytes) -> None:
        """Hand octets to the system, and to the transport what it does not take."""
        socket = self._socket
        if not data or socket is None:
            return
        if not self._queued:
            try:
                sent = socket.send(data)
            except OSError:
                # Whatever is wrong, the transport finds it, too, and says how the connection ended.
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        transport = self.transport
        transport.write(data)
        self._unread += len(data)
        if not self._queued:
            self._queued = self._registering = True
            transport.registerProducer(self, False)
            self._registering = False
        if self.stuck is None:
            if self._unread > _FULL:
                self.stuck = self._around.clock()
        elif self._unread > _FULL + self._around.connections.limits.unread:
            self._log.debug("{peer} does not read what it is sent: disconnected", peer=self.flow)
            self.abort()

    def _unregister(self) -> None:
        if self._queued:
            self._queued = False
            self._unread = 0
            self.transport.unregisterProducer()

    def _leave_readers(self, closed: bool = False) -> None:
        readers = self._around.readers
        if self._handle >= 0 and readers is not None:
            readers.remove(self._handle, closed)
            self._handle = -1

    def _fail(self, error: BaseException | None) -> None:
        if self.domain is None or self.flow is not None or self.ready.called:
            return
        if isinstance(error, TLSError):
            error = ConnectionError(f"TLS failed: {explain(error)}")
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

    def __init__(
        self, transport: str, around: Surroundings, server: ServerTLS | None = None
    ) -> None:
        self._name = transport
        self._around = around
        self._server = server

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A connection, or None (the port then hangs up) where there are enough."""
        host = unmapped(getattr(addr, "host", ""))
        if not self._around.connections.admits(host):
            return None
        secured = None if self._server is None else self._server.end()
        return StreamConnection(self._name, self._around, None, secured)
