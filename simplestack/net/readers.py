"""The connections that have something to read, found by one question for all of them."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, ClassVar, Final, Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["EPOLL", "Readers", "Reading"]

#: Connections read before the reactor comes to other things.
_AT_ONCE: Final = 256
#: Makes an epoll, where the system has it.
EPOLL: Final[Callable[[], Any] | None] = getattr(select, "epoll", None)
_READABLE: Final = getattr(select, "EPOLLIN", 0)


class Reading(Protocol):
    """A connection that is read here."""

    def read(self) -> bool:
        """Read what is there; False where there is nothing and will be nothing."""

    def hand_back(self) -> None:
        """Have the transport read from now on; it finds out how the connection ended."""

    def lost(self, reason: Failure) -> None:
        """The reactor has let go of everything."""

    def abort(self) -> None:
        """End the connection now."""


@implementer(IReadDescriptor)
class Readers:
    """Reads many connections in the place of their transports.

    To the reactor they are one reader, an epoll of their own, which is asked once in a turn: a
    reactor takes longer to come to a reader than that takes to read a message. Where the system
    has no epoll the transports go on reading.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, reactor: Any, make: Callable[[], Any] | None = EPOLL) -> None:
        self._reactor = reactor
        self._make = make
        self._poll: Any = None
        self._connections: dict[int, Reading] = {}

    def add(self, handle: int, connection: Reading) -> bool:
        """Read this connection, whose transport must not; False where that can't be."""
        try:
            if self._poll is None:
                if self._make is None:
                    return False
                self._poll = self._make()
                self._reactor.addReader(self)
            self._poll.register(handle, _READABLE)
        except OSError:
            # Too many open files, or no memory for one more.
            self._rest()
            return False
        self._connections[handle] = connection
        return True

    def remove(self, handle: int, closed: bool = False) -> None:
        """Read it no more; of what is closed the system has let go already."""
        if self._connections.pop(handle, None) is None:
            return
        if not closed:
            self._poll.unregister(handle)
        self._rest()

    def pause(self) -> None:
        """Read nothing more of the connections that there are."""
        if self._poll is not None:
            self._reactor.removeReader(self)

    def doRead(self) -> None:
        """Have those read that have something to read."""
        for handle, event in self._poll.poll(0, _AT_ONCE):
            connection = self._connections.get(handle)
            if connection is None:
                # It was closed by what one before it has read.
                continue
            try:
                # What else is told is of the end of the connection.
                if event != _READABLE or not connection.read():
                    self.remove(handle)
                    connection.hand_back()
            except Exception:
                self._log.failure("A connection was not read")
                connection.abort()

    def fileno(self) -> int:
        """The handle of the epoll."""
        return -1 if self._poll is None else int(self._poll.fileno())

    def logPrefix(self) -> str:
        """The name in the log."""
        return "Readers"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has stopped: so do the connections."""
        connections = list(self._connections.values())
        self._connections.clear()
        if self._poll is not None:
            self._poll.close()
            self._poll = None
        for connection in connections:
            try:
                connection.lost(reason)
            except Exception:
                self._log.failure("A connection did not end well")

    def _rest(self) -> None:
        """Without connections the reactor needs no reader."""
        if not self._connections and self._poll is not None:
            self._reactor.removeReader(self)
            self._poll.close()
            self._poll = None
