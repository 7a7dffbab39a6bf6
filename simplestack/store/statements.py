"""The SQL that runs often, in the dialect of each database.

Rows are written many per statement and not with ``executemany``: a statement is one step that
the interpreter lock is released for, where ``executemany`` releases it and waits for it again at
each row, while the reactor wants it too.  A statement of any number of rows would have to be
parsed anew; there is one for each number of up to 64, nearly all that a busy server has in a batch,
and for 128 rows, which the drivers keep prepared.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.engine.interfaces import DBAPICursor

__all__ = ["RowStatement", "delete", "upsert"]

#: The most rows in one statement, and up to which number there is one for each.
_ROWS: Final = 128
_EACH: Final = 64


def _slices(count: int) -> Iterator[tuple[int, int]]:
    """Start and size of the parts: as few as there are statements for."""
    start = 0
    while start < count:
        left = count - start
        size = left if left <= _EACH else _ROWS if left >= _ROWS else _EACH
        yield start, size
        start += size


class RowStatement:
    """A statement that takes many rows at once."""

    __slots__ = ("_columns", "_head", "_marker", "_tail", "_text")

    def __init__(self, head: str, columns: int, tail: str, marker: Callable[[int], str]) -> None:
        self._head = head
        self._tail = tail
        self._columns = columns
        self._marker = marker
        self._text = lru_cache(maxsize=None)(self._make)

    def _make(self, rows: int) -> str:
        numbers = iter(range(1, rows * self._columns + 1))
        groups = (
            "(" + ", ".join(self._marker(next(numbers)) for _ in range(self._columns)) + ")"
            for _ in range(rows)
        )
        return self._head + ", ".join(groups) + self._tail

    def steps(self, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[Any]]]:
        """The statements to execute for these rows, with their parameters."""
        for start, size in _slices(len(rows)):
            yield self._text(size), list(chain.from_iterable(rows[start : start + size]))

    def execute(self, cursor: DBAPICursor, rows: Sequence[Sequence[Any]]) -> None:
        """Execute for these rows."""
        for statement, parameters in self.steps(rows):
            cursor.execute(statement, parameters)


def upsert(table: Table, marker: Callable[[int], str]) -> RowStatement:
    """Create or replace rows."""
    names = [column.name for column in table.columns]
    key = [column.name for column in table.primary_key]
    return RowStatement(
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ",
        len(names),
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in names if name not in key),
        marker,
    )


def delete(table: Table, marker: Callable[[int], str]) -> RowStatement:
    """Delete the rows of these keys, whether they exist or not."""
    key = [column.name for column in table.primary_key]
    # SQLite uses no index for "IN (VALUES …)" of more than one row, but reads the whole table.
    return RowStatement(
        f"DELETE FROM {table.name} WHERE ({', '.join(key)}) IN "
        "(SELECT column1, column2 FROM (VALUES ",
        len(key),
        ") AS gone)",
        marker,
    )
