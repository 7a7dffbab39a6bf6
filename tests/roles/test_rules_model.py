"""Rules against a plain oracle, and what holds for any rules: more of them never show less."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import Presence
from simplestack.documents.presrules import parse_ruleset
from simplestack.roles.rules import Permissions, combined, matching, permitted
from tests.roles.test_rules import DOCUMENT, components, rule, ruleset

WATCHERS = ("sip:bob@example.com", "sip:Bob@example.com", "sip:bob@example.co", "tel:+123", "")
HANDLINGS = ("block", "confirm", "polite-block", "allow")
INPUTS = ("false", "bare", "thresholds", "full")
COMPONENTS = {
    "t1": {("all", ""), ("class", "work"), ("occurrence-id", "t1"), ("service-uri-scheme", "sip")},
    "t2": {("all", ""), ("occurrence-id", "t2"), ("service-uri", "mailto:alice@example.com")},
    "p1": {("all", ""), ("class", "home"), ("occurrence-id", "p1")},
    "d1": {("all", ""), ("class", "work"), ("deviceID", "urn:uuid:aaaa")},
}
PROVIDED = {
    "services": ("t1", "t2"),
    "persons": ("p1",),
    "devices": ("d1",),
}
NAMES = ("activities", "mood", "note", "class", "deviceID", "privacy", "sphere", "status-icon")


class Plain(NamedTuple):
    """A rule as plain values."""

    ids: tuple[str, ...] | None
    domain: str | None
    excepted: tuple[str, ...]
    sphere: str | None
    period: tuple[int, int] | None
    handling: str | None
    services: frozenset[tuple[str, str]]
    persons: frozenset[tuple[str, str]]
    devices: frozenset[tuple[str, str]]
    names: frozenset[str]
    user_input: str | None
    secret: bool
    all_attributes: bool

    def xml(self, id_: str) -> str:
        """The rule as a document writes it."""
        conditions = ""
        if self.ids is not None or self.domain is not None:
            conditions += "<cp:identity>"
            conditions += "".join(f'<cp:one id="{each}"/>' for each in self.ids or ())
            if self.domain is not None:
                own = f' domain="{self.domain}"' if self.domain else ""
                conditions += f"<cp:many{own}>"
                conditions += "".join(f'<cp:except id="{each}"/>' for each in self.excepted)
                conditions += "</cp:many>"
            conditions += "</cp:identity>"
        if self.sphere is not None:
            conditions += f'<cp:sphere value="{self.sphere}"/>'
        if self.period is not None:
            start, end = [f"1970-01-01T00:00:{each:02}Z" for each in self.period]
            conditions += f"<cp:validity><cp:from>{start}</cp:from>"
            conditions += f"<cp:until>{end}</cp:until></cp:validity>"
        provided = ""
        for name, members in zip(PROVIDED, self.members(), strict=True):
            if members:
                provided += f"<provide-{name}>"
                for kind, value in sorted(members):
                    tag = f"all-{name}" if kind == "all" else kind
                    provided += f"<{tag}>{value}</{tag}>" if value else f"<{tag}/>"
                provided += f"</provide-{name}>"
        for name in sorted(self.names):
            provided += f"<provide-{name}>true</provide-{name}>"
        if self.user_input is not None:
            provided += f"<provide-user-input>{self.user_input}</provide-user-input>"
        if self.secret:
            provided += (
                '<provide-unknown-attribute ns="urn:x" name="secret">true'
                "</provide-unknown-attribute>"
            )
        if self.all_attributes:
            provided += "<provide-all-attributes/>"
        return rule(conditions, self.handling, provided, id_)

    def members(self) -> list[frozenset[tuple[str, str]]]:
        """What identifies the components that are provided."""
        return [self.services, self.persons, self.devices]

    def matches(self, watcher: str, sphere: str | None, now: int) -> bool:
        """RFC 4745 §7, written down once more."""
        if self.ids is not None or self.domain is not None:
            host = watcher.partition("@")[2]
            one = watcher in (self.ids or ())
            many = (
                self.domain is not None
                and watcher not in self.excepted
                and (not self.domain or host == self.domain)
            )
            if not self.ids and self.domain is None:
                # An empty identity.
                if watcher:
                    return False
            elif not watcher or not (one or many):
                return False
        if self.sphere is not None and (sphere is None or sphere not in self.sphere.split()):
            return False
        return self.period is None or self.period[0] <= now < self.period[1]


def some(kinds: set[tuple[str, str]]) -> st.SearchStrategy[frozenset[tuple[str, str]]]:
    """A few identifiers of components."""
    return st.frozensets(st.sampled_from(sorted(kinds)), max_size=2)


plain = st.builds(
    Plain,
    ids=st.none() | st.lists(st.sampled_from(WATCHERS[:4]), max_size=2).map(tuple),
    domain=st.sampled_from([None, None, "", "example.com", "example.co"]),
    excepted=st.lists(st.sampled_from(WATCHERS[:4]), max_size=1).map(tuple),
    sphere=st.sampled_from([None, None, "work", "home work", "home"]),
    period=st.none() | st.tuples(st.integers(0, 5), st.integers(5, 9)),
    handling=st.sampled_from([None, "allow", "allow", *HANDLINGS]),
    services=some(COMPONENTS["t1"] | COMPONENTS["t2"]),
    persons=some(COMPONENTS["p1"]),
    devices=some(COMPONENTS["d1"]),
    names=st.frozensets(st.sampled_from(NAMES), max_size=3),
    user_input=st.sampled_from([None, *INPUTS]),
    secret=st.booleans(),
    all_attributes=st.sampled_from([False, False, False, True]),
)
rules = st.lists(plain, max_size=4)
watchers = st.sampled_from(WATCHERS)
spheres = st.sampled_from([None, "work", "home"])
times = st.integers(0, 9)


def facts(presence: Presence) -> set[tuple[str, ...]]:
    """All that a document says, as facts that more permissions only add to."""
    found: set[tuple[str, ...]] = {("note", each.text) for each in presence.notes}
    found |= {("extension", each.xml) for each in presence.extensions}
    for each in components(presence):
        for name, value in each._asdict().items():
            if name == "elements":
                for extension in value:
                    if extension.local == "user-input":
                        found.add((each.id, "user-input"))
                        attributes = extension.tree().attrib
                        found |= {
                            (each.id, "user-input", str(key), str(attributes[key]))
                            for key in attributes
                        }
                    else:
                        found.add((each.id, extension.xml))
            elif isinstance(value, tuple):
                found |= {(each.id, name, str(item)) for item in value}
            elif value is not None:
                found.add((each.id, name, value))
    return found


def seen(
    given_rules: list[Plain], watcher: str, sphere: str | None, now: int
) -> tuple[str, Presence]:
    """What the rules make of a watcher, and what he sees."""
    document = ruleset(*[each.xml(f"r{place}") for place, each in enumerate(given_rules)])
    decision = combined(matching(parse_ruleset(document), watcher, sphere, float(now)))
    assert isinstance(decision.permissions, Permissions)
    return decision.handling, permitted(DOCUMENT, decision.permissions)


def shows(matching: list[Plain], id_: str, name: str) -> bool:
    """Whether a fact named so of a component is granted (RFC 5025 §3.3.2)."""
    service = ("id", "basic", "contact", "contact_priority", "timestamp", "service-class")
    always: dict[str, tuple[str, ...]] = {
        "t1": service,
        "t2": service,
        "p1": ("id", "timestamp"),
        "d1": ("id", "timestamp", "device_id"),
    }
    if name in always[id_] or any(each.all_attributes for each in matching):
        return True
    permission = {"notes": "note", "class_": "class", "device_id": "deviceID"}.get(name, name)
    if name == "secret":
        return any(each.secret for each in matching)
    return any(permission in each.names for each in matching)


class OracleTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(rules, watchers, spheres, times)
    def test_same_as_the_oracle(
        self, given_rules: list[Plain], watcher: str, sphere: str | None, now: int
    ) -> None:
        """Handling and document are those of RFC 4745 §10.2 and RFC 5025 §3, counted plainly."""
        handling, presence = seen(given_rules, watcher, sphere, now)
        matching = [each for each in given_rules if each.matches(watcher, sphere, now)]
        ranks = [HANDLINGS.index(each.handling) for each in matching if each.handling]
        self.assertEqual(handling, HANDLINGS[max(ranks, default=0)])
        if handling != "allow":
            self.assertNotIn("open", presence.to_bytes().decode())
            self.assertEqual((presence.persons, presence.devices), ((), ()))
            return
        shown = {each.id: each for each in components(presence)}
        whole = {each.id: each for each in components(DOCUMENT)}
        level = max(
            [INPUTS.index(each.user_input) for each in matching if each.user_input], default=0
        )
        if any(each.all_attributes for each in matching):
            level = 3
        for place, ids in enumerate(PROVIDED.values()):
            for id_ in ids:
                granted = any(COMPONENTS[id_] & each.members()[place] for each in matching)
                self.assertEqual(id_ in shown, granted)
                if granted:
                    self.check(matching, level, id_, whole[id_]._asdict(), shown[id_]._asdict())

    def check(
        self,
        matching: list[Plain],
        level: int,
        id_: str,
        whole: dict[str, object],
        shown: dict[str, object],
    ) -> None:
        """Each attribute of a component is there if it is granted, and else is not."""
        for name, value in whole.items():
            if name == "elements":
                assert isinstance(value, tuple)
                given_elements = shown[name]
                assert isinstance(given_elements, tuple)
                expected = [
                    each.local
                    for each in value
                    if (level if each.local == "user-input" else shows(matching, id_, each.local))
                ]
                self.assertEqual([each.local for each in given_elements], expected)
                for each in given_elements:
                    if each.local == "user-input":
                        attributes = {
                            attribute
                            for original in value
                            if original.local == "user-input"
                            for attribute in original.tree().attrib
                        }
                        kept = [set(), set(), {"idle-threshold"}, attributes][level]
                        self.assertEqual(set(each.tree().attrib), attributes & kept)
                    else:
                        self.assertIn(each, value)
            elif shows(matching, id_, name):
                self.assertEqual(shown[name], value)
            else:
                self.assertFalse(shown[name])


class MonotonyTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(rules, plain, watchers, spheres, times)
    def test_a_rule_more_never_shows_less(
        self, given_rules: list[Plain], more: Plain, watcher: str, sphere: str | None, now: int
    ) -> None:
        """Every permission is "a positive grant of information" (RFC 5025 §3)."""
        before, presence = seen(given_rules, watcher, sphere, now)
        after, more_presence = seen([*given_rules, more], watcher, sphere, now)
        self.assertGreaterEqual(HANDLINGS.index(after), HANDLINGS.index(before))
        if before == "allow":
            self.assertLessEqual(facts(presence), facts(more_presence))

    @settings(max_examples=100, deadline=None)
    @given(rules, watchers, spheres, times)
    def test_never_more_than_there_is(
        self, given_rules: list[Plain], watcher: str, sphere: str | None, now: int
    ) -> None:
        """What is shown to an allowed watcher is in the document of the owner."""
        handling, presence = seen(given_rules, watcher, sphere, now)
        if handling == "allow":
            self.assertLessEqual(facts(presence), facts(DOCUMENT))
