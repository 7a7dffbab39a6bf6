"""What rules let a watcher see: conditions, actions and transformations one by one."""

from time import process_time

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.pidf import Device, Person, Presence, Tuple, closed, parse_presence
from simplestack.documents.presrules import Member, parse_ruleset
from simplestack.interfaces import Decision
from simplestack.roles.rules import (
    BLOCKED,
    EVERYTHING,
    NOTHING,
    POLITE,
    Permissions,
    combined,
    matching,
    permitted,
)
from tests.roles.fakes import ALICE, BOB

BOB_ALONE = '<cp:identity><cp:one id="sip:bob@example.com"/></cp:identity>'
ALL = "<provide-services><all-services/></provide-services>"


def ruleset(*rules: str) -> bytes:
    """A document of rules."""
    return (
        f'<cp:ruleset xmlns="{ns.PRES_RULES}" xmlns:cp="{ns.COMMON_POLICY}">'
        f"{''.join(rules)}</cp:ruleset>"
    ).encode()


def rule(
    conditions: str | None = "", handling: str | None = "allow", provided: str = "", id_: str = "a"
) -> str:
    """One rule; without conditions element if None."""
    written = "" if conditions is None else f"<cp:conditions>{conditions}</cp:conditions>"
    action = "" if handling is None else f"<sub-handling>{handling}</sub-handling>"
    return (
        f'<cp:rule id="{id_}">{written}<cp:actions>{action}</cp:actions>'
        f"<cp:transformations>{provided}</cp:transformations></cp:rule>"
    )


def decide(
    *rules: str, watcher: str = BOB, sphere: str | None = None, now: float = 0.0
) -> Decision:
    """What the rules say of Bob, or of another watcher."""
    return combined(matching(parse_ruleset(ruleset(*rules)), watcher, sphere, now))


def handling(conditions: str | None, watcher: str = BOB, **more: object) -> str:
    """What becomes of a watcher by one rule that allows."""
    sphere, now = more.get("sphere"), more.get("now", 0.0)
    assert sphere is None or isinstance(sphere, str)
    assert isinstance(now, float)
    return decide(rule(conditions), watcher=watcher, sphere=sphere, now=now).handling


def permissions(provided: str, *others: str) -> Permissions:
    """What rules for everybody grant together."""
    granted = decide(
        rule(provided=provided),
        *[
            rule(handling=None, provided=other, id_=f"b{place}")
            for place, other in enumerate(others)
        ],
    ).permissions
    assert isinstance(granted, Permissions)
    return granted


