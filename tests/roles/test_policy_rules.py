"""The composition policy whose rules the operator writes."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Device, Note, Person, Presence
from simplestack.roles.composition import UnionPolicy
from simplestack.roles.policies.pivot import PivotPolicy
from simplestack.roles.policies.priority import PriorityPolicy
from simplestack.roles.policies.recent import MostRecentPolicy
from simplestack.roles.policies.rules import RulesPolicy
from simplestack.roles.source import Source
from tests.roles.fakes import ALICE
from tests.roles.test_policies import (
    DESK,
    PolicyTestCase,
    doing,
    parameters,
    rpid,
    service,
    source,
)

#: Monday, 6 January 2025, 12:00 UTC.
NOON = datetime(2025, 1, 6, 12, tzinfo=UTC).timestamp()
MEETING = Presence(ALICE, (), (Person("c", None, (doing("meeting"),), (Note("in a meeting"),)),))
AT_DESK = Presence(
    ALICE,
    (service("desk", class_="work"), service("home", "sip:alice@home", class_="home")),
    (Person("p", None, (rpid("mood", [rpid("happy")]), rpid("sphere", [rpid("work")]))),),
    (Device("d", DESK),),
)


class RulesTests(PolicyTestCase):
    def rules(self, inner: str, **attributes: str) -> RulesPolicy:
        """The policy with the rules of a user."""
        return RulesPolicy().configured(parameters(inner, **attributes))

    def sources(self) -> list[Source]:
        """A desk, and a calendar."""
        return [
            source("a", AT_DESK, NOON - 600),
            source("calendar", MEETING, NOON - 60, "calendar", ""),
        ]

    def test_without_a_match(self) -> None:
        """Where no rule holds, it is the union."""
        policy = self.rules(
            '<rule id="a"><when><source>x</source></when><drop>services</drop></rule>'
        )
        self.assertEqual(
            self.compose(policy, *self.sources(), now=NOON),
            self.compose(UnionPolicy(), *self.sources(), now=NOON),
        )

    def test_conditions(self) -> None:
        """Each condition by itself, two kinds together, two of one kind, and where they don't hold."""
        table = [
            ("", True),
            ("<source>calendar</source>", True),
            (f"<source>{ALICE}</source>", True),
            ("<source>registration</source>", False),
            ("<source>registration</source><source>calendar</source>", True),
            ("<activity>Meeting</activity>", True),
            ("<activity>lunch</activity>", False),
            ("<sphere>work</sphere>", True),
            ("<sphere>work</sphere><activity>meeting</activity>", False),
            ("<source>calendar</source><sphere>work</sphere>", False),
            ("<place>office</place>", False),
            ('<fresh seconds="61"/>', True),
            ('<fresh seconds="60"/>', False),
            ('<stale seconds="600"/>', True),
            ('<stale seconds="601"/>', False),
            ('<source>calendar</source><fresh seconds="100"/>', True),
            ('<source>publication</source><fresh seconds="100"/>', False),
            ('<time days="mon" from="12:00" until="12:01"/>', True),
            ('<time days="tue wed"/>', False),
            ('<time from="12:01" until="13:00"/>', False),
            ('<time from="11:00" until="12:00"/>', False),
            ('<time days="sun" from="20:00" until="13:00"/>', True),
            ('<time days="mon" from="20:00" until="13:00"/>', False),
            ('<time days="tue"/><time days="mon"/>', True),
        ]
        for when, holds in table:
            policy = self.rules(
                f'<rule id="a"><when>{when}</when><override><basic>closed</basic></override></rule>'
            )
            composed = self.compose(policy, *self.sources(), now=NOON)
            self.assertEqual({each.basic for each in composed.tuples} == {"closed"}, holds, when)

    def test_place(self) -> None:
        """A place is a ``<place-type>`` (RFC 4480 §3.6), by the name of its element or its text."""
        policy = self.rules(
            '<rule id="a"><when><place>hut</place></when><drop>services</drop></rule>'
        )
        place = rpid("place-type", [rpid("other", "Hut")])
        presence = AT_DESK._replace(persons=(Person("p", None, (place,)),))
        self.assertEqual(self.compose(policy, source("a", presence), now=NOON).tuples, ())

    def test_zone(self) -> None:
        """Times of day are those of the user's zone; noon is one o'clock in Berlin."""
        when = '<when><time from="13:00" until="13:01"/></when><drop>services</drop>'
        policy = self.rules(f'<rule id="a">{when}</rule>', zone="Europe/Berlin")
        self.assertEqual(self.compose(policy, *self.sources(), now=NOON).tuples, ())

    def test_pick(self) -> None:
        """Of the kinds that are picked only those of the matching sources are left."""
        policy = self.rules(
            '<rule id="a"><when><source>calendar</source></when><pick>persons</pick></rule>'
            '<rule id="b"><when><source>publication</source></when><pick>persons</pick></rule>'
        )
        composed = self.compose(policy, *self.sources(), now=NOON)
        self.assertEqual(composed.persons, MEETING.persons)
        self.assertEqual(composed.tuples, AT_DESK.tuples)

    def test_drop(self) -> None:
        """What is dropped is named by kind, class, and source; ``of="all"`` means any source."""
        table = [
            ("<drop>services</drop>", {"desk", "home"}),
            ('<drop of="all">services</drop>', set()),
            ('<drop of="all" class="home">services</drop>', {"desk"}),
            ('<drop of="all" class="home">devices</drop>', {"desk", "home"}),
            ('<pick of="all" class="work">services</pick>', {"desk"}),
        ]
        for action, left in table:
            policy = self.rules(
                f'<rule id="a"><when><activity>meeting</activity></when>{action}</rule>'
            )
            composed = self.compose(policy, *self.sources(), now=NOON)
            self.assertEqual({each.id for each in composed.tuples}, left, action)

    def test_override(self) -> None:
        """Elements, notes and status are replaced; of one element the first rule counts."""
        policy = self.rules(
            '<rule id="a"><override><note>mine</note><r:mood><r:calm/></r:mood></override></rule>'
            '<rule id="b"><override><basic>closed</basic><note>yours</note><r:mood><r:sad/></r:mood>'
            "<r:sphere><r:home/></r:sphere></override></rule>"
        )
        composed = self.compose(policy, *self.sources(), now=NOON)
        [person] = composed.persons
        self.assertEqual(
            {each.local: each for each in person.elements},
            {
                "activities": doing("meeting"),
                "mood": rpid("mood", [rpid("calm")]),
                "sphere": rpid("sphere", [rpid("home")]),
            },
        )
        self.assertEqual(person.notes, (Note("mine"),))
        self.assertEqual({each.basic for each in composed.tuples}, {"closed"})

    def test_override_without_a_person(self) -> None:
        """Where no source tells of a person, the rule makes one under a free id."""
        policy = self.rules('<rule id="a"><override><r:mood><r:calm/></r:mood></override></rule>')
        composed = self.compose(policy, source("a", Presence(ALICE, (service("rules"),))))
        [person] = composed.persons
        self.assertEqual(person.elements, (rpid("mood", [rpid("calm")]),))
        self.assertNotEqual(person.id, "rules")

    def test_boundary(self) -> None:
        """The next begin or end of a time, or the next source that grows stale."""
        table: list[tuple[str, float | None]] = [
            ("<source>x</source>", None),
            ('<time from="09:00" until="17:00"/>', NOON + 5 * 3600),
            ('<time days="mon" from="12:30" until="12:00"/>', NOON + 1800),
            ('<fresh seconds="100"/>', NOON + 40),
            ('<stale seconds="660"/>', NOON + 60),
        ]
        for when, expected in table:
            policy = self.rules(f'<rule id="a"><when>{when}</when><drop>devices</drop></rule>')
            self.assertEqual(policy.boundary(self.sources(), NOON), expected, when)

    def test_boundary_over_a_change_of_clocks(self) -> None:
        """A boundary is a time of the local clock, also on the day on which that is changed."""
        zone = ZoneInfo("Europe/Berlin")
        now = datetime(2025, 3, 29, 23, 0, tzinfo=zone).timestamp()
        policy = self.rules(
            '<rule id="a"><when><time from="08:00" until="23:00"/></when><drop>devices</drop></rule>',
            zone="Europe/Berlin",
        )
        self.assertEqual(
            policy.boundary([], now), datetime(2025, 3, 30, 8, 0, tzinfo=zone).timestamp()
        )

    def test_refused(self) -> None:
        """What can't be used is refused when it is stored."""
        for inner, attributes in (
            ("", {"zone": "Mars/Olympus"}),
            ("", {"zone": "../../etc/passwd"}),
            ("<rule/>", {}),
            ('<rule id="a"><when><moon/></when></rule>', {}),
            ('<rule id="a"><pick>everything</pick></rule>', {}),
            ('<rule id="a"><fly/></rule>', {}),
            ('<rule id="a"><when><time days="foo"/></when></rule>', {}),
            ('<rule id="a"><when><time from="25:00"/></when></rule>', {}),
            ('<rule id="a"><when><fresh seconds="-1"/></when></rule>', {}),
            ('<rule id="a"><override><basic>ajar</basic></override></rule>', {}),
        ):
            self.assertRaises(DocumentError, self.rules, inner, **attributes)
        for policy in (PivotPolicy(), MostRecentPolicy(), PriorityPolicy()):
            self.assertRaises(DocumentError, policy.configured, parameters(pivot="moon"))
        self.assertRaises(DocumentError, PriorityPolicy().configured, parameters(by="moon"))
