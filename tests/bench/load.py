"""The generator's loop: a window of requests in flight on raw sockets, every NOTIFY answered.

It has no parser: what it looks at is found by searching the octets for what the server copies
from its own templates.  A message that can't be found so takes a slow path, once.
"""

import select
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from tests.bench.account import Account, ChallengeError, values_of
from tests.bench.messages import COOKIE, dialog_lines, normalized

__all__ = ["Channel", "Dialog", "Exchange", "Load", "LoadError", "Operation", "Sockets", "Target"]

#: Octets taken from a socket at once; nothing that the rows cause is longer.
_LONGEST = 8192
#: Datagrams read before requests are sent again.
_BATCH = 256
#: Seconds after which a request without its answer is counted as lost and sent once more.
_PATIENCE = 2.0
#: How often a request is sent before the row is given up.
_TRIES = 4


class LoadError(Exception):
    """The row can't be measured: what the server did, for a person."""


class Channel(Protocol):
    """What the generator sends and reads by: two sockets, or a connection of each user."""

    def request(self, data: bytes, user: int) -> None:
        """Send a request of the user with this index."""

    def answer(self, data: bytes, user: int) -> None:
        """Send a response of the watcher with this index."""

    def read(self, wait: float) -> tuple[list[bytes], list[bytes]]:
        """The datagrams that came, to the requests' socket and to the watchers'."""


class Sockets:
    """The channel over UDP on the loopback interface: one socket sends requests, at the other
    watchers listen.
    """

    #: The transport in Via.
    token = b"UDP"

    def __init__(self) -> None:
        self.agent = self._socket()
        self.watchers = self._socket()
        self._poll = select.epoll()
        self._poll.register(self.agent, select.EPOLLIN)
        self._poll.register(self.watchers, select.EPOLLIN)
        self.refused = 0

    @staticmethod
    def _socket() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        made.setblocking(False)
        made.bind(("127.0.0.1", 0))
        return made

    @property
    def hosts(self) -> bytes:
        """Where responses go, as sent-by."""
        return b"127.0.0.1:%d" % self.agent.getsockname()[1]

    @property
    def contacts(self) -> bytes:
        """Where NOTIFYs go."""
        return b"127.0.0.1:%d" % self.watcher_port

    @property
    def watcher_port(self) -> int:
        """Where NOTIFYs go."""
        port: int = self.watchers.getsockname()[1]
        return port

    def connect(self, port: int) -> None:
        """Talk to the server at this port from now on."""
        self.agent.connect(("127.0.0.1", port))
        self.watchers.connect(("127.0.0.1", port))

    def close(self) -> None:
        """Give the ports back."""
        self._poll.close()
        self.agent.close()
        self.watchers.close()

    def request(self, data: bytes, user: int = 0) -> None:
        """Send a request; one that does not leave is lost, and counted when it is missed."""
        try:
            self.agent.send(data)
        except OSError:
            self.refused += 1

    def answer(self, data: bytes, user: int = 0) -> None:
        """Send a watcher's response."""
        try:
            self.watchers.send(data)
        except OSError:
            self.refused += 1

    def read(self, wait: float) -> tuple[list[bytes], list[bytes]]:
        """The datagrams that came, to the requests' socket and to the watchers'."""
        responses: list[bytes] = []
        notifications: list[bytes] = []
        agent = self.agent.fileno()
        for descriptor, _ in self._poll.poll(wait):
            if descriptor == agent:
                self._drain(self.agent, responses)
            else:
                self._drain(self.watchers, notifications)
        return responses, notifications

    def _drain(self, source: socket.socket, into: list[bytes]) -> None:
        receive = source.recv
        try:
            for _ in range(_BATCH):
                into.append(receive(_LONGEST))
        except BlockingIOError:
            pass
        except OSError:
            self.refused += 1


class Exchange:
    """One operation under way: a request, and the NOTIFYs that it causes."""

    __slots__ = (
        "account",
        "answered",
        "awaited",
        "challenges",
        "data",
        "mark",
        "sent",
        "serial",
        "target",
        "tries",
    )

    def __init__(self, account: Account, target: "Target") -> None:
        self.account = account
        self.target = target
        self.answered = False
        #: NOTIFYs that have not come yet.
        self.awaited = 0
        #: What each of them holds.
        self.mark = b""
        self.data = b""
        #: What names it in the branch of its Via.
        self.serial = b""
        self.sent = 0.0
        self.tries = 1
        self.challenges = 0


