"""The policy by which what was said last counts."""

from simplestack.documents.pidf import Device, Person, Tuple
from simplestack.roles.composition import Source
from simplestack.roles.conflicts import age
from simplestack.roles.policies.winner import Rank, WinnerPolicy

__all__ = ["MostRecentPolicy"]


class MostRecentPolicy(WinnerPolicy):
    """The newest by timestamp, or by publication where there is none."""

    name = "most-recent"

    def rank(self, component: Tuple | Person | Device, source: Source) -> Rank:
        """When it was said."""
        return age(component, source)
