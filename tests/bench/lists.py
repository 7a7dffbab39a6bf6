"""What resource lists cost the server, beside single subscriptions (``python -m tests.bench.lists``).

A thousand watchers, each with a list of a hundred entries drawn from two thousand presentities,
subscribe over a TCP connection each; presentities publish, one alone and twenty at a time.  Then the
same watchers do the same with a subscription to each entry, a hundred thousand, at a fresh server.
"""

import argparse
import os
import re
import selectors
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.bench.account import Account, values_of
from tests.bench.load import LoadError
from tests.bench.messages import PublishTemplate, SubscribeTemplate, dialog_lines
from tests.bench.prepared import free_port
from tests.bench.provision import Put, create_users, put, put_rules
from tests.bench.served import Served, ServerError, twistd

__all__ = ["Figures", "Scale", "measure_lists", "measure_singles"]

DOMAIN = "bench.example"
_MARK = re.compile(rb"at desk ([0-9a-f]{8})")
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)")
_VIA = re.compile(rb"\r\nVia: [^\r]*")
_CSEQ = re.compile(rb"\r\nCSeq: [^\r]*")
#: Watchers whose set-up is under way at the same time.
_WINDOW = 20
#: Seconds that a set-up may take.
_PATIENCE = 900
#: Seconds in which a PUBLISH must have reached everybody.
IN_TIME = 2.0


class Scale(NamedTuple):
    """How much is measured."""

    watchers: int = 1000
    entries: int = 100
    presentities: int = 2000
    #: PUBLISH requests one at a time, and rounds of twenty.
    alone: int = 5
    rounds: int = 5
    together: int = 20
    #: Seconds to wait before memory is read.
    settle: float = 2.5


class Published(NamedTuple):
    """What PUBLISH requests cost."""

    publishes: int
    #: Entries of lists, or single subscriptions, that were told.
    told: int
    notifies: int
    octets: int
    cpu_us: float
    #: Seconds until the last watcher had been told, of the slowest PUBLISH.
    slowest: float


class Figures(NamedTuple):
    """What was measured."""

    watchers: int
    entries: int
    #: Of the set-up: seconds, and CPU of the server in microseconds.
    seconds: float
    cpu_us: float
    octets: int
    #: Memory that the server took.
    memory: int
    alone: Published
    together: Published
    rounds: int

    @property
    def all_entries(self) -> int:
        """How many entries, or subscriptions, there are."""
        return self.watchers * self.entries


