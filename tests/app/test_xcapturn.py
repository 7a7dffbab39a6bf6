"""XCAP requests from HTTP to the store and back: who may, what is kept, who is told."""

from base64 import b64encode
from collections.abc import Callable, Generator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import alsoProvides

from simplestack.documents.presrules import set_handling
from simplestack.documents.xcaperror import parse_conflict_report
from simplestack.roles.presence import PresenceAgent
from simplestack.sip.fields import parse_challenge
from simplestack.sip.uri import Uri
from simplestack.state import ChangeSet, Document, Subscription
from simplestack.store.memory import MemoryStore
from simplestack.store.sql import SQLStore
from simplestack.transaction.flow import Flow
from tests.app.xcapworld import PASSWORD, Answer, Client, XCAPWorld, credential
from tests.event.records import subscription
from tests.store.deferring import committed

INDEX = "/resource-lists/users/sip:bill@example.com/index"
LISTS = "application/resource-lists+xml"
SERVICES = "application/rls-services+xml"
ELEMENT = "application/xcap-el+xml"
ATTRIBUTE = "application/xcap-att+xml"
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


class TrustTests(SynchronousTestCase):
    """Who is let in (RFC 4825 §8, RFC 7616, RFC 7617)."""

    def test_challenge(self) -> None:
        """Without credentials: 401 with a Digest challenge for each algorithm, and no Basic."""
        answer = XCAPWorld().client().get(INDEX)
        self.assertEqual(answer.status, 401)
        challenges = answer.headers["www-authenticate"]
        self.assertTrue(all(each.startswith('Digest realm="example.com"') for each in challenges))
        self.assertTrue(any("SHA-256" in each for each in challenges))
        self.assertTrue(answer.body)

    def test_wrong_password(self) -> None:
        """401 again, and nothing is said of whether the user exists."""
        for user in ("bill", "nobody"):
            answer = XCAPWorld().client(user, "wrong").get(INDEX)
            self.assertEqual(answer.status, 401)

    def test_unknown_user(self) -> None:
        """§8: a tree of nobody is 404, once it is known who asks."""
        uri = INDEX.replace("bill", "nobody")
        self.assertEqual(XCAPWorld().client("bill").get(uri).status, 404)
        self.assertEqual(XCAPWorld().client().get(uri).status, 401)
        self.assertEqual(XCAPWorld().client("bill").get(INDEX.replace("com", "org")).status, 404)

    def test_others(self) -> None:
        """§5.7: another's documents are 403, whether they are there or not."""
        world = XCAPWorld()
        world.client("bill").put(INDEX, DOCUMENT, LISTS)
        for uri in (INDEX, INDEX + "2"):
            self.assertEqual(world.client("joe").get(uri).status, 403)
        self.assertEqual(world.client("root").get(INDEX).body, DOCUMENT)

    def test_replay(self) -> None:
        """RFC 7616 §5.5: the same credentials again are stale."""
        world = XCAPWorld()
        bill = world.client("bill")
        bill.get(INDEX)
        octets = bill.request("GET", INDEX)
        bill.channel.dataReceived(octets + octets)
        first, second = bill.answers(["GET", "GET"])
        self.assertEqual((first.status, second.status), (404, 401))
        self.assertIn("stale=true", second.header("WWW-Authenticate"))

    def test_credentials_of_another_uri(self) -> None:
        """RFC 7616 §3.4.6: credentials are for one resource."""
        world = XCAPWorld()
        bill = world.client("bill")
        bill.get(INDEX)
        octets = bill.request("GET", INDEX).replace(b"GET " + INDEX.encode(), b"GET /other", 1)
        octets = octets.replace(b"GET /other", b"GET " + INDEX.encode() + b"2", 1)
        bill.channel.dataReceived(octets)
        self.assertEqual(bill.answers(["GET"])[0].status, 400)

    def test_next_nonce(self) -> None:
        """RFC 7616 §3.5: an ageing nonce is followed by the next one in good time."""
        world = XCAPWorld()
        bill = world.client("bill")
        self.assertEqual(bill.get(INDEX).header("Authentication-Info"), "")
        bill.put(INDEX, DOCUMENT, LISTS)
        world.now += 200
        self.assertIn("nextnonce=", bill.get(INDEX).header("Authentication-Info"))

    def test_basic_in_the_clear(self) -> None:
        """A password without TLS is not looked at."""
        answer = self.basic(XCAPWorld().client(), "bill")
        self.assertEqual(answer.status, 401)
        self.assertNotIn("Basic", str(answer.headers["www-authenticate"]))

    def test_basic_over_tls(self) -> None:
        """Over TLS it is offered and verified (RFC 7617)."""
        world = XCAPWorld()
        client = secure(world)
        offers = client.get(INDEX).headers["www-authenticate"]
        self.assertIn('Basic realm="example.com", charset="UTF-8"', offers)
        for user in ("bill", "bill@example.com", "sip:bill@example.com"):
            name = user if ":" not in user else "bill"
            self.assertEqual(self.basic(client, name).status, 404)
        self.assertEqual(self.basic(client, "bill", "wrong").status, 401)
        self.assertEqual(self.basic(client, "nobody").status, 401)
        self.assertEqual(self.basic(client, "joe").status, 403)

    def test_bad_credentials(self) -> None:
        """What can't be read is 400, another scheme is asked for again."""
        client = secure(XCAPWorld())
        for field, status in (
            ("Basic ???", 400),
            ("Basic", 401),
            ("Digest", 401),
            ("Digest a=", 400),
            ("Bearer x", 401),
        ):
            answer = client.get(INDEX, Authorization=field)
            self.assertEqual(answer.status, status, field)

    def basic(self, client: Client, user: str, password: str = PASSWORD) -> Answer:
        """GET with a password."""
        token = b64encode(f"{user}:{password}".encode()).decode()
        return client.get(INDEX, Authorization=f"Basic {token}")


