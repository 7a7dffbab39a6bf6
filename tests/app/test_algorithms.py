"""Which Digest algorithms are offered and accepted."""

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from simplestack.app.authentication import Authenticator, Claim, Verified
from simplestack.app.settings import Settings, SettingsError
from simplestack.app.tap import Options
from simplestack.interfaces import Credential, ICredentialSource
from simplestack.net.identifiers import RandomIdentifiers
from simplestack.sip.digest import ALGORITHMS, Nonces, authorize, ha1
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import parse_challenge


@implementer(ICredentialSource)
class OneUser:
    """Knows alice@example.com, whose password is "wonder"."""

    name = "one"

    def lookup(self, username: str, domain: str) -> Deferred[Credential | None]:
        """Her secrets, whoever is asked for."""
        secrets = (ha1(algorithm, "alice", domain, "wonder") for algorithm in ALGORITHMS)
        return succeed(Credential("alice", domain, *secrets))

    def version(self) -> Deferred[int]:
        """Never another."""
        return succeed(1)

    def removed(self, since: int) -> Deferred[list[str]]:
        """Nobody."""
        return succeed([])


class AlgorithmTests(SynchronousTestCase):
    def authenticator(self, *algorithms: str) -> Authenticator:
        """One that offers these algorithms."""
        nonces = Nonces(b"secret", 0.0, 300, 10)
        return Authenticator(
            OneUser(), ["example.com"], nonces, RandomIdentifiers(), algorithms or ALGORITHMS
        )

    def offered(self, authenticator: Authenticator) -> list[str]:
        """The WWW-Authenticate values of a 401."""
        return [value for _, value in authenticator.challenge("example.com", 0.0).headers]

    def show(self, authenticator: Authenticator, algorithm: str) -> Verified:
        """Answer a challenge by the algorithm, whether it is offered or not."""
        offer = self.offered(authenticator)[0]
        name = parse_challenge(offer).algorithm
        challenge = parse_challenge(offer.replace(f"algorithm={name}", f"algorithm={algorithm}"))
        secret = ha1(algorithm, "alice", "example.com", "wonder")
        given = authorize(challenge, "alice", secret, "PUBLISH", "sip:alice@example.com", 1, "c")
        claim = Claim([given], "PUBLISH", "example.com")
        verified = authenticator.verify(claim, 0.0)
        if isinstance(verified, Deferred):
            # Now her secrets are known.
            verified = authenticator.verify(claim, 0.0)
        assert isinstance(verified, Verified)
        return verified

    def test_all(self) -> None:
        """All are offered, in the order of preference, and accepted (RFC 8760 §2.3)."""
        authenticator = self.authenticator()
        algorithms = [parse_challenge(text).algorithm for text in self.offered(authenticator)]
        self.assertEqual(algorithms, ["SHA-512-256", "SHA-256", "MD5"])
        for algorithm in algorithms:
            self.assertEqual(self.show(authenticator, algorithm).identity, "sip:alice@example.com")

    def test_chosen(self) -> None:
        """The settings choose what is offered, and in which order."""
        authenticator = self.authenticator("MD5", "SHA-256")
        algorithms = [parse_challenge(text).algorithm for text in self.offered(authenticator)]
        self.assertEqual(algorithms, ["MD5", "SHA-256"])

    def test_not_offered(self) -> None:
        """What is not offered is not accepted: no one can be talked into a weaker algorithm."""
        authenticator = self.authenticator("SHA-256")
        self.show(authenticator, "SHA-256")
        error = self.assertRaises(SIPError, self.show, authenticator, "MD5")
        self.assertEqual(error.status, 401)

    def parsed(self, arguments: Sequence[str]) -> Sequence[str]:
        """The algorithms by these options of twistd simplestack."""
        options = Options()
        options.parseOptions(list(arguments))
        return options.settings.digest_algorithms

    def test_option(self) -> None:
        """``--digest`` names them, comma-separated or repeated."""
        self.assertEqual(self.parsed([]), ALGORITHMS)
        self.assertEqual(self.parsed(["--digest", "MD5"]), ("MD5",))
        self.assertEqual(
            self.parsed(["--digest", "SHA-256,MD5", "--digest", "SHA-512-256"]),
            ("SHA-256", "MD5", "SHA-512-256"),
        )

    def test_bad(self) -> None:
        """An unknown algorithm, and none at all, are refused with the names of the known ones."""
        for algorithms in (["SHA-1"], []):
            error = self.assertRaises(SettingsError, Settings, digest_algorithms=algorithms)
            self.assertIn("SHA-512-256,SHA-256,MD5", str(error))
