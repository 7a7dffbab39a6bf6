"""Presence rules as values (RFC 4745, RFC 5025), and the editing of a watcher's handling."""

from time import process_time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.presrules import (
    ALL,
    ATTRIBUTES,
    EVERYTHING,
    Actions,
    Identity,
    Many,
    Member,
    One,
    OtherCondition,
    OtherIdentity,
    Rule,
    Ruleset,
    Sphere,
    SubHandling,
    Transformations,
    UserInput,
    Validity,
    domain_of,
    identity_key,
    parse_ruleset,
    set_handling,
)
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_content
from simplestack.sip.errors import SIPError


def ruleset(rules: str) -> bytes:
    """Give a ruleset document around some rules."""
    return (
        f'<ruleset xmlns="{ns.COMMON_POLICY}" xmlns:pr="{ns.PRES_RULES}" xmlns:x="urn:x">'
        f"{rules}</ruleset>"
    ).encode()


def one_rule(conditions: str = "", actions: str = "", provided: str = "") -> Rule:
    """Read a ruleset of one rule."""
    return parse_ruleset(
        ruleset(
            f'<rule id="a"><conditions>{conditions}</conditions><actions>{actions}</actions>'
            f"<transformations>{provided}</transformations></rule>"
        )
    ).rules[0]


