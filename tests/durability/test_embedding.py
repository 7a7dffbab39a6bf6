"""A stack in a program that already runs: it comes and goes, and what fails leaves nothing."""

import gc
from pathlib import Path
from typing import Any

from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from simplestack.app.settings import Settings, SettingsError
from simplestack.app.stack import Stack
from simplestack.app.tap import makeStack
from tests.ports import free_port


class EmbeddingTests(TestCase):
    def setUp(self) -> None:
        """A program that runs."""
        self.program = MultiService()
        self.program.startService()
        self.addCleanup(self.program.stopService)

    def stack(self, port: int) -> Stack:
        """A stack on a port, with a database of its own."""
        settings = Settings(
            listen=(f"udp:{port}:interface=127.0.0.1", f"tcp:{port}:interface=127.0.0.1"),
            xcap=(f"tcp:{free_port()}:interface=127.0.0.1",),
            store=f"sqlite:///{Path(self.mktemp()).absolute()}",
            control="",
        )
        return makeStack(settings, reactor=reactor)

    def test_again(self) -> Deferred[Any]:
        """A stack can be taken out, and another put in its place."""
        port = free_port()
        first, second = self.stack(port), self.stack(port)
        first.setServiceParent(self.program)
        gone: Deferred[Any] = first.disownServiceParent()

        def replace(_: object) -> None:
            second.setServiceParent(self.program)
            self.assertTrue(second.running)

        return gone.addCallback(replace)

    def test_refused(self) -> Deferred[Any]:
        """Where a port is taken the caller is told; what was opened is closed again."""
        port = free_port()
        first, second = self.stack(port), self.stack(port)
        first.setServiceParent(self.program)
        error = self.assertRaises(SettingsError, second.setServiceParent, self.program)
        self.assertIn(str(port), str(error))
        gone: Deferred[Any] = second.disownServiceParent()
        return gone

    def test_never_started(self) -> Deferred[Any]:
        """A stack that is stopped before it has started has nothing to say about it."""
        stopped = gatherResults([self.stack(free_port()).stopService()])

        def quiet(_: object) -> None:
            gc.collect()
            self.assertEqual(self.flushLoggedErrors(), [])

        return stopped.addCallback(quiet)
