"""``simplestack xcap``: documents at an XCAP server, and what is in them (RFC 4825)."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from difflib import unified_diff
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from simplestack.app.plugins import application_usages
from simplestack.client.errors import ClientError, RefusedError
from simplestack.client.xcap import Fetched, XCAPClient
from simplestack.command.arguments import Parser, UsageError, account, add_account, authorities
from simplestack.command.session import (
    DONE,
    NO_USER,
    REFUSED,
    Session,
    attempt,
    run_session,
)
from simplestack.documents.errors import DocumentError
from simplestack.documents.xml import parse_content
from simplestack.interfaces import IApplicationUsage
from simplestack.sip.errors import SIPError
from simplestack.state import Document
from simplestack.xcap.selectors import ResourceSelector, parse, root_path
from simplestack.xcap.server import ATTRIBUTE, ELEMENT

__all__ = ["Editing", "act", "parser", "run"]

_PURPOSES: Final = {
    "get": "Prints a document, an element of it, or the value of an attribute.",
    "put": "Writes a document, an element of it, or the value of an attribute.",
    "delete": "Removes a document, an element of it, or an attribute.",
    "edit": "Opens a document in your editor, checks it, and writes it unless others did.",
}
#: So many lines of what others changed are shown.
_LINES: Final = 200


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    top = Parser(prog="simplestack xcap", description="Documents at an XCAP server.")
    actions = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, purpose in _PURPOSES.items():
        action = actions.add_parser(name, help=purpose.lower().rstrip("."), description=purpose)
        action.add_argument(
            "path",
            metavar="PATH[~~/NODE]",
            help="below the root; AUID/NAME is in your own directory,"
            " as in pres-rules/index~~/ruleset/rule[1]",
        )
        if name == "put":
            action.add_argument(
                "file", nargs="?", default="-", help="what to write; else it is read from stdin"
            )
        if name in ("put", "delete"):
            action.add_argument(
                "--match", metavar="ETAG", help="only if the document has this entity-tag"
            )
        if name == "put":
            action.add_argument(
                "--new", action="store_true", help="only if there is no such document yet"
            )
        if name in ("put", "edit"):
            action.add_argument("--type", default="", help="the content type, if it is not known")
        action.add_argument(
            "--ns",
            action="append",
            default=[],
            metavar="PREFIX=URI",
            help="a namespace prefix in NODE (repeatable)",
        )
        action.add_argument(
            "--root", required=True, metavar="URL", help="such as http://127.0.0.1:8080/"
        )
        add_account(action)
        action.set_defaults(server="")
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack xcap``."""
    options = parser().parse_args(arguments[1:])

    def start(session: Session) -> Coroutine[Any, Any, int]:
        bindings = dict[str, str]()
        for each in options.ns:
            prefix, found, uri = each.partition("=")
            if not found or not prefix:
                raise UsageError(f"{each!r} is not PREFIX=URI")
            bindings[prefix] = uri
        owner = account(options)
        try:
            client = XCAPClient(
                session.reactor, owner, options.root, authorities=authorities(options)
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        url = client.resource(options.path, bindings)
        try:
            selector = parse(url.encode()[len(client.root) - 1 :], root_path(""))
        except SIPError as error:
            raise UsageError(f"{options.path!r}: {error.text}") from None
        return attempt(session, act(session, client, url, selector, options))

    return run_session(f"xcap {options.action}", start)


async def act(
    session: Session,
    client: XCAPClient,
    url: str,
    selector: ResourceSelector,
    options: argparse.Namespace,
) -> int:
    """Do what is asked for; the result is the exit status."""
    if options.action == "get":
        return await _get(session, client, url)
    if options.action == "delete":
        await session.wait(client.delete(url, match=options.match))
        return DONE
    usage = _usage(selector)
    content_type = options.type or _content_type(selector, usage)
    if not content_type:
        raise ClientError(f"give --type: {selector.document.auid} is not known here")
    if options.action == "edit":
        editing = Editing(session, client, url, selector, usage, content_type)
        return await editing.run()
    body = _read(options.file)
    match = "" if options.new else options.match
    session.say(await session.wait(client.put(url, body, content_type, match=match)))
    return DONE


async def _get(session: Session, client: XCAPClient, url: str) -> int:
    found = await session.wait(client.get(url))
    if found is None:
        session.warn(f"there is nothing at {url}")
        return NO_USER
    session.say(found.body.decode("utf-8", "replace").removesuffix("\n"))
    return DONE


def _read(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ClientError(f"{name} can't be read: {error.strerror}") from None


def _usage(selector: ResourceSelector) -> IApplicationUsage | None:
    for usage in application_usages():
        if usage.auid == selector.document.auid:
            return usage
    return None


def _content_type(selector: ResourceSelector, usage: IApplicationUsage | None) -> str:
    if selector.node is not None:
        return ATTRIBUTE if selector.node and selector.node[-1].startswith(b"@") else ELEMENT
    if usage is None:
        return ""
    content_type: str = usage.content_type
    return content_type


class Editing:
    """A document in an editor: what it was, what it is to be, and what others make of it.

    ``ask`` puts a question to a person and says whether the answer is yes; None where nobody can
    be asked.  ``edit`` lets a person edit a file.
    """

    def __init__(
        self,
        session: Session,
        client: XCAPClient,
        url: str,
        selector: ResourceSelector,
        usage: IApplicationUsage | None,
        content_type: str,
        *,
        edit: Callable[[Path], None] | None = None,
        ask: Callable[[str], bool] | None = None,
    ) -> None:
        self._session = session
        self._client = client
        self._url = url
        self._selector = selector
        self._usage = usage
        self._content_type = content_type
        self._edit = edit or _editor
        self._ask = ask or (_ask if sys.stdin.isatty() else None)
        #: Where the text is while it is edited, and after what went wrong.
        self.file = Path(mkdtemp(prefix="simplestack-")) / "document.xml"

    async def run(self) -> int:
        """Edit until it is written, or given up; the result is the exit status."""
        session = self._session
        before = await session.wait(self._client.get(self._url))
        text = self._begin() if before is None else before.body
        self.file.write_bytes(text)
        while True:
            self._edit(self.file)
            edited = self.file.read_bytes()
            if edited == text or not edited.strip():
                session.say("nothing has changed; nothing was written")
                self._forget()
                return DONE
            problem = self._problem(edited)
            if problem is None:
                try:
                    match = "" if before is None else before.etag
                    written = self._client.put(self._url, edited, self._content_type, match=match)
                    tag = await session.wait(written)
                except RefusedError as error:
                    if error.status not in (409, 412, 413, 415):
                        raise self._kept(error) from None
                    problem = str(error)
                    if error.status == 412:
                        problem, before = await self._explain(before)
                except ClientError as error:
                    raise self._kept(error) from None
                else:
                    session.say(f"written, {tag}")
                    self._forget()
                    return DONE
            session.warn(problem)
            if self._ask is None or not self._ask("Edit your version again? [y/n] "):
                session.warn(f"nothing was written; your version is in {self.file}")
                return REFUSED

    def _begin(self) -> bytes:
        """What a new document begins with."""
        root = getattr(self._usage, "root", "") if self._selector.node is None else ""
        namespace, _, name = root[1:].partition("}")
        return f'<{name} xmlns="{namespace}">\n</{name}>\n'.encode() if name else b""

    def _problem(self, body: bytes) -> str | None:
        """What the server would not take, as far as it can be seen here."""
        if self._selector.node is not None:
            return None
        place = self._selector.document
        try:
            root = parse_content(body)
            if self._usage is not None:
                document = Document(
                    place.aor, place.id, place.auid, place.path, "", self._content_type, body, 0.0
                )
                self._usage.check(document, root, {})
        except DocumentError as error:
            return error.message
        except SIPError as error:
            return error.text
        return None

    async def _explain(self, before: Fetched | None) -> tuple[str, Fetched | None]:
        """What others did meanwhile, and what it is now."""
        now = await self._session.wait(self._client.get(self._url))
        if now is None:
            return "others removed it meanwhile; written again, it will be a new one", None
        old, new = (
            [] if each is None else each.body.decode("utf-8", "replace").splitlines()
            for each in (before, now)
        )
        changed = list(unified_diff(old, new, "as you found it", "as it is now", lineterm="", n=2))
        for line in changed[:_LINES]:
            self._session.say(line)
        if len(changed) > _LINES:
            self._session.say(f"… and {len(changed) - _LINES} lines more")
        what = "this" if changed else "its entity-tag alone"
        return f"others changed {what} meanwhile; written again, yours takes its place", now

    def _kept(self, error: ClientError) -> ClientError:
        self._session.warn(f"nothing was written; your version is in {self.file}")
        return error

    def _forget(self) -> None:
        for path in self.file.parent.iterdir():
            path.unlink()
        self.file.parent.rmdir()


def _editor(file: Path) -> None:
    """Let a person edit a file, with the editor that the environment names."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        if not sys.stdin.isatty():
            raise ClientError(
                "there is no terminal to edit in; VISUAL or EDITOR may name a program"
            )
        command = "vi"
    # An interrupt is for the editor, which has the terminal.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        status = subprocess.call([*shlex.split(command), str(file)])
    except OSError as error:
        raise ClientError(f"the editor {command!r} can't be run: {error.strerror}") from None
    except ValueError as error:
        raise ClientError(f"the editor {command!r} can't be run: {error}") from None
    finally:
        signal.signal(signal.SIGINT, before)
    if status:
        raise ClientError(f"the editor {command!r} ended with {status}; nothing was written")


def _ask(question: str) -> bool:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
