"""The commands at a server, in one process: over UDP, TCP and TLS."""

import argparse
import io
from collections.abc import Callable, Coroutine
from tempfile import mkdtemp
from typing import Any

from OpenSSL import crypto
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred

from simplestack.client.account import Account
from simplestack.client.useragent import UserAgent
from simplestack.client.xcap import XCAPClient
from simplestack.command import publish, register, registrations, watch, watchers
from simplestack.command.arguments import Parser
from simplestack.command.rules import decide
from simplestack.command.session import (
    AUTHENTICATION,
    DONE,
    NO_ANSWER,
    NO_USER,
    REFUSED,
    Session,
    attempt,
    serve,
)
from simplestack.command.user import credential
from simplestack.command.watching import follow
from simplestack.net.tls import load_authorities
from simplestack.sip.uri import parse_uri
from simplestack.store.credentials import CredentialTable
from tests.app.sockets import StackCase
from tests.asynchronous import asynchronous
from tests.net.doubles import Authority
from tests.ports import free_port

reactor: Any = installed
Work = Callable[[Session], Coroutine[Any, Any, int]]

ALICE = "alice@example.com"
BOB = "bob@example.com"


class Run:
    """A command that runs: what it says, and how it ends."""

    def __init__(
        self, session: Session, out: io.StringIO, err: io.StringIO, ended: "Deferred[int]"
    ) -> None:
        self.session = session
        self._out = out
        self._err = err
        #: Fires with the exit status.
        self.ended = ended

    @property
    def lines(self) -> list[str]:
        """What it has printed, without the times."""
        return [
            line[21:] if line[:2] == "20" else line for line in self._out.getvalue().split("\n")
        ][:-1]

    @property
    def errors(self) -> str:
        """What it has complained of."""
        return self._err.getvalue()

    async def stop(self) -> int:
        """End it as an interrupt does; the exit status."""
        self.session.end(DONE)
        return await self.ended


class SessionCase(StackCase):
    """Commands at a server with alice and bob."""

    transport = "udp"
    authorities: tuple[crypto.X509, ...] | None = None

    async def serve_users(self, **changes: Any) -> None:
        """Start the server."""
        self.xcap_port = free_port()
        changes.setdefault("roles", ("registrar", "presence", "reg", "winfo", "xcap"))
        settings = self.settings(
            xcap=(f"tcp:{self.xcap_port}:interface=127.0.0.1",),
            **changes,
        )
        table = CredentialTable(settings.store)
        for name in ("alice", "bob"):
            table.put(credential(parse_uri(f"sip:{name}@example.com"), f"{name}-secret"))
        self.stack, self.ports = await self.start(settings)

    def account(self, user: str, password: str | None = None) -> Account:
        """An account at the server."""
        port = self.ports[("udp", "tcp", "tls").index(self.transport)]
        secret = f"{user.partition('@')[0]}-secret" if password is None else password
        return Account(user, secret, f"127.0.0.1:{port}", self.transport)

    def run_work(self, user: str, work: Work, password: str | None = None) -> Run:
        """Run a command's work as a user."""
        out, err = io.StringIO(), io.StringIO()
        session = Session("test", reactor, out, err)
        agent = UserAgent(reactor, self.account(user, password), authorities=self.authorities)
        run = Run(session, out, err, Deferred.fromCoroutine(serve(session, agent, work)))
        self.addCleanup(lambda: None if run.ended.called else session.end())
        return run

    def options(self, module: Any, user: str, *arguments: str) -> argparse.Namespace:
        """The parsed arguments of a command."""
        parser: Parser = module.parser()
        return parser.parse_args([*arguments, "--as", user])

    def publish(self, *arguments: str) -> Run:
        """Run publish as bob."""
        options = self.options(publish, BOB, *arguments)
        return self.run_work(BOB, lambda session: publish.keep(session, options))

    def register(self, *arguments: str) -> Run:
        """Run register as bob."""
        options = self.options(register, BOB, *arguments)
        return self.run_work(BOB, lambda session: register.keep(session, options))

    def watch(self, *arguments: str, user: str = ALICE, password: str | None = None) -> Run:
        """Run watch, of bob unless another is named first."""
        if not arguments or arguments[0].startswith("-"):
            arguments = (BOB, *arguments)
        options = self.options(watch, user, *arguments)
        return self.run_work(
            user,
            lambda session: follow(session, options, options.target, watch.PresenceReading()),
            password,
        )

    def watchers(self) -> Run:
        """Run watchers as bob."""
        options = self.options(watchers, BOB)
        reading = watchers.WatcherReading(options.aor)
        return self.run_work(BOB, lambda session: follow(session, options, options.aor, reading))

    def registrations(self, user: str = BOB) -> Run:
        """Run registrations of bob."""
        options = self.options(registrations, user, BOB)
        reading = registrations.RegistrationReading()
        return self.run_work(
            user, lambda session: follow(session, options, options.target, reading)
        )

    async def rule(self, handling: str, watcher: str = ALICE) -> None:
        """Run allow, block or polite-block as bob."""
        out, err = io.StringIO(), io.StringIO()
        session = Session(handling, reactor, out, err)
        account = self.account(BOB)
        client = XCAPClient(reactor, account, f"http://127.0.0.1:{self.xcap_port}/")
        work = decide(session, client, handling, f"sip:{watcher}", account.aor)
        self.assertEqual((await attempt(session, work), err.getvalue()), (DONE, ""))

    async def tells(self, run: Run, count: int) -> list[str]:
        """Wait until a command has printed so many lines; the lines."""
        await self.until(lambda: len(run.lines) >= count or run.ended.called)
        self.assertEqual(len(run.lines), count, (run.lines, run.errors))
        return run.lines


