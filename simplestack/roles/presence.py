"""The presence agent: takes publications and shows each watcher what he may see (RFC 3856)."""

from collections.abc import Collection, Hashable
from typing import Final

from zope.interface import implementer

from simplestack.documents.pidf import MEDIA_TYPE
from simplestack.documents.presrules import identity_key
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.partialpresence import PARTIAL_TYPE, PRESENCE_DELTAS, patched
from simplestack.event.publication import EventStateCompositor
from simplestack.interfaces import (
    Body,
    Decision,
    IApplicationUsage,
    IAuthorizationPolicy,
    ICompositionPolicy,
    Identifiers,
    IEventPackage,
    IRole,
)
from simplestack.outcome import Incoming, Outcome
from simplestack.roles import rpid
from simplestack.roles.authorization import PresRulesPolicy
from simplestack.roles.composer import Composer, parsed
from simplestack.roles.publishers import PublisherRules
from simplestack.roles.rules import EVERYTHING, NOTHING, POLITE, Permissions, permitted
from simplestack.sip.errors import SIPError
from simplestack.sip.memory import remember
from simplestack.sip.message import Response
from simplestack.state import ChangeSet, ResourceState

__all__ = ["PresenceAgent", "PresencePackage"]

_PACKAGE: Final = "presence"
_MAX_VIEWS: Final = 64


@implementer(IEventPackage)
class PresencePackage:
    """The event package ``presence`` (RFC 3856): the composed document, as authorization shows it.

    ``authorization`` is pres-rules (RFC 5025) where none is given.
    """

    name = _PACKAGE
    content_types: tuple[str, ...] = (MEDIA_TYPE,)
    #: Watcher filters (RFC 4660).
    subscribe_types = (FILTER_TYPE,)
    #: Partial notification (RFC 5263).
    deltas = {MEDIA_TYPE: PRESENCE_DELTAS}
    partial = False
    #: Subscribers choose by filters alone.
    narrowed = None

    def __init__(
        self,
        composer: Composer | None = None,
        authorization: IAuthorizationPolicy | None = None,
        *,
        default_expires: int = 3600,
    ) -> None:
        self.composer = Composer() if composer is None else composer
        self.authorization: IAuthorizationPolicy = (
            PresRulesPolicy() if authorization is None else authorization
        )
        self.default_expires = default_expires

    def recognizes(self, state: ResourceState) -> bool:
        """Every user has presence, if only that he is not available."""
        return True

    # Who may see what.

    def authorize(self, state: ResourceState, watcher: str, now: float) -> Decision:
        """What the authorization policy says."""
        decision: Decision = self.authorization.decide(state, watcher, _PACKAGE, now)
        return decision

    def reauthorizes(self, changes: ChangeSet) -> bool:
        """Whether the authorization policy may now say otherwise."""
        again: bool = self.authorization.reauthorizes(changes)
        return again

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """The next time at which the clock alone changes who may see what, or what there is."""
        rules: float | None = self.authorization.boundary(state, now)
        document = self.composer.boundary(state, now)
        if rules is None or document is None:
            return document if rules is None else rules
        return min(rules, document)

    # What there is to see.

    def affected(self, changes: ChangeSet) -> bool:
        """Whether the composed document may be another one now."""
        return self.composer.affected(changes)

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """The composed document as the permissions show it, built once for all who share it."""
        granted = permissions if isinstance(permissions, Permissions) else NOTHING
        composed = self.composer.composed(state, now)
        bodies = composed.bodies
        body = bodies.get(granted)
        if body is None:
            if len(bodies) >= _MAX_VIEWS:
                bodies.clear()
            shown = permitted(composed.presence, granted)
            body = bodies[granted] = Body(MEDIA_TYPE, shown.to_bytes())
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


@implementer(IRole)
class PresenceAgent:
    """The role that decides PUBLISH for presence and notifies its watchers.

    ``composer`` is what composes, or the one policy by which it is done.  Who publishes what of
    whose state is said by ``rules``; where there are none, the user himself
    all of his own, and the identities in ``publishers`` of anybody's; others get 403.  The other
    settings are those of EventStateCompositor.
    """

    name = "presence"
    methods = frozenset({"PUBLISH"})
    usages: tuple[IApplicationUsage, ...] = ()

    def __init__(
        self,
        composer: Composer | ICompositionPolicy | None = None,
        authorization: IAuthorizationPolicy | None = None,
        rules: PublisherRules | None = None,
        *,
        registration_is_presence: bool = True,
        default_handling: str = "confirm",
        min_expires: int = 60,
        default_expires: int = 3600,
        max_expires: int = 86400,
        max_body: int = 32768,
        max_publications: int = 16,
        publishers: Collection[str] = (),
    ) -> None:
        if not isinstance(composer, Composer):
            composer = Composer(composer, registration_is_presence=registration_is_presence)
        if authorization is None:
            authorization = PresRulesPolicy(default_handling=default_handling)
        self.package = PresencePackage(composer, authorization, default_expires=default_expires)
        self.packages: tuple[IEventPackage, ...] = (self.package,)
        self.rules = PublisherRules(publishers=publishers) if rules is None else rules
        self.compositor = EventStateCompositor(
            _PACKAGE,
            (MEDIA_TYPE,),
            self._check,
            partial={PARTIAL_TYPE: self._patched},
            min_expires=min_expires,
            default_expires=default_expires,
            max_expires=max_expires,
            max_body=max_body,
            max_publications=max_publications,
        )

    @property
    def publish_types(self) -> tuple[str, ...]:
        """The types of PUBLISH bodies."""
        return self.compositor.content_types

    def decide(
        self, incoming: Incoming, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[Response]:
        """Decide a PUBLISH.

        :raises SIPError: 403 for who may not publish or publishes another entity, 400 for a
            document that can't be read, and what EventStateCompositor raises.
        """
        identity = incoming.identity
        if self.rules.granted(state, identity, now) == NOTHING:
            raise SIPError(
                403, text=f"{identity or 'anonymous'} may not publish for {incoming.aor}"
            )
        return self.compositor.decide(incoming, state, now, identifiers)

    def expire(self, state: ResourceState, now: float) -> ChangeSet:
        """Remove the publications whose time is over."""
        return self.compositor.expire(state, now)

    def _patched(
        self, incoming: Incoming, state: ResourceState, stored: bytes | None, now: float
    ) -> bytes:
        """What a partial publication makes (RFC 5264), also of one whose excess was dropped."""
        rules = self.rules
        partly = not rules.refuses and rules.granted(state, incoming.identity, now) != EVERYTHING
        return patched(stored, incoming.request.body, partly)

    def _check(self, incoming: Incoming, state: ResourceState, body: bytes, now: float) -> bytes:
        presence = parsed(body)
        # A presentity is named by a pres URI or by its address-of-record (RFC 3856 §5).
        if presence.entity != incoming.aor and _presentity(presence.entity) != incoming.aor:
            entity = presence.entity[:80]
            raise SIPError(403, text=f"the document is about {entity}, not {incoming.aor}")
        rpid.check(presence)
        granted = self.rules.granted(state, incoming.identity, now)
        if granted == EVERYTHING:
            return body
        kept = self.rules.kept(presence, granted)
        return body if kept == presence else kept.to_bytes()


@remember(4096, each=1)
def _presentity(entity: str) -> str:
    """The AOR that an entity names."""
    scheme, _, rest = entity.partition(":")
    return identity_key(f"sip:{rest}" if scheme.lower() in ("pres", "sips") else entity)
