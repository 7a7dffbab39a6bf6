"""Partial notification (RFC 5263) and partial publication (RFC 5264) of presence."""

from collections.abc import Hashable

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import MEDIA_TYPE, Presence, Tuple, parse_presence
from simplestack.documents.pidfdiff import (
    PidfDiff,
    PidfFull,
    parse_pidf_diff,
    patch,
    presence_document,
)
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_content
from simplestack.event.negotiation import partial_form
from simplestack.event.notifier import NotifyRequest
from simplestack.event.partialpresence import PARTIAL_TYPE, PRESENCE_DELTAS, patched
from simplestack.interfaces import Body
from simplestack.sip.errors import SIPError
from simplestack.state import ChangeSet, ResourceState
from tests.documents.examples import DIRECTORY
from tests.event.fakes import AOR, Agent, FakePackage, publication, read, rules, subscribe

ACCEPT = f"Accept: {MEDIA_TYPE};q=0.3, {PARTIAL_TYPE};q=1"


class PresenceLike(FakePackage):
    """Shows the tuples of all publications; the filler makes documents large."""

    deltas = {MEDIA_TYPE: PRESENCE_DELTAS}

    def __init__(self) -> None:
        super().__init__("presence", (MEDIA_TYPE,))
        self.filler = 8

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """Each publication is the contact of a tuple."""
        self.built += 1
        tuples = [Tuple(f"f{n}", "closed") for n in range(self.filler)]
        if permissions != "nothing":
            tuples += [
                Tuple(key, "open", each.body.decode())
                for key, each in sorted(state.publications.items())
            ]
        return Body(MEDIA_TYPE, Presence(AOR, tuple(tuples)).to_bytes())


class Watching:
    """A watcher that puts documents together as RFC 5263 §4.5 says."""

    def __init__(self) -> None:
        self.document = b""
        self.version = 0
        self.kinds: list[str] = []
        #: Whether a document is missing: it must refresh.
        self.gap = False

    def take(self, notify: NotifyRequest) -> None:
        """Read a NOTIFY."""
        message = read(notify)
        if not message.body:
            return
        media_type = message.content_type
        assert media_type is not None
        if media_type.type == MEDIA_TYPE:
            self.kinds.append("plain")
            self.document, self.gap = message.body, False
            return
        assert media_type.type == PARTIAL_TYPE
        Schema("pidf-diff").validate(parse_content(message.body))
        update = parse_pidf_diff(message.body)
        assert update.version is not None
        assert update.version > self.version, "a PA failure: versions rise"
        if isinstance(update, PidfFull):
            self.kinds.append("full")
            self.document, self.gap = presence_document(message.body), False
        elif update.version == self.version + 1 and not self.gap:
            self.kinds.append("diff")
            self.document = patch(self.document, update)
        else:
            self.gap = True
        self.version = update.version

    @property
    def presence(self) -> Presence:
        """What it knows."""
        return parse_presence(self.document)


class Case(SynchronousTestCase):
    """An agent and a watcher of it."""

    def setUp(self) -> None:
        """An agent that shows presence."""
        self.package = PresenceLike()
        self.agent = Agent(self.package)
        self.watching = Watching()

    def join(self, *headers: str, identity: str = "sip:alice@example.com") -> str:
        """Subscribe, and take the first NOTIFY; the id of the subscription."""
        before = set(self.agent.state.subscriptions)
        notifies = self.agent.subscribe(
            subscribe(headers=headers or [ACCEPT], identity=identity, call_id=identity)
        )
        self.deliver(notifies)
        (identifier,) = set(self.agent.state.subscriptions) - before
        return identifier

    def deliver(self, notifies: list[NotifyRequest]) -> None:
        """NOTIFYs reach the watcher, who answers."""
        while notifies:
            notify = notifies.pop(0)
            self.watching.take(notify)
            notifies += self.agent.answer(notify)

    def put(self, body: bytes, key: str = "p") -> None:
        """A change that everybody is told."""
        self.deliver(self.agent.put(publication(key, body)))

    def whole(self) -> Presence:
        """The full state."""
        body = self.package.full(self.agent.state, "all", MEDIA_TYPE, self.agent.now)
        return parse_presence(body.data)


