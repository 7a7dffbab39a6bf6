"""What happens when the database fails, and how it comes back."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any
from unittest import SkipTest

from sqlalchemy import event
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from simplestack.state import ChangeSet
from simplestack.store.errors import StoreError, Unavailable, Unstorable
from simplestack.store.sql import SQLStore
from tests.store.cluster import cluster
from tests.store.deferring import committed
from tests.store.pump import Pump
from tests.store.records import ALICE, BOB, binding, document, publication

CAROL = "sip:carol@example.com"


@implementer(ILogObserver)
class _Observer:
    def __init__(self, logged: list[str]) -> None:
        self.logged = logged

    def __call__(self, event: dict[str, Any]) -> None:
        if event["log_level"] >= LogLevel.error:
            self.logged.append(event["log_format"].split(":")[0].split(" and ")[0])


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """Watch the log."""
        self.pump = Pump()
        self.logged: list[str] = []
        observer = _Observer(self.logged)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.failed: list[set[str]] = []

    def started(self, url: str, **options: Any) -> SQLStore:
        """A store that tells us of failures."""
        store = SQLStore(url, self.pump, retry=0.05, **options)
        store.on_failure = lambda aors: self.failed.append(set(aors))
        self.pump.wait(store.start())
        self.addCleanup(lambda: self.pump.wait(store.stop()))
        return store

    def outcomes(self, results: list[Deferred[None]]) -> list[object]:
        """What commits come to: None, or the type of the error."""
        told: list[object] = []
        for result in results:
            try:
                told.append(self.pump.wait(result))
            except StoreError as error:
                told.append(type(error))
        return told

    def recover(self, store: SQLStore) -> None:
        """Commit until it works, as clients try again."""
        while self.outcomes([committed(store, ChangeSet(CAROL, [binding(CAROL)]))]) != [None]:
            # That it is back may have been told while the answer was waited for.
            if self.logged[-1:] != ["the store is back"]:
                self.pump.turn()


class SQLiteTests(_Case):
    def setUp(self) -> None:
        """Name a file."""
        super().setUp()
        self.path = Path(self.mktemp()).absolute()
        self.url = f"sqlite:///{self.path}"

    def test_full_disk(self) -> None:
        """A full disk fails commits, says so once, and is got over without a restart."""
        store = self.started(self.url)
        full = True

        def limit(connection: Any, _: object) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0] if full else 10_000
            connection.execute(f"PRAGMA max_page_count = {pages}")

        event.listen(store.database.engine, "connect", limit)
        writer: Any = store._committer._writer._connection.driver
        limit(writer, None)
        big = publication(body=b"x" * 100_000)
        results = [committed(store, ChangeSet(ALICE, [big, binding()]))]
        self.pump.until(lambda: store._committer._written)
        results.append(committed(store, ChangeSet(BOB, [document(BOB)])))
        order: list[str] = []

        def told(failure: Failure) -> Failure:
            order.append("told the caller")
            return failure

        store.on_failure = lambda aors: order.append("told the app")
        results[0].addErrback(told)
        self.assertEqual(self.outcomes(results), [Unavailable, Unavailable])
        self.assertEqual(order, ["told the app", "told the caller"])
        for _ in range(3):
            self.assertEqual(
                self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))]), [Unavailable]
            )
        self.assertEqual(self.logged, ["the store failed"])
        full = False
        self.recover(store)
        self.assertEqual(self.logged, ["the store failed", "the store is back"])
        self.assertEqual(self.pump.wait(store.load(ALICE)), [])
        self.assertEqual(self.outcomes([committed(store, ChangeSet(ALICE, [big]))]), [None])
        self.assertEqual(self.pump.wait(store.load(ALICE)), [big])
        with closing(sqlite3.connect(self.path)) as connection:
            self.assertEqual(connection.execute("SELECT count(*) FROM trial").fetchone(), (0,))

    def test_file_gone(self) -> None:
        """Nothing is acknowledged that went into a file which is not there any more."""
        store = self.started(self.url)
        self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))])
        elsewhere = self.path.with_suffix(".elsewhere")
        self.path.rename(elsewhere)
        self.assertEqual(
            self.outcomes([committed(store, ChangeSet(ALICE, [binding(cseq=2)]))]), [Unavailable]
        )
        self.assertEqual(self.failed, [{ALICE}])
        self.assertRaises(Unavailable, self.pump.wait, store.load(ALICE))
        self.assertFalse(self.path.exists())
        elsewhere.rename(self.path)
        self.recover(store)
        self.assertEqual(self.pump.wait(store.load(ALICE)), [binding()])

    def test_recovery_under_load(self) -> None:
        """A store that is back takes commits, though some are refused whenever it is looked at."""
        store = self.started(self.url)
        elsewhere = self.path.with_suffix(".elsewhere")
        self.path.rename(elsewhere)
        self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))])
        elsewhere.rename(self.path)
        told: list[object] = []
        end = self.pump.seconds() + 10
        while None not in told and self.pump.seconds() < end:
            store.commit(ChangeSet(CAROL, [binding(CAROL)]), told.append)
            self.pump.turn()
        self.assertIn(None, told)

    def test_told_once_and_later(self) -> None:
        """Whatever comes of a commit is told once, in the order of the calls, after it returned."""
        store = self.started(self.url, queue_limit=4)
        told: list[tuple[int, object]] = []
        for number, changes in enumerate(
            (
                ChangeSet(ALICE),
                ChangeSet(ALICE, [binding()]),
                ChangeSet(BOB),
                ChangeSet(BOB, [document(BOB, key="é" * 2000)]),
                ChangeSet(CAROL, [binding(CAROL)]),
            )
        ):
            store.commit(changes, lambda error, number=number: told.append((number, type(error))))  # type: ignore[misc]  # mypy can't infer defaults of lambdas
            self.assertEqual(told, [])
        self.pump.until(lambda: len(told) == 5)
        self.assertIsNone(self.pump.wait(store.stop()))
        self.assertEqual(
            [each for each in told if each[1] is type(None)],
            [(number, type(None)) for number in (0, 1, 2)],
        )
        self.assertEqual(dict(told)[3], Unstorable)
        self.assertEqual(dict(told)[4], Unavailable)

    def test_fault_of_who_is_told(self) -> None:
        """A fault of who is told is logged, and the others are told."""
        store = self.started(self.url)
        told: list[object] = []

        def fails(_: object) -> None:
            raise ZeroDivisionError

        store.commit(ChangeSet(ALICE, [binding()]), fails)
        store.commit(ChangeSet(ALICE, [binding(cseq=2)]), told.append)
        self.pump.until(lambda: told)
        self.assertEqual(told, [None])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_locked(self) -> None:
        """Another process that holds the file too long is an outage, one that lets go is none."""
        store = self.started(self.url, busy_timeout=0.05)
        with closing(sqlite3.connect(self.path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.assertEqual(
                self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))]), [Unavailable]
            )
            other.execute("COMMIT")
        self.recover(store)

    def test_unstorable(self) -> None:
        """A value out of range fails the commits of its AOR alone, and those on top of them."""
        store = self.started(self.url)
        results = [
            committed(store, ChangeSet(BOB, [binding(BOB), publication(BOB)])),
            committed(store, ChangeSet(ALICE, [binding(cseq=2**63)])),
            committed(store, ChangeSet(CAROL, [binding(CAROL)])),
        ]
        self.pump.until(lambda: store._committer._written)
        results.append(committed(store, ChangeSet(ALICE, [publication()])))
        results.append(committed(store, ChangeSet(BOB, [binding(BOB, cseq=5)])))
        self.assertEqual(self.outcomes(results), [None, Unstorable, None, Unstorable, None])
        self.assertEqual(self.failed, [{ALICE}])
        self.assertEqual(self.logged, ["records of {aor} can't be stored"] * 2)
        self.assertEqual(self.pump.wait(store.load(ALICE)), [])
        self.assertEqual(
            set(self.pump.wait(store.load(BOB))), {binding(BOB, cseq=5), publication(BOB)}
        )
        self.assertEqual(self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))]), [None])

    def test_unstorable_values(self) -> None:
        """Whatever no column takes is refused: wrong types, NaN, None.

        A record that is a compiled class would refuse most of them itself.
        """
        store = self.started(self.url)
        for value in (float("nan"), None, object()):
            bad = document(modified_at=value)
            self.assertEqual(
                self.outcomes([committed(store, ChangeSet(ALICE, [bad]))]), [Unstorable]
            )
        for value in (None, 5, b"octets"):
            bad = document(content_type=value)
            self.assertEqual(
                self.outcomes([committed(store, ChangeSet(ALICE, [bad]))]), [Unstorable]
            )

    def test_queue_limit(self) -> None:
        """What is beyond the limit of the queue fails at once, and those before it do not."""
        store = self.started(self.url, queue_limit=3)
        results = [
            committed(store, ChangeSet(aor, [binding(aor)])) for aor in (ALICE, ALICE, BOB, CAROL)
        ]
        self.assertEqual(self.failed, [{CAROL}])
        self.assertEqual(self.outcomes(results), [None, None, None, Unavailable])
        self.assertEqual(self.outcomes([committed(store, ChangeSet(CAROL, []))]), [None])

    def test_pause(self) -> None:
        """Transactions do not begin sooner after one another than they may."""
        store = self.started(self.url, pause=0.1)
        began = time.monotonic()
        for number in range(3):
            self.outcomes([committed(store, ChangeSet(ALICE, [binding(cseq=number)]))])
        self.assertGreaterEqual(time.monotonic() - began, 0.2)

    def test_batch_limit(self) -> None:
        """More than a batch takes is committed in several, in order."""
        store = self.started(self.url, batch_limit=2)
        order: list[int] = []
        results = []
        for number in range(7):
            result = committed(store, ChangeSet(ALICE, [binding(cseq=number)]))
            result.addCallback(lambda _, number: order.append(number), number)
            results.append(result)
        self.outcomes(results)
        self.assertEqual(order, list(range(7)))
        self.assertEqual(self.pump.wait(store.load(ALICE)), [binding(cseq=6)])

    def test_queue_age(self) -> None:
        """The age is that of the oldest change that is not durable yet."""
        store = self.started(self.url)
        now = self.pump.seconds()
        self.pump.seconds = lambda: now  # type: ignore[method-assign]  # a clock that we turn
        result = committed(store, ChangeSet(ALICE, [binding()]))
        now += 2
        committed(store, ChangeSet(ALICE, [binding()]))
        self.assertEqual(store.queue_age(), 2.0)
        self.pump.wait(result)
        self.assertEqual(store.queue_age(), 0.0)

    def test_slices(self) -> None:
        """Releasing a large batch lets the reactor breathe when it takes long."""
        store = self.started(self.url)
        now = self.pump.seconds()
        self.pump.seconds = lambda: now  # type: ignore[method-assign]  # a clock that we turn
        fired = []

        def slow(_: None) -> None:
            nonlocal now
            now += 0.002
            fired.append(now)

        for _ in range(20):
            committed(store, ChangeSet(ALICE, [binding()])).addCallback(slow)
        most = 0
        while len(fired) < 20:
            before = len(fired)
            self.pump.turn()
            most = max(most, len(fired) - before)
        self.assertEqual(most, 3)

    def test_stop_while_down(self) -> None:
        """A store that is down can be stopped."""
        store = self.started(self.url)
        self.path.rename(self.path.with_suffix(".elsewhere"))
        self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))])
        self.assertIsNone(self.pump.wait(store.stop()))
        self.assertIsNone(self.pump.wait(store.stop()))

    def test_while_it_opens(self) -> None:
        """Commits that come while the database is opened wait for that."""
        store = SQLStore(self.url, self.pump)
        self.addCleanup(lambda: self.pump.wait(store.stop()))
        self.assertEqual(
            self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))]), [Unavailable]
        )
        started = store.start()
        results = [committed(store, ChangeSet(ALICE, [binding()])) for _ in range(3)]
        self.pump.wait(started)
        self.assertEqual(self.outcomes(results), [None, None, None])
        self.assertEqual(self.pump.wait(store.load(ALICE)), [binding()])

    def test_not_opened(self) -> None:
        """If it can't be opened, they fail; so does what comes later."""
        self.path.write_text("this is no database" * 100)
        store = SQLStore(self.url, self.pump)
        store.on_failure = lambda aors: self.failed.append(set(aors))
        started = store.start()
        results = [committed(store, ChangeSet(ALICE, [binding()]))]
        # One is with the writer already, the other waits behind it.
        store._committer._go()
        results.append(committed(store, ChangeSet(BOB, [binding(BOB)])))
        self.assertRaises(StoreError, self.pump.wait, started)
        self.assertEqual(self.outcomes(results), [Unavailable, Unavailable])
        self.assertEqual(self.failed, [{ALICE, BOB}])
        self.assertEqual(
            self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))]), [Unavailable]
        )
        self.assertFalse(store.running)
        # When it is in order it can be opened after all.
        self.path.unlink()
        self.pump.wait(store.start())
        self.assertTrue(store.running)
        self.assertEqual(self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))]), [None])
        self.assertEqual(self.pump.wait(store.load(ALICE)), [binding()])
        self.pump.wait(store.stop())
        self.assertFalse(store.running)

    def test_stop_while_it_opens(self) -> None:
        """A store can be stopped before it is open, whether it then opens or not."""
        for text in (None, "this is no database" * 100):
            if text is not None:
                self.path.write_text(text)
            store = SQLStore(self.url, self.pump)
            ends: list[object] = []
            store.start().addBoth(ends.append)
            self.assertIsNone(self.pump.wait(store.stop()))
            self.assertEqual(len(ends), 1)

    def test_not_started(self) -> None:
        """A store that can't start says why, and can be stopped."""
        self.path.write_text("This is not a database, nor was it ever.")
        store = SQLStore(self.url, self.pump)
        error = self.assertRaises(StoreError, self.pump.wait, store.start())
        self.assertIn("file is not a database: check that", str(error))
        self.assertIsNone(self.pump.wait(store.stop()))
        self.assertEqual(
            self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))]), [Unavailable]
        )


