"""Whose certificate it is (RFC 5922), whom we trust, and what we show."""

import os
import ssl
import tempfile
from ipaddress import ip_address
from pathlib import Path

from cryptography.x509 import (
    DNSName,
    GeneralName,
    IPAddress,
    UniformResourceIdentifier,
)
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net.secured import Secured, explain
from simplestack.net.tls import (
    Identity,
    ServerTLS,
    client_context,
    client_end,
    load_authorities,
    serves,
)
from tests.net.doubles import Authority


class ServesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Make an authority."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.authority = Authority(directory)

    def holds(self, domain: str, *names: GeneralName) -> bool:
        """Whether a certificate with these names serves the domain."""
        return serves(self.authority.certificate(*names, common="example.com"), domain)

    def test_names(self) -> None:
        """RFC 5922 §7.2: whole names are compared, in any case, and wildcards match nothing."""
        self.assertTrue(self.holds("example.com", DNSName("example.com")))
        self.assertTrue(self.holds("EXAMPLE.com.", DNSName("example.COM")))
        self.assertFalse(self.holds("sip.example.com", DNSName("example.com")))
        self.assertFalse(self.holds("sip.example.com", DNSName("*.example.com")))
        self.assertFalse(self.holds("sip.example.com", DNSName(".example.com")))
        self.assertTrue(self.holds("b.example", DNSName("a.example"), DNSName("b.example")))

    def test_uris(self) -> None:
        """RFC 5922 §7.1: sip URIs without a user count, and DNS names only where there is none."""
        uri = UniformResourceIdentifier
        self.assertTrue(self.holds("example.com", uri("sip:example.com")))
        self.assertTrue(self.holds("example.com", uri("SIP:Example.com")))
        self.assertFalse(self.holds("example.com", uri("sip:alice@example.com")))
        self.assertFalse(self.holds("example.com", uri("sips:example.com")))
        self.assertFalse(
            self.holds("example.com", uri("sip:other.example"), DNSName("example.com"))
        )
        self.assertTrue(self.holds("example.com", uri("urn:a:b"), DNSName("example.com")))

    def test_addresses(self) -> None:
        """An address has to be in the certificate as one."""
        self.assertTrue(self.holds("192.0.2.1", IPAddress(ip_address("192.0.2.1"))))
        self.assertTrue(self.holds("[2001:db8::1]", IPAddress(ip_address("2001:db8:0::1"))))
        self.assertFalse(self.holds("192.0.2.1", IPAddress(ip_address("192.0.2.2"))))
        self.assertFalse(self.holds("192.0.2.1", DNSName("192.0.2.1")))

    def test_common_name(self) -> None:
        """RFC 5922 §7.1 lets the common name count; we do not take what nobody issues now."""
        self.assertFalse(self.holds("example.com"))

    def test_international(self) -> None:
        """RFC 5922 §7.2: names are compared in their ASCII form."""
        self.assertTrue(self.holds("bücher.example", DNSName("xn--bcher-kva.example")))
        self.assertFalse(self.holds("a" * 64 + ".example", DNSName("example.com")))


class CertificatesCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A root, an authority below it, and a certificate of the latter."""
        self.root = self.authority()
        self.below = self.authority(self.root)
        self.key, self.certificate = self.below.issue("localhost")

    def authority(self, above: Authority | None = None) -> Authority:
        """An authority with a directory of its own."""
        directory = self.mktemp()
        os.mkdir(directory)
        return Authority(directory, above)

    def client(self, trusted: Authority, identity: Identity | None = None) -> Secured:
        """The client's end, toward localhost."""
        return client_end(client_context(load_authorities(trusted.path), identity), "localhost")


