"""The XCAP service on a store, and HTTP clients on wires in memory."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from simplestack.app.core import Clocks, Core
from simplestack.app.settings import Settings
from simplestack.interfaces import Credential, IRole, IStore
from simplestack.net.http import XCAPSite
from simplestack.roles.xcap import XCAP
from simplestack.sip.digest import authorize, choose, ha1
from simplestack.sip.fields import Challenge, parse_challenge
from simplestack.store.memory import MemoryCredentials, MemoryStore
from simplestack.xcap.usages.directory import XCAPDirectory
from simplestack.xcap.usages.pidfmanipulation import PIDFManipulation
from simplestack.xcap.usages.presrules import OMAPresRules, PresRules
from simplestack.xcap.usages.resourcelists import ResourceLists
from simplestack.xcap.usages.rlsservices import RLSServices

EPOCH = 1_700_000_000.0
DOMAIN = "example.com"
USERS = ("alice", "bill", "bob", "joe", "root")
PASSWORD = "the password"


def credential(username: str, password: str = PASSWORD) -> Credential:
    """What is kept of a user's password."""
    secrets = [
        ha1(algorithm, username, DOMAIN, password)
        for algorithm in ("SHA-512-256", "SHA-256", "MD5")
    ]
    return Credential(username, DOMAIN, *secrets)


class Answer(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[str, Sequence[str]]
    body: bytes

    def header(self, name: str) -> str:
        """The first header field of a name, "" where there is none."""
        return (self.headers.get(name.lower()) or [""])[0]


class XCAPWorld:
    """A service whose clock only tests move."""

    def __init__(
        self,
        *,
        root: str = "http://xcap.example.com",
        origins: tuple[str, ...] = (),
        roles: Sequence[IRole] = (),
        store: IStore | None = None,
        max_connections: int = 100,
        **settings: object,
    ) -> None:
        self.now = EPOCH
        self.clock = Clock()
        self.store = MemoryStore() if store is None else store
        self.credentials = MemoryCredentials(*[credential(name) for name in USERS])
        self.role = XCAP(
            [
                ResourceLists(),
                RLSServices(),
                PresRules(),
                PIDFManipulation(),
                OMAPresRules(),
                XCAPDirectory(),
            ],
            admins=("sip:root@example.com",),
            root=root,
            **settings,  # type: ignore[arg-type]  # the keywords are the caller's to get right
        )
        self.core = Core(
            Settings(domains=(DOMAIN,), notify_interval=0, xcap_origins=origins),
            [*roles, self.role],
            self.store,
            self.credentials,
            Clocks(lambda: self.now, lambda: self.now),
        )
        service = self.core.xcap
        assert service is not None
        self.service = service
        self.site = service.make_site(self.clock, max_connections)

    def client(self, user: str = "", password: str = PASSWORD) -> "Client":
        """A client of a user on a connection of its own."""
        return Client(self.site, user, password)


class Client:
    """An HTTP client with Digest; what it sends is answered at once, as nothing waits."""

    def __init__(self, site: XCAPSite, user: str, password: str) -> None:
        self.site = site
        self.user = user
        self.password = password
        self.challenge: Challenge | None = None
        self.count = count(1)
        self.channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000))
        self.transport = StringTransport()
        self.channel.makeConnection(self.transport)

    def __call__(
        self, method: str, uri: str, body: bytes = b"", content_type: str = "", **headers: str
    ) -> Answer:
        """Send a request; with credentials, once the server has asked for them."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type:
            fields["Content-Type"] = content_type
        answer = self.send(method, uri, body, fields)
        if answer.status == 401 and self.user:
            offers = [parse_challenge(each) for each in answer.headers["www-authenticate"]]
            self.challenge = choose(offers)
            self.count = count(1)
            answer = self.send(method, uri, body, fields)
        return answer

    def put(self, uri: str, body: bytes, content_type: str, **headers: str) -> Answer:
        """PUT."""
        return self("PUT", uri, body, content_type, **headers)

    def get(self, uri: str, **headers: str) -> Answer:
        """GET."""
        return self("GET", uri, b"", "", **headers)

    def delete(self, uri: str, **headers: str) -> Answer:
        """DELETE."""
        return self("DELETE", uri, b"", "", **headers)

    def send(self, method: str, uri: str, body: bytes, fields: Mapping[str, str]) -> Answer:
        """Send one request, and read the one answer."""
        self.channel.dataReceived(self.request(method, uri, body, fields))
        [answer] = self.answers([method])
        return answer

    def request(
        self, method: str, uri: str, body: bytes = b"", fields: Mapping[str, str] | None = None
    ) -> bytes:
        """A request as octets."""
        fields = dict(fields or {})
        if self.challenge is not None:
            secret = ha1(self.challenge.algorithm, self.user, DOMAIN, self.password)
            fields["Authorization"] = str(
                authorize(
                    self.challenge, self.user, secret, method, uri, next(self.count), "c", body
                )
            )
        head = f"{method} {uri} HTTP/1.1\r\nHost: xcap.example.com\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        if body or method == "PUT":
            head += f"Content-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body

    def answers(self, methods: Sequence[str]) -> list[Answer]:
        """Read what has come, as the answers to requests of these methods."""
        data = self.transport.value()
        self.transport.clear()
        found = []
        for method in methods:
            head, _, data = data.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            headers: dict[str, list[str]] = {}
            for line in lines[1:]:
                name, _, value = line.partition(": ")
                headers.setdefault(name.lower(), []).append(value)
            status = int(lines[0].split(" ")[1])
            length = int((headers.get("content-length") or ["0"])[0])
            if method == "HEAD" or status == 304:
                length = 0
            found.append(Answer(status, headers, data[:length]))
            data = data[length:]
        if data:
            raise AssertionError(f"more came than was asked for: {data!r}")
        return found
