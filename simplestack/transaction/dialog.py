"""Dialogs: who talks to whom, in which order, by which way (RFC 3261 §12)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from simplestack.sip.errors import SIPError
from simplestack.sip.fields import NameAddr, parse_name_addr, parse_name_addrs
from simplestack.sip.message import Message, Request, Response
from simplestack.sip.uri import Uri, parse_uri

__all__ = [
    "Dialog",
    "DialogId",
    "Routing",
    "check_sequence",
    "from_notify",
    "id_at_server",
    "id_of_response",
    "refreshed_target",
    "routing",
    "uac",
    "uas",
    "without_tag",
]

#: "MUST be less than 2**31" at first (§8.1.1.5), and then never beyond 32 bits (erratum).
_LAST: Final = 2**32 - 1


class DialogId(NamedTuple):
    """What tells dialogs apart at one end; an RFC 2543 peer has the tag ""."""

    call_id: str
    local_tag: str
    remote_tag: str


class Routing(NamedTuple):
    """How a request in a dialog is addressed (§12.2.1.1)."""

    request_uri: str
    #: Route header field values in order.
    routes: tuple[str, ...]
    #: Where to send it: the first route, else the remote target (§8.1.2).
    next_hop: Uri


@lru_cache(4096)
def routing(remote_target: str, route_set: str = "") -> Routing:
    """The Request-URI and Route for a remote target and a route set, as in ``Subscription``.

    ``route_set`` is the values joined by ", ".  Raises SIPError 400 where one can't be read.
    """
    target = parse_uri(remote_target)
    if not route_set:
        return Routing(remote_target, (), target)
    routes = parse_name_addrs(route_set)
    first = routes[0].uri
    if first.has_param("lr"):
        # "If the route set is not empty, and the first URI in the route set contains the lr
        # parameter, the UAC MUST place the remote target URI into the Request-URI and MUST include
        # a Route header field containing the route set values in order, including all parameters."
        return Routing(remote_target, tuple([str(route) for route in routes]), first)
    # "If the route set is not empty, and its first URI does not contain the lr parameter, the UAC
    # MUST place the first URI from the route set into the Request-URI, stripping any parameters
    # that are not allowed in a Request-URI.  The UAC MUST add a Route header field containing the
    # remainder of the route set values in order, including all parameters.  The UAC MUST then place
    # the remote target URI into the Route header field as the last value."
    params = tuple([pair for pair in first.params if pair[0] != "method"])
    request_uri = first.replace(params=params, headers=())
    rest = [str(route) for route in routes[1:]]
    return Routing(str(request_uri), (*rest, f"<{remote_target}>"), first)


def without_tag(address: NameAddr) -> str:
    """A From or To in text without its tag, in angle brackets so that a tag can follow."""
    params = tuple([pair for pair in address.params if pair[0] != "tag"])
    return str(NameAddr(address.display, address.uri, params))


def id_at_server(request: Request) -> DialogId | None:
    """The dialog that a request received is for, None if it has no To tag (§12.2.2)."""
    local_tag = request.to.tag
    if local_tag is None:
        return None
    return DialogId(request.call_id, local_tag, request.from_.tag or "")


def id_of_response(response: Response) -> DialogId:
    """The dialog that a response received is for, at the client (§12.1.2)."""
    return DialogId(response.call_id, response.from_.tag or "", response.to.tag or "")


def check_sequence(last: int | None, number: int) -> None:
    """§12.2.2: "If the remote sequence number was not empty, but the sequence number of the request
    is lower than the remote sequence number, the request is out of order and MUST be rejected with
    a 500 (Server Internal Error) response."
    """
    if last is not None and number < last:
        raise SIPError(500, text=f"CSeq {number} comes after {last}")


def refreshed_target(message: Message, target: str) -> str:
    """The remote target after a target refresh request or a 2xx to one (§12.2.1.2, §12.2.2).

    "When a UAS receives a target refresh request, it MUST replace the dialog's remote target URI
    with the URI from the Contact header field in that request, if present."
    """
    contacts = message.contacts
    return _target(contacts[0].uri) if contacts else target


class Dialog(NamedTuple):
    """The state of a dialog at one end (§12)."""

    call_id: str
    local_tag: str
    remote_tag: str
    #: From of our requests and To of theirs, without the tag.
    local_uri: str
    remote_uri: str
    remote_target: str
    #: Route values in order, joined by ", ".
    route_set: str
    local_cseq: int
    #: None until the peer has sent a request.
    remote_cseq: int | None
    #: Whether all hops must be encrypted.
    secure: bool = False

    @property
    def id(self) -> DialogId:
        """What tells this dialog from others."""
        return DialogId(self.call_id, self.local_tag, self.remote_tag)

    def request(
        self, method: str, cseq: int | None = None, max_forwards: int = 70
    ) -> tuple[Dialog, Request]:
        """A request in the dialog, without Via and Contact, and the dialog that has sent it.

        An ACK or CANCEL takes the CSeq number of the request that it is for.
        """
        number = self.local_cseq + 1 if cseq is None else cseq
        if number > _LAST:
            raise SIPError(500, text="the CSeq numbers of the dialog are used up")
        uri, routes, _ = routing(self.remote_target, self.route_set)
        headers = {"Max-Forwards": [str(max_forwards)]}
        if routes:
            headers["Route"] = list(routes)
        headers["From"] = [_tagged(self.local_uri, self.local_tag)]
        headers["To"] = [_tagged(self.remote_uri, self.remote_tag)]
        headers["Call-ID"] = [self.call_id]
        headers["CSeq"] = [f"{number} {method}"]
        dialog = self if number <= self.local_cseq else self._replace(local_cseq=number)
        return dialog, Request(method, uri, headers)

    def received(self, request: Request, *, refresh: bool = True) -> Dialog:
        """The dialog after a request of the peer; ``refresh`` for target refresh requests.

        SUBSCRIBE and NOTIFY are (RFC 6665 §3.1, §4.4.1).  Raises SIPError 500 out of order.
        """
        number = request.cseq.number
        check_sequence(self.remote_cseq, number)
        target = refreshed_target(request, self.remote_target) if refresh else self.remote_target
        return self._replace(remote_cseq=number, remote_target=target)

    def answered(self, response: Response) -> Dialog:
        """The dialog after a response to a target refresh request of ours (§12.2.1.2)."""
        if not 200 <= response.status < 300:
            return self
        return self._replace(remote_target=refreshed_target(response, self.remote_target))


def uas(request: Request, local_tag: str, local_cseq: int = 0, *, secure: bool = False) -> Dialog:
    """The dialog that our 2xx to a request makes, as a notifier's to SUBSCRIBE (§12.1.1).

    ``secure`` says whether the request came over TLS.  Raises SIPError 400 without one Contact.
    """
    from_, to = request.from_, request.to
    return Dialog(
        call_id=request.call_id,
        local_tag=local_tag,
        # "A UAS MUST be prepared to receive a request without a tag in the From field, in which
        # case the tag is considered to have a value of null."
        remote_tag=from_.tag or "",
        local_uri=without_tag(to),
        remote_uri=without_tag(from_),
        remote_target=_only_contact(request),
        # "The route set MUST be set to the list of URIs in the Record-Route header field from the
        # request, taken in order and preserving all URI parameters."
        route_set=", ".join(request.headers.get("Record-Route", ())),
        local_cseq=local_cseq,
        remote_cseq=request.cseq.number,
        secure=secure and request.request_uri.scheme == "sips",
    )


def uac(request: Request, response: Response, *, secure: bool = False) -> Dialog:
    """The dialog that a 2xx to our request makes (§12.1.2).

    Raises SIPError 400 where the response has no Contact.
    """
    from_, to = request.from_, response.to
    routes = [str(route) for route in response.record_routes]
    return Dialog(
        call_id=request.call_id,
        local_tag=from_.tag or "",
        remote_tag=to.tag or "",
        local_uri=without_tag(from_),
        remote_uri=without_tag(request.to),
        remote_target=_only_contact(response),
        # "taken in reverse order and preserving all URI parameters"
        route_set=", ".join(reversed(routes)),
        local_cseq=request.cseq.number,
        remote_cseq=None,
        secure=secure and request.request_uri.scheme == "sips",
    )


def from_notify(subscribe: Request, notify: Request, *, secure: bool = False) -> Dialog:
    """The dialog that a NOTIFY makes at the subscriber (RFC 6665 §4.4.1).

    It may come before the response to the SUBSCRIBE, and from each notifier that this was forked
    to.  The subscriber is the server of the NOTIFY: its Record-Route is taken in order.
    """
    dialog = uas(notify, subscribe.from_.tag or "", subscribe.cseq.number, secure=secure)
    return dialog._replace(secure=secure and subscribe.request_uri.scheme == "sips")


def _only_contact(message: Message) -> str:
    contacts = message.contacts
    if len(contacts) != 1:
        # "The Contact header field MUST be present and contain exactly one SIP or SIPS URI in any
        # request that can result in the establishment of a dialog." (§8.1.1.8)
        raise SIPError(400, text="there must be one Contact")
    uri = contacts[0].uri
    if not uri.is_sip:
        raise SIPError(400, text="Contact must be a SIP or SIPS URI")
    return _target(uri)


def _target(uri: Uri) -> str:
    # Headers of a Contact URI are not for a Request-URI (§19.1.1, the table).
    return str(uri.replace(headers=()) if uri.headers else uri)


def _tagged(address: str, tag: str) -> str:
    # "If the value of the remote or local tags is null, the tag parameter MUST be omitted"
    return f"{parse_name_addr(address)};tag={tag}" if tag else address
