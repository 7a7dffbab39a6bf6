"""``simplestack xcap`` at a server."""

import io
import os
import sys
from pathlib import Path
from typing import Any

from simplestack.app.plugins import application_usages
from simplestack.client.xcap import XCAPClient
from simplestack.command import xcap
from simplestack.command.session import DONE, NO_USER, REFUSED, Session, attempt
from simplestack.xcap.selectors import parse
from tests.asynchronous import asynchronous
from tests.command.test_arguments import call
from tests.command.test_sessions import BOB, SessionCase, reactor

LISTS = (
    '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">\n'
    '<list name="friends">\n<entry uri="sip:alice@example.com"/>\n</list>\n</resource-lists>\n'
)


class XCAPTests(SessionCase):
    def client(self) -> XCAPClient:
        """Bob's client."""
        return XCAPClient(reactor, self.account(BOB), f"http://127.0.0.1:{self.xcap_port}/")

    async def do(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command as bob: status, what it says, what it complains of."""
        client = self.client()
        options = xcap.parser().parse_args([*arguments, "--root", client.root, "--as", BOB])
        bindings = dict(each.split("=", 1) for each in options.ns)
        url = client.resource(options.path, bindings)
        out, err = io.StringIO(), io.StringIO()
        session = Session("xcap", reactor, out, err)
        selector = parse(url.encode()[len(client.root) - 1 :])
        status = await attempt(session, xcap.act(session, client, url, selector, options))
        return status, out.getvalue(), err.getvalue()

    def file(self, text: str) -> str:
        """A file with a text."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    @asynchronous
    async def test_nodes(self) -> None:
        """RFC 4825 §7: documents, elements and attributes are written, read and removed."""
        await self.serve_users()
        lists = self.file(LISTS)
        status, tag, err = await self.do("put", "resource-lists/index", lists, "--new")
        self.assertEqual((status, err), (DONE, ""))
        self.assertRegex(tag, r'\A"[^"]+"\n\Z')
        self.assertEqual(await self.do("get", "resource-lists/index"), (DONE, LISTS, ""))
        whole = f"resource-lists/users/sip:{BOB}/index"
        self.assertEqual((await self.do("get", whole))[1], LISTS)
        entry = f'{whole}~~/resource-lists/list/entry[@uri="sip:carol@example.com"]'
        body = self.file('<entry uri="sip:carol@example.com"/>')
        self.assertEqual((await self.do("put", entry, body))[0], DONE)
        status, out, _ = await self.do("get", f"{entry}/@uri")
        self.assertEqual((status, out), (DONE, '"sip:carol@example.com"\n'))
        namespace = "r=urn:ietf:params:xml:ns:resource-lists"
        prefixed = "resource-lists/index/~~/r:resource-lists/r:list[1]/@name"
        self.assertEqual((await self.do("get", prefixed, "--ns", namespace))[1], '"friends"\n')
        name = self.file('"colleagues"')
        self.assertEqual((await self.do("put", prefixed, name, "--ns", namespace))[0], DONE)
        self.assertEqual((await self.do("delete", entry))[0], DONE)
        self.assertEqual((await self.do("get", entry))[0], NO_USER)
        self.assertEqual((await self.do("delete", entry))[0], NO_USER)

    @asynchronous
    async def test_conditions(self) -> None:
        """RFC 4825 §7.11: --new and --match; 412 and 409 are told in one line."""
        await self.serve_users()
        lists = self.file(LISTS)
        _, tag, _ = await self.do("put", "resource-lists/index", lists)
        status, _, err = await self.do("put", "resource-lists/index", lists, "--new")
        self.assertEqual((status, err.count("\n")), (REFUSED, 1))
        self.assertIn("412", err)
        match = ("--match", tag.strip())
        self.assertEqual((await self.do("put", "resource-lists/index", lists, *match))[0], DONE)
        self.assertEqual((await self.do("delete", "resource-lists/index", *match))[0], REFUSED)
        bad = self.file(LISTS.replace("</list>", ""))
        status, _, err = await self.do("put", "resource-lists/index", bad)
        self.assertEqual(status, REFUSED)
        self.assertIn("not-well-formed", err)
        self.assertIn("give --type", (await self.do("put", "nobody-knows/index", lists))[2])
        self.assertIn("can't be read", (await self.do("put", "resource-lists/x", "/nowhere"))[2])

    async def edit(self, *steps: Any, yes: int = 0, path: str = "resource-lists/index") -> Any:
        """Edit as bob: each step gets the text and gives the next one; so many questions get yes.

        The exit status, what was said, what was complained of, and the editing.
        """
        client = self.client()
        url = client.resource(path)
        out, err = io.StringIO(), io.StringIO()
        session = Session("xcap edit", reactor, out, err)
        selector = parse(url.encode()[len(client.root) - 1 :])
        (usage,) = [each for each in application_usages() if each.auid == "resource-lists"]
        todo, answers = list(steps), [True] * yes

        def edited(file: Path) -> None:
            file.write_text(todo.pop(0)(file.read_text()))

        def ask(question: str) -> bool:
            return bool(answers and answers.pop())

        editing = xcap.Editing(
            session, client, url, selector, usage, usage.content_type, edit=edited, ask=ask
        )
        status = await attempt(session, editing.run())
        self.assertEqual(todo, [])
        return status, out.getvalue(), err.getvalue(), editing

    async def text(self) -> str:
        """Bob's lists as they are."""
        found = await self.client().get(self.client().resource("resource-lists/index"))
        return "" if found is None else found.body.decode()

    @asynchronous
    async def test_edit(self) -> None:
        """A new document begins with its root; what is unchanged is not written; then a change."""
        await self.serve_users()

        def fill(text: str) -> str:
            self.assertIn("<resource-lists xmlns=", text)
            return LISTS

        status, out, err, editing = await self.edit(fill)
        self.assertEqual((status, err), (DONE, ""))
        self.assertIn("written", out)
        self.assertFalse(editing.file.parent.exists())
        status, out, _, _ = await self.edit(lambda text: text)
        self.assertIn("nothing has changed", out)
        await self.edit(lambda text: text.replace("friends", "enemies"))
        self.assertEqual(await self.text(), LISTS.replace("friends", "enemies"))

    @asynchronous
    async def test_mistakes(self) -> None:
        """XML and schema are checked before anything is sent; the text is kept."""
        await self.serve_users()
        status, _, err, editing = await self.edit(
            lambda text: "<resource-lists",
            lambda text: LISTS.replace("entry uri", "entry url"),
            lambda text: LISTS.replace("</list>", '<entry uri="sip:alice@example.com"/></list>'),
            yes=2,
        )
        self.assertEqual(status, REFUSED)
        self.assertEqual(err.count("\n"), 4)
        self.assertIn("line 1", err)
        self.assertIn("stands twice", err)
        self.assertIn(str(editing.file), err)
        self.assertIn("alice", editing.file.read_text())
        self.assertEqual(await self.text(), "")

    @asynchronous
    async def test_others(self) -> None:
        """RFC 4825 §7.11: on 412 it shows what others changed, and writes only if told again."""
        await self.serve_users()
        url = self.client().resource("resource-lists/index")
        media_type = "application/resource-lists+xml"
        await self.client().put(url, LISTS.encode(), media_type)
        theirs = LISTS.replace("alice", "carol")
        mine = LISTS.replace("friends", "mine")
        writes: list[Any] = []

        async def meanwhile(*steps: Any, yes: int) -> Any:
            # The editor of bob is slow: his other phone writes before he is done.
            client = self.client()
            original = XCAPClient.put

            def put(this: XCAPClient, *args: Any, **more: Any) -> Any:
                if this is client or writes:
                    return original(this, *args, **more)
                writes.append(theirs)
                first = original(client, url, theirs.encode(), media_type)
                return first.addCallback(lambda _: original(this, *args, **more))

            self.patch(XCAPClient, "put", put)
            return await self.edit(*steps, yes=yes)

        status, out, err, editing = await meanwhile(lambda text: mine, yes=0)
        self.assertEqual(status, REFUSED)
        self.assertIn('\n-<entry uri="sip:alice@example.com"/>', out)
        self.assertIn('\n+<entry uri="sip:carol@example.com"/>', out)
        self.assertIn("others changed this meanwhile", err)
        self.assertEqual(editing.file.read_text(), mine)
        self.assertEqual(await self.text(), theirs)
        writes.clear()
        merged = mine.replace("alice", "carol")
        status, _, _, _ = await meanwhile(lambda text: mine, lambda text: merged, yes=1)
        self.assertEqual(status, DONE)
        self.assertEqual(await self.text(), merged)

    @asynchronous
    async def test_programs(self) -> None:
        """$EDITOR is run with the file; one that fails writes nothing."""
        await self.serve_users()
        self.patch(sys, "stdin", io.StringIO())
        program = self.file(f"import sys; path = sys.argv[1]; open(path, 'w').write({LISTS!r})")
        self.patch(os, "environ", {"EDITOR": f"{sys.executable} {program}"})
        status, _, err = await self.do("edit", "resource-lists/index")
        self.assertEqual((status, err), (DONE, ""))
        self.assertEqual(await self.text(), LISTS)
        for editor in ("false", "/nowhere/editor"):
            self.patch(os, "environ", {"VISUAL": editor})
            status, _, err = await self.do("edit", "resource-lists/index")
            self.assertEqual((status, err.count("\n")), (REFUSED, 1))


class ArgumentsTests(SessionCase):
    def test_one_line(self) -> None:
        """Mistakes get one line and status 2; XCAP URIs that can't be are told of before."""
        base = ("--as", BOB, "--password", "x", "--root", "http://127.0.0.1:1/")
        for given in (
            (),
            ("peek", "a/b", *base),
            ("get", *base),
            ("get", "pres-rules/index", "--as", BOB, "--password", "x"),
            ("get", "pres-rules/index", *base[:-1], "gopher://h/"),
            ("get", "pres-rules/somewhere/index", *base),
            ("get", "pres-rules/index", *base, "--ns", "r"),
        ):
            status, out, err = call("xcap", *given)
            self.assertEqual((status, out), (2, ""), given)
            self.assertTrue(err.startswith("simplestack xcap"), err)
            self.assertEqual(err.count("\n"), 1, err)
