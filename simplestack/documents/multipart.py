"""MIME multipart bodies: mixed and related (RFC 2046 §5.1, RFC 2387)."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from simplestack.documents.errors import DocumentError

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]", re.ASCII)
_FIELD: Final = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*:[ \t]*(.*)", re.ASCII)

MOST_PARTS: Final = 1_000
MOST_HEADER_OCTETS: Final = 8_192


class Part(NamedTuple):
    """One part; header names in the case they were written in, values unfolded."""

    headers: tuple[tuple[str, str], ...]
    body: bytes

    def get(self, name: str) -> str | None:
        """Give the first header field of a name, in any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def content_type(self) -> str:
        """The content type; without one text/plain (RFC 2046 §5.1)."""
        return self.get("Content-Type") or "text/plain; charset=us-ascii"

    @property
    def content_id(self) -> str | None:
        """The Content-ID without its angle brackets, as a cid: URI names it (RFC 2392)."""
        value = self.get("Content-ID")
        return None if value is None else value.strip().removeprefix("<").removesuffix(">")


def parse_multipart(body: bytes, boundary: str) -> tuple[Part, ...]:
    """Split a body at its boundary; preamble and epilogue are left out.

    :raises DocumentError: if there is no such boundary, no end of it, or more
        parts or header octets than the limits of this module.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise DocumentError("the boundary of the multipart body is not one")
    delimiter = re.compile(
        rb"(?:\A|\r\n)--" + re.escape(boundary.encode()) + rb"(--)?[ \t]*(?:\r\n|\Z)"
    )
    parts: list[Part] = []
    found = delimiter.search(body)
    while found is not None and found[1] is None:
        if len(parts) == MOST_PARTS:
            raise DocumentError(f"the multipart body has more than {MOST_PARTS} parts")
        start = found.end()
        # The line end before a delimiter belongs to it, also where a part is empty.
        found = delimiter.search(body, max(start - 2, 0))
        if found is not None:
            parts.append(read_part(body[start : max(start, found.start())]))
    if found is None:
        raise DocumentError("the multipart body does not end with its boundary")
    return tuple(parts)


def write_multipart(parts: Sequence[Part], boundary: str) -> bytes:
    """Join parts with a boundary, which must be in none of them: see :func:`free_boundary`."""
    mark = boundary.encode()
    return b"%s--%s--\r\n" % (
        b"".join([b"--%s\r\n%s\r\n" % (mark, write_part(part)) for part in parts]),
        mark,
    )


def write_part(part: Part) -> bytes:
    """Write one MIME entity."""
    head = "".join([f"{name}: {value}\r\n" for name, value in part.headers])
    return b"%s\r\n%s" % (head.encode("utf-8", "surrogateescape"), part.body)


def free_boundary(parts: Sequence[Part], seed: str) -> str:
    """Give a boundary that begins with ``seed`` and is in none of the parts."""
    number = 0
    boundary = seed
    while any(b"--" + boundary.encode() in part.body for part in parts):
        number += 1
        boundary = f"{seed}{number}"
    return boundary


def read_part(data: bytes) -> Part:
    """Read one MIME entity: header fields, an empty line, and octets.

    :raises DocumentError: if a line of the header is not a field, or the header
        is longer than :data:`MOST_HEADER_OCTETS`.
    """
    if data.startswith(b"\r\n"):
        return Part((), data[2:])
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        head = data.removesuffix(b"\r\n")
    if len(head) > MOST_HEADER_OCTETS:
        raise DocumentError(f"a part has more than {MOST_HEADER_OCTETS} octets of header fields")
    text = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "surrogateescape"))
    headers: list[tuple[str, str]] = []
    for line in text.split("\r\n") if text else ():
        field = _FIELD.fullmatch(line)
        if field is None:
            raise DocumentError(f'"{line[:40]}" in a part is not a header field')
        headers.append((field[1], field[2].rstrip()))
    return Part(tuple(headers), body)
