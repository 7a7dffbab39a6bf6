"""The program of docs/extending/embedding.md runs as it stands."""

import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = (
    "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK1\r\n"
    "From: <sip:a@example.com>;tag=1\r\nTo: <sip:example.com>\r\nCall-ID: 1\r\n"
    "CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


class EmbeddingTests(SynchronousTestCase):
    def test_program(self) -> None:
        """The web resource, the mounted XCAP root and SIP are served side by side, and all of it
        ends with the program (RFC 3261 §11 for OPTIONS; RFC 4825 §6 for a root with a path).
        """
        text = (ROOT / "docs" / "extending" / "embedding.md").read_text()
        found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
        assert found is not None
        with tempfile.TemporaryDirectory() as folder:
            program = Path(folder, "program.py")
            program.write_text(found[1])
            sip, web = free_port(), free_port()
            process = subprocess.Popen(
                [sys.executable, str(program), str(sip), str(web)],
                cwd=folder,
                env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            try:
                self.assertEqual(self.get(web, "/hello"), (200, b"hello\n"))
                status, _ = self.get(web, "/xcap/pres-rules/users/sip:a@example.com/index")
                self.assertEqual(status, 401)
                self.assertIn("SIP/2.0 200", self.options(sip))
            finally:
                process.terminate()
                output, _ = process.communicate(timeout=20)
            self.assertEqual(process.returncode, 0, output)
            self.assertNotIn("Traceback", output)

    def get(self, port: int, path: str) -> tuple[int, bytes]:
        """Status and body, once somebody listens."""
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()
            except urllib.error.URLError:
                time.sleep(0.1)
        raise AssertionError("nobody listens")

    def options(self, port: int) -> str:
        """The answer to OPTIONS over UDP."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
            phone.bind(("127.0.0.1", 0))
            phone.settimeout(5)
            request = OPTIONS.format(port=phone.getsockname()[1])
            phone.sendto(request.encode(), ("127.0.0.1", port))
            return phone.recv(65535).decode()
