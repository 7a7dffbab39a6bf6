"""XML schemas, loaded from the files of this package when first asked for."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final, cast

from lxml import etree

from simplestack.documents.errors import SchemaError

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


@cache
def _load(name: str) -> etree.XMLSchema | etree.RelaxNG:
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False)
    path = _DIRECTORY / f"{name}.xsd"
    if path.exists():
        return etree.XMLSchema(etree.parse(str(path), parser))
    return etree.RelaxNG(etree.parse(str(path.with_suffix(".rng")), parser))
