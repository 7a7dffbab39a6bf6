"""CPIM messages: ``message/cpim`` (RFC 3862)."""

import re
from typing import Final, NamedTuple

from simplestack.documents.errors import DocumentError
from simplestack.documents.multipart import Part, read_part, write_part

MEDIA_TYPE: Final = "message/cpim"
NAMESPACE: Final = "urn:ietf:params:cpim-headers:"

MOST_HEADERS: Final = 200

_NAME: Final = r"[!#-'*+\-0-9A-Z^-z|~]+"
_HEADER: Final = re.compile(rf"((?:{_NAME}\.)?{_NAME}):((?:;{_NAME}=[^; ]*)*) (.*)", re.ASCII)
_NS: Final = re.compile(r"(?:([^ <]+) +)?<([^>]*)>")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.)|$)")
_SPECIAL: Final = {"b": "\b", "t": "\t", "n": "\n", "r": "\r"}
_ESCAPED: Final = {"\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


class Header(NamedTuple):
    """One header: its name as written, with prefix and exact case; its value as written.

    ``parameters`` are (name, value) pairs, ``lang`` among them.
    """

    name: str
    value: str
    parameters: tuple[tuple[str, str], ...] = ()


class Cpim(NamedTuple):
    """A message: headers for its ends, and the MIME entity that it carries."""

    headers: tuple[Header, ...]
    content: Part

    def get(self, name: str, namespace: str = NAMESPACE) -> str | None:
        """Give the first header of a name in a namespace, with escapes resolved.

        Namespaces hold from their ``NS`` header on (RFC 3862 §3.4); a name is
        matched exactly.
        """
        prefixes = {"": NAMESPACE}
        for header in self.headers:
            prefix, _, local = header.name.rpartition(".")
            if header.name == "NS":
                found = _NS.fullmatch(header.value)
                if found is not None:
                    prefixes[found[1] or ""] = found[2]
            if local == name and prefixes.get(prefix) == namespace:
                return unescape(header.value)
        return None

    def to_bytes(self) -> bytes:
        """Write the message; header values are taken as written, see :func:`escape`."""
        lines: list[str] = []
        for name, value, parameters in self.headers:
            written = "".join([f";{key}={item}" for key, item in parameters])
            lines.append(f"{name}:{written} {value}\r\n")
        head = "".join(lines).encode("utf-8", "surrogateescape")
        return b"%s\r\n%s" % (head, write_part(self.content))


def parse_cpim(data: bytes) -> Cpim:
    """Read a message.

    :raises DocumentError: if a header is not one, there are more than
        :data:`MOST_HEADERS`, or no content follows.
    """
    head, found, rest = data.partition(b"\r\n\r\n")
    if not found:
        raise DocumentError("the message has no empty line after its headers")
    if head.count(b"\r\n") >= MOST_HEADERS:
        raise DocumentError(f"the message has more than {MOST_HEADERS} headers")
    try:
        text = head.decode()
    except UnicodeDecodeError:
        raise DocumentError("the headers of the message are not encoded in UTF-8") from None
    headers = tuple(_read_header(line) for line in text.split("\r\n")) if text else ()
    content = read_part(rest)
    if content.get("Content-Type") is None:
        raise DocumentError("the content of the message has no Content-Type (RFC 3862 §2.4)")
    return Cpim(headers, content)


def escape(value: str) -> str:
    """Write text as a header value, with the escapes that RFC 3862 §2.3.1 demands."""
    return "".join(
        [
            _ESCAPED[c] if c in _ESCAPED else f"\\u{ord(c):04x}" if c < " " or c == "\x7f" else c
            for c in value
        ]
    )


def unescape(value: str) -> str:
    """Resolve the escapes of a header value (RFC 3862 §2.3)."""
    if "\\" not in value:
        return value
    return _ESCAPE.sub(_character, value)


def _character(found: re.Match[str]) -> str:
    if found[1] is not None:
        return chr(int(found[1], 16))
    # "Any unrecognized escape sequence SHOULD be treated as an instance of
    # the character following the backslash character."
    return _SPECIAL.get(found[2], found[2]) if found[2] else ""


def _read_header(line: str) -> Header:
    found = _HEADER.fullmatch(line)
    if found is None or any(c < " " for c in line):
        raise DocumentError(f'"{line[:40]}" is not a header of a CPIM message')
    pairs = [item.partition("=") for item in found[2].split(";")[1:]]
    return Header(found[1], found[3], tuple((key, value) for key, _, value in pairs))
