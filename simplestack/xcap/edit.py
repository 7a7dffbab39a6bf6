"""Edits of one node that leave all other octets of the document alone (RFC 4825 §8.2, §8.4)."""

from typing import Final, NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import XMLError
from simplestack.documents.xml import Limits, parse
from simplestack.sip.errors import SIPError
from simplestack.xcap.errors import ConflictError, cannot_delete, cannot_insert, no_parent
from simplestack.xcap.markup import normalize
from simplestack.xcap.nodes import Name, NodeSelector, Step
from simplestack.xcap.source import Attribute, Element, scan, select, select_below, spliced

__all__ = ["Ancestors", "Edit", "Found", "delete", "find", "namespaces", "put"]

_WHITE: Final = b" \t\r\n"


class Found(NamedTuple):
    """A node that a selector selects."""

    element: Element
    attribute: Attribute | None = None


class Edit(NamedTuple):
    """A document with one node put in."""

    data: bytes
    created: bool


def find(data: bytes, selector: NodeSelector) -> Found | None:
    """The node that the selector selects; None where it is a no-match or invalid."""
    element = _walk(data, selector.steps)
    if element is None:
        return None
    if selector.attribute is None:
        return Found(element)
    attribute = element.attribute(selector.attribute)
    return None if attribute is None else Found(element, attribute)


def namespaces(element: Element) -> bytes:
    """The namespaces in scope of an element, in the format of RFC 4825 §10."""
    scope = element.scope()
    written = b"<" + element.name
    for prefix in sorted(scope):
        name = f"xmlns:{prefix}" if prefix else "xmlns"
        written += f" {name}={quoteattr(scope[prefix])}".encode()
    return written + b"/>"


def put(
    data: bytes, selector: NodeSelector, body: bytes, limits: Limits, uris: "Ancestors"
) -> Edit:
    """Insert or replace the selected element or attribute.

    Raises ConflictError: not-utf-8, not-xml-frag, not-xml-att-value, no-parent, cannot-insert.
    """
    if selector.attribute is not None:
        return _put_attribute(data, selector, body, uris)
    return _put_element(data, selector, body, limits, uris)


def delete(data: bytes, selector: NodeSelector) -> bytes:
    """Take the selected element or attribute out, and no white space around it.

    Raises SIPError 404, ConflictError cannot-delete.
    """
    found = find(data, selector)
    if found is None:
        raise SIPError(404, text="the node selector selects nothing, or more than one element")
    element, attribute = found
    if attribute is not None:
        return data[: attribute.start] + data[attribute.end :]
    if element.parent is None:
        raise ConflictError.of(
            "schema-validation-error", "without its root element the document is none"
        )
    parent, step = element.parent, selector.steps[-1]
    if step.position is not None:
        rest = [each for each in parent.children if each.number != element.number]
        # "after deletion, the request URI selects another element" (§8.4); without a position
        # there is no other, or it would not have been selected alone.
        if select(rest, step):
            raise cannot_delete(
                "after the deletion the URI would select another element: name it by an attribute"
            )
    edited = data[: element.start] + data[element.end :]
    source, number = element.source, element.number
    spliced(source, edited, element.start, number, source.after[number], None, parent)
    return edited


class Ancestors(NamedTuple):
    """The URI of the document and of what stands above a node, for reports of no-parent."""

    #: Path of the document's URI.
    path: bytes
    node: tuple[bytes, ...]
    query: bytes

    def home(self) -> str:
        """The directory of the document."""
        return _uri(self.path.rpartition(b"/")[0] + b"/")

    def directory(self, above: int) -> str:
        """The directory so many levels above that of the document."""
        return _uri(self.path.rsplit(b"/", above + 1)[0] + b"/")

    def node_uri(self, steps: int) -> str:
        """The element that the first steps select; the document itself for none."""
        if not steps:
            return _uri(self.path)
        query = b"?" + self.query if self.query else b""
        return _uri(self.path + b"/~~/" + b"/".join(self.node[:steps]) + query)


def _uri(octets: bytes) -> str:
    return quote(octets, safe="/:@!$&'()*+,;=%?~")


def _walk(data: bytes, steps: tuple[Step, ...]) -> Element | None:
    element: Element | None = None
    for step in steps:
        chosen = _chosen(data, element, step)
        if len(chosen) != 1:
            return None
        element = chosen[0]
    return element


