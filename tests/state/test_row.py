"""Records are values, whatever they are made of."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.state import Record, fields_of, later_fields_of, row_of
from tests.store.records import binding, document, one_of_each, publication, subscription

_MADE = (binding, publication, subscription)


class RowTests(SynchronousTestCase):
    """What the store and the roles need of a record (RFC 3261 §10.3, RFC 3903 §4, RFC 6665 §4.2)."""

    def test_value(self) -> None:
        """Two of the same fields are equal, and one is what its row makes of it."""
        others: list[Record] = [*one_of_each(), document()]
        for made in _MADE:
            one, same = made(), made()
            self.assertEqual((one, hash(one)), (same, hash(same)))
            self.assertEqual([other == one for other in others].count(True), 1)
            self.assertEqual(one, type(one)(*row_of(one)))
            self.assertEqual([getattr(one, name) for name in fields_of(type(one))], [*row_of(one)])
            self.assertFalse(one == tuple(row_of(one)))

    def test_other_fields(self) -> None:
        """Each field can be given another value, and there are no others."""
        for made in _MADE:
            one = made()
            for name, kind in fields_of(type(one)).items():
                value = kind(getattr(one, name)) + kind(b"1" if kind is bytes else 1)
                changed = one._replace(**{name: value})
                self.assertEqual(getattr(changed, name), value)
                self.assertNotEqual(changed, one)
                self.assertIn(f"{name}={value!r}", repr(changed))
                self.assertEqual(changed._replace(**{name: getattr(one, name)}), one)
            self.assertRaises(ValueError, one._replace, nothing=1)

    def test_later_fields(self) -> None:
        """Fields that came later need not be given: rows of before have none (RFC 5839 §6.2)."""
        for made in _MADE:
            kind = type(made())
            later = later_fields_of(kind)
            row = [*row_of(made())]
            short = kind(*row[: len(row) - len(later)])
            self.assertEqual([getattr(short, name) for name in later], [*later.values()])
            self.assertEqual(list(fields_of(kind))[len(row) - len(later) :], [*later])
