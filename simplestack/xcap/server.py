"""The XCAP server: decides on requests for documents and their nodes (RFC 4825 §8)."""

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from simplestack.documents.errors import DocumentError
from simplestack.documents.xml import Limits as XMLLimits
from simplestack.documents.xml import parse_content
from simplestack.interfaces import IApplicationUsage, Identifiers
from simplestack.outcome import Outcome
from simplestack.sip.errors import SIPError
from simplestack.state import Absence, ChangeSet, Document, ResourceState
from simplestack.xcap import conditions, edit
from simplestack.xcap.claims import Claims
from simplestack.xcap.errors import ConflictError, no_parent, refusal
from simplestack.xcap.message import ATTRIBUTE, ELEMENT, XCAPRequest, XCAPResponse
from simplestack.xcap.nodes import NodeSelector
from simplestack.xcap.nodes import parse as parse_node
from simplestack.xcap.selectors import GLOBAL, DocumentSelector, ResourceSelector, below
from simplestack.xcap.usages.capabilities import XCAPCapabilities

__all__ = ["ATTRIBUTE", "ELEMENT", "METHODS", "NAMESPACES", "Limits", "XCAPServer"]

NAMESPACES: Final = "application/xcap-ns+xml"

METHODS: Final = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
READING: Final = ("GET", "HEAD")
_READ_ONLY: Final = "GET, HEAD, OPTIONS"
#: So many seconds after the last subscription that was there must have been refreshed it is
#: forgotten that a document was removed; in the global tree so many after the removal.
_REMEMBERED: Final = 3600.0
_REMEMBERED_GLOBAL: Final = 86400.0


class Limits(NamedTuple):
    """How much a user may keep: octets and nodes and levels of a document, and documents."""

    octets: int = 262_144
    documents: int = 32
    nodes: int = 50_000
    depth: int = 64


