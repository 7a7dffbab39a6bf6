"""Sockets of the generator: messages go out by links, and come in from all of them together."""

import select
import socket
import ssl
from typing import Any, Final

from simplestack.stone.credentials import values_of
from simplestack.stone.errors import StoneError

__all__ = ["Link", "StreamLink", "Wire", "message_end"]

#: Messages that are read before anything else is done.
_BATCH: Final = 64
_LONGEST: Final = 65536
_BUFFER: Final = 4 << 20
_LENGTH: Final = b"\r\nContent-Length: "


def message_end(data: bytes | bytearray, start: int) -> int:
    """Where the message that begins at ``start`` ends; -1 while it is not whole.

    Raises StoneError where its length is not to be found.
    """
    head = data.find(b"\r\n\r\n", start)
    if head < 0:
        return -1
    at = data.find(_LENGTH, start, head)
    try:
        if at >= 0:
            line = data.find(b"\r\n", at + 2)
            length = int(data[at + 18 : line])
        else:
            values = values_of(bytes(data[start : head + 4]), b"content-length", b"l")
            length = int(values[0]) if values else 0
    except ValueError:
        raise StoneError("the server sent a message whose Content-Length is no number") from None
    end = head + 4 + length
    return end if end <= len(data) else -1


class Link:
    """A way to the server: a UDP socket, or a connection."""

    __slots__ = (
        "_contact_tail",
        "handle",
        "host",
        "open",
        "refused",
        "resumed",
        "run",
        "socket",
        "via",
        "why",
    )

    def __init__(self, made: socket.socket, transport: bytes, run: bytes) -> None:
        self.socket = made
        self.handle = made.fileno()
        self.open = True
        #: What is wrong with it; empty while nothing is.
        self.why = ""
        #: Messages that the system did not take.
        self.refused = 0
        #: Whether a TLS session was taken up again.
        self.resumed = False
        address = made.getsockname()
        name = str(address[0])
        #: Our address, as sent-by of Via.
        self.host = (f"[{name}]" if ":" in name else name).encode() + b":%d" % address[1]
        #: The start of the Via line, up to the branch.
        self.via = b"\r\nVia: SIP/2.0/%b %b;rport;branch=z9hG4bK%b" % (
            transport,
            self.host,
            run,
        )
        #: What the names in this run begin with, six digits that no other run has.
        self.run = run
        self._contact_tail = b"" if transport == b"UDP" else b";transport=" + transport.lower()

    def contact(self, name: bytes) -> bytes:
        """The URI where a user is reached by this link."""
        return b"sip:%b@%b%b" % (name, self.host, self._contact_tail)

    def send(self, data: bytes) -> None:
        """Send a message; one that does not leave is lost, and missed later."""
        try:
            self.socket.send(data)
        except OSError:
            self.refused += 1

    def read(self, into: list[tuple["Link", bytes]]) -> None:
        """Add what has come."""
        receive = self.socket.recv
        try:
            for _ in range(_BATCH):
                into.append((self, receive(_LONGEST)))
        except BlockingIOError:
            pass
        except OSError:
            self.refused += 1

    def pending(self) -> bool:
        """Whether there are octets that the socket did not take yet."""
        return False

    def flush(self) -> None:
        """Send what is pending."""

    def close(self) -> None:
        """Give the port back."""
        self.open = False
        self.socket.close()


