"""Phones around a service without sockets, and the links between them and it."""

from collections import deque
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

from simplestack.net.endpoints import join_address
from simplestack.sip.digest import authorize, choose, ha1
from simplestack.sip.errors import ParseError
from simplestack.sip.fields import Challenge, parse_challenge
from simplestack.sip.framer import KeepAlive, StreamFramer
from simplestack.sip.message import Request, Response, parse_message
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.server import ServerTransaction
from tests.wire import Counting

if TYPE_CHECKING:
    from tests.app.world import World

__all__ = ["PASSWORD", "SERVER", "End", "Link", "NoAnswer", "Phone"]

#: Where the service is.
SERVER = ("192.0.2.1", 5060)

PASSWORD = "the password"

Message = Request | Response


class NoAnswer:
    """What a phone gets in place of a final response where none came."""

    def __init__(self, failure: str | None) -> None:
        self.failure = failure

    def __repr__(self) -> str:
        return f"<NoAnswer: {self.failure}>"


class End:
    """One end of a link: a flow, as the transaction layer sees it."""

    def __init__(
        self, link: "Link", side: int, local: tuple[str, int], remote: tuple[str, int]
    ) -> None:
        self._link = link
        self._side = side
        self.transport = link.transport
        self.reliable = link.transport != "udp"
        self.secure = link.transport == "tls"
        self.local = local
        self.remote = remote
        self.alive = True

    @property
    def sent_by(self) -> str:
        """Host and port as they are written in Via."""
        return join_address(*self.local)

    @property
    def key(self) -> str:
        """The flow in text."""
        host, port = self.local
        peer, peer_port = self.remote
        return f"{self.transport}:{host}:{port}>{peer}:{peer_port}"

    def send(self, data: bytes) -> None:
        """Put a message on the link."""
        if self.alive:
            self._link.carry(self._side, data)

    def toward(self, remote: tuple[str, int]) -> "End":
        """The flow of the same socket to another address."""
        if remote == self.remote or self.reliable:
            return self
        return self._link.world.link_to(remote).ends[0]


class Link:
    """A way between the service (side 0) and an address (side 1)."""

    def __init__(
        self, world: "World", transport: str, there: tuple[str, int], phone: "Phone | None"
    ) -> None:
        self.world = world
        self.transport = transport
        self.phone = phone
        self.ends = (End(self, 0, SERVER, there), End(self, 1, there, SERVER))
        self._framers = (StreamFramer(), StreamFramer())
        #: How many of the next messages are lost, by the side that sends them.
        self.losing = [0, 0]
        #: While it is cut everything is lost.
        self.cut = False
        #: The probability that a message is lost.
        self.loss = 0.0

    def carry(self, side: int, data: bytes) -> None:
        """Take a message from a side."""
        world = self.world
        world.log.append((world.now, self, side, data))
        if self.transport == "udp":
            lost = self.cut or (self.loss and world.random.random() < self.loss)
            if self.losing[side]:
                self.losing[side] -= 1
                lost = True
            if lost:
                return
        world.at(world.now, lambda: self._arrive(1 - side, data))

    def _arrive(self, side: int, data: bytes) -> None:
        end = self.ends[side]
        if not end.alive or (side == 1 and self.phone is None):
            return
        layer = self.world.core.layer if self.phone is None or side == 0 else self.phone.layer
        now = self.world.now
        try:
            if self.transport == "udp":
                messages: Sequence[Message | KeepAlive] = [parse_message(data)]
            else:
                messages = self._framers[side].feed(data)
        except ParseError as error:
            layer.reject(error, end, now)
        else:
            for message in messages:
                if not isinstance(message, KeepAlive):
                    layer.receive(message, end, now)

    def close(self) -> None:
        """End a connection; both sides learn of it."""
        for end in self.ends:
            end.alive = False
        now = self.world.now
        self.world.core.layer.flow_closed(self.ends[0], now)
        if self.phone is not None:
            self.phone.layer.flow_closed(self.ends[1], now)