class UDPTests(SessionCase):
    @asynchronous
    async def test_presence(self) -> None:
        """RFC 3856 §8, RFC 3857 §5: a watcher waits, is let in, sees changes, is politely shut
        out, and the owner sees all that.
        """
        await self.serve_users()
        bob = self.publish("--activity", "on-the-phone", "--note", "until four")
        words = (await self.tells(bob, 1))[0]
        self.assertEqual(words, f"sip:{BOB} is published as open, on-the-phone for 3600 s")
        owner = self.watchers()
        await self.tells(owner, 1)
        alice = self.watch()
        await self.tells(alice, 1)
        await self.tells(owner, 2)
        await self.rule("allow")
        await self.tells(alice, 2)
        await self.tells(owner, 3)
        second = self.publish("--status", "closed", "--activity", "meeting")
        await self.tells(alice, 3)
        await self.rule("polite-block")
        await self.tells(alice, 4)
        await self.rule("block")
        self.assertEqual(await alice.ended, REFUSED)
        self.assertEqual(
            alice.lines[:2],
            [f"sip:{BOB}  pending", f'sip:{BOB}  open  on-the-phone  "until four"'],
        )
        self.assertIn("meeting", alice.lines[2])
        self.assertEqual(alice.lines[3:], [f"sip:{BOB}  closed  -"])
        self.assertIn("rejected", alice.errors)
        await self.until(lambda: "rejected" in owner.lines[-1])
        self.assertEqual(
            [owner.lines[0], owner.lines[1], owner.lines[2], owner.lines[-1]],
            [
                f"sip:{BOB}  has no watchers",
                f"sip:{ALICE}  pending  subscribe",
                f"sip:{ALICE}  active  approved",
                f"sip:{ALICE}  terminated  rejected",
            ],
        )
        for run in (bob, second, owner):
            self.assertEqual((await run.stop(), run.errors), (DONE, ""))
        counts = await self.stack.status()
        self.assertEqual((counts["publication"], counts["subscription"]), (0, 0))

    @asynchronous
    async def test_registration(self) -> None:
        """RFC 3680 §6: registrations come and go, and are gone after an interrupt."""
        await self.serve_users()
        live = self.registrations()
        self.assertEqual(await self.tells(live, 1), [f"sip:{BOB}  is not registered"])
        phone = self.register("--expires", "5")
        # 423 with Min-Expires has made the interval longer (RFC 3261 §10.2.8).
        self.assertRegex((await self.tells(phone, 1))[0], r"is registered at sip:bob@\S+ for 60 s")
        self.assertRegex((await self.tells(live, 2))[1], r"  active  registered  expires in")
        self.assertEqual((await phone.stop(), phone.errors), (DONE, ""))
        self.assertRegex((await self.tells(live, 3))[2], r"  terminated  unregistered$")
        self.assertEqual((await live.stop(), live.errors), (DONE, ""))

    @asynchronous
    async def test_raw_and_count(self) -> None:
        """Documents come as they are where asked for; ``--count`` ends with 0."""
        await self.serve_users()
        await self.rule("allow")
        bob = self.publish()
        await self.tells(bob, 1)
        alice = self.watch("--raw", "--count", "1")
        self.assertEqual(await alice.ended, DONE)
        self.assertTrue(alice.lines[0].startswith("<?xml "))
        self.assertIn("<basic>open</basic>", "".join(alice.lines))
        await bob.stop()

    @asynchronous
    async def test_statuses(self) -> None:
        """The exit status says why a command ended."""
        await self.serve_users()
        for run, status, why in (
            (self.watch(password="wrong"), AUTHENTICATION, "user name and password"),
            (self.watch("nobody@example.com"), NO_USER, "404"),
            (self.watch("bob@elsewhere.example"), NO_USER, "404"),
            (self.registrations(user=ALICE), REFUSED, "403"),
            (self.watch("--count", "9", "--seconds", "1"), NO_ANSWER, "1 s"),
            (self.watch("--seconds", "1"), DONE, ""),
        ):
            self.assertEqual(await run.ended, status, run.errors)
            self.assertIn(why, run.errors)
            self.assertEqual(run.errors.count("\n"), 1 if why else 0)

    @asynchronous
    async def test_nobody_there(self) -> None:
        """An interrupt ends a command that waits for an answer."""
        await self.serve_users()
        self.ports = [free_port()]
        run = self.watch()
        await self.until(lambda: run.session.agent.layer.counts()["client_transactions"])
        self.assertEqual(await run.stop(), DONE)

    @asynchronous
    async def test_rules_are_kept(self) -> None:
        """RFC 4825 §8: rules of others' making survive an edit; a second edit builds on the
        first.
        """
        await self.serve_users()
        await self.rule("allow")
        await self.rule("block", "eve@example.com")
        await self.rule("polite-block", "mallory@example.com")
        client = XCAPClient(reactor, self.account(BOB), f"http://127.0.0.1:{self.xcap_port}/")
        found = await client.get(client.document("pres-rules"))
        assert found is not None
        for user in ("alice", "eve", "mallory"):
            self.assertEqual(found.body.count(f"sip:{user}@example.com".encode()), 1)