class ConditionTests(SynchronousTestCase):
    def test_identities(self) -> None:
        """One, many of a domain, and exceptions by domain and by id (RFC 4745 §7.1)."""
        rule = one_rule(
            '<identity><one id="sip:a@b"/><many domain="example.com"><except domain="x.org"/>'
            '<except id="sip:c@d"/></many><many/></identity>'
        )
        self.assertEqual(
            rule.conditions,
            (Identity((One("sip:a@b"), Many("example.com", ("x.org",), ("sip:c@d",)), Many())),),
        )

    def test_unknownsAreFalse(self) -> None:
        """Unknown conditions and identities are kept as what is always FALSE (§7, §7.1.1)."""
        rule = one_rule(
            '<x:c/><identity><x:i/><many><x:r/></many><one id="sip:a@b"><x:r/></one></identity>'
        )
        self.assertIsInstance(rule.conditions[0], OtherCondition)
        identity = rule.conditions[1]
        assert isinstance(identity, Identity)
        self.assertEqual([type(m) for m in identity.members], [OtherIdentity] * 3)
        self.assertEqual(parse_ruleset(Ruleset((rule,)).to_bytes()).rules, (rule,))

    def test_manyMembers(self) -> None:
        """A user can't hold up the server by what each of many watchers is compared with (§7.1.3).

        Each comparison took a third of a second with one long domain, a tenth with 9000 short ones.
        """
        began = process_time()
        excepted = tuple(f"ü{number}.example" for number in range(4000))
        ids = tuple(f"sip:{number}@example.com" for number in range(4000))
        identity = Identity(
            (
                *[One(each) for each in ids],
                Many("ü." * 60_000 + "example"),
                Many(None, excepted, ("sip:eve@example.org",)),
            )
        )
        for number in range(3999, 5000):
            # The first by his name, all others since none of their domains is excepted.
            self.assertTrue(identity.admits(f"sip:{number}@example.com"))
        self.assertFalse(identity.admits("sip:eve@example.org"))
        self.assertFalse(identity.admits("sip:w@xn--7-dha.example"))
        self.assertLess(process_time() - began, 5.0)

    def test_noConditions(self) -> None:
        """A rule without conditions has none, which is TRUE (RFC 4745 erratum 5208)."""
        self.assertEqual(parse_ruleset(ruleset('<rule id="a"/>')).rules, (Rule("a"),))
        self.assertEqual(one_rule().conditions, ())

    def test_domains(self) -> None:
        """A domain matches whole and in any case: example.com admits none of example.co."""
        many = Many("Example.COM", except_ids=("sip:eve@example.com",))
        self.assertTrue(many.admits("sip:bob@EXAMPLE.com"))
        self.assertTrue(many.admits("sips:bob@example.com"))
        for outside in (
            "sip:bob@example.co",
            "sip:bob@sub.example.com",
            "sip:bob@badexample.com",
            "sip:eve@Example.com",
            "tel:+1234",
        ):
            self.assertFalse(many.admits(outside), outside)
        self.assertTrue(many.admits("sip:Eve@example.com"))
        self.assertTrue(Many(except_domains=("example.org",)).admits("tel:+1234"))
        self.assertFalse(Many(except_domains=("Example.org",)).admits("sip:a@example.ORG"))

    def test_internationalDomains(self) -> None:
        """Domains are compared by ToASCII, after percent-decoding (RFC 4745 §7.1.3)."""
        self.assertTrue(Many("bücher.example").admits("sip:a@xn--bcher-kva.example"))
        self.assertTrue(Many("ex%61mple.com").admits("sip:a@example.com"))
        self.assertFalse(Many("x" * 80 + "ü").admits("sip:a@xn--x"))

    def test_identityKeys(self) -> None:
        """User parts count their case, hosts do not; schemes never mix (RFC 5025 §3.1.1.2)."""
        self.assertEqual(identity_key("sip:a@EXAMPLE.com;x=y"), identity_key("sip:%61@example.com"))
        self.assertNotEqual(identity_key("sip:A@example.com"), identity_key("sip:a@example.com"))
        self.assertNotEqual(identity_key("sip:+1@example.com"), identity_key("tel:+1"))
        self.assertNotEqual(identity_key("sips:a@b.org"), identity_key("sip:a@b.org"))
        self.assertEqual(identity_key("tel:+1-212"), identity_key("tel:+1212"))
        self.assertEqual(identity_key("not a uri"), "not a uri")
        self.assertEqual(domain_of("mailto:bob@Example.net"), "example.net")
        self.assertIsNone(domain_of("not a uri"))

    def test_sphere(self) -> None:
        """Several tokens, separated by blanks, without case (RFC 4745 §7.3)."""
        rule = one_rule('<sphere value="Home  work"/>')
        self.assertEqual(rule.conditions, (Sphere("Home  work"),))
        self.assertEqual(Sphere("Home  work").tokens, {"home", "work"})
        self.assertTrue(Ruleset((rule,)).depends_on_sphere)
        self.assertFalse(Ruleset((Rule("b"),)).depends_on_sphere)

    def test_validity(self) -> None:
        """From is included and until is not; the boundaries are told (RFC 4745 §7.4)."""
        rule = one_rule(
            "<validity><from>1970-01-01T00:00:10Z</from><until>1970-01-01T00:00:20Z</until>"
            "<from>1970-01-01T00:01:00Z</from><until>1970-01-01T00:01:01Z</until></validity>"
        )
        self.assertEqual(rule.conditions, (Validity(((10.0, 20.0), (60.0, 61.0))),))
        validity = Validity(((10.0, 20.0), (60.0, 61.0)))
        held = [moment for moment in (9, 10, 19, 20, 60, 61) if validity.holds(moment)]
        self.assertEqual(held, [10, 19, 60])
        rules = Ruleset((rule, rule._replace(id="b")))
        self.assertEqual(rules.boundaries(), (10.0, 20.0, 60.0, 61.0))
        self.assertEqual(rules.next_boundary(20.0), 60.0)
        self.assertIsNone(rules.next_boundary(61.0))

    def test_badValidity(self) -> None:
        """From and until MUST be in pairs, and with a zone (RFC 4745 §7.4, erratum 1455)."""
        for inner in (
            "",
            "<from>1970-01-01T00:00:10Z</from>",
            "<until>1970-01-01T00:00:10Z</until><from>1970-01-01T00:00:10Z</from>",
            "<from>1970-01-01T00:00:10</from><until>1970-01-01T00:00:20</until>",
        ):
            condition = f"<validity>{inner}</validity>"
            self.assertRaises(DocumentError, one_rule, condition)

    def test_any_date(self) -> None:
        """Times are those of xs:dateTime (RFC 4745 §7.4): 24 o'clock, and any year, which is cut.

        A document with one of them was taken as valid by its schema, and then blocked everybody.
        """
        for start, end, moments in (
            ("1970-01-01T24:00:00Z", "1970-01-02T00:00:01Z", (86400.0, 86401.0)),
            ("1970-01-01T24:00:00.00+24:00", "1970-01-02T00:00:01Z", None),
            ("1970-01-01T24:00:01Z", "1970-01-02T00:00:01Z", None),
            ("1970-01-01T00:00:00.12345678901234Z", "1970-01-02T00:00:00Z", None),
        ):
            condition = f"<validity><from>{start}</from><until>{end}</until></validity>"
            if moments is None and "1234" not in start:
                self.assertRaises(DocumentError, one_rule, condition)
                continue
            (validity,) = one_rule(condition).conditions
            assert isinstance(validity, Validity)
            if moments is not None:
                self.assertEqual(validity.periods, (moments,))
        for start, end in (
            ("-0044-03-15T12:00:00Z", "12026-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-05:00"),
            ("0001-01-01T00:00:00+14:00", "9999-12-31T24:00:00Z"),
        ):
            rule = one_rule(f"<validity><from>{start}</from><until>{end}</until></validity>")
            (validity,) = rule.conditions
            assert isinstance(validity, Validity)
            held = [validity.holds(moment) for moment in (-6e10, 0.0, 1.7e9, 2e11)]
            self.assertEqual(held, [True] * 4)
            self.assertEqual(parse_ruleset(Ruleset((rule,)).to_bytes()).rules, (rule,))

    def test_nothing_to_match(self) -> None:
        """A value that names nothing matches nothing, and its rule alone (RFC 4745 §10.1)."""
        rule = one_rule('<sphere value=""/><identity><one id=" "/><many domain=""/></identity>')
        sphere, identity = rule.conditions
        assert isinstance(sphere, Sphere)
        assert isinstance(identity, Identity)
        self.assertEqual(sphere.tokens, frozenset())
        one, many = identity.members
        assert isinstance(one, One)
        assert isinstance(many, Many)
        self.assertEqual((one.key, many.admits("sip:bob@example.com")), ("", False))
        self.assertEqual(parse_ruleset(Ruleset((rule,)).to_bytes()).rules, (rule,))
        rule = one_rule(
            provided='<pr:provide-unknown-attribute ns="" name="">true</pr:provide-unknown-attribute>'
        )
        self.assertEqual(rule.transformations.unknown, (("", ""),))


