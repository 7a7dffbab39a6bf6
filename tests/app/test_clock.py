"""The clock that all waiting goes by, while somebody sets the wall clock."""

import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.clock import SteadyClock, steady

START = 1_700_000_000.0


class Clocks:
    """A machine's clocks."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.set = 0.0
        self.clock = SteadyClock(lambda: self.wall, lambda: self.passed)

    @property
    def wall(self) -> float:
        """The wall clock."""
        return START + self.passed + self.set

    def run(self, seconds: int) -> None:
        """Time passes, and the clock is told so every second."""
        for _ in range(seconds):
            self.passed += 1.0
            self.clock.follow()


class ReactorTests(SynchronousTestCase):
    def test_monotonic(self) -> None:
        """A reactor without timers gets the clock that nobody sets; one with timers keeps its own."""
        reactor: Any = SelectReactor()
        self.addCleanup(reactor.fireSystemEvent, "shutdown")
        kept = reactor.callLater(10.0, int)
        steady(reactor)
        at: float = reactor.callLater(10.0, int).getTime()
        self.assertLess(abs(at - time.time()), 15.0)
        for call in (kept, *reactor.getDelayedCalls()):
            if call.active():
                call.cancel()
        steady(reactor)
        call = reactor.callLater(10.0, int)
        self.assertLess(abs(call.getTime() - time.monotonic()), 15.0)

    def test_of_others(self) -> None:
        """What is no reactor of Twisted's own is left alone."""
        clock = Clock()
        steady(clock)
        self.assertEqual(clock.seconds(), 0.0)


class SteadyClockTests(SynchronousTestCase):
    def test_undisturbed(self) -> None:
        """It is the wall clock."""
        clocks = Clocks()
        self.assertEqual(clocks.clock.now(), START)
        clocks.passed = 0.4
        self.assertEqual(clocks.clock.now(), START + 0.4)
        clocks.run(100)
        self.assertEqual(clocks.clock.now(), clocks.wall)

    def test_set_forward(self) -> None:
        """It goes with the wall clock within a second, and what was to expire does."""
        clocks = Clocks()
        clocks.set = 3600.0
        clocks.run(1)
        self.assertEqual(clocks.clock.now(), clocks.wall)

    def test_set_back(self) -> None:
        """It goes on, at half the speed, until the wall clock is there."""
        clocks = Clocks()
        clocks.run(5)
        clocks.set = -60.0
        clocks.run(1)
        before = clocks.clock.now()
        clocks.run(60)
        self.assertAlmostEqual(clocks.clock.now(), before + 30.0)
        clocks.run(61)
        self.assertAlmostEqual(clocks.clock.now(), clocks.wall)
        clocks.run(10)
        self.assertAlmostEqual(clocks.clock.now(), clocks.wall)

    @given(
        st.lists(
            st.tuples(
                st.floats(0.0, 5.0),
                st.one_of(st.just(0.0), st.floats(-1e8, 1e8), st.floats(-1.0, 1.0)),
                st.booleans(),
            ),
            max_size=50,
        )
    )
    def test_whatever_happens(self, steps: list[tuple[float, float, bool]]) -> None:
        """It never goes back, never goes slower than half the time, and is never left behind."""
        clocks = Clocks()
        for seconds, set_by, looks in steps:
            before = clocks.clock.now()
            clocks.passed += seconds
            clocks.set += set_by
            after = clocks.clock.now()
            self.assertGreaterEqual(after + 1e-6, before + seconds / 2)
            if looks:
                clocks.clock.follow()
                self.assertGreaterEqual(clocks.clock.now() + 1e-6, max(after, clocks.wall))
        clocks.clock.follow()
        clocks.set += clocks.clock.now() - clocks.wall
        clocks.run(2)
        self.assertAlmostEqual(clocks.clock.now(), clocks.wall, places=5)
