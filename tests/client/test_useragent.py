"""A user agent's requests, and its answers."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simplestack.client.account import Account
from simplestack.client.errors import NoAnswerError
from simplestack.sip.digest import challenges
from simplestack.sip.message import Request, Response
from tests.client.peer import Peer, ok


def register(peer: Peer) -> Request:
    """A REGISTER of the user agent."""
    return peer.agent.new_request(
        "REGISTER", "sip:example.com", "call", 1, "tag", "sip:alice@example.com"
    )


def challenge(request: Request, nonce: str, stale: bool = False) -> Response:
    """401."""
    response = request.response(401, to_tag="server")
    for value in challenges("example.com", nonce, stale):
        response.add("WWW-Authenticate", value)
    return response


class RequestTests(SynchronousTestCase):
    def test_challenge(self) -> None:
        """RFC 3261 §22.2: the request is sent again with credentials and a CSeq one higher, its
        Call-ID, To and From unchanged; §17.1.3: with another branch.
        """
        peer = Peer()
        peer.answers["REGISTER"] = lambda each: (
            ok(each) if each.authorization else challenge(each, "n1")
        )
        request = register(peer)
        result = peer.agent.request(request)
        peer.run()
        self.assertEqual(self.successResultOf(result).status, 200)
        first, second = peer.requests
        self.assertEqual((first.cseq.number, second.cseq.number, request.cseq.number), (1, 2, 2))
        for name in ("From", "To", "Call-ID"):
            self.assertEqual(first.get(name), second.get(name))
        self.assertNotEqual(first.top_via.branch, second.top_via.branch)
        self.assertEqual(len(second.vias), 1)

    def test_next_request_is_not_challenged(self) -> None:
        """RFC 7616 §3.4: the nonce is used again with the next count, also for another request."""
        peer = Peer()
        peer.answers["REGISTER"] = lambda each: (
            ok(each) if each.authorization else challenge(each, "n1")
        )
        for _ in range(2):
            peer.agent.request(register(peer))
            peer.run()
        counts = [each.authorization[0].nonce_count for each in peer.requests if each.authorization]
        self.assertEqual((len(peer.requests), counts), (3, [1, 2]))

    def test_wrong_password(self) -> None:
        """A server that refuses the answer to its challenge is not asked again."""
        peer = Peer()
        nonces = iter("abcdefghij")
        peer.answers["REGISTER"] = lambda each: challenge(each, next(nonces))
        result = peer.agent.request(register(peer))
        peer.run()
        self.assertEqual(self.successResultOf(result).status, 401)
        self.assertEqual(len(peer.requests), 2)

    def test_forever_stale(self) -> None:
        """A server that calls each nonce stale is not asked for ever."""
        peer = Peer()
        nonces = iter("abcdefghijklmnop")
        peer.answers["REGISTER"] = lambda each: challenge(each, next(nonces), stale=True)
        result = peer.agent.request(register(peer))
        peer.run(1)
        self.assertEqual(self.successResultOf(result).status, 401)
        self.assertLess(len(peer.requests), 10)

    def test_too_brief(self) -> None:
        """RFC 3261 §10.2.8: after 423 the interval is the one in Min-Expires."""

        def answer(request: Request) -> Response:
            if (request.expires or 0) >= 120:
                return ok(request)
            response = request.response(423)
            response.set("Min-Expires", "120")
            return response

        peer = Peer()
        peer.answers["REGISTER"] = answer
        request = register(peer)
        request.set("Expires", "10")
        result = peer.agent.request(request)
        peer.run()
        self.assertEqual(self.successResultOf(result).expires, 120)

    def test_silence(self) -> None:
        """RFC 3261 §17.1.2.2: after 64*T1 without a response the request has failed."""
        peer = Peer()
        peer.wire.loss = 1.0
        result = peer.agent.request(register(peer))
        peer.run(31)
        self.assertNoResult(result)
        peer.run(2)
        self.failureResultOf(result, NoAnswerError)

    def test_silence_is_told(self) -> None:
        """Half a minute is long for a person: after four seconds it is told that nothing was heard,
        once; and not where an answer came.
        """
        peer = Peer()
        told: list[str] = []
        peer.agent.on_silence = told.append
        peer.answers["REGISTER"] = ok
        result = peer.agent.request(register(peer))
        peer.run(5)
        self.successResultOf(result)
        self.assertEqual(told, [])
        peer.wire.loss = 1.0
        for _ in range(2):
            self.failureResultOf(self._given_up(peer), NoAnswerError)
        self.assertEqual(len(told), 1)
        self.assertTrue(told[0].startswith("no response from udp"), told)

    def _given_up(self, peer: Peer) -> Deferred[Response]:
        result = peer.agent.request(register(peer))
        peer.run(33)
        return result

    def test_unreachable(self) -> None:
        """Where there is no way to the server the error says so."""
        peer = Peer()
        peer.ways.reachable = False
        error = self.failureResultOf(peer.agent.request(register(peer)), NoAnswerError)
        self.assertIn("nobody there", error.getErrorMessage())

    def test_lost_connection(self) -> None:
        """A request on a connection that proves to be dead is sent once more by a new one."""
        peer = Peer(transport="tcp")
        peer.answers["REGISTER"] = lambda _: None
        result = peer.agent.request(register(peer))
        peer.run()
        peer.lose_connection()
        peer.answers["REGISTER"] = ok
        peer.run()
        self.assertEqual(self.successResultOf(result).status, 200)

    def test_line_end_in_a_header(self) -> None:
        """What would become a header field of its own is not sent."""
        peer = Peer()
        request = register(peer)
        request.set("Subject", "x\r\nContact: <sip:mallory@example.com>")
        self.failureResultOf(peer.agent.request(request), NoAnswerError)
        peer.run()
        self.assertEqual(peer.requests, [])

    def test_stopped(self) -> None:
        """After a stop nothing is sent."""
        peer = Peer()
        self.successResultOf(peer.agent.stop())
        self.failureResultOf(peer.agent.request(register(peer)), NoAnswerError)

    def test_server_of_the_account(self) -> None:
        """Requests outside of dialogs go to the server of the account."""
        peer = Peer(Account("alice@example.com", "x", "192.0.2.2:5070", "tcp"))
        peer.agent.request(register(peer))
        self.assertEqual(
            [str(uri) for uri in peer.ways.asked], ["sip:192.0.2.2:5070;transport=tcp"]
        )


class AnswerTests(SynchronousTestCase):
    def ask(self, method: str, **headers: str) -> Response:
        """The answer to a request."""
        peer = Peer()
        request = Request(
            method,
            "sip:alice@192.0.2.1",
            {
                "Max-Forwards": ["70"],
                "From": ["<sip:server@example.com>;tag=1"],
                "To": ["<sip:alice@example.com>"],
                "Call-ID": ["stranger"],
                "CSeq": [f"1 {method}"],
            },
        )
        for name, value in headers.items():
            request.set(name, value)
        got = peer.send(request)
        peer.run()
        (response,) = got
        assert response is not None
        return response

    def test_options(self) -> None:
        """RFC 3261 §11.2: OPTIONS is answered with what the user agent can do."""
        response = self.ask("OPTIONS")
        self.assertEqual((response.status, response.allow), (200, {"NOTIFY", "OPTIONS"}))

    def test_methods(self) -> None:
        """§8.2.1: 405 with Allow for what is known and not served, 501 for what isn't known."""
        self.assertEqual(self.ask("MESSAGE").status, 405)
        self.assertEqual(self.ask("FROBNICATE").status, 501)

    def test_extensions(self) -> None:
        """§8.2.2.3: 420 for an extension that is required and not there."""
        self.assertEqual(self.ask("OPTIONS", Require="teleport").status, 420)

    def test_stray_notify(self) -> None:
        """RFC 6665 §4.1.3: 481 for a NOTIFY that belongs to no subscription."""
        response = self.ask("NOTIFY", Event="presence", Contact="<sip:a@b>")
        self.assertEqual(response.status, 481)
