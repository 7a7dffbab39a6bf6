"""``simplestack stone``: load for a SIP presence server, and what the server made of it."""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

from simplestack.command.arguments import Parser
from simplestack.stone.configuration import (
    SECTIONS,
    Configuration,
    from_values,
    options_of,
    read_toml,
)
from simplestack.stone.errors import ConfigurationError, InterruptedRunError, StoneError
from simplestack.stone.population import user_count
from simplestack.stone.scenarios import SCENARIOS

__all__ = ["configured", "parser", "run"]

#: The environment variable that has the controller's token where no argument does.
TOKEN = "SIMPLESTACK_STONE_TOKEN"


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack stone``."""
    top = Parser(prog="simplestack stone", description="Load for a SIP presence server, measured.")
    actions = top.add_subparsers(
        dest="action",
        required=True,
        metavar="COMMAND",
        title="commands",
        parser_class=Parser,
    )
    sub = actions.add_parser("run", help="run a scenario")
    _add_configuration(sub)
    sub = actions.add_parser("find", help="raise the rate until the server does not bear it")
    sub.add_argument(
        "--success", type=float, default=99.9, metavar="PERCENT", help="that must succeed: 99.9"
    )
    sub.add_argument(
        "--p99",
        type=float,
        metavar="SECONDS",
        help="within which 99 %% of the NOTIFYs must come; else --limit",
    )
    _add_configuration(sub)
    sub = actions.add_parser("compare", help="two results side by side")
    sub.add_argument("a", metavar="A", help="the JSON file of a run")
    sub.add_argument("b", metavar="B", help="that of another")
    sub.add_argument("--html", metavar="FILE", help="a page with both, and plots")
    sub = actions.add_parser("report", help="the page of a result")
    sub.add_argument("result", metavar="RESULT", help="the JSON file of a run")
    sub.add_argument("html", metavar="FILE", help="the page")
    sub = actions.add_parser("users", help="print the users that a run needs, and their passwords")
    _add_configuration(sub)
    sub = actions.add_parser("scenarios", help="print the scenarios, and who says their rates")
    sub = actions.add_parser("sink", help="answer everything: what a generator is measured against")
    sub.add_argument("--host", default="127.0.0.1", help="127.0.0.1")
    sub.add_argument("--port", type=int, default=5060, help="5060")
    sub.add_argument("--transport", choices=("udp", "tcp"), default="udp")
    sub.add_argument("--challenge", action="store_true", help="ask for credentials")
    for role, purpose in (
        ("loader", "register and publish for a controller elsewhere"),
        ("handler", "subscribe for a controller elsewhere"),
    ):
        sub = actions.add_parser(role, help=purpose)
        sub.add_argument("--controller", required=True, metavar="HOST:PORT", help="where it waits")
        sub.add_argument("--token", help=f"what it has said; else {TOKEN} in the environment")
    return top


def _add_configuration(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", nargs="?", help="a TOML file; options count more than it")
    for name, section in SECTIONS.items():
        group = sub.add_argument_group(f"[{name}]", section.__doc__)
        for field, kind in options_of(section):
            option = "--" + field.name.replace("_", "-")
            place: dict[str, Any] = {
                "dest": f"{name}.{field.name}",
                "default": None,
                "help": field.metadata["help"].replace("%", "%%"),
            }
            if kind is bool:
                group.add_argument(option, action=argparse.BooleanOptionalAction, **place)
            elif kind is list:
                each = float if field.name == "rates" else str
                group.add_argument(option, nargs="*", type=each, metavar="X", **place)
            else:
                group.add_argument(option, type=kind, metavar=kind.__name__.upper(), **place)


def configured(options: argparse.Namespace) -> Configuration:
    """What file and options say together.  Raises ConfigurationError."""
    values: dict[str, dict[str, Any]] = {}
    if options.file is not None:
        try:
            values = read_toml(Path(options.file).read_text("utf-8"))
        except (OSError, UnicodeDecodeError, ConfigurationError) as error:
            raise ConfigurationError(f"{options.file}: {error}") from None
    for name, section in SECTIONS.items():
        for field, _ in options_of(section):
            given = getattr(options, f"{name}.{field.name}")
            if given is not None:
                values.setdefault(name, {})[field.name] = given
    return from_values(values)


def run(arguments: list[str]) -> int:
    """Run ``simplestack stone …``: 0 done, 1 it could not be done, 2 arguments are wrong."""
    options = parser().parse_args(arguments[1:])
    try:
        _ACTIONS[options.action](options)
    except ConfigurationError as error:
        sys.stderr.write(f"simplestack stone {options.action}: {error}\n")
        return 2
    except StoneError as error:
        sys.stderr.write(f"simplestack stone {options.action}: {error}\n")
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    from simplestack.stone.calibration import calibrate, judged
    from simplestack.stone.finding import Bounds, Search
    from simplestack.stone.progress import Progress
    from simplestack.stone.results import calibration_line, closing_lines, lines_of
    from simplestack.stone.running import most_of, rates_of
    from simplestack.stone.running import run as run_it
    from simplestack.stone.surroundings import check_surroundings

    configuration = configured(options)
    check_surroundings(configuration)
    load = configuration.load
    search: Search | None = None
    if options.action == "find":
        if load.rates:
            raise ConfigurationError(
                "load.rates: find chooses its rates itself, from load.rate on; an empty --rates "
                "leaves out those of a file"
            )
        if not 0 < options.success <= 100:
            raise ConfigurationError(f"--success: {options.success:g} is no percentage")
        if options.p99 is not None and not 0 < options.p99 < inf:
            raise ConfigurationError(f"--p99: {options.p99:g} is no time")
        bounds = Bounds(options.success / 100, load.limit if options.p99 is None else options.p99)
        search = Search(load.rate, bounds, most_of(configuration))
    else:
        rates_of(configuration)

    def waiting(address: str, token: str) -> None:
        generator = configuration.generator
        sys.stderr.write(
            f"waiting for {generator.loaders} loaders and {generator.handlers} handlers; start them:\n"
            f"  {TOKEN}={token} simplestack stone loader --controller {address}\n"
            f"  {TOKEN}={token} simplestack stone handler --controller {address}\n"
        )

    with _ending(), Progress(configuration.server.watch) as progress:
        calibration = None
        if configuration.generator.calibrate and not configuration.generator.remote:
            calibration = calibrate(configuration, progress.tick)
            progress.say([calibration_line(calibration)])

        def stepped(step: dict[str, Any]) -> None:
            progress.say(lines_of(judged(step, calibration)))

        interrupted: InterruptedRunError | None = None
        try:
            result = run_it(
                configuration,
                search.rates if search else None,
                tick=progress.tick,
                stepped=stepped,
                waiting=waiting,
                calibration=calibration,
            )
        except InterruptedRunError as error:
            if not error.result["steps"]:
                raise
            interrupted, result = error, error.result
    if search and not interrupted:
        result["knee"] = search.knee(result["steps"])
    for line in closing_lines(result):
        print(line)
    _write(configuration.report.json, json.dumps(result, indent=1) + "\n")
    if configuration.report.html:
        from simplestack.stone.report import page

        _write(configuration.report.html, page([result]))
    if interrupted:
        raise interrupted


@contextmanager
def _ending() -> Iterator[None]:
    """Take what ends other programs as Ctrl-C, after which results are kept and the server is left clean."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            # What nohup ignores stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, usual in before.items():
            signal.signal(number, usual)


