"""XCAP requests from HTTP to the store and back: who may, what is kept, who is told."""

from collections.abc import Callable, Generator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from simplestack.documents.presrules import set_handling
from simplestack.roles.presence import PresenceAgent
from simplestack.sip.fields import parse_challenge
from simplestack.sip.uri import Uri
from simplestack.state import ChangeSet, Document, Subscription
from simplestack.store.memory import MemoryStore
from simplestack.store.sql import SQLStore
from simplestack.transaction.flow import Flow
from tests.app.xcapworld import Answer, Client, XCAPWorld
from tests.event.records import subscription
from tests.store.deferring import committed

INDEX = "/resource-lists/users/sip:bill@example.com/index"
LISTS = "application/resource-lists+xml"
ELEMENT = "application/xcap-el+xml"
DOCUMENT = b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="a"/></resource-lists>'


def memory(world: XCAPWorld) -> MemoryStore:
    """The store of a world."""
    assert isinstance(world.store, MemoryStore)
    return world.store


class TurnTests(SynchronousTestCase):
    """A request is one turn."""

    def test_life(self) -> None:
        """A document is created, read, edited and deleted; the store has what was answered."""
        world = XCAPWorld()
        bill = world.client("bill")
        self.assertEqual(bill.put(INDEX, DOCUMENT, LISTS).status, 201)
        answer = bill.get(INDEX)
        self.assertEqual((answer.status, answer.body), (200, DOCUMENT))
        entry = b'<entry uri="sip:bob@example.com"/>'
        answer = bill.put(INDEX + "/~~/resource-lists/list/entry", entry, ELEMENT)
        self.assertEqual(answer.status, 201)
        [record] = self.successResultOf(memory(world).load("sip:bill@example.com"))
        assert isinstance(record, Document)
        self.assertIn(entry, record.body)
        self.assertEqual(answer.header("ETag"), f'"{record.entity_tag}"')
        self.assertEqual(bill.delete(INDEX).status, 200)
        self.assertEqual(self.successResultOf(memory(world).load("sip:bill@example.com")), [])

    def test_stable_over_restarts(self) -> None:
        """Document and entity-tag are the same after a restart (§7.11)."""
        world = XCAPWorld()
        world.client("bill").put(INDEX, DOCUMENT, LISTS)
        before = world.client("bill").get(INDEX)
        again = XCAPWorld(store=world.store).client("bill").get(INDEX)
        self.assertEqual((again.header("ETag"), again.body), (before.header("ETag"), before.body))

    def test_answered_when_committed(self) -> None:
        """No answer leaves before its change is durable, nor one that has seen the change."""
        world = XCAPWorld()
        bill, reader = world.client("bill"), world.client("bill")
        bill.get(INDEX)
        reader.get(INDEX)
        memory(world).held = True
        bill.channel.dataReceived(bill.request("PUT", INDEX, DOCUMENT, {"Content-Type": LISTS}))
        reader.channel.dataReceived(reader.request("GET", INDEX))
        self.assertEqual(bill.transport.value() + reader.transport.value(), b"")
        memory(world).release()
        self.assertEqual(bill.answers(["PUT"])[0].status, 201)
        self.assertEqual(reader.answers(["GET"])[0].body, DOCUMENT)

    def test_store_fails(self) -> None:
        """A change that can't be stored is 503 with Retry-After, and is not there afterwards."""
        world = XCAPWorld()
        bill = world.client("bill")
        bill.put(INDEX, DOCUMENT, LISTS)
        memory(world).available = False
        answer = bill.put(INDEX, DOCUMENT.replace(b'"a"', b'"b"'), LISTS)
        self.assertEqual(answer.status, 503)
        self.assertTrue(int(answer.header("Retry-After")) > 0)
        memory(world).available = True
        world.core.turns.distrust(["sip:bill@example.com"])
        self.assertEqual(bill.get(INDEX).body, DOCUMENT)

    def test_one_of_many_wins(self) -> None:
        """Of N conditional writers at once exactly one wins, and its document is the one kept."""
        world = XCAPWorld()
        bill = world.client("bill")
        tag = bill.put(INDEX, DOCUMENT, LISTS).header("ETag")
        writers = [world.client("bill") for _ in range(20)]
        for writer in writers:
            writer.get(INDEX)
        memory(world).held = True
        for number, writer in enumerate(writers):
            body = DOCUMENT.replace(b'"a"', b'"%d"' % number)
            fields = {"Content-Type": LISTS, "If-Match": tag}
            writer.channel.dataReceived(writer.request("PUT", INDEX, body, fields))
        memory(world).release()
        statuses = [writer.answers(["PUT"])[0].status for writer in writers]
        self.assertEqual(sorted(statuses), [200] + [412] * 19)
        winner = statuses.index(200)
        self.assertIn(b'"%d"' % winner, bill.get(INDEX).body)

    def test_creation_by_many(self) -> None:
        """If-None-Match: * lets one of them create."""
        world = XCAPWorld()
        clients = [world.client("bill") for _ in range(5)]
        answers = [each.put(INDEX, DOCUMENT, LISTS, If_None_Match="*") for each in clients]
        self.assertEqual(sorted(each.status for each in answers), [201, 412, 412, 412, 412])

    def test_rules_act_at_once(self) -> None:
        """A change of the rules is seen by the notifier in the same turn (design rule 3)."""
        world = XCAPWorld(roles=[PresenceAgent()])
        waiting = subscription(
            aor="sip:bill@example.com",
            watcher="sip:joe@example.com",
            status="pending",
            expires_at=world.now + 3600,
        )
        committed(memory(world), ChangeSet("sip:bill@example.com", [waiting]))
        ways = NoWays()
        world.core.connect(ways)
        rules = allow("sip:joe@example.com")
        uri = "/pres-rules/users/sip:bill@example.com/index"
        bill = world.client("bill")
        bill.get(uri)
        memory(world).held = True
        bill.channel.dataReceived(
            bill.request("PUT", uri, rules, {"Content-Type": "application/auth-policy+xml"})
        )
        self.assertEqual(ways.wanted, [])
        memory(world).release()
        self.assertEqual(bill.answers(["PUT"])[0].status, 201)
        records = self.successResultOf(memory(world).load("sip:bill@example.com"))
        [found] = [each for each in records if isinstance(each, Subscription)]
        self.assertEqual(found.status, "active")
        self.assertEqual(ways.wanted, [waiting.remote_target])

    def test_global_tree(self) -> None:
        """Global documents hang on no user, and outlive a restart."""
        world = XCAPWorld()
        uri = "/resource-lists/global/index"
        self.assertEqual(world.client("bill").put(uri, DOCUMENT, LISTS).status, 403)
        self.assertEqual(world.client("root").put(uri, DOCUMENT, LISTS).status, 201)
        again = XCAPWorld(store=world.store)
        self.assertEqual(again.client("bill").get(uri).body, DOCUMENT)

    def test_options(self) -> None:
        """RFC 9110 §9.3.7: Allow names the methods of the resource; what is computed is only read."""
        client = XCAPWorld().client()
        every, some = "GET, HEAD, PUT, DELETE, OPTIONS", "GET, HEAD, OPTIONS"
        for uri, expected in (
            (INDEX, every),
            (f"{INDEX}/~~/resource-lists/list/@name", every),
            (f"{INDEX}/~~/resource-lists/namespace::*", some),
            ("/xcap-caps/global/index", some),
            ("/rls-services/global/index", some),
            ("/rls-services/users/sip:bill@example.com/index", every),
            (
                "/org.openmobilealliance.xcap-directory/users/sip:bill@example.com/directory.xml",
                some,
            ),
            ("/", every),
            (f"{INDEX}/~~/a%5b", every),
        ):
            answer = client("OPTIONS", uri)
            self.assertEqual((answer.status, answer.header("Allow")), (200, expected), uri)

    def test_proxy_with_a_prefix(self) -> None:
        """A reverse proxy may take the path of the root off or leave it."""
        world = XCAPWorld(root="https://example.com/services/xcap")
        bill = world.client("bill")
        self.assertEqual(bill.put("/services/xcap" + INDEX, DOCUMENT, LISTS).status, 201)
        self.assertEqual(bill.get(INDEX).body, DOCUMENT)
        directory = "/org.openmobilealliance.xcap-directory/users/bill@example.com/directory.xml"
        self.assertIn(b'uri="https://example.com/services/xcap/res', bill.get(directory).body)

    @given(st.binary(max_size=40), st.binary(max_size=60), st.sampled_from([LISTS, ELEMENT]))
    def test_any_octets(self, path: bytes, body: bytes, content_type: str) -> None:
        """Whatever the URI and the body: one answer, and no server error."""
        world = XCAPWorld()
        bill = world.client("bill")
        bill.put(INDEX, DOCUMENT, LISTS)
        records = self.successResultOf(memory(world).load("sip:bill@example.com"))
        written = "".join(f"%{each:02x}" if each < 33 or each > 126 else chr(each) for each in path)
        for prefix in ("/", INDEX + "/~~/", "/resource-lists/users/sip:bill@example.com/"):
            for method in ("GET", "PUT", "DELETE"):
                answer = bill(method, prefix + written, body, content_type)
                self.assertLess(answer.status, 500, answer)
                if answer.status >= 400:
                    self.assertTrue(answer.body)
        self.assertEqual(len(records), 1)


