"""What is going on, on a terminal, while it goes on."""

import sys
import time
from contextlib import AbstractContextManager
from typing import IO, Any

from simplestack.stone.controller import Controller
from simplestack.stone.errors import StoneError
from simplestack.stone.processes import Processes

__all__ = ["Progress"]

_EVERY = 0.25
#: Seconds over which rates are taken.
_RATE_EVERY = 1.0
_FIELDS = ("messages", "started", "succeeded", "told", "late", "pending", "errors")


class Progress(AbstractContextManager["Progress"]):
    """A line that changes; nothing where the output is no terminal."""

    def __init__(self, watch: list[str], stream: IO[str] | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live: Any = None
        self._watch = watch
        self._watched: Processes | None = None
        self._drawn = 0.0
        self._messages = (0.0, 0)
        self._rate = 0.0
        self._used = (0.0, 0.0)
        self._server = ""

    def __enter__(self) -> "Progress":
        if self._stream.isatty():
            try:
                from rich.console import Console
                from rich.live import Live
            except ImportError:
                return self
            self._live = Live(
                console=Console(file=self._stream, highlight=False),
                transient=True,
                auto_refresh=False,
            )
            self._live.__enter__()
            if self._watch:
                try:
                    self._watched = Processes(self._watch)
                except StoneError:
                    # The run says it, and ends.
                    self._watched = None
        return self

    def __exit__(self, *raised: object) -> None:
        if self._live is not None:
            self._live.__exit__(*raised)

    def say(self, lines: list[str]) -> None:
        """Print what stays."""
        if self._live is not None:
            self._live.update("", refresh=True)
        print("\n".join(lines), flush=True)

    def tick(self, controller: Controller) -> None:
        """Draw, now and then."""
        now = time.monotonic()
        if self._live is None or now - self._drawn < _EVERY:
            return
        self._drawn = now
        self._live.update(self._said(controller, now), refresh=True)

    def _said(self, controller: Controller, now: float) -> str:
        sums = {
            name: sum(int(peer.progress.get(name, 0)) for peer in controller.peers)
            for name in _FIELDS
        }
        then, before = self._messages
        if now - then >= _RATE_EVERY or sums["messages"] < before:
            self._rate = max(sums["messages"] - before, 0) / (now - then)
            self._messages = (now, sums["messages"])
        lines = [f"[bold]{controller.stage}[/bold]"]
        if any(peer.progress for peer in controller.peers):
            lines.append(
                f"{self._rate:,.0f} messages/s   "
                f"{sums['succeeded']:,} of {sums['started']:,} operations   "
                f"{sums['told']:,} NOTIFYs   {sums['pending']:,} under way   "
                f"[red]{sums['late'] + sums['errors']:,} late or failed[/red]"
            )
        if self._watched is not None:
            if now - self._used[0] >= _RATE_EVERY:
                usage = self._watched.usage()
                then, used = self._used
                if then:
                    self._server = (
                        f"server {(usage.cpu - used) / (now - then):.0%} of a core, "
                        f"{usage.memory / 1e6:,.0f} MB"
                    )
                self._used = (now, usage.cpu)
            lines.append(self._server)
        return "\n".join(lines)
