"""Reads, in a small pool of threads; those that wait are answered together."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from sys import intern
from threading import Thread
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool

from simplestack.state import Document, Kind, Record, Subscription, fields_of
from simplestack.store.committer import Reactor
from simplestack.store.database import Connection, Database
from simplestack.store.errors import Unavailable
from simplestack.store.schema import RECORD_TABLES
from simplestack.store.text import decode, encode

__all__ = ["Loader", "Reader", "Readers", "read_records"]

#: Seconds after which reading again is worth it.
RETRY_AFTER = 2

#: The texts that many subscriptions have in common.
_COMMON = tuple(
    place
    for place, name in enumerate(fields_of(Subscription))
    if name
    in {
        "package",
        "status",
        "event",
        "watcher",
        "local_uri",
        "remote_uri",
        "contact",
        "accept",
        "content_type",
        "user_agent",
    }
)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Readers:
    """Threads that read, each with a connection of its own.

    :param limit: how many threads.
    """

    def __init__(self, database: Database, reactor: Reactor, limit: int = 2) -> None:
        self.database = database
        self.reactor = reactor
        self.limit = limit
        self._pool = ThreadPool(0, limit, "simplestack store readers")
        # They must not keep a program alive that ends without stopping its store.
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]  # makes Threads as well
        self._idle: list[Connection] = []
        self._ended = False

    def start(self) -> None:
        """Be ready."""
        self._pool.start()

    def stop(self) -> None:
        """Let what runs end, and close."""
        if self._ended:
            return
        self._ended = True
        self._pool.stop()
        while self._idle:
            self._idle.pop().close()

    def run(self, read: Callable[[Connection], V]) -> Deferred[V]:
        """The result of ``read`` with a connection.  Fails with Unavailable."""
        result: Deferred[V] = Deferred()
        if self._ended:
            result.errback(Unavailable(RETRY_AFTER, "the store is closed"))
        else:
            self._pool.callInThread(self._run, read, result)
        return result

    def _run(self, read: Callable[[Connection], V], result: Deferred[V]) -> None:
        call = self.reactor.callFromThread
        try:
            value = self._read(read)
        except Exception as error:
            unavailable = Unavailable(RETRY_AFTER, f"{self.database.name}: {error}")
            unavailable.__cause__ = error
            call(result.errback, unavailable)
        else:
            call(result.callback, value)

    def _read(self, read: Callable[[Connection], V]) -> V:
        while True:
            try:
                connection, used = self._idle.pop(), True
            except IndexError:
                connection, used = self.database.connect(), False
            try:
                if used and not self.database.current(connection):
                    connection.close()
                    continue
                value = read(connection)
            except Exception as error:
                lost = self.database.lost(error, connection)
                connection.close()
                # The server may have been restarted since.
                if used and lost:
                    continue
                raise
            self._idle.append(connection)
            return value


class Reader(Generic[K, V]):
    """Reads values by key: whoever asks while all threads are busy shares the next read.

    :param read: reads the values of some keys; a key without a value may be left out.
    :param missing: makes the value of such a key.
    """

    def __init__(
        self,
        readers: Readers,
        read: Callable[[list[K], Connection], dict[K, V]],
        missing: Callable[[], V],
        together: int = 100,
    ) -> None:
        self._readers = readers
        self._read = read
        self._missing = missing
        self._together = together
        self._waiting: dict[K, list[Deferred[V]]] = {}
        self._running = 0
        self._going = False

    def get(self, key: K) -> Deferred[V]:
        """The value of a key.  Fails with Unavailable."""
        result: Deferred[V] = Deferred()
        self._waiting.setdefault(key, []).append(result)
        if not self._going and self._running < self._readers.limit:
            self._going = True
            self._readers.reactor.callLater(0, self._go)
        return result

    def _go(self) -> None:
        self._going = False
        while self._waiting and self._running < self._readers.limit:
            keys = [key for key, _ in zip(self._waiting, range(self._together), strict=False)]
            waiting = {key: self._waiting.pop(key) for key in keys}
            self._running += 1
            self._readers.run(partial(self._read, keys)).addBoth(self._done, waiting)

    def _done(self, values: Any, waiting: dict[K, list[Deferred[V]]]) -> None:
        self._running -= 1
        self._go()
        for key, results in waiting.items():
            for result in results:
                if isinstance(values, dict):
                    result.callback(values[key] if key in values else self._missing())
                else:
                    result.errback(Unavailable(RETRY_AFTER, values.getErrorMessage()))


def read_records(database: Database) -> Callable[[list[str], Connection], dict[str, list[Record]]]:
    """What reads all records of some AORs."""
    statements: list[tuple[Kind, str]] = [
        (
            kind,
            f"SELECT {', '.join(column.name for column in table.columns)} "
            f"FROM {table.name} WHERE aor {database.any_of}",
        )
        for kind, table in RECORD_TABLES.items()
    ]

    def read(aors: list[str], connection: Connection) -> dict[str, list[Record]]:
        found: dict[str, list[Record]] = {}
        argument = [database.many([encode(aor) for aor in aors])]
        for kind, statement in statements:
            rows = connection.execute(statement, argument).fetchall()
            if rows:
                for row in database.texts[kind].decode(rows):
                    record: Record = kind(*(_shared(row) if kind is Subscription else row))
                    found.setdefault(record.aor, []).append(record)
        return found

    return read


def _shared(row: Sequence[Any]) -> list[Any]:
    """The row of a subscription whose common texts are in memory once, as when it was made."""
    values = list(row)
    for place in _COMMON:
        values[place] = intern(values[place])
    return values


class Loader:
    """The questions that the store answers by reading."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._records: Reader[str, list[Record]] = Reader(
            readers, read_records(readers.database), list
        )

    def load(self, aor: str) -> Deferred[list[Record]]:
        """All records of an AOR."""
        # Others may be given the same answer.
        return self._records.get(aor).addCallback(list)

    def deadlines(self) -> Deferred[list[tuple[str, float]]]:
        """Each AOR that has something that expires, with the earliest time."""

        def read(connection: Connection) -> list[tuple[str, float]]:
            earliest: dict[str, float] = {}
            for table in RECORD_TABLES.values():
                if "expires_at" in table.columns:
                    rows = connection.execute(
                        f"SELECT aor, min(expires_at) FROM {table.name} GROUP BY aor"
                    ).fetchall()
                    for aor, expires_at in rows:
                        if expires_at < earliest.get(aor, float("inf")):
                            earliest[aor] = expires_at
            return [(decode(aor), expires_at) for aor, expires_at in earliest.items()]

        return self._readers.run(read)

    def subscribed(self) -> Deferred[list[str]]:
        """The AORs that have subscriptions with a dialog."""

        def read(connection: Connection) -> list[str]:
            rows = connection.execute(
                "SELECT DISTINCT aor FROM subscription WHERE status <> 'waiting'"
            ).fetchall()
            return [decode(aor) for (aor,) in rows]

        return self._readers.run(read)

    def documents(self, auid: str) -> Deferred[list[Document]]:
        """All documents of an application usage, of every AOR."""
        table = RECORD_TABLES[Document]
        database = self._readers.database
        statement = (
            f"SELECT {', '.join(column.name for column in table.columns)} FROM {table.name} "
            f"WHERE auid {database.any_of}"
        )

        def read(connection: Connection) -> list[Document]:
            rows = connection.execute(statement, [database.many([encode(auid)])]).fetchall()
            return [Document._make(row) for row in database.texts[Document].decode(rows)]

        return self._readers.run(read)

    def counts(self) -> Deferred[dict[str, int]]:
        """How many records of each kind there are, by the name of the kind in lower case."""

        def read(connection: Connection) -> dict[str, int]:
            counts: dict[str, int] = {}
            for table in RECORD_TABLES.values():
                row = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()
                counts[table.name] = int(row[0]) if row else 0
            return counts

        return self._readers.run(read)
