"""A registration that keeps itself."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.client.errors import ClientError, NoAnswerError, RefusedError
from simplestack.client.registration import Registration
from simplestack.sip.message import Request, Response
from tests.client.peer import Peer, ok


class RegistrationTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A registration for 600 s."""
        self.peer = Peer()
        self.troubles: list[float] = []
        self.ends: list[ClientError] = []
        self.registration = Registration(
            self.peer.agent,
            600,
            on_trouble=lambda _, pause: self.troubles.append(pause),
            on_end=self.ends.append,
        )

    def start(self) -> int:
        """Register."""
        started = self.registration.start()
        self.peer.run()
        return self.successResultOf(started)

    def test_register(self) -> None:
        """RFC 3261 §10.2: the Request-URI is the domain, To and From the AOR, Contact where we
        are.
        """
        self.assertEqual(self.start(), 600)
        request = self.peer.last
        self.assertEqual(request.uri, "sip:example.com")
        self.assertEqual(request.to.uri.aor, "sip:alice@example.com")
        self.assertEqual(request.from_.uri.aor, "sip:alice@example.com")
        self.assertEqual(request.get("Contact"), "<sip:alice@192.0.2.1:5060>")
        self.assertEqual(request.expires, 600)

    def test_expires_of_the_binding(self) -> None:
        """§10.2.4: the expires parameter of our contact counts, among others' contacts."""

        def answer(request: Request) -> Response:
            response = ok(request)
            response.set("Contact", "<sip:alice@192.0.2.77>;expires=7")
            response.add("Contact", "<sip:alice@192.0.2.1:5060>;expires=300")
            return response

        self.peer.answers["REGISTER"] = answer
        self.assertEqual(self.start(), 300)

    def test_refresh(self) -> None:
        """§10.2.4: refreshed before it ends, with the same Call-ID and a rising CSeq."""
        self.start()
        self.peer.run(3000)
        requests = self.peer.requests
        self.assertGreaterEqual(len(requests), 5)
        self.assertEqual(len({request.call_id for request in requests}), 1)
        numbers = [request.cseq.number for request in requests]
        self.assertEqual(numbers, list(range(1, len(requests) + 1)))

    def test_stop(self) -> None:
        """§10.2.2: a binding is removed with the interval zero; then nothing is refreshed."""
        self.start()
        stopped = self.registration.stop()
        self.peer.run(2000)
        self.successResultOf(stopped)
        self.assertEqual([request.expires for request in self.peer.requests], [600, 0])
        self.assertEqual(self.peer.last.get("Contact"), "<sip:alice@192.0.2.1:5060>")

    def test_refused(self) -> None:
        """A refusal fails the start; there is nothing to remove then."""
        self.peer.answers["REGISTER"] = lambda request: request.response(403)
        started = self.registration.start()
        self.peer.run()
        self.failureResultOf(started, RefusedError)
        self.successResultOf(self.registration.stop())
        self.peer.run()
        self.assertEqual(len(self.peer.requests), 1)

    def test_silence(self) -> None:
        """A server that is away for a while finds us trying again."""
        self.start()
        self.peer.wire.loss = 1.0
        self.peer.run(700)
        self.peer.wire.loss = 0.0
        self.peer.run(200)
        self.assertGreaterEqual(len(self.troubles), 2)
        self.assertEqual(self.ends, [])
        self.assertGreater(len(self.peer.requests), 1)

    def test_gone(self) -> None:
        """A refresh that is refused for good is the end."""
        self.start()
        self.peer.answers["REGISTER"] = lambda request: request.response(404)
        self.peer.run(700)
        self.assertEqual([str(error) for error in self.ends], ["404 Not Found"])

    def test_unconfirmed_stop(self) -> None:
        """Where the server does not confirm the removal the caller learns of it."""
        self.start()
        self.peer.wire.loss = 1.0
        stopped = self.registration.stop()
        self.peer.run(40)
        self.failureResultOf(stopped, NoAnswerError)

    def test_lost_connection(self) -> None:
        """When the connection of the binding ends we register anew: the registrar could not reach
        us by it (RFC 5626 §4.4).
        """
        self.peer = Peer(transport="tcp")
        self.registration = Registration(self.peer.agent, 600)
        self.start()
        self.peer.lose_connection()
        self.peer.run(2)
        self.assertEqual(self.peer.methods, ["REGISTER"] * 2)
        self.assertIn("transport=tcp", self.peer.last.get("Contact") or "")
