"""The laws of change sets."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.state import RECORD_KINDS, Binding, ChangeSet, Document, Publication, Removed
from tests.state.applied import applied
from tests.store.records import ALICE, BOB, binding, change_sets, document, publication


class ChangeSetTests(SynchronousTestCase):
    def test_empty(self) -> None:
        """One without entries is false, and changes nothing."""
        changes = ChangeSet(ALICE)
        self.assertFalse(changes)
        self.assertEqual(len(changes), 0)
        self.assertEqual(list(applied(changes)), [])
        self.assertTrue(ChangeSet(ALICE, [binding()]))

    def test_last_wins(self) -> None:
        """Later entries replace earlier ones of the same kind and id."""
        changes = ChangeSet(ALICE, [binding(cseq=1), publication(key="b1")])
        changes.remove(binding(), "unregistered")
        changes.put(binding(cseq=2))
        self.assertEqual(len(changes), 2)
        self.assertEqual(applied(changes).bindings, {"b1": binding(cseq=2)})
        changes.remove(binding(cseq=2), "expired", retry_after=5, silent=True)
        self.assertEqual(list(changes.of(Binding)), [Removed(binding(cseq=2), "expired", 5, True)])
        self.assertEqual(list(applied(changes)), [publication(key="b1")])

    def test_of(self) -> None:
        """Entries are found by kind."""
        changes = ChangeSet(ALICE, [binding(), document()])
        self.assertEqual(list(changes.of(Binding)), [binding()])
        self.assertEqual(list(changes.of(Document)), [document()])
        self.assertEqual(list(changes.of(Publication)), [])
        self.assertEqual(
            [kind for kind in RECORD_KINDS if changes.touches(kind)], [Binding, Document]
        )

    def test_equality(self) -> None:
        """Equal are those of the same AOR with the same entries, whatever their order."""
        one = ChangeSet(ALICE, [binding(), document()])
        self.assertEqual(one, ChangeSet(ALICE, [document(), binding()]))
        self.assertNotEqual(one, ChangeSet(BOB, [binding(), document()]))
        self.assertNotEqual(one, ChangeSet(ALICE, [binding()]))
        self.assertNotEqual(one, "something else")
        self.assertRaises(TypeError, hash, one)

    @given(st.lists(change_sets(), max_size=4))
    def test_update(self, sequence: list[ChangeSet]) -> None:
        """Change sets taken together change what they change one after the other."""
        together = ChangeSet(ALICE)
        for changes in sequence:
            together.update(changes)
        self.assertEqual(applied(together), applied(*sequence))
