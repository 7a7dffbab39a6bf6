"""curl reads and writes documents with HTTP Digest, as ``docs/operating/xcap.md`` shows it."""

import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.allowing import rules
from tests.peers.requirement import required
from tests.peers.running import DOMAIN, Running


class CurlTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A server with a user."""
        self.program = required("curl", "Debian's package curl")
        self.server = Running(self.mktemp())
        self.server.add_users("alice")
        self.addCleanup(self.server.stop)
        self.server.start()

    def curl(self, *arguments: str, password: str = "alice-secret") -> tuple[str, str]:
        """The status and the body of the answer about alice's rules."""
        place = f"pres-rules/users/sip:alice@{DOMAIN}/index"
        done = subprocess.run(
            [
                *(self.program, "-s", "--max-time", "10", "--digest"),
                *("--user", f"alice:{password}", "-w", "\n%{http_code}", *arguments),
                f"http://127.0.0.1:{self.server.xcap_port}/{place}",
            ],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        body, _, status = done.stdout.rpartition("\n")
        return status, body

    def test_document(self) -> None:
        """A document is written, read, and removed; a wrong password gets 401 (RFC 4825 §7)."""
        document = rules("bob")
        path = Path(self.mktemp())
        path.write_bytes(document)
        put = ("-T", str(path), "-H", "Content-Type: application/auth-policy+xml")
        self.assertEqual(self.curl(*put, password="wrong")[0], "401")
        self.assertEqual(self.curl()[0], "404")
        self.assertEqual(self.curl(*put)[0], "201")
        self.assertEqual(self.curl(), ("200", document.decode()))
        self.assertEqual(self.curl("-X", "DELETE")[0], "200")
        self.assertEqual(self.curl()[0], "404")
