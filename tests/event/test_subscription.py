"""SUBSCRIBE decided: RFC 6665 §4.2.1."""

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from simplestack.outcome import Incoming
from simplestack.sip.errors import SIPError
from simplestack.state import Removed, Subscription
from simplestack.transaction.failure import Verdict
from tests.event.fakes import ALICE, AOR, Agent, FakePackage, PartialPackage, read, subscribe


class Case(SynchronousTestCase):
    """An agent with one package."""

    def setUp(self) -> None:
        """Start anew."""
        self.package = FakePackage()
        self.winfo = PartialPackage("presence.winfo")
        self.agent = Agent(self.package, self.winfo)

    def refused(self, incoming: Incoming, status: int) -> Mapping[str, str]:
        """Check that a request is refused and changes nothing; the header fields of the answer."""
        before = list(self.agent.state)
        error = self.assertRaises(SIPError, self.agent.subscribe, incoming)
        assert isinstance(error, SIPError)
        self.assertEqual(error.status, status, error)
        self.assertEqual(list(self.agent.state), before)
        return dict(error.headers)

    def answer(self) -> tuple[int, str | None]:
        """Status and Expires of the response."""
        response = self.agent.response
        assert response is not None
        return response.status, response.get("Expires")


class InitialTests(Case):
    """RFC 6665 §4.2.1.1."""

    def test_subscription(self) -> None:
        """An initial SUBSCRIBE makes a subscription, a 200 and a NOTIFY (§4.2.1.1, §4.2.1.2)."""
        (notify,) = self.agent.subscribe(subscribe(headers=["User-Agent: phone 1"]))
        response = self.agent.response
        assert response is not None
        self.assertEqual(self.answer(), (200, "3600"))
        self.assertEqual(response.get("Contact"), "<sip:bob@192.0.2.1>")
        self.assertEqual(response.get("Allow-Events"), "presence")
        record = self.agent.one()
        self.assertEqual(response.to.tag, record.local_tag)
        self.assertEqual(
            (record.status, record.event, record.watcher, record.display_name),
            ("active", "subscribe", ALICE, "Alice"),
        )
        self.assertEqual((record.subscribed_at, record.expires_at), (1000.0, 4600.0))
        self.assertEqual(record.user_agent, "phone 1")
        message = read(notify)
        self.assertEqual(message.uri, "sip:alice@192.0.2.9")
        self.assertEqual(message.from_.tag, record.local_tag)
        self.assertEqual(message.to.tag, "from-a")
        self.assertEqual(message.get("Subscription-State"), "active;expires=3600")
        self.assertEqual(message.body, b"closed")

    def test_the_id_does_not_tell_the_tag(self) -> None:
        """The tag has randomness beyond the id that watchers may learn (3261 §19.3)."""
        self.agent.subscribe(subscribe())
        record = self.agent.one()
        base, _, secret = record.local_tag.partition(".")
        self.assertEqual(base, record.id)
        self.assertTrue(secret)

    def test_pending_gets_200(self) -> None:
        """A pending subscription gets 200, never 202, and a NOTIFY without state (§8.3.1)."""
        self.package.default = "confirm"
        (notify,) = self.agent.subscribe(subscribe())
        self.assertEqual(self.answer(), (200, "3600"))
        message = read(notify)
        self.assertEqual(message.get("Subscription-State"), "pending;expires=3600")
        self.assertEqual(message.body, b"")
        self.assertIsNone(message.get("Content-Type"))

    def test_blocked_gets_403(self) -> None:
        """Who is blocked gets 403 (§4.2.1.3)."""
        self.package.default = "block"
        self.refused(subscribe(), 403)

    def test_unknown_resource(self) -> None:
        """A resource that the package does not know is 404 (3261 §21.4.5)."""
        self.package.known = False
        self.refused(subscribe(), 404)

    def test_bad_event(self) -> None:
        """Without Event, of unknown or too deep packages: 489 with Allow-Events (§4.2.3)."""
        for event in (None, "dialog", "presence.winfo.winfo.winfo", "Presence"):
            headers = self.refused(subscribe(event=event), 489)
            self.assertEqual(headers["Allow-Events"], "presence")
        self.refused(subscribe(event="presence", headers=["o: reg"]), 400)

    def test_route_set(self) -> None:
        """Record-Route in its order is the route set, and is in the 2xx (3261 §12.1.1)."""
        routes = ["Record-Route: <sip:p2;lr>, <sip:p1;lr>", "Record-Route: <sip:p0;lr>"]
        (notify,) = self.agent.subscribe(subscribe(headers=routes))
        response = self.agent.response
        assert response is not None
        self.assertEqual(
            response.get_all("Record-Route"), ["<sip:p2;lr>", "<sip:p1;lr>", "<sip:p0;lr>"]
        )
        message = read(notify)
        self.assertEqual(message.uri, "sip:alice@192.0.2.9")
        self.assertEqual(message.get_all("Route"), ["<sip:p2;lr>", "<sip:p1;lr>", "<sip:p0;lr>"])

    def test_strict_route(self) -> None:
        """A first route without lr becomes the Request-URI (3261 §12.2.1.1)."""
        routes = ["Record-Route: <sip:p2?x=y>, <sip:p1;lr>"]
        (notify,) = self.agent.subscribe(subscribe(headers=routes))
        message = read(notify)
        self.assertEqual(message.uri, "sip:p2")
        self.assertEqual(message.get_all("Route"), ["<sip:p1;lr>", "<sip:alice@192.0.2.9>"])

    def test_common_texts(self) -> None:
        """What many subscriptions to an AOR say alike is in memory once (RFC 6665 §4.2)."""
        for number in (1, 2):
            headers = ["User-Agent: phone 1", "Accept: text/state"]
            self.agent.subscribe(
                subscribe(call_id=f"call-{number}", from_tag=f"f{number}", headers=headers)
            )
        first, second = self.agent.state.subscriptions.values()
        for name in ("local_uri", "remote_uri", "contact", "accept", "user_agent"):
            self.assertTrue(getattr(first, name), name)
            self.assertIs(getattr(first, name), getattr(second, name), name)


