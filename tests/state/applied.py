"""What comes of changes."""

from simplestack.state import ChangeSet, ResourceState
from tests.store.records import ALICE

__all__ = ["applied"]


def applied(*sequence: ChangeSet) -> ResourceState:
    """What change sets make of nothing."""
    state = ResourceState(ALICE)
    for changes in sequence:
        state.apply(changes)
    return state
