"""TLS: our certificate, whom we trust, and who a peer is (RFC 3261 §26.3, RFC 5922)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet import ssl

from simplestack.net.secured import Secured

__all__ = [
    "Identity",
    "ServerTLS",
    "client_context",
    "client_end",
    "load_authorities",
    "load_identity",
    "serves",
]


class Identity(NamedTuple):
    """A private key, its certificate, and what leads from there to a root."""

    key: crypto.PKey
    certificate: crypto.X509
    chain: tuple[crypto.X509, ...]


def load_identity(key: str, certificate: str, chain: str = "") -> Identity:
    """Read PEM files; further certificates in the certificate's file join the chain.

    Raises ValueError with one line that says which file is wrong and how.
    """
    certificates = _certificates(certificate)
    private = _private_key(key)
    context = SSL.Context(SSL.TLS_METHOD)
    try:
        context.use_certificate(certificates[0])
        context.use_privatekey(private)
        context.check_privatekey()
    except SSL.Error:
        raise ValueError(
            f"the private key in {key} does not belong to the certificate in {certificate}"
        ) from None
    further = _certificates(chain) if chain else ()
    return Identity(private, certificates[0], (*certificates[1:], *further))


def load_authorities(path: str) -> tuple[crypto.X509, ...]:
    """The certificate authorities in a PEM file, to be trusted in place of the system's.

    Raises ValueError with one line that says what is wrong with the file.
    """
    return _certificates(path)


class ServerTLS:
    """Makes the server's end of TLS connections; one context serves all of them.

    Sessions and tickets let a peer that comes back skip the expensive half of the
    handshake.
    """

    def __init__(self, key: str, certificate: str, chain: str = "") -> None:
        self._paths = (key, certificate, chain)
        self._context = self._build()

    def reload(self) -> None:
        """Read the files again, for the connections to come. Raises ValueError, as at first."""
        self._context = self._build()

    def _build(self) -> SSL.Context:
        identity = load_identity(*self._paths)
        options = ssl.CertificateOptions(
            privateKey=identity.key,
            certificate=identity.certificate,
            extraCertChain=list(identity.chain),
            enableSessions=True,
            enableSessionTickets=True,
        )
        context: SSL.Context = options.getContext()
        return context

    def end(self) -> Secured:
        """The server's end of one more connection."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return Secured(connection)


def client_context(
    authorities: Sequence[crypto.X509] | None = None, identity: Identity | None = None
) -> SSL.Context:
    """The context of our outgoing TLS connections, made once for all of them.

    `authorities` None stands for those of the system. `identity` is shown to servers that
    ask for one.
    """
    trust: dict[str, Any] = {"verify": True, "caCerts": authorities}
    if authorities is None:
        # Twisted does not annotate it.
        platform_trust: Any = ssl.platformTrust
        trust = {"trustRoot": platform_trust()}
    options = ssl.CertificateOptions(
        privateKey=identity.key if identity else None,
        certificate=identity.certificate if identity else None,
        extraCertChain=list(identity.chain) if identity else None,
        enableSessionTickets=True,
        **trust,
    )
    context: SSL.Context = options.getContext()
    return context


def client_end(context: SSL.Context, host: str) -> Secured:
    """The client's end of a TLS connection to `host`.

    The chain is verified in the handshake; whether the certificate is the one of the domain
    is for `serves` to say when the handshake is done.
    """
    connection = SSL.Connection(context, None)
    # RFC 6066 §3: "Literal IPv4 and IPv6 addresses are not permitted in 'HostName'."
    if _address(host) is None:
        connection.set_tlsext_host_name(host.encode("idna"))
    connection.set_connect_state()
    return Secured(connection)


def serves(certificate: x509.Certificate, domain: str) -> bool:
    """Whether the certificate belongs to the SIP domain (RFC 5922 §7.1 and §7.2).

    Names are compared whole and in any case, wildcards match nothing. Where `domain` is an
    IP address, an iPAddress name has to be equal to it.
    """
    address = _address(domain)
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return False
    names = extension.value
    if address is not None:
        return address in names.get_values_for_type(x509.IPAddress)
    try:
        wanted = domain.rstrip(".").encode("idna").decode("ascii").lower()
    except UnicodeError:
        return False
    uris = []
    for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
        scheme, _, rest = uri.partition(":")
        # "a value with a userpart identifies an individual user, not a domain"
        if scheme.lower() == "sip" and "@" not in rest:
            uris.append(rest.partition(";")[0].partition(":")[0])
    # "An implementation MUST accept a domain name system identifier as a SIP domain identity
    # if and only if no other identity is found that matches the 'sip' URI type".
    accepted = uris or names.get_values_for_type(x509.DNSName)
    return any(name.rstrip(".").lower() == wanted for name in accepted)


def _address(host: str) -> object | None:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _certificates(path: str) -> tuple[crypto.X509, ...]:
    data = _read(path)
    try:
        loaded = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise ValueError(
            f"{path} holds no PEM certificate; it should have a block BEGIN CERTIFICATE"
        ) from None
    return tuple(crypto.X509.from_cryptography(certificate) for certificate in loaded)


def _private_key(path: str) -> crypto.PKey:
    data = _read(path)

    def refuse(*_: object) -> bytes:
        raise ValueError(
            f"the private key in {path} has a pass phrase; a service can't type it:"
            " write it without one, readable by the service's user alone"
        )

    try:
        return crypto.load_privatekey(crypto.FILETYPE_PEM, data, refuse)
    except crypto.Error:
        raise ValueError(
            f"{path} holds no PEM private key; it should have a block BEGIN PRIVATE KEY"
        ) from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise ValueError(f"the file {path} is not there") from None
    except OSError as error:
        raise ValueError(f"the file {path} can't be read: {error.strerror}") from None
