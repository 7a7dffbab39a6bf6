"""SIPp, a generator of SIP traffic, drives the running server over UDP and TCP.

Debian builds it without TLS; baresip drives TLS.  It answers the first challenge alone and knows
MD5 only, hence ``--digest MD5``.
"""

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.allowing import allow
from tests.peers.probe import Probe
from tests.peers.running import Running
from tests.peers.sipp import Sipp


class Scenarios:
    """The scenarios, over the transport of the class."""

    transport: str

    class Tests(SynchronousTestCase):
        transport: str
        server: Running

        def setUp(self) -> None:
            """A server with two users."""
            self.server = Running(self.mktemp(), options=["--digest", "MD5"])
            self.server.add_users("alice", "bob")
            self.addCleanup(self.server.stop)
            self.server.start()

        def sipp(self, scenario: str, user: str, target: str = "") -> Sipp:
            """Start a scenario."""
            port = self.server.port
            run = Sipp(self.mktemp(), scenario, user, port, self.transport, target)
            self.addCleanup(run.stop)
            return run

        def holds(self, **counts: int) -> bool:
            """Whether the server holds so many records."""
            status = self.server.status()
            return all(status[kind] == count for kind, count in counts.items())

        def test_register(self) -> None:
            """RFC 3261 §10: a binding is made, refreshed, asked for and removed."""
            self.sipp("register", "alice").finish()
            self.assertTrue(self.holds(binding=0))

        def test_publish(self) -> None:
            """RFC 3903 §4: a publication is made, refreshed, modified and removed; 412 for others."""
            self.sipp("publish", "bob").finish()
            self.assertTrue(self.holds(publication=0))

        def test_watch(self) -> None:
            """RFC 3856 §6, RFC 6665 §4: pending, then allowed, then told of a change, then ended."""
            watcher = self.sipp("watch", "alice", "bob")
            self.server.wait_until(lambda: self.holds(subscription=1), "alice watches")
            allow(self.server, "bob", "alice")
            with Probe("bob", self.server.port) as bob:
                self.assertEqual(bob.publish("open", "hello from afar").status, 200)
                watcher.finish()
            self.assertTrue(self.holds(publication=1, subscription=0))


class UDPTests(Scenarios.Tests):
    transport = "udp"


class TCPTests(Scenarios.Tests):
    transport = "tcp"
