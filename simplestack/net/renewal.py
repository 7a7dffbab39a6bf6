"""HTTPS endpoints whose certificates can be read again while they serve."""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Context
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IOpenSSLContextFactory, IStreamServerEndpoint
from zope.interface import implementer

__all__ = ["RenewableEndpoint"]


class RenewableEndpoint:
    """A Twisted endpoint by its text; of one that begins with ``ssl:`` the files can be read again.

    Raises what Twisted raises for a text that is no endpoint, or for files that can't serve.
    """

    def __init__(self, reactor: Any, text: str) -> None:
        self._text = text
        self._latest = _Latest()
        #: Whether there are files to read again.
        self.renewable = text.startswith("ssl:")
        taking = _Taking(reactor, self._latest) if self.renewable else reactor
        #: Where to listen.
        self.endpoint: IStreamServerEndpoint = serverFromString(taking, text)

    def renew(self) -> None:
        """Read the files again, for the connections to come.

        Raises what Twisted raises where they can't serve; those of before go on then.
        """
        # The files are read when the text is; nothing is opened for it.
        endpoint = serverFromString(_Renewing(self._latest), self._text)
        endpoint.listen(None)  # nobody comes


@implementer(IOpenSSLContextFactory)
class _Latest:
    """What makes contexts, as it was read last."""

    def __init__(self) -> None:
        self.factory: Any = None

    def getContext(self) -> Context:
        """The context of one more connection."""
        context: Context = self.factory.getContext()
        return context


class _Renewing:
    """What an endpoint takes for a reactor; it keeps the contexts."""

    def __init__(self, latest: _Latest) -> None:
        self._latest = latest

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        """Keep what makes contexts."""
        # Made here once, where what is wrong with the files can still be told.
        contextFactory.getContext()
        self._latest.factory = contextFactory


class _Taking(_Renewing):
    """The same, which listens, too."""

    def __init__(self, reactor: Any, latest: _Latest) -> None:
        super().__init__(latest)
        self._reactor = reactor

    def listenSSL(
        self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> Any:
        """Listen with the latest contexts."""
        super().listenSSL(port, factory, contextFactory)
        return self._reactor.listenSSL(port, factory, self._latest, backlog, interface)
