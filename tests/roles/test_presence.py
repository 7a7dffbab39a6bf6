"""The presence agent: who publishes, who watches, and what is seen."""

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.documents import namespaces as ns
from simplestack.documents.pidf import MEDIA_TYPE, Presence, closed, parse_presence
from simplestack.interfaces import Body, Decision, IEventPackage, IRole
from simplestack.outcome import Outcome
from simplestack.roles.authorization import PresRulesPolicy
from simplestack.roles.composer import Composer
from simplestack.roles.composition import Source, UnionPolicy
from simplestack.roles.presence import PresenceAgent, PresencePackage
from simplestack.roles.rules import BLOCKED, EVERYTHING, NOTHING, POLITE, Permissions
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response
from simplestack.state import Binding, ChangeSet, Document, ResourceState
from tests.roles.fakes import ALICE, BOB, Decided, incoming, request
from tests.roles.test_rules import BOB_ALONE, COMPONENTS, rule, ruleset

RULES = "pres-rules/index"
CAROL = "sip:carol@example.com"


def pidf(
    basic: str = "open", id_: str = "t", entity: str = ALICE, person: str = "", note: str = ""
) -> bytes:
    """A presence document."""
    inner = f'<dm:person id="p{id_}">{person}</dm:person>' if person else ""
    note = f"<note>{note}</note>" if note else ""
    return (
        f'<presence xmlns="{ns.PIDF}" xmlns:dm="{ns.DATA_MODEL}" xmlns:r="{ns.RPID}"'
        f' entity="{entity}"><tuple id="{id_}"><status><basic>{basic}</basic></status>{note}'
        f"</tuple>{inner}</presence>"
    ).encode()


def rules(*written: str, number: int = 1) -> Document:
    """The rules document of Alice."""
    return Document(
        ALICE, RULES, "pres-rules", "index", f"e{number}", "x", ruleset(*written), float(number)
    )


def binding(expires_at: float = 9999.0) -> Binding:
    """A phone of Alice."""
    return Binding(
        ALICE, "b", "sip:alice@192.0.2.1", "sip:alice@192.0.2.1", "", "", 1000, "c", 1,
        expires_at, 0.0, 0.0, "registered", "", "", 0, "", "",
    )  # fmt: skip


class PresenceTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """An agent with its usual settings."""
        self.use(PresenceAgent())

    def use(self, agent: PresenceAgent) -> None:
        """Start anew with this agent."""
        self.agent = agent
        self.package = agent.package
        self.decided = Decided(agent)
        self.state = self.decided.state

    def publish(
        self,
        body: bytes = b"",
        tag: str | None = None,
        identity: str = ALICE,
        now: float = 1000.0,
        expires: int = 3600,
        content_type: str = MEDIA_TYPE,
        event: str = "presence",
    ) -> Outcome[Response]:
        """Publish for Alice."""
        headers: dict[str, str | list[str]] = {"Event": event, "Expires": str(expires)}
        if body:
            headers["Content-Type"] = content_type
        if tag is not None:
            headers["SIP-If-Match"] = tag
        sent = request("PUBLISH", headers, body)
        return self.decided.decide(incoming(sent, identity=identity), now)

    def refused(self, status: int, body: bytes, **more: str) -> SIPError:
        """Publish, be refused, and see that nothing changed."""
        before = dict(self.state.publications)
        error: SIPError = self.assertRaises(
            SIPError, self.publish, body, more.get("tag"), more.get("identity", ALICE)
        )
        self.assertEqual(error.status, status)
        self.assertTrue(error.text)
        self.assertEqual(self.state.publications, before)
        return error

    def allow(self, *written: str, number: int = 1) -> ChangeSet:
        """Write the rules document."""
        changes = ChangeSet(ALICE, [rules(*written, number=number)])
        self.state.apply(changes)
        return changes

    def body(self, permissions: Permissions = EVERYTHING, now: float = 1000.0) -> Body:
        """What these permissions show now."""
        return self.package.full(self.state, permissions, MEDIA_TYPE, now)

    def seen(self, permissions: Permissions = EVERYTHING, now: float = 1000.0) -> Presence:
        """What these permissions show now, as a watcher reads it."""
        return parse_presence(self.body(permissions, now).data)

    def authorized(self, watcher: str = BOB, now: float = 1000.0) -> Decision:
        """What authorization says."""
        return self.package.authorize(self.state, watcher, now)


