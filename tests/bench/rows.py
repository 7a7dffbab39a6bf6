"""The rows of the table: what each prepares, measures and has to reach."""

import gc
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.bench.account import Account
from tests.bench.load import Load, LoadError, Operation, Sockets
from tests.bench.messages import options as options_request
from tests.bench.operations import Publish, Register, Subscribe
from tests.bench.provision import create_users, emptied, put_rules
from tests.bench.served import Memory, Served, ServerError, machine_busy, twistd
from tests.bench.xcap import DocumentPut, ElementPut, Get, clients

__all__ = [
    "ROWS",
    "Figures",
    "MemoryFigures",
    "Plan",
    "Row",
    "run_bare",
    "run_memory",
    "run_row",
    "run_rules",
    "run_xcap",
]

DOMAIN = "bench.example"


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
    #: XCAP the operations per second to reach; of the row of rules the multiple of the same without.
    target: float


ROWS = (
    Row("register", "REGISTER refresh", "REGISTER", 0, 0, 64, 6),
    Row("publish-0", "PUBLISH modify, 0 watchers", "PUBLISH", 0, 200, 64, 10),
    Row("publish-1", "PUBLISH modify, 1 watcher", "PUBLISH", 1, 200, 40, 8),
    Row("publish-10", "PUBLISH modify, 10 watchers", "PUBLISH", 10, 100, 10, 4),
    Row("publish-50", "PUBLISH modify, 50 watchers", "PUBLISH", 50, 40, 2, 3),
    Row("rules", "PUBLISH modify, 50, 20 rules", "RULES", 50, 40, 2, 2),
    Row("subscribe", "new SUBSCRIBE with its NOTIFY", "SUBSCRIBE", 0, 200, 40, 6),
    Row("xcap-get", "XCAP GET, 100 entries", "GET", 0, 32, 32, 3000),
    Row("xcap-put", "XCAP PUT, 100 entries", "PUT", 0, 32, 32, 1500),
    Row("xcap-element", "XCAP PUT of one entry of 100", "ELEMENT", 0, 32, 32, 1000),
    Row("memory", "octets per subscription", "SUBSCRIBE", 0, 200, 40, 4096),
)


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


def accounts_of(plan: Plan) -> list[Account]:
    """The users of a run, without nonces."""
    return [
        Account(at, f"u{at:05d}", DOMAIN, f"secret-{at}", plan.algorithm)
        for at in range(plan.users)
    ]


def free_port() -> int:
    """A port that neither UDP nor TCP uses on the loopback interface now."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
                try:
                    datagram.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port


def _wait_until_up(served: Served, sockets: Sockets, limit: float = 30.0) -> None:
    end = time.monotonic() + limit
    attempt = 0
    while time.monotonic() < end:
        served.check()
        sockets.request(options_request(DOMAIN, sockets.host, b"%08x" % (0xF0000000 + attempt)))
        attempt += 1
        if sockets.read(0.2)[0]:
            break
        # A port that nobody listens on answers at once, with an ICMP error.
        time.sleep(0.05)
    else:
        raise ServerError(f"no answer to OPTIONS within {limit:.0f} s:\n{served.said()}")
    while any(sockets.read(0.3)):
        pass


@contextmanager
def _running(
    plan: Plan, command: list[str], directory: Path, port: int, sockets: Sockets
) -> Iterator[Served]:
    served = Served(command, directory, port, plan.server_cpus)
    try:
        sockets.connect(port)
        _wait_until_up(served, sockets)
        yield served
    except LoadError as error:
        served.check()
        raise LoadError(f"{error}\n{served.said()}") from error
    finally:
        served.stop()


@contextmanager
def _directory(keep: bool) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="simplestack-bench-"))
    try:
        yield path
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _sockets() -> Iterator[Sockets]:
    sockets = Sockets()
    try:
        yield sockets
    finally:
        sockets.close()


def _measure(
    plan: Plan, load: Load, operation: Operation, window: int, served: Served, profile: Path | None
) -> Figures:
    load.sustain(operation, window, plan.warm)
    load.failures.clear()
    names = ("done", "notified", "lost", "repeated", "strays", "challenged")
    before = [getattr(load, name) for name in names]
    gc.collect()
    gc.disable()
    if profile is not None:
        served.profile(True)
    dropped, machine = served.dropped(served.port), machine_busy()
    wall, own, cpu = time.monotonic(), time.process_time(), served.cpu()
    try:
        load.sustain(operation, window, plan.seconds)
    finally:
        gc.enable()
    cpu, own, wall = served.cpu() - cpu, time.process_time() - own, time.monotonic() - wall
    machine = machine_busy() - machine
    dropped = served.dropped(served.port) - dropped
    after = [getattr(load, name) for name in names]
    done, notified, lost, repeated, strays, challenged = (
        b - a for a, b in zip(before, after, strict=True)
    )
    if profile is not None:
        served.profile(False)
    load.drain(operation, 3.0)
    if not done:
        raise LoadError("no operation was finished while measuring")
    return Figures(
        operations=done,
        seconds=wall,
        server_us=cpu / 1000 / done,
        generator_us=own * 1e6 / done,
        server_busy=cpu / 1e9 / wall,
        generator_busy=own / wall,
        others_busy=max(0.0, (machine - own - cpu / 1e9) / wall),
        notifications=notified,
        lost=lost,
        dropped=dropped,
        repeated=repeated,
        strays=strays,
        challenged=challenged,
        failures=dict(load.failures),
        algorithm="",
        window=window,
    )


def run_bare(plan: Plan, row: Row) -> Figures:
    """The row at the bare responder: the same requests by the same generator."""
    window = plan.window or row.window
    with _directory(False) as directory, _sockets() as sockets:
        accounts = accounts_of(plan)
        for account in accounts:
            account.adopt(plan.algorithm or "SHA-512-256", DOMAIN, "0123456789abcdef" * 2)
        watchers = 1 if row.method == "SUBSCRIBE" else row.watchers
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.bare"]
        command += [str(port), str(watchers), str(sockets.watcher_port)]
        with _running(plan, command, directory, port, sockets) as served:
            load = Load(sockets, bare=True)
            operation: Operation
            if row.method == "REGISTER":
                operation = Register(accounts, sockets.host)
            else:
                publish = Publish(accounts[: row.presentities], sockets.host)
                for target in publish.targets:
                    target.watchers = row.watchers
                    target.entity_tag = b"canned"
                operation = publish
                if row.method == "SUBSCRIBE":
                    operation = _subscribe(load, publish, accounts, sockets)
            figures = _measure(plan, load, operation, window, served, None)
    return figures._replace(algorithm=accounts[0].algorithm)


def _subscribe(
    load: Load, publish: Publish, accounts: list[Account], sockets: Sockets
) -> Subscribe:
    contact = b"127.0.0.1:%d" % sockets.watcher_port
    return Subscribe(load.dialogs, publish.targets, accounts, sockets.host, contact)


#: A server where nobody needs rules.
_TAC = """\
from twisted.application.service import Application

