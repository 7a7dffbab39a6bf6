"""Whatever happens to a list and those in it, its watcher has what a fresh subscription shows."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import parse_presence
from simplestack.sip.message import Request, Response
from tests.app.listworld import ACCEPT, ALICE, FRIENDS, ListWorld, Table
from tests.app.world import Phone

USERS = ("bob", "carol", "dave", "erin")
HANDLINGS = ("allow", "block", "confirm", "polite-block")

_users = st.sampled_from(USERS)
STEPS = st.one_of(
    st.tuples(st.just("publish"), _users, st.integers(0, 3)),
    st.tuples(st.just("rules"), _users, st.sampled_from(HANDLINGS)),
    st.tuples(st.just("edit"), st.lists(_users, unique=True), st.just(0)),
    st.tuples(st.just("lose"), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("cut"), st.booleans(), st.just(0)),
    st.tuples(st.just("refresh"), st.just(0), st.just(0)),
    st.tuples(st.just("wait"), st.integers(1, 40), st.just(0)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
)


#: Whole documents, or those that may be in parts (RFC 5263).
ACCEPTS = (ACCEPT, f"{ACCEPT}, application/pidf-diff+xml")


def meant(table: Table) -> dict[str, tuple[object, ...] | None]:
    """The rows, with what their documents say."""
    return {
        uri: row and (*row[:2], row.name, parse_presence(row.body) if row.body else None)
        for uri, row in table.settled().items()
    }


class History:
    """Runs steps, and lets a watcher follow them."""

    def __init__(self, limit: int, accept: str) -> None:
        self.world = ListWorld("alice", *USERS, max_body=limit)
        self.accept = accept
        self.world.friends(*USERS[:3])
        self.world.put_service()
        self.alice = self.world.phone("alice@example.com", name="alice")
        self.phones = {user: self.world.phone(f"{user}@example.com") for user in USERS}
        self.tags: dict[str, str] = {}
        self.listed = list(USERS[:3])
        self.response = self.world.subscribe(self.alice, Expires="86400", Accept=accept)
        self.table = Table()
        self.take()

    def take(self) -> None:
        """Let the table take what has come."""
        for message in list(self.alice.inbox):
            if isinstance(message, Request):
                self.table.take(message)
        self.alice.inbox.clear()

    def step(self, what: str, which: object, how: object) -> None:
        """Do a step."""
        world = self.world
        if what == "publish":
            phone = self.phones[str(which)]
            tag = self.tags.get(str(which), "")
            self.tags[str(which)] = world.publish(phone, f"note {how}", tag)
        elif what == "rules":
            world.store_rules(f"sip:{which}@example.com", {str(how): [ALICE]})
        elif what == "edit":
            assert isinstance(which, list)
            self.listed = which
            world.friends(*which)
        elif what == "lose":
            assert isinstance(which, int)
            self.alice.link.losing[0] += which
        elif what == "cut":
            self.alice.link.cut = bool(which)
        elif what == "refresh":
            if not self.alice.link.cut:
                self.refresh()
        elif what == "wait":
            assert isinstance(which, int)
            world.run(which)
        else:
            world.restart()
        world.run(0.3)
        self.take()

    def refresh(self) -> None:
        """Refresh the subscription."""
        first = self.response
        headers = {
            "Event": ["presence"],
            "Supported": ["eventlist"],
            "Expires": ["86400"],
            "Accept": [self.accept],
            "To": first.headers["To"],
            "From": first.headers["From"],
            "Call-ID": first.headers["Call-ID"],
        }
        request = self.alice.request("SUBSCRIBE", str(first.contacts[0].uri), headers)
        self.alice.send(request)
        self.world.run(20.0)
        for message in self.alice.inbox:
            assert not isinstance(message, Response) or message.status == 200, message

    def settle(self) -> None:
        """Let all that is under way come."""
        self.alice.link.cut = False
        self.alice.link.losing[0] = 0
        for _ in range(10):
            self.world.run(30.0)
            self.take()


class HistoryTests(SynchronousTestCase):
    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(st.lists(STEPS, max_size=12), st.sampled_from([0, 900]), st.sampled_from(ACCEPTS))
    def test_assembled(
        self, steps: list[tuple[str, object, object]], limit: int, accept: str
    ) -> None:
        """What partial RLMI adds up to is what a fresh subscription gets (RFC 4662 §5.6), and is
        what each resource shows who asks for it alone.
        """
        history = History(limit, accept)
        for step in steps:
            history.step(*step)
        history.settle()
        if history.table.missed:
            history.refresh()
            history.settle()
        fresh = Table()
        phone = history.world.phone("alice@example.com", name="fresh")
        response = history.world.subscribe(phone, FRIENDS)
        self.assertEqual(response.status, 200)
        for _ in range(3):
            history.world.run(5.0)
            for notify in phone.notifies():
                fresh.take(notify)
        self.assertEqual(meant(history.table), meant(fresh))
        self.assertEqual(
            set(fresh.settled()), {f"sip:{user}@example.com" for user in history.listed}
        )
        # What had been refused is asked for again.
        history.refresh()
        history.settle()
        for user in history.listed:
            self.alone(history, phone, user)

    def alone(self, history: History, phone: Phone, user: str) -> None:
        """The row of a user is what a fetch of him shows."""
        uri = f"sip:{user}@example.com"
        row = history.table.rows[uri]
        assert row is not None
        phone.inbox.clear()
        response = phone.ask("SUBSCRIBE", uri, {"Event": ["presence"], "Expires": ["0"]})
        if response.status == 403:
            self.assertEqual((row.state, row.reason), ("terminated", "rejected"))
            return
        history.world.run(1.0)
        notify = phone.notifies()[-1]
        if notify.body:
            self.assertEqual(row.state, "active")
            self.assertEqual(parse_presence(row.body), parse_presence(notify.body))
        else:
            self.assertEqual(row.state, "pending")
