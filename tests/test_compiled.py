"""What setup.py compiles is compiled as a whole or not at all."""

import ast
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Generic

from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase

import simplestack

#: Below these nothing is ever referred to weakly.
_UNREFERRED = (Exception, Protocol, DatagramProtocol, Factory, Generic)
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

    def test_weak_references(self) -> None:
        """A compiled class below one of Python's is not referred to weakly: its objects have a
        ``__dict__``, and mypyc lets the collector give back their first weak reference.

        It does so to threads, for one; not to what is listed above.
        """
        found = set()
        for module in list(sys.modules.values()):
            name = getattr(module, "__name__", "")
            if name.startswith("simplestack.") and not str(module.__file__).endswith(".py"):
                for each in vars(module).values():
                    if (
                        isinstance(each, type)
                        and each.__module__ == name
                        and hasattr(each, "__mypyc_attrs__")
                        and each.__weakrefoffset__
                        and not issubclass(each, _UNREFERRED)
                    ):
                        found.add(f"{name}.{each.__qualname__}")
        self.assertEqual(found, set())
