"""A full disk and a lost database: 503 with Retry-After, one loud line, recovery without a restart."""

from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.allowing import put_document, rules
from tests.peers.probe import Probe
from tests.peers.running import Running
from tests.store.cluster import cluster

_MEGABYTE = 1 << 20


class FailureTests(SynchronousTestCase):
    def serve(self, store: str = "sqlite:///simplestack.db") -> Running:
        """A server with two users, not started yet."""
        server = Running(self.mktemp(), settings={"default_handling": "allow"}, store=store)
        server.add_users("alice", "bob")
        self.addCleanup(server.stop)
        return server

    def probe(self, name: str, server: Running) -> Probe:
        """One user's agent."""
        probe = Probe(name, server.port)
        self.addCleanup(probe.close)
        return probe

    def recovers(self, server: Running, bob: Probe, alice: Probe, entity_tag: str) -> None:
        """All is as it was acknowledged before the failure, and goes on."""
        answers: list[int] = []

        def published() -> bool:
            response = bob.publish("open", "back again", entity_tag)
            answers.append(response.status)
            return response.status == 200

        server.wait_until(published, "bob can publish again")
        # Nothing but 503 until then: not 412, since what was acknowledged is still there.
        self.assertEqual(set(answers[:-1]) - {503}, set())
        dialog = next(iter(alice.dialogs.values()))
        alice.wait(lambda: "back again" in dialog.body, "alice sees it")
        self.assertEqual(alice.refresh(dialog).status, 200)
        self.assertEqual(put_document(server, "bob", "pres-rules", rules("alice")), 201)
        said = server.said()
        self.assertEqual(said.count("the store failed"), 1, said)
        self.assertEqual(said.count("the store is back"), 1, said)
        self.assertNotIn("Traceback", said)
        self.assertNotIn("Unhandled", said)

    def test_full_disk(self) -> None:
        """SQLite has no more room, and then has some again."""
        server = self.serve()
        server.start()
        bob, alice = self.probe("bob", server), self.probe("alice", server)
        published = bob.publish("open", "before")
        response, dialog = alice.subscribe("bob")
        self.assertEqual((published.status, response.status), (200, 200))
        alice.wait(lambda: "before" in dialog.body, "alice sees bob")

        # No file can grow any more: what a full disk is to a process.
        server.limit_files(0)
        refused = bob.publish("closed", "lost", published.get("SIP-ETag") or "")
        self.assertEqual(refused.status, 503)
        self.assertGreater(int(refused.get("Retry-After") or 0), 0)
        self.assertEqual(bob.register().status, 503)
        self.assertEqual(put_document(server, "bob", "pres-rules", rules("alice")), 503)
        # What needs no room is served.
        self.assertEqual(bob.ask("OPTIONS", bob.aor).status, 200)
        self.assertNotIn("lost", dialog.body)

        server.limit_files(64 * _MEGABYTE)
        self.recovers(server, bob, alice, published.get("SIP-ETag") or "")
        self.assertTrue(all("lost" not in notify.body.decode() for notify in dialog.notified))

    def test_lost_database(self) -> None:
        """PostgreSQL crashes, and comes back."""
        own = cluster()
        if own is None:
            raise SkipTest("PostgreSQL's server is not installed")
        server = self.serve(own.clear())
        server.start()
        bob, alice = self.probe("bob", server), self.probe("alice", server)
        published = bob.publish("open", "before")
        response, dialog = alice.subscribe("bob")
        self.assertEqual((published.status, response.status), (200, 200))
        alice.wait(lambda: "before" in dialog.body, "alice sees bob")

        own.stop()
        try:
            refused = bob.publish("closed", "lost", published.get("SIP-ETag") or "")
            self.assertEqual(refused.status, 503)
            self.assertGreater(int(refused.get("Retry-After") or 0), 0)
            self.assertEqual(bob.register().status, 503)
        finally:
            own.start()
        self.recovers(server, bob, alice, published.get("SIP-ETag") or "")
        self.assertTrue(all("lost" not in notify.body.decode() for notify in dialog.notified))
