"""``simplestack user``: the users and their passwords, whether the server runs or not."""

import argparse
import getpass
import sys
from collections.abc import Iterator
from pathlib import Path

from simplestack.app.control import ask
from simplestack.app.settings import Settings
from simplestack.command.arguments import Parser, missing_file
from simplestack.interfaces import Credential
from simplestack.sip.digest import ha1
from simplestack.sip.errors import SIPError
from simplestack.sip.uri import Uri, parse_uri
from simplestack.store.credentials import CredentialTable
from simplestack.store.errors import StoreError

__all__ = ["credential", "parser", "run"]


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack user``."""
    top = Parser(
        prog="simplestack user",
        description="Changes take effect within a second, whether the server runs or not.",
    )
    actions = top.add_subparsers(
        dest="action", required=True, metavar="add|passwd|remove|list|import"
    )
    for action, purpose in (
        ("add", "make a user"),
        ("passwd", "change a user's password"),
        ("remove", "remove a user"),
        ("list", "list the users"),
        ("import", "make many users, or change their passwords: all of them, or none"),
    ):
        sub = actions.add_parser(action, help=purpose, description=purpose)
        sub.add_argument("--store", default=Settings.store, help="as given to the server")
        if action == "add":
            sub.add_argument("--control", default=Settings.control, help="as given to the server")
        if action == "list":
            sub.add_argument("domain", nargs="?", help="only the users of this domain")
        elif action == "import":
            sub.add_argument(
                "file", help="a line each, such as: alice@example.com wonderland; - for stdin"
            )
        else:
            sub.add_argument("user", help="such as alice@example.com")
        if action in ("add", "passwd"):
            sub.add_argument("--password", help="asked for where it is not given")
    return top


def credential(uri: Uri, password: str) -> Credential:
    """The secrets that are kept of a password: HA1s, from which it can't be read back."""
    return Credential(
        uri.user,
        uri.host,
        ha1("SHA-512-256", uri.user, uri.host, password),
        ha1("SHA-256", uri.user, uri.host, password),
        ha1("MD5", uri.user, uri.host, password),
    )


def run(arguments: list[str]) -> int:
    """Run ``simplestack user …``."""
    options = parser().parse_args(arguments[1:])
    try:
        return _run(options)
    except (StoreError, _UsageError) as error:
        sys.stderr.write(f"simplestack user {options.action}: {error}\n")
        return 2


class _UsageError(ValueError):
    """Arguments that can't be used."""


def _run(options: argparse.Namespace) -> int:
    missing = missing_file(options.store)
    if missing is not None and options.action not in ("add", "import"):
        raise _UsageError(
            f"there is no database {missing}: run this in the directory of the server, or name its"
            " --store"
        )
    table = CredentialTable(options.store)
    if missing is not None:
        sys.stderr.write(
            f"simplestack user {options.action}: made the database {missing}, where there was none;"
            " if the server has another, name its --store\n"
        )
    if options.action == "list":
        for known in table.list(options.domain):
            print(f"{known.username}@{known.domain}")
        return 0
    if options.action == "import":
        made = [credential(uri, password) for uri, password in _lines(options.file)]
        table.put_all(made)
        print(f"{len(made)} users added or changed")
        return 0
    uri = _user(options.user)
    exists = table.exists(uri.user, uri.host)
    if options.action == "add" and exists:
        raise _UsageError(f"{options.user} exists; use 'simplestack user passwd {options.user}'")
    if options.action != "add" and not exists:
        raise _UsageError(f"there is no user {options.user}; 'simplestack user list' shows them")
    if options.action == "remove":
        table.remove(uri.user, uri.host)
        print(f"{uri.user}@{uri.host} removed")
        return 0
    table.put(credential(uri, _password(options)))
    print(f"{uri.user}@{uri.host} {'added' if options.action == 'add' else 'changed'}")
    if options.action == "add":
        _warn(uri.host, options.control)
    return 0


def _warn(domain: str, control: str) -> None:
    """Say so where the running server does not serve the domain of a new user."""
    try:
        served = ask(control).get("domains", [])
    except (OSError, ValueError):
        # None runs here: it may serve the domain when it does.
        return
    if domain not in served:
        sys.stderr.write(
            f"simplestack user add: the server here serves {', '.join(served)} and not {domain}:"
            f" start it with --domain {domain} as well, or make the user in a domain of its own\n"
        )


def _lines(name: str) -> Iterator[tuple[Uri, str]]:
    """The users and passwords of a file; empty lines are passed over."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text("utf-8")
    except OSError as error:
        raise _UsageError(f"{name} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise _UsageError(f"{name} is not UTF-8: {error.reason} at {error.start}") from None
    for number, line in enumerate(text.splitlines(), 1):
        user, _, password = line.strip().partition(" ")
        if not user:
            continue
        if not password.strip():
            raise _UsageError(f"line {number} has no password; nothing was changed")
        yield _user(user), password.strip()


def _user(text: str) -> Uri:
    try:
        uri = parse_uri(text if text.startswith(("sip:", "sips:")) else f"sip:{text}")
    except SIPError as error:
        raise _UsageError(
            f"{text!r} is not a user such as alice@example.com: {error.text}"
        ) from None
    if not uri.user or not uri.host or '"' in uri.user or "\\" in uri.user:
        raise _UsageError(f"{text!r} is not a user; it looks like alice@example.com")
    return uri


def _password(options: argparse.Namespace) -> str:
    password: str | None = options.password
    if password is None:
        try:
            password = _asked(options.user)
        except EOFError:
            password = ""
        except UnicodeDecodeError:
            raise _UsageError("the password is not UTF-8; nothing was changed") from None
    if not password:
        raise _UsageError("the password is empty; nothing was changed")
    return password


def _asked(user: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass(f"Password for {user}: ")
    if password != getpass.getpass("Again: "):
        raise _UsageError("the two passwords differ; nothing was changed")
    return password
