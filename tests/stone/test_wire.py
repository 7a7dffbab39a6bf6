"""Sockets of the generator against listeners of the server."""

import errno
import os
import socket
import time
from typing import Any
from unittest import mock

from twisted.internet import reactor as installed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from simplestack.net.endpoints import parse_listen
from simplestack.net.network import Network
from simplestack.stone.errors import StoneError
from simplestack.stone.wire import StreamLink, Wire
from simplestack.stone.worker import Worker
from simplestack.transaction.layer import TransactionLayer
from tests.asynchronous import asynchronous
from tests.net.doubles import Authority
from tests.net.stacks import Numbered

reactor: Any = installed


class ResumptionTests(TestCase):
    timeout = 20

    @asynchronous
    async def test_reuse(self) -> None:
        """With ``tls_reuse`` a connection that is made again takes up the session, else it does not."""
        directory = self.mktemp()
        os.mkdir(directory)
        authority = Authority(directory)
        key, certificate = authority.issue("127.0.0.1")
        layer = TransactionLayer(lambda request, transaction, now: None, Numbered())
        place = f"tls:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
        network = Network(reactor, layer, [parse_listen(place)])
        self.addCleanup(network.stop)
        (listening,) = await network.start()
        for reuse in (True, False):
            wire = Wire(("127.0.0.1", listening.port), "tls", b"000000", authority.path, reuse)
            self.assertEqual(await deferToThread(visits, wire), [False, reuse, reuse])
        os.mkdir(directory + "2")
        wire = Wire(
            ("127.0.0.1", listening.port), "tls", b"000000", Authority(directory + "2").path, True
        )
        self.assertIn("CERTIFICATE_VERIFY_FAILED", await deferToThread(refusal, wire))


class FailureTests(SynchronousTestCase):
    def test_too_many(self) -> None:
        """A limit on open files is told as what it is."""
        wire = Wire(("127.0.0.1", 5060), "udp", b"000000", "", True)
        full = OSError(errno.EMFILE, "Too many open files")
        with mock.patch("socket.socket", side_effect=full):
            error = self.assertRaises(StoneError, wire.open)
        self.assertIn("Too many open files", str(error))

    def test_the_controller_goes(self) -> None:
        """A worker that can't answer its controller any more ends."""
        ours, theirs = socket.socketpair()
        with ours:
            worker = Worker("loader", ours, "token")
            theirs.recv(1000)
            theirs.sendall(b'{"clock": true}\n')
            theirs.close()
            error = self.assertRaises(StoneError, worker.run)
        self.assertIn("the controller is gone", str(error))


def refusal(wire: Wire) -> str:
    """Why there is no connection."""
    link = wire.open()
    end = time.monotonic() + 10
    while link.open and time.monotonic() < end:
        wire.read(0.1)
    return link.why


def visits(wire: Wire) -> list[bool]:
    """Whether the first connection, and two that replace it, took up a session."""
    resumed = []
    for _ in range(3):
        link = wire.open()
        assert isinstance(link, StreamLink)
        # A double CRLF is answered; the tickets of TLS 1.3 come before the answer.
        link.send(b"\r\n\r\n")
        end = time.monotonic() + 10
        while not link.shaken and time.monotonic() < end:
            wire.read(0.1)
        wire.read(5)
        resumed.append(link.resumed)
        wire.keep_session(link)
        wire.close(link)
    return resumed
