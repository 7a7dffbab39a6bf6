"""When soft state is refreshed, and when tried again."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from simplestack.client.errors import ClientError, NoAnswerError, RefusedError
from simplestack.client.refreshing import Refreshing, pause_after, wait_before


class WaitTests(SynchronousTestCase):
    def test_before_it_ends(self) -> None:
        """RFC 3261 §10.2.4: "A UA SHOULD refresh" before expiry; there is time for a try that is
        not answered (timer F) wherever the interval is long enough for that.
        """
        for granted in (1, 10, 60, 120, 600, 3600, 86400):
            wait = wait_before(granted)
            self.assertTrue(granted / 2 <= wait < granted)
            if granted >= 120:
                self.assertGreater(granted - wait, 32)


class PauseTests(SynchronousTestCase):
    def test_final(self) -> None:
        """RFC 3261 §21.4: 4xx, and 6xx, "SHOULD NOT retry the same request without modification"."""
        for status in (400, 401, 403, 404, 489, 501, 603):
            self.assertIsNone(pause_after(RefusedError(status, "no"), 1))
        self.assertIsNone(pause_after(ClientError("nonsense"), 1))

    def test_unknown(self) -> None:
        """RFC 3261 §8.1.3.2: "A UAC MUST treat any final response it does not recognize as being
        equivalent to the x00 response code of that class": 599 passes as 500 does, 499 does not.
        """
        self.assertEqual(pause_after(RefusedError(599, "who knows"), 1), 2)
        self.assertIsNone(pause_after(RefusedError(499, "who knows"), 1))
        self.assertIsNone(pause_after(RefusedError(505, "SIP/3.0"), 1))

    def test_doubles(self) -> None:
        """The pause doubles with each failure, up to a minute."""
        pauses = [pause_after(NoAnswerError("silence"), failures) for failures in range(1, 9)]
        self.assertEqual(pauses, [2, 4, 8, 16, 32, 60, 60, 60])

    def test_retry_after(self) -> None:
        """RFC 3261 §21.5.4: a 503 may say with Retry-After when to come again."""
        self.assertEqual(pause_after(RefusedError(503, "later", retry_after=300), 1), 300)
        self.assertEqual(pause_after(RefusedError(503, "later", retry_after=0), 1), 1)
        self.assertEqual(pause_after(RefusedError(500, "oops"), 1), 2)


class RefreshingTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Something that is granted for 600 s, or fails as a test says."""
        self.clock = Clock()
        self.times: list[float] = []
        self.faults: list[Exception] = []
        self.troubles: list[tuple[ClientError, float]] = []
        self.ends: list[ClientError] = []
        self.refreshing = Refreshing(
            self.clock,
            self.refresh,
            lambda error, pause: self.troubles.append((error, pause)),
            self.ends.append,
        )

    async def refresh(self) -> float:
        """Refresh."""
        self.times.append(self.clock.seconds())
        if self.faults:
            raise self.faults.pop(0)
        return 600.0

    def test_again_and_again(self) -> None:
        """What is granted is refreshed each time before it ends."""
        self.refreshing.granted(600)
        self.clock.pump([1.0] * 1800)
        self.assertEqual(self.times, [530.0, 1060.0, 1590.0])

    def test_nothing_is_granted(self) -> None:
        """A server that grants no time, or next to none, is not asked as fast as it answers."""
        for granted in (0.0, 0.001):

            async def refresh(granted: float = granted) -> float:
                self.times.append(self.clock.seconds())
                # So that this ends.
                return granted if len(self.times) < 100 else 600.0

            self.times.clear()
            refreshing = Refreshing(self.clock, refresh)
            refreshing.granted(granted)
            self.clock.pump([0.5] * 20)
            refreshing.stop()
            self.assertLessEqual(len(self.times), 10)

    def test_trouble(self) -> None:
        """A failure that may pass is told of, and followed by another try."""
        self.faults = [NoAnswerError("silence"), NoAnswerError("silence")]
        self.refreshing.soon()
        self.clock.pump([1.0] * 20)
        self.assertEqual([pause for _, pause in self.troubles], [2, 4])
        self.assertEqual(self.times, [1, 3, 7])
        self.assertEqual(self.ends, [])

    def test_end(self) -> None:
        """A failure that won't pass is the end."""
        self.faults = [RefusedError(403, "Forbidden")]
        self.refreshing.soon()
        self.clock.pump([1.0] * 100)
        self.assertEqual([str(error) for error in self.ends], ["403 Forbidden"])
        self.assertEqual(len(self.times), 1)

    def test_defect(self) -> None:
        """An exception that nobody expects is logged, and the end."""
        self.faults = [KeyError("x")]
        self.refreshing.soon()
        self.clock.pump([1.0] * 3)
        self.assertEqual(len(self.ends), 1)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_stop(self) -> None:
        """After a stop nothing is refreshed."""
        self.refreshing.granted(600)
        self.refreshing.stop()
        self.refreshing.soon()
        self.clock.pump([10.0] * 100)
        self.assertEqual(self.times, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
