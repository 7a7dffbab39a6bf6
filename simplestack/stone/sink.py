"""A server that does the least: it answers everything, and tells watchers what was published.

It keeps no time and checks nothing.  The generator measures itself against it, and its own tests
run against it.
"""

import select
import socket
from typing import Any, Final

from simplestack.stone.credentials import values_of

__all__ = ["Sink", "serve_sink"]

_BATCH: Final = 64
_OK: Final = b"\r\nContent-Length: 0\r\n\r\n"


class Sink:
    """Octets of a request in, octets to send out, with where to."""

    def __init__(self, contact: bytes) -> None:
        self._contact = contact
        self._serial = 0
        #: AOR → the NOTIFYs of its watchers: address, head up to the CSeq, and the rest of it.
        self._watchers: dict[bytes, dict[bytes, tuple[Any, bytes, bytes]]] = {}
        self._state: dict[bytes, bytes] = {}

    def take(self, data: bytes, where: Any) -> list[tuple[bytes, Any]]:
        """What a message causes."""
        if data[:8] == b"SIP/2.0 ":
            return []
        method, _, rest = data.partition(b" ")
        via = data.find(b"\r\nVia: ")
        call = data.find(b"\r\nCall-ID: ")
        sequence = data.find(b"\r\nCSeq: ")
        source = data.find(b"\r\nFrom: ")
        to = data.find(b"\r\nTo: ")
        if min(via, call, sequence, source, to) < 0:
            return []
        to_line = data[to : data.find(b"\r\n", to + 2)]
        if b";tag=" not in to_line:
            to_line += b";tag=sink"
        lines = b"".join(
            (
                b"SIP/2.0 200 OK",
                data[via : data.find(b"\r\n", via + 2)],
                data[source : data.find(b"\r\n", source + 2)],
                to_line,
                data[call : data.find(b"\r\n", call + 2)],
                data[sequence : data.find(b"\r\n", sequence + 2)],
            )
        )
        if method == b"PUBLISH":
            aor = rest[: rest.find(b" ")]
            self._serial += 1
            made = [(b"%b\r\nSIP-ETag: %d\r\nExpires: 3600%b" % (lines, self._serial, _OK), where)]
            body = data[data.find(b"\r\n\r\n") + 4 :]
            if body:
                self._state[aor] = body
                watchers = self._watchers.get(aor)
                if watchers:
                    end = self._end(body)
                    for address, head, number in watchers.values():
                        made.append((b"%b%d%b%b" % (head, self._serial, number, end), address))
            return made
        if method == b"SUBSCRIBE":
            return self._subscribed(data, lines, where)
        if method == b"REGISTER":
            contact = b"".join(values_of(data, b"Contact"))
            return [(b"%b\r\nContact: %b;expires=3600%b" % (lines, contact, _OK), where)]
        return [(lines + _OK, where)]

    @staticmethod
    def _end(body: bytes) -> bytes:
        return b"Content-Type: application/pidf+xml\r\nContent-Length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )

    def _subscribed(self, data: bytes, lines: bytes, where: Any) -> list[tuple[bytes, Any]]:
        to = _first(data, b"To")
        aor = to.partition(b"<")[2].partition(b">")[0]
        call = _first(data, b"Call-ID")
        over = _first(data, b"Expires") == b"0"
        state = b"terminated;reason=timeout" if over else b"active;expires=3600"
        tagged = to if b";tag=" in to else to + b";tag=sink"
        target = _first(data, b"Contact").partition(b"<")[2].partition(b">")[0]
        head = (
            b"NOTIFY %b SIP/2.0\r\nVia: SIP/2.0/UDP %b;branch=z9hG4bKsink%b\r\nMax-Forwards: 70\r\n"
            b"From: %b\r\nTo: %b\r\nCall-ID: %b\r\nContact: <sip:%b>\r\nCSeq: "
            % (target, self._contact, call, tagged, _first(data, b"From"), call, self._contact)
        )
        number = b" NOTIFY\r\nEvent: presence\r\nSubscription-State: %b\r\n" % state
        watchers = self._watchers.setdefault(aor, {})
        if over:
            watchers.pop(call, None)
        else:
            watchers[call] = (where, head, number)
        self._serial += 1
        body = b"" if over else self._state.get(aor, b"")
        return [
            (
                b"%b\r\nContact: <sip:%b>\r\nExpires: %b%b"
                % (lines, self._contact, _first(data, b"Expires"), _OK),
                where,
            ),
            (
                b"%b%d%b%b"
                % (
                    head,
                    self._serial,
                    number,
                    self._end(body) if body else b"Content-Length: 0\r\n\r\n",
                ),
                where,
            ),
        ]


def _first(data: bytes, name: bytes) -> bytes:
    return b"".join(values_of(data, name)[:1])


def serve_sink(made: socket.socket) -> None:
    """Serve a UDP socket until a signal."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    made.setblocking(False)
    host, port = made.getsockname()[:2]
    sink = Sink(b"%b:%d" % (f"[{host}]".encode() if ":" in host else host.encode(), port))
    receive, send, take = made.recvfrom, made.sendto, sink.take
    while True:
        select.select([made], [], [])
        try:
            for _ in range(_BATCH):
                data, where = receive(65536)
                for octets, to in take(data, where):
                    send(octets, to)
        except BlockingIOError:
            continue