def _chosen(data: bytes, parent: Element | None, step: Step) -> list[Element]:
    """What a step selects below an element, or below the document itself."""
    return select([scan(data)], step) if parent is None else select_below(parent, step)


def _parent(data: bytes, steps: tuple[Step, ...], uris: Ancestors) -> Element | None:
    """What the steps select; None for the document itself (§8.2.1)."""
    parent: Element | None = None
    for number, step in enumerate(steps):
        chosen = _chosen(data, parent, step)
        if len(chosen) != 1:
            many = "several elements" if chosen else "nothing"
            raise no_parent(
                f"step {number + 1} of the node selector selects {many}", uris.node_uri(number)
            )
        parent = chosen[0]
    return parent


# Elements


def _put_element(
    data: bytes, selector: NodeSelector, body: bytes, limits: Limits, uris: Ancestors
) -> Edit:
    parent = _parent(data, selector.steps[:-1], uris)
    step = selector.steps[-1]
    chosen = _chosen(data, parent, step)
    fragment = _fragment(body, {} if parent is None else parent.scope(), limits)
    if len(chosen) > 1:
        raise cannot_insert("the last step of the node selector selects several elements")
    new = _Stranger(fragment, parent)
    if chosen:
        old = chosen[0]
        siblings: list[Element] = [new]
        if step.position is not None and parent is not None:
            siblings = [new if each.number == old.number else each for each in parent.children]
        if not _selects(step, siblings, new):
            raise cannot_insert("the element in the body is not one that the URI selects")
        edited = data[: old.start] + fragment + data[old.end :]
        source = old.source
        if parent is not None:
            last = source.after[old.number]
            spliced(source, edited, old.start, old.number, last, new.source, parent)
        return Edit(edited, False)
    if parent is None:
        raise cannot_insert("a document has one root element, and the URI selects another")
    siblings = parent.children
    place, index = _place(parent, siblings, step)
    if not _selects(step, [*siblings[:index], new, *siblings[index:]], new):
        raise cannot_insert("the element in the body is not one that the URI would select")
    if parent.empty:
        slash = data.rindex(b"/", parent.start, parent.open)
        head, tail = data[:slash] + b">", b"</" + parent.name + b">" + data[parent.open :]
        return Edit(head + fragment + tail, True)
    edited = data[:place] + fragment + data[place:]
    source = parent.source
    number = siblings[index].number if index < len(siblings) else source.after[parent.number]
    spliced(source, edited, place, number, number, new.source, parent)
    return Edit(edited, True)


class _Stranger(Element):
    """The element in a body, as a child of the element that it will be put into."""

    def __init__(self, fragment: bytes, parent: Element | None) -> None:
        own = scan(fragment)
        super().__init__(own.source, 0, parent, own.name, own.start, own.open, own.close, own.end)


def _selects(step: Step, siblings: list[Element], new: Element) -> bool:
    """Whether the step selects the new element and it alone: GET(PUT(x)) = x (§7).

    Without a position it selects no other one, or it would have done so before.
    """
    return select([new] if step.position is None else siblings, step) == [new]


def _place(parent: Element, siblings: list[Element], step: Step) -> tuple[int, int]:
    """Where the new element goes (§8.2.3): the offset, and the index among its siblings."""
    name = step.name
    named = siblings if name is None else [each for each in siblings if each.is_named(name)]
    position = step.position
    if position is None:
        # "earliest last" among those of its name; where a wildcard names none, the very last.
        if name is not None and named:
            last = named[-1]
            return last.end, siblings.index(last) + 1
    elif position > 1:
        if len(named) < position - 1:
            raise cannot_insert(
                f"position {position} is beyond the {len(named) + 1} that there would be"
            )
        # "earliest nth"
        before = named[position - 2]
        return before.end, siblings.index(before) + 1
    elif position == 0:
        raise cannot_insert("positions begin with 1")
    elif named:
        first = named[0]
        return first.start, siblings.index(first)
    return parent.close, len(siblings)


