"""Mistakes at the command line: one line that says what to do, another status than 0, no traceback."""

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from simplestack import __version__
from simplestack.client.errors import ClientError
from simplestack.command.arguments import PASSWORD
from simplestack.command.xcap import _editor
from tests.command.test_programs import PROGRAM
from tests.peers.running import environment

_ALICE = ("--as", "alice@localhost", "--password", "x", "--server", "127.0.0.1:9")


class MistakeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """An empty directory."""
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def run_command(
        self, *arguments: str, given: bytes = b"", shell: str = '"$@"'
    ) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of ``simplestack``."""
        known = {name: value for name, value in environment().items() if name != PASSWORD}
        done = subprocess.run(
            ["sh", "-c", shell, "sh", sys.executable, "-c", PROGRAM, *arguments],
            cwd=self.directory,
            env=known | {"PYTHONIOENCODING": "utf-8:strict"},
            input=given,
            capture_output=True,
            timeout=30,
            check=False,
        )
        errors = done.stderr.decode()
        self.assertNotIn("Traceback", errors)
        self.assertLessEqual(errors.count("\n"), 1, errors)
        return done.returncode, done.stdout.decode(), errors

    def refused(self, status: int, words: str, *arguments: str, given: bytes = b"") -> None:
        """It ends so, with one line that has these words."""
        ended, _, errors = self.run_command(*arguments, given=given)
        self.assertEqual(ended, status, errors)
        self.assertTrue(errors.startswith("simplestack "), errors)
        self.assertIn(words, errors)

    def test_version(self) -> None:
        """``simplestack --version`` says it as ``twistd simplestack --version`` does."""
        self.assertEqual(self.run_command("--version")[:2], (0, f"simplestack {__version__}\n"))

    def test_wrong_directory(self) -> None:
        """Where there is no database, none is made to find nobody in it."""
        for arguments in (
            ("user", "list"),
            ("user", "remove", "alice@localhost"),
            ("user", "passwd", "alice@localhost", "--password", "x"),
            ("explain", "--watcher", "alice@localhost", "--presentity", "bob@localhost"),
        ):
            self.refused(2, "there is no database", *arguments)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_new_database(self) -> None:
        """A database that is made for the first user is told of, and only then."""
        status, _, errors = self.run_command("user", "add", "alice@localhost", "--password", "x")
        self.assertEqual(status, 0)
        self.assertIn("made the database", errors)
        self.assertEqual(
            self.run_command("user", "add", "bob@localhost", "--password", "x"),
            (0, "bob@localhost added\n", ""),
        )

    def test_passwords(self) -> None:
        """Passwords that can't be read."""
        (self.directory / "simplestack.db").touch()
        self.refused(2, "not UTF-8", "user", "add", "alice@localhost", given=b"p\xff\n")
        self.refused(2, "not UTF-8", "user", "import", "-", given=b"a@localhost p\xff\n")
        self.refused(2, "no password", "watch", "bob@localhost", *_ALICE[:2], given=b"p\xff\n")
        self.refused(2, "none.txt can't be read: No such file", "user", "import", "none.txt")

    def test_names(self) -> None:
        """A list that can't have an address, and an address that is none, before anything is sent."""
        for name in ("", "my friends", "freünde", 'a"b'):
            self.refused(2, "a list can't be called", "buddies", "list", "--list", name, *_ALICE)
        self.refused(2, "is not a URI", "publish", "--contact", "at home", *_ALICE)

    def test_editor(self) -> None:
        """Without a terminal no editor is begun that wants one; one that is not there is named."""
        file = self.directory / "document.xml"
        self.patch(sys, "stdin", StringIO())
        for set_to, words in (
            ({}, "there is no terminal"),
            ({"EDITOR": "/no/editor"}, "'/no/editor' can't be run: No such file or directory"),
        ):
            self.patch(os, "environ", set_to)
            error = self.assertRaises(ClientError, _editor, file)
            self.assertIn(words, str(error))

    def test_closed_streams(self) -> None:
        """A caller, such as cron, may have closed stdin, stdout or stderr."""
        (self.directory / "simplestack.db").touch()
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            status, _, errors = self.run_command("user", "list", shell=f'"$@" {closed}')
            self.assertEqual((status, errors), (0, ""), closed)
        status, _, errors = self.run_command("user", "add", "a@localhost", shell='"$@" <&-')
        self.assertEqual(status, 2)
        self.assertIn("the password is empty", errors)

    def test_full_disk(self) -> None:
        """What can't be written is an error, not a success."""
        if not os.path.exists("/dev/full"):
            return
        status, _, errors = self.run_command("--help", shell='"$@" >/dev/full')
        self.assertEqual(status, 1)
        self.assertIn("No space left on device", errors)
