"""HTTP for XCAP: a resource that mounts in any site, and a site with limits."""

import gzip
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, NoResource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

__all__ = ["Exchange", "XCAPResource", "XCAPSite"]

_ALLOW: Final = "GET, HEAD, PUT, DELETE, OPTIONS"
#: Smaller bodies are not worth the time to compress them.
_COMPRESSED_FROM: Final = 1024
_PREFLIGHT: Final = {
    b"Access-Control-Allow-Methods": _ALLOW.encode(),
    b"Access-Control-Allow-Headers": (
        b"Authorization, Content-Type, If-Match, If-None-Match, If-Modified-Since,"
        b" If-Unmodified-Since"
    ),
    b"Access-Control-Max-Age": b"3600",
}
_EXPOSED: Final = b"ETag, Last-Modified, WWW-Authenticate, Authentication-Info, Retry-After"
_SAFE: Final = (b"GET", b"HEAD", b"OPTIONS")
_SERVER: Final = b"simplestack"
_DONE: Final = Failure(ConnectionDone())


class Exchange(NamedTuple):
    """A request as it came, and how it is answered."""

    method: str
    #: Path and query below where the resource is mounted, percent-encoded.
    uri: bytes
    #: The request target as the client wrote it.
    target: bytes
    #: By lower-case name; several of one name are joined by ", ".
    headers: Mapping[str, str]
    body: bytes
    #: Whether it came over TLS.
    secure: bool
    #: Called once, with status, header fields and body.
    respond: Callable[[int, tuple[tuple[str, str], ...], bytes], None]


