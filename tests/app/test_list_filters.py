"""Watcher filters in subscriptions to lists (RFC 4660 §4)."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.multipart import Part, write_multipart
from simplestack.documents.pidf import MEDIA_TYPE
from simplestack.event.filtering import filtered, filtering_in, merged
from simplestack.event.lists import PENDING_ENTRY, EntryState, ListEntry, ListTable
from simplestack.event.listselection import selection as selected
from simplestack.interfaces import Body
from simplestack.sip.message import Response
from tests.app.listworld import ALICE, FRIENDS, Table, pidf, resource_lists
from tests.app.test_lists import BOB, ListCase
from tests.app.world import Phone
from tests.documents.test_filters import filter_set

CAROL = "sip:carol@example.com"
FILTER = "application/simple-filter+xml"


def basic(id_: str, whom: str = "") -> str:
    """A filter that leaves the basic status alone."""
    return f'<filter id="{id_}" {whom}><what><include>//pidf:basic</include></what></filter>'


class FilterTests(ListCase):
    def setUp(self) -> None:
        """Nothing is published yet."""
        super().setUp()
        self.etags: dict[str, str] = {}

    def filtered(self, *filters: str, phone: Phone | None = None) -> Response:
        """Subscribe to the list with filters; the response, which has accepted them."""
        body = filter_set("".join(filters))
        response = self.world.subscribe(phone or self.alice, FRIENDS, body, Content_Type=FILTER)
        self.assertEqual(response.status, 200, response)
        return response

    def say(self, phone: Phone, note: str, basic: str = "open") -> None:
        """Publish, in place of what the phone has published before."""
        etags = self.etags
        etags[phone.user] = self.world.publish(phone, note, etags.get(phone.user, ""), basic)

    def again(self, response: Response, *filters: str) -> Response:
        """Refresh with other filters."""
        headers = {
            "Event": ["presence"],
            "Supported": ["eventlist"],
            "To": response.headers["To"],
            "From": response.headers["From"],
            "Call-ID": response.headers["Call-ID"],
            "Content-Type": [FILTER],
        }
        uri = str(response.contacts[0].uri)
        return self.alice.ask("SUBSCRIBE", uri, headers, filter_set("".join(filters)))

    def test_one_resource(self) -> None:
        """A filter for one resource is for it alone (§4.1)."""
        self.say(self.bob, "here")
        self.say(self.carol, "there")
        self.filtered(basic("1", f'uri="{BOB}"'))
        self.take()
        self.assertIn(b"open", self.note("bob"))
        self.assertNotIn(b"here", self.note("bob"))
        self.assertIn(b"there", self.note("carol"))
        # What is not wanted is not told.
        self.say(self.bob, "still here")
        self.assertEqual(self.take(), [])
        self.say(self.carol, "not here")
        self.assertEqual(self.take(), [False])

    def test_all(self) -> None:
        """One for the list, named or not, is for all, but not for those who have their own."""
        self.say(self.bob, "here")
        self.say(self.carol, "there")
        whole = '<what><include type="namespace">urn:ietf:params:xml:ns:pidf</include></what>'
        for whom in ("", f'uri="{FRIENDS}"', 'domain="EXAMPLE.com"'):
            self.table = Table()
            own = f'<filter id="2" uri="{CAROL}">{whole}</filter>'
            response = self.filtered(basic("1", whom), own)
            self.take()
            self.assertNotIn(b"here", self.note("bob"), whom)
            self.assertIn(b"there", self.note("carol"), whom)
            self.refresh(response, expires=0)
            self.take()

    def test_elsewhere(self) -> None:
        """Filters for others, and for other domains, are ignored."""
        self.say(self.bob, "here")
        self.filtered(basic("1", 'uri="sip:dave@example.com"'), basic("2", 'domain="b.example"'))
        self.take()
        self.assertIn(b"here", self.note("bob"))

    def test_trigger(self) -> None:
        """Until a trigger happens nothing of a resource is told, but to a refresh (§5.3)."""
        self.say(self.bob, "here")
        trigger = '<trigger><changed to="closed">//pidf:basic</changed></trigger>'
        response = self.filtered(f'<filter id="1">{trigger}</filter>')
        self.take()
        self.say(self.bob, "away")
        self.assertEqual(self.take(), [])
        self.assertIn(b"here", self.note("bob"))
        self.refresh(response)
        self.assertEqual(self.take(), [True])
        self.assertIn(b"away", self.note("bob"))
        self.say(self.bob, "gone", basic="closed")
        self.assertEqual(self.take(), [False])
        self.assertIn(b"gone", self.note("bob"))

    def test_two_phones(self) -> None:
        """Phones of one user have the same subscriptions behind the list, and filters of their own."""
        other = self.world.phone("alice@example.com", name="other")
        self.filtered(basic("1"))
        self.subscribed(other)
        self.world.run(2.0)
        self.take()
        other.notifies()
        self.say(self.bob, "here")
        self.take()
        self.assertNotIn(b"here", self.note("bob"))
        self.assertTrue(any(b"here" in each.body for each in other.notifies()))
        self.say(self.bob, "still")
        self.assertEqual(self.take(), [])
        self.assertEqual(len(other.notifies()), 1)
        self.assertEqual(
            len([r for r in self.records(BOB) if r.watcher == "sip:alice@example.com"]), 1
        )

    def test_refreshed(self) -> None:
        """Filters are added, switched and removed by refreshes (§4.2)."""
        self.say(self.bob, "here")
        response = self.subscribed()
        self.take()
        self.assertEqual(self.again(response, basic("1")).status, 200)
        self.take()
        self.assertNotIn(b"here", self.note("bob"))
        self.assertEqual(self.again(response, basic("2", f'uri="{FRIENDS}"')).status, 488)
        self.refresh(response)
        self.take()
        self.assertNotIn(b"here", self.note("bob"))
        self.assertEqual(self.again(response, '<filter id="1" remove="true"/>').status, 200)
        self.take()
        self.assertIn(b"here", self.note("bob"))

    def test_edited(self) -> None:
        """Who joins the list, or leaves and comes back, is filtered as well."""
        self.filtered(basic("1"))
        self.take()
        for friends in (("bob", "carol", "dave"), ("carol",), ("bob", "carol")):
            self.world.friends(*friends)
            self.take()
        dave = self.world.phone("dave@example.com")
        self.world.friends("bob", "dave")
        self.say(dave, "here")
        self.say(self.bob, "here")
        self.take()
        for user in ("bob", "dave"):
            self.assertIn(b"open", self.note(user))
            self.assertNotIn(b"here", self.note(user))

    def test_restart(self) -> None:
        """They count after a restart."""
        self.say(self.bob, "here")
        self.filtered(basic("1"))
        self.take()
        self.world.restart()
        self.take(20.0)
        self.assertIn(b"open", self.note("bob"))
        self.assertNotIn(b"here", self.note("bob"))

    def test_privacy(self) -> None:
        """A filter shows nothing of who does not let the subscriber watch."""
        self.world.store_rules(BOB, {"block": ["sip:alice@example.com"]})
        self.say(self.bob, "secret")
        self.filtered(basic("1", f'uri="{BOB}"'))
        self.take()
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual((row.state, row.reason, row.body), ("terminated", "rejected", b""))

    def with_list(self, *parts: tuple[str, str, bytes], boundary: str = "b1") -> Response:
        """Subscribe with these bodies: type, disposition, octets."""
        fields = [
            (("Content-Type", kind), *([("Content-Disposition", what)] if what else []))
            for kind, what, _ in parts
        ]
        body = write_multipart(
            [Part(each, octets) for each, (_, _, octets) in zip(fields, parts, strict=True)], "b1"
        )
        return self.world.subscribe(
            self.alice,
            ALICE,
            body,
            Content_Type=f"multipart/mixed;boundary={boundary}",
            Require="recipient-list-subscribe",
        )

    def test_with_a_list(self) -> None:
        """A list in the body may come with filters (RFC 5367 §4); a refresh changes these alone."""
        self.say(self.bob, "here")
        response = self.with_list(
            ("application/resource-lists+xml", "recipient-list", resource_lists("bob", "carol")),
            (FILTER, "", filter_set(basic("1", f'uri="{BOB}"'))),
        )
        self.assertEqual(response.status, 200, response)
        self.assertEqual(self.take(), [True])
        self.assertEqual({*self.table.rows}, {BOB, CAROL})
        self.assertNotIn(b"here", self.note("bob"))
        self.world.restart()
        self.world.run(3.0)
        self.take()
        self.assertNotIn(b"here", self.note("bob"))
        self.assertEqual(self.again(response, '<filter id="1" remove="true"/>').status, 200)
        self.assertEqual(self.take(), [True])
        self.assertEqual({*self.table.rows}, {BOB, CAROL})
        self.assertIn(b"here", self.note("bob"))
        self.assertEqual(self.again(response, basic("2")).status, 200)
        self.take()
        self.assertNotIn(b"here", self.note("bob"))
        self.assertEqual(self.refresh(response).status, 200)
        self.take()
        self.assertNotIn(b"here", self.note("bob"))

    def test_with_others(self) -> None:
        """Bodies that are not understood: 415, or ignored where they are optional; bad ones 400."""
        lists = ("application/resource-lists+xml", "recipient-list", resource_lists("bob"))
        self.assertEqual(self.with_list(lists).status, 200)
        self.assertEqual(self.take(), [True])
        icon = ("image/png", "icon;handling=optional", b"x")
        self.assertEqual(self.with_list(icon, lists).status, 200)
        self.assertEqual(self.with_list(("image/png", "", b"x"), lists).status, 415)
        self.assertEqual(self.with_list(lists, lists).status, 415)
        self.assertEqual(self.with_list(lists, boundary="other").status, 400)
        filters = (FILTER, "", filter_set(basic("1")))
        self.assertEqual(self.with_list(filters).status, 400)

    def test_bad(self) -> None:
        """What is not understood gets 488."""
        body = filter_set('<filter id="1"><what><include>count(//*)</include></what></filter>')
        response = self.world.subscribe(self.alice, FRIENDS, body, Content_Type=FILTER)
        self.assertEqual(response.status, 488)
        # A coding is not understood: RFC 3261 §8.2.3.
        response = self.world.subscribe(
            self.alice, FRIENDS, body, Content_Type=FILTER, Content_Encoding="gzip"
        )
        self.assertEqual((response.status, response.get("Accept-Encoding")), (415, "identity"))


class TableTests(SynchronousTestCase):
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["tell", "pend", "list"]),
                st.sampled_from(["bob", "carol", "dave"]),
                st.sampled_from(["open", "closed"]),
                st.sampled_from(["x", "y"]),
            ),
            max_size=20,
        ),
        st.sampled_from(["", 'uri="sip:bob@example.com"', 'domain="example.com"']),
    )
    def test_any_history(self, steps: list[tuple[str, str, str, str]], whom: str) -> None:
        """Whatever has happened, a filter leaves of a list what it leaves of each state in it."""
        filters = merged(b"", filter_set(basic("1", whom)), f"list:{FRIENDS[4:]}", "presence")
        table = ListTable(FRIENDS, "token")
        selection = selected(table, filters, 0.0)
        listed: set[str] = set()
        for now, (what, user, status, note) in enumerate(steps):
            aor = f"sip:{user}@example.com"
            if what == "list":
                listed ^= {aor}
                table.set_entries((), [ListEntry(each, each) for each in sorted(listed)], now)
            elif what == "pend":
                table.tell(aor, PENDING_ENTRY, now)
            else:
                body = pidf(user, note, status)
                table.tell(aor, EntryState("active", "", MEDIA_TYPE, body), now)
        self.assertEqual(set(selection), set(table))
        for aor in table:
            state = table.state_of(aor)
            found = filtering_in(filters, aor, FRIENDS)
            if state is not None and state.body and found is not None:
                assert found.what is not None
                state = state._replace(body=filtered(Body(MEDIA_TYPE, state.body), found.what).data)
            self.assertEqual(selection.state_of(aor), state)
            later = selected(table, filters.replace(b'"1"', b'"2"'), 99.0)
            self.assertEqual(later.state_of(aor), state)
