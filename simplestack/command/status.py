"""``simplestack status``: what the running server holds."""

import argparse
import json
import sys

from simplestack.app.control import ask
from simplestack.app.settings import Settings
from simplestack.command.arguments import Parser

__all__ = ["parser", "run"]


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack status``."""
    top = Parser(
        prog="simplestack status", description="Asks the running server by its control socket."
    )
    top.add_argument("--control", default=Settings.control, help="as given to the server")
    top.add_argument("--json", action="store_true", help="print JSON")
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack status``: 0 the server answers, 1 it doesn't."""
    options = parser().parse_args(arguments[1:])
    try:
        status = ask(options.control)
    except (OSError, ValueError) as error:
        sys.stderr.write(
            f"simplestack status: no server answers at {options.control} ({error});"
            " run this where the server was started, or name its --control\n"
        )
        return 1
    if options.json:
        print(json.dumps(status, indent=2))
        return 0
    width = max(map(len, status), default=0)
    for name, value in status.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        print(f"{name.replace('_', ' '):{width}}  {value}")
    return 0
