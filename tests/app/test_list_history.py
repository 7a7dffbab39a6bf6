"""Whatever happens to a list and those in it, its watcher has what a fresh subscription shows."""

from typing import NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import parse_presence
from simplestack.sip.message import Request, Response
from simplestack.state import Subscription
from tests.app.elsewhere import Elsewhere
from tests.app.listworld import ACCEPT, ALICE, FRIENDS, ROOT, ListWorld, Table
from tests.app.phone import Phone

USERS = ("bob", "carol", "dave", "erin")
HANDLINGS = ("allow", "block", "confirm", "polite-block")
#: What a list can have beside entries of its own, each of another kind.
PARTS = ("nested", "ref", "more", "work", "external", "zoe")
OTHERS = "https://xcap.example.net/"
ANCHOR = OTHERS + "resource-lists/users/sip:zoe@example.net/index/~~/resource-lists/list"
MINE = f"{ROOT}/resource-lists/users/{ALICE}"
WORK = "sip:alice-work@example.com"
RLS = "sip:rls@example.com"
LISTS = "urn:ietf:params:xml:ns:resource-lists"
#: Of a SUBSCRIBE that has its list with it.
IN_BODY = {
    "Require": "recipient-list-subscribe",
    "Content_Type": "application/resource-lists+xml",
    "Content_Disposition": "recipient-list",
}

_users = st.sampled_from(USERS)
_several = st.lists(_users, unique=True, max_size=3)
_parts = st.sets(st.sampled_from(PARTS), min_size=2)
#: One phone's list is in the body of its SUBSCRIBE; the two others share the user's own.
_phones = st.sampled_from(("main", "second", "body"))


class Step(NamedTuple):
    """Something that happens: what, to whom, and how."""

    what: str
    whom: object = ""
    how: object = ""


def _step(
    what: str, whom: st.SearchStrategy[object] | None = None, how: object = None
) -> st.SearchStrategy[Step]:
    how = how if isinstance(how, st.SearchStrategy) else st.just(how)
    return st.builds(Step, st.just(what), st.none() if whom is None else whom, how)


STEPS = st.one_of(
    _step("publish", _users, st.integers(0, 3)),
    _step("rules", st.sets(_users, min_size=1), st.sampled_from(HANDLINGS)),
    _step("edit", _several, _parts),
    _step("other", st.sampled_from(("work", "more")), _several),
    _step("external", _several),
    _step("zoe", st.sampled_from(("active", "pending", 404, 403, 503, 0)), st.integers(0, 3)),
    _step("zoe ends", st.sampled_from(("deactivated", "timeout", "probation", "giveup"))),
    _step("service", st.booleans()),
    _step("lose", _phones, st.integers(1, 5)),
    _step("cut", _phones, st.booleans()),
    _step("refresh", _phones),
    _step("wait", st.sampled_from((1, 1, 1, 2, 5, 40, 90))),
    _step("restart"),
)


#: Whole documents, or those that may be in parts (RFC 5263).
ACCEPTS = (ACCEPT, f"{ACCEPT}, application/pidf-diff+xml")


def meant(table: Table) -> dict[str, tuple[object, ...] | None]:
    """The rows, with what their documents say."""
    return {
        uri: row and (*row[:2], row.name, parse_presence(row.body) if row.body else None)
        for uri, row in table.settled().items()
    }


def nameless(table: Table) -> dict[str, tuple[object, ...] | None]:
    """The same without the names that the list gives them."""
    return {uri: row and (*row[:2], row[3]) for uri, row in meant(table).items()}


def _uri(user: str) -> str:
    return f"sip:{user}@example.com"


def _entries(users: list[str]) -> str:
    return "".join(
        f'<entry uri="{_uri(user)}"><display-name>{user.title()}</display-name></entry>'
        for user in users
    )


