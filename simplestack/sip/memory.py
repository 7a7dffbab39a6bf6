"""What functions of one text gave for the texts that they were asked about last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["remember"]

T = TypeVar("T")

_REMEMBERED_LENGTH = 512


class _Memory(dict[str, T]):
    """What a function gave for the texts that it was asked about last."""

    __slots__ = ("_before", "_parse", "_size")

    def __init__(self, parse: Callable[[str], T], size: int) -> None:
        self._parse = parse
        self._size = size
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


def remember(size: int) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Keep up to twice `size` results of a function of one text, those used last.

    Texts over 512 characters are not kept, so that strangers can't fill the memory with
    long ones. What is known is found without a call of Python code: header fields repeat so
    often that this is most of what reading them costs.
    """

    def decorate(parse: Callable[[str], T]) -> Callable[[str], T]:
        return _Memory(parse, size).__getitem__

    return decorate