class PublishTests(PresenceTestCase):
    def test_role(self) -> None:
        """The agent is a role, and its package an event package."""
        self.assertTrue(verifyObject(IRole, self.agent))
        self.assertTrue(verifyObject(IEventPackage, self.package))
        self.assertEqual(self.agent.packages, (self.package,))

    def test_publisher(self) -> None:
        """Only the user publishes his state, and whom a setting allows; others get 403."""
        self.refused(403, pidf(), identity=BOB)
        self.refused(403, pidf(), identity="")
        self.use(PresenceAgent(publishers=[BOB]))
        self.publish(pidf(), identity=BOB)
        [publication] = self.state.publications.values()
        self.assertEqual(publication.publisher, BOB)

    def test_entity(self) -> None:
        """The entity of a document is the AOR it is published for, as sip or pres URI."""
        for entity in (
            ALICE,
            "pres:alice@example.com",
            "sip:alice@EXAMPLE.COM",
            "sips:alice@example.com",
        ):
            self.publish(pidf(entity=entity))
        for entity in (BOB, "pres:Alice@example.com", "alice", "mailto:alice@example.com"):
            self.refused(403, pidf(entity=entity))

    def test_bad_document(self) -> None:
        """A document that can't be read gets 400, and the text says why."""
        for bad in (b"x", b"<presence/>", pidf("perhaps"), pidf().replace(b"</tuple>", b"")):
            self.refused(400, bad)

    def test_other_event_and_type(self) -> None:
        """Other events get 489, other types 415 (RFC 3903 §6)."""
        error: SIPError = self.assertRaises(SIPError, self.publish, pidf(), event="dialog")
        self.assertEqual(error.status, 489)
        error = self.assertRaises(SIPError, self.publish, pidf(), content_type="text/xml")
        self.assertEqual(error.status, 415)
        # RFC 5264 §4.1: it "is an explicit indication of support for" partial publication.
        self.assertEqual(dict(error.headers)["Accept"], f"{MEDIA_TYPE}, application/pidf-diff+xml")

    def test_expire(self) -> None:
        """Publications end on time, and the state without them is closed."""
        self.publish(pidf(), expires=60)
        self.assertEqual(self.seen().tuples[0].basic, "open")
        self.decided.expire(1060.0)
        self.assertEqual(self.state.publications, {})
        self.assertEqual(self.seen(now=1060.0), closed(ALICE))

    def test_settings_that_make_no_sense(self) -> None:
        """A default handling that RFC 5025 does not know is refused."""
        self.assertRaises(ValueError, PresenceAgent, default_handling="maybe")


