"""Watcher information: RFC 3857 and RFC 3858."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.documents.watcherinfo import (
    MEDIA_TYPE,
    Watcher,
    WatcherInfo,
    WatcherList,
    parse_watcherinfo,
)
from simplestack.event.notifier import NotifyRequest
from simplestack.event.partial import partial_tag
from simplestack.interfaces import IEventPackage, IRole
from simplestack.roles.watcherinfo import WatcherInfo as WatcherInfoRole
from simplestack.roles.watcherinfo import WatcherInfoPackage
from simplestack.sip.errors import SIPError
from simplestack.state import ChangeSet, ResourceState
from tests.event.fakes import (
    ALICE,
    AOR,
    Agent,
    Counter,
    FakePackage,
    publication,
    read,
    rules,
    subscribe,
)

JOE = "sip:joe@example.com"
A = "sip:A@example.com"
CAROL = "sip:carol@example.com"


def document(request: NotifyRequest) -> WatcherInfo:
    """The watcher information in a NOTIFY."""
    message = read(request)
    if message.get("Content-Type") != "application/watcherinfo+xml":
        raise AssertionError(message.get("Content-Type"))
    return parse_watcherinfo(message.body)


class Case(SynchronousTestCase):
    """An agent for presence and its watcher information."""

    aor = AOR

    def setUp(self) -> None:
        """Start anew; a subscription to presence is pending."""
        self.presence = FakePackage()
        self.presence.default = "confirm"
        self.role = WatcherInfoRole([self.presence])
        self.agent = Agent(self.presence, *self.role.packages, aor=self.aor)

    def watch(self, who: str, event: str = "presence", **more: int) -> list[NotifyRequest]:
        """Subscribe."""
        return self.agent.subscribe(
            subscribe(
                identity=who,
                event=event,
                call_id=f"{who}{event}",
                contact=f"<{who or JOE};ob>",
                aor=self.aor,
                **more,  # type: ignore[arg-type]  # ints alone
            )
        )

    def answered(self, requests: list[NotifyRequest]) -> list[NotifyRequest]:
        """All of them, answered."""
        for request in requests:
            self.agent.answer(request)
        return requests


class FlowTests(Case):
    """RFC 3857 §5."""

    aor = JOE

    def test_flow(self) -> None:
        """The example: A is pending, then approved (3857 §5)."""
        self.answered(self.watch(A))
        (identifier,) = self.agent.state.subscriptions
        (notify,) = self.answered(self.watch(JOE, "presence.winfo"))
        message = read(notify)
        self.assertEqual(message.get("Event"), "presence.winfo")
        self.assertEqual(message.get("Subscription-State"), "active;expires=3600")
        watcher = Watcher(A, identifier, "pending", "subscribe", "Alice", 3600, 0)
        self.assertEqual(
            document(notify),
            WatcherInfo(0, "full", (WatcherList(JOE, "presence", (watcher,)),)),
        )
        self.presence.handlings[A] = "allow"
        self.agent.now += 10
        changes = ChangeSet(JOE, [rules()._replace(aor=JOE)])
        told = self.answered(self.agent.change(changes))
        self.assertEqual([read(n).get("Event") for n in told], ["presence.winfo", "presence"])
        approved = Watcher(A, identifier, "active", "approved", "Alice", 3590, 10)
        self.assertEqual(
            document(told[0]),
            WatcherInfo(1, "partial", (WatcherList(JOE, "presence", (approved,)),)),
        )


class AuthorizationTests(Case):
    """RFC 3857 §4.6."""

    def test_the_owner(self) -> None:
        """The owner may watch his watchers, and those who watch them (3857 §4.6)."""
        for event in ("presence.winfo", "presence.winfo.winfo"):
            (notify,) = self.watch(AOR, event)
            self.assertTrue(read(notify).body)

    def test_deeper(self) -> None:
        """Deeper recursions are no packages here, and only the owner has the second."""
        error = self.assertRaises(SIPError, self.watch, AOR, "presence.winfo.winfo.winfo")
        assert isinstance(error, SIPError)
        self.assertEqual(error.status, 489)
        error = self.assertRaises(SIPError, self.watch, ALICE, "presence.winfo.winfo")
        assert isinstance(error, SIPError)
        self.assertEqual(error.status, 403)

    def test_others(self) -> None:
        """Who is blocked, or has no name, sees no watcher information."""
        self.presence.handlings[ALICE] = "block"
        for who in (ALICE, ""):
            error = self.assertRaises(SIPError, self.watch, who, "presence.winfo")
            assert isinstance(error, SIPError)
            self.assertEqual(error.status, 403)

    def test_own_subscription(self) -> None:
        """A watcher sees his own subscription and no other, pending or not."""
        self.answered(self.watch(CAROL))
        (notify,) = self.answered(self.watch(ALICE, "presence.winfo"))
        self.assertEqual(document(notify).lists[0].watchers, ())
        told = self.answered(self.watch(ALICE))
        (mine,) = [n for n in told if n.subscription.package == "presence.winfo"]
        (watcher,) = document(mine).lists[0].watchers
        self.assertEqual((watcher.uri, watcher.status), (ALICE, "pending"))
        self.presence.handlings[CAROL] = "allow"
        told = self.answered(self.agent.put(rules()))
        self.assertEqual([n.subscription.watcher for n in told], [CAROL])

    def test_polite_block_is_not_told(self) -> None:
        """A polite block looks like an approval there, too (3857 §4.7.2)."""
        seen = []
        for handling in ("allow", "polite-block"):
            self.setUp()
            self.answered(self.watch(ALICE))
            self.answered(self.watch(ALICE, "presence.winfo"))
            self.presence.default = handling
            told = self.answered(self.agent.put(rules()))
            seen.append([read(n).to_bytes() for n in told])
        self.assertEqual(*seen)


class DocumentTests(Case):
    """RFC 3857 §4.7, RFC 3858 §3."""

    def last(self, requests: list[NotifyRequest]) -> tuple[str, list[tuple[str, str, str]]]:
        """The document that the owner is sent: its state, and its watchers."""
        self.answered(requests)
        (mine,) = [n for n in requests if n.subscription.watcher == AOR]
        got = document(mine)
        return got.state, [(w.uri, w.status, w.event) for w in got.lists[0].watchers]

    def test_life_of_a_watcher(self) -> None:
        """Pending, waiting by timeout, given up by a new one; each reported (3857 §4.7.1)."""
        self.answered(self.watch(AOR, "presence.winfo", expires=80000))
        self.assertEqual(
            self.last(self.watch(ALICE, expires=60)), ("partial", [(ALICE, "pending", "subscribe")])
        )
        self.agent.now += 60
        self.assertEqual(
            self.last(self.agent.expire()), ("partial", [(ALICE, "waiting", "timeout")])
        )
        self.assertEqual(
            self.last(self.watch(ALICE, expires=60, cseq=2)),
            ("partial", [(ALICE, "terminated", "giveup"), (ALICE, "pending", "subscribe")]),
        )
        self.presence.default = "block"
        self.assertEqual(
            self.last(self.agent.put(rules())), ("partial", [(ALICE, "terminated", "rejected")])
        )

    def test_waiting_watcher_is_in_full_state(self) -> None:
        """A fetch without permission is found later, with when and how long (3857 §4.7.1)."""
        self.answered(self.watch(ALICE, expires=0))
        self.agent.now += 100
        (notify,) = self.watch(AOR, "presence.winfo")
        (watcher,) = document(notify).lists[0].watchers
        self.assertEqual(watcher[2:], ("waiting", "timeout", "Alice", 7 * 86400 - 100, 100, None))

    def test_transient_states(self) -> None:
        """A fetch by an authorized watcher is not reported (3857 §4.7.2)."""
        self.presence.default = "allow"
        self.answered(self.watch(AOR, "presence.winfo"))
        told = self.answered(self.watch(ALICE, expires=0))
        self.assertEqual([n.subscription.package for n in told], ["presence"])

    def test_publications_don_t_matter(self) -> None:
        """Watcher information does not change with the state that is watched."""
        self.answered(self.watch(AOR, "presence.winfo"))
        self.assertEqual(self.agent.put(publication("p", b"open")), [])

    def test_second_level(self) -> None:
        """presence.winfo.winfo reports who watches presence.winfo, to the owner alone."""
        self.answered(self.watch(AOR, "presence.winfo.winfo"))
        told = self.answered(self.watch(ALICE, "presence.winfo"))
        (notify,) = [n for n in told if n.subscription.watcher == AOR]
        (listed,) = document(notify).lists
        self.assertEqual((listed.resource, listed.package), (AOR, "presence.winfo"))
        self.assertEqual([w.uri for w in listed.watchers], [ALICE])

    def test_anonymous_watcher(self) -> None:
        """A watcher without identity is shown as anonymous (3323 §4.1.1.3)."""
        self.answered(self.watch(""))
        (notify,) = self.watch(AOR, "presence.winfo")
        (watcher,) = document(notify).lists[0].watchers
        self.assertEqual(watcher.uri, "sip:anonymous@anonymous.invalid")

    def test_terminated_has_no_expiration(self) -> None:
        """What is over does not expire (3858 §3)."""
        self.presence.default = "allow"
        self.answered(self.watch(AOR, "presence.winfo"))
        self.answered(self.watch(ALICE))
        (record,) = [s for s in self.agent.state.subscriptions.values() if s.watcher == ALICE]
        told = self.agent.change(
            self.agent.subscribing.revoke(self.agent.state, record.id, "noresource")
        )
        (watcher,) = document(told[0]).lists[0].watchers
        self.assertEqual(watcher.event, "noresource")
        self.assertIsNone(watcher.expiration)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["join", "fetch", "allow", "block", "confirm", "clock", "answer"]),
                st.sampled_from([ALICE, CAROL, A]),
            ),
            max_size=25,
        )
    )
    def test_partial_documents_add_up(self, steps: list[tuple[str, str]]) -> None:
        """What a subscriber puts together is the state of all watchers (3858 §4)."""
        self.setUp()
        agent = self.agent
        table: dict[str, tuple[str, str]] = {}
        version = -1
        under_way: list[NotifyRequest] = []

        def take(requests: list[NotifyRequest]) -> None:
            nonlocal version
            for request in requests:
                if request.subscription.watcher != AOR:
                    take(agent.answer(request))
                    continue
                under_way.append(request)
                got = document(request)
                self.assertEqual(got.version, version + 1)
                version = got.version
                if got.state == "full":
                    table.clear()
                for w in got.lists[0].watchers:
                    table[w.id] = (w.status, w.event)
                    if w.status == "terminated":
                        del table[w.id]

        def settle() -> None:
            while under_way:
                take(agent.answer(under_way.pop()))

        take(self.watch(AOR, "presence.winfo", expires=80000))
        for n, (name, who) in enumerate(steps):
            agent.now += 1
            if name == "clock":
                agent.now += 100
                take(agent.expire())
            elif name == "answer":
                settle()
            elif name in ("join", "fetch"):
                if self.presence.handlings.get(who) != "block":
                    take(
                        agent.subscribe(
                            subscribe(
                                identity=who,
                                call_id=f"c{n}",
                                expires=60 if name == "join" else 0,
                            )
                        )
                    )
            else:
                self.presence.handlings[who] = name
                take(agent.put(rules(name.encode())))
        settle()
        self.assertEqual(
            table,
            {
                s.id: (s.status, s.event)
                for s in agent.state.subscriptions.values()
                if s.package == "presence"
            },
        )


class InterfaceTests(SynchronousTestCase):
    """What the house expects of roles and packages."""

    def test_interfaces(self) -> None:
        """The role and its packages provide what they say."""
        role = WatcherInfoRole([FakePackage("presence"), FakePackage("reg")])
        verifyObject(IRole, role)
        for package in role.packages:
            verifyObject(IEventPackage, package)
        self.assertEqual(
            [package.name for package in role.packages],
            ["presence.winfo", "presence.winfo.winfo", "reg.winfo", "reg.winfo.winfo"],
        )

    def test_no_method_is_its_own(self) -> None:
        """The role decides no request and has no records."""
        role = WatcherInfoRole([])
        self.assertEqual(role.methods, frozenset())
        state = ResourceState(AOR)
        self.assertRaises(SIPError, role.decide, subscribe(), state, 0.0, Counter())
        self.assertFalse(role.expire(state, 0.0))

    def test_default_expires(self) -> None:
        """One hour, where SUBSCRIBE says nothing (3857 §4.4)."""
        self.assertEqual(WatcherInfoPackage(FakePackage()).default_expires, 3600)

    def test_order(self) -> None:
        """The entity-tag is the same in whichever order a database gives the watchers (5839 §4)."""
        agent = Agent(FakePackage())
        for name in "bca":
            agent.subscribe(subscribe(identity=f"sip:{name}@example.com", call_id=name))
        watchers = [*agent.state.subscriptions.values()]
        self.assertEqual(len(watchers), 3)
        package = WatcherInfoPackage(FakePackage())
        self.assertEqual(
            partial_tag(package, ResourceState(AOR, watchers), "*", MEDIA_TYPE),
            partial_tag(package, ResourceState(AOR, watchers[::-1]), "*", MEDIA_TYPE),
        )
