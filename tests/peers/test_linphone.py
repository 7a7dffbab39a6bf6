"""Linphone gets the presence of its buddy list by one subscription (RFC 4662, RFC 5367)."""

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.linphone import Linphone
from tests.peers.requirement import required
from tests.peers.running import DOMAIN, Running

#: What docs/operating/clients.md has operators offer.
FOR_LINPHONE = ["SHA-256", "SHA-512-256", "MD5"]


class LinphoneTests(SynchronousTestCase):
    def shows(self, phone: Linphone, user: str, state: str) -> None:
        """Wait until it tells this of a friend."""
        line = f"<sip:{user}@{DOMAIN}> is {state}"
        phone.wait_until(lambda: line in phone.said(), line)

    def test_buddies(self) -> None:
        """It sends its list in the SUBSCRIBE, compressed, and shows what each buddy publishes.

        Of a challenge that begins with SHA-512-256 it makes nothing.
        """
        required("linphonec", "Debian's package linphone-cli")
        server = Running(
            self.mktemp(),
            settings={"default_handling": "allow", "digest_algorithms": FOR_LINPHONE},
        )
        server.add_users("alice", "bob", "carol")
        self.addCleanup(server.stop)
        server.start()
        alice = Linphone(self.mktemp(), "alice", server.port, ("bob", "carol"))
        self.addCleanup(alice.stop)
        for user in ("bob", "carol"):
            self.shows(alice, user, "Offline")
        done = server.command(
            "publish",
            "--as=bob@example.com",
            "--password=bob-secret",
            f"--server=127.0.0.1:{server.port}",
            "--activity=on-the-phone",
            "--seconds=2",
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.shows(alice, "bob", "On the phone")
        alice.wait_until(
            lambda: alice.said().count("<sip:bob@example.com> is Offline") == 2, "ends"
        )
        sent = alice.log()
        self.assertEqual(sent.count("\nSUBSCRIBE "), 2, "one, and again with credentials")
        self.assertIn("\nContent-Encoding: deflate", sent)
        self.assertNotIn("Cannot find part", sent)
        self.assertEqual(alice.quit(), 0)
        server.wait_until(lambda: server.status()["subscription"] == 0, "she has signed off")
