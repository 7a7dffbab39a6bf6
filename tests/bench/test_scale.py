"""The benchmark of scale, in small: it fills a server, starts it again, and all are told."""

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.figures import Plan
from tests.bench.scale import Scale, measure, report

SMALL = Scale(40, 80, 5, settle=0.1, knee=False, window=1, quiet=1.5)


class ScaleTests(SynchronousTestCase):
    def test_small(self) -> None:
        """After a restart every watcher who can be reached is told (RFC 6665 §4.2.1.2)."""
        said: list[str] = []
        figures = measure(SMALL, Plan(), said.append)
        self.assertEqual(figures.restart.watchers, 70)
        self.assertEqual(figures.restart.reached, 70)
        self.assertLess(figures.restart.told, 20)
        self.assertGreater(figures.subscribed, 1 << 20)
        self.assertEqual(len(report(figures)), 7)
