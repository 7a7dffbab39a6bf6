"""What watchers put together is the full state, whatever was lost on the way."""

from collections.abc import Hashable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import MEDIA_TYPE, Presence, Tuple, parse_presence
from simplestack.event.limits import Limits
from simplestack.event.notifier import NotifyRequest
from simplestack.interfaces import Body
from simplestack.state import ChangeSet, ResourceState, Subscription
from tests.documents.test_pidf import presences
from tests.event.fakes import AOR, UNPACED, Agent, publication, read, subscribe
from tests.event.test_partialpresence import ACCEPT, PresenceLike, Watching

#: Watchers, and how each of them subscribes.
WATCHERS = {
    "sip:plain@example.com": [f"Accept: {MEDIA_TYPE}"],
    "sip:parts@example.com": [ACCEPT],
    "sip:more@example.com": [ACCEPT],
    "sip:slow@example.com": [ACCEPT],
}
#: The rates that they ask for.
RATES = {"sip:slow@example.com": ";max-rate=0.1;min-rate=0.05"}

_watcher = st.sampled_from(sorted(WATCHERS))
_step = st.one_of(
    st.tuples(st.just("put"), presences()),
    st.tuples(st.just("put"), presences()),
    st.tuples(st.just("back"), st.integers(0, 3)),
    st.tuples(st.just("answer"), _watcher),
    st.tuples(st.just("answer"), _watcher),
    st.tuples(st.just("lose"), _watcher),
    st.tuples(st.just("refresh"), _watcher),
    st.tuples(st.just("conditional"), _watcher),
    st.tuples(st.just("leave"), _watcher),
    st.tuples(st.just("join"), _watcher),
    st.tuples(st.just("resume"), _watcher),
    st.tuples(st.just("wait"), st.integers(1, 12)),
    st.tuples(st.just("restart"), st.just(0)),
)


class Showing(PresenceLike):
    """Shows the one published document; some see no notes of it."""

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """The document."""
        published = state.publications.get("p")
        presence = Presence(AOR) if published is None else parse_presence(published.body)
        if permissions == "less":
            presence = presence._replace(notes=(), devices=())
        return Body(MEDIA_TYPE, presence._replace(entity=AOR).to_bytes())


class Watcher(Watching):
    """A watcher with its dialog."""

    def __init__(self) -> None:
        super().__init__()
        self.tag = ""
        self.under_way: NotifyRequest | None = None

    def restart(self) -> None:
        """Versions are of one subscription (RFC 5263 §4.4)."""
        self.version = 0
        self.under_way = None


