"""Registration information (RFC 3680, RFC 5628)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.elements import Element
from simplestack.documents.errors import DocumentError
from simplestack.documents.reginfo import (
    CONTACT_STATES,
    EVENTS,
    Contact,
    RegInfo,
    Registration,
    TemporaryGruu,
    parse_reginfo,
)
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_content

NS = 'xmlns="urn:ietf:params:xml:ns:reginfo"'
NUMBER = st.none() | st.integers(0, 2**32)
CONTACTS = st.builds(
    Contact,
    st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
    st.sampled_from(sorted(CONTACT_STATES)),
    st.sampled_from(sorted(EVENTS)),
    # libxml2 knows no brackets in an xs:anyURI that has no "//".
    st.sampled_from(["sip:a@192.0.2.1:5060;transport=tcp", "sip:a@b?x=1&y=2"]),
    st.none() | st.sampled_from(['Alice <&> "Bob"', "Ünïcode"]),
    NUMBER,
    NUMBER,
    NUMBER,
    st.none() | st.just("0.5"),
    st.none() | st.just("1j9FpLxk3uxtm8tn@192.0.2.1"),
    NUMBER,
    st.sampled_from([(), (("+sip.instance", '"<urn:uuid:1>"'), ("reg-id", "1"))]),
    st.none(),
    st.none() | st.just("sip:a@b;gr=x"),
    st.none() | st.builds(TemporaryGruu, st.just("sip:t@b;gr"), st.integers(0, 9)),
    st.sampled_from([(), (Element("{urn:x}e", '<x:e xmlns:x="urn:x"/>'),)]),
)


class RegInfoTests(SynchronousTestCase):
    @given(
        st.builds(
            RegInfo,
            st.integers(0, 2**31),
            st.sampled_from(["full", "partial"]),
            st.lists(
                st.builds(
                    Registration,
                    st.just("sip:bob@example.com"),
                    st.just("a"),
                    st.sampled_from(["init", "active", "terminated"]),
                    st.lists(CONTACTS, max_size=3).map(tuple),
                ),
                max_size=2,
            ).map(tuple),
        )
    )
    @settings(max_examples=60)
    def test_roundTrip(self, document: RegInfo) -> None:
        """What is written is valid by the schemas and read as the same value (RFC 3680 §5.4)."""
        written = document.to_bytes()
        Schema("all-reginfo").validate(parse_content(written))
        self.assertEqual(parse_reginfo(written), document)

    def test_emptyRegistration(self) -> None:
        """Nobody registered is one registration in state init (RFC 3680 §4.7.1)."""
        document = RegInfo(0, "full", (Registration("sip:bob@example.com", "r", "init"),))
        Schema("all-reginfo").validate(parse_content(document.to_bytes()))

    def test_refused(self) -> None:
        """Missing or unknown mandatory attributes are said (RFC 3680 §5.1)."""
        contact = "<contact id='c' state='active' event='registered'>"
        for inner in (
            "<registration id='r' state='active'/>",
            "<registration aor='sip:a@b' state='active'/>",
            "<registration aor='sip:a@b' id='r' state='idle'/>",
            f"<registration aor='sip:a@b' id='r' state='active'>{contact}</contact></registration>",
            "<registration aor='sip:a@b' id='r' state='active'><contact id='c' state='init' "
            "event='registered'><uri>sip:c@d</uri></contact></registration>",
            "<registration aor='sip:a@b' id='r' state='active'><contact id='c' state='active' "
            "event='registered' expires='soon'><uri>sip:c@d</uri></contact></registration>",
        ):
            body = f"<reginfo {NS} version='0' state='full'>{inner}</reginfo>"
            self.assertRaises(DocumentError, parse_reginfo, body.encode())
        for root in ("<reginfo version='0' state='full'/>", f"<reginfo {NS} version='0'/>"):
            self.assertRaises(DocumentError, parse_reginfo, root.encode())
