"""``simplestack watchers``: prints who watches me, and who wants to."""

import argparse

from simplestack.client.versions import Step, Versions
from simplestack.command.arguments import Parser
from simplestack.command.lines import watcher_line
from simplestack.command.session import perform, shown
from simplestack.command.watching import add_watching, follow
from simplestack.documents.watcherinfo import MEDIA_TYPE, Watcher, parse_watcherinfo

__all__ = ["WatcherReading", "parser", "run"]


class WatcherReading:
    """Watcher information as lines: one for each watcher whose status is not what it was."""

    event = "presence.winfo"
    media_type = MEDIA_TYPE

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self._versions = Versions()
        self._known: dict[tuple[str, str], Watcher] = {}
        self._told = False

    def read(self, body: bytes) -> list[str] | None:
        """The lines, None where a document was missed; raises DocumentError."""
        document = parse_watcherinfo(body)
        step = self._versions.take(document.version, document.state == "full")
        if step is Step.REFRESH:
            return None
        if step is Step.IGNORE:
            return []
        lines: list[str] = []
        named: set[tuple[str, str]] = set()
        for each in document.lists:
            for watcher in each.watchers:
                key = (each.package, watcher.id)
                named.add(key)
                before = self._known.get(key)
                if before is None or before[:4] != watcher[:4]:
                    lines.append(watcher_line(watcher, each.package))
                if watcher.status == "terminated":
                    self._known.pop(key, None)
                else:
                    self._known[key] = watcher
        if step is Step.REPLACE:
            for key in self._known.keys() - named:
                gone = self._known.pop(key)._replace(status="terminated", event="-")
                lines.append(watcher_line(gone, key[0]))
        if not self._told and not lines:
            lines.append(f"{shown(self._resource)}  has no watchers")
        self._told = True
        return lines


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack watchers``."""
    top = Parser(
        prog="simplestack watchers",
        description="Prints who watches your presence, then every change, one line each.",
    )
    add_watching(top)
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack watchers``."""
    options = parser().parse_args(arguments[1:])
    reading = WatcherReading(options.aor)
    return perform("watchers", options, lambda each: follow(each, options, options.aor, reading))
