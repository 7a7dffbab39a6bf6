"""What the pages name is there: modules, classes, functions, files; and every option is on a page."""

import argparse
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import simplestack
from simplestack.app.tap import Options
from simplestack.command.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(simplestack.__file__).parent
PLACES = (SOURCES, ROOT / "tests", SOURCES.parent / "twisted" / "plugins")
#: Options of other programs: useradd, twistd, docker, pip, createdb, systemctl, pg_dump, curl.
_OTHERS = {
    *("--digest", "--encoding", "--format", "--gid", "--home-dir", "--logfile", "--logger"),
    *("--no-deps", "--now", "--owner", "--pidfile", "--pwprompt", "--python", "--rundir"),
    *("--system", "--template", "--uid", "--ulimit", "--user", "--wheel-dir"),
}


def page(path: Path) -> str:
    """The text of a page without its programs."""
    return re.sub(r"^ *```.*?^ *```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def parsers(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its actions."""
    yield top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


class NameTests(SynchronousTestCase):
    def test_identifiers(self) -> None:
        """What the pages for who builds on it and who carries it on call by name is in the sources."""
        paths = [path for place in PLACES for path in place.rglob("*.py")]
        known = {path.stem for path in paths}
        for path in paths:
            known.update(re.findall(r"[A-Za-z_]\w*", path.read_text("utf-8")))
        for name in ("architecture", "extending"):
            for path in sorted((ROOT / "docs" / name).glob("*.md")):
                for quoted in re.findall(r"`([A-Za-z_][\w.]*)(?:\([^`]*\))?`", page(path)):
                    if (ROOT / quoted).exists() or quoted.endswith((".py", ".md", ".flow")):
                        continue
                    for part in filter(None, quoted.split(".")):
                        self.assertIn(part, known, f"{path.name}: {quoted}")

    def test_files(self) -> None:
        """Files that the pages name are there: below the root, the package, the tests, or anywhere
        where only the name is told.
        """
        names = {path.name for path in ROOT.rglob("*.*") if ".git" not in path.parts}
        names.update(path.name for path in SOURCES.rglob("*.py"))
        for path in sorted((ROOT / "docs").rglob("*.md")):
            for quoted in re.findall(r"`([\w./-]+\.(?:py|md|flow|service))`", page(path)):
                found = "/" not in quoted and quoted in names
                found = found or any(
                    (place / quoted).exists() for place in (ROOT, SOURCES.parent, *PLACES)
                )
                self.assertTrue(found, f"{path.name}: {quoted}")

    def test_options(self) -> None:
        """Each option is on a page for operators, or in etc/stone.toml; and no other is."""
        pages = [ROOT / "README", *(ROOT / "docs" / "operating").glob("*.md")]
        text = "\n".join(path.read_text("utf-8") for path in pages)
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))
        keys = set(re.findall(r"^(\w+) =", (ROOT / "etc" / "stone.toml").read_text(), re.MULTILINE))
        keyed = {f"--{prefix}{key.replace('_', '-')}" for key in keys for prefix in ("", "no-")}
        known = {"--help", *(f"--{name.rstrip('=')}" for name in Options().longOpt)}
        for command, (module, _) in COMMANDS.items():
            make = import_module(module).parser
            top = make(command) if make.__code__.co_argcount else make()
            for parser in parsers(top):
                for action in parser._actions:
                    known.update(each for each in action.option_strings if each.startswith("--"))
        self.assertEqual(known - named - keyed, set())
        self.assertEqual(named - known - _OTHERS, set())
