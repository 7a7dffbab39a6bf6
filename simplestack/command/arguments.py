"""The arguments that the commands of a user have in common."""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from OpenSSL import crypto

from simplestack.client.account import TRANSPORTS, Account, address_of_record
from simplestack.net.tls import load_authorities
from simplestack.store.database import Database

__all__ = [
    "PASSWORD",
    "Parser",
    "UsageError",
    "account",
    "add_account",
    "add_ending",
    "add_server",
    "authorities",
    "missing_file",
    "seconds",
    "user",
]

#: The environment variable that has the password where no argument does.
PASSWORD = "SIMPLESTACK_PASSWORD"


class UsageError(ValueError):
    """Arguments that can't be used; the text says why."""


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line, and ends with status 2."""

    def error(self, message: str) -> NoReturn:
        """End."""
        self.exit(2, f"{self.prog}: {message}; {self.prog} --help tells more\n")


def user(text: str) -> str:
    """The AOR of a user, for ``type=``."""
    try:
        return address_of_record(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds(text: str) -> int:
    """A number from 1 on, for ``type=``."""
    if text.isascii() and text.isdecimal() and 0 < int(text) < 2**31:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")


def add_account(parser: argparse.ArgumentParser) -> None:
    """Add who we are, and whom TLS trusts."""
    parser.add_argument(
        "--as",
        dest="aor",
        required=True,
        type=user,
        metavar="USER",
        help="who you are, such as alice@example.com",
    )
    parser.add_argument(
        "--password",
        help=f"your password; else it is taken from {PASSWORD} in the environment, or asked for",
    )
    parser.add_argument(
        "--ca",
        metavar="FILE",
        help="a PEM file of the certificate authorities to trust in place of the system's",
    )


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add which SIP server, and how."""
    parser.add_argument(
        "--server",
        default="",
        metavar="HOST[:PORT]",
        help="the SIP server; else it is found by the domain of --as (RFC 3263)",
    )
    parser.add_argument(
        "--transport", choices=TRANSPORTS, default="", help="how to reach the server"
    )


def add_ending(parser: argparse.ArgumentParser, counted: str = "") -> None:
    """Add when to end without being interrupted; ``counted`` is what ``--count`` counts."""
    parser.add_argument("--seconds", type=seconds, metavar="N", help="end after so many seconds")
    if counted:
        parser.add_argument(
            "--count", type=seconds, metavar="N", help=f"end after so many {counted}"
        )


def account(options: argparse.Namespace) -> Account:
    """The account that the arguments name; asks for the password where none is given.

    Raises UsageError.
    """
    try:
        found = Account(options.aor, "", options.server, getattr(options, "transport", None) or "")
    except ValueError as error:
        raise UsageError(str(error)) from None
    password = options.password
    if password is None:
        password = os.environ.get(PASSWORD)
    if password is None:
        password = _ask(found.aor)
    if not password:
        raise UsageError(f"no password; give --password, or set {PASSWORD}")
    return Account(found.aor, password, found.server, found.transport)


def authorities(options: argparse.Namespace) -> Sequence[crypto.X509] | None:
    """The certificate authorities of ``--ca``, None for the system's.  Raises UsageError."""
    if options.ca is None:
        return None
    try:
        return load_authorities(options.ca)
    except ValueError as error:
        raise UsageError(str(error)) from None


def missing_file(store: str) -> Path | None:
    """The file of an SQLite database that is not there; None for any other.  Raises StoreError.

    In the wrong directory a command would make an empty database there.
    """
    path = Database(store).path
    return None if path is None or path.exists() else path.absolute()


def _ask(aor: str) -> str:
    try:
        if not sys.stdin.isatty():
            return sys.stdin.readline().rstrip("\n")
        return getpass.getpass(f"Password for {aor}: ")
    except (EOFError, UnicodeDecodeError):
        return ""
