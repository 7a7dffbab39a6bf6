"""The flat list of what a list names, its references followed (RFC 4826 §4.4.6, RFC 5367 §4)."""

from collections.abc import Callable, Collection
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import attribute
from simplestack.documents.resourcelists import (
    DisplayName,
    Entry,
    EntryRef,
    External,
    List,
    Service,
    parse_item,
    parse_resource_lists,
)
from simplestack.sip.errors import SIPError
from simplestack.sip.memory import remember
from simplestack.sip.uri import parse_uri
from simplestack.state import Document
from simplestack.xcap.lookup import Lookup
from simplestack.xcap.nodes import parse as parse_node
from simplestack.xcap.selectors import DocumentSelector, below, parse, root_path

__all__ = ["Evaluator", "FlatEntry", "FlatList", "ListLimits", "flat_body", "target_of"]

_AUID: Final = "resource-lists"
_SHOWN: Final = 120


class FlatEntry(NamedTuple):
    """One resource of a list."""

    #: As it is written in the list: it identifies the resource to the subscriber.
    uri: str
    #: The AOR whose state is subscribed to.
    aor: str
    name: DisplayName | None = None


class FlatList(NamedTuple):
    """What a list comes to once its references have been followed."""

    name: DisplayName | None
    entries: tuple[FlatEntry, ...]
    #: AOR and id of the documents that it was made of.
    sources: frozenset[tuple[str, str]] = frozenset()
    #: How many more entries it would have without the limit.
    omitted: int = 0


class ListLimits(NamedTuple):
    """How much one list may be."""

    #: Entries; those beyond it are left out.
    entries: int = 500
    #: References that are followed; beyond it 502.
    references: int = 100
    #: Octets that have been read of documents and of what is referred to, with which no more of
    #: either is read: 502.
    octets: int = 1_000_000


