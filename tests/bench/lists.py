"""What resource lists cost the server, beside single subscriptions (``python -m tests.bench.lists``).

A thousand watchers, each with a list of a hundred entries drawn from two thousand presentities,
subscribe over a TCP connection each; presentities publish, one alone and twenty at a time.  Then the
same watchers do the same with a subscription to each entry, a hundred thousand, at a fresh server.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

from tests.bench.account import DOMAIN, Account, accounts_of
from tests.bench.lines import Generator, Line, Publisher
from tests.bench.load import LoadError
from tests.bench.messages import SubscribeTemplate
from tests.bench.provision import Put, create_users, put, put_rules
from tests.bench.served import Served, ServerError
from tests.bench.started import directory_of, started, telling_server
from tests.ports import free_port

__all__ = ["Figures", "Scale", "measure_lists", "measure_singles"]

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


@contextmanager
def _served(accounts: list[Account], watchers: list[Account], lists: list[Put]) -> Iterator[Served]:
    with directory_of(False) as directory:
        store = f"sqlite:///{directory / 'simplestack.db'}"
        port, xcap = free_port(), free_port()
        create_users(store, accounts + watchers)
        command = telling_server(store, [f"tcp:{port}:interface=127.0.0.1"], xcap)
        cpus = sorted(os.sched_getaffinity(0))
        with started(command, directory, port, set(cpus[:1])) as served:
            put_rules(xcap, accounts)
            put(xcap, lists)
            yield served


def drawn(scale: Scale) -> list[list[int]]:
    """Who is in each watcher's list."""
    random = Random(1)
    return [random.sample(range(scale.presentities), scale.entries) for _ in range(scale.watchers)]


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
    accounts = accounts_of(scale.presentities, "p")
    watchers = accounts_of(scale.watchers, "w")
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
    accounts = accounts_of(scale.presentities, "p")
    watchers = accounts_of(scale.watchers, "w")
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
