"""The configuration of a run: a TOML file, and the same as options.

Every field is a key of its section in the file and an option of ``simplestack stone run``; what an
option says counts.  Durations are seconds, sizes octets, rates numbers per second.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from math import inf, isfinite
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from simplestack.stone.errors import ConfigurationError

__all__ = [
    "DISTRIBUTIONS",
    "SECTIONS",
    "TRANSPORTS",
    "Configuration",
    "Generator",
    "Load",
    "Report",
    "Server",
    "Users",
    "from_values",
    "options_of",
    "read_toml",
]

TRANSPORTS = ("udp", "tcp", "tls")
DISTRIBUTIONS = ("fixed", "zipf")
ALGORITHMS = ("", "SHA-512-256", "SHA-256", "MD5")

#: Operations per second that may be asked for: the clock does not tell more of them apart.
MOST = 1_000_000
#: What people call the types of values.
_KINDS = {
    bool: "truth value",
    int: "whole number",
    float: "number",
    str: "text",
    list: "list",
}
#: RFC 3261 §25.1: hostname and addresses, and what may stand before the @ of a SIP URI as it is.
_is_host = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]").fullmatch
_is_user = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]+").fullmatch


def field_of(default: Any, text: str) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Server:
    """The server under test."""

    host: str = field_of("127.0.0.1", "an address, or a name that has one")
    port: int = field_of(5060, "its port")
    transport: str = field_of("udp", "udp, tcp or tls")
    domain: str = field_of("localhost", "the domain of the users")
    ca: str = field_of("", "PEM file of authorities that its certificate must be of; empty: any")
    xcap: str = field_of(
        "", "XCAP root where presence rules are put before the run; empty: nowhere"
    )
    watch: list[str] = field_of(
        [],
        "processes whose CPU and memory are taken, with their children: numbers, or words of "
        "their command line",
    )


@dataclass(frozen=True)
class Users:
    """The users, who must exist at the server."""

    user: str = field_of("u{:06d}", "pattern of the user names, with their number")
    password: str = field_of("secret-{}", "pattern of the passwords, with the user's number")
    first: int = field_of(0, "number of the first")
    digest: bool = field_of(True, "answer challenges, and send credentials with a cached nonce")
    algorithm: str = field_of(
        "", "the only digest algorithm to answer with; empty: the first offered"
    )


@dataclass(frozen=True)
class Load:
    """What is done to the server."""

    scenario: str = field_of("fan-out", "which of the scenarios")
    presentities: int = field_of(100, "users who register and publish")
    watchers: int = field_of(100, "users who subscribe; they follow the presentities in number")
    mutual: bool = field_of(False, "the presentities are the watchers, too")
    watchers_each: float = field_of(10.0, "watchers of a presentity, on average")
    distribution: str = field_of("fixed", "of the watchers over the presentities: fixed or zipf")
    exponent: float = field_of(1.0, "of zipf: the r-th has 1/r^exponent of the first's watchers")
    rate: float = field_of(100.0, "operations per second; see the scenario for which")
    rates: list[float] = field_of([], "a ramp: one step for each of these, in place of rate")
    arrivals: str = field_of("even", "even, or poisson")
    warm: float = field_of(2.0, "seconds before counting begins, for each step")
    length: float = field_of(10.0, "seconds that are counted, for each step")
    limit: float = field_of(4.0, "seconds within which an answer, and a NOTIFY, must come")
    refresh: float = field_of(0.0, "part of the PUBLISHes that only refresh, from 0 to 1")
    body: int = field_of(350, "octets of a presence document, from 350")
    bodies: str = field_of("", "a directory of own documents, in place of ours")
    lists: bool = field_of(False, "a watcher subscribes to all of his by one list (RFC 5367)")
    expires: int = field_of(3600, "seconds that everything lives")
    connections: int = field_of(1, "sockets of a loader or handler; 0: one for each user")
    tls_reuse: bool = field_of(True, "sessions are resumed where a connection is made again")
    outage: float = field_of(10.0, "refresh storm: seconds in which all clients are back")
    seed: int = field_of(1, "of everything that is by chance")


@dataclass(frozen=True)
class Generator:
    """The processes that make the load."""

    loaders: int = field_of(1, "processes that register and publish")
    handlers: int = field_of(1, "processes that subscribe")
    remote: bool = field_of(False, "wait for loaders and handlers that are started elsewhere")
    listen: str = field_of("127.0.0.1:0", "where the controller waits for them")
    token: str = field_of("", "what they must know; empty: made up")
    calibrate: bool = field_of(True, "measure the generator against its own sink first")
    clean: bool = field_of(True, "take back at the end what was published and subscribed to")
    in_flight: int = field_of(20000, "requests that a process has under way at most")
    window: int = field_of(32, "requests under way while a process prepares")


@dataclass(frozen=True)
class Report:
    """What is left of the run."""

    json: str = field_of("", "file for everything that was measured")
    html: str = field_of("", "file for the report with plots")
    title: str = field_of("", "what the report is called")


@dataclass(frozen=True)
class Configuration:
    """A whole run."""

    server: Server = field(default_factory=Server)
    users: Users = field(default_factory=Users)
    load: Load = field(default_factory=Load)
    generator: Generator = field(default_factory=Generator)
    report: Report = field(default_factory=Report)

    def values(self) -> dict[str, dict[str, Any]]:
        """What JSON can carry; ``from_values`` reads it."""
        return asdict(self)


SECTIONS: dict[str, type] = {
    "server": Server,
    "users": Users,
    "load": Load,
    "generator": Generator,
    "report": Report,
}


def options_of(section: type) -> Iterator[tuple[Field[Any], type]]:
    """The fields of a section, each with the type of its values: a list is ``list``."""
    hints = get_type_hints(section)
    for each in fields(section):
        hint = hints[each.name]
        yield each, list if getattr(hint, "__origin__", None) is list else hint


def _converted(name: str, value: Any, default: Any, kind: type) -> Any:
    """A value as the field wants it; raises ConfigurationError."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is list and isinstance(value, list):
        if name == "load.rates":
            if all(isinstance(each, int | float) and 0 < each < inf for each in value):
                return [float(each) for each in value]
        elif all(isinstance(each, str | int) for each in value):
            return [str(each) for each in value]
        raise ConfigurationError(f"{name}: {value!r} has something that can't be in it")
    if type(value) is kind:
        if isinstance(value, float) and not isfinite(value):
            raise ConfigurationError(f"{name}: {value!r} is no number to count with")
        return value
    raise ConfigurationError(
        f"{name}: {value!r} is no {_KINDS[kind]}"
        + (f", as {default!r} would be" if kind is not list else "")
    )


