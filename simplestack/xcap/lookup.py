"""Many nodes of one document: steps are looked up, where one alone would be searched for."""

from hashlib import blake2b

from simplestack.xcap.edit import Found
from simplestack.xcap.nodes import Name, NodeSelector, Step
from simplestack.xcap.source import Attribute, Element, scan, select

__all__ = ["Lookup", "lookup"]

Scope = tuple[tuple[str, str], ...]
_Attributes = dict[tuple[Name, str], list[Element]]


class Lookup:
    """The nodes of a well-formed document, found in a time that its size has no part in.

    Each index is made when it is first needed, in one pass over the children of one element.  Up to
    ``few`` of them are searched by the value of an attribute without an index.
    """

    def __init__(self, data: bytes, few: int = 16) -> None:
        self.data = data
        self._few = few
        self._root = scan(data)
        #: The children by the number of their parent.
        self._children: dict[int, list[Element]] = {}
        #: The same by their names.
        self._named: dict[int, dict[Name, list[Element]]] = {}
        #: Of those the ones that have an attribute with a value; None is any name.
        self._having: dict[tuple[int, Name | None], _Attributes] = {}
        self._scopes: dict[int, Scope] = {}
        self._fingerprints: dict[int, bytes] = {}

    def find(self, selector: NodeSelector) -> Found | None:
        """The node that the selector selects; None where it is a no-match or invalid."""
        element: Element | None = None
        for step in selector.steps:
            chosen = select([self._root], step) if element is None else self._below(element, step)
            if len(chosen) != 1:
                return None
            element = chosen[0]
        if element is None:
            return None
        if selector.attribute is None:
            return Found(element)
        attribute = element.attribute(selector.attribute)
        return None if attribute is None else Found(element, attribute)

    def scope(self, element: Element) -> Scope:
        """The namespaces in scope around an element, by prefix, in order."""
        parent = element.parent
        if parent is None:
            return ()
        found = self._scopes.get(parent.number)
        if found is None:
            found = self._scopes[parent.number] = tuple(sorted(parent.scope().items()))
        return found

    def fingerprint(self, element: Element) -> bytes:
        """What is the same for elements that are written the same, where the same is in scope."""
        found = self._fingerprints.get(element.number)
        if found is None:
            digest = blake2b(element.octets, digest_size=16)
            digest.update(repr(self.scope(element)).encode())
            found = self._fingerprints[element.number] = digest.digest()
        return found

    def _below(self, parent: Element, step: Step) -> list[Element]:
        found = self._of_name(parent, step.name)
        if step.position is not None:
            found = found[step.position - 1 : step.position] if step.position else []
        if step.attribute is None:
            return found
        if len(found) > self._few:
            return self._index(parent, step.name, found).get((step.attribute, step.value), [])
        return [each for each in found if _value(each, step.attribute) == step.value]

    def _of_name(self, parent: Element, name: Name | None) -> list[Element]:
        number = parent.number
        children = self._children.get(number)
        if children is None:
            children = self._children[number] = parent.children
        if name is None:
            return children
        named = self._named.get(number)
        if named is None:
            named = self._named[number] = _by_name(parent, children)
        return named.get(name, [])

    def _index(self, parent: Element, name: Name | None, elements: list[Element]) -> _Attributes:
        key = (parent.number, name)
        found = self._having.get(key)
        if found is None:
            found = self._having[key] = {}
            for each in elements:
                for attribute in each.attributes:
                    attribute_name = _name_of(each, attribute)
                    if attribute_name is not None:
                        found.setdefault((attribute_name, attribute.value), []).append(each)
        return found


def _by_name(parent: Element, children: list[Element]) -> dict[Name, list[Element]]:
    found: dict[Name, list[Element]] = {}
    known: dict[bytes, Name] = {}
    for each in children:
        # Those without declarations of their own are in one scope.
        own = each.says(b"xmlns")
        name = None if own else known.get(each.name)
        if name is None:
            prefix, _, local = each.name.decode().rpartition(":")
            name = Name((each if own else parent).namespace(prefix) or "", local)
            if not own:
                known[each.name] = name
        found.setdefault(name, []).append(each)
    return found


def _name_of(element: Element, attribute: Attribute) -> Name | None:
    prefix, _, local = attribute.name.decode().rpartition(":")
    namespace = element.namespace(prefix) if prefix else ""
    return None if namespace is None else Name(namespace, local)


def _value(element: Element, name: Name) -> str | None:
    attribute = element.attribute(name)
    return None if attribute is None else attribute.value


_last: list[Lookup] = []


def lookup(data: bytes) -> Lookup:
    """The index of a document; that of the last one is kept, which others ask for as well."""
    if not _last or (_last[0].data is not data and _last[0].data != data):
        _last[:] = [Lookup(data)]
    return _last[0]
