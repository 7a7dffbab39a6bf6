"""Client transactions in the layer (RFC 3261 §17.1, RFC 6026)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.message import Request, Response
from simplestack.transaction.client import ClientTransaction
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.states import State
from tests.transaction.messages import answer, request, text
from tests.wire import Counting, Recorder

VIA = "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK-c"


class ClientCase(SynchronousTestCase):
    """A layer, a flow, and what the user hears."""

    def setUp(self) -> None:
        """Nothing sent yet."""
        self.layer = TransactionLayer(lambda *_: None, Counting())
        self.flow = Recorder()
        self.heard: list[tuple[int | None, float]] = []
        self.others: list[int] = []

    def done(self, response: Response | None, now: float) -> None:
        """Write down the final answer."""
        self.heard.append((None if response is None else response.status, now))

    def other(self, response: Response, now: float) -> None:
        """Write down another answer."""
        self.others.append(response.status)

    def send(self, method: str = "NOTIFY", via: str = VIA) -> ClientTransaction:
        """Send a request at 0."""
        self.data = text(method, via=via)
        return self.layer.send(
            method, "z9hG4bK-c", self.data, self.flow, self.done, 0.0, self.other
        )

    def walk(self, until: float) -> list[float]:
        """Wake up whenever asked to; the times at which something was sent."""
        times = []
        while (wakeup := self.layer.next_wakeup()) is not None and wakeup <= until:
            before = len(self.flow.sent)
            self.layer.advance(wakeup)
            times += [wakeup] * (len(self.flow.sent) - before)
        return times


class RetransmissionTests(ClientCase):
    """When a request is sent again, and when it is given up."""

    def test_non_invite_over_udp(self) -> None:
        """Intervals of 500 ms, 1 s, 2 s, 4 s, 4 s …; F at 64*T1 (RFC 3261 §17.1.2.2)."""
        transaction = self.send()
        self.assertEqual(self.walk(100.0), [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5])
        self.assertEqual(set(self.flow.sent), {self.data})
        self.assertEqual(self.heard, [(None, 32.0)])
        self.assertEqual(transaction.failure, "timeout")
        self.assertIs(transaction.state, State.TERMINATED)
        self.assertIsNone(self.layer.next_wakeup())

    def test_invite_over_udp(self) -> None:
        """Intervals double without a cap: seven requests in 64*T1 (RFC 3261 §17.1.1.2)."""
        self.send("INVITE")
        self.assertEqual(self.walk(100.0), [0.5, 1.5, 3.5, 7.5, 15.5, 31.5])
        self.assertEqual(self.heard, [(None, 32.0)])

    def test_nothing_is_repeated_over_tcp(self) -> None:
        """Timers A and E do not run over reliable transports; B and F do (RFC 3261 §17.1)."""
        for method in ("NOTIFY", "INVITE"):
            self.setUp()
            self.flow = Recorder("tcp")
            self.send(method)
            self.assertEqual(self.walk(100.0), [])
            self.assertEqual(self.heard, [(None, 32.0)])

    def test_provisional_slows_non_invite_down(self) -> None:
        """In "Proceeding" timer E is T2, and F still fires (RFC 3261 §17.1.2.2)."""
        self.send()
        self.walk(0.6)
        self.layer.receive(answer(self.data, 100), self.flow, 0.6)
        self.assertEqual(self.walk(100.0), [1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5])
        self.assertEqual(self.heard, [(None, 32.0)])
        self.assertEqual(self.others, [100])

    def test_provisional_stops_invite(self) -> None:
        """In "Proceeding" an INVITE is not sent again and has no timer B (RFC 3261 §17.1.1.2)."""
        self.send("INVITE")
        self.layer.receive(answer(self.data, 180), self.flow, 0.3)
        self.assertEqual(self.walk(100.0), [])
        self.assertEqual(self.heard, [])
        # Timer C, which each provisional response starts anew (§16.7).
        self.layer.receive(answer(self.data, 183), self.flow, 100.0)
        self.assertEqual(self.walk(284.9), [])
        self.assertEqual(self.heard, [])
        self.walk(400.0)
        self.assertEqual(self.heard, [(None, 285.0)])
        self.assertEqual(self.others, [180, 183])

    def test_late_wakeup_does_not_burst(self) -> None:
        """Who wakes up late sends once, not all that was missed."""
        self.send()
        self.layer.advance(9.0)
        self.assertEqual(len(self.flow.sent), 2)
        self.assertEqual(self.layer.next_wakeup(), 10.0)

    def test_abandoned(self) -> None:
        """What its user has given up is not sent again; an answer to it is dropped (RFC 6026 §7.2)."""
        for transport in ("udp", "tcp"):
            for after in (0.0, 2.0):
                self.setUp()
                self.flow = Recorder(transport)
                transaction = self.send(via=VIA.replace("UDP", transport.upper()))
                self.walk(after)
                before = len(self.flow.sent)
                transaction.abandon()
                self.assertEqual(self.layer.counts()["client_transactions"], 0)
                self.layer.receive(answer(self.data, 200), self.flow, after)
                self.layer.flow_closed(self.flow, after)
                transaction.abandon()
                self.walk(100.0)
                self.assertEqual((len(self.flow.sent), self.heard), (before, []))
        self.assertEqual(self.layer.stray, 1)

    def test_abandoned_when_answered(self) -> None:
        """Copies of the answer to one that has it are dropped as ever (RFC 3261 §17.1.2.2)."""
        transaction = self.send()
        self.layer.receive(answer(self.data, 200), self.flow, 0.1)
        transaction.abandon()
        self.layer.receive(answer(self.data, 200), self.flow, 0.2)
        self.assertEqual((self.layer.absorbed, self.layer.stray), (0, 1))
        self.assertEqual(self.heard, [(200, 0.1)])

    def test_timeout_comes_before_a_last_copy(self) -> None:
        """Who wakes up after everything is over gives up and sends no more."""
        self.send()
        self.layer.advance(50.0)
        self.assertEqual(len(self.flow.sent), 1)
        self.assertEqual(self.heard, [(None, 50.0)])


class FinalResponseTests(ClientCase):
    """What a final response does."""

    def test_final_response_once(self) -> None:
        """One final response is ever delivered to the user (RFC 3261 §17.1.2.1)."""
        self.send()
        for _ in range(3):
            self.layer.receive(answer(self.data, 200), self.flow, 1.0)
        self.layer.receive(answer(self.data, 404), self.flow, 1.0)
        self.assertEqual(self.heard, [(200, 1.0)])
        self.assertEqual(self.layer.counts()["stray_responses"], 3)
        self.assertEqual(self.walk(100.0), [])

    def test_completed_over_udp(self) -> None:
        """State "Completed" drops what comes again, as is done without it (RFC 6026 §7.2)."""
        transaction = self.send()
        self.layer.receive(answer(self.data, 200), self.flow, 1.0)
        self.assertIs(transaction.state, State.COMPLETED)
        self.assertEqual(self.layer.counts()["client_transactions"], 0)
        for now in (1.1, 5.9, 6.1):
            self.layer.receive(answer(self.data, 200), self.flow, now)
        self.assertEqual(self.layer.counts()["stray_responses"], 3)
        self.assertEqual(self.heard, [(200, 1.0)])

    def test_timer_f_behind_timer_e(self) -> None:
        """Timer F is 64*T1 from the request, whichever response came before (§17.1.2.2)."""
        for provisional in (None, 0.2, 0.7, 20.0):
            self.setUp()
            self.send()
            if provisional is not None:
                self.walk(provisional)
                self.layer.receive(answer(self.data, 100), self.flow, provisional)
            self.walk(31.99)
            self.assertEqual(self.heard, [])
            self.walk(32.0)
            self.assertEqual(self.heard, [(None, 32.0)])
            self.assertEqual(self.layer.counts()["client_transactions"], 0)

    def test_timer_k_is_zero_over_tcp(self) -> None:
        """Over reliable transports the transaction is gone at once (RFC 3261 §17.1.2.2)."""
        self.flow = Recorder("tcp")
        transaction = self.send()
        self.layer.receive(answer(self.data, 404), self.flow, 1.0)
        self.assertIs(transaction.state, State.TERMINATED)
        self.assertEqual(self.layer.counts()["client_transactions"], 0)
        self.assertEqual(self.heard, [(404, 1.0)])

    def test_every_way_to_the_end(self) -> None:
        """From each state each final response ends the timers and, in time, the transaction."""
        for method, status, before, lasts in (
            ("NOTIFY", 200, (), 0.0),
            ("NOTIFY", 404, (), 0.0),
            ("NOTIFY", 200, (100,), 0.0),
            ("NOTIFY", 404, (100,), 0.0),
            ("INVITE", 200, (), 32.0),
            ("INVITE", 486, (), 32.0),
            ("INVITE", 200, (180,), 32.0),
            ("INVITE", 486, (180,), 32.0),
        ):
            self.setUp()
            self.send(method)
            for each in before:
                self.layer.receive(answer(self.data, each), self.flow, 0.1)
            self.layer.receive(answer(self.data, status), self.flow, 0.2)
            self.flow.take()
            if lasts:
                self.assertEqual(self.walk(0.19 + lasts), [], method)
                self.assertEqual(self.layer.counts()["client_transactions"], 1)
            self.layer.advance(0.2 + lasts)
            counts = self.layer.counts()
            self.assertEqual((counts["client_transactions"], self.heard), (0, [(status, 0.2)]))
            self.assertEqual(self.walk(500.0), [])
            self.assertEqual(self.layer.counts()["timers"], 0)

    def test_one_provisional_response(self) -> None:
        """Timer C starts with the first provisional response (RFC 3261 §16.6)."""
        self.send("INVITE")
        self.layer.receive(answer(self.data, 180), self.flow, 1.0)
        self.walk(185.9)
        self.assertEqual(self.heard, [])
        self.walk(200.0)
        self.assertEqual(self.heard, [(None, 186.0)])

    def test_nothing_waits_after_the_end(self) -> None:
        """A transaction that is over leaves no timer behind for longer than it lives."""
        self.send()
        self.layer.receive(answer(self.data, 200), self.flow, 0.1)
        self.layer.advance(5.2)
        self.assertIsNone(self.layer.next_wakeup())
        self.assertEqual(self.layer.counts()["timers"], 0)

    def test_user_may_send_from_done(self) -> None:
        """The next request can be sent from within ``done``."""
        flow = Recorder("tcp")

        def again(response: Response | None, now: float) -> None:
            self.layer.start_request(request("NOTIFY"), flow, self.done, now)

        self.layer.start_request(request("NOTIFY"), flow, again, 0.0)
        self.layer.receive(answer(flow.sent[0], 200), flow, 0.0)
        self.assertEqual(len(flow.sent), 2)
        self.layer.receive(answer(flow.sent[1], 200), flow, 0.0)
        self.assertEqual(self.heard, [(200, 0.0)])


class InviteTests(ClientCase):
    """What is peculiar to INVITE."""

    def test_ack_for_failure(self) -> None:
        """The ACK has the Via, Route, From, Call-ID, CSeq number and Request-URI of the INVITE and
        the To of the response (RFC 3261 §17.1.1.3); it is sent again for each copy.
        """
        data = text("INVITE", via=VIA, more="Route: <sip:p.example.com;lr>\r\nSubject: x\r\n")
        self.data = data
        self.layer.send("INVITE", "z9hG4bK-c", data, self.flow, self.done, 0.0)
        for _ in range(2):
            self.layer.receive(answer(data, 486), self.flow, 0.1)
        _, first, second = self.flow.sent
        self.assertEqual(first, second)
        ack = self.flow.messages[1]
        assert isinstance(ack, Request)
        self.assertEqual((ack.method, ack.uri, ack.body), ("ACK", "sip:example.com", b""))
        self.assertEqual(
            ack.headers,
            {
                "Via": [VIA],
                "Max-Forwards": ["70"],
                "Route": ["<sip:p.example.com;lr>"],
                "From": ["<sip:alice@example.com>;tag=a"],
                "Call-ID": ["call"],
                "To": ["<sip:bob@example.com>;tag=b"],
                "CSeq": ["1 ACK"],
                "Content-Length": ["0"],
            },
        )
        self.assertEqual(self.heard, [(486, 0.1)])

    def test_timer_d(self) -> None:
        """Copies are acknowledged for 32 s over UDP (RFC 3261 §17.1.1.2)."""
        self.send("INVITE")
        self.layer.receive(answer(self.data, 486), self.flow, 0.0)
        self.layer.advance(31.9)
        self.layer.receive(answer(self.data, 486), self.flow, 31.9)
        self.assertEqual(len(self.flow.sent), 3)
        self.layer.advance(32.0)
        self.assertEqual(self.layer.counts()["client_transactions"], 0)

    def test_ack_over_tcp_and_no_timer_d(self) -> None:
        """ACK is sent "even if the transport is reliable", timer D is zero (RFC 3261 §17.1.1.2)."""
        self.flow = Recorder("tcp")
        transaction = self.send("INVITE")
        self.layer.receive(answer(self.data, 486), self.flow, 0.0)
        self.assertEqual(len(self.flow.sent), 2)
        self.assertIs(transaction.state, State.TERMINATED)

    def test_accepted(self) -> None:
        """Every 2xx goes to the user for 64*T1, and no ACK is made (RFC 6026 §7.2)."""
        self.send("INVITE")
        self.layer.receive(answer(self.data, 200, "x"), self.flow, 1.0)
        self.layer.receive(answer(self.data, 200, "y"), self.flow, 2.0)
        self.assertEqual(self.heard, [(200, 1.0)])
        self.assertEqual(self.others, [200])
        self.assertEqual(len(self.flow.sent), 1)
        self.layer.advance(33.0)
        self.assertEqual(self.layer.counts()["client_transactions"], 0)


class MatchingTests(ClientCase):
    """Which response belongs to which transaction (RFC 3261 §17.1.3)."""

    def test_branch_and_method(self) -> None:
        """Branch and CSeq method must match: a CANCEL has the branch of its INVITE."""
        self.send("INVITE")
        cancel = text("CANCEL", via=VIA)
        self.layer.send("CANCEL", "z9hG4bK-c", cancel, self.flow, self.done, 0.0)
        self.layer.receive(answer(cancel, 200), self.flow, 0.5)
        self.assertEqual(self.heard, [(200, 0.5)])
        self.layer.receive(answer(self.data, 487), self.flow, 0.6)
        self.assertEqual(self.heard, [(200, 0.5), (487, 0.6)])

    def test_strays_are_dropped_and_counted(self) -> None:
        """A response that matches nothing is dropped (RFC 6026 §7.2)."""
        self.send()
        stray = text("NOTIFY", via=VIA.replace("-c", "-d"))
        self.layer.receive(answer(stray, 200), self.flow, 0.1)
        self.assertEqual(self.heard, [])
        self.assertEqual(self.layer.counts()["stray_responses"], 1)

    def test_sent_by_must_be_ours(self) -> None:
        """A response whose sent-by is not ours is discarded (RFC 3261 §18.1.2)."""
        self.send()
        other = text("NOTIFY", via=VIA.replace("192.0.2.1", "192.0.2.99"))
        self.layer.receive(answer(other, 200), self.flow, 0.1)
        self.assertEqual(self.heard, [])

    def test_unusual_via(self) -> None:
        """However the peer spells our Via, it is the same (RFC 3261 §7.3.1)."""
        for via in (
            "SIP/2.0/UDP 192.0.2.1:5060;rport=5060;branch=z9hG4bK-c;received=192.0.2.1",
            "SIP / 2.0 / UDP 192.0.2.1 : 5060 ; branch = z9hG4bK-c",
            "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-c ;rport=1",
            'SIP/2.0/UDP 192.0.2.1:5060;x=";branch=z";branch=z9hG4bK-c',
            "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK-c, SIP/2.0/UDP h;branch=z9hG4bK-d",
            "sip/2.0/udp 192.0.2.1:5060;BRANCH=Z9HG4BK-C",
        ):
            self.setUp()
            self.send()
            response = answer(self.data, 200)
            response.headers["Via"] = [via]
            self.layer.receive(response, self.flow, 0.1)
            self.assertEqual(self.heard, [(200, 0.1)], via)

    def test_no_via(self) -> None:
        """A response without Via, or one without branch, matches nothing."""
        self.send()
        response = answer(self.data, 200)
        for vias in ([], ["SIP/2.0/UDP 192.0.2.1:5060"], ["?"]):
            response.headers["Via"] = vias
            self.layer.receive(response, self.flow, 0.1)
        self.assertEqual(self.heard, [])

    def test_branch_is_used_once(self) -> None:
        """A second transaction with the same branch and method is a mistake of the user."""
        self.send()
        self.assertRaises(ValueError, self.send)

    def test_sent_by_of_ipv6(self) -> None:
        """An IPv6 sent-by has brackets, a flow's address none."""
        self.flow = Recorder(local=("2001:db8::1", 5060))
        data = text("NOTIFY", via="SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK-c")
        self.layer.send("NOTIFY", "z9hG4bK-c", data, self.flow, self.done, 0.0)
        self.layer.receive(answer(data, 200), self.flow, 0.1)
        self.assertEqual(self.heard, [(200, 0.1)])

    def test_unreadable_response_is_dropped(self) -> None:
        """A response without a usable CSeq or Via can't be matched, and is never answered."""
        self.send()
        for name, value, counted in (
            ("CSeq", "1 SUBSCRIBE", "stray_responses"),
            ("CSeq", "NOTIFY 1", "stray_responses"),
            ("Via", "SIP/2.0/UDP", "messages_dropped"),
        ):
            broken = answer(self.data, 200)
            broken.set(name, value)
            before = self.layer.counts()[counted]
            self.layer.receive(broken, self.flow, 0.1)
            self.assertEqual(self.layer.counts()[counted], before + 1, value)
        self.assertEqual((len(self.flow.sent), self.heard), (1, []))

    def test_start_request(self) -> None:
        """Our Via goes on top: sent-by, rport and a new branch (RFC 3261 §18.1.1, RFC 3581 §3)."""
        message = request("NOTIFY", via="SIP/2.0/TCP other;branch=z9hG4bK-o")
        self.layer.start_request(message, self.flow, self.done, 0.0)
        sent = self.flow.messages[0]
        self.assertEqual(
            sent.headers["Via"],
            [
                "SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK-x-1",
                "SIP/2.0/TCP other;branch=z9hG4bK-o",
            ],
        )
        self.layer.receive(answer(self.flow.sent[0], 200), self.flow, 0.1)
        self.assertEqual(self.heard, [(200, 0.1)])


