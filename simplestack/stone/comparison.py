"""Two results side by side."""

from collections.abc import Callable
from typing import Any

__all__ = ["compared", "paired", "rows_of"]


def _times(step: dict[str, Any]) -> dict[str, Any]:
    """The times that matter most in a step: of NOTIFYs, or else of the answers."""
    if step["notify"]["times"]["count"]:
        found: dict[str, Any] = step["notify"]["times"]
        return found
    for each in step["operations"].values():
        if each["times"]:
            answers: dict[str, Any] = each["times"]
            return answers
    return {}


def _server(step: dict[str, Any], name: str, factor: float) -> float | None:
    value = (step["server"] or {}).get(name)
    return None if value is None else value * factor


def _time(name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda step: _times(step)[name] * 1000 if _times(step) else None


#: What is compared: name, the figure of a step, its format.
_FIGURES: tuple[tuple[str, Callable[[dict[str, Any]], float | None], str], ...] = (
    ("rate /s", lambda step: step["rate"], "{:,.5g}"),
    ("success %", lambda step: step["success"] * 100, "{:.3f}"),
    ("operations/s", lambda step: step["operations_per_second"], "{:,.0f}"),
    ("messages/s", lambda step: step["messages_per_second"], "{:,.0f}"),
    ("p50 ms", _time("p50"), "{:,.2f}"),
    ("p90 ms", _time("p90"), "{:,.2f}"),
    ("p99 ms", _time("p99"), "{:,.2f}"),
    ("p99.9 ms", _time("p999"), "{:,.2f}"),
    ("server cores", lambda step: _server(step, "busy", 1), "{:.2f}"),
    ("server µs/operation", lambda step: _server(step, "cpu_per_operation", 1e6), "{:,.0f}"),
    ("server MB", lambda step: _server(step, "memory", 1e-6), "{:,.0f}"),
    ("sent again", lambda step: step["retransmissions"]["sent"], "{:,.0f}"),
    ("errors", lambda step: sum(step["errors"].values()), "{:,.0f}"),
)


def rows_of(steps: list[dict[str, Any] | None]) -> list[list[str]]:
    """A row for each figure: its name, what it is in each step, and how far the last is off the first."""
    rows = []
    for name, figure, layout in _FIGURES:
        values = [None if step is None else figure(step) for step in steps]
        if all(value is None for value in values):
            continue
        row = [name, *("–" if value is None else layout.format(value) for value in values)]
        if len(values) > 1:
            first, last = values[0], values[-1]
            row.append(f"{last / first - 1:+.1%}" if first and last is not None else "")
        rows.append(row)
    return rows


def paired(
    a: list[dict[str, Any]], b: list[dict[str, Any]]
) -> list[tuple[dict[str, Any] | None, dict[str, Any] | None]]:
    """The steps with the same rate together, in the order of rates; a rate that was run twice last counts."""
    first, second = ({step["rate"]: step for step in steps} for steps in (a, b))
    if len(first) == len(second) == 1:
        return [(a[-1], b[-1])]
    return [(first.get(rate), second.get(rate)) for rate in sorted(first.keys() | second.keys())]


def compared(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """The lines of a comparison."""
    lines = []
    for name, value in (("A", a), ("B", b)):
        lines.append(f"{name}: {value['title']}, {value['date']}")
        if value.get("interrupted"):
            lines.append(f"{name}: cut short: {value['interrupted']}")
    for steps in paired(a["steps"], b["steps"]):
        rows = [["", "A", "B", "B to A"], *rows_of(list(steps))]
        widths = [max(len(row[at]) for row in rows) for at in range(4)]
        lines.append("")
        lines += [
            "  ".join(
                cell.ljust(width) if not at else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
    for name, value in (("A", a), ("B", b)):
        if value["memory_per_subscription"] is not None:
            lines.append(f"{name}: {value['memory_per_subscription']:,.0f} octets per subscription")
        if value["knee"]:
            lines.append(f"{name}: knee at {value['knee']['rate']:g}/s")
    return lines
