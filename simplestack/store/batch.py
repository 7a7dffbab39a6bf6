"""What is made durable at once."""

from collections.abc import Callable, Collection

from simplestack.state import RECORD_KINDS, Kind, Record, Removed

__all__ = ["Batch", "Entries", "Settled"]

#: AOR and id → the record, or that it is gone.
Entries = dict[tuple[str, str], Record | Removed]
#: Told what a commit has come to.
Settled = Callable[[Exception | None], object]


class Batch:
    """Changes that are made durable together; of each record the last one."""

    __slots__ = ("aors", "entries", "since", "waiting")

    def __init__(self, since: float) -> None:
        #: When its first changes were given.
        self.since = since
        self.entries: dict[Kind, Entries] = {kind: {} for kind in RECORD_KINDS}
        self.aors: set[str] = set()
        #: In the order of the commits.
        self.waiting: list[tuple[str, Settled]] = []

    def without(self, aors: Collection[str]) -> list[tuple[str, Settled]]:
        """Take out what concerns these AORs; who waits for it."""
        taken = [waiter for waiter in self.waiting if waiter[0] in aors]
        self.waiting = [waiter for waiter in self.waiting if waiter[0] not in aors]
        self.aors.difference_update(aors)
        for kind, entries in self.entries.items():
            self.entries[kind] = {
                key: entry for key, entry in entries.items() if key[0] not in aors
            }
        return taken
