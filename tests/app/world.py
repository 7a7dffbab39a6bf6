"""A whole service without sockets, phones around it, and a clock that only tests move.

The ``Core`` of the application and every phone have a real transaction layer; between them is a
network that loses what a test tells it to lose, and nothing else.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import floor
from random import Random

from twisted.internet.defer import Deferred, fail

from simplestack.app.core import Clocks, Core
from simplestack.app.plugins import make_roles
from simplestack.app.settings import Settings
from simplestack.interfaces import Credential, IRole
from simplestack.net.http import Exchange
from simplestack.net.identifiers import RandomIdentifiers
from simplestack.outcome import Outcome
from simplestack.sip.digest import ha1
from simplestack.sip.errors import SIPError
from simplestack.sip.uri import Uri
from simplestack.state import ChangeSet, Document, ResourceState
from simplestack.store.errors import Unavailable
from simplestack.store.memory import MemoryCredentials, MemoryStore
from simplestack.transaction.flow import Flow
from tests.app.phone import PASSWORD, End, Link, NoAnswer, Phone

__all__ = ["EPOCH", "PASSWORD", "Link", "NoAnswer", "Phone", "World", "credential"]

#: The wall clock when a world begins.
EPOCH = 1_700_000_000.0


def credential(username: str, domain: str, password: str = PASSWORD) -> Credential:
    """What is kept of a user's password."""
    secrets = [
        ha1(algorithm, username, domain, password)
        for algorithm in ("SHA-512-256", "SHA-256", "MD5")
    ]
    return Credential(username, domain, *secrets)


class StoringTurn:
    """A turn of somebody who changes records; provides ``Turn``."""

    def __init__(self, aor: str, changes: ChangeSet) -> None:
        self.aor = aor
        self.changes = changes
        #: What came of it: None while it waits, "stored", or the error.
        self.result: str | SIPError | None = None

    def trust(self, now: float) -> None:
        """Nobody is asked."""

    def decide(self, state: ResourceState, now: float) -> Outcome[str]:
        """What was decided before."""
        return Outcome("stored", self.changes)

    def answer(self, response: str) -> None:
        """It is stored."""
        self.result = response

    def refuse(self, error: SIPError) -> None:
        """It is not."""
        self.result = error


def rules_document(rules: dict[str, list[str]]) -> bytes:
    """A pres-rules document (RFC 5025): handling → AORs, or ``*`` for everybody."""
    text = (
        '<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy"'
        ' xmlns="urn:ietf:params:xml:ns:pres-rules">'
    )
    for number, (handling, who) in enumerate(rules.items()):
        identity = "".join(
            "<cp:many/>" if each == "*" else f'<cp:one id="{each}"/>' for each in who
        )
        shown = "".join(
            f"<provide-{what}><all-{what}/></provide-{what}>"
            for what in ("devices", "persons", "services")
        )
        text += (
            f'<cp:rule id="r{number}"><cp:conditions><cp:identity>{identity}</cp:identity>'
            f"</cp:conditions><cp:actions><sub-handling>{handling}</sub-handling></cp:actions>"
            f"<cp:transformations>{shown}<provide-all-attributes/></cp:transformations></cp:rule>"
        )
    return (text + "</cp:ruleset>").encode()


class Store(MemoryStore):
    """A store whose held commits can be lost in more ways."""

    def lose_silently(self) -> None:
        """Let the held commits fail, one by one, after the AORs were named by others."""
        waiting, self._waiting = self._waiting, []
        self.held = False
        for _, settled in waiting:
            settled(Unavailable(2))

    def forget_waiting(self) -> None:
        """The process dies: nobody will ever know."""
        self._waiting.clear()
        self.held = False