def body_of(uris: set[str]) -> bytes:
    """A list to be sent with a SUBSCRIBE."""
    entries = "".join(f'<entry uri="{uri}"/>' for uri in sorted(uris))
    return f'<resource-lists xmlns="{LISTS}"><list>{entries}</list></resource-lists>'.encode()


class Follower:
    """A phone of the watcher that subscribes to a list, and its table."""

    def __init__(
        self, world: ListWorld, name: str, accept: str, uri: str = FRIENDS, body: bytes = b""
    ) -> None:
        self.world = world
        self.phone = world.phone("alice@example.com", name=name)
        self._accept, self._uri, self._body = accept, uri, body
        self._subscribe()

    def _subscribe(self) -> None:
        self.phone.inbox.clear()
        self.table = Table()
        more = IN_BODY if self._body else {}
        self._response = self.world.subscribe(
            self.phone, self._uri, self._body, Expires="86400", Accept=self._accept, **more
        )
        assert self._response.status == 200, self._response
        self.take()

    @property
    def alive(self) -> bool:
        """Whether the server has the subscription yet: NOTIFYs that get no answer end it."""
        tag = self._response.to.tag or ""
        aor = self._response.contacts[0].uri.aor
        return any(
            isinstance(each, Subscription) and each.local_tag == tag
            for each in self.world.stored(aor.replace("sip:", "list:", 1))
        )

    def take(self) -> None:
        """Let the table take what has come."""
        for message in list(self.phone.inbox):
            if isinstance(message, Request):
                self.table.take(message)
        self.phone.inbox.clear()

    def refresh(self) -> None:
        """Refresh the subscription."""
        first = self._response
        headers = {
            "Event": ["presence"],
            "Supported": ["eventlist"],
            "Expires": ["86400"],
            "Accept": [self._accept],
            "To": first.headers["To"],
            "From": first.headers["From"],
            "Call-ID": first.headers["Call-ID"],
        }
        request = self.phone.request("SUBSCRIBE", str(first.contacts[0].uri), headers)
        self.phone.send(request)
        self.world.run(20.0)
        for message in list(self.phone.inbox):
            if isinstance(message, Response) and message.status == 481:
                # It was without a connection for too long.
                self._subscribe()
                return
            assert not isinstance(message, Response) or message.status == 200, message


