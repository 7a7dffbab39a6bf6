"""Multipart bodies (RFC 2046, RFC 2387)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import DocumentError
from simplestack.documents.multipart import (
    MOST_HEADER_OCTETS,
    MOST_PARTS,
    Part,
    free_boundary,
    parse_multipart,
    write_multipart,
)

PARTS = st.lists(
    st.builds(
        Part,
        st.lists(
            st.tuples(
                st.sampled_from(["Content-Type", "Content-ID", "X"]),
                st.from_regex(r"[a-z<>@/;=]{0,12}", fullmatch=True),
            ),
            max_size=3,
        ).map(tuple),
        st.binary(max_size=20) | st.sampled_from([b"\r\n", b"--b", b"\r\n--b--", b"x\r\n--b\r\n"]),
    ),
    min_size=1,
    max_size=4,
)


class MultipartTests(SynchronousTestCase):
    def test_lists(self) -> None:
        """Preamble and epilogue are left out; a root names its parts by cid (RFC 4662 §5.4)."""
        body = (
            b"preamble\r\n--50UBfW7\r\nContent-Transfer-Encoding: binary\r\n"
            b"Content-ID: <nXYxAE@pres.vancouver.example.com>\r\n"
            b'Content-Type: application/rlmi+xml;\r\n charset="UTF-8"\r\n\r\n<list/>\r\n'
            b"--50UBfW7 \r\n\r\nplain\r\n\r\n--50UBfW7--\r\nepilogue\r\n--50UBfW7\r\n"
        )
        first, second = parse_multipart(body, "50UBfW7")
        self.assertEqual(first.content_id, "nXYxAE@pres.vancouver.example.com")
        self.assertEqual(first.content_type, 'application/rlmi+xml; charset="UTF-8"')
        self.assertEqual(first.body, b"<list/>")
        self.assertEqual(second, Part((), b"plain\r\n"))
        self.assertTrue(second.content_type.startswith("text/plain"))

    def test_refused(self) -> None:
        """No boundary, no end, a bad boundary and bad header fields are said."""
        for body, boundary in (
            (b"", "b"),
            (b"--b\r\n\r\nx", "b"),
            (b"--c\r\n\r\nx\r\n--c--", "b"),
            (b"--b\r\nno field\r\n\r\nx\r\n--b--", "b"),
            (b"--b\r\n\r\n--b--", "b\r\n"),
            (b"----", ""),
            (b"--b\r\nX: " + b"y" * MOST_HEADER_OCTETS + b"\r\n\r\n\r\n--b--", "b"),
            (b"--b\r\n\r\n\r\n" * (MOST_PARTS + 1) + b"--b--", "b"),
        ):
            self.assertRaises(DocumentError, parse_multipart, body, boundary)

    @given(PARTS)
    @settings(max_examples=200)
    def test_roundTrip(self, parts: list[Part]) -> None:
        """Parts of any octets come back as they were."""
        boundary = free_boundary(parts, "b")
        self.assertEqual(parse_multipart(write_multipart(parts, boundary), boundary), tuple(parts))

    @given(st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"x", b": ", b" "]), max_size=14))
    @settings(max_examples=200)
    def test_anyBytes(self, pieces: list[bytes]) -> None:
        """Any body is split or refused with the documented error."""
        try:
            parse_multipart(b"".join(pieces), "b")
        except DocumentError as error:
            self.assertEqual(error.status, 400)