class DialogTests(Case):
    """In a dialog: RFC 6665 §4.2.1.4, §4.5.2, RFC 3261 §12.2.2."""

    def setUp(self) -> None:
        """Start anew."""
        super().setUp()
        (notify,) = self.agent.subscribe(subscribe())
        self.agent.answer(notify)
        self.tag = self.agent.one().local_tag

    def test_refresh(self) -> None:
        """A refresh sets the expiry anew and is confirmed by a NOTIFY (§4.2.1.4, §4.2.1.2)."""
        self.agent.now += 1000
        (notify,) = self.agent.subscribe(subscribe(to_tag=self.tag, cseq=2, expires=600))
        self.assertEqual(self.answer(), (200, "600"))
        self.assertEqual(self.agent.one().expires_at, 2600.0)
        message = read(notify)
        self.assertEqual(message.get("Subscription-State"), "active;expires=600")
        self.assertEqual(message.body, b"closed")
        self.assertEqual(message.cseq.number, 2)

    def test_target_refresh(self) -> None:
        """SUBSCRIBE is a target refresh request; without Contact the target stays (§3.1)."""
        (notify,) = self.agent.subscribe(
            subscribe(to_tag=self.tag, cseq=2, contact="<sip:alice@198.51.100.1>")
        )
        self.assertEqual(read(notify).uri, "sip:alice@198.51.100.1")
        self.agent.answer(notify)
        (notify,) = self.agent.subscribe(subscribe(to_tag=self.tag, cseq=3, contact=None))
        self.assertEqual(read(notify).uri, "sip:alice@198.51.100.1")
        self.refused(subscribe(to_tag=self.tag, cseq=4, contact="<sip:a@b>, <sip:c@d>"), 400)

    def test_unknown_dialog(self) -> None:
        """Without a matching dialog it is 481 (3261 §12.2.2)."""
        for incoming in (
            subscribe(to_tag="s1.other", cseq=2),
            subscribe(to_tag="nowhere", cseq=2),
            subscribe(to_tag=self.tag, cseq=2, call_id="other"),
            subscribe(to_tag=self.tag, cseq=2, from_tag="other"),
        ):
            self.refused(incoming, 481)

    def test_another_identity(self) -> None:
        """Nobody acts on another's subscription (§6.1)."""
        self.refused(subscribe(to_tag=self.tag, cseq=2, identity="sip:eve@example.com"), 403)

    def test_cseq(self) -> None:
        """A lower CSeq is 500 (3261 §12.2.2)."""
        self.agent.subscribe(subscribe(to_tag=self.tag, cseq=5))
        self.refused(subscribe(to_tag=self.tag, cseq=4), 500)

    def test_unsubscribe(self) -> None:
        """Expires 0 ends it with a last NOTIFY that has the state (§4.2.1.4)."""
        (notify,) = self.agent.subscribe(subscribe(to_tag=self.tag, cseq=2, expires=0))
        self.assertEqual(self.answer(), (200, "0"))
        self.assertEqual(self.agent.state.subscriptions, {})
        message = read(notify)
        self.assertTrue(notify.final)
        self.assertEqual(message.get("Subscription-State"), "terminated;reason=timeout")
        self.assertEqual(message.body, b"closed")
        self.assertEqual(message.cseq.number, 2)
        self.refused(subscribe(to_tag=self.tag, cseq=3), 481)

    def test_no_longer_authorized(self) -> None:
        """A refresh of one who is blocked by now ends the subscription (§4.2.1.4)."""
        self.package.handlings[ALICE] = "block"
        (notify,) = self.agent.subscribe(subscribe(to_tag=self.tag, cseq=2))
        self.assertEqual(self.answer(), (200, "0"))
        message = read(notify)
        self.assertEqual(message.get("Subscription-State"), "terminated;reason=rejected")
        self.assertEqual(message.body, b"")

    def test_refresh_that_finds_approval(self) -> None:
        """A refresh of a pending one that is allowed by now makes it active (3857 §4.7.1)."""
        self.package.default = "confirm"
        (first,) = self.agent.subscribe(subscribe(call_id="p"))
        (record,) = [s for s in self.agent.state.subscriptions.values() if s.call_id == "p"]
        self.package.default = "allow"
        self.agent.answer(first)
        (notify,) = self.agent.subscribe(subscribe(call_id="p", to_tag=record.local_tag, cseq=2))
        self.assertEqual(read(notify).get("Subscription-State"), "active;expires=3600")
        self.assertEqual(read(notify).body, b"closed")
        self.assertEqual(self.agent.state.subscriptions[record.id].event, "approved")

    def test_sharing(self) -> None:
        """Subscriptions of one dialog are told apart by Event and id (§4.5.2)."""
        (winfo,) = self.agent.subscribe(subscribe(to_tag=self.tag, cseq=2, event="presence.winfo"))
        self.assertEqual(read(winfo).cseq.number, 2)
        self.assertEqual(winfo.subscription.local_tag, self.tag)
        self.assertEqual(
            self.agent.subscribe(subscribe(to_tag=self.tag, cseq=3, event="presence;id=2")), []
        )
        self.assertEqual(len(self.agent.state.subscriptions), 3)
        # One NOTIFY of the dialog at a time, all in one CSeq order.
        (second,) = self.agent.answer(winfo)
        self.assertEqual(read(second).get("Event"), "presence;id=2")
        self.assertEqual(read(second).cseq.number, 3)
        self.agent.answer(second)
        # A refresh of one moves the target of all.
        self.agent.subscribe(subscribe(to_tag=self.tag, cseq=4, contact="<sip:alice@new>"))
        self.assertEqual(
            {s.remote_target for s in self.agent.state.subscriptions.values()}, {"sip:alice@new"}
        )
        self.refused(subscribe(to_tag=self.tag, cseq=3, event="presence;id=2"), 500)
        self.agent.subscribe(subscribe(to_tag=self.tag, cseq=5, event="presence;id=3"))
        self.refused(subscribe(to_tag=self.tag, cseq=6, event="presence;id=4"), 403)

    def test_sharing_outlives_the_first(self) -> None:
        """Usages of a dialog end one by one (5057 §4)."""
        self.agent.subscribe(subscribe(to_tag=self.tag, cseq=2, event="presence;id=2"))
        self.agent.subscribe(subscribe(to_tag=self.tag, cseq=3, expires=0))
        self.assertEqual(self.agent.one().event_id, "2")
        self.agent.subscribe(subscribe(to_tag=self.tag, cseq=4, event="presence;id=2"))
        self.assertEqual(self.answer(), (200, "3600"))

    def test_sharing_moves_the_target(self) -> None:
        """Who joins a dialog refreshes the target of all, and its CSeq counts (3261 §12.2.2)."""
        self.agent.subscribe(
            subscribe(to_tag=self.tag, cseq=7, event="presence;id=2", contact="<sip:alice@new>")
        )
        self.assertEqual(
            {s.remote_target for s in self.agent.state.subscriptions.values()}, {"sip:alice@new"}
        )
        self.agent.subscribe(subscribe(to_tag=self.tag, cseq=8, event="presence;id=2", expires=0))
        self.refused(subscribe(to_tag=self.tag, cseq=7), 500)

    def test_sharing_again(self) -> None:
        """Who joins a dialog is told at once, also while a last NOTIFY of it waits for its answer
        (6665 §4.2.1.2: "an initial NOTIFY request … immediately").
        """
        for ended, joined in (("presence;id=2", "presence;id=3"), ("presence", "presence;id=4")):
            if ended != "presence":
                (notify,) = self.agent.subscribe(subscribe(to_tag=self.tag, cseq=2, event=ended))
                self.agent.answer(notify)
            cseq = max(s.remote_cseq for s in self.agent.state.subscriptions.values()) + 1
            (last,) = self.agent.subscribe(
                subscribe(to_tag=self.tag, cseq=cseq, event=ended, expires=0)
            )
            self.assertTrue(last.final)
            self.assertEqual(
                self.agent.subscribe(subscribe(to_tag=self.tag, cseq=cseq + 1, event=joined)), []
            )
            (first,) = self.agent.answer(last)
            self.assertEqual(read(first).get("Event"), joined)
            self.assertEqual(read(first).get("Subscription-State"), "active;expires=3600")
            self.agent.answer(first)

    def test_sharing_after_the_first(self) -> None:
        """The dialog goes on when who made it has ended, and its CSeq with it (3261 §12.2.1.1)."""
        (notify,) = self.agent.subscribe(subscribe(to_tag=self.tag, cseq=2, event="presence;id=2"))
        self.agent.answer(notify)
        (last,) = self.agent.subscribe(subscribe(to_tag=self.tag, cseq=3, expires=0))
        self.assertTrue(last.final)
        self.agent.answer(last)
        (first,) = self.agent.subscribe(subscribe(to_tag=self.tag, cseq=4))
        self.assertGreater(first.cseq, last.cseq)


