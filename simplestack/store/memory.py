"""The contract of the store in memory, for tests of what stands on it; nothing is durable."""

from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from simplestack.interfaces import Credential, ICredentialSource, IStore
from simplestack.sip.uri import Uri
from simplestack.state import (
    RECORD_KINDS,
    ChangeSet,
    Document,
    Kind,
    Record,
    Removed,
    ResourceState,
)
from simplestack.store.errors import Unavailable, Unstorable
from simplestack.store.text import fits

__all__ = ["MemoryCredentials", "MemoryStore"]


@implementer(IStore)
class MemoryStore:
    """Records in a dict.

    Loads fire at once, and commits are settled before ``commit`` returns: there is no reactor here
    that could do it later.  A test may set ``available`` to False, with which they fail as those
    of a lost database do, or ``held`` to True, with which commits wait for ``release`` or ``lose``.
    """

    def __init__(self) -> None:
        self._records: dict[str, dict[tuple[Kind, str], Record]] = {}
        self._waiting: list[tuple[ChangeSet, Callable[[Exception | None], object]]] = []
        #: As on SQLStore.
        self.on_failure: Callable[[Collection[str]], object] = lambda aors: None
        self.available = True
        self.held = False

    def start(self) -> Deferred[None]:
        """Nothing is to be opened."""
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Commit what is held; later commits fail."""
        self.release()
        self.available = False
        return succeed(None)

    def load(self, aor: str) -> Deferred[list[Record]]:
        """Everything of one AOR."""
        if not self.available:
            return fail(Unavailable(2))
        return succeed(list(self._records.get(aor, {}).values()))

    def commit(self, changes: ChangeSet, settled: Callable[[Exception | None], object]) -> None:
        """Keep changes."""
        if not self.available:
            self.on_failure({changes.aor})
            settled(Unavailable(2))
        elif not all(fits(changes.aor, key) for _, key in changes.entries):
            self.on_failure({changes.aor})
            settled(Unstorable("a key is too long"))
        else:
            self._waiting.append((changes, settled))
            if not self.held:
                self.release()

    def release(self) -> None:
        """Make all held commits durable, in order."""
        self.held = False
        while self._waiting:
            changes, settled = self._waiting.pop(0)
            records = self._records.setdefault(changes.aor, {})
            for key, entry in changes.entries.items():
                if isinstance(entry, Removed):
                    records.pop(key, None)
                else:
                    records[key] = entry
            settled(None)

    def lose(self) -> None:
        """Let all held commits fail."""
        self.held = False
        waiting, self._waiting = self._waiting, []
        self.on_failure({changes.aor for changes, _ in waiting})
        for _, settled in waiting:
            settled(Unavailable(2))

    def deadlines(self) -> Deferred[list[tuple[str, float]]]:
        """Each AOR with its earliest expiry."""
        states = [
            ResourceState(aor, records.values())
            for aor, records in self._records.items()
            if records
        ]
        times = [(state.aor, state.deadline()) for state in states]
        return succeed([(aor, time) for aor, time in times if time is not None])

    def subscribed(self) -> Deferred[list[str]]:
        """The AORs that have subscriptions with a dialog."""
        return succeed(
            [
                aor
                for aor, records in self._records.items()
                if any(
                    getattr(record, "status", "waiting") != "waiting" for record in records.values()
                )
            ]
        )

    def documents(self, auid: str) -> Deferred[list[Document]]:
        """All documents of an application usage."""
        return succeed(
            [
                record
                for records in self._records.values()
                for record in records.values()
                if isinstance(record, Document) and record.auid == auid
            ]
        )

    def counts(self) -> Deferred[dict[str, int]]:
        """How many records of each kind there are."""
        counts = {kind.__name__.lower(): 0 for kind in RECORD_KINDS}
        for records in self._records.values():
            for kind, _ in records:
                counts[kind.__name__.lower()] += 1
        return succeed(counts)

    def queue_age(self) -> float:
        """Memory has no queue."""
        return 0.0


@implementer(ICredentialSource)
class MemoryCredentials:
    """Credentials in a dict, for tests."""

    name = "memory"

    def __init__(self, *credentials: Credential) -> None:
        self._credentials: dict[tuple[str, str], Credential] = {}
        self._removed: dict[tuple[str, str], int] = {}
        self._version = 0
        for credential in credentials:
            self.put(credential)

    def put(self, credential: Credential) -> None:
        """Create a user, or replace the secrets."""
        credential = credential._replace(domain=credential.domain.lower())
        self._credentials[credential.username, credential.domain] = credential
        self._version += 1

    def remove(self, username: str, domain: str) -> bool:
        """Remove a user; whether there was one."""
        self._version += 1
        self._removed[username, domain.lower()] = self._version
        return self._credentials.pop((username, domain.lower()), None) is not None

    def lookup(self, username: str, domain: str) -> Deferred[Credential | None]:
        """The secrets of a user; None where there is none."""
        return succeed(self._credentials.get((username, domain.lower())))

    def version(self) -> Deferred[int]:
        """A number that grows with every change."""
        return succeed(self._version)

    def users(self, domain: str) -> Deferred[list[str]]:
        """The AORs of all users of a domain."""
        return succeed(
            [
                Uri("sip", user=username, host=name).aor
                for username, name in self._credentials
                if name == domain.lower()
            ]
        )

    def removed(self, since: int) -> Deferred[list[str]]:
        """The AORs of users who were removed after that version."""
        return succeed(
            [
                Uri("sip", user=username, host=domain).aor
                for (username, domain), version in self._removed.items()
                if version > since
            ]
        )
