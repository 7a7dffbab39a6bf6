"""A loader or handler, at the other end of a connection of the controller."""

import json
import socket
import time
from typing import Any, Final

from simplestack.stone.errors import StoneError

__all__ = ["SILENCE", "Peer"]

#: Seconds in which a process must say something, or take what it is told.
SILENCE: Final = 10.0
#: Octets of the longest line, and of what those say who have not said who they are.
_LONGEST_LINE: Final = 256 << 20
_LONGEST_HELLO: Final = 4096


class Peer:
    """A loader or handler, as the controller knows it."""

    def __init__(self, connection: socket.socket, where: str) -> None:
        self.connection = connection
        # One that takes nothing any more hangs.
        connection.settimeout(SILENCE)
        self.role = ""
        self.where = where
        self.came = time.monotonic()
        self.offset = 0.0
        self.number = 0
        self.progress: dict[str, Any] = {}
        self._in = bytearray()

    def say(self, message: dict[str, Any]) -> None:
        """Tell it something.  Raises StoneError where it is gone."""
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise StoneError(
                f"a {self.role or 'process'} at {self.where} is gone: {error}"
            ) from None

    def read(self) -> list[dict[str, Any]]:
        """What it has said.  Raises StoneError where it has ended, or says what nobody should."""
        try:
            chunk = self.connection.recv(1 << 20)
        except OSError as error:
            raise StoneError(
                f"a {self.role or 'process'} at {self.where} is gone: {error}"
            ) from None
        if not chunk:
            raise StoneError(f"a {self.role or 'process'} at {self.where} has ended")
        self._in += chunk
        if len(self._in) > (_LONGEST_LINE if self.role else _LONGEST_HELLO):
            raise StoneError(f"a process at {self.where} says too much at once")
        *lines, rest = bytes(self._in).split(b"\n")
        self._in = bytearray(rest)
        try:
            return [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            raise StoneError(f"what a process at {self.where} says is no JSON") from None
