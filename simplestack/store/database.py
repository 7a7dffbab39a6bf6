"""A database by its URL: how it is opened, what its dialect is, and what its errors mean."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import create_engine, event, pool
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import PoolProxiedConnection

from simplestack.state import RECORD_KINDS, Kind, fields_of
from simplestack.store.errors import StoreError
from simplestack.store.migrations import MIGRATIONS, Migration, migrate
from simplestack.store.schema import CREDENTIAL, RECORD_TABLES
from simplestack.store.statements import delete, upsert
from simplestack.store.text import RowText

__all__ = ["Connection", "Database"]

_SHAPES = "give sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"

#: PostgreSQL's classes of errors that are about the data and not about the database: data
#: exceptions, violated constraints, limits of the program such as the size of an index entry.
_REFUSALS = ("22", "23", "54")

#: PostgreSQL's codes of a serialization failure and of a deadlock: a server may be set up to
#: isolate more than is needed here, and others change rows as well, such as who removes a user.
_CONTENTIONS = ("40001", "40P01")
#: Milliseconds after which PostgreSQL ends a transaction of which nothing more comes.
_ABANDONED = 10_000

#: Statements that a connection keeps prepared: those of all sizes, of all tables that change often.
_PREPARED = 1000
#: How often, and after how many seconds, a new SQLite file is tried again that others are making.
_WAL_TRIES = 100
_WAL_PAUSE = 0.05
#: Pages of the write-ahead log that are gathered before they go to the file (16 MB): of records
#: that change again meanwhile the last state alone is copied.
_WAL_PAGES = 4000


class Connection:
    """One connection, used by one thread at a time; transactions are explicit."""

    __slots__ = ("_begin", "_held", "cursor", "driver", "file")

    def __init__(
        self,
        held: PoolProxiedConnection,
        cursor: DBAPICursor,
        begin: str,
        file: tuple[int, int] | None = None,
    ) -> None:
        self._held = held
        self._begin = begin
        #: The connection of the driver.
        self.driver: Any = held.driver_connection
        self.cursor = cursor
        #: Which file it is, of SQLite.
        self.file = file

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> DBAPICursor:
        """Execute a statement; the cursor is good until the next one."""
        self.cursor.execute(statement, parameters)
        return self.cursor

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside, or roll it back and let the error through."""
        self.cursor.execute(self._begin)
        try:
            yield
            self.cursor.execute("COMMIT")
        except BaseException:
            self.rollback()
            raise

    def rollback(self) -> None:
        """End a failed transaction; an error on the way does not matter any more."""
        try:
            self._held.rollback()
        except Exception:
            self.close()

    def close(self) -> None:
        """Close; an error on the way does not matter any more."""
        with suppress(Exception):
            if self._held.is_valid:
                self._held.invalidate()


