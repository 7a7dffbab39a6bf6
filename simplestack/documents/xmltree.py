"""A tree in which namespace declarations, prefixes and text nodes are things of their own.

RFC 5261 patches all of those, and the canonical form (with comments) decides
whether two documents are equal; so they have to be kept as they were written.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.markup import DECLARATION, attribute, text

Name = tuple[str, str]  # namespace ("" for none) and local name


class Text:
    """A text node; never empty, and never beside another one."""

    __slots__ = ("parent", "value")

    def __init__(self, value: str) -> None:
        self.value = value
        self.parent: Parent | None = None

    def copy(self) -> "Text":
        """Give the same node without a parent."""
        return Text(self.value)

    def write(self) -> str:
        """Write the node."""
        return text(self.value)


class Comment(Text):
    """A comment."""

    __slots__ = ()

    def copy(self) -> "Comment":
        """Give the same node without a parent."""
        return Comment(self.value)

    def write(self) -> str:
        """Write the node."""
        return f"<!--{self.value}-->"


class Instruction(Text):
    """A processing instruction."""

    __slots__ = ("target",)

    def __init__(self, target: str, value: str) -> None:
        super().__init__(value)
        self.target = target

    def copy(self) -> "Instruction":
        """Give the same node without a parent."""
        return Instruction(self.target, self.value)

    def write(self) -> str:
        """Write the node."""
        return f"<?{self.target} {self.value}?>" if self.value else f"<?{self.target}?>"


class Parent:
    """What has children: the document, or an element."""

    __slots__ = ("children", "parent")

    def __init__(self) -> None:
        self.children: list[Node] = []
        self.parent: Parent | None = None

    def insert(self, position: int, nodes: "list[Node]") -> None:
        """Put nodes among the children; text that comes to stand by text is joined."""
        for node in nodes:
            node.parent = self
        self.children[position:position] = nodes
        self.join()

    def remove(self, node: "Node") -> None:
        """Take a child away; text around it is joined."""
        self.children.remove(node)
        node.parent = None
        self.join()

    def join(self) -> None:
        """Join neighbouring text nodes and drop empty ones."""
        joined: list[Node] = []
        for child in self.children:
            if type(child) is Text:
                if not child.value:
                    continue
                last = joined[-1] if joined else None
                if type(last) is Text:
                    last.value += child.value
                    continue
            joined.append(child)
        self.children = joined

    def scope(self) -> dict[str, str]:
        """Give the namespace declarations in force here, by prefix."""
        return {"xml": ns.XML}


class Element(Parent):
    """An element: ``declared`` holds its own declarations, by prefix, "" for the default.

    ``attributes`` maps a name to the prefix and the value.
    """

    __slots__ = ("attributes", "declared", "name", "prefix")

    def __init__(self, name: Name, prefix: str = "") -> None:
        super().__init__()
        self.name = name
        self.prefix = prefix
        self.declared: dict[str, str] = {}
        self.attributes: dict[Name, tuple[str, str]] = {}

    def scope(self) -> dict[str, str]:
        """Give the namespace declarations in force here, by prefix."""
        chain: list[Element] = []
        node: Parent | None = self
        while isinstance(node, Element):
            chain.append(node)
            node = node.parent
        found = {"xml": ns.XML}
        for element in reversed(chain):
            found.update(element.declared)
        return {prefix: uri for prefix, uri in found.items() if uri}

    def string(self) -> str:
        """Give the string-value of XPath 1.0 §5.2: all text below."""
        return "".join(node.value for node in self.walk() if type(node) is Text)

    def walk(self) -> "Iterator[Node]":
        """Give this element and all below it, in document order."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()
            else:
                yield child

    def copy(self) -> "Element":
        """Give the same subtree without a parent."""
        made = Element(self.name, self.prefix)
        made.declared = dict(self.declared)
        made.attributes = dict(self.attributes)
        made.insert(0, [child.copy() for child in self.children])
        return made

    def write(self) -> str:
        """Write the element with its own declarations only."""
        tag = qualified(self.prefix, self.name[1])
        head = tag
        for prefix, uri in self.declared.items():
            head += f' xmlns{":" if prefix else ""}{prefix}="{attribute(uri)}"'
        for (_, local), (prefix, value) in self.attributes.items():
            head += f' {qualified(prefix, local)}="{attribute(value)}"'
        if not self.children:
            return f"<{head}/>"
        return f"<{head}>{''.join([child.write() for child in self.children])}</{tag}>"

    def key(self) -> object:
        """Give a value that is equal for subtrees that are written the same."""
        return (
            self.name,
            self.prefix,
            tuple(sorted(self.declared.items())),
            tuple(sorted(self.attributes.items())),
            tuple(
                child.key() if isinstance(child, Element) else (type(child), child.write())
                for child in self.children
            ),
        )


