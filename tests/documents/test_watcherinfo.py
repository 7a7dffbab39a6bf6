"""Watcher information (RFC 3858)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import DocumentError
from simplestack.documents.schema import Schema
from simplestack.documents.watcherinfo import (
    EVENTS,
    STATUSES,
    Watcher,
    WatcherInfo,
    WatcherList,
    parse_watcherinfo,
)
from simplestack.documents.xml import parse_content

NS = 'xmlns="urn:ietf:params:xml:ns:watcherinfo"'
NAME = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc")), max_size=9).map(
    lambda text: text.replace("\ufffe", "").replace("\uffff", "")
)
NUMBER = st.none() | st.integers(0, 2**64 - 1)
WATCHERS = st.builds(
    Watcher,
    st.sampled_from(["sip:a@b.org", "tel:+12", "sip:a@b?x=1&y=2"]),
    st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True),
    st.sampled_from(sorted(STATUSES)),
    st.sampled_from(sorted(EVENTS)),
    st.none() | NAME,
    NUMBER,
    NUMBER,
    st.none() | st.just("en"),
)
DOCUMENTS = st.builds(
    WatcherInfo,
    st.integers(0, 2**32 - 1),
    st.sampled_from(["full", "partial"]),
    st.lists(
        st.builds(
            WatcherList,
            st.just("sip:bob@example.com"),
            st.sampled_from(["presence", "presence.winfo"]),
            st.lists(WATCHERS, max_size=3).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)


class WatcherInfoTests(SynchronousTestCase):
    @given(DOCUMENTS)
    @settings(max_examples=60)
    def test_roundTrip(self, document: WatcherInfo) -> None:
        """What is written is valid by the schema of RFC 3858 §6 and read as the same value."""
        written = document.to_bytes()
        Schema("watcherinfo").validate(parse_content(written))
        self.assertEqual(parse_watcherinfo(written), document)

    def test_refused(self) -> None:
        """Missing or unknown mandatory attributes are said (RFC 3858 §3)."""
        for body in (
            f"<watcherinfo {NS} state='full'/>",
            f"<watcherinfo {NS} version='0'/>",
            f"<watcherinfo {NS} version='-1' state='full'/>",
            f"<watcherinfo {NS} version='0' state='half'/>",
            "<watcherinfo version='0' state='full'/>",
            f"<watcherinfo {NS} version='0' state='full'><watcher-list package='presence'/>"
            "</watcherinfo>",
            f"<watcherinfo {NS} version='0' state='full'><watcher-list resource='sip:a@b' "
            "package='presence'><watcher id='a' status='asleep' event='subscribe'>sip:c@d"
            "</watcher></watcher-list></watcherinfo>",
        ):
            self.assertRaises(DocumentError, parse_watcherinfo, body.encode())

    def test_undecodableName(self) -> None:
        """A display name with octets that are no UTF-8 still makes a document."""
        name = b"Mr. \xff\x00".decode("utf-8", "surrogateescape")
        watcher = Watcher("sip:a@b", "i", "active", "subscribe", name)
        document = WatcherInfo(0, "full", (WatcherList("sip:c@d", "presence", (watcher,)),))
        read = parse_watcherinfo(document.to_bytes())
        self.assertEqual(read.lists[0].watchers[0].display_name, "Mr. \ufffd\ufffd")
