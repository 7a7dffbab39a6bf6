"""The registrar, decision by decision."""

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.interfaces import IRole
from simplestack.outcome import Outcome
from simplestack.roles.registrar import Registrar
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import NameAddr
from simplestack.sip.message import Response, parse_message
from simplestack.state import Binding, Removed
from tests.roles.fakes import ALICE, BOB, Decided, incoming, request

PHONE = "<sip:alice@192.0.2.1>"
INSTANCE = '+sip.instance="<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"'


class RegistrarTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A registrar that knows nobody yet."""
        self.registrar = Registrar(min_expires=60, default_expires=3600, max_expires=7200)
        self.decided = Decided(self.registrar)

    def register(
        self,
        *contacts: str,
        expires: str | None = None,
        call_id: str = "first@192.0.2.1",
        cseq: int = 1,
        now: float = 1000.0,
        identity: str = ALICE,
        flow: str = "udp:a>b",
        more: Mapping[str, str | list[str]] | None = None,
    ) -> Outcome[Response]:
        """Send a REGISTER, its Call-ID and so on given, and ``more`` header fields."""
        headers: dict[str, str | list[str]] = {
            "Call-ID": call_id,
            "CSeq": f"{cseq} REGISTER",
            **(more or {}),
        }
        if contacts:
            headers["Contact"] = list(contacts)
        if expires is not None:
            headers["Expires"] = expires
        sent = request("REGISTER", headers)
        return self.decided.decide(incoming(sent, identity=identity, flow=flow), now)

    def refused(self, status: int, *contacts: str, **more: Any) -> SIPError:
        """Register, be refused, and see that nothing changed."""
        before = dict(self.decided.state.bindings)
        error: SIPError = self.assertRaises(SIPError, self.register, *contacts, **more)
        self.assertEqual(error.status, status)
        self.assertTrue(error.text)
        self.assertEqual(self.decided.state.bindings, before)
        return error

    def bound(self) -> dict[str, Binding]:
        """The bindings of Alice by their URI."""
        return {binding.uri: binding for binding in self.decided.state.bindings.values()}

    def answered(self, outcome: Outcome[Response]) -> dict[str, NameAddr]:
        """The contacts of a response as a client reads them, by URI."""
        response = parse_message(outcome.response.to_bytes())
        return {str(contact.uri): contact for contact in response.contacts}


class RegisteringTests(RegistrarTestCase):
    def test_role(self) -> None:
        """The registrar is a role that decides REGISTER."""
        self.assertTrue(verifyObject(IRole, self.registrar))
        self.assertEqual(self.registrar.methods, {"REGISTER"})

    def test_binds_a_contact(self) -> None:
        """A contact is bound, and the 200 lists it with its expires (RFC 3261 §10.3 step 8)."""
        outcome = self.register(PHONE, expires="600", more={"User-Agent": "phone/1"})
        self.assertEqual(outcome.response.status, 200)
        contact = self.answered(outcome)["sip:alice@192.0.2.1"]
        self.assertEqual(contact.param("expires"), "600")
        binding = self.bound()["sip:alice@192.0.2.1"]
        self.assertEqual(binding.aor, ALICE)
        self.assertEqual(binding.expires_at, 1600.0)
        self.assertEqual(binding.registered_at, 1000.0)
        self.assertEqual((binding.call_id, binding.cseq), ("first@192.0.2.1", 1))
        self.assertEqual(binding.event, "registered")
        self.assertEqual(binding.user_agent, "phone/1")
        self.assertEqual(binding.flow, "udp:a>b")
        self.assertEqual(binding.q, 1000)

    def test_response_has_date_and_tag(self) -> None:
        """The 200 has a To tag (RFC 3261 §8.2.6.2) and a Date (§10.3 step 8)."""
        response = self.register(PHONE, now=0.0).response
        self.assertEqual(response.get("Date"), "Thu, 01 Jan 1970 00:00:00 GMT")
        self.assertTrue(response.to.tag)

    def test_no_record_route_in_response(self) -> None:
        """Record-Route is ignored and not in the response (RFC 3261 §10.3)."""
        response = self.register(
            PHONE, more={"Record-Route": "<sip:proxy.example.com;lr>"}
        ).response
        self.assertIsNone(response.get("Record-Route"))

    def test_query(self) -> None:
        """Without Contact the 200 lists the bindings and nothing changes (§10.2.3)."""
        self.register(PHONE)
        outcome = self.register(cseq=2, now=1100.0)
        self.assertFalse(outcome.changes)
        contact = self.answered(outcome)["sip:alice@192.0.2.1"]
        self.assertEqual(contact.param("expires"), "3500")

    def test_query_of_nothing(self) -> None:
        """A user without bindings gets a 200 without Contact."""
        self.assertIsNone(self.register().response.get("Contact"))

    def test_parameters_come_back(self) -> None:
        """q, feature parameters and display name are stored and listed (RFC 3840 §7)."""
        text = f'"Alice A" {PHONE};q=0.7;audio;methods="INVITE,PUBLISH";{INSTANCE}'
        outcome = self.register(text)
        contact = self.answered(outcome)["sip:alice@192.0.2.1"]
        self.assertEqual(contact.display, "Alice A")
        self.assertEqual(contact.param("q"), "0.7")
        self.assertEqual(contact.param("audio"), "")
        self.assertEqual(contact.param("methods"), "INVITE,PUBLISH")
        binding = self.bound()["sip:alice@192.0.2.1"]
        self.assertEqual(binding.q, 700)
        self.assertEqual(binding.display_name, "Alice A")
        self.assertEqual(binding.instance, "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>")
        self.assertNotIn("expires", binding.params)
        self.assertNotIn("q=", binding.params)

    def test_several_contacts(self) -> None:
        """Each Contact is processed in turn, in one field or several (§10.3 step 7)."""
        self.register("<sip:a@192.0.2.1>, <sip:b@192.0.2.1>;expires=90", "<mailto:alice@x.org>")
        bound = self.bound()
        self.assertEqual(list(bound), ["sip:a@192.0.2.1", "sip:b@192.0.2.1", "mailto:alice@x.org"])
        self.assertEqual(bound["sip:b@192.0.2.1"].expires_at, 1090.0)
        self.assertEqual(bound["mailto:alice@x.org"].expires_at, 4600.0)

    def test_bad_q(self) -> None:
        """A q that is no qvalue is refused with 400 (RFC 3261 §25.1)."""
        for q in ("1.1", "2", "-0.1", "0.1234", "x", "", "1.001", "٠"):
            self.refused(400, f"{PHONE};q={q}")
        for q, thousandths in (("0", 0), ("1", 1000), ("0.5", 500), ("1.000", 1000), ("0.", 0)):
            self.assertEqual(stored_q(q), thousandths)

    def test_bad_contact(self) -> None:
        """A Contact that can't be read is refused with 400 and the whole request with it."""
        self.refused(400, PHONE, "<not a uri>")


