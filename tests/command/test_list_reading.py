"""``simplestack watch --list``: lines of what is in a list, as the service sends it."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.command.buddies import BuddyReading
from simplestack.command.watch import ListReading
from simplestack.documents.errors import DocumentError
from tests.app.listworld import FRIENDS, ListWorld, pidf
from tests.event.test_nestedlist import TYPE
from tests.event.test_nestedlist import notify as list_body


class ListReadingTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """A line for each resource at first, then for each that has changed (RFC 4662 §5.6)."""
        world = ListWorld()
        alice = world.phone("alice@example.com")
        bob = world.phone("bob@example.com")
        world.friends("bob", "nobody")
        world.put_service(FRIENDS)
        world.subscribe(alice)
        world.run(2.0)
        reading = ListReading()
        (notify,) = alice.notifies()
        self.assertEqual(
            reading.read(notify.body), ["Bob  closed  -", "Nobody  terminated  noresource"]
        )
        world.publish(bob, "until four")
        world.run(2.0)
        (notify,) = alice.notifies()
        self.assertEqual(reading.read(notify.body), ['Bob  open  -  "until four"'])
        self.assertEqual(reading.read(notify.body), [])

    def test_nested(self) -> None:
        """A list within the list stands as the resources in it (§6)."""
        inner = list_body(0, True, {"yves": pidf("yves", "one"), "zed": None}).replace(
            b"--b", b"--i"
        )
        reading = ListReading()
        self.assertEqual(
            reading.read(
                list_body(0, True, {"bob": b"", "list": inner}, cids="o", kinds={"list": TYPE})
            ),
            ["bob  terminated  rejected", 'yves  open  -  "one"', "zed  unknown"],
        )
        inner = list_body(1, True, {"yves": pidf("yves", "two")}).replace(b"--b", b"--i")
        self.assertEqual(
            reading.read(list_body(1, False, {"list": inner}, cids="o", kinds={"list": TYPE})),
            ['yves  open  -  "two"'],
        )
        buddies = BuddyReading(screen=True, clock=lambda: 0.0)
        buddies.read(list_body(0, True, {"list": inner}, cids="o", kinds={"list": TYPE}))
        self.assertEqual(len(buddies.read(list_body(1, False, {"list": b"", "bob": b""})) or ()), 3)

    def test_missed(self) -> None:
        """Partial state after a gap asks for a refresh (§5.6.2)."""
        world = ListWorld()
        alice = world.phone("alice@example.com")
        bob = world.phone("bob@example.com")
        world.friends("bob")
        world.put_service(FRIENDS)
        world.subscribe(alice)
        world.run(2.0)
        reading = ListReading()
        reading.read(alice.notifies()[0].body)
        for note in ("one", "two"):
            world.publish(bob, note)
            world.run(2.0)
        self.assertIsNone(reading.read(alice.notifies()[1].body))

    def test_bad(self) -> None:
        """What is no list is a DocumentError."""
        for body in (b"", b"--x\r\n\r\n\r\n--x--\r\n", b"<presence/>"):
            self.assertRaises(DocumentError, ListReading().read, body)
