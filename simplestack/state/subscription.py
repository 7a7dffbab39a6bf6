"""Who watches what."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from mypy_extensions import mypyc_attr

from simplestack.state.row import Row

__all__ = ["Subscription"]

_FIELDS: Final[dict[str, type]] = {
    "aor": str,
    "id": str,
    "package": str,
    "status": str,
    "event": str,
    "watcher": str,
    "display_name": str,
    "call_id": str,
    "local_tag": str,
    "remote_tag": str,
    "local_uri": str,
    "remote_uri": str,
    "remote_target": str,
    "route_set": str,
    "contact": str,
    "remote_cseq": int,
    "cseq_reserved": int,
    "event_id": str,
    "event_params": str,
    "accept": str,
    "content_type": str,
    "body": bytes,
    "subscribed_at": float,
    "expires_at": float,
    "flow": str,
    "by_flow": int,
    "user_agent": str,
    "accept_encoding": str,
    "suppress": str,
}


@mypyc_attr(acyclic=True)
class Subscription(Row):
    """A subscription to the state of an AOR, with its dialog (RFC 6665), or a waiting watcher.

    ``status`` is pending, active or waiting (RFC 3857 §4.7.1); a waiting one has no dialog any
    more and ``expires_at`` is when it is forgotten.  One that is terminated is kept until its
    subscriber has been told; ``event`` is then the reason.
    """

    __slots__ = tuple(_FIELDS)

    fields: ClassVar[Mapping[str, type]] = _FIELDS
    later: ClassVar[Mapping[str, str]] = {"accept_encoding": "", "suppress": ""}

    def __init__(
        self,
        aor: str,
        #: Names the watcher in watcher information (RFC 3858 §4.1).
        id: str,  # noqa: A002  # as the other records have it
        package: str,
        status: str,
        #: The winfo event that led to the status: subscribe, approved, … (RFC 3858 §4.1).
        event: str,
        #: The AOR of the watcher as it was authenticated.
        watcher: str,
        display_name: str,
        call_id: str,
        local_tag: str,
        remote_tag: str,
        #: The dialog's local URI, the To of the SUBSCRIBE, as header field text without the tag.
        local_uri: str,
        #: The dialog's remote URI, the From of the SUBSCRIBE, as header field text without the tag.
        remote_uri: str,
        #: The Contact URI of the subscriber.
        remote_target: str,
        #: Record-Route of the SUBSCRIBE in its order, joined by ", ": the route set of the notifier.
        route_set: str,
        #: The Contact URI that the notifier gave.
        contact: str,
        remote_cseq: int,
        #: CSeq numbers of NOTIFY up to this one may have been used; a restart goes on above it.
        cseq_reserved: int,
        #: The ``id`` parameter of the Event header field.
        event_id: str,
        #: All other Event parameters, as text: ";a=b".
        event_params: str,
        #: Accept header field values, joined by ", ".
        accept: str,
        #: The content type of the SUBSCRIBE body and the body: a filter or a list.
        content_type: str,
        body: bytes,
        subscribed_at: float,
        expires_at: float,
        #: The flow that the last SUBSCRIBE came by, as ``Flow.key``.
        flow: str,
        #: 1 where the NOTIFY must go back by the flow: the client is behind a NAT or asked for it.
        by_flow: int,
        user_agent: str,
        #: Accept-Encoding header field values, joined by ", ".
        accept_encoding: str = "",
        #: The entity-tag of what the subscriber has, or "*": bodies that match are not sent
        #: (Suppress-If-Match, RFC 5839 §6.2).
        suppress: str = "",
    ) -> None:
        self.aor = aor
        self.id = id
        self.package = package
        self.status = status
        self.event = event
        self.watcher = watcher
        self.display_name = display_name
        self.call_id = call_id
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.local_uri = local_uri
        self.remote_uri = remote_uri
        self.remote_target = remote_target
        self.route_set = route_set
        self.contact = contact
        self.remote_cseq = remote_cseq
        self.cseq_reserved = cseq_reserved
        self.event_id = event_id
        self.event_params = event_params
        self.accept = accept
        self.content_type = content_type
        self.body = body
        self.subscribed_at = subscribed_at
        self.expires_at = expires_at
        self.flow = flow
        self.by_flow = by_flow
        self.user_agent = user_agent
        self.accept_encoding = accept_encoding
        self.suppress = suppress

    def row(self) -> tuple[Any, ...]:
        """The values of all fields in their order."""
        return (
            self.aor,
            self.id,
            self.package,
            self.status,
            self.event,
            self.watcher,
            self.display_name,
            self.call_id,
            self.local_tag,
            self.remote_tag,
            self.local_uri,
            self.remote_uri,
            self.remote_target,
            self.route_set,
            self.contact,
            self.remote_cseq,
            self.cseq_reserved,
            self.event_id,
            self.event_params,
            self.accept,
            self.content_type,
            self.body,
            self.subscribed_at,
            self.expires_at,
            self.flow,
            self.by_flow,
            self.user_agent,
            self.accept_encoding,
            self.suppress,
        )
