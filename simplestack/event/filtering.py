"""Watcher filters: what of the state a subscriber wants, and when (RFC 4660, RFC 4661).

A filter is applied to the document that the subscriber may see, and takes away from it; so
whatever it says it shows nothing that privacy hides.
"""

from copy import deepcopy
from functools import lru_cache
from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents.commonpolicy import domain_key, domain_of, identity_key
from simplestack.documents.errors import DocumentError
from simplestack.documents.filters import (
    MEDIA_TYPE,
    Changed,
    Expression,
    Filter,
    FilterSet,
    Trigger,
    What,
    merge,
    parse_filter_set,
)
from simplestack.documents.pidf import MEDIA_TYPE as PIDF_TYPE
from simplestack.documents.pidf import parse_presence
from simplestack.documents.xml import parse_content, serialize
from simplestack.event.entity import entity_tag
from simplestack.event.filterable import Filterable, filterable, standing_part
from simplestack.event.partial import versioned
from simplestack.interfaces import Body
from simplestack.sip.errors import SIPError
from simplestack.state import Subscription

__all__ = [
    "ALL",
    "MEDIA_TYPE",
    "Filtering",
    "filtered",
    "filtered_tags",
    "filtering_in",
    "filtering_of",
    "is_empty",
    "merged",
    "triggered",
]

#: By these attributes two documents have the same element; else by its place among its like.
_IDENTIFYING: Final = ("id", "uri", "name")


#: A content that leaves everything.
ALL: Final = What()


class Filtering(NamedTuple):
    """The filter that counts for one resource; equal ones share a view."""

    what: What | None = None
    triggers: tuple[Trigger, ...] = ()


# The body of a SUBSCRIBE.


def merged(kept: bytes, body: bytes, aor: str, package: str) -> bytes:
    """The filters of a subscription after a SUBSCRIBE with ``body``; b"" for none.

    ``kept`` are those that it has.  Filters are added, replaced, switched and removed by their
    ids (RFC 4660 §3.3.3).

    :raises SIPError: 488 where a filter is not understood or can't be (RFC 4660 §5.4).
    """
    try:
        update = parse_filter_set(body)
        if update.package not in (None, package):
            raise SIPError(488, text=f"a filter for {update.package[:40]}, not {package}")
        filters = merge(_read(kept) if kept else (), update)
    except DocumentError as error:
        raise SIPError(488, text=str(error)[:200]) from None
    # A list is named as any other resource is.
    uri = f"sip:{aor[5:]}" if aor.startswith("list:") else aor
    here = [each for each in filters if each.domain is None]
    if len([each for each in here if each.uri is None or _names(each.uri, uri)]) > 1:
        # "there can only be one filter applicable to a single resource" (RFC 4660 §3.3.1)
        raise SIPError(488, text=f"two filters are for {uri}")
    if not filters:
        return b""
    whole = FilterSet(filters).to_bytes()
    try:
        _read(whole)
    except DocumentError as error:
        raise SIPError(488, text=str(error)[:200]) from None
    return whole


@lru_cache(256)
def _read(body: bytes) -> tuple[Filter, ...]:
    return parse_filter_set(body).filters


def filtering_of(subscription: Subscription) -> Filtering | None:
    """The filter of a subscription, if it has one that counts."""
    if not subscription.body or subscription.content_type != MEDIA_TYPE:
        return None
    return filtering_in(subscription.body, subscription.aor)


@lru_cache(4096)
def filtering_in(body: bytes, aor: str, list_uri: str = "") -> Filtering | None:
    """The filter that counts for an AOR, of those of a subscription to it or to a list.

    "If an individual resource-specific filter is present along with the domain filter, this
    resource-specific filter overrides any domain-specific filter" (RFC 4660 §3.3.2); both override
    one for the whole list.  Those for other resources and domains, and disabled ones, are ignored
    (§5.2.1, §5.3).
    """
    try:
        filters = _read(body)
    except DocumentError:
        return None
    found: tuple[int, Filtering] | None = None
    for each in filters:
        what = each.what
        if what is not None and not (what.include or what.exclude):
            # "If a <what> or <trigger> element is empty, the notifier proceeds as if the
            # element did not exist." (RFC 4660 §5.4)
            what = None
        if not each.enabled or (what is None and not each.triggers):
            continue
        if each.domain is not None:
            rank = 1 if domain_key(each.domain) == domain_of(aor) else None
        elif each.uri is not None and _names(each.uri, aor):
            rank = 0
        elif each.uri is None or (list_uri and _names(each.uri, list_uri)):
            rank = 2 if list_uri else 0
        else:
            rank = None
        if rank is not None and (found is None or rank < found[0]):
            found = rank, Filtering(what, each.triggers)
    return None if found is None else found[1]


