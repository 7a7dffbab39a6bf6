"""The memory of requests that may come by another path as well (RFC 3261 §8.2.2.2)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.transaction.matching import MergedRequests
from tests.transaction.messages import request


class MergedRequestsTests(SynchronousTestCase):
    """How requests that are too old go."""

    def test_two_by_two(self) -> None:
        """What is too old goes two by two as others come, so that nobody waits for all of it."""
        gone: list[str] = []

        class Key(str):
            def __del__(self) -> None:
                gone.append(str(self))

        merged = MergedRequests(10.0, 100_000)
        for number in range(100):
            before = len(gone)
            self.assertFalse(merged.check(request(call_id=str(number)), Key(number), float(number)))
            self.assertLessEqual(len(gone) - before, 2)
        # Those of this period and of the one before, and of one that is going.
        self.assertGreaterEqual(len(gone), 100 - 3 * 11)
