"""Resource lists on the whole service (RFC 4662, RFC 4826 §4, RFC 5367)."""

from typing import Any
from zlib import decompress

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.message import Response
from simplestack.state import Subscription
from simplestack.store.errors import Unavailable
from tests.app.listworld import ALICE, FRIENDS, ListWorld, Table, opened
from tests.app.world import Phone

BOB = "sip:bob@example.com"


class ListCase(SynchronousTestCase):
    settings: dict[str, object] = {}

    def setUp(self) -> None:
        """Alice has a list of Bob and Carol."""
        self.world = ListWorld(**self.settings)  # type: ignore[arg-type]  # see ListWorld
        self.alice = self.world.phone("alice@example.com")
        self.bob = self.world.phone("bob@example.com")
        self.carol = self.world.phone("carol@example.com")
        self.world.friends("bob", "carol")
        self.world.put_service()
        self.table = Table()

    def subscribed(self, phone: Phone | None = None, **more: str) -> Response:
        """Subscribe to the list; the response, which has accepted it."""
        response = self.world.subscribe(phone or self.alice, FRIENDS, b"", **more)
        self.assertEqual(response.status, 200, response)
        return response

    def take(self, seconds: float = 2.0) -> list[bool]:
        """Let Alice's table take what comes; which of it was full state."""
        self.world.run(seconds)
        return [self.table.take(notify).full_state for notify in self.alice.notifies()]

    def note(self, user: str) -> bytes:
        """What Alice's table has of a user."""
        row = self.table.rows[f"sip:{user}@example.com"]
        assert row is not None
        return row.body

    def refresh(self, response: Response, expires: int = 3600, **more: str) -> Response:
        """Refresh a subscription."""
        headers = {
            "Event": ["presence"],
            "Supported": ["eventlist"],
            "Expires": [str(expires)],
            "To": response.headers["To"],
            "From": response.headers["From"],
            "Call-ID": response.headers["Call-ID"],
        }
        for name, value in more.items():
            headers[name.replace("_", "-")] = [value]
        return self.alice.ask("SUBSCRIBE", str(response.contacts[0].uri), headers)

    def records(self, aor: str) -> list[Subscription]:
        """The subscriptions in the store."""
        return [each for each in self.world.stored(aor) if isinstance(each, Subscription)]