class NegotiationTests(Case):
    """Who is told parts (RFC 5263 §4.3)."""

    def test_preferences(self) -> None:
        """The partial type must be named, and not be wanted less than the full one."""
        for accept, wanted in (
            ("", False),
            (MEDIA_TYPE, False),
            ("*/*", False),
            ("application/*", False),
            (PARTIAL_TYPE, True),
            (f"{MEDIA_TYPE}, {PARTIAL_TYPE}", True),
            (f"{MEDIA_TYPE};q=0.3, {PARTIAL_TYPE};q=1", True),
            (f"{MEDIA_TYPE}, {PARTIAL_TYPE};q=0.5", False),
            (f"{PARTIAL_TYPE};q=0", False),
            (f"*/*, {PARTIAL_TYPE};q=0.9", False),
            (f"*/*;q=0.1, {PARTIAL_TYPE};q=0.9", True),
        ):
            found = partial_form(accept, self.package)
            self.assertEqual(found is not None, wanted, accept)

    def test_nothing_acceptable(self) -> None:
        """406 names the partial type too; a package without it does not (6665 §4.1.2.1)."""
        error = self.assertRaises(SIPError, self.join, "Accept: text/html")
        self.assertEqual(dict(error.headers)["Accept"], f"{MEDIA_TYPE}, {PARTIAL_TYPE}")
        self.agent = Agent(FakePackage())
        self.assertRaises(SIPError, self.join, f"Accept: {PARTIAL_TYPE}")


class NotificationTests(Case):
    """What is sent."""

    def test_full_then_diffs(self) -> None:
        """The first is full with version 1, then come differences, one higher each (§4.4)."""
        self.join()
        self.assertEqual((self.watching.kinds, self.watching.version), (["full"], 1))
        for count in range(3):
            self.put(b"sip:bob@h%d" % count)
        self.assertEqual(self.watching.kinds, ["full", "diff", "diff", "diff"])
        self.assertEqual(self.watching.version, 4)
        self.assertEqual(self.watching.presence, self.whole())

    def test_entity_tag(self) -> None:
        """The entity-tag is that of the full state, as a plain watcher has it (5839 §4)."""
        self.join()
        plain = self.join(f"Accept: {MEDIA_TYPE}", identity="sip:carol@example.com")
        told = self.agent.put(publication("p", b"sip:bob@h"))
        self.assertEqual(len({read(n).etag for n in told}), 1)
        self.assertEqual(
            {read(n).get("Content-Type") for n in told if n.subscription.id != plain},
            {PARTIAL_TYPE},
        )

    def test_built_once(self) -> None:
        """Fifty watchers share one difference and one view with those of full state (§4.4)."""
        for number in range(50):
            self.watching = Watching()
            self.join(identity=f"sip:w{number}@example.com")
        self.join(f"Accept: {MEDIA_TYPE}", identity="sip:plain@example.com")
        changes = ChangeSet(AOR, [publication("p", b"sip:bob@h")])
        self.package.built = 0
        notifications = self.agent.decide(changes)
        self.assertEqual(self.package.built, 1)
        self.assertEqual(len(notifications), 51)
        self.assertEqual(len({id(n.body) for n in notifications}), 2)

    def test_full_when_smaller(self) -> None:
        """Where the difference is no smaller the document is full (5262 §4)."""
        self.package.filler = 0
        self.join()
        self.package.filler = 1
        self.put(b"sip:" + b"x" * 300)
        self.assertEqual(self.watching.kinds, ["full", "full"])
        self.assertEqual(self.watching.version, 2)

    def test_refresh_and_end(self) -> None:
        """A refresh and the end get full state, and versions go on (§4.4)."""
        identifier = self.join()
        self.put(b"sip:bob@h")
        record = self.agent.state.subscriptions[identifier]
        for cseq, expires in ((2, 3600), (3, 0)):
            self.deliver(
                self.agent.subscribe(
                    subscribe(
                        headers=[ACCEPT],
                        to_tag=record.local_tag,
                        call_id=record.call_id,
                        cseq=cseq,
                        expires=expires,
                    )
                )
            )
        self.assertEqual(self.watching.kinds, ["full", "diff", "full", "full"])
        self.assertEqual(self.watching.version, 4)

    def test_lost(self) -> None:
        """After a NOTIFY that failed the next one is full (§4.5)."""
        self.join()
        (lost,) = self.agent.put(publication("p", b"sip:bob@1"))
        self.assertEqual(self.agent.answer(lost, ok=False), [])
        self.put(b"sip:bob@2")
        self.assertEqual(self.watching.kinds, ["full", "full"])
        self.assertEqual(self.watching.version, 3)
        self.put(b"sip:bob@3")
        self.assertEqual(self.watching.kinds[-1], "diff")

    def test_one_at_a_time(self) -> None:
        """Nothing is sent before the last answer has come; what waited is full (§4.4)."""
        self.join()
        (first,) = self.agent.put(publication("p", b"sip:bob@1"))
        self.assertEqual(self.agent.put(publication("p", b"sip:bob@2")), [])
        self.assertEqual(self.agent.put(publication("p", b"sip:bob@3")), [])
        self.deliver([first])
        self.assertEqual(self.watching.kinds, ["full", "diff", "full"])
        self.assertEqual(self.watching.presence, self.whole())

    def test_change_of_type(self) -> None:
        """Coming back from full documents, the first is <pidf-full> and versions go on (§4.4)."""
        identifier = self.join()
        record = self.agent.state.subscriptions[identifier]
        for cseq, accept in ((2, f"Accept: {MEDIA_TYPE}"), (3, ACCEPT)):
            self.deliver(
                self.agent.subscribe(
                    subscribe(
                        headers=[accept],
                        to_tag=record.local_tag,
                        call_id=record.call_id,
                        cseq=cseq,
                    )
                )
            )
            self.put(b"sip:bob@%d" % cseq)
        self.assertEqual(self.watching.kinds, ["full", "plain", "plain", "full", "diff"])
        self.assertEqual(self.watching.presence, self.whole())

    def test_change_of_permissions(self) -> None:
        """What the rules hide now is removed by a difference as well."""
        self.join()
        self.put(b"sip:bob@h")
        self.package.handlings["sip:alice@example.com"] = "polite-block"

        self.deliver(self.agent.put(rules()))
        self.assertEqual(self.watching.kinds, ["full", "diff", "diff"])
        self.assertNotIn(b"bob@h", self.watching.document)

    def test_restart(self) -> None:
        """After a restart it is full, with a version above all before (§4.4)."""
        self.join()
        self.put(b"sip:bob@h")
        self.agent.restart()
        changes = ChangeSet(AOR)
        self.deliver(
            self.agent.release(self.agent.notifier.full_state(changes, self.agent.now), changes)
        )
        self.put(b"sip:bob@i")
        self.assertEqual(self.watching.kinds, ["full", "diff", "full", "diff"])


