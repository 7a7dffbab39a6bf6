"""Who is told what, and when: RFC 6665 §4.2.2."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.event.limits import Limits
from simplestack.event.notifier import NotifyRequest
from simplestack.interfaces import Body
from simplestack.state import ChangeSet, Removed, Subscription
from tests.event.fakes import (
    ALICE,
    AOR,
    Agent,
    FakePackage,
    PartialPackage,
    publication,
    read,
    rules,
    subscribe,
)
from tests.event.records import subscription

CAROL = "sip:carol@example.com"


def said(request: NotifyRequest) -> tuple[str | None, bytes]:
    """Subscription-State and body of a NOTIFY."""
    message = read(request)
    return message.get("Subscription-State"), message.body


class Case(SynchronousTestCase):
    """An agent with one package of full documents."""

    def setUp(self) -> None:
        """Start anew."""
        self.package = FakePackage()
        self.agent = Agent(self.package)

    def join(self, identity: str = ALICE) -> Subscription:
        """Subscribe, answer the first NOTIFY; the record."""
        before = set(self.agent.state.subscriptions)
        (notify,) = self.agent.subscribe(subscribe(identity=identity, call_id=identity))
        self.agent.answer(notify)
        (new,) = set(self.agent.state.subscriptions) - before
        return self.agent.state.subscriptions[new]


class ViewTests(Case):
    """A body is built once for all who see the same."""

    def test_one_body_for_all(self) -> None:
        """Fifty watchers of a view share one body, which is built once."""
        self.agent = Agent(self.package)
        for n in range(50):
            self.join(f"sip:w{n}@example.com")
        self.package.built = 0
        notifications = self.agent.decide(ChangeSet(AOR, [publication("p", b"open")]))
        self.assertEqual(len(notifications), 50)
        self.assertEqual(self.package.built, 1)
        self.assertEqual(len({id(n.body) for n in notifications}), 1)

    def test_views_by_permission(self) -> None:
        """Who may see different things sees different bodies (6665 §4.2.1.3)."""
        self.package.handlings[CAROL] = "polite-block"
        self.join()
        self.join(CAROL)
        told = self.agent.put(publication("p", b"open"))
        # For the polite-blocked nothing changes, so that there is nothing to tell.
        self.assertEqual([said(n) for n in told], [("active;expires=3600", b"open")])

    def test_nothing_new(self) -> None:
        """A body that stays the same sends no NOTIFY (6665 §4.2.2)."""
        self.join()
        self.assertEqual(len(self.agent.put(publication("p", b"open"))), 1)
        self.assertEqual(self.agent.put(publication("p", b"open")), [])

    def test_nobody_there(self) -> None:
        """Without subscriptions a change asks no package for anything."""
        self.agent.put(publication("p", b"open"))
        self.assertEqual(self.package.built, 0)

    def test_other_packages_are_not_asked(self) -> None:
        """A change asks only packages that have subscriptions."""
        other = PartialPackage("reg")
        self.agent = Agent(self.package, other)
        self.join()
        self.agent.put(publication("p", b"open"))
        self.assertEqual(other.built, 0)

    def test_content_types(self) -> None:
        """Each gets a type of its own Accept; a refresh may change it (3856 §6.7)."""
        self.package.content_types = ("text/state", "text/other")
        (notify,) = self.agent.subscribe(subscribe(headers=["Accept: text/other"]))
        self.assertEqual(read(notify).get("Content-Type"), "text/other")
        self.agent.answer(notify)
        tag = self.agent.one().local_tag
        (notify,) = self.agent.subscribe(subscribe(to_tag=tag, cseq=2))
        self.assertEqual(read(notify).get("Content-Type"), "text/state")

    def test_no_views_are_left(self) -> None:
        """When the last subscription has ended nothing of its view is kept."""
        record = self.join()
        (notify,) = self.agent.change(
            self.agent.subscribing.revoke(self.agent.state, record.id, "noresource")
        )
        self.assertEqual(said(notify), ("terminated;reason=noresource", b""))
        self.agent.answer(notify)
        self.assertEqual(len(self.agent.notifier), 0)
        self.assertIsNone(self.agent.notifier.boundary(self.agent.now))

    def test_polite_block_looks_like_closed(self) -> None:
        """Header for header and octet for octet a polite block is a closed resource (5025 §3.2.1)."""
        seen = []
        for handling in ("allow", "polite-block"):
            package = FakePackage()
            package.default = handling
            agent = Agent(package)
            told = agent.subscribe(subscribe())
            assert agent.response is not None
            answer = agent.response.to_bytes()
            agent.answer(told[0])
            if handling == "polite-block":
                told += agent.put(publication("p", b"open"))
            agent.now += 10
            told += agent.subscribe(subscribe(to_tag=agent.one().local_tag, cseq=2, expires=300))
            agent.answer(told[-1])
            agent.now += 300
            told += agent.expire()
            seen.append([answer, *[read(n).to_bytes() for n in told]])
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(len(seen[0]), 4)


class DialogTests(Case):
    """At most one NOTIFY of a dialog waits for its answer."""

    def test_the_newest_waits(self) -> None:
        """While one is under way only the newest of the others is kept."""
        self.join()
        (first,) = self.agent.put(publication("p", b"1"))
        self.assertEqual(self.agent.put(publication("p", b"2")), [])
        self.assertEqual(self.agent.put(publication("p", b"3")), [])
        (second,) = self.agent.answer(first)
        self.assertEqual(said(second), ("active;expires=3600", b"3"))
        self.assertEqual((first.cseq, second.cseq), (2, 3))
        self.assertEqual(self.agent.answer(second), [])
        self.assertEqual(self.agent.answer(second), [])

    def test_remaining_time_of_one_that_waited(self) -> None:
        """The expires parameter is the time remaining when it is sent (6665 §4.2.2)."""
        self.join()
        (first,) = self.agent.put(publication("p", b"1"))
        self.agent.put(publication("p", b"2"))
        self.agent.now += 20.5
        (second,) = self.agent.answer(first)
        self.assertEqual(said(second), ("active;expires=3579", b"2"))

    def test_the_last_one_waits_its_turn(self) -> None:
        """The end of a subscription takes the place of what waited, and comes after the answer."""
        record = self.join()
        (first,) = self.agent.put(publication("p", b"1"))
        self.agent.put(publication("p", b"2"))
        self.assertEqual(
            self.agent.subscribe(
                subscribe(call_id=ALICE, to_tag=record.local_tag, cseq=2, expires=0)
            ),
            [],
        )
        (last,) = self.agent.answer(first)
        self.assertTrue(last.final)
        self.assertEqual(said(last), ("terminated;reason=timeout", b"2"))
        self.assertEqual(self.agent.answer(last), [])
        self.assertEqual(len(self.agent.notifier), 0)

    def test_decided_while_another_commits(self) -> None:
        """Notifications leave in the order of their turns, each after its own commit."""
        self.join()
        one = ChangeSet(AOR, [publication("p", b"1")])
        first = self.agent.decide(one)
        two = ChangeSet(AOR, [publication("p", b"2")])
        second = self.agent.decide(two)
        (sent,) = self.agent.notifier.release(first, self.agent.now)
        self.assertEqual(said(sent)[1], b"1")
        self.assertEqual(self.agent.notifier.release(second, self.agent.now), [])
        (sent,) = self.agent.answer(sent)
        self.assertEqual(said(sent)[1], b"2")

    def test_gone_before_its_release(self) -> None:
        """What was decided for a dialog that is gone meanwhile is not sent."""
        record = self.join()
        one = ChangeSet(AOR, [publication("p", b"1")])
        first = self.agent.decide(one)
        changes = ChangeSet(AOR)
        changes.remove(record, "timeout", silent=True)
        self.assertEqual(self.agent.decide(changes), [])
        self.agent.stored.apply(changes)
        self.assertEqual(self.agent.release(first, one), [])

    def test_cseq_blocks(self) -> None:
        """CSeq numbers are committed in blocks, and go on above them (3261 §12.2.1.1)."""
        self.agent = Agent(self.package, limits=Limits(cseq_block=3, notify_interval=0))
        record = self.join()
        self.assertEqual(record.cseq_reserved, 3)
        numbers = []
        for n in range(5):
            changes = ChangeSet(AOR, [publication("p", b"%d" % n)])
            (notify,) = self.agent.change(changes)
            numbers.append(notify.cseq)
            self.assertEqual(changes.touches(Subscription), notify.cseq in (4, 7))
            self.agent.answer(notify)
        self.assertEqual(numbers, [2, 3, 4, 5, 6])
        self.agent.restart()
        (notify,) = self.agent.put(publication("p", b"x"))
        self.assertEqual(notify.cseq, 7)

    def test_superseded_ones_use_no_numbers(self) -> None:
        """A notification that was never sent leaves its number to the next."""
        self.agent = Agent(self.package, limits=Limits(cseq_block=3, notify_interval=0))
        self.join()
        (first,) = self.agent.put(publication("p", b"a"))
        for n in range(10):
            self.agent.put(publication("p", b"%d" % n))
        self.assertEqual(self.agent.one().cseq_reserved, 6)
        (second,) = self.agent.answer(first)
        self.assertEqual(second.cseq, 3)


class RulesTests(Case):
    """New rules act in the same turn: RFC 3857 §4.7.1, RFC 3856 §6.7."""

    def change_rules(self, handling: str) -> list[NotifyRequest]:
        """Give everybody this handling, in a turn of its own."""
        self.package.default = handling
        return self.agent.put(rules(handling.encode()))

    def test_approved(self) -> None:
        """A pending one that is allowed becomes active and gets the state (3856 §6.7)."""
        self.package.default = "confirm"
        self.join()
        self.assertEqual(self.agent.put(publication("p", b"open")), [])
        (notify,) = self.change_rules("allow")
        self.assertEqual(said(notify), ("active;expires=3600", b"open"))
        self.assertEqual((self.agent.one().status, self.agent.one().event), ("active", "approved"))

    def test_politely_blocked(self) -> None:
        """A pending one that is politely blocked becomes active and sees nothing."""
        self.package.default = "confirm"
        self.join()
        self.agent.put(publication("p", b"open"))
        (notify,) = self.change_rules("polite-block")
        self.assertEqual(said(notify), ("active;expires=3600", b"closed"))

    def test_rejected(self) -> None:
        """Who is blocked ends by ``rejected``, without state (6665 §4.1.3)."""
        for before in ("confirm", "allow"):
            self.setUp()
            self.package.default = before
            self.join()
            (notify,) = self.change_rules("block")
            self.assertEqual(said(notify), ("terminated;reason=rejected", b""))
            self.assertEqual(self.agent.state.subscriptions, {})

    def test_permission_taken_back(self) -> None:
        """An active one can't be pending again: it is deactivated, to subscribe anew."""
        self.join()
        (notify,) = self.change_rules("confirm")
        self.assertEqual(said(notify), ("terminated;reason=deactivated", b""))

    def test_view_changes(self) -> None:
        """Who may see more or less is told so, if it looks different (5025 §3)."""
        self.join()
        self.agent.put(publication("p", b"open"))
        self.agent.answer(self.agent.unanswered(self.agent.one().id))
        (notify,) = self.change_rules("polite-block")
        self.assertEqual(said(notify), ("active;expires=3600", b"closed"))
        self.agent.answer(notify)
        (notify,) = self.change_rules("allow")
        self.assertEqual(said(notify), ("active;expires=3600", b"open"))
        self.agent.answer(notify)
        # The same seen by other permissions is nothing new.
        self.package.permissions[ALICE] = "other"
        self.assertEqual(self.agent.put(rules(b"more")), [])

    def test_answer_to_another(self) -> None:
        """A response is of the NOTIFY whose CSeq it has (3261 §17.1.3), and of no other."""
        self.join()
        (first,) = self.agent.put(publication("p", b"open"))
        self.agent.answer(first)
        (second,) = self.agent.put(publication("p", b"closed"))
        self.assertEqual(self.agent.put(publication("p", b"open")), [])
        for ok in (True, False):
            self.assertEqual(self.agent.answer(first, ok), [])
        self.assertTrue(self.agent.notifier.awaits(second.subscription.id, second.cseq))
        (third,) = self.agent.answer(second)
        self.assertEqual(said(third)[1], b"open")

    def test_told_after_a_restart(self) -> None:
        """Who was not told of the end that it did not ask for is told after a restart (6665 §4.2.2).

        The CSeq goes on, as often as it takes; who has answered hears no more.
        """
        record = self.join()
        (before,) = self.change_rules("block")
        for _ in range(2):
            self.agent.restart()
            self.assertEqual(self.agent.state.subscriptions, {})
            changes = ChangeSet(AOR)
            told = self.agent.notifier.full_state(changes, self.agent.now)
            (notify,) = self.agent.release(told, changes)
            self.assertTrue(notify.final)
            self.assertEqual(said(notify), ("terminated;reason=rejected", b""))
            self.assertEqual(read(notify).to.tag, record.remote_tag)
            self.assertGreater(notify.cseq, before.cseq)
            before = notify
        self.agent.answer(notify)
        self.agent.restart()
        self.assertEqual(len(self.agent.notifier), 0)
        self.assertEqual(list(self.agent.state), list(self.agent.state.documents.values()))

    def test_end_that_was_asked_for(self) -> None:
        """Who unsubscribes, or does not refresh, knows it: nothing is kept of that."""
        for expires in (0, 3600):
            self.agent = Agent(self.package)
            record = self.join()
            if expires:
                self.agent.now += expires
                self.agent.expire()
            else:
                again = subscribe(to_tag=record.local_tag, cseq=2, expires=0, call_id=ALICE)
                self.agent.subscribe(again)
            self.assertEqual(self.agent.state.ended, {})
            self.assertEqual(list(self.agent.state), [])

    def test_end_that_is_over(self) -> None:
        """When the subscription would have expired its subscriber knows, told or not."""
        self.join()
        self.change_rules("block")
        self.agent.restart()
        self.agent.now += 3600
        self.assertEqual(self.agent.expire(), [])
        self.assertEqual(self.agent.state.ended, {})

    def test_waiting_ones(self) -> None:
        """Approval and rejection end the wait, with nothing to send (3857 §4.7.1)."""
        for handling, event in (("allow", "approved"), ("block", "rejected")):
            self.setUp()
            self.package.default = "confirm"
            (notify,) = self.agent.subscribe(subscribe(expires=0))
            self.agent.answer(notify)
            record = self.agent.one()
            self.package.default = handling
            changes = ChangeSet(AOR, [rules()])
            self.agent.state.apply(changes)
            extra = self.agent.notifier.settle(changes, self.agent.now)
            self.assertEqual(list(extra.of(Subscription)), [Removed(record, event)])
            self.assertEqual(list(changes.of(Subscription)), [Removed(record, event)])
            self.assertEqual(self.agent.notifier.after(changes, (), self.agent.now), [])
            self.assertEqual(self.agent.state.subscriptions, {})

    def test_confirm_keeps_waiting(self) -> None:
        """While there is no decision pending and waiting ones stay as they are."""
        self.package.default = "confirm"
        self.join()
        self.assertEqual(self.change_rules("confirm"), [])


