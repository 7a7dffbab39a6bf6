"""Which body type a subscriber gets."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.event.negotiation import allow_events, choose

TYPES = ("application/pidf+xml", "application/pidf-diff+xml")


class ChooseTests(SynchronousTestCase):
    """RFC 6665 §5.4.5, RFC 3261 §20.1."""

    def test_choices(self) -> None:
        """The default without Accept; else the highest q, ties by our order (3261 §20.1)."""
        for accept, expected in [
            ("", "application/pidf+xml"),
            ("application/pidf+xml", "application/pidf+xml"),
            ("application/pidf-diff+xml", "application/pidf-diff+xml"),
            ("text/plain", None),
            ("*/*", "application/pidf+xml"),
            ("application/*;q=0.1", "application/pidf+xml"),
            ("application/pidf+xml;q=0.3, application/pidf-diff+xml;q=1", TYPES[1]),
            ("application/pidf-diff+xml, application/pidf+xml", TYPES[0]),
            ("application/pidf+xml;q=0", None),
            ("*/*, application/pidf+xml;q=0", TYPES[1]),
            ("text/html, " * 60 + "*/*", TYPES[0]),
        ]:
            self.assertEqual(choose(accept, TYPES), expected, accept)

    def test_allow_events(self) -> None:
        """Allow-Events "does not include a list of the event template-packages" (6665 §4.4.4)."""
        self.assertEqual(
            allow_events(["presence", "presence.winfo", "presence.winfo.winfo", "reg"]),
            "presence, reg",
        )
