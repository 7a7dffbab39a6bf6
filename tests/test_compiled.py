"""What setup.py compiles is compiled as a whole or not at all."""

import ast
import os
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import simplestack

_SETUP = Path(__file__).resolve().parents[1] / "setup.py"


def _named(name: str) -> list[str]:
    """A list of setup.py, which can't be imported."""
    for line in ast.parse(_SETUP.read_text("utf-8")).body:
        if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == name:
            return list(ast.literal_eval(line.value))
    raise AssertionError(f"setup.py has no {name}")


class CompiledTests(SynchronousTestCase):
    def test_whole(self) -> None:
        """All modules that setup.py names are extensions, or none is.

        With ``SIMPLESTACK_REQUIRE_COMPILED`` they must be, with it at 0 they must not: a run of the
        tests says which of the two it was.
        """
        above = Path(simplestack.__file__).parents[1]
        plain = set(_named("PLAIN"))
        found: dict[str, bool] = {}
        for pattern in _named("COMPILED"):
            paths = {str(path.relative_to(above)) for path in above.glob(pattern)}
            self.assertTrue(paths, f"nothing is {pattern}")
            for path in paths - plain:
                module = import_module(path.removesuffix(".py").replace("/", "."))
                found[path] = not (module.__file__ or "").endswith(".py")
        kinds = set(found.values())
        self.assertEqual(len(kinds), 1, {path for path, compiled in found.items() if not compiled})
        required = os.environ.get("SIMPLESTACK_REQUIRE_COMPILED", "")
        if required:
            self.assertEqual(kinds, {required != "0"})
