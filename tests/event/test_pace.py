"""Rate control (RFC 6446), and the notifier's own pace."""

from math import inf

from twisted.trial.unittest import SynchronousTestCase

from simplestack.event.limits import Limits
from simplestack.event.notifier import NotifyRequest
from simplestack.event.pace import Pace, Rates, agree, check_rates
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import parse_event
from simplestack.state import ChangeSet
from tests.event.fakes import (
    ALICE,
    UNPACED,
    Agent,
    FakePackage,
    PartialPackage,
    publication,
    read,
    rules,
    subscribe,
)
from tests.event.test_partialpresence import ACCEPT, PresenceLike, Watching

CAROL = "sip:carol@example.com"


class AgreementTests(SynchronousTestCase):
    """What becomes of the rates that are asked for."""

    def agreed(self, asked: str, remaining: int = 3600, interval: float = 0.0) -> Rates:
        """The rates, where our own repeats come at most every 5 seconds."""
        rates = agree(asked, remaining, interval, 5)
        assert rates is not None
        return rates

    def test_none(self) -> None:
        """Who asks for none has none (§4.2)."""
        self.assertIsNone(agree("", 3600, 5, 5))
        self.assertIsNone(agree(";colour=blue;my-rate=2", 3600, 5, 5))

    def test_as_asked(self) -> None:
        """What can be granted is echoed as it was asked for (§5.2, §6.2, §7.2)."""
        rates = self.agreed(";max-rate=0.5;x=1;min-rate=0.010")
        self.assertEqual(rates, Rates(2.0, 100.0, 0.0, ";max-rate=0.5;min-rate=0.010"))
        self.assertEqual(self.agreed(";adaptive-min-rate=0.05").text, ";adaptive-min-rate=0.05")

    def test_not_beyond_the_end(self) -> None:
        """A max-rate that would tell nothing before the end is raised (§5.3)."""
        rates = self.agreed(";max-rate=0.0001", remaining=600)
        self.assertLessEqual(rates.shortest, 600)
        self.assertEqual(rates.text, ";max-rate=0.0016666667")

    def test_min_above_max(self) -> None:
        """min-rate and adaptive-min-rate are lowered to max-rate (§8)."""
        rates = self.agreed(";max-rate=0.02;min-rate=0.1;adaptive-min-rate=0.15")
        self.assertEqual(rates.text, ";max-rate=0.02;adaptive-min-rate=0.02")
        self.assertEqual(self.agreed(";max-rate=0.02;min-rate=0.1").longest, 50.0)

    def test_min_above_adaptive(self) -> None:
        """min-rate is not considered where adaptive-min-rate is lower (§8)."""
        self.assertEqual(
            self.agreed(";min-rate=0.1;adaptive-min-rate=0.05").text, ";adaptive-min-rate=0.05"
        )
        self.assertEqual(self.agreed(";min-rate=0.01;adaptive-min-rate=0.05").longest, 100.0)

    def test_our_policy(self) -> None:
        """The server's own interval lowers max-rate, and repeats are bounded (§4.2, §6.3)."""
        self.assertEqual(self.agreed(";max-rate=2", interval=5).text, ";max-rate=0.2")
        self.assertEqual(self.agreed(";min-rate=10").text, ";min-rate=0.2")

    def test_no_rates(self) -> None:
        """The values are decimals above zero and below 100 (§5.1, §9.2)."""
        for good in ("0.0000000001", "99.9999999999", "1", "10"):
            check_rates({"max-rate": good})
        for bad in ("0", "0.0", "-1", "100", "1.", ".5", "1e3", "x", None, "0.00000000001"):
            for name in ("max-rate", "min-rate", "adaptive-min-rate"):
                error = self.assertRaises(SIPError, check_rates, {name: bad})
                self.assertEqual(error.status, 400)


class AdaptiveTests(SynchronousTestCase):
    """The formula of §7.4."""

    def test_steady(self) -> None:
        """Told at the rate itself, the next is due after its reciprocal (§7.4, equation 1)."""
        pace = Pace(Rates(adaptive=0.1), 0.0)
        now = 0.0
        for _ in range(30):
            pace.told(now)
            self.assertAlmostEqual(pace.due - now, 10.0, delta=1.01)
            now = pace.due

    def test_much_then_little(self) -> None:
        """After a burst the pause is long, and shorter after each quiet spell (§7.2)."""
        pace = Pace(Rates(adaptive=0.1), 0.0)
        for second in range(50):
            pace.told(float(second))
        self.assertGreater(pace.due, 49 + 50)
        pace.told(149.0 + 50)
        self.assertLessEqual(pace.due - 199.0, 10.0)

    def test_both(self) -> None:
        """Never sooner than max-rate lets (§7.4, equation 2)."""
        pace = Pace(Rates(shortest=30.0, adaptive=0.1), 0.0)
        pace.told(500.0)
        self.assertEqual(pace.due, 530.0)

    def test_bounded(self) -> None:
        """What is remembered is bounded however long the period is."""
        pace = Pace(Rates(adaptive=1e-10), 0.0)
        for second in range(1000):
            pace.told(float(second))
        assert pace._history is not None
        self.assertLessEqual(len(pace._history), 100)
        self.assertLess(pace.due, inf)