class ClockTests(Case):
    """Boundaries: state and rules that change by the clock."""

    def test_tick(self) -> None:
        """A boundary tells those for whom something looks different, and only those."""
        self.join()
        self.package.next_boundary = 2000.0
        self.agent.put(publication("p", b"open"))
        self.assertEqual(self.agent.notifier.boundary(self.agent.now), 2000.0)
        self.agent.now = 1999.0
        changes = ChangeSet(AOR)
        self.assertEqual(self.agent.notifier.tick(changes, self.agent.now), [])
        self.agent.now = 2000.0
        self.package.default = "polite-block"
        (notification,) = self.agent.notifier.tick(changes, self.agent.now)
        self.assertEqual(notification.body, Body("text/state", b"closed"))
        self.assertFalse(changes)

    def test_a_boundary_is_not_lost(self) -> None:
        """A change at the very time of a boundary does not make it forgotten."""
        self.package.next_boundary = 2000.0
        self.join()
        self.assertEqual(self.agent.notifier.boundary(self.agent.now), 2000.0)
        self.agent.now = 2000.0
        self.package.next_boundary = 3000.0
        self.agent.put(publication("p", b"open"))
        self.assertEqual(self.agent.notifier.boundary(self.agent.now), 2000.0)
        self.agent.notifier.tick(ChangeSet(AOR), self.agent.now)
        self.assertEqual(self.agent.notifier.boundary(self.agent.now), 3000.0)

    def test_rules_that_end(self) -> None:
        """A permission that ends by the clock ends the subscription then (4745 §7.2)."""
        self.package.next_boundary = 2000.0
        self.join()
        self.assertEqual(self.agent.notifier.boundary(self.agent.now), 2000.0)
        self.agent.now = 2000.0
        self.package.default = "block"
        changes = ChangeSet(AOR)
        (notification,) = self.agent.notifier.tick(changes, self.agent.now)
        self.assertEqual(notification.state_header, "terminated;reason=rejected")
        self.assertTrue(changes)
        self.assertEqual(self.agent.state.subscriptions, {})


