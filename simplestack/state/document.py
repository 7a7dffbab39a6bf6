"""XCAP documents, and those that are no more."""

from typing import NamedTuple

__all__ = ["Absence", "Document"]


class Document(NamedTuple):
    """An XCAP document (RFC 4825) in the tree of the AOR."""

    aor: str
    #: ``auid/path`` with the path below the user's directory: ``pres-rules/index``.
    id: str
    auid: str
    path: str
    entity_tag: str
    content_type: str
    body: bytes
    modified_at: float


class Absence(NamedTuple):
    """That an XCAP document was removed, while there may be somebody who has not been told.

    "After the notifier has reported the existence of an XCAP component, it MUST also report its
    removal consistently" (RFC 5875 §4.7), also where it is killed in between.
    """

    aor: str
    #: The ``id`` of the document.
    id: str
    auid: str
    path: str
    #: The last one that the document had.
    entity_tag: str
    removed_at: float
    #: When all who may not have been told are told everything, or gone.
    expires_at: float
