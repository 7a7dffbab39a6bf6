"""Presence authorization documents: ``application/auth-policy+xml`` (RFC 4745, RFC 5025).

The values are shaped for evaluation: permissions of several matching rules are
combined by maximum and union (RFC 4745 §10.2), so that nothing here denies.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.commonpolicy import (
    Condition,
    Identity,
    Many,
    One,
    OtherCondition,
    OtherIdentity,
    Sphere,
    Validity,
    domain_key,
    domain_of,
    identity_key,
    read_conditions,
    write_conditions,
)
from simplestack.documents.elements import Element, declarations, read
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, attribute, text
from simplestack.documents.xml import given, line_of, local_name, parse_content, required
from simplestack.sip.uri import parse_uri

__all__ = [
    "ALL",
    "ATTRIBUTES",
    "EVERYTHING",
    "MEDIA_TYPE",
    "Actions",
    "Condition",
    "Identity",
    "Many",
    "Member",
    "One",
    "OtherCondition",
    "OtherIdentity",
    "Rule",
    "Ruleset",
    "Sphere",
    "SubHandling",
    "Transformations",
    "UserInput",
    "Validity",
    "domain_key",
    "domain_of",
    "identity_key",
    "parse_ruleset",
    "read_ruleset",
    "set_handling",
]

MEDIA_TYPE: Final = "application/auth-policy+xml"

# The Boolean permissions of RFC 5025 §3.3.2, without "provide-".
ATTRIBUTES: Final = (
    "activities",
    "class",
    "deviceID",
    "mood",
    "place-is",
    "place-type",
    "privacy",
    "relationship",
    "status-icon",
    "sphere",
    "time-offset",
    "note",
)


class SubHandling(IntEnum):
    """The subscription decision, by rising permission (RFC 5025 §3.2.1)."""

    BLOCK = 0
    CONFIRM = 10
    POLITE_BLOCK = 20
    ALLOW = 30

    @property
    def token(self) -> str:
        """The value as the document writes it."""
        return self.name.lower().replace("_", "-")


class UserInput(IntEnum):
    """How much of ``<user-input>`` is provided (RFC 5025 §3.3.2.12)."""

    FALSE = 0
    BARE = 10
    THRESHOLDS = 20
    FULL = 30


class Actions(NamedTuple):
    """What a rule decides; ``others`` are unknown actions, kept and ignored."""

    sub_handling: SubHandling | None = None
    others: tuple[Element, ...] = ()


class Member(NamedTuple):
    """One member of a provide-devices, -persons or -services set (RFC 5025 §3.3.1).

    ``kind`` is ``all``, ``class``, ``occurrence-id``, ``deviceID``,
    ``service-uri`` or ``service-uri-scheme``; ``all`` has no value.
    """

    kind: str
    value: str = ""


ALL: Final = Member("all")


class Transformations(NamedTuple):
    """What a rule lets through (RFC 5025 §3.3).

    ``attributes`` holds the names of :data:`ATTRIBUTES` that are provided,
    ``unknown`` the (namespace, name) of unknown attributes that are; a
    permission of value false is the same as none. ``others`` are unknown
    transformations, kept and ignored.
    """

    devices: tuple[Member, ...] = ()
    persons: tuple[Member, ...] = ()
    services: tuple[Member, ...] = ()
    attributes: tuple[str, ...] = ()
    user_input: UserInput = UserInput.FALSE
    unknown: tuple[tuple[str, str], ...] = ()
    all_attributes: bool = False
    others: tuple[Element, ...] = ()


EVERYTHING: Final = Transformations((ALL,), (ALL,), (ALL,), all_attributes=True)


class Rule(NamedTuple):
    """One rule: if all conditions hold, actions and transformations are permitted."""

    id: str
    conditions: tuple[Condition, ...] = ()
    actions: Actions = Actions()
    transformations: Transformations = Transformations()


class Ruleset(NamedTuple):
    """A whole document."""

    rules: tuple[Rule, ...] = ()

    def boundaries(self) -> tuple[float, ...]:
        """Give the moments at which a validity begins or ends, in rising order."""
        return tuple(
            sorted(
                {
                    moment
                    for rule in self.rules
                    for condition in rule.conditions
                    if isinstance(condition, Validity)
                    for period in condition.periods
                    for moment in period
                }
            )
        )

    def next_boundary(self, now: float) -> float | None:
        """Give the first moment after ``now`` at which evaluation may differ by the clock."""
        return next((moment for moment in self.boundaries() if moment > now), None)

    @property
    def depends_on_sphere(self) -> bool:
        """Whether a change of the presentity's sphere may change the evaluation."""
        return any(
            isinstance(condition, Sphere) for rule in self.rules for condition in rule.conditions
        )

    def to_bytes(self) -> bytes:
        """Write the document, with common policy as default namespace."""
        body = "".join([_write_rule(rule) for rule in self.rules])
        return (
            f'{DECLARATION}<ruleset xmlns="{ns.COMMON_POLICY}"{declarations(body)}>{body}</ruleset>'
        ).encode()


