"""What a notifier and a subscriber agree on: body types, and which packages there are."""

from collections.abc import Iterable
from functools import lru_cache

from simplestack.sip.fields import parse_accept

__all__ = ["allow_events", "choose"]


def choose(accept: str, content_types: tuple[str, ...]) -> str | None:
    """The body type for a subscriber, given the Accept values joined by ", "; None for none.

    Without Accept it is the package's default, the first (RFC 6665 §5.4.5).  Else the one with
    the highest q, and of several the one that the package lists first (RFC 3261 §20.1).
    """
    if not accept or accept == content_types[0]:
        return content_types[0]
    return _choose(accept, content_types) if len(accept) <= 512 else _weigh(accept, content_types)


def _weigh(accept: str, content_types: tuple[str, ...]) -> str | None:
    best = None
    best_q = 0.0
    ranges = parse_accept(accept)
    for content_type in content_types:
        q = 0.0
        precision = -1
        for media_range in ranges:
            if media_range.matches(content_type):
                # The most specific range that matches says the preference.
                specific = 2 if media_range.type == content_type else media_range.type != "*/*"
                if specific > precision:
                    precision = specific
                    q = media_range.q
        if q > best_q:
            best, best_q = content_type, q
    return best


_choose = lru_cache(512)(_weigh)


def allow_events(packages: Iterable[str]) -> str:
    """The value of Allow-Events.

    "The Allow-Events header field does not include a list of the event template-packages
    supported by an implementation." (RFC 6665 §4.4.4)
    """
    return _allow_events(tuple(packages))


@lru_cache(16)
def _allow_events(packages: tuple[str, ...]) -> str:
    return ", ".join([name for name in packages if "." not in name])
