"""``simplestack explain``: what a watcher sees of a user, and why."""

import argparse
import json
import sys
import time
from typing import Any

from simplestack.app.control import ask
from simplestack.app.plugins import authorization_policy, composer
from simplestack.app.settings import Settings, SettingsError
from simplestack.command.arguments import Parser, missing_file, user
from simplestack.roles.explanation import explain
from simplestack.sip.errors import SIPError
from simplestack.sip.uri import parse_uri
from simplestack.state import ResourceState
from simplestack.store.errors import StoreError
from simplestack.store.reading import records_of

__all__ = ["lines", "parser", "run"]


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack explain``."""
    top = Parser(
        prog="simplestack explain",
        description="Says what a watcher sees of a user, and which rule gives or withholds each "
        "element. The running server is asked; where none answers the store is read, and the "
        "settings below stand in for the server's.",
    )
    top.add_argument(
        "--watcher",
        required=True,
        type=_watcher,
        help="alice@example.com, tel:+4930123456, or anonymous",
    )
    top.add_argument("--presentity", required=True, type=user, help="such as bob@example.com")
    top.add_argument("--control", default=Settings.control, help="as given to the server")
    top.add_argument("--store", default=Settings.store, help="as given to the server")
    top.add_argument("--composition", default=Settings.composition, help="a setting of the server")
    top.add_argument(
        "--default-handling", default=Settings.default_handling, help="a setting of the server"
    )
    top.add_argument("--json", action="store_true", help="print JSON")
    return top


def _watcher(text: str) -> str:
    if text == "anonymous":
        return ""
    # A watcher may be a telephone number, where others say who he is.
    if not text.startswith("tel:"):
        return user(text)
    try:
        return parse_uri(text).aor
    except SIPError:
        raise argparse.ArgumentTypeError(f"{text!r} is no telephone number") from None


def run(arguments: list[str]) -> int:
    """Run ``simplestack explain``: 0 it is told, 1 it can't be, 2 bad arguments."""
    options = parser().parse_args(arguments[1:])
    try:
        found = _found(options)
    except (StoreError, SettingsError) as error:
        sys.stderr.write(f"simplestack explain: {error}\n")
        return 2
    if "error" in found:
        sys.stderr.write(f"simplestack explain: {found['error']}\n")
        return 1
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(lines(found)))
    return 0


def _found(options: argparse.Namespace) -> dict[str, Any]:
    try:
        return ask(options.control, "explain", options.watcher, options.presentity)
    except (OSError, ValueError):
        pass
    missing = missing_file(options.store)
    if missing is not None:
        raise StoreError(
            f"no server answers at {options.control}, and there is no database {missing}: run this"
            " in the directory of the server, or name its --control or --store"
        )
    settings = Settings(composition=options.composition, default_handling=options.default_handling)
    aor = options.presentity
    explanation = explain(
        ResourceState(aor, records_of(options.store, aor)),
        options.watcher,
        composer(settings),
        authorization_policy(settings.authorization, settings.default_handling),
        time.time(),
    )
    return explanation.as_dict()


def lines(found: dict[str, Any]) -> list[str]:
    """The explanation for people."""
    watcher = found["watcher"] or "an anonymous watcher"
    text = [f"{watcher} watching {found['presentity']}: {found['handling']}"]
    text.append(f"  because {found['because']}")
    if found["rules"]:
        text.append("rules:")
    for rule in found["rules"]:
        handling = f" ({rule['handling']})" if rule["handling"] else ""
        text.append(f"  {rule['name']}{handling}: {'matches' if rule['matches'] else 'does not'}")
        text += [f"    {each}" for each in rule["failing"]]
    text.append(f"sphere: {found['sphere'] or 'undefined'}")
    text.append(f"composed by {found['policy']} from:")
    text += [f"  {each}" for each in found["sources"]] or ["  nothing"]
    if found["parts"]:
        text.append("what is shown (+) and withheld (-):")
    for part in found["parts"]:
        text.append(f"  {'+' if part['shown'] else '-'} {part['name']}: {part['because']}")
    if found["document"]:
        text += ["the document:", f"  {found['document']}"]
    if "subscriptions" not in found:
        text.append("no server answers, so nothing is known of its NOTIFY requests")
        return text
    if not found["subscriptions"]:
        text.append("no subscription of this watcher: no NOTIFY is due")
    for each in found["subscriptions"]:
        text.append(
            f"subscription {each['subscription']}: {each['status']}, {each['expires_in']} s left,"
            f" last NOTIFY number {each['notifications']}; {each['because']}"
        )
        if each["wishes"]:
            text.append(f"  it asks for {', '.join(each['wishes'])}")
    return text
