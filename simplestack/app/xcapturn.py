"""XCAP requests: from HTTP to a turn, and the turn's answer back."""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Collection
from hmac import compare_digest
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from simplestack.app.authentication import Authenticator, Claim, Verified
from simplestack.app.gathering import Documents, Gathering
from simplestack.app.placing import domain_of
from simplestack.app.turn import Turns
from simplestack.interfaces import (
    Credential,
    ICredentialSource,
    Identifiers,
)
from simplestack.net.http import Exchange, XCAPResource, XCAPSite
from simplestack.outcome import Outcome
from simplestack.sip.digest import ha1
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Credentials, parse_credentials
from simplestack.sip.grammar import quote
from simplestack.sip.uri import Uri
from simplestack.state import ChangeSet, Document, Removed, ResourceState
from simplestack.xcap.errors import ConflictError
from simplestack.xcap.message import XCAPRequest, XCAPResponse
from simplestack.xcap.selectors import (
    GLOBAL,
    ResourceSelector,
    parse,
    root_path,
)
from simplestack.xcap.server import METHODS, XCAPServer

__all__ = ["XCAPService", "XCAPTurn"]

#: What HTTP clients are offered: many of them, curl before 8.10 among them, take SHA-512-256 for
#: another algorithm than it is, and fail instead of going on to the next challenge.
OFFERED = ("SHA-256", "MD5")

#: So many addresses that may be users' can be in one request; each is looked up.
MOST_ADDRESSES = 100


class XCAPService:
    """Takes requests from HTTP and starts their turns.

    ``credentials`` verifies the passwords of Basic authentication, which is offered over TLS
    alone; None turns it off.  ``documents`` finds all users' documents of a usage: without it
    values that are to be unique on the server are known since its start only, and no document
    is computed from all users'.  ``gathering`` sees to these, and to those who watch them.
    """

    log = Logger()

    def __init__(
        self,
        server: XCAPServer,
        authenticator: Authenticator,
        turns: Turns,
        identifiers: Identifiers,
        clock: Callable[[], float],
        *,
        credentials: ICredentialSource | None = None,
        documents: Documents | None = None,
        gathering: Gathering | None = None,
        origins: Collection[str] = (),
    ) -> None:
        self.server = server
        self.authenticator = authenticator
        self.identifiers = identifiers
        self.clock = clock
        self.credentials = credentials
        self.documents = documents
        self.gathering = (
            Gathering(server, turns, documents=documents) if gathering is None else gathering
        )
        self.root = root_path(server.root)
        #: Mounts in any ``twisted.web`` site.
        self.resource = XCAPResource(
            self.serve, max_body=server.limits.octets, origins=origins, allow=self.allow
        )
        self._turns = turns
        #: AUIDs whose claims have been read from the store.
        self._claimed: set[str] = set()

    def make_site(
        self, reactor: Any, max_connections: int = 10_000, per_address: int = 1_000
    ) -> XCAPSite:
        """A factory to listen with, which serves nothing else."""
        return XCAPSite(
            self.resource, reactor, max_connections=max_connections, per_address=per_address
        )

    def serve(self, exchange: Exchange) -> None:
        """Take a request; exactly one response follows."""
        try:
            selector = parse(exchange.uri, self.root)
            self.server.inspect(exchange.method, selector)
        except SIPError as error:
            respond(exchange, refusal(error))
        except Exception:
            self.log.failure("a request was not understood: {uri!r}", uri=exchange.uri)
            respond(exchange, refusal(SIPError(500)))
        else:
            self._turns.run(XCAPTurn(self, exchange, selector))

    def allow(self, uri: bytes) -> str:
        """The methods that a URI has (RFC 9110 §9.3.7); all where it names nothing here."""
        try:
            return self.server.allowed(parse(uri, self.root))
        except SIPError:
            pass
        except Exception:
            self.log.failure("a request was not understood: {uri!r}", uri=uri)
        return ", ".join(METHODS)

    def forget(self, aors: Collection[str]) -> None:
        """Users were removed with all their documents."""
        self.gathering.forget()
        for claims in self.server.claims.values():
            claims.forget(aors)

    def claims(self, auid: str) -> "Deferred[Any] | None":
        """Read who has which value that is unique on the server; None where that is known."""
        if auid in self._claimed:
            return None
        if self.documents is None or not self.server.usages[auid].unique:
            self._claimed.add(auid)
            return None
        return self.documents(auid).addCallback(self._learn, auid)

    def _learn(self, documents: "list[Document]", auid: str) -> None:
        if auid in self._claimed:
            return
        self._claimed.add(auid)
        for document in documents:
            values = self.server.claimed(document)
            self.server.claims[auid].take((document.aor, document.id), values)


