"""``python -m tests.bench.path``: the path of a request alone, in one process and without sockets.

The stack is the real one with SQLite, under a reactor that is turned by hand: datagrams are handed
to the listener, and what it sends is caught.  So nothing is in the figures but our own code, its
libraries and the database, and small changes of the code show.  What a row costs with sockets and
all, ``python -m tests.bench`` tells.

A machine that is shared may be half as fast in one second as in another.  So each short round lies
between two runs of a fixed piece of Python, and is divided by what that took: figures are what the
round would have taken at the speed at which the piece takes four microseconds.
"""

import argparse
import cProfile
import gc
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from simplestack.app.settings import Settings
from simplestack.app.stack import Stack
from simplestack.app.tap import GC_THRESHOLDS
from simplestack.state import ChangeSet, Document
from tests.bench.account import DOMAIN, Account, accounts_of
from tests.bench.figures import Row
from tests.bench.load import Dialog, Load, Operation
from tests.bench.messages import rules_document
from tests.bench.operations import Publish, Register, Subscribe
from tests.bench.provision import create_users
from tests.bench.rows import ROWS

__all__ = ["HandReactor", "Wire"]

_SERVER = ("127.0.0.1", 5060)
_AGENT = ("127.0.0.1", 40000)
_WATCHERS = ("127.0.0.1", 40001)


_PIECE = b"\r\n".join(b"Header-%d: <sip:u%05d@example.com>;tag=%d" % (n, n, n) for n in range(16))


def _speed() -> float:
    """How many times four microseconds a fixed piece of Python takes now, the least of a few."""
    best = 1.0
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(10):
            headers: dict[str, list[str]] = {}
            for line in _PIECE.decode().split("\r\n"):
                name, _, value = line.partition(":")
                headers.setdefault(name.lower(), []).append(f"{value.strip()};x")
        best = min(best, time.perf_counter() - start)
    return best / 10 / 4e-6


class Caught:
    """A UDP transport that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []

    def getHost(self) -> IPv4Address:
        """Where the socket would be."""
        return IPv4Address("UDP", *_SERVER)

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        """Keep a datagram."""
        self.sent.append((data, address))

    def stopReading(self) -> None:
        """There is no socket to read."""

    def stopListening(self) -> None:
        """There is no socket to close."""


class HandReactor(Clock):
    """A reactor that is turned by hand, with the threads of the store beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.caught = Caught()
        self.protocol: Any = None
        self._calls: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()
        self._turned = time.monotonic()

    def listenUDP(self, port: int, protocol: Any, **options: Any) -> Caught:
        """Take the listener."""
        self.protocol = protocol
        protocol.makeConnection(self.caught)
        return self.caught

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        """Queue a call of another thread."""
        self._calls.put((call, args))

    def turn(self, wait: float) -> None:
        """Go around once; wait so long for another thread if nothing is to be done."""
        now = time.monotonic()
        self.advance(now - self._turned)
        self._turned = now
        try:
            call, args = self._calls.get(timeout=wait) if wait else self._calls.get_nowait()
            while True:
                call(*args)
                call, args = self._calls.get_nowait()
        except Empty:
            pass


class Wire:
    """The generator's channel; CPU time is counted while the server has the thread."""

    def __init__(self, reactor: HandReactor) -> None:
        self._reactor = reactor
        self._arrived: list[tuple[bytes, tuple[str, int]]] = []
        #: Seconds of CPU that the reactor's thread has used.
        self.seconds = 0.0
        self.profiler: cProfile.Profile | None = None

    def request(self, data: bytes, user: int) -> None:
        """Send a request."""
        self._arrived.append((data, _AGENT))

    def answer(self, data: bytes, user: int) -> None:
        """Send a watcher's response."""
        self._arrived.append((data, _WATCHERS))

    def read(self, wait: float) -> tuple[list[bytes], list[bytes]]:
        """Let the server work until it sends something."""
        arrived, self._arrived = self._arrived, []
        reactor = self._reactor
        sent = reactor.caught.sent
        receive = reactor.protocol.datagramReceived
        if self.profiler is not None:
            self.profiler.enable()
        start = time.thread_time()
        for data, address in arrived:
            receive(data, address)
        reactor.turn(0)
        if not sent:
            reactor.turn(wait)
        self.seconds += time.thread_time() - start
        if self.profiler is not None:
            self.profiler.disable()
        messages = (
            [data for data, address in sent if address == _AGENT],
            [data for data, address in sent if address == _WATCHERS],
        )
        sent.clear()
        return messages


