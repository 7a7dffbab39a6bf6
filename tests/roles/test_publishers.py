"""Who may publish what of whose state."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Presence, parse_presence
from simplestack.documents.xml import parse_content
from simplestack.interfaces import IApplicationUsage
from simplestack.roles.presence import PresenceAgent
from simplestack.roles.publishers import AUID, NAMESPACE, PublisherRules, Publishers
from simplestack.roles.rules import EVERYTHING, NOTHING
from simplestack.sip.errors import SIPError
from simplestack.state import Document, ResourceState
from tests.roles.fakes import ALICE, BOB, Decided, incoming, request
from tests.roles.test_presence import pidf

PBX = "sip:pbx@example.com"
OWN = "<p:self/>"
PBX_ONLY = f'<identity><one id="{PBX}"/></identity>'
ALL = (
    "<r:provide-services><r:all-services/></r:provide-services>"
    "<r:provide-persons><r:all-persons/></r:provide-persons>"
    "<r:provide-devices><r:all-devices/></r:provide-devices><r:provide-all-attributes/>"
)
#: Status, but not location.
STATUS = (
    "<r:provide-services><r:all-services/></r:provide-services>"
    "<r:provide-persons><r:all-persons/></r:provide-persons>"
    "<r:provide-activities>true</r:provide-activities>"
)
BOTH = "<rpid:activities><rpid:away/></rpid:activities><rpid:place-type><rpid:other>x</rpid:other></rpid:place-type>"


def ruleset(*rules: tuple[str, str]) -> bytes:
    """A rules document of conditions and transformations."""
    written = "".join(
        f'<rule id="r{place}"><conditions>{conditions}</conditions>'
        f"<transformations>{provided}</transformations></rule>"
        for place, (conditions, provided) in enumerate(rules)
    )
    return (
        f'<ruleset xmlns="{ns.COMMON_POLICY}" xmlns:r="{ns.PRES_RULES}" xmlns:p="{NAMESPACE}">'
        f"{written}</ruleset>"
    ).encode()


def document(*rules: tuple[str, str], body: bytes = b"") -> Document:
    """The document by which Alice says who publishes for her."""
    return Document(ALICE, f"{AUID}/index", AUID, "index", "e", "x", body or ruleset(*rules), 0.0)


class GrantedTests(SynchronousTestCase):
    def granted(self, rules: PublisherRules, publisher: str, *documents: Document) -> object:
        """What a publisher may say of Alice."""
        return rules.granted(ResourceState(ALICE, documents), publisher, 0.0)

    def test_without_rules(self) -> None:
        """The user publishes all of his own state, and those of a setting all of anybody's."""
        rules = PublisherRules(publishers=[PBX])
        self.assertEqual(self.granted(rules, ALICE), EVERYTHING)
        self.assertEqual(self.granted(rules, PBX), EVERYTHING)
        self.assertEqual(self.granted(rules, BOB), NOTHING)
        self.assertEqual(self.granted(rules, ""), NOTHING)

    def test_with_rules(self) -> None:
        """The operator's document says it all, and nothing by default."""
        rules = PublisherRules(ruleset((OWN, ALL)), publishers=[PBX])
        self.assertEqual(self.granted(rules, ALICE), EVERYTHING)
        self.assertEqual(self.granted(rules, PBX), NOTHING)
        self.assertEqual(self.granted(PublisherRules(ruleset()), ALICE), NOTHING)

    def test_presentity(self) -> None:
        """A rule may be about some presentities alone."""
        for whom, expected in (
            (f'<one id="{ALICE}"/>', EVERYTHING),
            ('<many domain="example.com"/>', EVERYTHING),
            ('<many domain="example.co"/>', NOTHING),
            (f'<many><except id="{ALICE}"/></many>', NOTHING),
        ):
            conditions = f"{PBX_ONLY}<p:presentity>{whom}</p:presentity>"
            rules = PublisherRules(ruleset((conditions, ALL)))
            self.assertEqual(self.granted(rules, PBX), expected, whom)
            self.assertEqual(self.granted(rules, BOB), NOTHING)

    def test_users_rules(self) -> None:
        """The user grants others what they publish for him; himself he can't limit nor free."""
        own = document((PBX_ONLY, STATUS))
        for rules in (PublisherRules(), PublisherRules(ruleset((OWN, ALL)))):
            self.assertEqual(self.granted(rules, ALICE, own), EVERYTHING)
            self.assertEqual(self.granted(rules, BOB, own), NOTHING)
            self.assertNotIn(self.granted(rules, PBX, own), (EVERYTHING, NOTHING))
        strict = PublisherRules(ruleset((PBX_ONLY, ALL)))
        self.assertEqual(self.granted(strict, ALICE, document(("", ALL))), NOTHING)

    def test_broken(self) -> None:
        """Rules that can't be read grant nothing; those of the operator are refused at the start."""
        self.assertEqual(self.granted(PublisherRules(), BOB, document(body=b"<")), NOTHING)
        self.assertRaises(DocumentError, PublisherRules, b"<")

    def test_unknown_condition(self) -> None:
        """A condition that is not known is FALSE (RFC 4745 §7)."""
        rules = PublisherRules(ruleset((f"{PBX_ONLY}<p:moon/>", ALL)))
        self.assertEqual(self.granted(rules, PBX), NOTHING)

    def test_anonymous(self) -> None:
        """Nobody publishes without a name, not even where a rule has no conditions."""
        self.assertEqual(self.granted(PublisherRules(ruleset(("", ALL))), ""), NOTHING)


