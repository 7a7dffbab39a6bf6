"""Content codings: bodies made smaller for those who accept it (RFC 3261 §20.2, §20.12)."""

import gzip
import zlib
from functools import lru_cache
from typing import Final

__all__ = ["SMALLEST", "choose_coding", "coded_tag", "encode"]

#: Shorter bodies are sent as they are: there is little to gain.
SMALLEST: Final = 200
#: What we make, the smallest first.
_CODINGS: Final = ("deflate", "gzip")


@lru_cache(256)
def choose_coding(accept_encoding: str) -> str:
    """The content coding for who sent these Accept-Encoding values; "" is identity.

    Of codings with the same q it is the one that makes less.  Without Accept-Encoding there is
    none: "If no Accept-Encoding header field is present, the server SHOULD assume a default value
    of identity." (RFC 3261 §20.2)
    """
    best, most = "", 0.0
    weights: dict[str, float] = {}
    for part in accept_encoding.split(","):
        name, *params = part.split(";")
        weights[name.strip().lower()] = _quality(params)
    for name in _CODINGS:
        weight = weights.get(name, weights.get("*", 0.0))
        if weight > most:
            best, most = name, weight
    return best if most >= weights.get("identity", 0.0) else ""


def _quality(params: list[str]) -> float:
    for param in params:
        name, _, value = param.partition("=")
        if name.strip().lower() == "q":
            try:
                return max(0.0, min(1.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0


@lru_cache(64)
def encode(coding: str, content: bytes) -> bytes:
    """The content in a coding; those who share a body share this as well."""
    if coding == "gzip":
        return gzip.compress(content, 9, mtime=0)
    # "deflate" is the zlib format (RFC 2616 §3.5, which RFC 3261 §20.12 refers to).
    return zlib.compress(content, 9)


def coded_tag(tag: str, accept_encoding: str) -> str:
    """The entity-tag for who accepts these codings: Content-Encoding is part of an entity
    (RFC 5839 §4).
    """
    coding = choose_coding(accept_encoding)
    return f"{tag}-{coding}" if tag and coding else tag
