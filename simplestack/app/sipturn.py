"""SIP requests: the checks of a user agent server, then a turn."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from simplestack.app.assertions import Assertions
from simplestack.app.authentication import Authenticator, Claim, Verified
from simplestack.app.placing import Placing, behind_nat, domain_of
from simplestack.app.turn import Turns
from simplestack.interfaces import Identifiers
from simplestack.outcome import Incoming, Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request, Response, validate_request
from simplestack.sip.uri import Uri
from simplestack.state import ResourceState
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.server import ServerTransaction
from simplestack.transaction.useragent import (
    Capabilities,
    check_content,
    check_merged,
    check_method,
    check_require,
    check_scheme,
    options,
)

__all__ = ["SIPService"]

#: The host of a From that names nobody (RFC 3323 §4.1.1.3).
ANONYMOUS_HOST: Final = "anonymous.invalid"

Decide = Callable[[Incoming, ResourceState, float, Identifiers], Outcome[Response]]


class ListTurns(Protocol):
    """Knows which SUBSCRIBE may be for a list."""

    def turn(
        self, service: "SIPService", request: Request, transaction: ServerTransaction, aor: str
    ) -> "SIPTurn | None":
        """The turn of such a request; None where it is for no list."""


class SIPService:
    """Takes requests from the transaction layer and starts their turns."""

    log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        decides: Mapping[str, Decide],
        capabilities: Capabilities,
        placing: Placing,
        authenticator: Authenticator,
        identifiers: Identifiers,
        turns: Turns,
        monotonic: Callable[[], float],
    ) -> None:
        #: SIP method → the role's decision.
        self._decides = decides
        self._capabilities = capabilities
        #: Knows which requests are merged; the assembly sets it, since each needs the other.
        self.layer: TransactionLayer
        self.placing = placing
        self.authenticator = authenticator
        self.identifiers = identifiers
        self._turns = turns
        self.monotonic = monotonic
        #: Identities of servers that say in From who watches; the assembly sets them.
        self.list_servers: frozenset[str] = frozenset()
        #: Who is believed to say who has sent a request; the assembly sets it where anybody is.
        self.assertions: Assertions | None = None
        #: Makes the turns of what may be for a list; the assembly sets it where there are lists.
        self.lists: ListTurns | None = None
        #: Takes the NOTIFYs of our own subscriptions; the assembly sets it where there are such.
        self.notified: Callable[[Request, ServerTransaction], None] | None = None
        #: What a SUBSCRIBE of this identity waits for before it is decided; set by the assembly.
        self.prepare: Callable[[Request, str], Deferred[Any] | None] | None = None

    def deliver(self, request: Request, transaction: ServerTransaction | None, now: float) -> None:
        """Take a new request; one final response follows, but to ACK (RFC 3261 §17)."""
        if transaction is None:
            return
        try:
            validate_request(request)
            self._inspect(request, transaction, now)
            if request.method == "OPTIONS":
                self.placing.check_host(request, transaction.flow)
                tag = self.identifiers.tag()
                transaction.respond(options(request, self._capabilities, tag), now)
                return
            if self.notified is not None and request.method == "NOTIFY":
                self.notified(request, transaction)
                return
            aor = self.placing.place(request)
            turn: SIPTurn | None = None
            if self.lists is not None and request.method == "SUBSCRIBE":
                turn = self.lists.turn(self, request, transaction, aor)
            if turn is None:
                turn = SIPTurn(self, request, transaction, aor, self._decides[request.method])
        except SIPError as error:
            self.refuse(request, transaction, error)
        except Exception:
            self.log.failure("a request was not understood: {request!r}", request=request)
            self.refuse(request, transaction, SIPError(500))
        else:
            self._turns.run(turn)

    def _inspect(self, request: Request, transaction: ServerTransaction, now: float) -> None:
        """The checks of RFC 3261 §8.2 that need no role, in their order."""
        capabilities = self._capabilities
        check_method(request, capabilities.methods)
        check_scheme(request, capabilities.schemes)
        check_merged(self.layer.merged(transaction, now))
        check_require(request, capabilities.extensions)
        if request.body and request.method in ("REGISTER", "OPTIONS"):
            # The other methods have bodies, and their roles judge those.
            check_content(request, ())

    def decision(self, method: str) -> Decide:
        """Who decides the requests of a method."""
        return self._decides[method]

    def vouched(self, verified: Verified, sender: Uri) -> Verified:
        """Who asks, where another server has authenticated itself.

        The operator says whose word is taken, and it is taken for no user of ours.
        """
        if (
            verified.identity in self.list_servers
            and sender.is_sip
            and sender.user
            and sender.host not in self.placing.domains
        ):
            return Verified(sender.aor, verified.credentials, verified.ha1)
        return verified

    def refuse(self, request: Request, transaction: ServerTransaction, error: SIPError) -> None:
        """Answer with an error."""
        transaction.respond(request.refusal(error, self.identifiers.tag()), self.monotonic())


class SIPTurn:
    """A SIP request on its way through its turn; provides ``Turn``."""

    __slots__ = (
        "_anonymous",
        "_claim",
        "_decide",
        "_exists",
        "_request",
        "_service",
        "_transaction",
        "_verified",
        "aor",
    )

    def __init__(
        self,
        service: SIPService,
        request: Request,
        transaction: ServerTransaction,
        aor: str,
        decide: Decide,
    ) -> None:
        self._service = service
        self._request = request
        self._transaction = transaction
        self._decide = decide
        self.aor = aor
        self._claim: Claim | None = None
        self._verified: Verified | None = None
        #: Whether he goes on without a name.
        self._anonymous = False
        self._exists: bool | None = None

    def __repr__(self) -> str:
        return f"<SIPTurn {self._request.method} {self.aor}>"

    def trust(self, now: float) -> Deferred[Any] | None:
        """Authenticate the sender, and see that the AOR exists.

        A watcher without credentials whose From is anonymous goes on without a name; ``decide``
        challenges him if there is nothing for such.

        Raises SIPError 401, what Assertions raises; 403 where From names another than the credentials do; 404.
        """
        authenticator = self._service.authenticator
        if self._verified is None and not self._anonymous:
            request = self._request
            sender = request.from_.uri
            anonymous = sender.host == ANONYMOUS_HOST
            assertions = self._service.assertions
            if assertions is not None and self._claim is None:
                flow = self._transaction.flow
                said = assertions.sender(request, self.aor, flow.remote[0], flow.transport, now)
                if said == "":
                    self._anonymous = True
                    return self.trust(now)
                if said is not None:
                    self._verified = Verified(said)
                    return self.trust(now)
            if self._claim is None:
                realm = authenticator.realm(sender.host, domain_of(self.aor))
                self._claim = Claim(request.authorization, request.method, realm, request.body)
            if anonymous and request.method == "SUBSCRIBE" and not self._claim.given:
                self._anonymous = True
                return self.trust(now)
            verified = authenticator.verify(self._claim, now)
            if not isinstance(verified, Verified):
                return verified
            if verified.credentials is not None:
                given = verified.credentials.param("uri")
                self._service.placing.check_credentials(given, request, self._transaction.flow)
            # REGISTER may come from a third party for the AOR in To: the registrar judges that.
            # "If a request is anonymous … but still contains an asserted identity …, that identity
            # is utilized" (RFC 5025 §3.1.1.2).
            if verified.identity != sender.aor and not anonymous:
                verified = self._service.vouched(verified, sender)
            if verified.identity != sender.aor and not anonymous:
                raise SIPError(403, text=f"From is not {verified.identity}, who authenticated")
            self._verified = verified
            self._claim = None
            if verified.identity == self.aor:
                self._exists = True
        if self._exists is None:
            exists = authenticator.exists(self.aor)
            if not isinstance(exists, bool):
                return exists.addCallback(self._learn)
            self._exists = exists
        if not self._exists:
            if self._anonymous:
                # Who has no name does not learn which users there are.
                raise self._challenge(now)
            raise SIPError(404, text=f"there is no user {self.aor}")
        prepare = self._service.prepare
        if (
            prepare is not None
            and self._verified is not None
            and self._request.method == "SUBSCRIBE"
        ):
            return prepare(self._request, self._verified.identity)
        return None

    def _challenge(self, now: float) -> SIPError:
        authenticator = self._service.authenticator
        return authenticator.challenge(authenticator.realm(domain_of(self.aor)), now)

    def _learn(self, exists: bool) -> None:
        self._exists = exists

    def decide(self, state: ResourceState, now: float) -> Outcome[Response]:
        """The role's decision."""
        verified = self._verified
        request, flow = self._request, self._transaction.flow
        by_flow, contact = flow.reliable, ""
        if request.method == "SUBSCRIBE":
            contact = self._service.placing.contact(request, self.aor, flow)
            contacts = request.contacts
            by_flow = by_flow or behind_nat(
                request.top_via.host, flow.remote[0], contacts[0].uri if contacts else None
            )
        incoming = Incoming(
            request,
            self.aor,
            "" if verified is None else verified.identity,
            flow.key,
            by_flow,
            contact,
        )
        try:
            outcome = self._decide(incoming, state, now, self._service.identifiers)
        except SIPError as error:
            if error.status == 403 and verified is None:
                # Nothing is for those without a name: let him say who he is.
                raise self._challenge(now) from None
            raise
        if verified is None:
            return outcome
        info = self._service.authenticator.info(verified, now)
        if info is not None:
            outcome.response.set("Authentication-Info", info)
        return outcome

    def answer(self, response: Response) -> None:
        """Release the response."""
        self._transaction.respond(response, self._service.monotonic())

    def refuse(self, error: SIPError) -> None:
        """Answer with an error."""
        self._service.refuse(self._request, self._transaction, error)
