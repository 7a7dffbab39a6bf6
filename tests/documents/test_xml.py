"""The one parser refuses what could hurt, quickly, and says where."""

import time

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import DocumentError, XMLError
from simplestack.documents.xml import Limits, parse, parse_content, serialize


def refusal(data: bytes, limits: Limits | None = None) -> XMLError:
    """Give the error that a document must raise."""
    try:
        parse(data, limits=limits or Limits())
    except XMLError as error:
        return error
    raise AssertionError("the document was taken")


class HardenedParserTests(SynchronousTestCase):
    def quick(self, data: bytes, kind: str) -> None:
        """Check that a document is refused for a reason, with 400, within a second."""
        began = time.perf_counter()
        error = refusal(data)
        self.assertEqual(error.kind, kind)
        self.assertEqual(error.status, 400)
        self.assertLess(time.perf_counter() - began, 1.0)

    def test_billionLaughs(self) -> None:
        """Nested entities are refused with their DTD, unexpanded (RFC 4825 §11, XML 1.0 §2.8)."""
        entities = b"".join(
            b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 20)
        )
        self.quick(b'<!DOCTYPE d [<!ENTITY e0 "ha">%s]><d>&e19;</d>' % entities, "dtd")

    def test_externalEntity(self) -> None:
        """A document cannot make the server read a file or open a connection."""
        self.quick(b'<!DOCTYPE d [<!ENTITY f SYSTEM "file:///etc/passwd">]><d>&f;</d>', "dtd")
        self.quick(b'<?xml version="1.0"?><!-- c --><!DOCTYPE d SYSTEM "http://[::1]/"><d/>', "dtd")

    def test_undeclaredEntity(self) -> None:
        """A reference to an entity that nobody declared is not well-formed (XML 1.0 §4.1)."""
        self.quick(b"<d>&nobody;</d>", "not-well-formed")

    def test_doctypeInContent(self) -> None:
        """The letters of a DTD inside a comment, CDATA or text before no root are not a DTD."""
        root = parse_content(b"<!-- <!DOCTYPE x> --><d><![CDATA[<!DOCTYPE y>]]></d>")
        self.assertEqual(root.text, "<!DOCTYPE y>")
        self.quick(b"<d><!DOCTYPE y></d>", "not-well-formed")

    def test_deepNesting(self) -> None:
        """Elements below the depth limit are refused, whether libxml2 would take them or not."""
        self.quick(b"<a>" * 100 + b"</a>" * 100, "too-deep")
        self.quick(b"<a>" * 40_000 + b"</a>" * 40_000, "too-deep")
        self.assertEqual(len(list(parse(b"<a>" * 64 + b"</a>" * 64).iter())), 64)
        self.quick(b"<a>" * 65 + b"</a>" * 65, "too-deep")
        self.quick(b"<a>" * 64 + b"<b/>" + b"</a>" * 64, "too-deep")

    def test_manyShallowElements(self) -> None:
        """The depth limit counts levels and not elements."""
        self.assertEqual(len(parse(b"<a>" + b"<b>x</b>" * 1000 + b"</a>")), 1000)

    def test_hugeDocument(self) -> None:
        """More octets than the limit are refused before they are looked at."""
        self.quick(b"<a>" + b"x" * 2_000_000 + b"</a>", "too-large")
        self.assertEqual(refusal(b"<a></a>", Limits(octets=6)).kind, "too-large")

    def test_manyNodes(self) -> None:
        """More tags than the limit are refused before a tree is built."""
        self.quick(b"<a>" + b"<b/>" * 60_000 + b"</a>", "too-many-nodes")

    def test_manyAttributes(self) -> None:
        """A megabyte of attributes or namespaces is read or refused in time."""
        for form in (b' a%d=""', b' xmlns:a%d="u"'):
            data = b"<a" + b"".join(form % n for n in range(70_000)) + b"/>"
            began = time.perf_counter()
            try:
                parse(data[:1_048_570])
            except XMLError as error:
                self.assertIn(error.kind, ("not-well-formed", "too-large"))
            self.assertLess(time.perf_counter() - began, 2.0)

    def test_place(self) -> None:
        """What is not well-formed is named with its line and column."""
        error = refusal(b"<a>\n  <b></c>\n</a>")
        self.assertEqual((error.kind, error.line), ("not-well-formed", 2))
        self.assertIn("line 2, column", str(error))
        self.assertEqual(refusal(b"").kind, "not-well-formed")

    def test_messageIsOneLine(self) -> None:
        """A message that quotes a document cannot break out of a header field."""
        error = DocumentError('"a\r\nVia: x\x00" is not a time')
        self.assertEqual(str(error), '"a  Via: x " is not a time')
        self.assertEqual(error.text, str(error))

    def test_encodings(self) -> None:
        """Only UTF-8 is taken, by its octets and by its declaration (RFC 4825 §8.2.5)."""
        self.quick("<a>é</a>".encode("latin-1"), "not-utf-8")
        self.quick('<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"), "not-utf-8")
        self.quick("<a/>".encode("utf-16-be"), "not-utf-8")
        self.quick(b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>', "not-utf-8")
        self.quick(b"<?xml version='1.0' encoding='UTF-7'?><a/>", "not-utf-8")
        self.assertEqual(parse("\ufeff<a>é</a>".encode()).text, "é")
        self.assertEqual(parse(b"<?xml version='1.0' encoding='utf-8' ?><a>b</a>").text, "b")
        error = refusal(b"<a>\n\xff</a>")
        self.assertEqual((error.line, error.column), (2, 1))

    def test_faithful(self) -> None:
        """Comments, processing instructions and CDATA survive where bytes matter."""
        data = b"<?xml version='1.0' encoding='UTF-8'?>\n<a><!-- c --><?p i?><![CDATA[<]]></a>"
        self.assertEqual(serialize(parse(data)), data)
        self.assertEqual(len(parse_content(data)), 0)

    @given(st.binary(max_size=200) | st.text("<>/!-[]?ax=\"'& \n&;", max_size=60).map(str.encode))
    @example(b"\xef\xbb\xbf")
    @example(b"<?xml encoding")
    @example(b"\x00")
    @example(b"<!DOCTYPE")
    @example(b"<!--<!DOCTYPE")
    @settings(max_examples=300, deadline=None)
    def test_anyBytes(self, data: bytes) -> None:
        """Whatever arrives, it parses or raises the one documented error."""
        for parser in (parse, parse_content):
            try:
                parser(data)
            except DocumentError as error:
                self.assertIsInstance(error, XMLError)
                self.assertTrue(str(error))
