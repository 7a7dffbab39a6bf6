"""The laws of change sets and of the state that they change."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.state import (
    RECORD_KINDS,
    Binding,
    ChangeSet,
    Document,
    Publication,
    Removed,
    ResourceState,
    Subscription,
    fields_of,
    row_of,
)
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


def applied(*sequence: ChangeSet) -> ResourceState:
    """What change sets make of nothing."""
    state = ResourceState(ALICE)
    for changes in sequence:
        state.apply(changes)
    return state


class SubscriptionTests(SynchronousTestCase):
    def test_as_other_records(self) -> None:
        """It is a value, and has what the store and the roles need of records (RFC 6665 §4.2)."""
        one, same = subscription(), subscription()
        self.assertEqual((one, hash(one)), (same, hash(same)))
        self.assertNotEqual(one, binding())
        self.assertNotEqual(one, subscription(suppress="x"))
        self.assertEqual(one, Subscription(*row_of(one)))
        self.assertEqual(
            [getattr(one, name) for name in fields_of(Subscription)], list(row_of(one))
        )
        self.assertIn("suppress='x'", repr(subscription(suppress="x")))

    def test_other_fields(self) -> None:
        """Each field can be given another value, and there are no others."""
        for name, kind in fields_of(Subscription).items():
            value = kind(getattr(subscription(), name)) + kind(b"1" if kind is bytes else 1)
            changed = subscription()._replace(**{name: value})
            self.assertEqual(getattr(changed, name), value)
            self.assertEqual(
                changed._replace(**{name: getattr(subscription(), name)}), subscription()
            )
        self.assertRaises(ValueError, subscription()._replace, nothing=1)


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
