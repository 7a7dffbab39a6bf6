"""The lean path against a server that the test plays: what is counted, and when."""

import socket
import time

from twisted.trial.unittest import SynchronousTestCase

from simplestack.stone.credentials import Credentials, values_of
from simplestack.stone.lean import Engine
from simplestack.stone.parties import Dialog, Presentity, Watcher
from simplestack.stone.reckoning import count_missing, unshown, untold
from simplestack.stone.tally import (
    PUBLISH,
    REFRESH,
    REGISTER,
    RESUBSCRIBE,
    SUBSCRIBE,
    UNPUBLISH,
    UNSUBSCRIBE,
)
from simplestack.stone.templates import Body, mark
from simplestack.stone.wire import Wire

_CHALLENGE = b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=MD5\r\n'


class EngineTest(SynchronousTestCase):
    """One loader or handler, over a socket of its own."""

    def setUp(self) -> None:
        """A server's socket, and an engine that counts everything."""
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.server.close)
        self.server.bind(("127.0.0.1", 0))
        self.server.settimeout(2)
        wire = Wire(self.server.getsockname(), "udp", b"abcdef", "", True)
        self.addCleanup(wire.close_all)
        self.engine = Engine(wire, 1, 4.0, 100.0)
        self.link = wire.open()
        self.engine.links.append(self.link)
        self.engine.begin, self.engine.end = 0, 1 << 62
        self.engine.counting = True
        self.tally = self.engine.tally

    def presentity(self) -> Presentity:
        """A user who may register and publish."""
        body = Body.of_size(b"sip:alice@example.com", b"sip:alice@192.0.2.1", 350)
        made = Presentity(7, Credentials("alice", "secret"), b"example.com", 60, body, 0, self.link)
        self.engine.publishing.append(made)
        self.engine.registering.append(made)
        return made

    def dialog(self, presentity: int = 7) -> Dialog:
        """A watcher who may subscribe."""
        watcher = Watcher(Credentials("bob", "secret"), b"example.com", 60, 0, self.link)
        made = Dialog(watcher, presentity, b"sip:alice@example.com", b"Accept: x/y\r\n")
        self.engine.fresh.append(made)
        return made

    def heard(self) -> bytes:
        """What the server gets."""
        return self.server.recv(65536)

    def answer(self, request: bytes, status: bytes = b"200 OK", more: bytes = b"") -> None:
        """Answer, and let the engine take it."""
        copied = b"".join(
            b"%b: %b\r\n" % (name, values_of(request, name)[0])
            for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
        ).replace(b"\r\nCall-ID", b";tag=srv\r\nCall-ID")
        self.say(b"SIP/2.0 %b\r\n%b%bContent-Length: 0\r\n\r\n" % (status, copied, more))

    def say(self, data: bytes) -> None:
        """Send something to the engine, which takes it."""
        self.server.sendto(data, self.link.socket.getsockname())
        self.engine.receive(2)

    def notify(
        self, dialog: Dialog, number: int, body: bytes = b"", state: bytes = b"active"
    ) -> bytes:
        """Tell a watcher; his answer."""
        self.say(
            b"NOTIFY sip:bob@x SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"
            b"Via: SIP/2.0/UDP b;branch=z9hG4bK2\r\nFrom: <sip:alice@example.com>;tag=srv\r\n"
            b"To: <sip:bob@example.com>;tag=s\r\nCall-ID: d%b-abcdef\r\nCSeq: %d NOTIFY\r\n"
            b"Subscription-State: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (dialog.call, number, state, len(body), body)
        )
        return self.heard()

    def marked(self, serial: int, due: float, presentity: int = 7) -> bytes:
        """A document with a mark; the clock of the controller is 100 s ahead."""
        return b"<note>%b</note>" % mark(b"abcdef", presentity, serial, int((due + 100) * 1e6))


