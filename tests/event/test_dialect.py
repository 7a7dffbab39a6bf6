"""What Linphone is told otherwise than others."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.multipart import parse_multipart
from tests.app.listworld import FRIENDS, ListWorld
from tests.app.world import Phone


class DialectTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Alice has a list of Bob."""
        self.world = ListWorld()
        self.world.friends("bob")
        self.world.put_service()
        self.alice: Phone = self.world.phone("alice@example.com")

    def test_linphone(self) -> None:
        """It finds a part by the ``cid`` as it stands in the list, and a package called Presence."""
        self.world.subscribe(self.alice, FRIENDS, User_Agent="LinphoneAndroid/5.2")
        self.world.run(2.0)
        (notify,) = self.alice.notifies()
        self.assertEqual(notify.get("Event"), "Presence")
        media_type = notify.content_type
        assert media_type is not None
        boundary = dict(media_type.params)["boundary"] or ""
        root, part = parse_multipart(notify.body, boundary)
        (identifier,) = [value for name, value in part.headers if name == "Content-Id"]
        self.assertNotIn("<", identifier)
        self.assertIn(f'cid="{identifier}"'.encode(), root.body)

    def test_others(self) -> None:
        """All others are told by the RFCs: RFC 6665 §8.2.1, RFC 2045 §7."""
        self.world.subscribe(self.alice, FRIENDS, User_Agent="baresip (like Linphone)")
        self.world.run(2.0)
        (notify,) = self.alice.notifies()
        self.assertEqual(notify.get("Event"), "presence")
        self.assertIn(b"\r\nContent-ID: <", notify.body)
