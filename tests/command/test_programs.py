"""The commands as programs of their own: the README, signals, and what else only they show."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

from twisted.trial.unittest import SynchronousTestCase

from simplestack.command.arguments import PASSWORD
from tests.peers.running import DOMAIN, ROOT, Running, environment
from tests.ports import free_port

#: Whoever runs the tests in the background may have SIGINT ignored, which programs inherit.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from simplestack.command.main import main
sys.exit(main())
"""


class Program:
    """A command that runs as a process."""

    def __init__(self, directory: Path, *arguments: str, password: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=directory,
            env=environment() | ({PASSWORD: password} if password else {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def line(self) -> str:
        """Its next line; a program that says nothing for long is killed, and the line empty."""
        assert self.process.stdout is not None
        patience = Timer(20, self.process.kill)
        patience.start()
        self.lines.append(self.process.stdout.readline().rstrip("\n"))
        patience.cancel()
        return self.lines[-1]

    def end(self, *signals: int) -> tuple[int, str]:
        """Send signals; the exit status and stderr."""
        for number in signals:
            self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors

    def clean(self) -> None:
        """Whatever happens it does not outlive the test."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class ProgramTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A server with alice and bob."""
        self.server = Running(self.mktemp())
        self.addCleanup(self.server.stop)
        self.server.start()
        self.server.add_users("alice", "bob")

    def program(self, name: str, user: str, *arguments: str, password: str = "") -> Program:
        """Run a command as a user; the password comes by the environment."""
        where = ("--server", f"127.0.0.1:{self.server.port}")
        if name in ("allow", "block", "polite-block"):
            where = ("--xcap-root", f"http://127.0.0.1:{self.server.xcap_port}")
        run = Program(
            self.server.directory,
            name,
            *arguments,
            *where,
            "--as",
            f"{user}@{DOMAIN}",
            password=password or f"{user}-secret",
        )
        self.addCleanup(run.clean)
        return run

    def test_interrupts(self) -> None:
        """SIGTERM and SIGINT remove what was published or registered, and end with 0, also when
        they come twice at once, as from a shell that signals its whole process group.
        """
        bob = f"sip:bob@{DOMAIN}"
        published, registered = self.program("publish", "bob"), self.program("register", "bob")
        self.assertTrue(published.line().startswith(f"{bob} is published"))
        self.assertTrue(registered.line().startswith(f"{bob} is registered"))
        status = self.server.status()
        self.assertEqual((status["publication"], status["binding"]), (1, 1))
        self.assertEqual(published.end(signal.SIGTERM), (0, ""))
        self.assertEqual(registered.end(signal.SIGINT, signal.SIGINT), (0, ""))
        status = self.server.status()
        self.assertEqual((status["publication"], status["binding"]), (0, 0))

    def test_restart(self) -> None:
        """A watcher outlives ``kill -9`` of the server over TCP, and sees what changed after it;
        a publisher refreshes and removes what the new process has loaded.
        """
        self.assertEqual(self.program("allow", "bob", f"alice@{DOMAIN}").end(), (0, ""))
        tcp = ("--transport", "tcp")
        published = self.program("publish", "bob", "--note", "before", *tcp)
        published.line()
        watching = self.program("watch", "alice", f"bob@{DOMAIN}", *tcp)
        self.assertIn("before", watching.line())
        self.server.kill()
        self.server.start()
        second = self.program("publish", "bob", "--note", "after", *tcp)
        self.assertIn("after", watching.line())
        # The newest publication is the one that tells of the person; then the other does again.
        self.assertEqual(second.end(signal.SIGTERM), (0, ""))
        self.assertIn("before", watching.line())
        self.assertEqual(published.end(signal.SIGTERM), (0, ""))
        self.assertIn("closed", watching.line())
        status, errors = watching.end(signal.SIGTERM)
        self.assertEqual(status, 0)
        self.assertNotIn("Traceback", errors)
        self.assertEqual(self.server.status()["subscription"], 0)

    def test_reader_goes_away(self) -> None:
        """``simplestack watch | head -1`` ends without a word, though there is no more to say."""
        self.assertEqual(self.program("allow", "bob", f"alice@{DOMAIN}").end(), (0, ""))
        watching = self.program("watch", "alice", f"bob@{DOMAIN}")
        watching.line()
        assert watching.process.stdout is not None
        watching.process.stdout.close()
        watching.process.stdout = None
        self.assertEqual(watching.end(), (141, ""))

    def test_nobody_reads_the_help(self) -> None:
        """Nor does a command that has nothing to wait for, whether its output is buffered or not."""
        for unbuffered in ("", "1"):
            for arguments in (["--help"], ["user", "--help"], ["user", "list"], ["status"]):
                reader, writer = os.pipe()
                os.close(reader)
                done = subprocess.run(
                    [sys.executable, "-c", PROGRAM, *arguments],
                    cwd=self.server.directory,
                    env=environment() | {"PYTHONUNBUFFERED": unbuffered},
                    stdout=writer,
                    stderr=subprocess.PIPE,
                    text=True,
                    timeout=20,
                    check=False,
                )
                os.close(writer)
                self.assertEqual(done.stderr, "", arguments)
                # argparse does not mind where its help goes.
                self.assertIn(done.returncode, (0, 141) if "user" in arguments else (141,))

    def test_wrong_password(self) -> None:
        """One line, and a status of its own."""
        status, errors = self.program("watch", "alice", f"bob@{DOMAIN}", password="wrong").end()
        self.assertEqual(status, 4)
        self.assertRegex(errors, r"\Asimplestack watch: [^\n]+ \(401 Unauthorized\)\n\Z")

    def test_nobody_there(self) -> None:
        """A port on which nobody listens is told of at once over TCP; no traceback."""
        run = Program(
            self.server.directory,
            *("register", "--as", f"bob@{DOMAIN}", "--transport", "tcp"),
            *("--server", f"127.0.0.1:{free_port()}"),
            password="x",
        )
        self.addCleanup(run.clean)
        status, errors = run.end()
        self.assertEqual((status, errors.count("\n")), (3, 1))
        self.assertIn("refused", errors)


class ReadmeTests(SynchronousTestCase):
    def test_walk(self) -> None:
        """The commands of the README do what it says, one after the other, but for the ports."""
        text = (ROOT / "README").read_text()
        commands = re.findall(r"^    simplestack (.+)$", text, re.MULTILINE)
        self.assertEqual(
            [command.split()[0] for command in commands],
            ["user", "user", "publish", "allow", "watch"],
        )
        server = Running(self.mktemp())
        self.addCleanup(server.stop)
        server.start()
        programs = []
        for command in commands:
            words = re.findall(r'"[^"]*"|\S+', command.replace("localhost", DOMAIN).rstrip(" &"))
            given = [word.strip('"') for word in words]
            if given[0] == "allow":
                given += ["--xcap-root", f"http://127.0.0.1:{server.xcap_port}/"]
            elif given[0] != "user":
                given += ["--server", f"127.0.0.1:{server.port}"]
            if given[0] == "watch":
                given += ["--count", "1"]
            program = Program(server.directory, *given)
            self.addCleanup(program.clean)
            self.assertNotEqual(program.line(), "")
            programs.append(program)
        self.assertRegex(
            programs[-1].lines[0],
            r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  sip:bob@\S+  open  on-the-phone  "until four"$',
        )
        self.assertEqual(programs[-1].end(), (0, ""))
        self.assertEqual(programs[2].end(signal.SIGTERM), (0, ""))
        started = time.monotonic()
        server.stop()
        self.assertLess(time.monotonic() - started, 10)
