"""XCAP URIs: root, document selector, node selector and query (RFC 4825 §6)."""

from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from simplestack.sip.errors import SIPError
from simplestack.sip.uri import parse_uri

__all__ = ["GLOBAL", "DocumentSelector", "ResourceSelector", "below", "parse", "root_path"]

#: The AOR on which the documents of the global tree hang.
GLOBAL: Final = "global:xcap"

#: Octets that a document's name may have; it becomes a key of the store.
MAX_NAME: Final = 255
MAX_URI: Final = 8192

_SEPARATOR: Final = b"~~"
_PORTS: Final = {"http": 80, "https": 443}


class DocumentSelector(NamedTuple):
    """Which document, or which directory where ``path`` is empty (RFC 4825 §6.2)."""

    auid: str
    #: The AOR of the user whose home directory it is in; "" for the global tree.
    owner: str
    #: The path below the home or the global directory, decoded.
    path: str

    @property
    def aor(self) -> str:
        """The AOR that the document hangs on."""
        return self.owner or GLOBAL

    @property
    def id(self) -> str:
        """The id of its record."""
        return f"{self.auid}/{self.path}"


class ResourceSelector(NamedTuple):
    """A parsed XCAP URI; the node selector waits for the default namespace of the usage."""

    document: DocumentSelector
    #: The steps of the node selector, still percent-encoded; None for a whole document.
    node: tuple[bytes, ...] | None
    #: The query component, still percent-encoded.
    query: bytes
    #: The path of the document's URI as it was asked for, percent-encoded.
    path: bytes

    @property
    def aor(self) -> str:
        """The AOR whose turn the request is."""
        return self.document.aor


def root_path(root: str) -> bytes:
    """The path of an XCAP root URI, without a slash at its end: ``b"/xcap"`` or ``b""``.

    Raises ValueError for a root with a query (RFC 4825 §6.1).
    """
    if "?" in root or "#" in root:
        raise ValueError(f"the XCAP root {root!r} must not have a query")
    rest = root.partition("://")[2] if "://" in root else root
    _, slash, path = rest.partition("/") if "://" in root else ("", "/", rest.lstrip("/"))
    return (slash + path).rstrip("/").encode()


def below(uri: str, root: str) -> bytes | None:
    """Path and query, below an XCAP root URI, of an absolute one; None of what is not below it.

    A host has no case, and a port that is the scheme's own may be left out (RFC 4826 §3.4.7).
    """
    if uri.startswith(root + "/"):
        return uri[len(root) :].encode()
    try:
        given, own = urlsplit(uri), urlsplit(root)
        if _authority(given) != _authority(own):
            return None
    except ValueError:
        return None
    prefix = own.path.rstrip("/")
    if not given.path.startswith(prefix + "/"):
        return None
    query = f"?{given.query}" if given.query else ""
    return (given.path[len(prefix) :] + query).encode()


def _authority(uri: SplitResult) -> tuple[str, str | None, int | None]:
    return uri.scheme, uri.hostname, uri.port or _PORTS.get(uri.scheme)


def parse(uri: bytes, root: bytes = b"") -> ResourceSelector:
    """Read the path and query of a request's URI.

    ``root`` is the path of the XCAP root.  It may be there or not, because a reverse proxy may
    take it off.  The URI is split first and percent-decoded after (RFC 4825 §6.3).

    Raises SIPError 400 where the URI is malformed, 404 where it can't name a document, 414.
    """
    if len(uri) > MAX_URI:
        raise SIPError(414, "URI Too Long", text=f"the URI is longer than {MAX_URI} octets")
    path, _, query = uri.partition(b"?")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in (b"", b"/"):
        inner = path[len(root) :]
    else:
        inner = path
    segments = inner.split(b"/")[1:]
    node: tuple[bytes, ...] | None = None
    end = len(path)
    if b"~" in inner or b"%7" in inner:
        for number, segment in enumerate(segments):
            # "URIs containing %7E%7E should be normalized to ~~ for comparison" (§6)
            if unquote_to_bytes(segment) == _SEPARATOR:
                node = tuple(segments[number + 1 :])
                end -= sum([len(each) + 1 for each in segments[number:]])
                segments = segments[:number]
                break
    return ResourceSelector(_document(tuple(segments)), node, query, path[:end])


@lru_cache(maxsize=4096)
def _document(segments: tuple[bytes, ...]) -> DocumentSelector:
    if len(segments) < 2:
        raise SIPError(404, text="the URI names no document: AUID/users/XUI/name is missing")
    names = [_decode(segment) for segment in segments]
    auid, tree = names[:2]
    if tree == "global":
        owner, rest = "", names[2:]
    elif tree == "users":
        if len(names) < 3 or not names[2]:
            raise SIPError(404, text="the URI names no user")
        owner, rest = user(names[2]), names[3:]
    else:
        raise SIPError(404, text=f"{tree!r} is neither global nor users")
    if rest and not rest[-1]:
        rest.pop()
    if any(name in ("", ".", "..") or "/" in name for name in rest):
        raise SIPError(404, text="no document can have this name")
    path = "/".join(rest)
    if len(path.encode()) > MAX_NAME:
        raise SIPError(414, "URI Too Long", text=f"the name is longer than {MAX_NAME} octets")
    return DocumentSelector(auid, owner, path)


def user(xui: str) -> str:
    """The AOR that an XCAP User Identifier stands for: with or without ``sip:``.

    Raises SIPError 404 where it is none.
    """
    try:
        uri = parse_uri(xui if ":" in xui.partition("@")[0] else f"sip:{xui}")
    except SIPError:
        uri = None
    if uri is None or uri.scheme not in ("sip", "sips") or not uri.user or len(xui) > MAX_NAME:
        raise SIPError(404, text="there is no such user")
    return uri.aor


def _decode(segment: bytes) -> str:
    return decode(segment, "the path")


def decode(encoded: bytes, what: str) -> str:
    """Percent-decode a piece of a URI.

    Raises SIPError 400 where it isn't UTF-8, or has control characters.
    """
    if b"%" in encoded:
        for number, piece in enumerate(encoded.split(b"%")):
            if number and not _is_hexadecimal(piece[:2]):
                raise SIPError(400, text=f"{what} of the URI has a % that encodes nothing")
        encoded = unquote_to_bytes(encoded)
    try:
        text = encoded.decode()
    except UnicodeDecodeError:
        raise SIPError(400, text=f"{what} of the URI is not in UTF-8") from None
    if not text.isprintable() and any(each < " " or each == "\x7f" for each in text):
        raise SIPError(400, text=f"{what} of the URI has control characters")
    return text


def _is_hexadecimal(pair: bytes) -> bool:
    return len(pair) == 2 and all(each in b"0123456789abcdefABCDEF" for each in pair)
