"""Presence sources: plug-ins that say what users do, and the calendar source among them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import Clock
from twisted.plugin import getPlugins
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseDone
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer
from zope.interface.verify import verifyObject

from simplestack.app import calendar
from simplestack.app.calendar import CalendarSource, read_calendars
from simplestack.app.explaining import Explaining
from simplestack.app.settings import SettingsError
from simplestack.app.sources import Sources, make_sources
from simplestack.documents import namespaces as ns
from simplestack.documents.elements import element
from simplestack.documents.pidf import Person, Presence, parse_presence
from simplestack.interfaces import IPresenceSource, IPresenceSourceFactory
from simplestack.roles.circumstances import activities
from simplestack.sip.errors import SIPError
from tests.app.test_anonymous import rule, rules
from tests.app.world import EPOCH, World
from tests.asynchronous import asynchronous

reactor: Any = installed

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"
AWAY = Presence(
    ALICE,
    (),
    (Person("p", None, (element(ns.RPID, "activities", [element(ns.RPID, "away")]),)),),
)


@implementer(IPresenceSource)
class Scripted:
    """A source that says what a test has it say."""

    publish: Callable[[str, Presence | None, float], Deferred[None]]

    def __init__(self) -> None:
        self.running = False

    def start(self, publish: Callable[[str, Presence | None, float], Deferred[None]]) -> None:
        """Keep how to say it."""
        self.publish = publish
        self.running = True

    def stop(self) -> None:
        """Say no more."""
        self.running = False


class SourcesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Alice, whom Bob watches, and a source."""
        self.world = World()
        self.alice = self.world.phone("alice@example.com")
        self.bob = self.world.phone("bob@example.com")
        everything = rule('<one id="sip:bob@example.com"/>').replace(
            "</transformations>",
            "<r:provide-persons><r:all-persons/></r:provide-persons>"
            "<r:provide-activities>true</r:provide-activities></transformations>",
        )
        self.world.store_document(rules(everything))
        core = self.world.core
        self.source = Scripted()
        self.sources = Sources(
            {"scripted": self.source}, core.turns, core.authenticator, core.identifiers
        )
        self.sources.start()
        self.assertTrue(verifyObject(IPresenceSource, self.source))

    def say(self, presence: Presence | None, seconds: float = 600, aor: str = ALICE) -> Any:
        """Have the source say something; what came of it."""
        results: list[Any] = []
        self.source.publish(aor, presence, seconds).addBoth(results.append)
        self.world.run(0.0)
        [result] = results
        return result

    def watch(self) -> None:
        """Let Bob watch."""
        self.bob.ask("SUBSCRIBE", ALICE, {"Event": ["presence"]})
        self.world.run(0.0)
        self.bob.notifies()

    def told(self) -> list[tuple[str, ...]]:
        """The activities that Bob is told."""
        return [activities(parse_presence(each.body)) for each in self.bob.notifies()]

    def test_said(self) -> None:
        """What a source says is stored and notified, and taken back the same way."""
        self.watch()
        self.assertIsNone(self.say(AWAY))
        self.assertEqual(self.told(), [("away",)])
        self.assertEqual(len(self.world.stored(ALICE)), 3)
        self.assertIsNone(self.say(None))
        self.world.run(10.0)
        self.assertEqual(self.told(), [()])
        self.assertIsNone(self.say(None))
        self.assertEqual(self.told(), [])

    def test_same_again(self) -> None:
        """The same again lasts longer and is no news."""
        self.watch()
        self.say(AWAY, 600)
        self.world.run(500.0)
        self.say(AWAY, 600)
        self.bob.notifies()
        self.world.run(300.0)
        self.assertEqual(self.told(), [])
        self.world.run(400.0)
        self.assertEqual(self.told(), [()])

    def test_refused(self) -> None:
        """Who does not exist has no state, and what can't be evaluated is none."""
        failure = self.say(AWAY, aor="sip:nobody@example.com")
        self.assertEqual(failure.check(SIPError) and failure.value.status, 404)
        odd = AWAY._replace(
            persons=(Person("p", None, (element(ns.RPID, "user-input", "asleep"),)),)
        )
        failure = self.say(odd)
        self.assertEqual(failure.check(SIPError) and failure.value.status, 400)

    def test_stopped(self) -> None:
        """After the end nothing is said any more."""
        self.sources.stop()
        self.assertFalse(self.source.running)
        failure = self.say(AWAY)
        self.assertEqual(failure.value.status, 503)

    def test_about_the_user(self) -> None:
        """Whatever entity a source names, the document is about the user it was said of."""
        self.say(AWAY._replace(entity="sip:mallory@example.org"))
        found: list[dict[str, Any]] = []
        Explaining(self.world.core).answer([BOB, ALICE]).addCallback(found.append)
        self.assertIn(f'entity="{ALICE}"', found[0]["document"])

    def test_can_not_start(self) -> None:
        """A source that can't start leaves the others and the service alone."""

        class Broken(Scripted):
            def start(self, publish: object) -> None:
                raise RuntimeError("broken")

        core = self.world.core
        sources = Sources(
            {"broken": Broken(), "scripted": self.source},
            core.turns,
            core.authenticator,
            core.identifiers,
        )
        sources.start()
        self.assertTrue(self.source.running)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_explained(self) -> None:
        """The server explains what Bob sees and how his subscription stands."""
        found: list[dict[str, Any]] = []
        explaining = Explaining(self.world.core)
        explaining.answer([BOB, ALICE]).addCallback(found.append)
        self.assertEqual((found[0]["handling"], found[0]["subscriptions"]), ("allow", []))
        self.watch()
        self.say(AWAY)
        explaining.answer([BOB, ALICE]).addCallback(found.append)
        [subscription] = found[1]["subscriptions"]
        self.assertEqual((subscription["status"], subscription["notifications"]), ("active", 2))
        self.assertIn("nothing that it sees has changed", subscription["because"])
        self.bob.replies.append((0, {}))
        self.say(AWAY._replace(persons=()))
        explaining.answer([BOB, ALICE]).addCallback(found.append)
        missing: list[Failure] = []
        explaining.answer([BOB, "sip:nobody@example.com"]).addErrback(missing.append)
        self.world.run(0.0)
        self.assertEqual(cast(SIPError, missing[0].value).status, 404)


