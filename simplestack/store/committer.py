"""The one writer: group commit in a thread of its own.

The reactor collects changes in a Batch.  A batch is handed over when the writer is idle and the
reactor has gone once around, so the first batch of a burst is the whole burst; while it is being
made durable the next one gathers, hence batches are as large as the disk is slow.  Transactions begin
no sooner than a millisecond after one another, so a fast disk is no reason for many small ones.  All but
``_Writer`` runs in the reactor's thread and needs no locks.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, ClassVar, Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from simplestack.state import ChangeSet, Kind, Removed, row_of
from simplestack.store.batch import Batch, Entries, Settled
from simplestack.store.database import Connection, Database
from simplestack.store.errors import StoreError, Unavailable, Unstorable
from simplestack.store.text import KEY_LIMIT, encode, fits

__all__ = ["Committer", "Reactor"]

#: Seconds that commits may be released for before the reactor does something else.
_SLICE: Final = 0.005
#: Octets that must be writable before a failed store counts as recovered.
_TRIAL: Final = 65_536


class Reactor(Protocol):
    """What the store needs of a reactor."""

    def seconds(self) -> float:
        """The time, for measuring."""

    def callLater(
        self, delay: float, call: Callable[..., object], /, *args: object
    ) -> IDelayedCall:
        """Call in the reactor's thread after a while."""

    def callFromThread(self, call: Callable[..., object], /, *args: object) -> None:
        """Call in the reactor's thread, from another."""


