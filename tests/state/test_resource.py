"""The laws of the state that changes are made to."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.state import (
    Binding,
    ChangeSet,
    Publication,
    Removed,
    ResourceState,
    Subscription,
)
from tests.state.applied import applied
from tests.store.records import (
    ALICE,
    BOB,
    binding,
    change_sets,
    document,
    one_of_each,
    publication,
    subscription,
)


class ResourceStateTests(SynchronousTestCase):
    def test_records(self) -> None:
        """Records are found by kind and id."""
        state = ResourceState(ALICE, one_of_each())
        self.assertEqual(state.bindings, {"b1": binding()})
        self.assertEqual(state.publications, {"p1": publication()})
        self.assertEqual(state.subscriptions, {"s1": subscription()})
        self.assertEqual(state.documents, {"pres-rules/index": document()})
        self.assertEqual(list(state), one_of_each())

    @given(st.lists(change_sets(), max_size=4))
    def test_idempotent(self, sequence: list[ChangeSet]) -> None:
        """Applying change sets twice is applying them once, one by one and as a whole."""
        once = applied(*sequence)
        self.assertEqual(applied(*(changes for changes in sequence for _ in range(2))), once)
        self.assertEqual(applied(*sequence, *sequence), once)

    @given(st.lists(change_sets(), max_size=4))
    def test_reload(self, sequence: list[ChangeSet]) -> None:
        """A state made of the records of another equals it."""
        state = applied(*sequence)
        self.assertEqual(ResourceState(ALICE, list(state)), state)

    @given(change_sets(), change_sets())
    def test_last_wins(self, earlier: ChangeSet, later: ChangeSet) -> None:
        """Of every key that the later one names, it alone says what becomes."""
        records = set(applied(earlier, later))
        for entry in later.entries.values():
            if isinstance(entry, Removed):
                kind, key = type(entry.record), entry.record.id
                self.assertNotIn((kind, key), {(type(r), r.id) for r in records})
            else:
                self.assertIn(entry, records)

    def test_equality(self) -> None:
        """Equal are those of the same AOR with the same records, whatever their order."""
        self.assertEqual(
            ResourceState(ALICE, [binding(), document()]),
            ResourceState(ALICE, [document(), binding()]),
        )
        self.assertNotEqual(ResourceState(ALICE), ResourceState(BOB))
        self.assertNotEqual(ResourceState(ALICE, [binding()]), ResourceState(ALICE))
        self.assertNotEqual(ResourceState(ALICE), "something else")
        self.assertRaises(TypeError, hash, ResourceState(ALICE))

    def test_deadline(self) -> None:
        """The earliest expiry of any record; documents do not expire."""
        self.assertIsNone(ResourceState(ALICE, [document()]).deadline())
        for kind, early in (
            (Binding, binding(expires_at=1.0)),
            (Publication, publication(expires_at=1.0)),
            (Subscription, subscription(expires_at=1.0)),
        ):
            records = [record for record in one_of_each() if type(record) is not kind]
            self.assertEqual(ResourceState(ALICE, [*records, early]).deadline(), 1.0)
