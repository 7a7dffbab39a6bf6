"""``simplestack registrations``: prints a user's registrations, and then every change."""

import argparse

from simplestack.client.versions import Step, Versions
from simplestack.command.arguments import Parser, user
from simplestack.command.lines import contact_line
from simplestack.command.session import perform, shown
from simplestack.command.watching import add_watching, follow
from simplestack.documents.reginfo import MEDIA_TYPE, Contact, parse_reginfo

__all__ = ["RegistrationReading", "parser", "run"]


class RegistrationReading:
    """Registration information as lines: one for each contact to which something happened."""

    event = "reg"
    media_type = MEDIA_TYPE

    def __init__(self) -> None:
        self._versions = Versions()
        self._known: dict[tuple[str, str], Contact] = {}
        self._told = False

    def read(self, body: bytes) -> list[str] | None:
        """The lines, None where a document was missed; raises DocumentError."""
        document = parse_reginfo(body)
        step = self._versions.take(document.version, document.state == "full")
        if step is Step.REFRESH:
            return None
        if step is Step.IGNORE:
            return []
        lines: list[str] = []
        named: set[tuple[str, str]] = set()
        for each in document.registrations:
            for contact in each.contacts:
                key = (each.aor, contact.id)
                named.add(key)
                before = self._known.get(key)
                # A refresh that is told in a later full state is no news.
                if step is Step.MERGE or before is None or before.event != contact.event:
                    lines.append(f"{shown(each.aor)}  {contact_line(contact)}")
                if contact.state == "terminated":
                    self._known.pop(key, None)
                else:
                    self._known[key] = contact
            if not self._told and not each.contacts:
                lines.append(f"{shown(each.aor)}  is not registered")
        if step is Step.REPLACE:
            for key in self._known.keys() - named:
                gone = self._known.pop(key)._replace(state="terminated", event="-")
                lines.append(f"{shown(key[0])}  {contact_line(gone)}")
        self._told = True
        return lines


def parser() -> argparse.ArgumentParser:
    """The arguments of ``simplestack registrations``."""
    top = Parser(
        prog="simplestack registrations",
        description="Prints where a user is registered, then every change, one line each.",
    )
    top.add_argument("target", type=user, metavar="USER", help="such as sip:bob@example.com")
    add_watching(top)
    return top


def run(arguments: list[str]) -> int:
    """Run ``simplestack registrations``."""
    options = parser().parse_args(arguments[1:])
    reading = RegistrationReading()
    return perform(
        "registrations", options, lambda each: follow(each, options, options.target, reading)
    )
