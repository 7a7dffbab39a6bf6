"""What a run prints, and the same as JSON."""

import json
import platform
import pstats
import time
from io import StringIO
from pathlib import Path
from typing import Any

import twisted
from tests.bench.figures import Figures, MemoryFigures, Row

__all__ = [
    "bound",
    "core_lines",
    "environment",
    "heading",
    "memory_lines",
    "profile_text",
    "ratio_lines",
    "row_lines",
    "to_json",
    "xcap_lines",
]

#: From here on a process counts as busy all the time.
_FULL = 0.9

#: The part of a core that others may use without a word.
_DISTURBED = 0.15
#: The part by which the multiples of two rounds may differ without a word.
_UNSTEADY = 0.15

_LINE = "{:<30} {:>8} {:>9} {:>9} {:>7} {:>7}  {:<4} {:>9} {:>6} {:>6}"


def environment() -> dict[str, str]:
    """The machine and the versions that the figures belong to."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = sum(
        line.startswith("processor") for line in Path("/proc/cpuinfo").read_text().splitlines()
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{model} × {cores}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "twisted": twisted.__version__,
    }


def heading() -> str:
    """The head of the table."""
    columns = ("operation", "ops/s", "server µs", "bare µs", "times", "at most", "", "gen. µs")
    return _LINE.format(*columns, "server", "gen.")


def bound(figures: Figures) -> str:
    """What kept the rate from being higher."""
    if figures.server_busy >= _FULL:
        return "server"
    if figures.others_busy > _DISTURBED:
        return "others"
    return "generator" if figures.generator_busy >= _FULL else "waiting"


def row_lines(row: Row, bare: Figures | None, server: Figures, name: str = "server") -> list[str]:
    """The row, and below it whatever must be known to read it rightly."""
    times = verdict = ""
    if bare is not None:
        multiple = server.multiple
        times = f"{multiple:.1f} ×"
        verdict = "yes" if multiple <= row.target else "NO"
    lines = [
        _LINE.format(
            row.title,
            f"{server.rate:,.0f}",
            f"{server.server_us:.1f}",
            "" if bare is None else f"{bare.server_us:.1f}",
            times,
            f"{row.target:g} ×",
            verdict,
            f"{server.generator_us:.1f}",
            f"{server.server_busy:.0%}",
            f"{server.generator_busy:.0%}",
        )
    ]
    for measured, figures in ((name, server), ("bare responder", bare)):
        if figures is None:
            continue
        if bound(figures) == "generator":
            lines.append(
                f"    the generator was the bound of the {measured}'s rate: "
                f"{figures.generator_busy:.0%} of a core against {figures.server_busy:.0%}; "
                f"{figures.rate:,.0f}/s is not all that it can do"
            )
        elif bound(figures) == "waiting":
            lines.append(
                f"    neither the {measured} ({figures.server_busy:.0%} of a core) nor the generator "
                f"({figures.generator_busy:.0%}) was the bound of its rate: more in flight "
                f"(now {figures.window}) may raise it"
            )
        lines += [f"    {measured}: {line}" for line in _incidents(figures)]
    return lines


def ratio_lines(row: Row, other: Figures, figures: Figures, what: str) -> list[str]:
    """A row whose target is a multiple of the same at another server: without rules, over UDP."""
    multiple = figures.multiple
    line = _LINE.format(
        row.title,
        f"{figures.rate:,.0f}",
        f"{figures.server_us:.1f}",
        "",
        f"{multiple:.2f} ×",
        f"{row.target:g} ×",
        "yes" if multiple <= row.target else "NO",
        f"{figures.generator_us:.1f}",
        f"{figures.server_busy:.0%}",
        f"{figures.generator_busy:.0%}",
    )
    lines = [line, f"    {row.name}: × is of the same {what}, {other.server_us:.1f} µs"]
    for name, each in ((row.name, figures), (what, other)):
        lines += [f"    {name}: {incident}" for incident in _incidents(each)]
    return lines


def core_lines(row: Row, figures: Figures) -> list[str]:
    """The row of messages on one core: each PUBLISH, each NOTIFY, and the answers to them."""
    each = 2 * (1 + row.watchers)
    # What the core does all the time, where the generator or the disk was waited for.
    able = each * 1e6 / figures.server_us
    rate = each * figures.rate
    line = _LINE.format(
        row.title,
        f"{rate:,.0f}",
        f"{figures.server_us / each:.1f}",
        "",
        "",
        f"{row.target:,.0f}",
        "yes" if max(rate, able) >= row.target else "NO",
        f"{figures.generator_us / each:.1f}",
        f"{figures.server_busy:.0%}",
        f"{figures.generator_busy:.0%}",
    )
    said = f"    all in messages; a core that is busy all the time does {able:,.0f} messages/s"
    return [line, said, *[f"    server: {incident}" for incident in _incidents(figures)]]


def xcap_lines(row: Row, figures: Figures) -> list[str]:
    """A row of XCAP, whose target is a rate on one core."""
    # What one core does all the time, where the generator or the disk was waited for.
    able = 1e6 / figures.server_us
    verdict = "yes" if max(figures.rate, able) >= row.target else "NO"
    line = _LINE.format(
        row.title,
        f"{figures.rate:,.0f}",
        f"{figures.server_us:.1f}",
        "",
        "",
        f"{row.target:,.0f}/s",
        verdict,
        f"{figures.generator_us:.1f}",
        f"{figures.server_busy:.0%}",
        f"{figures.generator_busy:.0%}",
    )
    return [line, *[f"    server: {each}" for each in _incidents(figures)]]


def _incidents(figures: Figures) -> list[str]:
    counts = (
        (figures.lost, "not answered within 2 s, sent again"),
        (figures.dropped, "datagrams found its socket buffer full: fewer in flight would help"),
        (figures.repeated, "NOTIFYs came more than once"),
        (figures.strays, "NOTIFYs that no request in flight explains"),
        (figures.challenged, "challenged again"),
    )
    said = [f"{count:,} {what}" for count, what in counts if count]
    if figures.others_busy > _DISTURBED:
        said.append(
            f"other processes used {figures.others_busy:.0%} of a core meanwhile: measure again "
            f"on an idle machine"
        )
    multiples = figures.multiples
    if multiples and max(multiples) > min(multiples) * (1 + _UNSTEADY):
        said.append(
            f"{min(multiples):.2f} to {max(multiples):.2f} × in {len(multiples)} rounds: the speed "
            f"of the machine changes"
        )
    return said + [f"{count:,} × {what}" for what, count in figures.failures.items()]


def memory_lines(row: Row, figures: MemoryFigures) -> list[str]:
    """The memory row."""
    each, second, most = figures.each, figures.each_of_second_half, int(row.target)
    verdict = "yes" if each.rss <= most else "NO"
    peak = (figures.at_once.rss - figures.before.rss) // figures.subscriptions
    return [
        f"memory per subscription at {figures.subscriptions:,}: {each.rss:,} octets RSS "
        f"(at most {most:,}: {verdict}), {each.pss:,} PSS, {each.uss:,} USS",
        f"    {second.rss:,} RSS from half to all; {peak:,} RSS while the last transactions "
        f"still lived; {figures.settled.rss / 2**20:,.0f} MiB RSS in all",
    ]


def profile_text(name: str, most: int = 40) -> str:
    """The functions that took longest themselves."""
    text = StringIO()
    pstats.Stats(name, stream=text).strip_dirs().sort_stats("tottime").print_stats(most)
    return text.getvalue()


def to_json(
    rows: list[tuple[Row, Figures | None, Figures]],
    memory: tuple[Row, MemoryFigures] | None,
    named: dict[str, str],
) -> str:
    """Everything measured, for machines."""

    def figures_of(figures: Figures | None) -> dict[str, Any] | None:
        if figures is None:
            return None
        return {**figures._asdict(), "rate": figures.rate, "bound": bound(figures)}

    document: dict[str, Any] = {"environment": named, "rows": {}}
    for row, bare, server in rows:
        document["rows"][row.name] = {
            "title": row.title,
            "at_most": row.target,
            # Of the bare responder; of the row of rules, of the same without rules.
            "multiple": None if bare is None else server.multiple,
            "server": figures_of(server),
            "bare": figures_of(bare),
        }
    if memory is not None:
        row, figures = memory
        document["memory"] = {
            "subscriptions": figures.subscriptions,
            "at_most": row.target,
            "each": figures.each._asdict(),
            "each_of_second_half": figures.each_of_second_half._asdict(),
            "before": figures.before._asdict(),
            "at_once": figures.at_once._asdict(),
            "settled": figures.settled._asdict(),
        }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