class RequestTest(EngineTest):
    def test_publications(self) -> None:
        """The entity-tag of each answer is in the next (RFC 3903 §4.1), and serials rise by success."""
        presentity = self.presentity()
        now = time.monotonic()
        self.assertTrue(self.engine.start(PUBLISH, now))
        self.assertFalse(self.engine.start(PUBLISH, now))
        self.answer(self.heard(), more=b"SIP-ETag: one\r\n")
        self.assertEqual((presentity.entity_tag, presentity.serial), (b"one", 1))
        self.engine.start(REFRESH, now)
        refresh = self.heard()
        self.assertIn(b"SIP-If-Match: one\r\n", refresh)
        self.answer(refresh, more=b"sip-etag: two\r\n")
        self.assertEqual((presentity.entity_tag, presentity.serial), (b"two", 1))
        self.engine.start(PUBLISH, now)
        self.answer(self.heard(), b"412 Conditional Request Failed")
        self.assertEqual((presentity.entity_tag, presentity.serial), (b"", 1))
        self.engine.start(PUBLISH, now)
        self.answer(self.heard(), more=b"SIP-ETag: three\r\n")
        self.engine.start(UNPUBLISH, now)
        self.answer(self.heard())
        self.assertEqual(presentity.entity_tag, b"")
        self.assertEqual(self.tally.started[PUBLISH], 3)
        self.assertEqual(self.tally.succeeded[PUBLISH], 2)
        self.assertEqual(self.tally.errors, {"PUBLISH: 412 Conditional Request Failed": 1})
        self.assertEqual(self.tally.messages["PUBLISH 2xx"], 4)

    def test_challenge(self) -> None:
        """A 401 is answered with credentials, which later requests have at once."""
        self.presentity()
        self.engine.start(REGISTER, time.monotonic())
        self.answer(self.heard(), b"401 Unauthorized", _CHALLENGE)
        again = self.heard()
        self.assertIn(b"nc=00000001", again)
        self.answer(again)
        self.engine.start(REGISTER, time.monotonic())
        self.assertIn(b"nc=00000002", self.heard())
        self.assertEqual((self.tally.challenged, self.tally.succeeded[REGISTER]), (1, 1))

    def test_no_digest(self) -> None:
        """Without digest a challenge is a refusal."""
        presentity = self.presentity()
        presentity.credentials.answers = False
        self.engine.start(REGISTER, time.monotonic())
        self.answer(self.heard(), b"401 Unauthorized", _CHALLENGE)
        self.assertEqual(self.tally.errors, {"REGISTER: 401 Unauthorized": 1})

    def test_errors_that_all_differ(self) -> None:
        """Warnings of the server tell errors from each other, as far as there are not too many."""
        presentity = self.presentity()
        for at in range(40):
            self.engine.start(REGISTER, time.monotonic())
            self.answer(self.heard(), b"400 Bad Request", b'Warning: 399 x "no %d"\r\n' % at)
        self.assertEqual(len(self.tally.errors), 33)
        self.assertEqual(self.tally.errors["REGISTER: 400 Bad Request"], 8)
        self.assertEqual(self.tally.errors['REGISTER: 400 Bad Request 399 x "no 3"'], 1)
        self.assertEqual(presentity.serial, 0)

    def test_times_are_of_the_scheduled_moment(self) -> None:
        """A request that could not leave in time is late from when it was due."""
        self.presentity()
        self.engine.start(REGISTER, time.monotonic() - 1.5)
        self.answer(self.heard())
        (value,) = self.tally.answers[REGISTER].classes
        self.assertTrue(1_500_000 * 0.998 <= value < 1_700_000)

    def test_sent_again(self) -> None:
        """Without an answer it is sent again after T1, then after twice that (RFC 3261 §17.1.2)."""
        self.presentity()
        now = time.monotonic()
        self.engine.start(REGISTER, now)
        first = self.heard()
        self.engine.advance(now + 0.4)
        self.assertEqual(self.tally.retransmitted, 0)
        self.engine.advance(now + 0.6)
        self.assertEqual(self.heard(), first)
        self.engine.advance(now + 1.5)
        self.engine.advance(now + 1.7)
        self.assertEqual(self.tally.retransmitted, 2)
        self.engine.advance(now + 4.1)
        self.assertEqual(self.tally.errors, {"REGISTER: no answer": 1})
        self.assertEqual(self.engine.awaited(), 0)

    def test_late(self) -> None:
        """Who has no answer waits for it until Timer F, and nothing is lost by that (RFC 3903 §4)."""
        presentity = self.presentity()
        now = time.monotonic()
        self.engine.start(PUBLISH, now - 5)
        request = self.heard()
        self.engine.advance(now)
        self.assertEqual(self.tally.errors, {"PUBLISH: no answer": 1})
        self.assertEqual((self.engine.free(PUBLISH), self.engine.awaited()), (0, 0))
        self.answer(request, more=b"SIP-ETag: late\r\n")
        self.assertEqual((presentity.entity_tag, presentity.serial), (b"late", 1))
        self.assertEqual((self.engine.free(PUBLISH), self.engine.lapsed), (1, 0))
        self.assertEqual(self.tally.succeeded[PUBLISH], 0)
        self.assertFalse(self.tally.answers[PUBLISH].total)

    def test_late_refusal(self) -> None:
        """A refusal that comes late sets the user free, and is no second error."""
        presentity = self.presentity()
        presentity.entity_tag = b"one"
        now = time.monotonic()
        self.engine.start(PUBLISH, now - 5)
        request = self.heard()
        self.engine.advance(now)
        self.answer(request, b"412 Conditional Request Failed")
        self.assertEqual(self.tally.errors, {"PUBLISH: no answer": 1})
        self.assertEqual((presentity.entity_tag, self.engine.free(PUBLISH)), (b"", 1))
        self.assertEqual(self.engine.awaited(), 0)

    def test_given_up(self) -> None:
        """After Timer F there is no transaction any more (RFC 3261 §17.1.2.2)."""
        self.presentity()
        now = time.monotonic()
        self.engine.start(REGISTER, now)
        self.engine.advance(now + 4.1)
        self.engine.advance(now + 31)
        self.assertEqual(self.engine.free(REGISTER), 0)
        self.engine.advance(now + 32.1)
        self.assertEqual((self.engine.free(REGISTER), self.engine.awaited()), (1, 0))
        self.assertFalse(self.engine.pending)

    def test_sent_again_with_credentials(self) -> None:
        """A request with credentials is a new transaction, with timers of its own (RFC 3261 §22.2)."""
        self.presentity()
        self.engine.start(REGISTER, time.monotonic())
        first = self.heard()
        time.sleep(0.3)
        self.answer(first, b"401 Unauthorized", _CHALLENGE)
        self.heard()
        # T1 after the first, and not yet after the second.
        self.engine.advance(time.monotonic() + 0.3)
        self.assertEqual(self.tally.retransmitted, 0)
        self.engine.advance(time.monotonic() + 0.6)
        self.assertEqual(self.tally.retransmitted, 1)

    def test_nothing_to_refresh(self) -> None:
        """Without a publication there is nothing to refresh: it is counted as the PUBLISH that it is."""
        self.presentity()
        self.engine.start(REFRESH, time.monotonic())
        self.answer(self.heard(), more=b"SIP-ETag: one\r\n")
        self.assertEqual((self.tally.started[REFRESH], self.tally.started[PUBLISH]), (0, 1))
        self.assertEqual((self.tally.succeeded[REFRESH], self.tally.succeeded[PUBLISH]), (0, 1))

    def test_not_counted(self) -> None:
        """What was due in the warm-up counts for nothing."""
        self.engine.begin = self.engine.moment(time.monotonic() + 10)
        self.presentity()
        self.engine.start(REGISTER, time.monotonic())
        self.answer(self.heard())
        self.assertEqual((self.tally.started[REGISTER], self.tally.succeeded[REGISTER]), (0, 0))


