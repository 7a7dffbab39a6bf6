"""Which of this machine's addresses a peer reaches us at."""

from __future__ import annotations

import socket

__all__ = ["Routes", "mapped", "unmapped"]

_BOUND = 4096


class Routes:
    """The local addresses of the routes to peers, as the system's routing table has them.

    A socket that listens on every address does not know the one that a peer sees; connecting
    a datagram socket, which sends nothing, tells it.
    """

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def source(self, host: str) -> str:
        """The address that packets to the IP address `host` leave from."""
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _BOUND:
                self._known.clear()
            known = self._known[host] = _source(host)
        return known


def _source(host: str) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Port 9 is discard; nothing is sent.
            probe.connect((host, 9))
            address: str = probe.getsockname()[0]
            return address
    except OSError:
        return "::1" if family == socket.AF_INET6 else "127.0.0.1"


def unmapped(host: str) -> str:
    """An address as a person writes it: IPv4 without the IPv6 dress of a dual-stack socket."""
    return host[7:] if host[:7] == "::ffff:" and "." in host else host


def mapped(host: str) -> str:
    """An IPv4 address in the form in which a dual-stack IPv6 socket sends to it."""
    return host if ":" in host else f"::ffff:{host}"
