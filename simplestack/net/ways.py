"""The way to a peer: which flow a request leaves by (RFC 3261 §18.1.1, RFC 3263)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed

from simplestack.net.connections import Connections
from simplestack.net.datagram import UDPFlow, UDPListener
from simplestack.net.dialing import Dialing
from simplestack.net.dns import Lookups
from simplestack.net.endpoints import join_address
from simplestack.net.routes import Routes
from simplestack.net.stream import StreamFlow
from simplestack.sip.errors import SIPError
from simplestack.sip.uri import Uri
from simplestack.transaction.flow import Flow
from simplestack.transaction.location import LARGE, Query, Target, locate

__all__ = ["UnreachableError", "Ways"]

_BOUND = 16384
#: Seconds for which the way to a named host is taken again without asking.
_KEPT: Final = 30.0
#: Seconds for which a target that failed stands behind the others, and one that takes UDP but
#: no TCP is not bothered with TCP again.
_FAILED: Final = 60.0
_NO_TCP: Final = 600.0


class UnreachableError(SIPError):
    """No way to a peer was found.

    RFC 3261 §8.1.3.1: a fatal transport error is treated "as a 503 (Service Unavailable)".
    """

    def __init__(self, uri: Uri, problems: Sequence[str]) -> None:
        why = "; ".join(problems) or f"{uri.host} has no address"
        super().__init__(503, text=f"no way to {uri}: {why}")


class Ways:
    """Finds the flow to a URI, and remembers what it found and what failed, within bounds."""

    def __init__(
        self,
        datagrams: Sequence[UDPListener],
        connections: Connections,
        dialing: Dialing,
        lookups: Lookups,
        routes: Routes,
        clock: Callable[[], float],
    ) -> None:
        self._datagrams = datagrams
        self._connections = connections
        self._dialing = dialing
        self._lookups = lookups
        self._routes = routes
        self._clock = clock
        # To numeric addresses, for as long as the flow lives; the others for a while.
        self._ready: dict[tuple[Uri, str | None], Flow] = {}
        self._kept: dict[tuple[Uri, str | None, bool], tuple[float, Flow]] = {}
        self._failed: dict[tuple[str, str, int], float] = {}
        self._searches: set[Deferred[Flow]] = set()

    def ready(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Flow | None:
        """The flow for a request of `size` octets to `uri`, if that takes no waiting.

        `prefer` is the key of the flow by which the peer reached us. If it is a connection
        of a transport that the URI allows, it is taken; for UDP it says which of our sockets
        to use.
        """
        flow = self._ready.get((uri, prefer))
        if flow is not None and flow.alive and (size <= LARGE or flow.reliable):
            return flow
        kept = self._kept.get((uri, prefer, size > LARGE))
        if kept is not None:
            if kept[0] > self._clock() and kept[1].alive:
                return kept[1]
            del self._kept[uri, prefer, size > LARGE]
        return self._immediate(uri, size, prefer)

    def lasting(self, uri: Uri, prefer: str | None = None) -> Flow | None:
        """The flow that `ready` gives to requests of a common size as long as it lives.

        None where it comes from a lookup, whose result may be another one before that.
        """
        return self._ready.get((uri, prefer))

    def flow_to(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Deferred[Flow]:
        """Find the flow as `ready` does, with the lookups and connections that it takes.

        The targets are tried in the order of RFC 3263, those that failed lately last. Fails
        with UnreachableError, or SIPError 416 where the URI is not one that we can send to.
        """
        flow = self.ready(uri, size, prefer)
        if flow is not None:
            return succeed(flow)
        search = Deferred.fromCoroutine(self._search(uri, size, prefer))
        if not search.called:
            self._searches.add(search)
            search.addBoth(self._searched, search)
        return search

    def failed(self, flow: Flow) -> None:
        """A request got no answer by this flow: try other targets first (RFC 3263 §4.3)."""
        self._mark((flow.transport, *flow.remote), _FAILED)
        self._kept.clear()

    def forget(self) -> None:
        """Give up all searches, and what was found."""
        for search in list(self._searches):
            search.cancel()
        self._ready.clear()
        self._kept.clear()
        self._failed.clear()

    def _immediate(self, uri: Uri, size: int, prefer: str | None) -> Flow | None:
        flow: Flow | None = self._preferred(uri, prefer)
        if flow is None:
            try:
                targets = self._targets(uri, size)
            except SIPError:
                return None
            if not targets:
                return None
            flow = self._open_flow(targets[0], prefer)
            if flow is None:
                return None
        if size > LARGE:
            self._keep(uri, size, prefer, flow)
        else:
            if len(self._ready) >= _BOUND:
                self._ready.clear()
            self._ready[uri, prefer] = flow
        return flow

    def _preferred(self, uri: Uri, prefer: str | None) -> StreamFlow | None:
        """The connection by which the peer came, unless the URI asks for something else."""
        flow = self._connections.by_key(prefer) if prefer else None
        if flow is None:
            return None
        wanted = uri.param("transport")
        if uri.scheme == "sips":
            # RFC 3261 §26.2.2: "transport=tcp" in a sips URI is TLS over TCP.
            return flow if flow.secure else None
        if wanted and wanted.lower() != flow.transport:
            return None
        return flow

    def _targets(self, uri: Uri, size: int) -> list[Target] | None:
        """The targets, if no lookup is needed to know them. Raises SIPError."""
        try:
            next(self._steps(uri, size))
        except StopIteration as stop:
            return self._sorted(stop.value)
        return None

    async def _located(self, uri: Uri, size: int) -> list[Target]:
        steps = self._steps(uri, size)
        try:
            query: Query = next(steps)
            while True:
                query = steps.send(await self._lookups.ask(query.kind, query.name))
        except StopIteration as stop:
            return self._sorted(stop.value)

    def _steps(self, uri: Uri, size: int) -> Any:
        transports = ["tcp", "tls"]
        if any(listener.open for listener in self._datagrams):
            transports.append("udp")
        elif uri.scheme == "sip" and uri.param("transport") is None:
            # RFC 3263 §4.1: UDP is the default, "another transport, such as TCP, MAY be used".
            uri = uri.replace(params=(*uri.params, ("transport", "tcp")))
        return locate(uri, random=random.random, size=size, transports=transports)

    def _sorted(self, targets: list[Target]) -> list[Target]:
        if self._failed:
            now = self._clock()
            # Sorting keeps the order among those of a kind.
            targets = sorted(targets, key=lambda target: self._failed.get(target[:3], now) > now)
        return targets

    def _open_flow(self, target: Target, prefer: str | None) -> Flow | None:
        """A flow to the target that needs no connection to be made."""
        if target.transport == "udp":
            return self._datagram_flow(target.address, target.port, prefer)
        return self._connections.toward(*target[:3], target.host.strip("[]"))

    def _datagram_flow(self, host: str, port: int, prefer: str | None) -> UDPFlow | None:
        able = [one for one in self._datagrams if one.open and one.reaches(host)]
        if not able:
            return None
        if len(able) == 1:
            return able[0].flow((host, port))
        name = prefer.partition(">")[0] if prefer else ""
        source = self._routes.source(host)
        chosen = min(
            able,
            key=lambda one: (
                one.name != name,
                one.spec.interface != source,
                one.spec.interface not in ("", "::"),
            ),
        )
        return chosen.flow((host, port))

    async def _search(self, uri: Uri, size: int, prefer: str | None) -> Flow:
        targets = await self._located(uri, size)
        problems: list[str] = []
        for index, target in enumerate(targets):
            # "... it SHOULD retry the request, using UDP" (RFC 3261 §18.1.1)
            instead = target._replace(transport="udp") in targets[index + 1 :]
            try:
                flow = await self._reach(target, prefer, instead and size > LARGE)
            except CancelledError:
                raise
            except Exception as error:
                place = f"{target.transport} {join_address(target.address, target.port)}"
                problems.append(f"{place}: {error}")
                self._mark(target[:3], _NO_TCP if instead else _FAILED)
                continue
            self._keep(uri, size, prefer, flow)
            return flow
        raise UnreachableError(uri, problems)

    async def _reach(self, target: Target, prefer: str | None, instead: bool) -> Flow:
        flow = self._open_flow(target, prefer)
        if flow is not None:
            return flow
        if target.transport == "udp":
            raise ConnectionError("there is no UDP socket for an address of this kind")
        limits = self._connections.limits
        return await self._dialing.dial(
            target, limits.connect_instead if instead else limits.connect
        )

    def _keep(self, uri: Uri, size: int, prefer: str | None, flow: Flow) -> None:
        if len(self._kept) >= _BOUND:
            self._kept.clear()
        self._kept[uri, prefer, size > LARGE] = (self._clock() + _KEPT, flow)

    def _mark(self, place: tuple[str, str, int], seconds: float) -> None:
        if len(self._failed) >= _BOUND:
            self._failed.clear()
        self._failed[place] = self._clock() + seconds

    def _searched(self, result: Any, search: Deferred[Flow]) -> Any:
        self._searches.discard(search)
        return result