class IdentityTests(SynchronousTestCase):
    def test_one(self) -> None:
        """One admits exactly one identity (RFC 4745 §7.1.2)."""
        self.assertEqual(handling(BOB_ALONE), "allow")
        for watcher in ("sip:carol@example.com", "sip:bob@example.co", "sip:bob@example.com.org"):
            self.assertEqual(handling(BOB_ALONE, watcher), "block")

    def test_case(self) -> None:
        """The host is compared without case, the user part with it (RFC 3261 §19.1.4)."""
        upper = '<cp:identity><cp:one id="sip:bob@EXAMPLE.com"/></cp:identity>'
        self.assertEqual(handling(upper), "allow")
        self.assertEqual(handling(upper, "sip:Bob@example.com"), "block")

    def test_schemes_differ(self) -> None:
        """No scheme is equivalent to another one (RFC 5025 §3.1.1.2)."""
        tel = '<cp:identity><cp:one id="tel:+12125551234"/></cp:identity>'
        self.assertEqual(handling(tel, "sip:+12125551234@example.com"), "block")
        self.assertEqual(handling(tel, "tel:+12125551234"), "allow")

    def test_several(self) -> None:
        """The members of an identity are combined by OR (RFC 4745 §7.1.1)."""
        two = '<cp:identity><cp:one id="sip:x@y.org"/><cp:many domain="example.com"/></cp:identity>'
        self.assertEqual(handling(two), "allow")
        self.assertEqual(handling(two, "sip:x@y.org"), "allow")
        self.assertEqual(handling(two, "sip:z@y.org"), "block")

    def test_many(self) -> None:
        """Many without anything admits every authenticated identity (RFC 4745 §7.1.3.1)."""
        many = "<cp:identity><cp:many/></cp:identity>"
        self.assertEqual(handling(many), "allow")
        self.assertEqual(handling(many, ""), "block")

    def test_domain(self) -> None:
        """A domain is compared whole, label by label, without case (RFC 4745 §7.1.3)."""
        many = '<cp:identity><cp:many domain="Example.com"/></cp:identity>'
        self.assertEqual(handling(many), "allow")
        for other in ("example.co", "ample.com", "sub.example.com", "example.com.org", "com"):
            self.assertEqual(handling(many, f"sip:bob@{other}"), "block", other)

    def test_international_domain(self) -> None:
        """Domains are converted by ToASCII before they are compared (RFC 4745 §7.1.3)."""
        many = '<cp:identity><cp:many domain="b&#xFC;cher.example"/></cp:identity>'
        self.assertEqual(handling(many, "sip:bob@xn--bcher-kva.example"), "allow")

    def test_except(self) -> None:
        """Except excludes identities and domains, combined by OR (RFC 4745 §7.1.3.2)."""
        many = (
            '<cp:identity><cp:many><cp:except domain="example.org"/>'
            '<cp:except id="sip:bob@example.com"/></cp:many></cp:identity>'
        )
        self.assertEqual(handling(many), "block")
        self.assertEqual(handling(many, "sip:bob@EXAMPLE.com"), "block")
        self.assertEqual(handling(many, "sip:carol@example.org"), "block")
        self.assertEqual(handling(many, "sip:carol@example.com"), "allow")
        within = (
            '<cp:identity><cp:many domain="example.com">'
            '<cp:except id="sip:bob@example.com"/></cp:many></cp:identity>'
        )
        self.assertEqual(handling(within), "block")
        self.assertEqual(handling(within, "sip:carol@example.com"), "allow")
        self.assertEqual(handling(within, "sip:carol@example.org"), "block")

    def test_anonymous(self) -> None:
        """A watcher nobody knows matches an empty identity or none (RFC 5025 §3.1.1.2)."""
        self.assertEqual(handling("<cp:identity/>", ""), "allow")
        self.assertEqual(handling("", ""), "allow")
        self.assertEqual(handling("<cp:identity/>"), "block")
        self.assertEqual(handling(BOB_ALONE, ""), "block")
        but = '<cp:identity><cp:many><cp:except domain="x.org"/></cp:many></cp:identity>'
        self.assertEqual(handling(but, ""), "block")

    def test_unknown_member(self) -> None:
        """An unknown child of identity evaluates to FALSE (RFC 4745 §7.1.1)."""
        unknown = '<cp:identity><x:group xmlns:x="urn:x">friends</x:group></cp:identity>'
        self.assertEqual(handling(unknown), "block")
        self.assertEqual(handling(unknown, ""), "block")


class ConditionTests(SynchronousTestCase):
    def test_none(self) -> None:
        """A rule without conditions matches everyone (RFC 4745 §7, erratum 5208)."""
        for watcher in (BOB, "sip:x@y.org", ""):
            self.assertEqual(handling("", watcher), "allow")
            self.assertEqual(handling(None, watcher), "allow")

    def test_evaluation_goes_on(self) -> None:
        """All matching rules count, also those after one without conditions (RFC 4745 §10.1)."""
        decision = decide(rule("", "confirm"), rule(BOB_ALONE, "allow", ALL, "b"))
        self.assertEqual(decision.handling, "allow")
        self.assertEqual(
            decision, decide(rule(BOB_ALONE, "allow", ALL), rule("", "block", "", "b"))
        )

    def test_all_must_hold(self) -> None:
        """Conditions are combined by AND (RFC 4745 §6)."""
        both = BOB_ALONE + '<cp:sphere value="work"/>'
        self.assertEqual(handling(both, sphere="work"), "allow")
        self.assertEqual(handling(both, sphere="home"), "block")
        self.assertEqual(handling(both, "sip:x@y.org", sphere="work"), "block")

    def test_validity(self) -> None:
        """From is included, until is not; several periods are combined by OR (RFC 4745 §7.4)."""
        validity = (
            "<cp:validity><cp:from>1970-01-01T00:01:40Z</cp:from>"
            "<cp:until>1970-01-01T01:03:20+01:00</cp:until>"
            "<cp:from>1970-01-01T00:05:00Z</cp:from><cp:until>1970-01-01T00:06:40Z</cp:until>"
            "</cp:validity>"
        )
        seen = {now: handling(validity, now=float(now)) for now in (99, 100, 199, 200, 300, 400)}
        self.assertEqual(
            seen,
            {99: "block", 100: "allow", 199: "allow", 200: "block", 300: "allow", 400: "block"},
        )

    def test_sphere(self) -> None:
        """The value holds several tokens, compared without case (RFC 4745 §7.3)."""
        sphere = '<cp:sphere value="home Work"/>'
        self.assertEqual(handling(sphere, sphere="work"), "allow")
        self.assertEqual(handling(sphere, sphere="HOME"), "allow")
        self.assertEqual(handling(sphere, sphere="travel"), "block")
        self.assertEqual(handling(sphere, sphere=None), "block")

    def test_unknown(self) -> None:
        """An unknown condition evaluates to FALSE (RFC 4745 §7)."""
        self.assertEqual(handling('<x:weather xmlns:x="urn:x">sunny</x:weather>'), "block")


