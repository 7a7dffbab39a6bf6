"""Who watches what is of no user, or of all: changes reach him from other AORs (RFC 5875)."""

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.settings import Settings
from simplestack.documents.xcapdiff import DocumentChange, XcapDiff, parse_xcap_diff
from simplestack.net.http import Exchange
from simplestack.sip.message import Response
from simplestack.xcap.globaltree import GlobalTree
from tests.app.world import PASSWORD, Phone, World

LISTS = "application/resource-lists+xml"
SERVICES = "application/rls-services+xml"
SHARED = "resource-lists/global/shared"
INDEX = "rls-services/global/index"
ROOT = "sip:carol@example.com"


def lists(name: str) -> bytes:
    """A resource-lists document."""
    return (
        f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="{name}"/>'
        "</resource-lists>"
    ).encode()


def services(name: str) -> bytes:
    """An rls-services document with one service."""
    return (
        '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">'
        f'<service uri="sip:{name}@example.com"><list/><packages><package>presence</package>'
        "</packages></service></rls-services>"
    ).encode()


class Case(SynchronousTestCase):
    """Alice and an administrator have phones; documents come over HTTP."""

    interval = 0

    def setUp(self) -> None:
        """A world in which carol is an administrator."""
        self.world = World(
            settings=Settings(
                domains=("example.com",),
                xcap_admins=(ROOT,),
                xcap_root="http://xcap.example.com",
                notify_interval=self.interval,
            )
        )
        self.alice = self.world.phone("alice@example.com")
        self.carol = self.world.phone("carol@example.com")

    def ask(self, user: str, method: str, uri: str, body: bytes = b"", kind: str = LISTS) -> int:
        """The status of a request over HTTP; 0 where it waits."""
        xcap = self.world.core.xcap
        assert xcap is not None
        answers: list[int] = []
        headers = {
            "authorization": "Basic "
            + b64encode(f"{user}@example.com:{PASSWORD}".encode()).decode(),
            "content-type": kind,
        }

        def respond(status: int, fields: tuple[tuple[str, str], ...], text: bytes) -> None:
            answers.append(status)

        target = f"/{uri}".encode()
        xcap.serve(Exchange(method, target, target, headers, body, True, respond))
        return answers[0] if answers else 0

    def subscribe(self, phone: Phone, *uris: str, **fields: str) -> Response:
        """SUBSCRIBE of a phone to its own user's address, with a list of resources."""
        entries = "".join([f'<entry uri="{uri}"/>' for uri in uris])
        body = lists("x").replace(
            b"/></resource-lists>", f">{entries}</list></resource-lists>".encode()
        )
        headers = {
            "Event": ["xcap-diff;diff-processing=aggregate"],
            "Content-Type": [LISTS],
            "Expires": ["3600"],
        }
        headers.update({name: [value] for name, value in fields.items()})
        return phone.ask("SUBSCRIBE", phone.aor, headers, body)

    def told(self, phone: Phone) -> list[XcapDiff]:
        """What a phone has been told meanwhile."""
        self.world.run(0.2)
        return [parse_xcap_diff(each.body) for each in phone.notifies() if each.body]

    def only(self, phone: Phone) -> DocumentChange:
        """The one change in the one NOTIFY that a phone has got."""
        ((change,),) = [each.changes for each in self.told(phone)]
        assert isinstance(change, DocumentChange)
        return change

    @property
    def tree(self) -> GlobalTree:
        """The tree of the process that runs."""
        xcap = self.world.core.xcap
        assert xcap is not None
        return xcap.gathering.tree


