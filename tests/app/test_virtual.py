"""The subscriptions behind lists: RFC 4662 §4.6."""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from tests.app.listworld import ACCEPT, ALICE, FRIENDS, ListWorld, Table
from tests.app.test_lists import BOB, ListCase


class BehindTests(ListCase):
    def test_authorization(self) -> None:
        """Each entry is authorized for the subscriber: pending, approved, blocked, polite."""
        self.world.store_rules(BOB, {"confirm": [ALICE]})
        self.world.store_rules("sip:carol@example.com", {"block": [ALICE]})
        self.subscribed()
        self.take()
        states = {uri: row.state for uri, row in self.table.rows.items() if row}
        self.assertEqual(states[BOB], "pending")
        self.assertEqual(states["sip:carol@example.com"], "terminated")
        self.world.publish(self.bob, "secret")
        self.assertEqual(self.take(), [])
        self.world.store_rules(BOB, {"allow": [ALICE]})
        self.assertEqual(self.take(), [False])
        self.assertIn(b"secret", self.note("bob"))
        self.world.store_rules(BOB, {"confirm": [ALICE]})
        self.take()
        states = {uri: row.state for uri, row in self.table.rows.items() if row}
        self.assertEqual(states[BOB], "pending")
        self.world.store_rules(BOB, {"polite-block": [ALICE]})
        self.take()
        self.assertNotIn(b"secret", self.note("bob"))

    def test_watchers(self) -> None:
        """The presentity sees who is behind the list (RFC 3857)."""
        self.bob.ask("SUBSCRIBE", BOB, {"Event": ["presence.winfo"]})
        self.world.run(1.0)
        self.bob.notifies()
        self.subscribed()
        self.world.run(1.0)
        (notify,) = self.bob.notifies()
        self.assertIn(b">sip:alice@example.com</watcher>", notify.body)
        self.assertIn(b'status="active"', notify.body)

    def test_unknown(self) -> None:
        """Who does not exist has no state, and the list says so."""
        self.world.friends("bob", "nobody")
        self.subscribed()
        self.take()
        row = self.table.rows["sip:nobody@example.com"]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "noresource"))
        self.assertIn(BOB, self.table.settled())

    def test_retried(self) -> None:
        """A refresh asks again for what was refused."""
        self.world.store_rules(BOB, {"block": [ALICE]})
        response = self.subscribed()
        self.take()
        self.world.store_rules(BOB, {"allow": [ALICE]})
        self.assertEqual(self.refresh(response).status, 200)
        self.take()
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual(row.state, "active")

    def test_restart(self) -> None:
        """After a restart everything is found again, and nothing twice."""
        self.world.publish(self.bob, "before")
        self.subscribed()
        self.take()
        self.world.restart()
        self.world.run(5.0)
        for notify in self.alice.notifies():
            self.table.take(notify)
        self.assertIn(b"before", self.note("bob"))
        self.assertEqual(len(self.records(BOB)), 1)
        self.world.publish(self.carol, "after")
        self.assertEqual(self.take(), [False])
        self.assertIn(b"after", self.note("carol"))

    def test_orphans(self) -> None:
        """What was left behind a list that is gone ends when it is next heard of."""
        self.subscribed(Expires="60")
        self.take()
        self.assertEqual(len(self.records(BOB)), 1)
        self.world.restart()
        self.world.run(100.0)
        self.assertEqual(self.records(BOB), [])

    def test_long(self) -> None:
        """Those behind a list outlive their day as long as the list is refreshed."""
        response = self.subscribed(Expires="86400")
        self.take()
        for _ in range(5):
            self.world.run(40_000)
            self.assertEqual(self.refresh(response, 86400).status, 200)
            self.alice.notifies()
        (record,) = self.records(BOB)
        self.assertEqual(record.status, "active")


