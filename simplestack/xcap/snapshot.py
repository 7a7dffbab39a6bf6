"""What is there of a selection, and what of it has changed (RFC 5874, RFC 5875 §4.7)."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from simplestack.documents.errors import DocumentError
from simplestack.documents.xcapdiff import (
    MEDIA_TYPE,
    AttributeState,
    DocumentChange,
    ElementState,
    XcapDiff,
)
from simplestack.documents.xmldiff import diff
from simplestack.documents.xmlpatch import MOST_OPERATIONS, Operation
from simplestack.interfaces import Body
from simplestack.state import Absence, Document, ResourceState
from simplestack.xcap import edit
from simplestack.xcap.globaltree import GlobalTree
from simplestack.xcap.lookup import Lookup, lookup
from simplestack.xcap.selection import Collection, Resource, Selection
from simplestack.xcap.selectors import DocumentSelector
from simplestack.xcap.server import XCAPServer

__all__ = ["Snapshot", "changes_between", "take"]

#: Documents up to this size are compared; of larger ones clients fetch the new version.
_COMPARED: Final = 16_384
#: What contents of elements and patches may have in one notification; more is left out.
_SHOWN: Final = 32_768
_END: Final = b"</d:xcap-diff>"

Change: TypeAlias = DocumentChange | ElementState | AttributeState


class Component:
    """An element as it stands in its document, or the value of an attribute.

    The content is that of the document, and not another copy.
    """

    __slots__ = ("_body", "_end", "_start", "_value", "fingerprint", "scope", "size")

    def __init__(self, found: edit.Found, within: Lookup) -> None:
        element, attribute = found
        self._body = within.data
        self._start, self._end = element.start, element.end
        self._value = None if attribute is None else attribute.value
        #: The namespaces in scope around an element, by prefix.
        self.scope: tuple[tuple[str, str], ...] = ()
        if attribute is None:
            self.scope = within.scope(element)
            self.fingerprint = within.fingerprint(element)
            self.size = element.end - element.start
            self.size += sum([len(prefix) + len(uri) for prefix, uri in self.scope])
        else:
            self.fingerprint = blake2b(attribute.value.encode(), digest_size=16).digest()
            self.size = len(attribute.value)

    def state(self, selector: str, room: int) -> ElementState | AttributeState:
        """What tells a subscriber of it, without its content where there is no room for that.

        "the notifier MAY discard the <element> element content" (RFC 5875 §4.7).
        """
        shown = self.size <= room
        if self._value is not None:
            return AttributeState(selector, self._value if shown else "", None if shown else True)
        if not shown:
            return ElementState(selector)
        source = self._body[self._start : self._end].decode()
        return ElementState(selector, source=source, scope=self.scope)


class Snapshot(Body):
    """A body with references to all that there is, which knows what it refers to."""

    #: By selector.
    documents: Mapping[str, Document]
    #: By selector; None where nothing is there.
    components: Mapping[str, Component | None]
    #: By selector, what was removed.
    absent: Mapping[str, Absence]
    #: The components that would be elements.
    elements: frozenset[str]


class Place(NamedTuple):
    """Where what a selection sees is: the AOR of its subscription, and the global tree."""

    server: XCAPServer
    state: ResourceState
    tree: GlobalTree
    watcher: str

    def document(self, place: DocumentSelector) -> Document | None:
        """The document here, if there is one that the watcher may read."""
        if place.owner not in ("", self.state.aor) or not self.server.readable(place, self.watcher):
            return None
        if not place.owner:
            return self.tree.document(self.server, place)
        return self.state.documents.get(place.id) or self.server.computed(place, self.state)

    def within(self, collection: Collection) -> Iterator[tuple[str, DocumentSelector]]:
        """The places of a collection in which a document is, was, or may be computed."""
        for owner, own in (("", self.tree.state), (self.state.aor, self.state)):
            if not collection.has(owner):
                continue
            stored: dict[str, Document | Absence] = {**own.documents, **(own.absences or {})}
            places = [DocumentSelector(each.auid, owner, each.path) for each in stored.values()]
            if collection.auid:
                # One that is watched for all usages would be told the same twice: what is computed
                # shows what is stored.
                usage = self.server.usages.get(collection.auid)
                places += [
                    DocumentSelector(collection.auid, owner, path)
                    for path in {getattr(usage, "only", ""), getattr(usage, "gathers", "")}
                    if path and f"{collection.auid}/{path}" not in stored
                ]
            for place in places:
                if collection.auid in ("", place.auid):
                    yield collection.selector_of(place), place

    def absence(self, place: DocumentSelector) -> Absence | None:
        """That a document was removed which the watcher might have read."""
        if place.owner not in ("", self.state.aor) or not self.server.readable(place, self.watcher):
            return None
        own = self.state if place.owner else self.tree.state
        return (own.absences or {}).get(place.id)


def take(
    selection: Selection,
    server: XCAPServer,
    state: ResourceState,
    watcher: str,
    tree: GlobalTree | None = None,
) -> Snapshot:
    """What is there of a selection, and may be read by the watcher.

    "A resource for which an authenticated user does not have a read privilege MUST NOT be
    included"; what can't be located is waited for (§4.7).
    """
    place = Place(server, state, GlobalTree() if tree is None else tree, watcher)
    documents: dict[str, Document] = {}
    absent: dict[str, Absence] = {}
    named: set[str] = set()
    selected = [(each.selector, each.document) for each in selection.documents]
    for collection in selection.collections:
        selected += place.within(collection)
    for selector, where in selected:
        # "the notifier SHOULD NOT provide overlapping similar responses"
        key = f"{where.owner}/{where.id}"
        if key in named:
            continue
        document = place.document(where)
        if document is not None:
            named.add(key)
            documents[selector] = document
            continue
        absence = place.absence(where)
        if absence is not None:
            named.add(key)
            absent[selector] = absence
    components = {
        resource.selector: _component(resource, place.document(resource.document))
        for resource in selection.components
    }
    everything: list[Change] = [
        DocumentChange(selector, document.entity_tag)
        for selector, document in sorted(documents.items())
    ]
    room = _SHOWN
    hidden = blake2b(digest_size=8)
    for selector, component in components.items():
        if component is not None:
            everything.append(component.state(selector, room))
            if component.size > room:
                hidden.update(component.fingerprint)
            room -= min(component.size, room)
    data = XcapDiff(f"{server.root}/", tuple(everything)).to_bytes()
    if room <= 0:
        # What is left out makes the state another one as well.
        data = data.replace(_END, b"<!-- %b -->%b" % (hidden.hexdigest().encode(), _END))
    snapshot = Snapshot(MEDIA_TYPE, data)
    snapshot.documents = documents
    snapshot.absent = absent
    snapshot.components = components
    snapshot.elements = frozenset(
        [
            each.selector
            for each in selection.components
            if each.node is not None and each.node.attribute is None
        ]
    )
    return snapshot


def _component(resource: Resource, document: Document | None) -> Component | None:
    assert resource.node is not None
    if document is None:
        return None
    within = lookup(document.body)
    found = within.find(resource.node)
    return None if found is None else Component(found, within)


# What has changed


def changes_between(
    trail: Sequence[Snapshot],
    now: Snapshot,
    *,
    patching: bool,
    whole: bool,
    again: bool,
    since: float = 0.0,
) -> list[Change]:
    """What tells somebody of the state now who knows one of those in the trail.

    The trail begins with the last state that he surely knows, or not even that where ``whole``;
    with ``patching`` the changes from each state to the next are told, so that whoever knows any
    of them finds those that follow: "the notifier MUST maintain the chronological order of XCAP
    changes" (§4.7).  ``again`` says that he may have known things before that are no more, which
    went after ``since``.
    """
    changes: list[Change] = []
    if patching:
        room = _SHOWN
        for old, new in pairwise([*trail, now]):
            for selector in _different(old, new):
                before, after = old.documents.get(selector), new.documents.get(selector)
                change = _step(selector, before, after)
                room -= sum([len(each.to_xml("d")) for each in change.operations])
                changes.append(change if room >= 0 else change._replace(operations=()))
    elif trail:
        for selector in sorted({each for old in trail for each in _different(old, now)}):
            after = now.documents.get(selector)
            before = next(
                (old.documents[selector] for old in trail if selector in old.documents), None
            )
            if before is not None and after is not None and before.entity_tag == after.entity_tag:
                # He may have it already, or know nothing of it.
                before = None
            changes.append(_reference(selector, before, after))
    if whole:
        told = {each.selector for each in changes}
        changes += [
            DocumentChange(selector, document.entity_tag)
            for selector, document in sorted(now.documents.items())
            if selector not in told
        ]
        if again:
            changes += [
                DocumentChange(selector, None, absence.entity_tag)
                for selector, absence in sorted(now.absent.items())
                if selector not in told and absence.removed_at >= since
            ]
    room = _SHOWN
    for selector, component in now.components.items():
        # "Even with rapidly changing resources, the notifier MUST signal only the latest state"
        if component is None:
            if (whole and again) or any(old.components.get(selector) for old in trail):
                is_element = selector in now.elements
                changes.append(
                    ElementState(selector, exists=False)
                    if is_element
                    else AttributeState(selector, exists=False)
                )
        elif whole or any(
            _print(old.components.get(selector)) != component.fingerprint for old in trail
        ):
            changes.append(component.state(selector, room))
            room -= min(component.size, room)
    return changes


def _print(component: Component | None) -> bytes | None:
    return None if component is None else component.fingerprint


def _different(old: Snapshot, new: Snapshot) -> list[str]:
    return [
        selector
        for selector in sorted(old.documents.keys() | new.documents.keys())
        if _tag(old, selector) != _tag(new, selector)
    ]


def _tag(snapshot: Snapshot, selector: str) -> str | None:
    document = snapshot.documents.get(selector)
    return None if document is None else document.entity_tag


def _reference(selector: str, before: Document | None, after: Document | None) -> DocumentChange:
    return DocumentChange(
        selector,
        None if after is None else after.entity_tag,
        None if before is None else before.entity_tag,
    )


def _step(selector: str, before: Document | None, after: Document | None) -> DocumentChange:
    """The change from one version to another, with a patch where one can be had."""
    change = _reference(selector, before, after)
    if before is None or after is None:
        return change
    operations = _operations(before.body, after.body)
    if operations is None:
        return change
    return change._replace(operations=operations, unchanged=not operations)


@lru_cache(64)
def _operations(old: bytes, new: bytes) -> tuple[Operation, ...] | None:
    """The patch, None where there is none or where fetching the document costs less."""
    if max(len(old), len(new)) > _COMPARED:
        return None
    try:
        operations = tuple(diff(old, new))
    except DocumentError:
        return None
    # A selector can't use the prefix of the document that it stands in for anything else.
    if len(operations) > MOST_OPERATIONS or any("d" in each.namespaces for each in operations):
        return None
    size = sum([len(each.to_xml("d")) for each in operations])
    return operations if size <= len(new) else None
