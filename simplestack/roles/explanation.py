"""Why a watcher sees what he sees: each rule, and what gave or withheld each part of presence."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Device, Person, Presence, Tuple
from simplestack.documents.presrules import (
    ALL,
    Condition,
    Identity,
    OtherCondition,
    Rule,
    Sphere,
    Validity,
    parse_ruleset,
)
from simplestack.documents.timestamps import format_timestamp
from simplestack.interfaces import IAuthorizationPolicy
from simplestack.roles.composer import Composer
from simplestack.roles.rules import NOTHING, Permissions, combine, holds, permitted
from simplestack.roles.rulings import rules_of, sphere_of
from simplestack.state import ResourceState

__all__ = ["Explanation", "Part", "RuleSeen", "explain"]

_EVERY: Final = frozenset({ALL})
_COMPONENTS: Final = NOTHING._replace(services=_EVERY, persons=_EVERY, devices=_EVERY)
_RPID: Final = f"{{{ns.RPID}}}"


class RuleSeen(NamedTuple):
    """One rule, and whether it is one for this watcher now."""

    #: ``document#id``.
    name: str
    matches: bool
    #: The conditions that do not hold, in words.
    failing: tuple[str, ...]
    #: ``allow``, ``block`` …; "" where it decides nothing.
    handling: str


class Part(NamedTuple):
    """A component, or something in it, and whether the watcher sees it."""

    #: ``person p1``, ``person p1: activities`` …
    name: str
    shown: bool
    #: The rules that give it, or in words why it is withheld.
    because: str


class Explanation(NamedTuple):
    """What a watcher sees of a presentity, and why."""

    presentity: str
    watcher: str
    handling: str
    because: str
    #: The policy by which the document is composed, and from what.
    policy: str
    sources: tuple[str, ...]
    sphere: str | None
    rules: tuple[RuleSeen, ...]
    parts: tuple[Part, ...]
    #: What the watcher gets; "" where he gets nothing.
    document: str

    def as_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            **self._asdict(),
            "rules": [each._asdict() for each in self.rules],
            "parts": [each._asdict() for each in self.parts],
        }


def explain(
    state: ResourceState,
    watcher: str,
    composer: Composer,
    authorization: IAuthorizationPolicy,
    now: float,
) -> Explanation:
    """What this watcher ("" if anonymous) sees of the AOR, evaluated as for a subscription."""
    decision = authorization.decide(state, watcher, "presence", now)
    granted = decision.permissions
    permissions = granted if isinstance(granted, Permissions) else NOTHING
    presence = composer.composed(state, now).presence
    shown = permitted(presence, permissions)
    sees = decision.handling in ("allow", "polite-block")
    rules, matching, broken = _rules(state, watcher, now)
    owner = watcher == state.aor
    asked = not owner and authorization.name == "pres-rules" and bool(rules_of(state))
    return Explanation(
        state.aor,
        watcher,
        decision.handling,
        _because(state, watcher, decision.handling, rules, broken, authorization.name),
        composer.policy_of(state).name,
        tuple(
            [
                f"{each.kind} {each.id}".strip()
                + (f" by {each.publisher}" if each.publisher else "")
                + (f", {format_timestamp(each.published_at)}" if each.published_at else "")
                for each in composer.sources(state, now)
            ]
        ),
        sphere_of(state, now),
        rules if asked else (),
        tuple(_parts(presence, shown, matching if asked else None))
        if decision.handling == "allow"
        else (),
        shown.to_bytes().decode() if sees else "",
    )


def _rules(
    state: ResourceState, watcher: str, now: float
) -> tuple[tuple[RuleSeen, ...], list[tuple[str, Rule]], str]:
    """All rules; those that match; and which document can't be read."""
    sphere = sphere_of(state, now)
    seen: list[RuleSeen] = []
    matching: list[tuple[str, Rule]] = []
    for document in rules_of(state):
        try:
            ruleset = parse_ruleset(document.body)
        except DocumentError as error:
            return tuple(seen), [], f"{document.id}: {error.message}"
        for rule in ruleset.rules:
            name = f"{document.id}#{rule.id}"
            failing = tuple(
                [
                    _words(condition, watcher, sphere, now)
                    for condition in rule.conditions
                    if not holds(condition, watcher, sphere, now)
                ]
            )
            handling = rule.actions.sub_handling
            seen.append(
                RuleSeen(name, not failing, failing, "" if handling is None else handling.token)
            )
            if not failing:
                matching.append((name, rule))
    return tuple(seen), matching, ""


