"""``simplestack watch``: prints a user's presence, and then every change."""

import argparse

from simplestack.command.arguments import Parser, user
from simplestack.command.lines import presence_line
from simplestack.command.session import perform, shown
from simplestack.command.watching import add_watching, follow
from simplestack.documents.pidf import MEDIA_TYPE, parse_presence

__all__ = ["PresenceReading", "parser", "run"]


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


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack watch``."""
    top = Parser(
        prog="simplestack watch",
        description="Prints a user's presence, then every change, one line each.",
    )
    top.add_argument("target", type=user, metavar="USER", help="such as sip:bob@example.com")
    add_watching(top)
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack watch``."""
    options = parser().parse_args(arguments[1:])
    reading = PresenceReading()
    return perform("watch", options, lambda each: follow(each, options, options.target, reading))