class XCAPTurn:
    """An XCAP request on its way through its turn; provides ``Turn``."""

    __slots__ = (
        "_addresses",
        "_changes",
        "_claim",
        "_exchange",
        "_exists",
        "_gathered",
        "_given",
        "_identity",
        "_password",
        "_released",
        "_selector",
        "_service",
        "_taken",
        "_users",
        "_verified",
        "_writes",
        "aor",
    )

    def __init__(
        self, service: XCAPService, exchange: Exchange, selector: ResourceSelector
    ) -> None:
        self._service = service
        self._exchange = exchange
        self._selector = selector
        self.aor = selector.aor
        self._claim: Claim | None = None
        self._verified: Verified | None = None
        self._identity: str | None = None
        #: The user of a password that is being verified, with realm and password.
        self._password: tuple[str, str, str] | None = None
        self._given: Credential | None = None
        self._exists: bool | None = None
        self._gathered: tuple[Document, ...] | None = None
        #: Addresses in the body that may be users', as far as they are not looked up yet.
        self._addresses: list[str] | None = None
        self._users: list[str] = []
        #: What it changes, where that may be watched from other AORs.
        self._changes: ChangeSet | None = None
        #: Whether a document is being written.
        self._writes = False
        #: Values that are unique on the server: those of the new document, and of the old one.
        self._taken: tuple[str, ...] = ()
        self._released: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<XCAPTurn {self._exchange.method} {self._exchange.uri!r}>"

    # Trust

    def trust(self, now: float) -> Deferred[Any] | None:
        """Authenticate the sender, and see that the owner of the document exists.

        Raises SIPError 401; 404 where there is no such user (RFC 4825 §8).
        """
        service = self._service
        if self._identity is None:
            missing = self._authenticate(now)
            if missing is not None:
                return missing
        owner = self._selector.document.owner
        if self._exists is None:
            if not owner or owner == self._identity:
                self._exists = True
            else:
                exists = service.authenticator.exists(owner)
                if isinstance(exists, Deferred):
                    return exists.addCallback(self._learn)
                self._exists = exists
        if not self._exists:
            raise SIPError(404, text=f"there is no user {owner}")
        auid = self._selector.document.auid
        missing = service.claims(auid)
        if missing is None and self._gathered is None and service.server.gathers(self._selector):
            found = service.gathering.gathered(auid, self._selector.document.path)
            if isinstance(found, Deferred):
                return found.addCallback(self._gather)
            self._gathered = found
        return missing or self._meet_users(auid)

    def _meet_users(self, auid: str) -> "Deferred[Any] | None":
        """Find out which of the addresses in the body are users'."""
        exchange, service = self._exchange, self._service
        usage = service.server.usages[auid]
        if exchange.method != "PUT" or not usage.unique:
            return None
        if self._addresses is None:
            content_type = exchange.headers.get("content-type", "").partition(";")[0].strip()
            addresses = getattr(usage, "addresses", _none)(exchange.body, content_type.lower())
            claims, key = service.server.claims[auid], (self.aor, self._selector.document.id)
            # What the document has already nobody has to look for.
            new = [each for each in dict.fromkeys(addresses) if claims.holder(each) != key]
            if len(new) > MOST_ADDRESSES:
                raise ConflictError.of(
                    "constraint-failure", f"more than {MOST_ADDRESSES} new addresses at once"
                )
            self._addresses = [each for each in new if each.startswith("sip:")]
        while self._addresses:
            exists = service.authenticator.exists(self._addresses[-1])
            if isinstance(exists, Deferred):
                return exists.addCallback(self._meet)
            self._meet(exists)
        return None

    def _meet(self, exists: bool) -> None:
        assert self._addresses is not None
        address = self._addresses.pop()
        if exists:
            self._users.append(address)

    def _learn(self, exists: bool) -> None:
        self._exists = exists

    def _gather(self, documents: tuple[Document, ...]) -> None:
        self._gathered = documents

    def _authenticate(self, now: float) -> Deferred[Any] | None:
        authenticator = self._service.authenticator
        owner = self._selector.document.owner
        field = self._exchange.headers.get("authorization")
        if self._password is not None or (field is not None and field[:6].lower() == "basic "):
            return self._authenticate_basic(field or "", now)
        if self._claim is None:
            given = () if field is None else (parse_credentials(field),)
            realm = authenticator.realm(*[each.param("realm") for each in given], domain_of(owner))
            self._claim = Claim(given, self._exchange.method, realm, self._exchange.body, OFFERED)
        try:
            verified = authenticator.verify(self._claim, now)
        except SIPError as error:
            raise self._challenge(error, self._claim.realm) from None
        if isinstance(verified, Deferred):
            return verified
        assert verified.credentials is not None
        self._check_uri(verified.credentials)
        self._verified = verified
        self._identity = verified.identity
        self._claim = None
        return None

    def _check_uri(self, credentials: Credentials) -> None:
        """The credentials are for this resource (RFC 7616 §3.4.6).

        A proxy may have taken the scheme, the host and the path of the root off.
        """
        given = credentials.param("uri")
        if given.encode("utf-8", "surrogateescape") == self._exchange.target:
            return
        octets = _below(given.encode("utf-8", "surrogateescape"), self._service.root)
        if octets != _below(self._exchange.uri, self._service.root):
            raise SIPError(400, text="the uri of the credentials is not that of the request")

    def _authenticate_basic(self, field: str, now: float) -> Deferred[Any] | None:
        """Verify a password (RFC 7617), which must not have come in the clear."""
        service = self._service
        if self._password is None:
            user, _, password = _decode_basic(field)
            name, _, domain = user.removeprefix("sip:").partition("@")
            owner = self._selector.document.owner
            realm = service.authenticator.realm(domain, domain_of(owner))
            if service.credentials is None or not self._exchange.secure:
                raise self._challenge(
                    service.authenticator.challenge(realm, now, False, OFFERED), realm
                )
            self._password = (name, realm, password)
            asked = cast("Deferred[Credential | None]", service.credentials.lookup(name, realm))
            return asked.addCallback(self._compare)
        name, realm, password = self._password
        known, self._given = self._given, None
        if known is None or not _is_password(known, password):
            raise self._challenge(
                service.authenticator.challenge(realm, now, False, OFFERED), realm
            )
        self._identity = Uri("sip", user=name, host=realm).aor
        return None

    def _compare(self, credential: Credential | None) -> None:
        self._given = credential

    def _challenge(self, error: SIPError, realm: str) -> SIPError:
        if error.status == 401 and self._exchange.secure and self._service.credentials is not None:
            basic = ("WWW-Authenticate", f'Basic realm={quote(realm)}, charset="UTF-8"')
            return SIPError(401, error.reason, (*error.headers, basic), error.text)
        return error

    # Decide and answer

    def decide(self, state: ResourceState, now: float) -> Outcome[XCAPResponse]:
        """The server's decision."""
        assert self._identity is not None
        exchange = self._exchange
        service = self._service
        request = XCAPRequest(
            exchange.method,
            self._selector,
            exchange.headers,
            exchange.body,
            self._identity,
            self._gathered or (),
            frozenset(self._users),
        )
        outcome = service.server.decide(request, state, now, service.identifiers)
        auid = self._selector.document.auid
        if outcome.changes and (self.aor == GLOBAL or service.server.usages[auid].gathers):
            self._changes = outcome.changes
        if outcome.changes and service.server.usages[auid].unique:
            self._take(auid, outcome, state)
            service.gathering.write(auid, True)
            self._writes = True
        return outcome

    def _take(self, auid: str, outcome: Outcome[XCAPResponse], state: ResourceState) -> None:
        server = self._service.server
        claims = server.claims[auid]
        for entry in outcome.changes.of(Document):
            gone = isinstance(entry, Removed)
            new = None if isinstance(entry, Removed) else entry
            old = state.documents.get(self._selector.document.id)
            if old is not None:
                self._released += server.claimed(old)
            if new is not None and not gone:
                values = server.claimed(new)
                claims.take((new.aor, new.id), values)
                self._taken += values

    def answer(self, response: XCAPResponse) -> None:
        """Release the response: what it says is committed."""
        self._written()
        self._service.server.claims[self._selector.document.auid].release(self._released)
        if self._verified is not None:
            service = self._service
            info = service.authenticator.info(self._verified, service.clock())
            if info is not None:
                headers = (*response.headers, ("Authentication-Info", info))
                response = response._replace(headers=headers)
        respond(self._exchange, response)
        if self._changes is not None:
            self._service.gathering.committed(self._changes)

    def _written(self) -> None:
        if self._writes:
            self._writes = False
            self._service.gathering.write(self._selector.document.auid, False)

    def refuse(self, error: SIPError) -> None:
        """Answer with an error; nothing has been changed."""
        self._written()
        self._service.server.claims[self._selector.document.auid].release(self._taken)
        respond(self._exchange, refusal(error))


