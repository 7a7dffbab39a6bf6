"""The command of stone as a user gives it, and a server that it watches."""

import re
import shutil
import socket
import tempfile
import time
from io import StringIO
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from simplestack.command.main import main
from simplestack.command.stone import TOKEN
from simplestack.stone.configuration import from_values
from simplestack.stone.errors import StoneError
from simplestack.stone.running import run
from simplestack.stone.scenarios import SCENARIOS
from tests.bench.account import Account
from tests.bench.provision import create_users
from tests.bench.served import Served, twistd
from tests.ports import free_port
from tests.stone.test_runs import configuration_of


class CommandTest(SynchronousTestCase):
    def said(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status and output of a command."""
        with (
            mock.patch("sys.stdout", StringIO()) as out,
            mock.patch("sys.stderr", StringIO()) as err,
        ):
            status = main(["stone", *arguments])
        return status, out.getvalue(), err.getvalue()

    def test_users(self) -> None:
        """The users that a run needs, as ``simplestack user import`` reads them."""
        status, out, _ = self.said(
            "users",
            "--domain",
            "a.example",
            "--presentities",
            "1",
            "--watchers",
            "1",
            "--watchers-each",
            "1",
            "--first",
            "5",
        )
        self.assertEqual(
            (status, out), (0, "u000005@a.example secret-5\nu000006@a.example secret-6\n")
        )

    def test_scenarios(self) -> None:
        """Every scenario is told."""
        _, out, _ = self.said("scenarios")
        for name in SCENARIOS:
            self.assertIn(f"{name}: ", out)

    def test_mistakes(self) -> None:
        """What can't be used is one line, and status 2; what fails is one line, and status 1."""
        for arguments, status, text in (
            (["run", "--scenario", "none"], 2, "load.scenario"),
            (["compare", "a.json", "b.json"], 2, "a.json"),
            (["loader", "--controller", "127.0.0.1:1"], 2, TOKEN),
            (["run", "--watch", "nobody has this", "--no-calibrate"], 1, "server.watch"),
            (["sink", "--port", "65536"], 1, "65536"),
            (["find", "--success", "100.1"], 2, "--success"),
            (["find", "--success", "nan"], 2, "--success"),
            (["find", "--p99", "0"], 2, "--p99"),
            (["find", "--rates", "10", "20"], 2, "load.rates: find chooses"),
        ):
            got, _, error = self.said(*arguments)
            self.assertEqual(got, status, error)
            self.assertIn(text, error)
            self.assertEqual(error.count("\n"), 1)

    def test_damaged_results(self) -> None:
        """A file that is only the beginning of a result is told by its name."""
        file = self.mktemp()
        for text in ('{"format": 1}', '{"format": 1, "title": "a", "date": "b", "steps": [{}]}'):
            Path(file).write_text(text)
            for arguments in (["compare", file, file], ["report", file, self.mktemp()]):
                status, _, error = self.said(*arguments)
                self.assertEqual(status, 2, error)
                self.assertIn(file, error)


class ServerTest(SynchronousTestCase):
    """Every scenario against simplestack, with rules and digest."""

    def test_scenarios(self) -> None:
        """All of each succeeds: over UDP, then the fan-out by lists, and over TCP."""
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(lambda: shutil.rmtree(directory))
        port, xcap = free_port(), free_port()
        store = f"sqlite:///{directory}/s.db"
        create_users(
            store,
            [Account(at, f"u{at:06d}", "stone.example", f"secret-{at}") for at in range(14)],
        )
        server = Served(
            twistd(
                [
                    "simplestack", "--domain", "stone.example", "--store", store,
                    "--listen", f"udp:{port}:interface=127.0.0.1",
                    "--listen", f"tcp:{port}:interface=127.0.0.1",
                    "--xcap", f"tcp:{xcap}:interface=127.0.0.1",
                    "--notify-interval", "0",
                ]
            ),
            directory,
            port,
            None,
        )  # fmt: skip
        self.addCleanup(server.stop)
        end = time.monotonic() + 30
        while True:
            server.check()
            try:
                socket.create_connection(("127.0.0.1", xcap), 1).close()
                break
            except OSError:
                self.assertLess(time.monotonic(), end, server.said())
                time.sleep(0.05)
        # Nobody has allowed the watchers yet.
        error = self.assertRaises(StoneError, run, configuration_of(port, limit=0.5))
        self.assertIn("24 of 24 subscriptions show nothing", str(error))
        root = f"http://127.0.0.1:{xcap}/"
        for scenario in SCENARIOS:
            values = configuration_of(port, scenario=scenario).values()
            # The rules of the first stay.
            values["server"]["xcap"], root = root, ""
            values["server"]["watch"] = [str(server.process.pid)]
            (step,) = run(from_values(values))["steps"]
            self.assertEqual((step["success"], step["errors"]), (1.0, {}), scenario)
            self.assertGreater(step["server"]["cpu_per_operation"], 0)
        for transport, lists in (("udp", True), ("tcp", False)):
            values = configuration_of(port, lists=lists, rate=20.0).values()
            values["server"]["transport"] = transport
            (step,) = run(from_values(values))["steps"]
            self.assertEqual((step["success"], step["errors"]), (1.0, {}), transport)
            self.assertTrue(re.fullmatch(r"[1-9]\d*", str(step["notify"]["expected"])))
