"""The benchmark of lists, in small: it runs, and everybody is told in time."""

from twisted.trial.unittest import SynchronousTestCase

from tests.bench.lists import IN_TIME, Scale, measure_lists, measure_singles, report

SMALL = Scale(watchers=4, entries=5, presentities=30, alone=1, rounds=1, together=5, settle=0.1)


class ListsTests(SynchronousTestCase):
    def test_small(self) -> None:
        """Each list that holds a presentity is told of its PUBLISH within two seconds."""
        for measured in (measure_lists(SMALL), measure_singles(SMALL)):
            self.assertEqual(measured.all_entries, 20)
            for each in (measured.alone, measured.together):
                self.assertGreater(each.told, 0)
                self.assertLessEqual(each.slowest, IN_TIME)
            self.assertEqual(len(report("it", measured)), 4)