class Line:
    """A TCP connection of one user: what comes by it, as whole messages."""

    def __init__(self, port: int, account: Account) -> None:
        self.account = account
        # The server takes a thousand connections of one address at the most.
        here = f"127.0.0.{1 + account.index // 500}"
        self.socket = socket.create_connection(("127.0.0.1", port), 10, (here, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = b"%b:%d" % (here.encode(), self.socket.getsockname()[1])
        #: NOTIFYs that have come, and their octets.
        self.notifies = 0
        self.octets = 0
        #: Makes the request that waits for its answer, to be sent again with credentials.
        self.asked: dict[bytes, Callable[[], bytes]] = {}
        #: Called with what answers the request of a serial number.
        self.answered: Callable[[bytes], None] | None = None
        #: Marks that NOTIFYs had since they were last taken.
        self.marks: list[bytes] = []
        self._data = bytearray()
        # The server ends connections by which no first message comes.
        self.socket.sendall(
            b"OPTIONS sip:%b SIP/2.0\r\nVia: SIP/2.0/TCP %b;branch=z9hG4bKoptions%d\r\n"
            b"Max-Forwards: 70\r\nFrom: <sip:%b>;tag=o\r\nTo: <sip:%b>\r\nCall-ID: %b\r\n"
            b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            % (
                DOMAIN.encode(),
                self.host,
                account.index,
                DOMAIN.encode(),
                DOMAIN.encode(),
                self.host.replace(b":", b"-"),
            )
        )

    def ask(self, serial: bytes, make: Callable[[], bytes]) -> None:
        """Send a request; ``make`` is called again where it is challenged."""
        self.asked[serial] = make
        self.socket.sendall(make())

    def read(self) -> None:
        """Take what has come."""
        piece = self.socket.recv(262_144)
        if not piece:
            raise LoadError("the server closed a connection")
        data = self._data
        data += piece
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(data[: end + 2])
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length is not None else 0)
            if len(data) < size:
                return
            body = bytes(data[end + 4 : size])
            del data[:size]
            self._take(head, body, size)

    def _take(self, head: bytes, body: bytes, size: int) -> None:
        if head.startswith(b"NOTIFY "):
            self.notifies += 1
            self.octets += size
            self.marks += _MARK.findall(body)
            via, cseq = _VIA.search(head), _CSEQ.search(head)
            assert via is not None and cseq is not None
            self.socket.sendall(
                b"SIP/2.0 200 OK%b%b%b\r\nContent-Length: 0\r\n\r\n"
                % (via[0], dialog_lines(head), cseq[0])
            )
            return
        status = head[8:11]
        branch = head[head.find(b"z9hG4bK") + 7 :][:8]
        make = self.asked.get(branch)
        if make is None or status < b"200":
            return
        if status == b"401":
            self.account.challenged(
                [each.decode() for each in values_of(head, b"WWW-Authenticate")]
            )
            self.socket.sendall(make())
            return
        del self.asked[branch]
        if status[:1] != b"2":
            said = head.split(b"\r\n", 1)[0].decode()
            raise LoadError(f"the server says {said}")
        if self.answered is not None:
            self.answered(head)


class Generator:
    """All connections, and the loop that reads them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._serial = 0
        self.lines: list[Line] = []

    def line(self, account: Account) -> Line:
        """One more connection."""
        line = Line(self._port, account)
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        self.lines.append(line)
        return line

    def serial(self) -> bytes:
        """Eight octets that no other request has."""
        self._serial += 1
        return b"%08x" % self._serial

    def until(self, done: Callable[[], bool], limit: float, what: str) -> None:
        """Read until it is done; raises LoadError where that takes longer than the limit."""
        end = time.monotonic() + limit
        while not done():
            if time.monotonic() > end:
                raise LoadError(f"{what} took longer than {limit:.0f} s")
            self.pass_by(0.2)

    def pass_by(self, patience: float) -> list[Line]:
        """Read what there is; who has got something."""
        ready = [key.data for key, _ in self._selector.select(patience)]
        for line in ready:
            line.read()
        return ready

    def close(self) -> None:
        """Close all."""
        for line in self.lines:
            line.socket.close()
        self._selector.close()


class Publisher:
    """Publishes for all presentities by one connection."""

    def __init__(self, generator: Generator, accounts: list[Account]) -> None:
        self._generator = generator
        self._line = generator.line(accounts[0])
        self._templates = [PublishTemplate(account, self._line.host) for account in accounts]
        self._accounts = accounts
        self._tags = [b""] * len(accounts)
        self._number = 0

    def publish(self, at: int, limit: float = 10.0) -> bytes:
        """Publish for one presentity, and wait for the answer; the mark of the note."""
        serial = self._generator.serial()
        line = self._line
        line.account = self._accounts[at]
        answers: list[bytes] = []
        line.answered = answers.append

        def make() -> bytes:
            self._number += 1
            data = self._templates[at].write(serial, self._number, self._tags[at])
            return data.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP", 1)

        line.ask(serial, make)
        self._generator.until(lambda: bool(answers), limit, "a PUBLISH")
        self._tags[at] = values_of(answers[0], b"SIP-ETag")[0]
        return serial


@contextmanager
def _served(accounts: list[Account], watchers: list[Account], lists: list[Put]) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="simplestack-bench-") as name:
        directory = Path(name)
        store = f"sqlite:///{directory / 'simplestack.db'}"
        port, xcap = free_port(), free_port()
        create_users(store, accounts + watchers)
        arguments = ["simplestack", "--domain", DOMAIN, "--store", store, "--notify-interval", "0"]
        arguments += ["--listen", f"tcp:{port}:interface=127.0.0.1"]
        arguments += ["--xcap", f"tcp:{xcap}:interface=127.0.0.1"]
        cpus = sorted(os.sched_getaffinity(0))
        served = Served(twistd(arguments), directory, port, set(cpus[:1]))
        try:
            put_rules(xcap, accounts)
            put(xcap, lists)
            yield served
        except LoadError as error:
            served.check()
            raise LoadError(f"{error}\n{served.said()}") from error
        finally:
            served.stop()


def drawn(scale: Scale) -> list[list[int]]:
    """Who is in each watcher's list."""
    random = Random(1)
    return [random.sample(range(scale.presentities), scale.entries) for _ in range(scale.watchers)]


def _accounts(prefix: str, count: int) -> list[Account]:
    return [Account(at, f"{prefix}{at:05d}", DOMAIN, f"secret-{at}") for at in range(count)]


def _documents(watchers: list[Account], lists: list[list[int]]) -> list[Put]:
    documents = []
    for watcher, members in zip(watchers, lists, strict=True):
        entries = "".join([f'<entry uri="sip:p{at:05d}@{DOMAIN}"/>' for at in members])
        services = (
            '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">'
            f'<service uri="sip:{watcher.username}-friends@{DOMAIN}">'
            '<list xmlns:r="urn:ietf:params:xml:ns:resource-lists">'
            f"{entries.replace('<entry', '<r:entry')}</list>"
            "<packages><package>presence</package></packages></service></rls-services>"
        )
        documents.append(
            Put(watcher, "rls-services", "application/rls-services+xml", services.encode())
        )
    return documents


def _measure(
    scale: Scale,
    served: Served,
    accounts: list[Account],
    watchers: list[Account],
    lists: list[list[int]],
    subscribe: Callable[[Generator, list[Line]], None],
) -> Figures:
    generator = Generator(served.port)
    try:
        publisher = Publisher(generator, accounts)
        for at in range(len(accounts)):
            publisher.publish(at)
        lines = [generator.line(watcher) for watcher in watchers]
        time.sleep(scale.settle)
        memory = served.memory().rss
        wall, cpu = time.monotonic(), served.cpu()
        subscribe(generator, lines)
        wall, cpu = time.monotonic() - wall, served.cpu() - cpu
        octets = sum(line.octets for line in lines)
        end = time.monotonic() + scale.settle
        while time.monotonic() < end:
            generator.pass_by(0.2)
        memory = served.memory().rss - memory
        holders: dict[int, set[int]] = {}
        for number, members in enumerate(lists):
            for member in members:
                holders.setdefault(member, set()).add(number)
        wanted = [at for at in sorted(holders) if holders[at]]
        Random(2).shuffle(wanted)
        take = iter(wanted)
        alone = _publish(served, generator, publisher, lines, holders, take, scale.alone, 1)
        together = _publish(
            served, generator, publisher, lines, holders, take, scale.rounds, scale.together
        )
    finally:
        generator.close()
    return Figures(
        len(watchers),
        scale.entries,
        wall,
        cpu / 1000,
        octets,
        memory,
        alone,
        together,
        scale.rounds,
    )


def _publish(
    served: Served,
    generator: Generator,
    publisher: Publisher,
    lines: list[Line],
    holders: dict[int, set[int]],
    take: Iterator[int],
    rounds: int,
    each: int,
) -> Published:
    """Publish in rounds; each is over when everybody who is concerned was told."""
    notifies, octets = sum(line.notifies for line in lines), sum(line.octets for line in lines)
    told = publishes = 0
    slowest = 0.0
    cpu = served.cpu()
    for _ in range(rounds):
        for line in lines:
            line.marks.clear()
        waiting: dict[bytes, tuple[float, set[int]]] = {}
        for at in [next(take) for _ in range(each)]:
            began = time.monotonic()
            mark = publisher.publish(at)
            waiting[mark] = (began, set(holders[at]))
            told += len(holders[at])
            publishes += 1
        end = time.monotonic() + 20.0
        while waiting:
            now = time.monotonic()
            if now > end:
                raise LoadError("some were not told of a PUBLISH within 20 s")
            for number, line in enumerate(lines):
                for mark in line.marks:
                    if mark in waiting:
                        began, missing = waiting[mark]
                        missing.discard(number)
                        if not missing:
                            slowest = max(slowest, now - began)
                            del waiting[mark]
                line.marks.clear()
            if waiting:
                generator.pass_by(0.2)
    # What follows the last NOTIFY belongs to it.
    generator.pass_by(0.3)
    return Published(
        publishes,
        told,
        sum(line.notifies for line in lines) - notifies,
        sum(line.octets for line in lines) - octets,
        (served.cpu() - cpu) / 1000,
        slowest,
    )


def measure_lists(scale: Scale) -> Figures:
    """One subscription to a list for each watcher."""
    accounts, watchers = _accounts("p", scale.presentities), _accounts("w", scale.watchers)
    lists = drawn(scale)
    count = scale.entries

    def subscribe(generator: Generator, lines: list[Line]) -> None:
        idle = list(reversed(lines))
        busy: dict[Line, int] = {}
        end = time.monotonic() + _PATIENCE
        while idle or busy:
            while idle and len(busy) < _WINDOW:
                line = idle.pop()
                busy[line] = 0
                name = line.account.username.encode()
                uri = b"sip:%b-friends@%b" % (name, DOMAIN.encode())
                template = SubscribeTemplate(line.account, line.host, line.host + b";transport=tcp")
                serial = generator.serial()
                _subscribe(line, template, uri, serial, serial, True)
            for line in generator.pass_by(1.0):
                if line in busy and len(line.marks) >= count:
                    del busy[line]
            if time.monotonic() > end:
                raise LoadError(f"the set-up took longer than {_PATIENCE} s")

    with _served(accounts, watchers, _documents(watchers, lists)) as served:
        return _measure(scale, served, accounts, watchers, lists, subscribe)


def measure_singles(scale: Scale) -> Figures:
    """A subscription to each entry for each watcher."""
    accounts, watchers = _accounts("p", scale.presentities), _accounts("w", scale.watchers)
    lists = drawn(scale)
    count = scale.entries

    def subscribe(generator: Generator, lines: list[Line]) -> None:
        idle = list(reversed(list(zip(lines, lists, strict=True))))
        busy: dict[Line, tuple[list[int], SubscribeTemplate]] = {}
        end = time.monotonic() + _PATIENCE

        def more(line: Line) -> None:
            members, template = busy[line]
            serial = generator.serial()
            uri = accounts[members.pop()].aor
            _subscribe(line, template, uri, serial, serial, False)

        while idle or busy:
            while idle and len(busy) < _WINDOW:
                line, members = idle.pop()
                template = SubscribeTemplate(line.account, line.host, line.host + b";transport=tcp")
                busy[line] = list(members), template
                more(line)
            for line in generator.pass_by(1.0):
                if line not in busy:
                    continue
                if len(line.marks) >= count:
                    del busy[line]
                elif not line.asked and len(line.marks) == count - len(busy[line][0]):
                    more(line)
            if time.monotonic() > end:
                raise LoadError(f"the set-up took longer than {_PATIENCE} s")

    with _served(accounts, watchers, []) as served:
        return _measure(scale, served, accounts, watchers, lists, subscribe)


def _subscribe(
    line: Line, template: SubscribeTemplate, uri: bytes, serial: bytes, dialog: bytes, listed: bool
) -> None:
    number = 0

    def make() -> bytes:
        nonlocal number
        number += 1
        data = template.write(serial, number, uri, dialog)
        data = data.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP", 1)
        if listed:
            data = data.replace(
                b"\r\nAccept: ",
                b"\r\nSupported: eventlist\r\nAccept: multipart/related, application/rlmi+xml, ",
                1,
            )
        return data

    line.ask(serial, make)


def report(name: str, figures: Figures) -> list[str]:
    """What was measured, for people."""
    entries = figures.all_entries
    lines = [
        f"{name}: {figures.watchers:,} watchers × {figures.entries} entries",
        f"  set-up {figures.seconds:.1f} s, {figures.cpu_us / 1e6:.1f} s of server CPU:"
        f" {figures.cpu_us / entries:.0f} µs and {figures.octets / entries:.0f} octets of NOTIFY"
        f" for each entry; {figures.memory / entries:,.0f} octets of memory for each entry",
    ]
    for what, each in (
        ("one PUBLISH alone", figures.alone),
        (f"{figures.together.publishes // figures.rounds} at a time", figures.together),
    ):
        verdict = "yes" if each.slowest <= IN_TIME else "NO"
        lines.append(
            f"  {what}: {each.cpu_us / each.publishes:,.0f} µs of server CPU,"
            f" {each.octets / each.publishes:,.0f} octets in"
            f" {each.notifies / each.publishes:.1f} NOTIFYs for each PUBLISH;"
            f" {each.cpu_us / each.told:.0f} µs and {each.octets / each.told:,.0f} octets for each"
            f" who is told; all told within {each.slowest:.2f} s (at most {IN_TIME:g} s: {verdict})"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure lists and single subscriptions, and print both."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.lists", description=__doc__)
    whole = Scale()
    add = parser.add_argument
    add("--watchers", type=int, default=whole.watchers, help="with a list (%(default)s)")
    add("--entries", type=int, default=whole.entries, help="of each list (%(default)s)")
    add("--presentities", type=int, default=whole.presentities, help="(%(default)s)")
    add("--rounds", type=int, default=whole.rounds, help="of 20 PUBLISHes (%(default)s)")
    add(
        "--single-watchers",
        type=int,
        help="with single subscriptions, as many as with lists where it is not given; 0 for none",
    )
    options = parser.parse_args(arguments)
    scale = Scale(options.watchers, options.entries, options.presentities, rounds=options.rounds)
    try:
        print("\n".join(report("lists", measure_lists(scale))), flush=True)
        watchers = options.single_watchers
        if watchers is None:
            watchers = scale.watchers
        if watchers:
            same = scale._replace(watchers=watchers)
            print("\n".join(report("single subscriptions", measure_singles(same))))
    except (LoadError, ServerError) as error:
        print(f"not measured: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
