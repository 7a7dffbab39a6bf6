"""Which transaction a request belongs to, and where its responses go (RFC 3261 §17.2.3, §18.2)."""

from simplestack.transaction.server import InviteServerTransaction
from simplestack.transaction.states import State
from tests.transaction.messages import NORMAL, request
from tests.transaction.test_server import ServerCase
from tests.wire import Recorder


class MatchingTests(ServerCase):
    """Which request belongs to which transaction (RFC 3261 §17.2.3)."""

    def test_branch_sent_by_and_method(self) -> None:
        """A request matches by branch, sent-by and method, whatever else differs."""
        self.receive()
        self.again(call_id="other", uri="sip:other.example.com")
        self.receive(via=NORMAL.replace("z9hG4bK-1", "z9hG4bK-2"))
        self.receive(via=NORMAL.replace("192.0.2.2:5060", "192.0.2.2:5061"))
        self.receive(via=NORMAL.replace("192.0.2.2:5060", "host.example.com"))
        self.receive("SUBSCRIBE")
        self.assertEqual(len(self.delivered), 5)

    def test_case(self) -> None:
        """Parameter values, host names and the cookie are case-insensitive (RFC 3261 §7.3.1)."""
        self.receive(via="SIP/2.0/UDP host.example.com:5060;branch=z9hG4bKabc")
        self.again(via="SIP/2.0/UDP HOST.example.com:5060;BRANCH=Z9hG4bKABC")

    def test_rfc_2543_request(self) -> None:
        """Without the cookie Request-URI, tags, Call-ID, CSeq and Via tell (RFC 3261 §17.2.3)."""
        for via in ("SIP/2.0/UDP 192.0.2.2", "SIP/2.0/UDP 192.0.2.2;branch=1"):
            self.setUp()
            self.receive(via=via)
            self.again(via=via)
            self.receive(via=via, uri="sip:other.example.com")
            self.receive(via=via, from_="<sip:alice@example.com>;tag=other")
            self.receive(via=via, to="<sip:bob@example.com>;tag=t")
            self.receive(via=via, call_id="other")
            self.receive(via=via, cseq="2 PUBLISH")
            self.receive("SUBSCRIBE", via=via)
            self.receive(via=via.replace("192.0.2.2", "192.0.2.3"))
            self.assertEqual(len(self.delivered), 8)

    def test_bare_cookie(self) -> None:
        """The cookie alone is no branch: RFC 2543 matching, as RFC 4475 §3.2.1 allows."""
        via = "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK"
        self.receive(via=via)
        self.again(via=via)
        self.receive(via=via, call_id="other")

    def test_rfc_2543_ack(self) -> None:
        """The ACK matches with the To tag of the response (RFC 3261 §17.2.3)."""
        via = "SIP/2.0/UDP 192.0.2.2"
        transaction = self.receive("INVITE", via=via)
        self.answer(transaction, 486)
        self.again("ACK", via=via, to="<sip:bob@example.com>;tag=other")
        self.assertIs(transaction.state, State.COMPLETED)
        self.again("ACK", via=via, to="<sip:bob@example.com>;tag=b")
        self.assertIs(transaction.state, State.CONFIRMED)

    def test_rfc_2543_unreadable(self) -> None:
        """What can't be read is compared as it stands."""
        via = "SIP/2.0/UDP 192.0.2.2"
        self.receive(via=via, cseq="x")
        self.again(via=via, cseq="x")
        transaction = self.receive("INVITE", via=via)
        self.answer(transaction, 486)
        self.again("ACK", via=via, to="<<")
        self.assertIs(transaction.state, State.COMPLETED)

    def test_rfc_2543_cancel(self) -> None:
        """A CANCEL is matched by the same rules (RFC 3261 §9.2)."""
        via = "SIP/2.0/UDP 192.0.2.2"
        transaction = self.receive("INVITE", via=via)
        self.layer.receive(request("CANCEL", via=via), self.flow, 0.1)
        self.assertIs(transaction.state, State.COMPLETED)
        self.assertIsInstance(transaction, InviteServerTransaction)

    def test_merged(self) -> None:
        """The same From tag, Call-ID and CSeq by another path is merged (RFC 3261 §8.2.2.2)."""
        first = self.receive()
        second = self.receive(via=NORMAL.replace("-1", "-2"))
        third = self.receive(via=NORMAL.replace("-1", "-3"), cseq="2 PUBLISH")
        self.assertFalse(self.layer.merged(first, 0.0))
        self.assertTrue(self.layer.merged(second, 0.0))
        self.assertFalse(self.layer.merged(first, 31.0))
        self.assertFalse(self.layer.merged(third, 31.0))

    def test_merged_in_dialog(self) -> None:
        """A request with a To tag is in a dialog and never merged (RFC 3261 §8.2.2.2)."""
        for number in range(2):
            via = NORMAL.replace("-1", f"-{number}")
            transaction = self.receive(via=via, to="<sip:bob@example.com>;tag=t")
            self.assertFalse(self.layer.merged(transaction, 0.0))

    def test_merged_is_forgotten(self) -> None:
        """The memory lasts for timer J to twice that, and is empty then."""
        first = self.receive()
        second = self.receive(via=NORMAL.replace("-1", "-2"))
        self.assertFalse(self.layer.merged(first, 0.0))
        self.assertTrue(self.layer.merged(second, 32.0))
        self.assertFalse(self.layer.merged(second, 70.0))

    def test_refused_is_not_merged(self) -> None:
        """Who was refused may try the same again, with credentials or without a new CSeq."""
        first = self.receive()
        self.assertFalse(self.layer.merged(first, 0.0))
        second = self.receive(via=NORMAL.replace("-1", "-2"))
        self.assertTrue(self.layer.merged(second, 0.0))
        self.answer(second, 482)
        # The refusal of the merged one does not make the first forgotten, its own does.
        third = self.receive(via=NORMAL.replace("-1", "-3"))
        self.assertTrue(self.layer.merged(third, 0.0))
        self.answer(first, 401)
        self.assertFalse(self.layer.merged(third, 0.0))

    def test_unreadable_is_not_merged(self) -> None:
        """A request whose From can't be read is for others to refuse."""
        self.assertFalse(self.layer.merged(self.receive(from_="<<"), 0.0))


