"""Looking nodes up finds what searching for them finds (RFC 4825 §6.3)."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.xcap.edit import find
from simplestack.xcap.lookup import Lookup, lookup
from simplestack.xcap.nodes import Name, NodeSelector, Step
from simplestack.xcap.source import scan
from tests.xcap.documents import DOCUMENTS

_NAMESPACES = st.sampled_from(["", "urn:one", "urn:two", "urn:default"])
_NAMES = st.builds(Name, _NAMESPACES, st.sampled_from(["a", "b", "ab", "r"]))
_ATTRIBUTES = st.builds(Name, st.sampled_from(["", "urn:one"]), st.sampled_from(["id", "n"]))
_STEPS = st.builds(
    Step,
    st.none() | _NAMES,
    st.none() | st.integers(0, 4),
    st.none() | _ATTRIBUTES,
    st.sampled_from(["1", "2", "a & b", "<", "it's", "", "ü", " ", "/"]),
)
_ANY = st.just(Step(None))
_SELECTORS = st.builds(
    lambda root, steps, attribute: NodeSelector((root, *steps), attribute, "", False),
    st.just(Step(None)) | _STEPS,
    st.lists(_STEPS | _ANY, max_size=3),
    st.none() | _ATTRIBUTES,
)


class LookupTests(SynchronousTestCase):
    """The index of a document."""

    @given(DOCUMENTS, st.lists(_SELECTORS, min_size=1, max_size=8), st.booleans())
    def test_same(self, document: bytes, selectors: list[NodeSelector], few: bool) -> None:
        """Whatever is selected, in whatever order, by index or by search."""
        index = Lookup(document, 16 if few else 0)
        for selector in selectors:
            mine, other = index.find(selector), find(document, selector)
            self.assertEqual(mine is None, other is None, selector)
            if mine is not None and other is not None:
                self.assertEqual(mine.element.number, other.element.number)
                self.assertEqual(mine.attribute, other.attribute)

    @given(DOCUMENTS)
    def test_fingerprints(self, document: bytes) -> None:
        """The same octets in the same scope, and no others, have the same fingerprint."""
        index = Lookup(document)
        waiting, found = [scan(document)], []
        while waiting:
            element = waiting.pop()
            found.append(element)
            waiting += element.children
        kinds = {(each.octets, index.scope(each)) for each in found}
        self.assertEqual(len({index.fingerprint(each) for each in found}), len(kinds))

    def test_last_is_kept(self) -> None:
        """Those who ask for the same document share its index; another takes its place."""
        first = lookup(b"<a/>")
        self.assertIs(lookup(bytes(bytearray(b"<a/>"))), first)
        self.assertIsNot(lookup(b"<b/>"), first)
        self.assertIsNot(lookup(b"<a/>"), first)
