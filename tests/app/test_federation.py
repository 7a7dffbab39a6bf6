"""Lists with resources of other domains that ask who we are: credentials, identity, signatures."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.core import Clocks, Core
from simplestack.app.identity import IdentityVerifier, SigningKey
from simplestack.app.plugins import make_roles
from simplestack.app.settings import Settings, SettingsError
from simplestack.sip.errors import SIPError
from simplestack.sip.uri import Uri
from simplestack.store.memory import MemoryCredentials, MemoryStore
from simplestack.transaction.flow import Flow
from tests.app.listworld import ALICE, FRIENDS, ListWorld, Table
from tests.app.test_backend import BackEndCase
from tests.app.world import EPOCH, Link, credential


class TrustTests(BackEndCase):
    def setUp(self) -> None:
        """The phones' addresses begin with the same number in each world."""
        self.settings = {
            "trusted": ["198.51.100.12"],
            "credentials": {"198.51.100.12": ("lists", "our secret")},
        }
        super().setUp()
        self.assertEqual(self.domain, "198.51.100.12")

    def test_identity(self) -> None:
        """A domain that trusts us is told whom we have authenticated (RFC 3325 §9.1)."""
        subscribe = self.subscribed()
        self.assertEqual(subscribe.get("P-Asserted-Identity"), f"<{ALICE}>")

    def test_challenged(self) -> None:
        """A challenge is answered with the credentials for that domain (RFC 3261 §22.2)."""
        offer = 'Digest realm="remote", nonce="n", qop="auth", algorithm=SHA-256'
        self.zoe.replies.append((401, {"WWW-Authenticate": [offer]}))
        subscribe_count = 2
        self.accept()
        self.world.subscribe(self.alice)
        self.take()
        requests = self.subscribes()
        self.assertEqual(len(requests), subscribe_count)
        self.assertEqual(requests[1].cseq.number, 2)
        (given,) = requests[1].authorization
        self.assertEqual((given.param("username"), given.param("realm")), ("lists", "remote"))


class SigningTests(BackEndCase):
    def setUp(self) -> None:
        """The domain of Alice has a key."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        folder = Path(self.mktemp())
        folder.mkdir()
        pem = folder / "com.key"
        pem.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.keys = folder / "keys"
        self.keys.write_text(f"# domain info key\nexample.com {INFO} {pem}\n")
        self.settings = {"identity_signing": str(self.keys)}
        super().setUp()

    def test_signed(self) -> None:
        """What is sent for a user of ours is signed for him, refreshes as well (RFC 4662 §7.1.1)."""
        verifier = IdentityVerifier(
            {INFO: SigningKey(self.key.public_key(), None, frozenset({"example.com"}))}
        )
        subscribe = self.subscribed()
        self.assertEqual(verifier.verify(subscribe, self.aor, EPOCH + self.world.now), ALICE)
        self.notify(subscribe, note="x")
        self.accept()
        self.take(3300)
        (refresh,) = self.subscribes()
        date = refresh.date
        assert date is not None
        self.assertEqual(verifier.verify(refresh, self.aor, date.timestamp()), ALICE)
        refresh.set("From", "<sip:eve@example.com>;tag=x")
        error = self.assertRaises(SIPError, verifier.verify, refresh, self.aor, date.timestamp())
        self.assertEqual(error.status, 438)

    def test_believed(self) -> None:
        """Another server that knows the key needs nothing else to know the watcher."""
        public = self.keys.with_name("com.pem")
        public.write_bytes(
            self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        known = self.keys.with_name("known")
        known.write_text(f"{INFO} {public} example.com\n")
        remote = RemoteServer(self.world, "198.51.100.99", identity_keys=str(known))
        remote.credentials.put(credential("dave", remote.domain))
        dave = f"sip:dave@{remote.domain}"
        self.world.friends("bob", more=f'<entry uri="{dave}"/>')
        self.assertEqual(self.world.subscribe(self.alice).status, 200)
        self.take(3.0)
        row = self.table.rows[dave]
        assert row is not None
        self.assertEqual(row.state, "active")
        resident = remote.core.residents.get(dave)
        assert resident is not None
        self.assertEqual([*resident.state.watchers], [ALICE])

    def test_their_list(self) -> None:
        """A list of another server of this kind, which its operator has for everybody."""
        public = self.keys.with_name("com.pem")
        public.write_bytes(
            self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )
        known = self.keys.with_name("known")
        known.write_text(f"{INFO} {public} example.com\n")
        team = self.keys.with_name("team.xml")
        address = "198.51.100.99"
        team.write_bytes(
            '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>'
            f'<entry uri="sip:dave@{address}"/></list></resource-lists>'.encode()
        )
        remote = RemoteServer(
            self.world,
            address,
            identity_keys=str(known),
            lists=(f"sip:team@{address}={team}",),
        )
        remote.credentials.put(credential("dave", remote.domain))
        self.world.friends("bob", more=f'<entry uri="sip:team@{address}"/>')
        self.assertEqual(self.world.subscribe(self.alice).status, 200)
        self.take(3.0)
        row = self.table.rows[f"sip:team@{address}"]
        assert row is not None
        self.assertEqual(row.state, "active")
        self.assertIn(f'<resource uri="sip:dave@{address}">'.encode(), row.body)
        self.assertIn(b"<basic>closed</basic>", row.body)

    def test_own_identity(self) -> None:
        """For a watcher of another domain the server subscribes as itself (RFC 4662 §7.1.2)."""
        backend = self.world.core.lists.virtual.backend  # type: ignore[union-attr]  # lists are served
        assert backend is not None
        backend.watch("user", self.aor, "presence", "sip:carl@example.org")
        self.world.run(1.0)
        (subscribe,) = self.subscribes()
        self.assertEqual(subscribe.from_.uri.aor, "sip:lists@example.com")

    def test_files(self) -> None:
        """A key that can't be used is told at the start, with its line."""
        for text in ("example.com", f"example.com {INFO} /nonexistent", f"a {INFO} {self.keys}"):
            self.keys.write_text("\n" + text)
            error = self.assertRaises(SettingsError, super().setUp)
            self.assertIn("line 2", str(error))