_CP: Final = f"{{{ns.COMMON_POLICY}}}"
_PR: Final = f"{{{ns.PRES_RULES}}}"
_HANDLINGS: Final = {handling.token: handling for handling in SubHandling}
_USER_INPUTS: Final = {each.name.lower(): each for each in UserInput}
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_SETS: Final = {
    _PR + "provide-devices": ("devices", "all-devices", ("class", "occurrence-id", "deviceID")),
    _PR + "provide-persons": ("persons", "all-persons", ("class", "occurrence-id")),
    _PR + "provide-services": (
        "services",
        "all-services",
        ("class", "occurrence-id", "service-uri", "service-uri-scheme"),
    ),
}
_PROVIDE: Final = {f"{_PR}provide-{name}": name for name in ATTRIBUTES}


def parse_ruleset(data: bytes) -> Ruleset:
    """Read a presence authorization document.

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not a ruleset, or a value in it is not
        one; whoever evaluates rules then must deny.
    """
    return read_ruleset(parse_content(data))


def read_ruleset(root: etree._Element) -> Ruleset:
    """Read a document that has been parsed without comments.

    :raises DocumentError: as ``parse_ruleset`` does.
    """
    if root.tag != _CP + "ruleset":
        raise DocumentError(f"the root element is not <ruleset> of {ns.COMMON_POLICY}")
    rules = tuple(_read_rule(node) for node in root.iterchildren(_CP + "rule"))
    if len({rule.id for rule in rules}) != len(rules):
        raise DocumentError('two rules have the same "id"')
    return Ruleset(rules)


def set_handling(ruleset: Ruleset | None, watcher: str, handling: SubHandling | str) -> Ruleset:
    """Give a ruleset by which a watcher is handled so and not otherwise.

    The watcher is moved into one rule per handling, named after it; ``allow``
    provides everything, the others nothing. Since the highest permission wins
    (RFC 4745 §10.2), he becomes an exception of every ``<many>`` whose rule
    has a higher handling.

    :raises SIPError: 400 if the watcher is no URI.
    :raises DocumentError: if there is no such handling, or a rule without an
        identity condition gives everybody a higher one.
    """
    parse_uri(watcher)
    if isinstance(handling, str):
        if handling not in _HANDLINGS:
            raise DocumentError(f'"{handling}" is none of {", ".join(_HANDLINGS)}')
        handling = _HANDLINGS[handling]
    rules: list[Rule] = []
    for rule in ruleset.rules if ruleset is not None else ():
        kept = _without(rule, watcher, handling)
        if kept is not None:
            rules.append(kept)
    for position, rule in enumerate(rules):
        if _is_list(rule) and rule.actions.sub_handling is handling:
            identity = rule.conditions[0]
            if isinstance(identity, Identity):
                members = (*identity.members, One(watcher))
                rules[position] = rule._replace(conditions=(Identity(members),))
                return Ruleset(tuple(rules))
    taken = {rule.id for rule in rules}
    number, id_ = 1, handling.token
    while id_ in taken:
        number += 1
        id_ = f"{handling.token}-{number}"
    provided = EVERYTHING if handling is SubHandling.ALLOW else Transformations()
    rules.append(Rule(id_, (Identity((One(watcher),)),), Actions(handling), provided))
    return Ruleset(tuple(rules))


def _is_list(rule: Rule) -> bool:
    """Tell whether a rule is one of those that :func:`set_handling` makes."""
    handling = rule.actions.sub_handling
    provided = EVERYTHING if handling is SubHandling.ALLOW else Transformations()
    return (
        handling is not None
        and rule.id.startswith(handling.token)
        and rule.transformations == provided
        and len(rule.conditions) == 1
        and isinstance(rule.conditions[0], Identity)
        and all(isinstance(member, One) for member in rule.conditions[0].members)
    )


def _without(rule: Rule, watcher: str, handling: SubHandling) -> Rule | None:
    """Take a watcher out of a rule that decides; None if nobody is left in it."""
    own = rule.actions.sub_handling
    if own is None:
        return rule
    conditions: list[Condition] = []
    identified = False
    for condition in rule.conditions:
        if not isinstance(condition, Identity):
            conditions.append(condition)
            continue
        identified = True
        members: list[One | Many | OtherIdentity] = []
        for member in condition.members:
            if isinstance(member, One) and member.key == identity_key(watcher):
                continue
            if isinstance(member, Many) and own > handling and member.admits(watcher):
                member = Many(member.domain, member.except_domains, (*member.except_ids, watcher))
            members.append(member)
        if condition.members and not members:
            return None
        conditions.append(Identity(tuple(members)))
    if not identified and own > handling:
        raise DocumentError(
            f'rule "{rule.id}" gives everybody {own.token}; change that rule to make an exception'
        )
    return rule._replace(conditions=tuple(conditions))


