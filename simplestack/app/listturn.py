"""SUBSCRIBE requests that may be for a list (RFC 4662 §4.4, RFC 5367 §5)."""

import zlib
from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from simplestack.app.lists import ListServer
from simplestack.app.serviceindex import RECIPIENTS, is_list
from simplestack.app.sipturn import SIPService, SIPTurn
from simplestack.app.watch import Watch
from simplestack.event.listbody import has_recipients, read_request
from simplestack.outcome import Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request, Response
from simplestack.state import ResourceState
from simplestack.store.errors import StoreError
from simplestack.transaction.server import ServerTransaction
from simplestack.xcap.flatlist import FlatList, flat_body

__all__ = ["ListTurn", "Lists"]

#: Octets that the list in a SUBSCRIBE may have, also when it has been decompressed.
MAX_BODY: Final = 65536
_ENCODINGS: Final = ("deflate", "gzip")


class Lists:
    """Says which requests are for lists, and makes their turns."""

    def __init__(self, server: ListServer) -> None:
        self.server = server

    def turn(
        self, service: SIPService, request: Request, transaction: ServerTransaction, aor: str
    ) -> "ListTurn | None":
        """The turn of a SUBSCRIBE that may be for a list; None where it is for no list.

        Raises SIPError 400.
        """
        server = self.server
        recipients = bool(request.body) and has_recipients(request)
        index = server.directory.index
        if not recipients and index.loaded and index.list_aor(aor) is None:
            return None
        return ListTurn(server, service, request, transaction, aor, recipients)


