"""baresip, a softphone, registers, publishes and watches over UDP, TCP and TLS.

It gives up where a challenge is not of MD5, hence ``--digest MD5``.
"""

import re
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.net.doubles import Authority
from tests.peers.allowing import allow
from tests.peers.baresip import Baresip
from tests.peers.probe import Probe
from tests.peers.requirement import required
from tests.peers.running import Running


class BaresipTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A server with two users, and TLS by an authority that nobody but baresip knows."""
        required("baresip", "Debian's package baresip")
        place = Path(self.mktemp()).absolute()
        place.mkdir()
        authority = Authority(str(place))
        self.authority = authority.path
        certificate = authority.issue("127.0.0.1", "localhost")
        self.server = Running(self.mktemp(), options=["--digest", "MD5"], tls=certificate)
        self.server.add_users("alice", "bob")
        self.addCleanup(self.server.stop)
        self.server.start()

    def phone(self, user: str, transport: str, *contacts: str) -> Baresip:
        """Start a phone for a user."""
        port = self.server.tls_port if transport == "tls" else self.server.port
        phone = Baresip(self.mktemp(), user, port, transport, contacts, self.authority)
        self.addCleanup(phone.stop)
        return phone

    def holds(self, **counts: int) -> bool:
        """Whether the server holds so many records."""
        status = self.server.status()
        return all(status[kind] == count for kind, count in counts.items())

    def live(self, transport: str) -> None:
        """Two phones: one watches the other, who goes offline, and both sign off."""
        bob = self.phone("bob", transport)
        bob.wait_until(lambda: "[1 binding]" in bob.said(), "bob is registered")
        self.server.wait_until(lambda: self.holds(binding=1), "bob is known")
        with Probe("bob", self.server.port) as probe:
            bindings = probe.bindings()
        self.assertIn("sip:bob-", bindings)
        if transport != "udp":
            self.assertIn(f"transport={transport}", bindings)
        self.server.wait_until(lambda: self.tidy(bob, "bob", 1), "bob publishes")

        alice = self.phone("alice", transport, "bob")
        self.server.wait_until(lambda: self.holds(subscription=1), "alice subscribes")
        alice.wait_until(lambda: "Subscription-State: pending" in alice.said(), "she is pending")
        self.assertEqual(alice.shows("bob"), "Unknown")
        self.server.wait_until(lambda: self.tidy(alice, "alice", 2), "alice publishes too")

        allow(self.server, "bob", "alice")
        alice.wait_until(lambda: alice.shows("bob") == "Online", "alice sees bob")
        bob.command("presence_offline")
        alice.wait_until(lambda: alice.shows("bob") == "Offline", "alice sees that he leaves")
        bob.command("presence_online")
        alice.wait_until(lambda: alice.shows("bob") == "Online", "alice sees that he is back")

        if transport == "udp":
            # Neither phone notices: their nonces are stale, and alice is told full state.
            self.server.kill()
            self.server.start()
            bob.command("presence_offline")
            alice.wait_until(lambda: alice.shows("bob") == "Offline", "alice sees it")
        self.assertEqual((alice.quit(), bob.quit()), (0, 0))
        self.server.wait_until(
            lambda: self.holds(binding=0, publication=0, subscription=0), "both have signed off"
        )

    def tags(self, phone: Baresip) -> list[str]:
        """The entity-tags that a phone was given, in their order."""
        return re.findall(r"^SIP-ETag: (\S+)", phone.said(), re.MULTILINE)

    def tidy(self, phone: Baresip, user: str, total: int) -> bool:
        """Remove the publication that a phone forgot; whether the phones know of all there are.

        Where it is registered while its first PUBLISH is on the way, baresip sends another one at
        once, and remembers the entity-tag of that alone.
        """
        known = self.tags(phone)
        time.sleep(0.5)
        if known and self.tags(phone) == known and self.holds(publication=total):
            return True
        with Probe(user, self.server.port) as probe:
            for tag in known[:-1]:
                probe.publish("", entity_tag=tag, expires=0)
        return False

    def test_udp(self) -> None:
        """RFC 3261 §10, RFC 3903, RFC 3856 with a phone, over UDP, and over a ``kill -9``."""
        self.live("udp")

    def test_tcp(self) -> None:
        """The same over TCP: NOTIFY comes back by the phone's connection (RFC 3261 §18)."""
        self.live("tcp")

    def test_tls(self) -> None:
        """The same over TLS with a verified certificate (RFC 3261 §26.2.1)."""
        self.live("tls")
