"""Presence as its watchers are notified of it: publications, rules and the notifier together."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import parse_presence
from simplestack.event.notifier import NotifyRequest
from simplestack.roles.presence import PresenceAgent
from simplestack.sip.message import Request
from simplestack.state import ChangeSet, ResourceState
from tests.event.fakes import Agent, read, subscribe
from tests.roles.fakes import ALICE, BOB, incoming, request
from tests.roles.test_presence import binding, pidf, rules
from tests.roles.test_rules import BOB_ALONE, COMPONENTS, rule

CAROL = "sip:carol@example.com"
ALL = COMPONENTS + "<provide-all-attributes/>"


class WatchedTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Alice, whom Bob may watch, and Carol if politely."""
        self.role = PresenceAgent()
        self.alice = Agent(self.role.package, aor=ALICE)
        politely = '<cp:identity><cp:one id="sip:carol@example.com"/></cp:identity>'
        self.allow = rule(BOB_ALONE, "allow", ALL)
        self.politely = rule(politely, "polite-block", "", "b")
        self.alice.put(rules(self.allow, self.politely))

    def watch(self, watcher: str) -> Request:
        """Subscribe, answer the first NOTIFY, and give it."""
        [sent] = self.alice.subscribe(
            subscribe(
                identity=watcher,
                aor=ALICE,
                call_id=f"call-{watcher}",
                from_tag=f"from-{watcher[4:]}",
            )
        )
        return self.answered([sent])[watcher]

    def answered(self, sent: list[NotifyRequest]) -> dict[str, Request]:
        """Answer each NOTIFY; by watcher what he reads."""
        notified = {}
        for each in sent:
            self.assertEqual(self.alice.answer(each), [])
            notified[each.subscription.watcher] = read(each)
        self.assertEqual(len(notified), len(sent))
        return notified

    def publish(self, body: bytes = b"", tag: str = "", expires: int = 3600) -> dict[str, Request]:
        """Publish in a whole turn, and answer who is notified."""
        headers: dict[str, str | list[str]] = {"Event": "presence", "Expires": str(expires)}
        if body:
            headers["Content-Type"] = "application/pidf+xml"
        if tag:
            headers["SIP-If-Match"] = tag
        outcome = self.role.decide(
            incoming(request("PUBLISH", headers, body)),
            self.alice.state,
            self.alice.now,
            self.alice.identifiers,
        )
        return self.answered(self.alice.change(outcome.changes, outcome.notify))

    def tag(self) -> str:
        """The entity-tag of the only publication."""
        [publication] = self.alice.state.publications.values()
        return publication.entity_tag

    def test_flow(self) -> None:
        """RFC 3903 §15: full state first, then a NOTIFY for each change and none for a refresh."""
        first = self.watch(BOB)
        self.assertEqual(first.get("Content-Type"), "application/pidf+xml")
        self.assertEqual(parse_presence(first.body).tuples[0].basic, "closed")
        published = self.publish(pidf("open"))
        self.assertEqual(list(published), [BOB])
        self.assertEqual(parse_presence(published[BOB].body).tuples[0].basic, "open")
        self.alice.now += 1000
        self.assertEqual(self.publish(tag=self.tag()), {})
        self.assertEqual(self.publish(pidf("open"), tag=self.tag()), {})
        modified = self.publish(pidf("closed", note="lunch"), tag=self.tag())
        self.assertEqual(parse_presence(modified[BOB].body).tuples[0].notes[0].text, "lunch")
        removed = self.publish(tag=self.tag(), expires=0)
        self.assertEqual(removed[BOB].body, first.body)

    def test_expiry(self) -> None:
        """The end of a publication by the clock is a change like others."""
        self.watch(BOB)
        self.publish(pidf("open"), expires=60)
        self.alice.now += 60
        changes = self.role.expire(self.alice.state, self.alice.now)
        notified = self.answered(self.alice.change(changes))
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].basic, "closed")

    def test_registration(self) -> None:
        """Bob sees Alice come and go with her phone, and nothing of its refreshes."""
        self.watch(BOB)
        notified = self.answered(self.alice.put(binding()))
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].basic, "open")
        self.assertNotIn(b"192.0.2.1", notified[BOB].body)
        self.assertEqual(self.alice.put(binding()._replace(cseq=2, refreshed_at=1.0)), [])
        gone = ChangeSet(ALICE)
        gone.remove(binding(), "unregistered")
        notified = self.answered(self.alice.change(gone))
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].basic, "closed")

    def test_polite_block_can_not_be_told(self) -> None:
        """Carol sees what a watcher of a closed user sees, and never a NOTIFY more (§3.2.1)."""
        closed = self.watch(BOB)
        self.publish(pidf("open", note="secret"))
        carol = self.watch(CAROL)
        self.assertEqual(carol.body, closed.body)
        self.assertEqual(carol.get("Subscription-State"), closed.get("Subscription-State"))
        self.assertEqual(sorted(carol.headers), sorted(closed.headers))
        self.assertEqual(list(self.publish(pidf("closed"), tag=self.tag())), [BOB])
        self.assertEqual(list(self.publish(tag=self.tag(), expires=0)), [BOB])

    def test_rules_act_on_live_subscriptions(self) -> None:
        """New rules act in the same turn: less is shown, then nothing, then the end (§3.2.1)."""
        self.watch(BOB)
        self.publish(pidf("open", note="secret"))
        fewer = rule(BOB_ALONE, "allow", COMPONENTS)
        notified = self.answered(self.alice.put(rules(fewer, number=2)))
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].notes, ())
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].basic, "open")
        notified = self.answered(self.alice.put(rules(rule(BOB_ALONE, "polite-block"), number=3)))
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].basic, "closed")
        self.assertEqual(self.publish(pidf("open"), tag=self.tag()), {})
        notified = self.answered(self.alice.put(rules(self.allow, number=4)))
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].basic, "open")
        notified = self.answered(self.alice.put(rules(number=5)))
        self.assertEqual(notified[BOB].get("Subscription-State"), "terminated;reason=rejected")
        self.assertEqual(notified[BOB].body, b"")

    def test_pending(self) -> None:
        """Without rules a watcher is pending and sees nothing until he is allowed (§3.2.1)."""
        removal = ChangeSet(ALICE)
        removal.remove(self.alice.state.documents["pres-rules/index"], "deleted")
        self.alice.change(removal)
        first = self.watch(BOB)
        self.assertTrue((first.get("Subscription-State") or "").startswith("pending"))
        self.assertEqual(first.body, b"")
        self.assertEqual(self.publish(pidf("open")), {})
        notified = self.answered(self.alice.put(rules(self.allow)))
        self.assertTrue((notified[BOB].get("Subscription-State") or "").startswith("active"))
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].basic, "open")

    def test_sphere_reveals_and_hides(self) -> None:
        """A change of sphere changes in the same turn what a rule shows (RFC 5025 §3.1.2)."""
        at_work = rule(BOB_ALONE + '<cp:sphere value="work"/>', None, ALL, "c")
        self.alice.put(rules(rule(BOB_ALONE, "allow", COMPONENTS), at_work, number=2))
        self.watch(BOB)
        sphere = "<r:sphere>{}</r:sphere>"
        self.publish(pidf(note="a", person=sphere.format("home")))
        notified = self.publish(pidf(note="b", person=sphere.format("work")), tag=self.tag())
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].notes[0].text, "b")
        notified = self.publish(pidf(note="c", person=sphere.format("home")), tag=self.tag())
        self.assertEqual(parse_presence(notified[BOB].body).tuples[0].notes, ())
        self.assertNotIn(b"sphere", notified[BOB].body)

    def test_restart(self) -> None:
        """After a restart what was committed is composed to the same octets."""
        self.watch(BOB)
        self.publish(pidf("open", note="n"))
        last = self.publish(pidf("closed"))[BOB].body
        records = sorted(self.alice.state, key=lambda record: record.id, reverse=True)
        state = ResourceState(ALICE, records)
        package = PresenceAgent().package
        permissions = package.authorize(state, BOB, self.alice.now).permissions
        body = package.full(state, permissions, "application/pidf+xml", self.alice.now)
        self.assertEqual(body.data, last)