class Target:
    """What NOTIFYs belong to: a presentity, or a dialog until its first NOTIFY has come."""

    __slots__ = ("dialog", "entity_tag", "exchange", "index", "uri", "watchers")

    def __init__(self, index: int, uri: bytes = b"", dialog: bytes = b"") -> None:
        self.index = index
        self.uri = uri
        self.dialog = dialog
        self.entity_tag = b""
        self.watchers = 0
        self.exchange: Exchange | None = None


class Dialog:
    """The watcher's end of a subscription."""

    __slots__ = ("lines", "number", "target", "watcher")

    def __init__(self, target: Target, watcher: int = 0) -> None:
        self.target = target
        #: The index of the watcher.
        self.watcher = watcher
        #: CSeq of the last NOTIFY.
        self.number = -1
        #: The header field lines that every 200 repeats.
        self.lines = b""


class Operation(Protocol):
    """A kind of request, and on whom it goes round."""

    def next(self) -> Exchange | None:
        """The next one, or None while all that may be used are under way."""

    def write(self, exchange: Exchange, serial: bytes, number: int) -> bytes:
        """The octets of its request."""

    def answered(self, exchange: Exchange, response: bytes) -> None:
        """Take from its 2xx what later requests need."""

    def finished(self, exchange: Exchange) -> None:
        """All has come: it may be used again."""

    def failed(self, exchange: Exchange, status: bytes) -> None:
        """It was refused."""


