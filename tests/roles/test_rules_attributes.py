"""What rules say of single elements of presence."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from tests.roles.test_rules import COMPONENTS, DOCUMENT, SERVICES, locals_of, shown


class AttributeTests(SynchronousTestCase):
    def test_always(self) -> None:
        """Contact, service-class, basic and timestamps need no permission (RFC 5025 §3.3.2)."""
        presence = shown(COMPONENTS)
        first, second = presence.tuples
        self.assertEqual(
            (first.basic, first.contact, first.contact_priority, first.timestamp),
            ("open", "sip:alice@phone.example.com", "0.8", "2026-01-01T00:00:00Z"),
        )
        self.assertEqual(second.basic, "closed")
        [person], [device] = presence.persons, presence.devices
        self.assertEqual(person.timestamp, "2026-01-01T00:00:00Z")
        self.assertEqual(
            (device.timestamp, device.device_id), ("2026-01-01T00:00:00Z", "urn:uuid:aaaa")
        )
        self.assertEqual(
            locals_of(presence), {"t1": ["service-class"], "t2": [], "p1": [], "d1": []}
        )
        self.assertEqual(
            (first.notes, first.device_id, first.class_, first.status), ((), None, None, ())
        )
        self.assertEqual((person.notes, person.class_), ((), None))
        self.assertEqual((device.notes, device.class_), ((), None))
        self.assertEqual((presence.notes, presence.extensions), ((), ()))

    def test_each(self) -> None:
        """Each Boolean permission shows its element and no other (§3.3.2.1 to §3.3.2.11)."""
        for name, where in {
            "activities": ["p1"],
            "mood": ["p1"],
            "place-is": ["p1"],
            "place-type": ["p1"],
            "privacy": ["t1", "p1"],
            "relationship": ["t1"],
            "sphere": ["p1"],
            "status-icon": ["t1", "p1"],
            "time-offset": ["p1"],
        }.items():
            found = locals_of(shown(f"{COMPONENTS}<provide-{name}>true</provide-{name}>"))
            expected = {"t1": ["service-class"], "t2": [], "p1": [], "d1": []}
            for id_ in where:
                expected[id_] = [name, *expected[id_]]
            self.assertEqual(
                {id_: sorted(names) for id_, names in found.items()},
                {id_: sorted(names) for id_, names in expected.items()},
            )
            denied = shown(f"{COMPONENTS}<provide-{name}>false</provide-{name}>")
            self.assertEqual(denied, shown(COMPONENTS))

    def test_class(self) -> None:
        """provide-class shows the class of every component (§3.3.2.2)."""
        presence = shown(COMPONENTS + "<provide-class>true</provide-class>")
        self.assertEqual(presence.tuples[0].class_, "work")
        self.assertEqual(presence.persons[0].class_, "home")
        self.assertEqual(presence.devices[0].class_, "work")

    def test_device_id(self) -> None:
        """provide-deviceID shows the device ID of a service (§3.3.2.3)."""
        presence = shown(COMPONENTS + "<provide-deviceID>true</provide-deviceID>")
        self.assertEqual(presence.tuples[0].device_id, "urn:uuid:AAAA")

    def test_note(self) -> None:
        """provide-note shows notes of components, not those that are values (§3.3.2.13)."""
        presence = shown(COMPONENTS + "<provide-note>true</provide-note>")
        self.assertEqual([note.text for note in presence.tuples[0].notes], ["tuple note"])
        self.assertEqual([note.text for note in presence.persons[0].notes], ["person note"])
        self.assertEqual([note.text for note in presence.devices[0].notes], ["device note"])
        self.assertEqual([note.text for note in presence.notes], ["root note"])
        [activities] = (
            shown(COMPONENTS + "<provide-activities>true</provide-activities>").persons[0].elements
        )
        self.assertIn("note", activities.xml)

    def test_user_input(self) -> None:
        """user-input is false, bare, with thresholds, or full (§3.3.2.12, erratum 2544)."""

        def user_input(*values: str) -> list[str]:
            rules = [f"<provide-user-input>{value}</provide-user-input>" for value in values]
            presence = shown(COMPONENTS, *rules)
            return [each.xml for each in presence.tuples[0].elements if each.local == "user-input"]

        self.assertEqual(user_input("false"), [])
        self.assertEqual(user_input("bare"), ["<rpid:user-input>idle</rpid:user-input>"])
        self.assertEqual(
            user_input("thresholds"),
            ['<rpid:user-input idle-threshold="600">idle</rpid:user-input>'],
        )
        self.assertEqual(
            user_input("full"),
            [
                '<rpid:user-input idle-threshold="600" last-input="2026-01-01T00:00:00Z">'
                "idle</rpid:user-input>"
            ],
        )
        self.assertEqual(user_input("bare", "thresholds", "false"), user_input("thresholds"))

    def test_unknown_attribute(self) -> None:
        """An unknown attribute is shown by its namespace and name (§3.3.2.14)."""
        one = '<provide-unknown-attribute ns="{0}" name="{1}">true</provide-unknown-attribute>'
        found = locals_of(shown(COMPONENTS + one.format("urn:x", "secret")))
        self.assertEqual(found["t1"], ["service-class", "secret"])
        self.assertEqual(found["p1"], ["secret"])
        self.assertEqual(shown(COMPONENTS + one.format("urn:y", "secret")), shown(COMPONENTS))
        found = locals_of(shown(COMPONENTS + one.format(ns.CIPID, "card")))
        self.assertEqual(found["t1"], ["service-class", "card"])

    def test_known_is_not_unknown(self) -> None:
        """Elements of RPID are never unknown attributes (§3.3.2.14)."""
        one = '<provide-unknown-attribute ns="{0}" name="{1}">true</provide-unknown-attribute>'
        for name in ("mood", "activities", "class", "user-input", "invented"):
            self.assertEqual(shown(COMPONENTS + one.format(ns.RPID, name)), shown(COMPONENTS))
        self.assertEqual(shown(COMPONENTS + one.format(ns.DATA_MODEL, "note")), shown(COMPONENTS))

    def test_all_attributes(self) -> None:
        """provide-all-attributes shows everything of the components that are shown (§3.3.2.15)."""
        presence = shown(SERVICES + "<provide-all-attributes/>")
        self.assertEqual(presence.tuples, DOCUMENT.tuples)
        self.assertEqual((presence.persons, presence.devices, presence.extensions), ((), (), ()))
        self.assertEqual(shown(COMPONENTS + "<provide-all-attributes/>"), DOCUMENT)
