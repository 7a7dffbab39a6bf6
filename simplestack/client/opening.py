"""The sockets of a user agent: at a port of the system's choice, toward its server."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import crypto

from simplestack.client.errors import NoAnswerError
from simplestack.net.dns import Lookups
from simplestack.net.endpoints import ListenSpec
from simplestack.net.network import ListenError, Network
from simplestack.net.routes import Routes
from simplestack.sip.errors import SIPError
from simplestack.sip.uri import Uri
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.location import Target, locate

__all__ = ["open_network"]

#: Ports that are nobody's by registration (RFC 6335 §6), and how many are tried.
_FIRST, _LAST, _TRIES = 49152, 65535, 20


async def open_network(
    reactor: Any,
    layer: TransactionLayer,
    server: Uri,
    *,
    authorities: Sequence[crypto.X509] | None = None,
    clock: Callable[[], float] = time.monotonic,
    choose_port: Callable[[int, int], int] = random.randint,
) -> Network:
    """A network that listens on UDP and TCP, at one port, on the addresses that lead to the server.

    One port for both, since a large NOTIFY comes by TCP to the port of our Contact (RFC 3261
    §18.1.1).  Toward a TLS server nothing listens: all comes by the connection that we make.

    Raises NoAnswerError where the server has no address or no port is free.
    """
    lookups = Lookups(reactor, clock)
    try:
        targets = await _locate(server, lookups)
    except SIPError as error:
        raise NoAnswerError(f"no way to {server}: {error.text}") from None
    if not targets:
        raise NoAnswerError(f"no way to {server}: {server.host} has no address")
    network = Network(reactor, layer, clock=clock, authorities=authorities, lookups=lookups)
    routes = Routes()
    plain = [target.address for target in targets if target.transport != "tls"]
    sources = list(dict.fromkeys(routes.source(address) for address in plain))
    problem: ListenError | None = None
    for _ in range(_TRIES):
        port = choose_port(_FIRST, _LAST)
        network.listen = tuple(
            ListenSpec(transport, port, source)
            for source in sources
            for transport in ("udp", "tcp")
        )
        try:
            await network.start()
        except ListenError as error:
            problem = error
        else:
            return network
    raise NoAnswerError(str(problem))


async def _locate(server: Uri, lookups: Lookups) -> list[Target]:
    steps = locate(server, random=random.random)
    try:
        query = next(steps)
        while True:
            query = steps.send(await lookups.ask(query.kind, query.name))
    except StopIteration as stop:
        targets: list[Target] = stop.value
        return targets