class Case(SynchronousTestCase):
    """An agent in time."""

    limits = UNPACED

    def setUp(self) -> None:
        """An agent with one package."""
        self.package = FakePackage()
        self.agent = Agent(self.package, limits=self.limits)
        self.cseq = 1

    def join(self, rates: str = "", identity: str = ALICE, *headers: str) -> NotifyRequest:
        """An initial SUBSCRIBE, its NOTIFY answered."""
        (notify,) = self.agent.subscribe(
            subscribe(
                event=f"presence{rates}", identity=identity, call_id=identity, headers=headers
            )
        )
        self.agent.answer(notify)
        return notify

    def again(self, rates: str = "", expires: int = 3600) -> NotifyRequest:
        """A SUBSCRIBE in Alice's dialog."""
        self.cseq += 1
        (record,) = [r for r in self.agent.state.subscriptions.values() if r.watcher == ALICE]
        (notify,) = self.agent.subscribe(
            subscribe(
                event=f"presence{rates}",
                expires=expires,
                to_tag=record.local_tag,
                call_id=ALICE,
                cseq=self.cseq,
            )
        )
        self.agent.answer(notify)
        return notify

    def put(self, body: bytes) -> list[NotifyRequest]:
        """A change; NOTIFYs are answered."""
        notifies = self.agent.put(publication("p", body))
        for notify in notifies:
            self.agent.answer(notify)
        return notifies

    def passes(self, seconds: int) -> list[tuple[int, NotifyRequest]]:
        """Time passes; NOTIFYs with the second in which they came."""
        told: list[tuple[int, NotifyRequest]] = []
        for second in range(1, seconds + 1):
            self.agent.now += 1
            boundary = self.agent.notifier.boundary(self.agent.now)
            if boundary is None or boundary > self.agent.now:
                continue
            changes = ChangeSet(self.agent.state.aor)
            notifications = self.agent.notifier.tick(changes, self.agent.now)
            for notify in self.agent.release(notifications, changes):
                told.append((second, notify))
                self.agent.answer(notify)
        return told

    def bodies(self, told: list[tuple[int, NotifyRequest]]) -> list[tuple[int, bytes]]:
        """When, and what."""
        return [(second, read(notify).body) for second, notify in told]