def _names(uri: str, aor: str) -> bool:
    scheme, _, rest = uri.partition(":")
    # A presentity is named by a pres URI or by its address-of-record (RFC 3856 §5).
    uri = f"sip:{rest}" if scheme.lower() in ("pres", "sips") else uri
    return identity_key(uri) == identity_key(aor)


# Content.


@lru_cache(64)
def filtered(body: Body, what: What) -> Body:
    """The part of a document that is wanted (RFC 4660 §5.3.1)."""
    if not (what.include or what.exclude):
        return body
    try:
        root = parse_content(body.render(0))
        kind = filterable(root)
        valid = kind.is_valid(root)
        if what.include:
            root = _included(root, kind, what.include, valid)
        for expression in what.exclude:
            # "if the step in applying the <exclude> element value to an XML document results in
            # an invalid document according to the schema, that step MUST be reversed"
            # (RFC 4661 §3.5.2)
            before = deepcopy(root)
            if not _exclude(root, kind, expression) or (valid and not kind.is_valid(root)):
                root = before
        if body.content_type == PIDF_TYPE:
            return body._replace(data=parse_presence(serialize(root)).to_bytes())
        if body.tail is None:
            return body._replace(data=serialize(root))
        return versioned(body.content_type, serialize(root))
    except (DocumentError, etree.XPathError):
        # "In case of an erroneous expression … the notifier either ignores the filter
        # definition or terminates the subscription" (RFC 4660 §5.4): it is what he may see.
        return body


def is_empty(body: Body) -> bool:
    """Whether nothing of a document is left: "the NOTIFY MUST be sent with empty contents"
    (RFC 4660 §5.3.1), if it is the first.
    """
    if body.tail is not None:
        # It begins after the version, which is on the root.
        return b"<" not in body.tail
    return body.data.endswith(b'"></presence>')


def filtered_tags(body: Body) -> tuple[str, str]:
    """The entity-tag of a filtered document, and that of what of it goes on.

    The second is without those watchers and contacts that have ended, which are told once.
    """
    if body.tail is None:
        tag = entity_tag(body.content_type, body.data)
        return tag, tag
    root = parse_content(body.render(0))
    tags = [entity_tag(body.content_type, standing_part(root, ended)) for ended in (True, False)]
    return tags[0], tags[1]


def _included(
    root: etree._Element, kind: Filterable, include: tuple[Expression, ...], valid: bool
) -> etree._Element:
    """What is selected, with all around it that makes the document valid."""
    made = deepcopy(root)
    wanted = _Wanted(made, kind, include)
    wanted.prune(made)
    if valid and not kind.is_valid(made):
        # "the notifier MUST add elements and attributes, along with their values, from the
        # original XML document into the newly formulated one in order for it to be valid."
        made = deepcopy(root)
        wanted = _Wanted(made, kind, include)
        for child in list(made):
            if child not in wanted.around and child not in wanted.whole | wanted.bare:
                made.remove(child)
    return made


class _Wanted:
    """What the expressions select in a tree: elements, and the attributes of some."""

    def __init__(
        self, root: etree._Element, kind: Filterable, include: tuple[Expression, ...]
    ) -> None:
        self.kind = kind
        #: Elements with all that is in them.
        self.whole: set[etree._Element] = set()
        #: Elements with their attributes and text, but not with other elements.
        self.bare: set[etree._Element] = set()
        #: Elements that contain something selected.
        self.around: set[etree._Element] = {root}
        self.attributes: dict[etree._Element, set[str]] = {}
        for expression in include:
            for found in expression.select(root):
                if isinstance(found, etree._Element):
                    (self.bare if expression.is_namespace else self.whole).add(found)
                    node = found.getparent()
                else:
                    node, name = _attribute(found)
                    if node is not None:
                        self.attributes.setdefault(node, set()).add(name)
                while node is not None and node not in self.around:
                    self.around.add(node)
                    node = node.getparent()

    def prune(self, node: etree._Element) -> None:
        """Take away what is not selected, and not needed for what is."""
        if node in self.whole:
            return
        if node not in self.bare:
            needed = self.kind.attributes.get(node.tag, frozenset()) | self.attributes.get(
                node, set()
            )
            if (
                node.tag in self.kind.attributes
                or node in self.attributes
                or node.tag.startswith(self.kind.namespace)
            ):
                for name in [name for name in node.attrib if name not in needed]:
                    del node.attrib[name]
            if len(node):
                node.text = None
        children = self.kind.children.get(node.tag, frozenset())
        for child in list(node):
            if child in self.whole or child in self.bare or child in self.around:
                self.prune(child)
            elif child.tag in children:
                self._reduce(child)
            else:
                node.remove(child)

    def _reduce(self, node: etree._Element) -> None:
        """Keep of an element that must be there what it must contain."""
        children = self.kind.children.get(node.tag)
        if children is not None:
            for child in list(node):
                if child.tag not in children:
                    node.remove(child)


