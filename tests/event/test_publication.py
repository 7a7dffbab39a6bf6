"""The event state compositor, decision by decision, and the flow of RFC 3903 §15."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from simplestack.event.publication import EventStateCompositor
from simplestack.outcome import Incoming, Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Response
from simplestack.state import Publication, Removed, ResourceState
from tests.event.fakes import Counter
from tests.roles.fakes import ALICE, incoming, request

PIDF = "application/pidf+xml"


class PublicationTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A compositor that takes every body but "bad"."""
        self.checked: list[bytes] = []
        self.compositor = EventStateCompositor(
            "presence",
            (PIDF, "application/pidf-diff+xml"),
            self.check,
            min_expires=60,
            default_expires=3600,
            max_expires=7200,
            max_body=1000,
            max_publications=2,
            allow_events="presence, reg",
        )
        self.state = ResourceState(ALICE)
        self.identifiers = Counter()

    def check(self, arrived: Incoming, state: ResourceState, body: bytes, now: float) -> bytes:
        """Refuse one body."""
        self.checked.append(body)
        if body == b"bad":
            raise SIPError(400, text="bad")
        return body

    def publish(
        self,
        body: bytes = b"",
        tag: str | list[str] | None = None,
        expires: int | None = None,
        now: float = 1000.0,
        event: str | None = "presence",
        content_type: str | None = PIDF,
        more: dict[str, str] | None = None,
    ) -> Outcome[Response]:
        """Send a PUBLISH, and apply what it decides."""
        headers: dict[str, str | list[str]] = {**(more or {})}
        if event is not None:
            headers["Event"] = event
        if tag is not None:
            headers["SIP-If-Match"] = tag
        if expires is not None:
            headers["Expires"] = str(expires)
        if body and content_type is not None:
            headers["Content-Type"] = content_type
        sent = request("PUBLISH", headers, body)
        outcome = self.compositor.decide(incoming(sent), self.state, now, self.identifiers)
        self.state.apply(outcome.changes)
        return outcome

    def refused(self, status: int, *arguments: Any, **more: Any) -> SIPError:
        """Publish, be refused, and see that nothing changed."""
        before = dict(self.state.publications)
        error: SIPError = self.assertRaises(SIPError, self.publish, *arguments, **more)
        self.assertEqual(error.status, status)
        self.assertTrue(error.text)
        self.assertEqual(self.state.publications, before)
        return error

    def tag(self, outcome: Outcome[Response]) -> str:
        """The entity-tag of a 200."""
        self.assertEqual(outcome.response.status, 200)
        tag = outcome.response.etag
        assert tag is not None
        return tag

    def kept(self) -> list[tuple[bytes, float]]:
        """The publications: body and end."""
        return [(each.body, each.expires_at) for each in self.state.publications.values()]


