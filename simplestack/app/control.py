"""The control socket: a UNIX socket that answers one question on each connection, and closes.

A question is a line of JSON: a list of the name of the question and its arguments.
"""

import errno
import json
import os
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IReactorUNIX
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from simplestack.app.settings import SettingsError
from simplestack.sip.errors import SIPError

#: Answers a question, given its arguments.
Answer = Callable[[Sequence[str]], Deferred[dict[str, Any]]]

__all__ = ["ControlFactory", "ControlProtocol", "ask", "listen"]

#: How long ``ask`` waits for the server, in seconds.
PATIENCE = 5.0
#: The longest status that is read, in octets.
MAX_STATUS = 1 << 20


class ControlProtocol(LineOnlyReceiver, TimeoutMixin):
    """One asker."""

    delimiter = b"\n"
    MAX_LENGTH = 8192

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers

    def connectionMade(self) -> None:
        """Whoever may open the socket may ask, if he does it soon."""
        self.setTimeout(PATIENCE)

    def lineReceived(self, line: bytes) -> None:
        """Answer the one question."""
        self.setTimeout(None)
        answered = maybeDeferred(self._ask, line)
        answered.addCallbacks(self._answer, self._fail)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Wait no more."""
        self.setTimeout(None)

    def _ask(self, line: bytes) -> Deferred[dict[str, Any]]:
        question = json.loads(line)
        if not (isinstance(question, list) and question) or question[0] not in self._answers:
            raise ValueError(f"ask one of {', '.join(self._answers)}")
        return self._answers[question[0]]([str(each) for each in question[1:]])

    def _answer(self, status: dict[str, Any]) -> None:
        assert self.transport is not None
        self.transport.write(json.dumps(status).encode() + b"\n")
        self.transport.loseConnection()

    def _fail(self, failure: Failure) -> None:
        error = failure.value
        text = error.text if isinstance(error, SIPError) else ""
        self._answer({"error": text or failure.getErrorMessage()})


class ControlFactory(Factory):
    """Answers questions: ``status``, which makes a Deferred of what JSON can hold, and others."""

    noisy = False

    def __init__(self, status: Callable[[], Deferred[dict[str, Any]]], **others: Answer) -> None:
        self._answers: dict[str, Answer] = {"status": lambda _: status(), **others}

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol:
        """A new asker."""
        return ControlProtocol(self._answers)


def listen(reactor: IReactorUNIX, path: str, factory: ControlFactory) -> Any:
    """Open the control socket, readable by the owner alone, in place of a dead one.

    Raises SettingsError, whose text says what to do.
    """
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode) and not _answers(path):
            os.unlink(path)
        return cast(Any, reactor).listenUNIX(path, factory, mode=0o600)
    except (CannotListenError, OSError, ValueError) as error:
        raise SettingsError(_explain(path, getattr(error, "socketError", error))) from None


def _explain(path: str, cause: Exception) -> str:
    place = os.path.dirname(path) or "."
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE and _answers(path):
        what = "another simplestack has it: stop that"
    elif number == errno.EADDRINUSE:
        what = "something else is there: remove it"
    elif number == errno.ENOENT and not os.path.isdir(place):
        what = f"there is no directory {place}: create it"
    else:
        reason = getattr(cause, "strerror", None) or str(cause)
        what = f"{reason}: use a short path where this user may write"
    return f"can't make the control socket {path}: {what}, or choose another by --control"


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def ask(path: str, *question: str) -> dict[str, Any]:
    """What the server at this control socket answers, to ``status`` without a question; blocks.

    Raises OSError where nothing answers, ValueError where the answer is none.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(path)
        connection.sendall(json.dumps(question or ["status"]).encode() + b"\n")
        data = bytearray()
        while len(data) < MAX_STATUS and (part := connection.recv(65536)):
            data += part
    answer = json.loads(bytes(data))
    if not isinstance(answer, dict):
        raise ValueError("the answer is none")
    return answer
