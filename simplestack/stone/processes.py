"""The CPU and the memory of processes, as Linux tells them in /proc."""

import os
import time
from pathlib import Path
from typing import NamedTuple

from simplestack.stone.errors import StoneError

__all__ = ["Processes", "Usage", "machine_busy", "machine_said"]


#: In the command lines of the generator's own processes.
_OURS = ("simplestack stone", "simplestack.stone")


class Usage(NamedTuple):
    """What processes have used: seconds of CPU, octets of memory that are their share."""

    cpu: float
    memory: int


class Processes:
    """Some processes, and those that they have started."""

    def __init__(self, named: list[str]) -> None:
        """Find them by their numbers, or by words of their command lines.

        Raises StoneError where one is not there.
        """
        self._named = {name: _matching(name) for name in named}
        self._found = [pid for found in self._named.values() for pid in found]
        #: CPU by process: of those that have ended, what was seen last.
        self._cpu: dict[int, float] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def ended(self) -> list[str]:
        """The names of which no process is left."""
        return [name for name, found in self._named.items() if not any(map(_runs, found))]

    def pids(self) -> list[int]:
        """The processes and their descendants, as they are now."""
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    # The name in parentheses may hold spaces and parentheses itself.
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                children.setdefault(int(fields[1]), []).append(int(entry.name))
        found = list(dict.fromkeys(self._found))
        for pid in found:
            found += [each for each in children.get(pid, []) if each not in found]
        return found

    def usage(self) -> Usage:
        """What they have used until now, and hold now."""
        memory = 0
        for pid in self.pids():
            try:
                # A process's CPU clock is named by its number, as by clock_getcpuclockid(3).
                self._cpu[pid] = time.clock_gettime_ns((~pid << 3) | 2) / 1e9
                memory += _proportional(pid)
            except OSError:
                continue
        return Usage(sum(self._cpu.values()), memory)


def _runs(pid: int) -> bool:
    try:
        # What has ended and waits for its parent is a zombie.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _ancestry() -> set[int]:
    """This process, and all that it was started by: in their command lines stand the same words."""
    found: set[int] = set()
    pid = os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return found


def _proportional(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * 1024
    return 0


def _matching(name: str) -> list[int]:
    if name.isdigit():
        if not Path(f"/proc/{name}").exists():
            raise StoneError(f"server.watch: there is no process {name}")
        return [int(name)]
    found = []
    own = _ancestry()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in own:
            try:
                words = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
            except OSError:
                continue
            if name in words and not any(each in words for each in _OURS):
                found.append(int(entry.name))
    if not found:
        raise StoneError(f"server.watch: no process has {name!r} in its command line")
    return found


def machine_busy() -> float:
    """Seconds of CPU that everybody on this machine has used, other guests of its host included."""
    try:
        first = Path("/proc/stat").read_text().split("\n", 1)[0]
    except OSError:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, first.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def machine_said() -> dict[str, str | int]:
    """What machine this is, for the report."""
    model = ""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    system = os.uname()
    return {
        "cpu": model,
        "cores": os.cpu_count() or 1,
        "system": f"{system.sysname} {system.release}",
    }