def stored_q(q: str) -> int:
    """The q that is stored for a contact."""
    decided = Decided(Registrar())
    sent = request("REGISTER", {"Contact": f"<sip:a@b>;q={q}"})
    decided.decide(incoming(sent), 0.0)
    [binding] = decided.state.bindings.values()
    return binding.q


class ExpiryTests(RegistrarTestCase):
    def test_contact_parameter_comes_first(self) -> None:
        """The expires parameter, else Expires, else the default (§10.3 step 7)."""
        self.register("<sip:a@h>;expires=100", "<sip:b@h>", expires="200")
        self.register("<sip:c@h>", call_id="second")
        times = {uri: binding.expires_at - 1000 for uri, binding in self.bound().items()}
        self.assertEqual(times, {"sip:a@h": 100, "sip:b@h": 200, "sip:c@h": 3600})

    def test_too_brief(self) -> None:
        """An interval below the minimum gets 423 with Min-Expires (§10.3 step 7)."""
        error = self.refused(423, PHONE, expires="59")
        self.assertEqual(dict(error.headers)["Min-Expires"], "60")
        self.register(PHONE, expires="60")

    def test_an_hour_is_never_too_brief(self) -> None:
        """423 is "if and only if" the interval is also smaller than one hour (§10.3 step 7)."""
        self.decided.role = Registrar(min_expires=7200, default_expires=7200)
        self.refused(423, PHONE, expires="3599")
        self.register(PHONE, expires="3600")
        self.assertEqual(self.bound()["sip:alice@192.0.2.1"].expires_at, 4600.0)

    def test_too_long(self) -> None:
        """The registrar may choose less than is asked for (§10.3 step 7)."""
        outcome = self.register(f"{PHONE};expires=99999999999999999999")
        self.assertEqual(self.answered(outcome)["sip:alice@192.0.2.1"].param("expires"), "7200")

    def test_malformed_is_an_hour(self) -> None:
        """Malformed expires "SHOULD be treated as equivalent to 3600" (§10.2)."""
        self.register("<sip:a@h>;expires=soon", "<sip:b@h>;expires")
        self.assertEqual({b.expires_at for b in self.bound().values()}, {4600.0})

    def test_expires_on_time(self) -> None:
        """A binding ends when its time is over, by the event expired (RFC 3680 §4.7.1)."""
        self.register(PHONE, expires="60")
        self.assertFalse(self.registrar.expire(self.decided.state, 1059.9))
        changes = self.registrar.expire(self.decided.state, 1060.0)
        [removed] = changes.of(Binding)
        assert isinstance(removed, Removed)
        self.assertEqual(removed.reason, "expired")

    def test_an_expired_binding_is_gone_at_once(self) -> None:
        """A binding is not listed after its time, even where the clock has not acted yet."""
        self.register(PHONE, expires="60")
        outcome = self.register(cseq=2, now=1060.0)
        self.assertIsNone(outcome.response.get("Contact"))
        [removed] = outcome.changes.of(Binding)
        assert isinstance(removed, Removed)
        self.assertEqual(removed.reason, "expired")

    def test_an_expired_binding_does_not_order(self) -> None:
        """A CSeq is compared with bindings that are there: a phone that restarts may count anew."""
        self.register(PHONE, expires="60", cseq=9)
        outcome = self.register(PHONE, cseq=1, now=1060.0)
        self.assertEqual([b.event for b in self.bound().values()], ["registered"])
        self.assertEqual(len(outcome.changes), 2)


