"""The generator against a small notifier of its own, without sockets and without a clock."""

import re
from collections import deque

from twisted.internet.testing import FakeDatagramTransport
from twisted.trial.unittest import SynchronousTestCase

from tests.bench.account import Account, values_of
from tests.bench.bare import BareResponder
from tests.bench.load import Load, LoadError
from tests.bench.operations import Publish, Register, Subscribe

_HOST = b"127.0.0.1:40000"
_WATCHERS = b"127.0.0.1:40001"


class Server:
    """A channel with a server behind it: it challenges, gives entity-tags, notifies."""

    def __init__(self) -> None:
        self.responses: deque[bytes] = deque()
        self.notifications: deque[bytes] = deque()
        self.requests: list[bytes] = []
        self.answers: list[bytes] = []
        self.tags: dict[bytes, bytes] = {}
        self.subscriptions: dict[bytes, list[tuple[bytes, bytes]]] = {}
        self.number = 0
        self.now = 0.0
        #: What befalls the next datagrams: requests that vanish, NOTIFYs that come twice.
        self.lose = 0
        self.repeat = False
        self.refuse = b""
        self.compact = False

    def clock(self) -> float:
        """Time passes by reading alone."""
        return self.now

    def request(self, data: bytes, user: int) -> None:
        """Serve a request."""
        self.requests.append(data)
        if self.lose:
            self.lose -= 1
            return
        method, uri, _ = data.split(b" ", 2)
        names = (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
        copied = b"".join(b"%b: %b\r\n" % (n, values_of(data, n)[0]) for n in names)
        more, status = b"", b"200 OK"
        if not values_of(data, b"Authorization"):
            status = b"401 Unauthorized"
            more = b'WWW-Authenticate: Digest realm="r", nonce="n", algorithm=MD5, qop="auth"\r\n'
        elif self.refuse:
            status = self.refuse
        elif method == b"PUBLISH":
            if b"".join(values_of(data, b"SIP-If-Match")) != self.tags.get(uri, b""):
                status = b"412 Conditional Request Failed"
            else:
                self.number += 1
                self.tags[uri] = b"tag%d" % self.number
                more = b"SIP-ETag: %b\r\n" % self.tags[uri]
        self.responses.append(b"SIP/2.0 %b\r\n%b%b\r\n" % (status, copied, more))
        if status != b"200 OK":
            return
        if method == b"PUBLISH":
            for subscription in self.subscriptions.get(uri, ()):
                self._notify(*subscription, data.partition(b"\r\n\r\n")[2])
        elif method == b"SUBSCRIBE":
            subscription = values_of(data, b"Call-ID")[0], values_of(data, b"From")[0]
            self.subscriptions.setdefault(uri, []).append(subscription)
            self._notify(*subscription, b"")

    def _notify(self, call_id: bytes, watcher: bytes, body: bytes) -> None:
        self.number += 1
        names = b"vfti" if self.compact else (b"Via", b"From", b"To", b"Call-ID")
        via, from_, to, call = (bytes([n]) if isinstance(n, int) else n for n in names)
        data = (
            b"NOTIFY sip:w@%b SIP/2.0\r\n%b: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKs%d\r\n"
            b"%b: <sip:p@r>;tag=s\r\n%b: %b\r\n%b: %b\r\nCSeq: %d NOTIFY\r\n"
            b"Subscription-State: active;expires=3600\r\n\r\n%b"
            % (_WATCHERS, via, self.number, from_, to, watcher, call, call_id, self.number, body)
        )
        self.notifications.append(data)
        if self.repeat:
            self.notifications.append(data)

    def answer(self, data: bytes, user: int) -> None:
        """Keep what a watcher answers."""
        self.answers.append(data)

    def read(self, wait: float) -> tuple[list[bytes], list[bytes]]:
        """All that was sent."""
        self.now += 0.1
        came = list(self.responses), list(self.notifications)
        self.responses.clear()
        self.notifications.clear()
        return came


class LoadTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Three presentities, ten watchers."""
        self.server = Server()
        self.load = Load(self.server, clock=self.server.clock)
        self.accounts = [Account(at, f"u{at}", "r", "x") for at in range(10)]
        self.publish = Publish(self.accounts[:3], _HOST)
        self.subscribe = Subscribe(
            self.load.dialogs, self.publish.targets, self.accounts, _HOST, _WATCHERS
        )

    def test_register_is_refreshed(self) -> None:
        """The Call-ID stays, the CSeq rises (RFC 3261 §10.2); a challenge is answered once."""
        register = Register(self.accounts, _HOST)
        self.load.perform(register, 4, 30, 60)
        self.assertEqual((self.load.done, self.load.challenged), (30, 10))
        mine = [r for r in self.server.requests if b"Call-ID: register-u3@bench" in r]
        numbers = [int(values_of(r, b"CSeq")[0].split()[0]) for r in mine]
        self.assertEqual(len(mine), 4)
        self.assertEqual(numbers, sorted(set(numbers)))
        counts = [re.search(rb"nc=(\d+)", r) for r in mine[1:]]
        self.assertEqual([c and c[1] for c in counts], [b"00000001", b"00000002", b"00000003"])

    def test_publish_waits_for_every_watcher(self) -> None:
        """Modifications carry the last entity-tag (RFC 3903 §4.1); each watcher is heard once."""
        self.load.perform(self.publish, 2, 3, 60)
        self.load.perform(self.subscribe, 5, 12, 60)
        self.assertEqual([t.watchers for t in self.publish.targets], [4, 4, 4])
        before = self.load.notified
        self.load.perform(self.publish, 2, 9, 60)
        self.assertEqual(self.load.notified - before, 36)
        self.assertEqual((self.load.strays, self.load.repeated, self.load.lost), (0, 0, 0))
        self.assertEqual(len(self.server.answers), 48)

    def test_lengths_are_true(self) -> None:
        """Content-Length is the number of octets of the body, RFC 3261 §20.14."""
        self.load.perform(self.publish, 2, 6, 60)
        for request in self.server.requests:
            body = request.partition(b"\r\n\r\n")[2]
            self.assertEqual(values_of(request, b"Content-Length"), [b"%d" % len(body)])

    def test_a_notify_is_answered_with_what_it_holds(self) -> None:
        """Via, From, To, Call-ID and CSeq are copied (RFC 3261 §8.2.6.2), compact or not."""
        for compact in (False, True):
            self.server.compact = compact
            self.load.perform(self.subscribe, 1, 1, 60)
            answer = self.server.answers[-1]
            self.assertTrue(answer.startswith(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1"))
            self.assertTrue(answer.endswith(b"\r\nContent-Length: 0\r\n\r\n"))
            self.assertEqual(values_of(answer, b"CSeq"), [b"%d NOTIFY" % self.server.number])
            self.assertEqual(values_of(answer, b"From"), [b"<sip:p@r>;tag=s"])
            self.assertIn(b";tag=s", values_of(answer, b"To")[0])
            self.assertTrue(values_of(answer, b"Call-ID")[0].endswith(b"@bench"))

    def test_a_lost_request_is_counted_and_sent_again(self) -> None:
        """What is not answered in time is no operation done, and does not stop the row."""
        self.server.lose = 1
        self.load.perform(Register(self.accounts, _HOST), 1, 2, 60)
        self.assertEqual((self.load.lost, self.load.done), (1, 2))
        self.assertEqual(self.server.requests[0], self.server.requests[1])

    def test_a_silent_server_ends_the_row(self) -> None:
        """The generator never hangs: it gives up after a bounded time, and says at what."""
        self.server.lose = 1000
        error = self.assertRaises(
            LoadError, self.load.perform, Register(self.accounts, _HOST), 5, 10, 1000
        )
        self.assertIn("REGISTER sip:r", str(error))

    def test_a_repeated_notify_is_answered_but_not_counted(self) -> None:
        """A retransmission has the CSeq of the first, RFC 3261 §17.1.2."""
        self.server.repeat = True
        self.load.perform(self.publish, 2, 3, 60)
        self.load.perform(self.subscribe, 5, 6, 60)
        self.assertEqual((self.load.notified, self.load.repeated), (6, 6))
        self.assertEqual(len(self.server.answers), 12)

    def test_refusals_end_the_row_with_their_reason(self) -> None:
        """A row that the server refuses is no measurement."""
        self.server.refuse = b"403 Forbidden"
        register = Register(self.accounts, _HOST)
        error = self.assertRaises(LoadError, self.load.sustain, register, 5, 1000)
        self.assertIn("403 Forbidden", str(error))

    def test_after_412_the_state_is_published_anew(self) -> None:
        """The publication is gone, RFC 3903 §4.1: without SIP-If-Match there is a new one."""
        self.load.perform(self.publish, 1, 3, 60)
        self.server.tags.clear()
        self.load.sustain(self.publish, 1, 2.0)
        self.assertEqual(self.load.refused, 3)
        self.assertGreater(self.load.done, 6)

    def test_the_pairs_of_subscribe_are_distinct(self) -> None:
        """No watcher subscribes to the same presentity twice while there are other pairs."""
        self.load.perform(self.subscribe, 5, 30, 60)
        sent = [r for r in self.server.requests if values_of(r, b"Authorization")]
        pairs = {(r.split(b" ")[1], values_of(r, b"From")[0].split(b";")[0]) for r in sent}
        self.assertEqual(len(pairs), 30)


class BareChannel(Server):
    """A channel with the bare responder behind it."""

    def __init__(self, watchers: int) -> None:
        super().__init__()
        self.responder = BareResponder([("127.0.0.1", 40001)] * watchers)
        self.transport = FakeDatagramTransport()
        self.responder.makeConnection(self.transport)

    def request(self, data: bytes, user: int) -> None:
        """Give it to the responder."""
        self.responder.datagramReceived(data, ("127.0.0.1", 40000))

    def answer(self, data: bytes, user: int) -> None:
        """The responder gets the answers by the same port."""
        super().answer(data, user)
        self.responder.datagramReceived(data, ("127.0.0.1", 40001))

    def read(self, wait: float) -> tuple[list[bytes], list[bytes]]:
        """What the responder wrote, by where it goes."""
        for data, address in self.transport.written:
            (self.responses if address[1] == 40000 else self.notifications).append(data)
        self.transport.written.clear()
        return super().read(wait)


class BareResponderTests(SynchronousTestCase):
    def test_every_operation_is_answered(self) -> None:
        """The same generator finishes every operation with it, all NOTIFYs answered."""
        for watchers in (0, 1, 10):
            channel = BareChannel(watchers)
            load = Load(channel, bare=True, clock=channel.clock)
            accounts = [Account(at, f"u{at}", "r", "x") for at in range(10)]
            publish = Publish(accounts, _HOST)
            for target in publish.targets:
                target.watchers = watchers
            load.perform(publish, 4, 20, 60)
            self.assertEqual((load.done, load.notified), (20, 20 * watchers))
            self.assertEqual(len(channel.answers), 20 * watchers)
            if watchers == 0:
                load.perform(Register(accounts, _HOST), 4, 20, 60)
            elif watchers == 1:
                subscribe = Subscribe(load.dialogs, publish.targets, accounts, _HOST, _WATCHERS)
                load.perform(subscribe, 4, 20, 60)
            self.assertEqual(load.strays, 0)
