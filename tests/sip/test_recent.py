"""What was used last."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.recent import Recent

_KEYS = st.lists(st.sampled_from("abcdefghij"), max_size=60)


class RecentTests(SynchronousTestCase):
    """What is kept, and what is not."""

    def test_all(self) -> None:
        """While there are no more than so many, all are kept."""
        recent: Recent[int] = Recent(3)
        for number, key in enumerate("abc"):
            recent.set(key, number)
        recent.set("a", 7)
        self.assertEqual([recent.get(key) for key in "abcd"], [7, 1, 2, None])
        self.assertEqual(len(recent), 3)
        recent.clear()
        self.assertEqual((len(recent), recent.get("a")), (0, None))

    @given(_KEYS, st.integers(1, 5))
    def test_last(self, keys: list[str], size: int) -> None:
        """The last so many that were used are there as they were set; twice as many at most."""
        recent: Recent[str] = Recent(size)
        for key in keys:
            if recent.get(key) is None:
                recent.set(key, key.upper())
            self.assertLessEqual(len(recent), 2 * size)
        used = list(dict.fromkeys(reversed(keys)))[:size]
        # Asked in the order of their use, so that asking changes nothing.
        self.assertEqual([recent.get(key) for key in used], [key.upper() for key in used])

    def test_one_by_one(self) -> None:
        """What is kept no more goes one by one, and all of it goes."""
        gone: list[int] = []

        class Value:
            def __init__(self, number: int) -> None:
                self.number = number

            def __del__(self) -> None:
                gone.append(self.number)

        recent: Recent[Value] = Recent(10)
        for number in range(100):
            before = len(gone)
            recent.set(str(number), Value(number))
            self.assertLessEqual(len(gone) - before, 1)
        self.assertGreaterEqual(len(gone), 100 - 3 * 10)
        recent.clear()
        self.assertEqual(sorted(gone), list(range(100)))