class FetchTests(Case):
    """RFC 6665 §4.4.3."""

    def test_fetch(self) -> None:
        """Expires 0 outside a dialog: the state in one NOTIFY, and nothing is kept (§4.4.3)."""
        (notify,) = self.agent.subscribe(subscribe(expires=0))
        self.assertEqual(self.answer(), (200, "0"))
        self.assertEqual(self.agent.state.subscriptions, {})
        message = read(notify)
        self.assertEqual(message.get("Subscription-State"), "terminated;reason=timeout")
        self.assertEqual(message.body, b"closed")
        response = self.agent.response
        assert response is not None
        self.assertEqual(message.from_.tag, response.to.tag)
        self.assertEqual(self.agent.answer(notify), [])
        self.assertEqual(len(self.agent.notifier), 0)

    def test_fetch_without_permission(self) -> None:
        """A fetch without a decision shows nothing and leaves a waiting watcher (3857 §4.7.1)."""
        self.package.default = "confirm"
        (notify,) = self.agent.subscribe(subscribe(expires=0))
        message = read(notify)
        self.assertEqual(message.get("Subscription-State"), "terminated;reason=timeout")
        self.assertEqual(message.body, b"")
        record = self.agent.one()
        self.assertEqual((record.status, record.event), ("waiting", "timeout"))
        self.agent.answer(notify)
        self.assertEqual(len(self.agent.notifier), 0)


