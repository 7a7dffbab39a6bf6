"""Certificates that are read again while the server runs."""

import os
import signal
import ssl
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.stack import Stack
from simplestack.app.tap import renew_on_hangup
from tests.app.sockets import StackCase
from tests.app.test_stack import provider
from tests.asynchronous import asynchronous
from tests.net.doubles import Authority

reactor: Any = installed


class RenewalTests(StackCase):
    def setUp(self) -> None:
        """An authority, its first certificate for the server, and what is logged."""
        os.mkdir(directory := self.mktemp())
        self.authority = Authority(directory)
        self.key, self.certificate = map(os.path.abspath, self.authority.issue("localhost"))
        self.seen: list[str] = []
        observer = provider(lambda event: self.seen.append(_text(event)))
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    async def serving(self) -> tuple[Stack, int, int]:
        """A server of SIP and XCAP over TLS, and both ports."""
        ends = f"privateKey={self.key}:certKey={self.certificate}:interface=127.0.0.1"
        roles = ("presence", "xcap")
        stack, (sip,) = await self.start(
            self.settings(roles=roles, listen=(f"tls:0:{ends}",), xcap=(f"ssl:0:{ends}",))
        )
        return stack, sip, stack._sites[0].getHost().port

    async def shown(self, port: int) -> str:
        """The certificate that a new connection to the port is shown."""
        ask = partial(ssl.get_server_certificate, ("127.0.0.1", port), timeout=20)
        shown: str = await deferToThread(ask)
        return shown.strip()

    @asynchronous
    async def test_renewed(self) -> None:
        """New connections get the new certificate, for SIP and for XCAP, without a restart."""
        stack, sip, xcap = await self.serving()
        first = Path(self.certificate).read_text().strip()
        self.assertEqual([await self.shown(sip), await self.shown(xcap)], [first, first])
        self.authority.issue("localhost")
        second = Path(self.certificate).read_text().strip()
        self.assertNotEqual(second, first)
        # Nobody has said yet that it should be read.
        self.assertEqual([await self.shown(sip), await self.shown(xcap)], [first, first])
        stack.renew()
        self.assertEqual([await self.shown(sip), await self.shown(xcap)], [second, second])

    @asynchronous
    async def test_bad(self) -> None:
        """A certificate that can't serve is told in the log; that of before goes on."""
        stack, sip, xcap = await self.serving()
        first = Path(self.certificate).read_text().strip()
        for text in ("junk", None):
            if text is None:
                os.unlink(self.certificate)
            else:
                Path(self.certificate).write_text(text)
            self.seen.clear()
            stack.renew()
            told = [line for line in self.seen if "can't be read again" in line]
            self.assertEqual(len(told), 2, self.seen)
            self.assertEqual([await self.shown(sip), await self.shown(xcap)], [first, first])

    @asynchronous
    async def test_none(self) -> None:
        """Where nothing is served over TLS that is said, and nothing else happens."""
        roles = ("presence", "xcap")
        stack, _ = await self.start(self.settings(roles=roles, xcap=("tcp:0:interface=127.0.0.1",)))
        self.seen.clear()
        stack.renew()
        self.assertEqual(self.seen, ["there are no certificates to be read again"])


class HangupTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Nobody has said what SIGHUP does."""
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.renewed: list[object] = []

    def listen(self, terminal: bool) -> None:
        """Look who wants SIGHUP."""
        self.patch(os, "isatty", lambda descriptor: terminal)
        renew_on_hangup(self, lambda: self.renewed.append(1))

    def callFromThread(self, call: Any) -> None:
        """As a reactor does."""
        call()

    def test_hangup(self) -> None:
        """SIGHUP renews the certificates."""
        self.listen(False)
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(self.renewed, [1])

    def test_left_alone(self) -> None:
        """A terminal ends the server when it goes, and nohup keeps it."""
        self.listen(True)
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.listen(False)
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)


def _text(event: LogEvent) -> str:
    return formatEvent(event)
