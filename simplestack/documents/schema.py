"""XML schemas, loaded from the files of this package when first asked for."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, cast

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.errors import SchemaError
from simplestack.documents.xml import line_of

_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_DIRECTORY: Final = Path(__file__).with_name("schemas")


class Schema:
    """The schema in the file ``schemas/NAME.xsd`` (or ``.rng``).

    The ``all-`` ones join a document's schema with those of its extensions.
    Nothing is read before the first validation, and never from the network.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def validate(self, root: etree._Element) -> None:
        """Check a document.

        :raises SchemaError: with the first thing that is wrong, and its line.
        """
        validator = _load(self.name)
        if not validator.validate(root):
            for entry in cast(Iterable[etree._LogEntry], validator.error_log):
                raise SchemaError(f"line {entry.line}: {entry.message}", entry.line)
            raise SchemaError("the document is not valid")

    def check_known(self, root: etree._Element) -> None:
        """Refuse what this schema does not declare in namespaces of which it declares things.

        Extension points let it pass, but elements and attributes "from a namespace that the server
        does understand", of which it "does not have the schema for that particular element or
        attribute", are errors (RFC 4825 §8.2.5).

        :raises SchemaError: with the first such element or attribute, and its line.
        """
        known = _declared(self.name)
        for node in root.iter("*"):
            names = [str(node.tag), *[f"@{key}" for key in map(str, node.attrib) if key[0] == "{"]]
            for name in names:
                namespace, _, local = name.lstrip("@")[1:].partition("}")
                what = f"@{local}" if name[0] == "@" else local
                if what not in known.get(namespace, (what,)):
                    line = line_of(node)
                    raise SchemaError(f"line {line}: there is no {what} in {namespace}", line)


@cache
def _declared(name: str) -> Mapping[str, frozenset[str]]:
    """All elements that a schema declares, also within types, and ``@`` attributes, by namespace."""
    found: dict[str, set[str]] = {}
    read: set[tuple[str, str]] = set()

    def take(file: str, into: str) -> None:
        root = etree.parse(str(_DIRECTORY / file), _parser()).getroot()
        # A file without a namespace is part of the one that includes it.
        namespace = root.get("targetNamespace", into)
        if (file, namespace) in read:
            return
        read.add((file, namespace))
        if namespace and namespace != ns.XML:
            names = found.setdefault(namespace, set())
            for each in root.iter(_XS + "element"):
                names.add(each.get("name", ""))
            for each in root.iterchildren(_XS + "attribute"):
                names.add(f"@{each.get('name')}")
        for each in root.iterchildren(_XS + "include", _XS + "import"):
            location = each.get("schemaLocation")
            if location is not None:
                take(location, namespace if each.tag == _XS + "include" else "")

    take(f"{name}.xsd", "")
    return {namespace: frozenset(names) for namespace, names in found.items()}


def _parser() -> etree.XMLParser:
    return etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False)


@cache
def _load(name: str) -> etree.XMLSchema | etree.RelaxNG:
    parser = _parser()
    path = _DIRECTORY / f"{name}.xsd"
    if path.exists():
        return etree.XMLSchema(etree.parse(str(path), parser))
    return etree.RelaxNG(etree.parse(str(path.with_suffix(".rng")), parser))
