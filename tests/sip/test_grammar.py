"""Tokens, quoted strings, parameters and lists."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import REASONS, ParseError, SIPError
from simplestack.sip.grammar import (
    find_param,
    format_params,
    integer,
    is_token,
    parse_params,
    quote,
    split_list,
    unquote,
)
from simplestack.sip.headers import COMMA_LISTS, COMPACT, canonical


class GrammarTests(SynchronousTestCase):
    """RFC 3261 §25.1, basic rules."""

    def test_token(self) -> None:
        """A token is of 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~")."""
        self.assertTrue(is_token("aZ09-.!%*_+`'~"))
        for text in ("", "a b", "a/b", "a:b", "ä", "a\n", '"a"'):
            self.assertFalse(is_token(text), text)

    def test_quoted(self) -> None:
        """quoted-string: quotes, backslashes and control characters are escaped, line ends can't be."""
        self.assertEqual(quote('a "b" \\c'), '"a \\"b\\" \\\\c"')
        self.assertEqual(unquote(quote('a "b" \\c\x07')), 'a "b" \\c\x07')
        self.assertEqual(quote("a\r\nb"), '"a  b"')

    def test_integer(self) -> None:
        """1*DIGIT, of whatever length, cut to a maximum; no sign, and no digits but ASCII's."""
        self.assertEqual(integer("0068", 255), 68)
        self.assertEqual(integer("9" * 10000, 255), 255)
        self.assertEqual(integer("0" * 10000 + "7", 255), 7)
        for text in ("", "-1", "+1", "1.0", " 1", "١", "²", "0x1"):
            self.assertIsNone(integer(text, 255), text)

    def test_params(self) -> None:
        """*( SEMI generic-param ): names in lower case, values as written, LWS around."""
        params = parse_params(' ; Tag = aB ; lr;x="a;b\\"" ;h=[::1]')
        self.assertEqual(params, (("tag", "aB"), ("lr", None), ("x", '"a;b\\""'), ("h", "[::1]")))
        self.assertEqual(find_param(params, "x"), 'a;b"')
        self.assertEqual(find_param(params, "lr"), "")
        self.assertIsNone(find_param(params, "y"))
        self.assertEqual(format_params(params), ';tag=aB;lr;x="a;b\\"";h=[::1]')
        self.assertEqual(parse_params(""), ())

    def test_params_refused(self) -> None:
        """Empty names and values, open quotes and a name that comes twice (§7.3.1) are refused."""
        for text in (
            ";",
            ";;",
            ";a=",
            ";a=;b",
            ';a="b',
            ";=b",
            ";a b",
            ";a;A",
            "a",
            ";a=b c",
            ";é",
            ";tag=a\0b",
        ):
            error = self.assertRaises(SIPError, parse_params, text)
            self.assertEqual(error.status, 400, text)

    def test_lists(self) -> None:
        """§7.3.1: commas divide a list, unless in quotes, <> or a comment."""
        for text, parts in (
            ("", []),
            (" ", []),
            ("a", ["a"]),
            ("a , b,c", ["a", "b", "c"]),
            ("a,,b", ["a", "", "b"]),
            ("a,", ["a", ""]),
            ('"a,b" <sip:c>, d', ['"a,b" <sip:c>', "d"]),
            ('"a\\",b", c', ['"a\\",b"', "c"]),
            ("<sip:a,b@c>;x, <sip:d>", ["<sip:a,b@c>;x", "<sip:d>"]),
            ("a (x, y (z, \\) )), b", ["a (x, y (z, \\) ))", "b"]),
            ("a(, b", ["a(", "b"]),
            ('a", b', ['a"', "b"]),
            ("a<, b", ["a<", "b"]),
        ):
            self.assertEqual(split_list(text), parts, text)

    def test_time_is_linear(self) -> None:
        """No text of the largest header field makes the patterns work more than a moment."""
        for text in (
            '"' * 16000,
            "<" * 16000,
            "(" * 16000,
            "\\" * 16000,
            '"\\' * 8000,
            '(,<"' * 4000,
        ):
            split_list(text)
            split_list("," + text)
        for text in (";" * 16000, " " * 16000, ";a" + " " * 16000 + "=", ";a=" + '"\\' * 8000):
            self.assertRaises(SIPError, parse_params, text)


class NameTests(SynchronousTestCase):
    """Names of header fields."""

    def test_case_and_compact(self) -> None:
        """§7.3.1: names are case-insensitive; §7.3.3: each has at most one compact form."""
        for name, spelling in (
            ("f", "From"),
            ("F", "From"),
            ("from", "From"),
            ("FROM", "From"),
            ("fRoM", "From"),
            ("cseq", "CSeq"),
            ("Call-id", "Call-ID"),
            ("www-authenticate", "WWW-Authenticate"),
            ("sip-etag", "SIP-ETag"),
            ("o", "Event"),
            ("u", "Allow-Events"),
            ("x-my-FIELD", "X-My-Field"),
            ("X-My-Field", "X-My-Field"),
        ):
            self.assertEqual(canonical(name), spelling)

    def test_tables_agree(self) -> None:
        """Every spelling that the tables give is its own canonical name."""
        for name in (*COMPACT.values(), *COMMA_LISTS):
            self.assertEqual(canonical(name), name)
        self.assertEqual(len(set(COMPACT.values())), len(COMPACT))


class ErrorTests(SynchronousTestCase):
    """Errors that carry their answer."""

    def test_reason(self) -> None:
        """RFC 3261 §21: a status has its phrase unless another is given."""
        self.assertEqual(SIPError(489).reason, "Bad Event")
        self.assertEqual(SIPError(489, "No").reason, "No")
        self.assertEqual(str(SIPError(400, text="x")), "400 Bad Request: x")
        self.assertEqual(str(SIPError(404)), "404 Not Found")

    def test_reasons(self) -> None:
        """All status codes are in the range of RFC 3261 §7.2."""
        self.assertTrue(all(100 <= status <= 699 and reason for status, reason in REASONS.items()))

    def test_parse_error(self) -> None:
        """A ParseError is answered like any SIPError, where there is something to answer."""
        error = ParseError(513, "too large")
        self.assertEqual((error.status, error.reason), (513, "Message Too Large"))
        self.assertIsNone(error.message)
        self.assertEqual(error.earlier, ())
