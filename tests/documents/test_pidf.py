"""Presence documents as values (RFC 3863, RFC 4479)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, element, read
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import (
    Device,
    Note,
    Person,
    Presence,
    Tuple,
    closed,
    parse_presence,
    registered,
    validate,
)

PIDF = ns.PIDF


def document(body: str, attributes: str = 'entity="sip:bob@example.com"') -> bytes:
    """Give a presence document around some markup."""
    return (
        f'<presence xmlns="{PIDF}" xmlns:dm="{ns.DATA_MODEL}" xmlns:r="{ns.RPID}" {attributes}>'
        f"{body}</presence>"
    ).encode()


class StructureTests(SynchronousTestCase):
    def refused(self, data: bytes, part: str) -> None:
        """Check that a document is refused with a message that says why."""
        error = self.assertRaises(DocumentError, parse_presence, data)
        self.assertIn(part, str(error))
        self.assertEqual(error.status, 400)

    def test_root(self) -> None:
        """Any other root element is not a presence document (RFC 3863 §4.1.1)."""
        self.refused(b"<presence entity='sip:a@b'/>", "root element")
        self.refused(f'<tuple xmlns="{PIDF}"/>'.encode(), "root element")

    def test_entity(self) -> None:
        """The presence element MUST have an entity (RFC 3863 §4.1.1)."""
        self.refused(document("", ""), "entity")
        self.refused(document("", 'entity=" "'), "entity")

    def test_tupleId(self) -> None:
        """A tuple MUST contain an id (RFC 3863 §4.1.2)."""
        self.refused(document("<tuple><status/></tuple>"), '"id"')

    def test_uniqueIds(self) -> None:
        """An id is unique in the document, also between services, persons and devices."""
        one = '<tuple id="a"><status/></tuple>'
        self.refused(document(one + one), "same")
        self.refused(document(one + '<dm:person id="a"/>'), "same")

    def test_status(self) -> None:
        """A status is mandatory, and basic is open or closed (RFC 3863 §4.1.2, §4.1.4)."""
        self.refused(document('<tuple id="a"/>'), "status")
        bad = "<status><basic>away</basic></status>"
        self.refused(document(f'<tuple id="a">{bad}</tuple>'), "basic")
        good = "<status><basic>\n open </basic></status>"
        parsed = parse_presence(document(f'<tuple id="a">{good}</tuple>'))
        self.assertEqual(parsed.tuples[0].basic, "open")

    def test_deviceId(self) -> None:
        """A device has a device ID (RFC 4479 §3.4)."""
        self.refused(document('<dm:device id="d"/>'), "deviceID")

    def test_priority(self) -> None:
        """A priority out of range is ignored "as if the attribute was not present" (§4.1.5)."""
        for written, kept in (("0.8", "0.8"), ("1.000", "1.000"), ("1.1", None), ("09", None)):
            parsed = parse_presence(
                document(
                    f'<tuple id="a"><status/><contact priority="{written}">sip:b</contact></tuple>'
                )
            )
            self.assertEqual(parsed.tuples[0].contact_priority, kept)
        self.assertLess(Tuple("a").priority, Tuple("a", contact_priority="0").priority)

    def test_anyOrder(self) -> None:
        """Children in an order that the schema does not allow are put right."""
        data = document(
            '<dm:person id="p"><dm:note>x</dm:note><r:class>c</r:class></dm:person>'
            '<tuple id="a"><timestamp>2026-01-01T00:00:00Z</timestamp><note>n</note>'
            "<contact>sip:b@c</contact><r:class>d</r:class><status/></tuple>"
        )
        self.assertRaises(DocumentError, validate, data)
        parsed = parse_presence(data)
        validate(parsed.to_bytes())
        self.assertEqual(parse_presence(parsed.to_bytes()), parsed)

    def test_unknownNamesOfPidf(self) -> None:
        """An unrecognized name is ignored with all its content (RFC 3863 §4.2.3)."""
        parsed = parse_presence(document('<future><tuple id="x"/></future><note lang="x">n</note>'))
        self.assertEqual(parsed, Presence("sip:bob@example.com", notes=(Note("n"),)))

    def test_unknownExtensionsSurvive(self) -> None:
        """Extensions stay with their parent: document, tuple, status, person, device."""
        x = '<x:e xmlns:x="urn:x"> a <y b="1" xmlns=""/> c </x:e>'
        parsed = parse_presence(
            document(
                f'<tuple id="a"><status>{x}</status>{x}</tuple><dm:person id="p">{x}</dm:person>'
                f'<dm:device id="d">{x}<dm:deviceID>urn:d</dm:deviceID></dm:device>{x}'
            )
        )
        holders = (
            parsed.tuples[0].status,
            parsed.tuples[0].elements,
            parsed.persons[0].elements,
            parsed.devices[0].elements,
            parsed.extensions,
        )
        for (kept,) in holders:
            self.assertEqual(kept.name, "{urn:x}e")
            self.assertEqual(
                etree.tostring(etree.fromstring(kept.standalone()), method="c14n"),
                etree.tostring(etree.fromstring(x), method="c14n"),
            )
        self.assertEqual(parse_presence(parsed.to_bytes()), parsed)

    def test_notesWithLanguages(self) -> None:
        """Notes keep language and order (RFC 3863 §4.1.6)."""
        data = document('<note xml:lang="en">a &amp; b</note><note xml:lang="fr">c</note>')
        self.assertEqual(parse_presence(data).notes, (Note("a & b", "en"), Note("c", "fr")))

    def test_closed(self) -> None:
        """The closed document is one closed service and nothing else (RFC 5025 §3.2.1)."""
        document_ = closed("sip:bob@example.com")
        validate(document_.to_bytes())
        self.assertEqual([each.basic for each in document_.tuples], ["closed"])
        self.assertEqual((document_.persons, document_.devices, document_.notes), ((), (), ()))

    def test_registered(self) -> None:
        """Registered contacts are open services with their priority."""
        document_ = registered(
            "sip:bob@example.com", [("a", "sip:bob@192.0.2.1", "0.5"), ("b", "sip:b@h", "7")]
        )
        validate(document_.to_bytes())
        self.assertEqual(
            [(each.basic, each.contact_priority) for each in document_.tuples],
            [("open", "0.5"), ("open", None)],
        )

    def test_prefixesDeclaredAsUsed(self) -> None:
        """A plain document declares no namespace that it does not use."""
        self.assertEqual(closed("sip:b@h").to_bytes().count(b"xmlns"), 1)

    def test_times(self) -> None:
        """A timestamp is given in unix seconds; one that cannot be read is none."""
        self.assertEqual(Tuple("a", timestamp="1970-01-01T00:00:10Z").time, 10.0)
        self.assertIsNone(Person("a", timestamp="yesterday").time)
        self.assertIsNone(Device("a", "urn:d").time)


class ElementTests(SynchronousTestCase):
    def test_sameMeaningSameValue(self) -> None:
        """Prefixes and layout of the namespaces we know make no difference."""
        one = read(etree.fromstring(f'<a xmlns="{ns.RPID}">\n <b x="1"/>\n</a>'.encode()))
        two = read(etree.fromstring(f'<q:a xmlns:q="{ns.RPID}"><q:b x="1"/></q:a>'.encode()))
        self.assertEqual(one, two)
        self.assertEqual(hash(one), hash(two))
        self.assertEqual((one.namespace, one.local), (ns.RPID, "a"))

    def test_foreignWhiteSpaceStays(self) -> None:
        """White space inside an element that we do not know may be content."""
        kept = read(etree.fromstring(b'<a xmlns="urn:x"><b/> <c/></a>'))
        self.assertIn("> <", kept.xml)

    def test_prefixesThatClash(self) -> None:
        """A foreign element may use our prefixes for its own namespaces."""
        source = (
            b'<dm:a xmlns:dm="urn:x" xmlns:rpid="urn:y" rpid:k="v"><rpid:b/><ns1:c '
            b'xmlns:ns1="urn:z"/><dm:d rpid:k="w"/></dm:a>'
        )
        kept = read(etree.fromstring(source)).tree()
        self.assertEqual(kept.tag, "{urn:x}a")
        self.assertEqual([c.tag for c in kept], ["{urn:y}b", "{urn:z}c", "{urn:x}d"])
        self.assertEqual(kept.get("{urn:y}k"), "v")
        self.assertEqual(kept[2].get("{urn:y}k"), "w")

    def test_qualifiedNamesInContent(self) -> None:
        """The prefix of a name in an attribute value stays declared."""
        source = (
            b'<a xmlns="urn:x" xmlns:t="urn:types" '
            b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="t:thing">t:text</a>'
        )
        kept = read(etree.fromstring(source)).tree()
        self.assertEqual(kept.nsmap["t"], "urn:types")

    def test_noNamespace(self) -> None:
        """An element of no namespace stays one, wherever it is put."""
        kept = read(etree.fromstring(b"<a><b/></a>"))
        outer = etree.fromstring(f'<x xmlns="urn:x">{kept.xml}</x>'.encode())
        self.assertEqual([node.tag for node in outer.iter()], ["{urn:x}x", "a", "b"])

    def test_build(self) -> None:
        """Elements of known namespaces are built from text and from children."""
        built = element(ns.RPID, "activities", [element(ns.RPID, "other", "a<b")], [("id", 'x"')])
        self.assertEqual(built.tree()[0].text, "a<b")
        self.assertEqual(built.tree().get("id"), 'x"')
        self.assertEqual(read(built.tree()), built)


# Every character that XML can carry, markup and line ends among them.
TEXT = st.text(
    st.characters(codec="utf-8", min_codepoint=32).filter(lambda c: c not in "\ufffe\uffff")
    | st.sampled_from("<>&\"'\t\n\r ]"),
    max_size=12,
)
NAME = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
NOTES = st.lists(
    st.builds(Note, TEXT, st.none() | st.sampled_from(["en", "fr-CA"])), max_size=2
).map(tuple)
TOKEN = NAME
STAMP = st.none() | st.just("2026-01-02T03:04:05.678+09:00")
RPID_ELEMENT = st.builds(
    lambda inner, value: element(ns.RPID, "activities", [element(ns.RPID, inner)], [("id", value)]),
    st.sampled_from(["away", "busy", "lunch"]),
    NAME,
)


@st.composite
def foreign(draw: st.DrawFn, depth: int = 1) -> etree._Element:
    """Build an element of namespaces that are not ours, or ours in odd places."""
    namespace = draw(st.sampled_from(["urn:x", "urn:y", "", ns.RPID, ns.PIDF]))
    name = draw(NAME)
    node = etree.Element(f"{{{namespace}}}{name}" if namespace else name)
    node.text = draw(TEXT)
    for key, value in draw(st.dictionaries(NAME, TEXT, max_size=2)).items():
        node.set(f"{{urn:{key}}}{key}" if draw(st.booleans()) else key, value)
    if depth:
        for child in draw(st.lists(foreign(depth - 1), max_size=2)):
            child.tail = draw(TEXT)
            node.append(child)
    return node


def _foreign_element(node: etree._Element) -> Element:
    outer = etree.Element("{urn:x}outer")
    outer.append(node)
    return read(outer)


EXTENSIONS = st.lists(RPID_ELEMENT | foreign().map(_foreign_element), max_size=2).map(tuple)


@st.composite
def presences(draw: st.DrawFn) -> Presence:
    """Build a presence document whose ids are unique."""
    number = iter(range(100))

    def id_() -> str:
        return f"i{next(number)}"

    tuples = [
        Tuple(
            id_(),
            draw(st.sampled_from(["open", "closed", None])),
            draw(st.none() | TOKEN),
            None,
            draw(STAMP),
            draw(NOTES),
            draw(st.none() | TOKEN),
            draw(st.none() | TOKEN),
            draw(EXTENSIONS),
            draw(EXTENSIONS),
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    persons = [
        Person(id_(), draw(st.none() | TOKEN), draw(EXTENSIONS), draw(NOTES), draw(STAMP))
        for _ in range(draw(st.integers(0, 2)))
    ]
    devices = [
        Device(id_(), draw(TOKEN), None, draw(EXTENSIONS), draw(NOTES), draw(STAMP))
        for _ in range(draw(st.integers(0, 2)))
    ]
    return Presence(
        "sip:" + draw(TOKEN) + "@example.com",
        tuple(tuples),
        tuple(persons),
        tuple(devices),
        draw(NOTES),
        draw(EXTENSIONS),
    )


class PropertyTests(SynchronousTestCase):
    @given(presences())
    @settings(max_examples=60, deadline=None)
    def test_roundTrip(self, document_: Presence) -> None:
        """Reading what was written gives the same value."""
        self.assertEqual(parse_presence(document_.to_bytes()), document_)

    @given(foreign())
    @settings(max_examples=60, deadline=None)
    def test_elementsKeepTheirCanonicalForm(self, node: etree._Element) -> None:
        """A foreign element comes out as the same information set that went in."""
        outer = etree.Element("{urn:x}outer")
        outer.append(node)
        kept = read(outer).tree()
        self.assertEqual(_infoset(kept), _infoset(outer))

    @given(st.binary(max_size=60), st.integers(0, 400))
    @settings(max_examples=200, deadline=None)
    def test_damagedDocuments(self, noise: bytes, position: int) -> None:
        """A document with any damage parses or raises the documented error."""
        whole = document(
            '<tuple id="a"><status><basic>open</basic></status></tuple><dm:person id="p"/>'
        )
        try:
            parse_presence(whole[:position] + noise + whole[position + len(noise) :])
        except DocumentError as error:
            self.assertEqual(error.status, 400)


def _infoset(node: etree._Element) -> object:
    """Give tag, attributes, text and children; layout between known elements left out."""
    known = str(node.tag).startswith((f"{{{ns.RPID}}}", f"{{{ns.PIDF}}}"))

    def kept(value: str | None) -> str:
        if not value or (known and len(node) and value.isspace()):
            return ""
        return value

    return (
        node.tag,
        sorted((str(k), str(v)) for k, v in node.attrib.items()),
        kept(node.text),
        [(_infoset(child), kept(child.tail)) for child in node],
    )
