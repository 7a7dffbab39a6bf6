"""Gets small documents from HTTP servers of others, within limits."""

from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

__all__ = ["Collector", "FetchError", "Fetcher"]

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
        collector = Collector(self._size)
        response.deliverBody(collector)
        if response.code != 200:
            # Whatever it says about that need not be read.
            collector.abandon()
            raise FetchError(f"it says {response.code}")
        return await collector.body


class Collector(Protocol):
    """Reads the body of a response, up to a limit in octets; `body` fails with FetchError beyond it.

    Where `body` is cancelled the connection ends.
    """

    def __init__(self, limit: int) -> None:
        #: Fires with the whole of it; may be cancelled.
        self.body: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._limit = limit
        self._read = bytearray()

    def abandon(self) -> None:
        """Nobody wants it any more."""
        self.body.addErrback(lambda _: b"")
        self.body.cancel()

    def dataReceived(self, data: bytes) -> None:
        """A piece."""
        self._read += data
        if len(self._read) > self._limit:
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end, or an end."""
        if self.body.called:
            return
        if len(self._read) > self._limit:
            self.body.errback(FetchError(f"it has more than {self._limit} octets"))
        elif reason.check(ResponseDone, PotentialDataLoss):
            self.body.callback(bytes(self._read))
        else:
            self.body.errback(reason)

    def _abort(self) -> None:
        # Twisted's stand-in for the transport knows how to lose a connection alone, for which TLS
        # waits until the peer agrees.
        transport: Any = self.transport
        transport = getattr(transport, "_producer", transport)
        if transport is not None:
            transport.abortConnection()
