"""The assembly: settings and roles in, one running service out."""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import (
    Deferred,
    gatherResults,
    inlineCallbacks,
    maybeDeferred,
    succeed,
)
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from simplestack import __version__
from simplestack.app.bindings import Bindings
from simplestack.app.clock import SteadyClock
from simplestack.app.control import ControlFactory
from simplestack.app.control import listen as listen_control
from simplestack.app.core import Clocks, Core
from simplestack.app.explaining import Explaining
from simplestack.app.plugins import credential_source, make_roles
from simplestack.app.restoring import Restoring
from simplestack.app.settings import Settings, SettingsError
from simplestack.app.sources import Sources, make_sources
from simplestack.interfaces import IRole
from simplestack.net.connections import StreamLimits
from simplestack.net.descriptors import RESERVE, room
from simplestack.net.endpoints import parse_listen
from simplestack.net.fetch import Fetcher
from simplestack.net.network import ListenError, Network, listening_advice
from simplestack.net.renewal import RenewableEndpoint
from simplestack.sip.memory import make_room
from simplestack.store.credentials import CredentialTable
from simplestack.store.errors import StoreError
from simplestack.store.sql import SQLStore

__all__ = ["Stack"]

T = TypeVar("T")

#: How often the credential source is asked whether it has changed, in seconds.
CREDENTIALS_INTERVAL = 0.5
#: So many times the users of before, and so many more, are much more.
_GROWTH, _FEW = 1.2, 500


