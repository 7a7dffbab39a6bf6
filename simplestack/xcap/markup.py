"""References in attribute values (XML 1.0 §3.3.3, §4.1)."""

import re
from typing import Final

__all__ = ["normalize", "unescape"]

_REFERENCE: Final = re.compile(
    r"&(?:(lt|gt|amp|quot|apos)|#0*+([0-9]{1,7})|#x0*+([0-9A-Fa-f]{1,6}));"
)
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}
_SPACE: Final = re.compile("\r\n|[\t\r\n]")


def unescape(text: str) -> str:
    """Replace references; an ampersand that begins none stays, and so do those to no character."""
    return _REFERENCE.sub(_replace, text) if "&" in text else text


def normalize(text: str) -> str:
    """The value of an attribute as an XML processor reports it (XML 1.0 §3.3.3)."""
    if "\n" in text or "\t" in text or "\r" in text:
        text = _SPACE.sub(" ", text)
    return unescape(text)


def _replace(found: re.Match[str]) -> str:
    name, decimal, hexadecimal = found.groups()
    if name:
        return _NAMED[name]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    # "Characters referred to using character references MUST match the production for Char" (§4.1):
    # surrogates do not, nor could they be written as UTF-8.
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else found[0]
