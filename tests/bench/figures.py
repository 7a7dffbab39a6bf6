"""What a row is, how it is to be measured, and the figures of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.bench.served import Memory

__all__ = ["Figures", "MemoryFigures", "Plan", "Row", "mean"]


class Row(NamedTuple):
    """A row of the table."""

    name: str
    title: str
    method: str
    watchers: int
    presentities: int
    #: Requests in flight; small enough that what they cause fits a default socket buffer.
    window: int
    #: The multiple of the bare responder to stay within; of the memory row octets; of the rows of
    #: XCAP the operations per second to reach, of the row of one core the messages; of the row of
    #: rules, and of those in `ratios`, the multiple of the same otherwise.
    target: float


@dataclass
class Plan:
    """How to measure: what the command line says."""

    seconds: float = 5.0
    warm: float = 2.0
    users: int = 500
    window: int | None = None
    algorithm: str | None = None
    store: str | None = None
    server_command: str | None = None
    create_users: bool = True
    put_rules: bool = True
    bare: bool = True
    subscriptions: int = 20_000
    #: Users of the larger server of the rows of growth.
    many: int = 100_000
    settle: float = 35.0
    profile: bool = False
    keep: bool = False
    #: CPUs of the server and of the bare responder; None leaves them to the kernel.
    server_cpus: set[int] | None = None
    say: Callable[[str], None] = field(default=print)


class Figures(NamedTuple):
    """What was measured of a row at one server."""

    operations: int
    seconds: float
    server_us: float
    generator_us: float
    server_busy: float
    generator_busy: float
    #: Cores that everything else on the machine used meanwhile.
    others_busy: float
    notifications: int
    lost: int
    #: Datagrams that found the server's socket buffer full.
    dropped: int
    repeated: int
    strays: int
    challenged: int
    failures: dict[str, int]
    algorithm: str
    window: int
    profile: str | None = None
    #: How far two measurements lie apart that were made one, as a part of the lower.
    spread: float = 0.0

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds


class MemoryFigures(NamedTuple):
    """Memory before, at half and with all subscriptions, each settled, and at once at the end."""

    subscriptions: int
    before: Memory
    half: Memory
    at_once: Memory
    settled: Memory

    @property
    def each(self) -> Memory:
        """Octets per subscription, all that was ever taken and not given back included."""
        return Memory(
            *((b - a) // self.subscriptions for a, b in zip(self.before, self.settled, strict=True))
        )

    @property
    def each_of_second_half(self) -> Memory:
        """The same from half to all: what transactions held and left free is used again."""
        count = self.subscriptions - self.subscriptions // 2
        return Memory(*((b - a) // count for a, b in zip(self.half, self.settled, strict=True)))


def mean(first: Figures, second: Figures) -> Figures:
    """Two measurements as one; the speed of a machine may change while it is measured."""
    operations = first.operations + second.operations
    seconds = first.seconds + second.seconds

    def weighed(one: float, other: float) -> float:
        return (one * first.operations + other * second.operations) / operations

    def shared(one: float, other: float) -> float:
        return (one * first.seconds + other * second.seconds) / seconds

    return first._replace(
        operations=operations,
        seconds=seconds,
        server_us=weighed(first.server_us, second.server_us),
        generator_us=weighed(first.generator_us, second.generator_us),
        server_busy=shared(first.server_busy, second.server_busy),
        generator_busy=shared(first.generator_busy, second.generator_busy),
        others_busy=shared(first.others_busy, second.others_busy),
        notifications=first.notifications + second.notifications,
        lost=first.lost + second.lost,
        dropped=first.dropped + second.dropped,
        repeated=first.repeated + second.repeated,
        strays=first.strays + second.strays,
        challenged=first.challenged + second.challenged,
        spread=abs(first.server_us - second.server_us) / min(first.server_us, second.server_us),
    )