class ClockTests(Case):
    """What the clock and failures do."""

    def test_expiry(self) -> None:
        """An active one that is not refreshed ends by timeout (6665 §4.2.1.4)."""
        (notify,) = self.agent.subscribe(subscribe(expires=60))
        self.agent.answer(notify)
        self.agent.now += 59
        self.assertEqual(self.agent.expire(), [])
        self.agent.now += 1
        (notify,) = self.agent.expire()
        message = read(notify)
        self.assertEqual(message.get("Subscription-State"), "terminated;reason=timeout")
        self.assertEqual(self.agent.state.subscriptions, {})

    def test_pending_becomes_waiting(self) -> None:
        """A pending one that times out becomes waiting, and is given up later (3857 §4.7.1)."""
        self.package.default = "confirm"
        (notify,) = self.agent.subscribe(subscribe(expires=60))
        self.agent.answer(notify)
        self.agent.now += 60
        (notify,) = self.agent.expire()
        self.assertEqual(read(notify).get("Subscription-State"), "terminated;reason=timeout")
        record = self.agent.one()
        self.assertEqual((record.status, record.event), ("waiting", "timeout"))
        self.assertEqual(record.expires_at, self.agent.now + 7 * 86400)
        self.refused(subscribe(to_tag=record.local_tag, cseq=2), 481)
        self.agent.now = record.expires_at
        self.assertEqual(self.agent.expire(), [])
        self.assertEqual(self.agent.state.subscriptions, {})

    def test_failures(self) -> None:
        """A failed NOTIFY ends nothing, its usage, or all of its dialog (5057 §5.1)."""
        self.agent.subscribe(subscribe())
        first = self.agent.one()
        self.agent.subscribe(subscribe(to_tag=first.local_tag, cseq=2, event="presence;id=2"))
        failed = self.agent.subscribing.failed
        state, now = self.agent.state, self.agent.now
        first = state.subscriptions[first.id]
        self.assertFalse(failed(state, first.id, Verdict.NOTHING, now))
        changes = failed(state, first.id, Verdict.USAGE, now)
        self.assertEqual(list(changes.of(Subscription)), [Removed(first, "timeout", None, True)])
        changes = failed(state, first.id, Verdict.DIALOG, now)
        self.assertEqual(len(changes), 2)
        self.assertEqual(self.agent.change(changes), [])
        self.assertEqual(len(self.agent.notifier), 0)
        self.assertFalse(failed(state, first.id, Verdict.DIALOG, now))

    def test_failure_of_a_pending_one(self) -> None:
        """A pending watcher whose phone is gone is remembered, and not notified (3857 §4.7.1)."""
        self.package.default = "confirm"
        self.agent.subscribe(subscribe())
        record = self.agent.one()
        changes = self.agent.subscribing.failed(
            self.agent.state, record.id, Verdict.USAGE, self.agent.now
        )
        self.assertEqual(self.agent.change(changes), [])
        self.assertEqual(self.agent.one().status, "waiting")
        self.assertEqual(len(self.agent.notifier), 0)

    def test_revoke(self) -> None:
        """We may end a subscription for a reason; the last NOTIFY says it (6665 §4.1.3)."""
        (notify,) = self.agent.subscribe(subscribe())
        self.agent.answer(notify)
        record = self.agent.one()
        revoke = self.agent.subscribing.revoke
        self.assertFalse(revoke(self.agent.state, record.id, "giveup"))
        self.assertFalse(revoke(self.agent.state, "none", "rejected"))
        self.assertRaises(ValueError, revoke, self.agent.state, record.id, "timeout")
        changes = revoke(self.agent.state, record.id, "probation", 120)
        (notify,) = self.agent.change(changes)
        message = read(notify)
        self.assertEqual(
            message.get("Subscription-State"), "terminated;reason=probation;retry-after=120"
        )
        self.assertEqual(message.body, b"")
        self.assertEqual(AOR, notify.subscription.aor)
