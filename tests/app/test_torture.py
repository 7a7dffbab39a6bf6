"""The torture messages of RFC 4475 against the running service."""

from collections.abc import Iterator
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import ParseError
from simplestack.sip.framer import KeepAlive, StreamFramer
from simplestack.sip.message import Request, Response, parse_message
from tests.app.sockets import StackCase, Stream
from tests.app.world import World
from tests.asynchronous import asynchronous
from tests.torture import CASES, Case, octets
from tests.wire import Recorder

#: A REGISTER that everybody understands, sent after what nobody does.
PLAIN = (
    b"REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/%b 192.0.2.9;branch=z9hG4bK%d;rport\r\n"
    b"From: <sip:alice@example.com>;tag=%d\r\nTo: <sip:alice@example.com>\r\nCall-ID: %d@plain\r\n"
    b"CSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
)


class Peer:
    """Somebody who sends bytes to a service and gets its bytes."""

    def __init__(self, world: World, transport: str = "udp") -> None:
        self.world = world
        self.flow = Recorder(transport, remote=("192.0.2.9", 5060))
        self._framer = StreamFramer()
        self.closed = False

    def datagram(self, data: bytes) -> None:
        """Send a datagram."""
        layer, now = self.world.core.layer, self.world.now
        try:
            layer.receive(parse_message(data), self.flow, now)
        except ParseError as error:
            layer.reject(error, self.flow, now)

    def stream(self, pieces: Iterator[bytes]) -> None:
        """Send pieces of a stream, until the service closes it."""
        layer, now = self.world.core.layer, self.world.now
        for piece in pieces:
            try:
                found = self._framer.feed(piece)
            except ParseError as error:
                for message in error.earlier:
                    if not isinstance(message, KeepAlive):
                        layer.receive(message, self.flow, now)
                layer.reject(error, self.flow, now)
                self.closed = True
                return
            for message in found:
                if not isinstance(message, KeepAlive):
                    layer.receive(message, self.flow, now)

    def answers(self) -> list[Response]:
        """What came back since the last call, to whatever port."""
        flows = [self.flow, *self.flow.others.values()]
        found = [parse_message(data) for flow in flows for data in flow.take()]
        responses = [message for message in found if isinstance(message, Response)]
        assert len(responses) == len(found)
        return responses


class Tortured(SynchronousTestCase):
    def setUp(self) -> None:
        """A service."""
        self.world = World(["alice@example.com"])
        self.count = 0

    def check(self, case: Case, answers: list[Response], expected: list[int]) -> None:
        """There is one answer of those that the index allows, or none."""
        if not expected:
            self.assertEqual(answers, [], case["file"])
            return
        self.assertEqual(len(answers), 1, f"{case['file']}: {answers}")
        self.assertIn(answers[0].status, expected, case["file"])
        self.assertEqual(answers[0].get("Call-ID"), parsed(octets(case["file"])).get("Call-ID"))

    def still_serves(self, transport: str = "udp") -> None:
        """A REGISTER is challenged, as ever."""
        peer = Peer(self.world, transport)
        self.count += 1
        peer.datagram(PLAIN % (transport.upper().encode(), self.count, self.count, self.count))
        self.assertEqual([answer.status for answer in peer.answers()], [401])


def parsed(data: bytes) -> Request | Response:
    """A message, or what could be read of it."""
    try:
        return parse_message(data)
    except ParseError as error:
        assert error.message is not None
        return error.message


class CoreTests(Tortured):
    def test_datagrams(self) -> None:
        """RFC 4475: each gets the one answer that the index expects, or none; then all is well."""
        for case in CASES:
            peer = Peer(self.world)
            peer.datagram(octets(case["file"]))
            self.check(case, peer.answers(), case["endpoint"])
            self.still_serves()
            # Some have the same branch; until timer J has fired they would be taken for copies.
            self.world.run(40.0)
        self.world.run(300.0)
        self.assertEqual(self.world.core.layer.counts()["server_unanswered"], 0)
        self.still_serves()
        # What a stranger sent has left nothing behind.
        self.assertEqual(len(self.world.core.residents), 0)

    def test_datagrams_with_more(self) -> None:
        """RFC 3261 §18.3: what follows the body in a datagram is dropped and changes nothing."""
        for case in CASES:
            if case["file"] in ("clerr.dat", "baddn.dat", "inv2543.dat"):
                # They wait for more, or take all that there is.
                continue
            peer = Peer(self.world)
            peer.datagram(octets(case["file"]) + PLAIN % (b"UDP", 0, 0, 0))
            self.check(case, peer.answers(), case["endpoint"])
            self.world.run(40.0)
        self.still_serves()

    def test_twice(self) -> None:
        """RFC 3261 §17.2: a copy of any of them gets a copy of the answer, or none."""
        for case in CASES:
            self.world.run(40.0)
            peer = Peer(self.world)
            peer.datagram(octets(case["file"]))
            first = [answer.to_bytes() for answer in peer.answers()]
            peer.datagram(octets(case["file"]))
            self.assertEqual([answer.to_bytes() for answer in peer.answers()], first, case["file"])

    def stream_expected(self, case: Case) -> list[int]:
        """What a stream that brings this message gets."""
        if case["stream"] == "wait":
            return []
        # Over a stream what has no Content-Length is refused (§20.14).
        return [400] if case["file"] == "inv2543.dat" else case["endpoint"]

    def test_streams(self) -> None:
        """RFC 3261 §18.3: so over TCP, whole and octet by octet; where framing is lost it closes."""
        for case in CASES:
            data = octets(case["file"])
            for pieces in ([data], [bytes([octet]) for octet in data]):
                # A new service for each, for the copy would be taken as such.
                self.setUp()
                peer = Peer(self.world, "tcp")
                peer.stream(iter(pieces))
                answers = peer.answers()
                if case["file"] == "dblreq.dat":
                    # On a stream the rest is no trailing octets but another message; it is cut
                    # off where the archive says two octets too little.
                    self.assertEqual([each.status for each in answers[:1]], [401])
                    continue
                self.check(case, answers, self.stream_expected(case))
                self.assertEqual(peer.closed, case["stream"] == "close", case["file"])
                self.still_serves("tcp")

    def test_streams_with_more(self) -> None:
        """A message that follows on the stream gets its answer as well, where there is a next one."""
        for case in CASES:
            if case["stream"] != "message" or case["file"] == "dblreq.dat":
                continue
            peer = Peer(self.world, "tcp")
            peer.stream(iter([octets(case["file"]) + PLAIN % (b"TCP", 1, 1, 1)]))
            answers = peer.answers()
            self.assertEqual(answers[-1].call_id, "1@plain", case["file"])
            self.check(case, answers[:-1], case["endpoint"])
            self.setUp()


