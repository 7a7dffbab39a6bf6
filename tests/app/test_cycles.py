"""What ends goes by itself: nothing that a request makes is part of a cycle of references.

The daemon freezes what stays in memory, so that Python never looks through it again for cycles.
"""

import gc

from twisted.trial.unittest import SynchronousTestCase

from simplestack.app.settings import Settings
from tests.app.world import World

USERS = 10
DOCUMENT = (
    b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:u%d@example.com">'
    b'<tuple id="t"><status><basic>open</basic></status></tuple></presence>'
)


class CyclesTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A service of which the collector of cycles hears nothing."""
        self.addCleanup(gc.enable)
        settings = Settings(("example.com",), default_handling="allow", notify_interval=0)
        names = [f"u{number}@example.com" for number in range(2 * USERS)]
        self.world = World(names, settings=settings)

    def come_and_go(self, first: int) -> int:
        """Users register, publish and watch each other, and go; how many NOTIFYs they were sent."""
        world = self.world
        notifies = 0
        for number in range(first, first + USERS):
            aor = f"sip:u{number}@example.com"
            phone = world.phone(aor[4:], "tcp" if number % 2 else "udp", f"n{number}")
            contact = f"<sip:u@192.0.2.1:{5000 + number}>"
            expires = {"Expires": ["60"]}
            phone.send(
                phone.request("REGISTER", "sip:example.com", {**expires, "Contact": [contact]})
            )
            world.run(0.0)
            kind = {**expires, "Event": ["presence"]}
            document = {**kind, "Content-Type": ["application/pidf+xml"]}
            phone.send(phone.request("PUBLISH", aor, document, DOCUMENT % number))
            world.run(0.0)
            phone.send(phone.request("SUBSCRIBE", aor, kind))
            world.run(0.0)
            notifies += len(phone.notifies())
            phone.inbox.clear()
        world.run(1000)
        world.core.residents.sweep()
        return notifies

    def test_users(self) -> None:
        """Who registers, publishes, subscribes, and goes, leaves nothing to be collected."""
        # What is made once, and what is remembered of texts, has been made.
        self.come_and_go(0)
        gc.collect()
        gc.disable()
        self.assertGreaterEqual(self.come_and_go(USERS), USERS)
        self.assertEqual(len(self.world.core.residents), 0)
        self.assertEqual(gc.collect(), 0)
