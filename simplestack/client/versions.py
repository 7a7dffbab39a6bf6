"""The versions of documents of which later ones tell only what has changed."""

from __future__ import annotations

from enum import Enum

__all__ = ["Step", "Versions"]


class Step(Enum):
    """What to do with a document."""

    #: It is the whole state.
    REPLACE = "replace"
    #: It changes what is known.
    MERGE = "merge"
    #: What it changes is known already.
    IGNORE = "ignore"
    #: One was missed: the whole state must be asked for.
    REFRESH = "refresh"


class Versions:
    """Keeps partial documents coherent (RFC 3858 §4.1, RFC 3680 §5.2)."""

    def __init__(self) -> None:
        self._version: int | None = None

    def take(self, version: int, full: bool) -> Step:
        """What to do with the document of a NOTIFY.

        "If the document contains full state, the [table] is flushed" and filled from it.  NOTIFYs
        out of order do not come this far, and a new subscription begins anew.
        """
        if full:
            self._version = version
            return Step.REPLACE
        if self._version is None:
            return Step.REFRESH
        if version <= self._version:
            return Step.IGNORE
        missed = version > self._version + 1
        self._version = version
        return Step.REFRESH if missed else Step.MERGE
