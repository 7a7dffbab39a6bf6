"""A server that a benchmark starts: with which settings, on which ports, until when."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.account import DOMAIN
from tests.bench.figures import Plan
from tests.bench.load import LoadError, Sockets
from tests.bench.messages import options as options_request
from tests.bench.served import Served, ServerError, twistd

__all__ = [
    "directory_of",
    "open_server",
    "running",
    "sockets_made",
    "started",
    "telling_server",
]


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
def started(
    command: list[str], directory: Path, port: int, cpus: set[int] | None
) -> Iterator[Served]:
    """A server that this command starts; its last words are added to what goes wrong."""
    served = Served(command, directory, port, cpus)
    try:
        yield served
    except LoadError as error:
        served.check()
        raise LoadError(f"{error}\n{served.said()}") from error
    finally:
        served.stop()


@contextmanager
def running(
    plan: Plan,
    command: list[str],
    directory: Path,
    port: int,
    sockets: Sockets,
    drain: bool = True,
) -> Iterator[Served]:
    """The same, up: it answers by UDP.

    ``drain`` waits until nothing more comes from it, which is not to be where it has watchers.
    """
    with started(command, directory, port, plan.server_cpus) as served:
        sockets.connect(port)
        _wait_until_up(served, sockets, drain)
        yield served


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


def telling_server(
    store: str, listen: list[str], xcap: int, profile: Path | None = None
) -> list[str]:
    """The command of a server that tells every change, so that what it tells can be counted."""
    arguments = ["simplestack", "--domain", DOMAIN, "--store", store, "--notify-interval", "0"]
    for place in listen:
        arguments += ["--listen", place]
    return twistd([*arguments, "--xcap", f"tcp:{xcap}:interface=127.0.0.1"], profile)
