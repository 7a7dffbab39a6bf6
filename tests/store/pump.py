"""A reactor that a test turns by hand, for a store whose threads are real."""

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure


class Pump:
    """Calls wait in a queue until the test waits for a Deferred."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        #: Seconds that have passed for those alone who ask for the time.
        self.passed = 0.0

    def seconds(self) -> float:
        """The time."""
        return monotonic() + self.passed

    def callLater(self, delay: float, call: Callable[..., object], *args: object) -> IDelayedCall:
        """Queue a call; with a delay it would be an error of the store."""
        if delay:
            raise AssertionError("the store waits for the reactor to go around, not for time")
        self._calls.put(partial(call, *args))
        return DelayedCall(0, call, args, {}, lambda _: None, lambda _: None)

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        """Queue a call."""
        self._calls.put(partial(call, *args))

    def turn(self, timeout: float = 20) -> None:
        """Make one call, waiting for it if need be."""
        self._calls.get(timeout=timeout)()

    def until(self, condition: Callable[[], object]) -> None:
        """Turn until the condition holds."""
        while not condition():
            self.turn()

    def wait(self, deferred: Deferred[Any]) -> Any:
        """What a Deferred fires with; raises what it fails with."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.until(lambda: results)
        (result,) = results
        if isinstance(result, Failure):
            result.raiseException()
        return result