class MaxRateTests(Case):
    """max-rate."""

    def test_newest_state(self) -> None:
        """Changes wait for the reciprocal of max-rate, and the newest is told (§5.2, §5.5.2)."""
        notify = self.join(";max-rate=0.1")
        self.assertEqual(read(notify).get("Subscription-State"), "active;expires=3600;max-rate=0.1")
        self.assertEqual(self.put(b"1"), [])
        self.assertEqual(self.bodies(self.passes(4)), [])
        self.assertEqual(self.put(b"2"), [])
        ((second, notify),) = self.passes(20)
        self.assertEqual((second, read(notify).body), (6, b"2"))
        self.assertEqual(read(notify).get("Subscription-State"), "active;expires=3590;max-rate=0.1")
        # Long after the last one it is told at once.
        self.assertEqual(len(self.put(b"3")), 1)

    def test_per_dialog(self) -> None:
        """The others are told at their own pace."""
        self.join(";max-rate=0.1")
        self.join("", CAROL)
        (notify,) = self.put(b"1")
        self.assertEqual(notify.subscription.watcher, CAROL)
        self.assertEqual([n.subscription.watcher for _, n in self.passes(20)], [ALICE])

    def test_back_again(self) -> None:
        """What is as it was when the time comes is not told."""
        self.put(b"1")
        self.join(";max-rate=0.1")
        self.put(b"2")
        self.put(b"1")
        self.assertEqual(self.passes(30), [])

    def test_refresh_at_once(self) -> None:
        """A SUBSCRIBE is answered at once, with the newest state, which is told only once."""
        self.join(";max-rate=0.1")
        self.put(b"1")
        notify = self.again(";max-rate=0.1")
        self.assertEqual(read(notify).body, b"1")
        self.assertEqual(self.passes(30), [])

    def test_removed(self) -> None:
        """A refresh without max-rate removes it (§5.1)."""
        self.join(";max-rate=0.1")
        notify = self.again()
        self.assertEqual(read(notify).get("Subscription-State"), "active;expires=3600")
        self.assertEqual(len(self.put(b"1")), 1)
        self.assertEqual(len(self.put(b"2")), 1)

    def test_approved_at_once(self) -> None:
        """Becoming active is told at once (§5.2)."""
        self.package.default = "confirm"
        self.join(";max-rate=0.001")
        self.package.default = "allow"
        (notify,) = self.agent.put(rules())
        self.assertTrue((read(notify).get("Subscription-State") or "").startswith("active"))

    def test_end_at_once(self) -> None:
        """The end is told at once, without rates (§5.2)."""
        self.join(";max-rate=0.001")
        self.put(b"1")
        notify = self.again(";max-rate=0.001", expires=0)
        self.assertEqual(read(notify).get("Subscription-State"), "terminated;reason=timeout")
        self.assertEqual(read(notify).body, b"1")
        self.assertIsNone(self.agent.notifier.boundary(self.agent.now))

    def test_partial_documents_merged(self) -> None:
        """Of partial documents those held back are merged (§5.5.1, §5.4 Partial-state)."""
        self.package = PartialPackage()
        self.agent = Agent(self.package)
        self.join(";max-rate=0.1")
        for name, body in (("a", b"1"), ("b", b"1"), ("a", b"2")):
            self.assertEqual(self.agent.put(publication(name, body)), [])
        ((_, notify),) = self.passes(10)
        self.assertEqual(read(notify).body, b"partial 1\na=2\nb=1")

    def test_restart(self) -> None:
        """After a restart the rates are those agreed on."""
        self.join(";max-rate=0.1")
        self.agent.restart()
        changes = ChangeSet(self.agent.state.aor)
        (notify,) = self.agent.release(
            self.agent.notifier.full_state(changes, self.agent.now), changes
        )
        self.assertIn(";max-rate=0.1", read(notify).get("Subscription-State") or "")
        self.agent.answer(notify)
        self.assertEqual(self.put(b"1"), [])
        self.assertEqual(self.bodies(self.passes(20)), [(10, b"1")])

    def test_bad_rate(self) -> None:
        """What is no rate gets 400 (§9.2)."""
        self.assertEqual(self.assertRaises(SIPError, self.join, ";max-rate=0").status, 400)

    def test_by_the_answer(self) -> None:
        """A 2xx to NOTIFY may ask for other rates, where the SUBSCRIBE asked for some (§4.1)."""
        self.join(";max-rate=0.1")
        self.join("", CAROL)
        self.put(b"1")
        subscribing, state = self.agent.subscribing, self.agent.state
        by_watcher = {r.watcher: r.id for r in state.subscriptions.values()}
        for bad in ("other;max-rate=1", "presence;max-rate=0", "presence;max-rate=0.1;x=1"):
            self.assertFalse(subscribing.repaced(state, by_watcher[ALICE], parse_event(bad)))
        self.assertFalse(
            subscribing.repaced(state, by_watcher[CAROL], parse_event("presence;max-rate=1"))
        )
        changes = subscribing.repaced(state, by_watcher[ALICE], parse_event("presence"))
        # Without rates nothing is to be held back any more.
        (notify,) = self.agent.change(changes)
        self.assertEqual(read(notify).body, b"1")
        self.assertEqual(read(notify).get("Subscription-State"), "active;expires=3600")


class MinRateTests(Case):
    """min-rate and adaptive-min-rate."""

    def test_nothing_new(self) -> None:
        """The state is told again though nothing has changed (§6.2)."""
        notify = self.join(";min-rate=0.05")
        self.assertEqual(
            read(notify).get("Subscription-State"), "active;expires=3600;min-rate=0.05"
        )
        told = self.passes(45)
        self.assertEqual(self.bodies(told), [(20, b"closed"), (40, b"closed")])
        # A change is told at once, and the time counts from it.
        self.assertEqual(len(self.put(b"1")), 1)
        self.assertEqual(self.bodies(self.passes(25)), [(20, b"1")])

    def test_suppressed(self) -> None:
        """Where a condition holds what has not changed is not told (§6.2, 5839 §6.3)."""
        tag = read(self.join(";min-rate=0.05")).etag
        self.cseq += 1
        record = self.agent.one()
        told = self.agent.subscribe(
            subscribe(
                event="presence;min-rate=0.05",
                to_tag=record.local_tag,
                call_id=ALICE,
                cseq=2,
                headers=[f"Suppress-If-Match: {tag}"],
            )
        )
        self.assertEqual(told, [])
        self.assertEqual(self.passes(100), [])
        self.assertEqual(len(self.put(b"1")), 1)
        self.assertEqual(self.bodies(self.passes(20)), [(20, b"1")])

    def test_empty_difference(self) -> None:
        """Partial state "showing the difference" is then an empty one (§6.2)."""
        self.package = PresenceLike()
        self.agent = Agent(self.package)
        watching = Watching()
        watching.take(self.join(";min-rate=0.05", ALICE, ACCEPT))
        ((_, notify),) = self.passes(25)
        watching.take(notify)
        self.assertEqual((watching.kinds, watching.version), (["full", "diff"], 2))

    def test_adaptive(self) -> None:
        """Adaptively it is told at about the rate while nothing happens (§7.2)."""
        self.join(";adaptive-min-rate=0.1")
        told = self.passes(200)
        self.assertTrue(15 <= len(told) <= 25, len(told))
        for number in range(60):
            self.agent.now += 1
            self.put(b"%d" % number)
        # Much has been told: there is a pause now.
        self.assertEqual(self.passes(40), [])

    def test_max_and_min(self) -> None:
        """Together they bound the rate from both sides (§8)."""
        self.join(";max-rate=0.1;min-rate=0.02")
        told = []
        for number in range(30):
            self.put(b"%d" % number)
            told += self.passes(1)
        self.assertEqual(len(told), 3)
        self.assertEqual([second for second, _ in self.passes(100)], [50, 100])

    def test_slow_subscriber(self) -> None:
        """While an answer is awaited nothing is repeated."""
        (notify,) = self.agent.subscribe(subscribe(event="presence;min-rate=0.1"))
        self.assertEqual(self.passes(30), [])
        self.assertEqual(self.agent.answer(notify), [])
        self.assertEqual(len(self.passes(10)), 1)


