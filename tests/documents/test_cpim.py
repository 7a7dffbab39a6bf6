"""CPIM messages, disposition notifications and list meta-information (RFC 3862, 5438, 4662)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import imdn, namespaces
from simplestack.documents.cpim import (
    MOST_HEADERS,
    Cpim,
    Header,
    escape,
    parse_cpim,
    unescape,
)
from simplestack.documents.errors import DocumentError
from simplestack.documents.imdn import STATUSES, Imdn, parse_imdn
from simplestack.documents.multipart import Part
from simplestack.documents.rlmi import Instance, ListName, Resource, Rlmi, parse_rlmi
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_content

MESSAGE = (
    "From: MR SANDERS <im:piglet@100akerwood.com>\r\n"
    "Subject: the weather\r\nSubject:;lang=fr beau temps prevu pour aujourd'hui\r\n"
    "NS: MyFeatures <mid:MessageFeatures@id.foo.com>\r\n"
    "MyFeatures.VitalMessageOption: Confirmation-requested\r\n"
    "NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: 34jk324j\r\n\r\n"
    "Content-type: text/xml; charset=utf-8\r\nContent-ID: <1234567890@foo.com>\r\n\r\n"
    "<body>é</body>"
).encode()


class CpimTests(SynchronousTestCase):
    def test_message(self) -> None:
        """Headers keep order and octets; the content is a MIME entity (RFC 3862 §2, §5.1)."""
        message = parse_cpim(MESSAGE)
        self.assertEqual(message.to_bytes(), MESSAGE.replace(b"Content-type", b"Content-type"))
        self.assertEqual(message.get("From"), "MR SANDERS <im:piglet@100akerwood.com>")
        self.assertEqual(message.headers[2].parameters, (("lang", "fr"),))
        self.assertEqual(message.content.content_id, "1234567890@foo.com")
        self.assertEqual(message.content.body, "<body>é</body>".encode())

    def test_namespaces(self) -> None:
        """The prefix says nothing, its namespace does; names match exactly (§3.4, §2.2)."""
        message = parse_cpim(MESSAGE)
        self.assertEqual(message.get("Message-ID", imdn.CPIM_NAMESPACE), "34jk324j")
        self.assertIsNone(message.get("Message-ID"))
        self.assertIsNone(message.get("from"))
        default = parse_cpim(b"NS: <urn:x>\r\na: b\r\n\r\nContent-Type: text/plain\r\n\r\n")
        self.assertEqual(default.get("a", "urn:x"), "b")
        self.assertIsNone(default.get("a"))

    def test_refused(self) -> None:
        """Lines that are no headers and a content without type are said (§2.2, §2.4)."""
        content = b"\r\n\r\nContent-Type: text/plain\r\n\r\nx"
        for head in (b"From:x", b" From: x", b"From", b"From: a\tb", b"From: \xff", b": x"):
            self.assertRaises(DocumentError, parse_cpim, head + content)
        self.assertRaises(DocumentError, parse_cpim, b"From: x")
        self.assertRaises(DocumentError, parse_cpim, b"From: x\r\n\r\n\r\nx")
        many = b"\r\n".join([b"A: b"] * (MOST_HEADERS + 1))
        self.assertRaises(DocumentError, parse_cpim, many + content)

    @given(st.text(st.characters(codec="utf-8"), max_size=20))
    @settings(max_examples=100)
    def test_escapes(self, value: str) -> None:
        """Escaping makes any text a header value, and is undone (RFC 3862 §2.3)."""
        self.assertEqual(unescape(escape(value)), value)
        message = Cpim(
            (Header("Subject", escape(value)),), Part((("Content-Type", "text/plain"),), b"x")
        )
        self.assertEqual(parse_cpim(message.to_bytes()), message)
        self.assertEqual(message.get("Subject"), value)

    def test_looseEscapes(self) -> None:
        """Unknown escapes are the character itself, a last backslash is nothing (§2.3.1)."""
        self.assertEqual(unescape(r"a\qb\"c\u00e9\u00" + "\\"), 'aqb"céu00')

    @given(st.binary(max_size=40))
    @settings(max_examples=100)
    def test_anyBytes(self, data: bytes) -> None:
        """Any octets are a message or refused with the documented error."""
        try:
            parse_cpim(data + b"\r\n\r\nContent-Type: text/plain\r\n\r\n")
        except DocumentError as error:
            self.assertEqual(error.status, 400)


class ImdnTests(SynchronousTestCase):
    def test_everyStatus(self) -> None:
        """Each status of each kind is valid and read back (RFC 5438 §7)."""
        for kind, statuses in STATUSES.items():
            for status in statuses:
                value = Imdn("id", "2008-04-04T12:16:49-05:00", kind, status, "im:a", "im:b", "s")
                Schema("imdn").validate(parse_content(value.to_bytes()))
                self.assertEqual(parse_imdn(value.to_bytes()), value)

    def test_refused(self) -> None:
        """A missing id and a status of another kind are refused."""
        wrong = Imdn("id", "2008-04-04T12:16:49-05:00", "display", "stored")
        self.assertRaises(DocumentError, parse_imdn, wrong.to_bytes())
        empty = f'<imdn xmlns="{namespaces.IMDN}"/>'.encode()
        self.assertRaises(DocumentError, parse_imdn, empty)
        self.assertRaises(DocumentError, parse_imdn, b"<imdn/>")


class RlmiTests(SynchronousTestCase):
    def test_roundTrip(self) -> None:
        """What is written is valid by the schema and read back (RFC 4662 §5)."""
        value = Rlmi(
            "sip:l@b",
            3,
            False,
            (ListName("L & l", "en"),),
            (Resource("sip:a@b", (), (Instance("i", "terminated", "rejected", "c@d"),)),),
            "x@y",
        )
        Schema("rlmi").validate(parse_content(value.to_bytes()))
        self.assertEqual(parse_rlmi(value.to_bytes()), value)

    def test_refused(self) -> None:
        """Mandatory attributes and known states are demanded."""
        start = f'<list xmlns="{namespaces.RLMI}" uri="sip:l@b"'
        for body in (
            f"{start} version='1'/>",
            f"{start} version='1' fullState='maybe'/>",
            f"{start} version='x' fullState='true'/>",
            f"{start} version='1' fullState='true'><resource uri='sip:a@b'>"
            "<instance id='i' state='idle'/></resource></list>",
            "<list/>",
        ):
            self.assertRaises(DocumentError, parse_rlmi, body.encode())
