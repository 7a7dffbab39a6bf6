"""The log as JSON."""

import json
from io import StringIO
from pathlib import Path

from twisted.logger import Logger, LogPublisher
from twisted.python import log
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.jsonlog import observer

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "operating" / "logging.md"


class JSONLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A logger whose events become JSON."""
        self.stream = StringIO()
        self.publisher = LogPublisher(observer(self.stream))
        self.log = Logger(namespace="simplestack.test", observer=self.publisher)

    def lines(self) -> list[dict[str, object]]:
        """What was written, parsed."""
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    def test_event(self) -> None:
        """An event is one line, with the values that its text is made of."""
        self.log.info(
            "a subscription to {aor} ends:\n{status}", aor="sip:bob@localhost", status=481
        )
        (line,) = self.lines()
        self.assertEqual(line["level"], "info")
        self.assertEqual(line["namespace"], "simplestack.test")
        self.assertEqual(line["text"], "a subscription to sip:bob@localhost ends:\n481")
        self.assertEqual((line["aor"], line["status"]), ("sip:bob@localhost", 481))
        self.assertRegex(str(line["time"]), r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00\Z")

    def test_objects(self) -> None:
        """An object is not taken apart: what it holds may be secret."""

        class Credential:
            password = "wonderland"

            def __repr__(self) -> str:
                return "<Credential>"

        self.log.info("{credential!r}", credential=Credential(), nested={"password": "wonderland"})
        (line,) = self.lines()
        self.assertEqual(line["text"], "<Credential>")
        self.assertNotIn("wonderland", self.stream.getvalue())

    def test_failure(self) -> None:
        """A fault is one line too, with its traceback."""
        try:
            raise ZeroDivisionError("nothing goes")
        except ZeroDivisionError:
            self.log.failure("it broke")
        (line,) = self.lines()
        self.assertEqual(line["level"], "critical")
        self.assertIn("ZeroDivisionError", str(line["failure"]))

    def test_legacy(self) -> None:
        """What Twisted itself says in the old way is there as well."""
        legacy = log.LogPublisher(self.publisher, self.publisher)
        legacy.msg("Port starting")
        (line,) = self.lines()
        self.assertEqual(line["text"], "Port starting")
        self.assertNotIn("isError", line)
        self.assertNotIn("message", line)

    def test_documented_name(self) -> None:
        """The name that twistd is given is the one in the documentation."""
        text = DOCUMENTATION.read_text("utf-8")
        name = text.partition("--logger=")[2].split()[0]
        self.assertIs(namedAny(name), observer)
