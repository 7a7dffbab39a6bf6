"""What a row is, how it is to be measured, and the figures of it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from tests.bench.served import Memory

__all__ = ["Figures", "MemoryFigures", "Plan", "Row", "typical"]


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
    #: Turns that the two have that are compared; all together take ``seconds``, for each of them.
    rounds: int = 5
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
    #: Of each round, the CPU of an operation as a multiple of that of what it is compared with.
    multiples: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds

    @property
    def multiple(self) -> float:
        """The median of the multiples."""
        return median(self.multiples)


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


def typical(rounds: Sequence[Figures]) -> Figures:
    """Several rounds at one server as one: the median of what an operation took, the sum of the rest."""
    seconds = sum(each.seconds for each in rounds)

    def shared(name: str) -> float:
        return sum(float(getattr(each, name)) * each.seconds for each in rounds) / seconds

    def total(name: str) -> int:
        return sum(int(getattr(each, name)) for each in rounds)

    return rounds[0]._replace(
        operations=total("operations"),
        seconds=seconds,
        server_us=median([each.server_us for each in rounds]),
        generator_us=median([each.generator_us for each in rounds]),
        server_busy=shared("server_busy"),
        generator_busy=shared("generator_busy"),
        others_busy=shared("others_busy"),
        notifications=total("notifications"),
        lost=total("lost"),
        dropped=total("dropped"),
        repeated=total("repeated"),
        strays=total("strays"),
        challenged=total("challenged"),
        failures=dict(sum([Counter(each.failures) for each in rounds], Counter[str]())),
    )
