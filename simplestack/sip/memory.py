"""What functions of one text gave for the texts that they were asked about last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["make_room", "remember"]

T = TypeVar("T")

_REMEMBERED_LENGTH: Final = 512


class _Memory(dict[str, T]):
    """What a function gave for the texts that it was asked about last."""

    __slots__ = ("_before", "_least", "_parse", "_size", "_users_texts")

    def __init__(self, parse: Callable[[str], T], size: int, each: int) -> None:
        self._parse = parse
        self._size = self._least = size
        self._users_texts = each
        #: What this memory held before it was full, where texts in use are found again.
        self._before: dict[str, T] = {}

    def __missing__(self, text: str) -> T:
        value = self._before.get(text)
        if value is None:
            value = self._parse(text)
        if len(text) <= _REMEMBERED_LENGTH:
            if len(self) >= self._size:
                self._before = self.copy()
                self.clear()
            self[text] = value
        return value

    def make_room(self, users: int) -> None:
        """Keep what so many users say all the time."""
        self._size = max(self._least, self._users_texts * users)


#: Those that keep more where there are more users.
_OF_USERS: Final[list[_Memory[Any]]] = []


def make_room(users: int) -> None:
    """Keep the addresses of so many users, where that is more than is kept anyhow."""
    for memory in _OF_USERS:
        memory.make_room(users)


def remember(size: int, each: int = 0) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Keep up to twice `size` results of a function of one text, those used last.

    `each` is how many texts a user has that he says again and again: after `make_room` so many
    are kept for each user, where that is more.

    Texts over 512 characters are not kept, so that strangers can't fill the memory with
    long ones. What is known is found without a call of Python code: header fields repeat so
    often that this is most of what reading them costs.
    """

    def decorate(parse: Callable[[str], T]) -> Callable[[str], T]:
        memory = _Memory(parse, size, each)
        if each:
            _OF_USERS.append(memory)
        return memory.__getitem__

    return decorate
