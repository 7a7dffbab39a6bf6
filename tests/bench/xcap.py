"""XCAP under load: keep-alive connections of one user each, digest, one request in flight each."""

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.account import Account, values_of
from tests.bench.load import LoadError

__all__ = ["Client", "DocumentPut", "Documents", "ElementPut", "Get", "Requests", "clients"]

#: Entries of each document.
ENTRIES = 100


def document(name: bytes) -> bytes:
    """A resource-lists document of a hundred entries; ``name`` is in the last of them."""
    entries = b"".join(
        [
            b'  <entry uri="sip:friend%03d@example.com">\n'
            b"   <display-name>Friend %b</display-name>\n  </entry>\n"
            % (at, name if at == ENTRIES - 1 else b"%d" % at)
            for at in range(ENTRIES)
        ]
    )
    return (
        b'<?xml version="1.0" encoding="UTF-8"?>\n'
        b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">\n'
        b' <list name="friends">\n%b </list>\n</resource-lists>\n' % entries
    )


class Requests:
    """What a user asks for, again and again."""

    method = b"GET"
    content_type = b""
    #: Of a node, what follows the document's path.
    node = b""
    statuses: tuple[int, ...] = (200,)

    def body(self, account: Account, number: int) -> bytes:
        """The body of the request of this number."""
        return b""

    def path(self, account: Account) -> bytes:
        """The path of the user's document or node."""
        return b"/resource-lists/users/%b/index%b" % (account.aor, self.node)


class Get(Requests):
    """GET of the whole document."""


class DocumentPut(Requests):
    """PUT of the whole document, each time with another name in the last entry."""

    method = b"PUT"
    content_type = b"application/resource-lists+xml"
    statuses = (200, 201)

    def body(self, account: Account, number: int) -> bytes:
        """The document."""
        return document(b"%08d" % number)


class ElementPut(Requests):
    """PUT of the last entry, selected by its URI, each time with another name."""

    method = b"PUT"
    content_type = b"application/xcap-el+xml"
    node = b"/~~/resource-lists/list/entry%%5b@uri=%%22sip:friend%03d@example.com%%22%%5d" % (
        ENTRIES - 1
    )

    def body(self, account: Account, number: int) -> bytes:
        """The entry."""
        return (
            b'<entry uri="sip:friend%03d@example.com"><display-name>Friend %08d</display-name>'
            b"</entry>" % (ENTRIES - 1, number)
        )


class Client:
    """One connection of one user."""

    __slots__ = ("_data", "_head", "account", "number", "requests", "response", "socket", "status")

    def __init__(self, account: Account, port: int) -> None:
        # A nonce of HTTP is another than that of SIP.
        self.account = Account(
            account.index, account.username, account.domain, account.password, account.preferred
        )
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.requests = Requests()
        self.number = 0
        #: The last response, whole, and its status.
        self.response = b""
        self.status = 0
        self._data = b""
        self._head = (b"", b"")

    def adopt(self, requests: Requests) -> None:
        """Ask for these from now on."""
        self.requests = requests
        path = requests.path(self.account)
        head = b"%b %b HTTP/1.1\r\nHost: 127.0.0.1\r\n" % (requests.method, path)
        if requests.content_type:
            head += b"Content-Type: %b\r\n" % requests.content_type
        self._head = (path, head)

    def send(self) -> None:
        """Send the next request."""
        requests = self.requests
        path, head = self._head
        self.number += 1
        body = requests.body(self.account, self.number)
        head += self.account.authorization(requests.method, path)
        if requests.method == b"PUT":
            head += b"Content-Length: %d\r\n" % len(body)
        self.socket.sendall(b"%b\r\n%b" % (head, body))

    def take(self) -> bool:
        """Read; whether a request was answered as it should be, or is sent again.

        Raises LoadError for any other answer.
        """
        data = self.socket.recv(65536)
        if not data:
            raise LoadError("the server closed a connection")
        if self._data:
            data = self._data + data
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            self._data = data
            return False
        place = head.lower().find(b"\r\ncontent-length:")
        length = int(head[place + 17 :].partition(b"\r\n")[0]) if place >= 0 else 0
        if len(rest) < length:
            self._data = data
            return False
        self._data = b""
        status = int(head[9:12])
        if status == 401:
            self.account.challenged(
                [value.decode() for value in values_of(data, b"WWW-Authenticate")]
            )
            self.send()
            return False
        if status not in self.requests.statuses:
            said = rest[:200].decode("utf-8", "replace")
            raise LoadError(f"{self.requests.method.decode()} was answered {status}: {said}")
        self.response, self.status = data, status
        return True


class Documents:
    """All connections together."""

    def __init__(self, each: list[Client]) -> None:
        self.clients = each
        #: Operations that were finished.
        self.done = 0
        self._selector = selectors.DefaultSelector()
        for client in each:
            self._selector.register(client.socket, selectors.EVENT_READ, client)

    def perform(self, requests: Requests, seconds: float = 0.0) -> None:
        """Each client asks once, and then again for so many seconds."""
        for client in self.clients:
            client.adopt(requests)
            client.send()
        end = time.monotonic() + seconds
        waiting = len(self.clients)
        while waiting:
            ready = self._selector.select(10)
            if not ready:
                raise LoadError("no answer for 10 s")
            again = time.monotonic() < end
            for key, _ in ready:
                answered: Client = key.data
                if answered.take():
                    self.done += 1
                    if again:
                        answered.send()
                    else:
                        waiting -= 1

    def close(self) -> None:
        """Close all."""
        self._selector.close()
        for client in self.clients:
            client.socket.close()


@contextmanager
def clients(accounts: list[Account], port: int) -> Iterator[Documents]:
    """Connections of these users to the XCAP port, each user with a document."""
    try:
        documents = Documents([Client(account, port) for account in accounts])
    except OSError as error:
        raise LoadError(f"no XCAP server on port {port}: {error}") from None
    try:
        documents.perform(DocumentPut())
        yield documents
    finally:
        documents.close()
