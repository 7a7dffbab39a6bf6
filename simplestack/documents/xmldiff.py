"""The patch operations that turn one document into another (RFC 5261)."""

from collections.abc import Hashable, Mapping
from difflib import SequenceMatcher
from typing import NamedTuple

from simplestack.documents.xml import parse
from simplestack.documents.xmlpatch import Operation
from simplestack.documents.xmltree import (
    Comment,
    Document,
    Element,
    Instruction,
    Node,
    Parent,
    Text,
    document_of,
    qualified,
)

# What tells elements of one name apart in the documents of XCAP and presence.
_IDENTIFYING = ("id", "uri", "name", "ref", "anchor")

# Beyond this, children between the first and the last change are all written out.
_MOST_COMPARISONS = 250_000


class _Item(NamedTuple):
    """A child that is not text, with the text after it."""

    node: Node
    text: str


def diff(old: bytes, new: bytes) -> list[Operation]:
    """Give operations that make ``new``, in canonical form with comments, of ``old``.

    Selectors count elements ("*[2]"), so that they need no namespaces. The
    operations go from the end of the document to its beginning.

    :raises XMLError: if one of the two is not XML that we take.
    """
    return difference(document_of(parse(old)), document_of(parse(new)))


def difference(old: Document, new: Document) -> list[Operation]:
    """Give operations that make one tree of another, which both stay as they are."""
    operations: list[Operation] = []
    _children(old, new, "", operations)
    return operations


def _children(old: Parent, new: Parent, path: str, operations: list[Operation]) -> None:
    lead, items = _split(old)
    new_lead, new_items = _split(new)
    opcodes = _opcodes(
        [_alignment(item.node) for item in items], [_alignment(item.node) for item in new_items]
    )
    steps = _steps(lead, items, path)
    for what, start, end, new_start, new_end in reversed(opcodes):
        if what == "equal":
            for index in range(end - start - 1, -1, -1):
                here, there = items[start + index], new_items[new_start + index]
                _text(here.text, there.text, steps[start + index], operations)
                _node(here.node, there.node, steps[start + index].node, operations)
            continue
        if new_end > new_start:
            _insert(new_items[new_start:new_end], start, end, steps, path, operations, old)
        for index in range(end - 1, start - 1, -1):
            if items[index].text:
                operations.append(Operation("remove", steps[index].text))
            operations.append(Operation("remove", steps[index].node))
    if lead != new_lead:
        if not lead:
            operations.append(Operation("add", path, (Text(new_lead),), pos="prepend"))
        else:
            kept = (Text(new_lead),) if new_lead else ()
            kind = "replace" if new_lead else "remove"
            operations.append(Operation(kind, f"{path}/text()[1]", kept))


def _opcodes(old: list[Hashable], new: list[Hashable]) -> list[tuple[str, int, int, int, int]]:
    """Align two sequences as SequenceMatcher does, in bounded time."""
    shorter = min(len(old), len(new))
    head = 0
    while head < shorter and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    end, new_end = len(old) - tail, len(new) - tail
    found = [("equal", 0, head, 0, head)]
    if (end - head) * (new_end - head) > _MOST_COMPARISONS:
        found.append(("replace", head, end, head, new_end))
    else:
        matcher = SequenceMatcher(None, old[head:end], new[head:new_end], autojunk=False)
        found += [
            (what, a + head, b + head, c + head, d + head)
            for what, a, b, c, d in matcher.get_opcodes()
        ]
    found.append(("equal", end, len(old), new_end, len(new)))
    return found


class _Place(NamedTuple):
    """The selectors of a child and of the text after it, and whether there is such text."""

    node: str
    text: str
    has_text: bool


def _steps(lead: str, items: list[_Item], path: str) -> list[_Place]:
    counts = {"*": 0, "comment()": 0, "processing-instruction()": 0}
    texts = 1 if lead else 0
    places: list[_Place] = []
    start = f"{path}/" if path else ""
    for item in items:
        kind = "*"
        if isinstance(item.node, Comment):
            kind = "comment()"
        elif isinstance(item.node, Instruction):
            kind = "processing-instruction()"
        counts[kind] += 1
        texts += 1 if item.text else 0
        places.append(
            _Place(f"{start}{kind}[{counts[kind]}]", f"{start}text()[{texts}]", bool(item.text))
        )
    return places


