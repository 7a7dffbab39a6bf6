"""What a subscriber to ``xcap-diff`` watches: collections, documents, nodes (RFC 5875 §4.4)."""

from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.xml import parse_content
from simplestack.sip.errors import SIPError
from simplestack.xcap.nodes import NodeSelector
from simplestack.xcap.selectors import DocumentSelector, parse, root_path
from simplestack.xcap.server import XCAPServer

__all__ = ["MOST_ENTRIES", "Collection", "Resource", "Selection", "read_selection"]

#: Entries that a list may have; each is looked up with every change.
MOST_ENTRIES: Final = 100

_SAFE: Final = "/:@!$&'()*+,;=~"
_RL: Final = f"{{{ns.RESOURCE_LISTS}}}"


class Collection(NamedTuple):
    """All documents below a directory; what is empty is any."""

    #: As the subscriber wrote it, relative to the XCAP root, with a slash at its end.
    selector: str
    auid: str = ""
    #: ``users``, ``global`` or "".
    tree: str = ""
    #: The AOR of the home directory.
    owner: str = ""

    def has(self, owner: str) -> bool:
        """Whether documents of an owner are in it; "" is the global tree."""
        if not owner:
            return not self.owner and self.tree in ("", "global")
        return self.tree != "global" and self.owner in ("", owner)

    def selector_of(self, place: DocumentSelector) -> str:
        """What selects a document in it, relative to the XCAP root."""
        selector = self.selector
        if not self.auid:
            selector += quote(place.auid, _SAFE) + "/"
        if not self.tree:
            selector += "users/" if place.owner else "global/"
        if place.owner and not self.owner:
            selector += quote(place.owner, _SAFE) + "/"
        return selector + quote(place.path, _SAFE)


class Resource(NamedTuple):
    """A document, or an element or attribute in it."""

    #: As the subscriber wrote it, relative to the XCAP root.
    selector: str
    document: DocumentSelector
    node: NodeSelector | None = None


class Selection(NamedTuple):
    """What one subscription watches; equal ones are the same, whatever their order was."""

    collections: tuple[Collection, ...] = ()
    documents: tuple[Resource, ...] = ()
    components: tuple[Resource, ...] = ()

    @property
    def sees_global(self) -> bool:
        """Whether anything of it can be in the global tree."""
        return any(each.has("") for each in self.collections) or any(
            not each.document.owner for each in (*self.documents, *self.components)
        )


def read_selection(body: bytes, server: XCAPServer) -> Selection:
    """Read the list of URIs in a SUBSCRIBE.

    URIs that can't be of anything here are left out, as what is not there is (§4.7).  So is what
    is more than a flat list: "the notifier MUST ignore them" (§4.4).

    Raises SIPError: 400 where the body is no such list, 413 where it is too long.
    """
    try:
        root = parse_content(body)
    except DocumentError as error:
        raise SIPError(400, text=f"the list of resources: {error.message}"[:200]) from None
    if root.tag != _RL + "resource-lists":
        raise SIPError(400, text="the body is not a resource-lists document")
    uris = {
        # Lines of a long one may have been folded; no URI has white space.
        "".join(entry.get("uri", "").split())
        for part in root.iterchildren(_RL + "list")
        for entry in part.iterchildren(_RL + "entry")
    }
    if len(uris) > MOST_ENTRIES:
        raise SIPError(413, text=f"a subscription has at most {MOST_ENTRIES} resources here")
    return _sorted(uris, server)


def _sorted(uris: Iterable[str], server: XCAPServer) -> Selection:
    collections: list[Collection] = []
    documents: list[Resource] = []
    components: list[Resource] = []
    for uri in sorted(uris):
        try:
            found = _read(_relative(uri, server.root), server)
        except SIPError:
            continue
        if isinstance(found, Collection):
            collections.append(found)
        elif found is not None:
            (documents if found.node is None else components).append(found)
    return Selection(tuple(collections), tuple(documents), tuple(components))


def _relative(uri: str, root: str) -> str:
    """The URI relative to the XCAP root; of one outside of it nothing will be found."""
    if root and uri.startswith(root + "/"):
        return uri[len(root) + 1 :]
    if uri.startswith("/"):
        path = root_path(root).decode() + "/"
        return uri[len(path) :] if uri.startswith(path) else uri[1:]
    return uri


def _read(uri: str, server: XCAPServer) -> Collection | Resource | None:
    path, _, query = uri.partition("?")
    octets = f"/{uri}".encode()
    if (path.endswith("/") or not path) and "~~" not in path and not query:
        return _collection(uri)
    resource = parse(octets)
    node = server.node(resource)
    if not resource.document.path or (node is not None and node.namespaces):
        # "the client MUST NOT subscribe to namespaces" (§4.1)
        return None
    return Resource(uri, resource.document, node)


def _collection(uri: str) -> Collection:
    segments = uri.split("/")[:-1]
    if not segments:
        return Collection(uri)
    if len(segments) == 1:
        return Collection(uri, segments[0])
    # A document whose place is that of the directory says the rest.
    auid, tree = segments[:2]
    if len(segments) == 2 and tree in ("users", "global"):
        return Collection(uri, auid, tree)
    if tree == "users" and len(segments) == 3:
        place = parse(f"/{uri}x".encode()).document
        return Collection(uri, place.auid, tree, place.owner)
    raise SIPError(404)
