"""Conditional notification: what the subscriber has need not be sent again (RFC 5839)."""

from simplestack.event.coding import coded_tag
from simplestack.event.entity import ANYTHING, entity_tag
from simplestack.event.filtering import ALL, filtered, filtered_tags, filtering_of
from simplestack.event.negotiation import choose, partial_form
from simplestack.event.partial import partial_tag
from simplestack.event.states import ACTIVE
from simplestack.event.wish import decide
from simplestack.interfaces import IEventPackage
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request
from simplestack.state import ResourceState, Subscription

__all__ = ["condition_of", "current_tag"]


def condition_of(
    request: Request, package: IEventPackage, state: ResourceState, record: Subscription, now: float
) -> str:
    """The Suppress-If-Match of a SUBSCRIBE if it holds now, else "".

    "If the condition is false, the notifier follows its default behavior." (RFC 5839 §5.2)

    :raises SIPError: 400 where there are several, or it is not a token.
    """
    if len(request.headers.get("Suppress-If-Match", ())) > 1:
        # "MUST include a single conditional header field" (RFC 5839 §5.2)
        raise SIPError(400, text="there must be one Suppress-If-Match")
    condition = request.suppress_if_match or ""
    if condition in ("", ANYTHING) or condition == current_tag(package, state, record, now):
        return condition
    return ""


def current_tag(
    package: IEventPackage, state: ResourceState, record: Subscription, now: float
) -> str:
    """The entity-tag of what a subscriber may see now; "" while that is nothing."""
    if record.status != ACTIVE:
        return ""
    return coded_tag(_tag(package, state, record, now), record.accept_encoding)


def _tag(package: IEventPackage, state: ResourceState, record: Subscription, now: float) -> str:
    permissions = decide(package, state, record, now).permissions
    form = partial_form(record.accept, package)
    if form is not None:
        content_type = form[0]
    else:
        content_type = choose(record.accept, package.content_types) or package.content_types[0]
    chosen = None if getattr(package, "narrowed", None) is not None else filtering_of(record)
    if package.partial and chosen is None:
        return partial_tag(package, state, permissions, content_type)
    body = package.full(state, permissions, content_type, now)
    if chosen is None:
        return entity_tag(body.content_type, body.data)
    return filtered_tags(filtered(body, chosen.what or ALL))[0]
