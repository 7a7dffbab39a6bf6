"""``simplestack stone``: load for a SIP presence server, and what the server made of it."""

import argparse
import json
import sys
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
from simplestack.stone.errors import ConfigurationError, StoneError

__all__ = ["configured", "parser", "run"]


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack stone``."""
    top = Parser(prog="simplestack stone", description="Load for a SIP presence server.")
    actions = top.add_subparsers(dest="action", required=True, metavar="COMMAND")
    sub = actions.add_parser("run", help="run a scenario")
    _configured_by(sub)
    return top


def _configured_by(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("file", nargs="?", help="a TOML file; options count more than it")
    for name, section in SECTIONS.items():
        group = sub.add_argument_group(name)
        for field, kind in options_of(section):
            option = "--" + field.name.replace("_", "-")
            text = field.metadata["help"]
            place = {"dest": f"{name}.{field.name}", "default": None, "help": text}
            if kind is bool:
                group.add_argument(option, action=argparse.BooleanOptionalAction, **place)
            elif kind is list:
                each = float if field.name == "rates" else str
                group.add_argument(option, nargs="+", type=each, metavar="X", **place)
            else:
                group.add_argument(option, type=kind, metavar=kind.__name__.upper(), **place)


def configured(options: argparse.Namespace) -> Configuration:
    """What file and options say together.  Raises ConfigurationError."""
    values: dict[str, dict[str, Any]] = {}
    if options.file is not None:
        try:
            values = read_toml(Path(options.file).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{options.file}: {error}") from None
    for name, section in SECTIONS.items():
        for field, _ in options_of(section):
            given = getattr(options, f"{name}.{field.name}")
            if given is not None:
                values.setdefault(name, {})[field.name] = given
    return from_values(values)


def run(arguments: list[str]) -> int:
    """Run ``simplestack stone …``."""
    options = parser().parse_args(arguments[1:])
    try:
        return _run(options)
    except ConfigurationError as error:
        sys.stderr.write(f"simplestack stone {options.action}: {error}\n")
        return 2
    except StoneError as error:
        sys.stderr.write(f"simplestack stone {options.action}: {error}\n")
        return 1


def _run(options: argparse.Namespace) -> int:
    from simplestack.stone.results import lines_of
    from simplestack.stone.running import run as run_it

    configuration = configured(options)
    result = run_it(configuration, stepped=lambda step: print("\n".join(lines_of(step))))
    if configuration.report.json:
        Path(configuration.report.json).write_text(json.dumps(result, indent=1))
    return 0