class PermissionTests(SynchronousTestCase):
    def test_handlings(self) -> None:
        """The values rise from block to allow (RFC 5025 §3.2.1)."""
        for token, number in (("block", 0), ("confirm", 10), ("polite-block", 20), ("allow", 30)):
            rule = one_rule(actions=f"<pr:sub-handling> {token} </pr:sub-handling>")
            self.assertEqual(rule.actions.sub_handling, number)

    def test_unknownPermissions(self) -> None:
        """Unknown actions and transformations are carried and permit nothing."""
        rule = one_rule(actions="<x:do/>", provided="<x:show/>")
        self.assertIsNone(rule.actions.sub_handling)
        self.assertEqual(rule.transformations._replace(others=()), Transformations())
        self.assertEqual(parse_ruleset(Ruleset((rule,)).to_bytes()).rules, (rule,))

    def test_sets(self) -> None:
        """Every member of the three sets is read (RFC 5025 §3.3.1)."""
        provided = one_rule(
            provided="<pr:provide-devices><pr:deviceID>urn:d</pr:deviceID><pr:class>a</pr:class>"
            "</pr:provide-devices><pr:provide-persons><pr:occurrence-id> o </pr:occurrence-id>"
            "</pr:provide-persons><pr:provide-services><pr:service-uri>sip:a@b</pr:service-uri>"
            "<pr:service-uri-scheme>sip</pr:service-uri-scheme><x:other/></pr:provide-services>"
        ).transformations
        self.assertEqual(provided.devices, (Member("deviceID", "urn:d"), Member("class", "a")))
        self.assertEqual(provided.persons, (Member("occurrence-id", "o"),))
        self.assertEqual(
            provided.services,
            (Member("service-uri", "sip:a@b"), Member("service-uri-scheme", "sip")),
        )

    def test_wrongMembersGrantNothing(self) -> None:
        """A member that its set does not have is ignored, <all-services> of devices too."""
        provided = one_rule(
            provided="<pr:provide-devices><pr:all-services/><pr:service-uri>sip:a</pr:service-uri>"
            "</pr:provide-devices>"
        ).transformations
        self.assertEqual(provided, Transformations())

    def test_attributes(self) -> None:
        """Every Boolean permission, user input and unknown attributes (RFC 5025 §3.3.2)."""
        inner = "".join(f"<pr:provide-{name}>1</pr:provide-{name}>" for name in ATTRIBUTES)
        provided = one_rule(
            provided=inner
            + "<pr:provide-user-input>thresholds</pr:provide-user-input>"
            + '<pr:provide-unknown-attribute ns="urn:x" name="foo">true'
            + "</pr:provide-unknown-attribute>"
            + '<pr:provide-unknown-attribute ns="urn:x" name="bar">false'
            + "</pr:provide-unknown-attribute><pr:provide-all-attributes/>"
        ).transformations
        self.assertEqual(provided.attributes, ATTRIBUTES)
        self.assertEqual(provided.user_input, UserInput.THRESHOLDS)
        self.assertEqual(provided.unknown, (("urn:x", "foo"),))
        self.assertTrue(provided.all_attributes)

    def test_falseIsAbsent(self) -> None:
        """A permission of value FALSE is the same as none (RFC 4745 §10.2)."""
        rule = one_rule(
            provided="<pr:provide-mood>false</pr:provide-mood>"
            "<pr:provide-user-input>false</pr:provide-user-input>"
        )
        self.assertEqual(rule.transformations, Transformations())

    def test_brokenDocuments(self) -> None:
        """A value that a permission cannot have breaks the document: it never opens."""
        for actions, provided in (
            ("<pr:sub-handling>maybe</pr:sub-handling>", ""),
            ("<pr:sub-handling/>", ""),
            ("", "<pr:provide-mood>yes</pr:provide-mood>"),
            ("", "<pr:provide-user-input>all</pr:provide-user-input>"),
            ("", '<pr:provide-unknown-attribute ns="urn:x">1</pr:provide-unknown-attribute>'),
        ):
            self.assertRaises(DocumentError, one_rule, "", actions, provided)
        twice = ruleset('<rule id="a"/><rule id="a"/>')
        for data in (twice, ruleset("<rule/>"), b"<ruleset/>", b""):
            self.assertRaises(DocumentError, parse_ruleset, data)


