"""A server that does the least: it answers everything, and tells watchers what was published.

It keeps no time, and looks at credentials only as far as to ask for some.  The generator measures
itself against it, and its own tests run against it.
"""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from simplestack.stone.child import child
from simplestack.stone.credentials import values_of
from simplestack.stone.errors import StoneError
from simplestack.stone.wire import message_end

__all__ = ["Sink", "open_sink", "running_sink", "serve_sink"]

_BATCH: Final = 64
_EMPTY: Final = b"\r\nContent-Length: 0\r\n\r\n"
_CHALLENGE: Final = (
    b'\r\nWWW-Authenticate: Digest realm="sink", nonce="sink", algorithm=SHA-256, qop="auth"'
)
#: What is copied from a request into its response; it must have them all.
_COPIED: Final = (b"\r\nVia: ", b"\r\nFrom: ", b"\r\nTo: ", b"\r\nCall-ID: ", b"\r\nCSeq: ")


class _Watcher:
    """Where the NOTIFYs of a dialog go, their heads up to the CSeq, and the lines after it."""

    __slots__ = ("_head", "_lines", "number", "where")

    def __init__(self, where: Any, head: bytes, lines: bytes, number: int) -> None:
        self.where = where
        self._head = head
        self._lines = lines
        self.number = number

    def notify(self, end: bytes) -> bytes:
        self.number += 1
        return b"%b%d%b%b" % (self._head, self.number, self._lines, end)


class Sink:
    """Octets of a message in, octets to send out, with where to."""

    def __init__(self, contact: bytes, transport: bytes = b"UDP", challenges: bool = False) -> None:
        self._contact = contact
        self._transport = transport
        self._challenges = challenges
        self._serial = 0
        #: AOR → Call-ID → what the NOTIFYs of that watcher are made of.
        self._watchers: dict[bytes, dict[bytes, _Watcher]] = {}
        self._state: dict[bytes, bytes] = {}

    def take(self, data: bytes, where: Any) -> list[tuple[bytes, Any]]:
        """What a message causes."""
        if data[:8] == b"SIP/2.0 ":
            return []
        lines = []
        for name in _COPIED:
            at = data.find(name)
            if at < 0:
                return []
            line = data[at : data.find(b"\r\n", at + 2)]
            if name == b"\r\nTo: " and b";tag=" not in line:
                line += b";tag=sink"
            lines.append(line)
        copied = b"".join(lines)
        if self._challenges and data.find(b"\r\nAuthorization: ") < 0:
            return [(b"SIP/2.0 401 Unauthorized%b%b%b" % (copied, _CHALLENGE, _EMPTY), where)]
        answer = b"SIP/2.0 200 OK" + copied
        method, _, rest = data.partition(b" ")
        if method == b"PUBLISH":
            return self._published(data, rest[: rest.find(b" ")], answer, where)
        if method == b"SUBSCRIBE":
            return self._subscribed(data, answer, where)
        if method == b"REGISTER":
            contact = _first(data, b"Contact")
            return [(b"%b\r\nContact: %b;expires=3600%b" % (answer, contact, _EMPTY), where)]
        return [(answer + _EMPTY, where)]

    def _published(
        self, data: bytes, aor: bytes, answer: bytes, where: Any
    ) -> list[tuple[bytes, Any]]:
        self._serial += 1
        made = [(b"%b\r\nSIP-ETag: %d\r\nExpires: 3600%b" % (answer, self._serial, _EMPTY), where)]
        body = data[data.find(b"\r\n\r\n") + 4 :]
        if body:
            self._state[aor] = body
            end = _with_body(body)
            for watcher in self._watchers.get(aor, {}).values():
                made.append((watcher.notify(end), watcher.where))
        return made

    def _subscribed(self, data: bytes, answer: bytes, where: Any) -> list[tuple[bytes, Any]]:
        to, call, expires = _first(data, b"To"), _first(data, b"Call-ID"), _first(data, b"Expires")
        aor = to.partition(b"<")[2].partition(b">")[0]
        target = _first(data, b"Contact").partition(b"<")[2].partition(b">")[0]
        head = (
            b"NOTIFY %b SIP/2.0\r\nVia: SIP/2.0/%b %b;branch=z9hG4bKsink\r\nMax-Forwards: 70\r\n"
            b"From: %b\r\nTo: %b\r\nCall-ID: %b\r\nContact: <sip:%b>\r\nCSeq: "
            % (
                target,
                self._transport,
                self._contact,
                to if b";tag=" in to else to + b";tag=sink",
                _first(data, b"From"),
                call,
                self._contact,
            )
        )
        over = expires == b"0"
        lines = b" NOTIFY\r\nEvent: presence\r\nSubscription-State: %b\r\n" % (
            b"terminated;reason=timeout" if over else b"active;expires=3600"
        )
        watchers = self._watchers.setdefault(aor, {})
        watcher = _Watcher(where, head, lines, watchers[call].number if call in watchers else 0)
        if over:
            watchers.pop(call, None)
        else:
            watchers[call] = watcher
        body = b"" if over else self._state.get(aor, b"")
        end = _with_body(body) if body else _EMPTY[2:]
        contact = b"\r\nContact: <sip:%b>\r\nExpires: %b" % (self._contact, expires)
        return [
            (answer + contact + _EMPTY, where),
            (watcher.notify(end), where),
        ]


