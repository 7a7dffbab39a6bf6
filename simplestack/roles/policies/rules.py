"""The policy by which a user's own rules choose and change what is composed."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from lxml import etree
from zope.interface import implementer

from simplestack.documents.elements import Element, read
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Device, Note, Person, Presence, Tuple
from simplestack.documents.xml import local_name, required
from simplestack.interfaces import ICompositionPolicy
from simplestack.roles.composition import Source, UnionPolicy
from simplestack.roles.policies.conditions import Conditions, read_conditions

__all__ = ["Override", "Rule", "RulesPolicy", "Selection", "read_rules"]

_KINDS: Final = ("services", "persons", "devices")
_MAX_RULES: Final = 100

Component = TypeVar("Component", Tuple, Person, Device)


class Selection(NamedTuple):
    """A ``<pick>`` or ``<drop>``: which components it is about."""

    picks: bool
    kinds: frozenset[str]
    #: Only components of this class.
    class_: str | None = None
    #: Components of all sources, and not only of those of which the conditions hold.
    of_all: bool = False


class Override(NamedTuple):
    """What the composed document says in place of what the sources say."""

    #: Basic status of all services.
    basic: str | None = None
    #: Elements of all persons.
    elements: tuple[Element, ...] = ()
    notes: tuple[Note, ...] = ()


class Rule(NamedTuple):
    """One rule: where its conditions hold of a source, it selects and overrides."""

    id: str
    conditions: Conditions = Conditions()
    selections: tuple[Selection, ...] = ()
    override: Override = Override()


@implementer(ICompositionPolicy)
class RulesPolicy:
    """Rules in their order; what they leave is composed by union.

    The first rule that picks components of a kind decides for that kind.  Every rule that holds
    drops.  Of overrides of one element the first counts.
    """

    name = "rules"

    def __init__(self, rules: Sequence[Rule] = (), zone: tzinfo = UTC) -> None:
        self.rules = tuple(rules)
        self.zone = zone
        self.otherwise = UnionPolicy()

    def compose(self, sources: Sequence[Source], entity: str, now: float) -> Presence:
        """The document of the entity."""
        moment = datetime.fromtimestamp(now, self.zone)
        holding: list[tuple[Rule, list[bool]]] = []
        for rule in self.rules:
            matches = [rule.conditions.hold(source, moment) for source in sources]
            if any(matches):
                holding.append((rule, matches))
        if not holding:
            return self.otherwise.compose(sources, entity, now)
        presence = self.otherwise.compose(_selected(sources, holding), entity, now)
        return _overridden(presence, [rule for rule, _ in holding])

    def boundary(self, sources: Sequence[Source], now: float) -> float | None:
        """When a condition on time or freshness next changes."""
        moment = datetime.fromtimestamp(now, self.zone)
        edges = [edge for rule in self.rules for edge in rule.conditions.edges(sources, moment)]
        return min([edge for edge in edges if edge > now], default=None)

    def configured(self, parameters: Any) -> "RulesPolicy":
        """This policy with the rules of a user, before those that it has."""
        rules, zone = read_rules(parameters)
        return RulesPolicy((*rules, *self.rules), zone)


def _selected(sources: Sequence[Source], holding: list[tuple[Rule, list[bool]]]) -> list[Source]:
    picked: set[str] = set()
    decisions: list[tuple[Selection, frozenset[str], list[bool]]] = []
    for rule, matches in holding:
        for selection in rule.selections:
            kinds = selection.kinds - picked if selection.picks else selection.kinds
            if selection.picks:
                picked |= selection.kinds
            decisions.append((selection, kinds, matches))

    def keeps(place: int, kind: str) -> Callable[[Tuple | Person | Device], bool]:
        def kept(component: Tuple | Person | Device) -> bool:
            for selection, kinds, matches in decisions:
                if kind in kinds:
                    named = (selection.of_all or matches[place]) and (
                        selection.class_ is None or selection.class_ == component.class_
                    )
                    if named is not selection.picks:
                        return False
            return True

        return kept

    return [
        source._replace(
            presence=source.presence._replace(
                tuples=tuple(filter(keeps(place, "services"), source.presence.tuples)),
                persons=tuple(filter(keeps(place, "persons"), source.presence.persons)),
                devices=tuple(filter(keeps(place, "devices"), source.presence.devices)),
            )
        )
        for place, source in enumerate(sources)
    ]


def _overridden(presence: Presence, rules: Sequence[Rule]) -> Presence:
    basic = next((each.override.basic for each in rules if each.override.basic), None)
    notes = next((each.override.notes for each in rules if each.override.notes), ())
    elements: dict[str, tuple[Element, ...]] = {}
    for rule in rules:
        own: dict[str, tuple[Element, ...]] = {}
        for each in rule.override.elements:
            own[each.name] = (*own.get(each.name, ()), each)
        for name, values in own.items():
            elements.setdefault(name, values)
    if basic is not None:
        presence = presence._replace(
            tuples=tuple([each._replace(basic=basic) for each in presence.tuples])
        )
    if elements or notes:
        set_ = tuple([each for values in elements.values() for each in values])
        persons = presence.persons or (Person(_free_id(presence)),)
        presence = presence._replace(
            persons=tuple(
                [
                    person._replace(
                        elements=(*[e for e in person.elements if e.name not in elements], *set_),
                        notes=notes or person.notes,
                    )
                    for person in persons
                ]
            )
        )
    return presence


def _free_id(presence: Presence) -> str:
    taken = {each.id for each in presence.tuples} | {each.id for each in presence.devices}
    id_ = "rules"
    while id_ in taken:
        id_ += "x"
    return id_


def read_rules(node: etree._Element) -> tuple[tuple[Rule, ...], tzinfo]:
    """Read the rules of a ``<composition>`` and the time zone that they are meant in.

    :raises DocumentError: where one of them can't be used.
    """
    rules = tuple([_read_rule(child) for child in node.iterchildren("{*}rule")])
    if len(rules) > _MAX_RULES:
        raise DocumentError(f"there are at most {_MAX_RULES} rules")
    name = node.get("zone", "UTC")
    try:
        return rules, UTC if name == "UTC" else ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise DocumentError(f'"{name[:40]}" is not a time zone such as Europe/Berlin') from None


def _read_rule(node: etree._Element) -> Rule:
    selections: list[Selection] = []
    conditions = Conditions()
    override = Override()
    for child in node:
        name = local_name(child)
        if name == "when":
            conditions = read_conditions(child)
        elif name in ("pick", "drop"):
            selections.append(_read_selection(child, name == "pick"))
        elif name == "override":
            override = _read_override(child)
        else:
            raise DocumentError(f"a rule has no <{name}>")
    return Rule(required(node, "id"), conditions, tuple(selections), override)


def _read_selection(node: etree._Element, picks: bool) -> Selection:
    kinds = frozenset((node.text or "").split())
    if not kinds or not kinds <= set(_KINDS):
        raise DocumentError(f"<{local_name(node)}> holds some of {', '.join(_KINDS)}")
    return Selection(picks, kinds, node.get("class"), node.get("of") == "all")


def _read_override(node: etree._Element) -> Override:
    own = node.tag.rpartition("}")[0]
    basic: str | None = None
    elements: list[Element] = []
    notes: list[Note] = []
    for child in node:
        if child.tag == f"{own}}}basic":
            basic = (child.text or "").strip()
            if basic not in ("open", "closed"):
                raise DocumentError("<basic> is neither open nor closed")
        elif child.tag == f"{own}}}note":
            notes.append(Note(child.text or ""))
        else:
            elements.append(read(child))
    return Override(basic, tuple(elements), tuple(notes))
