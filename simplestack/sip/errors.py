"""What is wrong with a message, and the response that says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simplestack.sip.framer import KeepAlive
    from simplestack.sip.message import Request, Response

__all__ = ["REASONS", "ParseError", "SIPError", "recognized"]

REASONS: dict[int, str] = {
    100: "Trying",
    180: "Ringing",
    181: "Call Is Being Forwarded",
    182: "Queued",
    183: "Session Progress",
    199: "Early Dialog Terminated",
    200: "OK",
    202: "Accepted",
    204: "No Notification",
    300: "Multiple Choices",
    301: "Moved Permanently",
    302: "Moved Temporarily",
    305: "Use Proxy",
    380: "Alternative Service",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    412: "Conditional Request Failed",
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    415: "Unsupported Media Type",
    416: "Unsupported URI Scheme",
    417: "Unknown Resource-Priority",
    420: "Bad Extension",
    421: "Extension Required",
    422: "Session Interval Too Small",
    423: "Interval Too Brief",
    424: "Bad Location Information",
    428: "Use Identity Header",
    429: "Provide Referrer Identity",
    430: "Flow Failed",
    433: "Anonymity Disallowed",
    436: "Bad Identity Info",
    437: "Unsupported Credential",
    438: "Invalid Identity Header",
    439: "First Hop Lacks Outbound Support",
    440: "Max-Breadth Exceeded",
    469: "Bad Info Package",
    470: "Consent Needed",
    480: "Temporarily Unavailable",
    481: "Call/Transaction Does Not Exist",
    482: "Loop Detected",
    483: "Too Many Hops",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending",
    493: "Undecipherable",
    494: "Security Agreement Required",
    500: "Server Internal Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    505: "Version Not Supported",
    513: "Message Too Large",
    580: "Precondition Failure",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}
"""Status codes and their default reason phrases (the IANA registry of SIP response codes)."""


def recognized(status: int) -> int:
    """The status code that a client acts on.

    RFC 3261 §8.1.3.2: "A UAC MUST treat any final response it does not recognize as being
    equivalent to the x00 response code of that class".
    """
    return status if status in REASONS else status // 100 * 100


class SIPError(Exception):
    """A request that is refused; it carries the response to give.

    `status` and `reason` make the status line, `headers` are added to the response, and
    `text` tells a person what is wrong: it leaves as ``Warning: 399 simplestack "text"``
    (RFC 3261 §20.43).
    """

    def __init__(
        self,
        status: int,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        text: str = "",
    ) -> None:
        self.status = status
        self.reason = REASONS.get(status, "Unknown") if reason is None else reason
        self.headers = tuple(headers)
        self.text = text
        super().__init__(status, self.reason, text)

    def __str__(self) -> str:
        return f"{self.status} {self.reason}" + (f": {self.text}" if self.text else "")


class ParseError(SIPError):
    """Bytes that can't be read as a SIP message.

    `message` is as much as could be read of a message that can be answered: a request with
    a Via, or a response. It is None where there is nothing to answer: then drop the
    datagram, close the connection.

    `earlier` are the messages that stood whole before the fault in the same piece of a
    stream; they are good, and come first.
    """

    def __init__(
        self,
        status: int,
        text: str = "",
        message: Request | Response | None = None,
        headers: Sequence[tuple[str, str]] = (),
        reason: str | None = None,
    ) -> None:
        super().__init__(status, reason, headers, text)
        self.message = message
        self.earlier: tuple[Request | Response | KeepAlive, ...] = ()
