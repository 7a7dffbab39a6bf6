"""What stands in for the other floors in the tests of the sockets."""

from __future__ import annotations

import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport

from simplestack.sip.errors import ParseError
from simplestack.sip.message import Request, Response
from simplestack.transaction.flow import Flow


def message(number: int = 1, transport: str = "TCP", body: bytes = b"") -> bytes:
    """The octets of a request with this number in its branch and Call-ID."""
    head = (
        "OPTIONS sip:alice@example.com SIP/2.0\r\n"
        f"Via: SIP/2.0/{transport} 192.0.2.9;branch=z9hG4bK{number};rport\r\n"
        "Max-Forwards: 70\r\n"
        "From: <sip:bob@example.com>;tag=1\r\n"
        "To: <sip:alice@example.com>\r\n"
        f"Call-ID: {number}\r\n"
        "CSeq: 1 OPTIONS\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Layer:
    """A transaction layer that remembers what it is given."""

    reopen: Any = None

    def __init__(self) -> None:
        self.received: list[tuple[Request | Response, Flow]] = []
        self.rejected: list[tuple[ParseError, Flow]] = []
        self.closed: list[Flow] = []
        self.advanced: list[float] = []
        self.due: float | None = None
        self.answer = b""
        self.fault: Exception | None = None

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """Remember a message, or fail as asked."""
        if self.fault is not None:
            raise self.fault
        self.received.append((message, flow))

    def reject(self, error: ParseError, flow: Flow, now: float) -> None:
        """Remember what could not be read, and answer it if there is an answer."""
        self.rejected.append((error, flow))
        if self.answer:
            flow.send(self.answer)

    def flow_closed(self, flow: Flow, now: float) -> None:
        """Remember a flow that has ended."""
        self.closed.append(flow)

    def advance(self, now: float) -> None:
        """Remember the time, or fail as asked."""
        if self.fault is not None:
            raise self.fault
        self.advanced.append(now)
        if self.due is not None and self.due <= now:
            self.due = None

    def next_wakeup(self) -> float | None:
        """When something is due."""
        return self.due

    @property
    def numbers(self) -> list[str]:
        """The Call-IDs of what was received."""
        return [message.call_id for message, _ in self.received]


class Wire(StringTransport):
    """The transport of a stream protocol, and its socket, which takes so much until it is read."""

    room = 65536

    def __init__(self, host: str = "198.51.100.7", port: int = 40000) -> None:
        super().__init__(IPv4Address("TCP", "192.0.2.1", 5060), IPv4Address("TCP", host, port))
        self.options: list[str] = []
        self.aborted = False
        #: Calls of the system, as far as they took something.
        self.sends = 0
        self.protocol: Any = None

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Remember that the option was set."""
        self.options.append("nodelay")

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Remember that the option was set."""
        self.options.append("keepalive")

    def getHandle(self) -> Wire:
        """The socket."""
        return self

    def send(self, data: bytes) -> int:
        """Take as much as there is room for."""
        room = self.room - len(self.value())
        if room <= 0:
            raise BlockingIOError
        self.sends += 1
        self.write(data[:room])
        return min(len(data), room)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """A producer that is asked for more when all is sent is asked at once, too."""
        super().registerProducer(producer, streaming)
        if not streaming:
            producer.resumeProducing()

    def abortConnection(self) -> None:
        """Remember that the connection was cut off."""
        self.aborted = True

    def drain(self) -> bytes:
        """Read all that was written, as the peer."""
        data: bytes = self.value()
        self.clear()
        if self.producer is not None:
            self.producer.resumeProducing()
        return data


class Authority:
    """A certificate authority for the life of one test, writing into a directory of its own.

    A root, or one that has its certificate of the authority `above`.
    """

    def __init__(self, directory: str, above: Authority | None = None) -> None:
        self._directory = Path(directory)
        self._key = ec.generate_private_key(ec.SECP256R1())
        common = "Test Authority" if above is None else "Test Authority Below"
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        issuer = above or self
        certificate = (
            issuer._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(issuer._key, hashes.SHA256())
        )
        self.path = str(self._directory / "authority.pem")
        Path(self.path).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def certificate(self, *names: x509.GeneralName, common: str = "x") -> x509.Certificate:
        """A certificate with these subjectAltNames."""
        return self._issue(ec.generate_private_key(ec.SECP256R1()), names, common)

    def issue(self, *names: str) -> tuple[str, str]:
        """Paths of a key and a certificate for host names or addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._issue(key, [general_name(name) for name in names], "x")
        stem = self._directory / names[0].replace(":", "_")
        key_path, certificate_path = f"{stem}.key", f"{stem}.pem"
        Path(key_path).write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        Path(certificate_path).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return key_path, certificate_path

    def _issue(self, key: ec.EllipticCurvePrivateKey, names: Any, common: str) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        builder = self._builder(subject, key)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        start = datetime.datetime(2020, 1, 1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=36500))
        )


def general_name(text: str) -> x509.GeneralName:
    """A subjectAltName of the kind that the text looks like."""
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.UniformResourceIdentifier(text) if ":" in text else x509.DNSName(text)