class OwnPaceTests(Case):
    """The notifier's own interval, for each view."""

    limits = Limits(notify_interval=5)

    def test_first_at_once(self) -> None:
        """The first change is told at once, those within the interval together after it."""
        self.join()
        self.assertEqual(len(self.put(b"1")), 1)
        self.assertEqual(self.put(b"2"), [])
        self.passes(3)
        self.assertEqual(self.put(b"3"), [])
        self.assertEqual(self.bodies(self.passes(10)), [(2, b"3")])
        self.assertEqual(len(self.put(b"4")), 1)
        self.assertIsNone(self.agent.notifier.boundary(self.agent.now))

    def test_shared(self) -> None:
        """The body is made once for all who wait."""
        for number in range(20):
            self.join("", f"sip:w{number}@example.com")
        self.put(b"1")
        self.put(b"2")
        self.package.built = 0
        told = self.passes(10)
        self.assertEqual(len(told), 20)
        self.assertEqual(self.package.built, 1)

    def test_refresh_at_once(self) -> None:
        """A SUBSCRIBE gets the newest state at once, and is not told it again."""
        self.join()
        self.join("", CAROL)
        self.put(b"1")
        self.put(b"2")
        self.assertEqual(read(self.again()).body, b"2")
        self.assertEqual([n.subscription.watcher for _, n in self.passes(10)], [CAROL])

    def test_back_again(self) -> None:
        """What is as it was when the interval is over is not told."""
        self.join()
        self.put(b"1")
        self.put(b"2")
        self.put(b"1")
        self.assertEqual(self.passes(10), [])

    def test_partial_documents_merged(self) -> None:
        """Of partial documents those held back are merged."""
        self.package = PartialPackage()
        self.agent = Agent(self.package, limits=self.limits)
        self.join()
        self.put(b"1")
        for name, body in (("a", b"1"), ("b", b"1"), ("a", b"2")):
            self.assertEqual(self.agent.put(publication(name, body)), [])
        ((_, notify),) = self.passes(10)
        self.assertEqual(read(notify).body, b"partial 2\na=2\nb=1")

    def test_end_at_once(self) -> None:
        """The end is told at once, and leaves nothing."""
        self.join()
        self.put(b"1")
        self.put(b"2")
        self.assertEqual(read(self.again(expires=0)).body, b"2")
        self.assertEqual(self.passes(10), [])
        self.assertEqual(self.agent.notifier._resting, {})

    def test_other_rights_at_once(self) -> None:
        """Who sees something else by a change of the rules is told at once, and loses nothing."""
        self.join()
        self.join("", CAROL)
        self.put(b"1")
        self.put(b"2")
        self.package.permissions[ALICE] = "nothing"
        (told,) = self.agent.put(rules(b"less"))
        self.assertEqual((told.subscription.watcher, read(told).body), (ALICE, b"closed"))
        self.agent.answer(told)
        self.package.handlings[ALICE] = "block"
        (told,) = self.agent.put(rules(b"none"))
        self.assertTrue(told.final)
        self.agent.answer(told)
        self.assertEqual([n.subscription.watcher for _, n in self.passes(10)], [CAROL])

    def test_slower_subscriber(self) -> None:
        """Who wants less often gets it less often."""
        self.join(";max-rate=0.1")
        told = []
        for number in range(40):
            self.put(b"%d" % number)
            told += self.passes(1)
        self.assertTrue(3 <= len(told) <= 4, told)
