"""SIGTERM, once and again: a clean end, and no traceback."""

import os
import signal

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.running import Running


class SignalTests(SynchronousTestCase):
    def ended(self, settings: dict[str, object] | None, *signals: int) -> str:
        """What a server logs whose process gets these signals; it has ended."""
        server = Running(self.mktemp(), settings=settings)
        self.addCleanup(server.stop)
        server.start()
        for number in signals:
            os.kill(server.pid, number)
        server.stop()
        said = server.said()
        self.assertNotIn("Traceback", said)
        self.assertIn("Server Shut Down", said)
        return said

    def test_again(self) -> None:
        """An impatient operator ends it as a patient one does, as option and as .tac."""
        places: tuple[dict[str, object] | None, ...] = (None, {})
        for settings in places:
            for number in (signal.SIGTERM, signal.SIGINT):
                # The other one, too, for signals of one kind may be merged.
                self.ended(settings, number, number, signal.SIGINT, signal.SIGTERM)
