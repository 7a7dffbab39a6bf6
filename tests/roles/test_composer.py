"""Composed documents: their sources, who chooses the policy, and what the clock changes."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Presence, Tuple, parse_presence, validate
from simplestack.documents.xml import parse_content
from simplestack.interfaces import IApplicationUsage, IAuthorizationPolicy
from simplestack.roles.authorization import PresRulesPolicy
from simplestack.roles.capabilities import servcaps
from simplestack.roles.circumstances import spheres
from simplestack.roles.composer import HARD_STATE_DOCUMENT, Composer
from simplestack.roles.composition import UnionPolicy
from simplestack.roles.policies.pivot import PivotPolicy
from simplestack.roles.policies.recent import MostRecentPolicy
from simplestack.roles.policies.rules import RulesPolicy
from simplestack.roles.preferences import AUID, NAMESPACE, PREFERENCES, Preferences
from simplestack.roles.presence import PresenceAgent
from simplestack.roles.rpid import check
from simplestack.roles.source import source_id
from simplestack.sip.errors import SIPError
from simplestack.state import Document, Publication, Record, ResourceState
from tests.documents.examples import examples
from tests.roles.fakes import ALICE, BOB
from tests.roles.test_presence import binding, pidf, rules
from tests.roles.test_rules import BOB_ALONE, rule

POLICIES = {each.name: each for each in (UnionPolicy(), MostRecentPolicy(), PivotPolicy())}


def publication(
    body: bytes, id_: str = "p", at: float = 1000.0, publisher: str = ALICE, until: float = 9e9
) -> Publication:
    """A publication of Alice."""
    return Publication(ALICE, id_, "presence", f"e{id_}", publisher, "x", body, at, until)


def hard_state(body: bytes, at: float = 500.0) -> Document:
    """What Alice has put as her hard state."""
    return Document(ALICE, HARD_STATE_DOCUMENT, "pidf-manipulation", "index", "e", "x", body, at)


def preferences(inner: str) -> Document:
    """What Alice has chosen."""
    body = f'<preferences xmlns="{NAMESPACE}">{inner}</preferences>'.encode()
    return Document(ALICE, PREFERENCES, AUID, "index", "e", "x", body, 0.0)


def seen(composer: Composer, *records: Record, now: float = 2000.0) -> Presence:
    """The composed document of Alice."""
    return composer.composed(ResourceState(ALICE, records), now).presence


class SourceTests(SynchronousTestCase):
    def test_hard_state(self) -> None:
        """Hard state counts beside and in the absence of publications (RFC 3903 §2)."""
        hard = hard_state(pidf("closed", "hard", person="<r:sphere>home</r:sphere>"))
        self.assertEqual([each.id for each in seen(Composer(), hard).tuples], ["hard"])
        both = seen(Composer(), hard, publication(pidf(person="<r:sphere>work</r:sphere>")))
        self.assertEqual([each.id for each in both.tuples], ["t", "hard"])
        self.assertEqual(spheres(both), ("work",))

    def test_hard_state_unreadable(self) -> None:
        """Hard state that can't be read is as if it were not there."""
        self.assertEqual(seen(Composer(), hard_state(b"<")).tuples, (Tuple("closed", "closed"),))

    def test_kinds(self) -> None:
        """Publications of a source plug-in are of its kind, and of no publisher."""
        state = ResourceState(
            ALICE,
            [
                publication(pidf()),
                publication(pidf(), source_id("calendar"), publisher=""),
                hard_state(pidf()),
                binding(),
            ],
        )
        found = {(each.kind, each.publisher) for each in Composer().sources(state, 2000.0)}
        self.assertEqual(
            found,
            {("publication", ALICE), ("calendar", ""), ("hard-state", ""), ("registration", "")},
        )

    def test_capabilities(self) -> None:
        """A registered service tells its capabilities (RFC 5196) under the AOR, and no address."""
        phone = binding()._replace(
            params=';audio;video="FALSE";methods="INVITE,BYE,X";+sip.instance="<urn:uuid:1>";reg-id=1'
        )
        composed = seen(Composer(), phone)
        [service] = composed.tuples
        self.assertEqual(service.contact, ALICE)
        [caps] = service.elements
        self.assertEqual(
            caps.xml,
            "<caps:servcaps><caps:audio>true</caps:audio><caps:methods><caps:supported><caps:BYE/>"
            "<caps:INVITE/></caps:supported></caps:methods><caps:video>false</caps:video>"
            "</caps:servcaps>",
        )
        data = composed.to_bytes()
        validate(data)
        for word in (b"192.0.2", b"uuid", b"reg-id"):
            self.assertNotIn(word, data)

    def test_not_how_many(self) -> None:
        """Phones that can do the same are one service: how many there are is not told."""
        phones = [
            binding()._replace(id=name, params=params)
            for name, params in (("a", ""), ("b", ""), ("c", ";audio"), ("d", ";audio"))
        ]
        composed = seen(Composer(), *phones)
        self.assertEqual(len(composed.tuples), 2)
        self.assertEqual(seen(Composer(), *phones[::-1]), composed)
        self.assertEqual(len(seen(Composer(), *phones[:2]).tuples), 1)


class CapabilitiesTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Each feature tag of RFC 3840 §9 as its element of RFC 5196 §3.2; others are none."""
        table = [
            ("", None),
            (';expires=60;q=0.5;+sip.instance="<urn:x>"', None),
            (";audio", "<caps:audio>true</caps:audio>"),
            (';audio="FALSE"', "<caps:audio>false</caps:audio>"),
            (";+sip.message", "<caps:message>true</caps:message>"),
            (
                ";isfocus;automata",
                "<caps:automata>true</caps:automata><caps:isfocus>true</caps:isfocus>",
            ),
            (
                ';duplex="full,!half"',
                "<caps:duplex><caps:supported><caps:full/></caps:supported>"
                "<caps:notsupported><caps:half/></caps:notsupported></caps:duplex>",
            ),
            (
                ';extensions="100rel,path"',
                "<caps:extensions><caps:supported><caps:rel100/><caps:path/></caps:supported>"
                "</caps:extensions>",
            ),
            (
                ';schemes="sip,tel";language="en,!de"',
                "<caps:languages><caps:supported><caps:l>en</caps:l></caps:supported>"
                "<caps:notsupported><caps:l>de</caps:l></caps:notsupported></caps:languages>"
                "<caps:schemes><caps:supported><caps:s>sip</caps:s><caps:s>tel</caps:s>"
                "</caps:supported></caps:schemes>",
            ),
            (
                ';events="presence,other";actor="principal"',
                "<caps:actor><caps:supported><caps:principal/></caps:supported></caps:actor>"
                "<caps:event-packages><caps:supported><caps:presence/></caps:supported>"
                "</caps:event-packages>",
            ),
            (
                ';description="<A & B>"',
                '<caps:description xml:lang="en">A &amp; B</caps:description>',
            ),
            (';type="text/html"', "<caps:type>text/html</caps:type>"),
            (
                ';priority="#=30,#10:20,!#>=40,!#<=-5,#1.5:2,#x,normal,#=2:3"',
                '<caps:priority><caps:supported><caps:equals value="30"/>'
                '<caps:range minvalue="10" maxvalue="20"/></caps:supported><caps:notsupported>'
                '<caps:higherthan minvalue="40"/><caps:lowerthan maxvalue="-5"/>'
                "</caps:notsupported></caps:priority>",
            ),
            (';priority="urgent"', None),
            (';methods="X"', None),
            (";;;", None),
        ]
        for params, expected in table:
            found = servcaps(params)
            if expected is None:
                self.assertIsNone(found, params)
            else:
                assert found is not None, params
                self.assertEqual(found.xml, f"<caps:servcaps>{expected}</caps:servcaps>")
                service = Tuple("t", "open", elements=(found,))
                validate(Presence(ALICE, (service,)).to_bytes())


class ChoiceTests(SynchronousTestCase):
    def test_chosen(self) -> None:
        """The user's choice counts before that of his domain, and this before everybody's."""
        domains = {"example.com": MostRecentPolicy()}
        chosen = preferences('<composition policy="pivot" pivot="deviceID"/>')
        table: list[tuple[Composer, list[Record], str]] = [
            (Composer(), [], "union"),
            (Composer(domains=domains), [], "most-recent"),
            (Composer(domains={"example.org": MostRecentPolicy()}), [], "union"),
            (Composer(policies=POLICIES, domains=domains), [chosen], "pivot"),
            (Composer(domains=domains), [chosen], "most-recent"),
            (Composer(policies=POLICIES), [preferences("")], "union"),
            (Composer(policies=POLICIES), [preferences('<composition policy="gone"/>')], "union"),
            (Composer(policies=POLICIES), [chosen._replace(body=b"<")], "union"),
        ]
        for composer, records, expected in table:
            self.assertEqual(composer.policy_of(ResourceState(ALICE, records)).name, expected)

    def test_parameters(self) -> None:
        """The choice comes with its parameters."""
        composer = Composer(policies=POLICIES)
        chosen = preferences('<composition policy="pivot" pivot="deviceID"/>')
        policy = composer.policy_of(ResourceState(ALICE, [chosen]))
        assert isinstance(policy, PivotPolicy)
        self.assertEqual(policy.pivot, "deviceID")

    def test_change(self) -> None:
        """A new choice composes anew."""
        composer = Composer(policies=POLICIES)
        one = publication(
            pidf("open", "a").replace(b"</tuple>", b"<contact>sip:x@y</contact></tuple>")
        )
        two = publication(
            pidf("closed", "b").replace(b"</tuple>", b"<contact>sip:x@y</contact></tuple>"),
            "q",
            1001.0,
        )
        self.assertEqual(len(seen(composer, one, two).tuples), 2)
        choice = preferences('<composition policy="most-recent"/>')
        [only] = seen(composer, one, two, choice).tuples
        self.assertEqual(only.id, "b")

    def test_usage(self) -> None:
        """A choice that can't be used is refused when it is stored."""
        usage = Preferences({**POLICIES, "rules": RulesPolicy()})
        self.assertTrue(verifyObject(IApplicationUsage, usage))
        good = (
            "",
            '<composition policy="union"/>',
            '<composition policy="pivot" pivot="class"/>',
            '<composition policy="rules" zone="Europe/Berlin"><rule id="a"><when>'
            '<time days="mon tue" from="18:00" until="24:00"/><source>calendar</source>'
            '<fresh seconds="60"/></when><pick of="all">persons</pick>'
            '<override><basic>closed</basic><note>n</note><x xmlns="urn:x"/></override></rule>'
            "</composition>",
        )
        bad = (
            "<composition/>",
            '<composition policy="moon"/>',
            '<composition policy="pivot" pivot="moon"/>',
            '<composition policy="rules" zone="Moon/Base"/>',
            '<composition policy="rules"><rule id="a"><when><time from="9"/></when></rule></composition>',
            '<composition policy="rules"><rule id="a"><fly/></rule></composition>',
            "<moon/>",
        )
        for inner in good:
            document = preferences(inner)
            usage.check(document, parse_content(document.body), {})
        for inner in bad:
            document = preferences(inner)
            self.assertRaises(SIPError, usage.check, document, parse_content(document.body), {})


