"""Ports for the servers of tests and benchmarks."""

import random
import socket
from contextlib import closing

__all__ = ["free_port"]


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and for TCP now.

    It is below those that the system gives to sockets that want any port: tests that run at the
    same time have many of these, and one of them could be had before the server that is to
    have this one has started.
    """
    for _ in range(100):
        port = random.randrange(10_240, 32_768)
        with (
            closing(socket.socket()) as stream,
            closing(socket.socket(type=socket.SOCK_DGRAM)) as datagram,
        ):
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")
