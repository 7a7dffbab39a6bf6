"""A wire in memory between two ends, with a clock of its own: it can lose, repeat and reorder.

An end is anything that takes messages and time as a ``TransactionLayer`` does.  Nothing sleeps:
``run`` moves the clock from one event to the next.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Protocol

from simplestack.net.endpoints import join_address
from simplestack.sip.errors import ParseError
from simplestack.sip.message import Request, Response, parse_message
from simplestack.transaction.flow import Flow

__all__ = ["Counting", "End", "Recorder", "Wire", "WireFlow"]


class End(Protocol):
    """What stands at an end of the wire: a TransactionLayer, or a stand-in."""

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """Take a message."""

    def reject(self, error: ParseError, flow: Flow, now: float) -> None:
        """Take bytes that are no message."""

    def flow_closed(self, flow: Flow, now: float) -> None:
        """Learn that a connection has ended."""

    def advance(self, now: float) -> None:
        """Fire what is due."""

    def next_wakeup(self) -> float | None:
        """When something is due."""


class Counting:
    """Identifiers that count, so that runs are the same each time."""

    def __init__(self, name: str = "x") -> None:
        self._name = name
        self._count = count(1)

    def tag(self) -> str:
        """The next tag."""
        return f"tag-{self._name}-{next(self._count)}"

    def branch(self) -> str:
        """The next branch."""
        return f"z9hG4bK-{self._name}-{next(self._count)}"


class Recorder:
    """A flow that only writes down what is sent by it."""

    def __init__(
        self,
        transport: str = "udp",
        local: tuple[str, int] = ("192.0.2.1", 5060),
        remote: tuple[str, int] = ("192.0.2.2", 5060),
    ) -> None:
        self.transport = transport
        self.reliable = transport != "udp"
        self.secure = transport == "tls"
        self.local = local
        self.remote = remote
        self.alive = True
        self.sent: list[bytes] = []
        #: Flows of the same socket to other addresses, by address.
        self.others: dict[tuple[str, int], Recorder] = {}

    @property
    def sent_by(self) -> str:
        """Host and port as they are written in Via."""
        return join_address(*self.local)

    @property
    def key(self) -> str:
        """The flow in text."""
        return f"{self.transport}:{self.local}>{self.remote}"

    def send(self, data: bytes) -> None:
        """Write down."""
        self.sent.append(data)

    def toward(self, remote: tuple[str, int]) -> "Recorder":
        """The recorder for another address."""
        if remote not in self.others:
            self.others[remote] = Recorder(self.transport, self.local, remote)
        return self.others[remote]

    @property
    def messages(self) -> list[Request | Response]:
        """What was sent, parsed."""
        return [parse_message(data) for data in self.sent]

    @property
    def statuses(self) -> list[int]:
        """The status codes of the responses sent."""
        return [each.status for each in self.messages if isinstance(each, Response)]

    def take(self) -> list[bytes]:
        """What was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class WireFlow:
    """One end's view of the wire."""

    def __init__(self, wire: "Wire", side: int) -> None:
        self._wire = wire
        self._side = side
        self.transport = wire.transport
        self.reliable = wire.transport != "udp"
        self.secure = wire.transport == "tls"
        self.local = wire.addresses[side]
        self.remote = wire.addresses[1 - side]
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
        """Put a message on the wire."""
        if self.alive:
            self._wire.carry(self._side, data)

    def toward(self, remote: tuple[str, int]) -> "WireFlow":
        """There is only one address at the other end; what goes elsewhere is lost."""
        return self if remote == self.remote else WireFlow(Wire(), self._side)


class Wire:
    """Carries messages between two ends, ``ends[0]`` and ``ends[1]``, by ``flows[0]`` and ``[1]``.

    ``loss`` and ``repeat`` are probabilities for each message; ``delay`` is the least and the most
    seconds that one takes, so that over UDP they may overtake each other.  TCP and TLS lose and
    repeat nothing and keep the order.  ``log`` has (time, side that sent, bytes) of all messages.
    """

    def __init__(
        self,
        transport: str = "udp",
        *,
        seed: int = 0,
        loss: float = 0.0,
        repeat: float = 0.0,
        delay: tuple[float, float] = (0.01, 0.01),
    ) -> None:
        self.transport = transport
        self.addresses = (("192.0.2.1", 5060), ("192.0.2.2", 5060))
        self.loss = loss
        self.repeat = repeat
        self.delay = delay
        self.now = 0.0
        self.flows = (WireFlow(self, 0), WireFlow(self, 1))
        self.ends: list[End] = []
        self.log: list[tuple[float, int, bytes]] = []
        self._random = Random(seed)
        self._serial = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []

    def join(self, first: End, second: End) -> None:
        """Put the ends to the wire."""
        self.ends = [first, second]

    def carry(self, side: int, data: bytes) -> None:
        """Take a message from an end, and lose it or bring it to the other."""
        self.log.append((self.now, side, data))
        reliable = self.flows[side].reliable
        times = 1
        if not reliable:
            times = int(self._random.random() >= self.loss)
            times += int(self._random.random() < self.repeat)
        for _ in range(times):
            delay = self.delay[1] if reliable else self._random.uniform(*self.delay)
            self.at(self.now + delay, lambda: self._arrive(1 - side, data))

    def _arrive(self, side: int, data: bytes) -> None:
        flow = self.flows[side]
        if not flow.alive:
            return
        try:
            message = parse_message(data)
        except ParseError as error:
            self.ends[side].reject(error, flow, self.now)
        else:
            self.ends[side].receive(message, flow, self.now)

    def close(self) -> None:
        """End the connection: both ends learn of it."""
        for flow in self.flows:
            flow.alive = False
        for end, flow in zip(self.ends, self.flows, strict=True):
            end.flow_closed(flow, self.now)

    def at(self, time: float, function: Callable[[], None]) -> None:
        """Call a function when the clock comes to a time."""
        heappush(self._events, (time, next(self._serial), function))

    def run(self, until: float) -> None:
        """Let everything happen up to a time."""
        while True:
            times = [end.next_wakeup() for end in self.ends]
            if self._events:
                times.append(self._events[0][0])
            due = min((time for time in times if time is not None), default=until + 1)
            if due > until:
                break
            self.now = max(self.now, due)
            while self._events and self._events[0][0] <= self.now:
                heappop(self._events)[2]()
            for end in self.ends:
                end.advance(self.now)
        self.now = max(self.now, until)
