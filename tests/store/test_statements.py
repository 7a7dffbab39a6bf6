"""Rows are written in few statements, whatever their number."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.store.schema import CREDENTIAL
from simplestack.store.statements import upsert

COLUMNS = len(CREDENTIAL.columns)


class RowStatementTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A statement for rows of numbers."""
        self.statement = upsert(CREDENTIAL, lambda number: "?")

    def test_one_statement(self) -> None:
        """Each number of rows up to 64 is one statement, which is its own transaction."""
        for count in (1, 2, 3, 7, 40, 63, 64):
            rows = [tuple(range(at, at + COLUMNS)) for at in range(count)]
            ((text, parameters),) = self.statement.steps(rows)
            self.assertEqual(text.count("?"), COLUMNS * count)
            self.assertEqual(parameters, [each for row in rows for each in row])

    def test_many(self) -> None:
        """More rows are written in parts of 128, so that there is a bounded number of statements."""
        for count in (65, 128, 129, 200, 300, 1000):
            rows = [tuple([at] * COLUMNS) for at in range(count)]
            steps = list(self.statement.steps(rows))
            sizes = [len(parameters) // COLUMNS for _, parameters in steps]
            self.assertEqual(sum(sizes), count)
            self.assertTrue(all(size <= 64 or size == 128 for size in sizes))
            self.assertLessEqual(len(sizes), count // 128 + 2)
            self.assertEqual(
                [each for _, some in steps for each in some[::COLUMNS]], [*range(count)]
            )

    def test_none(self) -> None:
        """Without rows there is nothing to execute."""
        self.assertEqual(list(self.statement.steps([])), [])