class History:
    """Runs steps, and lets a watcher follow them."""

    def __init__(self, limit: int, accept: str, listed: list[str], parts: set[str]) -> None:
        self.world = world = ListWorld("alice", *USERS, max_body=limit, external=[OTHERS])
        assert world.core.lists is not None
        world.core.lists.directory.fetcher = self
        self.zoe = Elsewhere(world)
        #: Who is in the lists that the list may refer to.
        self.others: dict[str, list[str]] = {"work": ["dave"], "more": ["erin"], "external": []}
        #: Whether one of them is a service.
        self.service = True
        self.listed, self.parts = listed, parts
        self.store_services()
        self.store_others()
        self.store_list()
        self.phones = {user: world.phone(f"{user}@example.com") for user in USERS}
        self.tags: dict[str, str] = {}
        self.followers = {
            "main": Follower(world, "main", accept),
            "second": Follower(world, "second", accept),
            "body": Follower(world, "body", accept, RLS, body_of(self.everybody())),
        }

    def everybody(self) -> set[str]:
        """All whom one of the lists may have."""
        return {*map(_uri, USERS), self.zoe.aor}

    # ------------------------------------------------------------------ documents

    def services(self) -> bytes:
        """The services: the list, and one that may be in it as an entry."""
        work = (
            f'<service uri="{WORK}"><resource-list>{MINE}/others/~~/resource-lists/list'
            "%5b@name=%22work%22%5d</resource-list></service>"
        )
        return (
            '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">'
            f'<service uri="{FRIENDS}"><resource-list>{MINE}/index/~~/resource-lists/list'
            "%5b@name=%22friends%22%5d</resource-list></service>"
            f"{work if self.service else ''}</rls-services>"
        ).encode()

    def store_services(self) -> None:
        """Store the services as they are now."""
        self.world.put("rls-services", self.services())

    def store_others(self) -> None:
        """Store the lists that the list may refer to."""
        users = {"work": self.others["work"], "more": self.others["more"], "fixed": ["carol"]}
        self._store(
            "others",
            "".join(f'<list name="{name}">{_entries(each)}</list>' for name, each in users.items()),
        )

    def store_list(self) -> None:
        """Store the list as it is now."""
        parts = {
            "nested": f"<list>{_entries(['dave'])}<list>{_entries(['bob'])}</list></list>",
            "ref": f'<entry-ref ref="resource-lists/users/{ALICE}/others/~~/resource-lists/list'
            '%5b@name=%22fixed%22%5d/entry"/>',
            "more": f'<external anchor="{MINE}/others/~~/resource-lists/list'
            '%5b@name=%22more%22%5d"/>',
            "work": f'<entry uri="{WORK}"/>',
            "external": f'<external anchor="{ANCHOR}"/>',
            "zoe": f'<entry uri="{self.zoe.aor}"/>',
        }
        inside = "".join([parts[each] for each in sorted(self.parts)])
        self._store("index", f'<list name="friends">{_entries(self.listed)}{inside}</list>')

    def _store(self, name: str, lists: str) -> None:
        document = f'<resource-lists xmlns="{LISTS}">{lists}</resource-lists>'
        self.world.put("resource-lists", document.encode(), name=name)

    def fetch(self, url: str, accept: str) -> "Deferred[bytes]":
        """What another server has."""
        return succeed(f"<list>{_entries(self.others['external'])}</list>".encode())

    def expected(self) -> set[str]:
        """Who is in the list, all references followed."""
        inside = {
            "nested": ["dave", "bob"],
            "ref": ["carol"],
            **self.others,
        }
        if not self.service:
            del inside["work"]
        found = {_uri(user) for user in self.listed}
        for part in self.parts:
            found |= {_uri(user) for user in inside.get(part, ())}
        if "zoe" in self.parts:
            found.add(self.zoe.aor)
        if "work" in self.parts and not self.service:
            # Then it is a user, whom nobody knows.
            found.add(WORK)
        return found

    # ------------------------------------------------------------------ what happens

    def take(self) -> None:
        """Let the tables take what has come."""
        for follower in self.followers.values():
            follower.take()

    def step(self, step: Step) -> None:
        """Do a step."""
        world = self.world
        what, whom, how = step
        if what == "publish":
            phone = self.phones[str(whom)]
            tag = self.tags.get(str(whom), "")
            self.tags[str(whom)] = world.publish(phone, f"note {how}", tag)
        elif what == "rules":
            assert isinstance(whom, set)
            for user in sorted(whom):
                world.store_rules(_uri(user), {str(how): [ALICE]})
        elif what == "edit":
            assert isinstance(whom, list)
            assert isinstance(how, set)
            self.listed, self.parts = whom, how
            self.store_list()
        elif what == "other":
            assert isinstance(how, list)
            self.others[str(whom)] = how
            self.store_others()
        elif what == "external":
            assert isinstance(whom, list)
            self.others["external"] = whom
        elif what == "zoe":
            assert isinstance(whom, str | int)
            self.zoe.become(whom, f"note {how}")
        elif what == "zoe ends":
            self.zoe.end(str(whom))
        elif what == "service":
            self.service = bool(whom)
            self.store_services()
        elif what == "lose":
            assert isinstance(how, int)
            self.followers[str(whom)].phone.link.losing[0] += how
        elif what == "cut":
            self.followers[str(whom)].phone.link.cut = bool(how)
        elif what == "refresh":
            follower = self.followers[str(whom)]
            if not follower.phone.link.cut:
                follower.refresh()
        elif what == "wait":
            assert isinstance(whom, int)
            world.run(whom)
        else:
            world.restart()
            assert world.core.lists is not None
            world.core.lists.directory.fetcher = self
        world.run(0.3)
        self.take()

    def settle(self, times: int = 10) -> None:
        """Let all that is under way come."""
        for follower in self.followers.values():
            follower.phone.link.cut = False
            follower.phone.link.losing[0] = 0
        for _ in range(times):
            self.world.run(30.0)
            self.take()

    def fresh(self, name: str) -> Table:
        """The table of a fresh subscription, which is kept up to date from now on."""
        uri, body = (RLS, body_of(self.everybody())) if name == "body" else (FRIENDS, b"")
        follower = Follower(self.world, f"fresh-{name}", ACCEPT, uri, body)
        self.followers[f"fresh-{name}"] = follower
        return follower.table