class ComposedTests(PresenceTestCase):
    def test_nobody(self) -> None:
        """A user without registration and publications is closed, not silent."""
        self.assertEqual(self.seen(), closed(ALICE))
        self.assertEqual(self.body().content_type, MEDIA_TYPE)

    def test_registered(self) -> None:
        """A registered user without publications is open; his addresses are not told."""
        self.state.apply(ChangeSet(ALICE, [binding()]))
        [service] = self.seen().tuples
        self.assertEqual((service.basic, service.contact), ("open", ALICE))
        self.assertEqual(self.seen(now=9999.0), closed(ALICE))

    def test_registration_is_no_presence(self) -> None:
        """A setting turns registration off as a source."""
        self.use(PresenceAgent(registration_is_presence=False))
        self.state.apply(ChangeSet(ALICE, [binding()]))
        self.assertEqual(self.seen(), closed(ALICE))
        self.assertFalse(self.package.affected(ChangeSet(ALICE, [binding()])))

    def test_published_comes_before_registered(self) -> None:
        """Who publishes closed is closed, whether his phone is registered or not."""
        self.state.apply(ChangeSet(ALICE, [binding()]))
        self.publish(pidf("closed"))
        self.assertEqual([each.basic for each in self.seen().tuples], ["closed"])

    def test_two_publications(self) -> None:
        """Several publications are one document; two devices with one tuple id are two tuples."""
        self.publish(pidf("open", person="<r:mood><r:happy/></r:mood>"))
        self.publish(pidf("closed", person="<r:activities><r:away/></r:activities>"))
        presence = self.seen()
        self.assertEqual(sorted(each.basic or "" for each in presence.tuples), ["closed", "open"])
        self.assertEqual(len({each.id for each in presence.tuples}), 2)
        [person] = presence.persons
        self.assertEqual({each.local for each in person.elements}, {"mood", "activities"})

    def test_other_packages(self) -> None:
        """Publications of other packages are not presence."""
        self.publish(pidf())
        [publication] = self.state.publications.values()
        other = ChangeSet(ALICE, [publication._replace(package="dialog")])
        self.state.apply(other)
        self.assertEqual(self.seen(), closed(ALICE))
        self.assertFalse(self.package.affected(other))

    def test_affected(self) -> None:
        """Publications and bindings may alter the document; rules and subscriptions do not."""
        self.assertTrue(self.package.affected(self.publish(pidf()).changes))
        self.assertTrue(self.package.affected(self.agent.expire(self.state, 99999.0)))
        self.assertTrue(self.package.affected(ChangeSet(ALICE, [binding()])))
        self.assertFalse(self.package.affected(ChangeSet(ALICE, [rules()])))

    def test_refresh_changes_nothing(self) -> None:
        """A refresh, and a PUBLISH of the same octets, leave the very same body."""
        outcome = self.publish(pidf())
        before = self.body()
        for body in (b"", pidf(), b""):
            tag = outcome.response.etag
            outcome = self.publish(body, tag=tag, now=1500.0)
            after = self.package.changed(
                self.state, EVERYTHING, MEDIA_TYPE, outcome.changes, 1500.0
            )
            self.assertIs(after, before)

    def test_modify_changes(self) -> None:
        """A PUBLISH with other octets is seen at once."""
        outcome = self.publish(pidf())
        before = self.body()
        outcome = self.publish(pidf("closed"), tag=outcome.response.etag)
        after = self.package.changed(self.state, EVERYTHING, MEDIA_TYPE, outcome.changes, 1000.0)
        assert after is not None
        self.assertNotEqual(after, before)
        self.assertEqual(parse_presence(after.data).tuples[0].basic, "closed")

    def test_binding_refresh_changes_nothing(self) -> None:
        """A refreshed registration leaves the very same body."""
        self.state.apply(ChangeSet(ALICE, [binding()]))
        before = self.body()
        self.state.apply(ChangeSet(ALICE, [binding(99999.0)._replace(cseq=2)]))
        self.assertIs(self.body(), before)

    def test_composed_once(self) -> None:
        """Views of one state are composed once, and each is built once."""
        composed: list[Presence] = []

        class Counting(UnionPolicy):
            def compose(self, sources: Sequence[Source], entity: str, now: float) -> Presence:
                presence = super().compose(sources, entity, now)
                composed.append(presence)
                return presence

        self.use(PresenceAgent(Counting()))
        self.publish(pidf())
        few = Permissions(services=EVERYTHING.services)
        bodies = [self.body(each) for each in (EVERYTHING, few, EVERYTHING, few, NOTHING)]
        self.assertEqual(len(composed), 1)
        self.assertIs(bodies[0], bodies[2])
        self.assertIs(bodies[1], bodies[3])

    def test_equal_states(self) -> None:
        """What is remembered of an AOR is used for the state it was made from, and no other."""
        self.publish(pidf("open"))
        self.body()
        other = ResourceState(ALICE)
        self.assertEqual(
            parse_presence(self.package.full(other, EVERYTHING, MEDIA_TYPE, 0.0).data),
            closed(ALICE),
        )
        self.assertEqual(self.seen().tuples[0].basic, "open")

    def test_memory_is_bounded(self) -> None:
        """Of many AORs the newest are remembered."""
        composer, authorization = Composer(max_remembered=3), PresRulesPolicy(max_remembered=3)
        package = PresencePackage(composer, authorization)
        for number in range(10):
            state = ResourceState(f"sip:{number}@x.org")
            state.apply(ChangeSet(state.aor, [rules()]))
            package.full(state, EVERYTHING, MEDIA_TYPE, 0.0)
            package.authorize(state, BOB, 0.0)
        for kept in (composer._composed, authorization._rulings._entries):
            self.assertGreaterEqual(len(kept), 3)
            self.assertLessEqual(len(kept), 6)


