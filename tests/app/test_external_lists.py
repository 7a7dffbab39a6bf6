"""Lists that refer to lists on other servers (RFC 4826 §3.2, §4.4.6)."""

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net.fetch import FetchError
from simplestack.roles.lists import ResourceLists
from simplestack.sip.message import Response
from tests.app.listworld import ListWorld, opened

ELSEWHERE = "https://xcap.example.net/"
ANCHOR = ELSEWHERE + "resource-lists/users/sip:zoe@example.net/index/~~/resource-lists/list%5b1%5d"


class Servers:
    """Other servers, as a test has them."""

    def __init__(self) -> None:
        self.elements: dict[str, bytes] = {}
        self.asked: list[str] = []
        #: While it waits.
        self.held: Deferred[bytes] | None = None

    def fetch(self, url: str, accept: str) -> "Deferred[bytes]":
        """What is there."""
        self.asked.append(url)
        assert accept == "application/xcap-el+xml"
        if self.held is not None:
            return self.held
        if url in self.elements:
            return succeed(self.elements[url])
        return fail(FetchError("it says 404"))


class ExternalTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Alice's list has Bob, and what is in a list elsewhere."""
        self.world = ListWorld(external=[ELSEWHERE])
        self.alice = self.world.phone("alice@example.com")
        self.servers = Servers()
        assert self.world.core.lists is not None
        self.world.core.lists.directory.fetcher = self.servers
        self.refer(ANCHOR)
        self.world.put_service()
        self.servers.elements[ANCHOR] = (
            b'<list name="x"><entry uri="sip:carol@example.com"/></list>'
        )

    def refer(self, anchor: str) -> None:
        """Refer to this list."""
        self.world.friends("bob", more=f'<external anchor="{anchor}"/>')

    def resources(self) -> set[str]:
        """Subscribe: who is in the list."""
        self.assertEqual(self.world.subscribe(self.alice).status, 200)
        self.world.run(1.0)
        found: set[str] = set()
        for notify in self.alice.notifies():
            rlmi, _ = opened(notify)
            if rlmi.full_state:
                found = {each.uri.partition(":")[2].partition("@")[0] for each in rlmi.resources}
        return found

    def refused(self) -> Response:
        """Subscribe, which is refused with 502."""
        response = self.world.subscribe(self.alice)
        self.assertEqual(response.status, 502, response)
        return response

    def test_followed(self) -> None:
        """What is in it is part of the list; it is asked for once a minute at most."""
        self.assertEqual(self.resources(), {"bob", "carol"})
        self.assertEqual(self.resources(), {"bob", "carol"})
        self.assertEqual(self.servers.asked, [ANCHOR])
        self.world.run(61.0)
        self.servers.elements[ANCHOR] = (
            b'<?xml version="1.0"?><r:list xmlns:r="urn:ietf:params:xml:ns:resource-lists">'
            b'<r:entry uri="sip:dave@example.com"/></r:list>'
        )
        self.assertEqual(self.resources(), {"bob", "dave"})

    def test_not_there(self) -> None:
        """502 says what could not be had, and why."""
        for body, why in (
            (None, "it says 404"),
            (b"<list", "list%5b1%5d"),
            (b'<entry uri="sip:x@example.com"/>', "not a list"),
            (b'<list><entry-ref ref="resource-lists/users/x"/></list>', "entry-ref"),
            (f'<list><external anchor="{ANCHOR}"/></list>'.encode(), "back to itself"),
        ):
            self.setUp()
            self.servers.elements.clear()
            if body is not None:
                self.servers.elements[ANCHOR] = body
            self.assertIn(why, self.refused().get("Warning") or "")

    def test_not_asked(self) -> None:
        """Servers that the operator has not named are not asked, whatever looks like their names."""
        for anchor in (
            "https://xcap.example.org/resource-lists/x",
            "https://xcap.example.net.evil.example/resource-lists/x",
            "http://xcap.example.net/resource-lists/x",
            "https://xcap.example.net@evil.example/x",
        ):
            self.refer(anchor)
            self.assertIn("not asked", self.refused().get("Warning") or "")
        self.assertEqual(self.servers.asked, [])

    def test_nobody_waits(self) -> None:
        """Who waits for another server delays nobody."""
        self.servers.held = Deferred()
        request = self.alice.request(
            "SUBSCRIBE",
            "sip:alice-friends@example.com",
            {"Event": ["presence"], "Supported": ["eventlist"]},
        )
        self.alice.send(request)
        self.world.run(1.0)
        self.assertEqual(len(self.alice.inbox), 0)
        bob = self.world.phone("bob@example.com")
        self.world.publish(bob, "meanwhile")
        self.servers.held.errback(FetchError("nothing in 5 s"))
        self.world.run(1.0)
        response = self.alice.inbox.popleft()
        assert isinstance(response, Response)
        self.assertEqual(response.status, 502)
        self.assertIn("nothing in 5 s", response.get("Warning") or "")

    def test_setting(self) -> None:
        """What is no XCAP root is refused at the start; a root has a path, so that no host name
        that goes on is meant.
        """
        for bad in ("xcap.example.net", "ftp://xcap.example.net/", "https://xcap.example.net"):
            self.assertRaises(ValueError, ResourceLists, external=[bad])
