"""Many writers of one document, each a process with a connection of its own (RFC 4825 §7.11)."""

import subprocess
import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.bench.account import Account
from tests.bench.xcap import Client
from tests.durability.writer import EMPTY, ask
from tests.peers.running import Running, environment
from tests.store.cluster import cluster

PROCESSES, EACH = 4, 12


class WritersTests(SynchronousTestCase):
    """A server, and processes that all want to change one document."""

    def writers(self, store: str) -> None:
        """No update is lost, and each conditional write has won over just one version."""
        server = Running(self.mktemp(), store=store)
        self.addCleanup(server.stop)
        server.start()
        server.add_users("alice")
        port, secret = server.xcap_port, "alice-secret"
        client = Client(Account(0, "alice", "example.com", secret), port)
        self.addCleanup(client.socket.close)
        self.assertEqual(ask(client, b"PUT", EMPTY)[0], 201)
        program = (sys.executable, "-m", "tests.durability.writer", str(port), "alice", secret)
        writers = [
            subprocess.Popen(
                [*program, f"writer{number}", str(EACH)],
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(PROCESSES)
        ]
        for each in writers:
            self.addCleanup(each.wait)
            self.addCleanup(each.kill)
        late = 0
        for each in writers:
            said, _ = each.communicate(timeout=60)
            self.assertEqual(each.returncode, 0)
            late += int(said)
        wanted = {
            b"sip:writer%d-%d@" % (number, entry)
            for number in range(PROCESSES)
            for entry in range(EACH)
        }
        document = ask(client, b"GET")[1]
        self.assertEqual({each for each in wanted if document.count(each) != 1}, set())
        self.assertEqual(document.count(b"<entry "), PROCESSES * EACH)
        # Else they were not at work at the same time, and nothing was shown.
        self.assertGreater(late, 0)
        server.kill()
        server.start()
        again = Client(Account(0, "alice", "example.com", secret), port)
        self.addCleanup(again.socket.close)
        self.assertEqual(
            ask(again, b"GET")[1].partition(b"\r\n\r\n")[2], document.partition(b"\r\n\r\n")[2]
        )

    def test_sqlite(self) -> None:
        """On SQLite."""
        self.writers("sqlite:///simplestack.db")

    def test_postgresql(self) -> None:
        """On PostgreSQL."""
        found = cluster()
        if found is None:
            raise SkipTest("PostgreSQL is not installed")
        self.writers(found.clear())
