"""What was used last, by key."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Recent"]

T = TypeVar("T")


class Recent(Generic[T]):
    """Values by key; the last `size` that were used are kept, and at most twice as many.

    Two dictionaries take turns. To forget the oldest key of a single one, each time that another
    comes, takes longer the larger it is: what was deleted leaves its place behind, and all of these
    are gone through to find the first that is not empty.

    What has had its turn is let go one by one, as others come: a hundred thousand at once would
    hold up whoever waits. So at most thrice `size` are in memory.
    """

    __slots__ = ("_before", "_gone", "_now", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._now: dict[str, T] = {}
        self._before: dict[str, T] = {}
        self._gone: dict[str, T] = {}

    def __len__(self) -> int:
        return len(self._now) + sum(1 for key in self._before if key not in self._now)

    def get(self, key: str) -> T | None:
        """What is kept of the key."""
        value = self._now.get(key)
        if value is None and self._before:
            value = self._before.get(key)
            if value is not None:
                self.set(key, value)
        return value

    def set(self, key: str, value: T) -> None:
        """Keep it."""
        if self._gone:
            self._gone.popitem()
        if len(self._now) >= self.size and key not in self._now:
            self._gone = self._before
            self._before = self._now
            self._now = {}
        self._now[key] = value

    def clear(self) -> None:
        """Forget everything."""
        self._now.clear()
        self._before.clear()
        self._gone.clear()
