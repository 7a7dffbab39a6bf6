"""Who sent a request: Digest authentication against a credential source (RFC 7616, RFC 8760)."""

from collections.abc import Collection, Sequence
from typing import Final, cast

from mypy_extensions import mypyc_attr
from twisted.internet.defer import Deferred, fail

from simplestack.interfaces import Credential, ICredentialSource
from simplestack.net.identifiers import RandomIdentifiers
from simplestack.sip.digest import (
    ALGORITHMS,
    NONCE_RANDOM_LENGTH,
    Nonces,
    authentication_info,
    challenges,
    verify,
)
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Credentials
from simplestack.sip.recent import Recent
from simplestack.sip.uri import Uri, parse_uri

__all__ = ["Authenticator", "Claim", "Verified"]

#: Credentials that are kept in memory, of each domain, and twice as many at most; only users that
#: exist take a place.
MAX_CACHED: Final = 200_000


@mypyc_attr(acyclic=True)
class Verified:
    """A request's sender who has shown that he knows the password."""

    __slots__ = ("credentials", "ha1", "identity")

    def __init__(
        self, identity: str, credentials: Credentials | None = None, ha1: str = ""
    ) -> None:
        #: The AOR: ``sip:alice@example.com``.
        self.identity = identity
        #: None where others have said who he is.
        self.credentials = credentials
        #: The secret by the algorithm of the credentials.
        self.ha1 = ha1


@mypyc_attr(acyclic=True)
class Claim:
    """Credentials that came with a request, to be verified."""

    __slots__ = ("asked", "body", "given", "method", "offered", "realm")

    def __init__(
        self,
        given: Sequence[Credentials],
        method: str,
        realm: str,
        body: bytes = b"",
        offered: Collection[str] = ALGORITHMS,
    ) -> None:
        self.given = given
        self.method = method
        self.realm = realm
        self.body = body
        #: The algorithms that a challenge may offer.
        self.offered = offered
        #: Whether the credential source has been asked for this request.
        self.asked = False


@mypyc_attr(acyclic=True)
class _User:
    """A user who is known."""

    __slots__ = ("aor", "credential")

    def __init__(self, credential: Credential) -> None:
        self.credential = credential
        self.aor = Uri("sip", user=credential.username, host=credential.domain).aor


class Authenticator:
    """Verifies credentials, and knows which users exist.

    Credentials are asked for once and kept until ``refresh`` sees another version of the source.
    Of a user who doesn't exist nothing is kept.  Credentials by an algorithm that is not among
    ``algorithms`` are refused, so that leaving one out keeps it from being used.
    """

    def __init__(
        self,
        source: ICredentialSource,
        domains: Collection[str],
        nonces: Nonces,
        identifiers: RandomIdentifiers,
        algorithms: Sequence[str] = ALGORITHMS,
    ) -> None:
        self._source = source
        self._algorithms = tuple(algorithms)
        self._domains = frozenset(domains)
        self._nonces = nonces
        self._identifiers = identifiers
        # Domain → user name → what is known of him.
        self._known: dict[str, Recent[_User]] = {
            domain: Recent(MAX_CACHED) for domain in self._domains
        }
        self._version: int | None = None

    def realm(self, *domains: str) -> str:
        """The realm to ask for: the first of these domains that is served, else the first served."""
        for domain in domains:
            if domain in self._domains:
                return domain
        return min(self._domains)

    def verify(self, claim: Claim, now: float) -> Verified | Deferred[Credential | None]:
        """Whom the credentials are of, or what to wait for before asking again.

        Raises SIPError 401 with the challenges: with ``stale=true`` where the password was right
        and only the nonce too old or used before.
        """
        for credentials in claim.given:
            if credentials.scheme != "digest" or credentials.param("realm") != claim.realm:
                continue
            username = credentials.username
            known = self._known[claim.realm].get(username)
            if known is None:
                if claim.asked:
                    break
                claim.asked = True
                return self._look_up(username, claim.realm)
            algorithm = credentials.algorithm
            ha1 = _secret(known.credential, algorithm) if algorithm in self._algorithms else ""
            if ha1 and verify(credentials, ha1, claim.method, claim.body):
                if self._nonces.use(credentials.param("nonce"), credentials.nonce_count, now):
                    return Verified(known.aor, credentials, ha1)
                raise self.challenge(claim.realm, now, True, claim.offered)
        raise self.challenge(claim.realm, now, False, claim.offered)

    def challenge(
        self,
        realm: str,
        now: float,
        stale: bool = False,
        offered: Collection[str] = ALGORITHMS,
    ) -> SIPError:
        """401 with one challenge for each algorithm, the preferred one first (RFC 8760 §2.3)."""
        nonce = self._nonces.mint(now, self._identifiers.octets(NONCE_RANDOM_LENGTH))
        algorithms = [each for each in self._algorithms if each in offered]
        return SIPError(
            401,
            headers=[
                ("WWW-Authenticate", value)
                for value in challenges(
                    realm, nonce, stale, algorithms=algorithms or self._algorithms
                )
            ],
        )

    def info(self, verified: Verified, now: float) -> str | None:
        """Authentication-Info with the next nonce, from half the life of a nonce on (RFC 7616 §3.5)."""
        if verified.credentials is None or not self._nonces.aging(
            verified.credentials.param("nonce"), now
        ):
            return None
        nonce = self._nonces.mint(now, self._identifiers.octets(NONCE_RANDOM_LENGTH))
        return authentication_info(verified.credentials, verified.ha1, nonce)

    def exists(self, aor: str) -> bool | Deferred[bool]:
        """Whether the AOR is of a user."""
        uri = parse_uri(aor)
        known = self._known.get(uri.host)
        if known is not None and known.get(uri.user) is not None:
            return True
        return self._look_up(uri.user, uri.host).addCallback(lambda known: known is not None)

    def users(self, domain: str) -> Deferred[list[str]]:
        """The AORs of all users of a domain; fails with SIPError 502 where the source can't tell."""
        users = getattr(self._source, "users", None)
        if users is None:
            return fail(SIPError(502, text=f"it is not known which users {domain} has"))
        return cast("Deferred[list[str]]", users(domain))

    def refresh(self) -> Deferred[list[str]]:
        """Ask the source whether it has changed, and forget what is known of it where it has.

        The result is the AORs of users who have been removed since.
        """
        asked = cast("Deferred[int]", self._source.version())
        return asked.addCallback(self._refreshed)

    def _refreshed(self, version: int) -> list[str] | Deferred[list[str]]:
        before, self._version = self._version, version
        if version == before:
            return []
        for known in self._known.values():
            known.clear()
        if before is None:
            return []
        return cast("Deferred[list[str]]", self._source.removed(before))

    def __len__(self) -> int:
        """How many users are kept in memory."""
        return sum([len(known) for known in self._known.values()])

    def _look_up(self, username: str, domain: str) -> Deferred[Credential | None]:
        found = cast("Deferred[Credential | None]", self._source.lookup(username, domain))
        return found.addCallback(self._remember, username, domain, self._version)

    def _remember(
        self, credential: Credential | None, username: str, domain: str, version: int | None
    ) -> Credential | Deferred[Credential | None] | None:
        if version != self._version:
            # It may be what was there before the source changed.
            return self._look_up(username, domain)
        known = self._known.get(domain)
        if credential is not None and known is not None:
            known.set(credential.username, _User(credential))
        return credential


def _secret(credential: Credential, algorithm: str) -> str:
    if algorithm == "SHA-512-256":
        return credential.sha512_256
    if algorithm == "SHA-256":
        return credential.sha256
    return credential.md5 if algorithm == "MD5" else ""