class SubscribingTests(ListCase):
    def test_first(self) -> None:
        """The answer requires eventlist; the first NOTIFY has the whole list, version 0 (§4.1, §5.2)."""
        self.world.publish(self.bob, "here")
        response = self.subscribed()
        self.assertEqual(response.get("Require"), "eventlist")
        self.assertEqual(self.take(5), [True])
        self.assertEqual(self.table.version, 0)
        self.assertIn(b"here", self.note("bob"))
        self.assertIn(b"closed", self.note("carol"))
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual(row.name, "Bob")

    def test_changes(self) -> None:
        """What changes is told within the interval, that alone, with the next version (§5.2)."""
        self.subscribed()
        self.take()
        self.world.publish(self.bob, "first")
        self.world.publish(self.carol, "second")
        self.assertEqual(self.take(1.0), [False])
        self.assertEqual(self.table.version, 1)
        self.assertIn(b"first", self.note("bob"))
        self.assertIn(b"second", self.note("carol"))
        self.world.publish(self.bob, "third")
        self.world.run(1.5)
        (notify,) = self.alice.notifies()
        rlmi, parts = opened(notify)
        self.assertEqual([each.uri for each in rlmi.resources], [BOB])
        self.assertEqual(len(parts), 1)
        self.assertFalse(self.table.missed)

    def test_refresh(self) -> None:
        """A refresh brings full state (§4.5)."""
        response = self.subscribed()
        self.take()
        self.assertEqual(self.refresh(response).status, 200)
        self.assertEqual(self.take(), [True])

    def test_end(self) -> None:
        """When the list's subscription ends those behind it end with it."""
        response = self.subscribed()
        self.take()
        self.assertEqual(len(self.records(BOB)), 1)
        self.assertEqual(self.refresh(response, 0).status, 200)
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        self.assertIn("terminated", notify.get("Subscription-State") or "")
        self.assertTrue(self.table.take(notify).full_state)
        self.assertEqual(self.records(BOB), [])
        self.assertEqual(len(self.world.core.lists or ()), 0)

    def test_expiry(self) -> None:
        """So they do when it is not refreshed, or its subscriber is gone."""
        self.subscribed(Expires="60")
        self.take(70)
        self.assertEqual(self.records(BOB), [])
        self.subscribed()
        self.take()
        self.alice.replies.append((481, {}))
        self.world.publish(self.bob, "x")
        self.world.run(3.0)
        self.assertEqual(self.records(BOB), [])

    def test_fetch(self) -> None:
        """A fetch gets what is known and leaves nothing."""
        self.world.publish(self.bob, "here")
        self.subscribed(Expires="0")
        self.assertEqual(self.take(), [True])
        self.assertIn(b"here", self.note("bob"))
        self.assertEqual(self.records(BOB), [])

    def test_two_phones(self) -> None:
        """Two phones share what is behind the list; each has versions of its own."""
        other = self.world.phone("alice@example.com", name="other")
        self.subscribed()
        self.take()
        self.world.publish(self.bob, "one")
        self.take()
        self.subscribed(other)
        self.world.run(2.0)
        theirs = Table()
        (notify,) = other.notifies()
        self.assertTrue(theirs.take(notify).full_state)
        self.assertEqual(theirs.version, 0)
        self.assertEqual(len(self.records(BOB)), 1)
        self.world.publish(self.bob, "two", "")
        self.take()
        for notify in other.notifies():
            theirs.take(notify)
        self.assertEqual((self.table.version, theirs.version), (2, 1))
        self.assertEqual(self.table.rows, theirs.rows)

    def test_without_eventlist(self) -> None:
        """421 for those who do not support lists (§4.1)."""
        response = self.world.subscribe(self.alice, Supported="")
        self.assertEqual(response.status, 421)
        self.assertEqual(response.get("Require"), "eventlist")
        self.assertEqual(self.records(BOB), [])

    def test_refused(self) -> None:
        """404 for no list, 403 for another's, 489 for a package that is not for it, 406."""
        self.assertEqual(self.world.subscribe(self.alice, "sip:no@example.com").status, 404)
        self.assertEqual(self.world.subscribe(self.bob).status, 403)
        self.assertEqual(self.world.subscribe(self.alice, Event="dialog").status, 489)
        self.assertEqual(self.world.subscribe(self.alice, Accept="text/plain").status, 406)
        self.assertEqual(self.world.subscribe(self.alice, Expires="1").status, 423)
        self.world.put_service(packages="<packages><package>reg</package></packages>")
        response = self.world.subscribe(self.alice)
        self.assertEqual((response.status, response.get("Allow-Events")), (489, "reg"))
        # "If the <packages> element is present, and the event package in the SUBSCRIBE request is
        # not amongst those listed […], the request MUST be rejected with a 489" (RFC 4826 §4.5)
        self.world.put_service(packages="<packages/>")
        self.assertEqual(self.world.subscribe(self.alice).status, 489)
        self.world.run(1.0)
        self.assertEqual(self.records(BOB), [])
        self.assertEqual(len(self.world.core.lists or ()), 0)

    def test_bad_reference(self) -> None:
        """502 with the reference that leads nowhere (RFC 4826 §4.4.6)."""
        self.world.friends("bob", more='<entry-ref ref="resource-lists/users/x"/>')
        response = self.world.subscribe(self.alice)
        self.assertEqual(response.status, 502)
        self.assertIn("resource-lists/users/x", response.get("Warning") or "")

    def test_index_alone(self) -> None:
        """A service in another document than ``index`` is not used (RFC 4826 §4.4.7)."""
        self.subscribed()
        self.take()
        services = self.world.core.store.documents("rls-services")
        (document,) = self.successResultOf(services)
        self.world.put("rls-services", document.body, name="other")
        self.world.put("rls-services", None)
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        self.assertIn("terminated;reason=noresource", notify.get("Subscription-State") or "")
        self.assertEqual(self.world.subscribe(self.alice).status, 404)
        self.world.restart()
        self.assertEqual(self.world.subscribe(self.alice).status, 404)

    def test_users_come_first(self) -> None:
        """A list under the name of a user is not served in his place."""
        self.world.put_service(BOB)
        response = self.world.subscribe(self.carol, BOB)
        self.assertEqual(response.status, 200)
        self.assertIsNone(response.get("Require"))

    def test_other_packages(self) -> None:
        """Every package can be listed: reg, as far as one may see others' registrations."""
        self.world.friends("alice", "bob")
        self.subscribed(Event="reg", Accept="multipart/related, application/rlmi+xml")
        self.assertEqual(self.take(), [True])
        self.assertIn(b"reginfo", self.note("alice"))
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "rejected"))
        self.alice.ask("REGISTER", "sip:example.com", {"Contact": [self.alice.contact]})
        self.assertEqual(self.take(), [False])
        self.assertIn(b"<contact", self.note("alice"))

    def test_watchers_of_each(self) -> None:
        """So can watcher information: full documents, whatever was told before."""
        self.world.friends("alice", "bob")
        self.subscribed(
            Event="presence.winfo",
            Accept="multipart/related, application/rlmi+xml, application/watcherinfo+xml",
        )
        self.assertEqual(self.take(), [True])
        for count, phone in enumerate((self.bob, self.carol), 1):
            phone.ask("SUBSCRIBE", ALICE, {"Event": ["presence"]})
            self.assertEqual(self.take(), [False])
            self.assertEqual(self.note("alice").count(b"<watcher "), count)
            self.assertIn(b'state="full"', self.note("alice"))

    def test_documents(self) -> None:
        """So can XCAP documents: all that a user may see of each, whole (RFC 5875)."""
        self.world.friends("alice", "bob")
        response = self.subscribed(
            Event="xcap-diff",
            Accept="multipart/related, application/rlmi+xml, application/xcap-diff+xml",
        )
        self.assertEqual(self.take(), [True])
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "rejected"))
        lists = f"resource-lists/users/{ALICE}/index".encode()
        rules = f"pres-rules/users/{ALICE}/index".encode()
        self.assertIn(lists, self.note("alice"))
        self.assertNotIn(rules, self.note("alice"))
        self.world.store_rules(ALICE, {"allow": [BOB]})
        self.assertEqual(self.take(), [False])
        self.assertIn(rules, self.note("alice"))
        self.assertIn(lists, self.note("alice"))
        told = self.note("alice")
        self.refresh(response, Event="xcap-diff")
        self.assertEqual(self.take(), [True])
        self.assertEqual(self.note("alice"), told)


