"""The heart of the service: everything but sockets and the database.

Time comes by two clocks: the wall clock for what expires, the monotonic one for transactions.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from simplestack.app.assertions import make_assertions
from simplestack.app.authentication import Authenticator
from simplestack.app.backend import BackEnd
from simplestack.app.clockturns import ClockTurns
from simplestack.app.deadlines import Deadlines
from simplestack.app.delivery import Delivery, Ways
from simplestack.app.gathering import Gathering
from simplestack.app.lists import ListServer
from simplestack.app.listturn import Lists
from simplestack.app.localresources import LocalResources
from simplestack.app.placing import Placing
from simplestack.app.resident import Residents
from simplestack.app.serviceindex import is_list
from simplestack.app.settings import Settings
from simplestack.app.signing import make_signer
from simplestack.app.sipturn import Decide, SIPService
from simplestack.app.turn import Turns
from simplestack.app.xcapturn import XCAPService
from simplestack.event.limits import Limits as SubscriptionLimits
from simplestack.event.notifier import Notifier
from simplestack.event.remotestate import TABLES
from simplestack.event.subscription import Subscribing
from simplestack.interfaces import ICredentialSource, IEventPackage, IRole, IStore
from simplestack.net.identifiers import RandomIdentifiers
from simplestack.roles.lists import ResourceLists
from simplestack.roles.xcap import XCAP
from simplestack.sip.digest import Nonces
from simplestack.state import ResourceState
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.limits import Limits as TransactionLimits
from simplestack.transaction.useragent import Capabilities

__all__ = ["SYSTEM_CLOCKS", "Clocks", "Core"]

#: Option tags of the extensions that requests may require (RFC 3261 §8.2.2.3).
EXTENSIONS = ("path", "outbound")


class Clocks(NamedTuple):
    """The two clocks, in seconds; the wall clock must not go back (``app.clock``)."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


SYSTEM_CLOCKS = Clocks()


