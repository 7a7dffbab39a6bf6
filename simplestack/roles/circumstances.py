"""What the person elements of a document say of the user: his sphere, his activities, his place."""

from collections.abc import Iterator
from typing import Final

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element, length
from simplestack.documents.pidf import Presence
from simplestack.sip.memory import remember_short

__all__ = ["activities", "places", "spheres", "values"]

_RPID: Final = f"{{{ns.RPID}}}"
_SPHERE: Final = f"{_RPID}sphere"
_ACTIVITIES: Final = f"{_RPID}activities"
_PLACE_TYPE: Final = f"{_RPID}place-type"
_NOTE: Final = f"{_RPID}note"
_OTHER: Final = f"{_RPID}other"


def spheres(presence: Presence) -> tuple[str, ...]:
    """The values of ``<sphere>`` (RFC 4480 §3.11), in lower case."""
    return tuple(_of(presence, _SPHERE))


def activities(presence: Presence) -> tuple[str, ...]:
    """The values of ``<activities>`` (RFC 4480 §3.2), in lower case."""
    return tuple(_of(presence, _ACTIVITIES))


def places(presence: Presence) -> tuple[str, ...]:
    """The values of ``<place-type>`` (RFC 4480 §3.6), in lower case."""
    return tuple(_of(presence, _PLACE_TYPE))


def _of(presence: Presence, name: str) -> Iterator[str]:
    for person in presence.persons:
        for each in person.elements:
            if each.name == name:
                yield from values(each)


@remember_short(512, length)
def values(each: Element) -> tuple[str, ...]:
    """The values of an RPID element, in lower case: a registered one is an empty element."""
    tree = each.tree()
    if not len(tree):
        return ((tree.text or "").strip().lower(),)
    return tuple(
        [
            (child.text or "").strip().lower()
            if child.tag == _OTHER
            else child.tag.rpartition("}")[2].lower()
            for child in tree
            if child.tag != _NOTE
        ]
    )
