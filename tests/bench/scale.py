"""One process with very many users (``python -m tests.bench.scale``): memory, restart, latency.

It registers users, the first of them over a TCP connection each, and gives each of them watchers;
reads the memory that each kind of state takes; finds the knee of the server with all that in it, by
the load of ``simplestack stone find``, and the latency at half of it; stops the server, starts it again,
and takes the time until it answers, and until every watcher has been told.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from simplestack.net.descriptors import RESERVE
from simplestack.stone.configuration import Configuration, from_values
from simplestack.stone.errors import StoneError
from simplestack.stone.finding import Bounds, Search
from simplestack.stone.running import Run, run
from tests.bench.account import DOMAIN, Account, accounts_of
from tests.bench.figures import Plan
from tests.bench.load import Load, LoadError, Sockets
from tests.bench.operations import Publish, Register, Subscribe
from tests.bench.provision import create_users
from tests.bench.report import environment
from tests.bench.served import Served, ServerError
from tests.bench.started import directory_of, open_server, running, sockets_made
from tests.bench.streams import Streams
from tests.ports import free_port

__all__ = ["Figures", "Scale", "measure", "report"]

#: Presentities, and as many watchers, of the load that looks for the knee; each has ten watchers.
_BUSY = 100
_WINDOW = 50
#: Seconds between two requests to a server that starts.
_PROBE = 0.02
#: Seconds to stay within: until all are told after a restart, and of one in a hundred NOTIFYs.
_READY = 30.0
_LATENCY = 0.02


class Scale(NamedTuple):
    """How much is held."""

    bindings: int = 100_000
    subscriptions: int = 200_000
    connections: int = 20_000
    #: Seconds to wait before memory is read: until the transactions are gone.
    settle: float = 35.0
    #: Seconds that each rate is tried.
    length: float = 3.0
    knee: bool = True
    #: Seconds over which the server tells all watchers after a restart, and that nobody more must
    #: be told for before that counts as done.
    window: int = 10
    quiet: float = 5.0


class Knee(NamedTuple):
    """What the server bears, and how quick it is at half of that; seconds."""

    rate: float
    messages: float
    half: float
    p50: float
    p99: float
    longest: float
    bound: bool


class Restart(NamedTuple):
    """A restart, in seconds from the start of the process."""

    stopped: float
    answers: float
    #: Until as many watchers as can be reached had been told their state again, and how many.
    told: float
    reached: int
    watchers: int
    #: How long answers to REGISTER took meanwhile: the median, one in a hundred, the longest.
    p50: float
    p99: float
    longest: float


class Figures(NamedTuple):
    """What was measured."""

    scale: Scale
    #: Seconds until all was there.
    filled: float
    #: Resident memory of the server in octets: empty, and after each kind of state was made.
    empty: int
    connected: int
    registered: int
    subscribed: int
    restarted: int
    knee: Knee | None
    restart: Restart


class Held:
    """The users of a run, by UDP or by a TCP connection each, and the server that holds them."""

    def __init__(self, scale: Scale, plan: Plan, directory: Path, sockets: Sockets) -> None:
        self.scale = scale
        self.plan = plan
        self.directory = directory
        self.port, self.xcap = free_port(), free_port()
        self._stream = free_port()
        self._sockets = sockets
        self.store = f"sqlite:///{directory / 'simplestack.db'}"
        listen = [f"udp:{self.port}:interface=127.0.0.1", f"tcp:{self._stream}:interface=127.0.0.1"]
        self.command = open_server(directory, self.store, listen, self.xcap, window=scale.window)
        self.accounts = accounts_of(plan.users, preferred=plan.algorithm)
        users = self.accounts[: scale.bindings]
        self._near, self._far = users[: scale.connections], users[scale.connections :]
        self._everybody = Publish(users, b"-").targets
        self._streams: Streams | None = None
        self._by_streams: Load | None = None
        self.load = Load(sockets)
        self.register = Register(self._far, sockets.hosts)

    @contextmanager
    def served(self, drain: bool = True) -> Iterator[Served]:
        """The server."""
        with running(
            self.plan, self.command, self.directory, self.port, self._sockets, drain
        ) as served:
            try:
                yield served
            finally:
                if self._streams is not None:
                    self._streams.close()

    def connect(self) -> None:
        """The TCP connections, all anew."""
        self._streams = Streams(self._stream, "tcp", len(self._near))
        self._by_streams = Load(self._streams)

    def registered(self) -> None:
        """A binding of everybody."""
        limit = 60 + self.scale.bindings / 200
        self.register_near()
        self.load.perform(self.register, _WINDOW, len(self._far), limit)

    def register_near(self) -> None:
        """Bindings of those who have a connection."""
        streams, load = self._streams, self._by_streams
        assert streams is not None and load is not None
        register = Register(self._near, streams.hosts, streams.token)
        load.perform(register, _WINDOW, len(self._near), 60 + len(self._near) / 200)

    def subscribed(self) -> None:
        """The subscriptions: everybody watches as many as everybody else."""
        streams, load = self._streams, self._by_streams
        assert streams is not None and load is not None
        count = self.scale.subscriptions * len(self._near) // self.scale.bindings
        self._subscribe(load, self._near, streams, count)
        self._subscribe(self.load, self._far, self._sockets, self.scale.subscriptions - count)

    def _subscribe(
        self, load: Load, watchers: list[Account], channel: Sockets | Streams, count: int
    ) -> None:
        subscribe = Subscribe(
            load.dialogs,
            self._everybody,
            watchers,
            channel.hosts,
            channel.contacts,
            channel.token,
        )
        load.perform(subscribe, _WINDOW, count, 60 + count / 200)

    def settled(self, served: Served) -> int:
        """The server's memory when its transactions are over."""
        end = time.monotonic() + self.scale.settle
        while time.monotonic() < end:
            self.load.idle(0.05)
            if self._by_streams is not None:
                self._by_streams.idle(0.05)
        return served.memory().rss