class TransportTests(ClientCase):
    """Connections that end (RFC 3261 §17.1.4)."""

    def test_connection_ends(self) -> None:
        """Requests without final response fail when their connection ends; others don't."""
        self.flow = Recorder("tcp")
        other = Recorder("tcp", remote=("192.0.2.3", 5060))
        transaction = self.send()
        self.layer.start_request(request("NOTIFY"), other, self.done, 0.0)
        self.layer.flow_closed(self.flow, 2.0)
        self.layer.flow_closed(self.flow, 3.0)
        self.assertEqual(self.heard, [(None, 2.0)])
        self.assertEqual(transaction.failure, "transport")
        self.assertEqual(self.layer.counts()["client_transactions"], 1)

    def test_who_else_is_told(self) -> None:
        """Whoever uses the layer learns of the end of a connection, after its transactions."""
        ended: list[tuple[Flow, int]] = []
        self.layer.closed = lambda flow: ended.append((flow, len(self.heard)))
        self.flow = Recorder("tcp")
        self.send()
        self.layer.flow_closed(self.flow, 2.0)
        self.assertEqual(ended, [(self.flow, 1)])

    def test_invite_that_rings(self) -> None:
        """An INVITE in "Proceeding" fails as well (RFC 3261 §17.1.4)."""
        self.flow = Recorder("tcp")
        self.send("INVITE")
        self.layer.receive(answer(self.data, 180), self.flow, 1.0)
        self.layer.flow_closed(self.flow, 2.0)
        self.assertEqual(self.heard, [(None, 2.0)])

    def test_answered_ones_do_not_care(self) -> None:
        """After the final response the connection does not matter."""
        self.flow = Recorder("tcp")
        self.send("INVITE")
        self.layer.receive(answer(self.data, 200), self.flow, 1.0)
        self.layer.flow_closed(self.flow, 2.0)
        self.assertEqual(self.heard, [(200, 1.0)])

    def test_dead_flow(self) -> None:
        """A request on a connection that has ended fails, but not before ``send`` returns."""
        self.flow = Recorder("tcp")
        self.flow.alive = False
        transaction = self.send()
        self.assertEqual(self.heard, [])
        self.assertEqual(self.layer.next_wakeup(), 0.0)
        self.layer.advance(0.0)
        self.assertEqual(self.heard, [(None, 0.0)])
        self.assertEqual(transaction.failure, "transport")
        self.assertEqual(self.flow.sent, [])
