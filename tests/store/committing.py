"""A program that commits as fast as it can and prints what was acknowledged, until it is killed.

python -m tests.store.committing URL
"""

import sys
from itertools import count

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred

from simplestack.state import ChangeSet
from simplestack.store.sql import SQLStore
from tests.store.records import binding, publication


def commit_forever(clock: object, url: str) -> Deferred[None]:
    """Keep fifty commits in flight."""
    store = SQLStore(url, clock)  # type: ignore[arg-type]  # the global reactor is typed as a module
    numbers = count()

    def commit() -> None:
        number = next(numbers)
        aor = f"sip:user{number % 97}@example.com"
        changes = ChangeSet(aor, [binding(aor, str(number))])
        changes.put(publication(aor, str(number)))

        def settled(error: Exception | None) -> None:
            if error is None:
                print(number, flush=True)
                commit()

        store.commit(changes, settled)

    def started(_: object) -> Deferred[None]:
        for _ in range(50):
            commit()
        return Deferred()

    return store.start().addCallback(started)


if __name__ == "__main__":
    task.react(commit_forever, sys.argv[1:], reactor)
