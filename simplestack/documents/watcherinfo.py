"""Watcher information: ``application/watcherinfo+xml`` (RFC 3858)."""

from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, attribute, text
from simplestack.documents.numbers import optional_number, required_number
from simplestack.documents.xml import line_of, parse_content, required

MEDIA_TYPE: Final = "application/watcherinfo+xml"

STATUSES: Final = frozenset({"pending", "active", "waiting", "terminated"})
EVENTS: Final = frozenset(
    {
        "subscribe",
        "approved",
        "deactivated",
        "probation",
        "rejected",
        "timeout",
        "giveup",
        "noresource",
    }
)

_NS: Final = f"{{{ns.WATCHERINFO}}}"
_LANG: Final = f"{{{ns.XML}}}lang"


class Watcher(NamedTuple):
    """One subscription as its subject sees it (RFC 3858 §3); times in seconds from now.

    ``id`` is a token of RFC 3261, the same for a subscription in all documents.
    """

    uri: str
    id: str
    status: str
    event: str
    display_name: str | None = None
    expiration: int | None = None
    duration_subscribed: int | None = None
    lang: str | None = None


class WatcherList(NamedTuple):
    """The watchers of one resource in one event package."""

    resource: str
    package: str
    watchers: tuple[Watcher, ...] = ()


class WatcherInfo(NamedTuple):
    """A whole document; ``state`` is ``full`` or ``partial``."""

    version: int
    state: str
    lists: tuple[WatcherList, ...] = ()

    def to_bytes(self) -> bytes:
        """Write the document."""
        written = (
            f'{DECLARATION}<watcherinfo xmlns="{ns.WATCHERINFO}"'
            f' version="{self.version}" state="{self.state}">'
        )
        for each in self.lists:
            written += (
                f'<watcher-list resource="{attribute(each.resource)}"'
                f' package="{attribute(each.package)}">'
                f"{''.join([_write(watcher) for watcher in each.watchers])}</watcher-list>"
            )
        return f"{written}</watcherinfo>".encode()


def parse_watcherinfo(data: bytes) -> WatcherInfo:
    """Read a watcher information document; elements of other namespaces are ignored (§3).

    :raises XMLError: if the bytes are not XML that we take.
    :raises DocumentError: if the XML is not watcher information.
    """
    root = parse_content(data)
    if root.tag != _NS + "watcherinfo":
        raise DocumentError(f"the root element is not <watcherinfo> of {ns.WATCHERINFO}")
    state = required(root, "state")
    if state not in ("full", "partial"):
        raise DocumentError('the "state" of <watcherinfo> is neither full nor partial')
    return WatcherInfo(
        required_number(root, "version"),
        state,
        tuple(
            WatcherList(
                required(each, "resource"),
                required(each, "package"),
                tuple(_read(node) for node in each.iterchildren(_NS + "watcher")),
            )
            for each in root.iterchildren(_NS + "watcher-list")
        ),
    )


def _read(node: etree._Element) -> Watcher:
    uri = (node.text or "").strip()
    status = required(node, "status")
    event = required(node, "event")
    if not uri or status not in STATUSES or event not in EVENTS:
        line = line_of(node)
        raise DocumentError(f"<watcher> in line {line} has no URI or a status or event unknown")
    return Watcher(
        uri,
        required(node, "id"),
        status,
        event,
        node.get("display-name"),
        optional_number(node, "expiration"),
        optional_number(node, "duration-subscribed"),
        node.get(_LANG),
    )


def _write(watcher: Watcher) -> str:
    written = (
        f'<watcher id="{attribute(watcher.id)}" status="{watcher.status}" event="{watcher.event}"'
    )
    if watcher.display_name is not None:
        written += f' display-name="{attribute(watcher.display_name)}"'
    if watcher.expiration is not None:
        written += f' expiration="{watcher.expiration}"'
    if watcher.duration_subscribed is not None:
        written += f' duration-subscribed="{watcher.duration_subscribed}"'
    if watcher.lang is not None:
        written += f' xml:lang="{attribute(watcher.lang)}"'
    return f"{written}>{text(watcher.uri)}</watcher>"
