"""What a notifier and a subscriber agree on: body types, and which packages there are."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from simplestack.event.partial import Deltas
from simplestack.interfaces import IEventPackage
from simplestack.sip.fields import parse_accept

__all__ = ["allow_events", "choose", "deltas_of", "offers", "partial_form"]

_NONE: Mapping[str, Deltas] = {}


def choose(accept: str, content_types: tuple[str, ...]) -> str | None:
    """The body type for a subscriber, given the Accept values joined by ", "; None for none.

    Without Accept it is the package's default, the first (RFC 6665 §5.4.5).  Else the one with
    the highest q, and of several the one that the package lists first (RFC 3261 §20.1).
    """
    if not accept or accept == content_types[0]:
        return content_types[0]
    weigh = _choose if len(accept) <= 512 else _weigh
    return weigh(accept, content_types)[0]


def deltas_of(package: IEventPackage) -> Mapping[str, Deltas]:
    """The partial forms of a package's documents, by their full types."""
    deltas: Mapping[str, Deltas] = getattr(package, "deltas", _NONE)
    return deltas


def offers(package: IEventPackage) -> tuple[str, ...]:
    """All body types of a package, those of partial forms included."""
    return (*package.content_types, *[each.content_type for each in deltas_of(package).values()])


def partial_form(accept: str, package: IEventPackage) -> tuple[str, Deltas] | None:
    """The full type and the partial form of it that a subscriber prefers; None for full state.

    It must be named, no wildcard means it; and its q must not be lower than that of the full
    type (RFC 5263 §4.2, §4.3).
    """
    found = None
    # The order of what has the same q is ours: partial state is less to send.
    if accept:
        best = 0.0
        for content_type, deltas in deltas_of(package).items():
            if deltas.content_type in accept:
                weigh = _choose if len(accept) <= 512 else _weigh
                q = weigh(accept, (deltas.content_type,))[1]
                if q > best and q >= weigh(accept, package.content_types)[1]:
                    found, best = (content_type, deltas), q
    return found


def _weigh(accept: str, content_types: tuple[str, ...]) -> tuple[str | None, float]:
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
    return best, best_q


_choose: Final = lru_cache(512)(_weigh)


def allow_events(packages: Iterable[str]) -> str:
    """The value of Allow-Events.

    "The Allow-Events header field does not include a list of the event template-packages
    supported by an implementation." (RFC 6665 §4.4.4)
    """
    return _allow_events(tuple(packages))


@lru_cache(16)
def _allow_events(packages: tuple[str, ...]) -> str:
    return ", ".join([name for name in packages if "." not in name])
