"""Sources: who or what says what the state of a presentity is (RFC 4479 §3.5)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from simplestack.documents.pidf import Presence

__all__ = [
    "HARD_STATE",
    "ORDER",
    "PUBLICATION",
    "REGISTRATION",
    "Source",
    "considered",
    "place_in",
    "source_id",
    "source_kind",
]

PUBLICATION: Final = "publication"
REGISTRATION: Final = "registration"
HARD_STATE: Final = "hard-state"

_PREFIX: Final = "source:"

#: The priority of sources where nobody says otherwise, the highest first; ``*`` is any other.
ORDER: Final = (PUBLICATION, "*", HARD_STATE, REGISTRATION)


class Source(NamedTuple):
    """Somebody or something that says what the state of a presentity is."""

    #: ``publication``, ``registration``, ``hard-state``, or the name of a source plug-in.
    kind: str
    #: Tells sources of a kind apart and stays the same as long as the source is there.
    id: str
    presence: Presence
    #: When the source said so last, in seconds of the wall clock.
    published_at: float
    #: The AOR of who published it; "" for other kinds.
    publisher: str = ""


def source_id(kind: str) -> str:
    """The id of the publication of a source plug-in; each has one for each AOR."""
    return _PREFIX + kind


def source_kind(publication_id: str) -> str:
    """The kind of source that a publication is of, by its id."""
    return publication_id[7:] if publication_id.startswith(_PREFIX) else PUBLICATION


def considered(sources: Sequence[Source]) -> Sequence[Source]:
    """The sources that count: registrations stand in only where nothing live gives a service."""
    for source in sources:
        if source.presence.tuples and source.kind != REGISTRATION and source.kind != HARD_STATE:
            return [each for each in sources if each.kind != REGISTRATION]
    return sources


def place_in(order: Sequence[str], *names: str) -> int:
    """The place of the first of these names in an order; that of ``*``, or the last, without one."""
    for place, name in enumerate(order):
        if name in names:
            return place
    return order.index("*") if "*" in order else len(order)
