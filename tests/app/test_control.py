"""The control socket that ``simplestack status`` asks."""

import os
import socket
import stat
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from simplestack.app.control import ControlFactory, ask, listen
from simplestack.app.settings import SettingsError
from tests.asynchronous import asynchronous

reactor: Any = installed


class ControlTests(TestCase):
    timeout = 20

    def setUp(self) -> None:
        """A short path: those of UNIX sockets have at most a hundred octets."""
        self.path = f"c{os.getpid()}.s"

    def listen(self, status: dict[str, Any] | Exception) -> Any:
        """Serve this status, or fail with this."""

        def answer() -> "Deferred[dict[str, Any]]":
            return fail(status) if isinstance(status, Exception) else succeed(status)

        port = listen(reactor, self.path, ControlFactory(answer))
        self.addCleanup(port.stopListening)
        return port

    @asynchronous
    async def test_answer(self) -> None:
        """Who asks gets the status, and the socket is the owner's alone."""
        self.listen({"bindings": 3, "roles": ["registrar"]})
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        status = await deferToThread(ask, self.path)
        self.assertEqual(status, {"bindings": 3, "roles": ["registrar"]})

    @asynchronous
    async def test_failure(self) -> None:
        """A status that can't be had is told as such, without a traceback."""
        self.listen(OSError("the database is away"))
        status = await deferToThread(ask, self.path)
        self.assertEqual(status, {"error": "the database is away"})

    def test_nobody(self) -> None:
        """Where nobody answers ``ask`` raises OSError."""
        self.assertRaises(OSError, ask, self.path)

    @asynchronous
    async def test_dead_socket(self) -> None:
        """What a killed process left behind is replaced."""
        dead = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        dead.bind(self.path)
        dead.close()
        self.listen({"alive": True})
        self.assertEqual(await deferToThread(ask, self.path), {"alive": True})

    @asynchronous
    async def test_second_server(self) -> None:
        """The socket of a living server is left alone, and so is a file that is none."""
        self.listen({"first": True})
        self.assertRaises(SettingsError, self.listen, {})
        self.assertEqual(await deferToThread(ask, self.path), {"first": True})
        self.path = "file"
        with open(self.path, "w") as file:
            file.write("mine")
        self.assertRaises(SettingsError, self.listen, {})
        with open(self.path) as file:
            self.assertEqual(file.read(), "mine")
