"""What a stretch of time costs: the server, the generator, and everything else on the machine."""

import gc
import mmap
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.figures import Figures, Plan, typical
from tests.bench.load import Load, LoadError, Operation
from tests.bench.served import Served, machine_busy

__all__ = ["Cost", "Side", "compare", "measure", "stretch"]

#: Octets of memory, more than a server takes meanwhile.
_TOUCHED: Final = 512 * 1024 * 1024


@dataclass
class Cost:
    """Seconds that passed, and those of CPU that the generator, the server and all together used."""

    wall: float = 0.0
    own: float = 0.0
    cpu: float = 0.0
    machine: float = 0.0

    def figures(self, operations: int, window: int) -> Figures:
        """The figures of a row of which nothing else is known."""
        return Figures(
            operations=operations,
            seconds=self.wall,
            server_us=self.cpu * 1e6 / operations,
            generator_us=self.own * 1e6 / operations,
            server_busy=self.cpu / self.wall,
            generator_busy=self.own / self.wall,
            others_busy=max(0.0, (self.machine - self.own - self.cpu) / self.wall),
            notifications=0,
            lost=0,
            dropped=0,
            repeated=0,
            strays=0,
            challenged=0,
            failures={},
            algorithm="",
            window=window,
        )


class Side(NamedTuple):
    """A server that runs, and what it is asked: one of the two that are compared, or the only one."""

    load: Load
    operation: Operation
    window: int
    served: Served
    algorithm: str


@contextmanager
def stretch(
    served: Served, profile: Path | None = None, since: int | None = None
) -> Iterator[Cost]:
    """What is done within it costs what is told after it; nothing is collected meanwhile.

    ``since`` is the CPU that the server had used when its last stretch ended: what it has done
    between them is what an operation leaves for later.
    """
    gc.collect()
    gc.disable()
    if profile is not None:
        served.profile(True)
    cost = Cost()
    machine = machine_busy()
    cpu = served.cpu() if since is None else since
    wall, own = time.monotonic(), time.process_time()
    try:
        yield cost
    finally:
        gc.enable()
    cost.cpu = (served.cpu() - cpu) / 1e9
    cost.own = time.process_time() - own
    cost.wall = time.monotonic() - wall
    cost.machine = machine_busy() - machine
    if profile is not None:
        served.profile(False)


def _touch_memory() -> None:
    """Use memory and give it back, so that what a server takes while it is measured is at hand.

    The host of a virtual machine hands out a page when it is used for the first time, which takes
    some ten times as long as all that the machine's own kernel does for it later.
    """
    size = min(_TOUCHED, os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE // 4)
    with mmap.mmap(-1, size) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def _warm(plan: Plan, side: Side) -> None:
    load, operation, window, *_ = side
    load.sustain(operation, window, plan.warm)
    load.drain(operation, 3.0)
    load.failures.clear()


_COUNTS = ("done", "notified", "lost", "repeated", "strays", "challenged")


def _measure(
    side: Side, seconds: float, profile: Path | None = None, since: int | None = None
) -> Figures:
    """The figures of as many operations as fit the time; all of them are finished in the end."""
    load, operation, window, served, algorithm = side
    before = [getattr(load, name) for name in _COUNTS]
    failures = load.failures.copy()
    dropped = served.dropped(served.port)
    with stretch(served, profile, since) as cost:
        load.sustain(operation, window, seconds)
        load.drain(operation, 3.0)
    after = [getattr(load, name) for name in _COUNTS]
    done, notified, lost, repeated, strays, challenged = (
        b - a for a, b in zip(before, after, strict=True)
    )
    if not done:
        raise LoadError("no operation was finished while measuring")
    return cost.figures(done, window)._replace(
        notifications=notified,
        lost=lost,
        dropped=served.dropped(served.port) - dropped,
        repeated=repeated,
        strays=strays,
        challenged=challenged,
        failures=dict(load.failures - failures),
        algorithm=algorithm,
        profile=None if profile is None else str(profile),
    )


def measure(plan: Plan, side: Side, profile: Path | None = None) -> Figures:
    """Warm up, and measure one server."""
    _touch_memory()
    _warm(plan, side)
    return _measure(side, plan.seconds, profile)


def compare(plan: Plan, other: Side, side: Side) -> tuple[Figures, Figures]:
    """Warm up, and measure a server beside another, by turns.

    The speed of a machine that is shared changes from one second to the next, so what counts is
    the multiple in each round, and of the rounds the median.
    """
    _touch_memory()
    sides = (other, side)
    for each in sides:
        _warm(plan, each)
    used = [each.served.cpu() for each in sides]
    rounds: tuple[list[Figures], list[Figures]] = ([], [])
    for _ in range(plan.rounds):
        for at, each in enumerate(sides):
            rounds[at].append(_measure(each, plan.seconds / plan.rounds, None, used[at]))
            used[at] = each.served.cpu()
    multiples = [
        figures.server_us / beside.server_us for beside, figures in zip(*rounds, strict=True)
    ]
    return typical(rounds[0]), typical(rounds[1])._replace(multiples=tuple(multiples))
