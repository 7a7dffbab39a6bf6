"""Resource lists on the whole service (RFC 4662, RFC 4826 §4, RFC 5367)."""

from collections.abc import Callable
from zlib import compress, decompress

from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.message import Response
from simplestack.state import Subscription
from tests.app.listworld import (
    ACCEPT,
    ALICE,
    FRIENDS,
    ListWorld,
    Table,
    opened,
    resource_lists,
)
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


class RateTests(ListCase):
    def test_max_rate(self) -> None:
        """A list keeps the rate of its subscriber, and tells the newest state then (RFC 6446 §5.2)."""
        self.subscribed(Event="presence;max-rate=0.1")
        self.take()
        etag = self.world.publish(self.bob, "first")
        self.take(11.0)
        self.assertIn(b"first", self.note("bob"))
        etag = self.world.publish(self.bob, "second", etag)
        self.assertEqual(self.take(3.0), [])
        self.world.publish(self.bob, "third", etag)
        self.world.publish(self.carol, "fourth")
        self.assertEqual(self.take(2.0), [])
        self.assertEqual(len(self.take(10.0)), 1)
        self.assertIn(b"third", self.note("bob"))
        self.assertIn(b"fourth", self.note("carol"))
        self.assertFalse(self.table.missed)
        self.assertEqual(self.take(30.0), [])

    def test_two_phones_with_rates(self) -> None:
        """Phones of one user with a rate and without share the list, and miss nothing."""
        other = self.world.phone("alice@example.com", name="other")
        self.subscribed(other)
        self.subscribed(Event="presence;max-rate=0.1")
        self.take()
        other.notifies()
        for turn in range(3):
            self.world.publish(self.bob, f"said {turn}")
            self.take(3.0)
            self.assertEqual(len(other.notifies()), 1)
        self.take(12.0)
        self.assertIn(b"said 2", self.note("bob"))
        self.assertFalse(self.table.missed)

    def test_min_rate(self) -> None:
        """Where nothing changes the list is told again at its lowest rate (RFC 6446 §6.2)."""
        self.subscribed(Event="presence;min-rate=0.05")
        self.take()
        self.assertEqual(len(self.take(65.0)), 3)
        self.assertFalse(self.table.missed)


class DefaultPaceTests(ListCase):
    """Single subscriptions have a NOTIFY in five seconds (RFC 3856 §6.10), lists one a second."""

    settings = {"notify_interval": 5}

    def test_second_change(self) -> None:
        """What changes soon after another change is told to lists within two seconds."""
        self.subscribed()
        self.take()
        tag = ""
        for number in range(8):
            tag = self.world.publish(self.bob, f"note {number}", tag)
            self.assertEqual(self.take(2.0), [False])
            self.assertIn(b"note %d<" % number, self.note("bob"))

    def test_single(self) -> None:
        """Who subscribes to one user alone, and sees the same, keeps the pace of that."""
        self.subscribed()
        single = self.world.phone("carol@example.com", name="single")
        single.ask("SUBSCRIBE", BOB, {"Event": ["presence"]})
        self.take()
        single.notifies()
        tag = ""
        came = []
        for number in range(12):
            tag = self.world.publish(self.bob, f"note {number}", tag)
            self.world.run(1.0)
            came.append([notify.body for notify in single.notifies()])
        self.world.run(5.0)
        came.append([notify.body for notify in single.notifies()])
        self.assertEqual([len(each) for each in came], [1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 1])
        self.assertIn(b"note 11<", came[-1][0])
        self.take()
        self.assertIn(b"note 11<", self.note("bob"))

    def test_one_body(self) -> None:
        """While single subscriptions rest a state is still made once, for all lists."""
        world = self.world
        for user in ("bob", "dave"):
            owner = f"sip:{user}@example.com"
            world.put("resource-lists", resource_lists("carol"), owner)
            world.put_service(f"sip:{user}-friends@example.com", owner=owner)
            phone = self.bob if user == "bob" else world.phone("dave@example.com")
            world.subscribe(phone, f"sip:{user}-friends@example.com")
        single = world.phone("alice@example.com", name="single")
        single.ask("SUBSCRIBE", "sip:carol@example.com", {"Event": ["presence"]})
        self.subscribed()
        self.take()
        tag = world.publish(self.carol, "one")
        self.take()
        world.publish(self.carol, "two", tag)
        world.run(2.0)
        bodies = {
            id(state.body)
            for watch in world.core.lists or ()
            if (state := watch.table.state_of("sip:carol@example.com")) is not None
        }
        self.assertEqual(len(bodies), 1)

    def test_in_parts(self) -> None:
        """So it is for packages whose documents are in parts: lists have the newest whole."""
        self.subscribed(Event="reg", Accept="multipart/related, application/rlmi+xml")
        self.world.friends("alice")
        single = self.world.phone("alice@example.com", name="single")
        single.ask("SUBSCRIBE", ALICE, {"Event": ["reg"]})
        self.take()
        for number in range(3):
            contact = f"<sip:alice@192.0.2.{number + 1}>"
            self.alice.ask("REGISTER", "sip:example.com", {"Contact": [contact]})
            self.assertEqual(self.take(2.0), [False])
            self.assertIn(b"192.0.2.%d" % (number + 1), self.note("alice"))
            self.assertEqual(self.note("alice").count(b"<contact "), number + 1)

    def test_rate(self) -> None:
        """A list's subscriber gets the rates that he asks for, up to that of lists (RFC 6446 §5.3)."""
        self.subscribed(Event="presence;max-rate=0.5")
        self.world.run(2.0)
        (notify,) = self.alice.notifies()
        self.assertIn(";max-rate=0.5", notify.get("Subscription-State") or "")
        self.table.take(notify)
        self.subscribed(Event="presence;max-rate=20")
        self.world.run(2.0)
        (notify,) = [each for each in self.alice.notifies() if each.cseq.number == 1]
        self.assertIn(";max-rate=1.0", notify.get("Subscription-State") or "")