class HandlingTests(SynchronousTestCase):
    def test_maximum(self) -> None:
        """Of several matching rules the highest action holds (RFC 4745 §10.2, RFC 5025 §3.2.1)."""
        order = ["block", "confirm", "polite-block", "allow"]
        for lower in range(4):
            for higher in range(lower, 4):
                decision = decide(rule("", order[lower]), rule("", order[higher], id_="b"))
                self.assertEqual(decision.handling, order[higher])

    def test_default(self) -> None:
        """Without a matching rule, or without an action, the default is block (§3.2.1)."""
        self.assertEqual(decide(), BLOCKED)
        self.assertEqual(decide(rule(handling=None, provided=ALL)), BLOCKED)

    def test_only_allow_grants(self) -> None:
        """Transformations count for those only who are allowed."""
        self.assertEqual(decide(rule("", "confirm", ALL)).permissions, NOTHING)
        self.assertEqual(decide(rule("", "polite-block", ALL)).permissions, POLITE)
        self.assertEqual(decide(rule("", "block", ALL)).permissions, NOTHING)

    def test_permissions_of_all_matching_rules(self) -> None:
        """Each permission is combined on its own, over all matching rules (RFC 4745 §10.2)."""
        decision = decide(
            rule(BOB_ALONE, "allow"),
            rule("", None, "<provide-mood>true</provide-mood>", "b"),
            rule('<cp:sphere value="x"/>', "allow", "<provide-note>true</provide-note>", "c"),
        )
        self.assertEqual(decision.permissions, Permissions(attributes=frozenset({"mood"})))

    def test_equal_views(self) -> None:
        """Rules that grant the same are the same permissions, so that watchers share a view."""
        everything = (
            "<provide-services><all-services/></provide-services>"
            "<provide-persons><all-persons/></provide-persons>"
            "<provide-devices><all-devices/></provide-devices><provide-all-attributes/>"
        )
        more = (
            "<provide-mood>true</provide-mood><provide-persons><class>x</class></provide-persons>"
        )
        self.assertEqual(permissions(everything), EVERYTHING)
        self.assertEqual(permissions(everything, more), EVERYTHING)
        self.assertEqual(hash(permissions(everything, more)), hash(EVERYTHING))


