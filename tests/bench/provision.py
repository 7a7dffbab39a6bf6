"""What the rows need before they start: users in the store, presence rules through XCAP."""

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import MetaData, create_engine

from tests.bench.account import Account
from tests.bench.load import LoadError
from tests.bench.messages import many_rules, rules_document

__all__ = ["Put", "create_users", "emptied", "put", "put_rules"]

_TYPE = "application/auth-policy+xml"


def create_users(store: str, accounts: list[Account]) -> None:
    """Give the store its users, as ``simplestack user add`` does, but all in one process."""
    # Here, so that the bare responder can be measured beside any server.
    from simplestack.command.user import credential
    from simplestack.sip.uri import parse_uri
    from simplestack.store.credentials import CredentialTable
    from simplestack.store.errors import StoreError

    try:
        CredentialTable(store).put_all(
            credential(parse_uri(account.aor.decode()), account.password) for account in accounts
        )
    except StoreError as error:
        raise LoadError(f"the users could not be made: {error}") from None


@contextmanager
def emptied(store: str | None) -> Iterator[None]:
    """Leave a database that was named as it was found: without a table.

    Raises LoadError if it has any, because then they are not the benchmark's to drop.
    """
    if store is None:
        yield
        return
    engine = create_engine(store)
    try:
        tables = MetaData()
        tables.reflect(engine)
        if tables.tables:
            raise LoadError(
                f"the database of --store must be empty, for it is emptied after each row; "
                f"it has {', '.join(sorted(tables.tables))}"
            )
        try:
            yield
        finally:
            made = MetaData()
            made.reflect(engine)
            made.drop_all(engine)
    finally:
        engine.dispose()


class Put(NamedTuple):
    """A document to put for its owner."""

    account: Account
    auid: str
    content_type: str
    body: bytes


def put_rules(
    port: int, accounts: list[Account], users: list[str] | None = None, limit: float = 60.0
) -> None:
    """PUT each account's pres-rules document (RFC 5025 §9.5): two rules, or twenty for these users."""
    documents = []
    for account in accounts:
        domain = account.domain
        body = rules_document(domain) if users is None else many_rules(domain, users)
        documents.append(Put(account, "pres-rules", _TYPE, body))
    put(port, documents, limit)


def put(port: int, documents: list[Put], limit: float = 60.0) -> None:
    """PUT documents in their owners' home directories, authenticated with Digest."""
    end = time.monotonic() + limit
    connection = _connected(port, end)
    for account, auid, content_type, body in documents:
        path = f"/{auid}/users/{account.aor.decode()}/index"
        # A nonce of HTTP is another than that of SIP: this account is asked here alone.
        user = Account(
            account.index, account.username, account.domain, account.password, account.preferred
        )
        status = 0
        for _ in range(2):
            headers = {"Content-Type": content_type}
            credentials = user.credentials(b"PUT", path.encode())
            if credentials:
                headers["Authorization"] = credentials.decode()
            connection.request("PUT", path, body, headers)
            response = connection.getresponse()
            said = response.read()
            status = response.status
            if status != 401:
                break
            user.challenged(response.headers.get_all("WWW-Authenticate") or [])
        if status not in (200, 201, 204):
            text = said[:200].decode("utf-8", "replace")
            raise LoadError(f"PUT {path} was answered {status}: {text}")
        if time.monotonic() > end:
            raise LoadError(f"the documents took longer than {limit:.0f} s to put")
    connection.close()


def _connected(port: int, end: float) -> http.client.HTTPConnection:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.connect()
        except OSError as error:
            if time.monotonic() > end:
                raise LoadError(f"no XCAP server on port {port}: {error}") from None
            time.sleep(0.1)
        else:
            return connection