class HistoryTests(SynchronousTestCase):
    @settings(
        max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(
        st.lists(STEPS, min_size=2, max_size=16),
        st.sampled_from([0, 900]),
        st.sampled_from(ACCEPTS),
        _several,
        _parts,
    )
    def test_assembled(
        self, steps: list[Step], limit: int, accept: str, listed: list[str], parts: set[str]
    ) -> None:
        """What partial RLMI adds up to is what a fresh subscription gets (RFC 4662 §5.6), and is
        what each resource shows who asks for it alone.

        The list has entries of its own, nested ones, references within a user's documents and to
        another server, another list, and a user of another domain.
        """
        history = History(limit, accept, listed, parts)
        for step in steps:
            history.step(step)
        history.settle()
        for follower in history.followers.values():
            if follower.table.missed or not follower.alive:
                follower.refresh()
        history.settle()
        self.compare(history)
        # Who could not be reached is asked again within half an hour; who has refused, by this.
        for follower in history.followers.values():
            follower.refresh()
        history.settle(70)
        self.compare(history)
        table = history.followers["body"].table
        phone = history.world.phone("alice@example.com", name="alone")
        self.elsewhere(history, table)
        for user in USERS:
            self.alone(history, phone, table, user)

    def compare(self, history: History) -> None:
        """Each list has what a fresh subscription gets, and both lists have the same."""
        own, everybody = history.fresh("own"), history.fresh("body")
        history.settle(1)
        self.assertEqual({*own.rows}, history.expected())
        for name, follower in history.followers.items():
            self.assertFalse(follower.table.missed)
            fresh = everybody if name.endswith("body") else own
            self.assertEqual(meant(follower.table), meant(fresh), name)
        self.assertEqual(
            nameless(own), {uri: row for uri, row in nameless(everybody).items() if uri in own.rows}
        )

    def elsewhere(self, history: History, table: Table) -> None:
        """The row of a user of another domain is what his server says."""
        zoe = history.zoe
        row = table.rows[zoe.aor]
        assert row is not None
        if zoe.state == 0:
            # What was known of him holds until his subscription ends.
            self.assertIn(row.state, ("active", "pending", "terminated"))
        elif isinstance(zoe.state, int):
            reason = {404: "noresource", 403: "rejected"}.get(zoe.state, "probation")
            self.assertEqual((row.state, row.reason), ("terminated", reason))
        else:
            self.assertEqual(row.state, zoe.state)
            self.assertEqual(zoe.note.encode() in row.body, zoe.state == "active")

    def alone(self, history: History, phone: Phone, table: Table, user: str) -> None:
        """The row of a user is what a fetch of him shows."""
        row = table.rows[_uri(user)]
        assert row is not None
        phone.inbox.clear()
        response = phone.ask("SUBSCRIBE", _uri(user), {"Event": ["presence"], "Expires": ["0"]})
        if response.status == 403:
            self.assertEqual((row.state, row.reason), ("terminated", "rejected"))
            return
        history.world.run(1.0)
        notify = [each for each in phone.notifies() if each.get("Require") != "eventlist"][-1]
        if notify.body:
            self.assertEqual(row.state, "active")
            self.assertEqual(parse_presence(row.body), parse_presence(notify.body))
        else:
            self.assertEqual(row.state, "pending")
