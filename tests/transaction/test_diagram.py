"""The drawn state machines."""

from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from simplestack.transaction import diagram
from simplestack.transaction.states import MACHINES

DIAGRAMS = Path(__file__).parents[2] / "docs" / "architecture" / "diagrams"


class DiagramTests(SynchronousTestCase):
    """Pages with diagrams, in docs."""

    def test_docs_are_up_to_date(self) -> None:
        """The pages in docs are what the tables say now."""
        for machine in MACHINES:
            text = (DIAGRAMS / diagram.file_name(machine)).read_text(encoding="utf-8")
            self.assertEqual(text, diagram.page(machine), "run simplestack.transaction.diagram")

    def test_every_transition_is_drawn(self) -> None:
        """A diagram has each state, and an edge between any two that a row joins."""
        for machine in MACHINES:
            page = diagram.page(machine)
            for (state, _), row in machine.table.items():
                if row.state is not state:
                    edge = f"{state.name.capitalize()} --> {row.state.name.capitalize()}:"
                    self.assertIn(edge, page)

    def test_command(self) -> None:
        """The module writes the pages; without a directory it says how to use it, exit status 2."""
        with TemporaryDirectory() as directory:
            self.assertEqual(diagram.main([directory]), 0)
            names = sorted(path.name for path in Path(directory).iterdir())
        self.assertEqual(names, sorted(diagram.file_name(machine) for machine in MACHINES))
        with patch("sys.stderr", StringIO()) as stderr:
            self.assertEqual(diagram.main([]), 2)
        self.assertIn("usage", stderr.getvalue())
