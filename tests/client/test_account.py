"""Who we are, as people write it."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.client.account import Account


class AccountTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A user is written with or without a scheme, and kept as the canonical AOR
        (RFC 3261 §10.3 step 5).
        """
        for text in ("alice@Example.com", "sip:alice@example.com", "sips:%61lice@example.com:5061"):
            self.assertEqual(Account(text).aor, "sip:alice@example.com")

    def test_next_hop(self) -> None:
        """Requests go to the server named, else to the domain (RFC 3263 §4), by the transport
        that is named.
        """
        self.assertEqual(str(Account("a@example.com").next_hop), "sip:example.com")
        named = Account("a@example.com", "", "[::1]:5070", "tls")
        self.assertEqual(str(named.next_hop), "sip:[::1]:5070;transport=tls")

    def test_refused(self) -> None:
        """What can't be used is refused in one line."""
        for arguments in (
            ("alice",),
            ("@example.com",),
            ("a b@example.com",),
            ("tel:+15551234",),
            ("a@example.com", "", "a@b"),
            ("a@example.com", "", "host:port"),
            ("a@example.com", "", "host;transport=tcp"),
            ("a@example.com", "", "", "sctp"),
        ):
            error = self.assertRaises(ValueError, Account, *arguments)
            self.assertNotIn("\n", str(error))

    def test_password_is_not_shown(self) -> None:
        """The password does not get into logs by way of repr()."""
        self.assertNotIn("secret", repr(Account("a@example.com", "secret")))
