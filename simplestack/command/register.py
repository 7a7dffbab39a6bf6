"""``simplestack register``: keeps a registration until interrupted."""

import argparse

from simplestack.client.registration import Registration
from simplestack.command.arguments import Parser, add_account, add_ending, add_server, seconds
from simplestack.command.session import DONE, Session, perform

__all__ = ["keep", "parser", "run"]


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack register``."""
    top = Parser(
        prog="simplestack register",
        description="Registers, refreshes the registration, and removes it when interrupted.",
    )
    add_account(top)
    add_server(top)
    top.add_argument(
        "--expires", type=seconds, default=3600, metavar="SECONDS", help="how long to ask for"
    )
    add_ending(top)
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack register``."""
    options = parser().parse_args(arguments[1:])
    return perform("register", options, lambda session: keep(session, options))


async def keep(session: Session, options: argparse.Namespace) -> int:
    """Register until the session ends; the result is the exit status."""
    session.end_after(options.seconds)
    registration = Registration(
        session.agent, options.expires, on_trouble=session.trouble, on_end=session.fail
    )
    granted = await session.wait(registration.start())
    session.say(f"{options.aor} is registered at {registration.contact} for {granted} s")
    session.satisfied = True
    status = await session.until_end()
    removed = await session.farewell(registration.stop(), "the registration")
    return removed if status == DONE else status
