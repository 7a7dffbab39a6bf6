"""The presence agent: takes publications and shows each watcher what he may see (RFC 3856)."""

from collections.abc import Collection, Hashable
from functools import lru_cache
from typing import Final, NamedTuple

from zope.interface import implementer

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import (
    MEDIA_TYPE,
    Presence,
    closed,
    parse_presence,
    registered,
)
from simplestack.documents.presrules import Ruleset, identity_key, parse_ruleset
from simplestack.event.publication import EventStateCompositor
from simplestack.interfaces import (
    Body,
    Decision,
    IApplicationUsage,
    ICompositionPolicy,
    Identifiers,
    IEventPackage,
    IRole,
)
from simplestack.outcome import Incoming, Outcome
from simplestack.roles.composition import PUBLICATION, REGISTRATION, Source, UnionPolicy
from simplestack.roles.rules import (
    BLOCKED,
    EVERYTHING,
    NOTHING,
    POLITE,
    Permissions,
    evaluate,
    permitted,
)
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response
from simplestack.state import (
    Binding,
    ChangeSet,
    Document,
    Publication,
    Removed,
    ResourceState,
)

__all__ = ["PresenceAgent", "PresencePackage"]

_AUID: Final = "pres-rules"
_PACKAGE: Final = "presence"
_SPHERE: Final = f"{{{ns.RPID}}}sphere"
_MAX_WATCHERS: Final = 1024
_MAX_VIEWS: Final = 64

_DEFAULTS: Final = {
    "block": BLOCKED,
    "confirm": Decision("confirm", NOTHING),
    "polite-block": Decision("polite-block", POLITE),
    "allow": Decision("allow", EVERYTHING),
}
_OWNER: Final = _DEFAULTS["allow"]

#: What the composed document depends on: who published what and when, and whether registered.
_Fingerprint = tuple[object, ...]


class _Rules(NamedTuple):
    """The rules documents of an AOR, read as one set of rules."""

    documents: tuple[Document, ...]
    #: None where there are no documents or one of them can't be read.
    ruleset: Ruleset | None
    boundaries: tuple[float, ...]
    depends_on_sphere: bool


class _Entry:
    """What is remembered of one AOR; everything in it can be made again from its state."""

    __slots__ = ("bodies", "decided", "decisions", "fingerprint", "presence", "rules", "until")

    def __init__(self) -> None:
        self.fingerprint: _Fingerprint | None = None
        self.presence: Presence | None = None
        self.bodies: dict[Permissions, Body] = {}
        self.rules: _Rules | None = None
        self.decisions: dict[str, Decision] = {}
        #: The sphere and the time from which the decisions hold, and until when.
        self.decided: tuple[str | None, float] = (None, 0.0)
        self.until: float | None = None


