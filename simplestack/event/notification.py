"""A NOTIFY on its way: decided, and ready to be sent (RFC 6665 §4.2.2)."""

from functools import lru_cache
from typing import Final

from mypy_extensions import mypyc_attr

from simplestack.event.coding import SMALLEST, choose_coding, encode
from simplestack.event.dialect import linphone_event, linphone_parts, of_linphone
from simplestack.interfaces import Body
from simplestack.state import Subscription
from simplestack.transaction.client import ClientTransaction
from simplestack.transaction.dialog import routing
from simplestack.transaction.flow import Flow, via

__all__ = ["Head", "Notification", "NotifyRequest"]

#: Octets at the most, where they are not known before it is sent: of our Via up to its branch, of a
#: branch, of what belongs to this NOTIFY alone, of a version, and of what a coding adds.
_VIA: Final = len("SIP/2.0/UDP [2001:db8:1111:2222:3333:4444:5555:6666]:65535;rport;branch=")
_BRANCH: Final = len("z9hG4bK0123456789ab.1000000000")
_OWN: Final = len(
    "4294967295 NOTIFY\r\nSubscription-State: \r\nSIP-ETag: \r\nContent-Type: \r\n"
    "Content-Length: 65535\r\n\r\n"
)
_VERSION: Final = len("4294967295")
_CODING: Final = len("Content-Encoding: deflate\r\n")


@mypyc_attr(acyclic=True)
class Notification:
    """What one subscriber is to be told, decided but not committed yet."""

    __slots__ = ("body", "final", "state_header", "subscription", "tag")

    def __init__(
        self,
        subscription: Subscription,
        state_header: str,
        body: Body | None,
        final: bool,
        tag: str = "",
    ) -> None:
        self.subscription = subscription
        #: The value of Subscription-State: ``active;expires=3599``.
        self.state_header = state_header
        #: None tells the state of the subscription alone.
        self.body = body
        #: Whether it ends the subscription.
        self.final = final
        #: The entity-tag of the full state (RFC 5839 §6.1); "" where there is none.
        self.tag = tag


class Head:
    """What all NOTIFYs of a subscription have in common, and the flow that they leave by."""

    __slots__ = ("_last", "_middle", "_start", "_via", "flow")

    def __init__(self, subscription: Subscription, events: str, require: str = "") -> None:
        """``events`` is the value of Allow-Events, ``require`` that of Require."""
        #: What stands before our Via, and what stands between it and the number of CSeq.
        self._start = _start(subscription)
        self._middle = _middle(subscription, events, require)
        #: Our Via, but for its branch, and the flow that it is of.
        self._via = b""
        self._last: Flow | None = None
        #: The flow that all may take as long as it lives; set by who has found it.
        self.flow: Flow | None = None

    def __len__(self) -> int:
        """How many octets it has at the most, with our Via."""
        return len(self._start) + (len(self._via) or _VIA) + _BRANCH + len(self._middle)

    def write(
        self, flow: Flow, branch: str, cseq: int, state_header: str, content: bytes, data: bytes
    ) -> bytes:
        """A request for this flow; ``content`` is the end of the header, which tells of ``data``."""
        if self._last is not flow:
            self._via = via(flow, "").encode()
            self._last = flow
        own = f"{cseq} NOTIFY\r\nSubscription-State: {state_header}\r\n"
        return b"".join(
            [self._start, self._via, branch.encode(), self._middle, own.encode(), content, data]
        )


