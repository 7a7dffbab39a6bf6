"""Whatever happens, all are answered once, and all who watch see what is."""

from typing import NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import parse_presence
from simplestack.documents.pidfdiff import PidfFull, parse_pidf_diff, patch, presence_document
from simplestack.sip.message import Request, Response, parse_message
from simplestack.state import Subscription
from tests.app.world import NoAnswer, Phone, World

USERS = ("alice", "bob", "carol")
HANDLINGS = ("allow", "confirm", "polite-block", "block")
PIDF = (
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="{}">'
    '<tuple id="t{}"><status><basic>open</basic></status><note>{}</note></tuple></presence>'
)


class Action(NamedTuple):
    """Something that a user, time or fate does."""

    name: str
    who: int = 0
    whom: int = 0
    number: int = 0


def action(name: str, numbers: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[Action]:
    """A strategy for one kind of action."""
    return st.builds(
        Action,
        st.just(name),
        st.integers(0, len(USERS) - 1),
        st.integers(0, len(USERS) - 1),
        st.just(0) if numbers is None else numbers,
    )


ACTIONS = st.one_of(
    action("register", st.sampled_from([0, 60, 600, 3600])),
    action("publish", st.integers(0, 3)),
    action("unpublish"),
    action("subscribe", st.sampled_from([60, 300, 3600])),
    action("subscribe to parts", st.sampled_from([60, 300, 3600])),
    action("refresh", st.sampled_from([0, 60, 3600])),
    action("rules", st.integers(0, len(HANDLINGS) - 1)),
    action("time", st.sampled_from([1, 20, 70, 400, 3700])),
    action("replies", st.sampled_from([0, 500, 503, 481])),
    action("loss", st.sampled_from([0, 30, 100])),
    action("lost commit"),
    action("restart"),
)


#: Changes while a NOTIFY of partial presence waits for its answer, which chance seldom finds.
OVERTAKEN = [
    Action("rules", 1, 0, HANDLINGS.index("allow")),
    Action("subscribe to parts", 0, 1, 3600),
    Action("publish", 1, 0, 2),
    Action("loss", 0, 0, 100),
    *[Action("publish", 1, 0, number) for number in (0, 3, 1, 2)],
    Action("loss", 0, 0, 0),
]


class Watching(NamedTuple):
    """A dialog of a watcher."""

    phone: Phone
    aor: str
    response: Response


class History:
    """Plays actions, and keeps what the phones got."""

    def __init__(self, case: SynchronousTestCase, transports: tuple[str, ...]) -> None:
        self.case = case
        self.world = World([f"{user}@example.com" for user in USERS])
        self.phones = [
            self.world.phone(f"{user}@example.com", transport)
            for user, transport in zip(USERS, transports, strict=True)
        ]
        self.etags: dict[tuple[int, int], str] = {}
        self.watching: list[Watching] = []
        self.handlings: dict[str, dict[str, str]] = {}
        #: NOTIFY requests by phone, in the order of their arrival.
        self.notified: dict[str, list[Request]] = {phone.name: [] for phone in self.phones}
        self.asked = 0
        self.answered = 0
        self.lossy = False

    def ask(self, phone: Phone, request: Request) -> Response | None:
        """Send a request; its response, None where loss let none come."""
        self.asked += 1
        phone.send(request)
        for _ in range(80):
            self.world.run(0.0)
            found: Response | None = None
            for message in list(phone.inbox):
                if isinstance(message, Request):
                    continue
                phone.inbox.remove(message)
                self.answered += 1
                if isinstance(message, NoAnswer):
                    return None
                found = message
            if found is not None:
                return found
            self.world.run(1.0)
        raise AssertionError(f"{request} was never answered")

    def play(self, act: Action) -> None:
        """Do one thing."""
        phone, other = self.phones[act.who], self.phones[act.whom]
        world = self.world
        if act.name == "register":
            contact = f"{phone.contact};expires={act.number}"
            request = phone.request("REGISTER", "sip:example.com", {"Contact": [contact]})
            self.ask(phone, request)
        elif act.name == "publish":
            key = (act.who, act.number % 2)
            headers = {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]}
            if key in self.etags:
                headers["SIP-If-Match"] = [self.etags[key]]
            body = PIDF.format(phone.aor, key[1], act.number // 2).encode()
            self.published(key, phone, phone.request("PUBLISH", phone.aor, headers, body))
        elif act.name == "unpublish":
            for key in [key for key in self.etags if key[0] == act.who]:
                headers = {
                    "Event": ["presence"],
                    "SIP-If-Match": [self.etags[key]],
                    "Expires": ["0"],
                }
                self.published(key, phone, phone.request("PUBLISH", phone.aor, headers))
        elif act.name.startswith("subscribe"):
            headers = {"Event": ["presence"], "Expires": [str(act.number)]}
            if act.name == "subscribe to parts":
                headers["Accept"] = ["application/pidf+xml;q=0.5, application/pidf-diff+xml"]
            response = self.ask(phone, phone.request("SUBSCRIBE", other.aor, headers))
            if response is not None and response.status == 200:
                self.watching.append(Watching(phone, other.aor, response))
        elif act.name == "refresh" and self.watching:
            watching = self.watching[(act.who + act.whom) % len(self.watching)]
            response = watching.response
            headers = {
                "Event": ["presence"],
                "Expires": [str(act.number)],
                "Call-ID": [response.call_id],
                "From": response.headers["From"],
                "To": response.headers["To"],
            }
            uri = str(response.contacts[0].uri)
            self.ask(watching.phone, watching.phone.request("SUBSCRIBE", uri, headers))
        elif act.name == "rules":
            mine = self.handlings.setdefault(phone.aor, {})
            mine[other.aor] = HANDLINGS[act.number]
            rules: dict[str, list[str]] = {}
            for watcher, handling in mine.items():
                rules.setdefault(handling, []).append(watcher)
            world.store_rules(phone.aor, rules)
        elif act.name == "time":
            world.run(float(act.number))
        elif act.name == "replies":
            phone.replies.append((act.number, {}))
        elif act.name == "loss":
            self.lossy = self.lossy or act.number > 0
            for each in self.phones:
                each.link.loss = act.number / 100 if each is phone else 0.0
        elif act.name == "lost commit":
            # A NOTIFY that is under way then is sent again beside those of the state that is read
            # anew; only where none is under way the order is kept.
            for each in self.phones:
                each.link.loss = 0.0
            world.run(40.0)
            world.store.held = True
            request = phone.request("REGISTER", "sip:example.com", {"Contact": [phone.contact]})
            self.asked += 1
            phone.send(request)
            world.run(1.0)
            world.store.lose()
        elif act.name == "restart":
            world.restart()
        self.collect()

    def published(self, key: tuple[int, int], phone: Phone, request: Request) -> None:
        """Send a PUBLISH, and remember the entity-tag."""
        self.etags.pop(key, None)
        response = self.ask(phone, request)
        if response is not None and response.status == 200 and request.expires != 0:
            self.etags[key] = response.get("SIP-ETag") or ""

    def collect(self) -> None:
        """Take the NOTIFY requests out of the inboxes, and late answers."""
        self.world.run(0.0)
        for phone in self.phones:
            for message in phone.inbox:
                if isinstance(message, Request):
                    self.notified[phone.name].append(message)
                else:
                    self.answered += 1
            phone.inbox.clear()

    def come_to_rest(self) -> None:
        """Let all that waits be done, on a network that loses nothing any more."""
        for phone in self.phones:
            phone.link.loss = 0.0
            phone.replies.clear()
        # The longest pause between two tries is two minutes.
        self.world.run(200.0)
        self.collect()


def content(document: bytes) -> object:
    """What a presence document says; nothing where there is none."""
    return parse_presence(document) if document else None


class HistoryTests(SynchronousTestCase):
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        st.lists(ACTIONS, max_size=25),
        st.sampled_from([("udp", "udp", "udp"), ("udp", "tcp", "udp"), ("tcp", "udp", "tls")]),
    )
    @example(OVERTAKEN, ("udp", "udp", "udp"))
    def test_any_history(self, actions: list[Action], transports: tuple[str, ...]) -> None:
        """RFC 3261 §8.2, RFC 6665 §4.2, and the invariants of the store, in any history."""
        history = History(self, transports)
        for act in actions:
            history.play(act)
        history.come_to_rest()
        self.check_answers(history)
        self.check_memory(history.world)
        self.check_order(history)
        self.check_watchers(history)

    def check_answers(self, history: History) -> None:
        """Each request was answered once, and copies of it with the same octets."""
        self.assertEqual(history.answered, history.asked)
        finals: dict[str, set[bytes]] = {}
        for _, _, side, data in history.world.log:
            if side == 0 and data[:8] == b"SIP/2.0 " and data[8:9] != b"1":
                response = parse_message(data)
                finals.setdefault(response.top_via.branch or "", set()).add(data)
        for branch, octets in finals.items():
            # A process that was started anew can't know what the one before it has answered.
            if history.world.started == 1:
                self.assertEqual(len(octets), 1, branch)

    def check_memory(self, world: World) -> None:
        """What is in memory is what is in the store."""
        for resident in world.core.residents:
            self.assertEqual(set(resident.state), world.stored(resident.state.aor))
            self.assertEqual(resident.uncommitted, 0)
        self.assertEqual(world.core.layer.unanswered, 0)

    def check_order(self, history: History) -> None:
        """RFC 3261 §12.2.1.1: in a dialog the CSeq of NOTIFY rises strictly."""
        for name, requests in history.notified.items():
            last: dict[tuple[str, str | None], int] = {}
            for request in requests:
                dialog = (request.call_id, request.from_.tag)
                number = request.cseq.number
                self.assertGreater(number, last.get(dialog, 0), f"{name}: {request}")
                last[dialog] = number

    def check_watchers(self, history: History) -> None:
        """Who watches got last what he gets who asks now."""
        world = history.world
        for phone in history.phones:
            for other in history.phones:
                resident = world.core.residents.get(other.aor)
                if resident is None:
                    continue
                mine = [
                    record
                    for record in resident.state.subscriptions.values()
                    if record.watcher == phone.aor and record.status in ("active", "pending")
                ]
                if mine:
                    self.check_watcher(history, phone, other, mine)

    def assembled(self, seen: list[Request]) -> object:
        """What a watcher who gets parts has made of them (RFC 5263 §4.8)."""
        document = b""
        version = 0
        for request in seen:
            if not request.body:
                continue
            part = parse_pidf_diff(request.body)
            assert part.version is not None
            if isinstance(part, PidfFull):
                document = presence_document(request.body)
            else:
                self.assertEqual(part.version, version + 1)
                document = patch(document, part)
            version = part.version
        return content(document)

    def check_watcher(
        self, history: History, phone: Phone, other: Phone, mine: list[Subscription]
    ) -> None:
        """Compare with a fetch."""
        headers = {"Event": ["presence"], "Expires": ["0"]}
        response = history.ask(phone, phone.request("SUBSCRIBE", other.aor, headers))
        assert response is not None
        self.assertEqual(response.status, 200)
        history.world.run(0.0)
        (fetched,) = phone.notifies()
        for record in mine:
            seen = [
                request
                for request in history.notified[phone.name]
                if (request.call_id, request.from_.tag) == (record.call_id, record.local_tag)
            ]
            self.assertTrue(seen, record)
            if record.accept:
                self.assertEqual(self.assembled(seen), content(fetched.body), record)
            else:
                self.assertEqual(seen[-1].body, fetched.body, record)
            state = seen[-1].subscription_state
            assert state is not None
            self.assertEqual(state.state, record.status)