class PublishingTests(PublicationTestCase):
    def test_initial(self) -> None:
        """An initial PUBLISH keeps the body; the 200 has SIP-ETag and Expires (§6 step 6)."""
        outcome = self.publish(b"open", expires=600)
        self.assertEqual(outcome.response.get("Expires"), "600")
        self.assertTrue(outcome.response.to.tag)
        [publication] = self.state.publications.values()
        self.assertEqual(
            publication,
            Publication(
                aor=ALICE,
                id=publication.id,
                package="presence",
                entity_tag=self.tag(outcome),
                publisher=ALICE,
                content_type=PIDF,
                body=b"open",
                published_at=1000.0,
                expires_at=1600.0,
            ),
        )

    def test_flow(self) -> None:
        """The flow of RFC 3903 §15: publish, refresh, modify, and remove (§4.5)."""
        tag = self.tag(self.publish(b"open", expires=3600))
        [first] = self.state.publications.values()
        refreshed = self.publish(tag=tag, expires=3600, now=1500.0)
        self.assertEqual(self.kept(), [(b"open", 5100.0)])
        self.assertNotEqual(self.tag(refreshed), tag)
        modified = self.publish(b"closed", tag=self.tag(refreshed), expires=3600, now=2000.0)
        self.assertEqual(self.kept(), [(b"closed", 5600.0)])
        [last] = self.state.publications.values()
        self.assertEqual(last.id, first.id)
        removed = self.publish(tag=self.tag(modified), expires=0, now=2500.0)
        self.assertEqual(self.kept(), [])
        self.assertEqual(removed.response.get("Expires"), "0")
        [entry] = removed.changes.of(Publication)
        assert isinstance(entry, Removed)

    def test_new_entity_tag_each_time(self) -> None:
        """Each successful publication gets a new entity-tag (§6 step 6)."""
        tags = [self.tag(self.publish(b"open"))]
        for body in (b"", b"open", b"closed", b""):
            tags.append(self.tag(self.publish(body, tag=tags[-1])))
        tags.append(self.tag(self.publish(tag=tags[-1], expires=0)))
        self.assertEqual(len(set(tags)), 6)

    def test_old_entity_tag(self) -> None:
        """An entity-tag is replaced by the next one; the old one gets 412 (§6 step 3)."""
        tag = self.tag(self.publish(b"open"))
        self.publish(tag=tag)
        self.refused(412, tag=tag)
        self.refused(412, b"closed", tag=tag)
        self.refused(412, tag=tag, expires=0)

    def test_several_publications(self) -> None:
        """Publications without SIP-If-Match stand beside each other (§6 step 3)."""
        self.publish(b"phone")
        tag = self.tag(self.publish(b"desk"))
        self.publish(b"gone home", tag=tag)
        self.assertEqual([body for body, _ in self.kept()], [b"phone", b"gone home"])

    def test_same_octets(self) -> None:
        """A modify with the same octets refreshes: body and time of publication stay."""
        tag = self.tag(self.publish(b"open"))
        [before] = self.state.publications.values()
        self.publish(bytes(bytearray(b"open")), tag=tag, now=1500.0)
        [after] = self.state.publications.values()
        self.assertEqual((after.published_at, after.expires_at), (1000.0, 5100.0))
        self.assertIs(after.body, before.body)
        self.assertEqual(self.checked, [b"open"])

    def test_no_record_route_or_contact(self) -> None:
        """Record-Route and Contact are ignored, and not in the response (§6)."""
        response = self.publish(
            b"open", more={"Record-Route": "<sip:p;lr>", "Contact": "<sip:a@b>"}
        ).response
        self.assertIsNone(response.get("Record-Route"))
        self.assertIsNone(response.get("Contact"))


