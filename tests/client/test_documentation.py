"""The program of docs/extending/client.md runs as it stands."""

import re
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.running import DOMAIN, ROOT, Running, environment


class DocumentationTests(SynchronousTestCase):
    def test_program(self) -> None:
        """It publishes, sees what it has published (RFC 3856 §5), and leaves nothing behind."""
        text = (ROOT / "docs" / "extending" / "client.md").read_text()
        found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
        assert found is not None
        server = Running(self.mktemp())
        self.addCleanup(server.stop)
        server.start()
        server.add_users("bob")
        program = server.directory / "program.py"
        program.write_text(found[1])
        done = subprocess.run(
            [
                sys.executable,
                "program.py",
                f"bob@{DOMAIN}",
                "bob-secret",
                f"127.0.0.1:{server.port}",
            ],
            cwd=server.directory,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr),
            (0, "open at my desk\nclosed gone home\n", ""),
        )
        status = server.status()
        self.assertEqual((status["publication"], status["subscription"]), (0, 0))
