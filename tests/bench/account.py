"""A user of the generator: digest credentials with a cached nonce and a rising nonce count."""

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["ALGORITHMS", "DOMAIN", "Account", "ChallengeError", "accounts_of", "values_of"]

#: Where the users of a run are.
DOMAIN = "bench.example"

#: Digest algorithms that the generator can answer (RFC 7616 §6.1) and their names in hashlib.
ALGORITHMS = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}

_PARAMETER = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
_CNONCE = "bench"


class ChallengeError(Exception):
    """A challenge that the generator can't answer."""


def values_of(data: bytes, name: bytes) -> list[bytes]:
    """Every value of a header field, found whatever its case; for the rare, slow places."""
    wanted = name.lower()
    values = []
    for line in data.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        field, _, value = line.partition(b":")
        if field.strip().lower() == wanted:
            values.append(value.strip())
    return values


class Account:
    """One user: name, password and what the server's last challenge to him was."""

    __slots__ = (
        "_heads",
        "_seed",
        "algorithm",
        "aor",
        "count",
        "domain",
        "index",
        "password",
        "preferred",
        "username",
    )

    def __init__(
        self, index: int, username: str, domain: str, password: str, preferred: str | None = None
    ) -> None:
        self.index = index
        self.username = username
        self.domain = domain
        self.password = password
        #: The only algorithm to answer with; None takes the first that the server offers.
        self.preferred = preferred
        self.aor = f"sip:{username}@{domain}".encode()
        self.algorithm = ""
        self.count = 0
        self._seed: _Hash | None = None
        self._heads: dict[tuple[bytes, bytes], tuple[bytes, bytes]] = {}

    def challenged(self, challenges: list[str]) -> None:
        """Take the nonce of a 401.  Raises ChallengeError where no challenge can be answered."""
        for challenge in challenges:
            scheme, _, rest = challenge.strip().partition(" ")
            if scheme.lower() != "digest":
                continue
            found = _PARAMETER.findall(rest)
            parameters = {name.lower(): quoted or bare for name, quoted, bare in found}
            algorithm = parameters.get("algorithm", "MD5").upper()
            if algorithm not in ALGORITHMS or self.preferred not in (None, algorithm):
                continue
            if "auth" not in parameters.get("qop", "").replace(" ", "").split(","):
                continue
            self.adopt(
                algorithm, parameters["realm"], parameters["nonce"], parameters.get("opaque")
            )
            return
        raise ChallengeError(f"no challenge that can be answered in {challenges!r}")

    def adopt(self, algorithm: str, realm: str, nonce: str, opaque: str | None = None) -> None:
        """Answer with this nonce from now on, counted from 1 (RFC 7616 §3.4)."""
        self.algorithm = algorithm
        self.count = 0
        self._heads.clear()
        ha1 = self._hash(f"{self.username}:{realm}:{self.password}".encode())
        self._seed = hashlib.new(ALGORITHMS[algorithm], f"{ha1}:{nonce}:".encode())
        tail = "" if opaque is None else f', opaque="{opaque}"'
        self._heads[b"", b""] = (
            f'Digest username="{self.username}", realm="{realm}", nonce="{nonce}"{tail}, '
            f'algorithm={algorithm}, qop=auth, cnonce="{_CNONCE}", uri="'.encode(),
            b"",
        )

    def _hash(self, data: bytes) -> str:
        return hashlib.new(ALGORITHMS[self.algorithm], data).hexdigest()

    def credentials(self, method: bytes, uri: bytes) -> bytes:
        """The value of Authorization for one more request; empty before the first challenge."""
        seed = self._seed
        if seed is None:
            return b""
        prepared = self._heads.get((method, uri))
        if prepared is None:
            ha2 = self._hash(b"%b:%b" % (method, uri))
            prepared = (
                b'%b%b", nc=' % (self._heads[b"", b""][0], uri),
                f":{_CNONCE}:auth:{ha2}".encode(),
            )
            self._heads[method, uri] = prepared
        self.count += 1
        count = b"%08x" % self.count
        digest = seed.copy()
        digest.update(count + prepared[1])
        return b'%b%b, response="%b"' % (prepared[0], count, digest.hexdigest().encode())

    def authorization(self, method: bytes, uri: bytes) -> bytes:
        """The Authorization header field line, or nothing before the first challenge."""
        value = self.credentials(method, uri)
        return b"Authorization: %b\r\n" % value if value else b""


def accounts_of(count: int, prefix: str = "u", preferred: str | None = None) -> list[Account]:
    """The users of a run, without nonces."""
    return [
        Account(at, f"{prefix}{at:05d}", DOMAIN, f"secret-{at}", preferred) for at in range(count)
    ]
