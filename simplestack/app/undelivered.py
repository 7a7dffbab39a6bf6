"""The subscriptions whose last NOTIFY failed, and when they are told again (RFC 5057, RFC 6665)."""

from typing import cast

from simplestack.app.deadlines import Deadlines
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response
from simplestack.transaction.failure import Judgement, Lost, judge

__all__ = ["Undelivered"]


class Undelivered:
    """Counts the failures in a row of each subscription, and remembers what to try again.

    It is memory alone: after a restart everybody is told the full state anyhow.
    """

    __slots__ = ("_again_at", "_deadlines", "_failures")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        # AOR → id of the subscription → failures in a row.
        self._failures: dict[str, dict[str, int]] = {}
        # AOR → id of the subscription → when it must be told again.
        self._again_at: dict[str, dict[str, float]] = {}

    def __len__(self) -> int:
        """How many subscriptions did not get their last NOTIFY."""
        return sum(map(len, self._failures.values()))

    def judge(
        self, aor: str, identifier: str, response: Response | None, lost: Lost | None
    ) -> Judgement:
        """What a failure means for a subscription; counts it."""
        failures = self._failures.setdefault(aor, {})
        failures[identifier] = failures.get(identifier, 0) + 1
        return judge(
            None if response is None else response.status,
            _retry_after(response),
            failures[identifier],
            lost=lost or "timeout",
        )

    def failed(self, aor: str) -> bool:
        """Whether a subscription to this AOR has failures in a row."""
        return aor in self._failures

    def waits(self, aor: str) -> bool:
        """Whether a subscription to this AOR is to be told again."""
        return aor in self._again_at

    def put_off(self, aor: str, identifier: str, now: float, judgement: Judgement) -> None:
        """Have a subscription told again when its judgement says so."""
        when = now + (judgement.retry_in or 0.0)
        self._again_at.setdefault(aor, {})[identifier] = when
        self._deadlines.set(aor, when)

    def due(self, aor: str, now: float) -> list[str]:
        """The subscriptions that it is time to tell again, those that have ended too."""
        waiting = self._again_at.get(aor)
        if waiting is None:
            return []
        due = [each for each, when in waiting.items() if when <= now]
        for each in due:
            del waiting[each]
        if waiting:
            self._deadlines.set(aor, min(waiting.values()))
        else:
            del self._again_at[aor]
        return due

    def forgive(self, aor: str, identifier: str) -> None:
        """Forget the failures of a subscription."""
        for memory in (self._failures, self._again_at):
            mine = cast("dict[str, dict[str, float]]", memory).get(aor)
            if mine is not None:
                mine.pop(identifier, None)
                if not mine:
                    del memory[aor]


def _retry_after(response: Response | None) -> float | None:
    if response is None:
        return None
    try:
        value = response.retry_after
    except SIPError:
        return None
    return None if value is None else value.seconds