def _first(data: bytes, name: bytes) -> bytes:
    return b"".join(values_of(data, name)[:1])


def _with_body(body: bytes) -> bytes:
    return b"Content-Type: application/pidf+xml\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def open_sink(host: str, port: int, transport: str) -> socket.socket:
    """The socket that a sink serves.  Raises StoneError."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    try:
        family = socket.getaddrinfo(host, port, type=kind)[0][0]
        made = socket.socket(family, kind)
        if transport == "udp":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        if transport != "udp":
            made.listen(1024)
    except (OSError, OverflowError) as error:
        raise StoneError(f"{host} port {port}: {error}") from None
    made.setblocking(False)
    return made


def serve_sink(made: socket.socket, challenges: bool) -> None:
    """Serve a socket, of UDP or one that listens, until a signal."""
    host, port = made.getsockname()[:2]
    contact = b"%b:%d" % (f"[{host}]".encode() if ":" in host else host.encode(), port)
    if made.type == socket.SOCK_DGRAM:
        _serve_datagrams(made, Sink(contact, b"UDP", challenges).take)
    _serve_streams(made, Sink(contact, b"TCP", challenges).take)


def _serve_datagrams(
    made: socket.socket, take: Callable[[bytes, Any], list[tuple[bytes, Any]]]
) -> None:
    receive, send = made.recvfrom, made.sendto
    while True:
        select.select([made], [], [])
        try:
            for _ in range(_BATCH):
                data, where = receive(65536)
                for octets, to in take(data, where):
                    send(octets, to)
        except BlockingIOError:
            continue


class _Stream:
    """A connection: what came of it, and what it has no room for yet."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made
        self.got = bytearray()
        self.owed = bytearray()

    def flush(self) -> None:
        try:
            while self.owed:
                del self.owed[: self.socket.send(self.owed)]
        except BlockingIOError:
            pass


def _serve_streams(
    made: socket.socket, take: Callable[[bytes, Any], list[tuple[bytes, Any]]]
) -> None:
    poll = select.epoll()
    poll.register(made, select.EPOLLIN)
    streams: dict[int, _Stream] = {}
    while True:
        for handle, _ in poll.poll(0.01 if any(each.owed for each in streams.values()) else None):
            if handle == made.fileno():
                connection, _ = made.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                streams[connection.fileno()] = _Stream(connection)
                poll.register(connection, select.EPOLLIN)
                continue
            stream = streams[handle]
            try:
                chunk = stream.socket.recv(65536)
            except OSError:
                chunk = b""
            if not chunk:
                poll.unregister(handle)
                del streams[handle]
                stream.socket.close()
                continue
            stream.got += chunk
            while (end := message_end(stream.got, 0)) > 0:
                data = bytes(stream.got[:end])
                del stream.got[:end]
                for octets, to in take(data, stream):
                    to.owed += octets
        for stream in streams.values():
            if stream.owed:
                try:
                    stream.flush()
                except OSError:
                    stream.owed.clear()


@contextmanager
def running_sink(transport: str, challenges: bool) -> Iterator[int]:
    """A sink as a process of its own on the loopback interface; its port."""
    with open_sink("127.0.0.1", 0, transport) as made:
        port: int = made.getsockname()[1]
        program = (
            "import os, socket, sys, threading; from simplestack.stone.sink import serve_sink; "
            # Whoever has started us may be killed, and end nobody.
            "wait = lambda: (os.read(0, 1), os._exit(0)); "
            "threading.Thread(target=wait, daemon=True).start(); "
            "made = socket.socket(fileno=int(sys.argv[1])); made.setblocking(False); "
            "serve_sink(made, bool(int(sys.argv[2])))"
        )
        arguments = [str(made.fileno()), str(int(challenges))]
        process = child(program, arguments, handles=[made.fileno()])
    try:
        yield port
    finally:
        process.terminate()
        process.communicate()