class SavingTests(ListCase):
    def test_conditional(self) -> None:
        """RFC 5839 §5: who has this state of the list gets 204, and what changes after."""
        first = self.subscribed()
        self.world.run(2.0)
        (notify,) = self.alice.notifies()
        self.table.take(notify)
        tag = notify.etag
        assert tag
        response = self.refresh(first, Suppress_If_Match=tag)
        self.assertEqual(response.status, 204)
        self.assertEqual(self.take(5.0), [])
        self.world.publish(self.bob, "news")
        self.world.run(2.0)
        (notify,) = self.alice.notifies()
        self.table.take(notify)
        self.assertIn(b"news", self.note("bob"))
        self.assertNotEqual(notify.etag, tag)
        self.assertEqual(self.refresh(first, Suppress_If_Match=tag).status, 200)
        self.assertEqual(self.take(), [True])
        # The state is the same again, and so is what stands for it.
        self.subscribed(Suppress_If_Match=notify.etag or "")
        self.world.run(2.0)
        (last,) = self.alice.notifies()
        self.assertEqual((last.etag, last.body), (notify.etag, b""))

    def test_coded(self) -> None:
        """RFC 3261 §20.12: a body is compressed for who takes it so."""
        for coding, bits in (("gzip", 31), ("deflate", 15)):
            self.world.publish(self.bob, "x" * 900)
            self.subscribed(Accept_Encoding=coding)
            self.world.run(2.0)
            (notify, *_) = [
                each
                for each in self.alice.notifies()
                if each.get("Content-Encoding") == coding and each.cseq.number == 1
            ]
            self.assertLess(len(notify.body), 900)
            notify.body = decompress(notify.body, bits)
            self.assertTrue(Table().take(notify).full_state)

    def test_parts(self) -> None:
        """RFC 5263: who takes documents in parts is told what has changed in them; others not."""
        accept = "multipart/related, application/rlmi+xml, application/pidf+xml"
        tag = self.world.publish(self.bob, "x" * 400)
        self.subscribed(Accept=f"{accept}, application/pidf-diff+xml")
        self.take()
        self.assertEqual((self.table.wholes, self.table.steps), (2, 0))
        whole = self.world.phone("alice@example.com", name="whole")
        self.subscribed(whole)
        for number in range(3):
            tag = self.world.publish(self.bob, "x" * 400 + f" {number}", tag)
            self.take()
            self.assertIn(b"x %d<" % number, self.note("bob"))
        self.assertEqual((self.table.wholes, self.table.steps), (2, 3))
        for notify in whole.notifies():
            self.assertNotIn(b"pidf-diff", notify.body)

    def test_slow(self) -> None:
        """While nobody can be told, nothing is made for the telling; then all of it is there."""
        self.subscribed()
        self.take()
        self.alice.link.cut = True
        made: list[float] = []
        for number in range(10):
            self.world.publish(self.bob, f"note {number}")
            self.world.run(1.0)
            tables = [watch.table for watch in self.world.core.lists or ()]
            made.append(sum(table.number for table in tables))
        # The first went out, and each of the others would have had a number for its parts.
        self.assertEqual(len(set(made[1:])), 1, made)
        self.alice.link.cut = False
        self.take(60.0)
        self.assertIn(b"note 9", self.note("bob"))
        self.assertFalse(self.table.missed)


