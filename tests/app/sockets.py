"""A whole stack on real sockets of this machine, and what to talk to it with."""

from collections.abc import Callable
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import DatagramProtocol, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from simplestack.app.settings import Settings
from simplestack.app.stack import Stack
from simplestack.app.tap import makeStack

__all__ = ["Datagrams", "StackCase", "Stream"]

reactor: Any = installed


class Datagrams(DatagramProtocol):
    """A socket that keeps what it gets."""

    def __init__(self, there: tuple[str, int]) -> None:
        self.received: list[bytes] = []
        self._there = there

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Keep it."""
        self.received.append(datagram)

    def send(self, data: bytes) -> None:
        """Send to the stack."""
        assert self.transport is not None
        self.transport.write(data, self._there)


class Stream(Protocol):
    """A connection that keeps what it gets."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[None] = Deferred()
        self.over = False

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over."""
        self.over = True
        self.ended.callback(None)

    def send(self, data: bytes) -> None:
        """Send to the stack."""
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> "Deferred[None]":
        """End the connection; fires when it has ended."""
        assert self.transport is not None
        self.transport.loseConnection()
        return self.ended


class StackCase(TestCase):
    """Tests on a running stack."""

    timeout = 60

    def settings(self, **changes: Any) -> Settings:
        """Settings for free ports and a database of its own."""
        chosen: dict[str, Any] = {
            "domains": ("example.com",),
            "listen": ("udp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"),
            "roles": ("registrar", "presence", "reg", "winfo"),
            "store": f"sqlite:///{mkdtemp(dir='.')}/state.db",
            "control": "",
            "restart_window": 0,
            "notify_interval": 0,
        }
        return Settings(**(chosen | changes))

    async def start(self, settings: Settings) -> tuple[Stack, list[int]]:
        """A stack that runs until the end of the test, and its ports."""
        stack = makeStack(settings, reactor=reactor)
        stack.privilegedStartService()
        stack.startService()
        self.addCleanup(lambda: stack.stopService() if stack.running else None)
        status = await stack.status()
        return stack, [int(place.rpartition(":")[2]) for place in status["listening"]]

    def socket(self, port: int) -> Datagrams:
        """A UDP socket that sends to this port."""
        socket = Datagrams(("127.0.0.1", port))
        here = reactor.listenUDP(0, socket, interface="127.0.0.1", maxPacketSize=65535)
        self.addCleanup(here.stopListening)
        return socket

    async def connection(self, port: int) -> Stream:
        """A TCP connection to this port."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        stream: Stream = await connectProtocol(endpoint, Stream())
        return stream

    async def until(self, done: Callable[[], object], seconds: float = 10.0) -> None:
        """Wait until something is so; fails where it does not become so."""
        end = reactor.seconds() + seconds
        while not done():
            self.assertLess(reactor.seconds(), end, "it has not come")
            await deferLater(reactor, 0.005)