class FactoryTests(SynchronousTestCase):
    def test_shipped(self) -> None:
        """The calendar source is a plug-in like any other."""
        [factory] = [each for each in getPlugins(IPresenceSourceFactory) if each.name == "calendar"]
        self.assertTrue(verifyObject(IPresenceSourceFactory, factory))

    def test_refused(self) -> None:
        """A source that is not there, or can't be made, ends the start with what to do."""
        for descriptions, words in (
            (("moon",), "there is no presence source 'moon'"),
            (("calendar=/nowhere/list",), "can't be read"),
        ):
            error: SettingsError = self.assertRaises(
                SettingsError, make_sources, descriptions, Clock()
            )
            self.assertIn(words, str(error))


#: The day of EPOCH, 14 November 2023, 22:13 UTC.
MEETING = b"\r\n".join(
    [
        b"BEGIN:VCALENDAR",
        b"VERSION:2.0",
        b"PRODID:x",
        b"BEGIN:VEVENT",
        b"UID:1",
        b"DTSTAMP:20231101T000000Z",
        b"DTSTART:20231114T220000Z",
        b"DTEND:20231114T230000Z",
        b"ATTENDEE:mailto:bob@example.com",
        b"END:VEVENT",
        b"END:VCALENDAR",
        b"",
    ]
)


class FakeResponse:
    """An HTTP response whose body a test delivers."""

    def __init__(self, code: int, body: bytes, ends: bool = True) -> None:
        self.code = code
        self._body = body
        self._ends = ends

    def deliverBody(self, protocol: Any) -> None:
        """Deliver it in two parts."""
        self._protocol = protocol
        protocol.makeConnection(self)
        protocol.dataReceived(self._body[:20])
        protocol.dataReceived(self._body[20:])
        if self._ends:
            protocol.connectionLost(Failure(ResponseDone()))

    def abortConnection(self) -> None:
        """As a transport: the connection ends."""
        self._protocol.connectionLost(Failure(ConnectionAborted()))


