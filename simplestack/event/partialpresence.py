"""Presence in parts: notified (RFC 5263) and published (RFC 5264)."""

from functools import lru_cache
from typing import Final

from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import MEDIA_TYPE, Presence, parse_presence
from simplestack.documents.pidfdiff import MEDIA_TYPE as PARTIAL_TYPE
from simplestack.documents.pidfdiff import (
    PidfFull,
    changes_between,
    parse_pidf_diff,
    patch,
    presence_document,
)
from simplestack.event.partial import Deltas, versioned
from simplestack.interfaces import Body
from simplestack.sip.errors import SIPError

__all__ = ["MEDIA_TYPE", "PARTIAL_TYPE", "PRESENCE_DELTAS", "patched"]


def _whole(document: bytes) -> Body:
    """The document as ``<pidf-full>``."""
    return versioned(PARTIAL_TYPE, PidfFull(_parsed(document), 0).to_bytes())


def _difference(old: bytes, new: bytes) -> Body:
    """The ``<pidf-diff>`` that makes the new document of the old one."""
    before = _parsed(old)
    return versioned(PARTIAL_TYPE, changes_between(before, _parsed(new), 0).to_bytes())


@lru_cache(256)
def _parsed(document: bytes) -> Presence:
    return parse_presence(document)


#: What a package that shows ``application/pidf+xml`` offers in parts.
PRESENCE_DELTAS: Final = Deltas(PARTIAL_TYPE, _whole, _difference)


def patched(stored: bytes | None, body: bytes, partly: bool = False) -> bytes:
    """The whole document that a publication of ``application/pidf-diff+xml`` makes.

    ``stored`` is the publication that it modifies, None where it is a first one.  ``partly`` says
    that not all of that was kept: what changes the rest is passed over.

    :raises SIPError: 400 where the first one is not full, an operation can't be applied, or the
        document is about another presentity (RFC 5264 §4.3.2).
    """
    try:
        update = parse_pidf_diff(body)
        if isinstance(update, PidfFull):
            return presence_document(body)
        if stored is None:
            # "the publication is an initial publication, for which only <pidf-full> is allowed"
            raise SIPError(
                400, "Invalid Partial Publication", text="a first publication is in full"
            )
        if update.entity is not None and update.entity != _parsed(stored).entity:
            raise SIPError(400, text="the changes are of another presentity than the publication")
        return patch(stored, update, partly)
    except DocumentError as error:
        raise SIPError(400, text=str(error)[:200]) from None
