"""Reads the records of an AOR, for a program without a reactor such as the command line."""

from simplestack.state import Record
from simplestack.store.database import Database
from simplestack.store.errors import StoreError
from simplestack.store.loader import read_records

__all__ = ["records_of"]


def records_of(url: str, aor: str) -> list[Record]:
    """All records of an AOR as they are committed now, whether a server runs or not.

    Raises StoreError saying what to do.
    """
    database = Database(url)
    database.prepare()
    with database.explained():
        connection = database.connect()
        try:
            found = read_records(database)([aor], connection).get(aor, [])
        finally:
            connection.close()
    if isinstance(found, StoreError):
        raise found
    return found