class Phone:
    """A user agent: answers challenges and NOTIFY requests by itself, and keeps what it gets."""

    def __init__(
        self,
        world: "World",
        user: str,
        domain: str,
        transport: str = "udp",
        name: str = "",
        password: str = PASSWORD,
        host: str = "",
    ) -> None:
        self.world = world
        self.user = user
        self.domain = domain
        self.aor = f"sip:{user}@{domain}"
        self.name = name or user
        self.transport = transport
        self.password = password
        number = next(world.numbers)
        self.address = (host or f"198.51.100.{number}", 5060)
        self.contact = f"<sip:{user}@{self.address[0]}:5060" + (
            ">" if transport == "udp" else f";transport={transport}>"
        )
        self.identifiers = Counting(f"{self.name}{number}")
        self.layer = TransactionLayer(self._deliver, self.identifiers)
        self.link = world.connect(self)
        #: Final responses, NOTIFY requests and missing answers, in the order in which they came.
        self.inbox: deque[Message | NoAnswer] = deque()
        #: What the next NOTIFY requests are answered with; 0 is nothing.  Then 200.
        self.replies: deque[tuple[int, dict[str, list[str]]]] = deque()
        #: How many challenges it has answered.
        self.challenged = 0
        self._challenge: Challenge | None = None
        self._nonce: str | None = None
        self._count = 0
        self._sequence = count(1)

    def request(
        self,
        method: str,
        uri: str,
        headers: dict[str, list[str]] | None = None,
        body: bytes = b"",
    ) -> Request:
        """A request with the header fields that are given, and the mandatory ones."""
        complete: dict[str, list[str]] = {
            "Max-Forwards": ["70"],
            "From": [f"<{self.aor}>;tag={self.identifiers.tag()}"],
            "To": [f"<{self.aor if method == 'REGISTER' else uri}>"],
            "Call-ID": [f"{self.identifiers.tag()}@{self.address[0]}"],
            "CSeq": [f"{next(self._sequence)} {method}"],
        }
        if method == "SUBSCRIBE":
            complete["Contact"] = [self.contact]
        complete.update(headers or {})
        return Request(method, uri, complete, body)

    def send(self, request: Request, secret: bool = True) -> None:
        """Send a request; its final response goes to the inbox.

        A challenge is answered once, but with ``secret`` false goes to the inbox as well.
        """
        if secret and self._challenge is not None:
            self._authorize(request)
        self._start(request, secret)

    def ask(
        self,
        method: str,
        uri: str,
        headers: dict[str, list[str]] | None = None,
        body: bytes = b"",
    ) -> Response:
        """Send a request and wait for its final response, which is taken from the inbox."""
        self.send(self.request(method, uri, headers, body))
        for _ in range(80):
            self.world.run(0.0)
            for message in self.inbox:
                if isinstance(message, Response):
                    self.inbox.remove(message)
                    return message
                assert not isinstance(message, NoAnswer), message
            self.world.run(0.5)
        raise AssertionError(f"{method} got no final response")

    def notifies(self) -> list[Request]:
        """The NOTIFY requests in the inbox, which is emptied."""
        found = [message for message in self.inbox if isinstance(message, Request)]
        self.inbox.clear()
        return found

    def _start(self, request: Request, secret: bool) -> None:
        first = {name: values[:] for name, values in request.headers.items()}

        def done(response: Response | None, now: float) -> None:
            if response is None:
                self.inbox.append(NoAnswer(transaction.failure))
            elif (
                response.status == 401
                and secret
                and (
                    "Authorization" not in first
                    or "stale=true" in (response.get("WWW-Authenticate") or "")
                )
            ):
                self._learn(response)
                again = Request(request.method, request.uri, first, request.body)
                number, _, method = first["CSeq"][0].partition(" ")
                again.set("CSeq", f"{int(number) + 1} {method}")
                self._sequence = count(max(int(number) + 2, next(self._sequence)))
                self._authorize(again)
                self.challenged += 1
                self._start(again, secret)
            else:
                self._follow(response)
                self.inbox.append(response)

        if self.transport != "udp" and not self.link.ends[1].alive:
            self.link = self.world.connect(self)
        flow = self.link.ends[1]
        transaction = self.layer.start_request(request, flow, done, self.world.now)

    def _learn(self, response: Response) -> None:
        offers = [parse_challenge(value) for value in response.headers["WWW-Authenticate"]]
        self._challenge = choose(offers)
        self._nonce = None
        self._count = 0

    def _follow(self, response: Response) -> None:
        _, found, rest = (response.get("Authentication-Info") or "").partition('nextnonce="')
        if found:
            self._nonce, self._count = rest.partition('"')[0], 0

    def _authorize(self, request: Request) -> None:
        challenge = self._challenge
        assert challenge is not None
        self._count += 1
        secret = ha1(challenge.algorithm, self.user, challenge.param("realm"), self.password)
        request.set(
            "Authorization",
            str(
                authorize(
                    challenge,
                    self.user,
                    secret,
                    request.method,
                    request.uri,
                    self._count,
                    "0a4f113b",
                    request.body,
                    self._nonce,
                )
            ),
        )

    def _deliver(self, request: Request, transaction: ServerTransaction | None, now: float) -> None:
        self.inbox.append(request)
        status, headers = self.replies.popleft() if self.replies else (200, {})
        if transaction is not None and status:
            response = request.response(status)
            for name, values in headers.items():
                response.headers[name] = values
            transaction.respond(response, now)
