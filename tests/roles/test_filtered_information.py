"""Watcher filters of watcher information and registration information (RFC 4660 §7.2)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.reginfo import parse_reginfo
from simplestack.documents.schema import Schema
from simplestack.documents.watcherinfo import MEDIA_TYPE, WatcherInfo, parse_watcherinfo
from simplestack.documents.xml import parse_content
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.filtering import filtered, filtering_of, merged, triggered
from simplestack.event.notifier import NotifyRequest
from simplestack.interfaces import Body
from simplestack.roles.regevent import RegEvent
from simplestack.roles.watcherinfo import WatcherInfo as WatcherInfoRole
from simplestack.sip.errors import SIPError
from simplestack.state import ChangeSet
from tests.documents.examples import DIRECTORY
from tests.event.fakes import ALICE, AOR, Agent, FakePackage, read, rules, subscribe
from tests.event.records import subscription
from tests.roles.test_regevent import _BINDING as BINDING

PRESENTITY = "sip:presentity@example.com"
CAROL = "sip:carol@example.com"
ACTIVE = '<filter id="a"><what><include>//wi:watcher[@status="active"]</include></what></filter>'


def filter_set(inner: str) -> bytes:
    """A filter document."""
    return (
        f'<filter-set xmlns="{ns.SIMPLE_FILTER}"><ns-bindings>'
        f'<ns-binding prefix="wi" urn="{ns.WATCHERINFO}"/>'
        f'<ns-binding prefix="ri" urn="{ns.REGINFO}"/></ns-bindings>{inner}</filter-set>'
    ).encode()


def example(name: str) -> bytes:
    """A document of the RFC."""
    return (DIRECTORY / "rfc4660" / name).read_bytes()


#: Of §7.2.3, whose document is in a namespace that there is not.
REJECTED = (
    example("7.2.3-01.xml")
    .partition(b"</ns-bindings>")[2]
    .removesuffix(b"</filter-set>\n")
    .decode()
)


class ExampleTests(SynchronousTestCase):
    """The examples of RFC 4660 §7.2."""

    def leaves(self, filters: bytes, document: bytes) -> WatcherInfo:
        """What the filters leave of a document; it is valid."""
        kept = merged(b"", filters, PRESENTITY, "presence.winfo")
        found = filtering_of(subscription(aor=PRESENTITY, content_type=FILTER_TYPE, body=kept))
        assert found is not None
        assert found.what is not None
        made = filtered(Body(MEDIA_TYPE, document), found.what)
        Schema("watcherinfo").validate(parse_content(made.data))
        return parse_watcherinfo(made.data)

    def test_content(self) -> None:
        """§7.2.1: the active watchers; §7.2.2: those who are subscribed for long."""
        for name in ("7.2.1", "7.2.2"):
            left = self.leaves(example(f"{name}-01.xml"), example("7.2-01.xml"))
            self.assertEqual(left, parse_watcherinfo(example(f"{name}-02.xml")), name)

    def test_namespace(self) -> None:
        """§7.2.3 as it is printed is no filter document (488)."""
        error: SIPError = self.assertRaises(
            SIPError, merged, b"", example("7.2.3-01.xml"), PRESENTITY, "presence.winfo"
        )
        self.assertEqual(error.status, 488)
        self.assertIn("simple-filter", error.text)

    def test_trigger(self) -> None:
        """§7.2.3: only where a pending watcher was rejected, and only him."""
        first, second = example("7.2-01.xml"), example("7.2.3-02.xml")
        # The RFC gives all watchers the same id.
        for name in "ABCD":
            first, second = (
                _identified(document, f"sip:watcher{name}@", f"id{name}")
                for document in (first, second)
            )
        kept = merged(b"", filter_set(REJECTED), PRESENTITY, "presence.winfo")
        found = filtering_of(subscription(aor=PRESENTITY, content_type=FILTER_TYPE, body=kept))
        assert found is not None
        self.assertTrue(triggered(first, second, found.triggers))
        self.assertFalse(triggered(second, second, found.triggers))
        left = self.leaves(filter_set(REJECTED), example("7.2.3-02.xml"))
        self.assertEqual(left, parse_watcherinfo(example("7.2.3-03.xml")))


def _identified(document: bytes, uri: str, id_: str) -> bytes:
    """A document in which one watcher has another id."""
    root = parse_content(document)
    for node in root.iter(f"{{{ns.WATCHERINFO}}}watcher"):
        if (node.text or "").startswith(uri):
            node.set("id", id_)
    return etree.tostring(root)


class WatcherInfoTests(SynchronousTestCase):
    """Filters of presence.winfo."""

    def setUp(self) -> None:
        """Start anew; a subscription to presence is pending."""
        self.presence = FakePackage()
        self.presence.default = "confirm"
        self.agent = Agent(self.presence, *WatcherInfoRole([self.presence]).packages)
        self.cseq = 1

    def watch(
        self, filters: str, who: str = AOR, event: str = "presence.winfo", *headers: str
    ) -> list[NotifyRequest]:
        """Subscribe to watcher information, or refresh."""
        mine = [
            each for each in self.agent.state.subscriptions.values() if each.call_id == f"w{who}"
        ]
        self.cseq += 1
        body = filter_set(filters) if filters else b""
        lines = [*headers, *([f"Content-Type: {FILTER_TYPE}"] if filters else [])]
        return self.answered(
            self.agent.subscribe(
                subscribe(
                    identity=who,
                    event=event,
                    call_id=f"w{who}",
                    cseq=self.cseq,
                    headers=lines,
                    body=body,
                    expires=80000,
                    to_tag=mine[0].local_tag if mine else "",
                )
            )
        )

    def join(self, who: str, expires: int = 3600) -> list[NotifyRequest]:
        """Somebody subscribes to presence; the NOTIFYs of watcher information."""
        return self.answered(
            self.agent.subscribe(subscribe(identity=who, call_id=who, expires=expires))
        )

    def handle(self, who: str, handling: str) -> list[NotifyRequest]:
        """Let the rules say something else."""
        self.presence.handlings[who] = handling
        return self.answered(self.agent.put(rules(f"{who}{handling}".encode())))

    def answered(self, requests: list[NotifyRequest]) -> list[NotifyRequest]:
        """Answer all; those of watcher information."""
        for request in requests:
            self.assertEqual(self.agent.answer(request), [])
        return [each for each in requests if each.subscription.package != "presence"]

    def shown(self, notify: NotifyRequest) -> dict[str, str]:
        """The watchers in a NOTIFY by URI, and how they stand."""
        info = parse_watcherinfo(read(notify).body)
        self.assertEqual(info.state, "full")
        return {each.uri: each.status for one in info.lists for each in one.watchers}

    def test_content(self) -> None:
        """Of those who are not wanted nothing is told, not even that something has changed."""
        self.join(ALICE)
        (first,) = self.watch(ACTIVE)
        self.assertEqual(read(first).body, b"")
        self.assertEqual(self.join(CAROL), [])
        (notify,) = self.handle(ALICE, "allow")
        self.assertEqual(self.shown(notify), {ALICE: "active"})
        self.assertEqual(self.handle(CAROL, "block"), [])
        # Who is active no more leaves the table.
        (notify,) = self.handle(ALICE, "block")
        self.assertEqual(self.shown(notify), {})
        versions = [parse_watcherinfo(read(each).body).version for each in (notify,)]
        self.assertEqual(versions, [1])

    def test_attributes(self) -> None:
        """What the schema wants stays."""
        self.join(ALICE)
        (notify,) = self.watch(
            '<filter id="a"><what><include>//wi:watcher/@status</include></what></filter>'
        )
        body = read(notify).body
        Schema("watcherinfo").validate(parse_content(body))
        ((watcher,),) = [each.watchers for each in parse_watcherinfo(body).lists]
        self.assertEqual((watcher.uri, watcher.event), (ALICE, "subscribe"))
        self.assertIsNone(watcher.expiration)

    def test_trigger(self) -> None:
        """§7.2.3 at work: told when a pending watcher is rejected, once."""
        self.join(ALICE)
        self.join(CAROL)
        (first,) = self.watch(REJECTED.replace(PRESENTITY, AOR))
        self.assertEqual(read(first).body, b"")
        self.assertEqual(self.handle(ALICE, "allow"), [])
        (notify,) = self.handle(CAROL, "block")
        self.assertEqual(self.shown(notify), {CAROL: "terminated"})
        self.assertEqual(self.handle(ALICE, "block"), [])

    def test_trigger_alone(self) -> None:
        """Without <what> all is told where the trigger has happened (§5.3)."""
        self.join(ALICE)
        trigger = "<trigger><added>//wi:watcher</added></trigger>"
        (first,) = self.watch(f'<filter id="a">{trigger}</filter>')
        self.assertEqual(self.shown(first), {ALICE: "pending"})
        self.assertEqual(self.handle(ALICE, "allow"), [])
        (notify,) = self.join(CAROL)
        self.assertEqual(self.shown(notify), {ALICE: "active", CAROL: "pending"})

    def test_own_alone(self) -> None:
        """Who sees his own subscription alone sees no more by a filter."""
        self.join(ALICE)
        self.join(CAROL)
        every = '<filter id="a"><what><include>//wi:watcher</include></what></filter>'
        (notify,) = self.watch(every, ALICE)
        self.assertEqual(self.shown(notify), {ALICE: "pending"})
        self.assertEqual(self.handle(CAROL, "block"), [])

    def test_conditional(self) -> None:
        """The entity-tag is of what the filter leaves (RFC 5839 §4)."""
        self.join(ALICE)
        self.handle(ALICE, "allow")
        (first,) = self.watch(ACTIVE)
        tag = read(first).etag
        self.agent.now += 100
        self.join(CAROL)
        self.assertEqual(self.watch("", AOR, "presence.winfo", f"Suppress-If-Match: {tag}"), [])
        assert self.agent.response is not None
        self.assertEqual(self.agent.response.status, 204)
        self.assertEqual(len(self.handle(CAROL, "allow")), 1)

    def test_rate(self) -> None:
        """What is held back for a rate is told as a whole, or not at all."""
        (_,) = self.watch(ACTIVE, AOR, "presence.winfo;max-rate=0.1")
        self.presence.handlings[ALICE] = "allow"
        self.assertEqual(self.join(ALICE), [])
        self.assertEqual(self.join(CAROL), [])
        (notify,) = self.tick(20)
        self.assertEqual(self.shown(notify), {ALICE: "active"})
        self.assertEqual(self.handle(CAROL, "block"), [])
        self.assertEqual(self.tick(20), [])

    def tick(self, seconds: float) -> list[NotifyRequest]:
        """Let time pass."""
        self.agent.now += seconds
        changes = ChangeSet(AOR)
        told = self.agent.notifier.tick(changes, self.agent.now)
        return self.answered(self.agent.release(told, changes))

    def test_removed(self) -> None:
        """Without its filter the subscriber is told partial documents again."""
        self.join(ALICE)
        self.watch(ACTIVE)
        (notify,) = self.watch('<filter id="a" remove="true"/>')
        self.assertEqual(self.shown(notify), {ALICE: "pending"})
        (notify,) = self.join(CAROL)
        self.assertEqual(parse_watcherinfo(read(notify).body).state, "partial")

    def test_another_package(self) -> None:
        """A filter for another package is refused (488)."""
        body = filter_set(ACTIVE).replace(b"<filter-set", b'<filter-set package="presence"')
        error: SIPError = self.assertRaises(
            SIPError,
            self.agent.subscribe,
            subscribe(
                identity=AOR,
                event="presence.winfo",
                headers=[f"Content-Type: {FILTER_TYPE}"],
                body=body,
            ),
        )
        self.assertEqual(error.status, 488)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["join", "leave", "allow", "block", "confirm", "clock", "lose"]),
                st.sampled_from([ALICE, CAROL, "sip:dave@example.com"]),
            ),
            max_size=25,
        )
    )
    def test_any_history(self, steps: list[tuple[str, str]]) -> None:
        """What a subscriber has is what the filter leaves of the state, whatever has happened."""
        self.setUp()
        table: dict[str, str] = {}

        def take(requests: list[NotifyRequest]) -> None:
            for notify in requests:
                if read(notify).body:
                    table.clear()
                    table.update({u: s for u, s in self.shown(notify).items() if s != "terminated"})

        active_or_ended = (
            '<filter id="a"><what><include>//wi:watcher[@status="active" or'
            ' @status="terminated"]</include></what></filter>'
        )
        take(self.watch(active_or_ended))
        for name, who in steps:
            self.agent.now += 1
            handling = self.presence.handlings.get(who)
            if name == "clock":
                self.agent.now += 4000
                take(self.answered(self.agent.expire()))
            elif name in ("join", "leave"):
                if handling != "block":
                    known = [
                        each
                        for each in self.agent.state.subscriptions.values()
                        if each.call_id == who and each.status != "waiting"
                    ]
                    self.cseq += 1
                    if known or name == "join":
                        asked = subscribe(
                            identity=who,
                            call_id=who,
                            cseq=self.cseq,
                            to_tag=known[0].local_tag if known else "",
                            expires=3600 if name == "join" else 0,
                        )
                        take(self.answered(self.agent.subscribe(asked)))
            elif name == "lose":
                self.presence.handlings[who] = "allow"
                lost = self.agent.put(rules(f"{who}lost".encode()))
                for notify in lost:
                    self.agent.answer(notify, ok=False)
                failed = [each.subscription.id for each in lost if not each.final]
                take(self.answered(self.agent.change(ChangeSet(AOR), failed)))
            else:
                take(self.handle(who, name))
        self.assertEqual(
            table,
            {
                each.watcher: "active"
                for each in self.agent.state.subscriptions.values()
                if each.package == "presence" and each.status == "active"
            },
        )


class RegistrationTests(SynchronousTestCase):
    """Filters of reg."""

    def setUp(self) -> None:
        """Start anew."""
        self.agent = Agent(*RegEvent().packages)

    def watch(self, filters: str) -> NotifyRequest:
        """Subscribe."""
        (notify,) = self.agent.subscribe(
            subscribe(
                identity=AOR,
                event="reg",
                headers=[f"Content-Type: {FILTER_TYPE}"],
                body=filter_set(filters),
            )
        )
        self.agent.answer(notify)
        return notify

    def told(self, requests: list[NotifyRequest]) -> list[tuple[str, str, bool]]:
        """The contacts that are told: URI, state, and whether their duration is."""
        (notify,) = requests
        self.agent.answer(notify)
        body = read(notify).body
        Schema("all-reginfo").validate(parse_content(body))
        info = parse_reginfo(body)
        self.assertEqual(info.state, "full")
        return [
            (each.uri, each.state, each.duration_registered is not None)
            for one in info.registrations
            for each in one.contacts
        ]

    def test_content(self) -> None:
        """Attributes that are not wanted are left out; what the schema wants stays."""
        self.watch('<filter id="a"><what><include>//ri:contact/@state</include></what></filter>')
        binding = BINDING._replace(id="7", expires_at=9000.0)
        self.assertEqual(self.told(self.agent.put(binding)), [(binding.uri, "active", False)])
        # A refresh changes nothing that is wanted.
        refreshed = binding._replace(cseq=9999, event="registered", expires_at=9900.0)
        self.assertEqual(self.agent.put(refreshed), [])
        changes = ChangeSet(AOR)
        changes.remove(refreshed, "expired")
        self.assertEqual(
            self.told(self.agent.change(changes)), [(binding.uri, "terminated", False)]
        )

    def test_trigger(self) -> None:
        """Only new contacts are told."""
        self.watch('<filter id="a"><trigger><added>//ri:contact</added></trigger></filter>')
        told = self.told(self.agent.put(BINDING))
        self.assertEqual(told, [(BINDING.uri, "active", True)])
        self.assertEqual(self.agent.put(BINDING._replace(q=100, event="refreshed")), [])
        other = BINDING._replace(id="9", uri="sip:b@h", key="sip:b@h")
        self.assertEqual(
            [each[0] for each in self.told(self.agent.put(other))], [BINDING.uri, "sip:b@h"]
        )
