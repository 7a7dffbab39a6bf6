"""A flow: the way to one peer over one transport, as the transaction floor sees it."""

from __future__ import annotations

from typing import Final, Protocol

__all__ = ["DEFAULT_PORTS", "Flow", "via"]

#: "If the port is absent, the default value depends on the transport.  It is 5060 for UDP, TCP
#: and SCTP, 5061 for TLS" (RFC 3261 §18.1.1).
DEFAULT_PORTS: Final = {"udp": 5060, "tcp": 5060, "tls": 5061}


class Flow(Protocol):
    """A stream connection, or a datagram socket together with the peer's address (RFC 5626 §3.1).

    The network provides these objects.  A flow is compared by identity: one object for one
    connection; for datagrams, objects with the same ``key`` are the same flow.
    """

    @property
    def transport(self) -> str:
        """``udp``, ``tcp`` or ``tls``."""

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits by itself: all but UDP."""

    @property
    def secure(self) -> bool:
        """Whether the hop is encrypted."""

    @property
    def local(self) -> tuple[str, int]:
        """Host and port of the sent-by of our Via on this flow; IPv6 without brackets."""

    @property
    def sent_by(self) -> str:
        """The same as it is written: ``192.0.2.1:5060``, ``[2001:db8::1]:5060``."""

    @property
    def remote(self) -> tuple[str, int]:
        """Address and port of the peer, as seen from here; IPv6 without brackets."""

    @property
    def alive(self) -> bool:
        """Whether what is sent may still arrive: false for good once a connection has ended."""

    @property
    def key(self) -> str:
        """The flow in text, the same for the same flow: ``tcp:127.0.0.1:5060>127.0.0.1:40312``."""

    def send(self, data: bytes) -> None:
        """Send one message.  Never raises; what can't be sent is lost, as on any network."""

    def toward(self, remote: tuple[str, int]) -> Flow:
        """Of a datagram flow: the flow of the same socket to another address and port.

        Responses need it where the request came from another port than its Via names
        (RFC 3261 §18.2.2).  A stream returns itself.
        """


def via(flow: Flow, branch: str) -> str:
    """Our Via header field value on this flow, which asks for the source port (RFC 3581 §3)."""
    return f"SIP/2.0/{flow.transport.upper()} {flow.sent_by};rport;branch={branch}"
