"""Locating SIP servers (RFC 3263, RFC 3261 §18.1.1)."""

from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from random import Random
from typing import Any, NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import SIPError
from simplestack.sip.fields import parse_via
from simplestack.sip.uri import parse_uri
from simplestack.transaction.location import Query, Steps, Target, locate, locate_response


class Naptr(NamedTuple):
    """A NAPTR record."""

    order: int
    preference: int
    flags: str
    service: str
    regexp: str
    replacement: str


class Srv(NamedTuple):
    """An SRV record."""

    priority: int
    weight: int
    port: int
    target: str


Zone = dict[tuple[str, str], list[Any]]

#: The records of RFC 3263 §4.1 and §4.2, and what they need.
EXAMPLE: Zone = {
    ("NAPTR", "example.com"): [
        Naptr(100, 50, "s", "SIP+D2U", "", "_sip._udp.example.com."),
        Naptr(50, 50, "s", "SIPS+D2T", "", "_sips._tcp.example.com."),
        Naptr(90, 50, "s", "SIP+D2T", "", "_sip._tcp.example.com"),
    ],
    ("SRV", "_sips._tcp.example.com"): [Srv(0, 1, 5061, "server1.example.com")],
    ("SRV", "_sip._tcp.example.com"): [
        Srv(1, 1, 5060, "server1.example.com"),
        Srv(0, 2, 5070, "server2.example.com"),
    ],
    ("SRV", "_sip._udp.example.com"): [Srv(0, 0, 5060, "server1.example.com")],
    ("A", "server1.example.com"): ["192.0.2.1"],
    ("A", "server2.example.com"): ["192.0.2.2"],
    ("AAAA", "server2.example.com"): ["2001:db8::2"],
    ("A", "example.com"): ["192.0.2.9"],
}


class LocationCase(SynchronousTestCase):
    """A zone that is asked."""

    zone: Zone = EXAMPLE

    def setUp(self) -> None:
        """Nothing asked yet."""
        self.asked: list[Query] = []

    def drive(self, steps: Steps) -> list[Target]:
        """Answer the queries from the zone."""
        answer: Sequence[Any] | None = None
        while True:
            try:
                query = next(steps) if answer is None else steps.send(answer)
            except StopIteration as stop:
                targets: list[Target] = stop.value
                return targets
            self.asked.append(query)
            answer = self.zone.get((query.kind, query.name), [])

    def find(self, uri: str, **options: Any) -> list[tuple[str, str, int]]:
        """The targets of a URI, without their host."""
        steps = locate(parse_uri(uri), random=lambda: 0.0, **options)
        return [target[:3] for target in self.drive(steps)]


