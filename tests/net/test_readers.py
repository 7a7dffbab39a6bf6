"""Many connections behind one reader of the reactor."""

import errno
import socket

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.net.readers import Readers


class Connection:
    """One end of a pair of sockets; what it has read, and what has become of it."""

    def __init__(self, readers: Readers) -> None:
        self.ours, self.peer = socket.socketpair()
        self.ours.setblocking(False)
        self.handle = self.ours.fileno()
        self.seen = b""
        self.fate: list[str] = []
        self.fault: Exception | None = None
        self.taken = readers.add(self.handle, self)

    def read(self) -> bool:
        """Read what is there."""
        data = self.ours.recv(100)
        self.seen += data
        if self.fault is not None:
            raise self.fault
        return data != b""

    def hand_back(self) -> None:
        """Remember it."""
        self.fate.append("handed back")

    def lost(self, reason: Failure) -> None:
        """Remember it."""
        self.fate.append(f"lost: {reason.getErrorMessage()}")

    def abort(self) -> None:
        """Remember it."""
        self.fate.append("aborted")

    def close(self) -> None:
        """Close both ends."""
        self.ours.close()
        self.peer.close()


class ReadersTests(SynchronousTestCase):
    """What is read, and when a connection goes back to its transport."""

    def setUp(self) -> None:
        """Readers for a reactor that does nothing."""
        self.reactor = MemoryReactor()
        self.readers = Readers(self.reactor)

    def connection(self) -> Connection:
        """One more that is read."""
        made = Connection(self.readers)
        self.addCleanup(made.close)
        return made

    def test_read(self) -> None:
        """Those that have something to read are read, again where something is left."""
        verifyObject(IReadDescriptor, self.readers)
        self.assertTrue(self.readers.logPrefix())
        first, second, third = self.connection(), self.connection(), self.connection()
        self.assertEqual(self.reactor.getReaders(), [self.readers])
        first.peer.send(b"a" * 150)
        third.peer.send(b"c")
        self.readers.doRead()
        self.assertEqual((first.seen, second.seen, third.seen), (b"a" * 100, b"", b"c"))
        self.readers.doRead()
        self.assertEqual((first.seen, second.seen, third.seen), (b"a" * 150, b"", b"c"))
        self.assertEqual(first.fate + second.fate + third.fate, [])

    def test_end(self) -> None:
        """A connection that has nothing more to read goes back to its transport."""
        connection, other = self.connection(), self.connection()
        connection.peer.send(b"a")
        connection.peer.shutdown(socket.SHUT_WR)
        self.readers.doRead()
        self.readers.doRead()
        self.readers.doRead()
        self.assertEqual((connection.seen, connection.fate), (b"a", ["handed back"]))
        other.peer.send(b"b")
        self.readers.doRead()
        self.assertEqual(other.seen, b"b")

    def test_broken(self) -> None:
        """One that has failed goes back unread: its transport must find the error itself."""
        connection = self.connection()
        connection.peer.send(b"a")
        connection.peer.close()
        self.readers.doRead()
        self.assertEqual((connection.seen, connection.fate), (b"", ["handed back"]))

    def test_pause(self) -> None:
        """At the end nothing more is read, and connections can end after it."""
        self.readers.pause()
        connection = self.connection()
        self.readers.pause()
        self.assertEqual(self.reactor.getReaders(), [])
        self.readers.remove(connection.handle)
        self.assertEqual(self.readers.fileno(), -1)

    def test_last(self) -> None:
        """The reactor has a reader only while there are connections."""
        first, second = self.connection(), self.connection()
        handle = self.readers.fileno()
        self.assertGreaterEqual(handle, 0)
        self.readers.remove(first.handle)
        self.assertEqual(self.reactor.getReaders(), [self.readers])
        second.close()
        self.readers.remove(second.handle, closed=True)
        self.assertEqual((self.reactor.getReaders(), self.readers.fileno()), ([], -1))
        self.readers.remove(second.handle, closed=True)
        third = self.connection()
        third.peer.send(b"c")
        self.readers.doRead()
        self.assertEqual(third.seen, b"c")

    def test_closed_meanwhile(self) -> None:
        """One that is closed by what another has read is left alone."""
        first, second = self.connection(), self.connection()
        for one, other in ((first, second), (second, first)):
            one.peer.send(b"a")

            def read(one: Connection = one, other: Connection = other) -> bool:
                one.seen += one.ours.recv(100)
                self.readers.remove(other.handle)
                return True

            self.patch(one, "read", read)
        self.readers.doRead()
        self.assertEqual(sorted([first.seen, second.seen]), [b"", b"a"])

    def test_fault(self) -> None:
        """A fault of ours is logged and costs the connection, not the others."""
        first, second = self.connection(), self.connection()
        first.fault = ValueError("wrong")
        first.peer.send(b"a")
        second.peer.send(b"b")
        self.readers.doRead()
        self.assertEqual((first.fate, second.fate, second.seen), (["aborted"], [], b"b"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_reactor_stops(self) -> None:
        """A reactor that stops lets go of its readers, and so of all connections."""
        connections = [self.connection(), self.connection()]
        self.readers.connectionLost(Failure(ConnectionLost("bye")))
        for connection in connections:
            self.assertEqual(
                connection.fate,
                ["lost: Connection to the other side was lost in a non-clean fashion: bye."],
            )
        self.assertEqual(self.readers.fileno(), -1)

    def test_reactor_stops_before(self) -> None:
        """A transport that the reactor has let go of before has left already; a fault is logged."""
        first, second, third = self.connection(), self.connection(), self.connection()

        def lost(reason: Failure) -> None:
            raise ValueError("wrong")

        self.patch(first, "lost", lost)
        self.readers.remove(third.handle, closed=True)
        self.readers.connectionLost(Failure(ConnectionLost("bye")))
        self.assertEqual((len(second.fate), third.fate), (1, []))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        last = self.connection()
        self.readers.remove(last.handle, closed=True)
        self.readers.connectionLost(Failure(ConnectionLost("bye")))
        self.assertEqual(last.fate, [])

    def test_system_refuses(self) -> None:
        """Where the system has no room for one more its transport reads."""

        def full() -> None:
            raise OSError(errno.EMFILE, "Too many open files")

        self.readers = Readers(self.reactor, full)
        self.assertFalse(self.connection().taken)
        self.assertEqual(self.reactor.getReaders(), [])
        self.readers = Readers(self.reactor)
        closed = Connection(Readers(self.reactor, None))
        closed.close()
        self.assertFalse(self.readers.add(closed.handle, closed))
        self.assertEqual((self.reactor.getReaders(), self.readers.fileno()), ([], -1))
        other = self.connection()
        other.peer.send(b"a")
        self.readers.doRead()
        self.assertEqual(other.seen, b"a")

    def test_without_epoll(self) -> None:
        """Where the system has no epoll the transports go on reading."""
        self.readers = Readers(self.reactor, None)
        self.assertFalse(self.connection().taken)
        self.assertEqual(self.reactor.getReaders(), [])