class BehindTests(ListCase):
    def test_authorization(self) -> None:
        """Each entry is authorized for the subscriber: pending, approved, blocked, polite."""
        self.world.store_rules(BOB, {"confirm": [ALICE]})
        self.world.store_rules("sip:carol@example.com", {"block": [ALICE]})
        self.subscribed()
        self.take()
        states = {uri: row.state for uri, row in self.table.rows.items() if row}
        self.assertEqual(states[BOB], "pending")
        self.assertEqual(states["sip:carol@example.com"], "terminated")
        self.world.publish(self.bob, "secret")
        self.assertEqual(self.take(), [])
        self.world.store_rules(BOB, {"allow": [ALICE]})
        self.assertEqual(self.take(), [False])
        self.assertIn(b"secret", self.note("bob"))
        self.world.store_rules(BOB, {"confirm": [ALICE]})
        self.take()
        states = {uri: row.state for uri, row in self.table.rows.items() if row}
        self.assertEqual(states[BOB], "pending")
        self.world.store_rules(BOB, {"polite-block": [ALICE]})
        self.take()
        self.assertNotIn(b"secret", self.note("bob"))

    def test_watchers(self) -> None:
        """The presentity sees who is behind the list (RFC 3857)."""
        self.bob.ask("SUBSCRIBE", BOB, {"Event": ["presence.winfo"]})
        self.world.run(1.0)
        self.bob.notifies()
        self.subscribed()
        self.world.run(1.0)
        (notify,) = self.bob.notifies()
        self.assertIn(b">sip:alice@example.com</watcher>", notify.body)
        self.assertIn(b'status="active"', notify.body)

    def test_unknown(self) -> None:
        """Who does not exist has no state, and the list says so."""
        self.world.friends("bob", "nobody")
        self.subscribed()
        self.take()
        row = self.table.rows["sip:nobody@example.com"]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "noresource"))
        self.assertIn(BOB, self.table.settled())

    def test_retried(self) -> None:
        """A refresh asks again for what was refused."""
        self.world.store_rules(BOB, {"block": [ALICE]})
        response = self.subscribed()
        self.take()
        self.world.store_rules(BOB, {"allow": [ALICE]})
        self.assertEqual(self.refresh(response).status, 200)
        self.take()
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual(row.state, "active")

    def test_restart(self) -> None:
        """After a restart everything is found again, and nothing twice."""
        self.world.publish(self.bob, "before")
        self.subscribed()
        self.take()
        self.world.restart()
        self.world.run(5.0)
        for notify in self.alice.notifies():
            self.table.take(notify)
        self.assertIn(b"before", self.note("bob"))
        self.assertEqual(len(self.records(BOB)), 1)
        self.world.publish(self.carol, "after")
        self.assertEqual(self.take(), [False])
        self.assertIn(b"after", self.note("carol"))

    def test_orphans(self) -> None:
        """What was left behind a list that is gone ends when it is next heard of."""
        self.subscribed(Expires="60")
        self.take()
        self.assertEqual(len(self.records(BOB)), 1)
        self.world.restart()
        self.world.run(100.0)
        self.assertEqual(self.records(BOB), [])

    def test_long(self) -> None:
        """Those behind a list outlive their day as long as the list is refreshed."""
        response = self.subscribed(Expires="86400")
        self.take()
        for _ in range(5):
            self.world.run(40_000)
            self.assertEqual(self.refresh(response, 86400).status, 200)
            self.alice.notifies()
        (record,) = self.records(BOB)
        self.assertEqual(record.status, "active")