class PublicationTests(SynchronousTestCase):
    """What a partial publication makes."""

    def example(self, name: str) -> bytes:
        """A document of RFC 5264."""
        return (DIRECTORY / "rfc5264" / name).read_bytes()

    def test_example(self) -> None:
        """The publication of §6 and its change."""
        first = patched(None, self.example("6-01.xml"))
        self.assertEqual(parse_presence(first).entity, "pres:someone@example.com")
        second = patched(first, self.example("6-02.xml"))
        presence = parse_presence(second)
        self.assertIn("ert4773", [each.id for each in presence.tuples])
        by_id = {each.id: each for each in presence.tuples}
        self.assertEqual(by_id["r1230d"].basic, "open")
        self.assertNotIn(b":busy", second)

    def test_full_replaces(self) -> None:
        """<pidf-full> replaces all that was published (§4.3.1)."""
        first = patched(None, self.example("6-01.xml"))
        again = PidfFull(Presence("pres:someone@example.com", (Tuple("t", "open"),))).to_bytes()
        self.assertEqual(len(parse_presence(patched(first, again)).tuples), 1)

    def test_refused(self) -> None:
        """A first difference, one that can't be applied, and one of another get 400 (§4.3.2)."""
        first = patched(None, self.example("6-01.xml"))
        head = b'<p:pidf-diff xmlns:p="urn:ietf:params:xml:ns:pidf-diff"'
        for stored, body in (
            (None, self.example("6-02.xml")),
            (first, head + b'><p:remove sel="*/nothing"/></p:pidf-diff>'),
            (first, head + b' entity="pres:other@example.com"></p:pidf-diff>'),
            (first, head + b">"),
            (first, b"<presence/>"),
            (b"<broken", head + b' entity="x"></p:pidf-diff>'),
        ):
            error = self.assertRaises(SIPError, patched, stored, body)
            self.assertEqual(error.status, 400)
            self.assertTrue(error.text)

    def test_first_difference(self) -> None:
        """The reason phrase of §4.3.2."""
        error = self.assertRaises(SIPError, patched, None, PidfDiff("x", None).to_bytes())
        self.assertEqual(error.reason, "Invalid Partial Publication")
