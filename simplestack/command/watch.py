"""``simplestack watch``: prints a user's presence, and then every change."""

import argparse

from simplestack.client.lists import ListRow, ListTable
from simplestack.command.arguments import Parser, user
from simplestack.command.lines import presence_line
from simplestack.command.session import perform, shown
from simplestack.command.watching import add_watching, follow
from simplestack.documents.pidf import MEDIA_TYPE, parse_presence

__all__ = ["ListReading", "PresenceReading", "parser", "run"]


class PresenceReading:
    """Presence documents as lines; one that says the same as the one before makes none."""

    event = "presence"
    media_type = MEDIA_TYPE

    def __init__(self) -> None:
        self._last = ""

    def read(self, body: bytes) -> list[str]:
        """A line, or none; raises DocumentError."""
        presence = parse_presence(body)
        line = f"{shown(presence.entity)}  {presence_line(presence)}"
        if line == self._last:
            return []
        self._last = line
        return [line]


class ListReading:
    """The presence of those in a list as lines; a resource that says the same makes none."""

    event = "presence"
    media_type = MEDIA_TYPE
    lists = True

    def __init__(self) -> None:
        self._table = ListTable()
        self._last: dict[str, str] = {}

    def read(self, body: bytes) -> list[str] | None:
        """A line for each resource that has changed; raises DocumentError."""
        rows = self._table.take(body)
        if rows is None:
            return None
        lines = []
        for row in rows:
            line = shown(f"{row.name or row.uri}  ") + _row_line(row)
            if self._last.get(row.uri) != line:
                self._last[row.uri] = line
                lines.append(line)
        return lines


def _row_line(row: ListRow) -> str:
    if row.state == "active" and row.body:
        return presence_line(parse_presence(row.body))
    return shown("  ".join([row.state or "unknown", row.reason]).rstrip())


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack watch``."""
    top = Parser(
        prog="simplestack watch",
        description="Prints a user's presence, then every change, one line each.",
    )
    top.add_argument("target", type=user, metavar="USER", help="such as sip:bob@example.com")
    top.add_argument(
        "--list", action="store_true", help="USER is a list: a line for everybody in it"
    )
    add_watching(top)
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack watch``."""
    options = parser().parse_args(arguments[1:])
    reading = ListReading() if options.list else PresenceReading()
    return perform("watch", options, lambda each: follow(each, options, options.target, reading))