def _read_rule(node: etree._Element) -> Rule:
    conditions: tuple[Condition, ...] = ()
    actions = Actions()
    transformations = Transformations()
    for child in node:
        if child.tag == _CP + "conditions":
            conditions += read_conditions(child)
        elif child.tag == _CP + "actions":
            actions = _read_actions(child)
        elif child.tag == _CP + "transformations":
            transformations = _read_transformations(child)
    return Rule(required(node, "id"), conditions, actions, transformations)


def _read_actions(node: etree._Element) -> Actions:
    handling: SubHandling | None = None
    others: list[Element] = []
    for child in node:
        if child.tag == _PR + "sub-handling":
            value = _HANDLINGS.get((child.text or "").strip())
            if value is None:
                raise _bad_value(child)
            handling = value if handling is None else max(handling, value)
        else:
            others.append(read(child))
    return Actions(handling, tuple(others))


def _read_transformations(node: etree._Element) -> Transformations:
    sets: dict[str, tuple[Member, ...]] = {"devices": (), "persons": (), "services": ()}
    attributes: list[str] = []
    unknown: list[tuple[str, str]] = []
    others: list[Element] = []
    user_input = UserInput.FALSE
    all_attributes = False
    for child in node:
        tag = child.tag
        if tag in _SETS:
            name, everything, kinds = _SETS[tag]
            sets[name] += _read_members(child, everything, kinds)
        elif tag in _PROVIDE:
            if _boolean(child):
                attributes.append(_PROVIDE[tag])
        elif tag == _PR + "provide-user-input":
            value = _USER_INPUTS.get((child.text or "").strip())
            if value is None:
                raise _bad_value(child)
            user_input = max(user_input, value)
        elif tag == _PR + "provide-unknown-attribute":
            if _boolean(child):
                # An element of no namespace is named by an empty ns.
                unknown.append((child.get("ns", "").strip(), given(child, "name")))
        elif tag == _PR + "provide-all-attributes":
            all_attributes = True
        else:
            others.append(read(child))
    return Transformations(
        sets["devices"],
        sets["persons"],
        sets["services"],
        tuple(attributes),
        user_input,
        tuple(unknown),
        all_attributes,
        tuple(others),
    )


def _read_members(
    node: etree._Element, everything: str, kinds: tuple[str, ...]
) -> tuple[Member, ...]:
    members: list[Member] = []
    for child in node:
        name = local_name(child)
        if child.tag == _PR + everything:
            members.append(ALL)
        elif child.tag == _PR + name and name in kinds:
            members.append(Member(name, " ".join((child.text or "").split())))
    return tuple(members)


def _boolean(node: etree._Element) -> bool:
    value = _BOOLEANS.get((node.text or "").strip())
    if value is None:
        raise _bad_value(node)
    return value


def _bad_value(node: etree._Element) -> DocumentError:
    line = line_of(node)
    return DocumentError(
        f"<{local_name(node)}> in line {line} has a value that it cannot have", line
    )


def _write_rule(rule: Rule) -> str:
    written = f'<rule id="{attribute(rule.id)}">'
    if rule.conditions:
        written += f"<conditions>{write_conditions(rule.conditions)}</conditions>"
    actions = "".join([each.xml for each in rule.actions.others])
    if rule.actions.sub_handling is not None:
        actions = f"<pr:sub-handling>{rule.actions.sub_handling.token}</pr:sub-handling>{actions}"
    written += f"<actions>{actions}</actions>" if actions else "<actions/>"
    provided = _write_transformations(rule.transformations)
    if provided:
        return f"{written}<transformations>{provided}</transformations></rule>"
    return written + "<transformations/></rule>"


def _write_transformations(provided: Transformations) -> str:
    written = _write_members("devices", provided.devices)
    written += _write_members("persons", provided.persons)
    written += _write_members("services", provided.services)
    for name in provided.attributes:
        written += f"<pr:provide-{name}>true</pr:provide-{name}>"
    if provided.user_input:
        value = provided.user_input.name.lower()
        written += f"<pr:provide-user-input>{value}</pr:provide-user-input>"
    for namespace, name in provided.unknown:
        written += (
            f'<pr:provide-unknown-attribute ns="{attribute(namespace)}"'
            f' name="{attribute(name)}">true</pr:provide-unknown-attribute>'
        )
    if provided.all_attributes:
        written += "<pr:provide-all-attributes/>"
    return written + "".join([each.xml for each in provided.others])


def _write_members(name: str, members: tuple[Member, ...]) -> str:
    if not members:
        return ""
    if ALL in members:
        # The schema lets <all-...> stand alone only, and it says it all.
        return f"<pr:provide-{name}><pr:all-{name}/></pr:provide-{name}>"
    inner = "".join([f"<pr:{kind}>{text(value)}</pr:{kind}>" for kind, value in members])
    return f"<pr:provide-{name}>{inner}</pr:provide-{name}>"
