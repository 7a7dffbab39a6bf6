"""Roles that notify and decide no request: event packages, of this server or from plug-ins."""

from collections.abc import Iterable

from zope.interface import implementer

from simplestack.interfaces import IApplicationUsage, Identifiers, IEventPackage, IRole
from simplestack.outcome import Incoming, Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response
from simplestack.state import ChangeSet, ResourceState

__all__ = ["Packages"]


@implementer(IRole)
class Packages:
    """Notifies the given event packages; the role of those that come as plug-ins."""

    name = "packages"
    methods: frozenset[str] = frozenset()
    usages: tuple[IApplicationUsage, ...] = ()

    def __init__(self, packages: Iterable[IEventPackage]) -> None:
        self.packages: tuple[IEventPackage, ...] = tuple(packages)

    def decide(
        self, incoming: Incoming, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[Response]:
        """Refuse: no method is this role's own, for SUBSCRIBE is the notifier's."""
        raise SIPError(405)

    def expire(self, state: ResourceState, now: float) -> ChangeSet:
        """Nothing: the role has no records of its own."""
        return ChangeSet(state.aor)