class Stack(Service):
    """The whole service: an ``IService`` for ``twistd`` or for any other program.

    Nothing happens before ``privilegedStartService``, which opens the listeners, and
    ``startService``, which opens the store.  Both raise SettingsError where they can't.
    """

    log = Logger()
    #: Seconds until the store is opened and read again, where that failed at the start.
    retry = 5.0

    def __init__(
        self, settings: Settings, reactor: Any, roles: Sequence[IRole] | None = None
    ) -> None:
        self.settings = settings
        self.reactor = reactor
        self.roles: Sequence[IRole] = make_roles(settings) if roles is None else roles
        self._loops: list[LoopingCall] = []
        self._wakes: list[Any] = []
        self._restoring: Restoring | None = None
        #: Called when what the store held has been taken up, and when there is much more in memory
        #: than before, which stays.
        self.settled: Callable[[], object] = lambda: None
        # Users in memory when it was called last.
        self._settled = 0
        #: What goes on at once.
        self._slices: list[Any] = []
        self._places: list[str] = []
        #: Where XCAP is served, as URLs.
        self._roots: list[str] = []
        self._control: Any = None
        self._sites: list[Any] = []
        self._renewable: list[tuple[str, RenewableEndpoint]] = []
        self._ready: Deferred[Any] = succeed(None)
        self._started = 0.0

        try:
            self.store = SQLStore(settings.store, reactor)
            listen = [parse_listen(text) for text in settings.listen]
        except (StoreError, ValueError) as error:
            raise SettingsError(str(error)) from None
        self.clock = SteadyClock()
        self.core = Core(
            settings,
            self.roles,
            self.store,
            credential_source(settings, self.store),
            Clocks(self.clock.now, time.monotonic),
        )
        self.network = Network(
            reactor,
            self.core.layer,
            [spec._replace(advertise=spec.advertise or settings.advertise) for spec in listen],
            stream_limits=StreamLimits(
                total=settings.max_connections,
                per_address=settings.max_connections_per_address,
                idle=settings.connection_idle,
            ),
        )
        self.core.connect(self.network)
        if self.core.lists is not None and self.core.lists.role.external:
            self.core.lists.directory.fetcher = Fetcher(reactor)
        self.sources = Sources(
            make_sources(settings.sources, reactor),
            self.core.turns,
            self.core.authenticator,
            self.core.identifiers,
        )

    def privilegedStartService(self) -> None:
        """Open the listeners, while that is still allowed.

        Raises SettingsError, whose text says what to do.
        """
        super().privilegedStartService()
        self._fit_descriptors()
        with self._mistakes():
            self._places = [str(place) for place in _result(self.network.start())]
            self._listen_for_xcap()

    def _fit_descriptors(self) -> None:
        """Let in no more connections than there are file descriptors for."""
        wanted = self.settings.max_connections
        fitting = room(wanted)
        connections = self.network.connections
        connections.limits = connections.limits._replace(total=fitting)
        if fitting < wanted:
            self.log.warn(
                "{fitting} connections are let in and not {wanted}, max_connections: the limit on"
                " open files is too low; raise LimitNOFILE= or ulimit -n to {needed}",
                fitting=fitting,
                wanted=wanted,
                needed=wanted + RESERVE,
            )

    @contextmanager
    def _mistakes(self) -> Iterator[None]:
        """Make what goes wrong at the start a SettingsError, and listen no more."""
        try:
            yield
        except (StoreError, ListenError, CannotListenError, SettingsError) as error:
            self._stop_listening()
            raise SettingsError(str(error)) from None

    def renew(self) -> None:
        """Read the certificates again, for the connections to come; those that are open go on.

        One that can't be read, or can't serve, is told in the log, and the one of before stays.
        """
        readers: list[tuple[str, Callable[[], object]]] = []
        if any(spec.transport == "tls" for spec in self.network.listen):
            readers.append(("SIP", self.network.reload))
        readers += [
            (f"XCAP on {text}", endpoint.renew)
            for text, endpoint in self._renewable
            if endpoint.renewable
        ]
        if not readers:
            self.log.info("there are no certificates to be read again")
        for what, read in readers:
            try:
                read()
            except Exception as error:
                self.log.critical(
                    "the certificate for {what} can't be read again, that of before stays: {reason}",
                    what=what,
                    reason=str(error) or type(error).__name__,
                )
            else:
                self.log.info("certificates for {what} were read again", what=what)

    @property
    def xcap_resource(self) -> IResource | None:
        """The XCAP root, to be mounted in a site of your own; None without the role."""
        return None if self.core.xcap is None else self.core.xcap.resource

    def _listen_for_xcap(self) -> None:
        self._sites, self._roots, self._renewable = [], [], []
        if self.core.xcap is None:
            return
        for text in self.settings.xcap:
            try:
                renewable = RenewableEndpoint(self.reactor, text)
                site = self.core.xcap.make_site(
                    self.reactor,
                    self.settings.max_connections,
                    self.settings.max_xcap_connections_per_address,
                )
                port = _result(renewable.endpoint.listen(site))
                self._sites.append(port)
                self._renewable.append((text, renewable))
                self._roots.append(shown(text, port.getHost()))
            except CannotListenError as error:
                raise SettingsError(
                    f"can't serve XCAP on {text}: {listening_advice(error, 'tcp:8090')}"
                ) from None
            except FileNotFoundError as error:
                raise SettingsError(
                    f"can't serve XCAP on {text}: the file {error.filename} is not there"
                ) from None
            except Exception as error:
                # Where an IPv6 address is split, Twisted says so of its own functions.
                why = "write a colon in a value as \\:" if isinstance(error, TypeError) else error
                raise SettingsError(
                    f"{text!r} is not an endpoint to serve XCAP on, such as"
                    f" tcp:8080:interface=127.0.0.1: {why}"
                ) from None

    def startService(self) -> None:
        """Begin to serve, and take up what the store holds.

        Raises SettingsError, whose text says what to do.
        """
        # Files are made here, by the user that the service runs as, and no sooner.
        with self._mistakes():
            # Made and brought up to date while a mistake still ends the program.
            CredentialTable(self.settings.store).exists("", "")
            if self.settings.control:
                self._control = listen_control(
                    self.reactor,
                    self.settings.control,
                    ControlFactory(
                        self.status,
                        explain=Explaining(self.core).answer,
                        binding=Bindings(self.core).answer,
                    ),
                )
        super().startService()
        self._started = time.monotonic()
        self.core.turns.later = self._later
        self.store.on_failure = self.core.turns.distrust
        self._open_store()
        # Before anything is loaded, so that no removal of after that is missed.
        self._refresh_credentials()
        for interval, act in (
            (1.0, self._tick),
            (CREDENTIALS_INTERVAL, self._refresh_credentials),
            (60.0, self.core.residents.sweep),
        ):
            loop = LoopingCall(act)
            loop.clock = self.reactor
            loop.start(interval, now=False)
            self._loops.append(loop)
        self.sources.start()
        self._say_what_is_served()

    def _store_shown(self) -> str:
        """The store's URL without a password."""
        return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", self.settings.store)

    def _say_what_is_served(self) -> None:
        settings = self.settings
        self.log.info("serves {domains}", domains=", ".join(settings.domains))
        self.log.info("roles: {roles}", roles=", ".join(role.name for role in self.roles))
        for place in self._places:
            self.log.info("SIP on {place}", place=place)
        for root in self._roots:
            self.log.info("XCAP on {root}", root=settings.xcap_root or root)
        self.log.info("state in {store}", store=self._store_shown())
        self.log.info("next: simplestack user add alice@{domain}", domain=settings.domains[0])

    def _open_store(self) -> None:
        # It was there a moment ago, so that what fails now is an outage and no mistake.
        self._ready = self.store.start()
        self._ready.addCallback(lambda _: self._take_up())
        self._ready.addErrback(self._not_taken_up)

    @inlineCallbacks
    def _take_up(self) -> Any:
        """Load when the clock is next needed for each AOR, and tell all subscribers their state."""
        deadlines: list[tuple[str, float]] = yield self.store.deadlines()
        subscribed: list[str] = yield self.store.subscribed()
        # What expired while nobody was there is ended by the same way: there may be as much.
        woken = dict.fromkeys(subscribed)
        now = self.clock.now()
        for aor, when in deadlines:
            if when > now:
                self.core.deadlines.set(aor, when)
            else:
                woken.setdefault(aor)
        # Of what they have in common each text is to be in memory once.
        make_room(len(woken))
        if subscribed:
            self.log.info(
                "{count} users have subscribers, who are told over {window} s",
                count=len(subscribed),
                window=self.settings.restart_window,
            )
        self._restoring = Restoring(
            self.reactor,
            list(woken),
            # Spread, so that a restart is no storm for the clients or for us.
            self.settings.restart_window,
            self.core.residents.load,
            self.core.clock_turns.wake,
            self._restored,
        )
        self._restoring.start()

    def _restored(self, seconds: float) -> None:
        if seconds > self.settings.restart_window + 1:
            self.log.info("all subscribers were told after {seconds:.1f} s", seconds=seconds)
        self._settle()

    def _settle(self) -> None:
        self._settled = len(self.core.residents)
        make_room(self._settled)
        self.settled()

    def _not_taken_up(self, failure: Failure) -> None:
        if self.running:
            self.log.critical(
                "the store can't be read, which is tried again in {retry} s: {reason}",
                retry=self.retry,
                reason=failure.getErrorMessage(),
            )
            again = self._take_up_again if self.store.running else self._open_store
            self._wakes.append(self.reactor.callLater(self.retry, again))

    def _take_up_again(self) -> None:
        self._ready = self._take_up()
        self._ready.addErrback(self._not_taken_up)

    def _tick(self) -> None:
        self.clock.follow()
        self.core.clock_turns.tick()
        if len(self.core.residents) > self._settled * _GROWTH + _FEW:
            self._settle()

    def _later(self, act: Callable[[], None]) -> None:
        """Go on with long work after what has come in from the network."""
        self._slices = [each for each in self._slices if each.active()]
        self._slices.append(self.reactor.callLater(0, act))

    def _refresh_credentials(self) -> Deferred[Any]:
        # While the database is away the credentials that are known serve on.
        refreshed = self.core.authenticator.refresh()
        return refreshed.addCallbacks(self.core.forget, lambda _: None)

    def stopService(self) -> Deferred[Any]:
        """Stop to serve: nothing that survives a restart is ended, what waits is committed.

        Its answers leave before the sockets are closed: who gets none repeats a request that was
        served, and a PUBLISH of that kind has lost its entity-tag.
        """
        super().stopService()
        for loop in self._loops:
            if loop.running:
                loop.stop()
        self._loops.clear()
        self._ready.cancel()
        if self._restoring is not None:
            self._restoring.stop()
        for wake in (*self._wakes, *self._slices):
            if wake.active():
                wake.cancel()
        self._wakes.clear()
        self.network.pause()
        stopped = gatherResults([self.store.stop(), self.sources.stop()])
        return stopped.addBoth(lambda _: self._stop_listening())

    def _stop_listening(self) -> Deferred[Any]:
        ending = [self.network.stop()]
        ending += [maybeDeferred(site.stopListening) for site in self._sites]
        if self._control is not None:
            ending.append(maybeDeferred(self._control.stopListening))
        return gatherResults(ending)

    def status(self) -> Deferred[dict[str, Any]]:
        """What runs and how much of it, for ``simplestack status``."""
        counted: Deferred[dict[str, int]] = self.store.counts()
        return counted.addCallback(self._status)

    def _status(self, counts: dict[str, int]) -> dict[str, Any]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "up_seconds": round(time.monotonic() - self._started),
            "domains": list(self.settings.domains),
            "roles": [role.name for role in self.roles],
            "listening": self._places,
            "xcap": self._roots,
            "store": self._store_shown(),
            **counts,
            "users_in_memory": len(self.core.residents),
            "commit_queue_age_seconds": round(self.store.queue_age(), 3),
            "transactions": self.core.layer.counts(),
            "network": self.network.counts(),
        }


def shown(endpoint: str, place: Any) -> str:
    """The URL of a Twisted endpoint that serves HTTP, by the address that it has got.

    An address without a port, as that of a UNIX socket, has no URL: then the endpoint itself.
    """
    if not isinstance(place, (IPv4Address, IPv6Address)):
        return endpoint
    host = "*" if place.host in ("0.0.0.0", "::") else place.host
    scheme = "https" if endpoint.startswith("ssl:") else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{place.port}/"


def _result(fired: Deferred[T]) -> T:
    """The result of a Deferred that does not wait."""
    results: list[T] = []
    failures: list[Failure] = []
    fired.addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    return results[0]
