"""Messages for the tests of the transaction floor."""

from simplestack.sip.message import Request, Response, parse_message

__all__ = ["NORMAL", "answer", "request", "text"]

NORMAL = "SIP/2.0/UDP 192.0.2.2:5060;branch=z9hG4bK-1;rport"


def text(
    method: str = "OPTIONS",
    *,
    via: str = NORMAL,
    uri: str = "sip:example.com",
    from_: str = "<sip:alice@example.com>;tag=a",
    to: str = "<sip:bob@example.com>",
    call_id: str = "call",
    cseq: str | None = None,
    more: str = "",
    body: str = "",
) -> bytes:
    """A request as bytes; ``more`` are lines with their line ends."""
    return (
        f"{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from_}\r\nTo: {to}\r\n"
        f"Call-ID: {call_id}\r\nCSeq: {cseq or f'1 {method}'}\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def request(
    method: str = "OPTIONS",
    *,
    via: str = NORMAL,
    uri: str = "sip:example.com",
    from_: str = "<sip:alice@example.com>;tag=a",
    to: str = "<sip:bob@example.com>",
    call_id: str = "call",
    cseq: str | None = None,
    more: str = "",
    body: str = "",
) -> Request:
    """A request, parsed."""
    data = text(
        method,
        via=via,
        uri=uri,
        from_=from_,
        to=to,
        call_id=call_id,
        cseq=cseq,
        more=more,
        body=body,
    )
    message = parse_message(data)
    assert isinstance(message, Request)
    return message


def answer(data: bytes, status: int, tag: str = "b") -> Response:
    """The response to a request that was sent as these bytes."""
    message = parse_message(data)
    assert isinstance(message, Request)
    return message.response(status, to_tag=tag if status > 100 else None)
