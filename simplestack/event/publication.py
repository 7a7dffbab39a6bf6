"""The event state compositor: keeps what is published of an address-of-record (RFC 3903 §6)."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil

from simplestack.interfaces import Identifiers
from simplestack.outcome import Incoming, Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request, Response
from simplestack.state import ChangeSet, Publication, ResourceState

__all__ = ["EventStateCompositor"]


Merge = Callable[[Incoming, ResourceState, bytes | None, float], bytes]


class EventStateCompositor:
    """Decides PUBLISH requests for one event package, each of them whole or not at all.

    ``check`` reads a body, gives what is kept of it, and raises SIPError where the package can't
    use it.
    Seconds: ``min_expires`` is the shortest lifetime taken (423 below it), ``default_expires``
    the one where a request names none, ``max_expires`` the longest granted.  A body has at most
    ``max_body`` octets (413 beyond), an AOR at most ``max_publications`` publications of the
    package (503 with Retry-After beyond, RFC 3903 §9).  ``allow_events`` is what a 489 lists.
    ``partial`` has more content types, each with the function that makes a document of the first
    of ``content_types`` of the request, the state, what is published so far, None for nothing, and
    the time.
    """

    def __init__(
        self,
        package: str,
        content_types: Sequence[str],
        check: Callable[[Incoming, ResourceState, bytes, float], bytes],
        *,
        min_expires: int = 60,
        default_expires: int = 3600,
        max_expires: int = 86400,
        max_body: int = 65536,
        max_publications: int = 16,
        allow_events: str = "",
        partial: Mapping[str, Merge] | None = None,
    ) -> None:
        if not 0 <= min_expires <= default_expires <= max_expires:
            raise ValueError("the intervals must be min_expires ≤ default_expires ≤ max_expires")
        self.package = package
        self.partial = dict(partial or {})
        self.content_types = (*content_types, *self.partial)
        self.check = check
        self.min_expires = min_expires
        self.default_expires = default_expires
        self.max_expires = max_expires
        self.max_body = max_body
        self.max_publications = max_publications
        self.allow_events = allow_events or package

    def decide(
        self, incoming: Incoming, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[Response]:
        """Follow the steps of RFC 3903 §6; who may publish has been decided.

        :raises SIPError: 400, 412, 413, 415, 423, 489 or 503 as the steps say, and what
            ``check`` raises; nothing changes.
        """
        request = incoming.request
        # Step 2: "If the Event header field is missing or contains an event package which the
        # ESC does not support, the ESC MUST respond to the PUBLISH request with a 489".
        event = request.event
        if event is None or event.package != self.package:
            raise SIPError(
                489,
                headers=(("Allow-Events", self.allow_events),),
                text=f"publish Event: {self.package}",
            )
        publication = self._precondition(request, state, now)
        expires = self._interval(request)
        body = request.body
        changes = ChangeSet(incoming.aor)
        tag = identifiers.entity_tag()
        content_type = ""
        if body:
            content_type = self._content_type(request)
            if len(body) > self.max_body:
                raise SIPError(413, text=f"a body has at most {self.max_body} octets")
            merge = self.partial.get(content_type)
            if merge is not None:
                # "The compositor MUST apply the included patch operations in sequence against
                # its locally stored presence document." (RFC 5264 §4.3.2)
                body = merge(
                    incoming, state, None if publication is None else publication.body, now
                )
                content_type = self.content_types[0]
                if len(body) > self.max_body:
                    raise SIPError(413, text=f"a document has at most {self.max_body} octets")
            if publication is None or body != publication.body:
                body = self.check(incoming, state, body, now)
        elif publication is None:
            raise SIPError(400, text="a first PUBLISH needs a body")
        if not expires:
            # "the event state identified by the entity-tag MUST be immediately removed.  The
            # ESC MUST NOT store any event state as a result of such a request."
            if publication is not None:
                changes.remove(publication, "removed")
        elif publication is None:
            self._check_room(state, now)
            changes.put(
                Publication(
                    incoming.aor,
                    identifiers.record_id(),
                    self.package,
                    tag,
                    incoming.identity,
                    content_type,
                    body,
                    now,
                    now + expires,
                )
            )
        elif not body or (body == publication.body and content_type == publication.content_type):
            # The same octets again refresh: nothing that a watcher sees is newer.
            changes.put(publication._replace(entity_tag=tag, expires_at=now + expires))
        else:
            changes.put(
                Publication(
                    publication.aor,
                    publication.id,
                    publication.package,
                    tag,
                    incoming.identity,
                    content_type,
                    body,
                    now,
                    now + expires,
                )
            )
        response = request.response(200, to_tag=identifiers.tag())
        response.headers["SIP-ETag"] = [tag]
        response.headers["Expires"] = [str(expires)]
        return Outcome(response, changes)

    def expire(self, state: ResourceState, now: float) -> ChangeSet:
        """Remove the publications of the package whose time is over."""
        changes = ChangeSet(state.aor)
        for publication in state.publications.values():
            if publication.expires_at <= now and publication.package == self.package:
                changes.remove(publication, "expired")
        return changes

    def _precondition(
        self, request: Request, state: ResourceState, now: float
    ) -> Publication | None:
        """Step 3: the publication that SIP-If-Match names; None where it is not there."""
        values = request.headers.get("SIP-If-Match")
        if not values:
            return None
        tag = request.if_match
        if len(values) != 1:
            raise SIPError(400, text="SIP-If-Match holds a single entity-tag")
        for publication in state.publications.values():
            if (
                publication.entity_tag == tag
                and publication.package == self.package
                and publication.expires_at > now
            ):
                return publication
        raise SIPError(412, text="no publication has this entity-tag; publish anew without it")

    def _interval(self, request: Request) -> int:
        """Step 4: the seconds that the publication is kept for."""
        expires = request.expires
        if expires is None:
            return self.default_expires
        if 0 < expires < self.min_expires:
            raise SIPError(
                423,
                headers=(("Min-Expires", str(self.min_expires)),),
                text=f"publish for at least {self.min_expires} seconds",
            )
        return expires if expires < self.max_expires else self.max_expires

    def _content_type(self, request: Request) -> str:
        """Step 5: the content type of the body, parameters left out."""
        if "Content-Encoding" in request.headers and request.content_encoding != ("identity",):
            raise SIPError(
                415,
                headers=(("Accept-Encoding", "identity"),),
                text="an encoded body is not understood",
            )
        content_type = request.content_type
        if content_type is None:
            raise SIPError(400, text="a body needs a Content-Type")
        if content_type.type not in self.content_types:
            raise SIPError(
                415,
                headers=(("Accept", ", ".join(self.content_types)),),
                text=f"{content_type.type[:80]} can't be published as {self.package}",
            )
        return content_type.type

    def _check_room(self, state: ResourceState, now: float) -> None:
        alive = [
            publication.expires_at
            for publication in state.publications.values()
            if publication.package == self.package and publication.expires_at > now
        ]
        if len(alive) >= self.max_publications:
            # "To push back on publications from a particular source, the ESC MAY respond to a
            # PUBLISH request with a 503 (Service Unavailable)" (RFC 3903 §9).
            raise SIPError(
                503,
                headers=(("Retry-After", str(max(1, ceil(min(alive) - now)))),),
                text=f"an AOR has at most {self.max_publications} publications",
            )
