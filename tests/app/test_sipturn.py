"""What a request meets before its turn: the checks of RFC 3261 §8.2, and OPTIONS."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.sipturn import SIPService
from simplestack.sip.message import Request, Response, parse_message
from simplestack.transaction.server import ServerTransaction
from tests.app.world import World
from tests.wire import Recorder

ALICE = "sip:alice@example.com"


class ChecksTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A service, and a peer that has no password."""
        self.world = World()
        self.flow = Recorder("tcp", remote=("192.0.2.9", 40000))
        self.number = 0

    def ask(
        self,
        method: str,
        uri: str = ALICE,
        *lines: str,
        body: bytes = b"",
        fields: dict[str, str] | None = None,
    ) -> Response:
        """Send a request with other ``fields`` and further lines; its one answer."""
        self.number += 1
        values = {
            "Via": f"SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKt{self.number}",
            "From": f"<{ALICE}>;tag={self.number}",
            "To": f"<{ALICE}>",
            "Call-ID": f"call{self.number}",
            "CSeq": f"1 {method}",
            "Max-Forwards": "70",
            **(fields or {}),
        }
        text = "\r\n".join(
            [
                f"{method} {uri} SIP/2.0",
                *[f"{name}: {value}" for name, value in values.items()],
                *lines,
                f"Content-Length: {len(body)}",
                "",
                "",
            ]
        )
        message = parse_message(text.encode() + body)
        self.world.core.layer.receive(message, self.flow, self.world.now)
        self.world.run(0.0)
        (answer,) = [parse_message(data) for data in self.flow.take()]
        assert isinstance(answer, Response)
        return answer

    def test_method(self) -> None:
        """§8.2.1: 405 with Allow for a known method, 501 for one that nobody knows."""
        for method in ("MESSAGE", "INFO", "REFER", "BYE", "UPDATE"):
            answer = self.ask(method)
            self.assertEqual(answer.status, 405, method)
            self.assertEqual(answer.get("Allow"), "REGISTER, PUBLISH, SUBSCRIBE, NOTIFY, OPTIONS")
        answer = self.ask("DANCE")
        self.assertEqual(answer.status, 501)

    def test_scheme(self) -> None:
        """§8.2.2.1: 416 for a Request-URI of a scheme that is not served."""
        self.assertEqual(self.ask("SUBSCRIBE", "http://example.com/").status, 416)
        self.assertEqual(self.ask("OPTIONS", "mailto:alice@example.com").status, 416)

    def test_merged(self) -> None:
        """§8.2.2.2: the same request by another path gets 482; a new try with another CSeq none."""
        same = {"Call-ID": "merged", "From": f"<{ALICE}>;tag=m"}
        self.assertEqual(self.ask("OPTIONS", fields=same).status, 200)
        self.assertEqual(self.ask("OPTIONS", fields=same).status, 482)
        self.assertEqual(self.ask("OPTIONS", fields={**same, "CSeq": "2 OPTIONS"}).status, 200)

    def test_refused_ones_are_not_merged(self) -> None:
        """§8.2.2.2: what was refused had no effect; it may come again."""
        same = {"Call-ID": "merged", "From": f"<{ALICE}>;tag=m", "Event": "presence"}
        self.assertEqual(self.ask("SUBSCRIBE", fields=same).status, 401)
        self.assertEqual(self.ask("SUBSCRIBE", fields=same).status, 401)

    def test_require(self) -> None:
        """§8.2.2.3: 420 names in Unsupported what is not supported, and only that."""
        answer = self.ask("REGISTER", "sip:example.com", "Require: path, teleport, outbound")
        self.assertEqual(answer.status, 420)
        self.assertEqual(answer.get("Unsupported"), "teleport")

    def test_content(self) -> None:
        """§8.2.3: a body that nobody reads is 415, unless it is optional."""
        lines = ("Content-Type: text/plain",)
        answer = self.ask("REGISTER", "sip:example.com", *lines, body=b"hello")
        self.assertEqual(answer.status, 415)
        optional = (*lines, "Content-Disposition: render;handling=optional")
        answer = self.ask("REGISTER", "sip:example.com", *optional, body=b"hello")
        self.assertEqual(answer.status, 401)

    def test_order(self) -> None:
        """§8.2: the checks come in this order, before anybody is asked for a password."""
        require = "Require: teleport"
        self.assertEqual(self.ask("MESSAGE", "http://x/", require).status, 405)
        self.assertEqual(self.ask("SUBSCRIBE", "http://x/", require).status, 416)
        self.assertEqual(self.ask("SUBSCRIBE", "sip:bob@elsewhere.com", require).status, 420)
        self.assertEqual(self.ask("SUBSCRIBE", "sip:bob@elsewhere.com").status, 404)
        self.assertEqual(self.ask("SUBSCRIBE", "sip:bob@example.com").status, 401)

    def test_options_elsewhere(self) -> None:
        """§8.2.2.1, §11.2: OPTIONS gets 404 where it is for a domain that is not served here.

        An address is that by which we were found, and our Contacts are ours.
        """
        for uri, status in (
            ("sip:example.com", 200),
            ("sip:bob@example.com", 200),
            ("sip:EXAMPLE.com:5080;transport=tcp", 200),
            ("sip:192.0.2.1:5060", 200),
            ("sip:bob@[2001:db8::1]", 200),
            ("sip:bob@proxy.elsewhere.com;domain=example.com", 200),
            ("sip:elsewhere.com", 404),
            ("sip:bob@elsewhere.com", 404),
            ("sip:bob@example.com.elsewhere.com", 404),
            ("sip:bob@proxy.elsewhere.com;domain=elsewhere.com", 404),
        ):
            self.assertEqual(self.ask("OPTIONS", uri).status, status, uri)

    def test_options(self) -> None:
        """§11.2: what OPTIONS tells is what is so."""
        answer = self.ask("OPTIONS", "sip:example.com")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.get("Allow"), "REGISTER, PUBLISH, SUBSCRIBE, NOTIFY, OPTIONS")
        self.assertIn("presence", answer.get_all("Allow-Events"))
        # RFC 6665 §4.4.4: no template-packages.
        self.assertFalse([name for name in answer.get_all("Allow-Events") if "." in name])
        self.assertEqual(
            set(answer.get_all("Supported")), set(self.world.core.capabilities.extensions)
        )
        # A body of each type in Accept is not refused for its type, of another it is.
        accepted = answer.get_all("Accept")
        self.assertIn("application/pidf+xml", accepted)
        refused = self.phone_publishes("text/plain")
        self.assertEqual(refused.status, 415)
        for media_type in refused.get_all("Accept"):
            self.assertIn(media_type, accepted)
            self.assertNotEqual(self.phone_publishes(media_type).status, 415, media_type)
        packages = [package for role in self.world.core.roles for package in role.packages]
        for package in packages:
            self.assertLessEqual(set(getattr(package, "subscribe_types", ())), set(accepted))

    def phone_publishes(self, media_type: str) -> Response:
        """The answer to a PUBLISH with a body of this type."""
        return self.world.phone("alice@example.com").ask(
            "PUBLISH", ALICE, {"Event": ["presence"], "Content-Type": [media_type]}, b"x"
        )

    def test_contact_of_publish(self) -> None:
        """RFC 3903 §6: "The ESC MUST ignore the Contact header field if one is present in a PUBLISH
        request", and Record-Route as well; it "MUST NOT include a Record-Route header field in any
        response".
        """
        alice = self.world.phone("alice@example.com")
        document = b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="%b"/>' % ALICE.encode()
        for contact in ("*", "sip:a@b?c=d", "mailto:a@b, tel:1", "<sip:a@b"):
            answer = alice.ask(
                "PUBLISH",
                ALICE,
                {
                    "Event": ["presence"],
                    "Content-Type": ["application/pidf+xml"],
                    "Contact": [contact],
                    "Record-Route": ["<sip:p"],
                },
                document,
            )
            self.assertEqual(answer.status, 200, contact)
            self.assertNotIn("Record-Route", answer.headers)

    def test_syntax(self) -> None:
        """§8.2, §21.4.1: a bad field of the request is named in the Warning of a 400."""
        answer = self.ask("SUBSCRIBE", ALICE, "Accept: not a type")
        self.assertEqual(answer.status, 400)
        self.assertIn("Accept", answer.get("Warning") or "")

    def test_fault(self) -> None:
        """A fault of ours is 500 and a log entry, and the next request is served."""

        class Failing:
            def turn(
                self, service: SIPService, request: Request, transaction: object, aor: str
            ) -> None:
                raise ZeroDivisionError("turn")

        before, self.world.core.sip.lists = self.world.core.sip.lists, Failing()
        self.assertEqual(self.ask("SUBSCRIBE", ALICE, "Event: presence").status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.world.core.sip.lists = before
        self.assertEqual(self.ask("SUBSCRIBE", ALICE, "Event: presence").status, 401)

    def test_acknowledgement(self) -> None:
        """§17: an ACK that belongs to nothing is not answered."""
        text = (
            f"ACK {ALICE} SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bKa\r\n"
            f"From: <{ALICE}>;tag=1\r\nTo: <{ALICE}>;tag=2\r\nCall-ID: a\r\nCSeq: 1 ACK\r\n"
            "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        self.world.core.layer.receive(parse_message(text.encode()), self.flow, 0.0)
        self.assertEqual(self.flow.take(), [])

    def test_one_answer(self) -> None:
        """§17.2.2: a second final response of ours is not sent."""
        taken: list[ServerTransaction | None] = []
        deliver = self.world.core.layer.deliver

        def keep(request: Request, transaction: ServerTransaction | None, now: float) -> None:
            taken.append(transaction)
            deliver(request, transaction, now)

        self.world.core.layer.deliver = keep
        self.ask("OPTIONS", "sip:example.com")
        (transaction,) = taken
        assert transaction is not None
        self.assertFalse(transaction.respond(transaction.request.response(500), self.world.now))
        self.assertEqual(self.flow.take(), [])
