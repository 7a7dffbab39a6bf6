"""The control socket: a UNIX socket that answers each connection with the status and closes."""

import json
import os
import socket
import stat
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorUNIX
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

__all__ = ["ControlFactory", "ControlProtocol", "ask", "listen"]

#: How long ``ask`` waits for the server, in seconds.
PATIENCE = 5.0
#: The longest status that is read, in octets.
MAX_STATUS = 1 << 20


class ControlProtocol(Protocol):
    """One asker."""

    def __init__(self, status: Callable[[], Deferred[dict[str, Any]]]) -> None:
        self._status = status

    def connectionMade(self) -> None:
        """Answer at once; whoever may open the socket may know."""
        status = self._status()
        status.addCallback(self._answer)
        status.addErrback(self._fail)

    def _answer(self, status: dict[str, Any]) -> None:
        assert self.transport is not None
        self.transport.write(json.dumps(status).encode() + b"\n")
        self.transport.loseConnection()

    def _fail(self, failure: Failure) -> None:
        self._answer({"error": failure.getErrorMessage()})


class ControlFactory(Factory):
    """Serves the status; ``status`` makes a Deferred of what JSON can hold."""

    noisy = False

    def __init__(self, status: Callable[[], Deferred[dict[str, Any]]]) -> None:
        self._status = status

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol:
        """A new asker."""
        return ControlProtocol(self._status)


def listen(reactor: IReactorUNIX, path: str, factory: ControlFactory) -> Any:
    """Open the control socket, readable by the owner alone, in place of a dead one."""
    if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode) and not _answers(path):
        os.unlink(path)
    return cast(Any, reactor).listenUNIX(path, factory, mode=0o600)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def ask(path: str) -> dict[str, Any]:
    """What the server at this control socket says of itself; blocks.

    Raises OSError where nothing answers, ValueError where the answer is no status.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(path)
        data = bytearray()
        while len(data) < MAX_STATUS and (part := connection.recv(65536)):
            data += part
    answer = json.loads(bytes(data))
    if not isinstance(answer, dict):
        raise ValueError("the answer is not a status")
    return answer