class ServiceTests(SynchronousTestCase):
    """Resource list services of many users (RFC 4826 §4.4)."""

    def service(self, world: XCAPWorld, user: str, name: str, **headers: str) -> Answer:
        """A user puts one service."""
        body = (
            '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">'
            f'<service uri="sip:{name}@example.com"><list/></service></rls-services>'
        )
        uri = f"/rls-services/users/sip:{user}@example.com/index"
        return world.client(user).put(uri, body.encode(), SERVICES, **headers)

    def test_unique(self) -> None:
        """§4.4.5: a URI that another user's service has is taken, also after a restart."""
        world = XCAPWorld()
        self.assertEqual(self.service(world, "bill", "friends").status, 201)
        for each in (world, XCAPWorld(store=world.store)):
            answer = self.service(each, "joe", "friends")
            self.assertEqual(answer.status, 409)
            report = parse_conflict_report(answer.body)
            self.assertEqual(report.condition, "uniqueness-failure")
            self.assertIn("sip:friends-2@example.com", report.exists[0].alternatives)
            self.assertEqual(self.service(each, "bill", "friends").status, 200)

    def test_users(self) -> None:
        """§4.4.5: nor can it be that of a user, however it is written and by whatever way it comes;
        services that are there already are not looked up.
        """
        world = XCAPWorld()
        for name in ("joe", "bill"):
            answer = self.service(world, "bill", name)
            self.assertEqual(answer.status, 409)
            report = parse_conflict_report(answer.body)
            self.assertEqual(report.condition, "uniqueness-failure")
            self.assertEqual(report.exists[0].field, "rls-services/service%5B1%5D/@uri")
        bill = world.client("bill")
        index = "/rls-services/users/sip:bill@example.com/index"
        self.assertEqual(self.service(world, "bill", "friends").status, 201)
        self.assertEqual(self.service(world, "joe", "FRIENDS").status, 201)
        taken = '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">%s</rls-services>'
        other = taken % '<service uri="sips:friends@EXAMPLE.com;a=b"><list/></service>'
        answer = world.client("bob").put(index.replace("bill", "bob"), other.encode(), SERVICES)
        self.assertEqual(answer.status, 409)
        node = index + "/~~/rls-services/service"
        for body in (
            b'"sip:joe@example.com"',
            b"'sip:joe@EXAMPLE.COM'",
            b'"sip:%6aoe@example.com"',
        ):
            self.assertEqual(bill.put(node + "/@uri", body, ATTRIBUTE).status, 409, body)
        for body in (
            b'<service uri="sip:joe@example.com"><list/></service>',
            b"<service a='&gt;' uri = 'sip:joe@example.com'><list/></service>",
        ):
            self.assertEqual(bill.put(node + "%5b2%5d", body, ELEMENT).status, 409, body)
        self.assertEqual(bill.put(node + "/@uri", b'"sip:team@example.com"', ATTRIBUTE).status, 200)
        # A user who comes later takes nothing away.
        world.credentials.put(credential("team"))
        self.assertEqual(self.service(world, "bill", "team").status, 200)

    def test_too_many(self) -> None:
        """A request can't make the server look up users without end."""
        services = "".join(
            [f'<service uri="sip:{each}@example.com"><list/></service>' for each in range(101)]
        )
        body = (
            f'<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">{services}</rls-services>'
        )
        uri = "/rls-services/users/sip:bill@example.com/index"
        answer = XCAPWorld().client("bill").put(uri, body.encode(), SERVICES)
        self.assertEqual(answer.status, 409)
        self.assertEqual(parse_conflict_report(answer.body).condition, "constraint-failure")

    def test_index_is_kept(self) -> None:
        """The global index is not read again as long as nothing is written; never is it stale."""
        world = XCAPWorld()
        self.service(world, "bill", "friends")
        root, uri = world.client("root"), "/rls-services/global/index"
        asked: list[str] = []
        documents = world.service.gathering.documents
        assert documents is not None

        def counted(auid: str) -> Deferred[list[Document]]:
            asked.append(auid)
            assert documents is not None
            return documents(auid)

        world.service.gathering.documents = counted
        for _ in range(3):
            self.assertIn(b"sip:friends@example.com", root.get(uri).body)
        self.assertEqual(len(asked), 1)
        self.service(world, "bill", "others")
        self.assertIn(b"sip:others@example.com", root.get(uri).body)
        self.assertEqual(len(asked), 2)
        store = memory(world)
        store.available = False
        self.assertEqual(self.service(world, "bill", "more").status, 503)
        store.available = True
        self.assertIn(b"sip:others@example.com", root.get(uri).body)
        world.client("bill").delete("/rls-services/users/sip:bill@example.com/index")
        self.assertNotIn(b"sip:others@example.com", root.get(uri).body)

    def test_released(self) -> None:
        """What a document says no more is free, and so is what could not be stored."""
        world = XCAPWorld()
        self.service(world, "bill", "friends")
        self.assertEqual(self.service(world, "bill", "others").status, 200)
        self.assertEqual(self.service(world, "joe", "friends").status, 201)
        memory(world).available = False
        self.assertEqual(self.service(world, "joe", "more").status, 503)
        memory(world).available = True
        world.core.turns.distrust(["sip:joe@example.com"])
        self.assertEqual(self.service(world, "bob", "more").status, 201)
        self.assertEqual(self.service(world, "bob", "friends").status, 409)
        world.client("joe").delete("/rls-services/users/sip:joe@example.com/index")
        self.assertEqual(self.service(world, "bob", "friends").status, 200)

    def test_user_is_removed(self) -> None:
        """What a user had who is no more is free."""
        world = XCAPWorld()
        self.service(world, "joe", "friends")
        world.service.forget(["sip:joe@example.com"])
        self.assertEqual(self.service(world, "bill", "friends").status, 201)

    def test_index(self) -> None:
        """§4.4.8: the global index has the services of all users; §4.4.9: for trusted users alone."""
        world = XCAPWorld()
        self.service(world, "bill", "friends")
        self.service(world, "joe", "team")
        uri = "/rls-services/global/index"
        answer = world.client("root").get(uri)
        self.assertEqual(answer.status, 200)
        self.assertIn(b"sip:friends@example.com", answer.body)
        self.assertIn(b"sip:team@example.com", answer.body)
        again = world.client("root").get(uri, If_None_Match=answer.header("ETag"))
        self.assertEqual(again.status, 304)
        self.assertEqual(world.client("bill").get(uri).status, 403)
        self.assertEqual(world.client("root").put(uri, b"<a/>", SERVICES).status, 405)
        self.service(world, "joe", "others")
        changed = world.client("root").get(uri)
        self.assertNotIn(b"sip:team@", changed.body)
        self.assertNotEqual(changed.header("ETag"), answer.header("ETag"))


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


class Transport(StringTransport):
    """A wire of which TLS may be said."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed."""


def secure(world: XCAPWorld) -> Client:
    """A client over TLS."""
    client = world.client()
    client.transport = Transport()
    alsoProvides(client.transport, ISSLTransport)
    client.channel = world.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000))
    client.channel.makeConnection(client.transport)
    return client


def allow(watcher: str) -> bytes:
    """Rules that let one watcher in."""
    return set_handling(None, watcher, "allow").to_bytes()
