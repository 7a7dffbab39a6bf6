"""Users and their secrets: the table of the command line and the source of the server."""

import stat
from pathlib import Path
from unittest import SkipTest

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.interfaces import Credential, ICredentialSource
from simplestack.state import ChangeSet
from simplestack.store.credentials import CredentialTable, SQLCredentials
from simplestack.store.errors import StoreError, Unavailable
from simplestack.store.memory import MemoryCredentials
from simplestack.store.sql import SQLStore
from tests.store.cluster import cluster
from tests.store.deferring import committed
from tests.store.pump import Pump
from tests.store.records import ALICE, BOB, binding, subscription


def credential(username: str = "alice", domain: str = "example.com", md5: str = "m") -> Credential:
    """A credential."""
    return Credential(username, domain, "s5", "s2", md5)


class _Shared:
    class Tests(SynchronousTestCase):
        def empty(self) -> str:
            """The URL of an empty database."""
            raise NotImplementedError

        def setUp(self) -> None:
            """Make a table before any server ran."""
            self.pump = Pump()
            self.url = self.empty()
            self.table = CredentialTable(self.url)

        def served(self) -> SQLCredentials:
            """The source of a running server."""
            self.store = store = SQLStore(self.url, self.pump)
            self.pump.wait(store.start())
            self.addCleanup(lambda: self.pump.wait(store.stop()))
            return SQLCredentials(store)

        def test_interface(self) -> None:
            """The source provides all that the interface asks for."""
            verifyObject(ICredentialSource, self.served())

        def test_users(self) -> None:
            """All users of a domain, and no others, are listed for the operator's lists."""
            source = self.served()
            for one in (credential(), credential("bob"), credential("eve", "example.net")):
                self.table.put(one)
            found = self.pump.wait(source.users("Example.com"))
            self.assertEqual(sorted(found), [ALICE, "sip:bob@example.com"])

        def test_removed(self) -> None:
            """With a user go his records; a server learns of it, also where he exists again."""
            source = self.served()
            for one in (credential(), credential("bob")):
                self.table.put(one)
            self.pump.wait(committed(self.store, ChangeSet(ALICE, [binding()])))
            before = self.pump.wait(source.version())
            self.assertTrue(self.table.remove("alice", "Example.com"))
            self.assertFalse(self.table.remove("nobody", "example.com"))
            self.assertEqual(self.pump.wait(source.removed(before)), [ALICE])
            self.assertEqual(self.pump.wait(self.store.load(ALICE)), [])
            after = self.pump.wait(source.version())
            self.assertGreater(after, before)
            self.assertEqual(self.pump.wait(source.removed(after)), [])
            self.table.put(credential())
            self.assertEqual(self.pump.wait(source.removed(before)), [ALICE])

        def test_removed_watcher(self) -> None:
            """Who is removed while no server runs watches nobody when one starts."""
            for one in (credential(), credential("bob")):
                self.table.put(one)
            self.served()
            mine = [subscription(key="s1", watcher=BOB), subscription(key="s2", watcher=ALICE)]
            self.pump.wait(committed(self.store, ChangeSet(ALICE, mine)))
            self.assertTrue(self.table.remove("bob", "example.com"))
            self.assertEqual(self.pump.wait(self.store.load(ALICE)), mine[1:])

        def test_put_list_remove(self) -> None:
            """Users are created, replaced, listed in order, and removed."""
            alice, bob = credential(), credential("bob")
            carol = credential("carol", "biloxi.example.com")
            for one in (bob, alice._replace(md5="old"), carol, alice):
                self.table.put(one)
            self.assertEqual(self.table.list(), [carol, alice, bob])
            self.assertEqual(self.table.list("EXAMPLE.com"), [alice, bob])
            self.assertEqual(self.table.list("example.org"), [])
            self.assertTrue(self.table.exists("bob", "Example.Com"))
            self.assertTrue(self.table.remove("bob", "Example.Com"))
            self.assertFalse(self.table.remove("bob", "example.com"))
            self.assertFalse(self.table.exists("bob", "example.com"))
            self.assertFalse(self.table.exists("Alice", "example.com"))
            self.assertEqual(self.table.list(), [carol, alice])

        def test_odd_names(self) -> None:
            """Any name that a message may bring can be looked up."""
            odd = credential("\0\udcff é", "\ufdd0")
            self.table.put(odd)
            source = self.served()
            self.assertEqual(self.pump.wait(source.lookup(odd.username, odd.domain)), odd)
            self.assertEqual(self.table.list(), [odd])
            self.assertTrue(self.table.remove(odd.username, odd.domain))

        def test_long_name(self) -> None:
            """A name that is too long is refused, in a line for the operator."""
            error = self.assertRaises(StoreError, self.table.put, credential("x" * 3000))
            self.assertIn("choose shorter ones", str(error))

        def test_lookup(self) -> None:
            """A running server finds users, of several domains at once too."""
            alice, other = credential(), credential("alice", "example.net")
            for one in (alice, other):
                self.table.put(one)
            source = self.served()
            lookups: list[tuple[Deferred[Credential | None], Credential | None]] = [
                (source.lookup("alice", "EXAMPLE.COM"), alice),
                (source.lookup("alice", "example.net"), other),
                (source.lookup("alice", "example.org"), None),
                (source.lookup("bob", "example.com"), None),
                (source.lookup("alice", "example.com"), alice),
            ]
            for lookup, wanted in lookups:
                self.assertEqual(self.pump.wait(lookup), wanted)

        def test_version(self) -> None:
            """Every change, while the server runs and commits, is seen in the version."""
            source = self.served()
            version = self.pump.wait(source.version())
            self.assertEqual(self.pump.wait(source.version()), version)
            for change in (
                lambda: self.table.put(credential()),
                lambda: self.table.put(credential(md5="new")),
                lambda: self.table.remove("alice", "example.com"),
            ):
                self.pump.wait(committed(self.store, ChangeSet(ALICE, [binding()])))
                change()
                now = self.pump.wait(source.version())
                self.assertGreater(now, version)
                version = now
            self.assertIsNone(self.pump.wait(source.lookup("alice", "example.com")))

        def test_stopped(self) -> None:
            """After the store has stopped a lookup fails."""
            source = self.served()
            self.pump.wait(self.store.stop())
            self.assertRaises(Unavailable, self.pump.wait, source.lookup("alice", "example.com"))
            self.assertRaises(Unavailable, self.pump.wait, source.version())


