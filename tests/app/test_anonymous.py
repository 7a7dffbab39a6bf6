"""Watchers who don't say who they are (RFC 3323, RFC 5025 §3.1.1.2)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.pidf import parse_presence
from simplestack.sip.message import Response
from simplestack.state import Document
from tests.app.world import Phone, World

ALICE = "sip:alice@example.com"
ANONYMOUS = '"Anonymous" <sip:anonymous@anonymous.invalid>'
SHOWN = (
    "<actions><r:sub-handling>{}</r:sub-handling></actions><transformations>"
    "<r:provide-services><r:all-services/></r:provide-services></transformations>"
)


def rules(*written: str) -> Document:
    """The rules of Alice."""
    inner = "".join(f'<rule id="r{place}">{rule}</rule>' for place, rule in enumerate(written))
    body = (
        f'<ruleset xmlns="{ns.COMMON_POLICY}" xmlns:r="{ns.PRES_RULES}">{inner}</ruleset>'
    ).encode()
    return Document(ALICE, "pres-rules/index", "pres-rules", "index", "e", "x", body, 0.0)


def rule(identity: str | None, handling: str = "allow") -> str:
    """A rule with an identity condition, or without any."""
    conditions = (
        "" if identity is None else f"<conditions><identity>{identity}</identity></conditions>"
    )
    return conditions + SHOWN.format(handling)


class AnonymousTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Alice and Bob, who hides his name."""
        self.world = World()
        self.alice = self.world.phone("alice@example.com")
        self.bob = self.world.phone("bob@example.com")

    def allow(self, *written: str) -> None:
        """Store the rules of Alice."""
        self.world.store_document(rules(*written))

    def subscribe(
        self, uri: str = ALICE, secret: bool = False, phone: Phone | None = None
    ) -> Response:
        """SUBSCRIBE with an anonymous From."""
        phone = phone or self.bob
        tag = phone.identifiers.tag()
        request = phone.request(
            "SUBSCRIBE",
            uri,
            {"From": [f"{ANONYMOUS};tag={tag}"], "Event": ["presence"], "Privacy": ["id"]},
        )
        phone.send(request, secret)
        self.world.run(0.0)
        responses = [each for each in phone.inbox if isinstance(each, Response)]
        for each in responses:
            phone.inbox.remove(each)
        return responses[-1]

    def test_challenged(self) -> None:
        """Where no rule is for anonymous watchers there is a challenge, also without any rules."""
        self.assertEqual(self.subscribe().status, 401)
        for written in ("", rule('<one id="sip:bob@example.com"/>'), rule("<many/>")):
            self.allow(*([written] if written else []))
            response = self.subscribe()
            self.assertEqual(response.status, 401)
            self.assertIn('realm="example.com"', response.headers["WWW-Authenticate"][0])

    def test_no_users_told(self) -> None:
        """Whether a user exists is not told to those without a name."""
        missing = self.subscribe("sip:nobody@example.com")
        there = self.subscribe()
        self.assertEqual((missing.status, there.status), (401, 401))
        self.assertEqual(set(missing.headers), set(there.headers))

    def test_admitted(self) -> None:
        """Rules without an identity, and with an empty one, are for anonymous watchers too."""
        for identity in (None, ""):
            self.allow(rule(identity))
            self.assertEqual(self.subscribe().status, 200)
            [notify] = self.bob.notifies()
            self.assertIn("active", notify.headers["Subscription-State"][0])
            self.assertEqual(parse_presence(notify.body).entity, ALICE)

    def test_pending_and_polite(self) -> None:
        """Confirm leaves them pending, polite-block politely blocked."""
        self.allow(rule("", "confirm"))
        self.assertEqual(self.subscribe().status, 200)
        [notify] = self.bob.notifies()
        self.assertIn("pending", notify.headers["Subscription-State"][0])
        self.assertEqual(notify.body, b"")
        self.allow(rule("", "polite-block"))
        self.assertEqual(self.subscribe().status, 200)
        both = self.bob.notifies()
        self.assertEqual(len(both), 2)
        for notify in both:
            self.assertEqual(parse_presence(notify.body).tuples[0].basic, "closed")

    def test_credentials_count(self) -> None:
        """Who answers the challenge is who he says there, though From hides it."""
        self.allow(rule('<one id="sip:bob@example.com"/>'))
        self.assertEqual(self.subscribe(secret=True).status, 200)
        [notify] = self.bob.notifies()
        self.assertIn("active", notify.headers["Subscription-State"][0])
        self.assertIn("anonymous.invalid", notify.headers["To"][0])

    def test_other_methods(self) -> None:
        """Nobody registers or publishes without a name."""
        for method in ("REGISTER", "PUBLISH"):
            request = self.bob.request(
                method,
                "sip:example.com" if method == "REGISTER" else ALICE,
                {"From": [f"{ANONYMOUS};tag=x"], "To": [f"<{ALICE}>"], "Event": ["presence"]},
            )
            self.bob.send(request, False)
            self.world.run(0.0)
            response = self.bob.inbox.popleft()
            assert isinstance(response, Response)
            self.assertEqual(response.status, 401)

    def test_dialog_is_no_name(self) -> None:
        """In the dialog of a watcher with a name nobody goes on without one."""
        self.allow(
            rule('<one id="sip:bob@example.com"/>'),
        )
        self.assertEqual(self.subscribe(secret=True).status, 200)
        [notify] = self.bob.notifies()
        request = self.bob.request(
            "SUBSCRIBE",
            str(notify.contacts[0].uri),
            {
                "From": notify.headers["To"],
                "To": notify.headers["From"],
                "Call-ID": notify.headers["Call-ID"],
                "Event": ["presence"],
            },
        )
        self.bob.send(request, False)
        self.world.run(0.0)
        response = self.bob.inbox.popleft()
        assert isinstance(response, Response)
        self.assertEqual(response.status, 401)
