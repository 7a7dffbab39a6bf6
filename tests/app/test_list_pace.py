"""How often those who watch a list are told: RFC 6446."""

from tests.app.listworld import ALICE, resource_lists
from tests.app.test_lists import BOB, ListCase


class RateTests(ListCase):
    def test_max_rate(self) -> None:
        """A list keeps the rate of its subscriber, and tells the newest state then (RFC 6446 §5.2)."""
        self.subscribed(Event="presence;max-rate=0.1")
        self.take()
        etag = self.world.publish(self.bob, "first")
        self.take(11.0)
        self.assertIn(b"first", self.note("bob"))
        etag = self.world.publish(self.bob, "second", etag)
        self.assertEqual(self.take(3.0), [])
        self.world.publish(self.bob, "third", etag)
        self.world.publish(self.carol, "fourth")
        self.assertEqual(self.take(2.0), [])
        self.assertEqual(len(self.take(10.0)), 1)
        self.assertIn(b"third", self.note("bob"))
        self.assertIn(b"fourth", self.note("carol"))
        self.assertFalse(self.table.missed)
        self.assertEqual(self.take(30.0), [])

    def test_two_phones_with_rates(self) -> None:
        """Phones of one user with a rate and without share the list, and miss nothing."""
        other = self.world.phone("alice@example.com", name="other")
        self.subscribed(other)
        self.subscribed(Event="presence;max-rate=0.1")
        self.take()
        other.notifies()
        for turn in range(3):
            self.world.publish(self.bob, f"said {turn}")
            self.take(3.0)
            self.assertEqual(len(other.notifies()), 1)
        self.take(12.0)
        self.assertIn(b"said 2", self.note("bob"))
        self.assertFalse(self.table.missed)

    def test_min_rate(self) -> None:
        """Where nothing changes the list is told again at its lowest rate (RFC 6446 §6.2)."""
        self.subscribed(Event="presence;min-rate=0.05")
        self.take()
        self.assertEqual(len(self.take(65.0)), 3)
        self.assertFalse(self.table.missed)


class DefaultPaceTests(ListCase):
    """Single subscriptions have a NOTIFY in five seconds (RFC 3856 §6.10), lists one a second."""

    settings = {"notify_interval": 5}

    def test_second_change(self) -> None:
        """What changes soon after another change is told to lists within two seconds."""
        self.subscribed()
        self.take()
        tag = ""
        for number in range(8):
            tag = self.world.publish(self.bob, f"note {number}", tag)
            self.assertEqual(self.take(2.0), [False])
            self.assertIn(b"note %d<" % number, self.note("bob"))

    def test_single(self) -> None:
        """Who subscribes to one user alone, and sees the same, keeps the pace of that."""
        self.subscribed()
        single = self.world.phone("carol@example.com", name="single")
        single.ask("SUBSCRIBE", BOB, {"Event": ["presence"]})
        self.take()
        single.notifies()
        tag = ""
        came = []
        for number in range(12):
            tag = self.world.publish(self.bob, f"note {number}", tag)
            self.world.run(1.0)
            came.append([notify.body for notify in single.notifies()])
        self.world.run(5.0)
        came.append([notify.body for notify in single.notifies()])
        self.assertEqual([len(each) for each in came], [1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1])
        self.assertIn(b"note 11<", came[-1][0])
        self.take()
        self.assertIn(b"note 11<", self.note("bob"))

    def test_one_body(self) -> None:
        """While single subscriptions rest a state is still made once, for all lists."""
        world = self.world
        for user in ("bob", "dave"):
            owner = f"sip:{user}@example.com"
            world.put("resource-lists", resource_lists("carol"), owner)
            world.put_service(f"sip:{user}-friends@example.com", owner=owner)
            phone = self.bob if user == "bob" else world.phone("dave@example.com")
            world.subscribe(phone, f"sip:{user}-friends@example.com")
        single = world.phone("alice@example.com", name="single")
        single.ask("SUBSCRIBE", "sip:carol@example.com", {"Event": ["presence"]})
        self.subscribed()
        self.take()
        tag = world.publish(self.carol, "one")
        self.take()
        world.publish(self.carol, "two", tag)
        world.run(2.0)
        bodies = {
            id(state.body)
            for watch in world.core.lists or ()
            if (state := watch.table.state_of("sip:carol@example.com")) is not None
        }
        self.assertEqual(len(bodies), 1)

    def test_in_parts(self) -> None:
        """So it is for packages whose documents are in parts: lists have the newest whole."""
        self.subscribed(Event="reg", Accept="multipart/related, application/rlmi+xml")
        self.world.friends("alice")
        single = self.world.phone("alice@example.com", name="single")
        single.ask("SUBSCRIBE", ALICE, {"Event": ["reg"]})
        self.take()
        for number in range(3):
            contact = f"<sip:alice@192.0.2.{number + 1}>"
            self.alice.ask("REGISTER", "sip:example.com", {"Contact": [contact]})
            self.assertEqual(self.take(2.0), [False])
            self.assertIn(b"192.0.2.%d" % (number + 1), self.note("alice"))
            self.assertEqual(self.note("alice").count(b"<contact "), number + 1)

    def test_rate(self) -> None:
        """A list's subscriber gets the rates that he asks for, up to that of lists (RFC 6446 §5.3)."""
        self.subscribed(Event="presence;max-rate=0.5")
        self.world.run(2.0)
        (notify,) = self.alice.notifies()
        self.assertIn(";max-rate=0.5", notify.get("Subscription-State") or "")
        self.table.take(notify)
        self.subscribed(Event="presence;max-rate=20")
        self.world.run(2.0)
        (notify,) = [each for each in self.alice.notifies() if each.cseq.number == 1]
        self.assertIn(";max-rate=1.0", notify.get("Subscription-State") or "")