def measure(scale: Scale, plan: Plan, say: Callable[[str], None] = print) -> Figures:
    """Fill a server, and measure it.  Raises LoadError, ServerError and StoneError."""
    scale = _fitted(scale, say)
    plan.users = scale.bindings + 2 * _BUSY
    knee = None
    with directory_of(plan.keep) as directory, sockets_made() as sockets:
        held = Held(scale, plan, directory, sockets)
        create_users(held.store, held.accounts)
        with held.served() as served:
            empty = served.memory().rss
            began = time.monotonic()
            held.connect()
            connected = served.memory().rss
            held.registered()
            registered = held.settled(served)
            say(f"{scale.bindings:,} bindings, {registered / 2**20:,.0f} MiB")
            held.subscribed()
            filled = time.monotonic() - began - scale.settle
            subscribed = held.settled(served)
            say(f"{scale.subscriptions:,} subscriptions, {subscribed / 2**20:,.0f} MiB")
            if scale.knee:
                knee = _knee(held, served, say)
            began = time.monotonic()
        stopped = time.monotonic() - began
        restart, restarted = _restart(held, stopped)
    return Figures(
        scale, filled, empty, connected, registered, subscribed, restarted, knee, restart
    )


def _fitted(scale: Scale, say: Callable[[str], None]) -> Scale:
    """As many connections as there may be here, and no more than users."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connections = min(scale.connections, scale.bindings - 1)
    # The server keeps some descriptors for other things.
    if hard != resource.RLIM_INFINITY and connections > hard - RESERVE:
        connections = hard - RESERVE
        say(f"{connections:,} connections, not {scale.connections:,}: the limit on open files")
    return scale._replace(connections=connections)


def _knee(held: Held, served: Served, say: Callable[[str], None]) -> Knee:
    """The highest rate of PUBLISHes with ten watchers that is borne, and latency at half of it."""
    scale = held.scale
    # None of the generator's processes takes part of the server's core.
    values: dict[str, dict[str, Any]] = {
        "server": {"port": held.port, "domain": DOMAIN, "watch": [str(served.process.pid)]},
        "users": {"user": "u{:05d}", "first": scale.bindings},
        "load": {
            "presentities": _BUSY,
            "watchers": _BUSY,
            "warm": 1.0,
            "length": scale.length,
            "rate": 400.0,
        },
        "generator": {"calibrate": False},
    }
    configuration: Configuration = from_values(values)
    search = Search(configuration.load.rate, Bounds())

    def rates(made: Run) -> Iterator[float]:
        yield from search.rates(made)
        if search.low:
            yield search.low / 2

    def stepped(step: dict[str, Any]) -> None:
        times = step["notify"]["times"]
        say(
            f"  {step['rate']:,.0f} PUBLISH/s: {step['success']:.2%} succeed, "
            f"p99 {times['p99'] * 1000:,.1f} ms"
        )

    result = run(configuration, rates, stepped=stepped)
    knee = search.knee(result["steps"])
    half = result["steps"][-1]
    times = half["notify"]["times"]
    return Knee(
        knee["rate"],
        knee["messages_per_second"],
        half["rate"],
        times["p50"],
        times["p99"],
        times["max"],
        bool(knee["generator_bound"]),
    )


def _restart(held: Held, stopped: float) -> tuple[Restart, int]:
    """Start the server again, ask all the time, and wait until nobody more is told."""
    load = held.load
    before = {name: dialog.number for name, dialog in load.dialogs.items()}
    waits: list[float] = []
    began = time.monotonic()
    with held.served(drain=False) as served:
        answers = time.monotonic() - began
        heard, last = load.strays, time.monotonic()
        while time.monotonic() < last + held.scale.quiet and time.monotonic() < began + 300:
            asked = time.monotonic()
            load.perform(held.register, 1, 1, 60)
            waits.append(time.monotonic() - asked)
            load.idle(_PROBE)
            if load.strays > heard:
                heard, last = load.strays, time.monotonic()
        reached = sum(dialog.number > before[name] for name, dialog in load.dialogs.items())
        # Those who had connections come back at last.
        held.connect()
        held.register_near()
        memory = held.settled(served)
    waits.sort()
    return (
        Restart(
            stopped,
            answers,
            last - began,
            reached,
            len(before),
            waits[len(waits) // 2],
            waits[len(waits) * 99 // 100],
            waits[-1],
        ),
        memory,
    )


def report(figures: Figures) -> list[str]:
    """What a run prints."""
    scale, knee, restart = figures.scale, figures.knee, figures.restart

    def each(more: int, less: int, count: int) -> str:
        return f"{(more - less) // max(1, count):,} octets each"

    mib = {name: value / 2**20 for name, value in figures._asdict().items() if type(value) is int}
    lines = [
        f"filled in {figures.filled:,.0f} s; resident memory:",
        f"  {mib['empty']:,.0f} MiB empty",
        f"  {mib['connected']:,.0f} MiB with {scale.connections:,} TCP connections, "
        + each(figures.connected, figures.empty, scale.connections),
        f"  {mib['registered']:,.0f} MiB with {scale.bindings:,} bindings, "
        + each(figures.registered, figures.connected, scale.bindings),
        f"  {mib['subscribed']:,.0f} MiB with {scale.subscriptions:,} subscriptions, "
        + each(figures.subscribed, figures.registered, scale.subscriptions),
    ]
    if knee is not None:
        lines += [
            f"knee: {knee.rate:,.0f} PUBLISH/s with ten watchers each, "
            f"{knee.messages:,.0f} messages/s{', bound by the generator' if knee.bound else ''}",
            f"at {knee.half:,.0f} PUBLISH/s: PUBLISH to NOTIFY in ms: p50 {knee.p50 * 1000:.1f}, "
            f"p99 {knee.p99 * 1000:.1f} (at most {_LATENCY * 1000:.0f}: "
            f"{'yes' if knee.p99 <= _LATENCY else 'NO'}), longest {knee.longest * 1000:.1f}",
        ]
    verdict = "yes" if restart.told <= _READY else "NO"
    lines += [
        f"restart: stopped in {restart.stopped:.1f} s; answers {restart.answers:.1f} s after its "
        f"start; {restart.reached:,} of {restart.watchers:,} watchers by UDP told after {restart.told:.1f} s "
        f"(at most {_READY:.0f}: {verdict}); {mib['restarted']:,.0f} MiB",
        f"  REGISTER meanwhile in ms: p50 {restart.p50 * 1000:.1f}, p99 {restart.p99 * 1000:.1f}, "
        f"longest {restart.longest * 1000:.1f}",
    ]
    return lines


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.scale",
        description="Memory, restart and latency of one server with very many users.",
    )
    add = parser.add_argument
    add("--bindings", type=int, default=Scale().bindings, help="users (%(default)s)")
    add("--subscriptions", type=int, default=Scale().subscriptions, help="(%(default)s)")
    add("--connections", type=int, default=Scale().connections, help="TCP (%(default)s)")
    add(
        "--settle",
        type=float,
        default=Scale().settle,
        help="seconds before memory is read, until transactions are gone (%(default)s)",
    )
    add("--length", type=float, default=Scale().length, help="seconds of each rate (%(default)s)")
    add("--no-knee", action="store_true", help="leave the knee out, and the latency")
    add("--keep", action="store_true", help="keep the directory of database and log")
    options = parser.parse_args()
    if options.bindings < 200 or options.connections < 1 or options.subscriptions < 1:
        parser.error("at least 200 bindings, a subscription and a connection are needed")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream
    print(", ".join(f"{name} {value}" for name, value in environment().items()))
    scale = Scale(
        options.bindings,
        options.subscriptions,
        options.connections,
        options.settle,
        options.length,
        not options.no_knee,
    )
    cpus = sorted(os.sched_getaffinity(0))
    plan = Plan(keep=options.keep, server_cpus=set(cpus[:-1]) or None)
    if len(cpus) > 1:
        os.sched_setaffinity(0, {cpus[-1]})
    try:
        figures = measure(scale, plan)
    except (LoadError, ServerError, StoneError) as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    print("\n".join(report(figures)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
