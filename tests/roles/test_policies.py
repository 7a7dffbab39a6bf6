"""The composition policies: what each of them makes of the same sources, and what holds of all."""

from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, element
from simplestack.documents.pidf import Device, Person, Presence, Tuple, parse_presence
from simplestack.documents.xml import parse_content
from simplestack.interfaces import ICompositionPolicy
from simplestack.roles.composition import UnionPolicy
from simplestack.roles.policies.activity import LatestActivityPolicy
from simplestack.roles.policies.pivot import PivotPolicy
from simplestack.roles.policies.priority import PriorityPolicy
from simplestack.roles.policies.recent import MostRecentPolicy
from simplestack.roles.policies.rules import RulesPolicy
from simplestack.roles.preferences import NAMESPACE
from simplestack.roles.source import HARD_STATE, PUBLICATION, REGISTRATION, Source
from tests.roles.fakes import ALICE

DESK = "urn:uuid:00000000-0000-0000-0000-00000000000d"
PHONE = "urn:uuid:00000000-0000-0000-0000-0000000000ff"


def rpid(name: str, content: str | list[Element] = "", **attributes: str) -> Element:
    """An RPID element."""
    named = [(key.replace("_", "-"), value) for key, value in attributes.items()]
    return element(ns.RPID, name, content, named)


def doing(*activities: str) -> Element:
    """An ``<activities>``."""
    return rpid("activities", [rpid(each) for each in activities])


def source(
    id_: str,
    presence: Presence,
    at: float = 1000.0,
    kind: str = PUBLICATION,
    publisher: str = ALICE,
) -> Source:
    """A source that published at some time."""
    return Source(kind, id_, presence, at, publisher)


def parameters(inner: str = "", **attributes: str) -> object:
    """A ``<composition>`` of preferences."""
    written = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return parse_content(
        f'<composition xmlns="{NAMESPACE}" xmlns:r="{ns.RPID}"{written}>{inner}</composition>'.encode()
    )


def service(id_: str, contact: str | None = ALICE, basic: str = "open", **more: object) -> Tuple:
    """A service."""
    return Tuple(id_, basic, contact)._replace(**more)  # type: ignore[arg-type]  # fields by name


def stamp(second: int) -> str:
    """A timestamp in the first minute of time."""
    return f"1970-01-01T00:00:{second:02}Z"


class ShippedTests(SynchronousTestCase):
    def test_by_the_same_door(self) -> None:
        """All shipped policies are plug-ins, found as those of others are."""
        found = {policy.name: policy for policy in getPlugins(ICompositionPolicy)}
        names = {"union", "most-recent", "priority", "latest-activity", "pivot", "rules"}
        self.assertLessEqual(names, set(found))
        for name in names:
            self.assertTrue(verifyObject(ICompositionPolicy, found[name]))
            self.assertIsNone(found[name].boundary([], 0.0))


class PolicyTestCase(SynchronousTestCase):
    def compose(
        self, policy: ICompositionPolicy, *sources: Source, now: float = 2000.0
    ) -> Presence:
        """What a policy makes of sources, in either order, which we can send."""
        composed: Presence = policy.compose(list(sources), ALICE, now)
        self.assertEqual(policy.compose(list(sources)[::-1], ALICE, now), composed)
        self.assertEqual(parse_presence(composed.to_bytes()), composed)
        return composed