class AgainTests(ListCase):
    def test_rules(self) -> None:
        """Who is let in by new rules sees at once what was refused before (RFC 5025 §3.2.1)."""
        self.world.store_rules(BOB, {"block": [ALICE]})
        self.subscribed()
        self.take()
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "rejected"))
        self.world.store_rules(BOB, {"allow": [ALICE]})
        self.take(1.0)
        self.assertIn(b"closed", self.note("bob"))
        self.world.store_rules(BOB, {"block": [ALICE]})
        self.take(1.0)
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "rejected"))
        self.world.store_rules(BOB, {"polite-block": [ALICE]})
        self.take(1.0)
        self.assertIn(b"closed", self.note("bob"))

    def test_new_user(self) -> None:
        """A user who was not there is looked for again after a quarter of an hour."""
        self.world.friends("bob", "erin")
        self.subscribed()
        self.take()
        row = self.table.rows["sip:erin@example.com"]
        assert row is not None
        self.assertEqual(row.reason, "noresource")
        self.world.add_user("erin@example.com")
        self.take(902.0)
        self.assertIn(b"closed", self.note("erin"))


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


class EditTests(ListCase):
    def test_live(self) -> None:
        """Edits act at once on live subscriptions, and RLMI says so (RFC 4662 §4.5)."""
        self.subscribed()
        self.take()
        self.world.friends("carol", "dave")
        self.assertEqual(self.take(), [False])
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "noresource"))
        self.assertIn(b"closed", self.note("dave"))
        self.assertEqual(self.records(BOB), [])
        self.world.friends("bob")
        self.take()
        self.assertIn(b"closed", self.note("bob"))
        self.assertEqual(list(self.table.settled()), [BOB])

    def test_renamed(self) -> None:
        """A new display name is told."""
        self.subscribed()
        self.take()
        document = resource_lists("bob", "carol").replace(b">Bob<", b">Bobby<")
        self.world.put("resource-lists", document)
        self.assertEqual(self.take(), [False])
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual(row.name, "Bobby")

    def test_referred(self) -> None:
        """So do edits of what a list refers to; a list that gets bad keeps what it can (§4.4.6)."""
        reference = '<external anchor="http://xcap.example.com/resource-lists/users/' + ALICE
        reference += '/index/~~/resource-lists/list%5b2%5d"/>'
        self.world.friends("bob", more=reference)
        self.assertEqual(self.world.subscribe(self.alice).status, 502)
        both = resource_lists("bob", more=reference)[: -len("</resource-lists>")]
        both += b'<list><entry uri="sip:dave@example.com"/></list></resource-lists>'
        self.world.put("resource-lists", both)
        self.subscribed()
        self.take()
        self.assertEqual(set(self.table.rows), {BOB, "sip:dave@example.com"})
        self.world.friends("bob", more=reference)
        self.take()
        self.assertEqual(set(self.table.settled()), {BOB})

    def test_service_deleted(self) -> None:
        """A list that is no more ends its subscriptions with ``noresource``."""
        self.subscribed()
        self.take()
        self.world.put("rls-services", None)
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        self.assertIn("terminated;reason=noresource", notify.get("Subscription-State") or "")
        self.assertEqual(self.records(BOB), [])
        self.assertEqual(self.world.subscribe(self.alice).status, 404)


