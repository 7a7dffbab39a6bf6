"""Times, counted to three digits.

Counting is on the lean path; what is reported goes through HdrHistogram, whose encoded form
other programs read.
"""

from importlib import import_module
from typing import Any, Final

from simplestack.stone.errors import StoneError

__all__ = ["LONGEST", "Counts", "Times"]

#: Microseconds of the longest time that is told from longer ones.
LONGEST: Final = 100_000_000
_BITS: Final = 11
_HALF: Final = 1 << _BITS


class Counts:
    """How often each time was seen, in classes that are narrower than a thousandth of it."""

    __slots__ = ("classes", "total")

    def __init__(self) -> None:
        self.classes: dict[int, int] = {}
        self.total = 0

    def note(self, microseconds: int) -> None:
        """Count one; what is negative counts as 1, what is too long as the longest."""
        value = microseconds
        if value < 1:
            value = 1
        elif value > LONGEST:
            value = LONGEST
        if value >= _HALF:
            shift = value.bit_length() - _BITS
            value = (value >> shift) << shift
        self.classes[value] = self.classes.get(value, 0) + 1
        self.total += 1

    def encoded(self) -> str:
        """The counts as an encoded HdrHistogram (version 2, base64); empty where there are none."""
        return Times.of(self).encoded() if self.total else ""


class Times:
    """A histogram for reading, of however many processes."""

    def __init__(self, encoded: str = "") -> None:
        try:
            # By name: the lean path is compiled where there is no such module, too.
            made: Any = import_module("hdrh.histogram")
        except ImportError:
            raise StoneError(
                "simplestack stone needs its extra: pip install 'simplestack[stone]'"
            ) from None
        self._made: Any = made.HdrHistogram(1, LONGEST, 3)
        if encoded:
            self.add(encoded)

    @classmethod
    def of(cls, counts: Counts) -> "Times":
        """What was counted."""
        made = cls()
        for value, count in counts.classes.items():
            made._made.record_value(value, count)
        return made

    def add(self, encoded: str) -> None:
        """Add what another has counted."""
        if encoded:
            self._made.decode_and_add(encoded)

    def encoded(self) -> str:
        """For JSON, and for ``add``; empty where nothing was counted."""
        if not self.total:
            return ""
        text: bytes = self._made.encode()
        return text.decode("ascii")

    @property
    def total(self) -> int:
        """How many were counted."""
        count: int = self._made.get_total_count()
        return count

    def at(self, percent: float) -> float:
        """The seconds that so many percent stayed within; 0 where nothing was counted."""
        if not self.total:
            return 0.0
        value: float = self._made.get_value_at_percentile(percent)
        return value / 1e6

    def longest(self) -> float:
        """Seconds of the longest."""
        return float(self._made.get_max_value()) / 1e6 if self.total else 0.0

    def mean(self) -> float:
        """Seconds, on average."""
        return float(self._made.get_mean_value()) / 1e6 if self.total else 0.0
