"""The client's side of Digest."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.digest import challenges, ha1, verify
from simplestack.sip.fields import Challenge, parse_challenge, parse_credentials
from simplestack.transaction.protection import Protection


class Zeros:
    def octets(self, count: int) -> bytes:
        """Octets."""
        return bytes(count)


def offers(nonce: str, stale: bool = False, realm: str = "example.com") -> list[Challenge]:
    """The challenges of a server."""
    return [parse_challenge(value) for value in challenges(realm, nonce, stale)]


class ProtectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A user who knows his password."""
        self.protection = Protection("alice", "wonderland", Zeros())

    def nonce_and_count(self) -> tuple[str, int]:
        """What the next request would use."""
        (value,) = self.protection.authorization("REGISTER", "sip:example.com")
        credentials = parse_credentials(value)
        return credentials.param("nonce"), credentials.nonce_count

    def test_nothing_before_a_challenge(self) -> None:
        """Without a challenge there is no realm to have credentials for."""
        self.assertEqual(self.protection.authorization("REGISTER", "sip:example.com"), [])

    def test_strongest(self) -> None:
        """RFC 8760 §2.4: the topmost algorithm that is supported is used, and the response is
        right by RFC 7616 §3.4.1.
        """
        self.assertTrue(self.protection.challenged(offers("n1"), set()))
        (value,) = self.protection.authorization("REGISTER", "sip:example.com")
        credentials = parse_credentials(value)
        self.assertEqual(credentials.algorithm, "SHA-512-256")
        secret = ha1("SHA-512-256", "alice", "example.com", "wonderland")
        self.assertTrue(verify(credentials, secret, "REGISTER"))

    def test_unknown_algorithms_are_passed_over(self) -> None:
        """RFC 7616 §3.3: "If the algorithm is not understood, the challenge should be ignored"."""
        unknown = parse_challenge('Digest realm="r", nonce="n", algorithm=SHA3-256, qop="auth"')
        self.assertFalse(self.protection.challenged([unknown], set()))
        known = parse_challenge('Digest realm="r", nonce="n", algorithm=MD5, qop="auth"')
        self.assertTrue(self.protection.challenged([unknown, known], set()))

    def test_nonce_is_used_again(self) -> None:
        """RFC 7616 §3.4: nc counts the requests with the nonce, this one included."""
        self.protection.challenged(offers("n1"), set())
        self.assertEqual([self.nonce_and_count() for _ in range(3)], [("n1", n) for n in (1, 2, 3)])

    def test_nextnonce(self) -> None:
        """RFC 7616 §3.5: nextnonce is used for the next request, from 1 on again."""
        self.protection.challenged(offers("n1"), set())
        self.nonce_and_count()
        self.protection.informed('nextnonce="n2", qop=auth')
        self.assertEqual(self.nonce_and_count(), ("n2", 1))
        self.protection.informed("no parameters at all;")
        self.assertEqual(self.nonce_and_count(), ("n2", 2))

    def test_wrong_password(self) -> None:
        """Whose answer to a fresh challenge is challenged again has the wrong password; the next
        request starts without credentials.
        """
        answered: set[str] = set()
        self.assertTrue(self.protection.challenged(offers("n1"), answered))
        self.nonce_and_count()
        self.assertFalse(self.protection.challenged(offers("n2"), answered))
        self.assertEqual(self.protection.authorization("REGISTER", "sip:example.com"), [])

    def test_stale(self) -> None:
        """RFC 7616 §3.3: stale says that the password was right; the new nonce is to be used."""
        answered: set[str] = set()
        self.protection.challenged(offers("n1"), answered)
        self.assertTrue(self.protection.challenged(offers("n2", stale=True), answered))
        self.assertEqual(self.nonce_and_count(), ("n2", 1))

    def test_old_nonce_of_a_forgetful_server(self) -> None:
        """A server that has forgotten the nonce of an earlier request and doesn't call it stale is
        answered once more.
        """
        self.protection.challenged(offers("n1"), set())
        self.nonce_and_count()
        self.assertTrue(self.protection.challenged(offers("n2"), set()))

    def test_realms(self) -> None:
        """RFC 3261 §22.3: credentials for several realms go together, those for proxies in a
        header field of their own.
        """
        self.protection.challenged(offers("n1") + offers("n2", realm="other"), set())
        self.protection.challenged(offers("n3", realm="proxy"), set(), proxy=True)
        mine = self.protection.authorization("REGISTER", "sip:example.com")
        realms = [parse_credentials(value).param("realm") for value in mine]
        self.assertEqual(realms, ["example.com", "other"])
        (proxy,) = self.protection.authorization("REGISTER", "sip:example.com", proxy=True)
        self.assertEqual(parse_credentials(proxy).param("realm"), "proxy")
