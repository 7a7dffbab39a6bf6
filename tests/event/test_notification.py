"""NOTIFY requests as they leave."""

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from simplestack.event.notification import Head, NotifyRequest
from simplestack.interfaces import Body
from simplestack.net.identifiers import RandomIdentifiers
from simplestack.transaction.location import LARGE
from tests.event.records import subscription
from tests.wire import Recorder

BRANCH = RandomIdentifiers().branch() + "00000000"
FLOWS = [
    Recorder("udp", local=("192.0.2.1", 5060)),
    Recorder("udp", local=("2001:db8:1111:2222:3333:4444:5555:6666", 65060)),
]


class SizeTests(SynchronousTestCase):
    def test_never_larger_than_said(self) -> None:
        """RFC 3261 §18.1.1: "if it is larger than 1300 bytes and the path MTU is unknown, the
        request MUST be sent using an RFC 2914 congestion controlled transport protocol": its
        own header fields, Via and all, count as well.
        """
        records = [
            subscription(contact="sip:bob@192.0.2.1:5060;domain=example.com"),
            subscription(route_set="<sip:proxy.example.net;lr>", event_id="7"),
            subscription(accept_encoding="gzip"),
        ]
        bodies = [
            None,
            Body("application/pidf+xml", b"<presence/>"),
            Body("application/watcherinfo+xml", b'<watcherinfo version="', b'" state="full"/>'),
            Body("application/pidf+xml", b"x" * 900),
        ]
        states = ["active;expires=86400", "active;expires=86400;max-rate=0.2000;min-rate=0.0500"]
        for record, body, state, tag, flow in product(
            records, bodies, states, ["", "6c8c4b327b60fca7-gzip"], FLOWS
        ):
            head = Head(record, "presence, reg, xcap-diff", "eventlist")
            request = NotifyRequest(record, False, 4294967295, head, state, body, 99999, tag)
            said = request.size
            made = len(request.build(flow, BRANCH))
            self.assertLessEqual(made, said)
            # Nor is it sent over TCP to a phone that may have none, where UDP would do.
            if not record.accept_encoding:
                self.assertLess(said - made, 80)
            # What it has learned of its Via, it uses.
            self.assertLessEqual(made, request.size)

    def test_by_tcp_from_there_on(self) -> None:
        """RFC 3261 §18.1.1: 1,301 octets are too many for a datagram, wherever they stand."""
        record = subscription()
        for length in range(LARGE - 700, LARGE):
            body = Body("application/pidf+xml", b"x" * length)
            request = NotifyRequest(
                record, False, 1, Head(record, "presence"), "active;expires=1", body, 0
            )
            if len(request.build(FLOWS[0], BRANCH)) > LARGE:
                self.assertGreater(request.size, LARGE)
