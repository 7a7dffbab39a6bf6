"""A server that holds what a row goes out from, and the measuring of it."""

import gc
import random
import shlex
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.account import Account
from tests.bench.figures import Figures, Plan, Row
from tests.bench.load import Load, LoadError, Operation, Sockets
from tests.bench.messages import options as options_request
from tests.bench.operations import Publish, Register, Subscribe
from tests.bench.provision import create_users, emptied, put_rules
from tests.bench.served import Served, ServerError, machine_busy, twistd
from tests.bench.streams import Streams
from tests.net.doubles import Authority

__all__ = [
    "DOMAIN",
    "accounts_of",
    "directory_of",
    "free_port",
    "measure",
    "open_server",
    "prepared",
    "running",
    "sockets_made",
    "subscribing",
]

DOMAIN = "bench.example"


def accounts_of(plan: Plan) -> list[Account]:
    """The users of a run, without nonces."""
    return [
        Account(at, f"u{at:05d}", DOMAIN, f"secret-{at}", plan.algorithm)
        for at in range(plan.users)
    ]


def free_port() -> int:
    """A port that neither UDP nor TCP uses on the loopback interface now.

    It is below those that the system gives to sockets that want any port.
    """
    while True:
        port = random.randrange(10_240, 32_768)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        ):
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _wait_until_up(
    served: Served, sockets: Sockets, drain: bool = True, limit: float = 60.0
) -> None:
    end = time.monotonic() + limit
    attempt = 0
    while time.monotonic() < end:
        served.check()
        sockets.request(options_request(DOMAIN, sockets.hosts, b"%08x" % (0xF0000000 + attempt)))
        attempt += 1
        if sockets.read(0.2)[0]:
            break
        # A port that nobody listens on answers at once, with an ICMP error.
        time.sleep(0.05)
    else:
        raise ServerError(f"no answer to OPTIONS within {limit:.0f} s:\n{served.said()}")
    while drain and any(sockets.read(0.3)):
        pass


@contextmanager
def running(
    plan: Plan,
    command: list[str],
    directory: Path,
    port: int,
    sockets: Sockets,
    drain: bool = True,
) -> Iterator[Served]:
    """A server that this command starts, up; its last words are added to what goes wrong.

    ``drain`` waits until nothing more comes from it, which is not to be where it has watchers.
    """
    served = Served(command, directory, port, plan.server_cpus)
    try:
        sockets.connect(port)
        _wait_until_up(served, sockets, drain)
        yield served
    except LoadError as error:
        served.check()
        raise LoadError(f"{error}\n{served.said()}") from error
    finally:
        served.stop()


@contextmanager
def directory_of(keep: bool) -> Iterator[Path]:
    """A new directory, removed at the end where it is not to be kept."""
    path = Path(tempfile.mkdtemp(prefix="simplestack-bench-"))
    try:
        yield path
    finally:
        if not keep:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def sockets_made() -> Iterator[Sockets]:
    """The sockets of a run over UDP, closed at the end."""
    sockets = Sockets()
    try:
        yield sockets
    finally:
        sockets.close()


def measure(
    plan: Plan, load: Load, operation: Operation, window: int, served: Served, profile: Path | None
) -> Figures:
    """Warm up, and take the figures of as many operations as fit the time."""
    load.sustain(operation, window, plan.warm)
    load.failures.clear()
    names = ("done", "notified", "lost", "repeated", "strays", "challenged")
    before = [getattr(load, name) for name in names]
    gc.collect()
    gc.disable()
    if profile is not None:
        served.profile(True)
    dropped, machine = served.dropped(served.port), machine_busy()
    wall, own, cpu = time.monotonic(), time.process_time(), served.cpu()
    try:
        load.sustain(operation, window, plan.seconds)
    finally:
        gc.enable()
    cpu, own, wall = served.cpu() - cpu, time.process_time() - own, time.monotonic() - wall
    machine = machine_busy() - machine
    dropped = served.dropped(served.port) - dropped
    after = [getattr(load, name) for name in names]
    done, notified, lost, repeated, strays, challenged = (
        b - a for a, b in zip(before, after, strict=True)
    )
    if profile is not None:
        served.profile(False)
    load.drain(operation, 3.0)
    if not done:
        raise LoadError("no operation was finished while measuring")
    return Figures(
        operations=done,
        seconds=wall,
        server_us=cpu / 1000 / done,
        generator_us=own * 1e6 / done,
        server_busy=cpu / 1e9 / wall,
        generator_busy=own / wall,
        others_busy=max(0.0, (machine - own - cpu / 1e9) / wall),
        notifications=notified,
        lost=lost,
        dropped=dropped,
        repeated=repeated,
        strays=strays,
        challenged=challenged,
        failures=dict(load.failures),
        algorithm="",
        window=window,
    )