def from_values(values: Mapping[str, Mapping[str, Any]]) -> Configuration:
    """A configuration of sections and their keys.  Raises ConfigurationError."""
    made: dict[str, Any] = {}
    for name, given in values.items():
        section = SECTIONS.get(name)
        if section is not None and not isinstance(given, Mapping):
            raise ConfigurationError(f"{name}: {given!r} is no section, as [{name}] would be")
        if section is None:
            raise ConfigurationError(
                f"there is no section [{name}]; there are {', '.join(SECTIONS)}"
            )
        known = {each.name: (each, kind) for each, kind in options_of(section)}
        taken = {}
        for key, value in given.items():
            if key not in known:
                raise ConfigurationError(f"[{name}] has no {key!r}; it has {', '.join(known)}")
            each, kind = known[key]
            taken[key] = _converted(f"{name}.{key}", value, each.default, kind)
        made[name] = section(**taken)
    configuration = Configuration(**made)
    check(configuration)
    return configuration


def read_toml(text: str) -> dict[str, dict[str, Any]]:
    """The values of a TOML file, for ``from_values``.  Raises ConfigurationError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"no TOML: {error}") from None


def check(configuration: Configuration) -> None:
    """Raise ConfigurationError for what can't be run."""
    # Here, because scenarios know the configuration.
    from simplestack.stone.scenarios import SCENARIOS
    from simplestack.stone.tally import SUBSCRIBE

    server, users, load, generator = (
        configuration.server,
        configuration.users,
        configuration.load,
        configuration.generator,
    )
    _one_of("server.transport", server.transport, TRANSPORTS)
    _one_of("users.algorithm", users.algorithm, ALGORITHMS)
    _one_of("load.scenario", load.scenario, tuple(SCENARIOS))
    _one_of("load.distribution", load.distribution, DISTRIBUTIONS)
    _one_of("load.arrivals", load.arrivals, ("even", "poisson"))
    for name, pattern in (("user", users.user), ("password", users.password)):
        try:
            pattern.format(1)
        except (ValueError, IndexError, KeyError, AttributeError) as error:
            raise ConfigurationError(f"users.{name}: {pattern!r} is no pattern: {error}") from None
    if not _is_user(users.user.format(1)):
        raise ConfigurationError(f"users.user: {users.user!r} makes no user names of SIP URIs")
    if not _is_host(server.domain):
        raise ConfigurationError(f"server.domain: {server.domain!r} is no domain")
    if server.xcap and not _is_root(server.xcap):
        raise ConfigurationError(f"server.xcap: {server.xcap!r} is no URL of http or https")
    if users.user.format(1) == users.user.format(2):
        raise ConfigurationError(f"users.user: {users.user!r} names all users alike")
    for name, number, least in (
        ("server.port", server.port, 1),
        ("load.presentities", load.presentities, 1),
        ("load.watchers", load.watchers, 0),
        ("load.watchers_each", load.watchers_each, 0),
        ("load.exponent", load.exponent, 0),
        ("load.rate", load.rate, 1e-6),
        ("load.warm", load.warm, 0),
        ("load.length", load.length, 0.1),
        ("load.limit", load.limit, 0.01),
        ("load.refresh", load.refresh, 0),
        ("load.body", load.body, 350),
        ("load.expires", load.expires, 1),
        ("load.connections", load.connections, 0),
        ("load.outage", load.outage, 0.1),
        ("generator.loaders", generator.loaders, 1),
        ("generator.handlers", generator.handlers, 0),
        ("generator.in_flight", generator.in_flight, 1),
        ("generator.window", generator.window, 1),
    ):
        if number < least:
            raise ConfigurationError(f"{name}: {number} is less than {least}")
    for name, number, most in (
        ("server.port", server.port, 65535),
        ("load.refresh", load.refresh, 1),
        # The marks of documents count presentities by eight hexadecimal digits.
        ("load.presentities", load.presentities, 2**31),
        ("load.rate", load.rate, MOST),
        ("load.rates", max(load.rates, default=0), MOST),
    ):
        if number > most:
            raise ConfigurationError(f"{name}: {number} is more than {most}")
    if not all(each.strip() for each in server.watch):
        raise ConfigurationError("server.watch: nothing is in the command line of every process")
    subscribed = SUBSCRIBE in SCENARIOS[load.scenario].kinds + SCENARIOS[load.scenario].prepared
    population = load.presentities - 1 if load.mutual else load.watchers
    if subscribed and load.watchers_each > population:
        raise ConfigurationError(
            f"load.watchers_each: {load.watchers_each:g} is more than there are others, {population}"
        )
    if subscribed and load.watchers_each and not generator.handlers:
        raise ConfigurationError(
            f"generator.handlers: somebody must subscribe where load.scenario is {load.scenario}"
        )
    if generator.loaders + generator.handlers > 255:
        raise ConfigurationError("generator: there are at most 255 loaders and handlers")


def _is_root(url: str) -> bool:
    try:
        root = urlsplit(url)
        return root.scheme in ("http", "https") and bool(root.hostname) and root.port != 0
    except ValueError:
        return False


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        listed = ", ".join(each or '""' for each in allowed)
        raise ConfigurationError(f"{name}: {value!r} is none of {listed}")
