"""Selectors of patch operations, the subset of XPath 1.0 of RFC 5261 §4.1."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.xmltree import (
    Comment,
    Document,
    Element,
    Instruction,
    Name,
    Node,
    Parent,
    Text,
)

_NCNAME: Final = r"[^\W\d][\w.\-]*"
_QNAME: Final = rf"(?:{_NCNAME}:)?{_NCNAME}"
_STEP: Final = re.compile(rf"(\*|{_QNAME})")
_PREDICATE: Final = re.compile(
    rf"""\[\s*(?:(\d+)|(@?{_QNAME}|\.)\s*=\s*(?:"([^"]*)"|'([^']*)'))\s*\]"""
)
_LEAF: Final = re.compile(
    rf"""(?:(text|comment)\(\)|(processing-instruction)\((?:"({_NCNAME})"|'({_NCNAME})')?\))"""
    r"(?:\[(\d+)\])?"
)
_NAMED: Final = re.compile(rf"@({_QNAME})|namespace::({_NCNAME})")
_ID: Final = re.compile(r"""id\((?:"([^"]+)"|'([^']+)')\)""")


class Namespaced(NamedTuple):
    """An attribute (``prefix`` None) or a namespace declaration of an element."""

    owner: Element
    name: Name
    prefix: str | None = None


class _Predicate(NamedTuple):
    position: int
    attribute: bool
    name: Name | None
    value: str


class _Step(NamedTuple):
    """``kind``: element, text, comment, processing-instruction, attribute, namespace or id."""

    kind: str
    name: Name | None
    argument: str | None = None
    predicates: tuple[_Predicate, ...] = ()


class Selector(NamedTuple):
    """A parsed selector."""

    text: str
    steps: tuple[_Step, ...]

    def locate(self, document: Document) -> list[Node | Namespaced]:
        """Give all nodes that the selector selects, in document order."""
        parents: list[Parent] = [document]
        found: list[Node | Namespaced] = []
        for step in self.steps:
            found = [node for parent in parents for node in _select(step, parent)]
            parents = [node for node in found if isinstance(node, Element)]
        return found


def parse_selector(text: str, namespaces: Mapping[str, str]) -> Selector:
    """Read a selector; its prefixes are those of the diff document (RFC 5261 §4.2.1).

    :raises DocumentError: if it is not in the subset, or a prefix is not declared.
    """
    return Selector(text, _parse(text.strip(), dict(namespaces)))


def _parse(text: str, namespaces: dict[str, str]) -> tuple[_Step, ...]:
    steps: list[_Step] = []
    position = 1 if text.startswith("/") else 0
    while True:
        step, position = _parse_step(text, position, namespaces, not steps)
        steps.append(step)
        if position == len(text):
            return tuple(steps)
        if text[position] != "/" or step.kind not in ("element", "id"):
            raise _bad(text)
        position += 1


def _parse_step(
    text: str, position: int, namespaces: dict[str, str], first: bool
) -> tuple[_Step, int]:
    found = _LEAF.match(text, position)
    if found is not None:
        kind, instruction, quoted, single, number = found.groups()
        predicates = (_Predicate(int(number), False, None, ""),) if number else ()
        return _Step(kind or instruction, None, quoted or single, predicates), found.end()
    found = _NAMED.match(text, position)
    if found is not None:
        if found[2] is not None:
            return _Step("namespace", None, found[2]), found.end()
        return _Step("attribute", _name(found[1], namespaces, attribute=True)), found.end()
    found = _ID.match(text, position) if first else None
    if found is not None:
        return _Step("id", None, found[1] or found[2]), found.end()
    found = _STEP.match(text, position)
    if found is None:
        raise _bad(text)
    name = None if found[1] == "*" else _name(found[1], namespaces)
    position = found.end()
    conditions: list[_Predicate] = []
    while text.startswith("[", position):
        found = _PREDICATE.match(text, position)
        if found is None:
            raise _bad(text)
        number, what, double, single = found.groups()
        value = double if double is not None else single
        if number is not None:
            conditions.append(_Predicate(int(number), False, None, ""))
        elif what == ".":
            conditions.append(_Predicate(0, False, None, value))
        else:
            is_attribute = what.startswith("@")
            named = _name(what.lstrip("@"), namespaces, attribute=is_attribute)
            conditions.append(_Predicate(0, is_attribute, named, value))
        position = found.end()
    return _Step("element", name, None, tuple(conditions)), position


def _name(text: str, namespaces: dict[str, str], *, attribute: bool = False) -> Name:
    prefix, _, local = text.rpartition(":")
    if not prefix:
        return ("" if attribute else namespaces.get("", ""), local)
    if prefix == "xml":
        return (ns.XML, local)
    if prefix not in namespaces:
        raise DocumentError(f'prefix "{prefix}" of a selector is not declared')
    return (namespaces[prefix], local)


def _bad(text: str) -> DocumentError:
    return DocumentError(f'"{text[:80]}" is not a selector of RFC 5261')


def _select(step: _Step, parent: Parent) -> list[Node | Namespaced]:
    if step.kind == "element":
        elements = [
            child
            for child in parent.children
            if isinstance(child, Element) and (step.name is None or child.name == step.name)
        ]
        for predicate in step.predicates:
            elements = _filter(elements, predicate)
        return list(elements)
    if step.kind == "id":
        return [
            node
            for child in parent.children
            if isinstance(child, Element)
            for node in child.walk()
            if isinstance(node, Element)
            and node.attributes.get((ns.XML, "id"), ("", ""))[1] == step.argument
        ]
    if step.kind == "attribute":
        if isinstance(parent, Element) and step.name in parent.attributes:
            return [Namespaced(parent, step.name)]
        return []
    if step.kind == "namespace":
        prefix = step.argument or ""
        if isinstance(parent, Element) and prefix in parent.declared:
            return [Namespaced(parent, ("", ""), prefix)]
        return []
    wanted = {"text": Text, "comment": Comment}.get(step.kind, Instruction)
    leaves: list[Node | Namespaced] = [
        child
        for child in parent.children
        if type(child) is wanted
        and (
            step.argument is None
            or (isinstance(child, Instruction) and child.target == step.argument)
        )
    ]
    for predicate in step.predicates:
        leaves = leaves[predicate.position - 1 : predicate.position] if predicate.position else []
    return leaves


def _filter(elements: list[Element], predicate: _Predicate) -> list[Element]:
    if predicate.value == "" and predicate.name is None and predicate.position:
        return elements[predicate.position - 1 : predicate.position]
    name = predicate.name
    if name is None:
        return [each for each in elements if each.string() == predicate.value]
    if predicate.attribute:
        return [
            each
            for each in elements
            if name in each.attributes and each.attributes[name][1] == predicate.value
        ]
    return [
        each
        for each in elements
        if any(
            isinstance(child, Element) and child.name == name and child.string() == predicate.value
            for child in each.children
        )
    ]
