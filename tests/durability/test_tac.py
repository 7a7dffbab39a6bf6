"""etc/simplestack.tac: it runs, a role's line can be removed, and it shows every setting."""

import ast
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.settings import Settings
from simplestack.roles.lists import ResourceLists
from simplestack.roles.presence import PresenceAgent
from simplestack.roles.regevent import RegEvent
from simplestack.roles.registrar import Registrar
from simplestack.roles.xcap import XCAP
from tests.peers.probe import Probe
from tests.peers.running import ROOT, Running

_TEXT = (ROOT / "etc" / "simplestack.tac").read_text("utf-8")
#: The settings that the .tac gives to the roles and not to Settings, by what they begin with.
_ROLES = re.compile(
    "register_|publish_|max_contacts|registrars|max_publication|roles|registration_is|"
    "default_handling|composition|reg_watchers|max_document|xcap_root|list_(?!servers)|max_list|lists|xcap_admins"
)


def shown(name: str) -> dict[str, Any]:
    """The arguments that the .tac shows for a call, commented or not."""
    block = re.search(rf"^ *\w+ = {name}\(\n(.*?)^ *\)$", _TEXT, re.DOTALL | re.MULTILINE)
    assert block is not None, name
    text = re.sub(r"^ *# ?", "", block[1], flags=re.MULTILINE)
    # Of a setting that is shown twice the first is the default.
    found: dict[str, Any] = {}
    for line in re.sub(r"\[\s*(.*?)\s*\]", _joined, text, flags=re.DOTALL).splitlines():
        if match := re.fullmatch(r" *(\w+)=(.*),", line):
            found.setdefault(match[1], ast.literal_eval(match[2]))
    return found


def _joined(match: re.Match[str]) -> str:
    return "[" + " ".join(match[1].split()) + "]"


def defaults(role: type) -> dict[str, Any]:
    """What the arguments of a role are where they are not given, by its source.

    A compiled class does not tell its signature.
    """
    place = sys.modules[role.__module__].__file__ or ""
    source = Path(place).with_name(role.__module__.rpartition(".")[2] + ".py").read_text("utf-8")
    (given,) = (
        each.args
        for top in ast.parse(source).body
        if isinstance(top, ast.ClassDef) and top.name == role.__name__
        for each in top.body
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
    )
    pairs = [*zip(given.args[len(given.args) - len(given.defaults) :], given.defaults, strict=True)]
    pairs += [(a, b) for a, b in zip(given.kwonlyargs, given.kw_defaults, strict=True) if b]
    return {argument.arg: _value(default, role) for argument, default in pairs}


def _value(default: ast.expr, role: type) -> Any:
    if isinstance(default, ast.Name):
        return getattr(sys.modules[role.__module__], default.id)
    return ast.literal_eval(default)


class TacTests(SynchronousTestCase):
    def agree(self, shown: dict[str, Any], defaults: dict[str, Any]) -> None:
        """What is shown are the defaults, or an example where the default is nothing."""
        self.assertEqual(set(shown) - set(defaults), set())
        for name, value in shown.items():
            default = defaults[name]
            if default not in ("", (), None):
                seen = tuple(value) if isinstance(value, list) else value
                if name == "listen":
                    seen = tuple(place for place in seen if not place.startswith("tls:"))
                self.assertEqual(seen, default, name)

    def test_settings(self) -> None:
        """All settings that are not a role's are there with their defaults."""
        known = {field.name: field.default for field in fields(Settings)}
        self.agree(shown("Settings"), known)
        missing = {name for name in known if not _ROLES.match(name)} - set(shown("Settings"))
        self.assertEqual(missing, set())

    def test_roles(self) -> None:
        """The arguments of the roles are there with their defaults."""
        for role in (Registrar, PresenceAgent, RegEvent, XCAP, ResourceLists):
            self.agree(shown(role.__name__), defaults(role))

    def test_same(self) -> None:
        """What a role takes by itself is what the settings give it."""
        for role, pairs in (
            (
                Registrar,
                "register_min_expires=min_expires register_default_expires=default_expires",
            ),
            (Registrar, "register_max_expires=max_expires max_contacts=max_contacts"),
            (PresenceAgent, "publish_min_expires=min_expires publish_max_expires=max_expires"),
            (PresenceAgent, "publish_default_expires=default_expires"),
            (PresenceAgent, "max_publications=max_publications max_publication_size=max_body"),
            (XCAP, "max_document_size=max_document_size max_documents=max_documents"),
            (ResourceLists, "list_interval=interval max_list_body=max_body"),
            (ResourceLists, "max_list_entries=max_entries"),
        ):
            given = defaults(role)
            for setting, _, name in (pair.partition("=") for pair in pairs.split()):
                self.assertEqual(getattr(Settings, setting), given[name], setting)

    def test_runs(self) -> None:
        """It runs as it is; without the line of a role its methods are refused."""
        for without, status in (("", 200), ("            presence,\n", 405)):
            self.assertIn(without, _TEXT)
            server = Running(self.mktemp(), tac=_TEXT.replace(without, ""))
            server.add_users("alice")
            self.addCleanup(server.stop)
            server.start()
            with Probe("alice", server.port) as alice:
                self.assertEqual(alice.register().status, 200)
                self.assertEqual(alice.publish().status, status)
            server.stop()
            self.assertNotIn("Traceback", server.said())
