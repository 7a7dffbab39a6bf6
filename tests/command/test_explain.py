"""``simplestack explain``, with a server and without one."""

import contextlib
import io
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simplestack.command.explain import lines, run
from simplestack.store.credentials import CredentialTable
from tests.peers.probe import Probe
from tests.peers.running import DOMAIN, Running


class ExplainTests(SynchronousTestCase):
    def explain(self, store: str, *more: str) -> tuple[int, str, str]:
        """The exit status, and what is said."""
        said, errors = io.StringIO(), io.StringIO()
        arguments = ["explain", "--store", store, "--control", "nowhere", *more]
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors):
            status = run(arguments)
        return status, said.getvalue(), errors.getvalue()

    def test_running(self) -> None:
        """The server is asked; when it is gone the store tells the same."""
        server = Running(self.mktemp())
        self.addCleanup(server.stop)
        server.start()
        server.add_users("alice", "bob")
        who = ["--watcher", f"bob@{DOMAIN}", "--presentity", f"alice@{DOMAIN}"]
        with Probe("alice", server.port) as alice:
            self.assertEqual(alice.publish().status, 200)
        done = server.command("explain", *who)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("confirm", done.stdout.splitlines()[0])
        self.assertIn("no rules", done.stdout)
        self.assertIn("publication", done.stdout)
        self.assertIn("no subscription of this watcher", done.stdout)
        missing = ["--watcher", f"bob@{DOMAIN}", "--presentity", f"nobody@{DOMAIN}"]
        done = server.command("explain", *missing)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("no user", done.stderr)
        server.stop()
        status, said, errors = self.explain(server.store_url, *who, "--json")
        self.assertEqual((status, errors), (0, ""))
        found: dict[str, Any] = json.loads(said)
        self.assertEqual(found["handling"], "confirm")
        self.assertNotIn("subscriptions", found)

    def test_settings(self) -> None:
        """Without a server the settings are those of the arguments; bad ones end with 2."""
        store = f"sqlite:///{self.mktemp()}.db"
        CredentialTable(store)  # makes it
        who = ["--presentity", f"alice@{DOMAIN}", "--watcher"]
        for watcher, handling in (
            (f"bob@{DOMAIN}", "allow"),
            ("tel:+49-30-123", "allow"),
            ("anonymous", "block"),
        ):
            arguments = [*who, watcher, "--default-handling", "allow"]
            status, said, _ = self.explain(store, *arguments)
            self.assertEqual(status, 0)
            self.assertTrue(said.splitlines()[0].endswith(f": {handling}"), said)
        status, _, errors = self.explain(store, *who, "anonymous", "--composition", "moon")
        self.assertEqual(status, 2)
        self.assertIn("moon", errors)
        error = self.assertRaises(SystemExit, self.explain, store, *who, "tel:x y")
        self.assertEqual(error.code, 2)

    def test_lines(self) -> None:
        """A subscription is told with what it asks for."""
        found: dict[str, Any] = {
            **dict.fromkeys(("handling", "because", "sphere", "policy", "document"), "x"),
            **dict.fromkeys(("rules", "sources", "parts"), ()),
            "watcher": "",
            "presentity": "sip:alice@example.com",
            "subscriptions": [
                {
                    **dict.fromkeys(("subscription", "status", "because"), "y"),
                    "expires_in": 9,
                    "notifications": 3,
                    "wishes": ["partial documents", "max-rate=1"],
                }
            ],
        }
        self.assertEqual(lines(found)[-1], "  it asks for partial documents, max-rate=1")