class PostgreSQLTests(_Case):
    def setUp(self) -> None:
        """Empty the database of our cluster."""
        super().setUp()
        own = cluster()
        if own is None:
            raise SkipTest("PostgreSQL's server is not installed")
        self.cluster = own
        self.url = own.clear()

    def test_lost_server(self) -> None:
        """A server that is lost fails commits and loads, until it is back."""
        store = self.started(self.url)
        self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))])
        self.pump.wait(store.load(ALICE))
        self.cluster.stop()
        try:
            self.assertEqual(
                self.outcomes([committed(store, ChangeSet(ALICE, [publication()]))]), [Unavailable]
            )
            self.assertRaises(Unavailable, self.pump.wait, store.load(ALICE))
            self.assertEqual(self.failed, [{ALICE}])
        finally:
            self.cluster.start()
        self.recover(store)
        self.assertEqual(
            self.logged, ["the store failed", "the store can't be read,", "the store is back"]
        )
        self.assertEqual(self.pump.wait(store.load(ALICE)), [binding()])

    def test_lost_connections(self) -> None:
        """Lost connections to a server that is well are made anew, and nobody notices."""
        store = self.started(self.url)
        self.outcomes([committed(store, ChangeSet(ALICE, [binding()]))])
        self.pump.wait(store.load(ALICE))
        self.cluster.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'simplestack'"
        )
        results = [committed(store, ChangeSet(ALICE, [binding(cseq=2), publication()]))]
        self.assertEqual(self.outcomes(results), [None])
        self.assertEqual(set(self.pump.wait(store.load(ALICE))), {binding(cseq=2), publication()})
        self.assertEqual((self.failed, self.logged), ([], []))

    def test_unstorable(self) -> None:
        """A value out of range fails the commits of its AOR alone."""
        store = self.started(self.url)
        results = [
            committed(store, ChangeSet(BOB, [binding(BOB)])),
            committed(store, ChangeSet(ALICE, [binding(cseq=2**63), publication()])),
            committed(store, ChangeSet(CAROL, [document(CAROL, content_type=None)])),
        ]
        self.assertEqual(self.outcomes(results), [None, Unstorable, Unstorable])
        self.assertEqual(self.failed, [{ALICE, CAROL}])
        self.assertEqual(self.pump.wait(store.load(ALICE)), [])
        self.assertEqual(self.pump.wait(store.load(BOB)), [binding(BOB)])

    def test_deadlock(self) -> None:
        """A transaction that the server ends for the sake of another is repeated: nothing is lost."""
        store = self.started(f"{self.url}&options=-c%20deadlock_timeout%3D10")
        names = (ALICE, CAROL, BOB)
        for name in names:
            self.outcomes([committed(store, ChangeSet(name, [binding(name)]))])
        touch = "UPDATE binding SET cseq = 7 WHERE aor = '{}'"
        with self.cluster.connected() as first, self.cluster.connected() as second:
            first.execute(touch.format(BOB).encode())
            second.execute(touch.format(CAROL).encode())
            results = [committed(store, ChangeSet(name, [binding(name, cseq=9)])) for name in names]
            # The writer has Alice's row and waits for Carol's; somebody waits for Alice's.
            self.pump.turn()
            self.wait_for_locks(1)
            thread = Thread(target=first.execute, args=(touch.format(ALICE).encode(),))
            thread.start()
            self.wait_for_locks(2)
            second.rollback()
            thread.join()
            first.rollback()
        self.assertEqual(self.outcomes(results), [None] * 3)
        self.assertEqual((self.failed, self.logged), ([], []))
        self.assertEqual(self.pump.wait(store.load(BOB)), [binding(BOB, cseq=9)])

    def wait_for_locks(self, count: int) -> None:
        """Wait until so many statements wait for others."""
        while self.cluster.ask("SELECT count(*) FROM pg_locks WHERE NOT granted") != count:
            pass
