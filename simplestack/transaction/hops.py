"""The topmost Via of a request: what we write into it, and where it sends the response."""

from __future__ import annotations

from simplestack.sip.fields import Via, parse_via, split_list
from simplestack.sip.grammar import Params
from simplestack.sip.message import Request
from simplestack.transaction.flow import DEFAULT_PORTS, Flow

__all__ = ["response_flow", "stamp"]


def stamp(request: Request, top: Via, flow: Flow) -> None:
    """Write into the topmost Via where the request came from (RFC 3261 §18.2.1, RFC 3581 §4)."""
    address, port = flow.remote
    rport = False
    params = top.params
    for name, _ in params:
        if name == "rport":
            rport = True
        elif name == "received":
            # Nobody but us can say that.
            break
    else:
        if not rport and (top.host == address or top.host == f"[{address}]"):
            return
        raw = request.headers["Via"][0]
        if not rport:
            # "If the host portion of the "sent-by" parameter contains a domain name, or if it
            # contains an IP address that differs from the packet source address, the server MUST
            # add a "received" parameter"
            if "," not in raw:
                params = (*params, ("received", address))
                top = Via(top.transport, top.host, top.port, params)
                request.set_top_via(f"{raw};received={address}", top)
                return
        else:
            # "it MUST set the value of the parameter to the source port of the request ... the
            # server MUST insert a "received" parameter containing the source IP address that the
            # request came from even if it is identical to the value of the "sent-by" component"
            at = raw.find(";rport")
            after = raw[at + 6 :]
            if at > 0 and after[:1] in ("", ";") and "," not in raw and '"' not in raw:
                place = params.index(("rport", None))
                text = str(port)
                here: Params = (("received", address), ("rport", text))
                params = params[:place] + here + params[place + 1 :]
                top = Via(top.transport, top.host, top.port, params)
                request.set_top_via(f"{raw[:at]};received={address};rport={text}{after}", top)
                return
    _stamp_list(request, address, port, rport or top.rport is not None)


def _stamp_list(request: Request, address: str, port: int, rport: bool) -> None:
    """The same for a topmost Via in an unusual spelling, or in a list."""
    parts = split_list(request.headers["Via"][0])
    top = parse_via(parts[0]).with_param("received", address)
    if rport:
        top = top.with_param("rport", str(port))
    request.set_top_via(", ".join([str(top), *parts[1:]]), top)


def response_flow(via: Via, flow: Flow) -> Flow:
    """The flow for a response, by the topmost Via and the flow of the request (RFC 3261 §18.2.2).

    Over a connection the response goes back by it.  Over UDP it goes to the address that the
    request came from: to the source port if the client asked for that (RFC 3581 §4), else to the
    port in sent-by.  The address is always the source's, for either sent-by is that address or
    "received" was added.  ``maddr`` is followed to multicast groups alone, which is what clients
    are told to use it for (§18.1.1): it would let a stranger aim our responses at any host.
    """
    if flow.reliable:
        return flow
    address, port = flow.remote
    for name, value in via.params:
        if name == "rport":
            return flow
        if name == "maddr" and value is not None and _is_multicast(value):
            return flow.toward((value, via.port or DEFAULT_PORTS["udp"]))
    wanted = via.port or DEFAULT_PORTS["udp"]
    return flow if wanted == port else flow.toward((address, wanted))


def _is_multicast(address: str) -> bool:
    # 224.0.0.0/4; "Usage of IPv6 multicast is not defined in this specification" (§18.1.1).
    octets = address.split(".")
    return (
        len(octets) == 4
        and all(octet.isascii() and octet.isdigit() and int(octet) < 256 for octet in octets)
        and 224 <= int(octets[0]) < 240
    )
