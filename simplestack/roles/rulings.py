"""What the rules documents of users say of their watchers, remembered."""

from functools import lru_cache
from typing import Final, NamedTuple

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import parse_presence
from simplestack.documents.presrules import Rule, Ruleset, parse_ruleset
from simplestack.interfaces import Decision
from simplestack.roles.circumstances import values
from simplestack.roles.rules import BLOCKED, combined, matching
from simplestack.roles.timing import ALWAYS, period
from simplestack.sip.recent import Recent
from simplestack.state import ChangeSet, Document, Publication, ResourceState

__all__ = ["AUIDS", "Rulings", "rules_of", "sphere_of"]

#: The application usages whose documents guide authorization (RFC 5025 §9, and OMA's name for it).
AUIDS: Final = frozenset({"pres-rules", "org.openmobilealliance.pres-rules"})
_PRESENCE: Final = "presence"
_SPHERE: Final = f"{{{ns.RPID}}}sphere"
_MAX_WATCHERS: Final = 1024
#: AORs of whose rules the gist is kept, some 250 octets each, and of twice as many at most.
_GISTS: Final = 100_000


class _Rules(NamedTuple):
    """The rules documents of an AOR, read as one set of rules."""

    documents: tuple[Document, ...]
    #: None where there are no documents or one of them can't be read.
    ruleset: Ruleset | None
    boundaries: tuple[float, ...]
    depends_on_sphere: bool


class _Gist(NamedTuple):
    """What of the rules documents of an AOR has to be known whenever its state changes."""

    #: What tells the documents from others; empty where there are none.
    documents: tuple[int, ...]
    #: Whether there are times at which they say otherwise.
    timed: bool
    depends_on_sphere: bool


_NO_RULES: Final = _Gist((), False, False)


class _Entry:
    """What is remembered of one AOR; everything in it can be made again from its state."""

    __slots__ = ("combined", "decided", "decisions", "rules", "until")

    def __init__(self) -> None:
        self.rules: _Rules | None = None
        #: By the watcher's identity.
        self.decisions: dict[str, Decision] = {}
        #: By the rules that match, which lie in ``rules``.
        self.combined: dict[tuple[int, ...], Decision] = {}
        #: The sphere and the time from which the decisions hold, and until when.
        self.decided: tuple[str | None, float] = (None, 0.0)
        self.until: float | None = None


class Rulings:
    """What the rules documents of AORs say.

    What was read of them is kept of the last ``max_remembered`` AORs that have some, and of twice as
    many at most; of very many more whether the clock or a publication can change what they say, so
    that they are read again only for a watcher.  Of several documents of a user all rules count
    (RFC 5025 §9.7).
    """

    __slots__ = ("_entries", "_gists")

    def __init__(self, max_remembered: int) -> None:
        self._entries: Recent[_Entry] = Recent(max_remembered)
        self._gists: Recent[_Gist] = Recent(_GISTS)

    def decide(self, state: ResourceState, watcher: str, default: Decision, now: float) -> Decision:
        """What the rules of the AOR say of an identity, "" where nobody knows who it is.

        ``default`` is for those who are known, where there is no document.  A document that can't
        be read blocks.
        """
        if not state.documents:
            self._gist(state)
            return default if watcher else BLOCKED
        entry = self._entry(state.aor)
        before = entry.rules
        rules = _rules(state, entry)
        gist = self._gists.get(state.aor)
        if rules is not before or gist is None or not gist.documents:
            self._gist(state)
        ruleset = rules.ruleset
        if ruleset is None:
            return BLOCKED if rules.documents or not watcher else default
        sphere = sphere_of(state, now) if rules.depends_on_sphere else None
        decisions = entry.decisions
        last_sphere, since = entry.decided
        until = entry.until
        if (
            sphere != last_sphere
            or now < since
            or (until is not None and now >= until)
            or len(decisions) >= _MAX_WATCHERS
        ):
            decisions.clear()
        if not decisions:
            entry.decided = (sphere, now)
            entry.until = ruleset.next_boundary(now) if rules.boundaries else None
        decision = decisions.get(watcher)
        if decision is None:
            found = matching(ruleset, watcher, sphere, now)
            decision = decisions[watcher] = _combined(entry, found)
        return decision

    def reauthorizes(self, changes: ChangeSet) -> bool:
        """A change of the rules, or of publications where a rule asks for the sphere."""
        for kind, key in changes.entries:
            if kind is Document:
                if key.partition("/")[0] in AUIDS:
                    return True
            elif kind is Publication:
                gist = self._gists.get(changes.aor)
                if gist is None or gist.depends_on_sphere:
                    return True
        return False

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """The next begin or end of a validity in the rules, or of a sphere that they ask for."""
        gist = self._gist(state)
        if not gist.timed and not gist.depends_on_sphere:
            return None
        rules = _rules(state, self._entry(state.aor))
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

    def _gist(self, state: ResourceState) -> _Gist:
        aor = state.aor
        gist = self._gists.get(aor)
        documents: tuple[int, ...] = ()
        if state.documents:
            documents = tuple([hash((each.entity_tag, each.body)) for each in rules_of(state)])
        if gist is None or gist.documents != documents:
            gist = _NO_RULES
            if documents:
                rules = _rules(state, self._entry(aor))
                gist = _Gist(documents, rules.boundaries != (), rules.depends_on_sphere)
            self._gists.set(aor, gist)
        return gist

    def _entry(self, aor: str) -> _Entry:
        entry = self._entries.get(aor)
        if entry is None:
            entry = _Entry()
            self._entries.set(aor, entry)
        return entry


def _rules(state: ResourceState, entry: _Entry) -> _Rules:
    documents = rules_of(state)
    rules = entry.rules
    if rules is None or rules.documents != documents:
        rules = entry.rules = _read_rules(documents)
        entry.decisions.clear()
        entry.combined.clear()
    return rules


def _combined(entry: _Entry, rules: list[Rule]) -> Decision:
    """What these rules of the entry say together; there are few sets of them for many watchers."""
    key = tuple([id(rule) for rule in rules])
    decision = entry.combined.get(key)
    if decision is None:
        if len(entry.combined) >= _MAX_WATCHERS:
            entry.combined.clear()
        decision = entry.combined[key] = combined(rules)
    return decision


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
