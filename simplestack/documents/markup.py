"""Text and attribute values as they stand in XML."""

from typing import Final

# What XML 1.0 §2.2 leaves out of Char, and the surrogates that stand for
# undecodable bytes of a SIP header, become the replacement character.
_FORBIDDEN: Final = dict.fromkeys(
    [*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF],
    "\N{REPLACEMENT CHARACTER}",
)

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


def text(value: str) -> str:
    """Write character data (XML 1.0 §2.4); what XML cannot carry becomes U+FFFD."""
    if not value.isprintable():
        value = value.translate(_FORBIDDEN)
        if "\r" in value:
            return _text(value).replace("\r", "&#13;")
    return _text(value)


def attribute(value: str) -> str:
    """Write an attribute value to stand between double quotes; U+FFFD as in :func:`text`."""
    if not value.isprintable():
        value = _text(value.translate(_FORBIDDEN))
        value = value.replace("\t", "&#9;").replace("\n", "&#10;").replace("\r", "&#13;")
    else:
        value = _text(value)
    return value.replace('"', "&quot;") if '"' in value else value


def _text(value: str) -> str:
    if "&" in value:
        value = value.replace("&", "&amp;")
    if "<" in value:
        value = value.replace("<", "&lt;")
    return value.replace(">", "&gt;") if ">" in value else value
