"""XML patch operations: reading and applying them (RFC 5261)."""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import attribute
from simplestack.documents.selector import Namespaced, parse_selector
from simplestack.documents.xml import local_name, parse
from simplestack.documents.xmltree import (
    Document,
    Element,
    Node,
    Parent,
    Text,
    contents_of,
    document_of,
    qualified,
)

MOST_OPERATIONS: Final = 1_000

#: A predicate that is a position.
_COUNTING: Final = re.compile(r"\[\s*\d+\s*\]")
_NOTHING: Final[Mapping[str, str]] = {}


class PatchError(DocumentError):
    """A patch that cannot be applied; ``condition`` is an error element of RFC 5261 §5.1."""

    def __init__(self, condition: str, message: str) -> None:
        super().__init__(message)
        self.condition = condition


class NotLocatedError(PatchError):
    """A selector that selects nothing."""


class Operation(NamedTuple):
    """One ``<add>``, ``<replace>`` or ``<remove>``.

    ``namespaces`` are the declarations in force in the diff document, by
    prefix, "" for the default; ``content`` is never changed.
    """

    kind: str
    selector: str
    content: tuple[Node, ...] = ()
    pos: str | None = None
    type: str | None = None
    ws: str | None = None
    namespaces: Mapping[str, str] = _NOTHING

    def to_xml(self, prefix: str = "", around: Mapping[str, str] = _NOTHING) -> str:
        """Write the operation with all declarations it needs.

        ``prefix`` is that of its own element, "" for the default; a selector
        cannot use it for another namespace. ``around`` are the declarations in
        force where the operation will stand.
        """
        name = qualified(prefix, self.kind)
        head = f'{name} sel="{attribute(self.selector)}"'
        for key, value in (("pos", self.pos), ("type", self.type), ("ws", self.ws)):
            if value is not None:
                head += f' {key}="{attribute(value)}"'
        # What the element around them must not declare anew, the contents do.
        namespaces = {"": "", **self.namespaces}
        own = {prefix: namespaces.pop(prefix)} if prefix in namespaces else {}
        own = {key: uri for key, uri in own.items() if around.get(key) != uri}
        if not any(isinstance(node, Element) for node in self.content):
            namespaces = {key: uri for key, uri in namespaces.items() if key}
        for declared, uri in namespaces.items():
            if around.get(declared) == uri:
                continue
            head += f' xmlns{":" if declared else ""}{declared}="{attribute(uri)}"'
        inner = "".join([_declaring(node, own).write() for node in self.content])
        return f"<{head}>{inner}</{name}>" if inner else f"<{head}/>"


def _declaring(node: Node, namespaces: Mapping[str, str]) -> Node:
    if not isinstance(node, Element) or namespaces.keys() <= node.declared.keys():
        return node
    made = node.copy()
    made.declared = {**namespaces, **node.declared}
    return made


_KINDS: Final = frozenset({"add", "replace", "remove"})


def read_operations(parent: etree._Element) -> list[Operation]:
    """Read the operations among the children of an element, in their order.

    :raises PatchError: if one has no selector or an attribute value unknown, or
        there are more than :data:`MOST_OPERATIONS`.
    """
    found: list[Operation] = []
    for node in parent.iterchildren("*"):
        kind = local_name(node)
        if kind not in _KINDS:
            continue
        if len(found) == MOST_OPERATIONS:
            raise PatchError("invalid-diff-format", f"more than {MOST_OPERATIONS} operations")
        selector = node.get("sel")
        pos, ws = node.get("pos"), node.get("ws")
        if not selector:
            raise PatchError("invalid-diff-format", f'<{kind}> has no "sel"')
        if pos not in (None, "before", "after", "prepend"):
            raise PatchError("invalid-attribute-value", f'"pos" cannot be "{pos}"')
        if ws not in (None, "before", "after", "both"):
            raise PatchError("invalid-attribute-value", f'"ws" cannot be "{ws}"')
        namespaces = {prefix or "": uri for prefix, uri in node.nsmap.items()}
        found.append(
            Operation(
                kind,
                selector.strip(),
                tuple(contents_of(node)),
                pos,
                node.get("type"),
                ws,
                namespaces,
            )
        )
    return found


def apply(target: bytes, operations: Iterable[Operation]) -> bytes:
    """Apply operations in order, each to what the one before left (RFC 5261 §4).

    :raises XMLError: if the target is not XML that we take.
    :raises PatchError: if an operation cannot be applied; then none is.
    """
    document = document_of(parse(target))
    for operation in operations:
        apply_to(document, operation)
    return document.to_bytes()


