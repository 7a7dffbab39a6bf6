"""The bare responder: what Python on Twisted does at the very best, the measure of the table.

It reads nothing of a request but the branch of its Via, answers with canned octets and sends the
canned NOTIFYs that the operation calls for.
"""

import sys

from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol

__all__ = ["BareResponder"]

_ANSWER = (
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;rport=5060;branch=z9hG4bK",
    b"\r\nFrom: <sip:u00000@bench.example>;tag=u00000\r\nTo: <sip:u00000@bench.example>;tag=b\r\n"
    b"Call-ID: publish-u00000@bench\r\nCSeq: 1 PUBLISH\r\nSIP-ETag: canned\r\nExpires: 3600\r\n"
    b"Contact: <sip:u00000@127.0.0.1:5060>;expires=3600\r\nServer: bare\r\n"
    b"Content-Length: 0\r\n\r\n",
)
_BODY = (
    b'<?xml version="1.0" encoding="UTF-8"?>\r\n<presence xmlns="urn:ietf:params:xml:ns:pidf" '
    b'entity="sip:u00000@bench.example">\r\n <tuple id="t1">\r\n  <status><basic>open</basic>'
    b'</status>\r\n  <contact priority="0.8">sip:u00000@127.0.0.1:5060</contact>\r\n'
    b"  <note>at desk 00000000</note>\r\n </tuple>\r\n</presence>\r\n"
)
_NOTIFY = (
    b"NOTIFY sip:u00000@127.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;rport;"
    b"branch=z9hG4bKcanned\r\nMax-Forwards: 70\r\nFrom: <sip:u00000@bench.example>;tag=b\r\n"
    b"To: <sip:u00001@bench.example>;tag=u00001\r\nCall-ID: d",
    b"@bench\r\nCSeq: 1 NOTIFY\r\nContact: <sip:127.0.0.1:5060>\r\nEvent: presence\r\n"
    b"Subscription-State: active;expires=3600\r\nContent-Type: application/pidf+xml\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY),
)


class BareResponder(DatagramProtocol):
    """Answers every request, and tells each watcher's address."""

    transport: IUDPTransport

    def __init__(self, watchers: list[tuple[str, int]]) -> None:
        self.watchers = watchers

    def datagramReceived(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer a request; a 200 of a watcher needs nothing."""
        if data.startswith(b"SIP/2.0"):
            return
        at = data.index(b"z9hG4bK") + 7
        serial = data[at : at + 8]
        write = self.transport.write
        write(b"%b%b%b" % (_ANSWER[0], serial, _ANSWER[1]), addr)
        if self.watchers:
            notify = b"%b%b%b" % (_NOTIFY[0], serial, _NOTIFY[1])
            for watcher in self.watchers:
                write(notify, watcher)


def main(port: int, watchers: int, watcher_port: int) -> None:
    """Serve 127.0.0.1 until a signal."""
    from twisted.internet import reactor

    protocol = BareResponder([("127.0.0.1", watcher_port)] * watchers)
    reactor.listenUDP(port, protocol, interface="127.0.0.1")  # type: ignore[attr-defined]
    reactor.run()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
