"""The display on a terminal."""

from io import StringIO
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from simplestack.stone.controller import Controller
from simplestack.stone.progress import Progress


class _Terminal(StringIO):
    def isatty(self) -> bool:
        """It is one."""
        return True


def controller_of(**progress: int) -> Controller:
    """A controller in the middle of a run."""
    made: Any = SimpleNamespace(
        stage="fan-out at 5 per second", peers=[SimpleNamespace(progress=progress)]
    )
    return cast(Controller, made)


class ProgressTest(SynchronousTestCase):
    def test_terminal(self) -> None:
        """The stage, and the rate of messages over the last second."""
        stream = _Terminal()
        with (
            mock.patch("time.monotonic", side_effect=[100.0, 100.1, 102.0]),
            Progress([], stream) as progress,
        ):
            for messages in (0, 10, 2000):
                progress.tick(controller_of(messages=messages, succeeded=7, started=9))
        self.assertIn("fan-out at 5 per second", stream.getvalue())
        self.assertIn("1,000 messages/s", stream.getvalue())
        self.assertIn("7 of 9 operations", stream.getvalue())

    def test_no_terminal(self) -> None:
        """A file gets nothing of it."""
        stream = StringIO()
        with Progress([], stream) as progress:
            progress.tick(controller_of(messages=1))
        self.assertEqual(stream.getvalue(), "")
