"""The policy by which an order counts that somebody gives."""

from collections.abc import Sequence
from typing import Any, Final

from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Device, Person, Tuple
from simplestack.roles.composition import Source
from simplestack.roles.conflicts import age, source_priority
from simplestack.roles.policies.pivot import pivot_of
from simplestack.roles.policies.winner import Rank, WinnerPolicy
from simplestack.roles.source import ORDER, place_in

__all__ = ["CRITERIA", "PriorityPolicy"]

#: By what an order may be.
CRITERIA: Final = ("contact", "source", "device")
_MAX_ORDER: Final = 64


class PriorityPolicy(WinnerPolicy):
    """The one of highest priority: by contact, source or device, then by the other two.

    ``by`` says what counts first: the ``priority`` of a contact (RFC 3863 §4.1.5), the place of
    the source in ``order``, or that of the device ID.  ``order`` names kinds of sources, AORs of
    publishers and device IDs, the highest first; ``*`` stands for all others.
    Of equals the newest wins.
    """

    name = "priority"

    def __init__(
        self, pivot: str = "contact", by: str = "contact", order: Sequence[str] = ()
    ) -> None:
        super().__init__(pivot)
        if by not in CRITERIA:
            raise DocumentError(f"there is no priority by {by!r}; there is {', '.join(CRITERIA)}")
        self.by = by
        self.order = tuple(order)
        self._devices = tuple([each.lower() for each in self.order])
        self._sources = self.order if self.order and by == "source" else ORDER

    def rank(self, component: Tuple | Person | Device, source: Source) -> Rank:
        """The priority by each criterion, beginning with the one that is chosen."""
        contact = component.priority if isinstance(component, Tuple) else -1.0
        origin = source_priority(source, self._sources)
        device = -place_in(self._devices, *_devices(component, source)) if self.order else 0
        ranks = {"contact": contact, "source": origin, "device": device}
        first = ranks.pop(self.by)
        return (first, *ranks.values(), *age(component, source))

    def configured(self, parameters: Any) -> "PriorityPolicy":
        """This policy with the order that a user gives: ``<prefer>`` elements."""
        order = tuple([(each.text or "").strip() for each in parameters.iterchildren("{*}prefer")])
        if len(order) > _MAX_ORDER:
            raise DocumentError(f"an order has at most {_MAX_ORDER} places")
        return PriorityPolicy(
            pivot_of(parameters, self.pivot), parameters.get("by", self.by), order or self.order
        )


def _devices(component: Tuple | Person | Device, source: Source) -> list[str]:
    """The device IDs that a component belongs to; those of the whole document for a person."""
    if isinstance(component, Person):
        presence = source.presence
        found = [each.device_id for each in presence.devices]
        found += [each.device_id for each in presence.tuples if each.device_id is not None]
        return [each.lower() for each in found]
    return [] if component.device_id is None else [component.device_id.lower()]
