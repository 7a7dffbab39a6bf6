"""URLs, schema, migrations."""

import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from glob import glob
from pathlib import Path
from unittest import SkipTest, mock

from sqlalchemy import Inspector, MetaData, create_engine, inspect
from twisted.trial.unittest import SynchronousTestCase

from simplestack.state import RECORD_KINDS, Document, fields_of, row_of
from simplestack.store.database import Database
from simplestack.store.errors import StoreError
from simplestack.store.migrations import MIGRATIONS, Migration
from simplestack.store.schema import METADATA, RECORD_TABLES
from tests.store.cluster import cluster
from tests.store.records import ALICE, document, one_of_each


def _shape(inspector: Inspector) -> object:
    """All that a schema consists of."""
    return {
        table: (
            [
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(table)
            ],
            inspector.get_pk_constraint(table)["constrained_columns"],
            inspector.get_indexes(table),
            inspector.get_table_options(table),
        )
        for table in sorted(inspector.get_table_names())
    }


def _driven(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg:")


class URLTests(SynchronousTestCase):
    def test_bad(self) -> None:
        """A URL that can't be used gets one line that says what is wrong and what to do."""
        for url, text in (
            ("", "'' is no database URL: give sqlite:///FILE or postgresql://"),
            ("simplestack.db", "'simplestack.db' is no database URL"),
            ("postgresql://u:p@host:port/db", "is no database URL"),
            ("mysql://u:secret@host/db", "mysql is no database that simplestack works with"),
            ("postgresql+asyncpg://host/db", "postgresql+asyncpg is no database"),
            ("sqlite://", "sqlite:// names no file: give sqlite:///FILE"),
            ("sqlite:///:memory:", "names no file"),
            ("sqlite:///file:x?uri=true", "names no file"),
        ):
            error = self.assertRaises(StoreError, Database, url)
            self.assertIn(text, str(error))
            self.assertNotIn("\n", str(error))
            self.assertNotIn("secret", str(error))

    def test_driver_missing(self) -> None:
        """PostgreSQL without its driver says how to install it."""
        with mock.patch.dict("sys.modules", {"psycopg": None}):
            error = self.assertRaises(StoreError, Database, "postgresql://localhost/db")
        self.assertIn("pip install simplestack[postgresql]", str(error))

    def test_password_hidden(self) -> None:
        """Messages show the URL without its password."""
        database = Database("postgres://alice:secret@127.0.0.1:1/db")
        self.assertEqual(database.name, "postgresql+psycopg://alice:***@127.0.0.1:1/db")
        error = self.assertRaises(StoreError, database.prepare)
        self.assertIn("check the URL, that the server runs", str(error))
        self.assertNotIn("secret", str(error))
        self.assertNotIn("\n", str(error))

    def test_no_directory(self) -> None:
        """A file in a directory that does not exist says so."""
        path = Path(self.mktemp()).absolute() / "simplestack.db"
        error = self.assertRaises(StoreError, Database(f"sqlite:///{path}").prepare)
        self.assertIn(f"there is no directory {path.parent}", str(error))

    def test_no_files_there(self) -> None:
        """A directory in which no file can be made is not said to be missing."""
        for place in ("/proc", "/proc/self"):
            error = self.assertRaises(StoreError, Database(f"sqlite:///{place}/x.db").prepare)
            self.assertIn(f"{place} takes no new files: choose another directory", str(error))
            self.assertNotIn("no directory", str(error))

    def test_directory(self) -> None:
        """A directory is no file."""
        path = Path(self.mktemp()).absolute()
        path.mkdir()
        error = self.assertRaises(StoreError, Database(f"sqlite:///{path}").prepare)
        self.assertIn(f"can't open sqlite:///{path}: unable to open database file", str(error))

    def test_relative(self) -> None:
        """A relative file is where it was when the URL was given."""
        self.assertEqual(Database("sqlite:///x.db").path, Path("x.db").absolute())


class _Schema:
    class Tests(SynchronousTestCase):
        def empty(self) -> str:
            """The URL of an empty database."""
            raise NotImplementedError

        def shape(self, url: str) -> object:
            """The schema of a database."""
            engine = create_engine(_driven(url))
            try:
                return _shape(inspect(engine))
            finally:
                engine.dispose()

        def test_migrations(self) -> None:
            """The migrations end in the schema that the statements are made for."""
            url = self.empty()
            engine = create_engine(_driven(url))
            METADATA.create_all(engine)
            engine.dispose()
            wanted = self.shape(url)
            url = self.empty()
            Database(url).prepare()
            self.assertEqual(self.shape(url), wanted)

        def test_upgrade(self) -> None:
            """Upgrading step by step, with servers in between, ends in the same schema."""
            url = self.empty()
            Database(url).prepare()
            wanted = self.shape(url)
            url = self.empty()
            for count in range(len(MIGRATIONS) + 1):
                Database(url).prepare(MIGRATIONS[:count])
            Database(url).prepare()
            self.assertEqual(self.shape(url), wanted)

        def test_upgrade_keeps_records(self) -> None:
            """Records that an older server wrote are there after an upgrade."""
            url = self.empty()
            Database(url).prepare(MIGRATIONS[:3])
            connection = Database(url).connect()
            for kind, table in RECORD_TABLES.items():
                (row,) = [row_of(record) for record in one_of_each() if type(record) is kind]
                names = ", ".join(column.name for column in table.columns)
                marks = ", ".join(Database(url).mark(number + 1) for number in range(len(row)))
                connection.execute(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", row)
            connection.close()
            Database(url).prepare()
            connection = Database(url).connect()
            for kind, table in RECORD_TABLES.items():
                (row,) = [row_of(record) for record in one_of_each() if type(record) is kind]
                names = ", ".join(column.name for column in table.columns)
                rows = connection.execute(f"SELECT {names} FROM {table.name}").fetchall()
                self.assertEqual(rows, [tuple(row)])
            connection.close()

        def test_step(self) -> None:
            """A later step runs once, on the data that is there."""
            url = self.empty()
            Database(url).prepare()
            later: list[Migration] = [
                *MIGRATIONS,
                ["CREATE TABLE later (x {integer})", "INSERT INTO later VALUES (1)"],
            ]
            for _ in range(2):
                Database(url).prepare(later)
            connection = Database(url).connect()
            self.assertEqual(connection.execute("SELECT count(*) FROM later").fetchall(), [(1,)])
            connection.close()

        def test_failing_step(self) -> None:
            """A step that fails leaves nothing behind."""
            url = self.empty()
            Database(url).prepare()
            before = self.shape(url)
            broken: list[Migration] = [*MIGRATIONS, ["CREATE TABLE t (x {integer})", "NONSENSE"]]
            self.assertRaises(StoreError, Database(url).prepare, broken)
            self.assertEqual(self.shape(url), before)
            Database(url).prepare()

        def test_newer(self) -> None:
            """The database of a newer simplestack is refused, and left alone."""
            url = self.empty()
            Database(url).prepare([*MIGRATIONS, ["CREATE TABLE later (x {integer})"]])
            error = self.assertRaises(StoreError, Database(url).prepare)
            self.assertIn(
                f"schema version {len(MIGRATIONS) + 1}, made by a newer simplestack", str(error)
            )

        def test_together(self) -> None:
            """Several processes may prepare a new database at the same time."""
            with ThreadPoolExecutor(8) as pool:
                for _ in range(5):
                    databases = [Database(url) for url in [self.empty()] * 8]
                    list(pool.map(Database.prepare, databases))


class SQLiteTests(_Schema.Tests):
    def empty(self) -> str:
        """A file that is not there yet."""
        self.path = Path(self.mktemp()).absolute()
        return f"sqlite:///{self.path}"

    def test_removed_by_their_keys(self) -> None:
        """Records are found by their keys, however many are removed: no table is read for it."""
        database = Database(self.empty())
        database.prepare()
        connection = database.connect()
        for statement in database.deletes.values():
            for count in (1, 2, 128):
                ((text, parameters),) = statement.steps([(ALICE, str(i)) for i in range(count)])
                plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters).fetchall()
                self.assertIn("(aor=? AND id=?)", plan[0][3])
        connection.close()

    def test_mode(self) -> None:
        """The file holds secrets: only its owner reads it, also where SQLite adds files."""
        Database(self.empty()).prepare()
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("UPDATE revision SET value = value")
            for path in self.path.parent.glob(f"{self.path.name}*"):
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_durable(self) -> None:
        """Every commit is on the disk: a write-ahead log, synced each time."""
        database = Database(self.empty())
        database.prepare()
        connection = database.connect()
        self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        self.assertEqual(connection.execute("PRAGMA synchronous").fetchone(), (2,))
        connection.close()

    def test_no_temporary_files(self) -> None:
        """A batch leaves nothing in temporary files, which cost time and may be read elsewhere."""
        if not Path("/proc/self/fd").is_dir():
            raise SkipTest("the system does not show which files are open")
        database = Database(self.empty())
        database.prepare()
        connection = database.connect()
        insert, encode = database.upserts[Document], database.texts[Document].encode
        with connection.transaction():
            for body in (b"one" * 1000, b"two" * 1000):
                rows = [document()._replace(id=str(i), body=body) for i in range(128)]
                for step in insert.steps(encode(rows)):
                    connection.execute(*step)
            files = [os.path.basename(os.path.realpath(file)) for file in glob("/proc/self/fd/*")]
        connection.close()
        self.assertTrue([name for name in files if name.startswith(self.path.name)])
        self.assertEqual([name for name in files if name.startswith("etilqs")], [])


class PostgreSQLTests(_Schema.Tests):
    def empty(self) -> str:
        """The emptied database of our cluster."""
        own = cluster()
        if own is None:
            raise SkipTest("PostgreSQL's server is not installed")
        return own.clear()

    def test_durable(self) -> None:
        """Every commit is on the disk, even where the server is set up not to wait."""
        own = cluster()
        assert own is not None
        url = self.empty()
        own.execute("ALTER ROLE postgres SET synchronous_commit = off")
        self.addCleanup(own.execute, "ALTER ROLE postgres RESET synchronous_commit")
        connection = Database(url).connect()
        self.assertEqual(connection.execute("SHOW synchronous_commit").fetchone(), ("on",))
        connection.close()

    def test_abandoned(self) -> None:
        """The server ends a transaction of a machine that is gone, unless it is told when itself."""
        url = self.empty()
        name = "idle_in_transaction_session_timeout"
        for more, wanted in (("", "10s"), (f"&options=-c%20{name}%3D5000", "5s")):
            connection = Database(url + more).connect()
            self.assertEqual(connection.execute(f"SHOW {name}").fetchone(), (wanted,))
            connection.close()

    def test_encoding(self) -> None:
        """A database that can't hold all of Unicode is refused."""
        own = cluster()
        assert own is not None
        own.execute("DROP DATABASE IF EXISTS latin")
        own.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
        url = self.empty().replace("/postgres?", "/latin?")
        error = self.assertRaises(StoreError, Database(url).prepare)
        self.assertIn("its encoding is LATIN1: create it with", str(error))


class TableTests(SynchronousTestCase):
    def test_rows(self) -> None:
        """A record is its row: the same fields in the same order."""
        for kind in RECORD_KINDS:
            self.assertEqual(
                tuple(column.name for column in RECORD_TABLES[kind].columns), tuple(fields_of(kind))
            )
        self.assertIsInstance(METADATA, MetaData)
