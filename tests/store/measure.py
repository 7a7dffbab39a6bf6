"""What a commit costs: processor time per change, with so many commits in flight.

    python -m tests.store.measure [URL ...]

Without URLs it measures SQLite in a temporary directory and a PostgreSQL cluster of its own.  The
time is that of the whole process, reactor and writer thread; that of the database server is not
in it.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Generator
from typing import Any

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks

from simplestack.state import Binding, ChangeSet, Kind, Publication, Record, Subscription
from simplestack.store.sql import SQLStore
from tests.store.cluster import cluster
from tests.store.records import binding, publication, subscription

IN_FLIGHT = 200
COMMITS = 40_000
USERS = 5_000

_MAKE: dict[Kind, Callable[[str], Record]] = {
    Binding: binding,
    Publication: lambda aor: publication(aor, body=b"<presence/>" * 60),
    Subscription: subscription,
}


def _sequence(kind: Kind) -> list[ChangeSet]:
    make = _MAKE[kind]
    users = [f"sip:user{number}@example.com" for number in range(USERS)]
    return [ChangeSet(aor, [make(aor)]) for aor in users]


@inlineCallbacks
def _measure(store: SQLStore, kind: Kind) -> Generator[Deferred[Any], Any, None]:
    sequence = _sequence(kind)
    done: Deferred[None] = Deferred()
    given = acknowledged = 0
    giving = 0.0

    def commit() -> None:
        nonlocal given, giving
        changes = sequence[given % USERS]
        given += 1
        before = time.perf_counter()
        store.commit(changes, acknowledge)
        giving += time.perf_counter() - before

    def acknowledge(_: Exception | None) -> None:
        nonlocal acknowledged
        acknowledged += 1
        if given < COMMITS:
            commit()
        elif acknowledged == COMMITS:
            done.callback(None)

    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(IN_FLIGHT):
        commit()
    yield done
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(
        f"  {kind.__name__:12} {processor / COMMITS * 1e6:6.1f} µs of processor per commit, "
        f"{giving / COMMITS * 1e6:.1f} µs of it in commit(); {COMMITS / wall:,.0f} per second"
    )


@inlineCallbacks
def _measure_loads(store: SQLStore) -> Generator[Deferred[Any], Any, None]:
    for together in (1, 100):
        count = 1000
        wall, processor = time.perf_counter(), time.process_time()
        for start in range(0, count, together):
            loads = [
                store.load(f"sip:user{number}@example.com")
                for number in range(start, start + together)
            ]
            yield gatherResults(loads)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(
            f"  load, {together:3} at once {processor / count * 1e6:4.0f} µs of processor, "
            f"{wall / count * 1e6:.0f} µs in all"
        )


@inlineCallbacks
def main(clock: Any, *urls: str) -> Generator[Deferred[Any], Any, None]:
    """Measure each database."""
    with tempfile.TemporaryDirectory() as directory:
        if not urls:
            own = cluster()
            urls = (f"sqlite:///{directory}/measure.db", *([own.url] if own else []))
        for url in urls:
            store = SQLStore(url, clock)
            yield store.start()
            print(store.database.name)
            for kind in _MAKE:
                yield _measure(store, kind)
            yield _measure_loads(store)
            yield store.stop()


if __name__ == "__main__":
    task.react(main, sys.argv[1:], reactor)