def _split(parent: Parent) -> tuple[str, list[_Item]]:
    lead = ""
    items: list[_Item] = []
    for child in parent.children:
        if type(child) is not Text:
            items.append(_Item(child, ""))
        elif items:
            items[-1] = _Item(items[-1].node, child.value)
        else:
            lead = child.value
    return lead, items


def _alignment(node: Node) -> Hashable:
    """Give what two nodes must share to be taken for the same, changed or not."""
    if isinstance(node, Instruction):
        return ("?", node.target)
    if not isinstance(node, Element) or isinstance(node.parent, Document):
        # A document keeps its one root element, whatever becomes of it.
        return (isinstance(node, Element),)
    for name in _IDENTIFYING:
        value = node.attributes.get(("", name))
        if value is not None:
            return (node.name, name, value[1])
    return (node.name,)


def _node(old: Node, new: Node, path: str, operations: list[Operation]) -> None:
    if not isinstance(old, Element) or not isinstance(new, Element):
        if old.write() != new.write():
            operations.append(Operation("replace", path, (new.copy(),)))
        return
    if old.key() == new.key():
        return
    if (old.name, old.prefix, old.declared) != (new.name, new.prefix, new.declared):
        namespaces = _outside(old.parent, (new,)) if old.parent is not None else {}
        operations.append(Operation("replace", path, (new.copy(),), namespaces=namespaces))
        return
    _children(old, new, path, operations)
    _attributes(old, new, path, operations)


def _attributes(old: Element, new: Element, path: str, operations: list[Operation]) -> None:
    scope = old.scope()
    for name, (prefix, value) in new.attributes.items():
        namespaces = {prefix: scope[prefix]} if prefix and prefix != "xml" else {}
        written = f"@{qualified(prefix, name[1])}"
        content = (Text(value),) if value else ()
        if name not in old.attributes:
            operations.append(Operation("add", path, content, type=written, namespaces=namespaces))
        elif old.attributes[name][1] != value:
            operations.append(
                Operation("replace", f"{path}/{written}", content, namespaces=namespaces)
            )
    for name, (prefix, _) in old.attributes.items():
        if name not in new.attributes:
            namespaces = {prefix: scope[prefix]} if prefix and prefix != "xml" else {}
            selector = f"{path}/@{qualified(prefix, name[1])}"
            operations.append(Operation("remove", selector, namespaces=namespaces))


def _text(old: str, new: str, place: _Place, operations: list[Operation]) -> None:
    if old == new:
        return
    if not old:
        operations.append(Operation("add", place.node, (Text(new),), pos="after"))
    elif new:
        operations.append(Operation("replace", place.text, (Text(new),)))
    else:
        operations.append(Operation("remove", place.text))


def _insert(
    items: list[_Item],
    start: int,
    end: int,
    places: list[_Place],
    path: str,
    operations: list[Operation],
    parent: Parent,
) -> None:
    """Add nodes after the old ones from ``start`` to ``end``, which may then be removed."""
    content: list[Node] = []
    for item in items:
        content.append(item.node.copy())
        if item.text:
            content.append(Text(item.text))
    namespaces = _outside(parent, tuple(item.node for item in items))
    nodes = tuple(content)
    if end:
        last = places[end - 1]
        anchor = last.text if last.has_text else last.node
        operations.append(Operation("add", anchor, nodes, pos="after", namespaces=namespaces))
    elif isinstance(parent, Document):
        # What is to stand before everything stands before the first node.
        operations.append(
            Operation("add", places[0].node, nodes, pos="before", namespaces=namespaces)
        )
    elif _split(parent)[0]:
        operations.append(
            Operation("add", f"{path}/text()[1]", nodes, pos="after", namespaces=namespaces)
        )
    else:
        operations.append(Operation("add", path, nodes, pos="prepend", namespaces=namespaces))


def _outside(context: Parent, nodes: tuple[Node, ...]) -> Mapping[str, str]:
    """Give the declarations in force at a place that nodes there refer to."""
    scope = context.scope()
    used: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, Element):
            for below in node.walk():
                if isinstance(below, Element):
                    names = [(below.prefix, below.name[0])]
                    names += [(p, name[0]) for name, (p, _) in below.attributes.items() if p]
                    used.update({p: uri for p, uri in names if uri and scope.get(p) == uri})
    used.pop("xml", None)
    return used
