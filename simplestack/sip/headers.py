"""Names of header fields: one spelling for each, whatever came in."""

from __future__ import annotations

from typing import Final

from simplestack.sip.memory import remember

__all__ = ["COMMA_LISTS", "COMPACT", "KNOWN", "canonical"]

COMPACT: dict[str, str] = {
    "a": "Accept-Contact",
    "b": "Referred-By",
    "c": "Content-Type",
    "d": "Request-Disposition",
    "e": "Content-Encoding",
    "f": "From",
    "i": "Call-ID",
    "j": "Reject-Contact",
    "k": "Supported",
    "l": "Content-Length",
    "m": "Contact",
    "n": "Identity-Info",
    "o": "Event",
    "r": "Refer-To",
    "s": "Subject",
    "t": "To",
    "u": "Allow-Events",
    "v": "Via",
    "x": "Session-Expires",
    "y": "Identity",
}
"""Compact forms (RFC 3261 §7.3.3 and the IANA registry of SIP header fields)."""

COMMA_LISTS: frozenset[str] = frozenset(
    {
        "Accept",
        "Accept-Contact",
        "Accept-Encoding",
        "Accept-Language",
        "Accept-Resource-Priority",
        "Alert-Info",
        "Allow",
        "Allow-Events",
        "Call-Info",
        "Contact",
        "Content-Encoding",
        "Content-Language",
        "Error-Info",
        "History-Info",
        "In-Reply-To",
        "P-Asserted-Identity",
        "P-Associated-URI",
        "P-Preferred-Identity",
        "Path",
        "Permission-Missing",
        "Proxy-Require",
        "Reason",
        "Record-Route",
        "Reject-Contact",
        "Request-Disposition",
        "Require",
        "Resource-Priority",
        "Route",
        "Security-Client",
        "Security-Server",
        "Security-Verify",
        "Service-Route",
        "Supported",
        "Trigger-Consent",
        "Unsupported",
        "Via",
        "Warning",
    }
)
"""Header fields whose grammar is `header = "header-name" HCOLON header-value *(COMMA header-value)`.

Several lines of them mean the same as one with commas (RFC 3261 §7.3.1).
"""

_OTHERS: Final = (
    "Authentication-Info",
    "Authorization",
    "Call-ID",
    "Content-Disposition",
    "Content-ID",
    "Content-Length",
    "Content-Transfer-Encoding",
    "Content-Type",
    "CSeq",
    "Date",
    "Event",
    "Expires",
    "Feature-Caps",
    "Flow-Timer",
    "From",
    "Geolocation",
    "Geolocation-Error",
    "Geolocation-Routing",
    "Identity",
    "Identity-Info",
    "Info-Package",
    "Join",
    "Max-Breadth",
    "Max-Forwards",
    "MIME-Version",
    "Min-Expires",
    "Min-SE",
    "Organization",
    "P-Access-Network-Info",
    "P-Called-Party-ID",
    "P-Charging-Vector",
    "P-Visited-Network-ID",
    "Permission-Missing",
    "Priority",
    "Privacy",
    "Proxy-Authenticate",
    "Proxy-Authentication-Info",
    "Proxy-Authorization",
    "RAck",
    "Recv-Info",
    "Refer-Sub",
    "Refer-To",
    "Referred-By",
    "Replaces",
    "Reply-To",
    "Retry-After",
    "RSeq",
    "Server",
    "Session-Expires",
    "SIP-ETag",
    "SIP-If-Match",
    "Subject",
    "Subscription-State",
    "Suppress-If-Match",
    "Target-Dialog",
    "Timestamp",
    "To",
    "User-Agent",
    "WWW-Authenticate",
)

_BY_LOWER: Final = {name.lower(): name for name in (*COMMA_LISTS, *_OTHERS)} | COMPACT

KNOWN: Final[dict[str, str]] = {
    spelling: name
    for lower, name in _BY_LOWER.items()
    for spelling in (lower, lower.upper(), lower.title(), name)
}
"""Usual spellings of the known names, to look up before calling canonical()."""


@remember(1024)
def _unusual(name: str) -> str:
    lower = name.lower()
    return _BY_LOWER.get(lower) or "-".join([part.capitalize() for part in lower.split("-")])


def canonical(name: str) -> str:
    """The one spelling of a header field's name: of a known one the RFC's, else Capital-Words.

    RFC 3261 §7.3.1: "When comparing header fields, field names are always case-insensitive."
    """
    return KNOWN.get(name) or _unusual(name)