class XCAPServer:
    """All application usages, and what may be done to their documents.

    ``admins`` are the AORs that may read and write everything, global documents too; ``root``
    is the XCAP root URI.
    """

    def __init__(
        self,
        usages: Iterable[IApplicationUsage],
        limits: Limits | None = None,
        *,
        admins: Collection[str] = (),
        root: str = "",
    ) -> None:
        self.usages: dict[str, IApplicationUsage] = {usage.auid: usage for usage in usages}
        # "All XCAP servers MUST support this application usage" (§12)
        capabilities = XCAPCapabilities(tuple(self.usages.values()))
        self.usages.setdefault(capabilities.auid, capabilities)
        self.limits = limits = limits or Limits()
        self.admins = frozenset(admins)
        self.root = root.rstrip("/")
        self.claims: dict[str, Claims] = {auid: Claims() for auid in self.usages}
        #: The last union of all users' documents of each usage, and what it is the union of.
        self._unions: dict[str, tuple[tuple[Document, ...], bytes]] = {}
        self._xml_limits = XMLLimits(limits.octets, limits.depth, limits.nodes)

    def usage(self, selector: ResourceSelector) -> IApplicationUsage:
        """The usage of a selector; SIPError 404 where it is not understood (§8)."""
        auid = selector.document.auid
        usage = self.usages.get(auid)
        if usage is None:
            raise SIPError(404, text=f"there is no application usage {auid!r} here")
        return usage

    def node(self, selector: ResourceSelector) -> NodeSelector | None:
        """The parsed node selector.  Raises SIPError 400, 404."""
        if selector.node is None:
            return None
        return parse_node(selector.node, selector.query, self.usage(selector).default_namespace)

    def inspect(self, method: str, selector: ResourceSelector) -> None:
        """What can be said without knowing who asks.  Raises SIPError 400, 404, 405."""
        usage = self.usage(selector)
        node = self.node(selector)
        if method not in METHODS:
            raise _not_allowed(", ".join(METHODS))
        if not selector.document.path:
            raise SIPError(404, text=f"the URI names a directory of {usage.auid}, no document")
        if node is not None and node.namespaces and method not in READING:
            raise _not_allowed(_READ_ONLY)

    def allowed(self, selector: ResourceSelector) -> str:
        """The methods that a URI has, whoever asks.  Raises SIPError 400, 404."""
        usage, place = self.usage(selector), selector.document
        node = self.node(selector)
        fixed = self.gathers(selector) or (
            usage.computed(place.owner, place.path, {}, self.root) is not None
        )
        if fixed or (node is not None and node.namespaces):
            return _READ_ONLY
        return ", ".join(METHODS)

    def gathers(self, selector: ResourceSelector) -> bool:
        """Whether the document is made of those of all users."""
        document = selector.document
        return not document.owner and self.usage(selector).gathers == document.path

    def decide(
        self, request: XCAPRequest, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[XCAPResponse]:
        """Decide a request for a document of this AOR; pure.  Raises SIPError."""
        method, selector = request.method, request.selector
        self.inspect(method, selector)
        usage = self.usage(selector)
        place = selector.document
        if request.identity not in self.admins and not usage.authorize(
            place.owner, request.identity, method
        ):
            raise SIPError(403, text=f"this is not for {request.identity or 'strangers'}")
        computed = self._computed(usage, request, state)
        if method in READING:
            document = computed or state.documents.get(place.id)
            return self._get(request, document, state)
        if computed is not None:
            raise _not_allowed(_READ_ONLY)
        document = state.documents.get(place.id)
        if method == "PUT":
            return self._put(request, usage, document, state, now, identifiers)
        return self._delete(request, usage, document, state, now, identifiers)

    # Reading

    def _computed(
        self, usage: IApplicationUsage, request: XCAPRequest, state: ResourceState
    ) -> Document | None:
        if not self.gathers(request.selector):
            return self.computed(request.selector.document, state)
        return self.union(usage, request.gathered)

    def union(self, usage: IApplicationUsage, gathered: tuple[Document, ...]) -> Document:
        """The global document that is made of these of all users."""
        documents, content = self._unions.get(usage.auid, ((), b""))
        if documents is not gathered or not content:
            content = usage.gathered(gathered)
            self._unions[usage.auid] = (gathered, content)
        modified = max([each.modified_at for each in gathered], default=0.0)
        place = DocumentSelector(usage.auid, "", usage.gathers)
        return _made(place, usage.content_type, content, modified)

    def computed(self, place: DocumentSelector, state: ResourceState) -> Document | None:
        """The document at this place, if it is one that its usage computes of what the AOR has."""
        usage = self.usages[place.auid]
        content = usage.computed(place.owner, place.path, state.documents, self.root)
        if content is None:
            return None
        modified = max([each.modified_at for each in state.documents.values()], default=0.0)
        return _made(place, usage.content_type, content, modified)

    def readable(self, place: DocumentSelector, identity: str) -> bool:
        """Whether an identity may read a document here."""
        usage = self.usages.get(place.auid)
        return usage is not None and (
            identity in self.admins or usage.authorize(place.owner, identity, "GET")
        )

    def _get(
        self, request: XCAPRequest, document: Document | None, state: ResourceState
    ) -> Outcome[XCAPResponse]:
        if document is None:
            raise SIPError(404, text="there is no such document")
        selector = self.node(request.selector)
        if selector is None:
            content_type, body = document.content_type, document.body
        else:
            found = edit.find(document.body, selector)
            if found is None:
                raise SIPError(404, text="the node selector selects nothing, or several elements")
            if selector.namespaces:
                content_type, body = NAMESPACES, edit.namespaces(found.element)
            elif found.attribute is not None:
                attribute = found.attribute
                content_type = ATTRIBUTE
                body = document.body[attribute.value_start : attribute.end]
            else:
                content_type, body = ELEMENT, found.element.octets
        headers = _validators(document)
        if not conditions.check(request.headers, request.method, document):
            return Outcome(XCAPResponse(304, headers), ChangeSet(state.aor))
        headers = (*headers, ("Content-Type", content_type))
        return Outcome(XCAPResponse(200, headers, body), ChangeSet(state.aor))

    # Writing

    def _put(
        self,
        request: XCAPRequest,
        usage: IApplicationUsage,
        document: Document | None,
        state: ResourceState,
        now: float,
        identifiers: Identifiers,
    ) -> Outcome[XCAPResponse]:
        selector = self.node(request.selector)
        place = request.selector.document
        if selector is None:
            wanted = usage.content_type
        else:
            wanted = ELEMENT if selector.attribute is None else ATTRIBUTE
        _check_content(request, wanted)
        uris = edit.Ancestors(
            request.selector.path, request.selector.node or (), request.selector.query
        )
        if document is None:
            if selector is not None:
                raise no_parent("there is no such document", uris.home())
            if "/" in place.path:
                raise no_parent(
                    "there are no directories below that of the user",
                    uris.directory(place.path.count("/")),
                )
        conditions.check(request.headers, "PUT", document)
        if document is None:
            self._check_room(state)
        if selector is None:
            body, created = request.body, document is None
        else:
            assert document is not None
            try:
                body, created = edit.put(
                    document.body, selector, request.body, self._xml_limits, uris
                )
            except DocumentError as error:
                raise refusal(error) from None
        tag = identifiers.entity_tag()
        new = _document(place, usage.content_type, body, tag, now)
        self._check(usage, new, state, request.users)
        changes = ChangeSet(state.aor, [new])
        if state.absences and new.id in state.absences:
            changes.remove(state.absences[new.id], "created")
        return Outcome(XCAPResponse(201 if created else 200, _validators(new)), changes)

    def _delete(
        self,
        request: XCAPRequest,
        usage: IApplicationUsage,
        document: Document | None,
        state: ResourceState,
        now: float,
        identifiers: Identifiers,
    ) -> Outcome[XCAPResponse]:
        if document is None:
            raise SIPError(404, text="there is no such document")
        selector = self.node(request.selector)
        changes = ChangeSet(state.aor)
        if selector is None:
            conditions.check(request.headers, "DELETE", document)
            changes.remove(document, "deleted")
            self._remember(document, state, changes, now)
            return Outcome(XCAPResponse(200), changes)
        if edit.find(document.body, selector) is None:
            raise SIPError(404, text="the node selector selects nothing, or several elements")
        conditions.check(request.headers, "DELETE", document)
        body = edit.delete(document.body, selector)
        new = document._replace(body=body, entity_tag=identifiers.entity_tag(), modified_at=now)
        self._check(usage, new, state)
        changes.put(new)
        return Outcome(XCAPResponse(200, _validators(new)), changes)

    def _remember(
        self, document: Document, state: ResourceState, changes: ChangeSet, now: float
    ) -> None:
        """Keep that a document was removed, where somebody is to be told who may miss it."""
        if state.aor == GLOBAL:
            until = now
        else:
            ends = [
                each.expires_at
                for each in state.subscriptions.values()
                if each.package == "xcap-diff" and each.status != "waiting"
            ]
            if not ends:
                return
            until = max(ends)
        kept = state.absences or {}
        if len(kept) >= self.limits.documents:
            changes.remove(min(kept.values(), key=_removed_at), "forgotten")
        changes.put(
            Absence(
                state.aor,
                document.id,
                document.auid,
                document.path,
                document.entity_tag,
                now,
                until + (_REMEMBERED_GLOBAL if state.aor == GLOBAL else _REMEMBERED),
            )
        )

    def _check_room(self, state: ResourceState) -> None:
        if len(state.documents) >= self.limits.documents:
            raise ConflictError.of(
                "constraint-failure",
                f"a user may have {self.limits.documents} documents; delete one first",
            )

    def _check(
        self,
        usage: IApplicationUsage,
        new: Document,
        state: ResourceState,
        users: frozenset[str] = frozenset(),
    ) -> None:
        """Whether the document as a whole may be so (§8.2.5)."""
        try:
            root = parse_content(new.body, limits=self._xml_limits)
            usage.check(new, root, state.documents)
        except DocumentError as error:
            raise refusal(error) from None
        if self.root:
            for uri, auid in getattr(usage, "references", _none)(root).items():
                if not (below(uri, self.root) or b"").startswith(b"/%b/" % auid.encode()):
                    raise ConflictError.of(
                        "constraint-failure", f'"{uri}" is not below {self.root}/{auid}/'
                    )
        claims = self.claims[usage.auid]
        for value, field in usage.claims(root).items():
            if claims.holder(value) not in (None, (new.aor, new.id)):
                raise ConflictError.not_unique(f"{value} is taken", field, claims.free(value))
            if value in users:
                raise ConflictError.not_unique(f"{value} is a user", field, claims.free(value))

    def claimed(self, document: Document) -> tuple[str, ...]:
        """The values that a stored document has for itself on the whole server."""
        usage = self.usages.get(document.auid)
        if usage is None:
            return ()
        # It was taken when the limit may have been another one.
        limits = self._xml_limits._replace(octets=len(document.body))
        root: Any = parse_content(document.body, limits=limits)
        return tuple(usage.claims(root))


def _none(root: Any) -> Mapping[str, str]:
    """The references of usages that say nothing of them."""
    return {}


def _document(
    place: DocumentSelector, content_type: str, body: bytes, tag: str, now: float
) -> Document:
    return Document(place.aor, place.id, place.auid, place.path, tag, content_type, body, now)


def _removed_at(absence: Absence) -> float:
    return absence.removed_at


def _made(place: DocumentSelector, content_type: str, content: bytes, modified: float) -> Document:
    # As stable as what it is computed from.
    tag = blake2b(content, digest_size=8).hexdigest()
    return _document(place, content_type, content, tag, modified)


def _validators(document: Document) -> tuple[tuple[str, str], ...]:
    tag = ("ETag", conditions.quoted(document.entity_tag))
    if not document.modified_at:
        return (tag,)
    return (tag, ("Last-Modified", conditions.http_date(document.modified_at)))


def _check_content(request: XCAPRequest, wanted: str) -> None:
    """The media type must be the one of what is put (§8.2.2)."""
    given = request.headers.get("content-type", "").partition(";")[0]
    if given.strip().lower() != wanted:
        shown = given.strip() or "missing"
        raise SIPError(
            415,
            "Unsupported Media Type",
            headers=[("Accept", wanted)],
            text=f"the Content-Type is {shown}; here it must be {wanted}",
        )
    if "content-range" in request.headers:
        raise SIPError(400, text="a part of a document can't be put by Content-Range")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise SIPError(
            415,
            "Unsupported Media Type",
            headers=[("Accept-Encoding", "identity")],
            text="the body has a Content-Encoding",
        )


def _not_allowed(methods: str) -> SIPError:
    return SIPError(
        405,
        "Method Not Allowed",
        headers=[("Allow", methods)],
        text=f"only {methods} can be used here",
    )
