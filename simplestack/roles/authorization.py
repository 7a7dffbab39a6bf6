"""Presence authorization by the documents of the user: pres-rules (RFC 5025)."""

from functools import lru_cache
from typing import Final, NamedTuple

from zope.interface import implementer

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import parse_presence
from simplestack.documents.presrules import Ruleset, parse_ruleset
from simplestack.interfaces import Decision, IAuthorizationPolicy
from simplestack.roles.circumstances import values
from simplestack.roles.rules import BLOCKED, EVERYTHING, NOTHING, POLITE, evaluate
from simplestack.roles.timing import ALWAYS, period
from simplestack.state import ChangeSet, Document, Publication, ResourceState

__all__ = ["AUIDS", "DEFAULTS", "PresRulesPolicy", "rules_of", "sphere_of"]

#: The application usages whose documents guide authorization (RFC 5025 §9, and OMA's name for it).
AUIDS: Final = frozenset({"pres-rules", "org.openmobilealliance.pres-rules"})
_PRESENCE: Final = "presence"
_SPHERE: Final = f"{{{ns.RPID}}}sphere"
_MAX_WATCHERS: Final = 1024

#: What becomes of a watcher of whom no rule says anything, by handling.
DEFAULTS: Final = {
    "block": BLOCKED,
    "confirm": Decision("confirm", NOTHING),
    "polite-block": Decision("polite-block", POLITE),
    "allow": Decision("allow", EVERYTHING),
}
_OWNER: Final = DEFAULTS["allow"]


class _Rules(NamedTuple):
    """The rules documents of an AOR, read as one set of rules."""

    documents: tuple[Document, ...]
    #: None where there are no documents or one of them can't be read.
    ruleset: Ruleset | None
    boundaries: tuple[float, ...]
    depends_on_sphere: bool


class _Entry:
    """What is remembered of one AOR; everything in it can be made again from its state."""

    __slots__ = ("decided", "decisions", "rules", "until")

    def __init__(self) -> None:
        self.rules: _Rules | None = None
        self.decisions: dict[str, Decision] = {}
        #: The sphere and the time from which the decisions hold, and until when.
        self.decided: tuple[str | None, float] = (None, 0.0)
        self.until: float | None = None


@implementer(IAuthorizationPolicy)
class PresRulesPolicy:
    """What the rules documents of a user let a watcher see; the user himself sees everything.

    ``default_handling`` is what becomes of a watcher where the user has no rules document; of
    several documents all rules count (RFC 5025 §9.7).  It is for watchers that are known by name:
    an anonymous one gets nothing that the user's own rules don't give.  The decisions of the
    last ``max_remembered`` AORs are kept.
    """

    name = "pres-rules"

    def __init__(self, *, default_handling: str = "confirm", max_remembered: int = 4096) -> None:
        if default_handling not in DEFAULTS:
            raise ValueError(f"{default_handling!r} is not one of {', '.join(DEFAULTS)}")
        self.default = DEFAULTS[default_handling]
        self.max_remembered = max_remembered
        self._entries: dict[str, _Entry] = {}

    def configured(self, default_handling: str) -> "PresRulesPolicy":
        """This policy with the operator's default handling."""
        return PresRulesPolicy(default_handling=default_handling)

    def decide(self, state: ResourceState, watcher: str, package: str, now: float) -> Decision:
        """What the rules of the AOR say; a document that can't be read blocks."""
        if watcher == state.aor:
            return _OWNER
        entry = self._entry(state.aor)
        rules = self._rules(state, entry)
        ruleset = rules.ruleset
        if ruleset is None:
            return BLOCKED if rules.documents or not watcher else self.default
        sphere = sphere_of(state, now) if rules.depends_on_sphere else None
        decisions = entry.decisions
        last_sphere, since = entry.decided
        if (
            sphere != last_sphere
            or now < since
            or (entry.until is not None and now >= entry.until)
            or len(decisions) >= _MAX_WATCHERS
        ):
            decisions.clear()
        if not decisions:
            entry.decided = sphere, now
            entry.until = ruleset.next_boundary(now) if rules.boundaries else None
        decision = decisions.get(watcher)
        if decision is None:
            decision = decisions[watcher] = evaluate(ruleset, watcher, sphere, now)
        return decision

    def reauthorizes(self, changes: ChangeSet) -> bool:
        """A change of the rules, or of publications where a rule asks for the sphere."""
        for kind, key in changes.entries:
            if kind is Document:
                if key.partition("/")[0] in AUIDS:
                    return True
            elif kind is Publication:
                entry = self._entries.get(changes.aor)
                if entry is None or entry.rules is None or entry.rules.depends_on_sphere:
                    return True
        return False

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """The next begin or end of a validity in the rules, or of a sphere that they ask for."""
        rules = self._rules(state, self._entry(state.aor))
        if rules.ruleset is None:
            return None
        next_ = rules.ruleset.next_boundary(now) if rules.boundaries else None
        if rules.depends_on_sphere:
            times = [
                moment
                for _, *period in _published_spheres(state, now)
                for moment in period
                if now < moment < ALWAYS[1]
            ]
            next_ = min([*times, *([] if next_ is None else [next_])], default=None)
        return next_

    def _entry(self, aor: str) -> _Entry:
        entry = self._entries.get(aor)
        if entry is None:
            if len(self._entries) >= self.max_remembered:
                del self._entries[next(iter(self._entries))]
            entry = self._entries[aor] = _Entry()
        return entry

    def _rules(self, state: ResourceState, entry: _Entry) -> _Rules:
        documents = rules_of(state)
        rules = entry.rules
        if rules is None or rules.documents != documents:
            rules = entry.rules = _read_rules(documents)
            entry.decisions.clear()
        return rules


def rules_of(state: ResourceState) -> tuple[Document, ...]:
    """The rules documents of an AOR.

    RFC 5025 §9.7: "it will look for all documents within http://[xcap root]/pres-rules/users/foo,
    and use all documents found beneath that point to guide authorization policy".
    """
    return tuple([each for each in state.documents.values() if each.auid in AUIDS])


def sphere_of(state: ResourceState, now: float) -> str | None:
    """The sphere on which all publications agree that name one (RFC 5025 §3.1.2)."""
    found: str | None = None
    for sphere, start, end in _published_spheres(state, now):
        if start <= now < end:
            if found is not None and sphere != found:
                return None
            found = sphere
    return found


def _published_spheres(state: ResourceState, now: float) -> list[tuple[str, float, float]]:
    return [
        each
        for publication in state.publications.values()
        if publication.package == _PRESENCE and publication.expires_at > now
        for each in _spheres(publication.body)
    ]


@lru_cache(256)
def _spheres(body: bytes) -> tuple[tuple[str, float, float], ...]:
    """The values of ``<sphere>`` in the persons of a document, each with its period."""
    try:
        presence = parse_presence(body)
    except DocumentError:
        return ()
    return tuple(
        [
            (value, *period(each))
            for person in presence.persons
            for each in person.elements
            if each.name == _SPHERE
            for value in values(each)
        ]
    )


def _read_rules(documents: tuple[Document, ...]) -> _Rules:
    if not documents:
        return _Rules(documents, None, (), False)
    try:
        ruleset = Ruleset(
            tuple([rule for each in documents for rule in parse_ruleset(each.body).rules])
        )
    except DocumentError:
        return _Rules(documents, None, (), False)
    return _Rules(documents, ruleset, ruleset.boundaries(), ruleset.depends_on_sphere)
