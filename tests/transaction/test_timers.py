"""Timers and their queue (RFC 3261 §17, Table 4 of Appendix A)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.transaction.timers import TimerQueue, Timers


class DurationTests(SynchronousTestCase):
    """The values of Table 4."""

    def test_defaults(self) -> None:
        """T1, T2 and T4 are 500 ms, 4 s and 5 s; the others follow (RFC 3261 Table 4)."""
        timers = Timers()
        self.assertEqual((timers.T1, timers.T2, timers.T4), (0.5, 4.0, 5.0))
        for letter in "BFHJLM":
            self.assertEqual(getattr(timers, letter), 32.0, letter)
        self.assertEqual((timers.D, timers.I, timers.K), (32.0, 5.0, 5.0))

    def test_timer_c_is_larger_than_three_minutes(self) -> None:
        """Timer C MUST be larger than 3 minutes (RFC 3261 §16.6 item 11)."""
        self.assertGreater(Timers().C, 180.0)

    def test_d_is_at_least_32_seconds(self) -> None:
        """Timer D is at least 32 s whatever T1 is (RFC 3261 §17.1.1.2)."""
        self.assertEqual(Timers(T1=0.1).D, 32.0)
        self.assertEqual(Timers(T1=1.0).D, 64.0)

    def test_retransmission_intervals(self) -> None:
        """Intervals double, for non-INVITE up to T2 (RFC 3261 §17.1.1.2, §17.1.2.2)."""
        timers = Timers()
        self.assertEqual([timers.retransmit(n) for n in range(6)], [0.5, 1.0, 2.0, 4.0, 4.0, 4.0])
        self.assertEqual(
            [timers.retransmit_invite(n) for n in range(6)], [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
        )

    def test_trying_is_due_when_e_has_reached_t2(self) -> None:
        """0.5 + 1 + 2 seconds (RFC 4320 §4.1)."""
        self.assertEqual(Timers().trying, 3.5)
        self.assertEqual(Timers(T1=1.0, T2=4.0).trying, 3.0)

    def test_guard_is_before_f(self) -> None:
        """The answer of the guard reaches the client before its timer F fires."""
        timers = Timers()
        self.assertLess(timers.trying, timers.guard)
        self.assertLess(timers.guard, timers.F)
        self.assertLess(timers.guard_invite, timers.C)


class QueueTests(SynchronousTestCase):
    """FIFOs per duration, a heap for the rest."""

    def setUp(self) -> None:
        """An empty queue and a list of what has fired."""
        self.queue = TimerQueue()
        self.fired: list[tuple[str, float]] = []

    def fire(self, item: str, now: float) -> None:
        """Write down what fires."""
        self.fired.append((item, now))

    def test_empty(self) -> None:
        """Nothing waits: no wake-up is needed."""
        self.assertIsNone(self.queue.next_wakeup())
        self.assertEqual(self.queue.advance(1e9), 0)

    def test_fires_at_its_deadline_and_not_before(self) -> None:
        """A timer fires when its duration is over, exactly."""
        fifo = self.queue.fifo(32.0, self.fire)
        self.assertEqual(fifo.add("a", 1.0), 33.0)
        self.assertEqual(self.queue.next_wakeup(), 33.0)
        self.queue.advance(32.999)
        self.assertEqual(self.fired, [])
        self.queue.advance(33.0)
        self.assertEqual(self.fired, [("a", 33.0)])
        self.assertIsNone(self.queue.next_wakeup())

    def test_slack_delays_the_wakeup_alone(self) -> None:
        """With slack nobody wakes up for it at once, but who is awake fires it."""
        fifo = self.queue.fifo(5.0, self.fire, slack=0.25)
        fifo.add("a", 0.0)
        self.assertEqual(self.queue.next_wakeup(), 5.25)
        self.queue.advance(5.0)
        self.assertEqual(self.fired, [("a", 5.0)])

    def test_stale_heads_need_no_wakeup(self) -> None:
        """What is stale at the head is dropped without a wake-up of its own."""
        stale = {"a", "b"}
        fifo = self.queue.fifo(5.0, self.fire, stale=lambda item, _: item in stale)
        for item in "abc":
            fifo.add(item, 0.0)
        fifo.add("d", 2.0)
        self.queue.advance(1.0)
        self.assertEqual(self.queue.next_wakeup(), 5.0)
        self.assertEqual(len(self.queue), 2)

    def test_alarm_can_be_cancelled(self) -> None:
        """Timers of odd durations fire in the order of their deadlines, cancelled ones not."""
        self.queue.at(3.0, lambda now: self.fire("late", now))
        self.queue.at(1.0, lambda now: self.fire("early", now))
        never = self.queue.at(2.0, lambda now: self.fire("never", now))
        self.assertEqual(self.queue.next_wakeup(), 1.0)
        never.cancel()
        self.queue.advance(1.0)
        self.assertEqual(self.queue.next_wakeup(), 3.0)
        self.queue.advance(3.0)
        self.assertEqual([item for item, _ in self.fired], ["early", "late"])

    def test_what_is_added_while_firing_waits(self) -> None:
        """A timer of no duration that starts itself again does not hang the queue."""

        def again(item: str, now: float) -> None:
            self.fire(item, now)
            fifo.add(item, now)

        fifo = self.queue.fifo(0.0, again)
        fifo.add("a", 1.0)
        self.queue.advance(1.0)
        self.assertEqual(self.fired, [("a", 1.0)])
        self.assertEqual(self.queue.next_wakeup(), 1.0)

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from([0.5, 1.0, 4.0, 32.0]), st.floats(0.0, 5.0)), max_size=40
        )
    )
    def test_all_fire_once_at_their_time(self, starts: list[tuple[float, float]]) -> None:
        """Whoever wakes up when the queue says, fires each timer once and never late."""
        queue = TimerQueue()
        fired: list[tuple[float, float]] = []

        def fire(due: float, now: float) -> None:
            fired.append((due, now))

        fifos = {duration: queue.fifo(duration, fire) for duration in (0.5, 1.0, 4.0, 32.0)}
        now = 0.0
        expected = []
        for duration, pause in starts:
            now += pause
            while (wakeup := queue.next_wakeup()) is not None and wakeup <= now:
                queue.advance(wakeup)
            expected.append(fifos[duration].add(now + duration, now))
        while (wakeup := queue.next_wakeup()) is not None:
            queue.advance(wakeup)
        self.assertEqual(sorted(due for due, _ in fired), sorted(expected))
        self.assertTrue(all(due == at for due, at in fired))