@implementer(IEventPackage)
class PresencePackage:
    """The event package ``presence`` (RFC 3856), authorized by pres-rules (RFC 5025).

    ``default_handling`` is what becomes of a watcher where the user has no rules document; of
    several documents all rules count (RFC 5025 §9.7).
    With ``registration_is_presence`` a registered user who publishes nothing is open.  The
    composed documents and decisions of the last ``max_remembered`` AORs are kept.
    """

    name = _PACKAGE
    content_types: tuple[str, ...] = (MEDIA_TYPE,)
    partial = False

    def __init__(
        self,
        policy: ICompositionPolicy | None = None,
        *,
        registration_is_presence: bool = True,
        default_handling: str = "confirm",
        default_expires: int = 3600,
        max_remembered: int = 4096,
    ) -> None:
        if default_handling not in _DEFAULTS:
            raise ValueError(f"{default_handling!r} is not one of {', '.join(_DEFAULTS)}")
        self.policy: ICompositionPolicy = UnionPolicy() if policy is None else policy
        self.registration_is_presence = registration_is_presence
        self.default = _DEFAULTS[default_handling]
        self.default_expires = default_expires
        self.max_remembered = max_remembered
        self._entries: dict[str, _Entry] = {}

    def recognizes(self, state: ResourceState) -> bool:
        """Every user has presence, if only that he is not available."""
        return True

    # Who may see what.

    def authorize(self, state: ResourceState, watcher: str, now: float) -> Decision:
        """What the rules of the AOR say; its owner sees everything.

        Without a rules document it is the default handling; one that can't be read blocks.
        """
        if watcher == state.aor:
            return _OWNER
        entry = self._entry(state.aor)
        rules = self._rules(state, entry)
        ruleset = rules.ruleset
        if ruleset is None:
            return BLOCKED if rules.documents else self.default
        sphere = self._sphere(state, now) if rules.depends_on_sphere else None
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
                if key.startswith("pres-rules/"):
                    return True
            elif kind is Publication:
                entry = self._entries.get(changes.aor)
                if entry is None or entry.rules is None or entry.rules.depends_on_sphere:
                    return True
        return False

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """The next begin or end of a validity in the rules."""
        rules = self._rules(state, self._entry(state.aor))
        if rules.ruleset is None or not rules.boundaries:
            return None
        return rules.ruleset.next_boundary(now)

    # What there is to see.

    def affected(self, changes: ChangeSet) -> bool:
        """A change of publications, or of bindings where they are presence."""
        for (kind, _), change in changes.entries.items():
            if kind is Publication:
                record = change.record if isinstance(change, Removed) else change
                if isinstance(record, Publication) and record.package == _PACKAGE:
                    return True
            elif kind is Binding and self.registration_is_presence:
                return True
        return False

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """The composed document as the permissions show it, built once for all who share it."""
        granted = permissions if isinstance(permissions, Permissions) else NOTHING
        entry = self._entry(state.aor)
        presence = self._presence(state, entry, now)
        body = entry.bodies.get(granted)
        if body is None:
            if len(entry.bodies) >= _MAX_VIEWS:
                entry.bodies.clear()
            body = entry.bodies[granted] = Body(MEDIA_TYPE, permitted(presence, granted).to_bytes())
        return body

    def changed(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body | None:
        """The whole document again; None for a politely blocked watcher, who sees no change."""
        if permissions == POLITE:
            return None
        return self.full(state, permissions, content_type, now)

    def _entry(self, aor: str) -> _Entry:
        entry = self._entries.get(aor)
        if entry is None:
            if len(self._entries) >= self.max_remembered:
                del self._entries[next(iter(self._entries))]
            entry = self._entries[aor] = _Entry()
        return entry

    def _rules(self, state: ResourceState, entry: _Entry) -> _Rules:
        # "it will look for all documents within http://[xcap root]/pres-rules/users/foo, and
        # use all documents found beneath that point to guide authorization policy" (§9.7)
        documents = tuple([each for each in state.documents.values() if each.auid == _AUID])
        rules = entry.rules
        if rules is None or rules.documents != documents:
            rules = entry.rules = _read_rules(documents)
            entry.decisions.clear()
        return rules

    def _presence(self, state: ResourceState, entry: _Entry, now: float) -> Presence:
        fingerprint: list[object] = []
        publications = []
        for publication in state.publications.values():
            if publication.package == _PACKAGE and publication.expires_at > now:
                publications.append(publication)
                fingerprint += (publication.id, publication.body, publication.published_at)
        if self.registration_is_presence:
            for binding in state.bindings.values():
                if binding.expires_at > now:
                    fingerprint.append(REGISTRATION)
                    break
        current = tuple(fingerprint)
        presence = entry.presence
        if presence is None or current != entry.fingerprint:
            is_registered = bool(current) and current[-1] == REGISTRATION
            presence = self._compose(state.aor, publications, is_registered, now)
            entry.fingerprint = current
            entry.presence = presence
            entry.bodies.clear()
        return presence

    def _compose(
        self, aor: str, publications: list[Publication], is_registered: bool, now: float
    ) -> Presence:
        sources = []
        for publication in publications:
            presence = _published(publication.body)
            if presence is not None:
                sources.append(
                    Source(PUBLICATION, publication.id, presence, publication.published_at)
                )
        if is_registered:
            sources.append(
                Source(REGISTRATION, "", registered(aor, [("registered", aor, None)]), 0)
            )
        presence = self.policy.compose(sources, aor, now) if sources else closed(aor)
        if presence == Presence(aor):
            return closed(aor)
        return presence

    def _sphere(self, state: ResourceState, now: float) -> str | None:
        """The sphere on which all documents agree that name one (RFC 5025 §3.1.2)."""
        found: str | None = None
        for publication in state.publications.values():
            if publication.package != _PACKAGE or publication.expires_at <= now:
                continue
            for sphere in _spheres(publication.body):
                if found is not None and sphere != found:
                    return None
                found = sphere
        return found


@implementer(IRole)
class PresenceAgent:
    """The role that decides PUBLISH for presence and notifies its watchers.

    Only the user himself publishes his state, and the identities in ``publishers`` for anybody;
    others get 403.  The other settings are those of PresencePackage and EventStateCompositor.
    """

    name = "presence"
    methods = frozenset({"PUBLISH"})
    usages: tuple[IApplicationUsage, ...] = ()

    def __init__(
        self,
        policy: ICompositionPolicy | None = None,
        *,
        registration_is_presence: bool = True,
        default_handling: str = "confirm",
        min_expires: int = 60,
        default_expires: int = 3600,
        max_expires: int = 86400,
        max_body: int = 65536,
        max_publications: int = 16,
        publishers: Collection[str] = (),
    ) -> None:
        self.package = PresencePackage(
            policy,
            registration_is_presence=registration_is_presence,
            default_handling=default_handling,
            default_expires=default_expires,
        )
        self.packages: tuple[IEventPackage, ...] = (self.package,)
        self.publishers = frozenset(publishers)
        self.compositor = EventStateCompositor(
            _PACKAGE,
            (MEDIA_TYPE,),
            _check,
            min_expires=min_expires,
            default_expires=default_expires,
            max_expires=max_expires,
            max_body=max_body,
            max_publications=max_publications,
        )

    def decide(
        self, incoming: Incoming, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[Response]:
        """Decide a PUBLISH.

        :raises SIPError: 403 for who may not publish or publishes another entity, 400 for a
            document that can't be read, and what EventStateCompositor raises.
        """
        identity = incoming.identity
        if identity != incoming.aor and identity not in self.publishers:
            raise SIPError(
                403, text=f"{identity or 'anonymous'} may not publish for {incoming.aor}"
            )
        return self.compositor.decide(incoming, state, now, identifiers)

    def expire(self, state: ResourceState, now: float) -> ChangeSet:
        """Remove the publications whose time is over."""
        return self.compositor.expire(state, now)


def _check(incoming: Incoming, body: bytes) -> None:
    entity = _parsed(body).entity
    # A presentity is named by a pres URI or by its address-of-record (RFC 3856 §5).
    own = _presentity(entity)
    if own != incoming.aor:
        raise SIPError(403, text=f"the document is about {entity[:80]}, not {incoming.aor}")


@lru_cache(4096)
def _presentity(entity: str) -> str:
    """The AOR that an entity names."""
    scheme, _, rest = entity.partition(":")
    return identity_key(f"sip:{rest}" if scheme.lower() in ("pres", "sips") else entity)


# A PUBLISH is read when it is decided and again when it is composed, right after.
_parsed: Final = lru_cache(1024)(parse_presence)


def _published(body: bytes) -> Presence | None:
    """A document that was accepted; None where it is not understood any more."""
    try:
        return _parsed(body)
    except DocumentError:
        return None


@lru_cache(256)
def _spheres(body: bytes) -> tuple[str, ...]:
    """The values of <sphere> in the persons of a document, in lower case."""
    presence = _published(body)
    if presence is None:
        return ()
    values = []
    for person in presence.persons:
        for each in person.elements:
            if each.name == _SPHERE:
                tree = each.tree()
                # A registered value is an empty element, any other is text (RFC 4480 §3.11).
                value = tree[0].tag.rpartition("}")[2] if len(tree) else tree.text or ""
                values.append(value.strip().lower())
    return tuple(values)


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
