"""Lists in the body of a SUBSCRIBE: RFC 5367."""

from zlib import compress

from simplestack.sip.message import Response
from tests.app.listworld import resource_lists
from tests.app.test_lists import BOB, ListCase


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
