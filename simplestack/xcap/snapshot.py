"""What is there of a selection, and what of it has changed (RFC 5874, RFC 5875 §4.7)."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote

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
from simplestack.state import Document, ResourceState
from simplestack.xcap import edit
from simplestack.xcap.selection import Collection, Resource, Selection
from simplestack.xcap.selectors import DocumentSelector
from simplestack.xcap.server import XCAPServer

__all__ = ["Snapshot", "changes_between", "take"]

#: Documents up to this size are compared; of larger ones clients fetch the new version.
_COMPARED: Final = 16_384
#: What contents of elements and patches may have in one notification; more is left out.
_SHOWN: Final = 32_768
_SAFE: Final = "/:@!$&'()*+,;=~"

Change: TypeAlias = DocumentChange | ElementState | AttributeState


class Component(NamedTuple):
    """An element as it stands in its document, or the value of an attribute."""

    content: str
    is_element: bool
    #: The namespaces in scope around an element, by prefix.
    scope: tuple[tuple[str, str], ...] = ()

    def state(self, selector: str) -> ElementState | AttributeState:
        """What tells a subscriber of it."""
        if self.is_element:
            return ElementState(selector, source=self.content, scope=self.scope)
        return AttributeState(selector, self.content)


class Snapshot(Body):
    """A body with references to all that there is, which knows what it refers to."""

    #: By selector.
    documents: Mapping[str, Document]
    #: By selector; None where nothing is there.
    components: Mapping[str, Component | None]
    #: The components that would be elements.
    elements: frozenset[str]


def take(selection: Selection, server: XCAPServer, state: ResourceState, watcher: str) -> Snapshot:
    """What is there of a selection, and may be read by the watcher.

    "A resource for which an authenticated user does not have a read privilege MUST NOT be
    included"; what can't be located is waited for (§4.7).
    """
    documents: dict[str, Document] = {}
    named: set[str] = set()
    for resource in selection.documents:
        document = _document(resource.document, server, state, watcher)
        # "the notifier SHOULD NOT provide overlapping similar responses"
        key = f"{resource.document.owner}/{resource.document.id}"
        if document is not None and key not in named:
            named.add(key)
            documents[resource.selector] = document
    for collection in selection.collections:
        for selector, place, document in _within(collection, server, state, watcher):
            key = f"{place.owner}/{place.id}"
            if key not in named:
                named.add(key)
                documents[selector] = document
    components = {
        resource.selector: _component(
            resource, _document(resource.document, server, state, watcher)
        )
        for resource in selection.components
    }
    everything: list[Change] = [
        DocumentChange(selector, document.entity_tag)
        for selector, document in sorted(documents.items())
    ]
    room = _SHOWN
    for selector, component in components.items():
        if component is not None:
            room -= len(component.content)
            everything.append(_shown(component, room).state(selector))
    snapshot = Snapshot(MEDIA_TYPE, XcapDiff(f"{server.root}/", tuple(everything)).to_bytes())
    snapshot.documents = documents
    snapshot.components = components
    snapshot.elements = frozenset(
        [
            each.selector
            for each in selection.components
            if each.node is not None and each.node.attribute is None
        ]
    )
    return snapshot


def _shown(component: Component, room: int) -> Component:
    """A component, without its content where that would be too much (RFC 5875 §4.7)."""
    if room >= 0 or not component.is_element:
        return component
    return component._replace(content="")


def _document(
    place: DocumentSelector, server: XCAPServer, state: ResourceState, watcher: str
) -> Document | None:
    if place.owner not in ("", state.aor) or not server.readable(place, watcher):
        return None
    if not place.owner:
        # Of the global tree that which is computed of nothing: what is stored there, or made of
        # all users' documents, hangs on another AOR.
        return server.computed(place, ResourceState(place.aor))
    return state.documents.get(place.id) or server.computed(place, state)


def _within(
    collection: Collection, server: XCAPServer, state: ResourceState, watcher: str
) -> Iterator[tuple[str, DocumentSelector, Document]]:
    """The stored documents in a collection, with their selectors."""
    if collection.tree == "global" or collection.owner not in ("", state.aor):
        return
    for document in state.documents.values():
        place = DocumentSelector(document.auid, state.aor, document.path)
        if collection.auid in ("", document.auid) and server.readable(place, watcher):
            start = collection.selector
            if not collection.auid:
                start += quote(document.auid, _SAFE) + "/"
            if not collection.tree:
                start += "users/"
            if not collection.owner:
                start += quote(state.aor, _SAFE) + "/"
            yield start + quote(document.path, _SAFE), place, document


def _component(resource: Resource, document: Document | None) -> Component | None:
    assert resource.node is not None
    found = None if document is None else edit.find(document.body, resource.node)
    if found is None:
        return None
    if resource.node.attribute is not None:
        return None if found.attribute is None else Component(found.attribute.value, False)
    parent = found.element.parent
    scope = {} if parent is None else parent.scope()
    return Component(found.element.octets.decode(), True, tuple(sorted(scope.items())))


# What has changed


def changes_between(
    trail: Sequence[Snapshot], now: Snapshot, *, patching: bool, whole: bool, again: bool
) -> list[Change]:
    """What tells somebody of the state now who knows one of those in the trail.

    The trail begins with the last state that he surely knows, or not even that where ``whole``;
    with ``patching`` the changes from each state to the next are told, so that whoever knows any
    of them finds those that follow: "the notifier MUST maintain the chronological order of XCAP
    changes" (§4.7).  ``again`` says that he may have known things before that are no more.
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
        elif whole or any(old.components.get(selector) != component for old in trail):
            room -= len(component.content)
            changes.append(_shown(component, room).state(selector))
    return changes


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
