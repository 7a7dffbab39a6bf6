"""The channel over TCP or TLS: a connection of each user, open all the time."""

import select
import socket
import ssl

from simplestack.stone.wire import Link, StreamLink
from tests.bench.load import LoadError

__all__ = ["Streams", "source_of"]

#: Connections from one address; the server takes no more than a thousand.
_EACH = 500


def source_of(index: int) -> str:
    """The loopback address that the connection of a user is made from."""
    number = index // _EACH
    return f"127.0.{number // 200}.{1 + number % 200}"


class Streams:
    """A connection to the server for each of so many users.

    Over TLS no session is resumed and the certificate is not looked at: handshakes are not what
    is measured.  Raises LoadError where a connection can't be made.
    """

    def __init__(self, port: int, transport: str, users: int) -> None:
        #: The transport in Via.
        self.token = transport.upper().encode()
        self._poll = select.epoll()
        self._links: list[StreamLink] = []
        self._indexes: dict[int, StreamLink] = {}
        context: ssl.SSLContext | None = None
        if transport == "tls":
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        try:
            for index in range(users):
                self._connect(port, index, context)
        except OSError as error:
            self.close()
            raise LoadError(f"connection {index} over {transport}: {error}") from None

    def _connect(self, port: int, index: int, context: ssl.SSLContext | None) -> None:
        made = socket.create_connection(("127.0.0.1", port), 10, (source_of(index), 0))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            made = context.wrap_socket(made)
        made.setblocking(False)
        self._poll.register(made.fileno(), select.EPOLLIN)
        link = StreamLink(made, self.token, b"", self._poll, context is not None)
        link.shaken = True
        self._links.append(link)
        self._indexes[link.handle] = link

    @property
    def hosts(self) -> list[bytes]:
        """The sent-by of each user, where his NOTIFYs come, too."""
        return [link.host for link in self._links]

    contacts = hosts

    def close(self) -> None:
        """Close all connections."""
        for link in self._links:
            link.close()
        self._poll.close()

    def request(self, data: bytes, user: int) -> None:
        """Send a request of a user; one that does not leave is missed later."""
        self._links[user].send(data)

    answer = request

    def read(self, wait: float) -> tuple[list[bytes], list[bytes]]:
        """The responses that came, and the requests."""
        found: list[tuple[Link, bytes]] = []
        for handle, event in self._poll.poll(wait):
            link = self._indexes[handle]
            if event & select.EPOLLOUT:
                link.flush()
            if event & ~select.EPOLLOUT:
                link.read(found)
            if not link.open:
                raise LoadError("the server closed a connection")
        responses: list[bytes] = []
        notifications: list[bytes] = []
        for _, data in found:
            (responses if data.startswith(b"SIP/2.0") else notifications).append(data)
        return responses, notifications