class RecipientListTests(ListCase):
    LIST = resource_lists("bob", "carol")

    def ask(self, body: bytes = LIST, **more: str) -> Response:
        """Subscribe with a list in the body."""
        headers = {
            "Require": "recipient-list-subscribe",
            "Content_Type": "application/resource-lists+xml",
            "Content_Disposition": "recipient-list",
        }
        return self.world.subscribe(self.alice, "sip:rls@example.com", body, **{**headers, **more})

    def test_list(self) -> None:
        """A list in the body is served as any other (RFC 5367 §5), after a restart as well."""
        response = self.ask()
        self.assertEqual(response.status, 200)
        self.assertEqual(response.get("Require"), "eventlist")
        self.assertEqual(self.take(), [True])
        self.assertEqual(set(self.table.rows), {BOB, "sip:carol@example.com"})
        self.world.publish(self.bob, "hello")
        self.assertEqual(self.take(), [False])
        self.assertEqual(self.refresh(response).status, 200)
        self.assertEqual(self.take(), [True])
        self.assertIn(b"hello", self.note("bob"))
        self.world.restart()
        self.world.run(3)
        self.take()
        self.assertIn(b"hello", self.note("bob"))
        self.assertEqual(self.refresh(response, 0).status, 200)
        self.world.run(2)
        self.assertEqual(self.records(BOB), [])

    def test_compressed(self) -> None:
        """Linphone compresses its list by deflate."""
        response = self.ask(compress(self.LIST), Content_Encoding="deflate")
        self.assertEqual(response.status, 200)
        self.assertEqual(self.take(), [True])
        self.assertEqual(set(self.table.rows), {BOB, "sip:carol@example.com"})
        bomb = compress(bytes(10_000_000))
        self.assertEqual(self.ask(bomb, Content_Encoding="deflate").status, 413)
        self.assertEqual(self.ask(b"x", Content_Encoding="deflate").status, 400)
        self.assertEqual(self.ask(b"x", Content_Encoding="br").status, 415)

    def test_changed(self) -> None:
        """415 for a list in a subsequent SUBSCRIBE (RFC 5367 §5.1)."""
        response = self.ask()
        self.take()
        headers = {
            "Event": ["presence"],
            "Supported": ["eventlist"],
            "To": response.headers["To"],
            "From": response.headers["From"],
            "Call-ID": response.headers["Call-ID"],
            "Content-Type": ["application/resource-lists+xml"],
            "Content-Disposition": ["recipient-list"],
        }
        again = self.alice.ask(
            "SUBSCRIBE", str(response.contacts[0].uri), headers, resource_lists("dave")
        )
        self.assertEqual(again.status, 415)

    def test_bad(self) -> None:
        """400 says which entry; 404 where a list that came with another SUBSCRIBE is asked for."""
        body = b'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>'
        body += b'<entry uri="sip:b b@"/></list></resource-lists>'
        response = self.ask(body)
        self.assertEqual(response.status, 400)
        self.assertIn("sip:b b@", response.get("Warning") or "")
        self.assertEqual(self.ask(Supported="").status, 421)
        uri = "sip:recipient-list.x@example.com"
        self.assertEqual(self.world.subscribe(self.alice, uri).status, 404)


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


class DomainTests(ListCase):
    settings = {"services": {"sip:everybody@example.com": b"domain:example.com"}}

    def test_domain(self) -> None:
        """An operator's list of all users of a domain, as they are when it is refreshed."""
        response = self.world.subscribe(self.bob, "sip:everybody@example.com")
        self.assertEqual(response.status, 200)
        self.world.run(2)
        self.table.take(self.bob.notifies()[-1])
        names = {uri.partition(":")[2].partition("@")[0] for uri in self.table.rows}
        self.assertEqual(names, {"alice", "bob", "carol", "dave"})
        self.world.add_user("erin@example.com")
        self.world.run(70)
        self.world.subscribe(self.bob, "sip:everybody@example.com")
        self.world.run(2)
        fresh = Table()
        for notify in self.bob.notifies():
            fresh.take(notify)
        self.assertIn("sip:erin@example.com", fresh.rows)

    def test_nested(self) -> None:
        """An entry that names another list brings what is in that, once, and no other's list."""
        more = (
            '<entry uri="sip:everybody@example.com"/><entry uri="sip:alice-friends@example.com"/>'
        )
        self.world.friends("bob", more=more)
        self.subscribed()
        self.take()
        names = {uri.partition(":")[2].partition("@")[0] for uri in self.table.rows}
        self.assertEqual(names, {"alice", "bob", "carol", "dave"})
        self.world.put_service("sip:bob-secret@example.com", owner=BOB)
        self.world.friends("carol", more='<entry uri="sip:bob-secret@example.com"/>')
        self.take()
        row = self.table.rows["sip:bob-secret@example.com"]
        assert row is not None
        self.assertEqual((row.state, row.reason), ("terminated", "noresource"))


