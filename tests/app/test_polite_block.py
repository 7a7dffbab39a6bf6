"""A politely blocked watcher can't tell that he is (RFC 5025 §3.2.1)."""

import re

from twisted.trial.unittest import SynchronousTestCase

from tests.app.world import World

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"
CAROL = "sip:carol@example.com"
PIDF = (
    b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com">'
    b'<tuple id="t"><status><basic>open</basic></status><note>%d</note></tuple></presence>'
)
ALLOWED = {"allow": [ALICE, CAROL]}
HIDDEN = {"polite-block": [ALICE], "allow": [CAROL]}


def without_chance(messages: list[bytes]) -> list[bytes]:
    """Messages in which what is random is numbered in the order of its appearance.

    So two that differ by chance alone are the same, and a value that comes again is seen to.
    """
    numbers: dict[bytes, bytes] = {}

    def numbered(match: re.Match[bytes]) -> bytes:
        return match[1] + numbers.setdefault(match[2], b"%d" % len(numbers))

    pattern = re.compile(rb"(;tag=|branch=z9hG4bK|nonce=\"|SIP-ETag: )([\w.-]+)")
    return [pattern.sub(numbered, data) for data in messages]


class Life:
    """Alice and Carol watch Bob, who lives as a test has him live."""

    def __init__(
        self, handling: dict[str, list[str]], accept: str = "application/pidf+xml"
    ) -> None:
        self.world = World()
        self.world.store_rules(BOB, handling)
        self.alice = self.world.phone("alice@example.com")
        self.bob = self.world.phone("bob@example.com")
        self.carol = self.world.phone("carol@example.com")
        self.accept = [accept]
        headers = {"Event": ["presence"], "Expires": ["3600"], "Accept": self.accept}
        self.dialog = self.alice.ask("SUBSCRIBE", BOB, headers)
        assert self.carol.ask("SUBSCRIBE", BOB, headers).status == 200

    def refresh(self, expires: int = 3600) -> None:
        """Alice refreshes her subscription, or ends it."""
        dialog = self.dialog
        headers = {
            "Event": ["presence"],
            "Expires": [str(expires)],
            "Accept": self.accept,
            "Call-ID": [dialog.call_id],
            "From": dialog.headers["From"],
            "To": dialog.headers["To"],
        }
        answer = self.alice.ask("SUBSCRIBE", str(dialog.contacts[0].uri), headers)
        assert answer.status == 200

    def fetch(self) -> None:
        """Alice asks once."""
        self.alice.ask("SUBSCRIBE", BOB, {"Event": ["presence"], "Expires": ["0"]})

    def idle(self) -> "Life":
        """Bob does nothing; Alice refreshes, fetches, and goes."""
        self.world.run(1000.0)
        self.refresh()
        self.world.run(1000.0)
        self.fetch()
        self.world.run(10.0)
        self.refresh(0)
        self.world.run(100.0)
        return self

    def busy(self) -> "Life":
        """Bob registers, publishes, changes, goes; Alice does the same as ever."""
        register = {"Contact": [self.bob.contact]}
        assert self.bob.ask("REGISTER", "sip:example.com", register).status == 200
        headers = {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]}
        for number in range(10):
            answer = self.bob.ask("PUBLISH", BOB, headers, PIDF % number)
            assert answer.status == 200
            headers["SIP-If-Match"] = [answer.get("SIP-ETag") or ""]
            self.world.run(100.0)
        self.refresh()
        self.world.run(500.0)
        self.bob.ask("REGISTER", "sip:example.com", {"Contact": ["*"], "Expires": ["0"]})
        self.world.run(500.0)
        self.fetch()
        self.world.run(10.0)
        self.refresh(0)
        self.world.run(100.0)
        return self

    def restart(self) -> "Life":
        """The service is started anew."""
        self.world.run(100.0)
        self.world.restart()
        self.world.run(100.0)
        return self

    def seen(self) -> list[bytes]:
        """All octets that Alice got, with their times."""
        return without_chance(
            [
                b"%.1f " % time + data
                for time, link, side, data in self.world.log
                if side == 0 and link.phone is self.alice
            ]
        )


class PoliteBlockTests(SynchronousTestCase):
    def test_octets(self) -> None:
        """What she gets of a busy Bob is, octet by octet and second by second, that of an idle one."""
        for accept in ("application/pidf+xml", "application/pidf-diff+xml, application/pidf+xml"):
            shown = Life(ALLOWED, accept).idle().seen()
            hidden = Life(HIDDEN, accept).busy().seen()
            self.assertEqual(len(shown), len(hidden))
            for one, other in zip(shown, hidden, strict=True):
                self.assertEqual(one, other)

    def test_differences_are_found(self) -> None:
        """Who is allowed sees the changes, so the comparison can fail."""
        self.assertNotEqual(Life(ALLOWED).idle().seen(), Life(ALLOWED).busy().seen())

    def test_restart(self) -> None:
        """A restart tells her nothing either."""
        self.assertEqual(
            Life(ALLOWED).restart().idle().seen(), Life(HIDDEN).restart().busy().seen()
        )
