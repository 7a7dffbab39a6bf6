"""What a document says, in one line for a person."""

import time
from collections.abc import Iterable
from typing import NamedTuple

from simplestack.command.session import shown
from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element
from simplestack.documents.pidf import Person, Presence, Tuple
from simplestack.documents.reginfo import Contact
from simplestack.documents.watcherinfo import Watcher

__all__ = ["Said", "contact_line", "moment", "presence_line", "said", "watcher_line"]

_ACTIVITIES = f"{{{ns.RPID}}}activities"


def moment(now: float) -> str:
    """A time of day where we are."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))


class Said(NamedTuple):
    """What a presence document says to a person."""

    #: open, closed or unknown; open where one service is (RFC 3863 §4.1.4).
    basic: str
    activities: tuple[str, ...]
    notes: tuple[str, ...]


def said(presence: Presence) -> Said:
    """What a presence document says of all its services and persons together."""
    basics = {each.basic for each in presence.tuples}
    basic = "open" if "open" in basics else "closed" if "closed" in basics else "unknown"
    activities: list[str] = []
    notes = [note.text for note in presence.notes]
    holders: tuple[Person | Tuple, ...] = (*presence.persons, *presence.tuples)
    for holder in holders:
        activities += _activities(holder.elements)
        notes += [note.text for note in holder.notes]
    texts = [note.strip() for note in dict.fromkeys(notes) if note.strip()]
    return Said(basic, tuple(dict.fromkeys(activities)), tuple(texts))


def presence_line(presence: Presence) -> str:
    """Open or closed, the activities, the notes: ``open  on-the-phone,meeting  "until four"``.

    ``-`` where there are no activities.
    """
    basic, activities, notes = said(presence)
    words = [basic, ",".join(activities) or "-", *[f'"{note}"' for note in notes]]
    return shown("  ".join(words))


def watcher_line(watcher: Watcher, package: str) -> str:
    """Who, in which state, because of which event: ``sip:alice@example.com  pending  subscribe``."""
    words = [watcher.uri, watcher.status, watcher.event]
    if watcher.display_name:
        words.insert(1, f'"{watcher.display_name}"')
    if package != "presence":
        words.append(f"({package})")
    return shown("  ".join(words))


def contact_line(contact: Contact) -> str:
    """Where, and what became of it: ``sip:bob@192.0.2.4  active  registered  expires in 3600 s``."""
    words = [contact.uri, contact.state, contact.event]
    if contact.expires is not None and contact.state == "active":
        words.append(f"expires in {contact.expires} s")
    return shown("  ".join(words))


def _activities(elements: Iterable[Element]) -> list[str]:
    """The names in <activities> (RFC 4480 §3.2); one of a person's own choice is in <other>."""
    names: list[str] = []
    for element in elements:
        if element.name == _ACTIVITIES:
            for child in element.tree():
                name = str(child.tag).rpartition("}")[2]
                own = " ".join((child.text or "").split())
                if name != "note":
                    names.append(own if name == "other" and own else name)
    return names
