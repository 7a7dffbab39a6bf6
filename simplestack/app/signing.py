"""Signs requests for the users of this server: the authentication service of RFC 8224 §5.

The keys are in a file of the operator, a domain in a line::

    # domain       info                                PEM file
    example.com    https://example.com/passport.cer    /etc/simplestack/com.key

The PEM file has a private key of P-256, without a password.  What the public key is must be found
at the URI by who verifies.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from simplestack.app.settings import Settings, SettingsError
from simplestack.sip.fields.scalars import format_date
from simplestack.sip.message import Request
from simplestack.sip.passport import IdentityValue, party

__all__ = ["DomainKey", "IdentitySigner", "make_signer", "read_domain_keys"]


class DomainKey(NamedTuple):
    """What one domain signs with."""

    private: EllipticCurvePrivateKey
    #: Where others find what they verify it with.
    info: str


def read_domain_keys(path: str) -> dict[str, DomainKey]:
    """Read the operator's list: the keys by the domains in lower case.

    :raises ValueError: naming the line that can't be used, or the file.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except OSError as error:
        raise ValueError(f"the list of signing keys can't be read: {error}") from None
    keys: dict[str, DomainKey] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            domain, info, place = words
            private = load_pem_private_key(Path(place).read_bytes(), None)
            if not isinstance(private, EllipticCurvePrivateKey) or not isinstance(
                private.curve, SECP256R1
            ):
                raise ValueError(f"{place} has no private key of P-256")
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        keys[domain.lower().rstrip(".")] = DomainKey(private, info)
    return keys


class IdentitySigner:
    """Adds Date and Identity to requests from users of the domains whose keys it has."""

    def __init__(self, keys: Mapping[str, DomainKey]) -> None:
        self._keys = keys

    def sign(self, request: Request, now: float) -> None:
        """Sign a request whose sender this server has authenticated, at a time of the wall clock.

        "the authentication service … extracts the identity of the sender from the request" and
        signs only for the domains that it is responsible for (RFC 8224 §5).
        """
        origin = party(request.from_.uri)
        key = self._keys.get(origin.host)
        if key is None:
            return
        issued = int(now)
        request.set("Date", format_date(issued))
        # The compact form: what is signed is in the request (§4.1).
        value = IdentityValue("", "", "", key.info)
        signed = value.signed(origin, party(request.to.uri), issued)
        first, second = decode_dss_signature(key.private.sign(signed, ECDSA(SHA256())))
        # RFC 7518 §3.4: R and S, of 32 octets each.
        octets = first.to_bytes(32) + second.to_bytes(32)
        signature = urlsafe_b64encode(octets).rstrip(b"=").decode()
        request.set("Identity", f"..{signature};info=<{key.info}>;alg=ES256")


def make_signer(settings: Settings) -> IdentitySigner | None:
    """Who signs, by the settings; None where nobody does.

    Raises SettingsError.
    """
    if not settings.identity_signing:
        return None
    try:
        return IdentitySigner(read_domain_keys(settings.identity_signing))
    except ValueError as error:
        raise SettingsError(str(error)) from None
