"""What ``watch``, ``watchers`` and ``registrations`` have in common: a subscription, printed."""

import argparse
import time
from typing import Protocol

from simplestack.client.lists import LIST_TYPES
from simplestack.client.subscription import Subscription
from simplestack.command.arguments import add_account, add_ending, add_server, seconds
from simplestack.command.lines import moment
from simplestack.command.session import DONE, Session
from simplestack.documents.errors import DocumentError

__all__ = ["Reading", "add_watching", "follow"]


class Reading(Protocol):
    """Turns the documents of one event package into lines."""

    @property
    def event(self) -> str:
        """The event package."""

    @property
    def media_type(self) -> str:
        """The type of its documents."""

    def read(self, body: bytes) -> list[str] | None:
        """What a document tells that was not told; None where the full state must be asked for.

        Raises DocumentError.
        """


def add_watching(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that follows a subscription."""
    add_account(parser)
    add_server(parser)
    parser.add_argument("--raw", action="store_true", help="print the documents as they come")
    parser.add_argument(
        "--expires", type=seconds, default=3600, metavar="SECONDS", help="how long to ask for"
    )
    add_ending(parser, "lines, or with --raw documents")


async def follow(
    session: Session, options: argparse.Namespace, target: str, reading: Reading
) -> int:
    """Subscribe and print until the session ends; the result is the exit status."""
    printed = 0
    pending = False

    def say(text: str) -> None:
        nonlocal printed
        if session.status is not None:
            return
        session.say(text)
        printed += 1
        if options.count is None:
            session.satisfied = True
        elif printed >= options.count:
            session.end(DONE)

    def on_state(body: bytes, content_type: str | None) -> None:
        nonlocal pending
        state = subscription.state
        waited, pending = pending, state is not None and state.state == "pending"
        if options.raw:
            if body:
                say(body.decode("utf-8", "replace").rstrip("\n"))
            return
        if pending:
            if not waited:
                say(f"{moment(time.time())}  {target}  pending")
            return
        if not body:
            return
        try:
            lines = reading.read(body)
        except DocumentError as error:
            session.warn(f"a document that can't be read: {error}")
            return
        if lines is None:
            subscription.refresh()
            return
        if screen:
            say("\n".join(lines))
            return
        for line in lines:
            say(f"{moment(time.time())}  {line}")

    lists = bool(getattr(reading, "lists", False))
    #: Whether the lines are all that there is to see, again and again.
    screen = bool(getattr(reading, "screen", False))
    subscription = Subscription(
        session.agent,
        target,
        reading.event,
        (*LIST_TYPES, reading.media_type) if lists else (reading.media_type,),
        on_state=on_state,
        on_end=session.fail,
        on_trouble=session.trouble,
        expires=options.expires,
        lists=lists,
    )
    session.end_after(options.seconds)
    try:
        await session.wait(subscription.start())
        return await session.until_end()
    finally:
        await session.farewell(subscription.stop(), "the subscription")
