"""Who we are, and which server serves us."""

from __future__ import annotations

from dataclasses import dataclass, field

from simplestack.sip.errors import SIPError
from simplestack.sip.uri import Uri, parse_uri

__all__ = ["TRANSPORTS", "Account", "address_of_record"]

TRANSPORTS = ("udp", "tcp", "tls")


def address_of_record(text: str) -> str:
    """The canonical AOR of a user as people write it: ``alice@example.com``, ``sip:…``.

    Raises ValueError with one line that says what is wrong.
    """
    written = text if text.lower().startswith(("sip:", "sips:")) else f"sip:{text}"
    try:
        uri = parse_uri(written)
    except SIPError as error:
        raise ValueError(
            f"{text!r} is not a user such as sip:alice@example.com: {error.text}"
        ) from None
    if not uri.user or not uri.host:
        raise ValueError(f"{text!r} is not a user; it looks like sip:alice@example.com")
    return uri.aor


@dataclass(frozen=True, slots=True)
class Account:
    """A user of a SIP service.

    ``aor`` is written as ``alice@example.com`` or as a URI, and kept canonical.  ``server`` is
    ``host`` or ``host:port``; where it is empty the server is found by the domain of the AOR
    (RFC 3263).  ``transport`` is udp, tcp, tls, or empty: then RFC 3263 chooses.

    Raises ValueError with one line that says what is wrong.
    """

    aor: str
    password: str = field(default="", repr=False)
    server: str = ""
    transport: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "aor", address_of_record(self.aor))
        if self.transport and self.transport not in TRANSPORTS:
            raise ValueError(f"the transport {self.transport!r} is none of {', '.join(TRANSPORTS)}")
        try:
            named = parse_uri(f"sip:{self.server}") if self.server else None
        except SIPError as error:
            raise ValueError(f"{self.server!r} is not a server: {error.text}") from None
        if named is not None and (named.user or named.params or named.headers):
            raise ValueError(f"{self.server!r} is not a server; it looks like 127.0.0.1:5060")

    @property
    def uri(self) -> Uri:
        """The AOR, taken apart."""
        return parse_uri(self.aor)

    @property
    def user(self) -> str:
        """The user name, which is that of the credentials too."""
        return self.uri.user

    @property
    def domain(self) -> str:
        """The domain that serves the user."""
        return self.uri.host

    @property
    def next_hop(self) -> Uri:
        """Where requests outside of dialogs are sent."""
        uri = parse_uri(f"sip:{self.server or self.domain}")
        if self.transport:
            uri = uri.replace(params=(("transport", self.transport),))
        return uri
