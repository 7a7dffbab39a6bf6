"""What becomes of users who are removed while the service runs."""

from twisted.trial.unittest import SynchronousTestCase

from tests.app.world import World


class RemovalTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Alice and bob are registered and watch each other's registrations, as operators may."""
        self.world = World()
        self.alice = self.world.phone("alice@example.com")
        self.bob = self.world.phone("bob@example.com")
        self.refresh()

    def refresh(self) -> None:
        """What the service does twice a second."""
        core = self.world.core
        core.authenticator.refresh().addCallback(core.forget)
        self.world.run(0.0)

    def remove(self, username: str) -> None:
        """Remove a user."""
        self.world.credentials.remove(username, "example.com")
        self.refresh()

    def test_records_go(self) -> None:
        """Nothing of a removed user is left, in memory or in the store."""
        self.alice.ask("REGISTER", "sip:example.com", {"Contact": [self.alice.contact]})
        self.assertNotEqual(self.successResultOf(self.world.store.load(self.alice.aor)), [])
        self.remove("alice")
        self.assertEqual(self.successResultOf(self.world.store.load(self.alice.aor)), [])
        resident = self.world.core.residents.get(self.alice.aor)
        assert resident is not None
        self.assertEqual(list(resident.state), [])

    def test_watchers_are_told(self) -> None:
        """They get "noresource: The subscription has been terminated because the resource state
        that was being monitored no longer exists." (RFC 6665 §4.1.3)
        """
        subscribed = self.bob.ask("SUBSCRIBE", self.alice.aor, {"Event": ["presence"]})
        self.assertEqual(subscribed.status, 200)
        self.world.run(1.0)
        self.bob.notifies()
        self.remove("alice")
        self.world.run(1.0)
        (notify,) = self.bob.notifies()
        self.assertEqual(notify.get("Subscription-State"), "terminated;reason=noresource")

    def test_watching_ends(self) -> None:
        """A removed user sees nobody any more (RFC 5025 §3.2.1: whom no rule admits is blocked)."""
        self.alice.ask("SUBSCRIBE", self.bob.aor, {"Event": ["presence"]})
        self.world.run(1.0)
        self.alice.notifies()
        self.remove("alice")
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        self.assertEqual(notify.get("Subscription-State"), "terminated;reason=rejected")
        resident = self.world.core.residents.get(self.bob.aor)
        assert resident is not None
        self.assertEqual(resident.state.subscriptions, {})

    def test_requests_fail(self) -> None:
        """A removed user is challenged (RFC 3261 §22.1), and to others does not exist (§21.4.5)."""
        self.alice.ask("REGISTER", "sip:example.com", {"Contact": [self.alice.contact]})
        self.remove("alice")
        again = self.alice.ask("REGISTER", "sip:example.com", {"Contact": [self.alice.contact]})
        self.assertEqual(again.status, 401)
        watched = self.bob.ask("SUBSCRIBE", self.alice.aor, {"Event": ["presence"]})
        self.assertEqual(watched.status, 404)