Node = Element | Text


class Document(Parent):
    """A whole document: its root element, and comments and instructions around it."""

    __slots__ = ()

    @property
    def root(self) -> Element:
        """The root element."""
        for child in self.children:
            if isinstance(child, Element):
                return child
        raise LookupError("a document has a root element")

    def to_bytes(self) -> bytes:
        """Write the document, one line for each node around the root."""
        return (DECLARATION + "\n".join([child.write() for child in self.children])).encode()


_NO_NAMESPACES: Final[dict[str | None, str]] = {}


def document_of(root: etree._Element) -> Document:
    """Take over a tree that :func:`simplestack.documents.xml.parse` gave."""
    made = Document()
    before: list[Node] = [_misc(node) for node in root.itersiblings(preceding=True)]
    after: list[Node] = [_misc(node) for node in root.itersiblings()]
    made.insert(0, [*reversed(before), element_of(root, _NO_NAMESPACES), *after])
    return made


def contents_of(node: etree._Element) -> list[Node]:
    """Take over what an element contains."""
    return _children(node, node.nsmap)


def element_of(node: etree._Element, around: Mapping[str | None, str]) -> Element:
    """Take over an element that stands where ``around`` is declared."""
    namespace, _, local = node.tag[1:].partition("}") if node.tag[0] == "{" else ("", "", node.tag)
    made = Element((namespace, local), node.prefix or "")
    scope = node.nsmap
    made.declared = {
        prefix or "": uri for prefix, uri in scope.items() if around.get(prefix) != uri
    }
    if not namespace and not node.prefix and None in around:
        made.declared[""] = ""
        scope = {prefix: uri for prefix, uri in scope.items() if prefix is not None}
    for key, value in node.items():
        name, prefix = _attribute(str(key), scope)
        made.attributes[name] = (prefix, str(value))
    made.insert(0, _children(node, scope))
    return made


def qualified(prefix: str, local: str) -> str:
    """Give a name as it is written."""
    return f"{prefix}:{local}" if prefix else local


def _children(node: etree._Element, scope: Mapping[str | None, str]) -> list[Node]:
    found: list[Node] = [Text(node.text)] if node.text else []
    for child in node:
        other = isinstance(child, (etree._Comment, etree._ProcessingInstruction))
        found.append(_misc(child) if other else element_of(child, scope))
        if child.tail:
            found.append(Text(child.tail))
    return found


def _misc(node: etree._Element) -> Text:
    if isinstance(node, etree._ProcessingInstruction):
        return Instruction(str(node.target), node.text or "")
    return Comment(node.text or "")


def _attribute(key: str, scope: Mapping[str | None, str]) -> tuple[Name, str]:
    if key[0] != "{":
        return ("", key), ""
    namespace, _, local = key[1:].partition("}")
    if namespace == ns.XML:
        return (namespace, local), "xml"
    # Which of several prefixes an attribute was written with is not told.
    prefixes = sorted(p for p, uri in scope.items() if uri == namespace and p)
    return (namespace, local), prefixes[0]
