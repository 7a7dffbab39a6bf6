"""Who may do what, as phones meet it."""

from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.settings import Settings
from simplestack.interfaces import Credential
from simplestack.sip.digest import ALGORITHMS, authorize, ha1
from simplestack.sip.fields import parse_challenge
from simplestack.sip.message import Request, Response
from tests.app.world import PASSWORD, Phone, World, credential

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"


class AuthenticationCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Alice and Bob."""
        self.world = World()
        self.alice = self.world.phone("alice@example.com")
        self.bob = self.world.phone("bob@example.com")

    def answer(self, phone: Phone, request: Request, secret: bool = True) -> Response:
        """The final response to a request."""
        phone.send(request, secret)
        self.world.run(0.0)
        response = phone.inbox.popleft()
        assert isinstance(response, Response)
        self.assertFalse([each for each in phone.inbox if isinstance(each, Response)])
        return response

    def challenge(self, phone: Phone, method: str = "REGISTER") -> Response:
        """The 401 to a request without credentials."""
        uri = "sip:example.com" if method == "REGISTER" else phone.aor
        response = self.answer(phone, phone.request(method, uri), False)
        self.assertEqual(response.status, 401)
        return response

    def with_credentials(
        self, phone: Phone, response: Response, *, index: int = 0, count: int = 1, **changes: str
    ) -> Request:
        """A REGISTER that answers a challenge."""
        challenge = parse_challenge(response.headers["WWW-Authenticate"][index])
        user = changes.get("user", phone.user)
        secret = ha1(
            challenge.algorithm,
            user,
            challenge.param("realm"),
            changes.get("password", phone.password),
        )
        request = phone.request("REGISTER", "sip:example.com")
        given = authorize(challenge, user, secret, "REGISTER", "sip:example.com", count, "c0ffee")
        request.set("Authorization", str(given))
        return request


class ChallengeTests(AuthenticationCase):
    def test_offers(self) -> None:
        """RFC 8760 §2.3: one challenge for each algorithm, the strongest first, one nonce."""
        offers = [
            parse_challenge(value)
            for value in self.challenge(self.alice).headers["WWW-Authenticate"]
        ]
        self.assertEqual(tuple(offer.algorithm for offer in offers), ALGORITHMS)
        self.assertEqual({offer.param("realm") for offer in offers}, {"example.com"})
        self.assertEqual(len({offer.param("nonce") for offer in offers}), 1)
        self.assertEqual({offer.param("stale") for offer in offers}, {""})
        self.assertEqual({offer.qop for offer in offers}, {("auth",)})

    def test_each_algorithm(self) -> None:
        """RFC 8760 §2.6: whichever is chosen will do."""
        for index in range(len(ALGORITHMS)):
            request = self.with_credentials(self.alice, self.challenge(self.alice), index=index)
            self.assertEqual(self.answer(self.alice, request, False).status, 200)

    def test_one_of_several(self) -> None:
        """RFC 3261 §22.3: credentials of another realm stand beside the right ones."""
        challenge = self.challenge(self.alice)
        request = self.with_credentials(self.alice, challenge)
        right = request.headers["Authorization"][0]
        request.headers["Authorization"] = [
            right.replace('realm="example.com"', 'realm="elsewhere.com"'),
            right,
        ]
        self.assertEqual(self.answer(self.alice, request, False).status, 200)

    def test_nothing_is_kept_of_strangers(self) -> None:
        """The brief of the service: no memory for an unauthenticated stranger beyond a transaction."""
        for method in ("REGISTER", "SUBSCRIBE", "PUBLISH"):
            self.challenge(self.alice, method)
        stranger = self.world.phone("nobody@example.com")
        for number in range(5):
            stranger.user = f"nobody{number}"
            request = self.with_credentials(stranger, self.challenge(stranger))
            self.assertEqual(self.answer(stranger, request, False).status, 401)
        core = self.world.core
        self.assertEqual(len(core.residents), 0)
        self.assertEqual(len(core.authenticator), 0)
        self.world.run(40.0)
        self.assertEqual(core.layer.counts()["server_transactions"], 0)

    def test_unknown_user_looks_like_a_wrong_password(self) -> None:
        """RFC 7616 §5.4: who guesses names learns nothing from the answer."""
        eve = self.world.phone("eve@example.com")
        unknown = self.answer(eve, self.with_credentials(eve, self.challenge(eve)), False)
        wrong = self.answer(
            self.alice,
            self.with_credentials(self.alice, self.challenge(self.alice), password="guess"),
            False,
        )
        for response in (unknown, wrong):
            self.assertEqual(response.status, 401)
            self.assertIsNone(response.get("Warning"))
            self.assertNotIn("stale", response.headers["WWW-Authenticate"][0])
        self.assertEqual(set(unknown.headers), set(wrong.headers))


class NonceTests(AuthenticationCase):
    def test_replay(self) -> None:
        """RFC 7616 §3.4: a nonce count is good once; a copy gets stale=true and has no effect."""
        request = self.with_credentials(self.alice, self.challenge(self.alice))
        copy = Request(
            request.method,
            request.uri,
            {name: values[:] for name, values in request.headers.items()},
        )
        copy.set("Contact", "<sip:mallory@192.0.2.66>")
        copy.set("CSeq", "99 REGISTER")
        self.assertEqual(self.answer(self.alice, request, False).status, 200)
        response = self.answer(self.alice, copy, False)
        self.assertEqual(response.status, 401)
        for value in response.headers["WWW-Authenticate"]:
            self.assertEqual(parse_challenge(value).param("stale"), "true")
        self.assertEqual(self.world.stored(ALICE), set())

    def test_counts_in_any_order(self) -> None:
        """RFC 7616 §3.4: requests may overtake one another, each count is good once."""
        challenge = self.challenge(self.alice)
        for count, status in ((5, 200), (3, 200), (5, 401), (4, 200), (3, 401), (6, 200)):
            request = self.with_credentials(self.alice, challenge, count=count)
            self.assertEqual(self.answer(self.alice, request, False).status, status, count)

    def test_stale(self) -> None:
        """RFC 7616 §3.3: with an old nonce stale=true, so that nobody is asked for the password."""
        challenge = self.challenge(self.alice)
        self.world.run(301.0)
        response = self.answer(self.alice, self.with_credentials(self.alice, challenge), False)
        self.assertEqual(response.status, 401)
        self.assertIn("stale=true", response.headers["WWW-Authenticate"][0])
        # But not for who does not know the password.
        response = self.answer(
            self.alice, self.with_credentials(self.alice, challenge, password="guess"), False
        )
        self.assertNotIn("stale=true", response.headers["WWW-Authenticate"][0])

    def test_forged_nonce(self) -> None:
        """RFC 7616 §5.5: a nonce that we have not made is worth nothing, the password right or not."""
        challenge = self.challenge(self.alice)
        values = challenge.headers["WWW-Authenticate"]
        nonce = parse_challenge(values[0]).param("nonce")
        forged = nonce[:-2] + ("AA" if nonce[-2:] != "AA" else "BB")
        challenge.headers["WWW-Authenticate"] = [value.replace(nonce, forged) for value in values]
        request = self.with_credentials(self.alice, challenge)
        self.assertEqual(self.answer(self.alice, request, False).status, 401)

    def test_next_nonce(self) -> None:
        """RFC 7616 §3.5: who uses nextnonce is challenged once in its life."""
        for _ in range(60):
            response = self.alice.ask("REGISTER", "sip:example.com")
            self.assertEqual(response.status, 200)
            self.world.run(100.0)
        self.assertEqual(self.alice.challenged, 1)

    def test_no_next_nonce_at_first(self) -> None:
        """A fresh nonce is used on: Authentication-Info comes from half of its life on."""
        first = self.alice.ask("REGISTER", "sip:example.com")
        self.assertIsNone(first.get("Authentication-Info"))
        self.world.run(151.0)
        second = self.alice.ask("REGISTER", "sip:example.com")
        self.assertIn("nextnonce=", second.get("Authentication-Info") or "")
        self.assertIn("rspauth=", second.get("Authentication-Info") or "")

    def test_restart(self) -> None:
        """Nonces of the process before are stale: what was used of them is not known."""
        self.alice.ask("REGISTER", "sip:example.com")
        self.world.restart()
        self.assertEqual(self.alice.ask("REGISTER", "sip:example.com").status, 200)
        self.assertEqual(self.alice.challenged, 2)


class IdentityTests(AuthenticationCase):
    def test_from(self) -> None:
        """RFC 3856 §9.2, RFC 3903 §14.1: From must be who authenticated."""
        for method, headers in (
            ("REGISTER", {"To": [f"<{ALICE}>"]}),
            ("SUBSCRIBE", {"Event": ["presence"]}),
            ("PUBLISH", {"Event": ["presence"]}),
        ):
            uri = "sip:example.com" if method == "REGISTER" else ALICE
            request = self.alice.request(method, uri, {**headers, "From": [f"<{BOB}>;tag=1"]})
            self.assertEqual(self.answer(self.alice, request).status, 403, method)
        self.assertEqual(self.world.stored(ALICE), set())

    def test_from_in_other_spellings(self) -> None:
        """RFC 3261 §19.1.4: the same AOR may be written otherwise."""
        for sender in (
            "Alice <sip:alice@EXAMPLE.com:5060;transport=tcp>;tag=1",
            "<sips:alice@example.com>;tag=2",
            "sip:al%69ce@example.com;tag=3",
        ):
            request = self.alice.request("REGISTER", "sip:example.com", {"From": [sender]})
            self.assertEqual(self.answer(self.alice, request).status, 200, sender)

    def test_foreign_from(self) -> None:
        """Nobody of another domain can show here that he is who he says."""
        request = self.alice.request(
            "SUBSCRIBE",
            BOB,
            {"Event": ["presence"], "From": ["<sip:alice@elsewhere.com>;tag=1"]},
        )
        self.assertEqual(self.answer(self.alice, request).status, 403)

    def test_third_party(self) -> None:
        """RFC 3261 §10.3 step 3: registering others is for those whom the operator names."""
        headers = {"To": [f"<{BOB}>"], "Contact": ["<sip:bob@192.0.2.77>"]}
        request = self.alice.request("REGISTER", "sip:example.com", headers)
        self.assertEqual(self.answer(self.alice, request).status, 403)
        self.world = World(
            settings=Settings(domains=("example.com",), registrars=(ALICE,), notify_interval=0),
        )
        self.alice = self.world.phone("alice@example.com")
        request = self.alice.request("REGISTER", "sip:example.com", headers)
        self.assertEqual(self.answer(self.alice, request).status, 200)
        self.assertEqual(len(self.world.stored(BOB)), 1)

    def test_publishing_for_others(self) -> None:
        """RFC 3903 §6: one's own state alone, and about oneself alone."""
        body = (
            b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:%b@example.com">'
            b'<tuple id="t"><status><basic>open</basic></status></tuple></presence>'
        )
        headers = {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]}
        for uri, entity in ((BOB, b"bob"), (BOB, b"alice"), (ALICE, b"bob")):
            self.assertEqual(self.alice.ask("PUBLISH", uri, headers, body % entity).status, 403)
        self.assertEqual(self.alice.ask("PUBLISH", ALICE, headers, body % b"alice").status, 200)

    def test_no_such_user(self) -> None:
        """RFC 3261 §21.4.5: 404, but only for who has shown who he is."""
        uri = "sip:nobody@example.com"
        request = self.alice.request("SUBSCRIBE", uri, {"Event": ["presence"]})
        self.assertEqual(self.answer(self.alice, request, False).status, 401)
        self.assertEqual(self.alice.ask("SUBSCRIBE", uri, {"Event": ["presence"]}).status, 404)
        self.assertEqual(len(self.world.core.residents), 0)

    def test_others_dialog(self) -> None:
        """RFC 6665 §4.2.1.4: knowing the tags of a dialog is not enough to act in it."""
        self.world.store_rules(BOB, {"allow": [ALICE]})
        response = self.alice.ask("SUBSCRIBE", BOB, {"Event": ["presence"]})
        headers = {
            "Event": ["presence"],
            "Expires": ["0"],
            "Call-ID": [response.call_id],
            "To": response.headers["To"],
            "From": [response.headers["From"][0].replace("alice", "bob")],
        }
        uri = str(response.contacts[0].uri)
        self.assertIn(self.bob.ask("SUBSCRIBE", uri, headers).status, (403, 481))
        self.assertEqual(len(self.world.stored(BOB)), 2)


