"""``python -m tests.bench``: measure, and print the table."""

import argparse
import os
import sys
from pathlib import Path

from tests.bench.account import ALGORITHMS
from tests.bench.figures import Figures, MemoryFigures, Plan, Row
from tests.bench.load import LoadError
from tests.bench.ratios import RATIOS, beside, run_core, run_profiled, run_ratio
from tests.bench.report import (
    core_lines,
    environment,
    heading,
    memory_lines,
    profile_text,
    ratio_lines,
    row_lines,
    to_json,
    xcap_lines,
)
from tests.bench.rows import ROWS, run_bare, run_memory, run_row, run_rules, run_xcap
from tests.bench.served import ServerError


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Operations per second and server CPU microseconds per operation, "
        "beside a bare Twisted responder measured in the same run.",
    )
    add = parser.add_argument
    add(
        "--only",
        action="append",
        default=[],
        metavar="ROW",
        help="measure this row, or all whose name begins so; repeatable, or with commas: "
        + ", ".join(row.name for row in (*ROWS, *RATIOS))
        + "; those that compare transports, databases and sizes are measured where they are named",
    )
    add("--seconds", type=float, default=5.0, help="how long each row is measured (%(default)s)")
    add(
        "--rounds",
        type=int,
        default=5,
        help="turns that it has, by turns with what it is compared with (%(default)s)",
    )
    add("--warm", type=float, default=2.0, help="warm-up before, in seconds (%(default)s)")
    add("--users", type=int, default=500, help="users with credentials (%(default)s)")
    add("--window", type=int, help="requests in flight, in place of each row's own")
    add("--algorithm", choices=ALGORITHMS, help="digest algorithm; the first offered by default")
    add(
        "--store",
        metavar="URL",
        help="a SQLAlchemy URL of an empty database, emptied after each row; "
        "SQLite in a new directory by default",
    )
    add(
        "--server-command",
        metavar="COMMAND",
        help="start the server so; {port}, {xcap}, {store} and {domain} are filled in",
    )
    add("--no-users", action="store_true", help="the server has its users (u00000 … secret-0 …)")
    add("--no-rules", action="store_true", help="put no presence rules")
    add("--no-bare", action="store_true", help="leave the bare responder out")
    add("--bare-only", action="store_true", help="measure the bare responder alone")
    add("--no-pin", action="store_true", help="let the kernel place server and generator")
    add("--many", type=int, default=100_000, help="users of the rows of growth (%(default)s)")
    add("--subscriptions", type=int, default=20_000, help="of the memory row (%(default)s)")
    add(
        "--settle",
        type=float,
        default=35.0,
        help="seconds to wait before memory is read, until transactions are gone (%(default)s)",
    )
    add("--json", type=Path, metavar="FILE", help="write everything measured there too")
    add("--profile", action="store_true", help="run the server under cProfile, print the top")
    add("--keep", action="store_true", help="keep the directories of database and log")
    return parser


def _chosen(names: list[str]) -> list[Row]:
    """The rows of these names; a name that no row has stands for all that begin with it."""
    wanted = [name for value in names for name in value.split(",") if name]
    rows = (*ROWS, *RATIOS) if wanted else ROWS
    known = {row.name for row in rows}
    return [
        row
        for row in rows
        if not wanted
        or row.name in wanted
        or any(row.name.startswith(name) for name in wanted if name not in known)
    ]


def _pin(server: bool) -> set[int] | None:
    cpus = sorted(os.sched_getaffinity(0))
    if not server or len(cpus) < 2:
        return None
    os.sched_setaffinity(0, {cpus[-1]})
    return set(cpus[:-1])


def main() -> int:
    """Measure what the command line asks for."""
    parser = _arguments()
    options = parser.parse_args()
    chosen = _chosen(options.only)
    if not chosen:
        parser.error(f"no row is called {', '.join(options.only)}")
    if (
        options.users < 200
        or options.seconds <= 0
        or options.subscriptions < 2
        or options.rounds < 1
    ):
        parser.error("at least 200 users, 2 subscriptions, a round and some time are needed")
    plan = Plan(
        seconds=options.seconds,
        warm=options.warm,
        rounds=options.rounds,
        users=options.users,
        window=options.window,
        algorithm=options.algorithm,
        store=options.store,
        server_command=options.server_command,
        create_users=not options.no_users,
        put_rules=not options.no_rules,
        bare=not options.no_bare,
        subscriptions=options.subscriptions,
        many=options.many,
        settle=options.settle,
        profile=options.profile,
        keep=options.keep,
        server_cpus=_pin(not options.no_pin),
    )
    named = environment()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a text stream
    print(", ".join(f"{name} {value}" for name, value in named.items()))
    rows: list[tuple[Row, Figures | None, Figures]] = []
    memory: tuple[Row, MemoryFigures] | None = None
    failed = False
    print(heading())
    for row in chosen:
        try:
            if row.name == "memory":
                if not (options.bare_only or options.profile):
                    memory = row, run_memory(plan, row)
                    print("\n".join(memory_lines(*memory)))
                continue
            if row.name.startswith("xcap"):
                if not options.bare_only:
                    figures = run_xcap(plan, row)
                    rows.append((row, None, figures))
                    print("\n".join(xcap_lines(row, figures)))
                    if figures.profile is not None:
                        print(profile_text(figures.profile))
                continue
            if row.name == "rules":
                if not (options.bare_only or options.profile or options.server_command):
                    without, figures = run_rules(plan, row)
                    rows.append((row, without, figures))
                    print("\n".join(ratio_lines(row, without, figures, "without rules")))
                continue
            if row in RATIOS or row.name == "core":
                if options.profile and row.name.startswith(("tcp", "tls")):
                    figures = run_profiled(plan, row)
                    print("\n".join(row_lines(row, None, figures)))
                    print(profile_text(str(figures.profile)))
                elif options.bare_only or options.profile or options.server_command:
                    pass
                elif row.name == "core":
                    figures = run_core(plan, row)
                    rows.append((row, None, figures))
                    print("\n".join(core_lines(row, figures)))
                else:
                    other, figures = run_ratio(plan, row)
                    rows.append((row, other, figures))
                    print("\n".join(ratio_lines(row, other, figures, beside(plan, row))))
                continue
            if options.bare_only:
                figures = run_bare(plan, row)
                lines = row_lines(row, None, figures, "bare responder")
            else:
                bare, figures = run_row(plan, row)
                rows.append((row, bare, figures))
                lines = row_lines(row, bare, figures)
            print("\n".join(lines))
            if figures.profile is not None:
                print(f"under the profiler, so slower; all of it in {figures.profile}")
                print(profile_text(figures.profile))
        except (LoadError, ServerError) as error:
            failed = True
            print(f"{row.title}: not measured: {error}", file=sys.stderr)
    if rows:
        algorithms = {figures.algorithm for _, _, figures in rows}
        print(f"digest with {', '.join(sorted(algorithms))}; CPU in µs per operation")
    if options.json is not None:
        options.json.write_text(to_json(rows, memory, named), encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
