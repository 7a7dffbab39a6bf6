"""Messages: a request or response as bytes, and as header fields and a body (RFC 3261 §7)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from mypy_extensions import mypyc_attr

from simplestack.sip.errors import REASONS, ParseError, SIPError
from simplestack.sip.fields import WarningValue, parse_name_addr
from simplestack.sip.grammar import integer, is_token, unfold
from simplestack.sip.headerfields import HeaderFields
from simplestack.sip.headers import KNOWN, canonical
from simplestack.sip.uri import Uri, parse_uri
from simplestack.sip.validation import METHODS, validate_request, validate_response

__all__ = [
    "DEFAULT_LIMITS",
    "METHODS",
    "Limits",
    "Message",
    "Request",
    "Response",
    "answerable",
    "content_length",
    "parse_head",
    "parse_message",
    "partial",
    "validate_request",
    "validate_response",
]


class Limits(NamedTuple):
    """How large a message may be; beyond it the answer is 513 (Message Too Large, §21.5.7)."""

    head: int = 16 * 1024
    """Octets of the start line and all header fields."""
    lines: int = 256
    """Header fields, a folded one counting once."""
    body: int = 64 * 1024
    """Octets of the body."""


DEFAULT_LIMITS: Final = Limits()

_bare: Final = re.compile(r"\r(?!\n)|(?<!\r)\n").sub
_is_version: Final = re.compile(r"SIP/[0-9]+\.[0-9]+", re.IGNORECASE).fullmatch
_SPACE: Final = 32
_STATUS_CODES: Final = {str(status): status for status in range(100, 700)}
_ENDS_WITHOUT_BODY: Final = ("\r\nContent-Length: 0\r\n\r\n", "\r\nContent-Length:0\r\n\r\n")


@mypyc_attr(acyclic=True)
class Message(HeaderFields):
    """A start line, header fields and a body."""

    __slots__ = ("body",)

    def __init__(self, headers: dict[str, list[str]] | None = None, body: bytes = b"") -> None:
        super().__init__({} if headers is None else headers)
        self.body = body

    def start_line(self) -> str:
        """The first line, without its line end."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """The message for the wire; Content-Length is that of the body.

        Raises ValueError when a value holds a line end: it would become a header field.
        """
        lines = [self.start_line()]
        for name, values in self.headers.items():
            if name != "Content-Length":
                for value in values:
                    lines.append(f"{name}: {value}")
        for line in lines:
            if "\n" in line or "\r" in line:
                raise ValueError("a line end in the start line or a header field")
        body = self.body
        lines.append(f"Content-Length: {len(body)}\r\n\r\n")
        data = "\r\n".join(lines).encode("utf-8", "surrogateescape")
        return data + body if body else data


@mypyc_attr(acyclic=True)
class Request(Message):
    """A request: method, Request-URI as written, header fields, body."""

    __slots__ = ("method", "uri")

    def __init__(
        self,
        method: str,
        uri: str,
        headers: dict[str, list[str]] | None = None,
        body: bytes = b"",
    ) -> None:
        self.method = method
        self.uri = uri
        super().__init__(headers, body)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri}>"

    @property
    def request_uri(self) -> Uri:
        """The Request-URI, parsed; raises SIPError 400."""
        return parse_uri(self.uri)

    def start_line(self) -> str:
        """The Request-Line."""
        return f"{self.method} {self.uri} SIP/2.0"

    def response(
        self,
        status: int,
        reason: str | None = None,
        to_tag: str | None = None,
        record_route: bool = False,
    ) -> Response:
        """The response with the header fields that RFC 3261 §8.2.6.2 wants copied.

        `to_tag` is added to a To that has no tag. Record-Route is copied where asked, as
        for the 2xx that makes a dialog (§12.1.1). What a broken request lacks is left out.
        """
        mine = self.headers
        headers: dict[str, list[str]] = {}
        for name in _COPIED:
            if name in mine:
                headers[name] = mine[name][:]
        if to_tag is not None and "To" in headers:
            to = headers["To"][0]
            if not _has_tag(to):
                headers["To"] = [f"{to};tag={to_tag}"]
        if record_route and "Record-Route" in mine:
            headers["Record-Route"] = mine["Record-Route"][:]
        return Response(status, reason, headers)

    def refusal(self, error: SIPError, to_tag: str | None = None) -> Response:
        """The response that an error carries, with its header fields and Warning."""
        response = self.response(error.status, error.reason, to_tag)
        for name, value in error.headers:
            response.add(name, value)
        if error.text:
            response.add("Warning", str(WarningValue(399, "simplestack", error.text)))
        return response


@mypyc_attr(acyclic=True)
class Response(Message):
    """A response: status code, reason phrase, header fields, body.

    Of one that was received the header is divided when it is asked for: of the 200 to a NOTIFY
    nobody wants more than its first Via and its CSeq.
    """

    __slots__ = ("reason", "status")

    def __init__(
        self,
        status: int,
        reason: str | None = None,
        headers: dict[str, list[str]] | None = None,
        body: bytes = b"",
    ) -> None:
        self.status = status
        self.reason = REASONS.get(status, "") if reason is None else reason
        super().__init__(headers, body)

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"

    def start_line(self) -> str:
        """The Status-Line."""
        return f"SIP/2.0 {self.status} {self.reason}"


_COPIED: Final = ("Via", "From", "To", "Call-ID", "CSeq", "Timestamp")


def _has_tag(to: str) -> bool:
    if "tag" not in to.lower():
        return False
    try:
        return parse_name_addr(to).tag is not None
    except SIPError:
        return True


def parse_message(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Request | Response:
    """Read one datagram. Raises ParseError.

    Line ends before the start line are skipped (§7.5). What follows the body that
    Content-Length tells of is dropped, and a body shorter than that is a 400 (§18.3).
    """
    if data[:2] == b"\r\n":
        data = data.lstrip(b"\r\n")
    if data[:8] == b"SIP/2.0 ":
        response = _plain_response(data, limits)
        if response is not None:
            return response
    head, end, body = data.partition(b"\r\n\r\n")
    if len(head) > limits.head:
        head = head[: limits.head]
        raise ParseError(513, "the header is too large", partial(head, limits))
    if not end:
        raise ParseError(400, "no empty line ends the header", partial(data, limits))
    message = parse_head(head, limits)
    length = content_length(message)
    if length is not None:
        if length > len(body):
            raise ParseError(400, "the body is shorter than Content-Length", answerable(message))
        body = body[:length]
    if len(body) > limits.body:
        raise ParseError(513, "the body is too large", answerable(message))
    message.body = body
    return message


def parse_head(head: bytes, limits: Limits) -> Request | Response:
    """Read the start line and header fields, without the empty line. Raises ParseError."""
    return _parse_head(head.decode("utf-8", "surrogateescape"), limits)


def _parse_head(text: str, limits: Limits) -> Request | Response:
    headers: dict[str, list[str]] = {}
    fault: str | None = None
    status = 400
    known = KNOWN
    count = 0
    end = text.find("\r")
    feed = text.find("\n")
    start = text if end < 0 else text[:end]
    while end >= 0:
        if feed != end + 1:
            raise ParseError(400, "a line ends without CR LF", _mended(text, limits))
        at = end + 2
        end = text.find("\r", at)
        feed = text.find("\n", at)
        stop = len(text) if end < 0 else end
        count += 1
        colon = text.find(":", at, stop)
        name = text[at : stop if colon < 0 else colon]
        key = known.get(name)
        if key is None or colon < 0:
            if name[:1] in (" ", "\t"):
                return _parse_head(unfold(text), limits)
            name = name.rstrip(" \t")
            if colon < 0 or not is_token(name):
                # It may be a damaged Authorization: what looks like a value stays unsaid.
                fault = fault or f"not a header field: {name.partition('=')[0][:40]}"
                continue
            key = canonical(name)
        at = colon + 1
        if at < stop and text[at] == " ":
            at += 1
        value = text[at:stop]
        if value and (ord(value[0]) <= _SPACE or ord(value[-1]) <= _SPACE):
            value = value.strip(" \t")
        if key in headers:
            headers[key].append(value)
        else:
            headers[key] = [value]
    if feed >= 0:
        raise ParseError(400, "a line ends without CR LF", _mended(text, limits))
    if count > limits.lines:
        status, fault = 513, "too many header fields"
    message: Request | Response | None
    try:
        message = _start(start, headers)
    except ParseError as error:
        if fault is None or error.message is None:
            raise
        message = error.message
    if fault is not None:
        raise ParseError(status, fault, answerable(message))
    return message


def _plain_response(data: bytes, limits: Limits) -> Response | None:
    """A response without body, its header left unread; None where it must be looked at closer.

    What is wrong with a field shows when somebody asks for it: "ignore any malformed header fields
    that are not necessary" (§8.2.2) is as good a rule for responses.
    """
    length = len(data)
    text = data.decode("utf-8", "surrogateescape")
    # A line takes four octets at least.
    if length > limits.head or length > 4 * limits.lines or not text.endswith(_ENDS_WITHOUT_BODY):
        return None
    status = _STATUS_CODES.get(text[8:11])
    at = text.find("\r\n")
    if status is None or text[11] != " " or text.find("\r\n\r\n") != len(text) - 4:
        return None
    response = Response(status, text[12:at])
    response._unread = text[at:-2]
    return response


def _mended(text: str, limits: Limits) -> Request | Response | None:
    try:
        return answerable(_parse_head(_bare(" ", text), limits))
    except ParseError as error:
        return error.message


def partial(head: bytes, limits: Limits) -> Request | Response | None:
    """What can be read of a header that is not whole, its last line left out."""
    try:
        return answerable(parse_head(head.rpartition(b"\r\n")[0], limits))
    except ParseError as error:
        return error.message


def answerable(message: Request | Response) -> Request | Response | None:
    """The message if it has a Via, by which it could be answered, else None."""
    return message if "Via" in message.headers else None


def content_length(message: Request | Response) -> int | None:
    """The Content-Length, None if there is none. Raises ParseError 400."""
    values = message.headers.get("Content-Length")
    if values is None:
        return None
    length = integer(values[0], 2**31)
    if length is None:
        raise ParseError(400, f"bad Content-Length: {values[0][:60]}", answerable(message))
    if len(values) > 1 and any(integer(value, 2**31) != length for value in values):
        raise ParseError(400, "several Content-Length", answerable(message))
    return length


def _start(line: str, headers: dict[str, list[str]]) -> Request | Response:
    # RFC 3261 §7.1: "The Request-Line ends with CRLF. No CR or LF are allowed except in the
    # end-of-line CRLF sequence. No linear whitespace (LWS) is allowed in any of the elements."
    if line[:8] == "SIP/2.0 ":
        return _status_line(line, headers)
    try:
        method, uri, version = line.split(" ")
    except ValueError:
        method = uri = version = ""
    if version == "SIP/2.0" and uri and (method in METHODS or is_token(method)):
        return Request(method, uri, headers)
    if line[:4].upper() == "SIP/":
        return _status_line(line, headers)
    request = Request(*_salvaged(line), headers)
    if not is_token(method) or not uri or not _is_version(version):
        raise ParseError(400, f"bad Request-Line: {line[:60]}", answerable(request))
    if version.upper() != "SIP/2.0":
        raise ParseError(505, f"only SIP/2.0 is spoken here: {version[:20]}", answerable(request))
    return request


def _salvaged(line: str) -> tuple[str, str]:
    method, _, rest = line.strip(" ").partition(" ")
    uri, _, version = rest.strip(" ").rpartition(" ")
    return method, (uri or version).strip(" ")


def _status_line(line: str, headers: dict[str, list[str]]) -> Response:
    version, _, rest = line.partition(" ")
    status, _, reason = rest.partition(" ")
    code = _STATUS_CODES.get(status)
    if version.upper() != "SIP/2.0" or code is None:
        raise ParseError(400, f"bad Status-Line: {line[:60]}")
    return Response(code, reason, headers)
