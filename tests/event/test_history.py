"""Any history of changes, answers, losses and restarts leaves subscribers with the full state."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.event.limits import Limits
from simplestack.event.notifier import NotifyRequest
from simplestack.state import ChangeSet
from tests.event.fakes import AOR, Agent, PartialPackage, publication, read, rules, subscribe

WATCHERS = ("sip:a@example.com", "sip:b@example.com", "sip:c@example.com")

_watcher = st.sampled_from(WATCHERS)
_step = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.just("put"), st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.just("remove"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("answer"), _watcher, st.booleans()),
    st.tuples(st.just("answer"), _watcher, st.just(True)),
    st.tuples(st.just("refresh"), _watcher, st.just(0)),
    st.tuples(st.just("join"), _watcher, st.just(0)),
    st.tuples(st.just("leave"), _watcher, st.just(0)),
    st.tuples(st.just("rules"), _watcher, st.sampled_from(["allow", "confirm", "block"])),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
)


class Subscriber:
    """One end of a subscription that puts documents together (RFC 3858 §4)."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.version = -1
        self.cseq = 0
        self.under_way: NotifyRequest | None = None
        self.state = ""
        #: Whether it has missed a document, and none since has made it good.
        self.missed = False

    def take(self, body: bytes) -> None:
        """Read a document."""
        head, *lines = body.decode().split("\n")
        kind, version = head.split(" ")
        if int(version) <= self.version:
            raise AssertionError(f"version {version} after {self.version}")
        if kind == "full":
            self.rows = {}
            self.missed = False
        elif int(version) != self.version + 1:
            raise AssertionError(f"partial version {version} after {self.version}")
        self.version = int(version)
        for line in lines:
            name, _, value = line.partition("=")
            if value:
                self.rows[name] = value
            else:
                self.rows.pop(name, None)


