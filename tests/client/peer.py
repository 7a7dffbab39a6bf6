"""A user agent at one end of a wire, and at the other a server that does as a test tells it."""

from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from simplestack.client.account import Account
from simplestack.client.useragent import UserAgent
from simplestack.net.ways import UnreachableError
from simplestack.sip.message import Request, Response
from simplestack.sip.uri import Uri
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.server import ServerTransaction
from tests.wire import Counting, Wire

__all__ = ["ALICE", "Peer", "ok"]

ALICE = Account("sip:alice@example.com", "wonderland")
#: Makes the response to a request, or None for none.
Answer = Callable[[Request], Response | None]


def ok(request: Request) -> Response:
    """200 with what the methods need: Expires, a Contact, an entity-tag."""
    response = request.response(200, to_tag="server")
    if request.method != "NOTIFY":
        response.set("Expires", request.get("Expires") or "3600")
        response.set("Contact", "<sip:server@192.0.2.2:5060>")
    return response


class Identified(Counting):
    """Counting identifiers with all that a user agent needs."""

    def __init__(self) -> None:
        super().__init__("client")
        self._calls = count(1)

    def call_id(self) -> str:
        """The next Call-ID."""
        return f"call-{next(self._calls)}"

    def octets(self, count: int) -> bytes:
        """No randomness."""
        return bytes(count)


class _Reactor:
    """The clock of the wire as a reactor has it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def next_wakeup(self) -> float | None:
        """When the next delayed call is due."""
        return min((call.getTime() for call in self._clock.getDelayedCalls()), default=None)

    def advance(self, now: float) -> None:
        """Make the calls that are due."""
        # Adding differences up would miss the time by a rounding error.
        self._clock.rightNow = max(now, self._clock.rightNow)
        self._clock.advance(0)


class _Ways:
    """The one way there is."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.reachable = True
        self.asked: list[Uri] = []

    def stop(self) -> "Deferred[None]":
        """Nothing is open."""
        return succeed(None)

    def flow_to(self, uri: Uri, size: int = 0, prefer: str | None = None) -> "Deferred[Flow]":
        """The wire, whatever the URI."""
        self.asked.append(uri)
        if not self.reachable:
            return fail(UnreachableError(uri, ["nobody there"]))
        return succeed(self._wire.flows[0])

    def failed(self, flow: Flow) -> None:
        """There is no other."""


class Peer:
    """A server that answers each request with ``answers[method]``, and remembers it."""

    def __init__(self, account: Account = ALICE, transport: str = "udp") -> None:
        self.wire = Wire(transport)
        self.requests: list[Request] = []
        self.answers: dict[str, Answer] = {}
        self.layer = TransactionLayer(self._deliver, Counting("server"))
        self.clock = Clock()
        self.ways = _Ways(self.wire)

        async def open_ways(layer: TransactionLayer) -> _Ways:
            return self.ways

        self.agent = UserAgent(
            self.clock,
            account,
            identifiers=Identified(),
            clock=self.clock.seconds,
            open_ways=open_ways,
        )
        self.wire.join(self.agent.layer, self.layer)
        ends: list[Any] = self.wire.ends
        ends.append(_Reactor(self.clock))
        self.agent.start()

    def run(self, seconds: float = 0.1) -> None:
        """Let time pass."""
        self.wire.run(self.wire.now + seconds)

    def lose_connection(self) -> None:
        """End the connection; the next request finds a new one."""
        for flow, layer in zip(self.wire.flows, (self.agent.layer, self.layer), strict=True):
            layer.flow_closed(flow, self.wire.now)

    def _deliver(self, request: Request, transaction: ServerTransaction | None, now: float) -> None:
        assert transaction is not None
        self.requests.append(request)
        response = self.answers.get(request.method, ok)(request)
        if response is not None:
            transaction.respond(response, now)

    @property
    def methods(self) -> list[str]:
        """The methods of the requests that came."""
        return [request.method for request in self.requests]

    @property
    def last(self) -> Request:
        """The last request."""
        return self.requests[-1]

    def send(self, request: Request) -> list[Response | None]:
        """Send a request to the user agent; the list gets its final response."""
        got: list[Response | None] = []
        flow = self.wire.flows[1]
        self.layer.start_request(request, flow, lambda each, _: got.append(each), self.wire.now)
        return got

    def notify(
        self,
        subscribe: Request,
        number: int,
        state: str = "active;expires=3600",
        body: bytes = b"",
        *,
        tag: str = "server",
        event: str | None = None,
        content_type: str = "application/pidf+xml",
    ) -> list[Response | None]:
        """Send a NOTIFY for a SUBSCRIBE that came."""
        headers = {
            "Max-Forwards": ["70"],
            "From": [f"<{subscribe.to.uri}>;tag={tag}"],
            "To": [subscribe.get("From") or ""],
            "Call-ID": [subscribe.call_id],
            "CSeq": [f"{number} NOTIFY"],
            "Contact": ["<sip:server@192.0.2.2:5060>"],
            "Event": [event or subscribe.get("Event") or ""],
            "Subscription-State": [state],
        }
        if body:
            headers["Content-Type"] = [content_type]
        return self.send(Request("NOTIFY", str(subscribe.contacts[0].uri), headers, body))
