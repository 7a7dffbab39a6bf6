"""Composition by union."""

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, element
from simplestack.documents.pidf import Device, Note, Person, Presence, Tuple, parse_presence
from simplestack.interfaces import ICompositionPolicy
from simplestack.roles.composition import PUBLICATION, REGISTRATION, Source, UnionPolicy
from tests.roles.fakes import ALICE

OPEN = Tuple("t", "open", "sip:alice@phone")
CLOSED = Tuple("t", "closed", "sip:alice@desk")


def rpid(name: str, text: str) -> Element:
    """An RPID element of some text."""
    return element(ns.RPID, name, text)


class UnionTests(SynchronousTestCase):
    def compose(self, *presences: Presence, kind: str = PUBLICATION) -> Presence:
        """The union of publications "a", "b", ..., each published a second after the other."""
        sources = [
            Source(kind, chr(97 + place), presence, 1000.0 + place)
            for place, presence in enumerate(presences)
        ]
        composed = UnionPolicy().compose(sources, ALICE, 2000.0)
        self.assertEqual(UnionPolicy().compose(sources[::-1], ALICE, 2000.0), composed)
        # What we send is a document again, in which every id is there once.
        self.assertEqual(parse_presence(composed.to_bytes()), composed)
        return composed

    def test_policy(self) -> None:
        """The policy provides its interface."""
        self.assertTrue(verifyObject(ICompositionPolicy, UnionPolicy()))

    def test_one_publication(self) -> None:
        """A single publication is shown as it is, under the AOR of the user."""
        presence = Presence(
            "pres:alice@example.com", (OPEN,), (Person("p"),), (Device("d", "urn:x"),)
        )
        self.assertEqual(self.compose(presence), presence._replace(entity=ALICE))

    def test_same_tuple_id(self) -> None:
        """Two devices with the same tuple id stay two tuples (RFC 3863 §4.1.2: ids are unique)."""
        composed = self.compose(Presence(ALICE, (OPEN,)), Presence(ALICE, (CLOSED,)))
        self.assertEqual([each.basic for each in composed.tuples], ["open", "closed"])
        self.assertEqual(composed.tuples[0].id, "t")
        self.assertTrue(composed.tuples[1].id.startswith("t."))

    def test_new_id_is_stable(self) -> None:
        """The id of a component does not change when other sources come or go."""
        two = self.compose(Presence(ALICE, (OPEN,)), Presence(ALICE, (CLOSED,)))
        three = self.compose(
            Presence(ALICE, (OPEN,)), Presence(ALICE, (CLOSED,)), Presence(ALICE, (CLOSED,))
        )
        self.assertEqual(three.tuples[:2], two.tuples)

    def test_ids_across_components(self) -> None:
        """An id is unique among tuples, persons and devices together."""
        composed = self.compose(
            Presence(ALICE, (OPEN._replace(id="x"),)),
            Presence(ALICE, (), (Person("x"),)),
            Presence(ALICE, (), (), (Device("x", "urn:x"),)),
        )
        ids = {composed.tuples[0].id, composed.persons[0].id, composed.devices[0].id}
        self.assertEqual(len(ids), 3)

    def test_one_person(self) -> None:
        """Persons become one: of each element and of notes what the newest says (RFC 4479 §3.2)."""
        older = Person("p", None, (rpid("mood", "sad"), rpid("place-is", "noisy")), (Note("old"),))
        newer = Person("p", None, (rpid("mood", "happy"),), timestamp="1970-01-01T00:10:00Z")
        composed = self.compose(
            Presence(ALICE, (), (older,)),
            Presence(ALICE, (), (newer._replace(timestamp=None),)),
        )
        [person] = composed.persons
        self.assertEqual(
            person,
            Person("p", None, (rpid("mood", "happy"), rpid("place-is", "noisy")), (Note("old"),)),
        )

    def test_timestamp_says_what_is_newest(self) -> None:
        """A timestamp counts, but no publication is newer than its PUBLISH."""
        first = Person("p", None, (rpid("mood", "first"),))
        second = Person("p", None, (rpid("mood", "second"),), timestamp="1970-01-01T00:10:00Z")
        [person] = self.compose(
            Presence(ALICE, (), (first,)), Presence(ALICE, (), (second,))
        ).persons
        self.assertEqual(person.elements, (rpid("mood", "first"),))
        ahead = first._replace(timestamp="2999-01-01T00:00:00Z")
        [person] = self.compose(
            Presence(ALICE, (), (ahead,)), Presence(ALICE, (), (second._replace(timestamp=None),))
        ).persons
        self.assertEqual(person.elements, (rpid("mood", "second"),))

    def test_classes_stay_apart(self) -> None:
        """What a rule may show by class is not mixed with what it hides (RFC 5025 §3.3.1.2)."""
        work = Person("w", "work", (rpid("mood", "bored"),))
        home = Person("h", "home", (rpid("mood", "happy"),))
        composed = self.compose(Presence(ALICE, (), (work,)), Presence(ALICE, (), (home,)))
        self.assertEqual(set(composed.persons), {work, home})
        composed = self.compose(Presence(ALICE, (), (work, home)))
        self.assertEqual(set(composed.persons), {work, home})

    def test_merged_has_an_id_of_its_own(self) -> None:
        """A rule that shows one person by occurrence-id must not show what others say."""
        one = Person("one", None, (rpid("mood", "bored"),))
        two = Person("two", None, (rpid("place-is", "dark"),))
        [person] = self.compose(Presence(ALICE, (), (one,)), Presence(ALICE, (), (two,))).persons
        self.assertNotIn(person.id, ("one", "two"))
        [again] = self.compose(Presence(ALICE, (), (two,)), Presence(ALICE, (), (one,))).persons
        self.assertEqual(again.id, person.id)

    def test_devices_by_device_id(self) -> None:
        """Devices of one device ID are one device (RFC 4479 §3.4)."""
        uuid = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
        composed = self.compose(
            Presence(ALICE, (), (), (Device("d", uuid, None, (rpid("user-input", "idle"),)),)),
            Presence(ALICE, (), (), (Device("d", uuid.upper().replace("URN:UUID", "urn:uuid")),)),
            Presence(ALICE, (), (), (Device("d", "urn:uuid:other"),)),
        )
        self.assertEqual(len(composed.devices), 2)
        self.assertEqual(composed.devices[0].elements, (rpid("user-input", "idle"),))

    def test_notes_once(self) -> None:
        """The same note of the whole presentity is shown once."""
        composed = self.compose(
            Presence(ALICE, notes=(Note("a"),)), Presence(ALICE, notes=(Note("b"), Note("a")))
        )
        self.assertEqual(composed.notes, (Note("a"), Note("b")))

    def test_registration_stands_in(self) -> None:
        """Registration gives a service only where nobody publishes one."""
        registration = Source(REGISTRATION, "", Presence(ALICE, (Tuple("r", "open"),)), 0.0)
        closed = Source(PUBLICATION, "a", Presence(ALICE, (CLOSED,)), 0.0)
        person = Source(PUBLICATION, "b", Presence(ALICE, (), (Person("p"),)), 0.0)
        union = UnionPolicy()
        self.assertEqual(union.compose([registration, closed], ALICE, 0.0).tuples, (CLOSED,))
        composed = union.compose([person, registration], ALICE, 0.0)
        self.assertEqual(composed.tuples, (Tuple("r", "open"),))
        self.assertEqual(composed.persons, (Person("p"),))
