"""Which services describe the same thing, and the policy that merges them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from zope.interface import implementer

from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Presence, Tuple
from simplestack.interfaces import ICompositionPolicy
from simplestack.roles.composition import Source, assembled
from simplestack.roles.conflicts import merged
from simplestack.roles.source import considered
from simplestack.sip.errors import SIPError
from simplestack.sip.memory import remember
from simplestack.sip.uri import parse_uri

__all__ = ["PIVOTS", "Pivot", "PivotPolicy", "pivot_of"]

Pivot = Callable[[Tuple], str | None]


@remember(4096)
def _comparable(contact: str) -> str:
    try:
        return parse_uri(contact).key()
    except SIPError:
        return contact


def _by_contact(service: Tuple) -> str | None:
    return None if service.contact is None else _comparable(service.contact)


def _by_device(service: Tuple) -> str | None:
    # UUIDs are written in either case (RFC 4122 §3).
    return None if service.device_id is None else service.device_id.lower()


def _by_class(service: Tuple) -> str | None:
    return service.class_


#: What two services share where they are one: each by its name in preferences.
PIVOTS: Final[Mapping[str, Pivot]] = {
    "contact": _by_contact,
    "deviceID": _by_device,
    "class": _by_class,
}


def pivot_of(parameters: Any, otherwise: str) -> str:
    """The attribute ``pivot`` of a ``<composition>``; raises DocumentError where it is none."""
    name: str = parameters.get("pivot", otherwise)
    if name not in PIVOTS:
        raise DocumentError(f"there is no pivot {name!r}; there are {', '.join(PIVOTS)}")
    return name


@implementer(ICompositionPolicy)
class PivotPolicy:
    """Services with the same contact, device ID or class become one; the rest is as in union.

    A service without the pivot stays alone.  What is merged is the table in ``conflicts``.
    """

    name = "pivot"

    def __init__(self, pivot: str = "contact") -> None:
        self.pivot = pivot

    def compose(self, sources: Sequence[Source], entity: str, now: float) -> Presence:
        """The document of the entity."""
        return assembled(considered(sources), entity, PIVOTS[self.pivot], merged)

    def boundary(self, sources: Sequence[Source], now: float) -> float | None:
        """Time alone changes nothing."""
        return None

    def configured(self, parameters: Any) -> "PivotPolicy":
        """This policy with the ``pivot`` that a user chooses."""
        return PivotPolicy(pivot_of(parameters, self.pivot))
