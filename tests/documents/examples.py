"""The example documents of the RFCs, and what a document means whatever its layout."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from lxml import etree

DIRECTORY = Path(__file__).parents[1] / "data" / "xml_examples"

_SCHEMA_LOCATION = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"


class Example(NamedTuple):
    """One document; ``refused`` names the error its parser raises, ``invalid`` one of its schema."""

    file: str
    type: str
    refused: str | None
    invalid: bool

    @property
    def data(self) -> bytes:
        """The document as the RFC prints it, or with its errata applied."""
        return (DIRECTORY / self.file).read_bytes()


def examples(type_: str) -> Iterator[Example]:
    """Give the examples of one document type."""
    for entry in json.loads((DIRECTORY / "index.json").read_text()):
        if entry["type"] == type_:
            yield Example(entry["file"], type_, entry.get("refused"), entry.get("invalid", False))


def meaning(node: etree._Element) -> tuple[object, ...]:
    """Give a value that two elements share if only layout, prefixes and order differ.

    The documents compared here do not depend on the order of elements of
    different names; times are compared as moments.
    """
    children = sorted((meaning(child) for child in node.iterchildren("*")), key=repr)
    texts = [node.text or ""] + [child.tail or "" for child in node]
    return (
        str(node.tag),
        tuple(
            sorted(
                (str(key), _moment(str(value).strip()))
                for key, value in node.attrib.items()
                # Where a schema might be found is said to the parser, not to the reader.
                if key != _SCHEMA_LOCATION
            )
        ),
        _moment("".join(texts).strip()),
        tuple(children),
    )


def _moment(value: str) -> str:
    if len(value) < 20 or "T" not in value:
        return value
    try:
        return str(datetime.fromisoformat(value).timestamp())
    except ValueError:
        return value