class OrderTests(RegistrarTestCase):
    def test_refresh(self) -> None:
        """A higher CSeq of the same Call-ID refreshes: same id, first registration kept."""
        self.register(PHONE)
        [first] = self.bound().values()
        self.register(PHONE, cseq=2, now=1500.0, expires="600")
        [binding] = self.bound().values()
        self.assertEqual(
            binding,
            first._replace(cseq=2, refreshed_at=1500.0, expires_at=2100.0, event="refreshed"),
        )

    def test_not_higher_cseq_fails(self) -> None:
        """The same Call-ID with a CSeq not higher aborts the update with 500 (step 7)."""
        self.register(PHONE, cseq=5)
        self.refused(500, PHONE, cseq=5)
        self.refused(500, PHONE, cseq=4)
        self.refused(500, f"{PHONE};expires=0", cseq=5)

    def test_another_call_id_updates(self) -> None:
        """Another Call-ID updates whatever its CSeq (step 7), and is stored."""
        self.register(PHONE, cseq=5)
        self.register(PHONE, cseq=1, call_id="rebooted")
        [binding] = self.bound().values()
        self.assertEqual((binding.call_id, binding.cseq), ("rebooted", 1))

    def test_all_or_nothing(self) -> None:
        """If one update fails none is made (step 7: "if and only if all [...] succeed")."""
        self.register("<sip:a@h>", cseq=5)
        self.refused(500, "<sip:b@h>", "<sip:a@h>", cseq=5)
        self.refused(423, "<sip:b@h>", "<sip:a@h>;expires=1", cseq=6)

    def test_equivalent_uri(self) -> None:
        """Bindings are found by URI comparison (§19.1.4): escapes, host case, extra parameters."""
        self.register("<sip:%61lice@EXAMPLE.org;audio=1>")
        self.register("<sip:alice@example.org>", cseq=2)
        self.assertEqual(list(self.bound()), ["sip:alice@example.org"])
        self.register("<sip:Alice@example.org>", cseq=3)
        self.register("<sip:alice@example.org;transport=tcp>", cseq=4)
        self.assertEqual(len(self.bound()), 3)

    def test_remove_one(self) -> None:
        """expires=0 removes one binding, by the event unregistered (RFC 3680 §4.7.1)."""
        self.register("<sip:a@h>", "<sip:b@h>")
        outcome = self.register("<sip:a@h>;expires=0", cseq=2)
        self.assertEqual(list(self.bound()), ["sip:b@h"])
        [removed] = outcome.changes.of(Binding)
        assert isinstance(removed, Removed)
        self.assertEqual(removed.reason, "unregistered")

    def test_remove_what_is_not_there(self) -> None:
        """Removing an unknown contact changes nothing and is a 200."""
        self.assertFalse(self.register(f"{PHONE};expires=0").changes)

    def test_same_contact_twice(self) -> None:
        """Of the same contact twice in a request the last holds, as they are taken in turn."""
        outcome = self.register("<sip:a@h>;expires=100", "<sip:a@h>;expires=200")
        self.assertEqual([b.expires_at for b in self.bound().values()], [1200.0])
        outcome = self.register("<sip:b@h>", "<sip:b@h>;expires=0", cseq=2)
        self.assertFalse(outcome.changes)