class AgainTests(ListCase):
    def test_rules(self) -> None:
        """Who is let in by new rules sees at once what was refused before (RFC 5025 §3.2.1)."""
        self.world.store_rules(BOB, {"block": [ALICE]})
        self.subscribed()
        self.take()
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "rejected"))
        self.world.store_rules(BOB, {"allow": [ALICE]})
        self.take(1.0)
        self.assertIn(b"closed", self.note("bob"))
        self.world.store_rules(BOB, {"block": [ALICE]})
        self.take(1.0)
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "rejected"))
        self.world.store_rules(BOB, {"polite-block": [ALICE]})
        self.take(1.0)
        self.assertIn(b"closed", self.note("bob"))

    def test_new_user(self) -> None:
        """A user who was not there is looked for again after a quarter of an hour."""
        self.world.friends("bob", "erin")
        self.subscribed()
        self.take()
        row = self.table.rows["sip:erin@example.com"]
        assert row is not None
        self.assertEqual(row.reason, "noresource")
        self.world.add_user("erin@example.com")
        self.take(902.0)
        self.assertIn(b"closed", self.note("erin"))


class ManyTests(SynchronousTestCase):
    def test_default(self) -> None:
        """A list of a hundred comes in bodies that fit, as the default has it."""
        users = [f"u{number}" for number in range(100)]
        world = ListWorld("alice", *users)
        for user in users:
            world.publish(world.phone(f"{user}@example.com"), f"{user} " + "x" * 300)
        world.friends(*users)
        world.put_service()
        alice = world.phone("alice@example.com")
        self.assertEqual(world.subscribe(alice).status, 200)
        world.run(1.0)
        table = Table()
        notifies = alice.notifies()
        for notify in notifies:
            self.assertLess(len(notify.body), 20_000)
            table.take(notify)
        self.assertGreater(len(notifies), 2)
        self.assertFalse(table.missed)
        for user in users:
            row = table.rows[f"sip:{user}@example.com"]
            assert row is not None
            self.assertIn(f"{user} xx".encode(), row.body)

    def test_slices(self) -> None:
        """Those behind a long list are made fifty at a time, between which requests have turns."""
        users = [f"u{number}" for number in range(120)]
        world = ListWorld("alice", "bob", *users)
        world.friends(*users)
        world.put_service()
        alice, bob = world.phone("alice@example.com"), world.phone("bob@example.com")
        self.assertEqual(world.subscribe(alice, "sip:bob@example.com").status, 200)
        waiting: list[Callable[[], None]] = []
        world.core.turns.later = waiting.append
        headers = {"Event": ["presence"], "Supported": ["eventlist"], "Accept": [ACCEPT]}
        alice.inbox.clear()
        alice.send(alice.request("SUBSCRIBE", FRIENDS, headers))
        made = []
        for _ in range(4):
            world.run(0.0)
            made.append(sum([bool(world.stored(f"sip:{user}@example.com")) for user in users]))
            world.publish(bob, "between")
            if waiting:
                waiting.pop()()
                self.assertLess(len(waiting), 2)
        self.assertEqual(made, [50, 100, 120, 120])
        world.run(2.0)
        table = Table()
        for notify in alice.notifies():
            if notify.get("Require") == "eventlist":
                table.take(notify)
        self.assertEqual(len(table.rows), 120)
        self.assertNotIn(None, table.rows.values())

    def test_left_between(self) -> None:
        """Who has left a long list before his turn is not subscribed to; nor when it has ended."""
        users = [f"u{number}" for number in range(120)]
        world = ListWorld("alice", *users)
        world.friends("u0")
        world.put_service()
        alice = world.phone("alice@example.com")
        response = world.subscribe(alice)
        waiting: list[Callable[[], None]] = []
        world.core.turns.later = waiting.append
        world.friends(*users)
        world.friends(*users[:70])
        while waiting:
            waiting.pop()()
        world.run(2.0)
        made = [user for user in users if world.stored(f"sip:{user}@example.com")]
        self.assertEqual(made, users[:70])
        world.friends(*users)
        end = {
            "Event": ["presence"],
            "Supported": ["eventlist"],
            "Expires": ["0"],
            "To": response.headers["To"],
            "From": response.headers["From"],
            "Call-ID": response.headers["Call-ID"],
        }
        alice.ask("SUBSCRIBE", str(response.contacts[0].uri), end)
        while waiting:
            waiting.pop()()
        world.run(2.0)
        self.assertEqual([user for user in users if world.stored(f"sip:{user}@example.com")], [])
