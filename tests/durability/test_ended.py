"""``kill -9`` between the end of something and the word about it."""

import time

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.allowing import get_document, put_document
from tests.peers.probe import Dialog, Probe
from tests.peers.running import DOMAIN, Running

#: Rules by which everybody must be confirmed first.
CONFIRM = (
    b'<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="all"><conditions><identity>'
    b"<many/></identity></conditions><actions><sub-handling"
    b' xmlns="urn:ietf:params:xml:ns:pres-rules">confirm</sub-handling></actions></rule></ruleset>'
)


class EndedTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A server where everybody may watch, and Alice who watches Bob."""
        self.server = Running(
            self.mktemp(), settings={"default_handling": "allow", "restart_window": 0}
        )
        self.server.add_users("alice", "bob")
        self.addCleanup(self.server.stop)
        self.server.start()
        self.alice = Probe("alice", self.server.port)
        self.addCleanup(self.alice.close)
        self.bob = Probe("bob", self.server.port)
        self.addCleanup(self.bob.close)

    def subscribe(self) -> Dialog:
        """Alice's subscription."""
        response, dialog = self.alice.subscribe("bob")
        self.assertEqual(response.status, 200)
        self.alice.told(dialog, 1)
        return dialog

    def restart(self) -> None:
        """``kill -9`` and start."""
        self.server.kill()
        self.server.start()

    def test_block(self) -> None:
        """RFC 6665 §4.2.2: who is refused and has not answered is told after the restart."""
        dialog = self.subscribe()
        done = self.server.command(
            *("block", f"sip:alice@{DOMAIN}", "--as", f"bob@{DOMAIN}", "--password", "bob-secret"),
            *("--xcap-root", f"http://127.0.0.1:{self.server.xcap_port}/"),
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        # She has it in her socket, and has not answered.
        time.sleep(0.3)
        self.restart()
        self.alice.told(dialog, 3)
        for notify in dialog.notified[1:]:
            self.assertEqual(notify.get("Subscription-State"), "terminated;reason=rejected")
        self.assertEqual(dialog.cseqs, sorted(set(dialog.cseqs)))
        # She has answered, and hears no more of it.
        self.alice.listen(0.5, lambda: False)
        self.restart()
        self.alice.listen(2.0, lambda: False)
        self.assertEqual(len(dialog.cseqs), 3)
        self.assertEqual(self.server.status()["subscription"], 0)

    def test_unsubscribe(self) -> None:
        """A subscription whose end was acknowledged does not come to life again."""
        dialog = self.subscribe()
        self.assertEqual(self.alice.refresh(dialog, 0).status, 200)
        self.restart()
        self.assertEqual(self.server.status()["subscription"], 0)
        self.assertEqual(self.alice.refresh(dialog).status, 481)

    def test_unpublish(self) -> None:
        """Nor does a publication whose removal was acknowledged; its watchers see it gone."""
        tag = self.bob.publish(note="gone").get("SIP-ETag") or ""
        self.assertEqual(self.bob.publish("", entity_tag=tag, expires=0).status, 200)
        self.restart()
        dialog = self.subscribe()
        self.assertNotIn("gone", dialog.body)
        self.assertIn("<basic>closed</basic>", dialog.body.replace("pidf:", ""))
        self.assertEqual(self.bob.publish(entity_tag=tag).status, 412)

    def test_unregister(self) -> None:
        """Nor does a binding whose removal was acknowledged."""
        self.assertEqual(self.bob.register().status, 200)
        self.assertEqual(self.bob.register(0).status, 200)
        self.restart()
        self.assertEqual(self.bob.bindings(), "")

    def test_waiting(self) -> None:
        """RFC 3857 §4.7.1: who asked in vain and went is still seen waiting."""
        put_document(self.server, "bob", "pres-rules", CONFIRM)
        dialog = self.subscribe()
        self.assertEqual(dialog.state, "pending")
        self.assertEqual(self.alice.refresh(dialog, 0).status, 200)
        self.restart()
        response, watchers = self.bob.subscribe("bob", "presence.winfo")
        self.assertEqual(response.status, 200)
        self.bob.told(watchers, 1)
        self.assertIn('status="waiting"', watchers.body)
        self.assertIn(f"sip:alice@{DOMAIN}", watchers.body)

    def test_delete(self) -> None:
        """RFC 4825 §8.2.3: nor does a document whose removal was acknowledged come back."""
        put_document(self.server, "bob", "pres-rules", CONFIRM)
        done = self.server.command(
            *("xcap", "delete", "pres-rules/index", "--as", f"bob@{DOMAIN}"),
            *("--password", "bob-secret", "--root", f"http://127.0.0.1:{self.server.xcap_port}/"),
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.restart()
        self.assertEqual(get_document(self.server, "bob", "pres-rules")[0], 404)
        self.assertEqual(self.subscribe().state, "active")

    def test_remove(self) -> None:
        """Nor does a user who was removed; his watcher learns it when he refreshes, at the latest."""
        dialog = self.subscribe()
        self.assertEqual(self.bob.register().status, 200)
        self.assertEqual(self.server.command("user", "remove", f"bob@{DOMAIN}").returncode, 0)
        self.restart()
        self.assertEqual(self.server.status()["binding"], 0)
        self.assertEqual(self.bob.register().status, 401)
        self.assertIn(self.alice.refresh(dialog).status, (404, 481))