class Load:
    """Runs operations, a window of them at a time, and counts."""

    def __init__(
        self, channel: Channel, *, bare: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.channel = channel
        self.clock = clock
        self.serial = 0
        self.pending: dict[bytes, Exchange] = {}
        self.dialogs: dict[bytes, Dialog] = {}
        #: Of the bare responder all NOTIFYs are alike: no dialogs, nothing to check.
        self.shared = Dialog(Target(0)) if bare else None
        self.done = 0
        self.sent = 0
        self.notified = 0
        self.lost = 0
        self.challenged = 0
        #: NOTIFYs that came again, or late, or that no request explains.
        self.repeated = 0
        self.strays = 0
        self.refused = 0
        #: What was refused or ended, and how often.
        self.failures: Counter[str] = Counter()

    # -- running -----------------------------------------------------------------------------

    def perform(self, operation: Operation, window: int, count: int, limit: float) -> None:
        """Do a number of operations; LoadError if they take longer than ``limit`` seconds."""
        end = self.clock() + limit
        wanted = self.done + self.refused + count
        started = 0
        while self.done + self.refused < wanted:
            while len(self.pending) < window and started < count:
                exchange = operation.next()
                if exchange is None:
                    break
                self._start(operation, exchange)
                started += 1
            now = self._turn(operation)
            if now > end:
                raise LoadError(
                    f"{self.done} operations done and {len(self.pending)} waiting "
                    f"after {limit:.0f} s{self._explained()}"
                )
        if self.failures:
            raise LoadError(f"preparing the row failed{self._explained()}")

    def sustain(
        self,
        operation: Operation,
        window: int,
        seconds: float,
        most: int | None = None,
    ) -> None:
        """Keep the window full for so long, or until ``most`` operations have been started."""
        end = self.clock() + seconds
        started = 0
        now = 0.0
        while now < end and (most is None or started < most):
            while len(self.pending) < window:
                exchange = operation.next()
                if exchange is None:
                    break
                self._start(operation, exchange)
                started += 1
            now = self._turn(operation)

    def drain(self, operation: Operation, seconds: float) -> None:
        """Let what is under way finish, for a bounded time; what does not is counted as lost."""
        end = self.clock() + seconds
        while self.pending and self.clock() < end:
            self._turn(operation)
        self.lost += len(self.pending)
        self.pending.clear()

    def idle(self, seconds: float) -> None:
        """Only answer NOTIFYs for so long."""
        end = self.clock() + seconds
        while (left := end - self.clock()) > 0:
            for data in self.channel.read(min(left, 0.5))[1]:
                self._notification(data, None)

    def _turn(self, operation: Operation) -> float:
        responses, notifications = self.channel.read(0.05)
        for data in responses:
            self._response(data, operation)
        for data in notifications:
            self._notification(data, operation)
        now = self.clock()
        if self.pending:
            serial, oldest = next(iter(self.pending.items()))
            if now - oldest.sent > _PATIENCE:
                self._overdue(serial, oldest, now)
        if self.refused > 50 and self.refused > self.done:
            raise LoadError(f"more refused than done{self._explained()}")
        return now

    def _explained(self) -> str:
        if not self.failures:
            return ""
        return ": " + ", ".join(f"{n} × {what}" for what, n in self.failures.most_common(3))

    # -- requests ----------------------------------------------------------------------------

    def _start(self, operation: Operation, exchange: Exchange) -> None:
        self.serial += 1
        serial = exchange.serial = b"%08x" % self.serial
        exchange.data = data = operation.write(exchange, serial, self.serial)
        exchange.target.exchange = exchange
        exchange.sent = self.clock()
        self.pending[serial] = exchange
        self.sent += 1
        self.channel.request(data, exchange.account.index)

    def _overdue(self, serial: bytes, exchange: Exchange, now: float) -> None:
        """Count a loss, and send the same octets once more: a retransmission, but a late one.

        It goes to the end of ``pending``, so that the oldest stays the first.
        """
        self.lost += 1
        del self.pending[serial]
        if exchange.tries == _TRIES:
            missing = "an answer" if not exchange.answered else f"{exchange.awaited} NOTIFYs"
            raise LoadError(
                f"{missing} did not come to {exchange.data.partition(b' SIP/2.0')[0].decode()}, "
                f"sent {_TRIES} times{self._explained()}"
            )
        exchange.tries += 1
        exchange.sent = now
        self.pending[serial] = exchange
        self.channel.request(exchange.data, exchange.account.index)

    def _response(self, data: bytes, operation: Operation) -> None:
        at = data.find(COOKIE) + 7
        serial = data[at : at + 8]
        exchange = self.pending.get(serial)
        if exchange is None or exchange.answered:
            return
        status = data[8:11]
        if status[:1] == b"2":
            exchange.answered = True
            operation.answered(exchange, data)
            if exchange.awaited <= 0:
                self._finish(serial, exchange, operation)
        elif status[:1] != b"1":
            self._refused(serial, exchange, status, data, operation)

    def _refused(
        self, serial: bytes, exchange: Exchange, status: bytes, data: bytes, operation: Operation
    ) -> None:
        del self.pending[serial]
        if status == b"401" and exchange.challenges < 2:
            self.challenged += 1
            exchange.challenges += 1
            challenges = [value.decode() for value in values_of(data, b"WWW-Authenticate")]
            try:
                exchange.account.challenged(challenges)
            except ChallengeError as error:
                raise LoadError(str(error)) from None
            self._start(operation, exchange)
            return
        line = data.partition(b"\r\n")[0][8:].decode("utf-8", "replace")
        warning = b"".join(values_of(data, b"Warning")).decode("utf-8", "replace")
        self.refused += 1
        self.failures[f"{line} {warning}".strip()] += 1
        exchange.target.exchange = None
        operation.failed(exchange, status)

    def _finish(self, serial: bytes, exchange: Exchange, operation: Operation) -> None:
        del self.pending[serial]
        self.done += 1
        exchange.target.exchange = None
        operation.finished(exchange)

    # -- NOTIFYs -----------------------------------------------------------------------------

    def _notification(self, data: bytes, operation: Operation | None) -> None:
        call = data.find(b"\r\nCall-ID: d") + 12
        via = data.find(b"\r\nVia: ")
        sequence = data.find(b"\r\nCSeq: ")
        if call < 12 or via < 0 or sequence < 0:
            data = normalized(data)
            call = data.find(b"\r\nCall-ID: d") + 12
            via = data.find(b"\r\nVia: ")
            sequence = data.find(b"\r\nCSeq: ")
            if call < 12 or via < 0 or sequence < 0 or not data.startswith(b"NOTIFY "):
                self.strays += 1
                return
        key = data[call : call + 8]
        dialog = self.dialogs.get(key, self.shared)
        if dialog is None:
            self.strays += 1
            return
        if not dialog.lines:
            dialog.lines = dialog_lines(data)
        self.channel.answer(
            b"SIP/2.0 200 OK%b%b%b\r\nContent-Length: 0\r\n\r\n"
            % (
                data[via : data.find(b"\r\n", via + 2)],
                dialog.lines,
                data[sequence : data.find(b"\r\n", sequence + 2)],
            ),
            dialog.watcher,
        )
        number = int(data[sequence + 8 : data.find(b" ", sequence + 8)])
        if self.shared is not None:
            exchange = self.pending.get(key)
        else:
            if number <= dialog.number:
                self.repeated += 1
                return
            dialog.number = number
            exchange = dialog.target.exchange
            if exchange is None or exchange.mark not in data:
                self._unexpected(data)
                return
        if exchange is None or operation is None:
            self.strays += 1
            return
        self.notified += 1
        exchange.awaited -= 1
        if exchange.awaited == 0 and exchange.answered:
            self._finish(exchange.serial, exchange, operation)

    def _unexpected(self, data: bytes) -> None:
        self.strays += 1
        state = b"".join(values_of(data, b"Subscription-State"))
        if not state.startswith(b"active"):
            self.failures[f"NOTIFY with Subscription-State {state.decode()}"] += 1