class Evaluator:
    """Follows the references of the list of one service.

    ``fetch`` gives a document of this server, or None where there is none; it may raise whatever
    says that the document has to be waited for.  ``fetch_remote`` gives the ``<list>`` at an HTTP
    URI on another server, raising SIPError 502 where it can't.  A user's list refers to documents
    of this user alone, for nobody else may read others (RFC 4826 §3.4.9); that of ``owner`` "" to
    everybody's.  ``nested`` gives the service that an AOR names, if the subscriber may have it: what
    is in its list is in this one too.

    A ``lenient`` evaluation leaves out what can't be found: "an RLS may provide better service by
    creating virtual subscriptions to the URIs in the flat list that could be obtained" (§4.4.6).
    """

    def __init__(
        self,
        fetch: Callable[[str, str], Document | None],
        owner: str,
        *,
        root: str = "",
        domains: Collection[str] = (),
        limits: ListLimits | None = None,
        fetch_remote: Callable[[str], bytes] | None = None,
        nested: Callable[[str], Service | None] | None = None,
        lenient: bool = False,
    ) -> None:
        self._fetch = fetch
        self._fetch_remote = fetch_remote
        self._nested = nested
        self._owner = owner
        self._root = root.rstrip("/")
        self._domains = domains
        self._limits = limits or ListLimits()
        self._lenient = lenient
        self._entries: dict[str, FlatEntry] = {}
        self._sources: set[tuple[str, str]] = set()
        self._traversed: set[str] = set()
        self._references = 0
        self._octets = 0
        self._lookups: dict[tuple[str, str], Lookup] = {}
        self._omitted = 0

    def evaluate(self, service: Service) -> FlatList:
        """The flat list of a service.

        :raises SIPError: 502 with a text that names what can't be found or leads back.
        """
        own = target_of(service.uri)
        if own is not None:
            self._traversed.add(own)
        try:
            found = self._list_of(service)
        except SIPError:
            if not self._lenient:
                raise
            found = List()
        self._traverse(found)
        return FlatList(
            found.display_name,
            tuple(self._entries.values()),
            frozenset(self._sources),
            self._omitted,
        )

    def _list_of(self, service: Service) -> List:
        if service.list is not None:
            return service.list
        anchor = "".join((service.resource_list or "").split())
        self._traversed.add(anchor)
        item = self._dereference(anchor)
        if not isinstance(item, List):
            raise _bad_gateway(f"{anchor} is not a list")
        return item

    def _traverse(self, list_: List, here: bool = True) -> None:
        """Take what is in a list; ``here`` says whether it is kept on this server."""
        for item in list_.items:
            if isinstance(item, Entry):
                self._add(item)
            elif isinstance(item, List):
                self._traverse(item, here)
            else:
                try:
                    self._follow(item, here)
                except SIPError:
                    if not self._lenient:
                        raise

    def _add(self, entry: Entry) -> None:
        if entry.uri in self._entries:
            return
        aor = target_of(entry.uri)
        if aor is None:
            # Only what can be subscribed to is "added to the flat list" (§4.4.6).
            return
        if self._nested is not None:
            if aor in self._traversed:
                return
            service = self._nested(aor)
            if service is not None:
                self._enter(aor, service)
                return
        if len(self._entries) >= self._limits.entries:
            self._omitted += 1
            return
        self._entries[entry.uri] = FlatEntry(entry.uri, aor, entry.display_name)

    def _enter(self, aor: str, service: Service) -> None:
        """Take what is in another list of this server."""
        self._traversed.add(aor)
        self._references += 1
        if self._references > self._limits.references:
            raise _bad_gateway(f"the list has more than {self._limits.references} references")
        try:
            self._traverse(self._list_of(service))
        except SIPError:
            if not self._lenient:
                raise

    def _follow(self, item: EntryRef | External, here: bool) -> None:
        self._references += 1
        if self._references > self._limits.references:
            raise _bad_gateway(f"the list has more than {self._limits.references} references")
        if isinstance(item, EntryRef):
            ref = "".join(item.ref.split())
            if not here:
                # It is relative to the XCAP root of the list that it stands in (§3.2).
                raise _bad_gateway(f"entry-ref {ref} is on another server")
            entry = self._find(ref.encode(), ref)
            if not isinstance(entry, Entry):
                raise _bad_gateway(f"entry-ref {ref} is not an entry")
            self._add(entry._replace(display_name=entry.display_name or item.display_name))
            return
        anchor = "".join(item.anchor.split())
        if anchor in self._traversed:
            # "If the URI is on the traversed list, the server MUST cease traversing the tree, and
            # SHOULD reject the SUBSCRIBE request with a 502" (§4.4.6)
            raise _bad_gateway(f"external {anchor} leads back to itself, or stands twice")
        self._traversed.add(anchor)
        found = self._dereference(anchor)
        if not isinstance(found, List):
            raise _bad_gateway(f"external {anchor} is not a list")
        self._traverse(found, self._own(anchor) is not None)

    def _dereference(self, anchor: str) -> List | Entry | EntryRef | External:
        own = self._own(anchor)
        if own is not None:
            return self._find(own, anchor)
        if self._fetch_remote is None:
            raise _bad_gateway(f"{anchor} is on another server")
        element = self._fetch_remote(anchor)
        self._read(len(element))
        if element.startswith(b"<?xml"):
            element = element.partition(b"?>")[2]
        try:
            # "application/xcap-el+xml" leaves out what its document declares (RFC 4825 §7.3).
            return parse_item(b'<x xmlns="%b">%b</x>' % (ns.RESOURCE_LISTS.encode(), element))
        except DocumentError as error:
            raise _bad_gateway(f"{anchor}: {error}") from None

    def _own(self, anchor: str) -> bytes | None:
        """Path and query below the XCAP root of what is on this server."""
        if self._root:
            return below(anchor, self._root)
        # Nobody said what the root is: what names a user of ours below this usage is here.
        parts = urlsplit(anchor)
        _, found, rest = parts.path.partition(f"/{_AUID}/")
        if not found or parts.hostname is None:
            return None
        path = f"/{_AUID}/{rest}" + (f"?{parts.query}" if parts.query else "")
        try:
            owner = parse(path.encode()).document.owner
        except SIPError:
            return None
        return path.encode() if owner.rpartition("@")[2] in self._domains else None

    def _find(self, reference: bytes, shown: str) -> List | Entry | EntryRef | External:
        try:
            selector = parse(b"/" + reference.lstrip(b"/"), root_path(self._root))
        except SIPError as error:
            raise _bad_gateway(f"{shown}: {error.text}") from None
        place = selector.document
        if selector.node is None or place.auid != _AUID:
            raise _bad_gateway(f"{shown} does not point into a resource list")
        if self._owner and place.owner not in ("", self._owner):
            raise _bad_gateway(f"{shown} is not a document of {self._owner}")
        within = self._lookup(place, shown)
        try:
            node = parse_node(selector.node, selector.query, ns.RESOURCE_LISTS)
        except SIPError as error:
            raise _bad_gateway(f"{shown}: {error.text}") from None
        found = None if node.attribute is not None or node.namespaces else within.find(node)
        if found is None:
            raise _bad_gateway(f"{shown} is not there")
        element = found.element
        self._read(element.end - element.start)
        head = "".join(
            f' xmlns{":" + prefix if prefix else ""}="{attribute(namespace)}"'
            for prefix, namespace in element.scope().items()
            if prefix != "xml"
        )
        try:
            return parse_item(b"<x%b>%b</x>" % (head.encode(), element.octets))
        except DocumentError as error:
            raise _bad_gateway(f"{shown}: {error}") from None

    def _lookup(self, place: DocumentSelector, shown: str) -> Lookup:
        # A document that is not there yet is one that the list waits for.
        key = (place.aor, place.id)
        self._sources.add(key)
        found = self._lookups.get(key)
        if found is None:
            document = self._fetch(*key)
            if document is None:
                raise _bad_gateway(f"{shown} is not there")
            self._read(len(document.body))
            found = self._lookups[key] = Lookup(document.body)
        return found

    def _read(self, octets: int) -> None:
        """See that it is not too much: the same may be referred to again and again."""
        if self._octets > self._limits.octets:
            raise _bad_gateway(
                f"what the list refers to has more than {self._limits.octets} octets"
            )
        self._octets += octets


