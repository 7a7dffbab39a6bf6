"""What ``simplestack explain`` says of the last NOTIFY, and of the next."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import MEDIA_TYPE, Presence, Tuple
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.limits import Limits
from simplestack.event.notifier import NotifyRequest
from simplestack.event.standing import standing
from tests.documents.test_filters import filter_set
from tests.event.fakes import ALICE, AOR, UNPACED, Agent, publication, read, rules, subscribe
from tests.event.test_assembled import Showing
from tests.event.test_partialpresence import ACCEPT


class StandingTests(SynchronousTestCase):
    def setUp(self) -> None:
        """An agent that tells each change."""
        self.make(UNPACED)

    def make(self, limits: Limits) -> None:
        """An agent that shows presence, and takes filters."""
        self.package = Showing()
        self.package.subscribe_types = (FILTER_TYPE,)  # type: ignore[attr-defined]  # an optional attribute
        self.agent = Agent(self.package, limits=limits)

    def join(self, *headers: str, event: str = "presence", filters: str = "") -> NotifyRequest:
        """Alice subscribes; her NOTIFY, which has no answer yet."""
        body = filter_set(filters) if filters else b""
        lines = [*headers, *([f"Content-Type: {FILTER_TYPE}"] if filters else [])]
        (notify,) = self.agent.subscribe(subscribe(event=event, headers=lines, body=body))
        return notify

    def put(self, basic: str) -> list[NotifyRequest]:
        """Publish."""
        return self.agent.put(publication("p", Presence(AOR, (Tuple("t", basic),)).to_bytes()))

    def because(self) -> str:
        """Why Alice is or is not told more."""
        usage = self.agent.notifier.usage(self.agent.one().id)
        assert usage is not None
        found = standing(usage, self.agent.now)
        self.assertEqual(found["subscription"], usage.subscription.id)
        self.wishes = found["wishes"]
        because = found["because"]
        assert isinstance(because, str)
        return because

    def test_told(self) -> None:
        """Each step of a NOTIFY has its reason."""
        first = self.join()
        self.assertIn("waits for its answer", self.because())
        self.put("closed")
        self.assertIn("the newest state is sent when that has come", self.because())
        (second,) = self.agent.answer(first)
        self.agent.answer(second)
        self.assertIn("nothing that it sees has changed since", self.because())
        self.assertEqual(self.wishes, [])
        (third,) = self.put("open")
        self.agent.answer(third, ok=False)
        self.assertIn("failed", self.because())

    def test_paused(self) -> None:
        """A subscriber may have asked for silence (Retry-After)."""
        self.join()
        self.agent.notifier.pause(self.agent.one().id)
        self.assertIn("wants nothing for a time", self.because())

    def test_undecided(self) -> None:
        """Nothing is shown to a pending subscriber."""
        self.package.handlings[ALICE] = "confirm"
        self.agent.answer(self.join())
        self.assertIn("pending", self.because())

    def test_restart(self) -> None:
        """After a restart nobody was looked at yet."""
        self.agent.answer(self.join())
        self.agent.restart()
        self.assertIn("since the server started", self.because())

    def test_pace(self) -> None:
        """What waits for the pace of the server, or for a rate, says for how long."""
        self.make(Limits())
        self.agent.answer(self.join())
        for notify in self.put("open"):
            self.agent.answer(notify)
        self.assertEqual(self.put("closed"), [])
        self.agent.now += 2
        self.assertIn("a change waits 3 seconds more, as all do", self.because())
        self.make(UNPACED)
        self.agent.answer(self.join(event="presence;max-rate=0.1"))
        self.assertEqual(self.put("open"), [])
        self.assertIn("a change waits 10 seconds more, for the rate", self.because())
        self.assertEqual(self.wishes, ["max-rate=0.1"])

    def test_condition(self) -> None:
        """Who has the state is not told it (RFC 5839)."""
        first = self.join()
        self.agent.answer(first)
        self.agent.subscribe(
            subscribe(
                cseq=2,
                to_tag=self.agent.one().local_tag,
                headers=[f"Suppress-If-Match: {read(first).etag}"],
            )
        )
        self.assertIn("Suppress-If-Match", self.because())
        self.assertEqual(self.wishes, ["nothing while it has the state"])

    def test_filter(self) -> None:
        """A trigger that has not happened, and what else was asked for (RFC 4660)."""
        filters = (
            '<filter id="a"><what><include>//pidf:basic</include></what>'
            '<trigger><changed to="gone">//pidf:basic</changed></trigger></filter>'
        )
        self.put("open")
        self.agent.answer(self.join(ACCEPT, filters=filters))
        self.assertEqual(self.put("closed"), [])
        self.assertIn("its filter waits for", self.because())
        self.assertEqual(
            self.wishes,
            ["what its filter leaves", "what its filter waits for", "partial documents"],
        )

    def test_rules(self) -> None:
        """A decision that is stored leaves its NOTIFY under way."""
        self.package.handlings[ALICE] = "confirm"
        self.agent.answer(self.join(f"Accept: {MEDIA_TYPE}"))
        self.package.handlings[ALICE] = "allow"
        (notify,) = self.agent.put(rules(b"allow"))
        self.assertIn("waits for its answer", self.because())
        self.agent.answer(notify)
        self.assertIn("told all there is", self.because())
