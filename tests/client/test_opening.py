"""The sockets of a user agent."""

import socket
from collections.abc import Iterator
from typing import Any

from twisted.internet import reactor as installed
from twisted.trial.unittest import TestCase

from simplestack.client.errors import NoAnswerError
from simplestack.client.opening import open_network
from simplestack.net.network import Network
from simplestack.sip.uri import parse_uri
from simplestack.transaction.layer import TransactionLayer
from tests.asynchronous import asynchronous
from tests.ports import free_port
from tests.wire import Counting

reactor: Any = installed


class OpeningTests(TestCase):
    timeout = 20

    async def open(self, server: str, ports: Iterator[int]) -> Network:
        """Open the sockets toward a server, with ports to choose from."""
        layer = TransactionLayer(lambda *_: None, Counting())
        network = await open_network(
            reactor, layer, parse_uri(server), choose_port=lambda first, last: next(ports)
        )
        self.addCleanup(network.stop)
        return network

    @asynchronous
    async def test_one_port(self) -> None:
        """RFC 3261 §18.1.1: UDP and TCP at the same port, of the address that leads to the server;
        a port that is taken is passed over.
        """
        taken, free = free_port(), free_port()
        with socket.socket() as other:
            other.bind(("127.0.0.1", taken))
            other.listen()
            network = await self.open("sip:127.0.0.1:5060", iter([taken, taken, free]))
        self.assertEqual(
            [str(place) for place in network.listen],
            [f"udp 127.0.0.1:{free}", f"tcp 127.0.0.1:{free}"],
        )

    @asynchronous
    async def test_tls(self) -> None:
        """Toward a TLS server nothing listens: there is no certificate to show."""
        network = await self.open("sip:127.0.0.1:5061;transport=tls", iter([1]))
        self.assertEqual(network.listen, ())

    @asynchronous
    async def test_nowhere(self) -> None:
        """Without an address, or without a free port, the error says so in one line."""
        taken = free_port()
        with socket.socket() as other:
            other.bind(("127.0.0.1", taken))
            other.listen()
            for server, ports in (
                ("sip:127.0.0.1", iter([taken] * 20)),
                ("tel:+15551234", iter([1])),
                ("sips:127.0.0.1;transport=udp", iter([1])),
            ):
                with self.assertRaises(NoAnswerError) as caught:
                    await self.open(server, ports)
                self.assertNotIn("\n", str(caught.exception))
