"""Whose certificate it is (RFC 5922)."""

import os
from ipaddress import ip_address

from cryptography.x509 import (
    DNSName,
    GeneralName,
    IPAddress,
    UniformResourceIdentifier,
)
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net.tls import ServerTLS, serves
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


class ServerTLSTests(SynchronousTestCase):
    def test_reload(self) -> None:
        """A renewed certificate is taken without a restart; a bad one changes nothing."""
        directory = self.mktemp()
        os.mkdir(directory)
        authority = Authority(directory)
        key, path = authority.issue("example.com")
        server = ServerTLS(key, path)
        first = server._context
        self.assertIs(server.end()._connection.get_context(), first)
        authority.issue("example.com")
        server.reload()
        second = server._context
        self.assertIsNot(second, first)
        with open(path, "w") as file:
            file.write("junk")
        self.assertRaises(ValueError, server.reload)
        self.assertIs(server._context, second)
