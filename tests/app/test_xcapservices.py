"""Documents that say which lists there are: each service URI is there once (RFC 4826 §4.4)."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.xcaperror import parse_conflict_report
from simplestack.state import Document
from simplestack.store.memory import MemoryStore
from tests.app.test_xcapturn import ELEMENT, memory
from tests.app.xcapworld import Answer, XCAPWorld, credential

SERVICES = "application/rls-services+xml"
ATTRIBUTE = "application/xcap-att+xml"


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

    def test_users_by_presence(self) -> None:
        """§4.4.5: nor can it be a ``pres`` URI that stands for a user (RFC 3861), to whom nobody
        could subscribe any more, or for a service that is there.
        """
        world = XCAPWorld()
        self.assertEqual(self.service(world, "joe", "friends").status, 201)
        uri = "/rls-services/users/sip:bill@example.com/index"
        for name in ("pres:bob", "PRES:b%6fb", "pres:friends"):
            body = (
                '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">'
                f'<service uri="{name}@example.com"><list/></service></rls-services>'
            )
            answer = world.client("bill").put(uri, body.encode(), SERVICES)
            self.assertEqual(answer.status, 409, name)
            self.assertEqual(parse_conflict_report(answer.body).condition, "uniqueness-failure")

    def test_users_by_prefixes(self) -> None:
        """§4.4.5 holds for elements whose prefixes their document declares, and for references,
        however they are written (XML 1.0 §4.1).
        """
        world = XCAPWorld()
        bill = world.client("bill")
        index = "/rls-services/users/sip:bill@example.com/index"
        document = (
            b'<r:rls-services xmlns:r="urn:ietf:params:xml:ns:rls-services">'
            b'<r:service uri="sip:friends@example.com"><r:list/></r:service></r:rls-services>'
        )
        self.assertEqual(bill.put(index, document, SERVICES).status, 201)
        node = index + "/~~/rls-services/service"
        for body in (
            b'<r:service uri="sip:joe@example.com"><r:list/></r:service>',
            b'<r:service xmlns:z="urn:z" z:a=">" uri="sip:joe@example.com"><r:list/></r:service>',
            b'<r:service xmlns:z="urn:z" z:a=" uri=\'\'" uri="sip:joe@example.com"><r:list/></r:service>',
            b'<r:service uri="sip:&#000000106;oe@example.com"><r:list/></r:service>',
            b'<r:service uri="sip:joe@example.com"><!-- <!DOCTYPE a> --><r:list/></r:service>',
        ):
            answer = bill.put(node + "%5b2%5d", body, ELEMENT)
            self.assertEqual(answer.status, 409, body)
            report = parse_conflict_report(answer.body)
            self.assertEqual(report.condition, "uniqueness-failure", body)
        for reference in (b"&#106;", b"&#x6a;", b"&#000000106;", b"&#x00000006A;"):
            answer = bill.put(node + "/@uri", b'"sip:%boe@example.com"' % reference, ATTRIBUTE)
            self.assertEqual(answer.status, 409, reference)

    def test_smaller_limit(self) -> None:
        """A document that is larger than an operator has come to allow is still known, and hinders
        nobody; its owner can delete it.
        """
        store = MemoryStore()
        large = XCAPWorld(store=store)
        body = (
            '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">'
            f'<service uri="sip:friends@example.com"><list/></service><!--{"x" * 1000}-->'
            "</rls-services>"
        )
        uri = "/rls-services/users/sip:bill@example.com/index"
        self.assertEqual(large.client("bill").put(uri, body.encode(), SERVICES).status, 201)
        small = XCAPWorld(store=store, max_document_size=500)
        self.assertEqual(self.service(small, "joe", "team").status, 201)
        self.assertEqual(self.service(small, "joe", "friends").status, 409)
        self.assertEqual(small.client("bill").delete(uri).status, 200)
        self.assertEqual(self.service(small, "joe", "friends").status, 200)

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
