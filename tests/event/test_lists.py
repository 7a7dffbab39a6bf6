"""The table of a list by itself (RFC 4662 §5.6)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.multipart import parse_multipart
from simplestack.documents.rlmi import parse_rlmi
from simplestack.event.lists import EntryState, ListEntry, ListTable, terminated_entry
from simplestack.event.listselection import IN_PARTS, selection
from simplestack.interfaces import Body

LIST = "sip:list@example.com"


def told(body: Body | None) -> dict[str, list[str]]:
    """Who is in a body, and in which states."""
    assert body is not None
    boundary = body.content_type.partition("boundary=")[2]
    root, *_ = parse_multipart(body.render(0), boundary)
    return {
        each.uri: [instance.state for instance in each.instances]
        for each in parse_rlmi(root.body).resources
    }


class RestTests(SynchronousTestCase):
    def test_full_between(self) -> None:
        """What one partial document had no room for follows, also where somebody else was told the
        whole between.
        """
        table = ListTable(LIST, "token", 1.0, 900)
        uris = [f"sip:u{number}@example.com" for number in range(4)]
        table.set_entries((), [ListEntry(uri, uri) for uri in uris], 0.0)
        table.settle()
        for uri in uris:
            table.tell(uri, terminated_entry("rejected"), 5.0)
        table.tell(uris[2], EntryState("active", "", "text/plain", b"x" * 200), 5.0)
        first = told(table.partial(6.0))
        self.assertLess(len(first), 4)
        self.assertTrue(table.rest)
        self.assertEqual(len(told(table.full(6.0))), 4)
        self.assertTrue(table.rest)
        found = {*first}
        while table.rest:
            found |= {*told(table.partial(7.0))}
        self.assertEqual(found, {*uris})
        table.full(8.0)
        self.assertFalse(table.rest)


class SelectionTests(SynchronousTestCase):
    def test_parts_begin_with_the_whole(self) -> None:
        """Who has seen no document of a resource is told the whole of it in the form of parts, so that
        parts can follow (RFC 5263 §4.4).
        """
        uri = "sip:bob@example.com"
        table = ListTable(LIST, "token")
        table.set_entries((), [ListEntry(uri, uri)], 0.0)
        chosen = selection(table, IN_PARTS, 0.0)
        table.tell(uri, terminated_entry("rejected"), 1.0)
        self.assertEqual(told(chosen.partial(2.0)), {uri: ["terminated"]})
        told(chosen.full(2.5))
        for number, root in enumerate((b"pidf-full", b"pidf-diff")):
            body = (
                f'<presence xmlns="{ns.PIDF}" entity="{uri}"><tuple id="t"><status/></tuple>'
                f"<note>{'long ' * 200}</note><note>{number}</note></presence>"
            ).encode()
            table.tell(uri, EntryState("active", "", "application/pidf+xml", body), 3.0)
            parts = chosen.partial(4.0)
            assert parts is not None
            self.assertIn(b"<p:%b " % root, parts.tail or b"")
            # Another one subscribes.
            told(chosen.full(5.0))

    def test_entity_tag_of_what_was_held(self) -> None:
        """What a trigger held back and full state tells is another version of the list, of another
        entity-tag (RFC 4661 §3.6, RFC 5839 §4).
        """
        filters = (
            f'<filter-set xmlns="{ns.SIMPLE_FILTER}"><ns-bindings>'
            f'<ns-binding prefix="p" urn="{ns.PIDF}"/></ns-bindings><filter id="1"><trigger>'
            "<added>/p:presence/p:tuple</added></trigger></filter></filter-set>"
        ).encode()
        uri = "sip:bob@example.com"
        table = ListTable(LIST, "token")
        table.set_entries((), [ListEntry(uri, uri)], 0.0)
        chosen = selection(table, filters, 0.0)
        tags, bodies = set(), set()
        for note in (b"one", b"two"):
            body = b'<presence xmlns="%b" entity="%b"><note>%b</note></presence>'
            state = body % (ns.PIDF.encode(), uri.encode(), note)
            table.tell(uri, EntryState("active", "", "application/pidf+xml", state), 1.0)
            bodies.add(note in (chosen.full(2.0).tail or b""))
            tags.add(chosen.fingerprint())
        self.assertEqual(bodies, {True})
        self.assertEqual(len(tags), 2)
