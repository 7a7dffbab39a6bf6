"""Values of header fields: a NamedTuple and a parse function for each.

Each function takes one value, unfolded, and raises SIPError 400 when its syntax is bad.
Parameters are kept as written, quotes included, so that str() gives back the same value;
`param(name)` gives what they say.
"""

from simplestack.sip.fields.addresses import NameAddr, parse_end, parse_name_addr, parse_name_addrs
from simplestack.sip.fields.authorization import (
    Challenge,
    Credentials,
    parse_auth_params,
    parse_challenge,
    parse_credentials,
)
from simplestack.sip.fields.event import (
    Event,
    SubscriptionState,
    parse_event,
    parse_subscription_state,
)
from simplestack.sip.fields.media import MediaType, parse_accept, parse_media_type
from simplestack.sip.fields.scalars import (
    MAX_SECONDS,
    CSeq,
    Disposition,
    RetryAfter,
    WarningValue,
    format_date,
    parse_call_id,
    parse_cseq,
    parse_date,
    parse_disposition,
    parse_entity_tag,
    parse_expires,
    parse_max_forwards,
    parse_retry_after,
    parse_tokens,
    parse_warning,
)
from simplestack.sip.fields.via import BRANCH_COOKIE, Via, parse_via, parse_vias
from simplestack.sip.grammar import split_list

__all__ = [
    "BRANCH_COOKIE",
    "MAX_SECONDS",
    "CSeq",
    "Challenge",
    "Credentials",
    "Disposition",
    "Event",
    "MediaType",
    "NameAddr",
    "RetryAfter",
    "SubscriptionState",
    "Via",
    "WarningValue",
    "format_date",
    "parse_accept",
    "parse_auth_params",
    "parse_call_id",
    "parse_challenge",
    "parse_credentials",
    "parse_cseq",
    "parse_date",
    "parse_disposition",
    "parse_end",
    "parse_entity_tag",
    "parse_event",
    "parse_expires",
    "parse_max_forwards",
    "parse_media_type",
    "parse_name_addr",
    "parse_name_addrs",
    "parse_retry_after",
    "parse_subscription_state",
    "parse_tokens",
    "parse_via",
    "parse_vias",
    "parse_warning",
    "split_list",
]