class FakeAgent:
    """An agent that answers as it was told."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.asked: list[bytes] = []

    def request(self, method: bytes, url: bytes, headers: object, body: object) -> Deferred[Any]:
        """Answer."""
        self.asked.append(url)
        return fail(self.response) if isinstance(self.response, Exception) else self.response


class CalendarSourceTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A clock, and what is said."""
        self.clock = Clock()
        self.clock.rightNow = EPOCH
        self.said: list[tuple[str, Presence | None]] = []
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def listed(self, *lines: str) -> str:
        """The operator's list."""
        path = self.directory / "calendars"
        path.write_text("\n".join(lines))
        return str(path)

    def source(self, agent: Any, *lines: str) -> CalendarSource:
        """A source that runs in this thread."""

        def here(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            try:
                return succeed(function(*arguments))
            except Exception:
                return fail()

        def publish(aor: str, presence: Presence | None, seconds: float) -> Deferred[None]:
            self.said.append((aor, presence))
            return succeed(None)

        source = CalendarSource(
            self.clock, self.listed(*lines), agent=agent, in_thread=here, clock=self.clock.seconds
        )
        source.start(publish)
        self.addCleanup(source.stop)
        return source

    def test_file(self) -> None:
        """A file is read, and again at each interval."""
        path = self.directory / "alice.ics"
        path.write_bytes(MEETING)
        self.source(None, "# comment", f"alice@example.com {path} Europe/Berlin", "")
        [(aor, presence)] = self.said
        assert presence is not None
        self.assertEqual(aor, ALICE)
        self.assertEqual(set(activities(presence)), {"busy", "meeting"})
        path.write_bytes(MEETING.replace(b"20231114", b"20201114"))
        self.clock.advance(calendar.INTERVAL)
        self.assertEqual(self.said[1:], [(ALICE, None)])

    def test_url(self) -> None:
        """A URL is fetched."""
        agent = FakeAgent(succeed(FakeResponse(200, MEETING)))
        self.source(agent, "sip:alice@example.com https://calendar.example.com/a.ics")
        self.assertEqual(agent.asked, [b"https://calendar.example.com/a.ics"])
        self.assertEqual(len(self.said), 1)

    def test_failures(self) -> None:
        """Whatever goes wrong with one calendar, the next is read; nothing is taken back."""
        path = self.directory / "bob.ics"
        path.write_bytes(MEETING)
        for response in (
            succeed(FakeResponse(404, b"")),
            succeed(FakeResponse(302, b"")),
            succeed(FakeResponse(200, b"<html>")),
            succeed(FakeResponse(200, b"x" * (calendar.MAX_SIZE + 1), ends=False)),
            OSError("no route"),
        ):
            self.said.clear()
            source = self.source(
                FakeAgent(response), "alice@example.com https://x.org/a", f"bob@example.com {path}"
            )
            self.assertEqual([aor for aor, _ in self.said], [BOB])
            source.stop()

    def test_slow(self) -> None:
        """A server that does not answer, or not to the end, is left after a while."""
        for response in (Deferred[Any](), succeed(FakeResponse(200, MEETING, ends=False))):
            path = self.directory / "bob.ics"
            path.write_bytes(MEETING)
            self.said.clear()
            source = self.source(
                FakeAgent(response), "alice@example.com https://x.org/a", f"bob@example.com {path}"
            )
            self.assertEqual(self.said, [])
            self.clock.advance(calendar.TIMEOUT)
            self.assertEqual([aor for aor, _ in self.said], [BOB])
            source.stop()

    def test_no_longer_listed(self) -> None:
        """Of who is not listed any more nothing is said."""
        path = self.directory / "alice.ics"
        path.write_bytes(MEETING)
        self.source(None, f"alice@example.com {path}")
        self.listed("")
        self.clock.advance(calendar.INTERVAL)
        self.assertEqual(self.said[1:], [(ALICE, None)])

    def test_list_gone(self) -> None:
        """A list that can't be read later changes nothing."""
        path = self.directory / "alice.ics"
        path.write_bytes(MEETING)
        self.source(None, f"alice@example.com {path}")
        self.listed("alice@example.com")
        self.clock.advance(calendar.INTERVAL)
        self.assertEqual(len(self.said), 1)

    def test_same_document_all_day(self) -> None:
        """While the calendar stays, so does what is said, for a whole day."""
        path = self.directory / "alice.ics"
        path.write_bytes(MEETING)
        self.clock.rightNow = datetime(2023, 11, 14, tzinfo=UTC).timestamp()
        self.source(None, f"alice@example.com {path}")
        for _ in range(10):
            self.clock.advance(calendar.INTERVAL * 9)
        self.assertEqual(len(set(self.said)), 1)

    def test_bad_lists(self) -> None:
        """A line that can't be used is named."""
        for line in (
            "alice@example.com",
            "alice@example.com relative.ics",
            "alice@example.com file:///etc/passwd",
            "alice@example.com /a.ics Moon/Base",
            "sip: /a.ics",
        ):
            error: ValueError = self.assertRaises(ValueError, read_calendars, self.listed("", line))
            self.assertIn("line 2", str(error))


class _Calendars(Resource):
    """A calendar that is too large, and one of which the end never comes."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes | int:
        """The calendar of this name."""
        if request.path == b"/large":
            return b"x" * (calendar.MAX_SIZE + 1)
        request.setHeader(b"Content-Length", b"100")
        request.write(b"BEGIN")
        return NOT_DONE_YET


class CalendarServerTests(TestCase):
    @asynchronous
    async def test_let_go(self) -> None:
        """A server that says too much, or not all, is let go of, and the next calendar is read."""
        site: Any = Site(_Calendars())
        port = reactor.listenTCP(0, site, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        root = f"http://127.0.0.1:{port.getHost().port}"
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        (directory / "carol.ics").write_bytes(MEETING)
        (directory / "calendars").write_text(
            f"alice@example.com {root}/large\nbob@example.com {root}/slow\n"
            f"carol@example.com {directory}/carol.ics\n"
        )
        said: Deferred[str] = Deferred()

        def publish(aor: str, presence: Presence | None, seconds: float) -> Deferred[None]:
            said.callback(aor)
            return succeed(None)

        source = CalendarSource(
            reactor, str(directory / "calendars"), clock=lambda: EPOCH, patience=0.2
        )
        source.start(publish)
        self.addCleanup(source.stop)
        self.assertEqual(await said, "sip:carol@example.com")
        for _ in range(50):
            if not _open(port):
                break
            done: Deferred[None] = Deferred()
            reactor.callLater(0.02, done.callback, None)
            await done
        self.assertEqual(_open(port), [])


def _open(port: Any) -> list[Any]:
    """The connections to a port."""
    return [each for each in reactor.getReaders() if getattr(each, "server", None) is port]
