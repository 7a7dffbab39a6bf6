"""``simplestack buddies``: a list kept by XCAP, watched by one subscription."""

import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simplestack.client.buddies import BuddyList
from simplestack.client.xcap import XCAPClient
from simplestack.command import buddies
from simplestack.command.session import DONE, NO_USER, Session, attempt
from simplestack.command.watching import follow
from simplestack.documents.resourcelists import parse_resource_lists, parse_rls_services
from tests.app.listworld import FRIENDS, ListWorld
from tests.asynchronous import asynchronous
from tests.command.test_sessions import ALICE, BOB, Run, SessionCase, reactor

OTHERS = (
    b'<?xml version="1.0"?>\n<r:resource-lists xmlns:r="urn:ietf:params:xml:ns:resource-lists">'
    b'<!-- mine --><r:list name="work"><r:entry uri="sip:carol@example.com"/></r:list>'
    b"</r:resource-lists>"
)


class BuddiesTests(SessionCase):
    async def serve_users(self, **changes: Any) -> None:
        """Start the server, with lists, in which everybody is seen."""
        roles = ("registrar", "presence", "xcap", "lists")
        await super().serve_users(roles=roles, default_handling="allow", **changes)

    def client(self) -> XCAPClient:
        """Alice's client."""
        return XCAPClient(reactor, self.account(ALICE), f"http://127.0.0.1:{self.xcap_port}/")

    async def do(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command as alice: status, what it says, what it complains of."""
        options = buddies.parser().parse_args([*arguments, "--as", ALICE])
        out, err = io.StringIO(), io.StringIO()
        session = Session("buddies", reactor, out, err)
        held = BuddyList(self.client(), self.account(ALICE), options.list)
        status = await attempt(session, buddies.act(session, held, options))
        return status, out.getvalue(), err.getvalue()

    def follow(self, *, screen: bool = False) -> Run:
        """Run ``buddies --watch`` as alice."""
        options = buddies.parser().parse_args(["--watch", "--as", ALICE])
        held = BuddyList(self.client(), self.account(ALICE))
        reading = buddies.BuddyReading(screen)
        return self.run_work(ALICE, lambda each: follow(each, options, held.uri, reading))

    async def document(self, auid: str) -> bytes:
        """One of alice's documents."""
        client = self.client()
        found = await client.get(client.document(auid))
        return b"" if found is None else found.body

    @asynchronous
    async def test_list(self) -> None:
        """RFC 4826 §3, §4: the first buddy makes list and service; others come and go in it."""
        await self.serve_users()
        self.assertEqual(await self.do("list"), (DONE, "", ""))
        status, said, complained = await self.do("add", BOB, "--name", 'B "o" <b>')
        self.assertEqual((status, complained), (DONE, ""))
        self.assertEqual(said, f"sip:{BOB} is now in sip:alice-buddies@example.com\n")
        self.assertIn("already", (await self.do("add", BOB))[1])
        self.assertEqual((await self.do("add", "a%20b&c@example.com"))[0], DONE)
        self.assertEqual(
            (await self.do("list"))[1],
            f'sip:{BOB}  B "o" <b>\nsip:a%20b&c@example.com  -\n',
        )
        await self.do("add", BOB, "--name", "Bob")
        self.assertEqual((await self.do())[1].partition("\n")[0], f"sip:{BOB}  Bob")
        (service,) = parse_rls_services(await self.document("rls-services"))
        self.assertEqual(service.uri, "sip:alice-buddies@example.com")
        self.assertEqual(service.packages, ("presence",))
        self.assertEqual((await self.do("remove", "a%20b&c@example.com"))[0], DONE)
        self.assertEqual((await self.do("remove", "a%20b&c@example.com"))[0], NO_USER)
        self.assertEqual((await self.do())[1], f"sip:{BOB}  Bob\n")

    @asynchronous
    async def test_others_are_kept(self) -> None:
        """RFC 4825 §7.4: what else is in the documents stays, also under other prefixes."""
        await self.serve_users()
        client = self.client()
        url = client.document("resource-lists")
        await client.put(url, OTHERS, "application/resource-lists+xml")
        for buddy in (BOB, "dave@example.com"):
            self.assertEqual((await self.do("add", buddy))[0], DONE)
        self.assertEqual((await self.do("add", BOB, "--list", "work"))[0], DONE)
        body = await self.document("resource-lists")
        self.assertIn(b'<!-- mine --><r:list name="work"><r:entry uri="sip:carol@', body)
        work, mine = parse_resource_lists(body)
        self.assertEqual(list(mine.uris()), [f"sip:{BOB}", "sip:dave@example.com"])
        self.assertEqual(list(work.uris()), ["sip:carol@example.com", f"sip:{BOB}"])
        services = parse_rls_services(await self.document("rls-services"))
        self.assertEqual(
            [each.uri for each in services],
            ["sip:alice-buddies@example.com", "sip:alice-work@example.com"],
        )

    @asynchronous
    async def test_watch(self) -> None:
        """RFC 4662 §5.6: presence of all by one subscription, which follows the list's edits."""
        await self.serve_users()
        early = self.follow()
        self.assertEqual(await early.ended, NO_USER)
        await self.do("add", BOB, "--name", "Bob")
        watching, screen = self.follow(), self.follow(screen=True)
        self.assertEqual(await self.tells(watching, 1), ["Bob  closed  -  -  -"])
        bob = self.publish("--activity", "on-the-phone", "--note", "until four")
        line = (await self.tells(watching, 2))[1]
        self.assertRegex(line, r"\ABob  open  on-the-phone  until four  \d\d:\d\d\Z")
        await self.do("add", ALICE)
        self.assertIn("alice@example.com  closed", (await self.tells(watching, 3))[2])
        await self.do("remove", BOB)
        self.assertIn("Bob  noresource", (await self.tells(watching, 4))[3])
        await self.until(lambda: "on-the-phone" in "".join(screen.lines))
        self.assertIn("\x1b[H\x1b[Jname  state", screen.lines[0])
        for run in (watching, screen, bob):
            self.assertEqual((await run.stop(), run.errors), (DONE, ""))


class ReadingTests(SynchronousTestCase):
    def test_table(self) -> None:
        """The table has who is open first, and since when; who leaves the list leaves it."""
        world = ListWorld()
        alice = world.phone("alice@example.com")
        world.friends("bob", "carol")
        world.put_service(FRIENDS)
        world.subscribe(alice)
        world.run(2.0)
        now = 1_700_000_000.0
        reading = buddies.BuddyReading(True, lambda: now)
        lines = reading.read(alice.notifies()[0].body)
        assert lines is not None
        self.assertEqual(lines[0], "\x1b[H\x1b[Jname   state   activity  note  since")
        self.assertEqual([line.split()[0] for line in lines[1:]], ["Bob", "Carol"])
        world.publish(world.phone("carol@example.com"), "here")
        world.run(2.0)
        lines = reading.read(alice.notifies()[-1].body)
        assert lines is not None
        self.assertEqual([line.split()[0] for line in lines[1:]], ["Carol", "Bob"])
        # The document has no timestamp: it is since it was seen.
        self.assertRegex(lines[1], r"\ACarol  open    -         here  \d\d:\d\d\Z")
        world.friends("bob")
        world.run(2.0)
        lines = reading.read(alice.notifies()[-1].body)
        assert lines is not None
        self.assertEqual([line.split()[0] for line in lines[1:]], ["Bob"])
