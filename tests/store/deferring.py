"""Commits that a test waits for."""

from twisted.internet.defer import Deferred

from simplestack.interfaces import IStore
from simplestack.state import ChangeSet

__all__ = ["committed"]


def committed(store: IStore, changes: ChangeSet) -> Deferred[None]:
    """Fires when the changes are durable, and fails with what the store fails with."""
    deferred: Deferred[None] = Deferred()

    def settled(error: Exception | None) -> None:
        if error is None:
            deferred.callback(None)
        else:
            deferred.errback(error)

    store.commit(changes, settled)
    return deferred
