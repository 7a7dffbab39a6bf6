"""Documents from HTTP servers of others."""

from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from twisted.web.util import Redirect

from simplestack.net.fetch import Fetcher, FetchError
from tests.asynchronous import asynchronous

reactor: Any = installed


class _Pages(Resource):
    """A page, one that is large, one that never comes, and one elsewhere."""

    def getChild(self, path: bytes, request: Request) -> Resource:
        """Whatever is asked for."""
        return Redirect(b"/page") if path == b"moved" else self

    def render_GET(self, request: Request) -> bytes | int:
        """The page of this name."""
        if request.path == b"/silent":
            return NOT_DONE_YET
        if request.path in (b"/slow", b"/slowly-absent"):
            if request.path == b"/slowly-absent":
                request.setResponseCode(404)
            request.setHeader(b"Content-Length", b"100")
            request.write(b"x")
            return NOT_DONE_YET
        if request.path == b"/large":
            return b"x" * 5000
        if request.path == b"/page":
            return b"<list/>"
        request.setResponseCode(404)
        return b"no"


class FetchTests(TestCase):
    @asynchronous
    async def test_fetch(self) -> None:
        """A 200 is taken; all else, and what is too large or too slow, is an error in one line."""
        site = Site(_Pages())
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        root = f"http://127.0.0.1:{port.getHost().port}"
        fetcher = Fetcher(reactor, size=4000, patience=0.5)
        self.assertEqual(await fetcher.fetch(f"{root}/page", "text/plain"), b"<list/>")
        for url, why in (
            (f"{root}/absent", "404"),
            (f"{root}/moved", "302"),
            (f"{root}/large", "4000 octets"),
            (f"{root}/silent", "nothing in"),
            ("http://127.0.0.1:1/", "refused"),
            ("gopher://127.0.0.1/", ""),
        ):
            with self.assertRaises(FetchError) as caught:
                await fetcher.fetch(url, "text/plain")
            self.assertIn(why, str(caught.exception))
        done: Deferred[None] = Deferred()
        reactor.callLater(0.05, done.callback, None)
        await done

    @asynchronous
    async def test_nothing_stays(self) -> None:
        """Whoever answers slowly, and with whatever status, is let go of when the time is over."""
        open_: set[Any] = set()

        class Channel(HTTPChannel):
            def connectionMade(self) -> None:
                open_.add(self)
                super().connectionMade()

            def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # untyped
                open_.discard(self)
                super().connectionLost(reason)

        site: Any = Site(_Pages())
        site.protocol = Channel
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        root = f"http://127.0.0.1:{port.getHost().port}"
        fetcher = Fetcher(reactor, size=4000, patience=0.2)
        for page, why in (("slow", "nothing in"), ("slowly-absent", "404")):
            with self.assertRaises(FetchError) as caught:
                await fetcher.fetch(f"{root}/{page}", "text/plain")
            self.assertIn(why, str(caught.exception))
            for _ in range(50):
                if not open_:
                    break
                done: Deferred[None] = Deferred()
                reactor.callLater(0.02, done.callback, None)
                await done
            left = [each.transport for each in open_]
            for transport in left:
                transport.abortConnection()
            self.assertEqual(left, [], page)
