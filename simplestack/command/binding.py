"""``simplestack binding``: the contacts of a user at the running server, and their end."""

import argparse
import json
import sys

from simplestack.app.control import ask
from simplestack.app.settings import Settings
from simplestack.command.arguments import Parser, seconds, user

__all__ = ["parser", "run"]

#: What a contact's end asks of the phone (RFC 3680 §5.2.2).
_EVENTS = ("deactivated", "rejected", "probation")


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack binding``."""
    top = Parser(
        prog="simplestack binding",
        description="Shows and changes what is registered at the running server.",
    )
    actions = top.add_subparsers(dest="action", required=True, metavar="list|end|shorten|create")
    for action, purpose in (
        ("list", "print the contacts of a user"),
        ("end", "remove contacts: all of the user's where none is named"),
        ("shorten", "let contacts expire sooner, so that the phone registers again"),
        ("create", "bind a contact"),
    ):
        sub = actions.add_parser(action, help=purpose, description=purpose)
        sub.add_argument("user", type=user, help="such as alice@example.com")
        if action == "create":
            sub.add_argument("contacts", nargs=1, metavar="CONTACT", help="a SIP URI")
        elif action != "list":
            sub.add_argument("contacts", nargs="*", metavar="CONTACT", help="as list prints it")
        if action == "end":
            sub.add_argument(
                "--event",
                choices=_EVENTS,
                default="deactivated",
                help="what the phone is to do: register again at once, never, or later",
            )
            sub.add_argument(
                "--retry-after", type=seconds, metavar="N", help="with probation: when, in seconds"
            )
        elif action != "list":
            sub.add_argument(
                "--expires", type=seconds, metavar="N", required=True, help="seconds that are left"
            )
        sub.add_argument("--control", default=Settings.control, help="as given to the server")
        sub.add_argument("--json", action="store_true", help="print JSON")
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack binding``: 0 it is done, 1 it can't be, 2 bad arguments."""
    top = parser()
    options = top.parse_args(arguments[1:])
    question = [options.action, options.user]
    if options.action == "end":
        if (options.event == "probation") is (options.retry_after is None):
            top.error("--retry-after belongs to --event probation")
        question += [options.event, str(options.retry_after or "")]
    elif options.action != "list":
        question.append(str(options.expires))
    question += [] if options.action == "list" else options.contacts
    try:
        found = ask(options.control, "binding", *question)
    except (OSError, ValueError) as error:
        sys.stderr.write(
            f"simplestack binding: no server answers at {options.control} ({error});"
            " run this where the server was started, or name its --control\n"
        )
        return 1
    if "error" in found:
        sys.stderr.write(f"simplestack binding: {found['error']}\n")
        return 1
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for each in found["bindings"]:
        state = "ended" if options.action == "end" else f"{each['expires_in']} s left"
        event = options.event if options.action == "end" else each["event"]
        print(f"{each['contact']}  {event}  {state}  {each['user_agent'] or '-'}")
    return 0
