"""The terms of a subscription: what a SUBSCRIBE asks for, once it is clear that it can be had."""

from typing import Final

from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.filtering import merged
from simplestack.event.limits import Limits
from simplestack.event.negotiation import choose, offers, partial_form
from simplestack.interfaces import IEventPackage
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Event, NameAddr
from simplestack.sip.grammar import format_params
from simplestack.sip.message import Request
from simplestack.state import Subscription
from simplestack.transaction.useragent import check_content

__all__ = ["accept_of", "body_of", "check_size", "duration_of", "params_of", "target_of"]

#: RFC 6665 §4.2.1.1: 423 "If and only if the expiration interval is greater than zero AND smaller
#: than one hour AND less than a notifier-configured minimum".
_HOUR: Final = 3600


def duration_of(request: Request, package: IEventPackage, limits: Limits) -> int:
    """The seconds that the subscription gets; 0 ends it, or is a fetch.

    :raises SIPError: 423.
    """
    expires = request.expires
    if expires is None:
        # "the implied default MUST be defined by the event package" (RFC 6665 §3.1.1)
        return min(int(package.default_expires), limits.max_expires)
    if 0 < expires < limits.min_expires and expires < _HOUR:
        raise SIPError(423, headers=[("Min-Expires", str(min(limits.min_expires, _HOUR)))])
    return min(expires, limits.max_expires)


def accept_of(request: Request, package: IEventPackage) -> str:
    """The Accept values, once it is clear that we can serve one of them.

    "if a SUBSCRIBE request contains an "Accept" header field, but that field does not
    indicate a media type that the notifier is capable of generating in its NOTIFY requests,
    then the proper error response is 406" (RFC 6665 §4.1.2.1)

    :raises SIPError: 406.
    """
    values = request.headers.get("Accept")
    if values is None:
        return ""
    accept = ", ".join(values)
    types = package.content_types
    if not accept or (choose(accept, types) is None and partial_form(accept, package) is None):
        raise SIPError(
            406,
            headers=[("Accept", ", ".join(offers(package)))],
            text="no body type is acceptable",
        )
    return accept


def body_of(
    request: Request,
    package: IEventPackage,
    aor: str,
    before: Subscription | None,
    limits: Limits,
) -> tuple[str, bytes]:
    """The content type and body that the subscription has, if the package understands it.

    RFC 3261 §8.2.3: a body that is not understood and not optional gets 415.  Filters are
    merged with those that were there before.  A package may have a method ``read_body`` that
    does this in place of it.

    :raises SIPError: 413, 415, or what the package raises.
    """
    body = request.body
    if not body:
        return "", b""
    if len(body) > limits.body:
        raise SIPError(413, text=f"a body has at most {limits.body} octets here")
    read = getattr(package, "read_body", None)
    if read is not None:
        found: tuple[str, bytes] = read(request, before, aor, limits.body)
        return found
    kept = b""
    if before is not None and before.content_type == FILTER_TYPE:
        kept = before.body
    if not check_content(request, getattr(package, "subscribe_types", ())):
        return "", b""
    media_type = request.content_type
    if media_type is not None and media_type.type == FILTER_TYPE:
        filters = merged(kept, body, aor, package.name)
        if len(filters) > limits.body:
            raise SIPError(413, text="the filters together are too long")
        return (FILTER_TYPE, filters) if filters else ("", b"")
    return request.get("Content-Type") or "", body


def target_of(request: Request) -> str | None:
    """The one Contact URI of the subscriber; None without Contact.

    :raises SIPError: 400.
    """
    contacts: tuple[NameAddr, ...] = request.contacts
    if request.contact_is_star or len(contacts) > 1:
        # "exactly one SIP or SIPS URI" (RFC 3261 §8.1.1.8)
        raise SIPError(400, text="there must be one Contact")
    if not contacts:
        return None
    uri = contacts[0].uri
    if not uri.is_sip:
        raise SIPError(400, text="Contact must be a SIP or SIPS URI")
    return str(uri.replace(headers=()) if uri.headers else uri)


def check_size(record: Subscription, limits: Limits) -> None:
    """Refuse what keeps too much of the subscriber's own making.

    :raises SIPError: 513.
    """
    length = (
        len(record.call_id)
        + len(record.remote_tag)
        + len(record.local_uri)
        + len(record.remote_uri)
        + len(record.remote_target)
        + len(record.route_set)
        + len(record.event_id)
        + len(record.event_params)
        + len(record.accept)
        + len(record.content_type)
        + len(record.accept_encoding)
        + len(record.suppress)
    )
    if length > limits.head:
        raise SIPError(513, text="the header fields of the subscription are too long")


def params_of(event: Event) -> str:
    """The parameters of Event but for the id, as text."""
    if not event.params:
        return ""
    return format_params(tuple([param for param in event.params if param[0] != "id"]))
