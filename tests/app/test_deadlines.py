"""The wheel that says which AOR needs the clock, and when."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.deadlines import Deadlines

AORS = ("sip:a@x", "sip:b@x", "sip:c@x")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from(AORS), st.floats(0.0, 400.0)),
        st.tuples(st.just("run"), st.just(""), st.floats(0.0, 130.0)),
    ),
    max_size=60,
)


class DeadlinesTests(SynchronousTestCase):
    def test_due(self) -> None:
        """RFC 3261 §10.3: a binding is no more when its time is over, to the second, and once."""
        deadlines = Deadlines(1000.5)
        deadlines.set("sip:a@x", 1010.0)
        self.assertEqual(deadlines.due(1009.9), [])
        self.assertEqual(deadlines.due(1010.0), ["sip:a@x"])
        self.assertEqual(deadlines.due(1011.0), [])
        self.assertEqual(len(deadlines), 0)

    def test_earlier_wins(self) -> None:
        """A later time leaves the earlier one; an earlier one takes its place."""
        deadlines = Deadlines(0.0)
        deadlines.set("sip:a@x", 50.0)
        deadlines.set("sip:a@x", 80.0)
        deadlines.set("sip:a@x", 20.0)
        self.assertEqual(deadlines.due(20.0), ["sip:a@x"])
        self.assertEqual(deadlines.due(100.0), [])

    def test_past(self) -> None:
        """What is over already is due in the next second."""
        deadlines = Deadlines(1000.0)
        deadlines.set("sip:a@x", 3.0)
        self.assertEqual(deadlines.due(1000.9), [])
        self.assertEqual(deadlines.due(1001.0), ["sip:a@x"])

    def test_clock_set_back(self) -> None:
        """A time that is less than the last makes nothing due twice, and loses nothing."""
        deadlines = Deadlines(1000.0)
        deadlines.set("sip:a@x", 1005.0)
        self.assertEqual(deadlines.due(1006.0), ["sip:a@x"])
        deadlines.set("sip:b@x", 900.0)
        self.assertEqual(deadlines.due(800.0), [])
        self.assertEqual(deadlines.due(1007.0), ["sip:b@x"])

    @given(STEPS)
    def test_any_order(self, steps: list[tuple[str, str, float]]) -> None:
        """An AOR is named once, not before its earliest deadline and within a second of it."""
        now = 0.0
        deadlines = Deadlines(now)
        wanted: dict[str, float] = {}
        for what, aor, number in steps:
            if what == "set":
                deadlines.set(aor, number)
                # What is over already is due within a second from now.
                earliest = max(number, now)
                wanted[aor] = min(earliest, wanted.get(aor, earliest))
                continue
            now += number
            due = deadlines.due(now)
            self.assertEqual(len(due), len(set(due)))
            for aor in due:
                self.assertLessEqual(wanted.pop(aor), now)
            for left in wanted.values():
                self.assertGreaterEqual(left + 1.0, now)
        due = deadlines.due(now + 1000.0)
        self.assertEqual(sorted(due), sorted(wanted))