class LimitsTests(ListCase):
    settings = {"max_entries": 2, "max_body": 1300}

    def test_entries(self) -> None:
        """A list that is too long gets its bound, and is told so."""
        self.world.friends("bob", "carol", "dave")
        response = self.subscribed()
        self.assertIn("only the first 2 are served", response.get("Warning") or "")
        self.take(10)
        self.assertEqual(len(self.table.rows), 2)

    def test_split(self) -> None:
        """What does not fit into a body follows in the next; no body is larger."""
        for phone in (self.bob, self.carol):
            self.world.publish(phone, "x" * 700)
        self.subscribed()
        self.world.run(1.0)
        notifies = self.alice.notifies()
        self.assertGreater(len(notifies), 1)
        for notify in notifies:
            self.assertLess(len(notify.body), 1700)
            self.table.take(notify)
        self.assertFalse(self.table.missed)
        for user in ("bob", "carol"):
            self.assertIn(b"xxx", self.note(user))

    def test_unreadable_after_a_restart(self) -> None:
        """What can't be read for a moment after a restart is no reason to end a subscription."""
        for method, what in (("load", ALICE), ("documents", "rls-services")):
            self.setUp()
            self.subscribed()
            self.take()
            read = getattr(self.world.store, method)
            asked: list[float] = []

            def unreadable(
                name: str, what: str = what, read: Any = read, asked: list[float] = asked
            ) -> Any:
                if name != what or len(asked) == 3:
                    return read(name)
                asked.append(self.world.now)
                waiting: Deferred[object] = Deferred()
                self.world.at(self.world.now, lambda: waiting.errback(Unavailable(2)))
                return waiting

            setattr(self.world.store, method, unreadable)
            self.world.restart()
            self.world.run(30.0)
            # Nor for asking again and again.
            self.assertEqual(len(asked), 3)
            self.assertGreater(asked[-1] - asked[0], 5.0)
            notifies = self.alice.notifies()
            self.assertEqual([self.table.take(each).full_state for each in notifies[:1]], [True])
            states = [(each.get("Subscription-State") or "")[:6] for each in notifies]
            self.assertEqual(set(states), {"active"})