def subscribing(
    load: Load, publish: Publish, accounts: list[Account], channel: Sockets | Streams
) -> Subscribe:
    """SUBSCRIBEs of all accounts to those who publish."""
    return Subscribe(
        load.dialogs, publish.targets, accounts, channel.hosts, channel.contacts, channel.token
    )


#: A server where nobody needs rules, and where nonces last as long as the run.
_TAC = """\
from twisted.application.service import Application

from simplestack.app.settings import Settings
from simplestack.app.tap import Daemon, makeStack

application = Application("simplestack")
settings = Settings(
    default_handling="allow",
    notify_interval=0,
    nonce_lifetime=7200,
    max_nonces=1_000_000,
    restart_window={window!r},
    **{settings!r},
)
Daemon(makeStack(settings)).setServiceParent(application)
"""


def open_server(
    directory: Path,
    store: str,
    listen: list[str],
    xcap: int,
    profile: Path | None = None,
    window: int = 10,
) -> list[str]:
    """The command of a server that lets everybody watch whoever has no rules.

    After a restart all watchers are told within ``window`` seconds.
    """
    settings = {
        "domains": [DOMAIN],
        "store": store,
        "listen": listen,
        "xcap": [f"tcp:{xcap}:interface=127.0.0.1"],
    }
    (directory / "open.tac").write_text(_TAC.format(settings=settings, window=window))
    return twistd(["-y", "open.tac"], profile)


def _command(
    directory: Path, store: str, listen: list[str], xcap: int, profile: Path | None, rules: int
) -> list[str]:
    if rules != 2:
        return open_server(directory, store, listen, xcap, profile)
    # Every change is told, so that the NOTIFYs of each PUBLISH can be counted.
    arguments = ["simplestack", "--domain", DOMAIN, "--store", store, "--notify-interval", "0"]
    for place in listen:
        arguments += ["--listen", place]
    return twistd([*arguments, "--xcap", f"tcp:{xcap}:interface=127.0.0.1"], profile)


def _listen(directory: Path, port: int, transport: str, stream: int) -> list[str]:
    """Where the server listens: UDP always, and the transport of the row."""
    listen = [f"udp:{port}:interface=127.0.0.1"]
    if transport == "tcp":
        listen.append(f"tcp:{stream}:interface=127.0.0.1")
    elif transport == "tls":
        key, certificate = Authority(str(directory)).issue("localhost")
        listen.append(f"tls:{stream}:interface=127.0.0.1:privateKey={key}:certKey={certificate}")
    return listen


@contextmanager
def prepared(
    plan: Plan, row: Row, profile: Path | None = None, rules: int = 2, transport: str = "udp"
) -> Iterator[tuple[Served, Load, Operation, list[Account]]]:
    """The row's server, with everything in it that the row goes out from.

    Each presentity has so many ``rules``: 2, 20 or none, on a server that lets everybody watch.
    Over TCP and TLS each user has a connection of his own.
    """
    with directory_of(plan.keep) as directory, sockets_made() as sockets, ExitStack() as closing:
        accounts = accounts_of(plan)
        store = plan.store or f"sqlite:///{directory / 'simplestack.db'}"
        port, xcap, stream = free_port(), free_port(), free_port()
        if plan.server_command:
            command = shlex.split(
                plan.server_command.format(port=port, xcap=xcap, store=store, domain=DOMAIN)
            )
        else:
            listen = _listen(directory, port, transport, stream)
            command = _command(directory, store, listen, xcap, profile, rules)
        with emptied(plan.store):
            if plan.create_users:
                create_users(store, accounts)
            with running(plan, command, directory, port, sockets) as served:
                channel: Sockets | Streams = sockets
                if transport != "udp":
                    channel = Streams(stream, transport, len(accounts))
                    closing.callback(channel.close)
                load = Load(channel)
                window = min(row.window, 50)
                served.xcap = xcap
                register = Register(accounts, channel.hosts, channel.token)
                if row.method == "XCAP":
                    yield served, load, register, accounts
                    return
                if row.method == "REGISTER":
                    load.perform(register, window, len(accounts), 60 + len(accounts) / 500)
                    yield served, load, register, accounts
                    return
                owners = accounts[: row.presentities]
                if plan.put_rules and rules:
                    many = [account.username for account in accounts] if rules == 20 else None
                    put_rules(xcap, owners, many)
                publish = Publish(owners, channel.hosts, channel.token)
                limit = 60 + len(owners) * (1 + row.watchers) / 500
                load.perform(publish, window, len(owners), limit)
                subscribe = subscribing(load, publish, accounts, channel)
                if row.method == "PUBLISH":
                    load.perform(subscribe, window, len(owners) * row.watchers, limit)
                    yield served, load, publish, accounts
                else:
                    # Every watcher gets his nonce before anything is measured.
                    rounds = -(-len(accounts) // len(owners))
                    load.perform(subscribe, window, len(owners) * rounds, limit)
                    yield served, load, subscribe, accounts