class WithPasswordTests(SynchronousTestCase):
    """Those that register, from users that exist."""

    def contacts(self, name: str, user: str) -> list[str]:
        """The Contact values in the answer to a message that is sent with credentials."""
        world = World([f"{user}@example.com"])
        phone = world.phone(f"{user}@example.com")
        request = parse_message(octets(f"{name}.dat"))
        assert isinstance(request, Request)
        request.remove("Via")
        phone.send(request)
        world.run(1.0)
        response = phone.inbox.popleft()
        assert isinstance(response, Response), response
        self.assertEqual(response.status, 200, name)
        return response.headers["Contact"]

    def test_parameters(self) -> None:
        """RFC 4475 §3.3.12, §3.3.13: whose parameter it is stays as it was."""
        self.assertEqual(
            self.contacts("cparam01", "watson"),
            ["<sip:+19725552222@gw1.example.net>;unknownparam;expires=3600"],
        )
        self.assertEqual(
            self.contacts("cparam02", "watson"),
            ["<sip:+19725552222@gw1.example.net;unknownparam>;expires=3600"],
        )

    def test_escaped_header(self) -> None:
        """RFC 4475 §3.3.14: the escaped Route stays in the contact, escaped."""
        self.assertEqual(
            self.contacts("regescrt", "user"),
            ["<sip:user@example.com?Route=%3Csip:sip.example.com%3E>;expires=3600"],
        )

    def test_trailing_octets(self) -> None:
        """RFC 4475 §3.1.1.8: what follows the REGISTER has no effect."""
        self.assertEqual(
            self.contacts("dblreq", "j.user"), ["<sip:j.user@host.example.com>;expires=3600"]
        )

    def test_unknown_scheme(self) -> None:
        """RFC 4475 §3.3.7: credentials of an unknown scheme are passed over, and challenged."""
        world = World(["j.user@example.com"])
        peer = Peer(world)
        peer.datagram(octets("regaut01.dat"))
        (answer,) = peer.answers()
        self.assertEqual(answer.status, 401)


class SocketTests(StackCase):
    """The same over real sockets, on the whole stack."""

    @asynchronous
    async def test_udp(self) -> None:
        """RFC 4475 over UDP: all at once, and then a REGISTER is challenged as ever."""
        _, (udp, _) = await self.start(self.settings())
        socket = self.socket(udp)
        for case in CASES:
            data = octets(case["file"])
            # The answer would go to the port in Via; with rport it goes to ours.
            if b";branch" in data:
                socket.send(data.replace(b";branch", b";rport;branch", 1))
        for number in range(3):
            socket.send(PLAIN % (b"UDP", number, number, number))
        await self.until(lambda: plain(socket.received) == 3)
        for data in socket.received:
            self.assertIsInstance(parse_message(data), Response)

    @asynchronous
    async def test_tcp(self) -> None:
        """RFC 4475 over TCP, each on a connection of its own in small pieces; then a REGISTER."""
        _, (_, tcp) = await self.start(self.settings())
        for number, case in enumerate(CASES):
            stream = await self.connection(tcp)
            data = octets(case["file"])
            for at in range(0, len(data), 7):
                stream.send(data[at : at + 7])
            if case["endpoint"] and case["stream"] != "wait":
                await self.until(partial(has, stream, b"\r\n\r\n"))
                status = int(stream.received.split(b" ")[1])
                allowed = [400] if case["file"] == "inv2543.dat" else case["endpoint"]
                self.assertIn(status, allowed, case["file"])
            if case["stream"] == "close":
                await stream.ended
                continue
            if case["stream"] == "message" and case["file"] != "dblreq.dat":
                stream.send(PLAIN % (b"TCP", number, number, number))
                await self.until(partial(has, stream, b"%d@plain" % number))
            await stream.close()


def has(stream: Stream, text: bytes) -> bool:
    """Whether the text has come."""
    return text in stream.received


def plain(received: list[bytes]) -> int:
    """How many answers to the plain REGISTER have come."""
    return sum(b"@plain" in data and b" 401 " in data[:20] for data in received)
