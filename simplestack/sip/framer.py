"""Messages out of a stream of octets (RFC 3261 §18.3, RFC 5626 §3.5.1)."""

from __future__ import annotations

from typing import Final

from simplestack.sip.errors import ParseError
from simplestack.sip.message import (
    DEFAULT_LIMITS,
    Limits,
    Request,
    Response,
    answerable,
    content_length,
    parse_head,
    partial,
)

__all__ = ["KEEP_ALIVE", "KeepAlive", "StreamFramer"]


class KeepAlive:
    """The double CRLF of a client that wants a single one back (RFC 5626 §3.5.1)."""

    def __repr__(self) -> str:
        return "<KeepAlive>"


KEEP_ALIVE: Final = KeepAlive()
_CR: Final = 13
_LF: Final = 10


class StreamFramer:
    """Cuts a stream into messages by Content-Length; what it keeps is bounded by its limits.

    It keeps less than one message: a header of at most `limits.head` octets, then a body of
    at most `limits.body`. After a fault it keeps nothing and gives nothing more, for where
    the next message begins can't be known.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        # What came of a header, and up to where its end is not.
        self._rest = b""
        self._searched = 0
        # What came of a body, how much of it has not, and the message whose it is.
        self._body = bytearray()
        self._missing = 0
        self._message: Request | Response | None = None
        self._failed = False

    @property
    def waiting(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._message is not None or (self._rest != b"" and self._rest.strip(b"\r\n") != b"")

    def feed(self, data: bytes) -> list[Request | Response | KeepAlive]:
        """Take octets; give what they complete.

        Raises ParseError, after which the connection must be closed: its `earlier` are the
        messages that were complete before the fault, its `message` is what could be read
        of the faulty one.
        """
        done: list[Request | Response | KeepAlive] = []
        if self._failed:
            return done
        start = 0
        message = self._message
        if message is not None:
            start = self._missing
            self._body += data[:start]
            if len(data) < start:
                self._missing = start - len(data)
                return done
            message.body = bytes(self._body)
            self._body.clear()
            self._message = None
            done.append(message)
        elif self._rest:
            data = self._rest + data
            self._rest = b""
        try:
            self._read(data, start, done)
        except ParseError as error:
            self._failed = True
            self._message = None
            error.earlier = tuple(done)
            raise
        return done

    def _read(self, data: bytes, start: int, done: list[Request | Response | KeepAlive]) -> None:
        """Read whole messages from `start` on, and keep what is left."""
        limits = self.limits
        searched = self._searched
        self._searched = 0
        while start < len(data):
            if data[start] == _CR:
                # One CRLF before a start line is skipped (RFC 3261 §7.5), two are a keep-alive.
                # Whether it is one or two shows with what follows.
                following = data[start : start + 4]
                if following == b"\r\n\r\n":
                    done.append(KEEP_ALIVE)
                    start += 4
                    searched = 0
                    continue
                if len(following) > 2 and following[1] == _LF and following != b"\r\n\r":
                    start += 2
                    searched = 0
            end = data.find(b"\r\n\r\n", start + searched)
            if end < 0 or end - start > limits.head:
                if len(data) - start - 3 > limits.head:
                    head = data[start : start + limits.head]
                    raise ParseError(513, "the header is too large", partial(head, limits))
                self._rest = data[start:]
                self._searched = max(0, len(data) - start - 3)
                return
            searched = 0
            message = parse_head(data[start:end], limits)
            length = content_length(message)
            if length is None:
                # §20.14: over a stream "the Content-Length header field MUST be used".
                raise ParseError(400, "Content-Length is missing", answerable(message))
            if length > limits.body:
                raise ParseError(513, "the body is too large", answerable(message))
            start = end + 4
            end = start + length
            if end > len(data):
                self._message = message
                self._body += data[start:]
                self._missing = end - len(data)
                return
            message.body = data[start:end]
            start = end
            done.append(message)
