"""A subscription that keeps itself."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simplestack.client.errors import ClientError, NoAnswerError, RefusedError, TerminatedError
from simplestack.client.subscription import Subscription
from simplestack.event.subscriber import resubscribe_after
from simplestack.sip.fields import parse_subscription_state
from simplestack.sip.message import Request, Response
from tests.client.peer import Peer

PIDF = "application/pidf+xml"
BOB = "sip:bob@example.com"


class ResubscribeTests(SynchronousTestCase):
    def test_reasons(self) -> None:
        """RFC 6665 §4.1.3: what each reason of a termination asks of the subscriber."""
        for state, pause in (
            ("terminated;reason=deactivated", 0),
            ("terminated;reason=timeout", 0),
            ("terminated;reason=deactivated;retry-after=77", 0),
            ("terminated;reason=probation;retry-after=77", 77),
            ("terminated;reason=probation", 5),
            ("terminated;reason=giveup;retry-after=12", 12),
            ("terminated;reason=something", 5),
            ("terminated", 5),
            ("terminated;retry-after=9", 9),
            ("terminated;reason=rejected", None),
            ("terminated;reason=rejected;retry-after=9", None),
            ("terminated;reason=noresource", None),
            ("terminated;reason=invariant", None),
        ):
            found = resubscribe_after(parse_subscription_state(state))
            self.assertEqual(found, pause, state)

    def test_no_storm(self) -> None:
        """A notifier that ends each subscription at once is asked ever more slowly."""
        state = parse_subscription_state("terminated;reason=deactivated")
        pauses = [resubscribe_after(state, endings) for endings in range(1, 8)]
        self.assertEqual(pauses, [0, 10, 20, 40, 60, 60, 60])


class SubscriptionTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A subscription to bob's presence."""
        self.use(Peer())

    def use(self, peer: Peer, **options: Any) -> None:
        """Subscribe by this peer."""
        self.peer = peer
        self.states: list[tuple[bytes, str | None]] = []
        self.ends: list[ClientError | None] = []
        self.troubles: list[float] = []
        self.subscription = Subscription(
            peer.agent,
            BOB,
            "presence",
            (PIDF,),
            on_state=lambda body, content_type: self.states.append((body, content_type)),
            on_end=self.ends.append,
            on_trouble=lambda _, pause: self.troubles.append(pause),
            **options,
        )

    def start(self) -> Request:
        """Subscribe; the SUBSCRIBE that the notifier got."""
        started = self.subscription.start()
        self.peer.run()
        self.successResultOf(started)
        return self.peer.last

    def notify(self, subscribe: Request, number: int, *more: Any, **options: Any) -> int:
        """Send a NOTIFY; the status of the answer."""
        got = self.peer.notify(subscribe, number, *more, **options)
        self.peer.run()
        (response,) = got
        assert response is not None
        return response.status

    def test_subscribe(self) -> None:
        """RFC 6665 §4.1.2.1: Event, Expires, Accept and one Contact."""
        request = self.start()
        self.assertEqual((request.method, request.uri), ("SUBSCRIBE", BOB))
        self.assertEqual(request.get("Event"), "presence")
        self.assertEqual(request.get("Accept"), PIDF)
        self.assertEqual(request.expires, 3600)
        self.assertEqual(str(request.contacts[0].uri), "sip:alice@192.0.2.1:5060")
        self.assertIsNone(request.to.tag)

    def test_state(self) -> None:
        """The body of a NOTIFY is handed on, and the NOTIFY answered with 200."""
        request = self.start()
        self.assertEqual(self.notify(request, 1, body=b"<a/>"), 200)
        self.assertEqual(self.notify(request, 2), 200)
        self.assertEqual(self.states, [(b"<a/>", PIDF), (b"", None)])
        assert self.subscription.state is not None
        self.assertEqual(self.subscription.state.state, "active")

    def test_notify_before_the_response(self) -> None:
        """RFC 6665 §4.4.1: the NOTIFY may come before the 200 to the SUBSCRIBE, and makes the
        dialog.
        """

        def answer(request: Request) -> Response:
            self.peer.notify(request, 1, body=b"<early/>")
            response = request.response(200, to_tag="server")
            response.set("Contact", "<sip:server@192.0.2.2:5060>")
            response.set("Expires", "600")
            return response

        self.peer.wire.delay = (0.0, 0.0)
        self.peer.answers["SUBSCRIBE"] = answer
        request = self.start()
        self.assertEqual(self.states, [(b"<early/>", PIDF)])
        self.assertEqual(self.notify(request, 2, body=b"<late/>"), 200)
        self.assertEqual(self.peer.methods, ["SUBSCRIBE"])

    def test_lost_response(self) -> None:
        """A NOTIFY whose SUBSCRIBE is not answered yet is not refused."""
        self.peer.answers["SUBSCRIBE"] = lambda _: None
        self.subscription.start()
        self.peer.run()
        self.assertEqual(self.notify(self.peer.last, 1, body=b"<a/>"), 200)

    def test_second_dialog(self) -> None:
        """RFC 3856 §6.9: one dialog; NOTIFYs of a second one, of a forked SUBSCRIBE, get 481."""
        request = self.start()
        self.notify(request, 1)
        self.assertEqual(self.notify(request, 1, tag="another"), 481)

    def test_other_event(self) -> None:
        """RFC 6665 §4.1.3: a NOTIFY of another package, or with an id, is of no subscription."""
        request = self.start()
        self.assertEqual(self.notify(request, 1, event="reg"), 481)
        self.assertEqual(self.notify(request, 2, event="presence;id=7"), 481)
        self.assertEqual(self.notify(request, 3, event="presence;x=y"), 200)

    def test_order(self) -> None:
        """RFC 3261 §12.2.2: 500 for a CSeq lower than one before."""
        request = self.start()
        self.assertEqual(self.notify(request, 5, body=b"<new/>"), 200)
        self.assertEqual(self.notify(request, 4, body=b"<old/>"), 500)
        self.assertEqual(len(self.states), 1)

    def test_content_type(self) -> None:
        """RFC 3261 §8.2.3: 415 for a body that we did not ask for."""
        request = self.start()
        status = self.notify(request, 1, body=b"x", content_type="text/plain")
        self.assertEqual((status, self.states), (415, []))

    def test_no_state_header(self) -> None:
        """RFC 6665 §8.2.3: Subscription-State is mandatory in NOTIFY."""
        request = self.start()
        self.assertEqual(self.notify(request, 1, ""), 400)

    def test_refresh(self) -> None:
        """RFC 6665 §4.1.2.2: refreshed in the dialog before it ends, with a rising CSeq, at the
        Contact of the notifier.
        """
        request = self.start()
        self.notify(request, 1, "active;expires=600")
        self.peer.run(560)
        refresh = self.peer.last
        self.assertEqual(self.peer.methods, ["SUBSCRIBE"] * 2)
        self.assertEqual(refresh.call_id, request.call_id)
        self.assertEqual(refresh.to.tag, "server")
        self.assertEqual(refresh.cseq.number, request.cseq.number + 1)
        self.assertEqual(refresh.uri, "sip:server@192.0.2.2:5060")

    def test_target_refresh(self) -> None:
        """RFC 3261 §12.2.2, RFC 6665 §4.4.1: the Contact of a NOTIFY is where requests go."""
        request = self.start()
        got = self.peer.notify(request, 1, "active;expires=600")
        self.peer.run()
        assert got[0] is not None
        self.subscription.refresh()
        self.peer.run()
        self.assertEqual(self.peer.last.uri, "sip:server@192.0.2.2:5060")

    def test_refused(self) -> None:
        """A refusal of the SUBSCRIBE fails the start, and its NOTIFYs are not ours any more."""
        self.peer.answers["SUBSCRIBE"] = lambda request: request.response(403, to_tag="x")
        started = self.subscription.start()
        self.peer.run()
        self.failureResultOf(started, RefusedError)
        self.assertEqual(self.notify(self.peer.last, 1), 481)
        self.assertEqual(self.ends, [])

    def test_rejected(self) -> None:
        """RFC 6665 §4.1.3: "rejected": the subscriber does not ask again."""
        request = self.start()
        self.assertEqual(self.notify(request, 1, "terminated;reason=rejected"), 200)
        self.peer.run(10_000)
        self.assertEqual(self.peer.methods, ["SUBSCRIBE"])
        (error,) = self.ends
        assert isinstance(error, TerminatedError)
        self.assertEqual(error.reason, "rejected")

    def test_deactivated(self) -> None:
        """§4.1.3: "deactivated": a new subscription, with a dialog of its own, at once."""
        request = self.start()
        self.notify(request, 1, "active;expires=3600")
        self.notify(request, 2, "terminated;reason=deactivated")
        self.peer.run(1)
        again = self.peer.last
        self.assertEqual(self.peer.methods, ["SUBSCRIBE"] * 2)
        self.assertNotEqual(again.call_id, request.call_id)
        self.assertIsNone(again.to.tag)
        self.assertEqual(self.notify(again, 1, body=b"<again/>"), 200)
        self.assertEqual(self.notify(request, 3), 481)
        self.assertEqual(self.ends, [])

    def test_probation(self) -> None:
        """§4.1.3: "probation": a new subscription after Retry-After."""
        request = self.start()
        self.notify(request, 1, "terminated;reason=probation;retry-after=100")
        self.assertEqual(self.troubles, [100])
        self.peer.run(99)
        self.assertEqual(self.peer.methods, ["SUBSCRIBE"])
        self.peer.run(2)
        self.assertEqual(self.peer.methods, ["SUBSCRIBE"] * 2)

    def test_last_state(self) -> None:
        """A terminating NOTIFY may carry the last state."""
        request = self.start()
        self.notify(request, 1, "terminated;reason=noresource", b"<last/>")
        self.assertEqual(self.states, [(b"<last/>", PIDF)])
        self.assertEqual(len(self.ends), 1)

    def test_refresh_finds_nothing(self) -> None:
        """§4.1.2.2: after 481 the subscription is over, and a new one is made."""
        request = self.start()
        self.notify(request, 1, "active;expires=600")

        def answer(each: Request) -> Response:
            response = each.response(481 if each.to.tag else 200, to_tag="new")
            response.set("Contact", "<sip:server@192.0.2.2:5060>")
            return response

        self.peer.answers["SUBSCRIBE"] = answer
        self.peer.run(560)
        self.assertEqual([each.to.tag for each in self.peer.requests], [None, "server", None])
        self.assertEqual(self.ends, [])

    def test_refresh_refused(self) -> None:
        """§4.1.2.2: a refresh that is refused for good ends the subscription."""
        request = self.start()
        self.notify(request, 1, "active;expires=600")
        self.peer.answers["SUBSCRIBE"] = lambda each: each.response(404)
        self.peer.run(700)
        self.assertEqual([str(error) for error in self.ends], ["404 Not Found"])

    def test_refresh_unanswered(self) -> None:
        """§4.1.2.2: when a refresh is not answered the subscription lasts as long as it was
        granted; NOTIFYs are taken until then, and a new one is made after it.
        """
        request = self.start()
        self.notify(request, 1, "active;expires=600")
        self.peer.wire.loss = 1.0
        self.peer.run(596)
        self.peer.wire.loss = 0.0
        self.assertGreaterEqual(len(self.troubles), 1)
        self.assertEqual(self.notify(request, 2, "active;expires=5", b"<alive/>"), 200)
        self.peer.wire.loss = 1.0
        self.peer.run(200)
        self.peer.wire.loss = 0.0
        self.peer.run(200)
        self.assertIsNone(self.peer.last.to.tag)
        self.assertEqual(self.ends, [])

    def test_no_notify(self) -> None:
        """§4.1.2.4, timer N: a subscription without a NOTIFY has failed."""
        self.start()
        self.peer.run(31)
        self.assertEqual(self.ends, [])
        self.peer.run(2)
        (error,) = self.ends
        self.assertIsInstance(error, NoAnswerError)

    def test_no_notify_of_a_later_one(self) -> None:
        """A subscription that has worked before is tried again when timer N fires."""
        request = self.start()
        self.notify(request, 1, "active;expires=3600")
        self.notify(request, 2, "terminated;reason=deactivated")
        self.peer.run(34)
        self.assertEqual(self.troubles, [60])
        self.peer.run(61)
        self.assertEqual(self.peer.methods, ["SUBSCRIBE"] * 3)
        self.assertEqual(self.ends, [])

    def test_stop(self) -> None:
        """§4.1.2.3: unsubscribing is a SUBSCRIBE in the dialog with Expires 0; the last NOTIFY is
        taken, and is the end.
        """
        request = self.start()
        self.notify(request, 1)
        stopped = self.subscription.stop()
        self.peer.run()
        self.assertEqual((self.peer.last.expires, self.peer.last.to.tag), (0, "server"))
        self.assertNoResult(stopped)
        self.assertEqual(self.notify(request, 2, "terminated;reason=timeout", b"<last/>"), 200)
        self.successResultOf(stopped)
        self.assertEqual((self.states, self.ends), ([(b"", None)], [None]))
        self.peer.run(10_000)
        self.assertEqual(len(self.peer.requests), 2)
        self.assertEqual(self.peer.clock.getDelayedCalls(), [])

    def test_stop_without_last_notify(self) -> None:
        """The last NOTIFY is not waited for for long."""
        request = self.start()
        self.notify(request, 1)
        stopped = self.subscription.stop()
        self.peer.run(2)
        self.successResultOf(stopped)

    def test_stop_without_answer(self) -> None:
        """A server that does not answer does not make ``stop`` fail."""
        request = self.start()
        self.notify(request, 1)
        self.peer.wire.loss = 1.0
        stopped = self.subscription.stop()
        self.peer.run(70)
        self.successResultOf(stopped)

    def test_fetch(self) -> None:
        """§4.1.2.3: a fetch gets the state once, and is over."""
        self.use(Peer(), expires=0)
        request = self.start()
        self.assertEqual(request.expires, 0)
        self.notify(request, 1, "terminated;reason=timeout", b"<once/>")
        self.assertEqual((self.states, self.ends), ([(b"<once/>", PIDF)], [None]))
        self.peer.run(10_000)
        self.assertEqual(len(self.peer.requests), 1)

    def test_lost_connection(self) -> None:
        """When the connection ends the subscription is refreshed by another one: the notifier may
        have no other way to us.
        """
        self.use(Peer(transport="tcp"))
        request = self.start()
        self.notify(request, 1)
        self.peer.lose_connection()
        self.peer.run(2)
        self.assertEqual(self.peer.methods, ["SUBSCRIBE"] * 2)
        self.assertEqual(self.peer.last.to.tag, "server")

    def test_unreachable_contact(self) -> None:
        """RFC 3261 §8.1.2: where the notifier's Contact can't be reached its requests go to our
        server, with the Contact as Request-URI.
        """
        request = self.start()
        self.notify(request, 1)
        ways, way = self.peer.ways, self.peer.ways.flow_to

        def flow_to(uri: Any, size: int = 0, prefer: str | None = None) -> "Deferred[Any]":
            ways.reachable = uri.host != "192.0.2.2"
            return way(uri, size, prefer)

        self.patch(ways, "flow_to", flow_to)
        self.subscription.refresh()
        self.peer.run()
        self.assertEqual(self.peer.last.uri, "sip:server@192.0.2.2:5060")
        self.assertEqual(str(ways.asked[-1]), "sip:example.com")
        self.assertEqual(self.troubles, [])

    def test_defective_user(self) -> None:
        """A callback that raises is logged; the notifier gets its 200."""
        peer = Peer()

        def broken(body: bytes, content_type: str | None) -> None:
            raise KeyError("x")

        self.subscription = Subscription(peer.agent, BOB, "presence", (PIDF,), on_state=broken)
        self.peer = peer
        request = self.start()
        self.assertEqual(self.notify(request, 1, body=b"<a/>"), 200)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