class RestartTests(Case):
    """What was committed lives on."""

    def test_full_state(self) -> None:
        """After a restart everybody gets full state with a higher CSeq, pending ones none."""
        self.agent.put(publication("p", b"open"))
        self.join()
        self.package.handlings[CAROL] = "confirm"
        self.join(CAROL)
        self.agent.restart()
        changes = ChangeSet(AOR)
        notifications = self.agent.notifier.full_state(changes, self.agent.now)
        told = self.agent.release(notifications, changes)
        self.assertEqual(
            [said(n) for n in told],
            [("active;expires=3600", b"open"), ("pending;expires=3600", b"")],
        )
        self.assertEqual([n.cseq for n in told], [101, 101])
        self.assertEqual(
            [s.cseq_reserved for s in self.agent.stored.subscriptions.values()], [200, 200]
        )
        for n in told:
            self.agent.answer(n)
        self.assertEqual([said(n)[1] for n in self.agent.put(publication("p", b"x"))], [b"x"])

    def test_change_before_full_state(self) -> None:
        """Loaded subscriptions are told the next change, whatever they knew before."""
        self.agent.put(publication("p", b"open"))
        self.join()
        self.agent.restart()
        (notify,) = self.agent.put(publication("p", b"open"))
        self.assertEqual(said(notify), ("active;expires=3600", b"open"))
        self.assertEqual(notify.cseq, 101)

    def test_rules_changed_meanwhile(self) -> None:
        """Who is not allowed any more when the notifier is back is told just that."""
        self.join()
        self.agent.restart()
        self.package.default = "block"
        changes = ChangeSet(AOR)
        (notification,) = self.agent.notifier.full_state(changes, self.agent.now)
        self.assertEqual(notification.state_header, "terminated;reason=rejected")
        self.assertEqual(self.agent.state.subscriptions, {})

    def test_refresh_after_restart(self) -> None:
        """A refresh finds its dialog again, and the others are told nothing by it."""
        record = self.join()
        self.join(CAROL)
        self.agent.restart()
        (notify,) = self.agent.subscribe(subscribe(call_id=ALICE, to_tag=record.local_tag, cseq=2))
        self.assertEqual((notify.cseq, said(notify)[1]), (101, b"closed"))

    def test_shared_dialog(self) -> None:
        """The CSeq of a shared dialog rises whichever of its records are left."""
        self.agent = Agent(self.package, limits=Limits(cseq_block=2, notify_interval=0))
        record = self.join()
        for n in range(2):
            (notify,) = self.agent.subscribe(
                subscribe(call_id=ALICE, to_tag=record.local_tag, cseq=2 + n, event="presence;id=2")
            )
            self.agent.answer(notify)
        (notify,) = self.agent.subscribe(
            subscribe(call_id=ALICE, to_tag=record.local_tag, cseq=5, expires=0)
        )
        self.assertEqual(notify.cseq, 4)
        self.agent.restart()
        (notify,) = self.agent.put(publication("p", b"x"))
        self.assertGreater(notify.cseq, 4)

    def test_package_that_is_not_run_any_more(self) -> None:
        """Subscriptions of a role that is gone end in time, without state."""
        self.agent = Agent(self.package, records=[subscription(package="gone")])
        self.agent.now = 4600.0
        (notify,) = self.agent.expire()
        self.assertEqual(said(notify), ("terminated;reason=timeout", b""))
        self.agent.answer(notify)
        self.assertEqual(len(self.agent.notifier), 0)