def apply_partly(target: bytes, operations: Iterable[Operation]) -> bytes:
    """Apply operations to a document of which parts were left out: what is done to them is not.

    :raises XMLError: if the target is not XML that we take.
    :raises PatchError: if an operation cannot be applied to what is there, and if the parts that
        are missing make it unclear where: a selector counts, or something is put beside them.
    """
    document = document_of(parse(target))
    for operation in operations:
        if _COUNTING.search(operation.selector):
            raise PatchError(
                "unlocated-node", f'"{operation.selector}" counts, and not all is here'
            )
        try:
            apply_to(document, operation)
        except NotLocatedError:
            if operation.pos in ("before", "after"):
                raise
    return document.to_bytes()


def apply_to(document: Document, operation: Operation) -> None:
    """Apply one operation to a tree in place.

    :raises PatchError: if it cannot be applied.
    """
    located = _locate(document, operation)
    if operation.kind == "add":
        _add(document, located, operation)
    elif operation.kind == "replace":
        _replace(document, located, operation)
    else:
        _remove(document, located, operation)


def _locate(document: Document, operation: Operation) -> "Node | Namespaced":
    try:
        selector = parse_selector(operation.selector, operation.namespaces)
    except DocumentError as error:
        raise PatchError("invalid-attribute-value", error.message) from None
    found = selector.locate(document)
    if not found:
        raise NotLocatedError("unlocated-node", f'"{selector.text}" selects no node')
    if len(found) > 1:
        raise PatchError("unlocated-node", f'"{selector.text}" selects more than one node')
    return found[0]


def _add(document: Document, located: "Node | Namespaced", operation: Operation) -> None:
    if operation.type is not None:
        _add_named(located, operation)
        return
    if isinstance(located, Namespaced):
        raise PatchError("invalid-node-types", "nothing can be added to an attribute")
    if operation.pos in ("before", "after"):
        parent = _parent(located)
        position = parent.children.index(located) + (operation.pos == "after")
    elif isinstance(located, Element):
        parent = located
        position = 0 if operation.pos == "prepend" else len(located.children)
    else:
        raise PatchError("invalid-patch-directive", "only an element can be given children")
    nodes = [_imported(node, parent, operation) for node in operation.content]
    if parent is document:
        nodes = [node for node in nodes if not _is_space(node)]
        if any(isinstance(node, Element) or type(node) is Text for node in nodes):
            raise PatchError("invalid-root-element-operation", "a document has one root element")
    parent.insert(position, nodes)


def _add_named(located: "Node | Namespaced", operation: Operation) -> None:
    """Add an attribute or a namespace declaration (RFC 5261 §4.3.2, §4.3.3)."""
    if not isinstance(located, Element):
        raise PatchError("invalid-node-types", "only an element has attributes")
    value = _only_text(operation)
    wanted = operation.type or ""
    if wanted.startswith("namespace::"):
        prefix = wanted[len("namespace::") :]
        if not prefix or prefix in located.declared or not value:
            raise PatchError("invalid-namespace-prefix", f'prefix "{prefix}" cannot be added')
        located.declared[prefix] = value
        return
    if not wanted.startswith("@"):
        raise PatchError("invalid-attribute-value", f'"type" cannot be "{wanted}"')
    prefix, _, local = wanted[1:].rpartition(":")
    namespace = ""
    if prefix:
        namespace = _namespace(prefix, operation.namespaces)
        prefix = _attribute_prefix(located, prefix, namespace)
    if (namespace, local) in located.attributes:
        raise PatchError("invalid-patch-directive", f'there is an attribute "{local}" already')
    located.attributes[namespace, local] = (prefix, value)


def _replace(document: Document, located: "Node | Namespaced", operation: Operation) -> None:
    if isinstance(located, Namespaced):
        value = _only_text(operation)
        owner = located.owner
        if located.prefix is None:
            prefix, _ = owner.attributes[located.name]
            owner.attributes[located.name] = (prefix, value)
        else:
            _rename(owner, located.prefix, owner.declared[located.prefix], value)
            owner.declared[located.prefix] = value
        return
    parent = _parent(located)
    if type(located) is Text:
        located.value = _only_text(operation)
        parent.join()
        return
    content = [node for node in operation.content if not _is_space(node)]
    if len(content) != 1 or type(content[0]) is not type(located):
        raise PatchError("invalid-node-types", "a node is replaced by one node of its type")
    position = parent.children.index(located)
    made = _imported(content[0], parent, operation)
    made.parent = parent
    parent.children[position] = made


def _remove(document: Document, located: "Node | Namespaced", operation: Operation) -> None:
    if isinstance(located, Namespaced):
        _remove_named(located)
        return
    parent = _parent(located)
    if parent is document and isinstance(located, Element):
        raise PatchError("invalid-root-element-operation", "a document has one root element")
    around: list[Node] = []
    if operation.ws is not None:
        if type(located) is Text:
            raise PatchError("invalid-whitespace-directive", "text has no white space around it")
        position = parent.children.index(located)
        if operation.ws != "after":
            around.append(_space_at(parent, position - 1))
        if operation.ws != "before":
            around.append(_space_at(parent, position + 1))
    for node in around:
        parent.children.remove(node)
    parent.remove(located)


