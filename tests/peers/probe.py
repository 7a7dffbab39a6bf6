"""A small SIP user agent over plain sockets, which waits: to ask a server from a test."""

import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from itertools import count
from types import TracebackType
from typing import Self

from simplestack.sip.framer import KeepAlive, StreamFramer
from simplestack.sip.message import Request, Response, parse_message
from tests.bench.account import Account
from tests.peers.running import DOMAIN

__all__ = ["Dialog", "Probe", "pidf", "written"]

#: How long an answer may take, in seconds.
PATIENCE = 10.0

_serial = count(1)


class Dialog:
    """A subscription of the probe's."""

    def __init__(self, target: str, call_id: str, local: str) -> None:
        self.target = target
        self.call_id = call_id
        #: Our From value.
        self.local = local
        #: The To value of later requests, with the tag.
        self.remote = f"<{target}>"
        #: Where later requests go.
        self.contact = target
        self.cseq = 0
        #: The NOTIFYs, in the order in which they came, and when.
        self.notified: list[Request] = []
        self.times: list[float] = []

    @property
    def state(self) -> str:
        """The Subscription-State of the last NOTIFY, without parameters."""
        if not self.notified:
            return ""
        return (self.notified[-1].get("Subscription-State") or "").partition(";")[0]

    @property
    def body(self) -> str:
        """The body of the last NOTIFY."""
        return self.notified[-1].body.decode() if self.notified else ""

    @property
    def cseqs(self) -> list[int]:
        """The CSeq numbers of the NOTIFYs."""
        return [notify.cseq.number for notify in self.notified]


