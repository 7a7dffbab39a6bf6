"""TLS between two streams of octets: what is on the wire, and what is said (RFC 8446, RFC 5246)."""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final

from cryptography import x509

__all__ = ["Secured", "explain"]

#: "The length MUST NOT exceed 2^14 bytes" (RFC 8446 §5.1): what is read at once is a whole record.
_RECORD: Final = 16_384


class Secured:
    """One end of a TLS connection, without a socket.

    Octets of the peer go into `receive`, what is to be said into `protect`; after either, and at
    the start, `outgoing` has what must be sent to the peer. What is said at once should be
    given to `protect` at once: it then shares records.

    A client names the `host` to the server (RFC 6066 §3); None for an address.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "ended", "shaken")

    def __init__(self, context: ssl.SSLContext, server: bool, host: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server, host)
        #: Whether the handshake is done: nothing can be said before.
        self.shaken = False
        #: Whether the peer has said that nothing more will come (RFC 8446 §6.1).
        self.ended = False

    def start(self) -> None:
        """Begin the handshake. Raises ssl.SSLError."""
        self._shake()

    def receive(self, data: bytes) -> bytes:
        """What the peer says in these octets. Raises ssl.SSLError, after which there is no more."""
        incoming = self._incoming
        incoming.write(data)
        if not self.shaken:
            self._shake()
            if not self.shaken:
                return b""
        said: list[bytes] = []
        try:
            while True:
                piece = self._object.read(_RECORD)
                if not piece:
                    self.ended = True
                    break
                said.append(piece)
                # OpenSSL takes no more than the record at hand, so that what is left is the
                # next; to be told that there is none takes as long as to read a record.
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            # The end is told so where we have said farewell ourselves.
            self.ended = True
        return said[0] if len(said) == 1 else b"".join(said)

    def protect(self, data: bytes) -> None:
        """Say this to the peer. Raises ssl.SSLError."""
        said = self._object.write(data)
        if said < len(data):
            # A record is written at once, and no more.
            rest = memoryview(data)
            while said < len(data):
                said += self._object.write(rest[said:])

    def farewell(self) -> None:
        """Say that nothing more will come (RFC 8446 §6.1)."""
        # That the peer's farewell is still to come is an error, too; and where the connection
        # has failed already there is nobody to say it to.
        with suppress(ssl.SSLError):
            self._object.unwrap()

    def outgoing(self) -> bytes:
        """What is to be sent to the peer now."""
        return self._outgoing.read()

    @property
    def certificate(self) -> x509.Certificate | None:
        """The certificate that the peer has shown. Raises ValueError where it can't be read."""
        shown = self._object.getpeercert(binary_form=True)
        return None if shown is None else x509.load_der_x509_certificate(shown)

    def _shake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.shaken = True


def explain(error: ssl.SSLError) -> str:
    """What has failed, in words, without the place in OpenSSL's sources."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    # The name of the reason is there where OpenSSL has one.
    reason: str | None = getattr(error, "reason", None)
    return reason.lower().replace("_", " ") if reason else str(error.strerror).partition(" (")[0]
