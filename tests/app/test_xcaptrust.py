"""Who asks for documents, and how that is known: RFC 4825 §8, RFC 7616, RFC 7617."""

from base64 import b64encode

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides

from tests.app.test_xcapturn import DOCUMENT, INDEX, LISTS
from tests.app.xcapworld import PASSWORD, Answer, Client, XCAPWorld


class TrustTests(SynchronousTestCase):
    """Who is let in (RFC 4825 §8, RFC 7616, RFC 7617)."""

    def test_challenge(self) -> None:
        """Without credentials: 401 with a Digest challenge for each algorithm, and no Basic."""
        answer = XCAPWorld().client().get(INDEX)
        self.assertEqual(answer.status, 401)
        challenges = answer.headers["www-authenticate"]
        self.assertTrue(all(each.startswith('Digest realm="example.com"') for each in challenges))
        self.assertTrue(any("SHA-256" in each for each in challenges))
        self.assertTrue(answer.body)

    def test_wrong_password(self) -> None:
        """401 again, and nothing is said of whether the user exists."""
        for user in ("bill", "nobody"):
            answer = XCAPWorld().client(user, "wrong").get(INDEX)
            self.assertEqual(answer.status, 401)

    def test_unknown_user(self) -> None:
        """§8: a tree of nobody is 404, once it is known who asks."""
        uri = INDEX.replace("bill", "nobody")
        self.assertEqual(XCAPWorld().client("bill").get(uri).status, 404)
        self.assertEqual(XCAPWorld().client().get(uri).status, 401)
        self.assertEqual(XCAPWorld().client("bill").get(INDEX.replace("com", "org")).status, 404)

    def test_others(self) -> None:
        """§5.7: another's documents are 403, whether they are there or not."""
        world = XCAPWorld()
        world.client("bill").put(INDEX, DOCUMENT, LISTS)
        for uri in (INDEX, INDEX + "2"):
            self.assertEqual(world.client("joe").get(uri).status, 403)
        self.assertEqual(world.client("root").get(INDEX).body, DOCUMENT)

    def test_replay(self) -> None:
        """RFC 7616 §5.5: the same credentials again are stale."""
        world = XCAPWorld()
        bill = world.client("bill")
        bill.get(INDEX)
        octets = bill.request("GET", INDEX)
        bill.channel.dataReceived(octets + octets)
        first, second = bill.answers(["GET", "GET"])
        self.assertEqual((first.status, second.status), (404, 401))
        self.assertIn("stale=true", second.header("WWW-Authenticate"))

    def test_credentials_of_another_uri(self) -> None:
        """RFC 7616 §3.4.6: credentials are for one resource."""
        world = XCAPWorld()
        bill = world.client("bill")
        bill.get(INDEX)
        octets = bill.request("GET", INDEX).replace(b"GET " + INDEX.encode(), b"GET /other", 1)
        octets = octets.replace(b"GET /other", b"GET " + INDEX.encode() + b"2", 1)
        bill.channel.dataReceived(octets)
        self.assertEqual(bill.answers(["GET"])[0].status, 400)

    def test_next_nonce(self) -> None:
        """RFC 7616 §3.5: an ageing nonce is followed by the next one in good time."""
        world = XCAPWorld()
        bill = world.client("bill")
        self.assertEqual(bill.get(INDEX).header("Authentication-Info"), "")
        bill.put(INDEX, DOCUMENT, LISTS)
        world.now += 200
        self.assertIn("nextnonce=", bill.get(INDEX).header("Authentication-Info"))

    def test_basic_in_the_clear(self) -> None:
        """A password without TLS is not looked at."""
        answer = self.basic(XCAPWorld().client(), "bill")
        self.assertEqual(answer.status, 401)
        self.assertNotIn("Basic", str(answer.headers["www-authenticate"]))

    def test_basic_over_tls(self) -> None:
        """Over TLS it is offered and verified (RFC 7617)."""
        world = XCAPWorld()
        client = secure(world)
        offers = client.get(INDEX).headers["www-authenticate"]
        self.assertIn('Basic realm="example.com", charset="UTF-8"', offers)
        for user in ("bill", "bill@example.com", "sip:bill@example.com"):
            name = user if ":" not in user else "bill"
            self.assertEqual(self.basic(client, name).status, 404)
        self.assertEqual(self.basic(client, "bill", "wrong").status, 401)
        self.assertEqual(self.basic(client, "nobody").status, 401)
        self.assertEqual(self.basic(client, "joe").status, 403)

    def test_bad_credentials(self) -> None:
        """What can't be read is 400, another scheme is asked for again."""
        client = secure(XCAPWorld())
        for field, status in (
            ("Basic ???", 400),
            ("Basic", 401),
            ("Digest", 401),
            ("Digest a=", 400),
            ("Bearer x", 401),
        ):
            answer = client.get(INDEX, Authorization=field)
            self.assertEqual(answer.status, status, field)

    def basic(self, client: Client, user: str, password: str = PASSWORD) -> Answer:
        """GET with a password."""
        token = b64encode(f"{user}:{password}".encode()).decode()
        return client.get(INDEX, Authorization=f"Basic {token}")


class Transport(StringTransport):
    """A wire of which TLS may be said."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is delayed."""


def secure(world: XCAPWorld) -> Client:
    """A client over TLS."""
    client = world.client()
    client.transport = Transport()
    alsoProvides(client.transport, ISSLTransport)
    client.channel = world.site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 40000))
    client.channel.makeConnection(client.transport)
    return client