def _write(name: str, text: str) -> None:
    if name:
        try:
            Path(name).write_text(text, "utf-8")
        except OSError as error:
            raise StoneError(f"{name}: {error}") from None


def _result(name: str) -> dict[str, Any]:
    from simplestack.stone.running import FORMAT

    try:
        result: Any = json.loads(Path(name).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name}: {error}") from None
    if not isinstance(result, dict) or result.get("format") != FORMAT:
        raise ConfigurationError(f"{name} is no result of this version of simplestack stone")
    return result


@contextmanager
def _whole(*names: str) -> Iterator[None]:
    """Say of which files something was missing."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{' or '.join(names)} is no whole result: {type(error).__name__} {error}"
        ) from None


def _compare(options: argparse.Namespace) -> None:
    from simplestack.stone.comparison import compared

    results = [_result(options.a), _result(options.b)]
    with _whole(options.a, options.b):
        print("\n".join(compared(*results)))
    if options.html:
        from simplestack.stone.report import page

        with _whole(options.a, options.b):
            made = page(results)
        _write(options.html, made)


def _report(options: argparse.Namespace) -> None:
    from simplestack.stone.report import page

    result = _result(options.result)
    with _whole(options.result):
        made = page([result])
    _write(options.html, made)


def _users(options: argparse.Namespace) -> None:
    configuration = configured(options)
    users, domain = configuration.users, configuration.server.domain
    for number in range(users.first, users.first + user_count(configuration.load)):
        print(f"{users.user.format(number)}@{domain} {users.password.format(number)}")


def _scenarios(options: argparse.Namespace) -> None:
    from simplestack.stone.tally import KINDS

    for scenario in SCENARIOS.values():
        print(f"{scenario.name}: {scenario.text}")
        for habit in scenario.habits:
            whose = "each subscription" if habit.each_subscription else "each user"
            print(f"  {KINDS[habit.kind]} {habit.hourly:g} an hour, {whose}: {habit.source}")


def _sink(options: argparse.Namespace) -> None:
    from simplestack.stone.sink import open_sink, serve_sink

    with open_sink(options.host, options.port, options.transport) as made:
        serve_sink(made, options.challenge)


def _join(options: argparse.Namespace) -> None:
    from simplestack.stone.joining import serve

    token = options.token or os.environ.get(TOKEN, "")
    if not token:
        raise ConfigurationError(f"no token; give --token, or set {TOKEN}")
    serve(options.action, options.controller, token)


_ACTIONS = {
    "run": _run,
    "find": _run,
    "compare": _compare,
    "report": _report,
    "users": _users,
    "scenarios": _scenarios,
    "sink": _sink,
    "loader": _join,
    "handler": _join,
}
