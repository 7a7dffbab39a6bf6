"""Registration information: RFC 3680."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.documents.reginfo import (
    MEDIA_TYPE,
    Contact,
    RegInfo,
    Registration,
    parse_reginfo,
)
from simplestack.event.notifier import NotifyRequest
from simplestack.event.partial import partial_tag
from simplestack.interfaces import IEventPackage, IRole
from simplestack.roles.regevent import RegEvent
from simplestack.sip.errors import SIPError
from simplestack.state import Binding, ChangeSet, ResourceState
from tests.event.fakes import ALICE, AOR, Agent, Counter, read, subscribe

APP = "sip:app@example.com"

_BINDING = Binding(
    aor=AOR,
    id="76",
    uri="sip:bob@pc34.example.com",
    key="sip:bob@pc34.example.com",
    display_name="",
    params="",
    q=800,
    call_id="88askjda9@pc34.example.com",
    cseq=9976,
    expires_at=4600.0,
    registered_at=1000.0,
    refreshed_at=1000.0,
    event="registered",
    path="",
    instance="",
    reg_id=0,
    user_agent="",
    flow="",
)


def document(request: NotifyRequest) -> RegInfo:
    """The registration information in a NOTIFY."""
    message = read(request)
    if message.get("Content-Type") != "application/reginfo+xml":
        raise AssertionError(message.get("Content-Type"))
    return parse_reginfo(message.body)


class Case(SynchronousTestCase):
    """An agent for registration information, watched by an application."""

    def setUp(self) -> None:
        """Start anew."""
        self.role = RegEvent([APP, "Example.NET"])
        self.agent = Agent(*self.role.packages)

    def watch(self, who: str = APP) -> list[NotifyRequest]:
        """Subscribe."""
        return self.agent.subscribe(subscribe(identity=who, event="reg", call_id=who))

    def remove(self, reason: str, retry_after: int | None = None) -> list[NotifyRequest]:
        """End the binding."""
        changes = ChangeSet(AOR)
        changes.remove(self.agent.state.bindings["76"], reason, retry_after=retry_after)
        return self.agent.change(changes)


class FlowTests(Case):
    """RFC 3680 §6, with its erratum 3494."""

    def test_flow(self) -> None:
        """The example: no registration, then a contact (3680 §6)."""
        (notify,) = self.watch()
        message = read(notify)
        self.assertEqual(message.get("Event"), "reg")
        self.assertEqual(message.get("Subscription-State"), "active;expires=3600")
        (registration,) = document(notify).registrations
        identifier = registration.id
        self.assertEqual(
            document(notify), RegInfo(0, "full", (Registration(AOR, identifier, "init"),))
        )
        self.agent.answer(notify)
        (notify,) = self.agent.put(_BINDING)
        contact = Contact(
            "76",
            "active",
            "registered",
            "sip:bob@pc34.example.com",
            duration_registered=0,
            expires=3600,
            q="0.8",
            callid="88askjda9@pc34.example.com",
            cseq=9976,
        )
        self.assertEqual(
            document(notify),
            RegInfo(1, "partial", (Registration(AOR, identifier, "active", (contact,)),)),
        )


class AuthorizationTests(Case):
    """RFC 3680 §4.6."""

    def test_who_may_watch(self) -> None:
        """The user himself, named identities, and all of named domains; nobody else."""
        package = self.role.packages[0]
        state = ResourceState(AOR)
        for who, handling in [
            (AOR, "allow"),
            (APP, "allow"),
            ("sip:anyone@example.net", "allow"),
            (ALICE, "block"),
            ("sip:app@example.org", "block"),
            ("", "block"),
        ]:
            self.assertEqual(package.authorize(state, who, 0.0).handling, handling, who)

    def test_by_default_only_the_user(self) -> None:
        """Without a setting users watch their own registrations alone (3680 §4.6)."""
        package = RegEvent().packages[0]
        state = ResourceState(AOR)
        self.assertEqual(package.authorize(state, AOR, 0.0).handling, "allow")
        self.assertEqual(package.authorize(state, APP, 0.0).handling, "block")


class DocumentTests(Case):
    """RFC 3680 §4.7, §5.1."""

    def setUp(self) -> None:
        """Watch one registration."""
        super().setUp()
        self.agent.put(_BINDING)
        (notify,) = self.watch()
        self.agent.answer(notify)
        self.first = document(notify)

    def test_full_state(self) -> None:
        """The first document has all contacts (3680 §4.7.2)."""
        (registration,) = self.first.registrations
        self.assertEqual((self.first.state, registration.state), ("full", "active"))
        self.assertEqual([c.id for c in registration.contacts], ["76"])

    def test_events_of_active_contacts(self) -> None:
        """Refreshed, shortened and created contacts are active (3680 §4.7.1)."""
        for event in ("refreshed", "shortened", "created"):
            self.agent.now += 1
            (notify,) = self.agent.put(_BINDING._replace(event=event))
            self.agent.answer(notify)
            (contact,) = document(notify).registrations[0].contacts
            self.assertEqual((contact.state, contact.event), ("active", event))
            # "If the event attribute has a value of shortened, the "expires" attribute MUST be
            # present."
            self.assertEqual(contact.expires, int(4600 - self.agent.now))
            self.assertEqual(contact.duration_registered, int(self.agent.now - 1000))

    def test_events_of_ended_contacts(self) -> None:
        """Each way to end is told, and the last contact ends the registration (3680 §4.7.1)."""
        for event in ("expired", "deactivated", "unregistered", "rejected"):
            self.setUp()
            (notify,) = self.remove(event)
            (registration,) = document(notify).registrations
            (contact,) = registration.contacts
            self.assertEqual(registration.state, "terminated")
            self.assertEqual((contact.state, contact.event), ("terminated", event))
            self.assertIsNone(contact.expires)

    def test_probation(self) -> None:
        """With probation comes retry-after (3680 §5.1)."""
        for given_, written in ((30, 30), (None, 0)):
            self.setUp()
            (notify,) = self.remove("probation", given_)
            (contact,) = document(notify).registrations[0].contacts
            self.assertEqual((contact.event, contact.retry_after), ("probation", written))

    def test_one_of_two_ends(self) -> None:
        """While a contact is left the registration is active (3680 §4.7.1)."""
        (notify,) = self.agent.put(_BINDING._replace(id="77"))
        self.agent.answer(notify)
        (notify,) = self.remove("expired")
        (registration,) = document(notify).registrations
        self.assertEqual((registration.state, len(registration.contacts)), ("active", 1))

    def test_refreshes_may_be_left_out(self) -> None:
        """Whether a refresh sends a NOTIFY "is policy dependent" (3680 §4.7.2)."""
        self.agent = Agent(*RegEvent([APP], refreshes=False).packages, records=[_BINDING])
        (notify,) = self.watch()
        self.agent.answer(notify)
        self.assertEqual(self.agent.put(_BINDING._replace(event="refreshed")), [])
        self.assertEqual(len(self.agent.put(_BINDING._replace(event="shortened"))), 1)

    def test_contact_parameters(self) -> None:
        """Parameters that RFC 3261 does not define are unknown-param (3680 §5.1, 5628 §6)."""
        (notify,) = self.agent.put(
            _BINDING._replace(
                params=';+sip.instance="<urn:uuid:1>";reg-id=1;audio',
                display_name="Bob's <phone>",
                q=1000,
            )
        )
        (contact,) = document(notify).registrations[0].contacts
        self.assertEqual(
            contact.unknown_params,
            (("+sip.instance", '"<urn:uuid:1>"'), ("reg-id", "1"), ("audio", "")),
        )
        self.assertEqual((contact.display_name, contact.q), ("Bob's <phone>", "1"))

    def test_qvalues(self) -> None:
        """The q is written as a qvalue (3261 §25.1)."""
        for q, written in ((0, "0"), (1, "0.001"), (500, "0.5"), (125, "0.125"), (1000, "1")):
            self.setUp()
            (notify,) = self.agent.put(_BINDING._replace(q=q))
            (contact,) = document(notify).registrations[0].contacts
            self.assertEqual(contact.q, written)

    def test_ids(self) -> None:
        """The registration id is the same for an AOR, another one for another (3680 §5.1)."""
        package = self.role.packages[0]
        ids = {
            parse_reginfo(
                package.full(ResourceState(aor), None, "application/reginfo+xml", now).render(0)
            )
            .registrations[0]
            .id
            for aor in (AOR, ALICE)
            for now in (1.0, 2.0)
        }
        self.assertEqual(len(ids), 2)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["put", "remove", "answer", "fail"]), st.sampled_from("abc")),
            max_size=25,
        )
    )
    def test_partial_documents_add_up(self, steps: list[tuple[str, str]]) -> None:
        """What a subscriber puts together is the state of the registration (3680 §5.2)."""
        self.setUp()
        agent = self.agent
        table = {"76"}
        state = "active"
        missed = False
        under_way: list[NotifyRequest] = []

        def take(requests: list[NotifyRequest]) -> None:
            under_way.extend(requests)

        def answer(ok: bool) -> None:
            nonlocal state, missed
            for request in [under_way.pop() for _ in list(under_way)]:
                if ok:
                    got = document(request)
                    (registration,) = got.registrations
                    if got.state == "full":
                        table.clear()
                        missed = False
                    self.assertFalse(missed, "a partial document after a lost one")
                    state = registration.state
                    for contact in registration.contacts:
                        table.discard(contact.id)
                        if contact.state == "active":
                            table.add(contact.id)
                else:
                    missed = True
                take(agent.answer(request, ok))

        for name, who in steps:
            agent.now += 1
            if name == "put":
                take(agent.put(_BINDING._replace(id=who, key=who)))
            elif name == "remove":
                changes = ChangeSet(AOR)
                if who in agent.state.bindings:
                    changes.remove(agent.state.bindings[who], "unregistered")
                    take(agent.change(changes))
            else:
                answer(name == "answer")
        while under_way:
            answer(True)
        if missed:
            take(agent.put(_BINDING._replace(id="a", key="a")))
            answer(True)
        self.assertEqual(table, set(agent.state.bindings))
        self.assertEqual(state == "active", bool(table))


class InterfaceTests(SynchronousTestCase):
    """What the house expects of roles and packages."""

    def test_interfaces(self) -> None:
        """The role and its package provide what they say."""
        role = RegEvent()
        verifyObject(IRole, role)
        (package,) = role.packages
        verifyObject(IEventPackage, package)
        self.assertEqual((package.name, package.default_expires), ("reg", 3761))

    def test_no_method_is_its_own(self) -> None:
        """The role decides no request; the bindings are the registrar's."""
        role = RegEvent()
        state = ResourceState(AOR, [_BINDING])
        self.assertRaises(SIPError, role.decide, subscribe(), state, 0.0, Counter())
        self.assertFalse(role.expire(state, 1e9))

    def test_order(self) -> None:
        """The entity-tag is the same in whichever order a database gives the contacts (5839 §4)."""
        (package,) = RegEvent().packages
        bindings = [_BINDING._replace(id=each, key=each) for each in "bca"]
        self.assertEqual(
            partial_tag(package, ResourceState(AOR, bindings), None, MEDIA_TYPE),
            partial_tag(package, ResourceState(AOR, bindings[::-1]), None, MEDIA_TYPE),
        )