class WinnerTests(PolicyTestCase):
    """Of what describes the same thing the winner is shown whole."""

    def check(
        self, policy: ICompositionPolicy, expected: str, one: Tuple, other: Tuple, **more: float
    ) -> None:
        """See which of two services wins, published at 1000 (or ``first``) and 1001."""
        composed = self.compose(
            policy,
            source("a", Presence(ALICE, (one,)), more.get("first", 1000.0)),
            source("b", Presence(ALICE, (other,)), 1001.0),
        )
        self.assertEqual([each.id for each in composed.tuples], expected.split())

    def test_most_recent(self) -> None:
        """By timestamp, by publication without one, never newer than its PUBLISH; per component."""
        policy = MostRecentPolicy()
        one, two = service("one"), service("two")
        table: list[tuple[str, Tuple, Tuple]] = [
            ("two", one, two),
            ("one", one, two._replace(timestamp=stamp(1))),
            ("two", one._replace(timestamp=stamp(1)), two._replace(timestamp=stamp(2))),
            ("one", one._replace(timestamp=stamp(2)), two._replace(timestamp=stamp(1))),
            ("two", one._replace(timestamp="2999-01-01T00:00:00Z"), two),
            ("one two", one, two._replace(contact="sip:alice@elsewhere")),
            ("one two", one, two._replace(contact=None)),
            ("one two", one._replace(class_="work"), two),
        ]
        for expected, first, second in table:
            self.check(policy, expected, first, second)

    def test_contacts_are_compared_as_uris(self) -> None:
        """Contacts that are equal by RFC 3261 §19.1.4 are the same pivot."""
        self.check(
            MostRecentPolicy(), "two", service("one"), service("two", "sip:alice@EXAMPLE.com")
        )

    def test_priority(self) -> None:
        """By contact, source or device first, then by the others, then by age."""
        one, two = service("one"), service("two")
        high = one._replace(contact_priority="0.9")
        at_desk, at_phone = one._replace(device_id=DESK), two._replace(device_id=PHONE)
        table: list[tuple[PriorityPolicy, str, Tuple, Tuple]] = [
            (PriorityPolicy(), "two", one, two),
            (PriorityPolicy(), "one", high, two),
            (PriorityPolicy(), "one", one._replace(contact_priority="0"), two),
            (PriorityPolicy(by="device", order=[DESK, PHONE]), "one", at_desk, at_phone),
            (PriorityPolicy(by="device", order=[PHONE.upper(), DESK]), "two", at_desk, at_phone),
            (PriorityPolicy(by="device", order=["*", PHONE]), "one", at_desk, at_phone),
            (PriorityPolicy(by="device", order=[PHONE]), "two", high, at_phone),
            (PriorityPolicy(by="source"), "one", high, two),
            (PriorityPolicy("deviceID"), "one two", at_desk, at_phone),
        ]
        for policy, expected, first, second in table:
            self.check(policy, expected, first, second)

    def test_priority_of_sources(self) -> None:
        """Sources by kind or publisher; without an order publications stand over hard state."""
        hard = source("", Presence(ALICE, (service("hard"),)), 5000.0, HARD_STATE, "")
        own = source("a", Presence(ALICE, (service("own"),)))
        pbx = source("b", Presence(ALICE, (service("pbx"),)), 2000.0, publisher="sip:pbx@x.org")
        table: list[tuple[tuple[str, ...], str]] = [
            ((), "pbx"),
            ((HARD_STATE,), "hard"),
            ((ALICE, "*"), "own"),
            (("*", PUBLICATION), "hard"),
            (("sip:pbx@x.org", PUBLICATION), "pbx"),
        ]
        for order, expected in table:
            composed = self.compose(PriorityPolicy(by="source", order=order), hard, own, pbx)
            self.assertEqual([each.id for each in composed.tuples], [expected])

    def test_latest_activity(self) -> None:
        """By user-input of the service, its device or its document; then by age (RFC 4480 §3.14)."""
        active, idle = rpid("user-input", "active"), rpid("user-input", "idle")
        since = rpid("user-input", "idle", last_input=stamp(30))
        one, two = service("one"), service("two")
        table = [
            ("two", one, two, 1000.0),
            ("one", one._replace(elements=(active,)), two, 1000.0),
            ("two", one._replace(elements=(idle,)), two._replace(elements=(since,)), 1000.0),
            ("one", one._replace(elements=(active,)), two._replace(elements=(since,)), 1000.0),
            ("two", one._replace(elements=(active,)), two._replace(elements=(active,)), 1000.0),
            ("two", one._replace(elements=(active,)), two._replace(elements=(since,)), 20.0),
        ]
        for expected, first, second, at in table:
            self.check(LatestActivityPolicy(), expected, first, second, first=at)

    def test_latest_activity_of_the_device(self) -> None:
        """A service is as active as its device, or else as anything that was published with it."""
        idle = rpid("user-input", "idle")
        device = Device("d", DESK, None, (rpid("user-input", "active"),))
        composed = self.compose(
            LatestActivityPolicy(),
            source("a", Presence(ALICE, (service("one", device_id=DESK.upper()),), (), (device,))),
            source("b", Presence(ALICE, (service("two"),), (Person("p", None, (idle,)),)), 1001.0),
        )
        self.assertEqual([each.id for each in composed.tuples], ["one"])

    def test_latest_activity_of_thousands(self) -> None:
        """What a document tells is looked for once, which took fifteen seconds when it was not."""
        services = tuple(service(f"t{number}", f"sip:{number}@h") for number in range(3500))
        device = Device("d", DESK, None, (rpid("user-input", "active"),))
        began = process_time()
        composed = self.compose(
            LatestActivityPolicy(), source("a", Presence(ALICE, services, (), (device,)))
        )
        self.assertEqual(len(composed.tuples), 3500)
        self.assertLess(process_time() - began, 2.0)

    def test_persons_and_devices(self) -> None:
        """Persons of a class and devices of a device ID compete; of the loser nothing is shown."""
        old = Presence(
            ALICE,
            (),
            (Person("p", None, (rpid("mood", "sad"), rpid("place-is", "dark"))),),
            (Device("d", DESK, None, (rpid("user-input", "idle"),)),),
        )
        new = Presence(
            ALICE, (), (Person("q", None, (rpid("mood", "happy"),)),), (Device("e", DESK.upper()),)
        )
        composed = self.compose(MostRecentPolicy(), source("a", old), source("b", new, 1001.0))
        self.assertEqual((composed.persons, composed.devices), (new.persons, new.devices))

    def test_registration_stands_in(self) -> None:
        """A registration gives a service only where nothing live does, hard state aside."""
        registration = source("", Presence(ALICE, (service("r"),)), 0.0, REGISTRATION, "")
        hard = source("", Presence(ALICE, (service("h", None, "closed"),)), 0.0, HARD_STATE, "")
        closed = source("a", Presence(ALICE, (service("t", None, "closed"),)))
        for policy in (UnionPolicy(), MostRecentPolicy(), PivotPolicy(), RulesPolicy()):
            self.assertEqual(
                [each.id for each in self.compose(policy, registration, closed).tuples], ["t"]
            )
            composed = self.compose(policy, registration, hard)
            self.assertEqual({each.id for each in composed.tuples}, {"h", "r"})


