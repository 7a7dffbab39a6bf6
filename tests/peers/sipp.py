"""SIPp as a peer: runs a scenario against a server."""

import subprocess
from pathlib import Path

from tests.peers.requirement import required
from tests.peers.running import DOMAIN
from tests.ports import free_port

__all__ = ["Sipp"]

_SCENARIOS = Path(__file__).parent
#: Seconds after which SIPp gives up.
_LIMIT = 30


class Sipp:
    """One run of a scenario by one user; ``finish`` it."""

    def __init__(
        self, directory: str, scenario: str, user: str, port: int, transport: str, target: str = ""
    ) -> None:
        program = required("sipp", "Debian's package sip-tester")
        self._directory = Path(directory).absolute()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._said = self._directory / "said"
        self._errors, self._messages = self._directory / "errors", self._directory / "messages"
        command = [program, f"127.0.0.1:{port}", "-sf", str(_SCENARIOS / f"{scenario}.xml")]
        command += ["-m", "1", "-nostdin", "-timeout", str(_LIMIT), "-timeout_error"]
        command += ["-recv_timeout", "15000", "-i", "127.0.0.1", "-p", str(free_port())]
        command += ["-t", {"udp": "u1", "tcp": "t1"}[transport]]
        command += ["-au", user, "-ap", f"{user}-secret"]
        command += ["-key", "user", user, "-key", "domain", DOMAIN, "-key", "target", target]
        command += ["-trace_err", "-error_file", str(self._errors)]
        command += ["-trace_msg", "-message_file", str(self._messages)]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                command,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def finish(self) -> None:
        """Wait until it has ended; fails where the scenario did not pass."""
        try:
            status = self._process.wait(_LIMIT + 10)
        finally:
            self.stop()
        if status != 0:
            shown = "\n".join(
                path.read_text("utf-8", "replace")
                for path in (self._errors, self._messages)
                if path.exists()
            )
            raise AssertionError(f"SIPp ended with {status}:\n{shown or self._tail()}")

    def _tail(self) -> str:
        return self._said.read_text("utf-8", "replace")[-2000:]

    def stop(self) -> None:
        """End it, if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
