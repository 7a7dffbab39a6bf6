"""``simplestack publish``: publishes a presence state until interrupted."""

import argparse
import re
import time

from simplestack.client.publication import Publication
from simplestack.command.arguments import (
    Parser,
    add_account,
    add_ending,
    add_server,
    seconds,
)
from simplestack.command.session import DONE, Session, perform
from simplestack.documents import namespaces as ns
from simplestack.documents.elements import element
from simplestack.documents.pidf import MEDIA_TYPE, Note, Person, Presence, Tuple
from simplestack.documents.timestamps import format_timestamp

__all__ = ["ACTIVITIES", "document", "keep", "parser", "run"]

#: The activities that have a name (RFC 4480 §3.2); others are written as <other>.
ACTIVITIES = (
    *("appointment", "away", "breakfast", "busy", "dinner", "holiday", "in-transit"),
    *("looking-for-work", "lunch", "meal", "meeting", "on-the-phone", "performance"),
    *("permanent-absence", "playing", "presentation", "shopping", "sleeping", "spectator"),
    *("steering", "travel", "tv", "vacation", "working", "worship"),
)


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack publish``."""
    top = Parser(
        prog="simplestack publish",
        description="Publishes your presence, refreshes it, and removes it when interrupted.",
        epilog=f"The activities with a name: {', '.join(ACTIVITIES)}.",
    )
    add_account(top)
    add_server(top)
    top.add_argument(
        "--status", choices=("open", "closed"), default="open", help="open, unless closed is said"
    )
    top.add_argument(
        "--activity",
        action="append",
        default=[],
        type=_activity,
        metavar="NAME",
        help="what you do, such as on-the-phone; repeatable. Whatever has no name yet is written"
        " other:TEXT",
    )
    top.add_argument("--note", default="", metavar="TEXT", help="a note for people")
    top.add_argument("--contact", default="", type=_uri, metavar="URI", help="where to reach you")
    top.add_argument(
        "--expires", type=seconds, default=3600, metavar="SECONDS", help="how long to ask for"
    )
    add_ending(top)
    return top


def _uri(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!-;=?-~]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a URI such as sip:bob@192.0.2.4")
    return text


def _activity(text: str) -> str:
    name, _, own = text.partition(":")
    if name in ACTIVITIES and not own:
        return name
    if name == "other" and own.strip():
        return f"other:{own.strip()}"
    raise argparse.ArgumentTypeError(
        f"there is no activity {text!r}; there are {', '.join(ACTIVITIES)}, and other:TEXT"
    )


def document(options: argparse.Namespace, identifier: str, now: float) -> Presence:
    """The presence document that the arguments describe; the ids in it are made of ``identifier``.

    Activities and the note are the person's, as RFC 4479 §3.2 and RFC 4480 §3.2 want it.
    """
    timestamp = format_timestamp(now)
    service = Tuple(
        f"t{identifier}", options.status, contact=options.contact or None, timestamp=timestamp
    )
    elements = []
    if options.activity:
        named = [
            element(ns.RPID, "other", each[6:])
            if each.startswith("other:")
            else element(ns.RPID, each)
            for each in dict.fromkeys(options.activity)
        ]
        elements.append(element(ns.RPID, "activities", named))
    notes = (Note(options.note),) if options.note else ()
    persons: tuple[Person, ...] = ()
    if elements or notes:
        persons = (Person(f"p{identifier}", None, tuple(elements), notes, timestamp),)
    return Presence(options.aor, (service,), persons)


def run(arguments: list[str]) -> int:
    """Run ``simplestack publish``."""
    options = parser().parse_args(arguments[1:])
    return perform("publish", options, lambda session: keep(session, options))


async def keep(session: Session, options: argparse.Namespace) -> int:
    """Publish until the session ends; the result is the exit status."""
    session.end_after(options.seconds)
    publication = Publication(
        session.agent, "presence", options.expires, on_trouble=session.trouble, on_end=session.fail
    )
    presence = document(options, session.agent.identifiers.tag(), time.time())
    granted = await session.wait(publication.publish(presence.to_bytes(), MEDIA_TYPE))
    words = ", ".join((options.status, *options.activity))
    session.say(f"{options.aor} is published as {words} for {granted} s")
    session.satisfied = True
    status = await session.until_end()
    removed = await session.farewell(publication.stop(), "the publication")
    return removed if status == DONE else status
