"""The records that the store has, and what else it answers by reading."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from simplestack.sip.memory import share
from simplestack.state import Document, Kind, Record, Subscription, fields_of
from simplestack.store.database import Connection, Database
from simplestack.store.errors import StoreError, Unreadable
from simplestack.store.schema import RECORD_TABLES
from simplestack.store.text import decode, encode
from simplestack.store.threads import Reader, ReadingThreads

__all__ = ["Loader", "read_records"]

#: What clients are asked to wait for a record that somebody has to mend, in seconds.
_MENDING: Final = 60
#: So many records that can't be read are named in an hour, each once.
_NAMED: Final = 100
_NAMED_AGAIN: Final = 3600.0

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


def read_records(
    database: Database,
) -> Callable[[list[str], Connection], dict[str, list[Record] | StoreError]]:
    """What reads all records of some AORs; of one with a record that is none, the error."""
    statements: list[tuple[Kind, str]] = [
        (
            kind,
            f"SELECT {', '.join(column.name for column in table.columns)} "
            f"FROM {table.name} WHERE aor {database.any_of}",
        )
        for kind, table in RECORD_TABLES.items()
    ]

    def read(aors: list[str], connection: Connection) -> dict[str, list[Record] | StoreError]:
        found: dict[str, list[Record] | StoreError] = {}
        argument = [database.many([encode(aor) for aor in aors])]
        for kind, statement in statements:
            rows = connection.execute(statement, argument).fetchall()
            if rows:
                for aor, record in records_from(database, kind, rows):
                    known = found.setdefault(aor, [])
                    if isinstance(record, StoreError):
                        found[aor] = record
                    elif isinstance(known, list):
                        known.append(record)
        return found

    return read


def records_from(
    database: Database, kind: Kind, rows: Sequence[Sequence[Any]]
) -> Iterable[tuple[str, Record | Unreadable]]:
    """The records that some rows are, each with its AOR; in the place of one that is none, why."""
    try:
        records = [_record(kind, row) for row in database.texts[kind].decode(rows)]
    except Exception:
        return [_read_alone(database, kind, row) for row in rows]
    return [(record.aor, record) for record in records]


def _record(kind: Kind, row: Sequence[Any]) -> Record:
    return kind(*(_shared(row) if kind is Subscription else row))


def _read_alone(
    database: Database, kind: Kind, row: Sequence[Any]
) -> tuple[str, Record | Unreadable]:
    """The record that a row is, with its AOR, where some row of those beside it is none."""
    table = RECORD_TABLES[kind].name
    names = tuple(fields_of(kind))
    aor, id_ = row[names.index("aor")], row[names.index("id")]
    try:
        reason = _strange(kind, row)
        if not reason:
            (decoded,) = database.texts[kind].decode([row])
            record = _record(kind, decoded)
            return record.aor, record
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    return decode(str(aor)), Unreadable(
        _MENDING,
        f"{table} {id_} of {aor} can't be read: {reason}; requests about {aor} get 503 until it is "
        f"mended or removed: DELETE FROM {table} WHERE aor = {_literal(aor)} AND id = {_literal(id_)}",
    )


def _strange(kind: Kind, row: Sequence[Any]) -> str:
    """What is wrong with the types of a row, if anything is."""
    for (name, wanted), value in zip(fields_of(kind).items(), row, strict=True):
        if not isinstance(value, wanted) and not (wanted is float and isinstance(value, int)):
            return f"{name} is {type(value).__name__} and not {wanted.__name__}"
    return ""


def _literal(value: Any) -> str:
    """A value as SQL has it."""
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    text = str(value).replace("'", "''")
    return f"'{text}'"


def _shared(row: Sequence[Any]) -> list[Any]:
    """The row of a subscription whose common texts are in memory once, as when it was made."""
    values = list(row)
    for place in _COMMON:
        values[place] = share(values[place])
    return values


class Loader:
    """The questions that the store answers by reading."""

    log: ClassVar[Logger] = Logger()

    def __init__(self, threads: ReadingThreads) -> None:
        self._threads = threads
        self._records: Reader[str, list[Record]] = Reader(
            threads, read_records(threads.database), list
        )
        # The errors that have been logged, and when they may be again.
        self._named: set[str] = set()
        self._forgotten_at = 0.0

    def load(self, aor: str) -> Deferred[list[Record]]:
        """All records of an AOR."""
        # Others may be given the same answer.
        return self._records.get(aor).addCallbacks(list, self._unloaded)

    def _unloaded(self, failure: Failure) -> Failure:
        if isinstance(failure.value, Unreadable):
            self._name(failure.value)
        return failure

    def _name(self, error: Unreadable) -> None:
        """Tell the operator of a record that can't be read."""
        now = self._threads.reactor.seconds()
        if now >= self._forgotten_at:
            self._forgotten_at = now + _NAMED_AGAIN
            self._named.clear()
        text = str(error)
        if len(self._named) < _NAMED and text not in self._named:
            self._named.add(text)
            more = "" if len(self._named) < _NAMED else " (more are not named for an hour)"
            self.log.error("{text}{more}", text=text, more=more)

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

        return self._threads.run(read)

    def subscribed(self) -> Deferred[list[str]]:
        """The AORs that have subscriptions with a dialog."""

        def read(connection: Connection) -> list[str]:
            rows = connection.execute(
                "SELECT DISTINCT aor FROM subscription WHERE status <> 'waiting'"
            ).fetchall()
            return [decode(aor) for (aor,) in rows]

        return self._threads.run(read)

    def documents(self, auid: str) -> Deferred[list[Document]]:
        """All documents of an application usage, of every AOR."""
        table = RECORD_TABLES[Document]
        database = self._threads.database
        statement = (
            f"SELECT {', '.join(column.name for column in table.columns)} FROM {table.name} "
            f"WHERE auid {database.any_of}"
        )

        def read(connection: Connection) -> list[Record | Unreadable]:
            rows = connection.execute(statement, [database.many([encode(auid)])]).fetchall()
            return [record for _, record in records_from(database, Document, rows)]

        def readable(records: list[Record | Unreadable]) -> list[Document]:
            for each in records:
                if isinstance(each, Unreadable):
                    self._name(each)
            return [each for each in records if isinstance(each, Document)]

        return self._threads.run(read).addCallback(readable)

    def counts(self) -> Deferred[dict[str, int]]:
        """How many records of each kind there are, by the name of the kind in lower case."""

        def read(connection: Connection) -> dict[str, int]:
            counts: dict[str, int] = {}
            for table in RECORD_TABLES.values():
                row = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()
                counts[table.name] = int(row[0]) if row else 0
            return counts

        return self._threads.run(read)
