"""The one timer of the reactor."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net.clockwork import Clockwork
from tests.net.doubles import Layer


class ClockworkTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make a clockwork whose clock is not the reactor's."""
        self.reactor = Clock()
        self.layer = Layer()
        self.clockwork = Clockwork(self.reactor, self.layer, lambda: self.reactor.seconds() + 1000)

    def test_sleeps(self) -> None:
        """Without timers there is no call of the reactor."""
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.clockwork.wake()
        self.clockwork.wake()
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
        self.reactor.advance(0.05)
        self.assertEqual(self.layer.advanced, [1000.05])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertTrue(self.clockwork.asleep)

    def test_fires_in_time(self) -> None:
        """A timer fires no more than a grain late, also one that was started when awake."""
        self.layer.due = 1000.5
        self.clockwork.wake()
        for _ in range(20):
            self.reactor.advance(0.01)
        self.layer.due = 1000.3
        while self.layer.due is not None:
            self.reactor.advance(0.01)
        self.assertLess(self.reactor.seconds(), 0.41)
        # The clock may be set: only that of the transactions counts.
        self.assertEqual(self.layer.advanced[-1], self.reactor.seconds() + 1000)

    def test_stays_awake(self) -> None:
        """While something is due later, it looks again."""
        self.layer.due = 1000.5
        self.clockwork.wake()
        for _ in range(100):
            self.reactor.advance(0.01)
        self.assertIsNone(self.layer.due)
        self.assertTrue(self.clockwork.asleep)

    def test_a_fault_does_not_stop_it(self) -> None:
        """A timer that fails is logged, and the others go on."""
        self.layer.due = 1000.1
        self.layer.fault = RuntimeError("a bug")
        self.clockwork.wake()
        self.reactor.advance(0.2)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.layer.fault = None
        self.reactor.advance(0.2)
        self.assertIsNone(self.layer.due)

    def test_stop(self) -> None:
        """After a stop nothing is called, until it is started again."""
        self.clockwork.wake()
        self.clockwork.stop()
        self.clockwork.wake()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.clockwork.start()
        self.clockwork.wake()
        self.assertEqual(len(self.reactor.getDelayedCalls()), 1)
