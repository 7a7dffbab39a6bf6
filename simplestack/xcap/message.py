"""XCAP requests and responses as the server decides on them, free of HTTP's transport."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from simplestack.state import Document
from simplestack.xcap.selectors import ResourceSelector

__all__ = ["ATTRIBUTE", "ELEMENT", "XCAPRequest", "XCAPResponse"]

#: The types of the bodies that are nodes (RFC 4825 §15.2).
ELEMENT: Final = "application/xcap-el+xml"
ATTRIBUTE: Final = "application/xcap-att+xml"


class XCAPRequest(NamedTuple):
    """An authenticated request for an XCAP resource."""

    method: str
    selector: ResourceSelector
    #: Header fields by lower-case name; several of one name are joined by ", ".
    headers: Mapping[str, str]
    body: bytes
    #: The AOR of the authenticated sender.
    identity: str
    #: Documents of all users, where the resource is computed from them.
    gathered: tuple[Document, ...] = ()
    #: Those of the addresses in the body that are users'.
    users: frozenset[str] = frozenset()


class XCAPResponse(NamedTuple):
    """The answer; the header fields that follow from the body are left to HTTP."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
