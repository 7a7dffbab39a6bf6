"""Partial documents, and what packages see of steps (RFC 3857, RFC 3680)."""

from collections.abc import Hashable

from simplestack.event.notifier import NotifyRequest
from simplestack.interfaces import Body
from simplestack.state import ChangeSet, Removed, ResourceState, Subscription
from tests.event.fakes import (
    ALICE,
    AOR,
    Agent,
    PartialPackage,
    publication,
    read,
    rules,
    subscribe,
)
from tests.event.test_notifier import CAROL, Case


class PartialTests(Case):
    """Packages with partial documents: RFC 6665 §5.3.2."""

    def setUp(self) -> None:
        """Start anew."""
        self.package = PartialPackage()
        self.agent = Agent(self.package)

    def test_full_then_partial(self) -> None:
        """The first document is full, later ones partial, numbered for each subscription."""
        self.agent.put(publication("p", b"1"))
        self.join()
        (notify,) = self.agent.put(publication("q", b"2"))
        self.assertEqual(read(notify).body, b"partial 1\nq=2")
        self.agent.answer(notify)
        (first,) = self.agent.subscribe(subscribe(identity=CAROL, call_id=CAROL))
        self.assertEqual(read(first).body, b"full 0\np=1\nq=2")
        self.agent.answer(first)
        self.package.built = 0
        told = self.agent.put(publication("q", b"3"))
        self.assertEqual([read(n).body for n in told], [b"partial 2\nq=3", b"partial 1\nq=3"])
        self.assertEqual(self.package.built, 1)

    def test_one_that_waited_is_full(self) -> None:
        """A notification that takes the place of another has full state."""
        self.join()
        (first,) = self.agent.put(publication("p", b"1"))
        self.agent.put(publication("q", b"2"))
        self.agent.put(publication("r", b"3"))
        (second,) = self.agent.answer(first)
        self.assertEqual(read(second).body, b"full 2\np=1\nq=2\nr=3")
        self.agent.answer(second)
        (third,) = self.agent.put(publication("p", b"4"))
        self.assertEqual(read(third).body, b"partial 3\np=4")

    def test_full_after_failure(self) -> None:
        """After a NOTIFY that failed the next one has full state."""
        self.join()
        (first,) = self.agent.put(publication("p", b"1"))
        self.agent.answer(first, ok=False)
        (second,) = self.agent.put(publication("q", b"2"))
        self.assertEqual(read(second).body, b"full 2\np=1\nq=2")

    def test_refresh_is_full(self) -> None:
        """A refresh gets full state (3857 §4.3), all others what has changed."""
        record = self.join()
        self.agent.put(publication("p", b"1"))
        self.agent.answer(self.agent.unanswered(record.id))
        (notify,) = self.agent.subscribe(subscribe(call_id=ALICE, to_tag=record.local_tag, cseq=2))
        self.assertEqual(read(notify).body, b"full 2\np=1")

    def test_versions_after_restart(self) -> None:
        """Versions go on above all that were sent, from full state (3858 §4)."""
        self.join()
        self.agent.restart()
        (notify,) = self.agent.put(publication("p", b"1"))
        self.assertEqual(read(notify).body, b"full 100\np=1")

    def test_last_state_is_full(self) -> None:
        """A fetch and the end of a subscription show full state (3857 §4.7.2)."""
        self.agent.put(publication("p", b"1"))
        (notify,) = self.agent.subscribe(subscribe(expires=0))
        self.assertEqual(read(notify).body, b"full 0\np=1")


class TransitionTests(Case):
    """What packages learn of subscriptions: RFC 3857 §4.7.2."""

    def setUp(self) -> None:
        """Start anew."""
        super().setUp()
        self.watching = Watching()
        self.agent = Agent(self.package, self.watching)
        (notify,) = self.agent.subscribe(
            subscribe(identity=AOR, call_id="w", event=self.watching.name)
        )
        self.agent.answer(notify)

    def turn(self, requests: list[NotifyRequest]) -> list[str]:
        """Answer all; what the watching package has seen since the last time."""
        for request in requests:
            self.agent.answer(request)
        seen, self.watching.seen = self.watching.seen, []
        return seen

    def test_only_steps_are_seen(self) -> None:
        """Packages see steps of the state machine: no refresh, no fetch, no bookkeeping."""
        fetched = self.agent.subscribe(subscribe(expires=0))
        self.assertEqual(self.turn(fetched), [])
        self.assertEqual(self.turn(self.agent.subscribe(subscribe())), ["active subscribe"])
        tag = next(s.local_tag for s in self.agent.state.subscriptions.values() if s.call_id != "w")
        self.assertEqual(self.turn(self.agent.subscribe(subscribe(to_tag=tag, cseq=2))), [])
        ended = self.agent.subscribe(subscribe(to_tag=tag, cseq=3, expires=0))
        self.assertEqual(self.turn(ended), ["removed timeout"])
        self.package.default = "confirm"
        fetched = self.agent.subscribe(subscribe(expires=0, call_id="f"))
        self.assertEqual(self.turn(fetched), ["waiting timeout"])
        self.package.default = "allow"
        self.assertEqual(self.turn(self.agent.put(rules())), ["removed approved"])


class Watching(PartialPackage):
    """Sees the subscriptions of another package."""

    def __init__(self) -> None:
        super().__init__("presence.watching")
        self.seen: list[str] = []

    def affected(self, changes: ChangeSet) -> bool:
        """Whether a publication has changed."""
        return changes.touches(Subscription)

    def changed(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body | None:
        """What has changed."""
        for entry in changes.of(Subscription):
            if isinstance(entry, Removed):
                self.seen.append(f"removed {entry.reason}")
            elif entry.package == "presence":
                self.seen.append(f"{entry.status} {entry.event}")
        return Body(content_type, b"seen ", b"")
