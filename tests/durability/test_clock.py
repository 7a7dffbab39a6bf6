"""The wall clock is set while the server runs: nothing stands still, nothing is lost."""

import os
import time
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.probe import Probe
from tests.peers.running import Running

#: Gives a process a wall clock that a file sets.
_CLOCK = """
import os, time
_real, _file = time.time, os.path.join(os.path.dirname(__file__), "offset")
def _set():
    try:
        with open(_file) as file:
            return _real() + float(file.read())
    except (OSError, ValueError):
        return _real()
time.time = _set
"""


class ClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A server whose wall clock can be set."""
        self.server = Running(self.mktemp(), settings={"default_handling": "allow"})
        self.server.add_users("alice", "bob")
        self.addCleanup(self.server.stop)
        place = Path(self.mktemp()).absolute()
        place.mkdir()
        (place / "sitecustomize.py").write_text(_CLOCK)
        self.offset = place / "offset"
        paths = f"{place}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep)
        # In front of the checkout, as the server's process sees it.
        with patch.dict(os.environ, {"PYTHONPATH": paths}):
            self.server.start()

    def goes_on(self) -> None:
        """Timers fire, and what is asked for is done."""
        with Probe("alice", self.server.port) as alice, Probe("bob", self.server.port) as bob:
            self.assertEqual(bob.register().status, 200)
            response, dialog = alice.subscribe("bob")
            self.assertEqual(response.status, 200)
            alice.told(dialog, 1)
            # A NOTIFY that is not answered comes again after 500 ms (RFC 3261 §17.1.2.2).
            before = self.server.status()["transactions"]["retransmissions_sent"]
            self.assertEqual(bob.publish(note="here").status, 200)
            self.server.wait_until(
                lambda: self.server.status()["transactions"]["retransmissions_sent"] > before,
                "it is sent again",
                5.0,
            )
            alice.told(dialog, 2)
            self.assertEqual(alice.refresh(dialog, 0).status, 200)
        # What is looked at twice a second.
        self.server.command("user", "passwd", "alice@example.com", "--password", "alice-secret")
        began = time.monotonic()
        with Probe("alice", self.server.port) as alice:
            self.assertEqual(alice.register().status, 200)
        self.assertLess(time.monotonic() - began, 5.0)

    def test_set_back(self) -> None:
        """By an hour, and by a year; the log says so."""
        for seconds in (-3600, -31_536_000):
            self.offset.write_text(str(seconds))
            time.sleep(1.5)
            self.goes_on()
        self.assertEqual(self.server.said().count("the clock was set back by"), 2)
        self.assertNotIn("Traceback", self.server.said())

    def test_set_forward(self) -> None:
        """What has expired by that is over, and the rest goes on."""
        with Probe("bob", self.server.port) as bob:
            self.assertEqual(bob.register(600).status, 200)
            self.offset.write_text("3600")
            self.server.wait_until(lambda: self.server.status()["binding"] == 0, "it expires", 5.0)
            self.assertEqual(bob.bindings(), "")
        self.goes_on()
        self.assertIn("the clock was set forward by", self.server.said())
        self.assertNotIn("Traceback", self.server.said())
