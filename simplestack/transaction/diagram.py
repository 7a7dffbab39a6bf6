"""Draws the state machines: ``python -m simplestack.transaction.diagram docs/architecture/diagrams``.

Each machine becomes a page with a Mermaid diagram of what changes or does something, and a table
of every state and event.
"""

from __future__ import annotations

import sys
from pathlib import Path

from simplestack.transaction.states import MACHINES, Event, Machine, Row, State

__all__ = ["file_name", "main", "page"]

_LABELS = {
    Event.PROVISIONAL: "1xx",
    Event.SUCCESS: "2xx",
    Event.FAILURE: "300-699",
    Event.REQUEST: "request again",
    Event.ACK: "ACK",
    Event.CANCEL: "CANCEL",
    Event.USER_100: "100 from TU",
    Event.USER_100_EARLY: "early 100 from TU",
    Event.USER_PROVISIONAL: "101-199 from TU",
    Event.USER_SUCCESS: "2xx from TU",
    Event.USER_FAILURE: "300-699 from TU",
    Event.USER_408: "408 from TU",
    Event.TRYING_DUE: "100 due",
    Event.GUARD: "guard",
    Event.TRANSPORT_ERROR: "transport error",
}


def _event(event: Event) -> str:
    # TIMER_A is "timer A".
    return _LABELS.get(event) or f"timer {event.name[-1]}"


def _state(state: State) -> str:
    return state.name.capitalize()


def _actions(row: Row) -> str:
    return ", ".join([action.value for action in row.actions])


def _diagram(machine: Machine) -> list[str]:
    lines = [
        "stateDiagram-v2",
        f"    [*] --> {_state(machine.initial.state)}: {_actions(machine.initial)}",
    ]
    edges: dict[tuple[State, Row], list[str]] = {}
    for (state, event), row in machine.table.items():
        if row != Row((), state):
            edges.setdefault((state, row), []).append(_event(event))
    for (state, row), events in edges.items():
        label = " or ".join(events) + (f" / {_actions(row)}" if row.actions else "")
        lines.append(f"    {_state(state)} --> {_state(row.state)}: {label}")
    lines.append("    Terminated --> [*]")
    return lines


def _table(machine: Machine) -> list[str]:
    states = machine.states
    lines = [
        "| event | " + " | ".join([_state(state) for state in states]) + " |",
        "|---" * (len(states) + 1) + "|",
    ]
    for event in machine.events:
        cells = [_event(event)]
        for state in states:
            row = machine.table[state, event]
            parts = [_actions(row)] if row.actions else []
            if row.state is not state:
                parts.append(f"→ **{_state(row.state)}**")
            cells.append(" ".join(parts) or "–")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def page(machine: Machine) -> str:
    """The page of one machine, as Markdown."""
    name = machine.name[0].upper() + machine.name[1:]
    return "\n".join(
        [
            f"# {name} transaction",
            "",
            f"{machine.section}. Drawn from `simplestack/transaction/states.py` by",
            "`python -m simplestack.transaction.diagram`; do not edit.",
            "",
            "```mermaid",
            *_diagram(machine),
            "```",
            "",
            "Every state and event; – is ignored.",
            "",
            *_table(machine),
            "",
        ]
    )


def file_name(machine: Machine) -> str:
    """The name of the file for a machine's page."""
    return machine.name.lower().replace(" ", "-") + ".md"


def main(arguments: list[str]) -> int:
    """Write all pages into a directory; returns the exit status."""
    if len(arguments) != 1:
        print("usage: python -m simplestack.transaction.diagram DIRECTORY", file=sys.stderr)
        return 2
    directory = Path(arguments[0])
    directory.mkdir(parents=True, exist_ok=True)
    for machine in MACHINES:
        (directory / file_name(machine)).write_text(page(machine), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