class SQLiteTests(_Shared.Tests):
    def empty(self) -> str:
        """A file that is not there yet."""
        self.path = Path(self.mktemp()).absolute()
        return f"sqlite:///{self.path}"

    def test_mode(self) -> None:
        """The file that the command line makes is its owner's alone."""
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_gone(self) -> None:
        """A database that goes away is an error for the operator."""
        self.path.unlink()
        self.assertIn("is gone", str(self.assertRaises(StoreError, self.table.list)))


class PostgreSQLTests(_Shared.Tests):
    def empty(self) -> str:
        """The emptied database of our cluster."""
        own = cluster()
        if own is None:
            raise SkipTest("PostgreSQL's server is not installed")
        return own.clear()


class MemoryTests(SynchronousTestCase):
    def test_memory(self) -> None:
        """The source for tests does as the others do."""
        source = MemoryCredentials(credential())
        verifyObject(ICredentialSource, source)
        self.assertEqual(self.successResultOf(source.lookup("alice", "EXAMPLE.com")), credential())
        version = self.successResultOf(source.version())
        self.assertTrue(source.remove("alice", "example.com"))
        self.assertFalse(source.remove("alice", "example.com"))
        self.assertIsNone(self.successResultOf(source.lookup("alice", "example.com")))
        self.assertGreater(self.successResultOf(source.version()), version)
