"""A loader or handler as a process: it goes to the controller, and stays until that is done."""

import socket
import sys
import time

from simplestack.stone.errors import StoneError
from simplestack.stone.surroundings import address_of
from simplestack.stone.worker import Worker

__all__ = ["join", "serve"]


def serve(role: str, controller: str, token: str, patience: float = 10.0) -> None:
    """Serve the controller until the end.  Raises StoneError."""
    end = time.monotonic() + patience
    while True:
        try:
            connection = socket.create_connection(address_of(controller), 10)
            break
        except OSError as error:
            if time.monotonic() > end:
                raise StoneError(f"no controller at {controller}: {error}") from None
            time.sleep(0.2)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        Worker(role, connection, token).run()


def join(role: str, controller: str) -> int:
    """The same for the process that the controller has started: the token is on stdin."""
    try:
        serve(role, controller, sys.stdin.readline().strip())
    except StoneError as error:
        sys.stderr.write(f"simplestack stone {role}: {error}\n")
        return 1
    return 0