class ExampleTests(SynchronousTestCase):
    """The documents of RFC 4479, 4480, 4481, 4482 and 5196, published and composed."""

    def test_every_policy(self) -> None:
        """An example that is published alone is composed to itself, by every policy."""
        count = 0
        for example in examples("presence"):
            number = example.file[3:7]
            if example.refused or number not in ("4479", "4480", "4481", "4482", "5196"):
                continue
            presence = parse_presence(example.data)
            check(presence)
            count += 1
            now = 1_000_000_000.0
            record = publication(example.data, at=now)
            for policy in (*POLICIES.values(), RulesPolicy()):
                composer = Composer(policy)
                composed = seen(composer, record, now=now)
                before = composer.sources(ResourceState(ALICE, [record]), now)[0].presence
                self.assertEqual(len(composed.tuples), len(before.tuples), example.file)
                self.assertEqual(set(composed.persons), set(before.persons), example.file)
                self.assertEqual(set(composed.devices), set(before.devices), example.file)
                self.assertEqual(parse_presence(composed.to_bytes()), composed)
        self.assertGreaterEqual(count, 4)

    def test_rpid_is_whole(self) -> None:
        """Every element of RFC 4480 and CIPID that is published is composed and shown."""
        names = set()
        for example in examples("presence"):
            if example.refused or example.file[3:7] not in ("4480", "4482"):
                continue
            before = parse_presence(example.data)
            composed = seen(Composer(), publication(example.data, at=1.2e9), now=1.2e9)
            after = {each.xml for person in composed.persons for each in person.elements}
            after |= {each.xml for service in composed.tuples for each in service.elements}
            published = [each for person in before.persons for each in person.elements]
            published += [each for service in before.tuples for each in service.elements]
            for each in published:
                if "until=" not in each.xml and "from=" not in each.xml:
                    self.assertIn(each.xml, after)
                    names.add(each.local)
        self.assertLessEqual({"mood", "place-type", "sphere", "status-icon", "card"}, names)


