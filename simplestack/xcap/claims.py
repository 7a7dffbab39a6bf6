"""Values that must be unique on the whole server, and which document has them (RFC 4825 §5.3)."""

from collections.abc import Collection, Iterable
from typing import TypeAlias

__all__ = ["Claims"]

#: AOR and id of a document.
Key: TypeAlias = tuple[str, str]


class Claims:
    """Who has which value, for one application usage.

    Every version of a document holds its values from the decision to put it until its successor
    is committed; hence of two users who want the same value at once one gets it, and nothing is
    lost where a commit fails.
    """

    def __init__(self) -> None:
        self._holders: dict[str, tuple[Key, int]] = {}

    def holder(self, value: str) -> Key | None:
        """The document that has the value."""
        held = self._holders.get(value)
        return None if held is None else held[0]

    def take(self, key: Key, values: Iterable[str]) -> None:
        """A version of a document has these values; none of them is another document's."""
        for value in values:
            held = self._holders.get(value)
            self._holders[value] = (key, 1 if held is None else held[1] + 1)

    def release(self, values: Iterable[str]) -> None:
        """A version that had these values is no more."""
        for value in values:
            held = self._holders.get(value)
            if held is not None:
                if held[1] > 1:
                    self._holders[value] = (held[0], held[1] - 1)
                else:
                    del self._holders[value]

    def forget(self, aors: Collection[str]) -> None:
        """All documents of these AORs are no more."""
        gone = [value for value, (key, _) in self._holders.items() if key[0] in aors]
        for value in gone:
            del self._holders[value]

    def free(self, value: str) -> tuple[str, ...]:
        """Some values like this one that nobody has (RFC 4825 §11.1)."""
        head, at, tail = value.partition("@")
        candidates = (f"{head}-{number}{at}{tail}" for number in range(2, 100))
        found = []
        for candidate in candidates:
            if candidate not in self._holders:
                found.append(candidate)
                if len(found) == 3:
                    break
        return tuple(found)

    def __len__(self) -> int:
        return len(self._holders)
