"""What several rounds of a measurement are as one."""

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.figures import typical
from tests.bench.measured import Cost


class TypicalTests(SynchronousTestCase):
    def test_rounds(self) -> None:
        """The median of what an operation took counts, so that a disturbed round does not; what
        was done is added up.
        """
        rounds = [
            Cost(wall=1.0, own=0.1, cpu=cpu, machine=1.0).figures(operations, 8)._replace(lost=1)
            for cpu, operations in ((0.5, 100), (0.9, 10), (0.6, 100))
        ]
        figures = typical(rounds)
        self.assertAlmostEqual(figures.server_us, 6000.0)
        self.assertEqual((figures.operations, figures.seconds, figures.lost), (210, 3.0, 3))
        self.assertAlmostEqual(figures.rate, 70.0)
        self.assertEqual(figures._replace(multiples=(7.0, 5.0, 6.0)).multiple, 6.0)