class Committer:
    """Makes change sets durable in the order in which they are given.

    :param batch_limit: commits in one transaction.
    :param queue_limit: commits that may wait; more fail at once.
    :param retry: seconds between two attempts to bring a failed store back.
    :param pause: seconds from the begin of a transaction to that of the next, at least: where
        they come one by one each costs far more than what is in it.

    When a batch fails, all that were given after it fail too, since they were decided on top of
    it.  ``on_failure`` is called with the AORs before anything else can be decided about them:
    what memory holds of them is not what the database holds.
    """

    log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        database: Database,
        reactor: Reactor,
        *,
        batch_limit: int = 1000,
        queue_limit: int = 10_000,
        retry: float = 1.0,
        pause: float = 0.0,
    ) -> None:
        self._database = database
        self._reactor = reactor
        self._batch_limit = batch_limit
        self._queue_limit = queue_limit
        self._retry_after = max(1, round(retry * 2))
        self.on_failure: Callable[[Collection[str]], object] = lambda aors: None
        #: Batches that gather; only the last one still grows.
        self._queue: deque[Batch] = deque()
        #: What the writer is at.
        self._written: Batch | None = None
        self._going = False
        #: Outcomes that are not told yet, in order.
        self._told: deque[tuple[Settled, Exception | None]] = deque()
        self._telling = False
        #: The database is back, and it is still told what was lost.
        self._recovering = False
        self._count = 0
        #: Loads that wait until a batch is settled.
        self._settling: dict[int, list[Deferred[None]]] = {}
        self._up = False
        self._alive = False
        self._started: Deferred[None] | None = None
        self._stopping: list[Deferred[None]] = []
        self._retry = retry
        self._pause = pause
        self._writer: _Writer

    @property
    def running(self) -> bool:
        """Whether there is a writer; there is none before ``start``, nor after that has failed."""
        return self._alive

    def start(self) -> Deferred[None]:
        """Open the database and bring its schema up to date.  Fails with StoreError.

        Commits are taken from now on; they wait until it is open.  After a failure it may be
        tried again.
        """
        self._started = Deferred()
        self._alive = self._up = True
        # A thread starts once.
        self._writer = _Writer(self._database, self, self._reactor, self._retry, self._pause)
        self._writer.thread.start()
        return self._started

    def stop(self) -> Deferred[None]:
        """Make durable what waits, take nothing more, and close."""
        if not self._alive:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stopping.append(stopped)
        self._go()
        return stopped

    def commit(self, changes: ChangeSet, settled: Settled) -> None:
        """Make changes durable; ``settled`` is called later, with None when they are.

        It is never called before that of an earlier commit, unless they fail: with Unavailable, or
        with Unstorable where a key is longer than any database takes.  Without changes it waits
        for the earlier ones alone.
        """
        aor = changes.aor
        if not self._up or self._count >= self._queue_limit or self._stopping:
            self._reject(aor, settled, Unavailable(self._retry_after))
            return
        for _, key in changes.entries:
            if (len(aor) + len(key)) * 7 > KEY_LIMIT and not fits(aor, key):
                error = Unstorable(f"the key {aor[:50]}… {key[:50]}… is too long")
                self._reject(aor, settled, error)
                return
        queue = self._queue
        if not queue:
            if not changes.entries and self._written is None:
                self._tell_later(settled, None)
                return
            batch = Batch(self._reactor.seconds())
            queue.append(batch)
        else:
            batch = queue[-1]
            if len(batch.waiting) >= self._batch_limit:
                batch = Batch(self._reactor.seconds())
                queue.append(batch)
        entries = batch.entries
        for (kind, key), entry in changes.entries.items():
            entries[kind][aor, key] = entry
        batch.waiting.append((aor, settled))
        batch.aors.add(aor)
        self._count += 1
        if not self._going:
            self._going = True
            self._reactor.callLater(0, self._go)

    def settled(self, aor: str) -> Deferred[None] | None:
        """Fires when no change of the AOR is on its way any more; None if there is none."""
        batches = [*reversed(self._queue)]
        if self._written is not None:
            batches.append(self._written)
        for batch in batches:
            if aor in batch.aors:
                waiting: Deferred[None] = Deferred()
                self._settling.setdefault(id(batch), []).append(waiting)
                return waiting
        return None

    def age(self) -> float:
        """Seconds since the oldest change that is not durable yet was given."""
        if self._written is not None:
            return self._reactor.seconds() - self._written.since
        return self._reactor.seconds() - self._queue[0].since if self._queue else 0.0

    def _reject(self, aor: str, settled: Settled, error: StoreError) -> None:
        self._disown({aor})
        self._tell_later(settled, error)

    def _disown(self, aors: Collection[str]) -> None:
        try:
            self.on_failure(aors)
        except Exception:
            self.log.failure("the AORs whose changes failed could not be told of")

    def _go(self) -> None:
        """Hand the next batch to the writer."""
        if self._written is not None:
            return
        if self._queue:
            self._going = True
            self._written = self._queue.popleft()
            self._writer.inbox.put(self._written)
            return
        self._going = False
        if self._stopping and not self._told:
            self._up = False
            self._writer.inbox.put(None)

    def _settle(self, batch: Batch) -> None:
        for waiting in self._settling.pop(id(batch), ()):
            waiting.callback(None)

    def _tell(self) -> None:
        """Tell outcomes for a while."""
        self._telling = False
        end = self._reactor.seconds() + _SLICE
        while self._told:
            settled, error = self._told.popleft()
            self._count -= 1
            try:
                settled(error)
            except Exception:
                self.log.failure("what a commit has come to could not be told")
            if self._reactor.seconds() >= end:
                break
        if self._told:
            self._tell_again()
            return
        if self._recovering:
            self.recovered()
        if self._stopping:
            self._go()

    def _tell_soon(self) -> None:
        if not self._telling:
            self._tell()

    def _tell_later(self, settled: Settled, error: Exception | None) -> None:
        """Tell what was decided at once, but not before the caller knows that it has asked."""
        self._count += 1
        self._told.append((settled, error))
        self._tell_again()

    def _tell_again(self) -> None:
        if not self._telling:
            self._telling = True
            self._reactor.callLater(0, self._tell)

    # What the writer reports.

    def opened(self) -> None:
        """The database is ready."""
        started, self._started = self._started, None
        if started is not None:
            started.callback(None)

    def not_opened(self, error: StoreError) -> None:
        """The database can't be used; the writer has ended."""
        self._alive = False
        self._lose(() if self._written is None else (self._written,))
        started, self._started = self._started, None
        if started is not None:
            started.errback(error)
        for stopped in self._stopping:
            stopped.callback(None)

    def written(self, batch: Batch, refused: dict[str, Exception]) -> None:
        """A batch is durable, but for what was refused."""
        self._written = None
        if refused:
            self._refuse(batch, refused)
        self._told.extend([(settled, None) for _, settled in batch.waiting])
        # The writer goes on before anybody is told.
        self._go()
        self._settle(batch)
        self._tell_soon()

    def _refuse(self, batch: Batch, refused: dict[str, Exception]) -> None:
        aors = refused.keys()
        failed = [
            waiter for concerned in (batch, *self._queue) for waiter in concerned.without(aors)
        ]
        self._disown(aors)
        for aor, settled in failed:
            reason = refused[aor]
            self.log.error("records of {aor} can't be stored: {reason}", aor=aor, reason=reason)
            self._told.append((settled, Unstorable(f"records of {aor} can't be stored: {reason}")))

    def failed(self, batch: Batch, error: Exception) -> None:
        """The database failed; the writer tries to get it back."""
        self.log.critical(
            "the store failed and answers 503 until it is back: {database}: {reason}",
            database=self._database.name,
            reason=str(error).strip() or type(error).__name__,
        )
        self._lose((batch,))

    def _lose(self, written: Sequence[Batch]) -> None:
        """Fail what was given to the writer and what waits behind it."""
        self._up = False
        self._written = None
        batches = [*written, *self._queue]
        self._queue.clear()
        self._disown(set[str]().union(*(failed.aors for failed in batches)))
        for failed in batches:
            for _, settled in failed.waiting:
                self._told.append((settled, Unavailable(self._retry_after)))
            self._settle(failed)
        self._tell_soon()
        self._go()

    def recovered(self) -> None:
        """The database takes writes again."""
        # Whoever was decided on what was lost must know first.
        self._recovering = bool(self._told)
        if self._recovering:
            return
        self._up = True
        self.log.critical("the store is back: {database}", database=self._database.name)

    def closed(self) -> None:
        """The writer has ended."""
        self._writer.thread.join()
        self._alive = False
        for stopped in self._stopping:
            stopped.callback(None)


