"""Who sent a request, by the word of others: of trusted peers (RFC 3325), or signed (RFC 8224)."""

from collections.abc import Collection, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from simplestack.app.identity import IdentityVerifier, read_keys
from simplestack.app.settings import Settings, SettingsError
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import parse_name_addrs
from simplestack.sip.message import Request

__all__ = ["Assertions", "TrustedPeers", "make_assertions"]

#: The host of a From that names nobody (RFC 3323 §4.1.1.3).
ANONYMOUS_HOST = "anonymous.invalid"


class TrustedPeers:
    """The other elements of our Trust Domain (RFC 3324), by the networks that they are in.

    An entry is an address or a network.  It counts for connections alone, for whoever can forge the
    source of a datagram could be anybody; with ``udp:`` before it, for datagrams as well.

    :raises ValueError: for an entry that is neither.
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._networks: list[tuple[bool, IPv4Network | IPv6Network]] = []
        for entry in entries:
            text = entry.removeprefix("udp:")
            try:
                network = ip_network(text.strip("[]"), strict=False)
            except ValueError:
                raise ValueError(
                    f"{entry!r} is no address or network of a trusted peer, such as 192.0.2.7,"
                    " 2001:db8::/32 or udp:10.0.0.0/8"
                ) from None
            self._networks.append((text != entry, network))

    def trusts(self, host: str, transport: str) -> bool:
        """Whether what comes from this address by this transport is believed."""
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return any(
            address in network and (transport != "udp" or datagrams)
            for datagrams, network in self._networks
        )


class Assertions:
    """Says who sent a request where somebody whom the operator believes says so.

    ``domains`` are those that are served: of their users a broken signature is no matter, for they
    have passwords.  Those in ``required`` must sign.
    """

    def __init__(
        self,
        peers: TrustedPeers,
        verifier: IdentityVerifier | None,
        domains: Collection[str],
        required: Collection[str] = (),
    ) -> None:
        self._peers = peers
        self._verifier = verifier
        self._domains = frozenset(domains)
        self._required = frozenset(required)

    def sender(
        self, request: Request, aor: str, host: str, transport: str, now: float
    ) -> str | None:
        """The AOR of the sender, by the word of others; None where nobody who is believed says.

        It is "" where it must be kept from the presentity.  ``aor`` is what the request is about,
        ``host`` and ``transport`` are those of the flow that it came by, ``now`` the wall clock.

        :raises SIPError: 403, 428, 436, 437, 438 or 503 of signatures (RFC 8224 §6.2.2); 400.
        """
        headers = request.headers
        if "P-Asserted-Identity" in headers and self._peers.trusts(host, transport):
            return _asserted(request)
        # "if a User Agent Server receives a message from a previous element that it does not trust,
        # it MUST NOT use the P-Asserted-Identity header field in any way" (RFC 3325 §8).
        verifier = self._verifier
        if verifier is None or request.method != "SUBSCRIBE" or request.authorization:
            # A signature is not over the body, and not over what a REGISTER says.
            return None
        domain = request.from_.uri.host
        if domain in self._required or (domain != ANONYMOUS_HOST and domain not in self._domains):
            if "Identity" in headers:
                return verifier.verify(request, aor, now)
            if domain in self._required:
                raise SIPError(428, text=f"requests of {domain} are signed (RFC 8224)")
        elif "Identity" in headers:
            try:
                return verifier.verify(request, aor, now)
            except SIPError:
                return None
        return None


def _asserted(request: Request) -> str | None:
    """The identity that a trusted peer asserts: the SIP URI, if there is one (RFC 3325 §9.1)."""
    values = [
        each.uri
        for value in request.headers["P-Asserted-Identity"]
        for each in parse_name_addrs(value)
    ]
    named = [uri for uri in values if uri.is_sip and uri.user] or [
        uri for uri in values if uri.scheme == "tel"
    ]
    if not named:
        return None
    if request.method == "SUBSCRIBE" and request.from_.uri.host != ANONYMOUS_HOST:
        wishes = ";".join(request.headers.get("Privacy", ())).lower().split(";")
        if "id" in [each.strip() for each in wishes]:
            # "it MUST ensure that it does not forward the information to any element that is not
            # part of the Trust Domain" (RFC 3325 §8): a presentity is none.  Of an anonymous From
            # watcher information shows no name.
            return ""
    return named[0].aor


def make_assertions(settings: Settings) -> Assertions | None:
    """What the settings say of who is believed; None where nobody is.

    Raises SettingsError.
    """
    if not (settings.trusted_peers or settings.identity_keys):
        return None
    try:
        peers = TrustedPeers(settings.trusted_peers)
        keys = settings.identity_keys
        verifier = IdentityVerifier(read_keys(keys)) if keys else None
    except ValueError as error:
        raise SettingsError(str(error)) from None
    return Assertions(peers, verifier, settings.domains, settings.identity_required)