class GlobalTests(Case):
    """Stored documents of the global tree."""

    def test_told(self) -> None:
        """Whoever lists a collection is told what is created, changed and removed in it."""
        self.assertEqual(self.ask("carol", "PUT", SHARED, lists("a")), 201)
        self.assertEqual(self.subscribe(self.alice, "resource-lists/global/").status, 200)
        first = self.only(self.alice)
        self.assertEqual(first.selector, SHARED)
        self.ask("carol", "PUT", SHARED, lists("b"))
        second = self.only(self.alice)
        self.assertEqual((second.selector, second.previous_etag), (SHARED, first.new_etag))
        self.assertEqual(self.ask("carol", "PUT", "resource-lists/global/more", lists("c")), 201)
        self.assertEqual(self.only(self.alice).selector, "resource-lists/global/more")
        self.assertEqual(self.ask("carol", "DELETE", SHARED), 200)
        self.assertEqual(self.only(self.alice), DocumentChange(SHARED, None, second.new_etag))

    def test_committed_first(self) -> None:
        """Nothing is told before it is committed, and nothing of what is never."""
        self.subscribe(self.alice, SHARED)
        self.assertEqual(self.told(self.alice)[0].changes, ())
        self.world.store.held = True
        self.ask("carol", "PUT", SHARED, lists("a"))
        self.assertEqual(self.told(self.alice), [])
        self.world.store.lose()
        self.assertEqual(self.told(self.alice), [])
        self.assertEqual(self.ask("carol", "PUT", SHARED, lists("b")), 201)
        self.assertEqual(self.only(self.alice).selector, SHARED)

    def test_restart(self) -> None:
        """After a restart the tree is read before anybody is told; what went meanwhile is said."""
        self.ask("carol", "PUT", SHARED, lists("a"))
        self.ask("carol", "PUT", "resource-lists/global/other", lists("a"))
        self.subscribe(self.alice, "resource-lists/global/")
        ((removed, _),) = [each.changes for each in self.told(self.alice)][:1]
        self.alice.link.cut = True
        self.ask("carol", "DELETE", "resource-lists/global/other")
        self.alice.link.cut = False
        self.world.restart()
        ((there, gone),) = [each.changes for each in self.told(self.alice)]
        assert isinstance(there, DocumentChange)
        self.assertEqual(there.selector, SHARED)
        assert isinstance(removed, DocumentChange)
        self.assertEqual(
            gone, DocumentChange("resource-lists/global/other", None, removed.new_etag)
        )

    def test_store_is_away(self) -> None:
        """Who subscribes while the tree can't be read is asked to come again."""
        self.subscribe(self.carol, "resource-lists/users/")
        self.tree.loaded = False
        self.world.store.available = False
        self.assertEqual(self.subscribe(self.carol, SHARED).status, 503)
        self.world.store.available = True
        self.assertEqual(self.subscribe(self.carol, SHARED).status, 200)

    def test_nobody_watches_any_more(self) -> None:
        """Users without such a subscription are let go of with the next change."""
        self.subscribe(self.alice, SHARED, Expires="60")
        self.assertIn("sip:alice@example.com", self.tree.watchers)
        self.world.run(70.0)
        self.ask("carol", "PUT", SHARED, lists("a"))
        self.assertFalse(self.tree.watchers)


class PaceTests(Case):
    """The operator's interval holds for what hangs on other AORs as well."""

    interval = 5

    def test_held(self) -> None:
        """What came while the subscriber was not to be told yet is told after."""
        self.subscribe(self.alice, SHARED)
        self.told(self.alice)
        self.ask("carol", "PUT", SHARED, lists("a"))
        first = self.only(self.alice)
        for name in "bc":
            self.ask("carol", "PUT", SHARED, lists(name))
        self.assertEqual(self.told(self.alice), [])
        self.world.run(6.0)
        self.assertEqual(self.only(self.alice).previous_etag, first.new_etag)


class IndexTests(Case):
    """The index of all services, made of all users' documents (RFC 4826 §4.4.8)."""

    def service(self, user: str, name: str) -> None:
        """A user has a service, and only that."""
        uri = f"rls-services/users/sip:{user}@example.com/index"
        self.assertIn(self.ask(user, "PUT", uri, services(name), SERVICES), (200, 201))

    def test_told(self) -> None:
        """An administrator is told of changes that any user makes, others are not (§4.4.9)."""
        self.service("bob", "friends")
        self.subscribe(self.carol, INDEX)
        self.subscribe(self.alice, INDEX)
        first = self.only(self.carol)
        self.assertEqual(first.selector, INDEX)
        self.assertEqual(self.told(self.alice)[0].changes, ())
        self.service("alice", "team")
        second = self.only(self.carol)
        self.assertEqual((second.selector, second.previous_etag), (INDEX, first.new_etag))
        self.ask("bob", "DELETE", "rls-services/users/sip:bob@example.com/index", kind=SERVICES)
        third = self.only(self.carol)
        self.assertEqual(third.previous_etag, second.new_etag)
        self.assertEqual(self.told(self.alice), [])

    def test_same_tag(self) -> None:
        """The entity-tag is the one of HTTP."""
        self.service("bob", "friends")
        self.subscribe(self.carol, "rls-services/global/")
        made = self.tree.made["rls-services/index"]
        self.assertEqual(self.only(self.carol).new_etag, made.entity_tag)
        self.assertIn(b"sip:friends@example.com", made.body)

    def test_user_is_removed(self) -> None:
        """His services go out of the index, which is told."""
        self.service("bob", "friends")
        self.subscribe(self.carol, INDEX)
        first = self.only(self.carol)
        self.world.run(2.0)
        self.world.credentials.remove("bob", "example.com")
        self.world.run(2.0)
        self.assertEqual(self.only(self.carol).previous_etag, first.new_etag)

    def test_not_made_for_nobody(self) -> None:
        """Nobody's index is not made anew, and is not stale for who comes next."""
        self.service("bob", "friends")
        self.subscribe(self.carol, INDEX, Expires="60")
        self.told(self.carol)
        self.world.run(70.0)
        self.told(self.carol)
        self.service("bob", "others")
        self.service("bob", "more")
        self.assertNotIn("rls-services/index", self.tree.made)
        self.subscribe(self.carol, INDEX)
        self.only(self.carol)
        self.assertIn(b"sip:more@example.com", self.tree.made["rls-services/index"].body)