class Probe:
    """One user on one socket.  Answers each NOTIFY with 200 while it waits for something."""

    def __init__(
        self,
        name: str,
        port: int,
        transport: str = "udp",
        password: str | None = None,
        trusted: str | None = None,
        algorithm: str | None = None,
    ) -> None:
        self.name = name
        self.aor = f"sip:{name}@{DOMAIN}"
        secret = f"{name}-secret" if password is None else password
        self.account = Account(0, name, DOMAIN, secret, algorithm)
        self.transport = transport
        self._server = ("127.0.0.1", port)
        self._trusted = trusted
        self.connect()
        self.dialogs: dict[str, Dialog] = {}
        self._responses: list[Response] = []

    def connect(self) -> None:
        """Take a new socket, whose address becomes our contact."""
        self._framer = StreamFramer()
        self._socket = self._connected(self._trusted)
        host, number = self._socket.getsockname()[:2]
        self.place = f"{host}:{number}"
        self.contact = f"sip:{self.name}@{self.place};transport={self.transport}"

    def _connected(self, trusted: str | None) -> socket.socket:
        if self.transport == "udp":
            plain = socket.socket(type=socket.SOCK_DGRAM)
            plain.bind(("127.0.0.1", 0))
            plain.connect(self._server)
            return plain
        plain = socket.create_connection(self._server, PATIENCE)
        if self.transport == "tcp":
            return plain
        return ssl.create_default_context(cafile=trusted).wrap_socket(
            plain, server_hostname="localhost"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()

    # Requests

    def ask(
        self, method: str, uri: str, *fields: tuple[str, str], body: bytes = b"", tries: int = 3
    ) -> Response:
        """Send a request outside of a dialog, with credentials where they are asked for."""
        dialog = Dialog(
            self.aor if method == "REGISTER" else uri, f"c{next(_serial)}", self._from()
        )
        return self._request(method, uri, dialog, fields, body, tries)

    def _from(self) -> str:
        return f"<{self.aor}>;tag=f{next(_serial)}"

    def _request(
        self,
        method: str,
        uri: str,
        dialog: Dialog,
        fields: tuple[tuple[str, str], ...],
        body: bytes,
        tries: int = 3,
    ) -> Response:
        response = None
        for _ in range(tries):
            branch = f"z9hG4bKp{next(_serial)}"
            way = f"SIP/2.0/{self.transport.upper()} {self.place};branch={branch};rport"
            request = written(self.account, method, uri, dialog, way, fields, body)
            response = self._exchange(request, branch)
            if response.status != 401:
                break
            self.account.challenged(response.headers["WWW-Authenticate"])
        assert response is not None
        return response

    def _exchange(self, request: Request, branch: str) -> Response:
        """Send a request and wait for its final response."""
        data = request.to_bytes()
        self._socket.sendall(data)
        end = time.monotonic() + PATIENCE
        again = time.monotonic() + 1.0
        while time.monotonic() < end:
            self.listen(0.5, lambda: bool(self._responses))
            while self._responses:
                response = self._responses.pop(0)
                if response.top_via.branch == branch and response.status >= 200:
                    return response
            if self.transport == "udp" and time.monotonic() > again:
                again += 1.0
                self._socket.sendall(data)
        raise AssertionError(f"no answer to {request.method} of {self.aor}")

    def register(self, expires: int = 600) -> Response:
        """Bind our address."""
        return self.ask(
            "REGISTER", f"sip:{DOMAIN}", ("Contact", f"<{self.contact}>"), ("Expires", str(expires))
        )

    def bindings(self) -> str:
        """What is registered: the Contact values of a REGISTER that asks."""
        response = self.ask("REGISTER", f"sip:{DOMAIN}")
        assert response.status == 200, response.status
        return ", ".join(response.get_all("Contact"))

    def publish(
        self, basic: str = "open", note: str = "", entity_tag: str = "", expires: int = 600
    ) -> Response:
        """Publish a presence state, in place of that with the entity-tag."""
        fields = [("Event", "presence"), ("Expires", str(expires))]
        body = b""
        if entity_tag:
            fields.append(("SIP-If-Match", entity_tag))
        if basic:
            fields.append(("Content-Type", "application/pidf+xml"))
            body = pidf(self.aor, basic, note)
        return self.ask("PUBLISH", self.aor, *fields, body=body)

    def subscribe(
        self,
        target: str,
        package: str = "presence",
        expires: int = 600,
        *,
        body: bytes = b"",
        content_type: str = "",
    ) -> tuple[Response, Dialog]:
        """Subscribe to a user by name, or to an AOR."""
        uri = target if ":" in target else f"sip:{target}@{DOMAIN}"
        dialog = Dialog(uri, f"d{next(_serial)}.{self.place}", self._from())
        self.dialogs[dialog.call_id] = dialog
        return self.refresh(dialog, expires, package, body, content_type), dialog

    def refresh(
        self,
        dialog: Dialog,
        expires: int = 600,
        package: str = "presence",
        body: bytes = b"",
        content_type: str = "",
    ) -> Response:
        """Send a SUBSCRIBE in a dialog; with 0 it ends."""
        response = self._request(
            "SUBSCRIBE",
            dialog.contact,
            dialog,
            (
                ("Contact", f"<{self.contact}>"),
                ("Event", package),
                ("Expires", str(expires)),
                *((("Content-Type", content_type),) if content_type else ()),
            ),
            body,
        )
        if response.status // 100 == 2:
            dialog.remote = response.get("To") or dialog.remote
            dialog.contact = str(response.contacts[0].uri)
        return response

    # What comes by itself

    def listen(self, patience: float, done: Callable[[], bool]) -> bool:
        """Answer what comes until something is so; whether it is."""
        end = time.monotonic() + patience
        while not done():
            left = end - time.monotonic()
            if left <= 0:
                return False
            for message in self._received(left):
                if isinstance(message, Response):
                    self._responses.append(message)
                else:
                    self._answer(message)
        return True

    def _received(self, patience: float) -> Iterator[Request | Response]:
        pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()
        if not pending and not select.select([self._socket], [], [], patience)[0]:
            return
        try:
            data = self._socket.recv(65536)
        except ConnectionRefusedError:
            # An ICMP message of an earlier datagram: the server is away.
            time.sleep(0.05)
            return
        if self.transport == "udp":
            yield parse_message(data)
            return
        if not data:
            raise AssertionError(f"the connection of {self.aor} was closed")
        for message in self._framer.feed(data):
            if not isinstance(message, KeepAlive):
                yield message

    def _answer(self, request: Request) -> None:
        response = request.response(200)
        dialog = self.dialogs.get(request.get("Call-ID") or "")
        if dialog is None:
            response = request.response(481)
        elif request.cseq.number not in dialog.cseqs:
            dialog.notified.append(request)
            dialog.times.append(time.time())
        self._socket.sendall(response.to_bytes())

    def wait(self, done: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Answer what comes until something is so; fails where it never is."""
        if not self.listen(patience, done):
            raise AssertionError(f"{self.aor}: not after {patience} s: {what}")

    def told(self, dialog: Dialog, times: int) -> None:
        """Wait for so many NOTIFYs in a dialog."""
        self.wait(lambda: len(dialog.cseqs) >= times, f"{times} NOTIFYs")

    @property
    def only(self) -> Dialog:
        """The subscription, where there is one."""
        (dialog,) = self.dialogs.values()
        return dialog


def written(
    account: Account,
    method: str,
    uri: str,
    dialog: Dialog,
    via: str,
    fields: tuple[tuple[str, str], ...],
    body: bytes,
) -> Request:
    """The next request of a dialog, with credentials if there was a challenge."""
    dialog.cseq += 1
    request = Request(method, uri, body=body)
    request.add("Via", via)
    request.add("Max-Forwards", "70")
    request.add("From", dialog.local)
    request.add("To", dialog.remote)
    request.add("Call-ID", dialog.call_id)
    request.add("CSeq", f"{dialog.cseq} {method}")
    for name, value in fields:
        request.add(name, value)
    credentials = account.credentials(method.encode(), uri.encode())
    if credentials:
        request.add("Authorization", credentials.decode())
    return request


def pidf(aor: str, basic: str, note: str = "") -> bytes:
    """A presence document of one tuple (RFC 3863)."""
    text = f"<note>{note}</note>" if note else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="{aor}">'
        f'<tuple id="t1"><status><basic>{basic}</basic></status>{text}</tuple></presence>'
    ).encode()