def _fragment(body: bytes, scope: dict[str, str], limits: Limits) -> bytes:
    """The one element in a body, without white space around it; raises ConflictError (§8.2.2)."""
    fragment = body.strip(_WHITE)
    head = "<x"
    for prefix, namespace in scope.items():
        head += f" {f'xmlns:{prefix}' if prefix else 'xmlns'}={quoteattr(namespace)}"
    head += ">"
    try:
        if fragment.startswith(b"<?xml") and fragment[5:6] in (b" ", b"\t", b"\r", b"\n"):
            raise ConflictError.of("not-xml-frag", "an XML declaration can't stand in an element")
        around = parse(head.encode() + fragment + b"</x>", limits=limits)
    except XMLError as error:
        if error.kind == "not-utf-8":
            raise ConflictError.of("not-utf-8", "the body is not encoded in UTF-8") from None
        if error.kind in ("not-well-formed", "dtd"):
            raise ConflictError.of("not-xml-frag", _message(error, len(head))) from None
        raise SIPError(413, "Content Too Large", text=error.message) from None
    alone = len(around) == 1 and isinstance(around[0].tag, str)
    if not alone or (around.text or "").strip() or (around[0].tail or "").strip():
        raise ConflictError.of("not-xml-frag", "the body is not one element and nothing else")
    return fragment


def _message(error: XMLError, head: int) -> str:
    """What is wrong, with the place in the body as the client wrote it."""
    if error.line is None or error.column is None:
        return error.message
    column = error.column - (head if error.line == 1 else 0)
    reason = error.message.partition(": ")[2] or error.message
    return f"line {error.line}, column {max(column, 1)}: {reason}"


# Attributes


def _put_attribute(data: bytes, selector: NodeSelector, body: bytes, uris: Ancestors) -> Edit:
    name = selector.attribute
    assert name is not None
    element = _parent(data, selector.steps, uris)
    assert element is not None
    value = _attribute_value(body)
    old = element.attribute(name)
    if name.local == "xmlns" and not name.namespace:
        raise cannot_insert("xmlns is no attribute but a namespace declaration")
    if old is not None:
        edited = data[: old.value_start] + value + data[old.end :]
    else:
        place = max([each.end for each in element.attributes], default=0)
        place = max(place, element.start + 1 + len(element.name))
        written = _written_name(element, name, selector.prefix)
        edited = data[:place] + written + b"=" + value + data[place:]
    # A predicate of the steps may have chosen the element by the value that it had (§7.7).
    again = find_again(edited, selector)
    if again is None or again.value != normalize(value[1:-1].decode()):
        raise cannot_insert("with the new value the URI would not select the attribute")
    return Edit(edited, old is None)


def find_again(data: bytes, selector: NodeSelector) -> Attribute | None:
    """The selected attribute of an edited document."""
    found = find(data, selector)
    return None if found is None else found.attribute


def _written_name(element: Element, name: Name, wanted: str) -> bytes:
    """The name of a new attribute, with a prefix, which is declared where none is in scope."""
    if not name.namespace:
        return b" " + name.local.encode()
    if name.namespace == ns.XML:
        return f" xml:{name.local}".encode()
    scope = element.scope()
    for prefix, namespace in scope.items():
        if prefix and namespace == name.namespace:
            return f" {prefix}:{name.local}".encode()
    prefix, number = wanted, 1
    while not prefix or prefix in scope:
        prefix, number = f"ns{number}", number + 1
    return f" xmlns:{prefix}={quoteattr(name.namespace)} {prefix}:{name.local}".encode()


def _attribute_value(body: bytes) -> bytes:
    """A body that is an AttValue of XML 1.0, with its quotes; raises ConflictError (§8.2.2)."""
    value = body.strip(_WHITE)
    try:
        value.decode()
    except UnicodeDecodeError:
        raise ConflictError.of("not-utf-8", "the body is not encoded in UTF-8") from None
    quoted = len(value) > 1 and value[:1] in (b'"', b"'") and value[-1:] == value[:1]
    if not quoted or value[:1] in value[1:-1] or b"<" in value:
        raise ConflictError.of(
            "not-xml-att-value", "the body is not the value of an attribute between quotes"
        )
    try:
        parse(b"<x a=" + value + b"/>")
    except XMLError as error:
        raise ConflictError.of("not-xml-att-value", _message(error, 5)) from None
    return value