class RemoteServer:
    """A whole service of another domain, at an address of the world, as phones are."""

    transport = "udp"

    def __init__(self, world: ListWorld, address: str, **settings: Any) -> None:
        self.world = world
        self.domain = address
        self.address = (address, 5060)
        self.credentials = MemoryCredentials()
        chosen = Settings(
            domains=(address,), default_handling="allow", notify_interval=0, **settings
        )
        clocks = Clocks(lambda: EPOCH + world.now, lambda: world.now)
        self.store = MemoryStore()
        self.core = Core(chosen, make_roles(chosen), self.store, self.credentials, clocks)
        self.layer = self.core.layer
        self.core.connect(self)
        self.link: Link = world.connect(self)  # type: ignore[arg-type]  # as much of a phone as a link needs
        world.phones.append(self)  # type: ignore[arg-type]  # its timers run as a phone's do

    def existing(self, key: str) -> Flow | None:
        """No flow is kept."""
        return None

    def ready(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Flow | None:
        """The way to the world's service."""
        return self.link.ends[1]

    def lasting(self, uri: Uri, prefer: str | None = None) -> Flow | None:
        """The same."""
        return self.link.ends[1]

    def flow_to(self, uri: Uri, size: int = 0, prefer: str | None = None) -> "Deferred[Flow]":
        """There is no other."""
        return fail(SIPError(503))

    def failed(self, flow: Flow) -> None:
        """Nothing is learned."""


class FederationTests(SynchronousTestCase):
    def test_two_servers(self) -> None:
        """Alice's list shows Zoe of another such server, which believes ours who watches."""
        world = ListWorld(credentials={"198.51.100.200": ("lists", "our secret")})
        remote = RemoteServer(world, "198.51.100.200", list_servers=("sip:lists@198.51.100.200",))
        for user, password in (("zoe", "zoe-secret"), ("lists", "our secret")):
            remote.credentials.put(credential(user, remote.domain, password))
        alice = world.phone("alice@example.com")
        world.friends("bob", more=f'<entry uri="sip:zoe@{remote.domain}"/>')
        world.put_service()
        self.assertEqual(world.subscribe(alice, FRIENDS).status, 200)
        world.run(3.0)
        table = Table()
        for notify in alice.notifies():
            table.take(notify)
        row = table.rows[f"sip:zoe@{remote.domain}"]
        assert row is not None
        self.assertEqual(row.state, "active")
        self.assertIn(b"closed", row.body)
        resident = remote.core.residents.get(f"sip:zoe@{remote.domain}")
        assert resident is not None
        (record,) = resident.state.subscriptions.values()
        self.assertEqual(record.watcher, ALICE)


INFO = "https://example.com/passport.cer"
