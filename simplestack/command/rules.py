"""``simplestack allow``, ``block`` and ``polite-block``: who may see my presence (RFC 5025)."""

import argparse
from collections.abc import Coroutine
from typing import Any

from simplestack.client.errors import ClientError
from simplestack.client.xcap import XCAPClient
from simplestack.command.arguments import (
    Parser,
    UsageError,
    account,
    add_account,
    authorities,
    user,
)
from simplestack.command.session import DONE, Session, attempt, run_session
from simplestack.documents.errors import DocumentError
from simplestack.documents.presrules import MEDIA_TYPE, parse_ruleset, set_handling

__all__ = ["decide", "parser", "run"]

_DOES = {"allow": "allows", "block": "blocks", "polite-block": "politely blocks"}
_PURPOSES = {
    "allow": "Lets a watcher see all of your presence.",
    "block": "Refuses a watcher.",
    "polite-block": "Lets a watcher see you as closed, whatever you publish.",
}
#: Where XCAP is served, unless told otherwise.
_PORT = 8080


def parser(name: str) -> argparse.ArgumentParser:
    """The arguments of one of the commands."""
    top = Parser(prog=f"simplestack {name}", description=_PURPOSES[name])
    top.add_argument("watcher", type=user, metavar="USER", help="such as sip:alice@example.com")
    add_account(top)
    top.add_argument(
        "--server",
        default="",
        metavar="HOST[:PORT]",
        help="the SIP server, on whose host XCAP is looked for; else the domain of --as is it",
    )
    top.add_argument(
        "--xcap-root",
        default="",
        metavar="URL",
        help=f"the XCAP root; else it is http://HOST:{_PORT}/ of the server",
    )
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack allow``, ``block`` or ``polite-block``."""
    name = arguments[0]
    options = parser(name).parse_args(arguments[1:])

    def start(session: Session) -> Coroutine[Any, Any, int]:
        owner = account(options)
        root = options.xcap_root or f"http://{owner.next_hop.host}:{_PORT}/"
        try:
            client = XCAPClient(session.reactor, owner, root, authorities=authorities(options))
        except ValueError as error:
            raise UsageError(str(error)) from None
        return attempt(session, decide(session, client, name, options.watcher, owner.aor))

    return run_session(name, start)


async def decide(
    session: Session, client: XCAPClient, handling: str, watcher: str, owner: str
) -> int:
    """Put the watcher under the handling in the owner's rules; the result is the exit status."""

    def change(body: bytes | None) -> bytes:
        try:
            rules = None if body is None else parse_ruleset(body)
            return set_handling(rules, watcher, handling).to_bytes()
        except DocumentError as error:
            raise ClientError(f"the rules at {url} can't be changed: {error}") from None

    url = client.document("pres-rules")
    await session.wait(client.edit(url, MEDIA_TYPE, change))
    session.say(f"{owner} {_DOES[handling]} {watcher}")
    return DONE
