"""Transaction layers on real sockets of this machine."""

from collections.abc import Callable
from itertools import count
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from simplestack.net.endpoints import parse_listen
from simplestack.net.network import Network
from simplestack.sip.message import Request, Response
from simplestack.sip.uri import parse_uri
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.server import ServerTransaction

reactor: Any = installed


class Numbered:
    def __init__(self) -> None:
        self._count = count(1)

    def tag(self) -> str:
        """A tag."""
        return f"tag{next(self._count)}"

    def branch(self) -> str:
        """A branch."""
        return f"z9hG4bK{id(self)}.{next(self._count)}"


class Stack:
    """A transaction layer on a network that answers each request with 200."""

    def __init__(self, *listen: str, **options: Any) -> None:
        self.requests: list[Request] = []
        self.layer = TransactionLayer(self.deliver, Numbered())
        self.network = Network(
            reactor, self.layer, [parse_listen(text) for text in listen], **options
        )
        self.answer = True

    def deliver(self, request: Request, transaction: ServerTransaction | None, now: float) -> None:
        """Answer."""
        self.requests.append(request)
        if transaction is not None and self.answer:
            transaction.respond(request.response(200, to_tag="x"), now)

    def ask(self, flow: Flow, body: bytes = b"") -> "Deferred[Response | None]":
        """Send a request; the final response is to come."""
        done: Deferred[Response | None] = Deferred()
        request = Request(
            "MESSAGE",
            "sip:alice@example.com",
            {
                "Max-Forwards": ["70"],
                "From": ["<sip:bob@example.com>;tag=1"],
                "To": ["<sip:alice@example.com>"],
                "Call-ID": [flow.key],
                "CSeq": ["1 MESSAGE"],
            },
            body,
        )
        now = reactor.seconds()
        self.layer.start_request(request, flow, lambda response, _: done.callback(response), now)
        return done


class NetworkCase(TestCase):
    timeout = 20

    async def start(self, *listen: str, **options: Any) -> tuple[Stack, list[int]]:
        """A stack that listens, and its ports."""
        # The layer's clock is the one with which `Stack.ask` starts requests.
        stack = Stack(*listen, clock=reactor.seconds, **options)
        self.addCleanup(stack.network.stop)
        places = await stack.network.start()
        return stack, [place.port for place in places]

    async def exchange(self, there: str, uri: str, **options: Any) -> tuple[Flow, Response]:
        """One request from one stack to another, by the flow that the URI asks for."""
        server, ports = await self.start(there)
        client, _ = await self.start("udp:0:interface=127.0.0.1", "udp:0:interface=[::1]")
        flow = await client.network.flow_to(parse_uri(uri.format(*ports)), **options)
        response = await client.ask(flow)
        assert response is not None
        self.assertEqual([request.method for request in server.requests], ["MESSAGE"])
        return flow, response


async def until(condition: Callable[[], Any]) -> None:
    """Let the reactor turn until something is so; the timeout of the test bounds it."""
    while not condition():
        await deferLater(reactor, 0.01, lambda: None)
