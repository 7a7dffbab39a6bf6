"""Documents that carry a version of their own subscription (RFC 6665 §5.3.2)."""

from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from simplestack.event.entity import entity_tag
from simplestack.interfaces import Body, IEventPackage
from simplestack.state import ResourceState

__all__ = ["Deltas", "partial_tag", "versioned"]

_VERSION: Final = b' version="0"'


class Deltas(NamedTuple):
    """The partial form of a document type: of a full document, and of a step between two.

    A package offers it by an attribute ``deltas``, a mapping of its full content types.  The
    functions raise DocumentError where a document can't be given in that form; the step may be
    larger than the whole.  Versions begin with 1 (RFC 5263 §4.4).
    """

    content_type: str
    whole: Callable[[bytes], Body]
    difference: Callable[[bytes, bytes], Body]


def versioned(content_type: str, document: bytes) -> Body:
    """A body from a document written as version 0, which each subscription numbers anew.

    :raises ValueError: where the root element has no such version.
    """
    # The XML declaration says version="1.0", and no attribute value holds a bare quote.
    start, found, tail = document.partition(_VERSION)
    if not found:
        raise ValueError("the document has no version 0")
    return Body(content_type, start + b' version="', b'"' + tail)


def partial_tag(
    package: IEventPackage, state: ResourceState, permissions: Hashable, content_type: str
) -> str:
    """The entity-tag of what a partial package shows (RFC 5839 §4).

    Its full documents say how old things are and so are never the same twice; what they stand
    for is what ``fingerprint(state, permissions)`` gives.  A package without that method has no
    entity-tags: "".
    """
    fingerprint = getattr(package, "fingerprint", None)
    return "" if fingerprint is None else entity_tag(content_type, fingerprint(state, permissions))