def _remove_named(located: Namespaced) -> None:
    owner = located.owner
    if located.prefix is None:
        del owner.attributes[located.name]
        return
    uri = owner.declared[located.prefix]
    for node in owner.walk():
        if isinstance(node, Element) and (
            (node.name[0] == uri and node.prefix == located.prefix)
            or any(prefix == located.prefix for prefix, _ in node.attributes.values())
        ):
            raise PatchError("invalid-namespace-prefix", f'prefix "{located.prefix}" is in use')
    del owner.declared[located.prefix]


def _space_at(parent: Parent, position: int) -> Node:
    if 0 <= position < len(parent.children) and _is_space(parent.children[position]):
        return parent.children[position]
    raise PatchError("invalid-whitespace-directive", "there is no white space to remove")


def _is_space(node: Node) -> bool:
    return type(node) is Text and node.value.isspace()


def _parent(node: Node) -> Parent:
    if node.parent is None:
        raise PatchError("invalid-xml-prolog-operation", "the node is not in the document")
    return node.parent


def _only_text(operation: Operation) -> str:
    if any(type(node) is not Text for node in operation.content):
        raise PatchError("invalid-node-types", "the new value must be text")
    return "".join([node.value for node in operation.content if isinstance(node, Text)])


def _namespace(prefix: str, namespaces: Mapping[str, str]) -> str:
    if prefix == "xml":
        return ns.XML
    if prefix not in namespaces:
        raise PatchError("invalid-namespace-prefix", f'prefix "{prefix}" is not declared')
    return namespaces[prefix]


def _rename(element: Element, prefix: str, old: str, new: str) -> None:
    """Move all names that a declaration governs into its new namespace (erratum 3478)."""
    if element.prefix == prefix and element.name[0] == old:
        element.name = (new, element.name[1])
    element.attributes = {
        (new if used == prefix and name[0] == old else name[0], name[1]): (used, value)
        for name, (used, value) in element.attributes.items()
    }
    for child in element.children:
        if isinstance(child, Element) and prefix not in child.declared:
            _rename(child, prefix, old, new)


def _imported(node: Node, context: Parent, operation: Operation) -> Node:
    """Copy a node of the diff document for a place in the target (RFC 5261 §4.2.3)."""
    made = node.copy()
    if isinstance(made, Element):
        _mangle(made, context.scope(), context)
    return made


def _mangle(element: Element, scope: dict[str, str], context: Parent) -> None:
    """Refer to the declarations in force at the target, and declare what is not."""
    scope = {**scope, **element.declared}
    namespace = element.name[0]
    if not namespace:
        if scope.get(""):
            element.declared[""] = scope[""] = ""
    elif scope.get(element.prefix) != namespace:
        chosen = _choose(element.prefix, namespace, scope, context)
        if chosen is None:
            element.declared[element.prefix] = scope[element.prefix] = namespace
        else:
            element.prefix = chosen
    for name, (prefix, value) in list(element.attributes.items()):
        if name[0] and prefix != "xml" and scope.get(prefix) != name[0]:
            named = {p: uri for p, uri in scope.items() if p}
            chosen = _choose(prefix, name[0], named, context)
            if chosen is None:
                element.declared[prefix] = scope[prefix] = name[0]
            else:
                element.attributes[name] = (chosen, value)
    for child in element.children:
        if isinstance(child, Element):
            _mangle(child, scope, context)


def _attribute_prefix(element: Element, prefix: str, namespace: str) -> str:
    if prefix == "xml":
        return prefix
    scope = {p: uri for p, uri in element.scope().items() if p}
    chosen = _choose(prefix, namespace, scope, element)
    if chosen is None:
        while prefix in scope:
            prefix += "_"
        element.declared[prefix] = namespace
        return prefix
    return chosen


def _choose(prefix: str, namespace: str, scope: dict[str, str], context: Parent) -> str | None:
    """Choose among the prefixes of a namespace as the three rules of RFC 5261 §4.2.3 say."""
    candidates = sorted(p for p, uri in scope.items() if uri == namespace)
    if not candidates:
        return None
    if prefix in candidates:
        return prefix
    if (
        isinstance(context, Element)
        and context.name[0] == namespace
        and context.prefix in candidates
    ):
        return context.prefix
    # "The prefix from the list is then chosen that appears as the closest
    # and just before the compared prefix if it were inserted into the list."
    before = [candidate for candidate in candidates if candidate < prefix]
    return before[-1] if before else candidates[0]
