"""Changes of XCAP resources (RFC 5874)."""

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import DocumentError
from simplestack.documents.schema import Schema
from simplestack.documents.xcapdiff import (
    AttributeState,
    DocumentChange,
    ElementState,
    XcapDiff,
    parse_xcap_diff,
)
from simplestack.documents.xml import parse_content
from simplestack.documents.xmldiff import diff
from simplestack.documents.xmlpatch import apply
from tests.documents.examples import DIRECTORY, examples, meaning


class XcapDiffTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """The examples of RFC 5874 and RFC 5875 keep their meaning and validity."""
        count = 0
        for example in examples("xcap-diff"):
            count += 1
            written = parse_xcap_diff(example.data).to_bytes()
            Schema("xcap-diff").validate(parse_content(written))
            self.assertEqual(
                meaning(etree.fromstring(written)),
                meaning(etree.fromstring(example.data)),
                example.file,
            )
        self.assertEqual(count, 19)

    def test_values(self) -> None:
        """Documents, elements and attributes are told apart (RFC 5874 §4)."""
        data = (DIRECTORY / "rfc5874" / "5-01.xml").read_bytes()
        document, element, attribute = parse_xcap_diff(data).changes
        assert isinstance(document, DocumentChange)
        self.assertEqual((document.new_etag, document.previous_etag), ("7ahggs", "8a77f8d"))
        assert isinstance(element, ElementState)
        assert element.element is not None
        self.assertEqual(element.element.name[1], "service")
        assert isinstance(attribute, AttributeState)
        self.assertEqual(attribute.value, "sip:marketing@example.com")

    def test_patches(self) -> None:
        """A patch that went through an xcap-diff document makes the new document."""
        old = b'<doc xmlns="urn:d"><note>a</note><x xmlns=""/></doc>'
        new = b'<doc xmlns="urn:d"><note>b</note><x xmlns=""><y/></x><e/></doc>'
        change = DocumentChange("tests/users/u/index", "2", "1", tuple(diff(old, new)))
        (read,) = parse_xcap_diff(XcapDiff("http://h/", (change,)).to_bytes()).changes
        assert isinstance(read, DocumentChange)
        found = apply(old, read.operations)
        self.assertEqual(
            etree.tostring(etree.fromstring(found), method="c14n"),
            etree.tostring(etree.fromstring(new), method="c14n"),
        )

    def test_flags(self) -> None:
        """Existence and an unchanged body are written as the schema says."""
        value = XcapDiff(
            "http://h/",
            (
                DocumentChange("a", "2", "1", unchanged=True),
                DocumentChange("b", None, "1"),
                ElementState("c", None, False),
                AttributeState("d", "", True),
            ),
        )
        Schema("xcap-diff").validate(parse_content(value.to_bytes()))
        self.assertEqual(parse_xcap_diff(value.to_bytes()), value)
        self.assertRaises(DocumentError, parse_xcap_diff, b"<xcap-diff/>")