class ServerTLSTests(CertificatesCase):
    def test_reload(self) -> None:
        """A renewed certificate is taken without a restart; a bad one changes nothing."""
        server = ServerTLS(self.key, self.certificate)
        first = server._context
        self.assertIs(server.end()._object.context, first)
        self.below.issue("localhost")
        server.reload()
        second = server._context
        self.assertIsNot(second, first)
        Path(self.certificate).write_text("junk")
        self.assertRaises(ValueError, server.reload)
        self.assertIs(server._context, second)

    def test_strength(self) -> None:
        """RFC 9325 §3.1.1 and §4.1: no TLS before 1.2, no compression, no weak cipher."""
        contexts = (ServerTLS(self.key, self.certificate)._context, client_context())
        for context in contexts:
            self.assertEqual(context.minimum_version, ssl.TLSVersion.TLSv1_2)
            self.assertTrue(context.options & ssl.OP_NO_COMPRESSION)
            self.assertTrue(context.options & ssl.OP_NO_RENEGOTIATION)
            for cipher in context.get_ciphers():
                self.assertGreaterEqual(cipher["strength_bits"], 128, cipher)
                self.assertNotIn("Au=None", cipher["description"])
                self.assertIn("AES", cipher["name"].replace("CHACHA20", "AES"))
        self.assertEqual(contexts[0].verify_mode, ssl.CERT_NONE)
        self.assertEqual(contexts[1].verify_mode, ssl.CERT_REQUIRED)

    def test_chain(self) -> None:
        """RFC 8446 §4.4.2: what leads to the root is sent, from a file of its own or the same."""
        alone = ServerTLS(self.key, self.certificate)
        apart = ServerTLS(self.key, self.certificate, self.below.path)
        joined = self.mktemp()
        paths = (self.key, self.certificate, self.below.path)
        Path(joined).write_bytes(b"".join(Path(path).read_bytes() for path in paths))
        together = ServerTLS(joined, joined)
        for server in (apart, together):
            meet(self.client(self.root), server.end())
        error = self.assertRaises(ssl.SSLError, meet, self.client(self.root), alone.end())
        self.assertIn("certificate verify failed: unable to get", explain(error))

    def test_nothing_is_left(self) -> None:
        """The file in which the chain is joined is gone, and never had the key."""
        directory = self.mktemp()
        os.mkdir(directory)
        self.patch(tempfile, "tempdir", directory)
        ServerTLS(self.key, self.certificate, self.below.path)
        self.assertEqual(os.listdir(directory), [])
        self.patch(tempfile, "tempdir", os.path.join(directory, "nowhere"))
        error = self.assertRaises(
            ValueError, ServerTLS, self.key, self.certificate, self.below.path
        )
        self.assertIn("can't be loaded: No such file", str(error))

    def test_weak_key(self) -> None:
        """What OpenSSL says of a certificate that it does not take is told."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Keys of 192 bits and more: an elliptic curve's has half of its own bits.
        context.set_ciphers("ALL:@SECLEVEL=4")
        identity = Identity(self.key, self.certificate)
        error = self.assertRaises(ValueError, identity.load, context)
        self.assertIn(f"{self.certificate} can't serve: ee key too small", str(error))


class ClientTests(CertificatesCase):
    def test_unknown_authority(self) -> None:
        """An authority that is not among those given, or the system's, is nobody's."""
        self.key, self.certificate = self.root.issue("localhost")
        server = ServerTLS(self.key, self.certificate)
        meet(self.client(self.root), server.end())
        for client in (self.client(self.authority()), client_end(client_context(), "localhost")):
            end = server.end()
            error = self.assertRaises(ssl.SSLCertVerificationError, meet, client, end)
            self.assertIn("certificate verify failed: ", explain(error))
            self.assertNotIn("_ssl.c", explain(error))
            self.assertFalse(client.shaken)
            # The server is told (RFC 8446 §6.2).
            error = self.assertRaises(ssl.SSLError, end.receive, client.outgoing())
            self.assertIn("alert", explain(error))

    def test_not_a_root(self) -> None:
        """RFC 5280 §6: trust begins at a root; an authority below one is none."""
        server = ServerTLS(self.key, self.certificate, self.below.path)
        self.assertRaises(ssl.SSLError, meet, self.client(self.below), server.end())

    def test_names_are_not_looked_at(self) -> None:
        """RFC 5922 §7.2 has its own rules for names, which `serves` knows."""
        server = ServerTLS(self.key, self.certificate, self.below.path)
        context = client_context(load_authorities(self.root.path))
        client = client_end(context, "elsewhere.example")
        meet(client, server.end())
        certificate = client.certificate
        assert certificate is not None
        self.assertTrue(serves(certificate, "localhost"))
        self.assertFalse(serves(certificate, "elsewhere.example"))

    def test_server_name(self) -> None:
        """RFC 6066 §3: the name is told in ASCII; "Literal […] addresses are not permitted"."""
        named: list[str | None] = []

        def name(_: ssl.SSLObject | ssl.SSLSocket, host: str | None, __: ssl.SSLContext) -> None:
            named.append(host)

        server = ServerTLS(self.key, self.certificate, self.below.path)
        server._context.sni_callback = name
        context = client_context(load_authorities(self.root.path))
        for host in ("localhost", "bücher.example", "192.0.2.1", "2001:db8::1", "[::1]"):
            meet(client_end(context, host), server.end())
        self.assertEqual(named, ["localhost", "xn--bcher-kva.example", None, None, None])

    def test_identity(self) -> None:
        """RFC 8446 §4.4.2: our certificate and its chain are shown to a server that asks."""
        asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        asking.verify_mode = ssl.CERT_REQUIRED
        asking.load_verify_locations(self.root.path)
        asking.load_cert_chain(*reversed(self.root.issue("localhost")))
        server = Secured(asking, True)
        identity = Identity(self.key, self.certificate, self.below.path)
        meet(self.client(self.root, identity), server)
        certificate = server.certificate
        assert certificate is not None
        self.assertEqual(certificate.issuer.rfc4514_string(), "CN=Test Authority Below")
        self.assertRaises(ssl.SSLError, meet, self.client(self.root), Secured(asking, True))

    def test_nobody_is_asked(self) -> None:
        """Our server asks no client for a certificate."""
        key, certificate = self.root.issue("localhost")
        server = ServerTLS(key, certificate).end()
        meet(self.client(self.root, Identity(key, certificate)), server)
        self.assertIsNone(server.certificate)


def meet(client: Secured, server: Secured) -> None:
    """Let both ends shake hands. Raises ssl.SSLError where one of them fails."""
    client.start()
    server.start()
    for _ in range(3):
        server.receive(client.outgoing())
        client.receive(server.outgoing())
    assert client.shaken and server.shaken
