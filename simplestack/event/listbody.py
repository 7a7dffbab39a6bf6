"""What a SUBSCRIBE to a list may have in its body: recipients, filters, or both.

"a SUBSCRIBE request with at least one body, whose disposition is type "recipient-list"" (RFC 5367
§4) may have others, in multipart/mixed (RFC 3261 §7.4.1); those of lists are filters (RFC 4660 §4).
"""

from typing import Final, NamedTuple

from simplestack.documents.errors import DocumentError
from simplestack.documents.multipart import Part, free_boundary, parse_multipart, write_multipart
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.sip.errors import SIPError
from simplestack.sip.fields.media import MediaType, parse_media_type
from simplestack.sip.fields.scalars import Disposition, parse_disposition
from simplestack.sip.message import Request
from simplestack.transaction.useragent import check_content

__all__ = ["LISTS_TYPE", "MIXED", "ListBody", "has_recipients", "read_body", "read_request"]

LISTS_TYPE: Final = "application/resource-lists+xml"
MIXED: Final = "multipart/mixed"
_RECIPIENTS: Final = "recipient-list"


class ListBody(NamedTuple):
    """The recipients and the filters in a body, b"" for none."""

    recipients: bytes = b""
    filters: bytes = b""

    def write(self) -> tuple[str, bytes]:
        """The content type and the octets by which a subscription keeps it."""
        if not self.filters:
            return (LISTS_TYPE, self.recipients) if self.recipients else ("", b"")
        if not self.recipients:
            return FILTER_TYPE, self.filters
        parts = [
            Part(
                (("Content-Type", LISTS_TYPE), ("Content-Disposition", _RECIPIENTS)),
                self.recipients,
            ),
            Part((("Content-Type", FILTER_TYPE),), self.filters),
        ]
        boundary = free_boundary(parts, "list")
        return f"{MIXED};boundary={boundary}", write_multipart(parts, boundary)


class _Piece(NamedTuple):
    """One body of a request, in multipart/mixed or alone."""

    media_type: MediaType | None
    recipients: bool
    required: bool
    body: bytes


def read_body(content_type: str, body: bytes) -> ListBody:
    """What a subscription keeps, as ``write`` has made it."""
    if content_type == FILTER_TYPE:
        return ListBody(filters=body)
    if content_type.startswith(MIXED):
        lists, filters = parse_multipart(
            body, parse_media_type(content_type).param("boundary") or ""
        )
        return ListBody(lists.body, filters.body)
    return ListBody(recipients=body)


def read_request(request: Request) -> ListBody:
    """What the body of a SUBSCRIBE has for a list; its type is looked at, not what is in it.

    Raises SIPError: 400 for a body that can't be read, 415 for one that must be understood and is
    not, or is there twice.
    """
    whole = request.content_type
    if "Content-Encoding" in request.headers and not check_content(
        request, () if whole is None else (whole.type,)
    ):
        return ListBody()
    found = {LISTS_TYPE: b"", FILTER_TYPE: b""}
    for piece in _pieces(request):
        name = "" if piece.media_type is None else piece.media_type.type
        if name not in found or found[name] or (piece.recipients and name == FILTER_TYPE):
            if not piece.required:
                continue
            what = "Content-Type is missing" if not name else f"no {name[:80]} here"
            raise SIPError(415, headers=[("Accept", ", ".join((*found, MIXED)))], text=what)
        found[name] = piece.body
    return ListBody(found[LISTS_TYPE], found[FILTER_TYPE])


def _pieces(request: Request) -> list[_Piece]:
    media_type, disposition = request.content_type, request.content_disposition
    if not request.body:
        return []
    if media_type is None or media_type.type != MIXED:
        return [_piece(media_type, disposition, request.body)]
    try:
        parts = parse_multipart(request.body, media_type.param("boundary") or "")
    except DocumentError as error:
        raise SIPError(400, text=str(error)) from None
    pieces = []
    for part in parts:
        text = part.get("Content-Disposition")
        disposition = None if text is None else parse_disposition(text)
        pieces.append(_piece(parse_media_type(part.content_type), disposition, part.body))
    return pieces


def _piece(media_type: MediaType | None, disposition: Disposition | None, body: bytes) -> _Piece:
    if disposition is None:
        return _Piece(media_type, False, True, body)
    return _Piece(media_type, disposition.type == _RECIPIENTS, disposition.required, body)


def has_recipients(request: Request) -> bool:
    """Whether the body is, or has, a list of resources to subscribe to (RFC 5367 §4).

    Raises SIPError 400.
    """
    if "recipient-list-subscribe" in [each.lower() for each in request.get_all("Require")]:
        return True
    return any(piece.recipients for piece in _pieces(request))