class PivotTests(PolicyTestCase):
    def test_by_contact(self) -> None:
        """Services of one contact are one: open where one is, with what all say."""
        one = service("one", basic="closed", device_id=DESK, contact_priority="0.3")
        two = service(
            "two", device_id=PHONE, contact_priority="0.5", elements=(rpid("relationship"),)
        )
        [only] = self.compose(
            PivotPolicy(),
            source("a", Presence(ALICE, (one,))),
            source("b", Presence(ALICE, (two,))),
        ).tuples
        self.assertEqual((only.basic, only.contact, only.contact_priority), ("open", ALICE, "0.5"))
        self.assertNotIn(only.id, ("one", "two"))
        devices = {only.device_id} | {
            each.tree().text for each in only.elements if each.local == "deviceID"
        }
        self.assertEqual(devices, {DESK, PHONE})
        self.assertIn("relationship", [each.local for each in only.elements])

    def test_by_device_and_class(self) -> None:
        """The pivot is the user's choice; who lacks it stays alone."""
        one = service("one", "sip:1@example.com", device_id=DESK, class_="c")
        two = service("two", "sip:2@example.com", device_id=DESK, class_="c")
        bare = service("bare", "sip:1@example.com")
        sources = [source(each.id, Presence(ALICE, (each,))) for each in (one, two, bare)]
        for pivot, count in (("deviceID", 2), ("class", 2), ("contact", 3)):
            policy = PivotPolicy().configured(parameters(pivot=pivot))
            self.assertEqual(len(self.compose(policy, *sources).tuples), count)

    def test_no_contact_of_several(self) -> None:
        """A rule that shows one service by its URI must not show what the others say."""
        one = service("one", "sip:1@example.com", device_id=DESK, elements=(rpid("relationship"),))
        two = service("two", "sip:2@example.com", device_id=DESK)
        [only] = self.compose(
            PivotPolicy("deviceID"),
            source("a", Presence(ALICE, (one,))),
            source("b", Presence(ALICE, (two,))),
        ).tuples
        self.assertIsNone(only.contact)

    def test_classes_are_not_merged(self) -> None:
        """What a rule may show by class is not mixed with what it hides (RFC 5025 §3.3.1.3)."""
        one, two = service("one", class_="work"), service("two", class_="home")
        composed = self.compose(
            PivotPolicy(),
            source("a", Presence(ALICE, (one,))),
            source("b", Presence(ALICE, (two,))),
        )
        self.assertEqual(len(composed.tuples), 2)


