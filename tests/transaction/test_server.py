"""Server transactions in the layer (RFC 3261 §17.2, RFC 6026, RFC 4320)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import ParseError
from simplestack.sip.message import Request, Response, parse_message
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.limits import Limits
from simplestack.transaction.server import ServerTransaction
from simplestack.transaction.states import State
from tests.transaction.messages import NORMAL, request, text
from tests.wire import Counting, Recorder


class ServerCase(SynchronousTestCase):
    """A layer whose user answers nothing by itself."""

    limits = Limits()

    def setUp(self) -> None:
        """Nothing received yet."""
        self.delivered: list[Request] = []
        self.transactions: list[ServerTransaction | None] = []
        self.reopened: list[tuple[Flow, tuple[str, int], bytes]] = []
        self.reopens = True
        self.layer = TransactionLayer(
            self.deliver, Counting(), limits=self.limits, reopen=self.reopen
        )
        self.flow = Recorder()

    def deliver(self, request: Request, transaction: ServerTransaction | None, now: float) -> None:
        """Write down what the user gets."""
        self.delivered.append(request)
        self.transactions.append(transaction)

    def reopen(self, flow: Flow, address: tuple[str, int], data: bytes) -> bool:
        """Write down which connection is to be opened anew."""
        self.reopened.append((flow, address, data))
        return self.reopens

    def receive(self, method: str = "PUBLISH", now: float = 0.0, **parts: str) -> ServerTransaction:
        """Receive a request that is new; its transaction."""
        self.layer.receive(request(method, **parts), self.flow, now)
        transaction = self.transactions[-1]
        assert transaction is not None
        return transaction

    def again(self, method: str = "PUBLISH", now: float = 0.0, **parts: str) -> None:
        """Receive a request that brings nothing to the user."""
        count = len(self.delivered)
        self.layer.receive(request(method, **parts), self.flow, now)
        self.assertEqual(len(self.delivered), count)

    def answer(self, transaction: ServerTransaction, status: int, now: float = 0.0) -> bool:
        """Answer as the user."""
        response = transaction.request.response(status, to_tag="b" if status > 100 else None)
        return transaction.respond(response, now)

    def walk(self, until: float) -> list[float]:
        """Wake up whenever asked to; the times at which something was sent."""
        times = []
        while (wakeup := self.layer.next_wakeup()) is not None and wakeup <= until:
            before = len(self.flow.sent)
            self.layer.advance(wakeup)
            times += [wakeup] * (len(self.flow.sent) - before)
        return times


class NonInviteTests(ServerCase):
    """Requests other than INVITE (RFC 3261 §17.2.2)."""

    def test_retransmissions_before_the_answer(self) -> None:
        """In "Trying" they are discarded (RFC 3261 §17.2.2)."""
        self.receive()
        self.again()
        self.assertEqual(self.flow.sent, [])

    def test_retransmissions_after_the_answer(self) -> None:
        """In "Completed" they get the same response, byte for byte (RFC 3261 §17.2.2)."""
        self.answer(self.receive(), 200)
        self.again(now=10.0)
        self.again(now=31.9)
        self.assertEqual(len(self.flow.sent), 3)
        self.assertEqual(len(set(self.flow.sent)), 1)

    def test_timer_j(self) -> None:
        """After 64*T1 over UDP the transaction is gone, and the request is a new one (§17.2.2)."""
        self.answer(self.receive(), 200, now=1.0)
        self.layer.advance(32.99)
        self.again(now=32.99)
        self.layer.advance(33.0)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)
        self.receive(now=33.1)
        self.assertEqual(len(self.delivered), 2)

    def test_timer_j_is_zero_over_tcp(self) -> None:
        """Over reliable transports it is gone with its answer (RFC 3261 §17.2.2)."""
        self.flow = Recorder("tcp")
        transaction = self.receive()
        self.answer(transaction, 200)
        self.assertIs(transaction.state, State.TERMINATED)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_one_final_response(self) -> None:
        """Other final responses are discarded (RFC 3261 §17.2.2)."""
        transaction = self.receive()
        self.assertTrue(self.answer(transaction, 404))
        self.assertTrue(transaction.answered)
        self.assertFalse(self.answer(transaction, 200))
        self.again()
        self.assertEqual(self.flow.statuses, [404, 404])

    def test_other_provisional_responses_are_not_sent(self) -> None:
        """None but 100 to a non-INVITE (RFC 4320 §4.1)."""
        self.flow = Recorder("tcp")
        self.assertFalse(self.answer(self.receive(), 183))
        self.assertEqual(self.flow.sent, [])

    def test_no_early_100_over_udp(self) -> None:
        """No 100 over UDP before timer E has come to T2 (RFC 4320 §4.1)."""
        self.assertFalse(self.answer(self.receive(), 100, now=3.4))

    def test_100_over_tcp_at_any_time(self) -> None:
        """Over a reliable transport a 100 may be sent at any time (RFC 4320 §4.1)."""
        self.flow = Recorder("tcp")
        self.assertTrue(self.answer(self.receive(), 100))
        self.assertEqual(self.walk(20.0), [])
        self.assertEqual(self.flow.statuses, [100])

    def test_100_when_it_is_due(self) -> None:
        """A 100 is sent when nothing else was, at 3.5 s, also over TCP (RFC 4320 §4.1)."""
        for transport in ("udp", "tcp"):
            self.setUp()
            self.flow = Recorder(transport)
            self.receive()
            self.assertEqual(self.walk(20.0), [3.5])
            self.assertEqual(self.flow.statuses, [100])

    def test_retransmissions_get_the_100(self) -> None:
        """In "Proceeding" the most recent provisional response is sent again (§17.2.2)."""
        transaction = self.receive()
        self.walk(4.0)
        self.again(now=4.0)
        self.assertTrue(self.answer(transaction, 200, now=5.0))
        self.assertEqual(self.flow.statuses, [100, 100, 200])

    def test_no_408(self) -> None:
        """A 408 to a non-INVITE is not sent (RFC 4320 §4.2); the request still gets its answer."""
        transaction = self.receive()
        self.assertFalse(self.answer(transaction, 408))
        self.assertTrue(self.answer(transaction, 500))

    def test_guard(self) -> None:
        """Who is never answered gets a 500 before its timer F can fire."""
        transaction = self.receive()
        self.assertEqual(self.walk(31.9), [3.5, 24.0])
        self.assertEqual(self.flow.statuses, [100, 500])
        self.assertFalse(self.answer(transaction, 200, now=25.0))
        self.assertEqual(self.layer.counts()["requests_unanswered_in_time"], 1)
        self.again(now=26.0)
        self.assertEqual(self.flow.statuses, [100, 500, 500])

    def test_guard_leaves_answered_ones_alone(self) -> None:
        """An answer after the 100 is the only final one."""
        transaction = self.receive()
        self.walk(5.0)
        self.answer(transaction, 200, now=5.0)
        self.assertEqual(self.walk(100.0), [])
        self.assertEqual(self.layer.counts()["timers"], 0)

    def test_every_way_to_the_end(self) -> None:
        """From each state each final response starts timer J (RFC 3261 §17.2.2)."""
        for status in (200, 404):
            for now in (0.0, 4.0):
                self.setUp()
                transaction = self.receive()
                self.walk(now)
                self.answer(transaction, status, now=now)
                self.layer.advance(now + 31.9)
                self.again(now=now + 31.9)
                self.layer.advance(now + 32.0)
                self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_guard_after_a_100_of_the_user(self) -> None:
        """A user that sends 100 and no more is no better than one that sends nothing."""
        self.flow = Recorder("tcp")
        self.answer(self.receive(), 100)
        self.assertEqual(self.walk(30.0), [24.0])
        self.assertEqual(self.flow.statuses, [100, 500])
        self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_timer_j_after_the_guard(self) -> None:
        """The 500 of the guard is kept for timer J as any other (RFC 3261 §17.2.2)."""
        self.receive()
        self.walk(55.9)
        self.assertEqual(self.layer.counts()["server_transactions"], 1)
        self.layer.advance(56.0)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_bad_response_changes_nothing(self) -> None:
        """A response that can't be put on the wire raises; a good one may follow."""
        transaction = self.receive()
        response = transaction.request.response(200, to_tag="b")
        response.set("Subject", "a\r\nb: c")
        self.assertRaises(ValueError, transaction.respond, response, 0.0)
        self.assertTrue(self.answer(transaction, 500))

    def test_only_bytes_are_kept_over_udp(self) -> None:
        """An answered transaction over UDP keeps neither its request nor itself."""
        self.answer(self.receive(), 200)
        kept = self.layer._servers.values()
        self.assertEqual(list(kept), self.flow.sent)


