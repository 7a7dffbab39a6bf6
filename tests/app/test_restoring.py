"""After a start: who has subscribers is woken over a time, a few at once."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.restoring import Restoring


class RestoringTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A store that reads at once, or when it is told to."""
        self.clock = Clock()
        self.at_once = True
        self.asked: list[str] = []
        self.reading: list[Deferred[None]] = []
        self.woken: list[str] = []
        self.took: list[float] = []

    def load(self, aor: str) -> Deferred[None]:
        """Read an AOR."""
        self.asked.append(aor)
        self.reading.append(Deferred())
        result = self.reading[-1]
        if self.at_once:
            result.callback(None)
        return result

    def start(self, count: int, window: float) -> Restoring:
        """After a start with so many."""
        names = [f"sip:u{number}@example.com" for number in range(count)]
        restoring = Restoring(
            self.clock, names, window, self.load, self.woken.append, self.took.append
        )
        restoring.start()
        return restoring

    def test_spread(self) -> None:
        """They are spread over the window, so that a restart is no storm."""
        self.start(1000, 10)
        for second in range(1, 10):
            self.clock.pump([0.1] * 10)
            self.assertLess(abs(len(self.woken) - 100 * second), 25)
        self.assertEqual(self.took, [])
        self.clock.pump([0.1] * 12)
        self.assertEqual(len(self.woken), 1000)
        self.assertLess(abs(self.took[0] - 10), 1.2)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_few_at_a_time(self) -> None:
        """However late it is, few are read at a time: requests do not wait behind all of them."""
        self.at_once = False
        self.start(1000, 1)
        answered = most = 0
        while len(self.woken) < 1000:
            self.clock.advance(1)
            most = max(most, len(self.asked) - answered)
            for result in self.reading[answered:]:
                answered += 1
                result.callback(None)
        self.clock.advance(1)
        self.assertLessEqual(most, 24)
        self.assertEqual(len(self.took), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_unreadable(self) -> None:
        """Who can't be read is woken all the same: the clock's turn tries it again."""
        self.at_once = False
        self.start(1, 0)
        self.reading[0].errback(OSError("away"))
        self.assertEqual((len(self.woken), len(self.took)), (1, 1))

    def test_nobody(self) -> None:
        """Where nobody has subscribers it is over at once."""
        self.start(0, 10)
        self.assertEqual((self.took, self.clock.getDelayedCalls()), ([0.0], []))

    def test_stopped(self) -> None:
        """After a stop nobody is woken, and nothing is left in the reactor."""
        self.at_once = False
        restoring = self.start(1000, 1)
        self.clock.advance(0.5)
        restoring.stop()
        for result in list(self.reading):
            result.callback(None)
        self.assertEqual((self.woken, self.took, self.clock.getDelayedCalls()), ([], [], []))
