"""URIs with escapes and ids of subscriptions come back as they were given."""

from twisted.trial.unittest import SynchronousTestCase

from tests.app.world import World


class EscapeTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A service and a phone with a URI that has escapes."""
        self.world = World()
        self.bob = self.world.phone("bob@example.com")
        host = f"{self.bob.address[0]}:5060"
        self.contact = f"<sip:b%2Fb%3D%2C@{host};pn-prid=00fc%3Aremote%26a1>"

    def test_notify(self) -> None:
        """RFC 3261 §12.1.1: "The remote target MUST be set to the URI from the Contact header field
        of the request", and the route set is taken "preserving all URI parameters": by §19.1.4
        reserved characters are not the same with and without their escapes.
        """
        route = "<sip:198.51.100.80;lr;did=a%2Fb%3D>"
        answer = self.bob.ask(
            "SUBSCRIBE",
            "sip:bob@example.com",
            {"Event": ["presence"], "Contact": [self.contact], "Record-Route": [route]},
        )
        self.assertEqual(answer.headers["Record-Route"], [route])
        self.world.run(0.1)
        sent = b"".join(data for _, _, side, data in self.world.log if side == 0)
        self.assertIn(f"NOTIFY {self.contact[1:-1]} SIP/2.0\r\n".encode(), sent)
        self.assertIn(f"\r\nRoute: {route}\r\n".encode(), sent)

    def test_register(self) -> None:
        """RFC 3261 §10.3: "The response MUST contain Contact header field values enumerating all
        current bindings", by URIs that are equal to those of the client (§19.1.4).
        """
        answer = self.bob.ask(
            "REGISTER", "sip:example.com", {"Contact": [self.contact], "Expires": ["600"]}
        )
        self.assertEqual(answer.headers["Contact"], [f"{self.contact};expires=600"])

    def test_event_id(self) -> None:
        """RFC 6665 §8.2.1: the id is "compared byte by byte": a quoted one comes back in its quotes,
        and ends no header field before its time.
        """
        for value in ('"a b"', '"a;expires=1"', "%61"):
            self.bob.ask("SUBSCRIBE", "sip:bob@example.com", {"Event": [f"presence;id={value}"]})
            self.world.run(0.1)
            (notify,) = self.bob.notifies()
            self.assertEqual(notify.headers["Event"], [f"presence;id={value}"])
