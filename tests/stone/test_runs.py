"""Runs from end to end, with processes and sockets: against the sink, and against the server."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from simplestack import __version__
from simplestack.command.main import main
from simplestack.stone.calibration import calibrate
from simplestack.stone.child import child
from simplestack.stone.configuration import Configuration, from_values
from simplestack.stone.controller import start
from simplestack.stone.errors import InterruptedRunError, StoneError
from simplestack.stone.joining import serve
from simplestack.stone.progress import Progress
from simplestack.stone.results import lines_of
from simplestack.stone.running import run
from simplestack.stone.sink import running_sink
from simplestack.stone.surroundings import address_of
from simplestack.stone.tally import REGISTER
from simplestack.stone.worker import Worker
from tests.stone.recorder import Recorder

_SMALL: dict[str, Any] = {
    "presentities": 8,
    "watchers": 6,
    "watchers_each": 3.0,
    "rate": 40.0,
    "warm": 0.1,
    "length": 0.4,
    "outage": 0.4,
    "limit": 8.0,
}


def configuration_of(port: int, **load: Any) -> Configuration:
    """A small run."""
    return from_values(
        {
            "server": {"port": port, "domain": "stone.example"},
            "load": {**_SMALL, **load},
            "generator": {"calibrate": False},
        }
    )


class SinkTest(SynchronousTestCase):
    """What needs no server that is any good."""

    def test_fan_out(self) -> None:
        """Two loaders and two handlers do what was asked for, and all is told."""
        with running_sink("udp", True) as port:
            values = configuration_of(port, rates=[30.0, 60.0], refresh=0.5).values()
            values["generator"] |= {"loaders": 2, "handlers": 2}
            values["server"]["watch"] = [str(os.getpid())]
            result = run(from_values(values))
        self.assertEqual([step["rate"] for step in result["steps"]], [30.0, 60.0])
        first, second = result["steps"]
        for step in (first, second):
            self.assertEqual((step["success"], step["errors"]), (1.0, {}))
            self.assertEqual(
                step["notify"]["expected"], step["operations"]["publish"]["started"] * 3
            )
            self.assertEqual(len(step["generator"]["busy"]), 4)
            self.assertIsNotNone(step["server"])
        self.assertEqual(second["operations"]["publish"]["started"], 12)
        self.assertEqual(second["operations"]["refresh"]["started"], 12)
        self.assertEqual(result["subscriptions"], 24)
        json.dumps(result)
        self.assertNotIn("secret", json.dumps(result))

    def test_over_tcp(self) -> None:
        """A connection for each user, and a new one for each after the outage."""
        with running_sink("tcp", False) as port:
            values = configuration_of(port, scenario="refresh-storm", connections=0).values()
            values["server"]["transport"] = "tcp"
            values["users"]["digest"] = False
            (step,) = run(from_values(values))["steps"]
        self.assertEqual((step["success"], step["errors"]), (1.0, {}))
        started = {kind: each["started"] for kind, each in step["operations"].items()}
        self.assertEqual(started, {"register": 8, "publish": 8, "subscribe": 24})

    def test_calibration(self) -> None:
        """The generator says what it can do."""
        made = calibrate(configuration_of(1, rate=2000.0))
        self.assertGreater(made["messages_per_core"], 1000)
        self.assertGreater(made["capacity"], 40)

    def test_calibration_at_too_high_a_rate(self) -> None:
        """Where the sink does not keep the rate that was asked for, a lower one says what it keeps."""
        made = calibrate(configuration_of(1, rate=500_000.0))
        self.assertLess(made["rate"], 500_000)
        self.assertLessEqual(made["capacity"], 500_000)

    def test_find(self) -> None:
        """The search runs on one preparation; its knee is in the result, and a page is written."""
        directory = Path(tempfile.mkdtemp(dir=self.mktemp_directory()))
        with running_sink("udp", False) as port, mock.patch("sys.stdout", StringIO()) as said:
            status = main(
                [
                    "stone", "find", "--port", str(port), "--no-calibrate", "--scenario", "register",
                    "--presentities", "4", "--warm", "0", "--length", "0.1", "--limit", "0.3",
                    "--rate", "3000", "--p99", "0.0000001",
                    "--json", str(directory / "a.json"), "--html", str(directory / "a.html"),
                ]
            )  # fmt: skip
        self.assertEqual(status, 0)
        self.assertIn("knee: 0/s is borne", said.getvalue())
        result = json.loads((directory / "a.json").read_text())
        self.assertEqual(result["knee"]["rate"], 0)
        self.assertIn("<svg", (directory / "a.html").read_text())

    def mktemp_directory(self) -> str:
        """A directory of this test."""
        made: str = self.mktemp()
        Path(made).mkdir(parents=True)
        return made

    def test_from_elsewhere(self) -> None:
        """Loaders and handlers come with the token; who has another is sent away."""
        refused: list[str] = []

        def join(role: str, address: str, token: str) -> None:
            try:
                serve(role, address, token)
            except StoneError as error:
                refused.append(str(error))

        threads: list[threading.Thread] = []

        def waiting(address: str, token: str) -> None:
            for role, known in (("loader", "wrong"), ("loader", token), ("handler", token)):
                threads.append(threading.Thread(target=join, args=(role, address, known)))
                threads[-1].start()
                time.sleep(0.1)

        with running_sink("udp", False) as port:
            values = configuration_of(port).values()
            values["generator"] |= {"remote": True, "token": "let me in"}
            result = run(from_values(values), waiting=waiting)
        for thread in threads:
            thread.join(5)
        self.assertEqual(result["steps"][0]["success"], 1.0)
        self.assertEqual(refused, ["the controller refuses: the token is another"])

    def test_subscriptions_begin_anew(self) -> None:
        """Each step of the scenario subscribe has all pairs of watcher and presentity again."""
        with running_sink("udp", False) as port:
            load = {"scenario": "subscribe", "rates": [40.0, 40.0, 40.0]}
            result = run(configuration_of(port, **load))
        for step in result["steps"]:
            self.assertEqual((step["success"], step["errors"]), (1.0, {}))
            self.assertEqual(step["operations"]["subscribe"]["started"], 16)

    def test_interrupted(self) -> None:
        """After Ctrl-C the steps that were over are kept, and the status is 1."""
        directory = Path(self.mktemp_directory())

        def interrupt(progress: Progress, lines: list[str]) -> None:
            said.append(lines)
            raise KeyboardInterrupt

        said: list[list[str]] = []
        with (
            running_sink("udp", False) as port,
            mock.patch.object(Progress, "say", interrupt),
            mock.patch("sys.stdout", StringIO()),
            mock.patch("sys.stderr", StringIO()) as error,
        ):
            status = main(
                [
                    "stone", "run", "--port", str(port), "--no-calibrate", "--scenario", "register",
                    "--warm", "0", "--length", "0.2", "--rates", "20", "30",
                    "--json", str(directory / "a.json"),
                ]
            )  # fmt: skip
        self.assertEqual((status, error.getvalue()), (1, "simplestack stone run: interrupted\n"))
        self.assertEqual(len(said), 1)
        steps = json.loads((directory / "a.json").read_text())["steps"]
        self.assertEqual([step["rate"] for step in steps], [20.0])

    def test_the_server_goes(self) -> None:
        """A server that answers nothing any more ends the run; the steps that were over are kept."""
        for rates, said in (
            ([40.0], "cleaning up: "),
            ([40.0, 40.0, 40.0, 40.0], "nothing was answered"),
        ):
            with ExitStack() as held:
                port = held.enter_context(running_sink("udp", False))
                error = self.assertRaises(
                    InterruptedRunError,
                    run,
                    configuration_of(port, rates=rates, limit=0.3),
                    stepped=lambda step, sink=held: sink.close(),
                )
            self.assertIn(said, str(error))
            # One that is silent may be late, two are not.
            self.assertEqual(len(error.result["steps"]), min(len(rates), 3))

    def test_a_watched_process_ends(self) -> None:
        """The CPU of a process that is there no more is no result."""

        def end(step: dict[str, Any]) -> None:
            watched.kill()
            watched.wait()

        with running_sink("udp", False) as port, subprocess.Popen(["sleep", "60"]) as watched:
            values = configuration_of(port, rates=[40.0, 40.0]).values()
            values["server"]["watch"] = [str(watched.pid)]
            error = self.assertRaises(
                InterruptedRunError,
                run,
                from_values(values),
                stepped=end,
            )
        self.assertEqual(str(error), f"server.watch: {watched.pid} has ended")
        self.assertEqual(len(error.result["steps"]), 1)

    def test_the_controller_of_a_sink_is_killed(self) -> None:
        """The sink ends with the process that has started it, however that ended."""
        program = (
            "import os; from simplestack.stone.sink import running_sink\n"
            "with running_sink('udp', False) as port: print(port, flush=True); os._exit(0)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
        ) as made:
            assert made.stdout is not None
            said = made.stdout.readline()
        end = time.monotonic() + 10
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as place:
                try:
                    place.bind(("127.0.0.1", int(said)))
                    break
                except OSError:
                    self.assertLess(time.monotonic(), end)

    def test_strangers(self) -> None:
        """Who says something else to the controller is sent away; who has gone is missed at once."""

        def waiting(address: str, token: str) -> None:
            for line in (
                b"[1]",
                b"1",
                b"GET / HTTP/1.0",
                b'{"hello": ["loader"]}',
                b'{"hello": "loader", "token": "\\ud800"}',
                b"[" * 4000,
                b"x" * 5000,
                json.dumps({"hello": "loader", "token": token, "version": "0.0"}).encode(),
            ):
                place.append(socket.create_connection(address_of(address)))
                place[-1].sendall(line + b"\n")
            known = {"hello": "loader", "token": token, "version": __version__}
            hello = json.dumps(known).encode()
            with socket.create_connection(address_of(address)) as gone:
                gone.sendall(hello + b"\n")

        place: list[socket.socket] = []
        values = configuration_of(1).values()
        values["generator"]["remote"] = True
        error = self.assertRaises(StoneError, run, from_values(values), waiting=waiting)
        self.assertEqual(str(error), "a loader at 127.0.0.1 has ended")
        for each in place:
            self.assertIn(b"refused", each.recv(1000))
            each.close()

    def test_late_comers(self) -> None:
        """Who is one too many is told so, and so is who says nothing; then nobody is let in."""
        said: list[str] = []
        silent: list[socket.socket] = []

        def join(role: str, address: str, token: str) -> None:
            try:
                serve(role, address, token)
            except StoneError as error:
                said.append(str(error))

        threads: list[threading.Thread] = []

        def waiting(address: str, token: str) -> None:
            silent.append(socket.create_connection(address_of(address)))
            for role in ("loader", "loader", "handler"):
                threads.append(threading.Thread(target=join, args=(role, address, token)))
                threads[-1].start()
                time.sleep(0.1)
            places.append(address)

        places: list[str] = []
        closed: list[bool] = []

        def stepped(step: dict[str, Any]) -> None:
            try:
                socket.create_connection(address_of(places[0]), 1).close()
            except ConnectionRefusedError:
                closed.append(True)

        with running_sink("udp", False) as port:
            values = configuration_of(port).values()
            values["generator"]["remote"] = True
            run(from_values(values), waiting=waiting, stepped=stepped)
        for thread in threads:
            thread.join(5)
        self.assertEqual(said, ["the controller refuses: there are enough already"])
        self.assertIn(b"there are enough already", silent[0].recv(1000))
        silent[0].close()
        self.assertEqual(closed, [True])

    def test_a_loader_hangs(self) -> None:
        """One that says nothing any more ends the run; the others take back what is theirs."""
        made: list[subprocess.Popen[bytes]] = []

        def waiting(address: str, token: str) -> None:
            made.extend(start(role, address, token) for role in ("loader", "handler"))

        def stepped(step: dict[str, Any]) -> None:
            os.kill(made[0].pid, signal.SIGSTOP)

        with (
            Recorder() as recorder,
            mock.patch("simplestack.stone.controller._SILENCE", 1.0),
        ):
            values = configuration_of(recorder.port, rates=[40.0, 40.0]).values()
            values["generator"]["remote"] = True
            error = self.assertRaises(
                InterruptedRunError, run, from_values(values), waiting=waiting, stepped=stepped
            )
            for process in made:
                process.kill()
                process.wait()
        self.assertIn("a loader at 127.0.0.1 has said nothing for 1 s", str(error))
        self.assertIn("what that loader has left at the server stays until it expires", str(error))
        self.assertEqual(len(error.result["steps"]), 1)
        self.assertEqual(recorder.taken_back["SUBSCRIBE"], 24)

    def test_terminated(self) -> None:
        """After SIGTERM in a step the result is written, marked, and the server is left clean."""
        directory = Path(self.mktemp_directory())

        def say(progress: Progress, lines: list[str]) -> None:
            threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGTERM)).start()

        with (
            Recorder() as recorder,
            mock.patch.object(Progress, "say", say),
            mock.patch("sys.stdout", StringIO()) as out,
            mock.patch("sys.stderr", StringIO()) as error,
        ):
            status = main(
                [
                    "stone", "run", "--port", str(recorder.port), "--no-calibrate",
                    "--scenario", "mixed-day", "--warm", "0", "--length", "0.2",
                    "--presentities", "20", "--watchers", "20", "--watchers-each", "2",
                    "--rates", "20", "30", "--length", "2",
                    "--json", str(directory / "a.json"), "--html", str(directory / "a.html"),
                ]
            )  # fmt: skip
        self.assertEqual((status, error.getvalue()), (1, "simplestack stone run: interrupted\n"))
        self.assertIn("cut short", out.getvalue())
        result = json.loads((directory / "a.json").read_text())
        self.assertEqual([step["rate"] for step in result["steps"]], [20.0])
        self.assertEqual(result["interrupted"], "interrupted")
        self.assertIn("cut short", (directory / "a.html").read_text())
        self.assertEqual(recorder.left(), {"REGISTER": 0, "PUBLISH": 0, "SUBSCRIBE": 0})

    def test_refused_in_preparing(self) -> None:
        """A run that can't be measured takes back what it has published all the same."""
        with Recorder(refused=b"SUBSCRIBE") as recorder:
            error = self.assertRaises(StoneError, run, configuration_of(recorder.port, limit=0.5))
        self.assertIn("24 of 24 subscribe failed", str(error))
        self.assertEqual(recorder.left()["PUBLISH"], 0)
        self.assertEqual(recorder.taken_back["PUBLISH"], 8)

    def test_after_a_step_that_was_too_much(self) -> None:
        """The next step begins when all is answered, with everybody there: it is not the worse for it."""
        with Recorder() as recorder:

            def stepped(step: dict[str, Any]) -> None:
                recorder.delay = next(delays)

            delays = iter((1.0, 0.0, 0.0))

            load = {"rates": [20.0, 20.0, 20.0], "limit": 0.5, "presentities": 40, "watchers": 40}
            result = run(configuration_of(recorder.port, **load), stepped=stepped)
        first, second, third = result["steps"]
        self.assertEqual((first["success"], third["success"]), (1.0, 1.0))
        self.assertEqual(second["operations"]["publish"]["succeeded"], 0)
        self.assertEqual(recorder.publications, 40)

    def test_all_wait_at_the_end(self) -> None:
        """What is due near the end has the limit to find somebody free, as what was due before."""
        with Recorder() as recorder:
            recorder.delay = 0.1
            load = {"scenario": "register", "presentities": 4, "rate": 60.0, "warm": 0.0}
            (step,) = run(configuration_of(recorder.port, **load))["steps"]
        self.assertEqual((step["success"], step["errors"]), (1.0, {}))
        self.assertEqual(step["operations"]["register"]["succeeded"], 24)
        self.assertLess(step["operations_per_second"], 50)

    def test_nobody_is_free(self) -> None:
        """Where all users wait for longer than the limit, it is said that more may be needed."""
        with Recorder() as recorder:
            recorder.delay = 0.1
            load = {"scenario": "register", "presentities": 4, "rate": 200.0, "limit": 0.3}
            (step,) = run(configuration_of(recorder.port, **load))["steps"]
        self.assertIn("register: nobody was free to do it", step["errors"])
        self.assertIn("more load.presentities", "\n".join(lines_of(step)))

    def test_behind_at_the_end(self) -> None:
        """What is due in a moment when the process had no time for it is begun, however much that is."""
        with running_sink("udp", False) as port:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                worker = Worker("loader", ours, "token")
                values = configuration_of(port, scenario="register", presentities=200).values()
                common = {"index": 0, "of": 1, "number": 0, "offset": 0.0, "run": "abcdef"}
                worker._configure({"configure": values, **common})
                step = worker._step(
                    {
                        "at": time.monotonic() - 0.5,
                        "offset": 0.0,
                        "warm": 0.0,
                        "length": 0.1,
                        "outage": False,
                        "mix": {REGISTER: 1500.0},
                    }
                )
        self.assertEqual(step["tally"]["errors"], {})
        self.assertEqual(step["tally"]["succeeded"]["register"], 150)

    def test_ctrl_c_is_for_the_controller(self) -> None:
        """A terminal's Ctrl-C does not reach the processes of a run, which tell nothing then."""
        made = child("import sys; sys.stdin.read()", [])
        self.assertEqual(os.getpgid(made.pid), made.pid)
        made.communicate()

    def test_nobody_answers(self) -> None:
        """A server that is not there ends the run in one line, with what was tried."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind(("127.0.0.1", 0))
            silent = configuration_of(made.getsockname()[1], scenario="register", limit=0.3)
            error = self.assertRaises(StoneError, run, silent)
        self.assertIn("8 of 8 register failed: 8 × REGISTER: no answer", str(error))
        with socket.create_server(("127.0.0.1", 0)) as made:
            values = configuration_of(
                made.getsockname()[1], scenario="register", limit=0.3
            ).values()
            values["server"]["transport"] = "tls"
            error = self.assertRaises(StoneError, run, from_values(values))
        self.assertIn("no answer (the TLS handshake is not over)", str(error))