class AuthorizeTests(PresenceTestCase):
    def test_owner(self) -> None:
        """The user may watch himself and sees everything, whatever his rules."""
        self.assertEqual(self.authorized(ALICE), Decision("allow", EVERYTHING))
        self.allow(rule("", "block"))
        self.assertEqual(self.authorized(ALICE), Decision("allow", EVERYTHING))

    def test_default(self) -> None:
        """Without rules the setting decides; by default it is confirm."""
        self.assertEqual(self.authorized(), Decision("confirm", NOTHING))
        for handling, permissions in (
            ("block", NOTHING),
            ("polite-block", POLITE),
            ("allow", EVERYTHING),
        ):
            self.use(PresenceAgent(default_handling=handling))
            self.assertEqual(self.authorized(), Decision(handling, permissions))

    def test_rules(self) -> None:
        """With rules, who matches none is blocked (RFC 5025 §3.2.1)."""
        self.allow(rule(BOB_ALONE, "allow", COMPONENTS))
        self.assertEqual(self.authorized(BOB).handling, "allow")
        self.assertEqual(self.authorized(CAROL), BLOCKED)
        self.assertEqual(self.authorized(""), BLOCKED)

    def test_new_rules(self) -> None:
        """New rules hold at once, and a removed document is the default again."""
        self.allow(rule(BOB_ALONE, "allow"))
        self.assertEqual(self.authorized().handling, "allow")
        changes = self.allow(rule(BOB_ALONE, "polite-block"), number=2)
        self.assertTrue(self.package.reauthorizes(changes))
        self.assertEqual(self.authorized(), Decision("polite-block", POLITE))
        removal = ChangeSet(ALICE)
        removal.remove(self.state.documents[RULES], "deleted")
        self.state.apply(removal)
        self.assertTrue(self.package.reauthorizes(removal))
        self.assertEqual(self.authorized().handling, "confirm")

    def test_broken_rules_deny(self) -> None:
        """A document that can't be read never opens, whatever the default."""
        self.use(PresenceAgent(default_handling="allow"))
        broken = rules()._replace(body=ruleset(rule("", "allow"))[:-5])
        self.state.apply(ChangeSet(ALICE, [broken]))
        self.assertEqual(self.authorized(), BLOCKED)
        self.assertIsNone(self.package.boundary(self.state, 0.0))

    def test_several_documents(self) -> None:
        """Of several rules documents all rules count, and a broken one denies (§9.7)."""
        second = rules(rule('<cp:identity><cp:one id="sip:carol@example.com"/></cp:identity>'))
        second = second._replace(id="pres-rules/work/rules", path="work/rules")
        self.allow(rule(BOB_ALONE))
        changes = ChangeSet(ALICE, [second])
        self.assertTrue(self.package.reauthorizes(changes))
        self.assertEqual(self.authorized(CAROL).handling, "block")
        self.state.apply(changes)
        self.assertEqual(self.authorized(BOB).handling, "allow")
        self.assertEqual(self.authorized(CAROL).handling, "allow")
        self.state.apply(ChangeSet(ALICE, [second._replace(body=b"broken")]))
        self.assertEqual(self.authorized(BOB), BLOCKED)

    def test_other_documents(self) -> None:
        """Documents of other applications are no rules."""
        other = rules(rule())._replace(id="resource-lists/index", auid="resource-lists")
        changes = ChangeSet(ALICE, [other])
        self.state.apply(changes)
        self.assertEqual(self.authorized().handling, "confirm")
        self.assertFalse(self.package.reauthorizes(changes))

    def test_validity(self) -> None:
        """Rules hold from and until; the boundaries are when to look again (RFC 4745 §7.4)."""
        self.allow(
            rule(
                "<cp:validity><cp:from>1970-01-01T00:20:00Z</cp:from>"
                "<cp:until>1970-01-01T00:30:00Z</cp:until></cp:validity>"
            )
        )
        boundary = self.package.boundary
        self.assertEqual(boundary(self.state, 1000.0), 1200.0)
        self.assertEqual(boundary(self.state, 1200.0), 1800.0)
        self.assertIsNone(boundary(self.state, 1800.0))
        found = [self.authorized(now=now).handling for now in (1199.0, 1200.0, 1799.0, 1800.0)]
        self.assertEqual(found, ["block", "allow", "allow", "block"])
        self.assertEqual(self.authorized(now=1200.0).handling, "allow")

    def test_no_boundary(self) -> None:
        """Without rules and validities nothing changes by the clock."""
        self.assertIsNone(self.package.boundary(self.state, 0.0))
        self.allow(rule())
        self.assertIsNone(self.package.boundary(self.state, 0.0))

    def sphere(self, value: str, tag: str | None = None) -> Outcome[Response]:
        """Publish a sphere."""
        return self.publish(pidf(person=f"<r:sphere>{value}</r:sphere>"), tag=tag)

    def test_rules_of_many(self) -> None:
        """RFC 5025 §3.1.2: of every AOR it is known whether a PUBLISH may change what its rules
        say, though the rules of few are remembered; a change of the rules shows at once.
        """
        policy = PresRulesPolicy(max_remembered=1)
        validity = (
            "<cp:validity><cp:from>2020-01-01T00:00:00Z</cp:from>"
            "<cp:until>2040-01-01T00:00:00Z</cp:until></cp:validity>"
        )
        kinds = (
            rules(),
            rules(rule('<cp:sphere value="work"/>'), number=2),
            rules(rule(validity), number=3),
        )
        published = self.publish(pidf()).changes
        states = [ResourceState(f"sip:{number}@x.org") for number in range(9)]
        for turn in range(3):
            for number, state in enumerate(states):
                kind = (number + turn) % 3
                state.apply(ChangeSet(state.aor, [kinds[kind]._replace(aor=state.aor)]))
                policy.decide(state, BOB, "presence", 0.0)
            for number, state in enumerate(states):
                kind = (number + turn) % 3
                changes = ChangeSet(state.aor)
                changes.entries = published.entries
                self.assertEqual(policy.reauthorizes(changes), kind == 1)
                self.assertEqual(policy.boundary(state, 0.0) is not None, kind == 2)
        unheard = ChangeSet("sip:unheard@x.org")
        unheard.entries = published.entries
        self.assertTrue(policy.reauthorizes(unheard))

    def test_sphere(self) -> None:
        """The sphere is that on which all documents agree that name one (RFC 5025 §3.1.2)."""
        self.allow(rule('<cp:sphere value="work"/>'))
        self.assertEqual(self.authorized().handling, "block")
        outcome = self.sphere("work")
        self.assertTrue(self.package.reauthorizes(outcome.changes))
        self.assertEqual(self.authorized().handling, "allow")
        self.publish(pidf())
        self.assertEqual(self.authorized().handling, "allow")
        second = self.sphere("<r:home/>")
        self.assertEqual(self.authorized().handling, "block")
        self.sphere("<r:work/>", second.response.etag)
        self.assertEqual(self.authorized().handling, "allow")
        self.assertEqual(self.authorized(now=4600.0).handling, "block")

    def test_publications_do_not_reauthorize(self) -> None:
        """Where no rule asks for the sphere a PUBLISH authorizes nobody anew."""
        self.allow(rule())
        self.authorized()
        self.assertFalse(self.package.reauthorizes(self.publish(pidf()).changes))

    def test_many_watchers(self) -> None:
        """Decisions about any number of watchers are right, and a bounded number is kept."""
        self.allow(rule('<cp:identity><cp:many domain="x.org"/></cp:identity>'))
        for number in range(3000):
            host = "x.org" if number % 2 else "x.com"
            handling = self.authorized(f"sip:{number}@{host}").handling
            self.assertEqual(handling, "allow" if number % 2 else "block")
        authorization = self.package.authorization
        assert isinstance(authorization, PresRulesPolicy)
        self.assertLessEqual(len(authorization._rulings._entry(ALICE).decisions), 1024)


