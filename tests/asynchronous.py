"""Tests that wait."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

__all__ = ["asynchronous"]

Case = TypeVar("Case", bound=TestCase)


def asynchronous(
    test: Callable[[Case], Coroutine[Any, Any, None]],
) -> Callable[[Case], "Deferred[None]"]:
    """A test that waits."""

    @wraps(test)
    def run(case: Case) -> "Deferred[None]":
        return Deferred.fromCoroutine(test(case))

    return run
