"""How text is written."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.store.text import KEY_LIMIT, RowText, decode, encode, fits
from tests.store.records import texts


class TextTests(SynchronousTestCase):
    @given(texts)
    def test_round_trip(self, text: str) -> None:
        """Any text comes back, and what is written has neither NUL nor surrogates."""
        written = encode(text)
        self.assertEqual(decode(written), text)
        self.assertNotIn("\0", written)
        written.encode()

    @given(texts, texts)
    def test_different(self, one: str, other: str) -> None:
        """Different texts are written differently."""
        self.assertEqual(encode(one) == encode(other), one == other)

    def test_written(self) -> None:
        """Only what no database takes is changed."""
        for text, written in (
            ("", ""),
            ("é😀", "é😀"),
            ("a\0b", "a\ufdd00000b"),
            ("\udcff", "\ufdd0dcff"),
            ("\ufdd0", "\ufdd0fdd0"),
            ("\ufdd00000", "\ufdd0fdd00000"),
        ):
            self.assertEqual(encode(text), written)

    @given(st.lists(st.tuples(texts, st.integers(), texts, st.binary())))
    def test_rows(self, rows: list[tuple[str, int, str, bytes]]) -> None:
        """Rows are written as their texts are."""
        text = RowText([0, 2])
        written = text.encode(rows)
        self.assertEqual(list(written), [(encode(a), b, encode(c), d) for a, b, c, d in rows])
        self.assertEqual(list(text.decode(written)), rows)

    def test_rows_of_other_types(self) -> None:
        """What should be text and is not is refused."""
        self.assertRaises(TypeError, RowText([0, 1]).encode, [("a", None)])

    def test_fits(self) -> None:
        """Keys are measured as they are written."""
        self.assertTrue(fits("", "x" * KEY_LIMIT))
        self.assertFalse(fits("y", "x" * KEY_LIMIT))
        self.assertTrue(fits("", "\udc80" * (KEY_LIMIT // 7)))
        self.assertFalse(fits("", "\udc80" * (KEY_LIMIT // 7 + 1)))
