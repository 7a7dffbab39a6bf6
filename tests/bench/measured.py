"""What a stretch of time costs: the server, the generator, and everything else on the machine."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figures, Plan
from tests.bench.load import Load, LoadError, Operation
from tests.bench.served import Served, machine_busy

__all__ = ["Cost", "measure", "stretch"]


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


@contextmanager
def stretch(served: Served, profile: Path | None) -> Iterator[Cost]:
    """What is done within it costs what is told after it; nothing is collected meanwhile."""
    gc.collect()
    gc.disable()
    if profile is not None:
        served.profile(True)
    cost = Cost()
    machine = machine_busy()
    wall, own, cpu = time.monotonic(), time.process_time(), served.cpu()
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


def measure(
    plan: Plan, load: Load, operation: Operation, window: int, served: Served, profile: Path | None
) -> Figures:
    """Warm up, and take the figures of as many operations as fit the time."""
    load.sustain(operation, window, plan.warm)
    load.failures.clear()
    names = ("done", "notified", "lost", "repeated", "strays", "challenged")
    before = [getattr(load, name) for name in names]
    dropped = served.dropped(served.port)
    with stretch(served, profile) as cost:
        load.sustain(operation, window, plan.seconds)
    dropped = served.dropped(served.port) - dropped
    after = [getattr(load, name) for name in names]
    done, notified, lost, repeated, strays, challenged = (
        b - a for a, b in zip(before, after, strict=True)
    )
    load.drain(operation, 3.0)
    if not done:
        raise LoadError("no operation was finished while measuring")
    return cost.figures(done, window)._replace(
        notifications=notified,
        lost=lost,
        dropped=dropped,
        repeated=repeated,
        strays=strays,
        challenged=challenged,
        failures=dict(load.failures),
    )
