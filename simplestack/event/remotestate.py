"""What other servers tell in parts, as it adds up: a list passes on wholes alone.

A list leaves out what came between two of its own NOTIFYs, so that partial documents would leave
gaps there.
"""

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from simplestack.documents.errors import DocumentError
from simplestack.documents.reginfo import MEDIA_TYPE as REGINFO_TYPE
from simplestack.documents.reginfo import RegInfo, Registration, parse_reginfo
from simplestack.documents.watcherinfo import MEDIA_TYPE as WATCHERINFO_TYPE
from simplestack.documents.watcherinfo import WatcherInfo, WatcherList, parse_watcherinfo
from simplestack.event.nestedlist import RELATED, NestedList

__all__ = ["TABLES", "RegistrationTable", "StateTable", "WatcherTable"]

#: Contacts, or watchers, that are kept of one resource.
_MOST: Final = 1_000


class StateTable(Protocol):
    """What is known by the NOTIFYs of one subscription."""

    def take(self, content_type: str, body: bytes) -> tuple[str, bytes] | None:
        """Take a NOTIFY; content type and octets of the whole, None where something was missed.

        Raises DocumentError where the body can't be read.
        """


class RegistrationTable:
    """The registrations of one subscription to ``reg`` (RFC 3680 §5.2)."""

    __slots__ = ("_known", "_version")

    def __init__(self) -> None:
        self._version: int | None = None
        self._known: dict[str, Registration] = {}

    def take(self, content_type: str, body: bytes) -> tuple[str, bytes] | None:
        """Take a document.

        "If the document contains full state, … the contents of the document are used to fill" the
        table; else what is in it is changed, and what is terminated removed.
        """
        info = parse_reginfo(body)
        if info.state == "full":
            self._known.clear()
        elif self._version is None or info.version != self._version + 1:
            return None
        self._version = info.version
        for new in info.registrations:
            before = self._known.get(new.id)
            contacts = {} if before is None else {each.id: each for each in before.contacts}
            # What has ended was told once.
            contacts = {id_: each for id_, each in contacts.items() if each.state != "terminated"}
            contacts.update({each.id: each for each in new.contacts})
            self._known[new.id] = new._replace(contacts=tuple(contacts.values()))
        if sum([1 + len(each.contacts) for each in self._known.values()]) > _MOST:
            raise DocumentError("there are too many contacts")
        return content_type, RegInfo(info.version, "full", tuple(self._known.values())).to_bytes()


class WatcherTable:
    """The watchers of one subscription to watcher information (RFC 3858 §4.1)."""

    __slots__ = ("_known", "_version")

    def __init__(self) -> None:
        self._version: int | None = None
        self._known: dict[tuple[str, str], WatcherList] = {}

    def take(self, content_type: str, body: bytes) -> tuple[str, bytes] | None:
        """Take a document; a watcher who has ended is told once."""
        info = parse_watcherinfo(body)
        if info.state == "full":
            self._known.clear()
        elif self._version is None or info.version != self._version + 1:
            return None
        self._version = info.version
        for new in info.lists:
            place = (new.resource, new.package)
            before = self._known.get(place)
            watchers = {} if before is None else {each.id: each for each in before.watchers}
            watchers = {id_: each for id_, each in watchers.items() if each.status != "terminated"}
            watchers.update({each.id: each for each in new.watchers})
            self._known[place] = new._replace(watchers=tuple(watchers.values()))
        if sum([1 + len(each.watchers) for each in self._known.values()]) > _MOST:
            raise DocumentError("there are too many watchers")
        whole = WatcherInfo(info.version, "full", tuple(self._known.values()))
        return content_type, whole.to_bytes()


#: By media type what adds up NOTIFYs; others are whole.
TABLES: Final[Mapping[str, Callable[[], StateTable]]] = {
    RELATED: NestedList,
    REGINFO_TYPE: RegistrationTable,
    WATCHERINFO_TYPE: WatcherTable,
}