class SetHandlingTests(SynchronousTestCase):
    def handled(self, rules: Ruleset, watcher: str) -> SubHandling | None:
        """Give the highest handling by the identity conditions alone (RFC 4745 §10.2)."""
        found: list[SubHandling] = []
        for rule in rules.rules:
            for condition in rule.conditions:
                if isinstance(condition, Identity) and rule.actions.sub_handling is not None:
                    for member in condition.members:
                        if (isinstance(member, Many) and member.admits(watcher)) or (
                            isinstance(member, One) and member.key == identity_key(watcher)
                        ):
                            found.append(rule.actions.sub_handling)
        return max(found) if found else None

    def test_fromNothing(self) -> None:
        """The first allowed watcher makes a rule that provides everything."""
        rules = set_handling(None, "sip:alice@example.com", "allow")
        identity = Identity((One("sip:alice@example.com"),))
        allow = Rule("allow", (identity,), Actions(SubHandling.ALLOW), EVERYTHING)
        self.assertEqual(rules.rules, (allow,))
        self.assertEqual(EVERYTHING.services, (ALL,))
        Schema("pres-rules").validate(parse_content(rules.to_bytes()))

    def test_moves(self) -> None:
        """A watcher is in one rule at a time, whatever the case of his host; the rest stay."""
        rules = set_handling(None, "sip:alice@example.com", "allow")
        rules = set_handling(rules, "sip:carol@example.com", "allow")
        rules = set_handling(rules, "sip:alice@EXAMPLE.com", "block")
        self.assertEqual([rule.id for rule in rules.rules], ["allow", "block"])
        self.assertIs(self.handled(rules, "sip:alice@example.com"), SubHandling.BLOCK)
        self.assertIs(self.handled(rules, "sip:carol@example.com"), SubHandling.ALLOW)
        rules = set_handling(rules, "sip:alice@example.com", "polite-block")
        self.assertEqual([rule.id for rule in rules.rules], ["allow", "polite-block"])

    def test_exceptions(self) -> None:
        """Since the maximum wins, who is blocked is excepted where his domain is allowed."""
        domain = Rule(
            "friends",
            (Identity((Many("example.com"),)),),
            Actions(SubHandling.ALLOW),
            EVERYTHING,
        )
        rules = set_handling(Ruleset((domain,)), "sip:eve@example.com", "block")
        self.assertIs(self.handled(rules, "sip:eve@example.com"), SubHandling.BLOCK)
        self.assertIs(self.handled(rules, "sip:bob@example.com"), SubHandling.ALLOW)
        rules = set_handling(rules, "sip:eve@example.com", "allow")
        self.assertIs(self.handled(rules, "sip:eve@example.com"), SubHandling.ALLOW)

    def test_everybody(self) -> None:
        """A rule for everybody cannot have an exception, which is said."""
        open_ = Ruleset((Rule("all", (), Actions(SubHandling.ALLOW), EVERYTHING),))
        error = self.assertRaises(DocumentError, set_handling, open_, "sip:a@b.org", "block")
        self.assertIn('"all"', str(error))
        self.assertEqual(len(set_handling(open_, "sip:a@b.org", "allow").rules), 2)

    def test_foreignRulesStay(self) -> None:
        """A rule of the same name that does something else is not touched."""
        own = Rule("allow", (Sphere("work"),), Actions(SubHandling.BLOCK))
        rules = set_handling(Ruleset((own,)), "sip:a@b.org", SubHandling.ALLOW)
        self.assertEqual(rules.rules[0], own)
        self.assertEqual(rules.rules[1].id, "allow-2")

    def test_badArguments(self) -> None:
        """No handling and no URI are refused with a message."""
        self.assertRaises(DocumentError, set_handling, None, "sip:a@b.org", "love")
        self.assertRaises(SIPError, set_handling, None, "no uri", "allow")

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["sip:a@x.org", "sip:b@x.org", "sip:c@y.org"]),
                st.sampled_from(list(SubHandling)),
            ),
            max_size=8,
        )
    )
    @settings(max_examples=60)
    def test_lastWins(self, steps: list[tuple[str, SubHandling]]) -> None:
        """After any sequence every watcher is handled as was said last, and the rules are valid."""
        domain = Rule("x", (Identity((Many("x.org"),)),), Actions(SubHandling.CONFIRM))
        rules = Ruleset((domain,))
        for watcher, handling in steps:
            rules = set_handling(rules, watcher, handling)
            self.assertEqual(parse_ruleset(rules.to_bytes()), rules)
        Schema("pres-rules").validate(parse_content(rules.to_bytes()))
        for watcher, handling in dict(steps).items():
            self.assertIs(self.handled(rules, watcher), handling)
