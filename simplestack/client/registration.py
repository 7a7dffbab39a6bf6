"""A registration that keeps itself (RFC 3261 §10.2)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredLock

from simplestack.client.errors import ClientError, refusal
from simplestack.client.refreshing import Refreshing
from simplestack.client.useragent import UserAgent, contact_of
from simplestack.sip.message import Response
from simplestack.sip.uri import Uri
from simplestack.transaction.flow import Flow

__all__ = ["Registration"]


class Registration:
    """Binds the contact of a user agent to its AOR until it is stopped.

    ``on_trouble(error, pause)`` is told of a refresh that failed and will be tried again,
    ``on_end(error)`` of one that won't: then the registration is over.  ``expires`` is in seconds.
    """

    def __init__(
        self,
        agent: UserAgent,
        expires: int = 3600,
        *,
        on_trouble: Callable[[ClientError, float], None] | None = None,
        on_end: Callable[[ClientError], None] | None = None,
    ) -> None:
        self.expires = expires
        #: The contact that is bound, None while none is.
        self.contact: Uri | None = None
        self._agent = agent
        # "All registrations from a UAC SHOULD use the same Call-ID header field value for
        # registrations sent to a particular registrar", with rising CSeq (§10.2).
        self._call_id = agent.identifiers.call_id()
        self._tag = agent.identifiers.tag()
        self._cseq = 0
        self._flow = ""
        self._lock = DeferredLock()
        self._refreshing = Refreshing(agent.reactor, self._refresh, on_trouble, on_end)

    def start(self) -> Deferred[int]:
        """Register; the result is for how many seconds.  Fails with ClientError."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> int:
        self._agent.watch_flows(self._flow_lost)
        try:
            granted = await self._refresh()
        except ClientError:
            self._agent.unwatch_flows(self._flow_lost)
            raise
        self._refreshing.granted(granted)
        return granted

    def stop(self) -> Deferred[None]:
        """Remove the binding.  Fails with ClientError where the server doesn't confirm it."""
        self._refreshing.stop()
        self._agent.unwatch_flows(self._flow_lost)
        return Deferred.fromCoroutine(self._remove())

    async def _refresh(self) -> int:
        async with self._lock:
            return await self._register(self.expires)

    async def _remove(self) -> None:
        async with self._lock:
            if self.contact is not None:
                await self._register(0)
                self.contact = None

    async def _register(self, expires: int) -> int:
        agent = self._agent
        account = agent.account
        self._cseq += 1
        request = agent.new_request(
            "REGISTER", f"sip:{account.domain}", self._call_id, self._cseq, self._tag, account.aor
        )
        request.set("Expires", str(expires))
        bound = self.contact
        mine: list[Uri] = []

        def contact(flow: Flow) -> str:
            self._flow = flow.key
            mine[:] = [contact_of(account.uri, flow)]
            if bound is None or bound == mine[0]:
                return f"<{mine[0]}>"
            # The connection is another one, and the old contact leads nowhere.
            return f"<{mine[0]}>, <{bound}>;expires=0"

        try:
            response = await agent.request(request, contact=contact)
        finally:
            self._cseq = request.cseq.number
        if response.status >= 300:
            raise refusal(response)
        self.contact = mine[0]
        return _granted(response, self.contact, request.expires or 0)

    def _flow_lost(self, flow: Flow) -> None:
        # The registrar would find nobody at the other end of the connection.
        if flow.key == self._flow:
            self._refreshing.soon(1.0)


def _granted(response: Response, contact: Uri, asked: int) -> int:
    """How long a binding lasts: the response lists them all, each with its expires (§10.2.4)."""
    for binding in response.contacts:
        if binding.uri.equals(contact):
            expires = binding.param("expires")
            if expires and expires.isdecimal():
                return int(expires)
    return asked if response.expires is None else response.expires
