"""The report: one HTML page, with its plots in it."""

import html
import io
from collections.abc import Callable
from math import floor, log10
from typing import Any

from simplestack.stone.comparison import paired, rows_of
from simplestack.stone.errors import StoneError
from simplestack.stone.histogram import Times
from simplestack.stone.results import calibration_line, closing_lines

__all__ = ["page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
h1 { font-size: 1.6em } h2 { font-size: 1.2em; margin-top: 2em }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } .bound { color: #a00; font-weight: bold }
pre { background: #f4f4f4; padding: 1em; overflow-x: auto } svg { max-width: 100%; height: auto }
"""
_COLOURS = ("#1f5fa8", "#c0501f", "#2b8a3e", "#8a2b7a")


def page(results: list[dict[str, Any]]) -> str:
    """The page of one result, or of two side by side.  Raises StoneError without matplotlib."""
    names = [result["title"] for result in results]
    if len(set(names)) < len(names):
        names = [f"{name} ({letter})" for name, letter in zip(names, "AB", strict=False)]
    title = " and ".join(names)
    parts = [
        f"<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>",
        f"<style>{_STYLE}</style><h1>{html.escape(title)}</h1>",
    ]
    for name, result in zip(names, results, strict=True):
        parts.append(_heading(name, result))
    parts.append(
        "<h2>Success against load, with CPU and memory</h2>" + _drawn(_success, names, results)
    )
    parts.append("<h2>Throughput against load</h2>" + _drawn(_throughput, names, results))
    parts.append("<h2>Time from PUBLISH to NOTIFY, or to the answer</h2>")
    parts.append(_drawn(_latency, names, results))
    parts.append("<h2>Figures</h2>")
    if len(results) == 1:
        # A table of many steps would be too wide to read.
        steps = results[0]["steps"]
        for at in range(0, len(steps), 6):
            parts.append(
                _table(
                    [""],
                    [row[: len(steps[at : at + 6]) + 1] for row in rows_of(steps[at : at + 6])],
                )
            )
    else:
        for pair in paired(results[0]["steps"], results[1]["steps"]):
            parts.append(_table(["", *names, ""], rows_of(list(pair))))
    for name, result in zip(names, results, strict=True):
        parts.append(_errors(name, result))
    for name, result in zip(names, results, strict=True):
        parts.append(
            f"<h2>Configuration of {html.escape(name)}</h2><pre>{_configuration(result)}</pre>"
        )
    return "\n".join(parts) + "\n"


def _heading(name: str, result: dict[str, Any]) -> str:
    machine, load = result["machine"], result["configuration"]["load"]
    server = result["configuration"]["server"]
    said = [
        f"{load['scenario']} over {server['transport']}, {load['presentities']} presentities, "
        f"{result['subscriptions']} subscriptions; {result['date']}; {machine['cores']} × "
        f"{machine['cpu']}, {machine['system']}",
        *closing_lines(result),
    ]
    if result["calibration"]:
        said.append(calibration_line(result["calibration"]))
    bound = [step for step in result["steps"] if step["generator"]["bound"]]
    text = "".join(f"<p>{html.escape(line)}</p>" for line in said)
    if bound:
        rates = ", ".join(f"{step['rate']:g}" for step in bound)
        text += f"<p class='bound'>At {rates}/s the generator was the bound, not the server.</p>"
    return f"<h2>{html.escape(name)}</h2>{text}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    cells = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{cells}</tr>{lines}</table>"


def _errors(name: str, result: dict[str, Any]) -> str:
    rows = [
        [f"{step['rate']:g}/s", what, f"{number:,}"]
        for step in result["steps"]
        for what, number in step["errors"].items()
    ]
    if not rows:
        return f"<p>{html.escape(name)}: no errors.</p>"
    return f"<h2>Errors of {html.escape(name)}</h2>" + _table(
        ["rate", "what", "how often"], rows[:60]
    )


def _configuration(result: dict[str, Any]) -> str:
    lines = []
    for section, values in result["configuration"].items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {value!r}" for key, value in values.items()]
        lines.append("")
    return html.escape("\n".join(lines).rstrip())


# -- plots -------------------------------------------------------------------------------------

Draw = Callable[[Any, list[str], list[dict[str, Any]]], None]


def _drawn(draw: Draw, names: list[str], results: list[dict[str, Any]]) -> str:
    try:
        import matplotlib as library
    except ImportError:
        raise StoneError("the report needs the extra: pip install 'simplestack[stone]'") from None
    # No display, and the same octets for the same figures.
    library.use("svg")
    library.rcParams["svg.hashsalt"] = "stone"
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    draw(figure, names, results)
    made = io.StringIO()
    figure.savefig(made, format="svg", metadata={"Date": None})
    return made.getvalue().partition("<svg")[1] + made.getvalue().partition("<svg")[2]


def _steps(result: dict[str, Any]) -> list[dict[str, Any]]:
    return sorted(result["steps"], key=lambda step: float(step["rate"]))


def _success(figure: Any, names: list[str], results: list[dict[str, Any]]) -> None:
    axes, memory = figure.subplots(1, 2)
    busy = axes.twinx()
    for name, result, colour in zip(names, results, _COLOURS, strict=False):
        steps = _steps(result)
        rates = [step["rate"] for step in steps]
        axes.plot(rates, [step["success"] * 100 for step in steps], "o-", color=colour, label=name)
        watched = [step for step in steps if step["server"]]
        if watched:
            at = [step["rate"] for step in watched]
            busy.plot(
                at, [step["server"]["busy"] for step in watched], "x--", color=colour, alpha=0.6
            )
            memory.plot(
                at,
                [step["server"]["memory"] / 1e6 for step in watched],
                "s-",
                color=colour,
                label=name,
            )
    axes.set(xlabel="operations per second asked for", ylabel="success, %")
    axes.set_ylim(top=101)
    busy.set(ylabel="server CPU, cores (dashed)")
    busy.set_ylim(bottom=0)
    memory.set(xlabel="operations per second asked for", ylabel="server memory, MB")
    memory.set_ylim(0, memory.dataLim.ymax * 1.1 if memory.lines else None)
    _legend(axes, results)
    _legend(memory, results)


def _throughput(figure: Any, names: list[str], results: list[dict[str, Any]]) -> None:
    operations, messages = figure.subplots(1, 2)
    for name, result, colour in zip(names, results, _COLOURS, strict=False):
        steps = _steps(result)
        rates = [step["rate"] for step in steps]
        operations.plot(
            rates, [step["operations_per_second"] for step in steps], "o-", color=colour, label=name
        )
        operations.plot(rates, rates, ":", color="#999")
        messages.plot(
            rates, [step["messages_per_second"] for step in steps], "o-", color=colour, label=name
        )
    operations.set(xlabel="operations per second asked for", ylabel="operations per second done")
    messages.set(xlabel="operations per second asked for", ylabel="messages per second, both ways")
    messages.set_ylim(bottom=0)
    _legend(operations, results)
    _legend(messages, results)


def _latency(figure: Any, names: list[str], results: list[dict[str, Any]]) -> None:
    from matplotlib.ticker import NullLocator

    axes = figure.subplots()
    percents = [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99]
    places = [1 / (1 - percent / 100) for percent in percents]
    for name, result, colour in zip(names, results, _COLOURS, strict=False):
        steps = [step for step in _steps(result) if _histogram(step)]
        for at, step in enumerate(steps):
            times = Times(_histogram(step))
            label = (
                f"{name}, {step['rate']:g}/s"
                if len(steps) <= 8 or at in (0, len(steps) - 1)
                else None
            )
            axes.plot(
                places,
                [max(times.at(percent), 1e-6) * 1000 for percent in percents],
                "-",
                color=colour,
                alpha=0.25 + 0.75 * (at + 1) / len(steps),
                label=label,
            )
    axes.set(xlabel="percentile", ylabel="milliseconds", xscale="log", yscale="log")
    axes.set_xticks(places, [f"{percent:g}" for percent in percents], fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    if axes.lines:
        # From one power of ten to another: those have labels.
        low, high = axes.dataLim.intervaly
        axes.set_ylim(10 ** floor(log10(low)), 10 ** (floor(log10(high)) + 1))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(fontsize=8)


def _histogram(step: dict[str, Any]) -> str:
    if step["notify"]["times"]["count"]:
        found: str = step["notify"]["times"]["histogram"]
        return found
    for each in step["operations"].values():
        if each["times"]:
            answers: str = each["times"]["histogram"]
            return answers
    return ""


def _legend(axes: Any, results: list[dict[str, Any]]) -> None:
    axes.grid(alpha=0.3)
    if len(results) > 1 and axes.lines:
        axes.legend(fontsize=8)
