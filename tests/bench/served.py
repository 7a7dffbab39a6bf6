"""A server as a process of its own: started, watched for CPU and memory, profiled, ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["Memory", "Served", "ServerError", "machine_busy", "twistd"]

#: The root of the checkout: from where ``tests`` and ``simplestack`` are imported.
_ROOT = Path(__file__).resolve().parents[2]


class ServerError(Exception):
    """The server did not start, or ended; with the end of what it wrote."""


class Memory(NamedTuple):
    """What a process holds, in octets: resident, its share of it, and what is its alone."""

    rss: int
    pss: int
    uss: int


class Served:
    """A running server and all processes that it started."""

    def __init__(
        self, command: list[str], directory: Path, port: int, cpus: set[int] | None
    ) -> None:
        #: Its SIP port.
        self.port = port
        #: Its XCAP port, where it has one.
        self.xcap = 0
        self._log = directory / "server.log"
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, (str(_ROOT), environment.get("PYTHONPATH", "")))
        )
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        if cpus:
            os.sched_setaffinity(self.process.pid, cpus)

    def check(self) -> None:
        """Raise ServerError if it has ended."""
        status = self.process.poll()
        if status is not None:
            raise ServerError(f"the server ended with status {status}:\n{self.said()}")

    def said(self) -> str:
        """The last lines of its output."""
        lines = self._log.read_text("utf-8", "replace").splitlines()
        return "\n".join(lines[-25:])

    def stop(self) -> None:
        """Ask it to stop, and kill it where it has not after ten seconds."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def family(self) -> list[int]:
        """The process and its descendants."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    # The name in parentheses may hold spaces and parentheses itself.
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found

    def cpu(self) -> int:
        """Nanoseconds of CPU that all its threads have used, those that ended included."""
        # A process's CPU clock is named by its number: the kernel's MAKE_PROCESS_CPUCLOCK with
        # CPUCLOCK_SCHED, what clock_getcpuclockid(3) returns.
        return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in self.family())

    def dropped(self, port: int) -> int:
        """Datagrams that the kernel dropped because the buffer of this UDP port was full."""
        found = 0
        for table in ("/proc/net/udp", "/proc/net/udp6"):
            try:
                lines = Path(table).read_text().splitlines()[1:]
            except OSError:
                continue
            for fields in map(str.split, lines):
                if int(fields[1].rpartition(":")[2], 16) == port:
                    found += int(fields[12])
        return found

    def memory(self) -> Memory:
        """What it holds now."""
        totals = dict.fromkeys(("Rss", "Pss", "Private_Clean", "Private_Dirty"), 0)
        for pid in self.family():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, value = line.partition(":")
                if name in totals:
                    totals[name] += int(value.split()[0]) * 1024
        return Memory(
            totals["Rss"], totals["Pss"], totals["Private_Clean"] + totals["Private_Dirty"]
        )

    def profile(self, start: bool) -> None:
        """Tell the profiler, if the command runs under it, to start or to write what it has."""
        self.process.send_signal(signal.SIGUSR1 if start else signal.SIGUSR2)


def machine_busy() -> float:
    """Seconds of CPU that all processes, the kernel and the hypervisor's other guests have used."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def twistd(arguments: list[str], profile: Path | None = None) -> list[str]:
    """The command that runs ``twistd -n`` with this interpreter, in whatever environment it is."""
    if profile is not None:
        command = [sys.executable, "-m", "tests.bench.profiled", str(profile)]
    else:
        command = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    return [*command, "-n", "--pidfile=", *arguments]