class PrivacyTests(PresenceTestCase):
    def test_polite_block_is_closed(self) -> None:
        """A politely blocked watcher gets the octets of a presentity that is closed (§3.2.1)."""
        truly_closed = self.body()
        self.publish(pidf(person="<r:mood><r:happy/></r:mood>", note="secret"))
        self.assertEqual(self.body(POLITE), truly_closed)

    def test_polite_block_sees_no_change(self) -> None:
        """Nothing that is published later makes a NOTIFY for him."""
        changes = self.publish(pidf()).changes
        self.assertIsNone(self.package.changed(self.state, POLITE, MEDIA_TYPE, changes, 1000.0))

    def test_rules_apply(self) -> None:
        """A watcher sees what the rules provide of the composed document."""
        self.publish(pidf(note="secret", person="<r:mood><r:sad/></r:mood>"))
        self.allow(rule(BOB_ALONE, "allow", COMPONENTS + "<provide-mood>true</provide-mood>"))
        permissions = self.authorized().permissions
        assert isinstance(permissions, Permissions)
        presence = self.seen(permissions)
        self.assertEqual(presence.tuples[0].notes, ())
        self.assertEqual([each.local for each in presence.persons[0].elements], ["mood"])

    def test_nothing_provided(self) -> None:
        """Who is allowed but is provided nothing sees a document without components."""
        self.publish(pidf())
        self.assertEqual(self.seen(NOTHING), Presence(ALICE))

    def test_unknown_permissions_show_nothing(self) -> None:
        """Permissions that are not ours show nothing."""
        self.publish(pidf())
        body = self.package.full(self.state, "everything", MEDIA_TYPE, 1000.0)
        self.assertEqual(parse_presence(body.data), Presence(ALICE))

    def test_registered_is_subject_to_rules(self) -> None:
        """That a user is registered is a service like others, and needs provide-services."""
        self.state.apply(ChangeSet(ALICE, [binding()]))
        self.assertEqual(self.seen(NOTHING), Presence(ALICE))
