"""Numbers in attributes: xs:nonNegativeInteger and xs:unsignedLong."""

from typing import Final

from lxml import etree

from simplestack.documents.errors import DocumentError
from simplestack.documents.xml import line_of, local_name, required

_LARGEST: Final = 2**64 - 1


def required_number(node: etree._Element, name: str) -> int:
    """Give an attribute as a number.

    :raises DocumentError: if it is missing or not a number of up to 64 bits.
    """
    value = required(node, name)
    if not (value.isascii() and value.isdigit() and len(value) <= 20) or int(value) > _LARGEST:
        line = line_of(node)
        raise DocumentError(
            f'"{name}" of <{local_name(node)}> in line {line} is not a number', line
        )
    return int(value)


def optional_number(node: etree._Element, name: str) -> int | None:
    """Give an attribute as a number, None without it.

    :raises DocumentError: if it is there and not a number of up to 64 bits.
    """
    return None if node.get(name) is None else required_number(node, name)
