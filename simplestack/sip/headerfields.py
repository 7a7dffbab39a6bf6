"""The header of a message: its fields by name, and their values as they are meant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NoReturn, TypeVar

from mypy_extensions import mypyc_attr

from simplestack.sip.errors import SIPError
from simplestack.sip.fields import (
    Challenge,
    Credentials,
    CSeq,
    Disposition,
    Event,
    MediaType,
    NameAddr,
    RetryAfter,
    SubscriptionState,
    Via,
    WarningValue,
    parse_accept,
    parse_call_id,
    parse_challenge,
    parse_credentials,
    parse_cseq,
    parse_date,
    parse_disposition,
    parse_end,
    parse_entity_tag,
    parse_event,
    parse_expires,
    parse_max_forwards,
    parse_media_type,
    parse_name_addrs,
    parse_retry_after,
    parse_subscription_state,
    parse_tokens,
    parse_vias,
    parse_warning,
    split_list,
)
from simplestack.sip.grammar import is_token, unfold
from simplestack.sip.headers import COMMA_LISTS, COMPACT, canonical
from simplestack.sip.memory import remember

__all__ = ["HeaderFields"]

T = TypeVar("T")

#: How the lines begin that are looked for in each response.
_MARKS: Final = {name: f"\r\n{name}: " for name in ("Via", "CSeq")}


def _missing(name: str) -> NoReturn:
    raise SIPError(400, text=f"{name} is missing")


@mypyc_attr(acyclic=True)
class HeaderFields:
    """Header fields by canonical name, each the list of its raw values.

    Raw values are unfolded and stripped, in the order they came in. The typed properties
    read the raw values when asked; they raise SIPError 400 where the syntax is bad, or where
    a field is missing that every message has.
    """

    __slots__ = (
        "_call_id",
        "_contacts",
        "_cseq",
        "_from",
        "_headers",
        "_to",
        "_top_via",
        "_unread",
    )

    def __init__(self, headers: dict[str, list[str]]) -> None:
        self._headers = headers
        # Lines that were not divided yet, each between two line ends: what is asked of the 200 to
        # a NOTIFY is its first Via and its CSeq.
        self._unread = ""
        # What they say is in hardly another message, so these are kept where they were read.
        self._top_via: Via | None = None
        self._cseq: CSeq | None = None
        self._from: NameAddr | None = None
        self._to: NameAddr | None = None
        self._call_id = ""
        self._contacts: tuple[NameAddr, ...] | None = None

    @property
    def headers(self) -> dict[str, list[str]]:
        """The raw values by canonical name.

        What some of them say is kept once it was read: of a message that somebody has looked at
        they are changed by the methods.
        """
        if self._unread:
            self._headers = _divided(self._unread)
            self._unread = ""
        return self._headers

    def get(self, name: str) -> str | None:
        """The first raw value of a header field, None if it is not there."""
        values = self.headers.get(name) or self.headers.get(canonical(name))
        return values[0] if values else None

    def get_all(self, name: str) -> list[str]:
        """All values of a header field, comma lists split (RFC 3261 §7.3.1)."""
        name = canonical(name)
        values = self.headers.get(name, [])
        if name not in COMMA_LISTS:
            return list(values)
        return [part for value in values for part in split_list(value)]

    def set(self, name: str, value: str) -> None:
        """Give a header field this one value."""
        self._top_via = None
        self._forget()
        self.headers[canonical(name)] = [value]

    def add(self, name: str, value: str) -> None:
        """Add a value after those that a header field has."""
        self._forget()
        self.headers.setdefault(canonical(name), []).append(value)

    def prepend(self, name: str, value: str) -> None:
        """Add a value before those that a header field has; a new field comes first of all."""
        name = canonical(name)
        self._top_via = None
        self._forget()
        if name in self.headers:
            self.headers[name].insert(0, value)
        else:
            self._headers = {name: [value], **self.headers}

    def remove(self, name: str) -> None:
        """Remove a header field, if it is there."""
        self._top_via = None
        self._forget()
        self.headers.pop(canonical(name), None)

    def _forget(self) -> None:
        """Read again what From, To, Call-ID, CSeq and Contact say when somebody asks."""
        self._cseq = self._from = self._to = self._contacts = None
        self._call_id = ""

    def first(self, name: str) -> str | None:
        """The first raw value of a header field by its canonical name, as `get` gives it.

        Of a message that was received this may leave the others unread.
        """
        text = self._unread
        if not text:
            values = self._headers.get(name)
            return values[0] if values else None
        mark = _MARKS.get(name) or f"\r\n{name}: "
        at = text.find(mark)
        end = text.find("\r\n", at + 2)
        if at < 0 or text[end + 2 : end + 3] in (" ", "\t"):
            # Written otherwise, or continued on the next line, or not there?
            lower = text.lower()
            for spelling in _spellings(name):
                if spelling in lower:
                    return self.get(name)
            return None
        return text[at + len(mark) : end].strip(" \t")

    # A field that may come once: None where it is not there. What every request asks for does
    # without the call.

    def _one(self, name: str, parse: Callable[[str], T]) -> T | None:
        values = self.headers.get(name)
        return parse(values[0]) if values else None

    def _list(self, name: str, parse: Callable[[str], tuple[T, ...]]) -> tuple[T, ...]:
        values = self.headers.get(name)
        if not values:
            return ()
        if len(values) == 1:
            return parse(values[0])
        return tuple([item for value in values for item in parse(value)])

    def _tokens(self, name: str) -> frozenset[str]:
        return frozenset(self._list(name, parse_tokens)) if name in self.headers else frozenset()

    @property
    def top_via(self) -> Via:
        """The last hop that the message has taken; it changes by the methods of the header alone."""
        top = self._top_via
        if top is None:
            values = self.headers.get("Via")
            if not values:
                _missing("Via")
            top = self._top_via = parse_vias(values[0])[0]
        return top

    def set_top_via(self, value: str, top: Via) -> None:
        """Give the first Via another value, in which `top` is the topmost hop."""
        self.headers["Via"][0] = value
        self._top_via = top

    @property
    def vias(self) -> tuple[Via, ...]:
        """All hops, the last one first."""
        values = self.headers.get("Via", ())
        if len(values) == 1 and "," not in values[0]:
            return (self.top_via,)
        return self._list("Via", parse_vias)

    @property
    def from_(self) -> NameAddr:
        """Who sends the request."""
        sender = self._from
        if sender is None:
            values = self.headers.get("From")
            sender = self._from = parse_end(values[0]) if values else _missing("From")
        return sender

    @property
    def to(self) -> NameAddr:
        """Whom the request is meant for."""
        recipient = self._to
        if recipient is None:
            values = self.headers.get("To")
            recipient = self._to = parse_end(values[0]) if values else _missing("To")
        return recipient

    @property
    def call_id(self) -> str:
        """The Call-ID."""
        call_id = self._call_id
        if not call_id:
            values = self.headers.get("Call-ID")
            call_id = self._call_id = parse_call_id(values[0]) if values else _missing("Call-ID")
        return call_id

    @property
    def cseq(self) -> CSeq:
        """The sequence number and method."""
        cseq = self._cseq
        if cseq is None:
            values = self.headers.get("CSeq")
            cseq = self._cseq = parse_cseq(values[0]) if values else _missing("CSeq")
        return cseq

    @property
    def max_forwards(self) -> int | None:
        """How many hops are left; None from RFC 2543 elements."""
        return self._one("Max-Forwards", parse_max_forwards)

    @property
    def contact_is_star(self) -> bool:
        """Whether Contact is "*", which removes all bindings (RFC 3261 §10.2.2)."""
        return self.headers.get("Contact") == ["*"]

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """All contacts; none where Contact is "*"."""
        contacts = self._contacts
        if contacts is None:
            found = () if self.contact_is_star else self._list("Contact", parse_name_addrs)
            contacts = self._contacts = found
        return contacts

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        """The Route values in order."""
        return self._list("Route", parse_name_addrs)

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        """The Record-Route values in order."""
        return self._list("Record-Route", parse_name_addrs)

    @property
    def path(self) -> tuple[NameAddr, ...]:
        """The Path values in order (RFC 3327)."""
        return self._list("Path", parse_name_addrs)

    @property
    def service_route(self) -> tuple[NameAddr, ...]:
        """The Service-Route values in order (RFC 3608)."""
        return self._list("Service-Route", parse_name_addrs)

    @property
    def expires(self) -> int | None:
        """Seconds; 3600 for what is no number, at most 2**32-1."""
        values = self.headers.get("Expires")
        return parse_expires(values[0]) if values else None

    @property
    def min_expires(self) -> int | None:
        """Seconds, as `expires`."""
        return self._one("Min-Expires", parse_expires)

    @property
    def retry_after(self) -> RetryAfter | None:
        """When to ask again."""
        return self._one("Retry-After", parse_retry_after)

    @property
    def date(self) -> datetime | None:
        """The time at the sender, in UTC."""
        return self._one("Date", parse_date)

    @property
    def event(self) -> Event | None:
        """The event package (RFC 6665)."""
        values = self.headers.get("Event")
        return parse_event(values[0]) if values else None

    @property
    def subscription_state(self) -> SubscriptionState | None:
        """The state of the subscription that a NOTIFY belongs to (RFC 6665)."""
        return self._one("Subscription-State", parse_subscription_state)

    @property
    def allow_events(self) -> frozenset[str]:
        """The event packages that the sender knows (RFC 6665)."""
        return self._tokens("Allow-Events")

    @property
    def etag(self) -> str | None:
        """The entity-tag given in SIP-ETag (RFC 3903)."""
        return self._one("SIP-ETag", parse_entity_tag)

    @property
    def if_match(self) -> str | None:
        """The entity-tag asked for in SIP-If-Match (RFC 3903)."""
        values = self.headers.get("SIP-If-Match")
        return parse_entity_tag(values[0]) if values else None

    @property
    def suppress_if_match(self) -> str | None:
        """The entity-tag, or "*", in Suppress-If-Match (RFC 5839)."""
        return self._one("Suppress-If-Match", parse_entity_tag)

    @property
    def content_type(self) -> MediaType | None:
        """What the body is."""
        values = self.headers.get("Content-Type")
        return parse_media_type(values[0]) if values else None

    @property
    def content_disposition(self) -> Disposition | None:
        """What the body is for."""
        return self._one("Content-Disposition", parse_disposition)

    @property
    def content_encoding(self) -> tuple[str, ...]:
        """How the body is encoded, lower case, in the order it was done."""
        return tuple([token.lower() for token in self._list("Content-Encoding", parse_tokens)])

    @property
    def accept(self) -> tuple[MediaType, ...] | None:
        """The media ranges that are accepted; () accepts none, None says nothing (§20.1)."""
        return self._list("Accept", parse_accept) if "Accept" in self.headers else None

    @property
    def allow(self) -> frozenset[str]:
        """The methods that the sender supports."""
        return self._tokens("Allow")

    @property
    def supported(self) -> frozenset[str]:
        """Option tags that the sender supports, in lower case: case does not matter (§7.3.1)."""
        return frozenset([tag.lower() for tag in self._tokens("Supported")])

    @property
    def require(self) -> frozenset[str]:
        """Option tags that the receiver must support."""
        return self._tokens("Require")

    @property
    def proxy_require(self) -> frozenset[str]:
        """Option tags that a proxy must support."""
        return self._tokens("Proxy-Require")

    @property
    def unsupported(self) -> frozenset[str]:
        """Option tags that a 420 refuses."""
        return self._tokens("Unsupported")

    @property
    def warnings(self) -> tuple[WarningValue, ...]:
        """The warnings of a response."""
        return tuple([parse_warning(part) for part in self.get_all("Warning")])

    @property
    def authorization(self) -> tuple[Credentials, ...]:
        """All credentials for the server itself, one a header field."""
        return tuple([parse_credentials(v) for v in self.headers.get("Authorization", ())])

    @property
    def proxy_authorization(self) -> tuple[Credentials, ...]:
        """All credentials for proxies, one a header field."""
        return tuple([parse_credentials(v) for v in self.headers.get("Proxy-Authorization", ())])

    @property
    def challenges(self) -> tuple[Challenge, ...]:
        """All challenges of a 401 or 407, in the server's order of preference (RFC 8760 §2.3)."""
        return tuple(
            [
                parse_challenge(value)
                for name in ("WWW-Authenticate", "Proxy-Authenticate")
                for value in self.headers.get(name, ())
            ]
        )


@remember(64)
def _spellings(name: str) -> tuple[str, ...]:
    """What a line begins with that has this field, in lower case: its name, its compact form."""
    compact = [short for short, full in COMPACT.items() if full == name]
    return tuple([f"\r\n{spelling}:" for spelling in (name.lower(), *compact)])


def _divided(text: str) -> dict[str, list[str]]:
    """The header fields of lines that nobody has looked at; what is no such field is left out."""
    headers: dict[str, list[str]] = {}
    if "\r\n " in text or "\r\n\t" in text:
        text = unfold(text)
    for line in text.split("\r\n")[1:]:
        name, _, value = line.partition(":")
        name = name.rstrip(" \t")
        if is_token(name) and "\r" not in value and "\n" not in value:
            headers.setdefault(canonical(name), []).append(value.strip(" \t"))
    return headers