class PublishTests(SynchronousTestCase):
    def publish(
        self, rules: PublisherRules, body: bytes, identity: str = PBX, tag: str = ""
    ) -> Decided:
        """Publish for Alice."""
        decided = Decided(PresenceAgent(rules=rules))
        self.send(decided, body, identity, tag)
        return decided

    def send(
        self,
        decided: Decided,
        body: bytes,
        identity: str,
        tag: str,
        content_type: str = "application/pidf+xml",
    ) -> None:
        """Send a PUBLISH."""
        headers: dict[str, str | list[str]] = {"Event": "presence", "Content-Type": content_type}
        if tag:
            headers["SIP-If-Match"] = tag
        sent = request("PUBLISH", headers, body)
        decided.decide(incoming(sent, identity=identity), 1000.0)

    def test_dropped(self) -> None:
        """What is said beyond the grant is dropped, and the rest kept."""
        rules = PublisherRules(ruleset((PBX_ONLY, STATUS)))
        decided = self.publish(rules, pidf(person=BOTH.replace("rpid:", "r:"), note="here"))
        [publication] = decided.state.publications.values()
        kept = parse_presence(publication.body)
        self.assertEqual([each.local for each in kept.persons[0].elements], ["activities"])
        self.assertEqual((kept.tuples[0].basic, kept.tuples[0].notes), ("open", ()))

    def test_dropped_again(self) -> None:
        """The same document again is a refresh, though not all of it was kept."""
        body = pidf(person=BOTH.replace("rpid:", "r:"))
        decided = self.publish(PublisherRules(ruleset((PBX_ONLY, STATUS))), body)
        [before] = decided.state.publications.values()
        self.send(decided, body, PBX, before.entity_tag)
        [after] = decided.state.publications.values()
        self.assertEqual((after.id, after.body), (before.id, before.body))
        self.assertEqual(after.published_at, before.published_at)

    def test_refused(self) -> None:
        """Where the operator chooses so, the whole request gets 403 that names the excess."""
        rules = PublisherRules(ruleset((PBX_ONLY, STATUS)), refuses=True)
        body = pidf(person=BOTH.replace("rpid:", "r:"))
        error: SIPError = self.assertRaises(SIPError, self.publish, rules, body)
        self.assertEqual(error.status, 403)
        self.assertIn("place-type", error.text)
        self.assertNotIn("activities", error.text)
        self.publish(rules, pidf())

    def change(self, decided: Decided, operations: str, identity: str = PBX) -> Presence:
        """Publish changes (RFC 5264); what is kept then."""
        [before] = decided.state.publications.values()
        body = (
            f'<p:pidf-diff xmlns="{ns.PIDF}" xmlns:p="{ns.PIDF_DIFF}" xmlns:dm="{ns.DATA_MODEL}"'
            f' xmlns:r="{ns.RPID}" entity="{ALICE}">{operations}</p:pidf-diff>'
        ).encode()
        self.send(decided, body, identity, before.entity_tag, "application/pidf-diff+xml")
        [after] = decided.state.publications.values()
        return parse_presence(after.body)

    def test_changes_dropped(self) -> None:
        """Of changes (RFC 5264), those of what was dropped are dropped too, the others made."""
        rules = PublisherRules(ruleset((PBX_ONLY, STATUS)))
        person = BOTH.replace("rpid:", "r:")
        decided = self.publish(rules, pidf(person=person, note="here"))
        kept = self.change(
            decided,
            '<p:replace sel="presence/dm:person/r:place-type/r:other/text()">y</p:replace>'
            '<p:remove sel="presence/tuple/note"/>'
            '<p:add sel="presence/dm:person/r:place-type" pos="prepend"><r:note>z</r:note></p:add>'
            '<p:add sel="presence/dm:person"><r:mood><r:sad/></r:mood></p:add>'
            '<p:replace sel="presence/tuple/status/basic/text()">closed</p:replace>',
        )
        self.assertEqual([each.local for each in kept.persons[0].elements], ["activities"])
        self.assertEqual((kept.tuples[0].basic, kept.tuples[0].notes), ("closed", ()))

    def test_changes_unclear(self) -> None:
        """Where what was dropped leaves unclear what is changed, 400: then all is published anew."""
        rules = PublisherRules(ruleset((PBX_ONLY, STATUS)))
        for operation in (
            '<p:remove sel="presence/tuple[1]"/>',
            '<p:add sel="presence/dm:person/r:place-type" pos="after"><r:mood/></p:add>',
        ):
            decided = self.publish(rules, pidf(person=BOTH.replace("rpid:", "r:")))
            error: SIPError = self.assertRaises(SIPError, self.change, decided, operation)
            self.assertEqual(error.status, 400)

    def test_changes_refused(self) -> None:
        """Where excess is refused, or the publisher may say all, changes of nothing get 400."""
        change = '<p:remove sel="presence/tuple/note"/>'
        for rules, identity in (
            (PublisherRules(ruleset((PBX_ONLY, STATUS)), refuses=True), PBX),
            (PublisherRules(), ALICE),
        ):
            decided = self.publish(rules, pidf(), identity)
            error: SIPError = self.assertRaises(SIPError, self.change, decided, change, identity)
            self.assertEqual(error.status, 400)

    def test_nothing(self) -> None:
        """Who may publish nothing gets 403."""
        rules = PublisherRules(ruleset((PBX_ONLY, STATUS)))
        error: SIPError = self.assertRaises(SIPError, self.publish, rules, pidf(), BOB)
        self.assertEqual(error.status, 403)


class UsageTests(SynchronousTestCase):
    def test_usage(self) -> None:
        """The user's own document is checked when it is put."""
        usage = Publishers()
        self.assertTrue(verifyObject(IApplicationUsage, usage))
        good = document((f"{PBX_ONLY}<p:self/>", STATUS))
        usage.check(good, parse_content(good.body), {})
        bad = good._replace(body=good.body.replace(b">true<", b">maybe<"))
        self.assertRaises(DocumentError, usage.check, bad, parse_content(bad.body), {})