DOCUMENT = parse_presence(
    f"""<presence xmlns="{ns.PIDF}" xmlns:dm="{ns.DATA_MODEL}" xmlns:r="{ns.RPID}"
      xmlns:c="{ns.CIPID}" xmlns:x="urn:x" entity="{ALICE}">
    <tuple id="t1"><status><basic>open</basic><x:location>here</x:location></status>
      <dm:deviceID>urn:uuid:AAAA</dm:deviceID><r:class>work</r:class>
      <r:privacy><r:text/></r:privacy><r:relationship><r:friend/></r:relationship>
      <r:service-class><r:electronic/></r:service-class><r:status-icon>http://i</r:status-icon>
      <r:user-input idle-threshold="600" last-input="2026-01-01T00:00:00Z">idle</r:user-input>
      <c:card>http://card</c:card><x:secret>s</x:secret><x:other>o</x:other>
      <contact priority="0.8">sip:alice@phone.example.com</contact><note>tuple note</note>
      <timestamp>2026-01-01T00:00:00Z</timestamp></tuple>
    <tuple id="t2"><status><basic>closed</basic></status>
      <contact>mailto:alice@example.com</contact></tuple>
    <note>root note</note>
    <dm:person id="p1"><r:class>home</r:class><r:activities><r:note>n</r:note><r:away/>
      </r:activities><r:mood><r:happy/></r:mood><r:place-is><r:audio><r:noisy/></r:audio>
      </r:place-is><r:place-type><r:other>x</r:other></r:place-type>
      <r:privacy><r:text/></r:privacy><r:sphere>work</r:sphere>
      <r:status-icon>http://i</r:status-icon><r:time-offset>60</r:time-offset>
      <r:user-input last-input="2026-01-01T00:00:00Z">idle</r:user-input><r:invented/>
      <x:secret>s</x:secret><dm:note>person note</dm:note>
      <dm:timestamp>2026-01-01T00:00:00Z</dm:timestamp></dm:person>
    <dm:device id="d1"><r:class>work</r:class><r:user-input>active</r:user-input>
      <dm:deviceID>urn:uuid:aaaa</dm:deviceID><dm:note>device note</dm:note>
      <dm:timestamp>2026-01-01T00:00:00Z</dm:timestamp></dm:device>
    <x:root/></presence>""".encode()
)
SERVICES = "<provide-services><all-services/></provide-services>"
PERSONS = "<provide-persons><all-persons/></provide-persons>"
DEVICES = "<provide-devices><all-devices/></provide-devices>"
COMPONENTS = SERVICES + PERSONS + DEVICES


def shown(provided: str, *others: str) -> Presence:
    """The document as rules show it."""
    return permitted(DOCUMENT, permissions(provided, *others))


def components(presence: Presence) -> list[Tuple | Person | Device]:
    """All components of a document."""
    return [*presence.tuples, *presence.persons, *presence.devices]


def locals_of(presence: Presence) -> dict[str, list[str]]:
    """The names of the extension elements by the id of their component."""
    return {part.id: [each.local for each in part.elements] for part in components(presence)}