class RoutingTests(ServerCase):
    """received, rport, and where responses go (RFC 3261 §18.2, RFC 3581)."""

    def via(self) -> str:
        """The topmost Via as the user sees it."""
        return self.delivered[-1].headers["Via"][0]

    def ports(self) -> list[tuple[str, int]]:
        """Where something was sent to."""
        flows = [self.flow, *self.flow.others.values()]
        return [flow.remote for flow in flows if flow.sent]

    def test_rport(self) -> None:
        """Parameter rport gets the source port, and received is added, even if equal (RFC 3581 §4)."""
        self.flow = Recorder(remote=("192.0.2.2", 40000))
        transaction = self.receive(via="SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK-1;rport")
        self.assertEqual(
            self.via(), "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK-1;received=192.0.2.2;rport=40000"
        )
        self.answer(transaction, 200)
        self.assertEqual(self.ports(), [("192.0.2.2", 40000)])
        self.assertEqual(self.flow.messages[0].headers["Via"], [self.via()])

    def test_rport_before_other_parameters(self) -> None:
        """Wherever it stands."""
        self.receive(via="SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK-1")
        self.assertEqual(
            self.via(), "SIP/2.0/UDP 10.0.0.1;received=192.0.2.2;rport=5060;branch=z9hG4bK-1"
        )

    def test_unusual_spelling(self) -> None:
        """Case, spaces, a list in one line, and what a client may not say itself."""
        for via, expected in (
            (
                "SIP / 2.0 / UDP 10.0.0.1 ; RPORT ;branch=z9hG4bK-1",
                "SIP/2.0/UDP 10.0.0.1;rport=5060;branch=z9hG4bK-1;received=192.0.2.2",
            ),
            (
                "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-1;rport, SIP/2.0/TCP b;branch=z9hG4bK-0",
                "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-1;rport=5060;received=192.0.2.2,"
                " SIP/2.0/TCP b;branch=z9hG4bK-0",
            ),
            (
                "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-1;received=1.2.3.4",
                "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-1;received=192.0.2.2",
            ),
            (
                "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-1;rport=7;received=1.2.3.4",
                "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-1;rport=5060;received=192.0.2.2",
            ),
            (
                'SIP/2.0/UDP 10.0.0.1;x=";rport";branch=z9hG4bK-1;rport',
                'SIP/2.0/UDP 10.0.0.1;x=";rport";branch=z9hG4bK-1;rport=5060;received=192.0.2.2',
            ),
        ):
            self.setUp()
            self.receive(via=via)
            self.assertEqual(self.via(), expected)

    def test_received(self) -> None:
        """A name, or an address that is not the source, gets received (RFC 3261 §18.2.1)."""
        for host in ("host.example.com", "10.0.0.1", "[2001:db8::1]"):
            self.setUp()
            self.receive(via=f"SIP/2.0/UDP {host};branch=z9hG4bK-1")
            self.assertEqual(self.via(), f"SIP/2.0/UDP {host};branch=z9hG4bK-1;received=192.0.2.2")

    def test_no_received_for_the_source(self) -> None:
        """The source address in sent-by is left alone, IPv6 as well (RFC 3261 §18.2.1)."""
        self.receive(via="SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK-1")
        self.assertEqual(self.via(), "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK-1")
        self.flow = Recorder(remote=("2001:db8::1", 5060))
        self.receive(via="SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK-2")
        self.assertEqual(self.via(), "SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bK-2")

    def test_port_of_sent_by(self) -> None:
        """Without rport the port is that of sent-by, or 5060 (RFC 3261 §18.2.2)."""
        self.flow = Recorder(remote=("192.0.2.2", 40000))
        self.answer(self.receive(via="SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK-1"), 200)
        self.answer(self.receive(via="SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK-2"), 200)
        self.assertEqual(self.ports(), [("192.0.2.2", 5070), ("192.0.2.2", 5060)])
        # The answer to a copy takes the same way.
        self.again(via="SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK-1", now=1.0)
        self.assertEqual(len(self.flow.others["192.0.2.2", 5070].sent), 2)

    def test_maddr(self) -> None:
        """Parameter maddr is followed to a multicast group (RFC 3261 §18.2.2), not to others' hosts."""
        self.answer(self.receive(via="SIP/2.0/UDP h;maddr=224.0.1.75;branch=z9hG4bK-1"), 200)
        self.answer(self.receive(via="SIP/2.0/UDP h;maddr=10.1.1.1;branch=z9hG4bK-2"), 200)
        self.assertEqual(self.ports(), [("192.0.2.2", 5060), ("224.0.1.75", 5060)])

    def test_connection(self) -> None:
        """Over TCP the response goes by the connection of the request (RFC 3261 §18.2.2)."""
        self.flow = Recorder("tcp", remote=("192.0.2.2", 40000))
        self.answer(self.receive(via="SIP/2.0/TCP 10.0.0.1:5070;branch=z9hG4bK-1"), 200)
        self.assertEqual(self.ports(), [("192.0.2.2", 40000)])
        self.assertEqual(self.reopened, [])

    def test_connection_that_has_ended(self) -> None:
        """It is opened anew to the source address and the port of sent-by (RFC 3261 §18.2.2)."""
        for transport, sent_by, port in (
            ("tcp", "h:5070", 5070),
            ("tcp", "h", 5060),
            ("tls", "h", 5061),
        ):
            self.setUp()
            self.flow = Recorder(transport, remote=("192.0.2.2", 40000))
            via = f"SIP/2.0/{transport.upper()} {sent_by};branch=z9hG4bK-1"
            transaction = self.receive(via=via)
            self.flow.alive = False
            self.layer.flow_closed(self.flow, 1.0)
            self.assertTrue(self.answer(transaction, 200, now=2.0))
            self.assertEqual(self.flow.sent, [])
            ((flow, address, _),) = self.reopened
            self.assertIs(flow, self.flow)
            self.assertEqual(address, ("192.0.2.2", port))
            self.assertIsNone(transaction.failure)

    def test_nobody_reopens(self) -> None:
        """Without a network that opens connections the response is lost, and that is told."""
        self.layer.reopen = None
        self.flow = Recorder("tcp")
        transaction = self.receive(via="SIP/2.0/TCP h;branch=z9hG4bK-1")
        self.flow.alive = False
        self.answer(transaction, 200)
        self.assertEqual(transaction.failure, "transport")
        self.assertEqual(self.layer.counts()["server_transactions"], 0)

    def test_response_that_goes_nowhere(self) -> None:
        """The transaction stays, and the failure is told (RFC 6026 §8.8)."""
        self.reopens = False
        self.flow = Recorder("tcp")
        transaction = self.receive("INVITE", via="SIP/2.0/TCP h;branch=z9hG4bK-1")
        self.flow.alive = False
        self.answer(transaction, 200, now=2.0)
        self.assertEqual(transaction.failure, "transport")
        self.assertIs(transaction.state, State.ACCEPTED)
        self.assertEqual(self.layer.counts()["responses_undeliverable"], 1)