class TransportTests(LocationCase):
    """Which transport and port (RFC 3263 §4.1, §4.2)."""

    def test_numeric(self) -> None:
        """An address is used as it stands: UDP for SIP, TLS for SIPS, default ports; no query."""
        for uri, expected in (
            ("sip:a@192.0.2.7", ("udp", "192.0.2.7", 5060)),
            ("sip:a@192.0.2.7:5080", ("udp", "192.0.2.7", 5080)),
            ("sips:a@192.0.2.7", ("tls", "192.0.2.7", 5061)),
            ("sip:a@[2001:db8::7]", ("udp", "2001:db8::7", 5060)),
            ("sip:a@192.0.2.7;transport=TCP", ("tcp", "192.0.2.7", 5060)),
            ("sip:a@192.0.2.7;transport=tls", ("tls", "192.0.2.7", 5061)),
            ("sips:a@192.0.2.7;transport=tcp", ("tls", "192.0.2.7", 5061)),
            ("sip:a@example.com;maddr=192.0.2.7", ("udp", "192.0.2.7", 5060)),
        ):
            self.assertEqual(self.find(uri), [expected], uri)
        self.assertEqual(self.asked, [])

    def test_name_and_port(self) -> None:
        """With a port there are addresses only, IPv4 and IPv6 (RFC 3263 §4.2)."""
        self.assertEqual(
            self.find("sip:a@server2.example.com:5099"),
            [("udp", "192.0.2.2", 5099), ("udp", "2001:db8::2", 5099)],
        )
        self.assertEqual([query.kind for query in self.asked], ["A", "AAAA"])

    def test_name_and_transport(self) -> None:
        """With a transport the SRV records for it are asked for (RFC 3263 §4.2)."""
        self.assertEqual(
            self.find("sip:a@example.com;transport=tcp", families=("A",)),
            [("tcp", "192.0.2.2", 5070), ("tcp", "192.0.2.1", 5060)],
        )
        self.assertEqual(self.asked[0], Query("SRV", "_sip._tcp.example.com"))

    def test_naptr(self) -> None:
        """By NAPTR in its order, SIPS kept for SIP URIs (RFC 3263 §4.1)."""
        self.assertEqual(
            self.find("sip:a@example.com", families=("A",)),
            [
                ("tls", "192.0.2.1", 5061),
                ("tcp", "192.0.2.2", 5070),
                ("tcp", "192.0.2.1", 5060),
                ("udp", "192.0.2.1", 5060),
            ],
        )

    def test_naptr_for_sips(self) -> None:
        """For a SIPS URI everything but SIPS is discarded (RFC 3263 §4.1)."""
        self.assertEqual(self.find("sips:a@example.com"), [("tls", "192.0.2.1", 5061)])

    def test_naptr_for_what_we_lack(self) -> None:
        """Services by transports that we lack are discarded (RFC 3263 §4.1)."""
        self.assertEqual(
            self.find("sip:a@example.com", transports=("udp",)), [("udp", "192.0.2.1", 5060)]
        )

    def test_no_naptr(self) -> None:
        """Without NAPTR the SRV records of each transport are asked for (RFC 3263 §4.1)."""
        self.zone = {key: value for key, value in EXAMPLE.items() if key[0] != "NAPTR"}
        self.assertEqual(
            self.find("sip:a@example.com", families=("A",)),
            [("udp", "192.0.2.1", 5060), ("tcp", "192.0.2.2", 5070), ("tcp", "192.0.2.1", 5060)],
        )
        self.assertEqual(self.find("sips:a@example.com"), [("tls", "192.0.2.1", 5061)])

    def test_no_srv(self) -> None:
        """Without SRV: addresses, UDP for SIP and TLS for SIPS, default ports (RFC 3263 §4.1)."""
        self.zone = {("A", "example.com"): ["192.0.2.9"]}
        self.assertEqual(self.find("sip:a@example.com"), [("udp", "192.0.2.9", 5060)])
        self.assertEqual(self.find("sips:a@example.com"), [("tls", "192.0.2.9", 5061)])
        self.assertEqual(self.find("sip:a@example.com;transport=tcp"), [("tcp", "192.0.2.9", 5060)])
        self.assertEqual(
            self.find("sip:a@example.com", transports=("tcp",)), [("tcp", "192.0.2.9", 5060)]
        )

    def test_nothing(self) -> None:
        """A name that nobody knows has no targets."""
        self.assertEqual(self.find("sip:a@nowhere.example.com"), [])

    def test_service_that_is_not_there(self) -> None:
        """Target "." says that there is no such service (RFC 2782)."""
        self.zone = {("SRV", "_sip._udp.example.com"): [Srv(0, 0, 0, ".")]}
        self.assertEqual(self.find("sip:a@example.com;transport=udp"), [])

    def test_host_for_the_certificate(self) -> None:
        """A target names the host of the URI, not of the records (RFC 5922 §7)."""
        (target,) = self.drive(locate(parse_uri("sips:a@example.com"), random=lambda: 0.0))
        self.assertEqual(target.host, "example.com")

    def test_not_sip(self) -> None:
        """416 for other schemes and transports."""
        for uri in ("tel:+1", "sip:a@h;transport=carrier-pigeon", "sips:a@h;transport=udp"):
            error = self.assertRaises(SIPError, self.find, uri)
            self.assertEqual(error.status, 416)


