"""``simplestack buddies``: a list of users at the server, and the presence of all of them."""

import argparse
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final, NamedTuple

from simplestack.client.buddies import BuddyList
from simplestack.client.lists import ListRow, ListTable
from simplestack.client.useragent import UserAgent
from simplestack.client.xcap import XCAPClient
from simplestack.command.arguments import (
    Parser,
    UsageError,
    account,
    add_account,
    add_ending,
    add_server,
    authorities,
    seconds,
    user,
)
from simplestack.command.lines import said
from simplestack.command.session import DONE, NO_USER, Session, attempt, run_session, serve, shown
from simplestack.command.watching import follow
from simplestack.documents.pidf import MEDIA_TYPE, Presence, parse_presence

__all__ = ["BuddyReading", "act", "parser", "run"]

#: Where XCAP is served, unless told otherwise.
_PORT: Final = 8080
_HEADS: Final = ("name", "state", "activity", "note", "since")
#: Cursor to the upper left, and all below it erased (ECMA-48 §8.3.21, §8.3.39).
_CLEAR: Final = "\x1b[H\x1b[J"
#: Characters of a note that are shown.
_NOTE: Final = 40


class _Buddy(NamedTuple):
    """What is shown of one of them; ``since`` in unix seconds, None where nobody knows."""

    name: str
    state: str
    activity: str
    note: str
    since: float | None

    def cells(self, now: float) -> tuple[str, ...]:
        since = "-" if self.since is None else _moment(self.since, now)
        return (self.name, self.state, self.activity or "-", self.note or "-", since)


class BuddyReading:
    """The presence of those in a list: a line for each who has changed, or the table as it is.

    ``screen`` chooses the table, for a terminal: it is drawn anew with each change.
    """

    event = "presence"
    media_type = MEDIA_TYPE
    lists = True

    def __init__(self, screen: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.screen = screen
        self._clock = clock
        self._table = ListTable()
        self._buddies: dict[str, _Buddy] = {}

    def read(self, body: bytes) -> list[str] | None:
        """What is to be printed; None where the full state must be asked for.

        Raises DocumentError.
        """
        rows = self._table.take(body)
        if rows is None:
            return None
        now = self._clock()
        changed = []
        for row in rows:
            before = self._buddies.get(row.uri)
            if before is not None and row.reason == "noresource" and row.uri in self._table.rows:
                # It has left the list, or there is no such user any more (RFC 4662 §5.6.2).
                del self._table.rows[row.uri]
            buddy = _buddy(row, before, now)
            if before is None or before[:4] != buddy[:4]:
                changed.append(buddy)
                self._buddies[row.uri] = buddy
        gone = self._buddies.keys() - self._table.rows.keys()
        for uri in gone:
            del self._buddies[uri]
        if self.screen:
            return self._drawn(now) if changed or gone else []
        return ["  ".join(buddy.cells(now)) for buddy in changed]

    def _drawn(self, now: float) -> list[str]:
        rows = [self._buddies[uri].cells(now) for uri in self._table.rows]
        rows.sort(key=lambda cells: (cells[1] != "open", cells[0].casefold()))
        widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
        lines = [
            "  ".join([cell.ljust(width) for cell, width in zip(cells, widths, strict=True)])
            for cells in (_HEADS, *rows)
        ]
        return [_CLEAR + lines[0].rstrip(), *[line.rstrip() for line in lines[1:]]]


def _buddy(row: ListRow, before: _Buddy | None, now: float) -> _Buddy:
    name = shown(row.name or row.uri.partition(":")[2] or row.uri)
    if row.state != "active" or not row.body:
        found = _Buddy(name, row.reason or row.state or "unknown", "", "", None)
    else:
        presence = parse_presence(row.body)
        basic, activities, notes = said(presence)
        note = shown("; ".join(notes))
        if len(note) > _NOTE:
            note = note[: _NOTE - 1] + "…"
        found = _Buddy(name, basic, shown(",".join(activities)), note, _since(presence))
    if before is not None and before[1:4] == found[1:4]:
        return found._replace(since=before.since)
    if found.since is None and before is not None:
        # Nobody says when it became so; it has been seen to.
        return found._replace(since=now)
    return found


def _since(presence: Presence) -> float | None:
    """The newest time that a document has of anything in it (RFC 3863 §4.1.7, RFC 4479 §3.6)."""
    times = [each.time for each in presence.tuples] + [each.time for each in presence.persons]
    return max([each for each in times if each is not None], default=None)


def _moment(then: float, now: float) -> str:
    there, here = datetime.fromtimestamp(then), datetime.fromtimestamp(now)
    return there.strftime("%H:%M" if there.date() == here.date() else "%Y-%m-%d %H:%M")


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack buddies``."""
    top = Parser(
        prog="simplestack buddies",
        description="Keeps a list of buddies at the server, and shows the presence of all of them"
        " by one subscription.",
    )
    top.add_argument(
        "action", nargs="?", choices=("add", "remove", "list"), help="list, if none is given"
    )
    top.add_argument("buddy", nargs="?", type=user, metavar="USER", help="whom to add or remove")
    add_account(top)
    add_server(top)
    top.add_argument(
        "--xcap-root",
        default="",
        metavar="URL",
        help=f"the XCAP root; else it is http://HOST:{_PORT}/ of the server",
    )
    top.add_argument("--list", default="buddies", metavar="NAME", help="which list (buddies)")
    top.add_argument("--name", default="", metavar="TEXT", help="add: the name to show")
    top.add_argument(
        "--watch", action="store_true", help="show the presence of all, and every change"
    )
    top.add_argument(
        "--expires", type=seconds, default=3600, metavar="SECONDS", help="how long to ask for"
    )
    top.add_argument("--raw", action="store_true", help="--watch: print the documents as they come")
    add_ending(top, "lines, or with --raw documents")
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack buddies``."""
    top = parser()
    options = top.parse_args(arguments[1:])
    if options.watch and options.action:
        top.error("--watch goes without an action")
    if (options.action in ("add", "remove")) != (options.buddy is not None):
        top.error("add and remove take a USER, and nothing else does")

    def start(session: Session) -> Coroutine[Any, Any, int]:
        owner = account(options)
        trusted = authorities(options)
        root = options.xcap_root or f"http://{owner.next_hop.host}:{_PORT}/"
        try:
            client = XCAPClient(session.reactor, owner, root, authorities=trusted)
            buddies = BuddyList(client, owner, options.list)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if not options.watch:
            return attempt(session, act(session, buddies, options))
        reading = BuddyReading(session.terminal and not options.raw)
        agent = UserAgent(session.reactor, owner, authorities=trusted)
        return serve(session, agent, lambda each: follow(each, options, buddies.uri, reading))

    return run_session("buddies", start)


async def act(session: Session, buddies: BuddyList, options: argparse.Namespace) -> int:
    """Add, remove or list; the result is the exit status."""
    if options.action == "add":
        added = await session.wait(buddies.add(options.buddy, options.name))
        session.say(f"{options.buddy} is {'now' if added else 'already'} in {buddies.uri}")
        return DONE
    if options.action == "remove":
        if not await session.wait(buddies.remove(options.buddy)):
            session.warn(f"{options.buddy} is not in {buddies.uri}")
            return NO_USER
        session.say(f"{options.buddy} is no longer in {buddies.uri}")
        return DONE
    for entry in await session.wait(buddies.entries()):
        name = "-" if entry.display_name is None else entry.display_name.text
        session.say(shown(f"{entry.uri}  {name}"))
    return DONE
