"""What failed NOTIFYs end (RFC 5057 §5, RFC 6665 §4.2.2)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import REASONS
from simplestack.transaction.failure import Judgement, Patience, Verdict, judge

USAGE = {405, 480, 481, 489, 501}
DIALOG = {404, 410, 416, 482, 483, 484, 485, 502, 604}


class JudgeTests(SynchronousTestCase):
    """One outcome, one judgement."""

    def test_success_ends_nothing(self) -> None:
        """Any 2xx is success; 204 as well (RFC 5839)."""
        for status in (200, 202, 204):
            self.assertEqual(judge(status), Judgement(Verdict.NOTHING))

    def test_every_code(self) -> None:
        """Each code ends the transaction, the usage or the dialog alone (RFC 5057 §5.1, table)."""
        for status in REASONS:
            if status < 300:
                continue
            verdict = judge(status).verdict
            if status in USAGE:
                self.assertIs(verdict, Verdict.USAGE, status)
            elif status in DIALOG:
                self.assertIs(verdict, Verdict.DIALOG, status)
            else:
                self.assertIn(verdict, (Verdict.NOTHING, Verdict.RETRY), status)

    def test_codes_of_6665(self) -> None:
        """404, 405, 410, 416, 480-485, 489, 501 and 604 MUST end it (RFC 6665 §4.2.2)."""
        for status in (404, 405, 410, 416, *range(480, 486), 489, 501, 604):
            self.assertIn(judge(status).verdict, (Verdict.USAGE, Verdict.DIALOG), status)
            # Retry-After changes nothing.
            self.assertEqual(judge(status, 5), judge(status), status)

    def test_unknown_codes(self) -> None:
        """Unrecognized codes are treated as x00 of their class (RFC 3261 §8.1.3.2)."""
        self.assertIs(judge(499).verdict, Verdict.NOTHING)
        self.assertIs(judge(699).verdict, Verdict.NOTHING)
        self.assertEqual(judge(599, failures=2), judge(500, failures=2))
        self.assertEqual(judge(555), judge(500))

    def test_retry_after(self) -> None:
        """Retry-After is honoured, within bounds (RFC 3261 §20.33)."""
        self.assertEqual(judge(503, 20), Judgement(Verdict.RETRY, 20, True))
        self.assertEqual(judge(486, 20), Judgement(Verdict.RETRY, 20, True))
        self.assertEqual(judge(503, 0), Judgement(Verdict.RETRY, 1.0, True))
        self.assertEqual(judge(503, 2**32 - 1), Judgement(Verdict.RETRY, 3600.0, True))

    def test_passing_failures(self) -> None:
        """408 is as a timeout (RFC 5057 §5.1); 500, 503 and 504 may pass: the pause doubles."""
        for status in (408, 500, 503, 504):
            pauses = [judge(status, failures=n).retry_in for n in (1, 2, 3)]
            self.assertEqual(pauses, [15.0, 30.0, 60.0])

    def test_one_lost_notify(self) -> None:
        """One timeout ends nothing: the newest state is sent later, with patience."""
        self.assertEqual(judge(None), Judgement(Verdict.RETRY, 15.0))

    def test_broken_connection(self) -> None:
        """A new connection is tried at once, then with the same pauses."""
        pauses = [judge(None, failures=n, lost="transport").retry_in for n in (1, 2, 3, 4)]
        self.assertEqual(pauses, [1.0, 15.0, 30.0, 60.0])

    def test_no_way(self) -> None:
        """A connection that could not be made is no sooner tried again than what was not answered."""
        pauses = [judge(None, failures=n, lost="unreachable").retry_in for n in (1, 2, 3, 4)]
        self.assertEqual(pauses, [15.0, 30.0, 60.0, 120.0])

    def test_patience_ends(self) -> None:
        """The subscription ends with the fifth failure in a row (RFC 6665 §4.2.2)."""
        for status in (None, 500, 503, 400, 606):
            verdicts = [judge(status, failures=n).verdict for n in range(1, 7)]
            self.assertNotIn(Verdict.USAGE, verdicts[:4])
            self.assertEqual(verdicts[4:], [Verdict.USAGE] * 2)
        self.assertIs(judge(503, 10, failures=5).verdict, Verdict.USAGE)

    def test_patience_is_a_number(self) -> None:
        """One failure is enough where one is allowed, as the RFC would have it."""
        self.assertIs(judge(None, patience=Patience(failures=1)).verdict, Verdict.USAGE)
