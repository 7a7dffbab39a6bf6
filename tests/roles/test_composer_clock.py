"""What time alone changes of a composed document."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.pidf import Tuple, parse_presence
from simplestack.documents.timestamps import format_timestamp, parse_timestamp
from simplestack.event.notifier import NotifyRequest
from simplestack.roles.composer import Composer
from simplestack.roles.policies.rules import RulesPolicy
from simplestack.roles.presence import PresenceAgent
from simplestack.state import ChangeSet, Record, ResourceState
from tests.event.fakes import Agent, read, subscribe
from tests.roles.fakes import ALICE, BOB
from tests.roles.test_composer import POLICIES, preferences, publication
from tests.roles.test_presence import pidf, rules
from tests.roles.test_rules import BOB_ALONE, COMPONENTS, rule

ALL = COMPONENTS + "<provide-all-attributes/>"


class ClockTests(SynchronousTestCase):
    """What begins and ends by the clock is notified at that moment."""

    def watch(self, *records: Record, policy: object = None, stale_after: int = 0) -> Agent:
        """Bob watches Alice, and has had his first NOTIFY."""
        composer = Composer(
            policy,  # type: ignore[arg-type]  # a policy, or None
            policies={**POLICIES, "rules": RulesPolicy()},
            stale_after=stale_after,
        )
        agent = Agent(PresenceAgent(composer).package, aor=ALICE)
        agent.put(rules(rule(BOB_ALONE, "allow", ALL)), *records)
        [first] = agent.subscribe(subscribe(identity=BOB, aor=ALICE, expires=100_000))
        self.assertEqual(agent.answer(first), [])
        return agent

    def at(self, agent: Agent, now: float) -> list[NotifyRequest]:
        """Let the clock reach a moment; what is sent, answered."""
        agent.now = now
        boundary = self.boundary(agent)
        if boundary is None or boundary > now:
            return []
        changes = ChangeSet(ALICE)
        sent = agent.release(agent.notifier.tick(changes, now), changes)
        for each in sent:
            agent.answer(each)
        return sent

    def put(self, agent: Agent, record: Record) -> None:
        """Put a record; what is sent, answered."""
        for each in agent.put(record):
            agent.answer(each)

    def boundary(self, agent: Agent) -> float | None:
        """When the clock is next needed."""
        return agent.notifier.boundary(agent.now)

    def test_until(self) -> None:
        """An activity that ends causes one NOTIFY then, and none before (RFC 4480 §3.1)."""
        agent = self.watch()
        now = agent.now
        end = format_timestamp(now + 600)
        self.put(
            agent,
            publication(
                pidf(person=f'<r:activities until="{end}"><r:meeting/></r:activities>'), at=now
            ),
        )
        boundary = self.boundary(agent)
        self.assertEqual(boundary, parse_timestamp(end))
        assert boundary is not None
        self.assertEqual(self.at(agent, boundary - 1), [])
        [told] = self.at(agent, boundary)
        self.assertNotIn(b"meeting", read(told).body)
        self.assertIsNone(self.boundary(agent))
        self.assertEqual(self.at(agent, boundary + 60), [])

    def test_timed_status(self) -> None:
        """A timed status begins and ends with a NOTIFY each (RFC 4481 §3)."""
        agent = self.watch()
        now = agent.now
        start, end = now + 600, now + 1200
        timed = (
            f'<t:timed-status xmlns:t="{ns.TIMED_STATUS}" from="{format_timestamp(start)}"'
            f' until="{format_timestamp(end)}"><t:basic>closed</t:basic></t:timed-status>'
        ).encode()
        body = pidf().replace(b"</tuple>", timed + b"</tuple>")
        self.put(agent, publication(body, at=now))
        for moment, basic in ((int(start), "closed"), (int(end), "open")):
            self.assertEqual(self.boundary(agent), moment)
            self.assertEqual(self.at(agent, moment - 0.5), [])
            [told] = self.at(agent, moment)
            self.assertEqual(parse_presence(read(told).body).tuples[0].basic, basic)

    def test_sphere(self) -> None:
        """A sphere that ends by the clock ends what a rule shows by it (RFC 5025 §3.1.2)."""
        agent = self.watch()
        now = agent.now
        at_work = rule(BOB_ALONE + '<cp:sphere value="work"/>', "allow", ALL)
        agent.put(
            rules(rule(BOB_ALONE, "polite-block"), at_work.replace('id="a"', 'id="b"'), number=2)
        )
        end = int(now) + 600
        sphere = f'<r:sphere until="{format_timestamp(end)}">work</r:sphere>'
        [told] = agent.put(publication(pidf(person=sphere), at=now))
        agent.answer(told)
        self.assertIn(b"open", read(told).body)
        self.assertEqual(self.boundary(agent), end)
        [told] = self.at(agent, end)
        self.assertEqual(parse_presence(read(told).body).tuples, (Tuple("closed", "closed"),))

    def test_stale(self) -> None:
        """A publication that says nothing new for too long is left out, and then told."""
        agent = self.watch(stale_after=600)
        now = agent.now
        self.put(agent, publication(pidf(), at=now))
        self.assertEqual(self.boundary(agent), now + 600)
        [told] = self.at(agent, now + 600)
        self.assertEqual(parse_presence(read(told).body).tuples, (Tuple("closed", "closed"),))

    def test_rules_by_time(self) -> None:
        """Rules of the user that hold for hours of the day are evaluated when these begin."""
        agent = self.watch()
        now = agent.now
        start, end = 3600 * (int(now) // 3600 + 1), 3600 * (int(now) // 3600 + 2)
        clock = f"{format_timestamp(start)[11:16]}", f"{format_timestamp(end)[11:16]}"
        agent.put(
            preferences(
                f'<composition policy="rules"><rule id="a"><when><time from="{clock[0]}"'
                f' until="{clock[1]}"/></when><override><basic>closed</basic></override></rule>'
                "</composition>"
            )
        )
        self.put(agent, publication(pidf(), at=now))
        for moment, basic in ((start, "closed"), (end, "open")):
            self.assertEqual(self.boundary(agent), moment)
            [told] = self.at(agent, moment)
            self.assertEqual(parse_presence(read(told).body).tuples[0].basic, basic)

    def test_clock_set_back(self) -> None:
        """A clock that is set back shows again what holds then."""
        composer = Composer()
        body = pidf(person='<r:mood until="1970-01-01T00:33:00Z"><r:sad/></r:mood>')
        state = ResourceState(ALICE, [publication(body)])
        self.assertIn(b"sad", composer.composed(state, 1979.0).presence.to_bytes())
        self.assertNotIn(b"sad", composer.composed(state, 1980.0).presence.to_bytes())
        self.assertIn(b"sad", composer.composed(state, 1979.0).presence.to_bytes())

    def test_polite_sees_no_clock(self) -> None:
        """A politely blocked watcher is told nothing when a state ends."""
        agent = self.watch()
        now = agent.now
        for each in agent.put(rules(rule(BOB_ALONE, "polite-block"), number=2)):
            agent.answer(each)
        end = int(now) + 600
        mood = f'<r:mood until="{format_timestamp(end)}"><r:sad/></r:mood>'
        self.assertEqual(agent.put(publication(pidf(person=mood), at=now)), [])
        self.assertEqual(self.at(agent, end), [])
