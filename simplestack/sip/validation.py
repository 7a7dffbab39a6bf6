"""What an element checks in every message before it acts on it (RFC 3261 §8.2, §8.1.3, §16.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from simplestack.sip.errors import SIPError
from simplestack.sip.fields import (
    BRANCH_COOKIE,
    Via,
    parse_accept,
    parse_cseq,
    parse_date,
    parse_disposition,
    parse_entity_tag,
    parse_event,
    parse_max_forwards,
    parse_media_type,
    parse_name_addr,
    parse_name_addrs,
    parse_subscription_state,
    parse_tokens,
)
from simplestack.sip.uri import parse_uri

if TYPE_CHECKING:
    from simplestack.sip.message import Request, Response

__all__ = ["METHODS", "validate_request", "validate_response"]

METHODS: frozenset[str] = frozenset(
    [
        "ACK",
        "BYE",
        "CANCEL",
        "INFO",
        "INVITE",
        "MESSAGE",
        "NOTIFY",
        "OPTIONS",
        "PRACK",
        "PUBLISH",
        "REFER",
        "REGISTER",
        "SUBSCRIBE",
        "UPDATE",
    ]
)
"""The registered methods; they are compared in their case (RFC 3261 §7.1)."""

_MANDATORY: Final = ("Via", "From", "To", "Call-ID", "CSeq")


def _contacts(text: str) -> object:
    return None if text == "*" else parse_name_addrs(text)


# How the fields are read, and whether they may be repeated. A bad Expires is not refused, it
# means 3600 (§20.10). A Date of another time zone is, rather than be misread
# (RFC 4475 §3.1.2.12 leaves the choice).
_READ: Final[dict[str, tuple[Callable[[str], object] | None, bool]]] = {
    # These the message reads itself, and keeps.
    "From": (None, False),
    "Call-ID": (None, False),
    "To": (None, False),
    "CSeq": (None, False),
    "Max-Forwards": (parse_max_forwards, False),
    "Content-Type": (parse_media_type, False),
    "Content-Disposition": (parse_disposition, False),
    "Event": (parse_event, False),
    "Subscription-State": (parse_subscription_state, False),
    "SIP-ETag": (parse_entity_tag, False),
    "SIP-If-Match": (parse_entity_tag, False),
    "Suppress-If-Match": (parse_entity_tag, False),
    "Refer-To": (parse_name_addr, False),
    "Reply-To": (parse_name_addr, False),
    "Expires": (None, False),
    "Min-Expires": (None, False),
    "Date": (parse_date, False),
    "Contact": (_contacts, True),
    "Route": (parse_name_addrs, True),
    "Record-Route": (parse_name_addrs, True),
    "Path": (parse_name_addrs, True),
    "Service-Route": (parse_name_addrs, True),
    "Accept": (parse_accept, True),
    "Require": (parse_tokens, True),
    "Proxy-Require": (parse_tokens, True),
    "Supported": (parse_tokens, True),
    "Content-Encoding": (parse_tokens, True),
}

# RFC 3261 §20 of a field that is "not applicable": "If one is placed in a request by mistake, it MUST
# be ignored by the UAS receiving the request." By its tables 2 and 3, those of RFC 3265 §7, RFC 3327
# §4, RFC 3608 §5 and RFC 3903 §11, and RFC 5839 §3, which adds SIP-ETag to NOTIFY.
#
# And §8.2.2: "A UAS SHOULD ignore any malformed header fields that are not necessary for processing
# requests": the bodies that a client takes are of interest in SUBSCRIBE alone.
_ELSEWHERE: Final = frozenset({"Min-Expires", "Refer-To", "Reply-To", "Service-Route"})
_ANSWERED: Final = _ELSEWHERE | {"Accept"}
_IGNORED: Final[dict[str, frozenset[str]]] = {
    "NOTIFY": _ANSWERED | {"Expires", "Path", "SIP-If-Match"},
    "OPTIONS": _ANSWERED
    | {"Event", "Expires", "Path", "SIP-ETag", "SIP-If-Match", "Subscription-State"},
    "PUBLISH": _ANSWERED | {"Contact", "Path", "Record-Route", "SIP-ETag", "Subscription-State"},
    "REGISTER": _ANSWERED
    | {"Event", "Record-Route", "SIP-ETag", "SIP-If-Match", "Subscription-State"},
    "SUBSCRIBE": _ELSEWHERE | {"Path", "SIP-ETag", "SIP-If-Match", "Subscription-State"},
}
_NONE: Final[frozenset[str]] = frozenset()


def validate_request(request: Request) -> None:
    """Refuse a request whose syntax a server must not let pass. Raises SIPError 400.

    Checked are the Request-URI, the fields that every request has, all fields that a server
    of ours acts on, fields that must not be repeated, the method in CSeq, and the branch; but
    nothing that does not apply to the method.
    A request of RFC 2543, without branch, From tag and Max-Forwards, passes. A method that
    nobody has registered and that CSeq denies is answered 501 (RFC 4475 §3.1.2.18).
    """
    headers = request.headers
    for name in _MANDATORY:
        if name not in headers:
            raise SIPError(400, text=f"{name} is missing")
    ignored = _IGNORED.get(request.method, _NONE)
    vias = _check_fields(request, ignored)
    if request.cseq.method != request.method:
        status = 400 if request.method in METHODS else 501
        raise SIPError(status, text="CSeq names another method")
    if vias[0].branch == BRANCH_COOKIE:
        raise SIPError(400, text="the branch in Via is not unique")
    uri = parse_uri(request.uri)
    if uri.headers:
        # §19.1.1, table 1: headers are not allowed in a Request-URI.
        raise SIPError(400, text="the Request-URI holds header fields")
    contact = headers.get("Contact")
    if contact is not None and len(contact) > 1 and "*" in contact and "Contact" not in ignored:
        raise SIPError(400, text="Contact: * stands with other contacts")


def validate_response(response: Response) -> None:
    """Refuse a response that its client must discard. Raises SIPError 400; nobody is answered.

    RFC 3261 §8.1.3.3: "If more than one Via header field value is present in a response,
    the UAC SHOULD discard the message."
    """
    headers = response.headers
    for name in _MANDATORY:
        if name not in headers:
            raise SIPError(400, text=f"{name} is missing")
    parse_cseq(headers["CSeq"][0])
    if len(_check_fields(response, _NONE)) > 1:
        raise SIPError(400, text="more than one Via")


def _check_fields(message: Request | Response, ignored: frozenset[str]) -> tuple[Via, ...]:
    """Read every field but those that are ignored; the hops that the message has taken."""
    name = "Via"
    try:
        vias = message.vias
        # What is wrong with those that are kept shows when they are read.
        name = "From"
        _ = message.from_
        name = "To"
        _ = message.to
        name = "Call-ID"
        _ = message.call_id
        for name, values in message.headers.items():
            read = _READ.get(name)
            if read is not None and name not in ignored:
                parse, repeated = read
                if len(values) > 1 and not repeated:
                    raise SIPError(400, text="appears more than once")
                if parse is not None:
                    for value in values:
                        parse(value)
    except SIPError as error:
        raise SIPError(error.status, error.reason, error.headers, f"{name}: {error.text}") from None
    return vias
