"""The composed document of each AOR: from its records, by the policy that was chosen for it."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final
from zlib import crc32

from mypy_extensions import mypyc_attr

from simplestack.documents.elements import Element
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Presence, Tuple, closed, parse_presence
from simplestack.interfaces import Body, ICompositionPolicy
from simplestack.roles.capabilities import servcaps
from simplestack.roles.composition import UnionPolicy
from simplestack.roles.policies.conditions import said_at
from simplestack.roles.preferences import PREFERENCES, composition_of
from simplestack.roles.rules import Permissions
from simplestack.roles.source import (
    HARD_STATE,
    PUBLICATION,
    REGISTRATION,
    Source,
    source_kind,
)
from simplestack.roles.timing import at, moments
from simplestack.sip.recent import Recent
from simplestack.state import Binding, ChangeSet, Document, Publication, Removed, ResourceState

__all__ = ["HARD_STATE_DOCUMENT", "Composed", "Composer", "parsed"]

_PACKAGE: Final = "presence"
_FOREVER: Final = float("inf")
#: Where RFC 4827 §9 keeps the hard state of a user.
HARD_STATE_DOCUMENT: Final = "pidf-manipulation/index"
_DOCUMENTS: Final = (HARD_STATE_DOCUMENT, PREFERENCES)

# A PUBLISH is read when it is decided and again when it is composed, right after.
parsed: Final = lru_cache(1024)(parse_presence)


def _accepted(body: bytes) -> Presence | None:
    """A document that was accepted; None where it is not understood any more."""
    try:
        return parsed(body)
    except DocumentError:
        return None


@mypyc_attr(acyclic=True)
class Composed:
    """The document of one AOR, what it was made from, and what is made of it."""

    __slots__ = ("bodies", "fingerprint", "presence", "since", "until")

    def __init__(self, presence: Presence, fingerprint: tuple[object, ...]) -> None:
        self.presence = presence
        #: Who published what and when, whether registered, which documents.
        self.fingerprint = fingerprint
        self.bodies: dict[Permissions, Body] = {}
        #: From when until when it is the document, as far as the clock is concerned.
        self.since = -_FOREVER
        self.until: float | None = None


class Composer:
    """Composes documents, again only when what they were made from differs or time ends them.

    ``policy`` is used where neither ``domains`` (by lower-case name) nor the user chooses another;
    users choose among ``policies``, and where there are none they have no choice.  With
    ``registration_is_presence`` a registered user who publishes nothing is open.  A publication
    that has said nothing new for ``stale_after`` seconds is left out; 0 lets it count until it
    expires.  The documents of the last ``max_remembered`` AORs are kept, and of twice as many at most.
    """

    def __init__(
        self,
        policy: ICompositionPolicy | None = None,
        *,
        policies: Mapping[str, ICompositionPolicy] | None = None,
        domains: Mapping[str, ICompositionPolicy] | None = None,
        registration_is_presence: bool = True,
        stale_after: int = 0,
        max_remembered: int = 4096,
    ) -> None:
        self.default: ICompositionPolicy = UnionPolicy() if policy is None else policy
        self.policies = {} if policies is None else policies
        self.domains = {} if domains is None else domains
        self.registration_is_presence = registration_is_presence
        self.stale_after = stale_after
        self._composed: Recent[Composed] = Recent(max_remembered)

    def affected(self, changes: ChangeSet) -> bool:
        """Whether a change may alter the document: of publications, bindings, or documents."""
        for (kind, key), change in changes.entries.items():
            if kind is Publication:
                record = change.record if isinstance(change, Removed) else change
                if isinstance(record, Publication) and record.package == _PACKAGE:
                    return True
            elif kind is Binding:
                if self.registration_is_presence:
                    return True
            elif kind is Document and key in _DOCUMENTS:
                return True
        return False

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """When the clock next makes another document."""
        # It may have changed without having been shown to anybody.
        return self.composed(state, now).until

    def composed(self, state: ResourceState, now: float) -> Composed:
        """The document as it is now."""
        fingerprint: list[object] = []
        publications = []
        for publication in state.publications.values():
            if publication.package == _PACKAGE and publication.expires_at > now:
                publications.append(publication)
                fingerprint += (publication.id, publication.body, publication.published_at)
        capabilities: set[Element | None] = set()
        if self.registration_is_presence:
            for binding in state.bindings.values():
                if binding.expires_at > now:
                    capabilities.add(servcaps(binding.params))
            if capabilities:
                fingerprint.append(capabilities)
        if state.documents:
            fingerprint += [state.documents.get(each) for each in _DOCUMENTS]
        current = tuple(fingerprint)
        composed = self._composed.get(state.aor)
        if (
            composed is None
            or current != composed.fingerprint
            or (composed.until is not None and now >= composed.until)
            # A clock may be set back.
            or now < composed.since
        ):
            composed = self._remember(state, publications, capabilities, current, now, composed)
        return composed

    def sources(self, state: ResourceState, now: float) -> list[Source]:
        """What says what the state of the AOR is, as it holds now."""
        composed = [
            publication
            for publication in state.publications.values()
            if publication.package == _PACKAGE and publication.expires_at > now
        ]
        capabilities: set[Element | None] = set()
        if self.registration_is_presence:
            capabilities = {
                servcaps(binding.params)
                for binding in state.bindings.values()
                if binding.expires_at > now
            }
        return self._sources(state, composed, capabilities, now)[0]

    def policy_of(self, state: ResourceState) -> ICompositionPolicy:
        """The policy by which this AOR is composed: the user's, his domain's, or everybody's."""
        if self.policies:
            document = state.documents.get(PREFERENCES)
            if document is not None:
                chosen = composition_of(document, self.policies)
                if chosen is not None:
                    return chosen
        if self.domains:
            return self.domains.get(state.aor.rpartition("@")[2], self.default)
        return self.default

    def _remember(
        self,
        state: ResourceState,
        publications: Iterable[Publication],
        capabilities: set[Element | None],
        fingerprint: tuple[object, ...],
        now: float,
        before: Composed | None,
    ) -> Composed:
        sources, since, until = self._sources(state, publications, capabilities, now)
        aor = state.aor
        if sources:
            policy = self.policy_of(state)
            presence = policy.compose(sources, aor, now)
            edge = policy.boundary(sources, now)
            if edge is not None:
                since, until = now, edge if until is None else min(edge, until)
            if presence == Presence(aor):
                presence = closed(aor)
        else:
            presence = closed(aor)
        composed = Composed(presence, fingerprint)
        self._composed.set(aor, composed)
        if before is not None and before.presence == presence:
            composed.presence, composed.bodies = before.presence, before.bodies
        composed.since, composed.until = since, until
        return composed

    def _sources(
        self,
        state: ResourceState,
        publications: Iterable[Publication],
        capabilities: set[Element | None],
        now: float,
    ) -> tuple[list[Source], float, float | None]:
        """The sources as they hold now, and from when until when that is so."""
        sources: list[Source] = []
        edges: list[float] = []
        for publication in publications:
            body = publication.body
            presence = _accepted(body)
            if presence is None:
                continue
            said = publication.published_at
            # Few documents have periods, and these words tell them without a look at each element.
            if b"until" in body or b"from" in body:
                presence = _held(presence, body, now, said, edges)
            kind = source_kind(publication.id)
            publisher = publication.publisher if kind == PUBLICATION else ""
            source = Source(kind, publication.id, presence, said, publisher)
            if self.stale_after and kind == PUBLICATION:
                end = said_at(source) + self.stale_after
                edges.append(end)
                if end <= now:
                    continue
            sources.append(source)
        if capabilities:
            services = tuple([_registered(state.aor, each) for each in capabilities])
            sources.append(
                Source(REGISTRATION, "", Presence(state.aor, tuple(sorted(services))), 0)
            )
        document = state.documents.get(HARD_STATE_DOCUMENT) if state.documents else None
        if document is not None:
            presence = _accepted(document.body)
            if presence is not None:
                changed = document.modified_at
                held = _held(presence, document.body, now, changed, edges)
                sources.append(Source(HARD_STATE, "", held, changed))
        if not edges:
            return sources, -_FOREVER, None
        return (
            sources,
            max([edge for edge in edges if edge <= now], default=-_FOREVER),
            min([edge for edge in edges if edge > now], default=None),
        )


def _held(presence: Presence, body: bytes, now: float, said: float, edges: list[float]) -> Presence:
    """The document as it holds now; adds the times at which that changes."""
    times = _moments(body)
    if not times:
        return presence
    edges += times
    return at(presence, now, said)


@lru_cache(1024)
def _moments(body: bytes) -> tuple[float, ...]:
    presence = _accepted(body)
    return () if presence is None else moments(presence)


def _registered(aor: str, capabilities: Element | None) -> Tuple:
    """An open service under the AOR: where the user is reached is not told, nor how often.

    Contacts that can do the same are one service.
    """
    if capabilities is None:
        return Tuple("registered", "open", aor)
    id_ = f"registered.{crc32(capabilities.xml.encode()):08x}"
    return Tuple(id_, "open", aor, elements=(capabilities,))
