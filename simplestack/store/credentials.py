"""Users and their secrets in the database."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from twisted.internet.defer import Deferred
from zope.interface import implementer

from simplestack.interfaces import Credential, ICredentialSource
from simplestack.sip.uri import Uri
from simplestack.state import Subscription
from simplestack.store.database import Connection, Database
from simplestack.store.errors import StoreError
from simplestack.store.schema import RECORD_TABLES
from simplestack.store.sql import SQLStore
from simplestack.store.text import KEY_LIMIT, decode, encode, fits
from simplestack.store.threads import Reader

__all__ = ["CredentialTable", "SQLCredentials"]

_COLUMNS = ", ".join(Credential._fields)


def _credential(row: tuple[str, ...]) -> Credential:
    return Credential._make(map(decode, row))


def _aor(username: str, domain: str) -> str:
    return Uri("sip", user=username, host=domain).aor


@implementer(ICredentialSource)
class SQLCredentials:
    """The credentials of a store's database, over the store's readers.

    Domains are compared in lower case (RFC 3261 §19.1.4), user names as they are.
    """

    name = "store"

    def __init__(self, store: SQLStore) -> None:
        self._threads = store.threads
        self._credentials: Reader[tuple[str, str], Credential | None] = Reader(
            store.threads, self._read, lambda: None
        )
        self._any_of = store.database.any_of
        self._many = store.database.many

    def lookup(self, username: str, domain: str) -> Deferred[Credential | None]:
        """The secrets of a user; None where there is none.  Fails with Unavailable."""
        return self._credentials.get((username, domain.lower()))

    def version(self) -> Deferred[int]:
        """A number that grows with every change.  Fails with Unavailable."""

        def read(connection: Connection) -> int:
            row = connection.execute(
                "SELECT value FROM revision WHERE name = 'credentials'"
            ).fetchone()
            return int(row[0]) if row else 0

        return self._threads.run(read)

    def removed(self, since: int) -> Deferred[list[str]]:
        """The AORs of users who were removed after that version.

        Also of those who exist again: what they had is deleted, and must not live on in memory.
        """

        def read(connection: Connection) -> list[str]:
            rows = connection.execute(
                f"SELECT username, domain FROM removal WHERE revision > {int(since)}"
            ).fetchall()
            return [_aor(decode(username), decode(domain)) for username, domain in rows]

        return self._threads.run(read)

    def users(self, domain: str) -> Deferred[list[str]]:
        """The AORs of all users of a domain.  Fails with Unavailable."""

        def read(connection: Connection) -> list[str]:
            mark = self._threads.database.mark(1)
            rows = connection.execute(
                f"SELECT username, domain FROM credential WHERE domain = {mark}",
                [encode(domain.lower())],
            ).fetchall()
            return [_aor(decode(username), decode(name)) for username, name in rows]

        return self._threads.run(read)

    def _read(
        self, keys: list[tuple[str, str]], connection: Connection
    ) -> dict[tuple[str, str], Credential | None]:
        found: dict[tuple[str, str], Credential | None] = {}
        names: dict[str, list[str]] = {}
        for username, domain in keys:
            names.setdefault(domain, []).append(encode(username))
        mark = self._threads.database.mark(2)
        for domain, usernames in names.items():
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM credential "
                f"WHERE username {self._any_of} AND domain = {mark}",
                [self._many(usernames), encode(domain)],
            ).fetchall()
            for row in rows:
                credential = _credential(row)
                found[credential.username, credential.domain] = credential
        return found


class CredentialTable:
    """The credentials, for a program without a reactor such as the command line.

    Works whether a server runs on the database or not, and makes the database where there is
    none.  A running server sees a change when it next asks for the version.  Every method raises
    StoreError saying what to do.
    """

    def __init__(self, url: str, *, busy_timeout: float = 5.0) -> None:
        self._database = Database(url, busy_timeout=busy_timeout)
        self._database.prepare()

    def put(self, credential: Credential) -> None:
        """Create a user, or replace the secrets."""
        self.put_all([credential])

    def put_all(self, credentials: Iterable[Credential]) -> None:
        """Create many users, or replace their secrets, all of them or none."""
        rows = []
        for credential in credentials:
            credential = credential._replace(domain=credential.domain.lower())
            if not fits(credential.domain, credential.username):
                raise StoreError(
                    f"user name and domain take more than {KEY_LIMIT} octets: choose shorter ones"
                )
            rows.append(tuple(map(encode, credential)))
        with self._changing() as connection:
            self._database.put_credential.execute(connection.cursor, rows)

    def remove(self, username: str, domain: str) -> bool:
        """Remove a user with all his records and what he watches; whether there was one.

        Rules and documents go too, so that a later user of the name does not inherit them.  A
        running server ends what it has in memory when it sees the removal.
        """
        domain = domain.lower()
        values = self._values(username, domain)
        mark = self._database.mark
        with self._changing() as connection:
            cursor = connection.execute(f"DELETE FROM credential WHERE {self._key}", values)
            if cursor.rowcount <= 0:
                return False
            aor = [encode(_aor(username, domain))]
            for table in RECORD_TABLES.values():
                connection.execute(f"DELETE FROM {table.name} WHERE aor = {mark(1)}", aor)
            # Nor does he go on watching others, should no server run that could end it.
            watched = RECORD_TABLES[Subscription].name
            connection.execute(f"DELETE FROM {watched} WHERE watcher = {mark(1)}", aor)
            connection.execute(
                "INSERT INTO removal (username, domain, revision) "
                f"SELECT {mark(1)}, {mark(2)}, value + 1 FROM revision WHERE name = 'credentials' "
                "ON CONFLICT (username, domain) DO UPDATE SET revision = excluded.revision",
                values,
            )
            return True

    def exists(self, username: str, domain: str) -> bool:
        """Whether there is such a user."""
        with self._connected() as connection:
            return (
                connection.execute(
                    f"SELECT 1 FROM credential WHERE {self._key}", self._values(username, domain)
                ).fetchone()
                is not None
            )

    def list(self, domain: str | None = None) -> list[Credential]:
        """All users, or those of a domain, ordered by domain and name."""
        where, values = "", []
        if domain is not None:
            where = f" WHERE domain = {self._database.mark(1)}"
            values = [encode(domain.lower())]
        with self._connected() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM credential{where} ORDER BY domain, username", values
            ).fetchall()
            return [_credential(row) for row in rows]

    @property
    def _key(self) -> str:
        return f"username = {self._database.mark(1)} AND domain = {self._database.mark(2)}"

    def _values(self, username: str, domain: str) -> tuple[str, str]:
        return encode(username), encode(domain.lower())

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with self._database.explained():
            connection = self._database.connect()
            try:
                yield connection
            finally:
                connection.close()

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with self._connected() as connection, connection.transaction():
            yield connection
            connection.execute("UPDATE revision SET value = value + 1 WHERE name = 'credentials'")
