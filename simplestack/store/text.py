"""How text is written so that every ``str`` comes back as it was.

PostgreSQL refuses NUL, and neither database takes the lone surrogates that stand for octets that
are not UTF-8 (``surrogateescape``).  Each such character is written as the noncharacter U+FDD0,
which Unicode reserves for uses like this one, and its code in four hexadecimal digits.  U+FDD0
itself is written so too, hence two different strings never become one.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

__all__ = ["KEY_LIMIT", "RowText", "decode", "encode", "fits"]

#: Octets that the ``aor`` and ``id`` of a record may have together, as they are written.  An
#: index entry of PostgreSQL has room for 2,704 with its own head.
KEY_LIMIT = 2600

_MARK = "\ufdd0"
_UNSAFE = re.compile("[\0\ud800-\udfff\ufdd0]")
_WRITTEN = re.compile(_MARK + "([0-9a-f]{4})")


def encode(text: str) -> str:
    """The text as it is written."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNSAFE.sub(lambda match: f"{_MARK}{ord(match[0]):04x}", text)


def decode(text: str) -> str:
    """The text that was written so."""
    if _MARK not in text:
        return text
    return _WRITTEN.sub(lambda match: chr(int(match[1], 16)), text)


def fits(aor: str, key: str) -> bool:
    """Whether the two are short enough for a key, in every database."""
    # No character takes more than seven octets, and that only if it is escaped.
    if (len(aor) + len(key)) * 7 <= KEY_LIMIT:
        return True
    return len(encode(aor).encode()) + len(encode(key).encode()) <= KEY_LIMIT


class RowText:
    """The text columns of a kind of row.

    Almost all text is ASCII, so whole batches are looked at in one piece first.
    """

    __slots__ = ("_columns", "_pick")

    def __init__(self, columns: Sequence[int]) -> None:
        #: Two columns at least: the key.
        self._columns = frozenset(columns)
        self._pick: Callable[[Sequence[Any]], tuple[str, ...]] = itemgetter(*columns)

    def encode(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """The rows as they are written.  Raises TypeError where text is something else."""
        text = "".join(chain.from_iterable(map(self._pick, rows)))
        if text.isascii() and "\0" not in text:
            return rows
        return self._map(encode, rows)

    def decode(self, rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
        """The rows that were written so."""
        if _MARK not in "".join(chain.from_iterable(map(self._pick, rows))):
            return rows
        return self._map(decode, rows)

    def _map(
        self, code: Callable[[str], str], rows: Iterable[Sequence[Any]]
    ) -> Sequence[Sequence[Any]]:
        columns = self._columns
        return [
            tuple(code(value) if index in columns else value for index, value in enumerate(row))
            for row in rows
        ]
