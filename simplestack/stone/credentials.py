"""A user's digest credentials, with a cached nonce and a rising nonce count (RFC 7616 §3.4)."""

import hashlib
import re
from typing import TYPE_CHECKING, Final

from simplestack.stone.errors import StoneError

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["DIGESTS", "Credentials", "values_of"]

#: Digest algorithms (RFC 7616 §6.1, RFC 8760 §2.1) and their names in hashlib.
DIGESTS: Final = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}

_PARAMETER: Final = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_CNONCE: Final = "73746f6e65"


def values_of(data: bytes, name: bytes, short: bytes = b"") -> list[bytes]:
    """Every value of a header field whatever its case, or its compact form; for rare places."""
    wanted = name.lower()
    found = []
    for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        field, _, value = line.partition(b":")
        spelled = field.strip().lower()
        if spelled == wanted or (short and spelled == short):
            found.append(value.strip())
    return found


class Credentials:
    """Name, password, and what the server's last challenge was."""

    __slots__ = (
        "_counted",
        "_ends",
        "_head",
        "_seed",
        "algorithm",
        "answers",
        "count",
        "header",
        "opaque",
        "password",
        "preferred",
        "realm",
        "username",
    )

    def __init__(
        self, username: str, password: str, preferred: str = "", answers: bool = True
    ) -> None:
        self.username = username
        self.password = password
        #: The only algorithm to answer with; empty takes the first that the server offers.
        self.preferred = preferred
        #: Whether challenges are answered.
        self.answers = answers
        self.algorithm = ""
        self.realm = ""
        self.opaque: str | None = None
        self.count = 0
        #: ``Authorization`` or ``Proxy-Authorization``.
        self.header = b"Authorization"
        self._seed: _Hash | None = None
        self._head = b""
        #: Whether the server has offered qop, with which nonces are counted.
        self._counted = True
        #: (method, Request-URI) → what the hash ends with.
        self._ends: dict[tuple[bytes, bytes], bytes] = {}

    def challenged(self, response: bytes) -> None:
        """Take the nonce of a 401 or 407.  Raises StoneError where no challenge can be answered."""
        proxy = response[8:11] == b"407"
        name = b"Proxy-Authenticate" if proxy else b"WWW-Authenticate"
        challenges = values_of(response, name)
        for value in challenges:
            scheme, _, rest = value.decode("utf-8", "replace").partition(" ")
            if scheme.lower() != "digest":
                continue
            parameters = {each[0].lower(): each[1] or each[2] for each in _PARAMETER.findall(rest)}
            algorithm = parameters.get("algorithm", "MD5").upper()
            if algorithm not in DIGESTS or self.preferred not in ("", algorithm):
                continue
            offered = parameters.get("qop", "")
            if offered and "auth" not in offered.replace(" ", "").split(","):
                continue
            self._counted = bool(offered)
            self.header = b"Proxy-Authorization" if proxy else b"Authorization"
            self.algorithm = algorithm
            self.realm = parameters.get("realm", "")
            self.opaque = parameters.get("opaque")
            self._ends.clear()
            self.adopt(parameters.get("nonce", ""))
            return
        raise StoneError(f"no challenge that can be answered in {challenges!r}")

    def adopt(self, nonce: str) -> None:
        """Go on with this nonce, counted from 1: of a challenge, or a nextnonce (RFC 7616 §3.5)."""
        self.count = 0
        ha1 = self._hash(f"{self.username}:{self.realm}:{self.password}".encode())
        self._seed = hashlib.new(DIGESTS[self.algorithm], f"{ha1}:{nonce}:".encode())
        opaque = "" if self.opaque is None else f', opaque="{self.opaque}"'
        self._head = (
            self.header
            + f': Digest username="{self.username}", realm="{self.realm}", '
            f'nonce="{nonce}"{opaque}, algorithm={self.algorithm}, '.encode()
            + (f'qop=auth, cnonce="{_CNONCE}", '.encode() if self._counted else b"")
            + b'uri="'
        )

    def _hash(self, data: bytes) -> str:
        return hashlib.new(DIGESTS[self.algorithm], data).hexdigest()

    def line(self, method: bytes, uri: bytes) -> bytes:
        """The header field line of one more request; nothing before the first challenge."""
        seed = self._seed
        if seed is None:
            return b""
        end = self._ends.get((method, uri))
        if end is None:
            ha2 = self._hash(method + b":" + uri)
            end = (f":{_CNONCE}:auth:{ha2}" if self._counted else ha2).encode()
            self._ends[method, uri] = end
        self.count += 1
        count = b"%08x" % self.count
        digest = seed.copy()
        if not self._counted:
            # RFC 2617 §3.2.2.1: without qop there is neither count nor cnonce.
            digest.update(end)
            return b'%b%b", response="%b"\r\n' % (self._head, uri, digest.hexdigest().encode())
        digest.update(count + end)
        return b'%b%b", nc=%b, response="%b"\r\n' % (
            self._head,
            uri,
            count,
            digest.hexdigest().encode(),
        )
