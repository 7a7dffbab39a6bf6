"""The channel over TCP and TLS, in small: every user has a connection, and all is told by it."""

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.figures import Plan, Row
from tests.bench.measured import measure
from tests.bench.prepared import prepared
from tests.bench.ratios import RATIOS, beside

_PLAN = Plan(seconds=0.2, warm=0.1, users=8, window=4)
_ROW = Row("tcp-publish-1", "PUBLISH", "PUBLISH", 2, 4, 4, 1.3)


class StreamsTests(SynchronousTestCase):
    def test_operations_by_connections(self) -> None:
        """Answers and NOTIFYs come by the connection of who asked (RFC 3261 §18.2.2)."""
        for transport in ("tcp", "tls"):
            with prepared(_PLAN, _ROW, transport=transport) as (side, _):
                figures = measure(_PLAN, side)
                self.assertGreater(figures.operations, 0)
                self.assertEqual(figures.notifications, 2 * figures.operations)
                self.assertEqual(figures.failures, {})

    def test_what_is_compared(self) -> None:
        """Each row of the ratios says what its multiple is of."""
        for row in RATIOS:
            self.assertTrue(beside(_PLAN, row))