@implementer(IResource)
class XCAPResource:
    """Everything below an XCAP root, as a leaf of any site.

    ``serve`` is called with each request but OPTIONS, for which ``allow`` says which methods a URI
    has.  ``max_body`` bounds the octets of a body; a site
    other than ``XCAPSite`` reads the whole body before this can refuse it.  ``origins`` are
    those that scripts of web pages may come from ("*" for any): by default none (CORS is off).
    """

    isLeaf = True

    def __init__(
        self,
        serve: Callable[[Exchange], None],
        *,
        max_body: int = 262_144,
        origins: Collection[str] = (),
        allow: Callable[[bytes], str] = lambda uri: _ALLOW,
    ) -> None:
        self._serve = serve
        self._allow = allow
        self.max_body = max_body
        self._origins = frozenset(origin.encode() for origin in origins)

    def render(self, request: Request) -> int:
        """Take a request; the answer comes later (Twisted's IResource)."""
        method = request.method
        if self._origins:
            self._share(request)
        target: bytes = request.uri
        uri = target
        if uri[:1] != b"/":
            # "a server MUST accept the absolute-form in requests" (RFC 9112 §3.2.2)
            _, found, rest = uri.partition(b"://")
            uri = b"/" + rest.partition(b"/")[2] if found else b"/" + uri
        if request.prepath:
            uri = b"/" + b"/".join(uri.split(b"/")[len(request.prepath) + 1 :])
        answer = _Answer(request)
        if method == b"OPTIONS":
            answer.respond(200, (("Allow", self._allow(uri)),), b"")
            return NOT_DONE_YET
        body = request.content.read() if request.content is not None else b""
        if len(body) > self.max_body:
            answer.respond(413, _TEXT, _too_large(self.max_body))
            return NOT_DONE_YET
        headers = {
            name.decode("ascii").lower(): ", ".join(
                [value.decode("utf-8", "surrogateescape") for value in values]
            )
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self._serve(
            Exchange(
                method.decode("ascii", "replace"),
                uri,
                target,
                headers,
                body,
                request.isSecure(),
                answer.respond,
            )
        )
        return NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """A leaf has no children."""
        child: IResource = NoResource()
        return child

    def putChild(self, path: bytes, child: IResource) -> None:
        """A leaf has no children."""
        raise ValueError("nothing can be put below the XCAP root")

    def _share(self, request: Request) -> None:
        """Let pages of the origins read the answer (the Fetch standard's CORS protocol)."""
        # Also the answer to who has no origin is another one (the Fetch standard's "Vary").
        request.setHeader(b"Vary", b"Origin")
        origin = request.getHeader(b"origin")
        if origin is None or not (origin in self._origins or b"*" in self._origins):
            return
        request.setHeader(b"Access-Control-Allow-Origin", origin)
        request.setHeader(b"Access-Control-Expose-Headers", _EXPOSED)
        if request.method == b"OPTIONS":
            for name, value in _PREFLIGHT.items():
                request.setHeader(name, value)


_TEXT: Final = (("Content-Type", "text/plain; charset=utf-8"),)


def _too_large(limit: int) -> bytes:
    return b"the body is larger than %d octets\n" % limit


class _Answer:
    """Writes one response, unless the client has gone."""

    __slots__ = ("_gone", "_request")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._gone = False
        request.notifyFinish().addErrback(self._lost)

    def _lost(self, reason: object) -> None:
        self._gone = True

    def respond(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        """Write the response: status, header fields, and a body with its length."""
        if self._gone:
            return
        request = self._request
        request.setResponseCode(status)
        # An empty answer has no type.
        request.defaultContentType = None
        fields = request.responseHeaders
        fields.setRawHeaders(b"Server", [_SERVER])
        for name, value in headers:
            fields.addRawHeader(name.encode("ascii"), value.encode("utf-8", "surrogateescape"))
        if request.method in _SAFE and status in (200, 304):
            # "servers SHOULD indicate a no-cache directive" (RFC 4825 §9)
            fields.addRawHeader(b"Cache-Control", b"no-cache")
            # Of a 304 it is not known how large the body of the 200 would be.
            fields.addRawHeader(b"Vary", b"Accept-Encoding")
            if len(body) >= _COMPRESSED_FROM and _takes_gzip(request.getHeader(b"accept-encoding")):
                body = gzip.compress(body, 6, mtime=0)
                fields.addRawHeader(b"Content-Encoding", b"gzip")
        if status != 304:
            fields.setRawHeaders(b"Content-Length", [b"%d" % len(body)])
        request.write(body)
        request.finish()


def _takes_gzip(field: bytes | None) -> bool:
    if field is None or b"gzip" not in field.lower():
        return False
    for each in field.lower().split(b","):
        coding, *parameters = [part.strip() for part in each.split(b";")]
        if coding in (b"gzip", b"x-gzip"):
            for parameter in parameters:
                name, _, value = parameter.partition(b"=")
                if name.strip() == b"q" and not value.strip(b" 0."):
                    return False
            return True
    return False


class _Request(Request):
    """A request whose body is bounded while it is read."""

    #: None when the connection has gone.
    channel: Any
    _refused = False
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """The head has been read; Content-Length says too much, or nothing (chunked)."""
        super().gotLength(length)
        if length is not None and length > self._limit():
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body has been read."""
        self._received += len(data)
        if self._refused:
            # What was under way is read, so that the client sees the answer; but not for ever.
            if self._received > 16 * self._limit() and self.channel is not None:
                self.channel.forceAbortClient()
        elif self._received > self._limit():
            self._refuse()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The whole request has been read."""
        if not self._refused:
            super().requestReceived(command, path, version)
        elif self.channel is not None:
            self.channel.loseConnection()

    def _limit(self) -> int:
        limit: int = self.channel.site.max_body
        return limit

    def _refuse(self) -> None:
        self._refused = True
        # There is to be no "100 Continue" after this.
        self.requestHeaders.removeHeader(b"Expect")
        text = _too_large(self._limit())
        transport: Any = self.channel.transport
        transport.write(
            b"HTTP/1.1 413 Content Too Large\r\nServer: simplestack\r\nConnection: close\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%b"
            % (len(text), text)
        )


class _Channel(HTTPChannel):
    """A connection that counts, and sends each response at once."""

    site: "XCAPSite"

    def __init__(self) -> None:
        super().__init__()
        #: The parts of the response that is being written.
        self._parts: list[bytes] = []
        #: Whether something of the next request has come.
        self._begun = False
        #: From where the connection comes; "" where that is no address.
        self.host = ""

    def resetTimeout(self) -> None:
        """Something has come: with the first octet of a request the time for all of it begins."""
        if not self._begun:
            self._begun = True
            super().resetTimeout()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Any) -> None:
        """Keep the head until its body is there."""
        parts = self._parts
        parts.append(b"%b %b %b\r\n" % (version, code, reason))
        for name, values in headers.getAllRawHeaders():
            for value in values:
                parts.append(b"%b: %b\r\n" % (name, value))
        parts.append(b"\r\n")

    def write(self, data: bytes) -> None:
        """Keep a part of the body."""
        self._parts.append(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Keep parts of the body."""
        self._parts += iovec

    def requestDone(self, request: Any) -> None:
        """The response is whole; what comes of the next request comes after it."""
        data = b"".join(self._parts)
        self._parts.clear()
        self._begun = False
        send(self.transport, data)
        super().requestDone(request)

    def pauseProducing(self) -> None:
        """The client does not read what it was sent: what it asked for besides waits."""
        super().pauseProducing()
        # While a request is worked off Twisted reads on, and goes on with what it has read.
        transport: Any = self.transport
        transport.pauseProducing()
        self.paused = True

    def resumeProducing(self) -> None:
        """The client has read it."""
        super().resumeProducing()
        if self.paused:
            self.paused = False
            self.dataReceived(b"")

    def connectionMade(self) -> None:
        self.site.connections += 1
        self.site.by_address[self.host] += 1
        super().connectionMade()

    def connectionLost(self, reason: Failure = _DONE) -> None:
        self.site.connections -= 1
        by_address = self.site.by_address
        by_address[self.host] -= 1
        if not by_address[self.host]:
            del by_address[self.host]
        super().connectionLost(reason)


def send(transport: Any, data: bytes) -> None:
    """Write to a transport: what the socket takes goes without a turn of the reactor.

    That saves two system calls and one event for every response.  Where octets wait already, and
    for transports that are no plain socket, it is ``transport.write``.
    """
    if (
        # TLS gives the attributes of the socket that it lies on for its own: what is written there
        # would leave in clear.
        not hasattr(type(transport), "writeSomeData")
        or getattr(transport, "TLS", False)
        or getattr(transport, "_tempDataLen", 1)
        or transport.dataBuffer
        or transport.disconnecting
        or not transport.connected
    ):
        transport.write(data)
        return
    sent = transport.writeSomeData(data)
    if not isinstance(sent, int):
        # The connection is lost, which the reactor will find in its own way.
        sent = 0
    if sent < len(data):
        transport.write(data[sent:])


class XCAPSite(Site):
    """A site of the XCAP resource alone, in which everything is bounded.

    A connection is closed when nothing has come for ``timeout`` seconds, or not the whole of a
    request that long after its first octet, and a new one at once while there are
    ``max_connections``, or ``per_address`` from where it comes.
    """

    noisy = False

    def __init__(
        self,
        resource: XCAPResource,
        reactor: Any,
        *,
        max_connections: int = 10_000,
        per_address: int = 1_000,
        timeout: float = 60.0,
    ) -> None:
        super().__init__(
            resource,
            requestFactory=_Request,
            parsePOSTFormSubmission=False,
            reactor=reactor,
            timeout=timeout,
        )
        self.max_body = resource.max_body
        self.max_connections = max_connections
        self.per_address = per_address
        self.connections = 0
        #: How many there are from each address.
        self.by_address: Counter[str] = Counter()

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/1.1 alone is negotiated over TLS."""
        return [b"http/1.1"]

    def buildProtocol(self, addr: Any) -> Any:
        """A connection, or None where there are too many."""
        host: str = getattr(addr, "host", "")
        if self.connections >= self.max_connections or (
            host and self.by_address[host] >= self.per_address
        ):
            return None
        channel: Any = _Channel()
        channel.host = host
        channel.factory = self
        channel.site = self
        channel.requestFactory = self.requestFactory
        channel.callLater = self.reactor.callLater
        channel.timeOut = self.timeOut
        return channel

    def log(self, request: Any) -> None:
        """No access log: what matters is logged where it happens."""
