"""Policies that show, of all that describe the same thing, the one that ranks highest."""

from collections.abc import Sequence
from typing import Any, Self

from zope.interface import implementer

from simplestack.documents.pidf import Device, Person, Presence, Tuple
from simplestack.interfaces import ICompositionPolicy
from simplestack.roles.composition import Component, Source, assembled
from simplestack.roles.policies.pivot import PIVOTS, pivot_of
from simplestack.roles.source import considered

__all__ = ["Rank", "WinnerPolicy"]

#: How good a component is; greater is better.
Rank = tuple[float, ...]


@implementer(ICompositionPolicy)
class WinnerPolicy:
    """The winner of each group is shown whole, and of the others nothing.

    Services compete that have the ``pivot`` in common, persons of one class, and devices of one
    device ID; components of different classes never do.  Subclasses say what ranks highest.
    """

    name: str

    def __init__(self, pivot: str = "contact") -> None:
        self.pivot = pivot

    def rank(self, component: Tuple | Person | Device, source: Source) -> Rank:
        """How good a component is; of equals the first by source and id wins."""
        raise NotImplementedError

    def compose(self, sources: Sequence[Source], entity: str, now: float) -> Presence:
        """The document of the entity."""
        return assembled(considered(sources), entity, PIVOTS[self.pivot], self._winner)

    def _winner(self, group: list[tuple[Component, Source]]) -> tuple[Component, Source]:
        group = sorted(group, key=_place)
        return max(group, key=lambda member: self.rank(*member))

    def boundary(self, sources: Sequence[Source], now: float) -> float | None:
        """Time alone changes nothing."""
        return None

    def configured(self, parameters: Any) -> Self:
        """This policy with the ``pivot`` that a user chooses."""
        return type(self)(pivot_of(parameters, self.pivot))


def _place(member: tuple[Tuple | Person | Device, Source]) -> tuple[str, str, str]:
    component, source = member
    return source.kind, source.id, component.id
