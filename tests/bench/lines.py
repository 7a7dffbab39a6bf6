"""Users with a TCP connection each, whom the benchmark of lists plays: what comes by them, and when."""

import re
import selectors
import socket
import time
from collections.abc import Callable

from tests.bench.account import DOMAIN, Account, values_of
from tests.bench.load import LoadError
from tests.bench.messages import PublishTemplate, dialog_lines

__all__ = ["Generator", "Line", "Publisher"]

_MARK = re.compile(rb"at desk ([0-9a-f]{8})")
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)")
_VIA = re.compile(rb"\r\nVia: [^\r]*")
_CSEQ = re.compile(rb"\r\nCSeq: [^\r]*")


class Line:
    """A TCP connection of one user: what comes by it, as whole messages."""

    def __init__(self, port: int, account: Account) -> None:
        self.account = account
        # The server takes a thousand connections of one address at the most.
        here = f"127.0.0.{1 + account.index // 500}"
        self.socket = socket.create_connection(("127.0.0.1", port), 10, (here, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = b"%b:%d" % (here.encode(), self.socket.getsockname()[1])
        #: NOTIFYs that have come, and their octets.
        self.notifies = 0
        self.octets = 0
        #: Makes the request that waits for its answer, to be sent again with credentials.
        self.asked: dict[bytes, Callable[[], bytes]] = {}
        #: Called with what answers the request of a serial number.
        self.answered: Callable[[bytes], None] | None = None
        #: Marks that NOTIFYs had since they were last taken.
        self.marks: list[bytes] = []
        self._data = bytearray()
        # The server ends connections by which no first message comes.
        self.socket.sendall(
            b"OPTIONS sip:%b SIP/2.0\r\nVia: SIP/2.0/TCP %b;branch=z9hG4bKoptions%d\r\n"
            b"Max-Forwards: 70\r\nFrom: <sip:%b>;tag=o\r\nTo: <sip:%b>\r\nCall-ID: %b\r\n"
            b"CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            % (
                DOMAIN.encode(),
                self.host,
                account.index,
                DOMAIN.encode(),
                DOMAIN.encode(),
                self.host.replace(b":", b"-"),
            )
        )

    def ask(self, serial: bytes, make: Callable[[], bytes]) -> None:
        """Send a request; ``make`` is called again where it is challenged."""
        self.asked[serial] = make
        self.socket.sendall(make())

    def read(self) -> None:
        """Take what has come."""
        piece = self.socket.recv(262_144)
        if not piece:
            raise LoadError("the server closed a connection")
        data = self._data
        data += piece
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(data[: end + 2])
            length = _LENGTH.search(head)
            size = end + 4 + (int(length[1]) if length is not None else 0)
            if len(data) < size:
                return
            body = bytes(data[end + 4 : size])
            del data[:size]
            self._take(head, body, size)

    def _take(self, head: bytes, body: bytes, size: int) -> None:
        if head.startswith(b"NOTIFY "):
            self.notifies += 1
            self.octets += size
            self.marks += _MARK.findall(body)
            via, cseq = _VIA.search(head), _CSEQ.search(head)
            assert via is not None and cseq is not None
            self.socket.sendall(
                b"SIP/2.0 200 OK%b%b%b\r\nContent-Length: 0\r\n\r\n"
                % (via[0], dialog_lines(head), cseq[0])
            )
            return
        status = head[8:11]
        branch = head[head.find(b"z9hG4bK") + 7 :][:8]
        make = self.asked.get(branch)
        if make is None or status < b"200":
            return
        if status == b"401":
            self.account.challenged(
                [each.decode() for each in values_of(head, b"WWW-Authenticate")]
            )
            self.socket.sendall(make())
            return
        del self.asked[branch]
        if status[:1] != b"2":
            said = head.split(b"\r\n", 1)[0].decode()
            raise LoadError(f"the server says {said}")
        if self.answered is not None:
            self.answered(head)


class Generator:
    """All connections, and the loop that reads them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._serial = 0
        self.lines: list[Line] = []

    def line(self, account: Account) -> Line:
        """One more connection."""
        line = Line(self._port, account)
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        self.lines.append(line)
        return line

    def serial(self) -> bytes:
        """Eight octets that no other request has."""
        self._serial += 1
        return b"%08x" % self._serial

    def until(self, done: Callable[[], bool], limit: float, what: str) -> None:
        """Read until it is done; raises LoadError where that takes longer than the limit."""
        end = time.monotonic() + limit
        while not done():
            if time.monotonic() > end:
                raise LoadError(f"{what} took longer than {limit:.0f} s")
            self.pass_by(0.2)

    def pass_by(self, patience: float) -> list[Line]:
        """Read what there is; who has got something."""
        ready = [key.data for key, _ in self._selector.select(patience)]
        for line in ready:
            line.read()
        return ready

    def close(self) -> None:
        """Close all."""
        for line in self.lines:
            line.socket.close()
        self._selector.close()


class Publisher:
    """Publishes for all presentities by one connection."""

    def __init__(self, generator: Generator, accounts: list[Account]) -> None:
        self._generator = generator
        self._line = generator.line(accounts[0])
        self._templates = [PublishTemplate(account, self._line.host) for account in accounts]
        self._accounts = accounts
        self._tags = [b""] * len(accounts)
        self._number = 0

    def publish(self, at: int, limit: float = 10.0) -> bytes:
        """Publish for one presentity, and wait for the answer; the mark of the note."""
        serial = self._generator.serial()
        line = self._line
        line.account = self._accounts[at]
        answers: list[bytes] = []
        line.answered = answers.append

        def make() -> bytes:
            self._number += 1
            data = self._templates[at].write(serial, self._number, self._tags[at])
            return data.replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP", 1)

        line.ask(serial, make)
        self._generator.until(lambda: bool(answers), limit, "a PUBLISH")
        self._tags[at] = values_of(answers[0], b"SIP-ETag")[0]
        return serial
