"""Conditional notification (RFC 5839)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.event.entity import entity_tag
from simplestack.event.notifier import NotifyRequest
from simplestack.sip.errors import SIPError
from simplestack.state import ChangeSet
from tests.event.fakes import (
    ALICE,
    Agent,
    FakePackage,
    PartialPackage,
    publication,
    read,
    rules,
    subscribe,
)

CAROL = "sip:carol@example.com"


class Case(SynchronousTestCase):
    """An agent whose subscribers take entity-tags."""

    def setUp(self) -> None:
        """An agent with one package."""
        self.package = FakePackage()
        self.agent = Agent(self.package)
        self.cseq = 1

    def join(self, *headers: str, expires: int = 3600, identity: str = ALICE) -> NotifyRequest:
        """An initial SUBSCRIBE; its NOTIFY, answered."""
        (notify,) = self.agent.subscribe(
            subscribe(headers=headers, expires=expires, identity=identity, call_id=identity)
        )
        self.agent.answer(notify)
        return notify

    def again(self, *headers: str, expires: int = 3600) -> list[NotifyRequest]:
        """A SUBSCRIBE in the dialog; NOTIFYs are answered."""
        self.cseq += 1
        requests = self.agent.subscribe(
            subscribe(
                headers=headers,
                expires=expires,
                to_tag=self.agent.one().local_tag,
                call_id=self.agent.one().call_id,
                cseq=self.cseq,
            )
        )
        for request in requests:
            self.agent.answer(request)
        return requests

    def put(self, body: bytes) -> list[NotifyRequest]:
        """A change of state; NOTIFYs are answered."""
        requests = self.agent.put(publication("p", body))
        for request in requests:
            self.agent.answer(request)
        return requests

    def status(self) -> int:
        """The status of the last response."""
        assert self.agent.response is not None
        return self.agent.response.status

    def tag(self, notify: NotifyRequest) -> str:
        """The entity-tag of a NOTIFY."""
        tag = read(notify).etag
        assert tag
        return tag


class EntityTagTests(Case):
    """Entity-tags in NOTIFY."""

    def test_each_state_its_own(self) -> None:
        """Each entity has a tag of its own, one that is the same has the same (§6.1)."""
        first = self.tag(self.join())
        second = self.tag(self.put(b"open")[0])
        third = self.tag(self.put(b"away")[0])
        self.assertEqual(len({first, second, third}), 3)
        self.assertEqual(self.tag(self.put(b"open")[0]), second)

    def test_shared(self) -> None:
        """Who sees the same gets the same tag, who sees other things another one (§4)."""
        self.package.handlings[CAROL] = "polite-block"
        self.put(b"open")
        first = self.tag(self.join())
        self.assertEqual(self.tag(self.join(identity="sip:dave@example.com")), first)
        self.assertNotEqual(self.tag(self.join(identity=CAROL)), first)

    def test_type_is_of_the_entity(self) -> None:
        """Another Content-Type is another entity (§4)."""
        self.assertNotEqual(entity_tag("text/a", b"x"), entity_tag("text/b", b"x"))

    def test_pending_has_none(self) -> None:
        """While nothing may be seen there is no entity."""
        self.package.default = "confirm"
        self.assertIsNone(read(self.join()).etag)

    def test_partial_documents(self) -> None:
        """A package with versions has tags where it says what its documents stand for (§4)."""
        package = PartialPackage()
        self.agent = Agent(package)
        self.assertIsNone(read(self.join()).etag)

        def fingerprint(state: object, permissions: object) -> bytes:
            return b"%r" % sorted(p.body for p in self.agent.state.publications.values())

        package.fingerprint = fingerprint  # type: ignore[attr-defined]  # an optional method
        first = self.tag(self.put(b"open")[0])
        self.assertEqual(self.again(f"Suppress-If-Match: {first}"), [])
        self.assertEqual(self.status(), 204)
        self.assertNotEqual(self.tag(self.put(b"away")[0]), first)


class RefreshTests(Case):
    """Conditions in a dialog."""

    def test_refresh(self) -> None:
        """What matches is answered with 204, and lengthens the subscription (§5.6, §6.3)."""
        tag = self.tag(self.join())
        self.agent.now += 1000
        self.assertEqual(self.again(f"Suppress-If-Match: {tag}"), [])
        self.assertEqual(self.status(), 204)
        assert self.agent.response is not None
        self.assertEqual(self.agent.response.get("Expires"), "3600")
        self.assertEqual(self.agent.one().expires_at, self.agent.now + 3600)
        (notify,) = self.put(b"open")
        self.assertEqual(read(notify).body, b"open")

    def test_stale(self) -> None:
        """What does not match gets 200 and a NOTIFY with the state (§5.2)."""
        tag = self.tag(self.join())
        self.put(b"open")
        (notify,) = self.again(f"Suppress-If-Match: {tag}")
        self.assertEqual(self.status(), 200)
        self.assertEqual(read(notify).body, b"open")

    def test_back_again(self) -> None:
        """A condition that once did not hold is over: state that comes back is told (§6.3)."""
        tag = self.tag(self.join())
        self.again(f"Suppress-If-Match: {tag}")
        self.assertEqual(len(self.put(b"open")), 1)
        changes = ChangeSet(self.agent.state.aor)
        changes.remove(self.agent.state.publications["p"], "expired")
        (notify,) = self.agent.change(changes)
        self.assertEqual(read(notify).etag, tag)
        self.assertEqual(read(notify).body, b"closed")
        self.agent.answer(notify)
        # After a restart as well: that the condition is over has been committed.
        self.assertEqual(self.agent.one().suppress, "")

    def test_anything(self) -> None:
        """The wildcard quenches the subscription until the next SUBSCRIBE (§5.2)."""
        self.join()
        self.assertEqual(self.again("Suppress-If-Match: *"), [])
        self.assertEqual(self.status(), 204)
        self.assertEqual(self.put(b"open"), [])
        self.assertEqual(self.put(b"away"), [])
        (notify,) = self.again()
        self.assertEqual(read(notify).body, b"away")
        self.assertEqual(len(self.put(b"open")), 1)

    def test_anything_told_again(self) -> None:
        """After the wildcard, a condition that holds goes on from what the subscriber has."""
        tag = self.tag(self.join())
        self.again("Suppress-If-Match: *")
        self.put(b"open")
        other = self.again()[0]
        self.again("Suppress-If-Match: *")
        changes = ChangeSet(self.agent.state.aor)
        changes.remove(self.agent.state.publications["p"], "expired")
        self.assertEqual(self.agent.change(changes), [])
        self.assertEqual(self.again(f"Suppress-If-Match: {tag}"), [])
        (notify,) = self.put(b"open")
        self.assertEqual(self.tag(notify), self.tag(other))

    def test_unsubscribe(self) -> None:
        """An end of the subscription that matches sends no NOTIFY either (§5.7)."""
        tag = self.tag(self.join())
        self.assertEqual(self.again(f"Suppress-If-Match: {tag}", expires=0), [])
        self.assertEqual(self.status(), 204)
        self.assertEqual(self.agent.state.subscriptions, {})
        self.assertEqual(len(self.agent.notifier), 0)

    def test_new_status_is_told(self) -> None:
        """A change of the subscription is told, without a body where the condition holds (§6.2)."""
        self.package.default = "confirm"
        self.join()
        self.again("Suppress-If-Match: *")
        self.package.default = "allow"
        (notify,) = self.agent.put(rules(b"1"))
        message = read(notify)
        self.assertEqual(message.get("Subscription-State"), "active;expires=3600")
        self.assertEqual((message.body, message.get("Content-Type")), (b"", None))
        self.assertTrue(message.etag)

    def test_timeout_is_told(self) -> None:
        """The end by the clock is a change of the header: told, without a body (§6.2)."""
        tag = self.tag(self.join())
        self.again(f"Suppress-If-Match: {tag}")
        self.agent.now += 3600
        (notify,) = self.agent.expire()
        message = read(notify)
        self.assertEqual(message.get("Subscription-State"), "terminated;reason=timeout")
        self.assertEqual((message.body, message.etag), (b"", tag))

    def test_several(self) -> None:
        """There is a single condition (§5.2)."""
        self.join()
        error = self.assertRaises(
            SIPError, self.again, "Suppress-If-Match: a", "Suppress-If-Match: b"
        )
        self.assertEqual(error.status, 400)

    def test_restart(self) -> None:
        """After a restart who has the state already is not told it again (§6.1)."""
        tag = self.tag(self.join())
        self.again(f"Suppress-If-Match: {tag}")
        self.agent.restart()
        changes = ChangeSet(self.agent.state.aor)
        self.assertEqual(self.agent.notifier.full_state(changes, self.agent.now), [])
        (notify,) = self.put(b"open")
        self.assertEqual(read(notify).body, b"open")
        self.agent.restart()
        changes = ChangeSet(self.agent.state.aor)
        self.assertEqual(len(self.agent.notifier.full_state(changes, self.agent.now)), 1)

    def test_other_type(self) -> None:
        """A refresh with another Accept that has its entity already sees the next changes."""
        self.package.content_types = ("text/state", "text/other")
        self.join()
        tag = entity_tag("text/other", b"closed")
        self.assertEqual(self.again("Accept: text/other", f"Suppress-If-Match: {tag}"), [])
        self.assertEqual(self.status(), 204)
        (notify,) = self.put(b"open")
        self.assertEqual(read(notify).get("Content-Type"), "text/other")


class InitialTests(Case):
    """Conditions outside of a dialog."""

    def test_resume(self) -> None:
        """A subscription is taken up again by a NOTIFY without a body (§5.5, §6.2)."""
        tag = self.tag(self.join())
        self.again(expires=0)
        message = read(self.join(f"Suppress-If-Match: {tag}"))
        self.assertEqual(self.status(), 200)
        self.assertEqual(message.get("Subscription-State"), "active;expires=3600")
        self.assertEqual((message.etag, message.body), (tag, b""))
        self.assertEqual(message.get("Content-Length"), "0")
        self.assertIsNone(message.get("Content-Type"))
        (notify,) = self.put(b"open")
        self.assertEqual(read(notify).body, b"open")

    def test_poll(self) -> None:
        """A poll that has the state gets a last NOTIFY without it (§5.4)."""
        tag = self.tag(self.join(expires=0))
        message = read(self.join(f"Suppress-If-Match: {tag}", expires=0))
        self.assertEqual(message.get("Subscription-State"), "terminated;reason=timeout")
        self.assertEqual((message.etag, message.body), (tag, b""))
        self.put(b"open")
        self.assertEqual(read(self.join(f"Suppress-If-Match: {tag}", expires=0)).body, b"open")
        self.assertEqual(read(self.join("Suppress-If-Match: *", expires=0)).body, b"")

    def test_resumed_partial(self) -> None:
        """The first document of a subscription is full, though it came later (RFC 3858 §4.1)."""
        package = PartialPackage()
        self.agent = Agent(package)
        self.assertEqual(read(self.join("Suppress-If-Match: *")).body, b"")
        self.assertEqual(self.put(b"open"), [])
        (notify,) = self.again()
        self.assertTrue(read(notify).body.startswith(b"full 0"))