def _none(body: bytes, content_type: str) -> tuple[str, ...]:
    """The addresses of usages that say nothing of them."""
    return ()


def respond(exchange: Exchange, response: XCAPResponse) -> None:
    """Give the response to HTTP."""
    exchange.respond(*response)


def refusal(error: SIPError) -> XCAPResponse:
    """The response that an error stands for, with a report or a line that says what is wrong."""
    if isinstance(error, ConflictError):
        headers = (*error.headers, ("Content-Type", error.media_type))
        return XCAPResponse(error.status, headers, error.report.to_bytes())
    headers = (*error.headers, ("Content-Type", "text/plain; charset=utf-8"))
    text = error.text or error.reason
    body = text.encode("utf-8", "replace") + b"\n"
    return XCAPResponse(error.status, headers, body)


def _decode_basic(field: str) -> tuple[str, str, str]:
    try:
        octets = b64decode(field[6:].strip().encode(), validate=True)
        return octets.decode().partition(":")
    except (Base64Error, UnicodeError, ValueError):
        raise SIPError(400, text="the Basic credentials can't be read") from None


def _is_password(known: Credential, password: str) -> bool:
    for algorithm, secret in (
        ("SHA-256", known.sha256),
        ("SHA-512-256", known.sha512_256),
        ("MD5", known.md5),
    ):
        if secret:
            given = ha1(algorithm, known.username, known.domain, password)
            return compare_digest(given, secret)
    return False


def _below(uri: bytes, root: bytes) -> bytes:
    """Path and query below the root, percent-decoded."""
    if uri[:1] != b"/" and b"://" in uri:
        uri = b"/" + uri.partition(b"://")[2].partition(b"/")[2]
    if root and uri.startswith(root + b"/"):
        uri = uri[len(root) :]
    return unquote_to_bytes(uri)
