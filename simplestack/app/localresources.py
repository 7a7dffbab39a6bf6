"""The resources that are users of this server: what lists and the subscriptions behind them stand on."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from simplestack.app.authentication import Authenticator
from simplestack.app.deadlines import Deadlines
from simplestack.app.placing import domain_of
from simplestack.app.resident import Residents
from simplestack.app.turn import Turns
from simplestack.event.limits import Limits
from simplestack.interfaces import IEventPackage

__all__ = ["LocalResources"]


class LocalResources(NamedTuple):
    """Whose users they are, what can be subscribed to of them, and who runs their turns."""

    #: Those whose users are here.
    domains: Sequence[str]
    #: Knows which users there are.
    authenticator: Authenticator
    #: What can be subscribed to, by name, and how much of it.
    packages: Mapping[str, IEventPackage]
    limits: Limits
    residents: Residents
    deadlines: Deadlines
    turns: Turns
    #: The wall clock.
    clock: Callable[[], float]

    def include(self, aor: str) -> bool:
        """Whether the AOR is of one of the domains, so that its user, if there is one, is here."""
        return domain_of(aor) in self.domains