class TCPTests(SessionCase):
    transport = "tcp"

    async def flow(self) -> None:
        """Publish, watch, register, and end."""
        await self.rule("allow")
        bob = self.publish("--note", "x" * 1500)
        await self.tells(bob, 1)
        phone = self.register()
        await self.tells(phone, 1)
        self.assertIn(f";transport={self.transport}", phone.lines[0])
        alice = self.watch()
        self.assertIn("x" * 1500, (await self.tells(alice, 1))[0])
        for run in (bob, phone, alice):
            self.assertEqual((await run.stop(), run.errors), (DONE, ""))

    @asynchronous
    async def test_flow(self) -> None:
        """All of it over TCP; a connection that breaks is made anew, and nothing is lost."""
        await self.serve_users()
        await self.flow()

    @asynchronous
    async def test_broken_connection(self) -> None:
        """RFC 3261 §18.4: a watcher whose connection is cut sees the next change."""
        await self.serve_users()
        await self.rule("allow")
        alice = self.watch()
        await self.tells(alice, 1)
        for flow in self.stack.network.connections.flows():
            flow._connection.abort()  # type: ignore[union-attr]  # open as long as it is listed
        await self.until(lambda: not self.stack.network.connections.flows())
        bob = self.publish("--note", "after all")
        self.assertIn("after all", (await self.tells(alice, 2))[1])
        for run in (bob, alice):
            self.assertEqual((await run.stop(), run.errors), (DONE, ""))


class TLSTests(TCPTests):
    transport = "tls"

    async def serve_users(self, **changes: Any) -> None:
        """Start the server, with a certificate for its address."""
        authority = Authority(mkdtemp(dir="."))
        key, certificate = authority.issue("127.0.0.1")
        self.authorities = load_authorities(authority.path)
        listen = [
            "udp:0:interface=127.0.0.1",
            "tcp:0:interface=127.0.0.1",
            f"tls:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}",
        ]
        await super().serve_users(listen=listen, **changes)

    @asynchronous
    async def test_strangers(self) -> None:
        """RFC 5922 §7.3: a server whose certificate nobody trusts gets no request."""
        await self.serve_users()
        self.authorities = None
        alice = self.watch()
        self.assertEqual(await alice.ended, NO_ANSWER)
        self.assertIn("certificate", alice.errors)


class IPv6Tests(SessionCase):
    def account(self, user: str, password: str | None = None) -> Account:
        """An account at the server's IPv6 address."""
        port = self.ports[("udp", "tcp", "tls").index(self.transport)]
        secret = f"{user.partition('@')[0]}-secret"
        return Account(user, secret, f"[::1]:{port}", self.transport)

    async def flow(self) -> None:
        """Register, publish and watch."""
        authority = Authority(mkdtemp(dir="."))
        key, certificate = authority.issue("::1")
        self.authorities = load_authorities(authority.path)
        tls = f"tls:0:interface=[::1]:privateKey={key}:certKey={certificate}"
        await self.serve_users(
            listen=["udp:0:interface=[::1]", "tcp:0:interface=[::1]", tls],
        )
        await self.rule("allow")
        phone = self.register()
        alice = self.watch()
        await self.tells(phone, 1)
        await self.tells(alice, 1)
        bob = self.publish("--note", "six")
        await self.until(lambda: "six" in alice.lines[-1])
        for run in (bob, alice, phone):
            self.assertEqual((await run.stop(), run.errors), (DONE, ""))

    @asynchronous
    async def test_udp(self) -> None:
        """RFC 3261 §19.1.1: all of it over IPv6."""
        await self.flow()

    @asynchronous
    async def test_tcp(self) -> None:
        """The same over TCP."""
        self.transport = "tcp"
        await self.flow()

    @asynchronous
    async def test_tls(self) -> None:
        """The same over TLS, with a certificate for the address (RFC 5922 §7.1, RFC 5280 §4.2.1.6)."""
        self.transport = "tls"
        await self.flow()