class History:
    """An agent and its subscribers."""

    def __init__(self, block: int) -> None:
        self.package = PartialPackage()
        self.agent = Agent(self.package, limits=Limits(cseq_block=block, notify_interval=0))
        self.subscribers: dict[str, Subscriber] = {}
        self.ended: list[Subscriber] = []
        self.cseq = 0

    def sent(self, requests: list[NotifyRequest]) -> None:
        """NOTIFYs have left; each is the only one of its dialog and the next in its order."""
        for request in requests:
            subscriber = self.subscribers[request.subscription.id]
            assert subscriber.under_way is None, "two NOTIFYs of a dialog under way"
            assert request.cseq > subscriber.cseq, "CSeq must rise"
            subscriber.cseq = request.cseq
            subscriber.under_way = request

    def answer(self, watcher: str, ok: bool) -> None:
        """The NOTIFYs of a watcher are delivered and answered, or lost."""
        for identifier, subscriber in list(self.subscribers.items()):
            request = subscriber.under_way
            if request is None or request.subscription.watcher != watcher:
                continue
            subscriber.under_way = None
            if ok:
                message = read(request)
                subscriber.state = message.get("Subscription-State") or ""
                if message.body:
                    subscriber.take(message.body)
                if request.final:
                    self.ended.append(self.subscribers.pop(identifier))
            elif request.final:
                del self.subscribers[identifier]
            else:
                subscriber.missed = True
            self.sent(self.agent.answer(request, ok))

    def step(self, name: str, what: object, how: object) -> None:
        """Do one thing."""
        agent = self.agent
        agent.now += 1
        if name == "put":
            self.sent(agent.put(publication(f"p{what}", b"%d" % (int(str(how)) + 1))))
        elif name == "remove":
            changes = ChangeSet(AOR)
            gone = agent.state.publications.get(f"p{what}")
            if gone is not None:
                changes.remove(gone, "expired")
                self.sent(agent.change(changes))
        elif name == "answer":
            self.answer(str(what), bool(how))
        elif name == "rules":
            self.package.handlings[str(what)] = str(how)
            self.sent(agent.put(rules(str(how).encode())))
        elif name == "restart":
            agent.restart()
            for subscriber in self.subscribers.values():
                subscriber.under_way = None
            for identifier in list(self.subscribers):
                record = agent.state.subscriptions.get(identifier)
                if identifier in agent.state.ended:
                    # It will be told, whatever it was told before.
                    continue
                if record is None or record.status == "waiting":
                    del self.subscribers[identifier]
            changes = ChangeSet(AOR)
            notifications = agent.notifier.full_state(changes, agent.now)
            self.sent(agent.release(notifications, changes))
            for identifier in agent.state.ended:
                under_way = self.subscribers[identifier].under_way
                assert under_way is not None and under_way.final
        else:
            self.subscribe(name, str(what))

    def subscribe(self, name: str, watcher: str) -> None:
        """A SUBSCRIBE of this watcher."""
        agent = self.agent
        mine = [
            s
            for s in agent.state.subscriptions.values()
            if s.watcher == watcher and s.status != "waiting"
        ]
        self.cseq += 1
        if name == "join":
            if mine or self.package.handlings.get(watcher) == "block":
                return
            outcome = agent.subscribing.decide(
                subscribe(identity=watcher, call_id=f"c{self.cseq}", cseq=self.cseq),
                agent.state,
                agent.now,
                agent.identifiers,
            )
            (identifier,) = outcome.notify
            self.subscribers[identifier] = Subscriber()
            self.sent(agent.change(outcome.changes, outcome.notify))
        elif mine:
            self.sent(
                agent.subscribe(
                    subscribe(
                        identity=watcher,
                        call_id=mine[0].call_id,
                        to_tag=mine[0].local_tag,
                        cseq=self.cseq,
                        expires=3600 if name == "refresh" else 0,
                    )
                )
            )

    def check(self) -> None:
        """After all answers, what each active subscriber has put together is the state."""
        for watcher in WATCHERS:
            for _ in range(3):
                self.answer(watcher, True)
        state = {k: p.body.decode() for k, p in self.agent.state.publications.items()}
        for identifier, subscriber in self.subscribers.items():
            assert subscriber.under_way is None
            record = self.agent.state.subscriptions[identifier]
            if subscriber.missed:
                continue
            assert subscriber.state.startswith(record.status), (subscriber.state, record.status)
            if record.status == "active":
                assert subscriber.rows == state, (subscriber.rows, state)
            else:
                assert subscriber.version == -1, "a pending one has seen state"


class HistoryTests(SynchronousTestCase):
    """Properties of the notifier."""

    @settings(max_examples=250, deadline=None)
    @given(st.lists(_step, max_size=40), st.integers(1, 4))
    def test_histories(self, steps: list[tuple[str, object, object]], block: int) -> None:
        """Documents put together equal the state, versions and CSeq rise (3858 §4, 3261 §12.2)."""
        history = History(block)
        history.package.handlings[WATCHERS[2]] = "confirm"
        for watcher in WATCHERS:
            history.subscribe("join", watcher)
        for name, what, how in steps:
            history.step(name, what, how)
        history.check()
        # And one more change makes good whatever was missed.
        history.step("put", 0, 2)
        history.check()
        for subscriber in history.subscribers.values():
            if subscriber.state.startswith("active"):
                self.assertFalse(subscriber.missed)

    @settings(max_examples=100, deadline=None)
    @given(st.lists(_step, max_size=40))
    def test_nothing_is_left(self, steps: list[tuple[str, object, object]]) -> None:
        """When all subscriptions have ended the notifier keeps nothing."""
        history = History(3)
        for watcher in WATCHERS:
            history.subscribe("join", watcher)
        for name, what, how in steps:
            history.step(name, what, how)
        history.check()
        history.agent.now += 10_000_000
        for _ in range(2):
            history.sent(history.agent.expire())
            history.check()
            history.agent.now += 10_000_000
        self.assertEqual(history.agent.state.subscriptions, {})
        self.assertEqual(len(history.agent.notifier), 0)
        self.assertEqual(history.agent.notifier._watched, {})
