"""Digest access authentication, the same for SIP and HTTP (RFC 7616, RFC 8760).

All that comes by chance or from a clock is an argument.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from simplestack.sip.fields import Challenge, Credentials
from simplestack.sip.grammar import quote
from simplestack.sip.memory import remember

__all__ = [
    "ALGORITHMS",
    "NONCE_RANDOM_LENGTH",
    "NonceState",
    "Nonces",
    "authentication_info",
    "authorize",
    "challenges",
    "choose",
    "ha1",
    "hash_text",
    "response_digest",
    "rspauth",
    "verify",
]

_HASHES: Final = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}


def _available() -> dict[str, hashlib._Hash]:
    hashes = {}
    for algorithm, name in _HASHES.items():
        try:
            hashes[algorithm] = hashlib.new(name, usedforsecurity=False)
        except ValueError:  # SHA-512/256 is OpenSSL's alone, and not in every build of it
            continue
    return hashes


_HASHERS: Final = _available()

ALGORITHMS: Final[tuple[str, ...]] = tuple(_HASHERS)
"""SHA-512-256, SHA-256 and MD5, in this order of preference; what the Python at hand lacks is left out."""


def hash_text(algorithm: str, text: str | bytes) -> str:
    """H(data) of RFC 7616 §3.3, in lower-case hexadecimal; text is taken as UTF-8."""
    digest = _HASHERS[algorithm].copy()
    digest.update(text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text)
    return digest.hexdigest()


def _ha2(algorithm: str) -> Callable[[str], str]:
    @remember(2048, each=1)
    def hashed(text: str) -> str:
        return hash_text(algorithm, text)

    return hashed


# A client sends the same method and URI again and again.
_HA2: Final = {algorithm: _ha2(algorithm) for algorithm in ALGORITHMS}


def ha1(algorithm: str, user: str, realm: str, password: str) -> str:
    """H(A1), the secret to store in place of a password (RFC 7616 §3.4.2)."""
    return hash_text(algorithm, f"{user}:{realm}:{password}")


def response_digest(
    algorithm: str,
    ha1: str,
    method: str,
    uri: str,
    nonce: str,
    nc: str = "",
    cnonce: str = "",
    qop: str = "",
    body: bytes = b"",
) -> str:
    """The `response` of RFC 7616 §3.4.1; without qop that of RFC 2069."""
    if qop == "auth-int":
        ha2 = hash_text(algorithm, f"{method}:{uri}:{hash_text(algorithm, body)}")
    else:
        ha2 = _HA2[algorithm](f"{method}:{uri}")
    if qop:
        return hash_text(algorithm, f"{ha1}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}")
    return hash_text(algorithm, f"{ha1}:{nonce}:{ha2}")


def rspauth(
    algorithm: str,
    ha1: str,
    uri: str,
    nonce: str,
    nc: str = "",
    cnonce: str = "",
    qop: str = "",
    body: bytes = b"",
) -> str:
    """The server's proof that it knows the secret; `body` is the response's (RFC 7616 §3.5)."""
    return response_digest(algorithm, ha1, "", uri, nonce, nc, cnonce, qop, body)


def verify(credentials: Credentials, ha1: str, method: str, body: bytes = b"") -> bool:
    """Whether the credentials' response is right for the secret, H(A1) by their algorithm.

    It is reckoned with the credentials' own uri: whether that is the request's, or one that
    is served, is for the caller (RFC 7616 §3.4.6, RFC 8760 §2.6). False for an algorithm
    or qop that is never offered.
    """
    params = credentials.params
    algorithm = credentials.algorithm
    qop = params.get("qop", "").lower()
    if algorithm not in _HASHERS or qop not in ("auth", "", "auth-int"):
        return False
    expected = response_digest(
        algorithm,
        ha1,
        method,
        params.get("uri", ""),
        params.get("nonce", ""),
        params.get("nc", ""),
        params.get("cnonce", ""),
        params.get("qop", ""),
        body,
    )
    given = params.get("response", "").lower()
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))


def challenges(
    realm: str,
    nonce: str,
    stale: bool = False,
    opaque: str | None = None,
    algorithms: Sequence[str] = ALGORITHMS,
) -> list[str]:
    """One challenge for each algorithm, the preferred one first, each for a header field of its own.

    RFC 8760 §2.3: "in the order in which it would prefer to see them used, starting with
    the most preferred algorithm at the top." They share the nonce.
    """
    head = f'Digest realm={quote(realm)}, nonce="{nonce}", qop="auth", algorithm='
    tail = ", stale=true" if stale else ""
    if opaque is not None:
        tail += f", opaque={quote(opaque)}"
    return [head + algorithm + tail for algorithm in algorithms]


def authentication_info(
    credentials: Credentials, ha1: str, next_nonce: str | None = None, body: bytes = b""
) -> str:
    """The Authentication-Info for a response to these credentials (RFC 7616 §3.5)."""
    params = credentials.params
    qop, nc, cnonce = params.get("qop", ""), params.get("nc", ""), params.get("cnonce", "")
    proof = rspauth(
        credentials.algorithm,
        ha1,
        params.get("uri", ""),
        params.get("nonce", ""),
        nc,
        cnonce,
        qop,
        body,
    )
    info = f'nextnonce="{next_nonce}", ' if next_nonce is not None else ""
    if qop:
        return f'{info}qop={qop}, rspauth="{proof}", cnonce={quote(cnonce)}, nc={nc}'
    return f'{info}rspauth="{proof}"'


def choose(offers: Iterable[Challenge]) -> Challenge | None:
    """The first challenge that can be answered, which is the one the server likes best.

    RFC 8760 §2.4: "it SHOULD use the topmost header field that it supports".
    """
    for challenge in offers:
        qop = challenge.qop
        if (
            challenge.scheme == "digest"
            and challenge.algorithm in _HASHERS
            and (not qop or "auth" in qop or "auth-int" in qop)
        ):
            return challenge
    return None


def authorize(
    challenge: Challenge,
    user: str,
    ha1: str,
    method: str,
    uri: str,
    count: int,
    cnonce: str,
    body: bytes = b"",
    nonce: str | None = None,
) -> Credentials:
    """Credentials that answer a challenge, the `count`-th to use its nonce (RFC 7616 §3.4).

    `nonce` takes the place of the challenge's after a nextnonce.
    """
    algorithm = challenge.algorithm
    offered = challenge.qop
    qop = "auth" if "auth" in offered or not offered else "auth-int"
    nonce = challenge.param("nonce") if nonce is None else nonce
    nc = f"{count:08x}"
    params = {"username": user, "realm": challenge.param("realm"), "nonce": nonce, "uri": uri}
    if offered:
        params["response"] = response_digest(
            algorithm, ha1, method, uri, nonce, nc, cnonce, qop, body
        )
        params |= {"cnonce": cnonce, "nc": nc, "qop": qop}
    else:
        params["response"] = response_digest(algorithm, ha1, method, uri, nonce)
    if "algorithm" in challenge.params:
        params["algorithm"] = challenge.params["algorithm"]
    if "opaque" in challenge.params:
        params["opaque"] = challenge.params["opaque"]
    return Credentials("digest", params)


class NonceState(enum.Enum):
    """What a nonce is worth."""

    VALID = "valid"
    STALE = "stale"
    """Ours, but too old, or perhaps used before: challenge with stale=true."""
    INVALID = "invalid"
    """Not ours."""


NONCE_RANDOM_LENGTH: Final = 11
_TIME_LENGTH: Final = 6
_MAC_LENGTH: Final = 16
_OCTETS: Final = _TIME_LENGTH + NONCE_RANDOM_LENGTH + _MAC_LENGTH
_NONCE_LENGTH: Final = _OCTETS * 4 // 3
_WINDOW: Final = 64
_WINDOW_MASK: Final = (1 << _WINDOW) - 1


class _Window:
    """Which counts of a nonce have been used: the highest, and a bit for each of the 64 up to it."""

    __slots__ = ("highest", "issued", "seen")

    def __init__(self, issued: float, highest: int) -> None:
        self.issued = issued
        self.highest = highest
        self.seen = 1

    def use(self, count: int) -> bool:
        ahead = count - self.highest
        if ahead > 0:
            self.seen = ((self.seen << ahead) | 1) & _WINDOW_MASK if ahead < _WINDOW else 1
            self.highest = count
            return True
        bit = 1 << -ahead if ahead > -_WINDOW else 0
        if not bit or self.seen & bit:
            return False
        self.seen |= bit
        return True


class Nonces:
    """Makes nonces and knows its own again, without keeping them.

    A nonce is its time, random octets and an HMAC-SHA-256 of both, in base64url. Only of a
    nonce that has authenticated is something kept: which of its counts were used, so that no
    request can be replayed (RFC 7616 §5.5). Requests may overtake one another by up to 64
    counts. At most `capacity` nonces are kept, some 400 octets each; when one of them must
    make room before its time, no other nonce as old as it is taken any more unless it is
    kept itself: its counts might have been forgotten.

    `now` is in seconds and must be from one clock always, `since` its reading at the start:
    what was used before that is not known, so older nonces are stale. `lifetime` is in
    seconds.
    """

    def __init__(
        self, secret: bytes, since: float, lifetime: float = 600.0, capacity: int = 65536
    ) -> None:
        self.lifetime = lifetime
        self.capacity = capacity
        self._secret = secret
        self._forgotten = (int(since * 1000) - 1) / 1000
        self._windows: dict[str, _Window] = {}
        #: The nonces as they came; the first key of a dictionary is far from where its keys began.
        self._order: deque[str] = deque()

    def __len__(self) -> int:
        return len(self._windows)

    def mint(self, now: float, random: bytes) -> str:
        """A new nonce; `random` are at least 11 octets that nobody can guess."""
        if len(random) < NONCE_RANDOM_LENGTH:
            raise ValueError(f"a nonce takes {NONCE_RANDOM_LENGTH} random octets")
        head = int(now * 1000).to_bytes(_TIME_LENGTH, "big") + random[:NONCE_RANDOM_LENGTH]
        return urlsafe_b64encode(head + self._mac(head)).decode("ascii")

    def check(self, nonce: str, now: float) -> NonceState:
        """What a nonce is worth; this keeps nothing."""
        window = self._windows.get(nonce)
        if window is not None:
            issued = window.issued
        else:
            read = self._issued(nonce)
            if read is None:
                return NonceState.INVALID
            if read <= self._forgotten:
                return NonceState.STALE
            issued = read
        return NonceState.VALID if now - issued <= self.lifetime else NonceState.STALE

    def use(self, nonce: str, count: int, now: float) -> bool:
        """Mark a count of a nonce as used; False if it was, or may have been, or the nonce is no good.

        Only for credentials whose response has been verified. False asks for a new
        challenge with stale=true.
        """
        window = self._windows.get(nonce)
        if window is None:
            issued = self._issued(nonce)
            if issued is None or issued <= self._forgotten or now - issued > self.lifetime:
                return False
            self._make_room(now)
            self._windows[nonce] = _Window(issued, count)
            self._order.append(nonce)
            return True
        if now - window.issued > self.lifetime:
            del self._windows[nonce]
            # Were the clock set back, its counts would be good again.
            self._forgotten = max(self._forgotten, window.issued)
            return False
        return window.use(count)

    def aging(self, nonce: str, now: float) -> bool:
        """Whether half the life of a nonce in use has passed: time to send a nextnonce."""
        window = self._windows.get(nonce)
        return window is None or now - window.issued > self.lifetime / 2

    def _make_room(self, now: float) -> None:
        # Two are looked at for one that comes in, so the expired ones go sooner or later.
        windows = self._windows
        order = self._order
        for _ in range(2):
            if not order:
                return
            window = windows.get(order[0])
            if window is not None:
                expired = now - window.issued > self.lifetime
                if not expired and len(order) < self.capacity:
                    return
                del windows[order[0]]
                self._forgotten = max(self._forgotten, window.issued)
            order.popleft()

    def _issued(self, nonce: str) -> float | None:
        if len(nonce) != _NONCE_LENGTH:
            return None
        try:
            octets = urlsafe_b64decode(nonce.encode("ascii"))
        except (ValueError, Base64Error):
            return None
        head, mac = octets[:-_MAC_LENGTH], octets[-_MAC_LENGTH:]
        if len(octets) != _OCTETS or not hmac.compare_digest(mac, self._mac(head)):
            return None
        return int.from_bytes(head[:_TIME_LENGTH], "big") / 1000

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._secret, head, "sha256")[:_MAC_LENGTH]
