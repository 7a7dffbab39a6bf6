"""A publication that keeps itself (RFC 3903)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredLock

from simplestack.client.errors import ClientError, refusal
from simplestack.client.refreshing import Refreshing
from simplestack.client.useragent import UserAgent

__all__ = ["Publication"]


class Publication:
    """Event state that a user agent publishes for its AOR until it is stopped.

    ``event`` is the event package.  ``on_trouble(error, pause)`` is told of a refresh that failed
    and will be tried again, ``on_end(error)`` of one that won't: then the publication is over.
    """

    def __init__(
        self,
        agent: UserAgent,
        event: str = "presence",
        expires: int = 3600,
        *,
        on_trouble: Callable[[ClientError, float], None] | None = None,
        on_end: Callable[[ClientError], None] | None = None,
    ) -> None:
        self.event = event
        self.expires = expires
        #: What the compositor knows the publication by; None while there is none.
        self.entity_tag: str | None = None
        self._agent = agent
        self._body = b""
        self._content_type = ""
        self._call_id = agent.identifiers.call_id()
        self._tag = agent.identifiers.tag()
        self._cseq = 0
        # "MUST NOT send a new PUBLISH request (not a re-transmission) for the same Request-URI,
        # until they have received a final response from the ESC for the previous one" (§4)
        self._lock = DeferredLock()
        self._refreshing = Refreshing(agent.reactor, self._refresh, on_trouble, on_end)

    def publish(self, body: bytes, content_type: str = "application/pidf+xml") -> Deferred[int]:
        """Publish a document, in place of the one before; the result is for how many seconds.

        Fails with ClientError.
        """
        return Deferred.fromCoroutine(self._publish(body, content_type))

    async def _publish(self, body: bytes, content_type: str) -> int:
        self._refreshing.pause()
        async with self._lock:
            self._body, self._content_type = body, content_type
            granted = await self._send(self.expires, whole=True)
        self._refreshing.granted(granted)
        return granted

    def stop(self) -> Deferred[None]:
        """Remove the publication.  Fails with ClientError where the server doesn't confirm it."""
        self._refreshing.stop()
        return Deferred.fromCoroutine(self._remove())

    async def _remove(self) -> None:
        async with self._lock:
            if self.entity_tag is not None:
                await self._send(0, whole=False)
                self.entity_tag = None

    async def _refresh(self) -> int:
        async with self._lock:
            return await self._send(self.expires, whole=False)

    async def _send(self, expires: int, whole: bool) -> int:
        """Send one PUBLISH, with the document if ``whole`` (Table 1 in §4)."""
        agent = self._agent
        account = agent.account
        self._cseq += 1
        request = agent.new_request("PUBLISH", account.aor, self._call_id, self._cseq, self._tag)
        request.set("Event", self.event)
        request.set("Expires", str(expires))
        if self.entity_tag is not None:
            request.set("SIP-If-Match", self.entity_tag)
        if whole or self.entity_tag is None:
            request.set("Content-Type", self._content_type)
            request.body = self._body
        try:
            response = await agent.request(request)
        finally:
            self._cseq = request.cseq.number
        if response.status == 412 and self.entity_tag is not None:
            # "If an EPA receives a 412 (Conditional Request Failed) response, it MUST NOT reattempt
            # the PUBLISH request.  Instead, to publish event state, the EPA SHOULD perform an
            # initial publication" (§4.1)
            self.entity_tag = None
            return await self._send(expires, whole=True) if expires else 0
        if response.status >= 300:
            raise refusal(response)
        if response.etag is None and expires:
            raise ClientError("the server accepted the publication without naming it in SIP-ETag")
        self.entity_tag = response.etag
        asked = request.expires or 0
        return asked if response.expires is None else response.expires
