"""The room for subscriptions and waiting watchers: RFC 3857 §4.7.1."""

from simplestack.event.limits import Limits
from simplestack.state import Removed, Subscription
from tests.event.fakes import Agent, read, subscribe
from tests.event.test_subscription import Case


class LimitTests(Case):
    """How many there may be."""

    def test_limits(self) -> None:
        """Per watcher 403, per resource 503 with Retry-After, long header fields 513."""
        self.agent = Agent(
            self.package, limits=Limits(per_resource=4, per_watcher=2, anonymous=1, retry_after=9)
        )
        for n in range(2):
            self.agent.subscribe(subscribe(call_id=f"c{n}"))
        self.refused(subscribe(call_id="c2"), 403)
        self.agent.subscribe(subscribe(identity="", call_id="n0"))
        self.refused(subscribe(identity="", call_id="n1"), 403)
        self.agent.subscribe(subscribe(identity="sip:carol@example.com"))
        headers = self.refused(subscribe(identity="sip:dave@example.com"), 503)
        self.assertEqual(headers, {"Retry-After": "9"})
        self.refused(subscribe(headers=["Record-Route: <sip:" + "p" * 4200 + ";lr>"]), 513)


class WaitingTests(Case):
    """Waiting watchers are few, and no two want the same."""

    def test_fetches_leave_one_waiting_watcher(self) -> None:
        """Of equal waiting watchers one is enough (3857 §4.7.1, giveup)."""
        self.package.default = "confirm"
        for n in range(3):
            self.agent.subscribe(subscribe(expires=0, call_id=f"c{n}"))
        self.assertEqual(self.agent.one().call_id, "c2")

    def test_waiting_watchers_are_few(self) -> None:
        """Beyond the limit the oldest waiting watcher is given up (3857 §4.7.1)."""
        self.agent = Agent(self.package, limits=Limits(waiting=2))
        self.package.default = "confirm"
        for name in ("a", "b", "c"):
            self.agent.now += 1
            self.agent.subscribe(subscribe(identity=f"sip:{name}@x", expires=0, call_id=name))
        self.assertEqual(
            [s.watcher for s in self.agent.state.subscriptions.values()], ["sip:b@x", "sip:c@x"]
        )

    def test_no_waiting_watchers(self) -> None:
        """A limit of none still answers fetches and ends pending ones (6665 §4.4.3)."""
        self.agent = Agent(self.package, limits=Limits(waiting=0))
        self.package.default = "confirm"
        (notify,) = self.agent.subscribe(subscribe(expires=0))
        self.assertTrue(notify.final)
        (first,) = self.agent.subscribe(subscribe(call_id="b"))
        self.agent.now += 3600
        self.agent.answer(first)
        (notify,) = self.agent.expire()
        self.assertEqual(read(notify).get("Subscription-State"), "terminated;reason=giveup")
        self.assertEqual(self.agent.state.subscriptions, {})

    def test_a_new_subscription_replaces_the_waiting_one(self) -> None:
        """One with the same wish makes the waiting one redundant: giveup (3857 §4.7.1)."""
        self.package.default = "confirm"
        self.agent.subscribe(subscribe(expires=0))
        waiting = self.agent.one()
        outcome = self.agent.subscribing.decide(
            subscribe(call_id="b"), self.agent.state, self.agent.now, self.agent.identifiers
        )
        self.assertEqual(
            outcome.changes.entries[Subscription, waiting.id], Removed(waiting, "giveup")
        )
        outcome = self.agent.subscribing.decide(
            subscribe(call_id="b", event="presence;x=y"),
            self.agent.state,
            self.agent.now,
            self.agent.identifiers,
        )
        self.assertNotIn((Subscription, waiting.id), outcome.changes.entries)