def _words(condition: Condition, watcher: str, sphere: str | None, now: float) -> str:
    """Why a condition does not hold."""
    if isinstance(condition, Identity):
        if not watcher:
            return "identity: an anonymous watcher is none of its members"
        if not condition.members:
            return "identity: it is empty, for anonymous watchers alone"
        return f"identity: {watcher} is none of its members"
    if isinstance(condition, Sphere):
        return f"sphere: it is {sphere or 'undefined'}, not {condition.value}"
    if isinstance(condition, Validity):
        return f"validity: {format_timestamp(now)} is in none of its periods"
    assert isinstance(condition, OtherCondition)
    return f"{condition.element.local}: this condition is not known, and therefore false"


def _because(
    state: ResourceState,
    watcher: str,
    handling: str,
    rules: tuple[RuleSeen, ...],
    broken: str,
    policy: str,
) -> str:
    if watcher == state.aor:
        return "he watches himself"
    if policy != "pres-rules":
        return f"the authorization policy {policy} says so"
    if broken:
        return f"a rules document can't be read, and then nobody sees anything: {broken}"
    if not rules and not rules_of(state):
        return (
            "there are no rules, and the default is not for anonymous watchers"
            if not watcher
            else "there are no rules, and this is the default handling"
        )
    giving = [each.name for each in rules if each.matches and each.handling == handling]
    if giving:
        return f"rule {', '.join(giving)}"
    matches = any(each.matches for each in rules)
    return (
        f"{'no rule that matches decides' if matches else 'no rule matches'}: block is the default"
    )


def _parts(
    presence: Presence, shown: Presence, matching: Sequence[tuple[str, Rule]] | None
) -> Iterator[Part]:
    """Each component and what is in it; ``matching`` None where rules are not what decides."""
    grants = [(name, combine([rule.transformations])) for name, rule in matching or ()]
    always = _index(permitted(presence, _COMPONENTS))
    seen = _index(shown)
    by_rule = [
        (
            name,
            _index(permitted(presence, each)),
            _index(permitted(presence, _all_components(each))),
        )
        for name, each in grants
    ]
    for key, component in _index(presence).items():
        name = f"{key[0]} {component.id}"
        here = seen.get(key)
        if here is None:
            yield Part(name, False, f"no matching rule has it in provide-{key[0]}s")
            continue
        giving = [rule for rule, whole, _ in by_rule if key in whole]
        yield Part(name, True, _by(giving, matching))
        basic = set(_contents(always[key]))
        visible = set(_contents(here))
        for each in _contents(component):
            label = f"{name}: {each[0]}"
            reduced = next((other for other in visible if other[0] == each[0]), None)
            if each in visible:
                giving = [
                    rule
                    for rule, _, attributes in by_rule
                    if key in attributes and each in set(_contents(attributes[key]))
                ]
                because = "always shown" if each in basic else _by(giving, matching)
                yield Part(label, True, because)
            elif reduced is not None and each[0] == "user-input":
                yield Part(label, True, "reduced: provide-user-input does not give all of it")
            else:
                yield Part(label, False, f"no matching rule gives {_permission(each)}")
    for note in presence.notes:
        yield Part(f"note {note.text!r}"[:60], note in shown.notes, "provide-note")
    for extension in presence.extensions:
        yield Part(
            extension.local,
            extension in shown.extensions,
            "needs all components and provide-all-attributes",
        )


def _by(giving: list[str], matching: Sequence[tuple[str, Rule]] | None) -> str:
    if matching is None:
        return "everything is shown to him"
    return f"rule {', '.join(giving)}" if giving else "several rules together"


def _all_components(each: Permissions) -> Permissions:
    return each._replace(services=_EVERY, persons=_EVERY, devices=_EVERY)


def _index(presence: Presence) -> dict[tuple[str, str], Tuple | Person | Device]:
    found: dict[tuple[str, str], Tuple | Person | Device] = {}
    for service in presence.tuples:
        found["service", service.id] = service
    for person in presence.persons:
        found["person", person.id] = person
    for device in presence.devices:
        found["device", device.id] = device
    return found


def _contents(component: Tuple | Person | Device) -> list[tuple[str, object]]:
    """What is in a component, each by the name by which people know it."""
    found: list[tuple[str, object]] = []
    if isinstance(component, Tuple):
        found += [("basic", component.basic), ("contact", component.contact)]
        found += [(each.local, each) for each in component.status]
    if not isinstance(component, Person):
        found.append(("deviceID", component.device_id))
    found.append(("class", component.class_))
    found += [(each.local, each) for each in component.elements]
    found.append(("note", component.notes or None))
    found.append(("timestamp", component.timestamp))
    return [each for each in found if each[1] is not None]


def _permission(part: tuple[str, object]) -> str:
    """The permission that a part needs (RFC 5025 §3.3.2)."""
    name, value = part
    if not isinstance(value, Element) or value.name.startswith(_RPID):
        return f"provide-{name}"
    return f'provide-unknown-attribute ns="{value.namespace}" name="{name}"'