class InviteTests(ServerCase):
    """INVITE (RFC 3261 §17.2.1, RFC 6026)."""

    def test_100_after_200_ms(self) -> None:
        """A 100 is sent unless the user answers within 200 ms; it has no To tag (§17.2.1)."""
        self.receive("INVITE")
        self.assertEqual(self.walk(1.0), [0.2])
        trying = self.flow.messages[0]
        assert isinstance(trying, Response)
        self.assertEqual(trying.status, 100)
        self.assertIsNone(trying.to.tag)

    def test_no_100_after_an_answer(self) -> None:
        """None after a provisional response of the user."""
        transaction = self.receive("INVITE")
        self.answer(transaction, 180)
        self.walk(1.0)
        self.assertEqual(self.flow.statuses, [180])

    def test_retransmission_gets_the_last_provisional(self) -> None:
        """In "Proceeding" a copy gets the most recent provisional response (§17.2.1)."""
        transaction = self.receive("INVITE")
        self.answer(transaction, 180)
        self.answer(transaction, 183)
        self.again("INVITE")
        self.assertEqual(self.flow.statuses, [180, 183, 183])

    def test_failure_is_repeated_until_ack(self) -> None:
        """Timer G: T1 doubling to T2; H ends it after 64*T1 (RFC 3261 §17.2.1)."""
        transaction = self.receive("INVITE")
        self.answer(transaction, 486)
        self.assertEqual(self.walk(100.0), [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        self.assertEqual(transaction.failure, "timeout")
        self.assertEqual(self.layer.counts()["responses_unacknowledged"], 1)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_ack_ends_the_repetition(self) -> None:
        """ACK leads to "Confirmed", which absorbs further ones for T4 (RFC 3261 §17.2.1)."""
        transaction = self.receive("INVITE")
        self.answer(transaction, 486)
        self.again("ACK", cseq="1 ACK", now=0.1)
        self.assertIs(transaction.state, State.CONFIRMED)
        self.again("ACK", cseq="1 ACK", now=0.2)
        self.again("INVITE", now=0.3)
        self.assertEqual(self.walk(5.0), [])
        self.assertEqual(len(self.flow.sent), 1)
        self.layer.advance(5.1)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_over_tcp(self) -> None:
        """Over TCP no timer G, and timer I is zero (RFC 3261 §17.2.1)."""
        self.flow = Recorder("tcp")
        transaction = self.receive("INVITE")
        self.answer(transaction, 486)
        self.assertEqual(self.walk(10.0), [])
        self.again("ACK", cseq="1 ACK", now=10.0)
        self.assertIs(transaction.state, State.TERMINATED)

    def test_accepted(self) -> None:
        """Copies of an accepted INVITE are absorbed for 64*T1 without an answer (RFC 6026 §7.1)."""
        transaction = self.receive("INVITE")
        self.answer(transaction, 200)
        self.again("INVITE", now=1.0)
        self.assertEqual(self.flow.statuses, [200])
        self.assertEqual(self.walk(31.9), [])
        self.layer.advance(32.0)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_2xx_again(self) -> None:
        """The user repeats its 2xx through the transaction (RFC 6026 §7.1), but no other one."""
        transaction = self.receive("INVITE")
        self.answer(transaction, 200)
        self.assertTrue(self.answer(transaction, 200, now=0.5))
        other = transaction.request.response(200, to_tag="other")
        self.assertFalse(transaction.respond(other, 0.6))
        self.assertFalse(self.answer(transaction, 486, now=0.7))
        self.assertEqual(self.flow.statuses, [200, 200])

    def test_ack_for_2xx_goes_to_the_user(self) -> None:
        """With the INVITE's branch or one of its own, it is not absorbed (RFC 6026 §7.1)."""
        self.answer(self.receive("INVITE"), 200)
        self.layer.receive(request("ACK"), self.flow, 0.1)
        other = NORMAL.replace("-1", "-2")
        self.layer.receive(request("ACK", via=other), self.flow, 0.2)
        self.assertEqual([each.method for each in self.delivered], ["INVITE", "ACK", "ACK"])
        self.assertEqual(self.transactions[1:], [None, None])
        self.assertEqual(self.flow.statuses, [200])

    def test_guard(self) -> None:
        """An INVITE that nobody answers gets a 500 before a proxy's timer C fires."""
        self.receive("INVITE")
        self.assertEqual(self.walk(173.0), [0.2, 170.2, 170.7, 171.7])
        self.assertEqual(self.flow.statuses, [100, 500, 500, 500])
        self.walk(300.0)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)


class CancelTests(ServerCase):
    """CANCEL (RFC 3261 §9.2)."""

    def test_pending_invite(self) -> None:
        """CANCEL gets 200, the INVITE 487, with the same To tag; the user learns of it (§9.2)."""
        transaction = self.receive("INVITE")
        self.layer.receive(request("CANCEL"), self.flow, 0.1)
        terminated, ok = self.flow.messages
        assert isinstance(terminated, Response)
        assert isinstance(ok, Response)
        self.assertEqual((terminated.status, terminated.cseq.method), (487, "INVITE"))
        self.assertEqual((ok.status, ok.cseq.method), (200, "CANCEL"))
        self.assertEqual(terminated.to.tag, ok.to.tag)
        self.assertIsNotNone(ok.to.tag)
        self.assertEqual(self.delivered[1].method, "CANCEL")
        self.assertIsNone(self.transactions[1])
        self.assertFalse(self.answer(transaction, 200))

    def test_the_tag_of_the_user(self) -> None:
        """The tag of the user's provisional response is kept (RFC 3261 §9.2)."""
        self.answer(self.receive("INVITE"), 180)
        self.layer.receive(request("CANCEL"), self.flow, 0.1)
        self.assertEqual([each.to.tag for each in self.flow.messages], ["b", "b", "b"])

    def test_no_transaction(self) -> None:
        """A CANCEL that matches nothing gets 481 (RFC 3261 §9.2)."""
        self.layer.receive(request("CANCEL"), self.flow, 0.0)
        self.assertEqual(self.flow.statuses, [481])
        self.layer.receive(request("CANCEL"), self.flow, 0.1)
        self.assertEqual(self.flow.sent[0], self.flow.sent[1])
        self.assertEqual(self.delivered, [])

    def test_after_the_final_response(self) -> None:
        """It has no effect on an INVITE that is answered; 200 (RFC 3261 §9.2)."""
        self.answer(self.receive("INVITE"), 200)
        self.again("CANCEL", now=0.1)
        self.assertEqual(self.flow.statuses, [200, 200])

    def test_other_methods(self) -> None:
        """It "has no impact" on other transactions, pending or answered; 200 (RFC 3261 §9.2)."""
        transaction = self.receive("SUBSCRIBE")
        self.again("CANCEL", now=0.1)
        self.assertTrue(self.answer(transaction, 202))
        self.assertEqual(self.flow.statuses, [200, 202])

    def test_timers_run_on(self) -> None:
        """The 487 is repeated until its ACK comes (RFC 3261 §17.2.1)."""
        self.receive("INVITE")
        self.layer.receive(request("CANCEL"), self.flow, 0.1)
        self.assertEqual(self.walk(2.0), [0.6, 1.6])
        self.again("ACK", now=2.0)
        self.assertEqual(self.walk(6.0), [])


class RejectTests(ServerCase):
    """Bytes that are no message, and requests that can't be served."""

    def reject(self, data: bytes) -> None:
        """Hand in what can't be parsed."""
        error = self.assertRaises(ParseError, parse_message, data)
        self.layer.reject(error, self.flow, 0.0)

    def test_answered_as_far_as_it_can_be_read(self) -> None:
        """A short body gets 400 with what §8.2.6 wants copied, and a tag (RFC 3261 §18.3)."""
        data = text().replace(b"Content-Length: 0", b"Content-Length: 10")
        self.reject(data)
        self.reject(data)
        first, second = self.flow.messages
        assert isinstance(first, Response)
        self.assertEqual(first.status, 400)
        self.assertEqual(first.call_id, "call")
        self.assertEqual(str(first.cseq), "1 OPTIONS")
        self.assertIn("received=192.0.2.2", first.headers["Via"][0])
        self.assertIsNotNone(first.to.tag)
        # "generate the same tag for the same request" (§8.2.7): the same answer to each copy.
        self.assertEqual(self.flow.sent[0], self.flow.sent[1])
        self.assertEqual(second.to.tag, first.to.tag)
        self.assertEqual(self.layer.counts()["requests_rejected"], 2)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_never_to_ack(self) -> None:
        """An ACK is never answered (RFC 3261 §17)."""
        self.reject(text("ACK").replace(b"Content-Length: 0", b"Content-Length: 10"))
        self.assertEqual(self.flow.sent, [])

    def test_never_to_responses(self) -> None:
        """A response is never answered."""
        data = request().response(200, to_tag="b").to_bytes()
        self.reject(data.replace(b"Content-Length: 0", b"Content-Length: 10"))
        self.reject(b"SIP/2.0 9999 Too large\r\nVia: x\r\n\r\n")
        self.assertEqual(self.flow.sent, [])
        self.assertEqual(self.layer.counts()["messages_dropped"], 2)

    def test_nothing_to_read(self) -> None:
        """What has no Via can't be answered."""
        self.reject(b"hello\r\n\r\n")
        self.assertEqual(self.flow.sent, [])

    def test_missing_fields(self) -> None:
        """What a request lacks is left out of the answer (RFC 4475 §3.3.1)."""
        data = b"INVITE sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK-1\r\nbad\r\n\r\n"
        self.reject(data)
        self.assertEqual(self.flow.statuses, [400])

    def test_bad_via(self) -> None:
        """A Via that can't be read is copied, and the 400 goes where the request came from."""
        self.flow = Recorder(remote=("192.0.2.2", 40000))
        self.layer.receive(request(via="SIP/2.0/UDP 192.0.2.15;;,;,,"), self.flow, 0.0)
        self.assertEqual(self.flow.statuses, [400])
        self.assertEqual(self.delivered, [])

    def test_several_of_a_kind(self) -> None:
        """Of fields that may stand once, one goes into the answer (RFC 4475 §3.3.9)."""
        data = text(more="From: <sip:x@example.com>;tag=x\r\nbad\r\n")
        self.reject(data)
        self.assertEqual(len(self.flow.messages[0].headers["From"]), 1)


class LimitTests(ServerCase):
    """What strangers can make grow is bounded."""

    limits = Limits(server_transactions=4, unanswered=2, retry_after=7)

    def test_unanswered(self) -> None:
        """Beyond the limit 503 with Retry-After, without a transaction (RFC 3261 §21.5.4)."""
        first = self.receive(via=NORMAL.replace("-1", "-a"))
        self.receive(via=NORMAL.replace("-1", "-b"))
        self.again(via=NORMAL.replace("-1", "-c"))
        refused = self.flow.messages[0]
        assert isinstance(refused, Response)
        self.assertEqual(refused.status, 503)
        self.assertEqual(refused.get("Retry-After"), "7")
        self.assertEqual(self.layer.counts()["server_transactions"], 2)
        self.assertEqual(self.layer.counts()["requests_over_limit"], 1)
        # Copies of those that were taken are not refused; an answer makes room.
        self.again(via=NORMAL.replace("-1", "-a"))
        self.assertEqual(len(self.flow.sent), 1)
        self.answer(first, 200)
        self.receive(via=NORMAL.replace("-1", "-c"))

    def test_all(self) -> None:
        """Beyond the limit the first that was answered is forgotten before timer J fires."""
        for name in "abcde":
            self.answer(self.receive(via=NORMAL.replace("-1", f"-{name}")), 200)
            self.assertLessEqual(self.layer.counts()["server_transactions"], 4)
        self.assertEqual(self.flow.statuses, [200] * 5)
        # A copy of the second is answered again, one of the first is a new request.
        self.again(via=NORMAL.replace("-1", "-b"))
        self.assertEqual(self.flow.statuses, [200] * 6)
        self.receive(via=NORMAL.replace("-1", "-a"))
        self.walk(100.0)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_all_of_invite(self) -> None:
        """Where none can be forgotten it is 503 with Retry-After (RFC 3261 §21.5.4)."""
        for name in "abcd":
            self.answer(self.receive("INVITE", via=NORMAL.replace("-1", f"-{name}")), 486)
        self.again(via=NORMAL.replace("-1", "-e"))
        self.assertEqual(self.flow.statuses, [486] * 4 + [503])

    def test_ack_is_not_refused(self) -> None:
        """An ACK is passed on, whatever the load: it has no answer."""
        for name in "ab":
            self.receive(via=NORMAL.replace("-1", f"-{name}"))
        self.layer.receive(request("ACK"), self.flow, 0.0)
        self.assertEqual(self.delivered[-1].method, "ACK")
        self.assertEqual(self.flow.sent, [])

    def test_count_comes_back_to_zero(self) -> None:
        """Every way to an end counts down."""
        self.answer(self.receive("INVITE", via=NORMAL.replace("-1", "-a")), 200)
        self.answer(self.receive("INVITE", via=NORMAL.replace("-1", "-b")), 486)
        self.receive("INVITE", via=NORMAL.replace("-1", "-c"))
        self.layer.receive(request("CANCEL", via=NORMAL.replace("-1", "-c")), self.flow, 0.0)
        self.assertEqual(self.layer.counts()["server_unanswered"], 0)
        self.walk(300.0)
        self.assertEqual(self.layer.counts()["server_unanswered"], 0)
        self.assertEqual(self.layer.counts()["server_transactions"], 0)