class ConnectionTest(SynchronousTestCase):
    """Over TCP, at a server that goes away."""

    def test_refused(self) -> None:
        """Who finds nobody to connect to has failed, each time; the run goes on, also when the
        server is there again.
        """
        server = socket.create_server(("127.0.0.1", 0))
        address = server.getsockname()
        wire = Wire(address, "tcp", b"abcdef", "", True)
        self.addCleanup(wire.close_all)
        engine = Engine(wire, 1, 4.0, 0.0)
        engine.begin, engine.end, engine.counting = 0, 1 << 62, True
        link = wire.open()
        engine.links.append(link)
        body = Body.of_size(b"sip:alice@example.com", b"sip:alice@192.0.2.1", 350)
        made = Presentity(7, Credentials("alice", "secret"), b"example.com", 60, body, 0, link)
        engine.registering.append(made)
        server.accept()[0].close()
        server.close()
        while link.open:
            engine.receive(1)
        for _ in range(2):
            self.assertTrue(engine.start(REGISTER, time.monotonic()))
        ((what, number),) = engine.tally.errors.items()
        self.assertIn(f"REGISTER: 127.0.0.1 port {address[1]} over tcp: ", what)
        self.assertEqual((number, engine.failed, engine.free(REGISTER)), (2, 2, 1))
        self.assertFalse(engine.pending)
        with socket.create_server(address) as again:
            self.assertTrue(engine.start(REGISTER, time.monotonic()))
            connection, _ = again.accept()
            with connection:
                self.assertTrue(connection.recv(65536).startswith(b"REGISTER "))
        self.assertEqual(engine.tally.errors["connection: lost (the server has closed it)"], 1)


