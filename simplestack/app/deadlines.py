"""When each AOR next needs the clock's attention: a wheel of one-second slots."""

from math import ceil

__all__ = ["Deadlines"]


class Deadlines:
    """The earliest known deadline of each AOR, in seconds of the wall clock.

    A deadline is only ever moved forward by ``set``: a refresh that makes an expiry later leaves
    the old, earlier one, and the turn that it causes finds nothing to do and sets the next one.
    So a refresh costs one look-up, not a search.
    """

    __slots__ = ("_slots", "_times", "_turned")

    def __init__(self, now: float) -> None:
        self._slots: dict[int, set[str]] = {}
        self._times: dict[str, int] = {}
        self._turned = int(now)

    def set(self, aor: str, when: float) -> None:
        """See to it that ``due`` names this AOR at ``when`` or sooner."""
        second = max(ceil(when), self._turned + 1)
        known = self._times.get(aor)
        if known is not None:
            if known <= second:
                return
            self._slots[known].discard(aor)
        self._times[aor] = second
        self._slots.setdefault(second, set()).add(aor)

    def due(self, now: float) -> list[str]:
        """The AORs whose deadline has passed; they are forgotten here."""
        turned = int(now)
        if turned <= self._turned:
            return []
        if turned - self._turned > len(self._slots):
            seconds = sorted(second for second in self._slots if second <= turned)
        else:
            seconds = list(range(self._turned + 1, turned + 1))
        self._turned = turned
        aors: list[str] = []
        for second in seconds:
            for aor in sorted(self._slots.pop(second, ())):
                del self._times[aor]
                aors.append(aor)
        return aors

    def __len__(self) -> int:
        return len(self._times)
