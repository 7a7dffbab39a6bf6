"""Every setting of the service, its default, and the checks that it must pass."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Self

from simplestack.sip.digest import ALGORITHMS

__all__ = ["ROLE_NAMES", "Settings", "SettingsError"]

#: The roles in the order in which they are shown.
ROLE_NAMES = ("registrar", "presence", "reg", "winfo", "xcap", "lists")


class SettingsError(ValueError):
    """A setting that can't be used; its text says what is wrong and what to do."""


@dataclass(frozen=True)
class Settings:
    """What an operator can choose.  Durations are seconds, sizes are octets.

    Each field is described in ``docs/operating/settings.md`` by its name here.
    """

    #: The SIP domains that are served, lower case; the first is the default of the commands.
    domains: Sequence[str] = ("localhost",)
    #: Where SIP is served.
    listen: Sequence[str] = ("udp:5060:interface=127.0.0.1", "tcp:5060:interface=127.0.0.1")
    #: Where XCAP is served: Twisted endpoint strings.
    xcap: Sequence[str] = ("tcp:8080:interface=127.0.0.1",)
    #: The XCAP root as clients see it; "" is derived from the first endpoint.
    xcap_root: str = ""
    #: Where users come from: "store", or the name of a plug-in.
    credentials: str = "store"
    #: A SQLAlchemy URL.
    store: str = "sqlite:///simplestack.db"
    #: The roles to run.
    roles: Sequence[str] = ROLE_NAMES
    #: The UNIX socket that ``simplestack status`` asks; "" for none.
    control: str = "simplestack.control"
    #: The host in our Via and Contact, where it is not the interface address.
    advertise: str = ""

    # Registrar (RFC 3261 §10.3)
    register_min_expires: int = 60
    register_default_expires: int = 3600
    register_max_expires: int = 86400
    max_contacts: int = 10
    #: Identities that may register any AOR of the domains (RFC 3261 §10.3 step 3).
    registrars: Sequence[str] = ()

    # Publications (RFC 3903)
    publish_min_expires: int = 60
    publish_default_expires: int = 3600
    publish_max_expires: int = 86400
    max_publications: int = 16
    max_publication_size: int = 32768

    # Subscriptions (RFC 6665)
    subscribe_min_expires: int = 60
    subscribe_max_expires: int = 86400
    max_subscriptions: int = 5000
    max_subscriptions_per_watcher: int = 30
    #: How long a watcher that went away unanswered is remembered as waiting (RFC 3857 §4.7.1).
    waiting_time: int = 604800
    max_waiting: int = 100
    #: The shortest time between two NOTIFYs of what the same watchers see, after an immediate
    #: first; 0 sends one for each change (RFC 3856 §6.10).
    notify_interval: int = 5

    # Presence (RFC 3856)
    #: Whether a registered user without publications is open.
    registration_is_presence: bool = True
    #: What a watcher gets where the presentity has no rules: confirm, allow, block, polite-block.
    default_handling: str = "confirm"
    #: The composition policy, by its plug-in name.
    composition: str = "union"
    #: Domains that are composed by another one: ``example.com=most-recent``.
    domain_composition: Sequence[str] = ()
    #: Whether users choose a policy in their preferences.
    user_composition: bool = True
    #: A publication that has said nothing new for so long is not shown; 0 shows it to its end.
    stale_after: int = 0
    #: Who decides what watchers see, by its plug-in name.
    authorization: str = "pres-rules"
    #: Identities that may publish for anybody.
    publishers: Sequence[str] = ()
    #: A file of rules for who may publish what of whose state; "" for none.
    publisher_rules: str = ""
    #: What becomes of what a publisher may not say: drop or refuse.
    publisher_excess: str = "drop"
    #: Presence sources: ``NAME=ARGUMENT``, such as ``calendar=/etc/simplestack/calendars``.
    sources: Sequence[str] = ()

    # Registration information (RFC 3680)
    #: Identities besides the user himself who may watch anybody's registrations.
    reg_watchers: Sequence[str] = ()

    # XCAP (RFC 4825)
    max_document_size: int = 262144
    max_documents: int = 32
    #: AORs that may read and write all documents, the global ones too.
    xcap_admins: Sequence[str] = ()
    #: Origins of web pages whose scripts may use XCAP; none turns CORS off.
    xcap_origins: Sequence[str] = ()

    # Resource lists (RFC 4662)
    #: Seconds between two NOTIFYs of a list.
    list_interval: int = 1
    max_list_entries: int = 500
    #: Octets of the body of one NOTIFY of a list; 0 for any number.
    max_list_body: int = 16_384
    #: The operator's lists: ``URI=FILE``, such as ``sip:team@example.com=/etc/simplestack/team.xml``.
    lists: Sequence[str] = ()
    #: Whether lists show resources of other domains, by subscriptions of ours there.
    list_remote: bool = True
    max_list_remote: int = 10_000
    #: Credentials of this server at other domains: ``example.net=user:password``.
    list_credentials: Sequence[str] = ()
    #: XCAP roots of other servers, such as ``https://xcap.example.net/``, whose lists may be
    #: referred to; others are never asked.
    list_external: Sequence[str] = ()
    #: Domains that take our word for who watches (RFC 3325).
    list_trusted: Sequence[str] = ()

    # Authentication (RFC 7616, RFC 8760)
    #: Identities of resource list servers of other domains, whose From is believed.
    list_servers: Sequence[str] = ()
    #: The Digest algorithms that are offered and accepted, the preferred one first.
    digest_algorithms: Sequence[str] = ALGORITHMS
    nonce_lifetime: int = 300
    max_nonces: int = 100_000

    # Identities by the word of others (RFC 3325, RFC 8224)
    #: Addresses and networks whose P-Asserted-Identity is believed: ``192.0.2.7``, ``udp:10.0.0.0/8``.
    trusted_peers: Sequence[str] = ()
    #: A file of the keys that other domains sign with; "" for none.
    identity_keys: str = ""
    #: A file of the keys that this server signs with, for its domains; "" for none.
    identity_signing: str = ""
    #: Domains whose SUBSCRIBE requests must be signed.
    identity_required: Sequence[str] = ()

    # Transport and load
    max_connections: int = 20_000
    #: Of these, accepted from one address; more behind a proxy or a carrier's NAT.
    max_connections_per_address: int = 1_000
    #: Connections for XCAP from one address; behind a reverse proxy as many as ``max_connections``.
    max_xcap_connections_per_address: int = 1_000
    connection_idle: int = 3900
    max_transactions: int = 200_000
    #: The time over which full state goes out after a restart.
    restart_window: int = 10
    #: How long an AOR without live subscriptions stays in memory after its last use.
    resident_idle: int = 600

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(
                self, field.name, _taken(field.name, field.default, getattr(self, field.name))
            )
        object.__setattr__(self, "domains", tuple(_domain(name) for name in self.domains))
        if not self.domains:
            raise SettingsError("no domain is served; name one with --domain example.com")
        if not self.roles:
            raise SettingsError("no role is left; --roles takes " + ",".join(ROLE_NAMES))
        for role in self.roles:
            if role not in ROLE_NAMES:
                raise SettingsError(
                    f"there is no role {role!r}; --roles takes {','.join(ROLE_NAMES)}"
                )
        if not self.digest_algorithms or not set(self.digest_algorithms) <= set(ALGORITHMS):
            raise SettingsError(
                f"the Digest algorithms are {','.join(self.digest_algorithms)!r};"
                f" --digest takes one or more of {','.join(ALGORITHMS)}"
            )
        if self.default_handling not in ("confirm", "allow", "block", "polite-block"):
            raise SettingsError(
                f"default_handling is {self.default_handling!r};"
                " it takes confirm, allow, block or polite-block"
            )
        if self.publisher_excess not in ("drop", "refuse"):
            raise SettingsError(
                f"publisher_excess is {self.publisher_excess!r}; it takes drop or refuse"
            )
        if self.identity_required and not self.identity_keys:
            raise SettingsError("identity_required needs the keys in identity_keys")
        for name in ("register", "publish", "subscribe"):
            low = getattr(self, f"{name}_min_expires")
            high = getattr(self, f"{name}_max_expires")
            # RFC 3261 §10.3 step 7 and RFC 6665 §4.2.1.1: 423 is for less than an hour only.
            if not 0 < low <= 3600 or high < 3600:
                raise SettingsError(
                    f"{name}_min_expires takes 1 to 3600 and {name}_max_expires 3600 or more"
                )
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is int and value < 0:
                raise SettingsError(f"{field.name} is {value}; it can't be negative")
        if self.xcap_root and not self.xcap_root.startswith(("http://", "https://")):
            raise SettingsError(f"the XCAP root {self.xcap_root!r} is not an http: or https: URL")

    def replace(self, **changes: object) -> Self:
        """These settings with some of them changed."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return type(self)(**(values | changes))


def _taken(name: str, default: object, value: object) -> object:
    """A value as it is kept, of the type of its default; SettingsError where it is of another."""
    if isinstance(default, tuple):
        # A text is a sequence, too, and would be taken letter by letter.
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise SettingsError(f"{name} is {value!r}; it takes a list, such as [{value!r}]")
        for each in value:
            if not isinstance(each, str):
                raise SettingsError(f"{name} has {each!r} in it; it takes a list of texts")
        return tuple(value)
    for kind, words in ((bool, "True or False"), (int, "a whole number"), (str, "a text")):
        if isinstance(default, kind):
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
                raise SettingsError(f"{name} is {value!r}; it takes {words}")
            break
    return value


def _domain(name: str) -> str:
    text = name.strip().lower()
    if not text or any(character in text for character in " /@;?<>\"'"):
        raise SettingsError(f"{name!r} is not a domain; it looks like example.com")
    if not text.isascii():
        try:
            ascii_name = text.encode("idna").decode("ascii")
        except UnicodeError:
            raise SettingsError(f"{name!r} is not a domain; it looks like example.com") from None
        raise SettingsError(
            f"{name!r} is not a domain as SIP writes it (RFC 3261 §25.1); write {ascii_name}"
        )
    return text


def split_names(values: Iterable[str]) -> tuple[str, ...]:
    """Names that were given comma-separated, in several options, or both."""
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())