class Database:
    """A SQLite file or a PostgreSQL database.

    :param url: what SQLAlchemy takes: ``sqlite:///FILE``, ``postgresql://…``.
    :param busy_timeout: seconds to wait for another process that writes to the same file.

    Raises StoreError where the URL is bad or the driver is missing; opens nothing yet.
    """

    def __init__(self, url: str, *, busy_timeout: float = 5.0) -> None:
        parsed = _parse(url)
        self.backend = parsed.get_backend_name()
        #: The URL as it may be shown.
        self.name = parsed.render_as_string()
        #: The file of SQLite.
        self.path: Path | None = None
        arguments: dict[str, Any]
        if self.backend == "sqlite":
            self.path = _file(parsed)
            parsed = parsed.set(database=str(self.path))
            # Connections move between the threads of a pool, one thread at a time.
            arguments = {
                "check_same_thread": False,
                "timeout": busy_timeout,
                "cached_statements": _PREPARED,
            }
            begin, marker = "BEGIN IMMEDIATE", "?"
            self.any_of = "IN (SELECT value FROM json_each(?))"
            self.many: Callable[[list[str]], object] = json.dumps
        else:
            arguments = {
                name: value for name, value in _PATIENCE.items() if name not in parsed.query
            }
            begin, marker = "BEGIN", "$%d"
            self.any_of = "= ANY($1)"
            self.many = list
        self._begin = begin
        try:
            # A connection is opened where it is needed and kept there.
            self.engine = create_engine(parsed, poolclass=pool.NullPool, connect_args=arguments)
        except ModuleNotFoundError as error:
            raise StoreError(
                f"the driver of PostgreSQL is not installed ({error}): "
                "pip install simplestack[postgresql]"
            ) from error
        except (SQLAlchemyError, TypeError) as error:
            raise StoreError(f"{self.name} can't be used: {error}: {_SHAPES}") from error
        self._driver: ModuleType = self.engine.dialect.dbapi  # type: ignore[assignment]  # set
        event.listen(self.engine, "connect", self._connected)

        @cache
        def mark(number: int) -> str:
            return marker % number if "%" in marker else marker

        self.mark = mark
        self.upserts = {kind: upsert(table, mark) for kind, table in RECORD_TABLES.items()}
        self.deletes = {kind: delete(table, mark) for kind, table in RECORD_TABLES.items()}
        self.put_credential = upsert(CREDENTIAL, mark)
        self.texts: dict[Kind, RowText] = {
            kind: RowText([i for i, type_ in enumerate(fields_of(kind).values()) if type_ is str])
            for kind in RECORD_KINDS
        }

    def prepare(self, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        """Create the database where it is a file, and bring its schema up to date.

        Safe while other processes do the same.  Raises StoreError saying what to do.
        """
        self._create()
        with self.explained():
            connection = self.connect()
            try:
                with connection.transaction():
                    if self.backend == "postgresql":
                        self._check_encoding(connection)
                        # Waits for another process that migrates.
                        connection.execute("SELECT pg_advisory_xact_lock(5060, 5061)")
                    migrate(
                        connection.cursor,
                        self.backend,
                        lambda: self._migrated(connection),
                        migrations,
                    )
            finally:
                connection.close()

    def connect(self) -> Connection:
        """Open a connection.  Raises what the driver raises, or StoreError."""
        if self.path is not None and not self.path.exists():
            # SQLite would make an empty one.
            raise StoreError(f"the database file {self.path} is gone: put it back")
        held = self.engine.raw_connection()
        if self.backend == "postgresql":
            cursor = self._driver.RawCursor(held.driver_connection)
        else:
            cursor = held.cursor()
        file = None if self.path is None else _identity(self.path)
        return Connection(held, cursor, self._begin, file)

    def lost(self, error: BaseException, connection: Connection) -> bool:
        """Whether the error says that the connection is gone, so that a new one may do."""
        dialect = self.engine.dialect
        return isinstance(error, self._driver.Error) and dialect.is_disconnect(
            error, connection.driver, connection.cursor
        )

    def contended(self, error: BaseException) -> bool:
        """Whether a transaction was ended for the sake of another, so that it may be repeated."""
        return getattr(error, "sqlstate", None) in _CONTENTIONS

    def refused(self, error: BaseException) -> bool:
        """Whether the error is about the data: the database is well."""
        if isinstance(error, (TypeError, ValueError, OverflowError)):
            return True
        if isinstance(error, self._driver.Error):
            state = getattr(error, "sqlstate", None)
            if state is not None:
                return str(state).startswith(_REFUSALS)
            if isinstance(error, self._driver.ProgrammingError):
                # SQLite says so of a parameter of a type that it does not know.
                return "parameter" in str(error)
            return isinstance(error, (self._driver.DataError, self._driver.IntegrityError))
        return False

    def current(self, connection: Connection) -> bool:
        """Whether the file that is open is still the one at its path."""
        return self.path is None or connection.file == _identity(self.path)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn errors of the database inside into StoreErrors for the operator."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            if not isinstance(error, (self._driver.Error, OSError, SQLAlchemyError)):
                raise
            raise self._explain(error) from error

    def _create(self) -> None:
        if self.path is None:
            return
        try:
            # It holds the secrets of users; SQLite gives its side files the same mode.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self.path.parent.is_dir():
                raise StoreError(
                    f"there is no directory {self.path.parent} for the database: create it"
                ) from error
            if isinstance(error, FileNotFoundError):
                # So says a file system that has no files of its users, such as /proc.
                raise StoreError(
                    f"can't create the database {self.path}: {self.path.parent} takes no new "
                    "files: choose another directory"
                ) from error
            raise StoreError(
                f"can't create the database {self.path}: {error.strerror}: "
                "choose another file or change the directory's permissions"
            ) from error

    def _connected(self, connection: DBAPIConnection, record: object) -> None:
        if self.backend == "sqlite":
            _set_up_sqlite(connection)
        else:
            self._set_up_postgresql(connection)

    def _set_up_postgresql(self, connection: Any) -> None:
        connection.autocommit = True
        # Statements differ in their parameters' types otherwise, and must be prepared for each.
        connection.adapters.register_dumper(int, self._driver.types.numeric.Int8BinaryDumper)
        connection.prepare_threshold = 0
        connection.prepared_max = _PREPARED
        cursor = connection.execute("SHOW synchronous_commit")
        if cursor.fetchone()[0] == "off":
            connection.execute("SET synchronous_commit TO on")
        cursor = connection.execute("SHOW idle_in_transaction_session_timeout")
        if cursor.fetchone()[0] == "0":
            # Rows that a machine had changed when it lost its power would else be kept for hours
            # from the one that starts in its place.
            connection.execute(f"SET idle_in_transaction_session_timeout TO {_ABANDONED}")

    def _check_encoding(self, connection: Connection) -> None:
        row = connection.execute("SHOW server_encoding").fetchone()
        if row is None or row[0] != "UTF8":
            raise StoreError(
                f"its encoding is {row and row[0]}: create it with "
                "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
            )

    def _migrated(self, connection: Connection) -> bool:
        if self.backend == "sqlite":
            statement = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'revision'"
        else:
            statement = "SELECT 1 WHERE to_regclass('revision') IS NOT NULL"
        return connection.execute(statement).fetchone() is not None

    def _explain(self, error: Exception) -> StoreError:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if self.backend == "sqlite":
            advice = "check that it is a database of simplestack and that this user may write it"
        else:
            advice = "check the URL, that the server runs, and that this user may create tables"
        return StoreError(f"can't open {self.name}: {lines[0].rstrip('.:')}: {advice}")


#: A server that does not answer is lost after so long; parameters of libpq.
_PATIENCE = {"connect_timeout": 5, "tcp_user_timeout": 10_000, "application_name": "simplestack"}


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreError(f"{text!r} is no database URL: {_SHAPES}") from error
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise StoreError(f"{url.drivername} is no database that simplestack works with: {_SHAPES}")
    return url


def _file(url: URL) -> Path:
    name = url.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise StoreError(f"{url.render_as_string()} names no file: give sqlite:///FILE")
    # twistd changes the directory when it becomes a daemon.
    return Path(name).absolute()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _enter_wal(connection: Any) -> str:
    """Switch to the write-ahead log, for which SQLite does not wait where others open the file too."""
    for _ in range(_WAL_TRIES - 1):
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(_WAL_PAUSE)
    return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])


def _set_up_sqlite(connection: Any) -> None:
    connection.isolation_level = None
    mode = _enter_wal(connection)
    if mode != "wal":
        raise StoreError(
            f"SQLite can't keep a write-ahead log there (its journal mode stays {mode}): "
            "put the database on a local file system"
        )
    connection.execute("PRAGMA synchronous = FULL")
    # What a statement may have to undo would go to a temporary file, one for each batch that
    # touches more than 64 KB: work that nothing needs, and records where nobody looks for them.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