class RealStoreTests(TestCase):
    """The same with a database, whose commits take their time."""

    @inlineCallbacks
    def test_one_of_many_wins(self) -> Generator[Deferred[Any], Any, None]:
        """Of N conditional writers exactly one wins, and no update is lost on SQLite."""
        running: Any = reactor
        store = SQLStore(f"sqlite:///{self.mktemp()}", running)
        yield store.start()
        self.addCleanup(store.stop)
        world = XCAPWorld(store=store)
        clients = [world.client("bill") for _ in range(12)]
        yield self.ask(clients[0], "PUT", DOCUMENT)
        for generation in range(3):
            first: Answer = yield self.ask(clients[0], "GET")
            tag = first.header("ETag")
            bodies = [
                DOCUMENT.replace(b'"a"', b'"%d.%d"' % (generation, number))
                for number in range(len(clients))
            ]
            answers: list[Answer] = yield gatherResults(
                [
                    self.ask(client, "PUT", body, tag)
                    for client, body in zip(clients, bodies, strict=True)
                ]
            )
            statuses = [answer.status for answer in answers]
            self.assertEqual(sorted(statuses), [200] + [412] * 11)
            kept: Answer = yield self.ask(clients[-1], "GET")
            winner = statuses.index(200)
            self.assertEqual(kept.body, bodies[winner])
            self.assertEqual(kept.header("ETag"), answers[winner].header("ETag"))
        [record] = yield store.load("sip:bill@example.com")
        self.assertEqual(record.body, kept.body)

    def ask(
        self, client: Client, method: str, body: bytes = b"", tag: str = ""
    ) -> Deferred[Answer]:
        """Send a request; the answer comes when the store is done."""
        if client.challenge is None:
            refused = client.send(method, INDEX, b"", {})
            client.challenge = parse_challenge(refused.header("WWW-Authenticate"))
        fields = {"Content-Type": LISTS} if body else {}
        if tag:
            fields["If-Match"] = tag
        answered: Deferred[Answer] = Deferred()
        client.transport = Watched(lambda: answered.callback(client.answers([method])[0]))
        client.channel = client.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000))
        client.channel.makeConnection(client.transport)
        client.channel.dataReceived(client.request(method, INDEX, body, fields))
        return answered


class NoWays:
    """Ways that are still looked for, to every peer."""

    def __init__(self) -> None:
        #: Where requests would go.
        self.wanted: list[str] = []

    def existing(self, key: str) -> Flow | None:
        """None."""
        return None

    def lasting(self, uri: Uri, prefer: str | None = None) -> Flow | None:
        """None."""
        return None

    def ready(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Flow | None:
        """None."""
        return None

    def flow_to(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Deferred[Flow]:
        """Never found."""
        self.wanted.append(str(uri))
        return Deferred()

    def failed(self, flow: Flow) -> None:
        """Nothing was sent."""


class Watched(StringTransport):
    """A wire that tells when a response has been written."""

    def __init__(self, written: Callable[[], object]) -> None:
        super().__init__()
        self._written = written

    def write(self, data: bytes) -> None:
        """Write, and tell when the rest of what happens has happened as well."""
        super().write(data)
        reactor.callLater(0, self._written)


def allow(watcher: str) -> bytes:
    """Rules that let one watcher in."""
    return set_handling(None, watcher, "allow").to_bytes()
