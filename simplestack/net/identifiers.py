"""Identifiers from the randomness of the operating system, for server and client."""

from binascii import b2a_hex
from collections.abc import Callable
from os import urandom
from random import SystemRandom
from typing import Final

__all__ = ["RandomIdentifiers"]


#: Characters of a tag, and how many tags are drawn at once.
_LENGTH: Final = 16
_DRAWN: Final = 256


class RandomIdentifiers:
    """Identifiers from the operating system's randomness; provides ``Identifiers``.

    Tags and entity-tags can't be guessed (RFC 3261 §19.3 asks for 32 bits; these have 64).
    Branches need only be unique (§8.1.1.7): a random prefix of this process, and a count.
    Tags are drawn many at a time, since to ask the system takes longer than all else here.
    """

    __slots__ = ("_at", "_branch_prefix", "_branches", "_bytes", "_drawn")

    def __init__(self, octets: Callable[[int], bytes] = urandom) -> None:
        self._bytes = octets
        self._branch_prefix = "z9hG4bK" + b2a_hex(octets(6)).decode() + "."
        self._branches = 0
        self._drawn = ""
        self._at = 0

    def tag(self) -> str:
        """A From or To tag."""
        at = self._at
        if at == len(self._drawn):
            self._drawn = b2a_hex(self._bytes(_LENGTH // 2 * _DRAWN)).decode()
            at = 0
        self._at = end = at + _LENGTH
        return self._drawn[at:end]

    def branch(self) -> str:
        """A Via branch with the magic cookie."""
        self._branches += 1
        return f"{self._branch_prefix}{self._branches}"

    def call_id(self) -> str:
        """A Call-ID."""
        return b2a_hex(self._bytes(16)).decode()

    def entity_tag(self) -> str:
        """An entity-tag."""
        return self.tag()

    def record_id(self) -> str:
        """The id of a new record."""
        return self.tag()

    def fraction(self) -> float:
        """A number from 0 up to 1, to choose among servers (RFC 2782) and to spread load."""
        return SystemRandom().random()

    def octets(self, count: int) -> bytes:
        """Random octets, for nonces."""
        return self._bytes(count)