CONTACTS = st.sampled_from([None, ALICE, "sip:alice@example.com;x=y"])
CLASSES = st.sampled_from([None, None, "work"])
STAMPS = st.none() | st.integers(0, 5).map(stamp)
ELEMENTS = st.lists(
    st.sampled_from(
        [
            doing("meeting"),
            doing("lunch", "travel"),
            rpid("mood", [rpid("sad")]),
            rpid("user-input", "active"),
            rpid("user-input", "idle", last_input=stamp(3)),
            element(ns.CIPID, "card", "http://example.com/1"),
            element(ns.CIPID, "card", "http://example.com/2"),
        ]
    ),
    max_size=3,
    unique_by=lambda each: each.name,
).map(tuple)
tuples = st.builds(
    Tuple,
    st.sampled_from(["t1", "t2"]),
    st.sampled_from([None, "open", "closed"]),
    CONTACTS,
    st.sampled_from([None, "0.5"]),
    STAMPS,
    st.just(()),
    st.sampled_from([None, DESK, PHONE]),
    CLASSES,
    ELEMENTS,
    st.just(()),
).map(lambda each: each if each.contact else each._replace(contact_priority=None))
persons = st.builds(Person, st.sampled_from(["p1", "p2"]), CLASSES, ELEMENTS, st.just(()), STAMPS)
devices = st.builds(
    Device,
    st.sampled_from(["d1", "d2"]),
    st.sampled_from([DESK, PHONE]),
    CLASSES,
    ELEMENTS,
    st.just(()),
    STAMPS,
)


def several(component: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    """Some components of one document, whose ids differ."""
    return st.lists(
        component,
        max_size=2,
        unique_by=lambda each: each.id,  # type: ignore[attr-defined]  # components have ids
    ).map(tuple)


presences = st.builds(
    Presence,
    st.just(ALICE),
    several(tuples),
    several(persons),
    several(devices),
    st.just(()),
    st.just(()),
)
sources_given = st.lists(
    st.builds(
        Source,
        st.sampled_from([PUBLICATION, PUBLICATION, "calendar", HARD_STATE, REGISTRATION]),
        st.sampled_from("abcd"),
        presences,
        st.integers(0, 4).map(float),
        st.sampled_from(["", ALICE]),
    ),
    max_size=4,
    unique_by=lambda each: (each.kind, each.id),
)
policies = st.sampled_from(
    [
        UnionPolicy(),
        MostRecentPolicy(),
        LatestActivityPolicy("deviceID"),
        PriorityPolicy(by="device", order=[PHONE, "*"]),
        PriorityPolicy(by="source"),
        PivotPolicy(),
        PivotPolicy("deviceID"),
        PivotPolicy("class"),
        RulesPolicy().configured(
            parameters(
                '<rule id="a"><when><source>calendar</source></when><pick>persons</pick></rule>'
                '<rule id="b"><when><activity>meeting</activity></when>'
                '<drop of="all" class="work">services</drop>'
                "<override><r:mood><r:calm/></r:mood></override></rule>"
            )
        ),
    ]
)


class PropertyTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(policies, sources_given, st.randoms(use_true_random=False))
    def test_order_does_not_matter(
        self, policy: ICompositionPolicy, given_sources: list[Source], random: object
    ) -> None:
        """Composing is deterministic, independent of arrival order, and gives a valid document."""
        composed = policy.compose(given_sources, ALICE, 10.0)
        shuffled = list(given_sources)
        random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a Random
        self.assertEqual(policy.compose(shuffled, ALICE, 10.0), composed)
        if composed.entity:
            # Reading checks that ids are unique.
            self.assertEqual(parse_presence(composed.to_bytes()), composed)

    @settings(max_examples=150, deadline=None)
    @given(policies, sources_given)
    def test_nothing_is_made_up(
        self, policy: ICompositionPolicy, given_sources: list[Source]
    ) -> None:
        """No component is of a class that no source gave, nor has it a contact or device of none."""
        composed = policy.compose(given_sources, ALICE, 10.0)
        given_tuples = [each for source in given_sources for each in source.presence.tuples]
        for each in composed.tuples:
            same = [other for other in given_tuples if other.class_ == each.class_]
            self.assertIn(each.contact, {None} | {other.contact for other in same})
            self.assertIn(each.device_id, {None} | {other.device_id for other in same})
            self.assertIn(each.basic, {other.basic for other in same})
        own = {each.class_ for source in given_sources for each in source.presence.persons}
        if not isinstance(policy, RulesPolicy):
            self.assertLessEqual({each.class_ for each in composed.persons}, own)
