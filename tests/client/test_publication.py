"""A publication that keeps itself."""

from itertools import count

from twisted.trial.unittest import SynchronousTestCase

from simplestack.client.errors import ClientError, RefusedError
from simplestack.client.publication import Publication
from simplestack.sip.message import Request, Response
from tests.client.peer import Peer


class PublicationTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A publication at a compositor that keeps one entity-tag."""
        self.peer = Peer()
        self.peer.answers["PUBLISH"] = self.compose
        self.current: str | None = None
        self.serial = count(1)
        self.ends: list[ClientError] = []
        self.publication = Publication(self.peer.agent, expires=600, on_end=self.ends.append)

    def compose(self, request: Request) -> Response:
        """RFC 3903 §6."""
        if request.if_match is not None and request.if_match != self.current:
            return request.response(412, to_tag="x")
        response = request.response(200, to_tag="x")
        self.current = f"tag{next(self.serial)}" if request.expires else None
        response.set("SIP-ETag", self.current or "gone")
        response.set("Expires", request.get("Expires") or "")
        return response

    def publish(self, body: bytes) -> int:
        """Publish."""
        published = self.publication.publish(body)
        self.peer.run()
        return self.successResultOf(published)

    def rows(self) -> list[tuple[bool, str | None, bool]]:
        """Of each PUBLISH whether it has a body, its entity-tag, and whether it lasts (Table 1)."""
        return [(bool(each.body), each.if_match, bool(each.expires)) for each in self.peer.requests]

    def test_operations(self) -> None:
        """RFC 3903 §4, Table 1: initial, refresh, modify, remove."""
        self.assertEqual(self.publish(b"<one/>"), 600)
        self.peer.run(560)
        self.publish(b"<two/>")
        stopped = self.publication.stop()
        self.peer.run()
        self.successResultOf(stopped)
        self.assertEqual(
            self.rows(),
            [
                (True, None, True),
                (False, "tag1", True),
                (True, "tag2", True),
                (False, "tag3", False),
            ],
        )
        first = self.peer.requests[0]
        self.assertEqual((first.uri, first.get("Event")), ("sip:alice@example.com", "presence"))
        self.assertEqual(first.get("Content-Type"), "application/pidf+xml")
        self.assertIsNone(self.publication.entity_tag)

    def test_forgotten(self) -> None:
        """§4.1: after 412 the state is published anew, whole, without the entity-tag."""
        self.publish(b"<one/>")
        self.current = None
        self.peer.run(560)
        self.assertEqual(
            self.rows(), [(True, None, True), (False, "tag1", True), (True, None, True)]
        )
        self.assertEqual(self.publication.entity_tag, "tag2")

    def test_removing_what_is_forgotten(self) -> None:
        """What the server has forgotten need not be removed."""
        self.publish(b"<one/>")
        self.current = None
        stopped = self.publication.stop()
        self.peer.run()
        self.successResultOf(stopped)
        self.assertEqual(len(self.peer.requests), 2)

    def test_one_at_a_time(self) -> None:
        """§4: no second PUBLISH before the response to the first."""
        self.publication.publish(b"<one/>")
        self.publication.publish(b"<two/>")
        self.peer.run()
        self.assertEqual(self.rows(), [(True, None, True), (True, "tag1", True)])

    def test_refused(self) -> None:
        """A refusal fails the call, and nothing is refreshed."""
        self.peer.answers["PUBLISH"] = lambda request: request.response(403, to_tag="x")
        published = self.publication.publish(b"<one/>")
        self.peer.run(700)
        self.failureResultOf(published, RefusedError)
        self.assertEqual(len(self.peer.requests), 1)

    def test_no_entity_tag(self) -> None:
        """§6: a 200 without SIP-ETag can't be built upon."""
        self.peer.answers["PUBLISH"] = lambda request: request.response(200, to_tag="x")
        published = self.publication.publish(b"<one/>")
        self.peer.run()
        self.failureResultOf(published, ClientError)

    def test_ends(self) -> None:
        """A refresh that is refused for good is the end."""
        self.publish(b"<one/>")
        self.peer.answers["PUBLISH"] = lambda request: request.response(403, to_tag="x")
        self.peer.run(600)
        self.assertEqual([str(error) for error in self.ends], ["403 Forbidden"])
