"""NOTIFY requests that fail: what ends, what is sent again, what is kept of it."""

from simplestack.sip.message import Request, Response
from tests.app.test_turn import ALICE, BOB, TurnCase
from tests.app.world import NoAnswer


class NotifyFailureTests(TurnCase):
    def change(self) -> None:
        """A change of Bob's presence."""
        self.count = getattr(self, "count", 0) + 1
        self.register(3600 if self.count % 2 else 0)
        self.world.run(0.0)

    def subscribed(self) -> bool:
        """Whether Alice's subscription is there."""
        resident = self.world.core.residents.get(BOB)
        return resident is not None and bool(resident.state.subscriptions)

    def refresh(self, notify: Request) -> Response:
        """Alice refreshes the subscription that a NOTIFY is of."""
        return self.alice.ask(
            "SUBSCRIBE",
            str(notify.contacts[0].uri),
            {
                "From": notify.headers["To"],
                "To": notify.headers["From"],
                "Call-ID": notify.headers["Call-ID"],
                "Event": ["presence"],
            },
        )

    def test_verdicts(self) -> None:
        """RFC 5057 §5.2, RFC 6665 §4.2.2: what each status of a NOTIFY's answer ends."""
        for status, survives in (
            (404, False),
            (405, False),
            (410, False),
            (416, False),
            (480, False),
            (481, False),
            (482, False),
            (483, False),
            (484, False),
            (485, False),
            (489, False),
            (500, True),
            (501, False),
            (503, True),
            (604, False),
            (400, True),
            (415, True),
            (606, True),
        ):
            self.setUp()
            self.count = 0
            self.subscribe()
            self.alice.replies.append((status, {}))
            self.change()
            self.assertEqual(self.subscribed(), survives, status)
            self.assertEqual(len(self.alice.notifies()), 1)
            # The next change is told if it lives, and the store agrees.
            self.change()
            self.world.run(0.0)
            self.assertEqual(bool(self.alice.notifies()), survives, status)

    def test_retry(self) -> None:
        """A passing failure is made good with the newest state, once."""
        self.subscribe()
        self.alice.replies.append((500, {}))
        self.change()
        self.alice.notifies()
        self.world.run(14.0)
        self.assertEqual(self.alice.notifies(), [])
        self.world.run(2.0)
        (notify,) = self.alice.notifies()
        self.assertIn(b"open", notify.body)
        self.world.run(600.0)
        self.assertEqual(self.alice.notifies(), [])

    def test_retry_after(self) -> None:
        """RFC 3261 §21.5.4: no other request for the time in Retry-After; then the newest state."""
        self.subscribe()
        self.alice.replies.append((503, {"Retry-After": ["120 (soon)"]}))
        self.change()
        self.alice.notifies()
        self.world.run(60.0)
        self.change()
        self.change()
        self.change()
        self.world.run(55.0)
        self.assertEqual(self.alice.notifies(), [])
        self.world.run(6.0)
        (notify,) = self.alice.notifies()
        self.assertIn(b"closed", notify.body)
        self.world.run(600.0)
        self.assertEqual(self.alice.notifies(), [])
        self.change()
        self.assertEqual(len(self.alice.notifies()), 1)

    def test_end_within_retry_after(self) -> None:
        """A subscription that ends meanwhile has its last NOTIFY when the time is over."""
        self.subscribe(expires=60)
        self.alice.replies.append((503, {"Retry-After": ["120"]}))
        self.change()
        self.alice.notifies()
        self.world.run(115.0)
        self.assertFalse(self.subscribed())
        self.assertEqual(self.alice.notifies(), [])
        self.world.run(6.0)
        (notify,) = self.alice.notifies()
        self.assertTrue((notify.get("Subscription-State") or "").startswith("terminated"))
        self.assertEqual(self.world.core.turns.failing(), 0)

    def test_refresh_within_retry_after(self) -> None:
        """Who refreshes is there again: the NOTIFY comes at once (RFC 6665 §4.2.1.4)."""
        first = self.subscribe()
        self.alice.replies.append((503, {"Retry-After": ["120"]}))
        self.change()
        self.alice.notifies()
        self.change()
        self.assertEqual(self.alice.notifies(), [])
        self.assertEqual(self.refresh(first).status, 200)
        self.world.run(0.0)
        notifies = self.alice.notifies()
        self.assertIn(b"closed", notifies[-1].body)
        self.world.run(600.0)
        self.assertEqual(self.alice.notifies(), [])

    def test_five_in_a_row(self) -> None:
        """Five failures in a row are the end; four and a success are not."""
        self.subscribe()
        self.alice.replies.extend([(500, {})] * 4)
        self.change()
        self.world.run(600.0)
        self.assertEqual(len(self.alice.notifies()), 5)
        self.assertTrue(self.subscribed())
        self.alice.replies.extend([(500, {})] * 5)
        self.change()
        self.world.run(600.0)
        self.assertEqual(len(self.alice.notifies()), 5)
        self.assertFalse(self.subscribed())

    def test_nothing_is_kept_of_ended_ones(self) -> None:
        """A subscription that ends while its NOTIFYs fail leaves nothing behind."""
        turns = self.world.core.turns
        self.subscribe(expires=60)
        self.alice.replies.extend([(500, {})] * 20)
        self.change()
        self.assertEqual(turns.failing(), 1)
        self.world.run(600.0)
        self.assertFalse(self.subscribed())
        self.assertEqual(turns.failing(), 0)

    def test_dialog(self) -> None:
        """RFC 5057 §5.2: 404 ends all subscriptions of the dialog, 489 one alone."""
        for status, left in ((404, 0), (489, 1)):
            self.setUp()
            self.count = 0
            self.world.store_rules(BOB, {"allow": [ALICE, BOB]})
            first = self.bob.request("SUBSCRIBE", BOB, {"Event": ["presence"]})
            self.bob.send(first)
            self.world.run(0.0)
            response = self.bob.inbox[0]
            assert isinstance(response, Response)
            self.bob.inbox.clear()
            second = self.bob.ask(
                "SUBSCRIBE",
                str(response.contacts[0].uri),
                {
                    "Event": ["reg"],
                    "Call-ID": [response.call_id],
                    "From": response.headers["From"],
                    "To": response.headers["To"],
                },
            )
            self.assertEqual(second.status, 200)
            self.world.run(0.0)
            self.bob.notifies()
            resident = self.world.core.residents.get(BOB)
            assert resident is not None
            self.assertEqual(len(resident.state.subscriptions), 2)
            self.bob.replies.append((status, {}))
            self.publish("x")
            self.world.run(0.0)
            self.assertEqual(len(resident.state.subscriptions), left, status)


class AnswerTests(TurnCase):
    def test_one_final_response(self) -> None:
        """RFC 3261 §8.2.6, RFC 4320 §4.1: a request whose commit takes for ever gets one 500."""
        self.register()
        self.world.store.held = True
        self.bob.send(
            self.bob.request("REGISTER", "sip:example.com", {"Contact": ["<sip:b@192.0.2.8>"]})
        )
        self.world.run(40.0)
        self.assertEqual(self.answers(self.bob), [500])
        self.world.store.release()
        self.world.run(40.0)
        self.assertEqual(self.answers(self.bob), [])
        self.assertFalse([each for each in self.bob.inbox if isinstance(each, NoAnswer)])
        # It was made all the same.
        self.assertEqual(len(self.bob.ask("REGISTER", "sip:example.com").contacts), 2)
