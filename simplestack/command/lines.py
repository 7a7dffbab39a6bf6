"""What a document says, in one line for a person."""

import time
from collections.abc import Iterable

from simplestack.command.session import shown
from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element
from simplestack.documents.pidf import Person, Presence, Tuple
from simplestack.documents.reginfo import Contact
from simplestack.documents.watcherinfo import Watcher

__all__ = ["contact_line", "moment", "presence_line", "watcher_line"]

_ACTIVITIES = f"{{{ns.RPID}}}activities"


def moment(now: float) -> str:
    """A time of day where we are."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))


def presence_line(presence: Presence) -> str:
    """Open or closed, the activities, the notes: ``open  on-the-phone,meeting  "until four"``.

    Open where one service is (RFC 3863 §4.1.4); ``-`` where there are no activities.
    """
    basics = {each.basic for each in presence.tuples}
    basic = "open" if "open" in basics else "closed" if "closed" in basics else "unknown"
    activities: list[str] = []
    notes = [note.text for note in presence.notes]
    holders: tuple[Person | Tuple, ...] = (*presence.persons, *presence.tuples)
    for holder in holders:
        activities += _activities(holder.elements)
        notes += [note.text for note in holder.notes]
    words = [basic, ",".join(dict.fromkeys(activities)) or "-"]
    words += [f'"{note.strip()}"' for note in dict.fromkeys(notes) if note.strip()]
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
