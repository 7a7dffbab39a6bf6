"""Documents that carry a version of their own subscription (RFC 6665 §5.3.2)."""

from simplestack.interfaces import Body

__all__ = ["versioned"]

_VERSION = b' version="0"'


def versioned(content_type: str, document: bytes) -> Body:
    """A body from a document written as version 0, which each subscription numbers anew.

    :raises ValueError: where the root element has no such version.
    """
    # The XML declaration says version="1.0", and no attribute value holds a bare quote.
    start, found, tail = document.partition(_VERSION)
    if not found:
        raise ValueError("the document has no version 0")
    return Body(content_type, start + b' version="', b'"' + tail)