class World:
    """The service and the phones around it."""

    def __init__(
        self,
        users: Sequence[str] = ("alice@example.com", "bob@example.com", "carol@example.com"),
        *,
        settings: Settings | None = None,
        roles: Sequence[IRole] | None = None,
        seed: int = 0,
    ) -> None:
        domains = tuple(dict.fromkeys(user.partition("@")[2] for user in users))
        #: Without other settings every change is told: tests count what is sent.
        self.settings = settings or Settings(domains=domains, notify_interval=0)
        self.now = 0.0
        self.random = Random(seed)
        self.numbers = count(10)
        #: How many processes of the service there have been.
        self.started = 0
        self.store = Store()
        self.credentials = MemoryCredentials()
        for user in users:
            self.add_user(user)
        #: (time, link, side that sent, bytes) of all messages.
        self.log: list[tuple[float, Link, int, bytes]] = []
        self.phones: list[Phone] = []
        self._links: dict[tuple[str, int], Link] = {}
        self._connections: list[Link] = []
        self._serial = count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._next_tick = 1.0
        self.start(roles)

    # The service

    def start(self, roles: Sequence[IRole] | None = None) -> None:
        """Make the service on the store as it is, and let it take up what is there."""
        self.start_quietly(roles)
        self.take_up()

    def start_quietly(self, roles: Sequence[IRole] | None = None) -> None:
        """Make the service on the store as it is."""
        self.started += 1
        self.roles = make_roles(self.settings) if roles is None else roles
        self.core = Core(
            self.settings,
            self.roles,
            self.store,
            self.credentials,
            Clocks(lambda: EPOCH + self.now, lambda: self.now),
            RandomIdentifiers(self.random.randbytes),
        )
        self.core.connect(self)
        self.store.on_failure = self.core.turns.distrust

    def take_up(self) -> None:
        """What a stack does when its store can be read."""
        self.store.deadlines().addCallback(self._take_deadlines)
        self.store.subscribed().addCallback(self._take_subscribed)

    def _take_deadlines(self, deadlines: list[tuple[str, float]]) -> None:
        for aor, when in deadlines:
            self.core.deadlines.set(aor, when)

    def _take_subscribed(self, aors: list[str]) -> None:
        for aor in sorted(aors):
            self.core.clock_turns.wake(aor)

    def restart(self, roles: Sequence[IRole] | None = None) -> None:
        """The process dies, and another starts: what was not committed is gone."""
        for link in self._connections:
            if link.ends[0].alive:
                link.close()
        self._connections.clear()
        # What is under way to the old process is lost with it, or comes to the new one.
        self.start(roles)

    def add_user(self, user: str, password: str = PASSWORD) -> None:
        """Make a user."""
        username, _, domain = user.partition("@")
        self.credentials.put(credential(username, domain, password))

    # The network

    def phone(self, user: str, transport: str = "udp", name: str = "", **more: str) -> Phone:
        """A phone of a user."""
        username, _, domain = user.partition("@")
        phone = Phone(self, username, domain, transport, name, **more)
        self.phones.append(phone)
        return phone

    def connect(self, phone: Phone) -> Link:
        """A link between a phone and the service."""
        if phone.transport == "udp":
            link = self._links[phone.address] = Link(self, "udp", phone.address, phone)
            return link
        link = Link(self, phone.transport, (phone.address[0], next(self.numbers) + 40000), phone)
        self._connections.append(link)
        return link

    def link_to(self, address: tuple[str, int]) -> Link:
        """The UDP link to an address, at which perhaps nobody is."""
        if address not in self._links:
            self._links[address] = Link(self, "udp", address, None)
        return self._links[address]

    def existing(self, key: str) -> End | None:
        """The living flow of this key."""
        for link in (*self._connections, *self._links.values()):
            if link.ends[0].key == key and link.ends[0].alive:
                return link.ends[0]
        return None

    def ready(self, uri: Uri, size: int = 0, prefer: str | None = None) -> End | None:
        """The flow for a request to the URI, if that takes no waiting."""
        if uri.param("transport") in (None, "udp") and uri.scheme != "sips":
            return self.link_to((uri.host, uri.port or 5060)).ends[0]
        return None if prefer is None else self.existing(prefer)

    def lasting(self, uri: Uri, prefer: str | None = None) -> End | None:
        """The flow for all requests to the URI, as long as it lives."""
        return self.ready(uri, 0, prefer)

    def flow_to(self, uri: Uri, size: int = 0, prefer: str | None = None) -> "Deferred[Flow]":
        """The flow for a request to the URI: a new connection, where the phone can be reached."""
        found: Deferred[Flow] = Deferred()
        for phone in self.phones:
            if phone.address[0] == uri.host and phone.transport != "udp" and not phone.link.cut:
                phone.link = self.connect(phone)
                self.at(self.now, partial(found.callback, phone.link.ends[0]))
                return found
        return fail(SIPError(503, text=f"no way to {uri}"))

    def failed(self, flow: object) -> None:
        """Learn that a request got no answer by this flow."""

    # Time

    def at(self, time: float, function: Callable[[], None]) -> None:
        """Call a function when the clock comes to a time."""
        heappush(self._events, (time, next(self._serial), function))

    def run(self, seconds: float) -> None:
        """Let everything happen that happens within so many seconds."""
        until = self.now + seconds
        while True:
            layers = (self.core.layer, *[phone.layer for phone in self.phones])
            times = [layer.next_wakeup() for layer in layers]
            if self._events:
                times.append(self._events[0][0])
            due = min((time for time in times if time is not None), default=self._next_tick)
            due = min(due, self._next_tick)
            if due > until:
                break
            self.now = max(self.now, due)
            while self._events and self._events[0][0] <= self.now:
                heappop(self._events)[2]()
            for layer in layers:
                wakeup = layer.next_wakeup()
                if wakeup is not None and wakeup <= self.now:
                    layer.advance(self.now)
            if self.now >= self._next_tick:
                self._tick()
        self.now = max(self.now, until)

    def _tick(self) -> None:
        self._next_tick = floor(self.now) + 1.0
        self.core.clock_turns.tick()
        self.core.authenticator.refresh().addCallback(self.core.forget)
        if floor(self.now) % 60 == 0:
            self.core.residents.sweep()

    # Documents

    def store_document(self, document: Document) -> None:
        """Run the turn of somebody who stores a document."""
        changes = ChangeSet(document.aor, [document])
        self.core.turns.run(StoringTurn(document.aor, changes))

    def store_rules(self, aor: str, rules: dict[str, list[str]], body: bytes = b"") -> None:
        """Store the pres-rules of an AOR: handling → AORs or ``*`` for everybody; or a body.

        Through XCAP, where it is served.
        """
        body = body or rules_document(rules)
        media_type = "application/auth-policy+xml"
        if self.core.xcap is None:
            etag = f"etag{next(self._serial)}"
            index = ("pres-rules/index", "pres-rules", "index", etag)
            self.store_document(Document(aor, *index, media_type, body, EPOCH + self.now))
            return
        uri = f"/pres-rules/users/{aor}/index".encode()
        user = aor.partition(":")[2]
        headers = {
            "authorization": "Basic " + b64encode(f"{user}:{PASSWORD}".encode()).decode(),
            "content-type": media_type,
        }
        answers: list[tuple[int, bytes]] = []

        def respond(status: int, fields: tuple[tuple[str, str], ...], text: bytes) -> None:
            answers.append((status, text))

        self.core.xcap.serve(Exchange("PUT", uri, uri, headers, body, True, respond))
        if not self.store.held:
            ((status, text),) = answers
            assert status in (200, 201), (status, text)

    # What there is

    def stored(self, aor: str) -> set[object]:
        """The records of an AOR in the store."""
        records: list[object] = []
        self.store.load(aor).addCallback(records.extend)
        return set(records)
