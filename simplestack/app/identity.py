"""Verifies who signed a request: Identity header fields (RFC 8224) with keys of the operator.

Which key is at which URI is in a file of the operator, one a line::

    # info URI                            PEM file                       signs for
    https://example.org/passport.cer      /etc/simplestack/org.pem
    https://sti.example.net/net.cer       /etc/simplestack/net.pem       example.net +4930

The PEM file has a certificate or a public key.  A certificate signs for the domains in it
(RFC 5922 §7.2), and for what the line names in addition; a key for what the line names: domains,
and "+" with the first digits of telephone numbers.  Nothing is ever fetched.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from simplestack.net.tls import serves
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request
from simplestack.sip.passport import IdentityValue, Party, parse_identity, party

__all__ = ["IdentityVerifier", "SigningKey", "read_keys"]

#: How old, or how far ahead, a signature may be: "sixty seconds is RECOMMENDED" (RFC 8224 §6.2).
FRESH: Final = 60
#: So many Identity header fields of one request are looked at.
MOST: Final = 4
#: Signatures that are remembered as used.
MAX_USED: Final = 20_000


class SigningKey(NamedTuple):
    """A key that others sign with."""

    public: EllipticCurvePublicKey | None
    certificate: x509.Certificate | None
    #: Domains in lower case, and beginnings of telephone numbers with their "+".
    names: frozenset[str]

    def signs_for(self, origin: Party) -> bool:
        """Whether this key may say that a request is of this originator (RFC 8224 §8.2, §8.4)."""
        if origin.kind == "tn":
            number = f"+{origin.value}"
            return any(number.startswith(name) for name in self.names if name[0] == "+")
        if origin.host in self.names:
            return True
        return self.certificate is not None and serves(self.certificate, origin.host)

    def is_valid(self, when: float) -> bool:
        """Whether the certificate, if it is one, is valid at a time."""
        if self.certificate is None:
            return True
        moment = datetime.fromtimestamp(when, UTC)
        certificate = self.certificate
        return certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc


def read_keys(path: str) -> dict[str, SigningKey]:
    """Read the operator's list: the keys by the URIs of ``info``.

    :raises ValueError: naming the line that can't be used, or the file.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except OSError as error:
        raise ValueError(f"the list of signing keys can't be read: {error}") from None
    keys: dict[str, SigningKey] = {}
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            info, place, *names = words
            keys[info] = _key(Path(place).read_bytes(), names)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return keys


def _key(pem: bytes, names: list[str]) -> SigningKey:
    signs = frozenset([name.lower().rstrip(".") for name in names])
    certificate = None
    if b"BEGIN CERTIFICATE" in pem:
        certificate = x509.load_pem_x509_certificate(pem)
        public = certificate.public_key()
    else:
        public = load_pem_public_key(pem)  # type: ignore[assignment]  # a wider union of keys
        if not signs:
            raise ValueError("a public key needs the domains or numbers that it signs for")
    if isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1):
        return SigningKey(public, certificate, signs)
    return SigningKey(None, certificate, signs)


class IdentityVerifier:
    """Verifies Identity header fields with known keys.

    A signature says nothing of the Contact to which NOTIFYs go.  So one that was used is good for
    no other dialog while it is fresh.
    """

    def __init__(self, keys: dict[str, SigningKey]) -> None:
        self._keys = keys
        #: By R of a signature, whose S can be another: until when it is fresh, and what it was used for.
        self._used: dict[bytes, tuple[float, bytes]] = {}

    def verify(self, request: Request, aor: str, now: float) -> str:
        """The AOR of the sender, as it was signed, of a request about an AOR.

        :raises SIPError: as RFC 8224 §6.2.2 says: 436 where no key is known, 437 where one is and
            can't be used, 438 where no signature is right, 403 where it is too old; 428 where all
            fields need extensions; 503 where too many are fresh; 400 where one can't be read.
        """
        origin, destination = party(request.from_.uri), party(request.to.uri)
        if request.to.uri.aor != aor:
            # What was signed for somebody else's To is not to be had here.
            raise SIPError(438, text=f"To is not {aor}")
        found: SIPError | None = None
        for text in request.headers["Identity"][:MOST]:
            value = parse_identity(text)
            if value.extension:
                # "If a "ppt" parameter value is present and the verifier does not support it, it
                # MUST ignore the Identity header field."
                continue
            try:
                self._check(value, origin, destination, request, now)
            except SIPError as error:
                # Of several the one that came furthest says most.
                if found is None or _FURTHEST.index(error.status) > _FURTHEST.index(found.status):
                    found = error
                continue
            return origin.aor
        if found is None:
            raise SIPError(428, "Use Supported PASSporT Format", text="no ppt is understood")
        raise found

    def _check(
        self,
        value: IdentityValue,
        origin: Party,
        destination: Party,
        request: Request,
        now: float,
    ) -> None:
        key = self._keys.get(value.info)
        if key is None:
            raise SIPError(436, text=f"no key is known for {value.info[:120]}")
        if value.algorithm != "ES256" or key.public is None:
            raise SIPError(437, text="signatures are by ES256")
        if not key.signs_for(origin):
            raise SIPError(437, text=f"this key does not sign for {origin.value}")
        issued = value.issued
        if issued is None:
            if request.date is None:
                raise SIPError(438, text="Date is missing")
            issued = int(request.date.timestamp())
        if abs(now - issued) > FRESH:
            raise SIPError(403, "Stale Date", text=f"signed {round(now - issued)} seconds ago")
        if not key.is_valid(issued):
            raise SIPError(437, text="the certificate is not valid now")
        signature = value.signature_octets
        if len(signature) != 64:
            raise SIPError(438, text="the signature is not of ES256")
        try:
            # RFC 7518 §3.4: R and S, of 32 octets each.
            first, second = (int.from_bytes(part) for part in (signature[:32], signature[32:]))
            key.public.verify(
                encode_dss_signature(first, second),
                value.signed(origin, destination, issued),
                ECDSA(SHA256()),
            )
        except InvalidSignature:
            raise SIPError(438, text="the signature is over something else") from None
        self._use(signature[:32], issued + FRESH, request, now)

    def _use(self, mark: bytes, until: float, request: Request, now: float) -> None:
        """Take a signature for one dialog; a request that is asked for again may have it too."""
        purpose = blake2b(
            "\n".join(
                [request.call_id, request.from_.tag or "", *request.headers.get("Contact", ())]
            ).encode("utf-8", "surrogateescape"),
            digest_size=16,
        ).digest()
        used = self._used.get(mark)
        if used is not None:
            if used[1] != purpose:
                raise SIPError(438, text="this signature was used before")
            return
        if len(self._used) >= MAX_USED:
            self._used = {each: use for each, use in self._used.items() if use[0] >= now}
            if len(self._used) >= MAX_USED:
                raise SIPError(503, headers=[("Retry-After", str(FRESH))])
        self._used[mark] = (until, purpose)


_FURTHEST: Final = (436, 437, 403, 438, 503)
