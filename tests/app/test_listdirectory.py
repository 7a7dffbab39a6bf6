"""Where lists come from: documents that are edited, the operator, whole domains (RFC 4826 §4)."""

from time import process_time

from tests.app.listworld import ALICE, FRIENDS, ROOT, Table, resource_lists
from tests.app.test_lists import BOB, ListCase


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

    def test_many_nested(self) -> None:
        """A list of services of one long document does not hold up the server (RFC 4662 §7.4).

        The document was read for each entry: 47 seconds for 2000 of them among 3000 services.
        """
        others = "".join(
            f'<service uri="sip:s{number}@example.com"><list/></service>' for number in range(1500)
        )
        document = (
            f'<rls-services xmlns="urn:ietf:params:xml:ns:rls-services"><service uri="{FRIENDS}">'
            f"<resource-list>{ROOT}/resource-lists/users/{ALICE}/index/~~/resource-lists/"
            f"list%5b@name=%22friends%22%5d</resource-list></service>{others}</rls-services>"
        )
        self.world.put("rls-services", document.encode())
        more = "".join(
            f'<entry uri="sip:s{number % 50}@example.com;x={number}"/>' for number in range(1000)
        )
        self.world.friends("bob", more=more)
        began = process_time()
        self.assertEqual(self.world.subscribe(self.alice).status, 200)
        self.assertLess(process_time() - began, 4.0)
        self.take()
        self.assertEqual(set(self.table.rows), {BOB})


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