class ManyTests(SynchronousTestCase):
    def test_default(self) -> None:
        """A list of a hundred comes in bodies that fit, as the default has it."""
        users = [f"u{number}" for number in range(100)]
        world = ListWorld("alice", *users)
        for user in users:
            world.publish(world.phone(f"{user}@example.com"), f"{user} " + "x" * 300)
        world.friends(*users)
        world.put_service()
        alice = world.phone("alice@example.com")
        self.assertEqual(world.subscribe(alice).status, 200)
        world.run(1.0)
        table = Table()
        notifies = alice.notifies()
        for notify in notifies:
            self.assertLess(len(notify.body), 20_000)
            table.take(notify)
        self.assertGreater(len(notifies), 2)
        self.assertFalse(table.missed)
        for user in users:
            row = table.rows[f"sip:{user}@example.com"]
            assert row is not None
            self.assertIn(f"{user} xx".encode(), row.body)

    def test_slices(self) -> None:
        """Those behind a long list are made fifty at a time, between which requests have turns."""
        users = [f"u{number}" for number in range(120)]
        world = ListWorld("alice", "bob", *users)
        world.friends(*users)
        world.put_service()
        alice, bob = world.phone("alice@example.com"), world.phone("bob@example.com")
        self.assertEqual(world.subscribe(alice, "sip:bob@example.com").status, 200)
        waiting: list[Callable[[], None]] = []
        world.core.turns.later = waiting.append
        headers = {"Event": ["presence"], "Supported": ["eventlist"], "Accept": [ACCEPT]}
        alice.inbox.clear()
        alice.send(alice.request("SUBSCRIBE", FRIENDS, headers))
        made = []
        for _ in range(4):
            world.run(0.0)
            made.append(sum([bool(world.stored(f"sip:{user}@example.com")) for user in users]))
            world.publish(bob, "between")
            if waiting:
                waiting.pop()()
                self.assertLess(len(waiting), 2)
        self.assertEqual(made, [50, 100, 120, 120])
        world.run(2.0)
        table = Table()
        for notify in alice.notifies():
            if notify.get("Require") == "eventlist":
                table.take(notify)
        self.assertEqual(len(table.rows), 120)
        self.assertNotIn(None, table.rows.values())

    def test_left_between(self) -> None:
        """Who has left a long list before his turn is not subscribed to; nor when it has ended."""
        users = [f"u{number}" for number in range(120)]
        world = ListWorld("alice", *users)
        world.friends("u0")
        world.put_service()
        alice = world.phone("alice@example.com")
        response = world.subscribe(alice)
        waiting: list[Callable[[], None]] = []
        world.core.turns.later = waiting.append
        world.friends(*users)
        world.friends(*users[:70])
        while waiting:
            waiting.pop()()
        world.run(2.0)
        made = [user for user in users if world.stored(f"sip:{user}@example.com")]
        self.assertEqual(made, users[:70])
        world.friends(*users)
        end = {
            "Event": ["presence"],
            "Supported": ["eventlist"],
            "Expires": ["0"],
            "To": response.headers["To"],
            "From": response.headers["From"],
            "Call-ID": response.headers["Call-ID"],
        }
        alice.ask("SUBSCRIBE", str(response.contacts[0].uri), end)
        while waiting:
            waiting.pop()()
        world.run(2.0)
        self.assertEqual([user for user in users if world.stored(f"sip:{user}@example.com")], [])


class OperatorTests(ListCase):
    settings = {"services": {"sip:team@example.com": resource_lists("alice", "bob")}}

    def test_everybody(self) -> None:
        """The operator's list is for every user; each sees what he may."""
        self.world.store_rules(ALICE, {"block": [BOB]})
        response = self.world.subscribe(self.bob, "sip:team@example.com")
        self.assertEqual(response.status, 200)
        self.world.run(2)
        (notify,) = self.bob.notifies()
        table = Table()
        table.take(notify)
        row = table.rows[ALICE]
        assert row is not None
        self.assertEqual(row.reason, "rejected")
        self.assertEqual(self.world.subscribe(self.carol, "sip:team@example.com").status, 200)
