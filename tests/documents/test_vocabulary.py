"""What libxml2 may learn of strangers."""

import contextlib
from pathlib import Path
from unittest import SkipTest

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import SchemaError
from simplestack.documents.pidf import read_presence
from simplestack.documents.schema import Schema
from simplestack.documents.vocabulary import SAMPLE, Vocabulary

ORDINARY = (
    b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:alice@example.com">'
    b'<tuple id="t1"><status><basic>open</basic></status></tuple></presence>'
)


def strange(serial: int) -> bytes:
    """A presence document with fifty long names that no other one has."""
    names = b"".join(
        b'<q:n%d-%b xmlns:q="u"/>' % (serial * 50 + at, b"x" * 900) for at in range(50)
    )
    return ORDINARY.replace(b"</presence>", names + b"</presence>")


def resident() -> int:
    """The octets of this process that are in memory."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    except OSError:
        raise SkipTest("the system does not show the memory of a process") from None


class VocabularyTests(SynchronousTestCase):
    def test_few_are_looked_at(self) -> None:
        """About one document of 256 is looked at, until there is no room left: then each is."""
        vocabulary = Vocabulary(1)
        looked = [not vocabulary.takes(b"<a>%d</a>" % at) for at in range(100 * SAMPLE)]
        self.assertTrue(50 < sum(looked) < 200, sum(looked))
        vocabulary.read(strange(0), etree.XMLParser)
        self.assertFalse(any(vocabulary.takes(b"<a>%d</a>" % at) for at in range(SAMPLE)))

    def test_the_same_names(self) -> None:
        """Names that are known take no room, however often they come."""
        vocabulary = Vocabulary(SAMPLE * 1000)
        for _ in range(1000):
            vocabulary.read(ORDINARY, etree.XMLParser)
        self.assertTrue(any(vocabulary.takes(b"<a>%d</a>" % at) for at in range(10)))

    def test_all_that_is_learned(self) -> None:
        """Elements, attributes, namespaces, instructions and blanks all take room."""
        for document in (
            b"<%b/>",
            b"<a %b='1'/>",
            b"<a xmlns:p='%b'/>",
            b"<a xmlns:%b='u'/>",
            b"<?%b x?><a/>",
            b"<a/><?%b x?>",
            # What is not well-formed may have any names.
            b"<a></%b>",
        ):
            vocabulary = Vocabulary(SAMPLE * 900)
            with contextlib.suppress(etree.XMLSyntaxError):
                vocabulary.read(document % (b"x" * 1000), etree.XMLParser)
            self.assertFalse(vocabulary.takes(b"<a/>") or vocabulary.takes(b"<b/>"), document)
        vocabulary = Vocabulary(SAMPLE * 900)
        blanks = b"".join(b"<b/>" + b" " * at for at in range(1, 40))
        vocabulary.read(b"<a>%b</a>" % blanks, etree.XMLParser)
        self.assertFalse(vocabulary.takes(b"<a/>") or vocabulary.takes(b"<b/>"))

    def test_texts(self) -> None:
        """Texts and values are no names: they take no room."""
        vocabulary = Vocabulary(SAMPLE * 400)
        for at in range(100):
            document = b"<a b='%b'>%b<c/>%b</a>" % ((b"%d" % at * 50,) * 3)
            vocabulary.read(document, etree.XMLParser)
        self.assertTrue(any(vocabulary.takes(b"<a>%d</a>" % at) for at in range(10)))

    def test_memory(self) -> None:
        """Without room the names of strangers are gone with their documents."""
        vocabulary = Vocabulary(0)
        for serial in range(20):
            vocabulary.read(strange(serial), etree.XMLParser)
        before = resident()
        # 22 MB of names.
        for serial in range(20, 520):
            root = vocabulary.read(strange(serial), etree.XMLParser)
            assert root is not None
            self.assertEqual(len(read_presence(root).extensions), 50)
        self.assertLess(resident() - before, 5_000_000)

    def test_the_same_document(self) -> None:
        """A document that was read so is the same as another, for whoever looks at it or checks it."""
        vocabulary = Vocabulary(0)
        root = vocabulary.read(ORDINARY, etree.XMLParser)
        assert root is not None
        self.assertEqual(etree.tostring(root), etree.tostring(etree.fromstring(ORDINARY)))
        self.assertEqual(read_presence(root), read_presence(etree.fromstring(ORDINARY)))
        schema = Schema("all-presence")
        schema.validate(root)
        bad = vocabulary.read(ORDINARY.replace(b"status>", b"state>"), etree.XMLParser)
        assert bad is not None
        self.assertRaises(SchemaError, schema.validate, bad)

    def test_errors(self) -> None:
        """What is not well-formed is told with its place, as ever."""
        for room in (0, 10**9):
            vocabulary = Vocabulary(room)
            error = self.assertRaises(
                etree.XMLSyntaxError, vocabulary.read, b"<a>\n<b></a>", etree.XMLParser
            )
            self.assertEqual(error.position[0], 2)