class StreamLink(Link):
    """A connection, over TCP or TLS."""

    __slots__ = ("_in", "_out", "_poll", "_secure", "_waits", "shaken")

    def __init__(
        self, made: socket.socket, transport: bytes, run: bytes, poll: select.epoll, secure: bool
    ) -> None:
        super().__init__(made, transport, run)
        self._in = bytearray()
        self._out = bytearray()
        self._poll = poll
        self._secure = secure
        #: Whether the system tells when there is room again.
        self._waits = False
        #: Whether the TLS handshake is over; true for TCP.
        self.shaken = not secure
        if secure:
            self.why = "the TLS handshake is not over"

    def send(self, data: bytes) -> None:
        """Send a message, or keep it until there is room."""
        if not self.open:
            self.refused += 1
            return
        if self._out or not self.shaken:
            self._out += data
            return
        try:
            sent = self.socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        except OSError as error:
            self._lost(str(error))
            return
        if sent < len(data):
            self._out += data[sent:]
            self._wait(True)

    def read(self, into: list[tuple[Link, bytes]]) -> None:
        """Add the messages that are whole."""
        if not self.shaken:
            self.shake()
            if not self.shaken:
                return
        held = self._in
        try:
            for _ in range(_BATCH):
                chunk = self.socket.recv(_LONGEST)
                if not chunk:
                    self._lost("the server has closed it")
                    break
                held += chunk
                if not self._secure and len(chunk) < _LONGEST:
                    break
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._lost(str(error))
        start, length = 0, len(held)
        while start < length:
            if held[start] in b"\r\n":
                start += 1
                continue
            end = message_end(held, start)
            if end < 0:
                break
            into.append((self, bytes(held[start:end])))
            start = end
        if start:
            del held[:start]

    def shake(self) -> None:
        """Go on with the handshake."""
        made = self.socket
        assert isinstance(made, ssl.SSLSocket)
        try:
            made.do_handshake()
        except ssl.SSLWantReadError:
            self._wait(False)
            return
        except ssl.SSLWantWriteError:
            self._wait(True)
            return
        except OSError as error:
            self._lost(str(error))
            return
        self.shaken = True
        self.why = ""
        self.resumed = bool(made.session_reused)
        self._wait(False)
        self.flush()

    def pending(self) -> bool:
        """Whether there are octets that the socket did not take yet."""
        return bool(self._out)

    def flush(self) -> None:
        """Send what is pending."""
        if not self.shaken:
            self.shake()
            return
        try:
            while self._out:
                del self._out[: self.socket.send(self._out)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self._wait(True)
            return
        except OSError as error:
            self._lost(str(error))
            return
        self._wait(False)

    def _wait(self, room: bool) -> None:
        if room != self._waits and self.open:
            self._waits = room
            self._poll.modify(self.handle, select.EPOLLIN | (select.EPOLLOUT if room else 0))

    def _lost(self, why: str) -> None:
        if self.open:
            self.why = why
            self.refused += 1
            self.close()

    def close(self) -> None:
        """Close the connection."""
        if self.open:
            self._poll.unregister(self.handle)
        super().close()


class Wire:
    """All links of a process."""

    def __init__(
        self, address: tuple[str, int], transport: str, run: bytes, ca: str, reuse: bool
    ) -> None:
        """Raises StoneError where there is no such host, or no authority."""
        self.transport = transport
        self.run = run
        self.reliable = transport != "udp"
        self.links: dict[int, Link] = {}
        #: Whether TLS sessions are resumed.
        self.reuse = reuse
        self._poll = select.epoll()
        try:
            found = socket.getaddrinfo(
                *address, type=socket.SOCK_STREAM if self.reliable else socket.SOCK_DGRAM
            )
        except (OSError, UnicodeError) as error:
            raise StoneError(f"server.host: {address[0]}: {error}") from None
        self._family: int = found[0][0]
        self._address: Any = found[0][4]
        self._name = address[0]
        self._context: ssl.SSLContext | None = None
        self._session: ssl.SSLSession | None = None
        if transport == "tls":
            try:
                self._context = ssl.create_default_context(cafile=ca or None)
            except OSError as error:
                raise StoneError(f"server.ca: {ca}: {error}") from None
            if not ca:
                self._context.check_hostname = False
                self._context.verify_mode = ssl.CERT_NONE

    def open(self) -> Link:
        """One more link.  Raises StoneError where there is no connection."""
        kind = socket.SOCK_STREAM if self.reliable else socket.SOCK_DGRAM
        try:
            made = socket.socket(self._family, kind)
        except OSError as error:
            raise StoneError(f"one more socket: {error}") from None
        link: Link
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            if not self.reliable:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
                made.connect(self._address)
                made.setblocking(False)
                link = Link(made, b"UDP", self.run)
                self._poll.register(link.handle, select.EPOLLIN)
            else:
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                made.settimeout(10)
                made.connect(self._address)
                made.setblocking(False)
                link = self._stream(made)
        except OSError as error:
            made.close()
            raise StoneError(
                f"{self._name} port {self._address[1]} over {self.transport}: {error}"
            ) from None
        if link.open:
            self.links[link.handle] = link
        return link

    def _stream(self, made: socket.socket) -> StreamLink:
        if self._context is None:
            link = StreamLink(made, b"TCP", self.run, self._poll, False)
            self._poll.register(link.handle, select.EPOLLIN)
            return link
        session = self._session if self.reuse else None
        secured = self._context.wrap_socket(
            made, server_hostname=self._name, do_handshake_on_connect=False, session=session
        )
        link = StreamLink(secured, b"TLS", self.run, self._poll, True)
        self._poll.register(link.handle, select.EPOLLIN)
        link.shake()
        return link

    def fileno(self) -> int:
        """The handle that is ready when something has come (select)."""
        return self._poll.fileno()

    def keep_session(self, link: Link) -> None:
        """Resume the session of this link where others are opened."""
        if isinstance(link.socket, ssl.SSLSocket) and link.open:
            self._session = link.socket.session

    def close(self, link: Link) -> None:
        """Close one."""
        self.links.pop(link.handle, None)
        if link.open:
            if not self.reliable:
                self._poll.unregister(link.handle)
            link.close()

    def close_all(self) -> None:
        """Close all."""
        for link in list(self.links.values()):
            self.close(link)

    def read(self, wait: float) -> list[tuple[Link, bytes]]:
        """What comes within so many seconds: at once if anything is there."""
        found: list[tuple[Link, bytes]] = []
        events = self._poll.poll(0)
        if not events and wait > 0:
            # epoll counts milliseconds, select microseconds: scheduled times are met by it.
            select.select([self._poll], [], [], wait)
            events = self._poll.poll(0)
        for handle, event in events:
            link = self.links.get(handle)
            if link is None:
                continue
            if event & select.EPOLLOUT:
                link.flush()
            if event & ~select.EPOLLOUT:
                link.read(found)
            if not link.open:
                self.links.pop(handle, None)
        return found
