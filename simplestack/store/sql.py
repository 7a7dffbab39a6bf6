"""The store in a SQL database."""

from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred
from zope.interface import implementer

from simplestack.interfaces import IStore
from simplestack.state import ChangeSet, Document, Record
from simplestack.store.committer import Committer, Reactor
from simplestack.store.database import Database
from simplestack.store.loader import Loader
from simplestack.store.threads import ReadingThreads

__all__ = ["SQLStore"]


@implementer(IStore)
class SQLStore:
    """Records in SQLite or PostgreSQL: one writer with group commit, a few readers.

    :param url: ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/DATABASE``.
    :param reactor: where Deferreds fire and commits are settled.
    :param batch_limit: commits in one transaction.
    :param queue_limit: commits that may wait; more fail at once.
    :param busy_timeout: seconds to wait for another process that writes to the same SQLite file.
    :param retry: seconds between two attempts to bring a failed database back.
    :param pause: seconds from the begin of a transaction to that of the next, at least.
    :param readers: threads that read.

    Raises StoreError where the URL is bad.
    """

    def __init__(
        self,
        url: str,
        reactor: Reactor,
        *,
        batch_limit: int = 1000,
        queue_limit: int = 10_000,
        busy_timeout: float = 5.0,
        retry: float = 1.0,
        pause: float = 0.001,
        readers: int = 2,
    ) -> None:
        self.database = Database(url, busy_timeout=busy_timeout)
        self.threads = ReadingThreads(self.database, reactor, readers)
        self._loader = Loader(self.threads)
        self._committer = Committer(
            self.database,
            reactor,
            batch_limit=batch_limit,
            queue_limit=queue_limit,
            retry=retry,
            pause=pause,
        )

    @property
    def on_failure(self) -> Callable[[Collection[str]], object]:
        """Called with the AORs whose changes failed, before anything else is decided on them."""
        return self._committer.on_failure

    @on_failure.setter
    def on_failure(self, callback: Callable[[Collection[str]], object]) -> None:
        self._committer.on_failure = callback

    def start(self) -> Deferred[None]:
        """Open, create, migrate.  Fails with StoreError; then it may be tried again, or stopped."""
        self.threads.start()
        return self._committer.start()

    @property
    def running(self) -> bool:
        """Whether it has been opened, though the database may be away; else it can be started."""
        return self._committer.running

    def stop(self) -> Deferred[None]:
        """Commit what is queued and close."""
        return self._committer.stop().addCallback(lambda _: self.threads.stop())

    def load(self, aor: str) -> Deferred[list[Record]]:
        """Everything of one AOR, after what is still being committed of it."""
        settled = self._committer.settled(aor)
        if settled is None:
            return self._loader.load(aor)
        return settled.addCallback(lambda _: self._loader.load(aor))

    def commit(self, changes: ChangeSet, settled: Callable[[Exception | None], object]) -> None:
        """Make changes durable, in the order of the calls; then call ``settled`` with None.

        The changes must not be altered afterwards.  They fail with Unavailable, or with Unstorable
        where a record is of a kind that no database takes.
        """
        self._committer.commit(changes, settled)

    def queue_age(self) -> float:
        """Seconds since the oldest change that is not committed yet was given."""
        return self._committer.age()

    def deadlines(self) -> Deferred[list[tuple[str, float]]]:
        """Each AOR with its earliest expiry."""
        return self._loader.deadlines()

    def subscribed(self) -> Deferred[list[str]]:
        """The AORs that have subscriptions with a dialog."""
        return self._loader.subscribed()

    def documents(self, auid: str) -> Deferred[list[Document]]:
        """All documents of an XCAP application usage, of every AOR."""
        return self._loader.documents(auid)

    def counts(self) -> Deferred[dict[str, int]]:
        """How many records of each kind there are."""
        return self._loader.counts()
