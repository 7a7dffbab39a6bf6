"""TLS: our certificate, whom we trust, and who a peer is (RFC 3261 §26.3, RFC 5922)."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from ipaddress import ip_address
from tempfile import NamedTemporaryFile
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import crypto

from simplestack.net.secured import Secured, explain

__all__ = [
    "Identity",
    "ServerTLS",
    "client_context",
    "client_end",
    "load_authorities",
    "serves",
]

#: For TLS 1.2, best first; those of 1.3 are all good. Forward secrecy is preferred, but phones
#: that know nothing but RSA and AES get through.
_CIPHERS: Final = (
    "ECDH+AESGCM:ECDH+CHACHA20:DH+AESGCM:DH+CHACHA20:ECDH+AES256:DH+AES256:"
    "ECDH+AES128:DH+AES:RSA+AESGCM:RSA+AES:!aNULL:!MD5:!DSS"
)


class Identity(NamedTuple):
    """The PEM files of a private key, its certificate, and what leads from there to a root.

    Further certificates in the certificate's file are part of the chain.
    """

    key: str
    certificate: str
    chain: str = ""

    def load(self, context: ssl.SSLContext) -> None:
        """Read the files, and have the context show the certificate.

        Raises ValueError with one line that says which file is wrong and how.
        """
        certificates = _certificates(self.certificate)
        if _private_key(self.key).public_key() != certificates[0].public_key():
            raise ValueError(
                f"the private key in {self.key} does not belong to the certificate"
                f" in {self.certificate}"
            )
        further = _certificates(self.chain) if self.chain else []
        try:
            if not further:
                context.load_cert_chain(self.certificate, self.key, "")
                return
            # The chain is read from the certificate's own file and from no other, so there is
            # one for a moment that has both. Without the key: that stays where it is.
            with NamedTemporaryFile(suffix=".pem") as joined:
                for each in (*certificates, *further):
                    joined.write(each.public_bytes(Encoding.PEM))
                joined.flush()
                context.load_cert_chain(joined.name, self.key, "")
        except ssl.SSLError as error:
            raise ValueError(
                f"the certificate in {self.certificate} can't serve: {explain(error)}"
            ) from None
        except OSError as error:
            raise ValueError(
                f"the certificate in {self.certificate} can't be loaded: {error.strerror}"
            ) from None


def load_authorities(path: str) -> tuple[crypto.X509, ...]:
    """The certificate authorities in a PEM file, to be trusted in place of the system's.

    Raises ValueError with one line that says what is wrong with the file.
    """
    return tuple(crypto.X509.from_cryptography(each) for each in _certificates(path))


class ServerTLS:
    """Makes the server's end of TLS connections; one context serves all of them.

    Sessions and tickets let a peer that comes back skip the expensive half of the
    handshake.
    """

    def __init__(self, key: str, certificate: str, chain: str = "") -> None:
        self._identity = Identity(key, certificate, chain)
        self._context = self._build()

    def reload(self) -> None:
        """Read the files again, for the connections to come. Raises ValueError, as at first."""
        self._context = self._build()

    def _build(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _strengthen(context)
        self._identity.load(context)
        return context

    def end(self) -> Secured:
        """The server's end of one more connection."""
        return Secured(self._context, True)


def client_context(
    authorities: Sequence[crypto.X509] | None = None, identity: Identity | None = None
) -> ssl.SSLContext:
    """The context of our outgoing TLS connections, made once for all of them.

    `authorities` None stands for those of the system. `identity` is shown to servers that
    ask for one. Raises ValueError if its files can't be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _strengthen(context)
    # RFC 5922 §7.2 has rules of its own for names: `serves`.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    if authorities is None:
        context.load_default_certs()
    else:
        trusted = (crypto.dump_certificate(crypto.FILETYPE_ASN1, each) for each in authorities)
        context.load_verify_locations(cadata=b"".join(trusted))
    if identity is not None:
        identity.load(context)
    return context


def client_end(context: ssl.SSLContext, host: str) -> Secured:
    """The client's end of a TLS connection to `host`.

    The chain is verified in the handshake; whether the certificate is the one of the domain
    is for `serves` to say when the handshake is done.
    """
    # RFC 6066 §3: "Literal IPv4 and IPv6 addresses are not permitted in 'HostName'."
    return Secured(context, False, host if _address(host) is None else None)


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


def _strengthen(context: ssl.SSLContext) -> None:
    """What is right for either side; Python has turned compression off."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION


def _address(host: str) -> object | None:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _certificates(path: str) -> list[x509.Certificate]:
    data = _read(path)
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise ValueError(
            f"{path} holds no PEM certificate; it should have a block BEGIN CERTIFICATE"
        ) from None


def _private_key(path: str) -> PrivateKeyTypes:
    data = _read(path)
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        raise ValueError(
            f"the private key in {path} has a pass phrase; a service can't type it:"
            " write it without one, readable by the service's user alone"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
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
