"""Registration information as a phone is sent it, for everything that can happen to a contact."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.reginfo import Contact, Registration, parse_reginfo
from simplestack.roles.registrar import Registrar
from simplestack.sip.message import Response
from simplestack.state import ResourceState
from tests.app.world import EPOCH, StoringTurn, World

BOB = "sip:bob@example.com"


class RegistrationEventTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Bob's phone is registered, and he watches that from a screen."""
        self.world = World(("bob@example.com", "alice@example.com"))
        self.phone = self.world.phone("bob@example.com")
        self.screen = self.world.phone("bob@example.com")
        self.register(600)
        answer = self.screen.ask("SUBSCRIBE", BOB, {"Event": ["reg"]})
        self.assertEqual(answer.status, 200)
        self.world.run(0.0)
        self.assertEqual(self.told()[1].event, "registered")

    def register(self, expires: int, **fields: list[str]) -> Response:
        """Bob's phone registers."""
        contact = f"{self.phone.contact};expires={expires}"
        return self.phone.ask("REGISTER", "sip:example.com", {"Contact": [contact], **fields})

    def told(self) -> tuple[Registration, Contact]:
        """What the one NOTIFY says of the one contact."""
        (notify,) = self.screen.notifies()
        (registration,) = parse_reginfo(notify.body).registrations
        (contact,) = registration.contacts
        return registration, contact

    def decide(self, event: str, retry_after: int | None = None) -> None:
        """An administrator ends the binding."""
        state = self.state()
        changes = Registrar().deactivate(state, list(state.bindings), event, retry_after)
        self.world.core.turns.run(StoringTurn(BOB, changes))
        self.world.run(0.0)

    def state(self) -> ResourceState:
        """What there is of Bob."""
        resident = self.world.core.residents.get(BOB)
        assert resident is not None
        return resident.state

    def test_refreshed(self) -> None:
        """RFC 3680 §5.2.2: "refreshed": the contact was registered again."""
        self.world.run(10.0)
        self.register(600)
        self.world.run(6.0)
        registration, contact = self.told()
        self.assertEqual((registration.state, contact.state), ("active", "active"))
        self.assertEqual(contact.event, "refreshed")

    def test_unregistered(self) -> None:
        """Event unregistered: the phone took it back."""
        self.register(0)
        self.world.run(6.0)
        registration, contact = self.told()
        self.assertEqual((registration.state, contact.state), ("terminated", "terminated"))
        self.assertEqual(contact.event, "unregistered")

    def test_expired(self) -> None:
        """Event expired: nobody refreshed it; told within a second and the pace of the package."""
        self.world.run(599.0)
        self.assertEqual(self.screen.notifies(), [])
        self.world.run(8.0)
        registration, contact = self.told()
        self.assertEqual((registration.state, contact.event), ("terminated", "expired"))

    def test_shortened(self) -> None:
        """Event shortened: it ends sooner than the phone was told, with "expires"; then it does."""
        state = self.state()
        now = EPOCH + self.world.now
        changes = Registrar().shorten(state, list(state.bindings), 60, now)
        self.world.core.turns.run(StoringTurn(BOB, changes))
        self.world.run(0.0)
        registration, contact = self.told()
        self.assertEqual((registration.state, contact.event), ("active", "shortened"))
        self.assertEqual(contact.expires, 60)
        self.world.run(70.0)
        self.assertEqual(self.told()[1].event, "expired")

    def test_created(self) -> None:
        """Event created: an administrator has bound a contact."""
        self.register(0)
        self.world.run(6.0)
        self.told()
        core = self.world.core
        changes = Registrar().create(
            self.state(), "sip:bob@desk.example.com", 300, EPOCH + self.world.now, core.identifiers
        )
        core.turns.run(StoringTurn(BOB, changes))
        self.world.run(6.0)
        registration, contact = self.told()
        self.assertEqual((registration.state, contact.event), ("active", "created"))
        self.assertEqual(contact.uri, "sip:bob@desk.example.com")

    def test_decided(self) -> None:
        """Event deactivated, "rejected" and "probation", the last with "retry-after"."""
        for event, retry_after in (("deactivated", None), ("rejected", None), ("probation", 120)):
            self.setUp()
            self.decide(event, retry_after)
            registration, contact = self.told()
            self.assertEqual(registration.state, "terminated")
            self.assertEqual((contact.state, contact.event), ("terminated", event))
            self.assertEqual(contact.retry_after, retry_after)
            self.assertEqual(self.world.stored(BOB) - set(self.state()), set())
            self.assertEqual(self.state().bindings, {})

    def test_removed_user(self) -> None:
        """Event rejected is what the phones of a user become who is removed; the watcher is ended."""
        self.world.run(1.0)
        self.world.credentials.remove("bob", "example.com")
        self.world.run(1.0)
        (notify,) = self.screen.notifies()
        self.assertEqual(notify.get("Subscription-State"), "terminated;reason=noresource")
        self.assertEqual(self.state().bindings, {})


class OutboundTests(SynchronousTestCase):
    def test_first_hop_lacks_outbound(self) -> None:
        """RFC 5626 §6: 439 where the client counts on outbound and its first hop has not done its
        part; nothing is bound.
        """
        world = World()
        phone = world.phone("bob@example.com")
        instance = '+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>";reg-id=1'
        proxy = "SIP/2.0/UDP proxy.example.com;branch=z9hG4bKproxy"
        fields = {"Contact": [f"{phone.contact};{instance}"], "Supported": ["outbound, path"]}
        answer = phone.ask("REGISTER", "sip:example.com", {**fields, "Via": [proxy]})
        self.assertEqual(answer.status, 439)
        self.assertEqual(answer.reason, "First Hop Lacks Outbound Support")
        self.assertEqual(len(answer.headers["Via"]), 2)
        self.assertEqual(phone.ask("REGISTER", "sip:example.com").contacts, ())
        path = "<sip:edge.example.com;lr;ob>"
        answer = phone.ask(
            "REGISTER", "sip:example.com", {**fields, "Via": [proxy], "Path": [path]}
        )
        self.assertEqual((answer.status, answer.get("Require")), (200, "outbound"))


class PresenceOfPhonesTests(SynchronousTestCase):
    def test_setting(self) -> None:
        """``registration_is_presence``: a registered phone is presence, or is not."""
        for counts in (True, False):
            settings = World().settings.replace(
                registration_is_presence=counts, default_handling="allow"
            )
            world = World(settings=settings)
            phone, alice = world.phone("bob@example.com"), world.phone("alice@example.com")
            phone.ask("REGISTER", "sip:example.com", {"Contact": [phone.contact]})
            self.assertEqual(alice.ask("SUBSCRIBE", BOB, {"Event": ["presence"]}).status, 200)
            world.run(0.0)
            (notify,) = alice.notifies()
            self.assertEqual(b">open<" in notify.body, counts)
            self.assertEqual(b">closed<" in notify.body, not counts)
            phone.ask("REGISTER", "sip:example.com", {"Contact": ["*"], "Expires": ["0"]})
            world.run(10.0)
            self.assertEqual(
                [b">closed<" in each.body for each in alice.notifies()], [True] * counts
            )