class _Writer:
    """The thread's work.  It takes batches from ``inbox`` until None comes.

    It has a thread and is none: threads are referred to weakly, which a compiled class that has a
    ``__dict__``, as those of Python have, does not survive (the collector gives back a reference
    that it does not own).
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        reactor: Reactor,
        retry: float,
        pause: float,
    ) -> None:
        self.thread = Thread(target=self._run, name="simplestack store writer", daemon=True)
        self.inbox: SimpleQueue[Batch | None] = SimpleQueue()
        self._database = database
        self._committer = committer
        self._call = reactor.callFromThread
        self._retry = retry
        self._pause = pause
        self._connection: Connection

    def _run(self) -> None:
        """Open, then write batches."""
        committer = self._committer
        try:
            self._database.prepare()
            self._connection = self._database.connect()
        except StoreError as error:
            self._call(committer.not_opened, error)
            return
        except Exception as error:
            self._call(committer.not_opened, StoreError(f"{self._database.name}: {error}"))
            return
        self._call(committer.opened)
        while (batch := self.inbox.get()) is not None:
            end = time.monotonic() + self._pause
            try:
                refused = self._write(batch)
            except Exception as error:
                self._call(committer.failed, batch, error)
                if not self._recover():
                    break
                self._call(committer.recovered)
            else:
                self._call(committer.written, batch, refused)
            left = end - time.monotonic()
            if left > 0:
                time.sleep(left)
        self._connection.close()
        self._call(committer.closed)

    def _recover(self) -> bool:
        """Try until the database can be written; False when it is time to end."""
        while True:
            self._connection.close()
            try:
                # Nothing is given to write while the store is down; only the end may come.
                self.inbox.get(timeout=self._retry)
                return False
            except Empty:
                pass
            try:
                self._connection = self._database.connect()
                self._try()
            except Exception:
                continue
            return True

    def _try(self) -> None:
        connection = self._connection
        mark = self._database.mark(1)
        with connection.transaction():
            connection.execute(f"INSERT INTO trial (data) VALUES ({mark})", [bytes(_TRIAL)])
        connection.execute("DELETE FROM trial")

    def _write(self, batch: Batch) -> dict[str, Exception]:
        """Make a batch durable; the AORs whose records no database takes, with the reasons."""
        try:
            try:
                self._execute(self._steps(batch.entries))
            except Exception as error:
                if self._database.lost(error, self._connection):
                    # The server may have been restarted.  Even if it had committed the batch,
                    # doing so again changes nothing.
                    self._connection.close()
                    self._connection = self._database.connect()
                elif not self._database.contended(error):
                    raise
                self._execute(self._steps(batch.entries))
        except Exception as error:
            if not self._database.refused(error):
                raise
            return self._write_singly(batch)
        return {}

    def _execute(self, steps: Sequence[tuple[str, Sequence[Any]]]) -> None:
        connection = self._connection
        if not self._database.current(connection):
            # SQLite would go on writing to a file that nobody can find.
            raise StoreError(f"the database file {self._database.path} is gone: put it back")
        if len(steps) == 1:
            # A single statement is its own transaction.
            connection.execute(*steps[0])
        elif steps:
            with connection.transaction():
                for step in steps:
                    connection.execute(*step)

    def _steps(self, entries: dict[Kind, Entries]) -> list[tuple[str, Sequence[Any]]]:
        database = self._database
        steps: list[tuple[str, Sequence[Any]]] = []
        for kind, changed in entries.items():
            if not changed:
                continue
            rows = [row_of(entry) for entry in changed.values() if not isinstance(entry, Removed)]
            if rows:
                steps += database.upserts[kind].steps(database.texts[kind].encode(rows))
            if len(rows) < len(changed):
                gone = [
                    (encode(aor), encode(key))
                    for (aor, key), entry in changed.items()
                    if isinstance(entry, Removed)
                ]
                steps += database.deletes[kind].steps(gone)
        return steps

    def _write_singly(self, batch: Batch) -> dict[str, Exception]:
        """Find the AORs whose changes are refused; the others are made durable."""
        refused: dict[str, Exception] = {}
        connection = self._connection
        with connection.transaction():
            for aor in batch.aors:
                own = {
                    kind: {key: entry for key, entry in entries.items() if key[0] == aor}
                    for kind, entries in batch.entries.items()
                }
                connection.execute("SAVEPOINT single")
                try:
                    for step in self._steps(own):
                        connection.execute(*step)
                except Exception as error:
                    if not self._database.refused(error):
                        raise
                    refused[aor] = error
                    connection.execute("ROLLBACK TO SAVEPOINT single")
                connection.execute("RELEASE SAVEPOINT single")
        return refused
