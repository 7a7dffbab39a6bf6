"""Partial presence documents (RFC 5262, RFC 5263, RFC 5264)."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import element
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Note, Person, Presence, Tuple, parse_presence
from simplestack.documents.pidfdiff import (
    PidfDiff,
    PidfFull,
    changes_between,
    parse_pidf_diff,
    patch,
    presence_document,
)
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_content
from tests.documents.examples import DIRECTORY, examples, meaning
from tests.documents.test_pidf import presences


def example(name: str) -> bytes:
    """Give an example document."""
    return (DIRECTORY / name).read_bytes()


def _words(data: bytes) -> object:
    return repr(meaning(etree.fromstring(data))).replace("\\n", " ").split()


class ExampleTests(SynchronousTestCase):
    def test_sequenceOf5262(self) -> None:
        """The diff of RFC 5262 §6 turns its first full document into its last."""
        document = presence_document(example("rfc5262/6-01.xml"))
        changes = parse_pidf_diff(example("rfc5262/6-02.xml"))
        assert isinstance(changes, PidfDiff)
        self.assertEqual((changes.version, changes.entity), (568, "pres:someone@example.com"))
        found = patch(document, changes)
        # The note itself says "person" in one and "note" in the other.
        expected = presence_document(
            example("rfc5262/6-03.xml").replace(b"note elem", b"person elem")
        )
        self.assertEqual(_words(found), _words(expected))

    def test_full(self) -> None:
        """Full documents keep their meaning; what is valid stays so (RFC 5262 §3)."""
        for each in examples("pidf-full"):
            full = parse_pidf_diff(each.data)
            assert isinstance(full, PidfFull)
            written = full.to_bytes()
            self.assertEqual(parse_pidf_diff(written), full)
            self.assertEqual(parse_presence(presence_document(each.data)), full.presence)
            self.assertEqual(parse_presence(presence_document(written)), full.presence)
            if not each.invalid:
                Schema("all-presence").validate(parse_content(written))
                self.assertEqual(
                    meaning(etree.fromstring(written)), meaning(etree.fromstring(each.data))
                )

    def test_diffs(self) -> None:
        """The diffs of the RFCs apply to the full documents beside them."""
        for folder in ("rfc5262/6", "rfc5263/5", "rfc5264/6"):
            changes = parse_pidf_diff(example(f"{folder}-02.xml"))
            assert isinstance(changes, PidfDiff)
            before = presence_document(example(f"{folder}-01.xml"))
            after = parse_presence(patch(before, changes))
            self.assertNotEqual(after, parse_presence(before))
            again = parse_pidf_diff(changes.to_bytes())
            assert isinstance(again, PidfDiff)
            self.assertEqual(parse_presence(patch(before, again)), after)


class ChangesTests(SynchronousTestCase):
    def test_small(self) -> None:
        """A change of one status is one small operation."""
        old = Presence("sip:b@h", tuple(Tuple(f"t{n}", "open") for n in range(5)))
        new = old._replace(tuples=(*old.tuples[:4], Tuple("t4", "closed")))
        changes = changes_between(old, new, 7)
        self.assertEqual(len(changes.operations), 1)
        self.assertLess(len(changes.to_bytes()), 280)
        self.assertEqual(parse_presence(patch(old.to_bytes(), changes)), new)

    def test_moves(self) -> None:
        """What has moved unchanged is written out."""
        old = Presence("sip:b@h", tuple(Tuple(f"t{n}", "open") for n in range(4)))
        new = old._replace(tuples=tuple(reversed(old.tuples)))
        changes = changes_between(old, new)
        self.assertEqual(parse_presence(patch(old.to_bytes(), changes)), new)

    def test_newNamespace(self) -> None:
        """The first element of a namespace brings its declaration along."""
        old = Presence("sip:b@h", (Tuple("t", "open"),))
        activity = element(ns.RPID, "activities", [element(ns.RPID, "busy")])
        new = old._replace(persons=(Person("p", None, (activity,), (Note("x"),)),))
        read = parse_pidf_diff(changes_between(old, new).to_bytes())
        assert isinstance(read, PidfDiff)
        self.assertEqual(parse_presence(patch(old.to_bytes(), read)), new)

    def test_refused(self) -> None:
        """Other documents are refused."""
        self.assertRaises(DocumentError, parse_pidf_diff, b"<pidf-diff/>")
        self.assertRaises(DocumentError, parse_pidf_diff, Presence("sip:b@h").to_bytes())
        self.assertRaises(DocumentError, presence_document, b"<pidf-full/>")

    @given(st.lists(presences(), min_size=2, max_size=3))
    @settings(max_examples=30, deadline=None)
    def test_histories(self, history: list[Presence]) -> None:
        """What a watcher gets, applied step by step, equals the full document (RFC 5263 §4)."""
        document = presence_document(PidfFull(history[0], 0).to_bytes())
        for version, (old, new) in enumerate(pairwise(history), 1):
            written = changes_between(old, new, version).to_bytes()
            Schema("pidf-diff").validate(parse_content(written))
            changes = parse_pidf_diff(written)
            assert isinstance(changes, PidfDiff)
            document = patch(document, changes)
            self.assertEqual(parse_presence(document), new)
