"""The client's side of Digest: challenges that were answered, to be answered again (RFC 7616)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from simplestack.sip.digest import authorize, choose, ha1
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import Challenge, parse_auth_params

__all__ = ["Octets", "Protection"]


class Octets(Protocol):
    """Where client nonces come from."""

    def octets(self, count: int) -> bytes:
        """Octets that nobody can guess."""


class _Space:
    """A protection space: a realm, its challenge and the nonce in use."""

    __slots__ = ("challenge", "count", "ha1", "nonce")

    def __init__(self, challenge: Challenge, secret: str) -> None:
        self.challenge = challenge
        self.ha1 = secret
        self.nonce = challenge.param("nonce")
        self.count = 0


class Protection:
    """The credentials of one user at one server, by realm.

    The nonce of a challenge is used again with a rising count, so that only the first request is
    sent twice (RFC 7616 §3.4); the algorithm is the first on offer that we know (RFC 8760 §2.4).
    """

    def __init__(self, user: str, password: str, source: Octets) -> None:
        self._user = user
        self._password = password
        self._source = source
        # By proxy or not, and realm.
        self._spaces: dict[tuple[bool, str], _Space] = {}

    def authorization(
        self, method: str, uri: str, body: bytes = b"", *, proxy: bool = False
    ) -> list[str]:
        """Values of Authorization, or Proxy-Authorization, one for each realm known."""
        values = []
        for (for_proxy, _), space in self._spaces.items():
            if for_proxy is proxy:
                space.count += 1
                credentials = authorize(
                    space.challenge,
                    self._user,
                    space.ha1,
                    method,
                    uri,
                    space.count,
                    self._source.octets(8).hex(),
                    body,
                    space.nonce,
                )
                values.append(str(credentials))
        return values

    def challenged(
        self, offers: Iterable[Challenge], answered: set[str], *, proxy: bool = False
    ) -> bool:
        """Take the challenges of a 401 or 407; whether there is something new to answer.

        ``answered`` has the nonces of the challenges that came to earlier tries of the same
        request, and is added to: who refuses the answer to his own challenge, and does not call it
        stale, does not know the user or another password of his.
        """
        realms: dict[str, list[Challenge]] = {}
        for offer in offers:
            realms.setdefault(offer.param("realm"), []).append(offer)
        found = False
        for realm, mine in realms.items():
            challenge = choose(mine)
            if challenge is None:
                continue
            before = self._spaces.get((proxy, realm))
            if before is not None and before.nonce in answered and not challenge.stale:
                del self._spaces[proxy, realm]
                return False
            secret = ha1(challenge.algorithm, self._user, realm, self._password)
            space = self._spaces[proxy, realm] = _Space(challenge, secret)
            answered.add(space.nonce)
            found = True
        return found

    def informed(self, value: str, *, proxy: bool = False) -> None:
        """Take an Authentication-Info: from now on its nextnonce is used (RFC 7616 §3.5)."""
        try:
            nonce = parse_auth_params(value).get("nextnonce")
        except SIPError:
            return
        spaces = [space for (mine, _), space in self._spaces.items() if mine is proxy]
        # It does not name the realm.
        if nonce and len(spaces) == 1:
            spaces[0].nonce = nonce
            spaces[0].count = 0
