"""The threads that read the database, and readers that share what they read."""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from threading import Thread
from typing import Any, ClassVar, Final, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from simplestack.store.committer import Reactor
from simplestack.store.database import Connection, Database
from simplestack.store.errors import StoreError, Unavailable

__all__ = ["RETRY_AFTER", "Reader", "ReadingThreads"]

#: Seconds after which reading again is worth it.
RETRY_AFTER: Final = 2
#: Seconds in which it is logged once that reading fails.
_QUIET: Final = 60.0

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ReadingThreads:
    """Threads that read, each with a connection of its own.

    :param limit: how many threads.
    """

    log: ClassVar[Logger] = Logger()

    def __init__(self, database: Database, reactor: Reactor, limit: int = 2) -> None:
        self.database = database
        self.reactor = reactor
        self.limit = limit
        self._pool = ThreadPool(0, limit, "simplestack store readers")
        # They must not keep a program alive that ends without stopping its store.
        self._pool.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]  # makes Threads as well
        self._idle: list[Connection] = []
        self._ended = False
        # Until when it need not be logged again that reading fails.
        self._logged_until = 0.0

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
            call(self._fail, result, unavailable)
        else:
            call(result.callback, value)

    def _fail(self, result: Deferred[V], error: Unavailable) -> None:
        now = self.reactor.seconds()
        if now >= self._logged_until:
            self._logged_until = now + _QUIET
            self.log.critical(
                "the store can't be read, and who is not in memory gets 503: {reason}",
                reason=str(error),
            )
        result.errback(error)

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

    :param read: reads the values of some keys; a key without a value may be left out, and one
        whose value is of no use has the error in its place.
    :param missing: makes the value of such a key.
    """

    def __init__(
        self,
        threads: ReadingThreads,
        read: Callable[[list[K], Connection], Mapping[K, V | StoreError]],
        missing: Callable[[], V],
        together: int = 100,
    ) -> None:
        self._threads = threads
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
        if not self._going and self._running < self._threads.limit:
            self._going = True
            self._threads.reactor.callLater(0, self._go)
        return result

    def _go(self) -> None:
        self._going = False
        while self._waiting and self._running < self._threads.limit:
            keys = [key for key, _ in zip(self._waiting, range(self._together), strict=False)]
            waiting = {key: self._waiting.pop(key) for key in keys}
            self._running += 1
            self._threads.run(partial(self._read, keys)).addBoth(self._done, waiting)

    def _done(self, values: Any, waiting: dict[K, list[Deferred[V]]]) -> None:
        self._running -= 1
        self._go()
        failed = None
        if not isinstance(values, dict):
            failed = Unavailable(RETRY_AFTER, values.getErrorMessage())
            values = {}
        for key, results in waiting.items():
            value = values.get(key)
            for result in results:
                if failed is not None or isinstance(value, StoreError):
                    result.errback(failed or value)
                else:
                    result.callback(value if key in values else self._missing())