def _exclude(root: etree._Element, kind: Filterable, expression: Expression) -> bool:
    """Take away what an expression selects; False where it must not be taken away."""
    for found in expression.select(root):
        if isinstance(found, etree._Element):
            parent = found.getparent()
            if parent is None or found.tag in kind.children.get(parent.tag, ()):
                return False
            parent.remove(found)
        else:
            node, name = _attribute(found)
            if node is not None:
                if name in kind.attributes.get(node.tag, ()):
                    return False
                if name in node.attrib:
                    del node.attrib[name]
    return True


def _attribute(found: str) -> tuple[etree._Element | None, str]:
    """The element and the name of an attribute that was selected."""
    parent = getattr(found, "getparent", lambda: None)()
    name = getattr(found, "attrname", None)
    return (parent, str(name)) if isinstance(parent, etree._Element) and name else (None, "")


# Triggers.


@lru_cache(64)
def triggered(before: bytes, after: bytes, triggers: tuple[Trigger, ...]) -> bool:
    """Whether one of the triggers has happened between two documents that a watcher may see.

    The first is "the raw version of the most recent XML document that was sent to the
    subscriber, before the filters were applied to it" (RFC 4661 §3.6.1).
    """
    try:
        old, new = parse_content(before), parse_content(after)
        return any(_happened(trigger, old, new) for trigger in triggers)
    except (DocumentError, etree.XPathError):
        return True


def _happened(trigger: Trigger, old: etree._Element, new: etree._Element) -> bool:
    """All that a trigger asks for (RFC 4661 §3.6)."""
    return (
        all(_has_changed(each, old, new) for each in trigger.changed)
        and all(_values(each, new).keys() - _values(each, old).keys() for each in trigger.added)
        and all(_values(each, old).keys() - _values(each, new).keys() for each in trigger.removed)
    )


def _has_changed(changed: Changed, old: etree._Element, new: etree._Element) -> bool:
    before = _values(changed.expression, old)
    return any(
        key in before and before[key] != value and _is_so(changed, before[key], value)
        for key, value in _values(changed.expression, new).items()
    )


def _is_so(changed: Changed, before: str, after: str) -> bool:
    if changed.from_ is not None and not _equal(changed.from_, before):
        return False
    if changed.to is not None and not _equal(changed.to, after):
        return False
    if changed.by is not None:
        try:
            return abs(float(after) - float(before)) >= abs(changed.by)
        except ValueError:
            return False
    return True


def _equal(wanted: str, value: str) -> bool:
    # The example of RFC 4661 §6.2 writes OPEN for the value "open".
    wanted, value = wanted.strip().casefold(), value.casefold()
    if wanted == value:
        return True
    try:
        return float(wanted) == float(value)
    except ValueError:
        return False


def _values(expression: Expression, root: etree._Element) -> dict[object, str]:
    """What an expression selects: the same things in two documents have the same key."""
    values: dict[object, str] = {}
    for found in expression.select(root):
        if isinstance(found, etree._Element):
            if len(found):
                value = etree.tostring(found, method="c14n", with_tail=False).decode()
            else:
                value = (found.text or "").strip()
            values[_key(found)] = value
        else:
            node, name = _attribute(found)
            if node is not None:
                values[_key(node), name] = str(found).strip()
    return values


def _key(node: etree._Element) -> tuple[object, ...]:
    """The way to an element from the root."""
    key: list[object] = []
    here: etree._Element | None = node
    while here is not None:
        identity: object = next(
            ((name, here.get(name)) for name in _IDENTIFYING if here.get(name) is not None), None
        )
        if identity is None:
            identity = sum(1 for _ in here.itersiblings(here.tag, preceding=True))
        key.append((here.tag, identity))
        here = here.getparent()
    return tuple(key)
