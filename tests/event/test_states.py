"""The subscription state machine of RFC 3857."""

from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from simplestack.event.states import (
    EVENTS,
    INITIAL,
    JUDGED,
    NEXT,
    STATES,
    TERMINATED,
    WAITING,
    transition,
)
from simplestack.state import Removed, Subscription
from tests.event.records import subscription

#: Figure 1 of RFC 3857 §4.7.1, read arrow by arrow.
FIGURE = {
    "pending": {
        "approved": "active",
        "timeout": "waiting",
        "noresource": "terminated",
        "rejected": "terminated",
        "deactivated": "terminated",
        "probation": "terminated",
        "giveup": "terminated",
    },
    "active": {
        "noresource": "terminated",
        "rejected": "terminated",
        "deactivated": "terminated",
        "probation": "terminated",
        "timeout": "terminated",
    },
    "waiting": {
        "noresource": "terminated",
        "rejected": "terminated",
        "giveup": "terminated",
        "approved": "terminated",
    },
}


class TableTests(SynchronousTestCase):
    """The table against the figure."""

    def test_every_state_and_event(self) -> None:
        """Every pair of state and event leads where Figure 1 says, or nowhere (3857 §4.7.1)."""
        for state, event in product(STATES, EVENTS):
            self.assertEqual(
                NEXT.get((state, event)), FIGURE.get(state, {}).get(event), (state, event)
            )

    def test_init(self) -> None:
        """Policy accept leads to active, reject to terminated, none to pending (3857 §4.7.1)."""
        self.assertEqual(
            INITIAL,
            {
                "allow": "active",
                "polite-block": "active",
                "confirm": "pending",
                "block": "terminated",
            },
        )

    def test_judgements_are_events_of_their_state(self) -> None:
        """A new policy decision is always an event that the state knows (3857 §4.7.1)."""
        for (status, _), event in JUDGED.items():
            self.assertIn((status, event), NEXT)

    def test_transitions_of_records(self) -> None:
        """A record takes the state and event of each step; ended ones are removed with why."""
        for state, event in product(("pending", "active", "waiting"), EVENTS):
            before = subscription(status=state)
            after = transition(before, event, 99.0, retry_after=5)
            to = NEXT.get((state, event))
            if to is None:
                self.assertIsNone(after)
            elif to == TERMINATED:
                self.assertEqual(after, Removed(before, event, 5))
            else:
                assert isinstance(after, Subscription)
                self.assertEqual((after.status, after.event), (to, event))
                if to == WAITING:
                    self.assertEqual(after.expires_at, 99.0)

    def test_silent_waiting_has_no_dialog(self) -> None:
        """Who became waiting because his dialog is gone is not told of it (6665 §4.2.2)."""
        after = transition(subscription(status="pending"), "timeout", 99.0, silent=True)
        assert isinstance(after, Subscription)
        self.assertEqual(after.local_tag, "")