def flat_body(body: bytes, limits: ListLimits | None = None) -> FlatList:
    """The list in the body of a SUBSCRIBE, without what refers elsewhere.

    "A resource list server receiving a URI list with more information than what has just been
    described MAY discard all the extra information." (RFC 5367 §4)

    :raises SIPError: 400 where it can't be read, names nobody, or an entry is not a URI.
    """
    limits = limits or ListLimits()
    try:
        lists = parse_resource_lists(body)
    except DocumentError as error:
        raise SIPError(400, text=f"the list: {error}") from None
    entries: dict[str, FlatEntry] = {}
    omitted = 0
    useless = ""
    for each in lists:
        for entry in _entries(each):
            try:
                parse_uri(entry.uri)
            except SIPError:
                shown = entry.uri[:_SHOWN]
                raise SIPError(400, text=f"the entry {shown!r} is not a URI") from None
            aor = target_of(entry.uri)
            if aor is None:
                useless = useless or entry.uri
                continue
            if entry.uri in entries:
                continue
            if len(entries) >= limits.entries:
                omitted += 1
                continue
            entries[entry.uri] = FlatEntry(entry.uri, aor, entry.display_name)
    if not entries:
        shown = f": not the entry {useless[:_SHOWN]!r}" if useless else ""
        raise SIPError(400, text=f"the list has no entry that can be subscribed to{shown}")
    return FlatList(None, tuple(entries.values()), omitted=omitted)


def _entries(list_: List) -> list[Entry]:
    found: list[Entry] = []
    for item in list_.items:
        if isinstance(item, Entry):
            found.append(item)
        elif isinstance(item, List):
            found += _entries(item)
    return found


@remember(8192)
def target_of(uri: str) -> str | None:
    """The AOR that an entry's URI stands for; None where nobody can subscribe to it.

    A ``pres`` URI is looked for among SIP users, as in RFC 3861 where a domain has no records.
    """
    scheme, _, rest = uri.partition(":")
    if scheme.lower() == "pres":
        uri = f"sip:{rest}"
    try:
        parsed = parse_uri(uri)
    except SIPError:
        return None
    return parsed.aor if parsed.is_sip and parsed.user else None


def _bad_gateway(text: str) -> SIPError:
    return SIPError(502, text=text[:400])
