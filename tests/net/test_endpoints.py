"""Where to listen, as an operator writes it."""

import os
from pathlib import Path

from hypothesis import given, settings, strategies
from twisted.trial.unittest import SynchronousTestCase

from simplestack.net.endpoints import ListenSpec, join_address, parse_listen, split_advertised
from tests.net.doubles import Authority


class ParseListenTests(SynchronousTestCase):
    def test_transports_and_defaults(self) -> None:
        """RFC 3261 §19.1.2: the default port is 5060."""
        self.assertEqual(parse_listen("udp"), ListenSpec("udp", 5060))
        self.assertEqual(parse_listen("TCP:5070"), ListenSpec("tcp", 5070))
        self.assertEqual(parse_listen("udp:port=5071"), ListenSpec("udp", 5071))
        self.assertEqual(parse_listen("udp:0"), ListenSpec("udp", 0))

    def test_interface(self) -> None:
        """An interface is an address; IPv6 is escaped as Twisted does it, or in brackets."""
        for text, interface in (
            ("udp:5060:interface=127.0.0.1", "127.0.0.1"),
            (r"udp:5060:interface=\:\:1", "::1"),
            ("udp:5060:interface=[::1]", "::1"),
            ("udp:5060:interface=[2001:DB8::0:1]", "2001:db8::1"),
            ("udp:5060:interface=[::]", "::"),
            ("udp:5060:interface=0.0.0.0", ""),
            ("udp:5060:interface=localhost", "127.0.0.1"),
        ):
            self.assertEqual(parse_listen(text).interface, interface, text)

    def test_advertise(self) -> None:
        """What our Via shows may differ from where we listen (RFC 3261 §18.1.1)."""
        spec = parse_listen(r"udp:5060:advertise=sip.example.com\:5080")
        self.assertEqual(split_advertised(spec.advertise), ("sip.example.com", 5080))
        self.assertEqual(split_advertised("sip.example.com"), ("sip.example.com", 0))
        self.assertEqual(split_advertised("[2001:db8::1]:5080"), ("[2001:db8::1]", 5080))
        self.assertEqual(split_advertised("2001:db8::1"), ("[2001:db8::1]", 0))
        self.assertEqual(split_advertised("[2001:db8::1]"), ("[2001:db8::1]", 0))

    def test_refused(self) -> None:
        """Each mistake gets one line that says what is wrong."""
        for text, words in (
            ("", "transport"),
            ("sctp:5060", "'sctp' is not known"),
            ("5060", "udp:, tcp: or tls:"),
            ("udp:65536", "'65536' is no number from 0 to 65535"),
            ("udp:-1", "from 0 to 65535"),
            ("udp:５060", "from 0 to 65535"),
            ("udp:sip", "from 0 to 65535"),
            ("udp:", "no name=value"),
            ("udp:5060:127.0.0.1", "no name=value"),
            ("udp:5060:interface=::1", "in brackets"),
            ("udp:5060:interface=example.com", "no IP address"),
            ("udp:5060:interface=[fe80::1%eth0]", "scope"),
            ("udp:5060:colour=blue", "'colour' is not known"),
            ("udp:5060:port=5061", "given twice"),
            ("udp:5060:certKey=x.pem", "is for tls"),
            ("udp:5060:advertise=a b", "can't advertise"),
            (r"udp:5060:advertise=a\:99999", "from 0 to 65535"),
            ("tls:5061", "needs a certificate"),
            ("tls:5061:key=/nonexistent/k:cert=/nonexistent/c", "/nonexistent/c is not there"),
        ):
            error = self.assertRaises(ValueError, parse_listen, text)
            self.assertIn(words, str(error), text)
            self.assertNotIn("\n", str(error), text)

    @given(
        strategies.lists(
            strategies.sampled_from(
                ["udp", "tcp", "tls", ":", "interface=", "port", "=", "[", "]", "\\", "::1", "5060"]
            )
        ).map("".join)
        | strategies.text(max_size=30)
    )
    @settings(max_examples=200, deadline=None)
    def test_anything(self, text: str) -> None:
        """Whatever is written, there is a place or one line that says what is wrong."""
        try:
            spec = parse_listen(text)
        except ValueError as error:
            self.assertNotIn("\n", str(error))
        else:
            self.assertIn(spec.transport, ("udp", "tcp"))

    def test_describes_itself(self) -> None:
        """A place is shown as an address is written (RFC 3261 §25.1, hostport)."""
        self.assertEqual(str(ListenSpec("udp", 5060)), "udp *:5060")
        self.assertEqual(str(ListenSpec("tcp", 5060, "::1")), "tcp [::1]:5060")
        self.assertEqual(join_address("192.0.2.1", 5060), "192.0.2.1:5060")


class CertificateFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Issue a certificate."""
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        self.authority = Authority(self.directory)
        self.key, self.certificate = self.authority.issue("localhost")

    def write(self, text: bytes) -> str:
        """Write a file and give its path."""
        path = Path(self.directory, "file.pem")
        path.write_bytes(text)
        return str(path)

    def test_names_of_the_options(self) -> None:
        """Twisted's names and the short ones mean the same."""
        long = parse_listen(f"tls:5061:privateKey={self.key}:certKey={self.certificate}")
        short = parse_listen(f"tls:key={self.key}:cert={self.certificate}")
        self.assertEqual(long, short)
        self.assertEqual(long, ListenSpec("tls", 5061, "", "", self.key, self.certificate))

    def test_one_file(self) -> None:
        """Key, certificate and chain may stand in one file."""
        parts = [Path(path).read_bytes() for path in (self.key, self.certificate)]
        path = self.write(b"".join([*parts, Path(self.authority.path).read_bytes()]))
        self.assertEqual(parse_listen(f"tls:cert={path}").key, path)

    def test_bad_files(self) -> None:
        """A file that can't serve is named, with what is wrong with it."""
        other, _ = self.authority.issue("example.com")
        junk = self.write(b"junk")
        for text, words in (
            (f"tls:key={other}:cert={self.certificate}", "does not belong to the certificate"),
            (f"tls:key={junk}:cert={self.certificate}", "holds no PEM private key"),
            (f"tls:key={self.key}:cert={junk}", "holds no PEM certificate"),
            (f"tls:key={self.key}:cert={self.directory}", "can't be read"),
            (f"tls:key={self.key}:cert={self.certificate}:chain={junk}", "holds no PEM cert"),
        ):
            error = self.assertRaises(ValueError, parse_listen, text)
            self.assertIn(words, str(error))

    def test_pass_phrase(self) -> None:
        """A key with a pass phrase is refused; nobody is there to type it."""
        from cryptography.hazmat.primitives import serialization

        key = serialization.load_pem_private_key(Path(self.key).read_bytes(), None)
        path = self.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        error = self.assertRaises(
            ValueError, parse_listen, f"tls:key={path}:cert={self.certificate}"
        )
        self.assertIn("pass phrase", str(error))