def _takes_commits(stack: Stack, reactor: HandReactor) -> bool:
    outcomes: list[Exception | None] = []
    stack.store.commit(ChangeSet(""), outcomes.append)
    while not outcomes:
        reactor.turn(0.1)
    return outcomes == [None]


@contextmanager
def _running(accounts: list[Account]) -> Iterator[tuple[Stack, HandReactor]]:
    with tempfile.TemporaryDirectory(prefix="simplestack-path-") as directory:
        url = f"sqlite:///{Path(directory) / 'simplestack.db'}"
        create_users(url, accounts)
        settings = Settings(
            domains=(DOMAIN,),
            listen=(f"udp:{_SERVER[1]}:interface={_SERVER[0]}",),
            xcap=(),
            store=url,
            control="",
            notify_interval=0,
        )
        reactor = HandReactor()
        stack = Stack(settings, reactor)
        stack.privilegedStartService()
        stack.startService()
        while not _takes_commits(stack, reactor):
            pass
        try:
            yield stack, reactor
        finally:
            ended: list[object] = []
            stack.stopService().addBoth(ended.append)
            while not ended:
                reactor.turn(0.1)


def _put_rules(stack: Stack, reactor: HandReactor, accounts: list[Account]) -> None:
    stored: list[object] = []
    for account in accounts:
        aor = account.aor.decode()
        body = rules_document(account.domain)
        document = Document(
            aor, "pres-rules/index", "pres-rules", "index", "x", "application/auth-policy+xml",
            body, time.time(),
        )  # fmt: skip
        stack.store.commit(ChangeSet(aor, [document]), stored.append)
    while len(stored) < len(accounts):
        reactor.turn(0.1)


def _measure(row: Row, rounds: int, seconds: float, users: int, profile: bool) -> None:
    accounts = accounts_of(users)
    with _running(accounts) as (stack, reactor):
        wire = Wire(reactor)
        load = Load(wire)
        host = b"%b:%d" % (_AGENT[0].encode(), _AGENT[1])
        contact = b"%b:%d" % (_WATCHERS[0].encode(), _WATCHERS[1])
        operation: Operation
        if row.method == "REGISTER":
            operation = Register(accounts, host)
            load.perform(operation, 50, len(accounts), 60)
        else:
            owners = accounts[: row.presentities]
            _put_rules(stack, reactor, owners)
            operation = publish = Publish(owners, host)
            load.perform(publish, 50, len(owners), 60)
            dialogs: dict[bytes, Dialog] = load.dialogs
            subscribe = Subscribe(dialogs, publish.targets, accounts, host, contact)
            if row.method == "SUBSCRIBE":
                operation = subscribe
                watchers = -(-len(accounts) // len(owners))
            else:
                watchers = row.watchers
            load.perform(subscribe, row.window, len(owners) * watchers, 60)
        load.sustain(operation, row.window, seconds)
        if profile:
            wire.profiler = cProfile.Profile()
        figures = []
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        for _ in range(rounds):
            speed = _speed()
            done, own, everything = load.done, wire.seconds, time.process_time()
            thread = time.thread_time()
            load.sustain(operation, row.window, seconds)
            done = load.done - done
            own = wire.seconds - own
            others = time.process_time() - everything - (time.thread_time() - thread)
            speed = (speed + _speed()) / 2
            figures.append((own / done * 1e6 / speed, others / done * 1e6 / speed, speed))
        load.drain(operation, 3.0)
        own_us, others_us, speed = (statistics.median(each) for each in zip(*figures, strict=True))
        failures = f"  {dict(load.failures)}" if load.failures else ""
        print(
            f"{row.title:30} {own_us:8.1f} µs in the reactor's thread, {others_us:6.1f} µs in"
            f" others; the least {min(figures)[0]:.1f}; speed {speed:.2f}{failures}"
        )
        if wire.profiler is not None:
            pstats.Stats(wire.profiler).strip_dirs().sort_stats("tottime").print_stats(70)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.path",
        description="CPU of the path of a request alone, without sockets: the median of some rounds.",
    )
    parser.add_argument("--only", default="", metavar="ROW", help="rows that begin so, by commas")
    parser.add_argument("--rounds", type=int, default=25, help="rounds a row (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.1, help="of a round (%(default)s)")
    parser.add_argument("--users", type=int, default=500, help="users (%(default)s)")
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    options = parser.parse_args()
    names = tuple(options.only.split(","))
    for row in ROWS:
        if row.name != "memory" and row.name.startswith(names):
            _measure(row, options.rounds, options.seconds, options.users, options.profile)


if __name__ == "__main__":
    main()