class NotifyRequest:
    """A NOTIFY that may be sent now; it has its place in the CSeq order of its dialog."""

    __slots__ = (
        "_body",
        "_state_header",
        "_tag",
        "_version",
        "abandoned",
        "cseq",
        "final",
        "head",
        "subscription",
        "transaction",
    )

    method = "NOTIFY"

    def __init__(
        self,
        subscription: Subscription,
        final: bool,
        cseq: int,
        head: Head,
        state_header: str,
        body: Body | None,
        version: int,
        tag: str = "",
    ) -> None:
        #: The newest record of the subscription: where to send it.
        self.subscription = subscription
        self.final = final
        self.cseq = cseq
        self.head = head
        self._state_header = state_header
        self._body = body
        self._version = version
        self._tag = tag
        #: Set by who sends it, as long as it waits for an answer.
        self.transaction: ClientTransaction | None = None
        #: Whether it must not be sent any more.
        self.abandoned = False

    def abandon(self) -> None:
        """See that it is not sent, or not again: another one, which says more, comes after it."""
        self.abandoned = True
        if self.transaction is not None:
            self.transaction.abandon()

    @property
    def state_header(self) -> str:
        """The value of Subscription-State."""
        return self._state_header

    @property
    def content(self) -> tuple[str, bytes]:
        """Content type and body; empty without one."""
        body = self._body
        return ("", b"") if body is None else (body.content_type, body.render(self._version))

    @property
    def size(self) -> int:
        """How many octets it has at the most, but for what a coding spares.

        Which transport it may take depends on all of them (RFC 3261 §18.1.1).
        """
        size = len(self.head) + _OWN + len(self._state_header) + len(self._tag)
        body = self._body
        if body is not None:
            size += len(body.content_type) + len(body.data)
            if body.tail is not None:
                size += _VERSION + len(body.tail)
            if self.subscription.accept_encoding:
                size += _CODING
        return size

    def build(self, flow: Flow, branch: str) -> bytes:
        """The octets of the request for this flow."""
        body = self._body
        if body is None:
            content, data = _content("", self._tag, "", 0), b""
        else:
            data = body.data
            if body.tail is not None:
                data = body.render(self._version)
                if of_linphone(self.subscription):
                    data = linphone_parts(data)
            used = ""
            accepted = self.subscription.accept_encoding
            if accepted and len(data) >= SMALLEST:
                coding = choose_coding(accepted)
                coded = encode(coding, data) if coding else data
                if len(coded) < len(data):
                    data, used = coded, coding
            content = _content(body.content_type, self._tag, used, len(data))
        return self.head.write(flow, branch, self.cseq, self._state_header, content, data)


@lru_cache(1024)
def _content(content_type: str, tag: str, coding: str, length: int) -> bytes:
    """The header fields of an entity, and the end of the header: all who are sent it share them."""
    lines = f"SIP-ETag: {tag}\r\n" if tag else ""
    if content_type:
        lines += f"Content-Type: {content_type}\r\n"
    if coding:
        lines += f"Content-Encoding: {coding}\r\n"
    return f"{lines}Content-Length: {length}\r\n\r\n".encode()


def _start(subscription: Subscription) -> bytes:
    """The Request-Line, as far as the value of Via."""
    uri = subscription.remote_target
    if subscription.route_set:
        uri = routing(uri, subscription.route_set)[0]
    return f"NOTIFY {uri} SIP/2.0\r\nVia: ".encode("utf-8", "surrogateescape")


def _middle(subscription: Subscription, events: str, require: str) -> bytes:
    """What does not change in the header, as far as the value of CSeq.

    Route follows RFC 3261 §12.2.1.1, with strict routers as well.  Without a remote target nothing
    goes over the network.
    """
    if not subscription.remote_target:
        return b""
    route = ""
    if subscription.route_set:
        routes = routing(subscription.remote_target, subscription.route_set)[1]
        route = f"Route: {', '.join(routes)}\r\n"
    event = subscription.package
    if require and of_linphone(subscription):
        event = linphone_event(event)
    if subscription.event_id:
        event += f";id={subscription.event_id}"
    # A subscriber of RFC 2543 has no tag.
    remote_tag = f";tag={subscription.remote_tag}" if subscription.remote_tag else ""
    allow = f"Allow-Events: {events}\r\n" if events else ""
    if require:
        allow += f"Require: {require}\r\n"
    return (
        f"\r\nMax-Forwards: 70\r\n{route}"
        f"From: {subscription.local_uri};tag={subscription.local_tag}\r\n"
        f"To: {subscription.remote_uri}{remote_tag}\r\n"
        f"Call-ID: {subscription.call_id}\r\n"
        f"Contact: <{subscription.contact}>\r\n"
        f"Event: {event}\r\n{allow}CSeq: "
    ).encode("utf-8", "surrogateescape")