class RPIDTests(SynchronousTestCase):
    def test_values(self) -> None:
        """What is evaluated must be readable; what is not known is carried (RFC 4480 §3)."""
        good = (
            "<r:activities><r:lunch/></r:activities>",
            "<r:mood><r:unheard-of/></r:mood>",
            '<r:user-input idle-threshold="600" last-input="2005-05-30T22:00:00Z">idle</r:user-input>',
            "<r:time-offset>-240</r:time-offset>",
            "<r:sphere>work</r:sphere>",
            '<r:sphere from="2005-05-30T22:00:00Z" until="2005-05-30T23:00:00+01:00"><r:home/></r:sphere>',
            "<r:unheard-of/>",
        )
        bad = (
            "<r:activities>lunch</r:activities>",
            '<r:mood until="soon"><r:sad/></r:mood>',
            '<r:mood from="2005-05-30T22:00:00"><r:sad/></r:mood>',
            '<r:mood from="2005-05-30T22:00:00Z" until="2004-05-30T22:00:00Z"><r:sad/></r:mood>',
            "<r:user-input>asleep</r:user-input>",
            '<r:user-input idle-threshold="-1">idle</r:user-input>',
            '<r:user-input last-input="now">idle</r:user-input>',
            "<r:time-offset>two</r:time-offset>",
        )
        for element in good:
            check(parse_presence(pidf(person=element)))
        for element in bad:
            error = self.assertRaises(DocumentError, check, parse_presence(pidf(person=element)))
            self.assertEqual(error.status, 400)

    def test_timed_status(self) -> None:
        """A timed status has a from (RFC 4481 §3)."""
        timed = f'<t:timed-status xmlns:t="{ns.TIMED_STATUS}"/></tuple>'.encode()
        body = pidf().replace(b"</tuple>", timed)
        self.assertRaises(DocumentError, check, parse_presence(body))


class AuthorizationTests(SynchronousTestCase):
    def test_interface(self) -> None:
        """The shipped policy provides what any other must."""
        self.assertTrue(verifyObject(IAuthorizationPolicy, PresRulesPolicy()))

    def test_plugged_in(self) -> None:
        """Another policy decides in its place, and is asked by the package alone."""

        class Closed(PresRulesPolicy):
            name = "closed"

            def decide(self, state: ResourceState, watcher: str, package: str, now: float):  # type: ignore[no-untyped-def]  # as it is inherited
                asked.append((watcher, package))
                return super().decide(ResourceState(state.aor), "", package, now)

        asked: list[tuple[str, str]] = []
        package = PresenceAgent(authorization=Closed()).package
        state = ResourceState(ALICE, [rules(rule(BOB_ALONE))])
        self.assertEqual(package.authorize(state, BOB, 0.0).handling, "block")
        self.assertEqual(asked, [(BOB, "presence")])

    def test_oma(self) -> None:
        """Documents under OMA's name count as well; its own conditions are not known, and FALSE."""
        document = rules(rule(BOB_ALONE))
        auid = "org.openmobilealliance.pres-rules"
        document = document._replace(id=f"{auid}/pres-rules", auid=auid, path="pres-rules")
        policy = PresRulesPolicy()
        self.assertEqual(
            policy.decide(ResourceState(ALICE, [document]), BOB, "presence", 0.0).handling, "allow"
        )
        other = rules(rule('<x xmlns="urn:oma:xml:xdm:common-policy"/>'))
        self.assertEqual(
            policy.decide(ResourceState(ALICE, [other]), BOB, "presence", 0.0).handling, "block"
        )

    def test_anonymous_default(self) -> None:
        """The default handling is for watchers with a name."""
        policy = PresRulesPolicy(default_handling="allow")
        state = ResourceState(ALICE)
        self.assertEqual(policy.decide(state, BOB, "presence", 0.0).handling, "allow")
        self.assertEqual(policy.decide(state, "", "presence", 0.0).handling, "block")


class PersonTests(SynchronousTestCase):
    def test_calendar_and_phone(self) -> None:
        """What the calendar says joins what the phone says, for as long as both hold."""
        meeting = parse_presence(
            pidf(
                person='<r:activities from="1970-01-01T00:30:00Z" until="1970-01-01T00:40:00Z">'
                "<r:meeting/></r:activities>"
            )
        )
        calendar = Presence(ALICE, (), meeting.persons)
        composer = Composer()
        state = ResourceState(
            ALICE,
            [
                publication(pidf(person="<r:activities><r:on-the-phone/></r:activities>")),
                publication(calendar.to_bytes(), source_id("calendar")),
            ],
        )
        person = composer.composed(state, 2000.0).presence.persons[0]
        [activities] = person.elements
        self.assertIn("meeting", activities.xml)
        self.assertIn("on-the-phone", activities.xml)
        self.assertIn('until="1970-01-01T00:40:00Z"', activities.xml)
        person = composer.composed(state, 2400.0).presence.persons[0]
        self.assertNotIn("meeting", person.elements[0].xml)
