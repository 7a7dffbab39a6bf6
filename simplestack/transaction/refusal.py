"""A refusal: the answer to a request that gets no transaction (RFC 3261 §8.2.7)."""

from hashlib import blake2s

from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Via
from simplestack.sip.message import Request
from simplestack.transaction.flow import Flow
from simplestack.transaction.hops import response_flow, stamp

__all__ = ["refusal"]


def refusal(request: Request, error: SIPError, flow: Flow) -> tuple[Flow, bytes] | None:
    """The answer as far as the request can be read, and where it goes; None where none is sent."""
    # "ACK ... no response" (§17): never answered, whatever is wrong with it.
    if request.method == "ACK" or "Via" not in request.headers:
        return None
    raw = request.headers["Via"][0]
    try:
        top: Via | None = request.top_via
    except SIPError:
        top = None
    if top is None:
        # What reached us from there will find its way back there.
        back = flow
    else:
        stamp(request, top, flow)
        back = response_flow(top, flow)
    # A stateless UAS gives retransmissions the same tag (§8.2.7).
    digest = blake2s(f"{raw} {request.get('Call-ID')}".encode("utf-8", "surrogateescape"))
    response = request.refusal(error, to_tag=digest.hexdigest()[:16])
    for name in ("From", "To", "Call-ID", "CSeq"):
        if name in response.headers:
            del response.headers[name][1:]
    try:
        return back, response.to_bytes()
    except ValueError:
        return None
