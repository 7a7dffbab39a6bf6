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


class StreamFramer:
    """Cuts a stream into messages by Content-Length; what it keeps is bounded by its limits.

    It keeps less than one message: a header of at most `limits.head` octets, then a body of
    at most `limits.body`. After a fault it keeps nothing and gives nothing more, for where
    the next message begins can't be known.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._buffer = bytearray()
        self._searched = 0
        self._message: Request | Response | None = None
        self._length = 0
        self._failed = False

    @property
    def waiting(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._message is not None or bool(self._buffer.strip(b"\r\n"))

    def feed(self, data: bytes) -> list[Request | Response | KeepAlive]:
        """Take octets; give what they complete.

        Raises ParseError, after which the connection must be closed: its `earlier` are the
        messages that were complete before the fault, its `message` is what could be read
        of the faulty one.
        """
        done: list[Request | Response | KeepAlive] = []
        if self._failed:
            return done
        self._buffer += data
        try:
            while (message := self._next()) is not None:
                done.append(message)
        except ParseError as error:
            self._failed = True
            self._buffer.clear()
            self._message = None
            error.earlier = tuple(done)
            raise
        return done

    def _next(self) -> Request | Response | KeepAlive | None:
        buffer = self._buffer
        message = self._message
        if message is None:
            if buffer[:1] == b"\r" and self._skip_line_ends():
                return KEEP_ALIVE
            message = self._read_head()
            if message is None:
                return None
        length = self._length
        if len(buffer) < length:
            self._message = message
            return None
        message.body = bytes(buffer[:length])
        del buffer[:length]
        self._message = None
        return message

    def _skip_line_ends(self) -> bool:
        # One CRLF before a start line is skipped (RFC 3261 §7.5), two are a keep-alive.
        # Whether it is one or two shows with what follows.
        buffer = self._buffer
        if buffer[:4] == b"\r\n\r\n":
            del buffer[:4]
            return True
        if len(buffer) > 2 and buffer[:2] == b"\r\n" and buffer[:4] != b"\r\n\r":
            del buffer[:2]
        return False

    def _read_head(self) -> Request | Response | None:
        buffer = self._buffer
        limits = self.limits
        end = buffer.find(b"\r\n\r\n", self._searched)
        if end < 0 or end > limits.head:
            if len(buffer) - 3 > limits.head:
                raise ParseError(
                    513, "the header is too large", partial(bytes(buffer[: limits.head]), limits)
                )
            self._searched = max(0, len(buffer) - 3)
            return None
        head = bytes(buffer[:end])
        del buffer[: end + 4]
        self._searched = 0
        message = parse_head(head, limits)
        length = content_length(message)
        if length is None:
            # §20.14: over a stream "the Content-Length header field MUST be used".
            raise ParseError(400, "Content-Length is missing", answerable(message))
        if length > limits.body:
            raise ParseError(513, "the body is too large", answerable(message))
        self._length = length
        return message
