"""Watchers by the word of others: trusted peers (RFC 3325) and signatures (RFC 8224)."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.assertions import TrustedPeers
from simplestack.app.identity import MAX_USED, IdentityVerifier, read_keys
from simplestack.app.settings import Settings, SettingsError
from simplestack.documents.watcherinfo import parse_watcherinfo
from simplestack.sip.errors import SIPError
from simplestack.sip.fields.scalars import format_date
from simplestack.sip.message import Request, Response
from simplestack.sip.passport import IdentityValue, party
from simplestack.sip.uri import parse_uri
from tests.app.test_anonymous import rule, rules
from tests.app.world import EPOCH, Phone, World

ALICE = "sip:alice@example.com"
CARL = "sip:carl@example.org"
ANONYMOUS = "sip:anonymous@anonymous.invalid"
INFO = "https://example.org/passport.cer"
KEY = ec.generate_private_key(ec.SECP256R1())


def public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = KEY) -> bytes:
    """A public key as a file has it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def certificate(domain: str, days: int = 1) -> bytes:
    """A certificate of a domain, for the time of the world and some days."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, domain)])
    start = datetime.fromtimestamp(EPOCH, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(start - timedelta(days=10))
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(domain)]), False)
    )
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.PEM)


class Case(SynchronousTestCase):
    """Alice, and a server of another domain that asks for Carl."""

    settings: dict[str, object] = {}

    def setUp(self) -> None:
        """Make the world."""
        self.make(**self.settings)

    def make(self, **more: object) -> None:
        """Make a world with these settings."""
        settings = Settings(domains=("example.com",), notify_interval=0)
        self.world = World(["alice@example.com"], settings=settings.replace(**more))
        self.alice = self.world.phone("alice@example.com")
        self.peer = self.world.phone("carl@example.org", "tcp")

    def ask(
        self,
        headers: dict[str, list[str]],
        from_: str = CARL,
        phone: Phone | None = None,
        method: str = "SUBSCRIBE",
        **more: str,
    ) -> Response:
        """Send a request for Carl."""
        phone = phone or self.peer
        request = self.request(headers, from_, phone, method, **more)
        return self.send(request, phone)

    def request(
        self,
        headers: dict[str, list[str]],
        from_: str = CARL,
        phone: Phone | None = None,
        method: str = "SUBSCRIBE",
        **more: str,
    ) -> Request:
        """A request for Carl."""
        phone = phone or self.peer
        tag = phone.identifiers.tag()
        fields = {"From": [f"<{from_}>;tag={tag}"], "Event": ["presence"], **headers}
        fields |= {name.replace("_", "-"): [value] for name, value in more.items()}
        return phone.request(method, ALICE, fields)

    def send(self, request: Request, phone: Phone | None = None) -> Response:
        """The answer to a request."""
        phone = phone or self.peer
        phone.send(request, False)
        self.world.run(0.0)
        found = [each for each in phone.inbox if isinstance(each, Response)]
        phone.inbox.clear()
        return found[-1]

    def watchers(self) -> list[str]:
        """Who watches Alice."""
        resident = self.world.core.residents.get(ALICE)
        subscriptions = {} if resident is None else resident.state.subscriptions
        return [each.watcher for each in subscriptions.values()]


class TrustedPeerTests(Case):
    settings = {"trusted_peers": ("198.51.100.0/24",), "default_handling": "allow"}

    def test_asserted(self) -> None:
        """What a trusted peer says is believed, whatever From says (RFC 3325 §5)."""
        response = self.ask({"P-Asserted-Identity": ['"Carl" <sip:Carl@Example.org>, <tel:+1>']})
        self.assertEqual(response.status, 200)
        self.assertNotIn("Authentication-Info", response.headers)
        self.ask({"P-Asserted-Identity": ["<tel:+1-555>"]}, "sip:other@h.example")
        self.assertEqual(self.watchers(), ["sip:Carl@example.org", "tel:+1555"])

    def test_rules(self) -> None:
        """The rules know him by it."""
        self.world.store_document(rules(rule(f'<one id="{CARL}"/>')))
        good = self.ask({"P-Asserted-Identity": [f"<{CARL}>"]})
        bad = self.ask({"P-Asserted-Identity": ["<sip:eve@example.org>"]})
        self.assertEqual((good.status, bad.status), (200, 403))

    def test_not_asserted(self) -> None:
        """Without the header field, or without a URI in it that names somebody, he is challenged."""
        self.assertEqual(self.ask({}).status, 401)
        self.assertEqual(self.ask({"P-Asserted-Identity": ["<urn:x:y>"]}).status, 401)
        self.assertEqual(self.ask({"P-Asserted-Identity": ["<"]}).status, 400)

    def test_from_others(self) -> None:
        """From others the header field is not used in any way (RFC 3325 §8)."""
        headers = {"P-Asserted-Identity": [f"<{CARL}>"]}
        for peers in (("192.0.2.0/24", "2001:db8::/32"), ()):
            self.make(trusted_peers=peers, default_handling="allow")
            self.assertEqual(self.ask(headers).status, 401)
            self.assertEqual(self.ask({"P-Asserted-Identity": ["<"]}).status, 401)

    def test_datagrams(self) -> None:
        """The source of a datagram is believed only where the operator says so."""
        headers = {"P-Asserted-Identity": [f"<{CARL}>"]}
        phone = self.world.phone("dave@example.org")
        self.assertEqual(self.ask(headers, phone=phone).status, 401)
        self.make(trusted_peers=("udp:198.51.100.0/24",), default_handling="allow")
        phone = self.world.phone("dave@example.org")
        self.assertEqual(self.ask(headers, phone=phone).status, 200)
        self.assertEqual(self.ask(headers).status, 200)

    def test_unknown_user(self) -> None:
        """Who asserts the name of a user that there is not gets 404 for him."""
        response = self.send(
            self.peer.request(
                "SUBSCRIBE",
                "sip:nobody@example.com",
                {"Event": ["presence"], "P-Asserted-Identity": ["<sip:nobody@example.com>"]},
            )
        )
        self.assertEqual(response.status, 404)

    def test_publish(self) -> None:
        """A trusted peer speaks for users of ours too."""
        headers = {"P-Asserted-Identity": [f"<{ALICE}>"]}
        response = self.ask(headers, ALICE, method="PUBLISH")
        self.assertEqual(response.status, 400, "a first PUBLISH needs a body")

    def test_private_and_anonymous(self) -> None:
        """The rules see an identity that is private, the presentity does not (RFC 5025 §3.1.1.2)."""
        self.world.store_document(rules(rule(f'<one id="{CARL}"/>')))
        headers = {"P-Asserted-Identity": [f"<{CARL}>"]}
        response = self.ask(headers, ANONYMOUS, Privacy="header;id")
        self.assertEqual(response.status, 200)
        self.assertEqual(self.watchers(), [CARL])
        answer = self.alice.ask("SUBSCRIBE", ALICE, {"Event": ["presence.winfo"]})
        self.assertEqual(answer.status, 200)
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        ((watcher,),) = [each.watchers for each in parse_watcherinfo(notify.body).lists]
        self.assertEqual(watcher.uri, ANONYMOUS)
        self.assertNotIn(b"carl", notify.body)

    def test_private_with_a_name(self) -> None:
        """With a name in From, Privacy: id leaves none (RFC 3325 §8)."""
        headers = {"P-Asserted-Identity": [f"<{CARL}>"]}
        self.assertEqual(self.ask(headers, Privacy="id").status, 401)
        self.world.store_document(rules(rule("")))
        self.assertEqual(self.ask(headers, Privacy="id").status, 200)
        self.assertEqual(self.watchers(), [""])
        self.assertEqual(self.ask(headers, Privacy="none").status, 403)

    def test_entries(self) -> None:
        """Addresses, networks, brackets; anything else is a mistake."""
        peers = TrustedPeers(["192.0.2.7", "[2001:db8::1]", "udp:10.1.2.3/8"])
        for host, transport, expected in (
            ("192.0.2.7", "tls", True),
            ("192.0.2.7", "udp", False),
            ("192.0.2.8", "tcp", False),
            ("2001:db8::1", "tcp", True),
            ("10.9.9.9", "udp", True),
            ("10.9.9.9", "tcp", True),
            ("unix", "tcp", False),
        ):
            self.assertEqual(peers.trusts(host, transport), expected, host)
        self.assertRaises(SettingsError, self.make, trusted_peers=("proxy.example.com",))


class SignedTests(Case):
    def setUp(self) -> None:
        """A key of example.org."""
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.keys = str(self.directory / "keys")
        self.write(f"{INFO} {self.file(public())} Example.org. +4930")
        self.settings = {"identity_keys": self.keys, "default_handling": "allow"}
        super().setUp()

    def file(self, pem: bytes) -> Path:
        """A PEM file."""
        path = self.directory / f"{len(list(self.directory.iterdir()))}.pem"
        path.write_bytes(pem)
        return path

    def write(self, *lines: str) -> None:
        """Write the list of keys."""
        Path(self.keys).write_text("\n".join(("# keys", "", *lines)))

    def sign(
        self,
        from_: str = CARL,
        to: str = ALICE,
        age: float = 0.0,
        full: bool = False,
        key: ec.EllipticCurvePrivateKey = KEY,
        more: str = "",
    ) -> dict[str, list[str]]:
        """Date and Identity of a request."""
        when = int(EPOCH + self.world.now - age)
        value = IdentityValue("", "", "", INFO)
        signed = value.signed(party(parse_uri(from_)), party(parse_uri(to)), when)
        first, second = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))
        octets = first.to_bytes(32) + second.to_bytes(32)
        signature = urlsafe_b64encode(octets).decode().rstrip("=")
        head = signed.decode() if full else "."
        return {
            "Date": [format_date(when)],
            "Identity": [f"{head}.{signature};info=<{INFO}>;alg=ES256{more}"],
        }

    def refused(self, status: int, headers: dict[str, list[str]], from_: str = CARL) -> None:
        """Ask, and be refused."""
        response = self.ask(headers, from_)
        self.assertEqual(response.status, status, response)

    def test_compact_and_full(self) -> None:
        """Who has signed is the watcher, in the form that was signed (§8.5)."""
        self.assertEqual(
            self.ask(self.sign("sip:Carl@Example.org"), "sip:CARL@example.org").status, 200
        )
        self.assertEqual(self.ask(self.sign(full=True)).status, 200)
        # "the use of the full form": its iat counts (§6.2 step 4).
        without_date = self.sign(full=True)
        del without_date["Date"]
        self.assertEqual(self.ask(without_date).status, 200)
        self.assertEqual(self.watchers(), [CARL] * 3)

    def test_numbers(self) -> None:
        """A number is signed without its host (§8.3), and so is the watcher."""
        caller = "sip:+49-30-123@example.net;user=phone"
        self.assertEqual(self.ask(self.sign(caller), caller).status, 200)
        self.assertEqual(self.watchers(), ["tel:+4930123"])
        self.refused(437, self.sign("tel:+1555"), "tel:+1555")

    def test_rules(self) -> None:
        """The rules know him by it."""
        self.world.store_document(rules(rule(f'<one id="{CARL}"/>')))
        self.assertEqual(self.ask(self.sign()).status, 200)
        self.assertEqual(
            self.ask(self.sign("sip:eve@example.org"), "sip:eve@example.org").status, 403
        )

    def test_refused(self) -> None:
        """The answers of §6.2.2."""
        self.refused(401, {})
        self.refused(403, self.sign(age=61))
        self.refused(403, self.sign(age=-61))
        self.refused(403, self.sign(age=61, full=True))
        self.refused(400, {"Identity": ["nonsense"]})
        good = self.sign()
        self.refused(438, {"Identity": good["Identity"]})
        self.refused(438, {**good, "Date": [format_date(EPOCH + 7)]})
        self.refused(438, self.sign("sip:eve@example.org"))
        self.refused(438, self.sign(to="sip:bob@example.com"))
        self.refused(438, self.sign(key=ec.generate_private_key(ec.SECP256R1())))
        self.refused(438, {**good, "Identity": [f"..AAAA;info=<{INFO}>"]})
        zero = urlsafe_b64encode(bytes(64)).decode().rstrip("=")
        self.refused(438, {**good, "Identity": [f"..{zero};info=<{INFO}>"]})
        self.refused(437, {**good, "Identity": [good["Identity"][0].replace("ES256", "RS256")]})
        self.refused(437, self.sign("sip:carl@example.net"), "sip:carl@example.net")
        elsewhere = good["Identity"][0].replace(INFO, "https://example.net/key")
        self.refused(436, {**good, "Identity": [elsewhere]})
        # "it MUST ignore the Identity header field" with a ppt that it does not know.
        self.refused(428, self.sign(more=";ppt=shaken"))
        self.assertEqual(self.watchers(), [])

    def test_several(self) -> None:
        """One that is right is enough (§6.2.1); of wrong ones the best says what is wrong."""
        good = self.sign()
        bad = good["Identity"][0].replace(INFO, "https://example.net/key")
        self.assertEqual(self.ask({**good, "Identity": [bad, *good["Identity"]]}).status, 200)
        stale = self.sign(age=100)
        self.refused(403, {**stale, "Identity": [bad, *stale["Identity"], bad]})

    def test_to_of_another(self) -> None:
        """What was signed for somebody else can't be used for Alice."""
        headers = self.sign(to="sip:eve@example.net")
        headers["To"] = ["<sip:eve@example.net>"]
        self.refused(438, headers)

    def test_used(self) -> None:
        """A signature is good for one dialog; its S may be written in two ways."""
        headers = self.sign()
        first = self.request(headers)
        again = self.request(headers)
        self.assertEqual(self.send(first).status, 200)
        self.assertEqual(self.send(again).status, 438)

    def test_used_again(self) -> None:
        """The same request may be sent again with it, as after a challenge."""
        verifier = IdentityVerifier(read_keys(self.keys))
        request = self.request(self.sign())
        for _ in range(2):
            self.assertEqual(verifier.verify(request, ALICE, EPOCH), CARL)
        request.set("Contact", "<sip:eve@example.net>")
        self.assertRaises(SIPError, verifier.verify, request, ALICE, EPOCH)

    def test_bound(self) -> None:
        """With too many fresh signatures there is 503, until they are old."""
        verifier = IdentityVerifier(read_keys(self.keys))
        verifier._used = {number.to_bytes(4): (EPOCH + 5, b"") for number in range(MAX_USED)}
        request = self.request(self.sign())
        error: SIPError = self.assertRaises(SIPError, verifier.verify, request, ALICE, EPOCH)
        self.assertEqual((error.status, error.headers[0][0]), (503, "Retry-After"))
        self.assertEqual(verifier.verify(request, ALICE, EPOCH + 6), CARL)
        self.assertEqual(len(verifier._used), 1)

    def test_certificate(self) -> None:
        """A certificate signs for its domains (RFC 5922 §7.2) while it is valid."""
        for pem, names, status in (
            (certificate("example.org"), "", 200),
            (certificate("example.net"), "", 437),
            (certificate("example.net"), "example.org", 200),
            (certificate("example.org", -5), "", 437),
            (public(rsa.generate_private_key(65537, 2048)), "example.org", 437),
            (public(ec.generate_private_key(ec.SECP384R1())), "example.org", 437),
        ):
            self.write(f"{INFO} {self.file(pem)} {names}")
            self.make(**self.settings)
            self.assertEqual(self.ask(self.sign()).status, status, names)

    def test_own_users(self) -> None:
        """Of our users a bad signature is as good as none; credentials count before any."""
        self.write(f"{INFO} {self.file(public())} example.com")
        self.make(**self.settings)
        bad = self.sign(ALICE, age=100)
        self.assertEqual(self.ask(bad, ALICE).status, 401)
        self.assertEqual(self.ask(self.sign(ALICE), ALICE).status, 200)
        response = self.alice.ask("SUBSCRIBE", ALICE, {"Event": ["presence"], **bad})
        self.assertEqual(response.status, 200)

    def test_required(self) -> None:
        """Who must sign gets 428 where he does not, and is not challenged (§6.2)."""
        required = {**self.settings, "identity_required": ("example.org", "example.com")}
        self.make(**required)
        self.refused(428, {})
        self.refused(428, {}, ALICE)
        self.refused(403, self.sign(age=100))
        self.assertEqual(self.ask(self.sign()).status, 200)
        self.refused(401, {}, "sip:carl@example.net")

    def test_watchers_alone(self) -> None:
        """A signature is not over what a PUBLISH says: it is not looked at."""
        response = self.ask(self.sign(), method="PUBLISH")
        self.assertEqual(response.status, 401)

    def test_mistakes(self) -> None:
        """What can't be used of the list is said at the start."""
        for line in (
            f"{INFO}",
            f"{INFO} {self.directory / 'none'} example.org",
            f"{INFO} {self.file(b'x')} example.org",
            f"{INFO} {self.file(public())}",
        ):
            self.write(line)
            error = self.assertRaises(SettingsError, self.make, **self.settings)
            self.assertIn("line 3", str(error))
        self.assertRaises(SettingsError, self.make, identity_keys="/nonexistent")
        self.assertRaises(SettingsError, self.make, identity_required=("example.org",))
