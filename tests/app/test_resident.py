"""The AORs in memory: loaded in order, kept while they are needed."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.resident import Residents
from simplestack.event.notifier import Notifier
from simplestack.state import ChangeSet, Record, ResourceState
from simplestack.store.memory import MemoryStore
from tests.event.fakes import AOR, FakePackage, publication, subscribe
from tests.event.fakes import Agent as EventAgent


class SlowStore(MemoryStore):
    """A store whose reads wait to be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[str, Deferred[list[Record]]]] = []

    def load(self, aor: str) -> "Deferred[list[Record]]":
        """Wait."""
        read: Deferred[list[Record]] = Deferred()
        self.reads.append((aor, read))
        return read


class ResidentsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Nothing is in memory."""
        self.now = 1000.0
        self.store = SlowStore()
        package = FakePackage()
        self.residents = Residents(
            self.store,
            lambda state: Notifier(state, {"presence": package}),
            lambda: self.now,
            idle=100.0,
        )

    def bring(self, *records: Record) -> None:
        """Load Bob's AOR with these records."""
        self.residents.load(AOR)
        self.store.reads.pop()[1].callback(list(records))

    def test_order(self) -> None:
        """Rule of the house: while a state loads, its requests wait in order, behind one read."""
        order: list[int] = []
        for number in range(4):
            self.residents.load(AOR).addCallback(lambda _, n: order.append(n), number)
        self.assertEqual(len(self.store.reads), 1)
        self.assertIsNone(self.residents.get(AOR))
        self.store.reads[0][1].callback([publication("p", b"x")])
        self.assertEqual(order, [0, 1, 2, 3])
        resident = self.residents.get(AOR)
        assert resident is not None
        self.assertEqual(list(resident.state.publications), ["p"])
        # What is there takes no read.
        self.successResultOf(self.residents.load(AOR))
        self.assertEqual(len(self.store.reads), 1)

    def test_failure(self) -> None:
        """A read that fails fails all that wait for it, and the next request reads again."""
        waiting = [self.residents.load(AOR) for _ in range(3)]
        self.store.reads[0][1].errback(OSError("gone"))
        for each in waiting:
            self.failureResultOf(each, OSError)
        self.assertIsNone(self.residents.get(AOR))
        again = self.residents.load(AOR)
        self.assertEqual(len(self.store.reads), 2)
        self.store.reads[1][1].callback([])
        self.successResultOf(again)

    def test_after(self) -> None:
        """It can be read behind something else; who asks meanwhile waits for that as well."""
        barrier: Deferred[None] = Deferred()
        first = self.residents.load(AOR, barrier)
        second = self.residents.load(AOR)
        self.assertEqual(self.store.reads, [])
        barrier.callback(None)
        self.store.reads[0][1].callback([])
        self.successResultOf(first)
        self.successResultOf(second)

    def test_sweep(self) -> None:
        """The idle ones leave; those that were used, or wait for a commit, stay."""
        self.bring(publication("p", b"x"))
        resident = self.residents.get(AOR)
        assert resident is not None
        self.now += 100.0
        self.assertEqual(self.residents.sweep(), 0)
        self.now += 1.0
        resident.uncommitted = 1
        self.assertEqual(self.residents.sweep(), 0)
        resident.uncommitted = 0
        resident.used = self.now
        self.assertEqual(self.residents.sweep(), 0)
        self.now += 101.0
        self.assertEqual(self.residents.sweep(), 1)
        self.assertEqual(len(self.residents), 0)

    def test_subscribed_ones_stay(self) -> None:
        """What a watcher was told last is known in memory alone, so its AOR stays."""
        agent = EventAgent(FakePackage())
        agent.subscribe(subscribe())
        self.bring(*agent.state)
        resident = self.residents.get(AOR)
        assert resident is not None
        self.assertTrue(resident.untold)
        self.now += 10_000.0
        self.assertEqual(self.residents.sweep(), 0)

    def test_nobody_to_tell(self) -> None:
        """Without live subscriptions nobody is to be told."""
        self.bring(publication("p", b"x"))
        resident = self.residents.get(AOR)
        assert resident is not None
        self.assertFalse(resident.untold)

    def test_evict(self) -> None:
        """What was thrown away is read again, and what the old object holds counts no more."""
        self.bring()
        old = self.residents.evict(AOR)
        assert old is not None
        old.state.apply(ChangeSet(AOR, [publication("p", b"x")]))
        self.assertIsNone(self.residents.evict(AOR))
        self.bring()
        new = self.residents.get(AOR)
        assert new is not None
        self.assertEqual(new.state, ResourceState(AOR))
