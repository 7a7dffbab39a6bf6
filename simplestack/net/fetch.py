"""Gets small documents from HTTP servers of others, within limits."""

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

__all__ = ["FetchError", "Fetcher"]

_SIZE: Final = 65536
_PATIENCE: Final = 5.0


class FetchError(Exception):
    """A document could not be had; the text says why, in one line."""


class Fetcher:
    """GETs documents, of at most ``size`` octets, in at most ``patience`` seconds each.

    Redirections are not followed: who says which servers are asked has not spoken of others.
    ``agent`` is any ``twisted.web.iweb.IAgent``.
    """

    def __init__(
        self, reactor: Any, *, size: int = _SIZE, patience: float = _PATIENCE, agent: Any = None
    ) -> None:
        self._reactor = reactor
        self._size = size
        self._patience = patience
        self._agent = Agent(reactor, connectTimeout=patience) if agent is None else agent

    def fetch(self, url: str, accept: str) -> Deferred[bytes]:
        """The body of a 200.  Fails with FetchError."""
        return Deferred.fromCoroutine(self._fetch(url, accept))

    async def _fetch(self, url: str, accept: str) -> bytes:
        exchange: Deferred[bytes] = Deferred.fromCoroutine(self._exchange(url, accept))
        exchange.addTimeout(self._patience, self._reactor)
        try:
            return await exchange
        except FetchError:
            raise
        except TookTooLong:
            raise FetchError(f"nothing in {self._patience:g} s") from None
        except Exception as error:
            for reason in getattr(error, "reasons", ()):
                if reason.check(CancelledError):
                    raise FetchError(f"nothing in {self._patience:g} s") from None
            why = " ".join(str(error).split()) or type(error).__name__
            raise FetchError(why[:200]) from None

    async def _exchange(self, url: str, accept: str) -> bytes:
        headers = Headers({"Accept": [accept], "User-Agent": ["simplestack"]})
        response = await self._agent.request(b"GET", url.encode("ascii"), headers, None)
        body: Deferred[bytes] = Deferred()
        response.deliverBody(_Collector(body, self._size))
        if response.code != 200:
            body.addErrback(lambda _: b"")
            raise FetchError(f"it says {response.code}")
        return await body


class _Collector(Protocol):
    """Reads a body, up to a limit."""

    def __init__(self, done: Deferred[bytes], limit: int) -> None:
        self._done = done
        self._limit = limit
        self._body = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """A piece."""
        self._body += data
        transport: Any = self.transport
        if len(self._body) > self._limit and transport is not None:
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, or an end."""
        if self._done.called:
            return
        if len(self._body) > self._limit:
            self._done.errback(FetchError(f"it has more than {self._limit} octets"))
        elif reason.check(ResponseDone, PotentialDataLoss):
            self._done.callback(bytes(self._body))
        else:
            self._done.errback(reason)