class LargeTests(LocationCase):
    """Large requests (RFC 3261 §18.1.1)."""

    def test_tcp_first(self) -> None:
        """Over 1,300 octets TCP is tried first, then UDP."""
        self.assertEqual(self.find("sip:a@192.0.2.7:5080", size=1300), [("udp", "192.0.2.7", 5080)])
        self.assertEqual(
            self.find("sip:a@192.0.2.7:5080", size=1301),
            [("tcp", "192.0.2.7", 5080), ("udp", "192.0.2.7", 5080)],
        )

    def test_without_tcp(self) -> None:
        """Who has no TCP sends by UDP."""
        self.assertEqual(
            self.find("sip:a@192.0.2.7", size=5000, transports=("udp",)),
            [("udp", "192.0.2.7", 5060)],
        )

    def test_others_stay(self) -> None:
        """TLS is not given up for size."""
        self.assertEqual(self.find("sips:a@192.0.2.7", size=5000), [("tls", "192.0.2.7", 5061)])


class OrderTests(LocationCase):
    """The order of SRV records (RFC 2782)."""

    def test_weights(self) -> None:
        """Within a priority a record comes first as often as its weight says."""
        self.zone = {
            ("SRV", "_sip._tcp.example.com"): [
                Srv(1, 30, 1, "192.0.2.1"),
                Srv(1, 10, 2, "192.0.2.1"),
                Srv(2, 0, 3, "192.0.2.1"),
            ]
        }
        random = Random(1).random
        first: Counter[int] = Counter()
        for _ in range(1000):
            steps = locate(parse_uri("sip:example.com;transport=tcp"), random=random)
            ports = [target.port for target in self.drive(steps)]
            self.assertEqual(sorted(ports), [1, 2, 3])
            self.assertEqual(ports[2], 3)
            first[ports[0]] += 1
        self.assertTrue(680 < first[1] < 820, first)

    def test_all_weights_zero(self) -> None:
        """Records of weight 0 are all used."""
        self.zone = {("SRV", "_sip._tcp.h"): [Srv(0, 0, port, "192.0.2.1") for port in range(1, 4)]}
        for value in (0.0, 0.5, 0.999999):
            steps = locate(parse_uri("sip:h;transport=tcp"), random=repeat(value).__next__)
            self.assertEqual({target.port for target in self.drive(steps)}, {1, 2, 3})

    def test_bound(self) -> None:
        """A zone with thousands of records gives sixteen targets."""
        self.zone = {
            ("SRV", "_sip._tcp.h"): [Srv(0, 0, port, "t") for port in range(1, 2000)],
            ("A", "t"): [f"192.0.2.{n}" for n in range(200)],
            ("AAAA", "t"): [],
        }
        self.assertEqual(len(self.find("sip:h;transport=tcp")), 16)
        self.assertLess(len(self.asked), 8)


class ResponseTests(LocationCase):
    """Responses whose connection has ended (RFC 3263 §5)."""

    def back(self, via: str) -> list[tuple[str, str, int]]:
        """The targets for a Via, without their host."""
        steps = locate_response(parse_via(via), random=lambda: 0.0, families=("A",))
        return [target[:3] for target in self.drive(steps)]

    def test_numeric(self) -> None:
        """The address and port of sent-by, or the default port of the transport."""
        self.assertEqual(self.back("SIP/2.0/TCP 192.0.2.7:5099"), [("tcp", "192.0.2.7", 5099)])
        self.assertEqual(self.back("SIP/2.0/TLS [2001:db8::1]"), [("tls", "2001:db8::1", 5061)])

    def test_name_and_port(self) -> None:
        """Addresses of the name, with the port of the Via."""
        self.assertEqual(
            self.back("SIP/2.0/TCP server2.example.com:5099"), [("tcp", "192.0.2.2", 5099)]
        )

    def test_name(self) -> None:
        """SRV of the transport in the Via, else addresses."""
        self.assertEqual(self.back("SIP/2.0/TLS example.com"), [("tls", "192.0.2.1", 5061)])
        self.assertEqual(self.back("SIP/2.0/UDP server2.example.com"), [("udp", "192.0.2.2", 5060)])

    def test_other_transports(self) -> None:
        """There is no way by a transport that we do not speak."""
        self.assertEqual(self.back("SIP/2.0/SCTP example.com"), [])
