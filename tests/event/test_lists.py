"""The table of a list by itself (RFC 4662 §5.6)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.multipart import parse_multipart
from simplestack.documents.rlmi import parse_rlmi
from simplestack.event.lists import EntryState, ListEntry, ListTable, terminated_entry
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
