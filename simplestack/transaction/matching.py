"""Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3, §8.2.2.2)."""

from __future__ import annotations

from typing import Final

from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Via
from simplestack.sip.message import Request, Response

__all__ = ["MergedRequests", "branch_and_sent_by", "has_cookie", "request_key"]

_COOKIE: Final = "z9hg4bk"


def branch_and_sent_by(response: Response) -> tuple[str, str]:
    """Branch and sent-by of the topmost Via of a response; raises SIPError 400.

    It is what we have sent, with received and rport filled in, so it is worth a look before it is
    parsed; what looks otherwise is parsed.
    """
    text = response.first("Via")
    if text:
        at = text.find(";branch=")
        if at > 0 and "," not in text and '"' not in text:
            end = text.find(";", at + 8)
            branch = text[at + 8 :] if end < 0 else text[at + 8 : end]
            # Parameters may stand before it.
            end = text.find(";", 0, at)
            if end < 0:
                end = at
            start = text.rfind(" ", 0, end) + 1
            return branch.strip(), text[start:end]
    top = response.top_via
    return top.branch or "", top.host if top.port is None else f"{top.host}:{top.port}"


def has_cookie(top: Via) -> bool:
    """Whether the branch is unique as RFC 3261 §8.1.1.7 wants it."""
    branch = top.branch
    return branch is not None and len(branch) > 7 and branch[:7].lower() == _COOKIE


def request_key(request: Request, top: Via, method: str) -> str:
    """What tells transactions of servers apart (RFC 3261 §17.2.3)."""
    branch = (top.branch or "").lower()
    if len(branch) > 7 and branch.startswith(_COOKIE):
        return f"{branch} {top.host}:{top.port} {method}"
    # "If the branch parameter in the top Via header field is not present, or does not contain the
    # magic cookie": as RFC 2543 elements are matched.  The To tag, which an ACK has from the
    # response, is left to what compares it.
    from_tag = to_tag = ""
    try:
        from_tag = request.from_.tag or ""
        if method != "INVITE":
            to_tag = request.to.tag or ""
        sequence = str(request.cseq.number)
    except SIPError:
        sequence = request.get("CSeq") or ""
    call_id = request.get("Call-ID") or ""
    return "\n".join((str(top), method, request.uri, from_tag, to_tag, call_id, sequence))


def _identity(request: Request) -> str | None:
    """From tag, Call-ID and CSeq of a request that belongs to no dialog; None of others."""
    try:
        if request.to.tag is not None:
            return None
        cseq = request.cseq
        return f"{request.call_id} {request.from_.tag} {cseq.number} {cseq.method}"
    except SIPError:
        return None


class MergedRequests:
    """Remembers requests for a while, to know those that come by another path as well (§8.2.2.2).

    "If the request has no tag in the To header field ... If the From tag, Call-ID, and CSeq exactly
    match those associated with an ongoing transaction, but the request does not match that
    transaction ..., the UAS core SHOULD generate a 482 (Loop Detected) response".  It is two
    dictionaries that take turns, so nothing is done when a request is too old; where one is full,
    the other gets its turn before its time.
    """

    __slots__ = ("_before", "_current", "_limit", "_period", "_until")

    def __init__(self, period: float, limit: int) -> None:
        self._period = period
        self._limit = limit
        # What tells the request apart → the key of its transaction.
        self._current: dict[str, str] = {}
        self._before: dict[str, str] = {}
        self._until = 0.0

    def check(self, request: Request, key: str, now: float) -> bool:
        """Whether another transaction has the same request; the first is remembered."""
        identity = _identity(request)
        if identity is None:
            return False
        if now >= self._until or len(self._current) >= self._limit:
            # Nothing of the period before is left if nobody has asked for long.
            fresh = now < self._until + self._period
            self._before = self._current if fresh else {}
            self._current = {}
            self._until = now + self._period
        first = self._before.get(identity) or self._current.setdefault(identity, key)
        return first != key

    def forget(self, request: Request, key: str) -> None:
        """Forget a request of this transaction."""
        if self._current or self._before:
            identity = _identity(request)
            if identity is not None:
                for seen in (self._current, self._before):
                    if seen.get(identity) == key:
                        del seen[identity]