class URITests(AuthenticationCase):
    """The uri in credentials (RFC 8760 §2.6, RFC 7616 §3.4.6)."""

    def ask(self, method: str, uri: str, given: str, **headers: list[str]) -> int:
        """The status of a request whose credentials are for another URI."""
        response = self.challenge(self.alice)
        challenge = parse_challenge(response.headers["WWW-Authenticate"][0])
        secret = ha1(challenge.algorithm, "alice", challenge.param("realm"), PASSWORD)
        request = self.alice.request(method, uri, headers)
        credentials = authorize(challenge, "alice", secret, method, given, 1, "c0ffee")
        request.set("Authorization", str(credentials))
        return self.answer(self.alice, request).status

    def test_of_another_server(self) -> None:
        """A stranger who challenged our user with a nonce of ours can't act in his name here: "a
        UAS MUST check if the Request-URI in the Authorization ... corresponds to a user for whom
        the UAS is willing to accept forwarded or direct requests".
        """
        contact = ["<sip:mallory@203.0.113.1>"]
        for given in (
            "sip:mallory.example.net",
            "sip:mallory@203.0.113.1",
            "sip:mallory.example.net;domain=example.com",
            "sip:example.com@mallory.example.net",
            "tel:+15551234",
            "example.com",
            "",
        ):
            status = self.ask("REGISTER", "sip:example.com", given, Contact=contact)
            self.assertEqual(status, 400, given)
            status = self.ask("REGISTER", "sip:example.com", given, To=[f"<{ALICE}>;tag=1"])
            self.assertEqual(status, 400, given)
            self.assertEqual(self.ask("SUBSCRIBE", BOB, given, Event=["presence"]), 400, given)
        self.assertEqual(self.world.stored(ALICE) | self.world.stored(BOB), set())

    def test_of_another_server_as_it_stands(self) -> None:
        """Nor where the stranger's Contact looked like one of ours, and came here unchanged."""
        uri = "sip:bob@mallory.example.net;domain=example.com"
        self.assertEqual(self.ask("SUBSCRIBE", uri, uri, Event=["presence"]), 400)

    def test_of_ours(self) -> None:
        """Proxies change what a request is addressed to, and phones write it in their own way: "it MAY
        still accept it if the two fields are not equivalent".
        """
        for given in (
            "sip:example.com",
            "sip:EXAMPLE.com:5060;transport=udp",
            "sips:alice@example.com",
            "sip:192.0.2.1:5060",
        ):
            self.assertEqual(self.ask("REGISTER", "sip:example.com", given), 200, given)


class DomainsTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Two users of the same name, in two domains, with two passwords."""
        self.world = World(["alice@example.com", "bob@example.org"])
        self.world.add_user("alice@example.org", "another password")
        self.com = self.world.phone("alice@example.com")
        self.org = self.world.phone("alice@example.org", password="another password")

    def test_realms(self) -> None:
        """RFC 3261 §22.1: the realm is the domain of the sender, and so is the password."""
        for phone in (self.com, self.org):
            uri = f"sip:{phone.domain}"
            phone.send(phone.request("REGISTER", uri), False)
            self.world.run(0.0)
            response = phone.inbox.popleft()
            assert isinstance(response, Response)
            realm = parse_challenge(response.headers["WWW-Authenticate"][0]).param("realm")
            self.assertEqual(realm, phone.domain)
            answer = phone.ask("REGISTER", uri, {"Contact": [phone.contact]})
            self.assertEqual(answer.status, 200)
        self.assertEqual(len(self.world.stored("sip:alice@example.com")), 1)
        self.assertEqual(len(self.world.stored("sip:alice@example.org")), 1)

    def test_wrong_domain(self) -> None:
        """The password of one is not that of the other."""
        phone = self.world.phone("alice@example.com", password="another password")
        self.assertEqual(phone.ask("REGISTER", "sip:example.com").status, 401)

    def test_across(self) -> None:
        """A user of one domain watches one of the other, in a dialog whose Contact says which."""
        bob = "sip:bob@example.org"
        self.world.store_rules(bob, {"allow": [self.com.aor]})
        response = self.com.ask("SUBSCRIBE", bob, {"Event": ["presence"]})
        self.assertEqual(response.status, 200)
        self.assertIn(";domain=example.org", response.headers["Contact"][0])
        self.world.run(0.0)
        self.com.notifies()
        again = self.com.ask(
            "SUBSCRIBE",
            str(response.contacts[0].uri),
            {
                "Event": ["presence"],
                "Expires": ["0"],
                "Call-ID": [response.call_id],
                "From": response.headers["From"],
                "To": response.headers["To"],
            },
        )
        self.assertEqual(again.status, 200)


class ChangeTests(AuthenticationCase):
    def test_password(self) -> None:
        """A changed password counts within a second, for known users as well."""
        self.assertEqual(self.alice.ask("REGISTER", "sip:example.com").status, 200)
        self.world.credentials.put(credential("alice", "example.com", "new"))
        self.world.run(1.0)
        self.assertEqual(self.alice.ask("REGISTER", "sip:example.com").status, 401)
        self.alice.password = "new"
        self.assertEqual(self.alice.ask("REGISTER", "sip:example.com").status, 200)

    def test_password_while_it_is_read(self) -> None:
        """What was read of a user before the change, and comes after it, counts no more."""
        credentials = self.world.credentials
        waiting: list[Deferred[Credential | None]] = []

        def slowly(username: str, domain: str) -> Deferred[Credential | None]:
            read: Deferred[Credential | None] = Deferred()
            waiting.append(read)
            return read

        old = self.successResultOf(credentials.lookup("alice", "example.com"))
        self.world.run(1.0)
        self.alice.password = "new"
        with patch.object(credentials, "lookup", slowly):
            self.alice.send(self.alice.request("REGISTER", "sip:example.com"))
            self.world.run(0.1)
            credentials.put(credential("alice", "example.com", "new"))
            self.world.run(1.0)
        waiting[0].callback(old)
        self.world.run(0.0)
        # He is asked for no other password than the one that counts.
        response = self.alice.inbox.popleft()
        assert isinstance(response, Response)
        self.assertEqual(response.status, 200)
        self.assertFalse(self.alice.inbox)
        self.alice.password = PASSWORD
        self.assertEqual(self.alice.ask("REGISTER", "sip:example.com").status, 401)

    def test_new_user(self) -> None:
        """A user who was unknown a moment ago is known at once when he is made."""
        carol = self.world.phone("dora@example.com")
        self.assertEqual(carol.ask("REGISTER", "sip:example.com").status, 401)
        self.world.credentials.put(credential("dora", "example.com", PASSWORD))
        self.assertEqual(carol.ask("REGISTER", "sip:example.com").status, 200)
