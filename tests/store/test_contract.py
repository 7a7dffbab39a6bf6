"""The contract of a store, on memory, SQLite and PostgreSQL alike."""

from functools import partial
from pathlib import Path
from typing import Any
from unittest import SkipTest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.interfaces import IStore
from simplestack.state import ChangeSet, Document, ResourceState
from simplestack.store.errors import Unavailable, Unstorable
from simplestack.store.memory import MemoryStore
from simplestack.store.sql import SQLStore
from simplestack.store.text import KEY_LIMIT
from tests.store.cluster import cluster
from tests.store.deferring import committed
from tests.store.pump import Pump
from tests.store.records import (
    ALICE,
    BOB,
    absence,
    binding,
    change_sets,
    document,
    one_of_each,
    publication,
    subscription,
)

Store = SQLStore | MemoryStore


def _note(order: list[int], number: int, _: object) -> None:
    order.append(number)


class _Contract:
    """The tests; a subclass says which store."""

    class Tests(SynchronousTestCase):
        examples = 40

        def setUp(self) -> None:
            self.pump = Pump()
            self.store = self.opened()

        def tearDown(self) -> None:
            self.pump.wait(self.store.stop())

        def opened(self) -> Store:
            """A store on an empty database."""
            raise NotImplementedError

        def reopened(self) -> Store:
            """The same store after a restart."""
            raise NotImplementedError

        def commit(self, changes: ChangeSet) -> None:
            self.pump.wait(committed(self.store, changes))

        def loaded(self, aor: str = ALICE) -> ResourceState:
            return ResourceState(aor, self.pump.wait(self.store.load(aor)))

        def test_interface(self) -> None:
            """It provides all that the interface asks for."""
            verifyObject(IStore, self.store)

        def test_nothing(self) -> None:
            """Of an AOR that was never heard of there are no records."""
            self.assertEqual(self.pump.wait(self.store.load(ALICE)), [])

        def test_every_kind(self) -> None:
            """A record of every kind comes back as it was, and of the right type."""
            records = one_of_each()
            self.commit(ChangeSet(ALICE, records))
            loaded = self.pump.wait(self.store.load(ALICE))
            self.assertEqual(set(loaded), set(records))
            self.assertEqual({type(record) for record in loaded}, {type(r) for r in records})

        def test_restart(self) -> None:
            """What was acknowledged is there after a restart."""
            self.commit(ChangeSet(ALICE, one_of_each()))
            self.store = self.reopened()
            self.assertEqual(self.loaded(), ResourceState(ALICE, one_of_each()))

        def test_replace(self) -> None:
            """The last of several records with the same key stays."""
            self.commit(ChangeSet(ALICE, [binding(cseq=1)]))
            self.commit(ChangeSet(ALICE, [binding(cseq=2, q=0)]))
            self.assertEqual(self.loaded().bindings, {"b1": binding(cseq=2, q=0)})

        def test_last_wins_in_a_batch(self) -> None:
            """So it is where they are committed together: put, remove, put."""
            removal = ChangeSet(ALICE)
            removal.remove(binding(), "unregistered")
            results = [
                committed(self.store, ChangeSet(ALICE, [binding(cseq=1), publication()])),
                committed(self.store, removal),
                committed(self.store, ChangeSet(ALICE, [binding(cseq=3)])),
            ]
            for result in results:
                self.pump.wait(result)
            self.assertEqual(self.loaded(), ResourceState(ALICE, [binding(cseq=3), publication()]))

        def test_remove(self) -> None:
            """Removed records are gone, the others of the AOR and of other AORs stay."""
            self.commit(ChangeSet(ALICE, one_of_each()))
            self.commit(ChangeSet(BOB, one_of_each(BOB)))
            changes = ChangeSet(ALICE)
            for record in one_of_each()[:3]:
                changes.remove(record, "expired")
            self.commit(changes)
            self.assertEqual(list(self.loaded()), [document(), absence()])
            self.assertEqual(self.loaded(BOB), ResourceState(BOB, one_of_each(BOB)))

        def test_remove_absent(self) -> None:
            """A record that was never stored may be removed."""
            changes = ChangeSet(ALICE, [publication()])
            changes.remove(binding(key="never"), "expired")
            self.commit(changes)
            self.assertEqual(list(self.loaded()), [publication()])

        def test_same_id(self) -> None:
            """Ids are of a kind and an AOR: equal ones elsewhere are other records."""
            self.commit(ChangeSet(ALICE, [binding(key="x"), publication(key="x")]))
            self.commit(ChangeSet(BOB, [binding(BOB, key="x")]))
            changes = ChangeSet(ALICE)
            changes.remove(binding(key="x"), "expired")
            self.commit(changes)
            self.assertEqual(list(self.loaded()), [publication(key="x")])
            self.assertEqual(list(self.loaded(BOB)), [binding(BOB, key="x")])

        def test_order(self) -> None:
            """Commits are acknowledged in the order of the calls, those without changes too."""
            order: list[int] = []
            last: Deferred[Any] | None = None
            for number in range(50):
                records = [] if number % 7 == 0 else [binding(key=str(number % 3), cseq=number)]
                last = committed(self.store, ChangeSet(ALICE, records))
                last.addCallback(partial(_note, order, number))
            assert last is not None
            self.pump.wait(last)
            self.assertEqual(order, list(range(50)))
            self.assertEqual(
                {key: record.cseq for key, record in self.loaded().bindings.items()},
                {"0": 48, "1": 46, "2": 47},
            )

        def test_no_changes(self) -> None:
            """Without changes, and without any on their way, the reactor goes around once."""
            self.commit(ChangeSet(ALICE))

        def test_load_sees_commits(self) -> None:
            """A load sees what was given before it, acknowledged or not."""
            committed(self.store, ChangeSet(ALICE, [binding(cseq=1)]))
            committed(self.store, ChangeSet(ALICE, [binding(cseq=2)]))
            self.assertEqual(list(self.loaded()), [binding(cseq=2)])

        def test_many(self) -> None:
            """More records than one statement takes, of several AORs, loaded at once."""
            wanted = {}
            for number in range(20):
                aor = f"sip:user{number}@example.com"
                wanted[aor] = ChangeSet(aor, [binding(aor, key=str(i)) for i in range(30)])
            for result in [committed(self.store, changes) for changes in wanted.values()]:
                self.pump.wait(result)
            loads = {aor: self.store.load(aor) for aor in wanted}
            for aor, load in loads.items():
                self.assertEqual(
                    set(self.pump.wait(load)),
                    set(ResourceState(aor, wanted[aor].entries.values())),  # type: ignore[arg-type]  # none is Removed
                )

        def test_loads_of_one_aor(self) -> None:
            """Each of several loads of an AOR gets a list of its own."""
            self.commit(ChangeSet(ALICE, [binding()]))
            loads = [self.store.load(ALICE) for _ in range(3)]
            for load in loads:
                records = self.pump.wait(load)
                self.assertEqual(records, [binding()])
                records.clear()

        def test_common_texts(self) -> None:
            """What many subscriptions have in common is in memory once, after a restart, too."""
            self.commit(ChangeSet(ALICE, [subscription(), subscription(key="s2")]))
            self.store = self.reopened()
            first, second = self.loaded().subscriptions.values()
            for name in ("remote_uri", "local_uri", "contact", "accept", "user_agent"):
                self.assertTrue(getattr(first, name), name)
                self.assertIs(getattr(first, name), getattr(second, name))

        def test_deadlines(self) -> None:
            """Each AOR comes with its earliest expiry; documents do not expire."""
            self.commit(ChangeSet(ALICE, one_of_each()))
            self.commit(ChangeSet(BOB, [document(BOB)]))
            self.commit(ChangeSet("sip:\udc80", [binding("sip:\udc80", expires_at=5.5)]))
            self.assertEqual(
                sorted(self.pump.wait(self.store.deadlines())),
                [(ALICE, 1_790_000_600.5), ("sip:\udc80", 5.5)],
            )

        def test_subscribed(self) -> None:
            """Only AORs with dialogs count, and once: a waiting watcher has none."""
            carol = "sip:carol@example.com"
            self.commit(
                ChangeSet(ALICE, [subscription(), subscription(key="s2", status="pending")])
            )
            self.commit(ChangeSet(BOB, [subscription(BOB, status="waiting")]))
            self.commit(ChangeSet(carol, [binding(carol)]))
            self.assertEqual(self.pump.wait(self.store.subscribed()), [ALICE])

        def test_counts(self) -> None:
            """How many records there are, of every kind."""
            self.commit(ChangeSet(ALICE, one_of_each()))
            self.commit(ChangeSet(BOB, [binding(BOB)]))
            self.assertEqual(
                self.pump.wait(self.store.counts()),
                {"binding": 2, "publication": 1, "subscription": 1, "document": 1, "absence": 1},
            )

        def test_documents(self) -> None:
            """All documents of an application usage, whoever they are of (RFC 4826 §4.4.9)."""
            mine = [each for each in one_of_each() if isinstance(each, Document)]
            others = [each._replace(aor=BOB) for each in mine]
            self.commit(ChangeSet(ALICE, one_of_each()))
            self.commit(ChangeSet(BOB, others))
            found = self.pump.wait(self.store.documents(mine[0].auid))
            self.assertEqual(sorted(found), sorted([*mine, *others]))
            self.assertEqual(self.pump.wait(self.store.documents("no-such-usage")), [])

        def test_queue_age(self) -> None:
            """Nothing waits: the age is nought."""
            self.commit(ChangeSet(ALICE, [binding()]))
            self.assertEqual(self.store.queue_age(), 0.0)

        def test_stopped(self) -> None:
            """Stopping commits what is queued; later commits fail, and the app is told of whom."""
            failed: list[str] = []
            self.store.on_failure = failed.extend
            queued = committed(self.store, ChangeSet(ALICE, [binding()]))
            stopped = self.store.stop()
            late = committed(self.store, ChangeSet(BOB, [binding(BOB)]))
            self.assertEqual(failed, [BOB])
            error = self.assertRaises(Unavailable, self.pump.wait, late)
            self.assertGreater(error.retry_after, 0)
            self.pump.wait(stopped)
            self.assertIsNone(self.successResultOf(queued))
            self.store = self.reopened()
            self.assertEqual(list(self.loaded()), [binding()])

        def test_long_key(self) -> None:
            """A key at the limit is stored; one beyond it is refused at once and alone."""
            failed: list[str] = []
            self.store.on_failure = failed.extend
            # Octets that do not compress, as PostgreSQL would compress a run of one.
            longest = "".join(chr(33 + i * i % 89 + i % 5) for i in range(KEY_LIMIT - len(ALICE)))
            self.commit(ChangeSet(ALICE, [document(key=longest)]))
            late = committed(
                self.store, ChangeSet(BOB, [document(BOB, key="é" * (KEY_LIMIT // 2))])
            )
            self.assertEqual(failed, [BOB])
            self.assertRaises(Unstorable, self.pump.wait, late)
            self.assertEqual(list(self.loaded()), [document(key=longest)])

        def test_long_key_among_others(self) -> None:
            """A change set is stored whole or not at all: what stands before a key too long is not."""
            late = committed(
                self.store,
                ChangeSet(BOB, [binding(BOB), document(BOB, key="é" * (KEY_LIMIT // 2))]),
            )
            self.commit(ChangeSet(ALICE, [binding()]))
            self.assertRaises(Unstorable, self.pump.wait, late)
            self.assertEqual(self.pump.wait(self.store.load(BOB)), [])

        def test_equal_states(self) -> None:
            """Any change sets, applied to memory and committed: reloaded states are equal."""

            @settings(
                max_examples=self.examples,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            )
            @given(st.lists(change_sets(), max_size=5))
            def holds(sequence: list[ChangeSet]) -> None:
                for changes in sequence:
                    state = states.setdefault(changes.aor, ResourceState(changes.aor))
                    state.apply(changes)
                for result in [committed(self.store, changes) for changes in sequence]:
                    self.pump.wait(result)
                for changes in sequence:
                    self.assertEqual(self.loaded(changes.aor), states[changes.aor])

            states: dict[str, ResourceState] = {}
            holds()


class MemoryTests(_Contract.Tests):
    def opened(self) -> Store:
        """Memory."""
        return MemoryStore()

    def reopened(self) -> Store:
        """Memory has no restart; its records stay in the object."""
        assert isinstance(self.store, MemoryStore)
        self.store.available = True
        return self.store

    def test_unavailable(self) -> None:
        """A test may make it fail as a lost database does."""
        store = MemoryStore()
        store.available = False
        self.failureResultOf(committed(store, ChangeSet(ALICE, [binding()])), Unavailable)
        self.failureResultOf(store.load(ALICE), Unavailable)

    def test_held(self) -> None:
        """A test may hold commits, and then release or lose them."""
        store = MemoryStore()
        failed: list[str] = []
        store.on_failure = failed.extend
        for end in (store.release, store.lose):
            store.held = True
            commit = committed(store, ChangeSet(ALICE, [binding()]))
            self.assertNoResult(commit)
            end()
            if end == store.release:
                self.assertIsNone(self.successResultOf(commit))
            else:
                self.failureResultOf(commit, Unavailable)
        self.assertEqual(failed, [ALICE])


class SQLiteTests(_Contract.Tests):
    def opened(self) -> Store:
        """A new file."""
        self.url = f"sqlite:///{Path(self.mktemp()).absolute()}"
        return self.reopened()

    def reopened(self) -> Store:
        """Another store on the same database."""
        if hasattr(self, "store"):
            self.pump.wait(self.store.stop())
        store = SQLStore(self.url, self.pump)
        self.pump.wait(store.start())
        return store


class PostgreSQLTests(_Contract.Tests):
    examples = 15

    def opened(self) -> Store:
        """The emptied database of our cluster."""
        own = cluster()
        if own is None:
            raise SkipTest("PostgreSQL's server is not installed")
        self.url = own.clear()
        return self.reopened()

    def reopened(self) -> Store:
        """Another store on the same database."""
        if hasattr(self, "store"):
            self.pump.wait(self.store.stop())
        store = SQLStore(self.url, self.pump)
        self.pump.wait(store.start())
        return store
