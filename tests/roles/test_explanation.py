"""What is explained is what is evaluated: rules, and each part that is shown or withheld."""

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from simplestack.roles.authorization import PresRulesPolicy
from simplestack.roles.composer import Composer
from simplestack.roles.explanation import Explanation, explain
from simplestack.roles.rules import Permissions, permitted
from simplestack.state import Document, Publication, ResourceState
from tests.roles.fakes import ALICE, BOB
from tests.roles.test_presence import pidf
from tests.roles.test_rules import BOB_ALONE, COMPONENTS, DOCUMENT, rule, ruleset
from tests.roles.test_rules_model import Plain, rules, watchers

PERSON = "<r:activities><r:meeting/></r:activities><r:sphere>work</r:sphere>"
NOW = 1000.0


def documents(*bodies: bytes) -> list[Document]:
    """Rules documents of Alice."""
    return [
        Document(ALICE, f"pres-rules/{place}", "pres-rules", str(place), "e", "x", body, 0.0)
        for place, body in enumerate(bodies)
    ]


def published(body: bytes) -> Publication:
    """What Alice publishes."""
    return Publication(ALICE, "p", "presence", "e", ALICE, "x", body, 500.0, 9e9)


def explained(*bodies: bytes, watcher: str = BOB, default: str = "confirm") -> Explanation:
    """What is explained of a watcher of Alice."""
    state = ResourceState(ALICE, [*documents(*bodies), published(pidf(person=PERSON, note="here"))])
    return explain(state, watcher, Composer(), PresRulesPolicy(default_handling=default), NOW)


class ExplanationTests(SynchronousTestCase):
    def test_because(self) -> None:
        """Why the watcher is handled so."""
        table: list[tuple[list[bytes], str, str, str]] = [
            ([], BOB, "confirm", "default handling"),
            ([], "", "block", "not for anonymous"),
            ([], ALICE, "allow", "himself"),
            ([b"<"], BOB, "block", "can't be read"),
            ([ruleset()], BOB, "block", "no rule matches"),
            ([ruleset(rule(BOB_ALONE, None))], BOB, "block", "no rule that matches decides"),
            ([ruleset(rule(BOB_ALONE, "allow", "", "x"))], BOB, "allow", "pres-rules/0#x"),
            (
                [ruleset(rule("", "block", "", "a")), ruleset(rule("", "polite-block", "", "b"))],
                BOB,
                "polite-block",
                "pres-rules/1#b",
            ),
        ]
        for bodies, watcher, handling, because in table:
            found = explained(*bodies, watcher=watcher)
            self.assertEqual(found.handling, handling)
            self.assertIn(because, found.because)

    def test_conditions(self) -> None:
        """Of a rule that does not match it is said which conditions don't hold."""
        conditions = (
            '<cp:identity><cp:one id="sip:carol@example.com"/></cp:identity>'
            '<cp:sphere value="home"/><cp:validity><cp:from>2001-01-01T00:00:00Z</cp:from>'
            "<cp:until>2002-01-01T00:00:00Z</cp:until></cp:validity>"
        )
        [only] = explained(ruleset(rule(conditions))).rules
        self.assertFalse(only.matches)
        words = " ".join(only.failing)
        for word in ("sip:bob@example.com is none", "it is work, not home", "none of its periods"):
            self.assertIn(word, words)

    def test_parts(self) -> None:
        """Of each element the rule that gives it, or the permission that nobody gives."""
        found = explained(
            ruleset(
                rule(BOB_ALONE, "allow", COMPONENTS, "a"),
                rule(BOB_ALONE, None, "<provide-activities>true</provide-activities>", "b"),
            )
        )
        parts = {part.name: part for part in found.parts}
        self.assertEqual(parts["person pt"].because, "rule pres-rules/0#a")
        self.assertEqual(parts["person pt: activities"].because, "rule pres-rules/0#b")
        self.assertEqual(parts["service t: basic"].because, "always shown")
        for name, permission in (
            ("person pt: sphere", "provide-sphere"),
            ("service t: note", "provide-note"),
        ):
            self.assertFalse(parts[name].shown)
            self.assertIn(permission, parts[name].because)
        self.assertIn("<rpid:activities>", found.document)
        self.assertNotIn("sphere", found.document)

    def test_component_withheld(self) -> None:
        """A component that no rule shows is said to be withheld."""
        services = "<provide-services><all-services/></provide-services>"
        parts = explained(ruleset(rule(BOB_ALONE, "allow", services))).parts
        [person] = [part for part in parts if part.name == "person pt"]
        self.assertFalse(person.shown)
        self.assertIn("provide-persons", person.because)

    def test_polite(self) -> None:
        """A politely blocked watcher sees a closed service, and no part is told as shown."""
        found = explained(ruleset(rule(BOB_ALONE, "polite-block")))
        self.assertIn("closed", found.document)
        self.assertEqual(found.parts, ())

    @settings(max_examples=60, deadline=None)
    @given(rules, watchers)
    def test_agrees_with_what_is_sent(self, given_rules: list[Plain], watcher: str) -> None:
        """Handling and document are those of a subscription; each part that is shown is in it."""
        body = ruleset(*[each.xml(f"r{place}") for place, each in enumerate(given_rules)])
        state = ResourceState(ALICE, [*documents(body), published(DOCUMENT.to_bytes())])
        policy, composer = PresRulesPolicy(), Composer()
        found = explain(state, watcher, composer, policy, NOW)
        decision = policy.decide(state, watcher, "presence", NOW)
        self.assertEqual(found.handling, decision.handling)
        if decision.handling == "allow":
            assert isinstance(decision.permissions, Permissions)
            shown = permitted(composer.composed(state, NOW).presence, decision.permissions)
            self.assertEqual(found.document.encode(), shown.to_bytes())
            ids = {each.id for each in shown.tuples} | {each.id for each in shown.persons}
            ids |= {each.id for each in shown.devices}
            told = {
                part.name.split()[1]
                for part in found.parts
                if part.shown and ":" not in part.name and part.name.count(" ") == 1
            }
            self.assertEqual(told, ids)