class ComponentTests(SynchronousTestCase):
    def ids(self, *provided: str) -> list[str]:
        """The ids of the components that are shown."""
        presence = shown(*provided)
        return list(locals_of(presence))

    def test_nothing(self) -> None:
        """What no rule provides is not there (RFC 5025 §3)."""
        self.assertEqual(shown(""), Presence(ALICE))
        self.assertEqual(shown("<provide-mood>true</provide-mood>"), Presence(ALICE))

    def test_all(self) -> None:
        """All services, persons and devices (§3.3.1)."""
        self.assertEqual(self.ids(SERVICES), ["t1", "t2"])
        self.assertEqual(self.ids(PERSONS), ["p1"])
        self.assertEqual(self.ids(DEVICES), ["d1"])
        self.assertEqual(self.ids(SERVICES, PERSONS, DEVICES), ["t1", "t2", "p1", "d1"])

    def test_class(self) -> None:
        """By class, in its case (§3.3.1)."""
        one = "<provide-{0}><class>{1}</class></provide-{0}>"
        self.assertEqual(self.ids(one.format("services", "work")), ["t1"])
        self.assertEqual(self.ids(one.format("services", "Work")), [])
        self.assertEqual(self.ids(one.format("persons", "home")), ["p1"])
        self.assertEqual(self.ids(one.format("persons", "work")), [])
        self.assertEqual(self.ids(one.format("devices", "work")), ["d1"])

    def test_occurrence_id(self) -> None:
        """By occurrence-id, in its case (§3.3.1)."""
        one = "<provide-{0}><occurrence-id>{1}</occurrence-id></provide-{0}>"
        self.assertEqual(self.ids(one.format("services", "t2")), ["t2"])
        self.assertEqual(self.ids(one.format("services", "T2")), [])
        self.assertEqual(self.ids(one.format("persons", "p1")), ["p1"])
        self.assertEqual(self.ids(one.format("devices", "d1")), ["d1"])
        self.assertEqual(self.ids(one.format("devices", "t1")), [])

    def test_device_id(self) -> None:
        """By device ID, as URIs are equivalent (§3.3.1.1); UUIDs have no case."""
        one = "<provide-devices><deviceID>{0}</deviceID></provide-devices>"
        self.assertEqual(self.ids(one.format("urn:uuid:AAAA")), ["d1"])
        self.assertEqual(self.ids(one.format("urn:uuid:aaab")), [])

    def test_service_uri(self) -> None:
        """By service URI, as URIs are equivalent (§3.3.1.3)."""
        one = "<provide-services><service-uri>{0}</service-uri></provide-services>"
        self.assertEqual(self.ids(one.format("sip:alice@PHONE.example.com")), ["t1"])
        self.assertEqual(self.ids(one.format("sip:Alice@phone.example.com")), [])
        self.assertEqual(self.ids(one.format("mailto:alice@example.com")), ["t2"])

    def test_uris_are_equivalent(self) -> None:
        """URIs are compared as their schemes have it (RFC 3261 §19.1.4), however many there are."""
        for member, contact, shown in (
            ("sip:a@h", "SIP:%61@H", True),
            ("sip:a@h", "sip:a@h;x=y", True),
            ("sip:a@h;x=z", "sip:a@h;x=y", False),
            ("sip:a@h", "sip:a@h;transport=tcp", False),
            ("sip:a@h", "sip:a@h:5060", False),
            ("sip:a@h", "sips:a@h", False),
            ("tel:+1-2(3)4", "tel:+1234", True),
            ("urn:UUID:aB", "urn:uuid:Ab", True),
            ("urn:x:aB", "urn:x:ab", False),
            ("no uri", "no uri", True),
            ("no uri", "no Uri", False),
        ):
            others = frozenset(Member("service-uri", f"sip:{each}@h") for each in range(40))
            for members in (frozenset(), others):
                granted = Permissions(services=members | {Member("service-uri", member)})
                for one in (contact, member):
                    presence = Presence(ALICE, (Tuple("t", contact=one),))
                    found = permitted(presence, granted).tuples
                    self.assertEqual(bool(found), shown or one == member, (member, one))

    def test_very_many_uris(self) -> None:
        """A user who names thousands and publishes thousands does not hold up the server (§3.3.1)."""
        uris = [f"sip:{number}@example.com;n={number}" for number in range(4000)]
        alike = [f"sip:a@example.com;n={number}" for number in range(2000)]
        granted = Permissions(
            services=frozenset(Member("service-uri", each) for each in uris + alike)
        )
        presence = Presence(
            ALICE,
            tuple(
                Tuple(f"t{number}", contact=each.replace(";n", ";other"))
                for number, each in enumerate((*uris, *[f"{each}x" for each in alike]))
            ),
        )
        began = process_time()
        shown = permitted(presence, granted).tuples
        self.assertEqual(len(shown), 6000)
        self.assertLess(process_time() - began, 2.0)

    def test_service_uri_scheme(self) -> None:
        """By the scheme of the service URI, in its case (§3.3.1.3)."""
        one = "<provide-services><service-uri-scheme>{0}</service-uri-scheme></provide-services>"
        self.assertEqual(self.ids(one.format("mailto")), ["t2"])
        self.assertEqual(self.ids(one.format("SIP")), [])

    def test_union(self) -> None:
        """Sets of several rules are united (RFC 4745 §10.2)."""
        self.assertEqual(
            self.ids(
                "<provide-services><occurrence-id>t1</occurrence-id></provide-services>",
                "<provide-services><occurrence-id>t2</occurrence-id></provide-services>",
            ),
            ["t1", "t2"],
        )


class PoliteBlockTests(SynchronousTestCase):
    def test_looks_like_closed(self) -> None:
        """A politely blocked watcher sees what a presentity without state shows (§3.2.1)."""
        self.assertEqual(permitted(DOCUMENT, POLITE), closed(ALICE))
        self.assertEqual(permitted(closed(ALICE), EVERYTHING), closed(ALICE))
