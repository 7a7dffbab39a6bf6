"""TLS between two streams of octets: what is on the wire, and what is said (RFC 8446, RFC 5246)."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from OpenSSL import SSL, crypto

__all__ = ["Secured"]

#: Octets read from OpenSSL at once; a record has 16,384 at the most (RFC 8446 §5.1).
_PIECE: Final = 65_536


class Secured:
    """One end of a TLS connection, without a socket.

    Octets of the peer go into `receive`, what is to be said into `protect`; after either, and at
    the start, `outgoing` has what must be sent to the peer. What is said at once should be
    given to `protect` at once: it then shares records.
    """

    __slots__ = ("_aligned", "_connection", "ended", "shaken")

    def __init__(self, connection: SSL.Connection) -> None:
        self._connection = connection
        # Whether all that came so far was whole records.
        self._aligned = True
        #: Whether the handshake is done: nothing can be said before.
        self.shaken = False
        #: Whether the peer has said that nothing more will come (RFC 8446 §6.1).
        self.ended = False

    def start(self) -> None:
        """Begin the handshake. Raises SSL.Error."""
        self._shake()

    def receive(self, data: bytes) -> bytes:
        """What the peer says in these octets. Raises SSL.Error, after which there is no more."""
        connection = self._connection
        connection.bio_write(data)
        alone = self._alone(data)
        if not self.shaken:
            self._shake()
            if not self.shaken:
                return b""
        said: list[bytes] = []
        try:
            said.append(connection.recv(_PIECE))
            # To be told that there is no more takes as long as to read a record.
            while not alone:
                said.append(connection.recv(_PIECE))
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.ended = True
        return said[0] if len(said) == 1 else b"".join(said)

    def _alone(self, data: bytes) -> bool:
        """Whether these octets are one record, as nearly every message is, after whole ones."""
        if not self._aligned:
            return False
        at = records = 0
        # Type, version, length: RFC 8446 §5.1.
        while at + 5 <= len(data):
            at += 5 + (data[at + 3] << 8) + data[at + 4]
            records += 1
        self._aligned = at == len(data)
        return self._aligned and records == 1

    def protect(self, data: bytes) -> None:
        """Say this to the peer. Raises SSL.Error."""
        self._connection.sendall(data)

    def farewell(self) -> None:
        """Say that nothing more will come (RFC 8446 §6.1)."""
        # Where the connection has failed already there is nobody to say it to.
        with suppress(SSL.Error):
            self._connection.shutdown()

    def outgoing(self) -> bytes:
        """What is to be sent to the peer now."""
        ready: list[bytes] = []
        try:
            while not ready or len(ready[-1]) == _PIECE:
                ready.append(self._connection.bio_read(_PIECE))
        except SSL.WantReadError:
            pass
        return ready[0] if len(ready) == 1 else b"".join(ready)

    @property
    def certificate(self) -> crypto.X509 | None:
        """The certificate that the peer has shown."""
        return self._connection.get_peer_certificate()

    def _shake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return
        self.shaken = True