class Core:
    """The roles on one store, from parsed message to parsed message.

    Feed ``layer``; give ``connect`` the ways to peers before that.
    """

    def __init__(
        self,
        settings: Settings,
        roles: Sequence[IRole],
        store: IStore,
        credentials: ICredentialSource,
        clocks: Clocks = SYSTEM_CLOCKS,
        identifiers: RandomIdentifiers | None = None,
    ) -> None:
        self.settings = settings
        self.roles = roles
        self.store = store
        self.clocks = clocks
        self.identifiers = identifiers = identifiers or RandomIdentifiers()
        packages = {package.name: package for role in roles for package in role.packages}
        limits = SubscriptionLimits(
            min_expires=settings.subscribe_min_expires,
            max_expires=settings.subscribe_max_expires,
            per_resource=settings.max_subscriptions,
            per_watcher=settings.max_subscriptions_per_watcher,
            waiting=settings.max_waiting,
            waiting_time=settings.waiting_time,
            notify_interval=settings.notify_interval,
        )
        subscribing = Subscribing(packages, limits)

        def notifier(state: ResourceState) -> Notifier:
            if is_list(state.aor):
                served = {} if self.lists is None else self.lists.packages
                return Notifier(state, served, limits, "eventlist")
            return Notifier(state, packages, limits)

        self.authenticator = Authenticator(
            credentials,
            settings.domains,
            Nonces(
                identifiers.octets(32), clocks.wall(), settings.nonce_lifetime, settings.max_nonces
            ),
            identifiers,
            settings.digest_algorithms,
        )
        self.residents = Residents(store, notifier, clocks.wall, settings.resident_idle)
        self.deadlines = Deadlines(clocks.wall())
        self.turns = Turns(
            subscribing=subscribing,
            residents=self.residents,
            deadlines=self.deadlines,
            store=store,
            clock=clocks.wall,
        )
        self.clock_turns = ClockTurns(
            self.turns,
            roles=roles,
            subscribing=subscribing,
            residents=self.residents,
            deadlines=self.deadlines,
            clock=clocks.wall,
        )
        decides: dict[str, Decide] = {
            method: role.decide for role in roles for method in role.methods
        }
        if packages:
            decides["SUBSCRIBE"] = subscribing.decide
        #: Serves lists where the role is there.
        self.lists: ListServer | None = None
        extensions: tuple[str, ...] = EXTENSIONS
        for role in roles:
            if isinstance(role, ResourceLists):
                extensions = (*EXTENSIONS, *role.extensions)
                self.lists = ListServer(
                    role,
                    LocalResources(
                        settings.domains,
                        self.authenticator,
                        packages,
                        limits,
                        self.residents,
                        self.deadlines,
                        self.turns,
                        clocks.wall,
                    ),
                    store=store,
                    clock_turns=self.clock_turns,
                    root=settings.xcap_root or role.root,
                )
                self.turns.attendant = self.lists
                if role.remote:
                    self.lists.virtual.backend = BackEnd(
                        role,
                        {
                            name: package.content_types
                            for name, package in packages.items()
                            # What is told in steps has no whole that a list could show.
                            if not hasattr(package, "told")
                            and (not package.partial or TABLES.keys() >= {*package.content_types})
                        },
                        identifiers,
                        clocks.wall,
                        clocks.monotonic,
                        self.lists.virtual.told,
                        settings.domains,
                        make_signer(settings),
                    )
        self.capabilities = Capabilities(
            methods=(*decides, *(("NOTIFY",) if self._backend is not None else ()), "OPTIONS"),
            domains=settings.domains,
            content_types=self._content_types(packages),
            extensions=extensions,
            # No template-packages (RFC 6665 §4.4.4).
            events=tuple([name for name in packages if "." not in name]),
        )
        self.sip = SIPService(
            decides,
            self.capabilities,
            Placing(settings.domains),
            self.authenticator,
            identifiers,
            self.turns,
            clocks.monotonic,
        )
        self.layer = TransactionLayer(
            self.sip.deliver,
            identifiers,
            limits=TransactionLimits(server_transactions=settings.max_transactions),
        )
        self.sip.layer = self.layer
        self.sip.assertions = make_assertions(settings)
        self.sip.list_servers = frozenset(settings.list_servers)
        if self.lists is not None:
            self.sip.lists = Lists(self.lists)
        if self._backend is not None:
            self._backend.layer = self.layer
            self.sip.notified = self._backend.notified
        #: Serves XCAP where the role is there; its ``resource`` mounts in any site.
        self.xcap: XCAPService | None = None
        for role in roles:
            if isinstance(role, XCAP):
                gathering = Gathering(
                    role.server,
                    self.turns,
                    documents=store.documents,
                    load=store.load,
                    tree=role.tree,
                )
                self.xcap = XCAPService(
                    role.server,
                    self.authenticator,
                    self.turns,
                    identifiers,
                    clocks.wall,
                    credentials=credentials,
                    documents=store.documents,
                    gathering=gathering,
                    origins=settings.xcap_origins,
                )
                self.sip.prepare = gathering.awaited
                self.clock_turns.preparing.append(gathering.prepare)

    @property
    def _backend(self) -> BackEnd | None:
        """Subscribes to what is in lists and not here."""
        return None if self.lists is None else self.lists.virtual.backend

    def _content_types(self, packages: Mapping[str, IEventPackage]) -> dict[str, tuple[str, ...]]:
        """The types of bodies that requests may have, by method."""
        lists = () if self.lists is None else self.lists.packages.values()
        return {
            "PUBLISH": tuple(
                [each for role in self.roles for each in getattr(role, "publish_types", ())]
            ),
            "SUBSCRIBE": tuple(
                [
                    each
                    for package in (*packages.values(), *lists)
                    for each in getattr(package, "subscribe_types", ())
                ]
            ),
        }

    def connect(self, ways: Ways) -> None:
        """Send NOTIFY requests by these ways."""
        self.turns.delivery = Delivery(
            ways, self.layer, self.identifiers, self.clocks.monotonic, self.turns.notified
        )
        if self.lists is not None:
            self.turns.delivery.local = self.lists.virtual.deliver
        if self._backend is not None:
            self._backend.ways = ways

    def forget(self, aors: Collection[str]) -> None:
        """End what users who no longer exist have."""
        self.turns.forget(aors)
        if self.xcap is not None:
            self.xcap.forget(aors)
