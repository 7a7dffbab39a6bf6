"""What was acknowledged survives a crash of the process."""

import os
import subprocess
import sys
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from simplestack.store.sql import SQLStore
from tests.store.cluster import cluster
from tests.store.pump import Pump
from tests.store.records import binding, publication


class CrashTests(SynchronousTestCase):
    def survives(self, url: str) -> None:
        """Kill a program that commits; all that it had acknowledged is there, and whole."""
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.store.committing", url],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": ""},
            text=True,
        )
        assert program.stdout is not None
        with program:
            lines = [program.stdout.readline() for _ in range(500)]
            program.kill()
            lines += program.stdout.readlines()
        # The last line may be cut.
        acknowledged = {int(line) for line in lines if line.endswith("\n")}
        self.assertGreaterEqual(len(acknowledged), 500)

        pump = Pump()
        store = SQLStore(url, pump)
        pump.wait(store.start())
        found = set()
        for user in range(97):
            aor = f"sip:user{user}@example.com"
            records = set(pump.wait(store.load(aor)))
            for record in records:
                # A change set is there as a whole or not at all.
                self.assertIn(binding(aor, record.id), records)
                self.assertIn(publication(aor, record.id), records)
                found.add(int(record.id))
        pump.wait(store.stop())
        self.assertEqual(acknowledged - found, set())

    def test_sqlite(self) -> None:
        """So it is with SQLite."""
        self.survives(f"sqlite:///{Path(self.mktemp()).absolute()}")

    def test_postgresql(self) -> None:
        """So it is with PostgreSQL."""
        own = cluster()
        if own is None:
            raise SkipTest("PostgreSQL's server is not installed")
        self.survives(own.clear())
