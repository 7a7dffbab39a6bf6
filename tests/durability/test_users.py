"""``simplestack user`` while the server runs: effective within a second."""

import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.probe import Probe
from tests.peers.running import DOMAIN, Running


class UserTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A server that knows nobody."""
        self.server = Running(self.mktemp())
        self.addCleanup(self.server.stop)
        self.server.start()

    def user(self, action: str, *arguments: str) -> str:
        """Run ``simplestack user``."""
        done = self.server.command("user", action, *arguments)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.changed = time.monotonic()
        return done.stdout

    def status(self, password: str) -> int:
        """What REGISTER by alice with this password gets."""
        with Probe("alice", self.server.port, password=password) as alice:
            return alice.register().status

    def becomes(self, password: str, status: int) -> None:
        """Within a second of the last change, REGISTER with the password gets the status."""
        while self.status(password) != status:
            self.assertLess(time.monotonic(), self.changed + 1.0)
            time.sleep(0.05)

    def test_while_it_runs(self) -> None:
        """A user is added, gets another password, and is removed."""
        alice = f"alice@{DOMAIN}"
        self.assertEqual(self.status("first"), 401)
        self.assertEqual(self.user("add", alice, "--password", "first"), f"{alice} added\n")
        self.becomes("first", 200)
        self.user("passwd", alice, "--password", "second")
        self.becomes("second", 200)
        self.becomes("first", 401)
        self.assertEqual(self.user("list"), f"{alice}\n")
        self.user("remove", alice)
        self.becomes("second", 401)
        self.assertEqual(self.user("list"), "")

    def test_domain_of_nobody(self) -> None:
        """A user of a domain that the server does not serve is made, and that is said."""
        done = self.server.command("user", "add", "alice@elsewhere.org", "--password", "x")
        self.assertEqual((done.returncode, done.stdout), (0, "alice@elsewhere.org added\n"))
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(f"serves {DOMAIN} and not elsewhere.org", done.stderr)
        self.assertIn("--domain elsewhere.org", done.stderr)
        self.server.stop()
        # Nothing is known of a server that does not run.
        self.user("add", "bob@elsewhere.org", "--password", "x")

    def test_old_nonce(self) -> None:
        """A removed user's client that goes on with the nonce it has is refused as well."""
        self.user("add", f"alice@{DOMAIN}", "--password", "first")
        with Probe("alice", self.server.port, password="first") as alice:
            self.assertEqual(alice.register().status, 200)
            self.user("remove", f"alice@{DOMAIN}")
            while alice.register().status == 200:
                self.assertLess(time.monotonic(), self.changed + 1.0)
            self.assertEqual(alice.publish().status, 401)

    def test_mistakes(self) -> None:
        """Each mistake is one line on stderr and exit status 2."""
        self.user("add", f"alice@{DOMAIN}", "--password", "first")
        for arguments, words in (
            (("add", f"alice@{DOMAIN}", "--password", "x"), "exists"),
            (("add", "alice", "--password", "x"), "alice@example.com"),
            (("add", f"bob@{DOMAIN}"), "password is empty"),
            (("passwd", f"bob@{DOMAIN}", "--password", "x"), "no user"),
            (("remove", f"bob@{DOMAIN}"), "no user"),
            (("list", "--store", "mysql://x"), "sqlite:///"),
            (("list", "--store", "sqlite:////nowhere/x.db"), "/nowhere"),
        ):
            done = self.server.command("user", *arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertIn(words, done.stderr)

    def test_many_at_once(self) -> None:
        """A file of users and passwords is taken as a whole; one wrong line changes nothing."""
        path = Path(self.mktemp()).resolve()
        path.write_text(f"alice@{DOMAIN} first\n\nbob@{DOMAIN} second\n")
        self.assertEqual(self.user("import", str(path)), "2 users added or changed\n")
        self.becomes("first", 200)
        path.write_text(f"alice@{DOMAIN} other\nbob@{DOMAIN}\n")
        done = self.server.command("user", "import", str(path))
        self.assertEqual(done.returncode, 2)
        self.assertIn("line 2 has no password", done.stderr)
        self.assertEqual(self.status("first"), 200)