class History:
    """An agent and its watchers."""

    def __init__(self, limits: Limits) -> None:
        self.package = Showing()
        self.package.permissions["sip:more@example.com"] = "less"
        self.agent = Agent(self.package, limits=limits)
        self.watchers = {name: Watcher() for name in WATCHERS}
        self.documents: list[bytes] = []
        self.cseq = 0

    def mine(self, name: str) -> Subscription | None:
        """The subscription of a watcher."""
        for record in self.agent.state.subscriptions.values():
            if record.watcher == name:
                return record
        return None

    def sent(self, notifies: list[NotifyRequest]) -> None:
        """NOTIFYs have left."""
        for notify in notifies:
            watcher = self.watchers[notify.subscription.watcher]
            assert watcher.under_way is None or watcher.under_way.final
            watcher.under_way = notify

    def answer(self, name: str, ok: bool) -> None:
        """A NOTIFY is delivered, or lost."""
        watcher = self.watchers[name]
        notify, watcher.under_way = watcher.under_way, None
        if notify is not None:
            if ok:
                watcher.take(notify)
                watcher.tag = read(notify).etag or watcher.tag
            else:
                watcher.gap = True
            self.sent(self.agent.answer(notify, ok))

    def step(self, name: str, what: object) -> None:
        """Do one thing."""
        agent = self.agent
        if name in ("put", "back"):
            if name == "put":
                assert isinstance(what, Presence)
                self.documents.append(what._replace(entity=AOR).to_bytes())
            elif self.documents:
                self.documents.append(self.documents[-1 - int(str(what)) % len(self.documents)])
            if self.documents:
                self.sent(agent.put(publication("p", self.documents[-1])))
        elif name == "wait":
            agent.now += int(str(what))
        elif name == "restart":
            agent.restart()
            for watcher in self.watchers.values():
                if watcher.under_way is not None:
                    watcher.gap = True
                watcher.under_way = None
            changes = ChangeSet(AOR)
            self.sent(agent.release(agent.notifier.full_state(changes, agent.now), changes))
        elif name in ("answer", "lose"):
            self.answer(str(what), name == "answer")
        else:
            self.subscribe(name, str(what))
        self.tick()

    def tick(self) -> None:
        """The turn of the clock."""
        boundary = self.agent.notifier.boundary(self.agent.now)
        if boundary is not None and boundary <= self.agent.now:
            changes = ChangeSet(AOR)
            notifications = self.agent.notifier.tick(changes, self.agent.now)
            self.sent(self.agent.release(notifications, changes))

    def subscribe(self, name: str, identity: str) -> None:
        """A SUBSCRIBE."""
        record, watcher = self.mine(identity), self.watchers[identity]
        headers = list(WATCHERS[identity])
        if name in ("conditional", "resume") and watcher.tag and not watcher.gap:
            headers.append(f"Suppress-If-Match: {watcher.tag}")
        self.cseq += 1
        if name in ("join", "resume"):
            if record is None:
                watcher.restart()
                self.sent(
                    self.agent.subscribe(
                        subscribe(
                            identity=identity,
                            call_id=f"c{self.cseq}",
                            headers=headers,
                            event="presence" + RATES.get(identity, ""),
                        )
                    )
                )
        elif record is not None:
            self.sent(
                self.agent.subscribe(
                    subscribe(
                        identity=identity,
                        call_id=record.call_id,
                        to_tag=record.local_tag,
                        cseq=self.cseq + 1,
                        expires=0 if name == "leave" else 3600,
                        headers=headers,
                        event="presence" + RATES.get(identity, ""),
                    )
                )
            )

    def check(self) -> None:
        """When all has been delivered each watcher has what it may see."""
        for _ in range(4):
            self.agent.now += 60
            self.tick()
            for name in (*WATCHERS, *WATCHERS):
                self.answer(name, True)
        for name, watcher in self.watchers.items():
            assert watcher.under_way is None
            if self.mine(name) is not None and not watcher.gap:
                shown = self.package.permissions.get(name, "all")
                body = self.package.full(self.agent.state, shown, MEDIA_TYPE, 0.0)
                assert watcher.presence == parse_presence(body.data), name


class AssembledTests(SynchronousTestCase):
    """The property that partial notification is there for.

    "The watcher MUST apply the changes to its local copy of the full presence document"
    (RFC 5263 §4.5): for any history of changes, losses, conditions, restarts and subscriptions
    anew the copy equals the full document.
    """

    def run_history(self, steps: list[tuple[str, object]], limits: Limits) -> None:
        """One history."""
        history = History(limits)
        for name in WATCHERS:
            history.subscribe("join", name)
        for name, what in steps:
            history.step(name, what)
        history.check()
        # "The watcher SHOULD … refresh the subscription in order to receive a full presence
        # document": whoever has missed one is whole again.
        for name in WATCHERS:
            history.subscribe("refresh" if history.mine(name) else "join", name)
        history.check()
        for watcher in history.watchers.values():
            self.assertFalse(watcher.gap)
        history.step("put", Presence(AOR, (Tuple("t", "open"),)))
        history.check()

    @settings(max_examples=50, deadline=None)
    @given(st.lists(_step, max_size=25))
    def test_assembled(self, steps: list[tuple[str, object]]) -> None:
        """Full and partial documents, step by step, equal the full one (RFC 5263 §4.5)."""
        self.run_history(steps, UNPACED)

    @settings(max_examples=50, deadline=None)
    @given(st.lists(_step, max_size=25))
    def test_paced(self, steps: list[tuple[str, object]]) -> None:
        """The same where the notifier keeps things back (RFC 6446 §5.5.1)."""
        self.run_history(steps, Limits(notify_interval=5))
