"""The stack on real sockets and a real database: started, stopped, embedded, refused."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from sqlite3 import connect
from tempfile import mkdtemp
from typing import Any, cast

from twisted.application.service import MultiService
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import directlyProvides

from simplestack.app.control import ask
from simplestack.app.settings import SettingsError
from simplestack.app.tap import Daemon, makeStack
from simplestack.roles.registrar import Registrar
from simplestack.state import ChangeSet, ResourceState, Subscription
from simplestack.store.credentials import CredentialTable
from simplestack.store.sql import SQLStore
from tests.app.sockets import StackCase
from tests.app.world import credential
from tests.asynchronous import asynchronous
from tests.event.fakes import Agent, FakePackage, subscribe
from tests.store.deferring import committed

reactor: Any = installed
OPTIONS = (
    b"OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK%d;rport\r\n"
    b"From: <sip:x@example.com>;tag=1\r\nTo: <sip:example.com>\r\nCall-ID: %d\r\n"
    b"CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)
PUBLISH = (
    b"PUBLISH sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/%s 127.0.0.1;branch=z9hG4bKp%d;rport\r\n"
    b"From: <sip:bob@example.com>;tag=1\r\nTo: <sip:bob@example.com>\r\nCall-ID: p%d\r\n"
    b"P-Asserted-Identity: <sip:bob@example.com>\r\nCSeq: 1 PUBLISH\r\nMax-Forwards: 70\r\n"
    b"Event: presence\r\nContent-Type: application/pidf+xml\r\nContent-Length: 144\r\n\r\n"
    b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com">'
    b'<tuple id="t"><status><basic>open</basic></status></tuple></presence>'
)


def provider(observe: Callable[[LogEvent], None]) -> ILogObserver:
    """A function as a log observer."""
    directlyProvides(observe, ILogObserver)
    return cast(ILogObserver, observe)


def subscription() -> Subscription:
    """A live subscription to Bob, for an hour from now."""
    agent = Agent(FakePackage())
    agent.now = time.time()
    agent.subscribe(subscribe(contact="<sip:alice@127.0.0.1:9>"))
    return agent.one()


class StackTests(StackCase):
    @asynchronous
    async def test_serves(self) -> None:
        """RFC 3261 §11: once started it answers, and says what it can."""
        stack, (udp, tcp) = await self.start(self.settings())
        socket = self.socket(udp)
        socket.send(OPTIONS % (1, 1))
        await self.until(lambda: socket.received)
        self.assertTrue(socket.received[0].startswith(b"SIP/2.0 200 OK"))
        stream = await self.connection(tcp)
        stream.send((OPTIONS % (2, 2)).replace(b"/UDP", b"/TCP"))
        await self.until(lambda: b"\r\n\r\n" in stream.received)
        self.assertIn(b"Allow: REGISTER, PUBLISH, SUBSCRIBE, OPTIONS", stream.received)
        self.assertIn(b"Allow-Events: presence, reg", stream.received)
        await stack.stopService()
        # Its connections have ended with it.
        await stream.ended

    @asynchronous
    async def test_answers_before_it_ends(self) -> None:
        """What is committed at the end is answered: a PUBLISH without answer loses its entity-tag."""
        stack, (udp, tcp) = await self.start(self.settings(trusted_peers=("udp:127.0.0.1",)))
        CredentialTable(stack.settings.store).put(credential("bob", "example.com"))
        socket, stream = self.socket(udp), await self.connection(tcp)
        with connect(stack.settings.store.partition(":///")[2], isolation_level=None) as other:
            self.addCleanup(other.close)
            other.execute("BEGIN IMMEDIATE")
            socket.send(PUBLISH % (b"UDP", 1, 1))
            stream.send(PUBLISH % (b"TCP", 2, 2))
            residents = stack.core.residents
            await self.until(lambda: sum(each.uncommitted for each in residents) == 2)
            stopped = stack.stopService()
            # What comes now is for the next process.
            socket.send(PUBLISH % (b"UDP", 3, 3))
            other.execute("ROLLBACK")
        await stopped
        await stream.ended
        await self.until(lambda: socket.received)
        (answer,) = socket.received
        for each in (answer, stream.received):
            self.assertTrue(each.startswith(b"SIP/2.0 200 OK"), each)
            self.assertIn(b"SIP-ETag", each)

    @asynchronous
    async def test_child_of_another_service(self) -> None:
        """It is a Twisted service: a parent starts and stops it, beside another of its kind."""
        parent = MultiService()
        stacks = [makeStack(self.settings(), reactor=reactor) for _ in range(2)]
        for stack in stacks:
            stack.setServiceParent(parent)
        parent.privilegedStartService()
        parent.startService()
        for stack in stacks:
            status = await stack.status()
            socket = self.socket(int(status["listening"][0].rpartition(":")[2]))
            socket.send(OPTIONS % (1, 1))
            await self.until(partial(getattr, socket, "received"))
        await parent.stopService()

    @asynchronous
    async def test_provided_roles(self) -> None:
        """Roles may be given as objects in place of names."""
        stack = makeStack(self.settings(), [Registrar(max_contacts=1)], reactor=reactor)
        stack.privilegedStartService()
        stack.startService()
        self.assertEqual((await stack.status())["roles"], ["registrar"])
        await stack.stopService()

    @asynchronous
    async def test_status(self) -> None:
        """The control socket tells what runs and how much of it; it has no secrets."""
        path = f"s{os.getpid()}.s"
        stack, _ = await self.start(self.settings(control=path))
        status = await deferToThread(ask, path)
        self.assertEqual(status["domains"], ["example.com"])
        self.assertEqual(status["roles"], ["registrar", "presence", "reg", "winfo"])
        self.assertEqual(status["pid"], os.getpid())
        for kind in ("binding", "publication", "subscription", "document"):
            self.assertEqual(status[kind], 0)
        self.assertIn("commit_queue_age_seconds", status)
        await stack.stopService()
        self.assertFalse(os.path.exists(path))

    @asynchronous
    async def test_xcap_port(self) -> None:
        """RFC 4825 §6.1: the root that is told is the one that is served, also on a port by chance."""
        roles = ("presence", "xcap")
        for endpoint, host in (
            ("tcp:0:interface=127.0.0.1", "127.0.0.1"),
            ("tcp:port=0:interface=127.0.0.1", "127.0.0.1"),
            ("tcp6:0:interface=\\:\\:1", "[::1]"),
            ("tcp:0", "*"),
            (f"unix:x{os.getpid()}.s", ""),
        ):
            seen: list[str] = []
            observer = provider(lambda event, seen=seen: seen.append(formatEvent(event)))  # type: ignore[misc]
            globalLogPublisher.addObserver(observer)
            self.addCleanup(globalLogPublisher.removeObserver, observer)
            stack, _ = await self.start(self.settings(roles=roles, xcap=(endpoint,)))
            port = getattr(stack._sites[0].getHost(), "port", None)
            root = f"http://{host}:{port}/" if host else endpoint
            self.assertIn(f"XCAP on {root}", seen)
            self.assertEqual((await stack.status())["xcap"], [root])
            self.assertNotEqual(port, 0)
            await stack.stopService()

    @asynchronous
    async def test_removed_at_the_start(self) -> None:
        """A user who is removed in the first moment does not live on in memory."""
        settings = self.settings()
        table = CredentialTable(settings.store)
        table.put(credential("alice", "example.com"))
        stack, _ = await self.start(settings)
        forgotten: list[str] = []
        self.patch(stack.core, "forget", forgotten.extend)
        table.remove("alice", "example.com")
        await self.until(lambda: forgotten)
        self.assertEqual(forgotten, ["sip:alice@example.com"])
        await stack.stopService()

    @asynchronous
    async def test_lost_while_it_opens(self) -> None:
        """A database that goes away in the second of the start is opened when it is back."""
        settings = self.settings()
        stack = makeStack(settings, reactor=reactor)
        self.patch(stack, "retry", 0.1)
        stack.privilegedStartService()
        path = Path(settings.store.removeprefix("sqlite:///"))
        away = path.with_suffix(".away")
        opened = stack.store.start

        def gone() -> Deferred[None]:
            # Where the directory is another there is no making it anew.
            self.patch(stack.store, "start", opened)
            path.rename(away)
            path.mkdir()
            return opened()

        self.patch(stack.store, "start", gone)
        stack.startService()
        await self.until(lambda: not stack.store.running)
        path.rmdir()
        away.rename(path)
        await self.until(lambda: stack.store.running)
        record = subscription()
        await committed(stack.store, ChangeSet(record.aor, [record]))
        await stack.stopService()

    @asynchronous
    async def test_stopped_while_it_takes_up(self) -> None:
        """What is spread over the restart window is not done any more after a stop."""
        settings = self.settings(restart_window=100)
        store = SQLStore(settings.store, reactor)
        await store.start()
        record = subscription()
        await committed(store, ChangeSet(record.aor, [record]))
        other = record._replace(aor="sip:carol@example.com")
        await committed(store, ChangeSet(other.aor, [other]))
        await store.stop()
        stack, _ = await self.start(settings)
        await self.until(lambda: len(stack.core.residents))
        self.assertEqual(len(stack.core.residents), 1)
        # Trial fails the test if anything is left in the reactor.
        await stack.stopService()

    @asynchronous
    async def test_takes_up_what_is_there(self) -> None:
        """After a start each subscriber is told; a store that fails to be read is read again."""
        settings = self.settings(default_handling="allow")
        store = SQLStore(settings.store, reactor)
        await store.start()
        record = subscription()
        await committed(store, ChangeSet(record.aor, [record]))
        await store.stop()
        stack = makeStack(settings, reactor=reactor)
        read = stack.store.subscribed
        failures = [OSError("away")]

        def once() -> Any:
            if failures:
                raise failures.pop()
            return read()

        self.patch(stack.store, "subscribed", once)
        self.patch(stack, "retry", 0.1)
        seen: list[str] = []
        observer = provider(lambda event: seen.append(str(event.get("log_format"))))
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        stack.privilegedStartService()
        stack.startService()
        await self.until(lambda: stack.core.residents.get(record.aor))
        self.assertTrue([text for text in seen if "can't be read" in text])
        resident = stack.core.residents.get(record.aor)
        assert resident is not None
        self.assertFalse(resident.untold)
        await stack.stopService()
        # Its number of CSeq was reserved before it was told.
        store = SQLStore(settings.store, reactor)
        await store.start()
        state = ResourceState(record.aor, await store.load(record.aor))
        await store.stop()
        (stored,) = state.subscriptions.values()
        self.assertGreater(stored.cseq_reserved, record.cseq_reserved)


class RefusalTests(StackCase):
    def refused(self, why: str, **changes: Any) -> None:
        """The stack can't be made or started, and says why; nothing of it stays open."""

        def run() -> None:
            stack = makeStack(self.settings(**changes), reactor=reactor)
            stack.privilegedStartService()
            stack.startService()

        error = self.assertRaises(SettingsError, run)
        self.assertIn(why, str(error))
        self.assertNotIn("\n", str(error))

    @asynchronous
    async def test_taken_port(self) -> None:
        """A port that is taken is named, and what to do; the other listeners are closed again."""
        _, (udp, tcp) = await self.start(self.settings())
        here = f"udp:{udp}:interface=127.0.0.1"
        self.refused(f"127.0.0.1:{udp}", listen=("tcp:0:interface=127.0.0.1", here))
        self.refused("another", listen=(f"tcp:{tcp}:interface=127.0.0.1",))
        self.refused(
            "XCAP", roles=("xcap",), xcap=(f"tcp:{tcp}:interface=127.0.0.1",), xcap_root=""
        )

    def test_bad_places(self) -> None:
        """So are places that make no sense."""
        self.refused("nonsense", listen=("nonsense",))
        self.refused("nonsense", roles=("xcap",), xcap=("nonsense:1",))

    def test_bad_store(self) -> None:
        """A database that can't be opened."""
        self.refused("/dev/null/x.db", store="sqlite:////dev/null/x.db")
        path = f"{mkdtemp(dir='.')}/text.db"
        with open(path, "w") as file:
            file.write("this is no database, it is text" * 100)
        self.refused("text.db", store=f"sqlite:///{path}")

    def test_daemon(self) -> None:
        """Under twistd the process ends with one line on stderr and exit status 2."""
        lines: list[str] = []

        class Stream:
            def write(self, text: str) -> None:
                """Keep it."""
                lines.append(text)

            def flush(self) -> None:
                """Nothing waits."""

        self.patch(__import__("sys"), "__stderr__", Stream())
        daemon = Daemon(makeStack(self.settings(store="sqlite:////dev/null/x.db"), reactor=reactor))

        def run() -> None:
            self.addCleanup(vars(reactor).pop, "seconds", None)
            daemon.privilegedStartService()
            daemon.startService()

        leaving = self.assertRaises(SystemExit, run)
        self.assertEqual(leaving.code, 2)
        (line,) = "".join(lines).splitlines()
        self.assertIn("/dev/null/x.db", line)
