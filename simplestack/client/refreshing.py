"""Soft state at a server: what must be refreshed in time, and tried again when that fails."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from simplestack.client.errors import ClientError, NoAnswerError, RefusedError
from simplestack.sip.errors import recognized

__all__ = ["Refreshing", "pause_after", "wait_before"]

#: Failures that another try may overcome (RFC 3261 §21.4.9, §21.5).
_PASSING = frozenset({408, 480, 500, 502, 503, 504})
_LONGEST_PAUSE = 60.0
#: A server is not asked more often for what it grants no longer, in seconds.
_SHORTEST_WAIT = 1.0


def wait_before(granted: float) -> float:
    """How many seconds to wait before refreshing what lasts ``granted`` seconds.

    It leaves time for a refresh that is not answered (timer F, 32 s) and another one.
    """
    return granted - min(granted / 2, max(70.0, granted / 20))


def pause_after(error: ClientError, failures: int) -> float | None:
    """How many seconds to pause after ``failures`` tries in a row failed; None to give up.

    A Retry-After is obeyed (RFC 3261 §20.33); else the pause doubles, up to a minute.
    """
    if isinstance(error, RefusedError):
        if recognized(error.status) not in _PASSING:
            return None
        if error.retry_after is not None:
            return float(max(1, error.retry_after))
    elif not isinstance(error, NoAnswerError):
        return None
    return min(_LONGEST_PAUSE, 2.0 ** min(failures, 10))


class Refreshing:
    """Calls ``refresh``, which returns the seconds granted, again before these are over.

    ``trouble(error, pause)`` is told of each failure after which it is tried again, ``gave_up``
    of the one after which it isn't.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        refresh: Callable[[], Coroutine[Any, Any, float | None]],
        trouble: Callable[[ClientError, float], None] | None = None,
        gave_up: Callable[[ClientError], None] | None = None,
    ) -> None:
        self._clock = clock
        self._refresh = refresh
        self._trouble = trouble
        self._gave_up = gave_up
        self._call: Any = None
        self._failures = 0
        self._running = False
        self._stopped = False

    def granted(self, seconds: float) -> None:
        """What is to be refreshed now lasts so long."""
        self._failures = 0
        self._later(max(_SHORTEST_WAIT, wait_before(seconds)))

    def soon(self, delay: float = 0.0) -> None:
        """Refresh after a delay, whatever was granted."""
        self._later(delay)

    def pause(self) -> None:
        """Nothing is to be refreshed for now."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def stop(self) -> None:
        """Refresh no more."""
        self._stopped = True
        self.pause()

    def _later(self, delay: float) -> None:
        self.pause()
        if not self._stopped:
            self._call = self._clock.callLater(max(0.0, delay), self._due)

    def _due(self) -> None:
        self._call = None
        if self._running:
            # What is under way was not asked for by what has come meanwhile.
            self._later(1.0)
        else:
            Deferred.fromCoroutine(self._run()).addErrback(self._broken)

    async def _run(self) -> None:
        self._running = True
        try:
            seconds = await self._refresh()
        except ClientError as error:
            self._failed(error)
        else:
            if seconds is not None:
                self.granted(seconds)
        finally:
            self._running = False

    def _failed(self, error: ClientError) -> None:
        if self._stopped:
            return
        self._failures += 1
        pause = pause_after(error, self._failures)
        if pause is None:
            self._end(error)
        else:
            self._later(pause)
            if self._trouble is not None:
                self._trouble(error, pause)

    def _end(self, error: ClientError) -> None:
        self.stop()
        if self._gave_up is not None:
            self._gave_up(error)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("A refresh failed", failure)
        if not self._stopped:
            self._end(ClientError(f"a refresh failed: {failure.getErrorMessage()}"))