class RefusalTests(PublicationTestCase):
    def test_event(self) -> None:
        """No Event, or one that is not supported, gets 489 with Allow-Events (§6 step 2)."""
        for event in (None, "dialog", "presence.winfo"):
            error = self.refused(489, b"open", event=event)
            self.assertEqual(dict(error.headers)["Allow-Events"], "presence, reg")

    def test_single_entity_tag(self) -> None:
        """SIP-If-Match that is not a single entity-tag gets 400 (§6 step 3)."""
        tag = self.tag(self.publish(b"open"))
        self.refused(400, tag=[tag, tag])
        self.refused(400, tag=f"{tag}, other")
        self.refused(400, tag="")

    def test_unknown_entity_tag(self) -> None:
        """An entity-tag without match gets 412; "*" is no special value (§6, §8.1)."""
        self.refused(412, b"open", tag="unknown")
        self.publish(b"open")
        self.refused(412, b"open", tag="*")

    def test_entity_tag_of_another_package(self) -> None:
        """Entity-tags are matched for the resource and event package (§6 step 3)."""
        tag = self.tag(self.publish(b"open"))
        [publication] = self.state.publications.values()
        self.state.publications[publication.id] = publication._replace(package="dialog")
        self.refused(412, tag=tag)

    def test_too_brief(self) -> None:
        """Below the minimum the answer is 423 with Min-Expires; zero is not below (§6 step 4)."""
        error = self.refused(423, b"open", expires=59)
        self.assertEqual(dict(error.headers)["Min-Expires"], "60")
        tag = self.tag(self.publish(b"open", expires=60))
        self.refused(423, tag=tag, expires=1)

    def test_expires(self) -> None:
        """Expires is lowered, never raised, and chosen where there is none (§6 step 4)."""
        self.assertEqual(self.publish(b"a", expires=9999).response.get("Expires"), "7200")
        self.assertEqual(self.publish(b"b").response.get("Expires"), "3600")

    def test_body_missing(self) -> None:
        """A first PUBLISH without a body gets 400 (§6 step 5)."""
        self.refused(400)
        self.refused(400, expires=0)

    def test_content_type(self) -> None:
        """A content type that is not understood gets 415 with Accept (§6 step 5)."""
        error = self.refused(415, b"open", content_type="text/plain")
        self.assertEqual(
            dict(error.headers)["Accept"], "application/pidf+xml, application/pidf-diff+xml"
        )
        self.publish(b"open", content_type="Application/PIDF+xml ; charset=UTF-8")
        self.refused(400, b"open", content_type=None)

    def test_content_encoding(self) -> None:
        """An encoding that is not understood gets 415 with Accept-Encoding (RFC 3261 §8.2.3)."""
        error = self.refused(415, b"open", more={"Content-Encoding": "gzip"})
        self.assertEqual(dict(error.headers)["Accept-Encoding"], "identity")
        self.publish(b"open", more={"Content-Encoding": "identity"})

    def test_bad_body(self) -> None:
        """What the package can't use is refused, first or later, and nothing changes."""
        self.refused(400, b"bad")
        tag = self.tag(self.publish(b"open"))
        self.refused(400, b"bad", tag=tag)
        self.publish(tag=tag)

    def test_large_body(self) -> None:
        """A body over the limit gets 413 and is not read."""
        self.refused(413, b"x" * 1001)
        self.assertEqual(self.checked, [])

    def test_number(self) -> None:
        """Over the limit the source is pushed back until one ends: 503, Retry-After (§9)."""
        self.publish(b"a", expires=100)
        tag = self.tag(self.publish(b"b"))
        error = self.refused(503, b"c", now=1010.5)
        self.assertEqual(dict(error.headers)["Retry-After"], "90")
        self.publish(b"d", tag=tag)
        self.publish(b"c", now=1100.0)

    def test_settings_that_make_no_sense(self) -> None:
        """The intervals of the settings must be in order."""
        self.assertRaises(
            ValueError, EventStateCompositor, "x", (), self.check, min_expires=60, max_expires=5
        )


class EndTests(PublicationTestCase):
    def test_initial_with_expires_zero(self) -> None:
        """An initial PUBLISH with Expires 0 stores no event state (§6 step 5)."""
        outcome = self.publish(b"open", expires=0)
        self.assertEqual(outcome.response.get("Expires"), "0")
        self.assertTrue(self.tag(outcome))
        self.assertEqual(self.kept(), [])

    def test_remove_with_body(self) -> None:
        """With Expires 0 the state is removed, whatever body comes with it (§6 step 5)."""
        tag = self.tag(self.publish(b"open"))
        self.publish(b"closed", tag=tag, expires=0)
        self.assertEqual(self.kept(), [])

    def test_expires_on_time(self) -> None:
        """Soft state ends when it is not refreshed (§4.1)."""
        self.publish(b"a", expires=60)
        self.publish(b"b", expires=100)
        self.assertFalse(self.compositor.expire(self.state, 1059.9))
        [entry] = self.compositor.expire(self.state, 1060.0).of(Publication)
        assert isinstance(entry, Removed)
        assert isinstance(entry.record, Publication)
        self.assertEqual((entry.record.body, entry.reason), (b"a", "expired"))

    def test_expired_state_has_no_entity_tag(self) -> None:
        """State that "has already expired" gets 412 even where the clock has not acted (§4.3)."""
        tag = self.tag(self.publish(b"a", expires=60))
        self.refused(412, tag=tag, now=1060.0)

    def test_other_packages_are_left_alone(self) -> None:
        """The clock acts on publications of the package only."""
        self.publish(b"a", expires=60)
        [publication] = self.state.publications.values()
        self.state.publications[publication.id] = publication._replace(package="dialog")
        self.assertFalse(self.compositor.expire(self.state, 2000.0))
