"""A server that the tests look into: a sink in a thread, which counts what is there."""

import select
import socket
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any

from simplestack.stone.credentials import values_of
from simplestack.stone.sink import Sink

__all__ = ["Recorder"]


class Recorder:
    """Serves UDP, and knows which bindings, publications and subscriptions there are."""

    def __init__(self, refused: bytes = b"") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        #: A method that is answered 403; seconds by which answers to PUBLISHes are late.
        self._refused = refused
        self.delay = 0.0
        self._late: list[tuple[float, bytes, Any]] = []
        self._sink = Sink(b"127.0.0.1:%d" % self.port)
        self._there: dict[str, set[bytes]] = {
            "REGISTER": set(),
            "PUBLISH": set(),
            "SUBSCRIBE": set(),
        }
        #: Publications that were begun, and what was taken back, by method.
        self.publications = 0
        self.taken_back: Counter[str] = Counter()
        self._over = False
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over = True
        self._thread.join()
        self._socket.close()

    def left(self) -> dict[str, int]:
        """How many of each are there."""
        return {method: len(each) for method, each in self._there.items()}

    def _serve(self) -> None:
        while not self._over:
            now = time.monotonic()
            while self._late and self._late[0][0] <= now:
                _, data, where = self._late.pop(0)
                self._socket.sendto(data, where)
            if select.select([self._socket], [], [], 0.01)[0]:
                self._take(*self._socket.recvfrom(65536))

    def _take(self, data: bytes, where: Any) -> None:
        method = data.partition(b" ")[0]
        if method == self._refused:
            head = b"".join(
                b"%b: %b\r\n" % (name, values_of(data, name)[0])
                for name in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
            )
            answer = b"SIP/2.0 403 Forbidden\r\n%bContent-Length: 0\r\n\r\n" % head
            self._socket.sendto(answer, where)
            return
        name = method.decode()
        if name in self._there:
            call = values_of(data, b"Call-ID")[0]
            if values_of(data, b"Expires") == [b"0"]:
                self._there[name].discard(call)
                self.taken_back[name] += 1
            else:
                self._there[name].add(call)
                if name == "PUBLISH" and not values_of(data, b"SIP-If-Match"):
                    self.publications += 1
        late = time.monotonic() + self.delay
        for octets, to in self._sink.take(data, where):
            if self.delay and octets[:8] == b"SIP/2.0 ":
                self._late.append((late, octets, to))
            else:
                self._socket.sendto(octets, to)