from simplestack.app.settings import Settings
from simplestack.app.tap import Daemon, makeStack

application = Application("simplestack")
settings = Settings(default_handling="allow", notify_interval=0, **{settings!r})
Daemon(makeStack(settings)).setServiceParent(application)
"""


def _open_server(
    directory: Path, store: str, port: int, xcap: int, profile: Path | None
) -> list[str]:
    """The command of a server that lets everybody watch whoever has no rules."""
    settings = {
        "domains": [DOMAIN],
        "store": store,
        "listen": [f"udp:{port}:interface=127.0.0.1"],
        "xcap": [f"tcp:{xcap}:interface=127.0.0.1"],
    }
    (directory / "open.tac").write_text(_TAC.format(settings=settings))
    return twistd(["-y", "open.tac"], profile)


@contextmanager
def _prepared(
    plan: Plan, row: Row, profile: Path | None = None, rules: int = 2
) -> Iterator[tuple[Served, Load, Operation, list[Account]]]:
    """The row's server, with everything in it that the row goes out from.

    Each presentity has so many ``rules``: 2, 20 or none.
    """
    with _directory(plan.keep) as directory, _sockets() as sockets:
        accounts = accounts_of(plan)
        store = plan.store or f"sqlite:///{directory / 'simplestack.db'}"
        port, xcap = free_port(), free_port()
        if plan.server_command:
            command = shlex.split(
                plan.server_command.format(port=port, xcap=xcap, store=store, domain=DOMAIN)
            )
        elif rules != 2:
            command = _open_server(directory, store, port, xcap, profile)
        else:
            arguments = ["simplestack", "--domain", DOMAIN, "--store", store]
            # Every change is told, so that the NOTIFYs of each PUBLISH can be counted.
            arguments += ["--notify-interval", "0"]
            arguments += ["--listen", f"udp:{port}:interface=127.0.0.1"]
            arguments += ["--xcap", f"tcp:{xcap}:interface=127.0.0.1"]
            command = twistd(arguments, profile)
        with emptied(plan.store):
            if plan.create_users:
                create_users(store, accounts)
            with _running(plan, command, directory, port, sockets) as served:
                load = Load(sockets)
                window = min(row.window, 50)
                served.xcap = xcap
                if row.method == "XCAP":
                    yield served, load, Register(accounts, sockets.host), accounts
                    return
                if row.method == "REGISTER":
                    register = Register(accounts, sockets.host)
                    load.perform(register, window, len(accounts), 60)
                    yield served, load, register, accounts
                    return
                owners = accounts[: row.presentities]
                if plan.put_rules and rules:
                    many = [account.username for account in accounts] if rules == 20 else None
                    put_rules(xcap, owners, many)
                publish = Publish(owners, sockets.host)
                load.perform(publish, window, len(owners), 60)
                subscribe = _subscribe(load, publish, accounts, sockets)
                if row.method == "PUBLISH":
                    load.perform(subscribe, window, len(owners) * row.watchers, 60)
                    yield served, load, publish, accounts
                else:
                    # Every watcher gets his nonce before anything is measured.
                    rounds = -(-len(accounts) // len(owners))
                    load.perform(subscribe, window, len(owners) * rounds, 60)
                    yield served, load, subscribe, accounts


def _mean(first: Figures, second: Figures) -> Figures:
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


def run_row(plan: Plan, row: Row) -> tuple[Figures | None, Figures]:
    """Measure the server, and the bare responder before and after it."""
    window = plan.window or row.window
    bare = run_bare(plan, row) if plan.bare and not plan.profile else None
    profile = None
    if plan.profile:
        profile = Path(tempfile.mkdtemp(prefix="simplestack-profile-")) / f"{row.name}.pstats"
    with _prepared(plan, row, profile) as (served, load, operation, accounts):
        figures = _measure(plan, load, operation, window, served, profile)
        algorithm = accounts[0].algorithm
    if bare is not None:
        bare = _mean(bare, run_bare(plan, row))
    return bare, figures._replace(
        algorithm=algorithm, profile=None if profile is None else str(profile)
    )


def run_rules(plan: Plan, row: Row) -> tuple[Figures, Figures]:
    """Measure the server without rules before and after, and in between with twenty."""
    publish = row._replace(method="PUBLISH")
    window = plan.window or row.window
    measured = []
    for rules in (0, 20, 0):
        with _prepared(plan, publish, rules=rules) as (served, load, operation, accounts):
            figures = _measure(plan, load, operation, window, served, None)
            measured.append(figures._replace(algorithm=accounts[0].algorithm))
    before, ruled, after = measured
    return _mean(before, after), ruled


_REQUESTS = {"GET": Get, "PUT": DocumentPut, "ELEMENT": ElementPut}


def run_xcap(plan: Plan, row: Row) -> Figures:
    """Measure XCAP: one connection for each request in flight, each of another user."""
    profile = None
    if plan.profile:
        profile = Path(tempfile.mkdtemp(prefix="simplestack-profile-")) / f"{row.name}.pstats"
    window = plan.window or row.window
    requests = _REQUESTS[row.method]()
    with (
        _prepared(plan, row._replace(method="XCAP"), profile) as (served, _, _, accounts),
        clients(accounts[:window], served.xcap) as documents,
    ):
        documents.perform(requests, plan.warm)
        gc.collect()
        gc.disable()
        if profile is not None:
            served.profile(True)
        done, machine = documents.done, machine_busy()
        wall, own, cpu = time.monotonic(), time.process_time(), served.cpu()
        try:
            documents.perform(requests, plan.seconds)
        finally:
            gc.enable()
        cpu, own, wall = served.cpu() - cpu, time.process_time() - own, time.monotonic() - wall
        machine = machine_busy() - machine
        done = documents.done - done
        if profile is not None:
            served.profile(False)
        algorithm = documents.clients[0].account.algorithm
    return Figures(
        operations=done,
        seconds=wall,
        server_us=cpu / 1000 / done,
        generator_us=own * 1e6 / done,
        server_busy=cpu / 1e9 / wall,
        generator_busy=own / wall,
        others_busy=max(0.0, (machine - own - cpu / 1e9) / wall),
        notifications=0,
        lost=0,
        dropped=0,
        repeated=0,
        strays=0,
        challenged=0,
        failures={},
        algorithm=algorithm,
        window=window,
        profile=None if profile is None else str(profile),
    )


def run_memory(plan: Plan, row: Row) -> MemoryFigures:
    """Measure the server's memory before and with many subscriptions.

    Each time it waits until the transactions of the requests are gone: over UDP timer J keeps an
    answered one for 32 seconds (RFC 3261 §17.2.2).
    """
    window = plan.window or row.window
    half = plan.subscriptions // 2
    with _prepared(plan, row) as (served, load, operation, _):
        load.idle(plan.settle)
        before = served.memory()
        load.perform(operation, window, half, 300)
        load.idle(plan.settle)
        middle = served.memory()
        load.perform(operation, window, plan.subscriptions - half, 300)
        at_once = served.memory()
        load.idle(plan.settle)
        return MemoryFigures(plan.subscriptions, before, middle, at_once, served.memory())