class ListTurn(SIPTurn):
    """A SUBSCRIBE on its way: it turns out to be for a list, or goes on as any other."""

    __slots__ = ("_checked", "_error", "_flat", "_recipients", "_server", "_user", "_watch")

    log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        server: ListServer,
        service: SIPService,
        request: Request,
        transaction: ServerTransaction,
        aor: str,
        recipients: bool,
    ) -> None:
        super().__init__(service, request, transaction, aor, service.decision("SUBSCRIBE"))
        self._server = server
        self._recipients = recipients
        #: Authentication comes first; whether there is such a user is asked after it.
        self._exists = True
        self._checked = False
        self._user: bool | None = None
        self._flat: FlatList | None = None
        self._error: SIPError | None = None
        self._watch: Watch | None = None

    def trust(self, now: float) -> Deferred[Any] | None:
        """Authenticate the sender, find the list and what it consists of, and hear of that.

        Raises SIPError 400, 401, 403, 404, 421, 489, 502.
        """
        missing = super().trust(now)
        if missing is not None or self._checked:
            return missing
        if not is_list(self.aor):
            missing = self._place()
            if missing is not None:
                return missing
            if not is_list(self.aor):
                self._checked = True
                self._exists = None
                return super().trust(now)
        return self._gather(now)

    def _place(self) -> Deferred[Any] | None:
        """Find out whether the AOR is a list's."""
        server, request = self._server, self._request
        missing = server.directory.load()
        if missing is not None:
            return missing
        if request.to.tag and self._recipients and self.aor[4:].startswith(RECIPIENTS):
            # "a resource list server receiving a subsequent SUBSCRIBE request with a
            # resource-list body … rejects it with a 415" (RFC 5367 §5.1)
            raise SIPError(415, text="the list can't be changed by another SUBSCRIBE")
        if self._recipients and not request.to.tag:
            token = self._service.identifiers.tag()
            self.aor = f"list:{RECIPIENTS}{token}@{self.aor.rpartition('@')[2]}"
            return None
        list_aor = server.directory.index.list_aor(self.aor)
        if list_aor is None:
            return None
        if self._user is None:
            exists = server.authenticator.exists(self.aor)
            if isinstance(exists, Deferred):
                return exists.addCallback(self._is_user)
            self._user = exists
        # Who takes the name of a user for his list does not get that user's subscribers.
        if not self._user:
            self.aor = list_aor
        return None

    def _is_user(self, exists: bool) -> None:
        self._user = exists

    def _gather(self, now: float) -> Deferred[Any] | None:
        """See that the table of the list is there, and full."""
        if self._error is not None:
            raise self._error
        server, request = self._server, self._request
        if self._verified is None:
            raise self._challenge(now)
        identity = self._verified.identity
        event = request.event
        package = "" if event is None else event.package
        if package not in server.packages:
            # Which is said in the decision.
            self._checked = True
            return None
        if self._watch is None:
            server.directory.check(self.aor, package, identity)
            if "eventlist" not in [each.lower() for each in request.get_all("Supported")] and (
                "eventlist" not in [each.lower() for each in request.get_all("Require")]
            ):
                # RFC 4662 §4.1
                raise SIPError(
                    421, headers=[("Require", "eventlist")], text="this is a list of resources"
                )
            if self._flat is None:
                if self._recipients:
                    decode(request)
                    self._flat = flat_body(read_request(request).recipients, server.role.limits)
                else:
                    return server.directory.resolve(self.aor, package).addCallbacks(
                        self._resolved, self._unresolved
                    )
            self._watch = watch = server.open(
                self.aor, package, identity, self._flat, ", ".join(request.get_all("Accept"))
            )
            watch.opening += 1
            if request.to.tag:
                server.refresh(watch)
        missing = server.when_ready(self._watch)
        if missing is None:
            self._checked = True
        return missing

    def _resolved(self, flat: FlatList | None) -> None:
        if flat is None:
            status = 481 if self._request.to.tag else 404
            self._error = SIPError(status, text=f"there is no list {self.aor[5:]}")
        else:
            self._flat = flat

    def _unresolved(self, failure: Failure) -> Failure | None:
        error = failure.value
        if isinstance(error, SIPError):
            self._error = error
            return None
        if not isinstance(error, StoreError):
            # The answer will be 503, which says nothing of it.
            self.log.failure("the list {aor} can't be made out", failure, aor=self.aor)
        return failure

    def decide(self, state: ResourceState, now: float) -> Outcome[Response]:
        """The decision; an answer that accepts says that it is about a list."""
        if not is_list(self.aor):
            return super().decide(state, now)
        self._decide = self._server.subscribing.decide
        outcome = super().decide(state, now)
        response = outcome.response
        if response.status < 300:
            response.set("Require", "eventlist")
            if self._flat is not None and self._flat.omitted:
                served = len(self._flat.entries)
                response.add(
                    "Warning",
                    f'399 simplestack "the list has {served + self._flat.omitted} entries; only'
                    f' the first {served} are served"',
                )
        return outcome

    def answer(self, response: Response) -> None:
        """Release the response."""
        super().answer(response)
        self._leave()

    def refuse(self, error: SIPError) -> None:
        """Answer with an error; what was opened for it is closed."""
        super().refuse(error)
        self._leave()

    def _leave(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            self._server.release(watch)


def decode(request: Request) -> None:
    """Decompress the body of a request, as clients compress long lists.

    Raises SIPError 400, 413, 415.
    """
    encodings = [each for each in request.content_encoding if each != "identity"]
    if not encodings:
        return
    if len(encodings) > 1 or encodings[0] not in _ENCODINGS:
        raise SIPError(415, headers=[("Accept-Encoding", ", ".join(_ENCODINGS))])
    # "deflate" is the zlib format (RFC 9110 §8.4.1.2).
    inflate = zlib.decompressobj(15 if encodings[0] == "deflate" else 31)
    try:
        body = inflate.decompress(request.body, MAX_BODY + 1)
    except zlib.error:
        raise SIPError(400, text=f"the body is not {encodings[0]}") from None
    if len(body) > MAX_BODY:
        raise SIPError(413, text=f"a list has at most {MAX_BODY} octets")
    if not inflate.eof:
        raise SIPError(400, text="the body is cut short")
    request.body = body
    request.remove("Content-Encoding")
