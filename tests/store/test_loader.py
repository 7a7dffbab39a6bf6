"""Reading records, and what can't be read."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from simplestack.state import ChangeSet, Document
from simplestack.store.errors import StoreError, Unavailable, Unreadable
from simplestack.store.reading import records_of
from simplestack.store.sql import SQLStore
from tests.store.deferring import committed
from tests.store.pump import Pump
from tests.store.records import ALICE, BOB, binding, document, subscription


@implementer(ILogObserver)
class _Observer:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: dict[str, Any]) -> None:
        if event["log_level"] >= LogLevel.error:
            self.lines.append(formatEvent(event))


class LoaderTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A store with some records, and its log."""
        self.pump = Pump()
        self.path = Path(self.mktemp()).absolute()
        self.url = f"sqlite:///{self.path}"
        self.store = SQLStore(self.url, self.pump)
        self.pump.wait(self.store.start())
        self.addCleanup(lambda: self.pump.wait(self.store.stop()))
        changes = [
            ChangeSet(ALICE, [subscription(), binding(), document()]),
            ChangeSet(BOB, [subscription(BOB)]),
        ]
        for each in changes:
            self.pump.wait(committed(self.store, each))
        observer = _Observer()
        self.lines = observer.lines
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def execute(self, statement: str) -> None:
        """Do something to the database that the server does not know of."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)

    def load(self, aor: str) -> int | type:
        """How many records are loaded, or what comes instead."""
        try:
            return len(self.pump.wait(self.store.load(aor)))
        except Unavailable as error:
            return type(error)

    def test_named(self) -> None:
        """Of a record that can't be read the log has one line: which one, why, and what to do."""
        self.execute("UPDATE subscription SET watcher = X'ff' WHERE aor LIKE '%alice%'")
        self.assertEqual([self.load(ALICE) for _ in range(3)], [Unreadable] * 3)
        (line,) = self.lines
        _, repair = line.split("DELETE")
        self.assertIn(f"subscription s1 of {ALICE}", line)
        self.assertIn("watcher is bytes", line)
        self.execute("DELETE" + repair)
        self.assertEqual(self.load(ALICE), 2)

    def test_alone(self) -> None:
        """Others who are read together with such a record are not concerned."""
        self.execute("UPDATE subscription SET watcher = X'ff' WHERE aor LIKE '%alice%'")
        results: list[Any] = []
        for aor in (ALICE, BOB):
            self.store.load(aor).addBoth(results.append)
        self.pump.until(lambda: len(results) == 2)
        results[0].trap(Unreadable)
        self.assertEqual(len(results[1]), 1)

    def test_key(self) -> None:
        """So it is with a record whose own name can't be read."""
        self.execute("UPDATE binding SET id = X'00ff' WHERE aor LIKE '%alice%'")
        self.assertEqual(self.load(ALICE), Unreadable)
        (line,) = self.lines
        self.execute("DELETE" + line.split("DELETE")[1])
        self.assertEqual(self.load(ALICE), 2)

    def test_many(self) -> None:
        """A hundred lines an hour are the most, however many records there are."""
        aors = [f"sip:it's{number}@example.com" for number in range(150)]
        self.pump.wait(
            gatherResults(
                [committed(self.store, ChangeSet(each, [binding(each)])) for each in aors]
            )
        )
        self.execute("UPDATE binding SET user_agent = X'ff'")
        self.assertEqual({self.load(aor) for aor in aors}, {Unreadable})
        self.assertEqual(len(self.lines), 100)
        self.assertIn("'sip:it''s0@example.com'", self.lines[0])
        self.assertIn("more", self.lines[-1])
        self.pump.passed += 3601.0
        self.load(ALICE)
        self.assertEqual(len(self.lines), 101)

    def test_documents(self) -> None:
        """Of all documents of a usage those are given that can be read; the others are named."""
        self.pump.wait(committed(self.store, ChangeSet(BOB, [document(BOB)])))
        self.execute("UPDATE document SET content_type = X'ff' WHERE aor LIKE '%alice%'")
        found: list[Document] = self.pump.wait(self.store.documents("pres-rules"))
        self.assertEqual([each.aor for each in found], [BOB])
        self.assertEqual(len(self.lines), 1)

    def test_command(self) -> None:
        """A program without a reactor is told the same."""
        self.execute("UPDATE subscription SET watcher = X'ff' WHERE aor LIKE '%alice%'")
        error = self.assertRaises(StoreError, records_of, self.url, ALICE)
        self.assertIn("DELETE FROM subscription", str(error))

    def test_failing(self) -> None:
        """Where nothing can be read the log says so, once a minute at most."""
        self.execute("ALTER TABLE binding RENAME TO elsewhere")
        self.assertEqual([self.load(ALICE) for _ in range(3)], [Unavailable] * 3)
        (line,) = self.lines
        self.assertIn("no such table: binding", line)
        self.pump.passed += 61.0
        self.load(ALICE)
        self.assertEqual(len(self.lines), 2)
        self.execute("ALTER TABLE elsewhere RENAME TO binding")
        self.assertEqual(self.load(ALICE), 3)