class DialogTest(EngineTest):
    """Subscriptions (RFC 6665 §4.1)."""

    def subscribed(self, presentity: int = 7) -> Dialog:
        """An established one."""
        made = self.dialog(presentity)
        self.engine.start(SUBSCRIBE, time.monotonic())
        self.answer(
            self.heard(),
            more=b"Contact: <sip:srv@192.0.2.1>\r\nRecord-Route: <sip:p1;lr>\r\nRecord-Route: <sip:p2;lr>\r\n",
        )
        return made

    def test_requests_in_the_dialog(self) -> None:
        """They go to the remote target by the route set in reverse, with both tags (RFC 3261 §12.2.1.1)."""
        self.subscribed()
        self.engine.start(RESUBSCRIBE, time.monotonic())
        request = self.heard()
        self.assertTrue(request.startswith(b"SUBSCRIBE sip:srv@192.0.2.1 SIP/2.0\r\n"))
        self.assertIn(b"Route: <sip:p2;lr>\r\nRoute: <sip:p1;lr>\r\n", request)
        self.assertIn(b"\r\nTo: <sip:alice@example.com>;tag=srv\r\n", request)
        self.assertEqual(values_of(request, b"CSeq"), [b"2 SUBSCRIBE"])
        self.answer(request)
        self.engine.start(UNSUBSCRIBE, time.monotonic())
        request = self.heard()
        self.assertEqual(values_of(request, b"Expires"), [b"0"])
        self.answer(request)
        self.assertEqual((self.engine.free(SUBSCRIBE), self.engine.free(RESUBSCRIBE)), (1, 0))

    def test_withheld(self) -> None:
        """A watcher whom nobody has allowed is shown nothing (RFC 3856 §6.6): no success."""
        dialog = self.subscribed()
        self.notify(dialog, 1, state=b"pending")
        self.assertEqual((self.tally.first.total, self.tally.withheld), (0, 1))
        self.assertEqual(unshown(self.engine.dialogs), 1)
        self.notify(dialog, 2, self.marked(1, time.monotonic()))
        self.assertEqual(unshown(self.engine.dialogs), 0)

    def test_lists_that_show_nothing(self) -> None:
        """A list shows something once one of its documents has come."""
        dialog = self.subscribed(-1)
        self.notify(dialog, 1)
        self.assertEqual(unshown(self.engine.dialogs), 1)
        self.notify(dialog, 2, self.marked(1, time.monotonic()))
        self.assertEqual(unshown(self.engine.dialogs), 0)

    def test_a_notify_before_the_answer(self) -> None:
        """It may come before the 200 of its SUBSCRIBE (RFC 6665 §4.1.2.4)."""
        dialog = self.dialog()
        self.engine.start(SUBSCRIBE, time.monotonic())
        self.heard()
        self.assertTrue(self.notify(dialog, 1).startswith(b"SIP/2.0 200 OK\r\n"))
        self.assertEqual(self.tally.first.total, 1)

    def test_answers(self) -> None:
        """A 200 has every Via, From, To, Call-ID and CSeq of the NOTIFY (RFC 3261 §8.2.6.2)."""
        answer = self.notify(self.subscribed(), 5)
        self.assertEqual(len(values_of(answer, b"Via")), 2)
        self.assertEqual(values_of(answer, b"CSeq"), [b"5 NOTIFY"])
        self.assertEqual(values_of(answer, b"From"), [b"<sip:alice@example.com>;tag=srv"])

    def test_changes(self) -> None:
        """The first document is no change; later ones are, once; what is told late is late."""
        dialog = self.subscribed()
        now = time.monotonic()
        self.notify(dialog, 1, self.marked(3, now - 9))
        self.assertEqual(self.tally.notify.total, 0)
        self.notify(dialog, 2, self.marked(4, now))
        self.notify(dialog, 3, self.marked(4, now))
        self.notify(dialog, 3, self.marked(5, now))
        self.assertEqual((self.tally.notified, self.tally.repeated), (1, 1))
        self.notify(dialog, 4, self.marked(5, now - 5))
        self.assertEqual((self.tally.notified, self.tally.late), (1, 1))

    def test_a_newer_one_stands_for_those_before(self) -> None:
        """A NOTIFY with the newest state tells what it superseded, as late as it is."""
        dialog = self.subscribed()
        now = time.monotonic()
        self.notify(dialog, 1, self.marked(1, now - 3))
        self.notify(dialog, 2, self.marked(2, now - 3))
        self.notify(dialog, 3, self.marked(5, now))
        self.assertEqual((self.tally.notified, self.tally.superseded), (2, 2))
        # Those between were due 1 s and 2 s ago.
        times = sorted(self.tally.notify.classes)
        self.assertEqual([round(each / 1e6) for each in times], [0, 1, 2, 3])

    def test_nothing_published_before(self) -> None:
        """Where the first NOTIFY has no document of ours, the next change is one, not many."""
        dialog = self.subscribed()
        self.notify(dialog, 1)
        self.notify(dialog, 2, self.marked(9, time.monotonic()))
        self.assertEqual((self.tally.notified, self.tally.superseded), (1, 0))

    def test_other_runs(self) -> None:
        """What another run has left in a document is none of ours."""
        dialog = self.subscribed()
        now = time.monotonic()
        left = self.marked(900, now).replace(b"~abcdef", b"~012345")
        self.notify(dialog, 1, left + self.marked(1, now))
        self.notify(dialog, 2, left + self.marked(2, now))
        self.assertEqual((self.tally.notified, dialog.last), (1, 2))

    def test_out_of_order(self) -> None:
        """A NOTIFY that was overtaken is answered, and tells nothing new."""
        dialog = self.subscribed()
        now = time.monotonic()
        self.notify(dialog, 1, self.marked(1, now))
        self.notify(dialog, 3, self.marked(3, now))
        self.notify(dialog, 2, self.marked(2, now))
        self.assertEqual((self.tally.notified, self.tally.superseded), (1, 1))
        self.assertEqual((self.tally.out_of_order, self.tally.gaps), (1, 1))

    def test_lists(self) -> None:
        """A NOTIFY for a list may have several documents (RFC 4662 §5)."""
        dialog = self.subscribed(-1)
        now = time.monotonic()
        self.notify(dialog, 1, self.marked(1, now, 7) + self.marked(4, now, 8))
        self.notify(dialog, 2, self.marked(2, now, 7) + self.marked(4, now, 8))
        self.notify(dialog, 3, self.marked(5, now, 8))
        self.assertEqual(self.tally.notified, 2)
        self.assertTrue(untold(self.engine.dialogs, {7: 3}))
        count_missing(self.engine.dialogs, {7: 3, 8: 5}, {}, self.engine.tally)
        self.assertEqual(self.tally.missing, 1)

    def test_missing(self) -> None:
        """What was accepted and never told is missing, once."""
        dialog = self.subscribed()
        self.notify(dialog, 1, self.marked(1, time.monotonic()))
        self.assertFalse(untold(self.engine.dialogs, {7: 1}))
        self.assertTrue(untold(self.engine.dialogs, {7: 4}))
        count_missing(self.engine.dialogs, {7: 4}, {}, self.engine.tally)
        count_missing(self.engine.dialogs, {7: 4}, {}, self.engine.tally)
        self.assertEqual(self.tally.missing, 3)

    def test_missing_of_the_warm_up(self) -> None:
        """What was published before the measuring counts for nothing, told or not."""
        dialog = self.subscribed()
        self.notify(dialog, 1, self.marked(1, time.monotonic()))
        count_missing(self.engine.dialogs, {7: 4}, {7: 3}, self.engine.tally)
        self.assertEqual(self.tally.missing, 1)

    def test_lost_in_the_warm_up(self) -> None:
        """NOTIFYs that come again, or are passed over, before the measuring count for nothing."""
        dialog = self.subscribed()
        self.notify(dialog, 1)
        self.engine.begin = self.engine.moment(time.monotonic() + 10)
        self.notify(dialog, 5)
        self.notify(dialog, 5)
        self.notify(dialog, 4)
        self.assertEqual((self.tally.gaps, self.tally.repeated, self.tally.out_of_order), (0, 0, 0))

    def test_the_first_is_awaited(self) -> None:
        """A subscription that has been answered is told its state (RFC 6665 §4.2.1.2), if late."""
        dialog = self.subscribed()
        self.assertTrue(untold(self.engine.dialogs, {}))
        dialog.due = time.monotonic() - 5
        self.notify(dialog, 1)
        self.assertFalse(untold(self.engine.dialogs, {}))
        self.assertEqual((self.tally.first.total, self.tally.first_late), (1, 1))

    def test_unknown(self) -> None:
        """A NOTIFY of no subscription gets 481 (RFC 6665 §4.1.3); so do all after an outage."""
        dialog = self.subscribed()
        self.engine.drop()
        self.assertTrue(self.notify(dialog, 1).startswith(b"SIP/2.0 481 "))
        self.assertEqual(self.tally.strays, 1)
        self.assertEqual((self.engine.free(SUBSCRIBE), self.engine.free(RESUBSCRIBE)), (1, 0))

    def test_terminated(self) -> None:
        """A subscription that the server ends is an error (RFC 6665 §4.1.3)."""
        dialog = self.subscribed()
        self.notify(dialog, 1, state=b"terminated;reason=rejected")
        self.assertEqual(self.tally.errors, {"NOTIFY: terminated;reason=rejected": 1})

    def test_what_is_no_message(self) -> None:
        """Octets that make no sense are passed over."""
        dialog = self.subscribed()
        for data in (
            b"",
            b"NOTIFY",
            b"NOTIFY x SIP/2.0\r\nVia: a\r\nCall-ID: d\r\nCSeq: x\r\n\r\n",
        ):
            self.say(data)
        self.say(
            b"NOTIFY x SIP/2.0\r\nVia: a\r\nCall-ID: d%b\r\nCSeq: x NOTIFY\r\n\r\n" % dialog.call
        )
        self.assertEqual(self.tally.notified, 0)
