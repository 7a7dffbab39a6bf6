"""``twistd simplestack``: the command line options, and the service that they make."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from twisted.application.service import MultiService, Service
from twisted.logger import Logger
from twisted.python import usage

from simplestack import __version__
from simplestack.app.clock import steady
from simplestack.app.settings import ROLE_NAMES, Settings, SettingsError, split_names
from simplestack.app.stack import Stack
from simplestack.interfaces import IRole
from simplestack.net.descriptors import raise_limit

__all__ = [
    "GC_THRESHOLDS",
    "Daemon",
    "Options",
    "makeService",
    "makeStack",
    "mistakes_told",
]

#: Objects made and not gone again before Python looks for cycles among them, and how often it
#: does that before it looks among the older ones, and the oldest.
GC_THRESHOLDS = (20_000, 100, 50)
#: The same while what the store holds is taken up: all of that stays, and to look through it again
#: and again would take longer than to read it.
_RESTORING = (20_000, 5, 1_000_000)


class Options(usage.Options):
    """The options of ``twistd simplestack``; each one's long form is in docs/operating."""

    synopsis = "[options]"
    longdesc = "Serves SIP presence: registrar, presence agent, reg-event, watcher-info and XCAP."

    optParameters = [
        [
            "xcap-root",
            None,
            "",
            "The XCAP root as clients see it, such as https://xcap.example.com/",
        ],
        [
            "store",
            "s",
            Settings.store,
            "Where state is kept: a SQLAlchemy URL of SQLite or PostgreSQL",
        ],
        ["control", None, Settings.control, "The UNIX socket that 'simplestack status' asks"],
        ["advertise", None, "", "The host in our Via and Contact, where it is not the interface's"],
        [
            "notify-interval",
            None,
            Settings.notify_interval,
            "Seconds between two NOTIFYs to those who see the same; 0 sends one for each change",
        ],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["domain"] = []
        self["listen"] = []
        self["xcap"] = []
        self["roles"] = []
        self["digest"] = []

    def opt_domain(self, name: str) -> None:
        """A domain to serve, repeatable; localhost where none is given"""
        self["domain"].append(name)

    opt_d = opt_domain

    def opt_listen(self, description: str) -> None:
        """Where SIP is served, repeatable: udp:5060:interface=192.0.2.1, tcp:…, tls:5061:privateKey=…:certKey=…"""
        self["listen"].append(description)

    opt_l = opt_listen

    def opt_xcap(self, description: str) -> None:
        """Where XCAP is served, repeatable: a Twisted endpoint such as tcp:8080:interface=192.0.2.1 or ssl:…"""
        self["xcap"].append(description)

    opt_x = opt_xcap

    def opt_roles(self, names: str) -> None:
        """Which roles to run, of registrar,presence,reg,winfo,xcap,lists; all where none is named"""
        self["roles"].append(names)

    def opt_digest(self, names: str) -> None:
        """Digest algorithms to offer, the preferred one first: SHA-512-256,SHA-256,MD5 where none is named; MD5 alone for phones that give up at the sight of another"""
        self["digest"].append(names)

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(f"simplestack {__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse; what is wrong is said in one line on stderr, and the exit status is 2."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            _leave(str(error))

    def parseArgs(self, *arguments: str) -> None:
        """Refuse what is not an option."""
        if arguments:
            raise usage.UsageError(
                f"{arguments[0]!r} is not an option; see twistd simplestack --help"
            )

    def postOptions(self) -> None:
        """Check the settings."""
        try:
            self.settings = self._settings()
        except SettingsError as error:
            raise usage.UsageError(str(error)) from None

    def _settings(self) -> Settings:
        return Settings(
            domains=tuple(self["domain"]) or Settings.domains,
            listen=tuple(self["listen"]) or Settings.listen,
            xcap=tuple(self["xcap"]) or Settings.xcap,
            xcap_root=self["xcap-root"],
            store=self["store"],
            roles=split_names(self["roles"]) if self["roles"] else ROLE_NAMES,
            control=self["control"],
            digest_algorithms=(
                split_names(self["digest"]) if self["digest"] else Settings.digest_algorithms
            ),
            advertise=self["advertise"],
            notify_interval=_whole("--notify-interval", self["notify-interval"]),
        )


def _whole(option: str, text: str | int) -> int:
    try:
        return int(text)
    except ValueError:
        raise SettingsError(
            f"{option} is {text!r}; it takes a whole number of seconds, such as 5"
        ) from None


def _leave(text: str) -> NoReturn:
    # Once twistd logs, sys.stderr is its log.
    stream = sys.__stderr__ or sys.stderr
    stream.write(f"simplestack: {text}\n")
    stream.flush()
    raise SystemExit(2)


@contextmanager
def mistakes_told() -> Iterator[None]:
    """End the program where something inside can't be used, with one line on stderr and status 2.

    For a .tac: what it says would end in a traceback otherwise.  TypeError and ValueError are
    what a misspelt setting and a bad value of a role raise.
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        place = error.__traceback__
        while place is not None and place.tb_frame.f_code.co_filename == __file__:
            place = place.tb_next
        if place is None:
            _leave(str(error))
        _leave(f"{place.tb_frame.f_code.co_filename}, line {place.tb_lineno}: {error}")


def makeStack(
    settings: Settings, roles: Sequence[IRole] | None = None, reactor: Any = None
) -> Stack:
    """The whole service as an ``IService``.

    ``roles`` are provided objects in place of those that ``settings.roles`` names.  ``reactor``
    is the global one where none is given.

    Raises SettingsError where an endpoint or a role can't be made.
    """
    if reactor is None:
        from twisted.internet import reactor
    return Stack(settings, reactor, roles)


class Daemon(MultiService):
    """A stack under ``twistd``: where it can't start, the process ends with one line on stderr and
    exit status 2.
    """

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self._reactor = stack.reactor
        self._stack = stack
        stack.settled = _settled
        self._connections = stack.settings.max_connections
        stack.setServiceParent(self)

    def privilegedStartService(self) -> None:
        """Open what needs privileges, and as many files as the connections need."""
        steady(self._reactor)
        raise_limit(self._connections)
        try:
            super().privilegedStartService()
        except SettingsError as error:
            _leave(str(error))

    def startService(self) -> None:
        """Begin to serve.

        Next to nothing here is in a cycle, and all that a request makes lives until its commit.
        Python's own thresholds have it look through all of that several times a request; these
        let what is finished go by itself first.  What is there already stays anyhow.
        """
        try:
            super().startService()
        except SettingsError as error:
            _leave(str(error))
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_RESTORING)
        self._reactor.callWhenRunning(stop_once, self._reactor)
        self._reactor.callWhenRunning(renew_on_hangup, self._reactor, self._stack.renew)


def _settled() -> None:
    """What is in memory stays: nobody looks through it for cycles from now on.

    With a hundred thousand users that takes more than a second, in which no request is answered,
    and finds nothing: what ends goes by itself.
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def stop_once(reactor: Any) -> None:
    """Let SIGTERM and SIGINT that come while a running reactor stops say that it does.

    Twisted stops again and logs the traceback of that.
    """
    log = Logger()
    stopping = False

    def again(number: int, frame: object) -> None:
        nonlocal stopping
        if stopping:
            reactor.callFromThread(log.info, "it stops already; only SIGKILL is faster")
        else:
            stopping = True
            first[number](number, frame)

    first: dict[int, Callable[[int, Any], object]] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler):
            first[number] = handler
            signal.signal(number, again)


def renew_on_hangup(reactor: Any, renew: Callable[[], object]) -> None:
    """Have SIGHUP renew the certificates, as an operator expects of a daemon.

    Where a terminal says so that it is gone, or nohup that it does not matter, it is left alone.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and not os.isatty(0):
        signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(renew))


def makeService(options: Options) -> Service:
    """The service for ``twistd``."""
    try:
        return Daemon(makeStack(options.settings))
    except SettingsError as error:
        _leave(str(error))