class WildcardTests(RegistrarTestCase):
    def test_removes_all(self) -> None:
        """With "Expires: 0" "Contact: *" removes every binding (§10.2.2)."""
        self.register("<sip:a@h>", "<sip:b@h>", cseq=3)
        outcome = self.register("*", expires="0", call_id="other")
        self.assertEqual(self.bound(), {})
        self.assertIsNone(outcome.response.get("Contact"))
        self.assertEqual(
            {entry.reason for entry in outcome.changes.of(Binding) if isinstance(entry, Removed)},
            {"unregistered"},
        )

    def test_needs_expires_zero(self) -> None:
        """Any other expiration, or none, is a 400 (step 6)."""
        self.register(PHONE)
        self.refused(400, "*", cseq=2)
        self.refused(400, "*", expires="60", cseq=2)

    def test_stands_alone(self) -> None:
        """With "additional Contact fields" the request is invalid (step 6)."""
        self.register(PHONE)
        self.refused(400, "*", PHONE, expires="0", cseq=2)
        self.refused(400, f"*, {PHONE}", expires="0", cseq=2)
        self.refused(400, "*;expires=0", expires="0", cseq=2)

    def test_order(self) -> None:
        """With the Call-ID of a binding the CSeq must be higher, else all stay (step 6)."""
        self.register("<sip:a@h>", cseq=3)
        self.register("<sip:b@h>", call_id="other")
        self.refused(500, "*", expires="0", cseq=3)
        self.register("*", expires="0", cseq=4)
        self.assertEqual(self.bound(), {})


class AuthorizationTests(RegistrarTestCase):
    def test_others_may_not(self) -> None:
        """Who may not modify the bindings of an AOR gets 403 (step 4)."""
        self.refused(403, PHONE, identity=BOB)
        self.refused(403, PHONE, identity="")

    def test_third_party(self) -> None:
        """A setting lets an identity register for others (§10.3 step 4)."""
        self.decided.role = Registrar(third_parties=[BOB])
        self.register(PHONE, identity=BOB)
        self.assertEqual(len(self.bound()), 1)


class LimitTests(RegistrarTestCase):
    def test_number_of_contacts(self) -> None:
        """An AOR has a bounded number of contacts; more are refused with 403."""
        self.decided.role = Registrar(max_contacts=2)
        self.register("<sip:a@h>", "<sip:b@h>")
        self.refused(403, "<sip:c@h>", cseq=2)
        self.register("<sip:a@h>;expires=0", "<sip:c@h>", cseq=2)
        self.assertEqual(list(self.bound()), ["sip:b@h", "sip:c@h"])

    def test_length(self) -> None:
        """A contact, a Path and a Call-ID have a bounded length; beyond it the answer is 413."""
        self.decided.role = Registrar(max_contact_length=100)
        long = "x" * 100
        self.refused(413, f"<sip:{long}@h>")
        self.refused(413, PHONE, call_id=long + "y")
        self.refused(413, PHONE, more={"Path": f"<sip:{long}.example.com;lr>", "Supported": "path"})

    def test_user_agent_is_cut(self) -> None:
        """Of User-Agent only so much is kept as people look at."""
        self.register(PHONE, more={"User-Agent": "x" * 5000})
        [binding] = self.bound().values()
        self.assertEqual(binding.user_agent, "x" * 200)

    def test_settings_that_make_no_sense(self) -> None:
        """The intervals of the settings must be in order."""
        self.assertRaises(ValueError, Registrar, min_expires=7200, default_expires=3600)


class AdministrationTests(RegistrarTestCase):
    def test_deactivate(self) -> None:
        """An administrator ends bindings as deactivated, probation or rejected (RFC 3680 §4.7.1)."""
        self.register("<sip:a@h>", "<sip:b@h>")
        state = self.decided.state
        first = next(iter(state.bindings))
        changes = self.registrar.deactivate(state, [first, "unknown"], "probation", retry_after=30)
        [removed] = changes.of(Binding)
        assert isinstance(removed, Removed)
        self.assertEqual((removed.record.id, removed.reason), (first, "probation"))
        self.assertEqual(removed.retry_after, 30)

    def test_only_known_ends(self) -> None:
        """Only events of RFC 3680 §5.2.2 end a binding, and probation says for how long."""
        state = self.decided.state
        self.assertRaises(ValueError, self.registrar.deactivate, state, [], "created")
        self.assertRaises(ValueError, self.registrar.deactivate, state, [], "probation")

    def test_shorten(self) -> None:
        """Shortened by the administrator; a binding is never made longer (RFC 3680 §4.7.1)."""
        self.register("<sip:a@h>;expires=100", "<sip:b@h>;expires=1000")
        state = self.decided.state
        state.apply(self.registrar.shorten(state, list(state.bindings), 500, 1000.0))
        bound = self.bound()
        self.assertEqual(
            [(b.expires_at, b.event) for b in bound.values()],
            [(1100.0, "registered"), (1500.0, "shortened")],
        )

    def test_create(self) -> None:
        """Created by the administrator, then refreshed by the client (RFC 3680 §4.7.1)."""
        state = self.decided.state
        created = self.registrar.create(
            state, "sip:alice@192.0.2.1", 600, 1000.0, self.decided.identifiers
        )
        state.apply(created)
        [binding] = self.bound().values()
        self.assertEqual((binding.event, binding.expires_at), ("created", 1600.0))
        self.register(PHONE)
        [refreshed] = self.bound().values()
        self.assertEqual((refreshed.event, refreshed.id), ("refreshed", binding.id))
