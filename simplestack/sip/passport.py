"""The Identity header field and the PASSporT in it, but for the signature (RFC 8224, RFC 8225)."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple

from simplestack.sip.errors import SIPError
from simplestack.sip.grammar import bad
from simplestack.sip.uri import Uri

__all__ = ["IdentityValue", "Party", "parse_identity", "party"]

_VALUE: Final = re.compile(
    r"""([A-Za-z0-9+/_.=-]{1,4096}) \s* ((?:;\s*[\w!%*.+'~-]+\s*(?:=\s*(?:<[^<>\s]{1,2048}>
    |"[^"\\]*"|[\w!%*.+'~-]+))?\s*)*)""",
    re.ASCII | re.VERBOSE,
)
_PARAM: Final = re.compile(
    r""";\s*([\w!%*.+'~-]+)\s*(?:=\s*(<[^<>\s]+>|"[^"\\]*"|[\w!%*.+'~-]+))?""", re.ASCII
)
_SEPARATORS: Final = re.compile(r"[-.() ]")
_GLOBAL: Final = re.compile(r"\+[0-9]{2,15}")
_TRIPLET: Final = re.compile(r"%[0-9a-f]{2}")


class Party(NamedTuple):
    """Who a request is from or to, as a PASSporT names him: a telephone number or a URI."""

    #: ``tn`` or ``uri``.
    kind: str
    value: str

    @property
    def aor(self) -> str:
        """The address-of-record that is named so."""
        if self.kind == "tn":
            return f"tel:+{self.value}"
        return f"sip:{self.value.partition(':')[2]}"

    @property
    def host(self) -> str:
        """The domain of a URI; "" of a number."""
        return self.value.rpartition("@")[2] if self.kind == "uri" else ""


class IdentityValue(NamedTuple):
    """One Identity header field value; ``header`` and ``payload`` are "" in the compact form."""

    header: str
    payload: str
    signature: str
    #: Where the credential is.
    info: str
    algorithm: str = "ES256"
    #: The extension that it needs; "" for none.
    extension: str = ""

    def signed(self, origin: Party, destination: Party, issued: int) -> bytes:
        """What the signature is over, where the request says this (RFC 8224 §4.1, RFC 8225 §9).

        :raises SIPError: 438 where a full form says something else.
        """
        if self.header or self.payload:
            self._compare(origin, destination)
            return f"{self.header}.{self.payload}".encode()
        header: dict[str, object] = {"alg": self.algorithm, "typ": "passport", "x5u": self.info}
        payload: dict[str, object] = {
            "dest": {destination.kind: [destination.value]},
            "iat": issued,
            "orig": {origin.kind: origin.value},
        }
        return b".".join([_encode(header), _encode(payload)])

    @property
    def issued(self) -> int | None:
        """The time at which a full form was made; None of a compact one.

        :raises SIPError: 438 where it says no time.
        """
        if not self.payload:
            return None
        issued = _decode(self.payload).get("iat")
        if type(issued) is not int:
            raise _invalid("the PASSporT has no iat")
        return issued

    @property
    def signature_octets(self) -> bytes:
        """The signature. :raises SIPError: 438 where it is no base64."""
        return _octets(self.signature)

    def _compare(self, origin: Party, destination: Party) -> None:
        """See that a full form says what the request does (RFC 8224 §6.2.4)."""
        header, payload = _decode(self.header), _decode(self.payload)
        if header.get("typ") != "passport" or header.get("alg") != self.algorithm:
            raise _invalid("typ or alg of the PASSporT is another")
        if header.get("x5u") != self.info:
            raise _invalid("x5u of the PASSporT is not info")
        if header.get("ppt", "") != self.extension:
            raise _invalid("ppt of the PASSporT is another")
        if payload.get("orig") != {origin.kind: origin.value}:
            # "MUST NOT treat the value in the "orig" of a full-form PASSporT as the originating
            # identity": it is From.
            raise _invalid(f"orig of the PASSporT is not {origin.value}")
        named = payload.get("dest")
        values = named.get(destination.kind) if isinstance(named, dict) else None
        if not isinstance(values, list) or destination.value not in values:
            raise _invalid(f"dest of the PASSporT is not {destination.value}")


def parse_identity(text: str) -> IdentityValue:
    """Read one Identity header field value. Raises SIPError 400."""
    match = _VALUE.fullmatch(text.strip())
    if match is None:
        raise bad(f"bad Identity: {text[:40]}")
    parts = match[1].split(".")
    params = {name.lower(): value for name, value in _PARAM.findall(match[2])}
    info = params.get("info", "")
    if len(parts) != 3 or bool(parts[0]) != bool(parts[1]) or not info.startswith("<"):
        raise bad(f"bad Identity: {text[:40]}")
    return IdentityValue(
        parts[0],
        parts[1],
        parts[2],
        info.strip("<>"),
        params.get("alg", "ES256").strip('"'),
        params.get("ppt", "").strip('"'),
    )


def party(uri: Uri) -> Party:
    """Whom From or To names, in canonical form (RFC 8224 §8.1, §8.3, §8.5).

    A number is what the URI says is one, or begins with "+", if it is a global one.
    """
    number = ""
    if uri.scheme == "tel":
        number = uri.opaque.partition(";")[0]
    elif uri.is_sip and (uri.param("user") == "phone" or uri.user.startswith("+")):
        number = uri.user.partition(";")[0]
    number = _SEPARATORS.sub("", number)
    if _GLOBAL.fullmatch(number):
        return Party("tn", number[1:])
    if not uri.is_sip:
        return Party("uri", str(uri).lower())
    text = f"{uri.scheme}:{Uri('sip', user=uri.user).userinfo}@{uri.host}".lower()
    return Party("uri", _TRIPLET.sub(lambda found: found[0].upper(), text))


def _invalid(text: str) -> SIPError:
    return SIPError(438, text=text[:200])


def _encode(value: dict[str, object]) -> bytes:
    # Sorted, without white space, nothing escaped that need not be (RFC 8225 §9).
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return urlsafe_b64encode(text.encode("utf-8", "surrogateescape")).rstrip(b"=")


def _octets(text: str) -> bytes:
    # RFC 8224 has the alphabet of base64, RFC 8225 that of base64url.
    text = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise _invalid("the PASSporT is not base64") from None


def _decode(text: str) -> dict[str, object]:
    try:
        value = json.loads(_octets(text))
    except (ValueError, RecursionError):
        raise _invalid("the PASSporT is not JSON") from None
    if not isinstance(value, dict):
        raise _invalid("the PASSporT is not an object of JSON")
    return value
