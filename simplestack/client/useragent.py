"""A user agent: sends requests for one account, and takes those that come for its dialogs."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from OpenSSL import crypto
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from simplestack.client.account import Account
from simplestack.client.errors import NoAnswerError
from simplestack.client.opening import open_network
from simplestack.net.endpoints import join_address
from simplestack.net.identifiers import RandomIdentifiers
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request, Response, validate_request
from simplestack.sip.uri import Uri
from simplestack.transaction.client import Done
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.protection import Protection
from simplestack.transaction.server import ServerTransaction
from simplestack.transaction.useragent import Capabilities, check_method, check_require, options

__all__ = ["DialogUser", "Identifiers", "UserAgent", "Ways", "contact_of"]

#: How often one request may be sent with something changed: credentials, a longer interval.
_TRIES = 6
#: How many flows are tried for one request.
_FLOWS = 4
#: Seconds without any response over UDP after which ``on_silence`` is told.
_SILENCE = 4.0
#: What Via and Contact add to a request, in octets, at the most that matters.
_HEAD = 250

#: Gets the NOTIFYs of a dialog; raises SIPError to refuse one.
DialogUser = Callable[[Request, Flow], None]


class Identifiers(Protocol):
    """Where the tags, branches, Call-IDs and client nonces of a user agent come from."""

    def tag(self) -> str:
        """A From or To tag."""

    def branch(self) -> str:
        """A Via branch."""

    def call_id(self) -> str:
        """A Call-ID."""

    def octets(self, count: int) -> bytes:
        """Random octets."""


class Ways(Protocol):
    """The sockets, and the ways to peers; ``net.network.Network`` is one."""

    def stop(self) -> Deferred[None]:
        """Close what is open."""

    def flow_to(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Deferred[Flow]:
        """The flow for a request to the URI, when it has been found."""

    def failed(self, flow: Flow) -> None:
        """Learn that a request got no answer by this flow."""


def contact_of(user: Uri, flow: Flow) -> Uri:
    """The URI by which a peer at the other end of a flow reaches the user agent."""
    host, port = flow.local
    params = () if flow.transport == "udp" else (("transport", flow.transport),)
    return Uri("sip", user.user, None, f"[{host}]" if ":" in host else host, port, params)


class UserAgent:
    """The user agent of one account.

    ``start`` opens its sockets, ``stop`` closes them; between the two ``request`` sends requests.
    Registrations, publications and subscriptions are objects of their own that use it.

    ``authorities`` are whom TLS trusts in place of the system's.  ``open_ways`` gives other
    sockets than those of ``open_network``.  ``clock`` is a monotonic clock in seconds.

    ``on_silence`` is told once, in words, where nothing was heard over UDP for four seconds: a
    request is given up after 32 alone (RFC 3261 §17.1.2.2).
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        account: Account,
        *,
        authorities: Sequence[crypto.X509] | None = None,
        identifiers: Identifiers | None = None,
        clock: Callable[[], float] = time.monotonic,
        open_ways: Callable[[TransactionLayer], Awaitable[Ways]] | None = None,
    ) -> None:
        self.reactor = reactor
        self.account = account
        self.identifiers: Identifiers = identifiers or RandomIdentifiers()
        self.clock = clock
        self.on_silence: Callable[[str], object] | None = None
        self._silences: set[Any] = set()
        self.layer = TransactionLayer(self._deliver, self.identifiers, closed=self._lost)
        self._authorities = authorities
        self._open_ways = open_ways
        self._ways: Ways | None = None
        self._protection = Protection(account.user, account.password, self.identifiers)
        self._dialog_users: dict[tuple[str, str], DialogUser] = {}
        self._flow_users: set[Callable[[Flow], None]] = set()
        self._capabilities = Capabilities(
            methods=("NOTIFY", "OPTIONS"), domains=(account.domain,), content_types={}
        )

    def start(self) -> Deferred[None]:
        """Open the sockets; fails with NoAnswerError where there is no way to the server."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        if self._open_ways is not None:
            self._ways = await self._open_ways(self.layer)
        else:
            self._ways = await open_network(
                self.reactor,
                self.layer,
                self.account.next_hop,
                authorities=self._authorities,
                clock=self.clock,
            )

    def stop(self) -> Deferred[None]:
        """Close the sockets; what lasts at the server stays there until it expires."""
        self._dialog_users.clear()
        self._flow_users.clear()
        for silence in self._silences:
            if silence.active():
                silence.cancel()
        self._silences.clear()
        ways, self._ways = self._ways, None
        if ways is None:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        return ways.stop()

    # Requests of ours.

    def new_request(
        self, method: str, uri: str, call_id: str, cseq: int, tag: str, to: str = ""
    ) -> Request:
        """A request outside of a dialog, without Via (RFC 3261 §8.1.1); ``to`` is as ``uri``."""
        headers = {
            "Max-Forwards": ["70"],
            "From": [f"<{self.account.aor}>;tag={tag}"],
            "To": [f"<{to or uri}>"],
            "Call-ID": [call_id],
            "CSeq": [f"{cseq} {method}"],
        }
        return Request(method, uri, headers)

    def request(
        self,
        request: Request,
        *,
        next_hop: Uri | None = None,
        prefer: str | None = None,
        contact: Callable[[Flow], str] | None = None,
    ) -> Deferred[Response]:
        """Send a request; the result is its final response, whatever that is.

        Challenges are answered, stale nonces replaced, an interval that is too brief is made as
        long as the server wants (RFC 3261 §10.2.8).  Each further try has a CSeq one higher:
        ``request`` is changed, and shows the last one.

        ``next_hop`` is the server of the account where it is not given; ``prefer`` the key of a
        connection to take if it will do.  ``contact`` makes the Contact, once the flow is known.

        Fails with NoAnswerError where there was no response.
        """
        hop = next_hop or self.account.next_hop
        return Deferred.fromCoroutine(self._request(request, hop, prefer, contact))

    async def _request(
        self,
        request: Request,
        hop: Uri,
        prefer: str | None,
        contact: Callable[[Flow], str] | None,
    ) -> Response:
        answered: set[str] = set()
        for remaining in reversed(range(_TRIES)):
            self._authorize(request)
            response = await self._transact(request, hop, prefer, contact)
            if not remaining or not self._may_try_again(request, response, answered):
                break
            cseq = request.cseq
            request.set("CSeq", f"{cseq.number + 1} {cseq.method}")
        return response

    def _authorize(self, request: Request) -> None:
        for name, proxy in (("Authorization", False), ("Proxy-Authorization", True)):
            request.remove(name)
            for value in self._protection.authorization(
                request.method, request.uri, request.body, proxy=proxy
            ):
                request.add(name, value)

    def _may_try_again(self, request: Request, response: Response, answered: set[str]) -> bool:
        """Learn from a response; whether the request, as it is changed now, may do better."""
        for name, proxy in (("Authentication-Info", False), ("Proxy-Authentication-Info", True)):
            info = response.get(name)
            if info is not None:
                self._protection.informed(info, proxy=proxy)
        try:
            if response.status in (401, 407):
                return self._protection.challenged(
                    response.challenges, answered, proxy=response.status == 407
                )
            if response.status == 423:
                # "If a UA receives a 423 (Interval Too Brief) response to a registration request,
                # it MAY retry the registration after making the expiration interval of all contact
                # addresses in the REGISTER request equal to or greater than the expiration
                # interval within the Min-Expires header field of the 423" (§10.2.8)
                least, asked = response.min_expires, request.expires
                if least and asked and asked < least:
                    request.set("Expires", str(least))
                    return True
        except SIPError as error:
            self.log.debug("a response can't be understood: {why}", why=error)
        return False

    async def _transact(
        self,
        request: Request,
        hop: Uri,
        prefer: str | None,
        contact: Callable[[Flow], str] | None,
    ) -> Response:
        """Send a request as it stands, if need be by one flow after the other (RFC 3263 §4.3)."""
        tried: set[tuple[str, tuple[str, int]]] = set()
        lost: set[tuple[str, tuple[str, int]]] = set()
        why = "no response in time"
        for _ in range(_FLOWS):
            if self._ways is None:
                raise NoAnswerError("the user agent is stopped")
            request.remove("Via")
            try:
                size = len(request.to_bytes()) + _HEAD
                flow = await self._ways.flow_to(hop, size, prefer)
            except SIPError as error:
                raise NoAnswerError(error.text) from None
            except ValueError as error:
                # A certificate file, or a header field value with a line end in it.
                raise NoAnswerError(str(error)) from None
            place = (flow.transport, flow.remote)
            if place in tried:
                break
            if contact is not None:
                request.set("Contact", contact(flow))
            done: Deferred[Response | None] = Deferred()
            transaction = self.layer.start_request(request, flow, _fire(done), self.clock())
            why = f"no response from {flow.transport} {join_address(*flow.remote)}"
            silence = None
            if self.on_silence is not None and not flow.reliable:
                silence = self.reactor.callLater(_SILENCE, self._silent, why)
                self._silences.add(silence)
            response = await done
            if silence is not None:
                self._silences.discard(silence)
                if silence.active():
                    silence.cancel()
            if response is not None:
                return response
            if transaction.failure == "transport" and flow.reliable:
                why = f"the connection to {join_address(*flow.remote)} was lost"
                if place not in lost:
                    # It may have been an old one; the server need not be gone.
                    lost.add(place)
                    continue
            tried.add(place)
            if self._ways is not None:
                self._ways.failed(flow)
        raise NoAnswerError(why)

    def _silent(self, why: str) -> None:
        tell, self.on_silence = self.on_silence, None
        if tell is not None:
            tell(why)

    # Requests that come, and connections that go.

    def attend(self, call_id: str, tag: str, user: DialogUser) -> None:
        """From now on give the NOTIFYs with this Call-ID and our tag to ``user``."""
        self._dialog_users[call_id, tag] = user

    def leave(self, call_id: str, tag: str) -> None:
        """Answer 481 to NOTIFYs with this Call-ID and tag from now on."""
        self._dialog_users.pop((call_id, tag), None)

    def watch_flows(self, lost: Callable[[Flow], None]) -> None:
        """From now on tell ``lost`` of each connection that has ended."""
        self._flow_users.add(lost)

    def unwatch_flows(self, lost: Callable[[Flow], None]) -> None:
        """Tell ``lost`` no more."""
        self._flow_users.discard(lost)

    def _lost(self, flow: Flow) -> None:
        for lost in list(self._flow_users):
            lost(flow)

    def _deliver(self, request: Request, transaction: ServerTransaction | None, now: float) -> None:
        if transaction is None:
            return
        try:
            validate_request(request)
            check_method(request, self._capabilities.methods)
            check_require(request, ("eventlist",))
            if request.method == "OPTIONS":
                response = options(request, self._capabilities, self.identifiers.tag())
            else:
                user = self._dialog_users.get((request.call_id, request.to.tag or ""))
                if user is None:
                    # "If a NOTIFY matches no subscription ... 481" (RFC 6665 §4.1.3)
                    raise SIPError(481)
                user(request, transaction.flow)
                response = request.response(200)
        except SIPError as error:
            response = request.refusal(error, self.identifiers.tag())
        except Exception:
            self.log.failure("A request was not worked off: {request!r}", request=request)
            response = request.refusal(SIPError(500), self.identifiers.tag())
        transaction.respond(response, self.clock())


def _fire(done: Deferred[Response | None]) -> Done:
    """What a transaction calls in the end, so that ``done`` fires."""
    return lambda response, _: done.callback(response)
