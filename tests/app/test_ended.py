"""Subscriptions that end by themselves, and a process that dies before it has said so."""

from simplestack.event.limits import DEFAULT_LIMITS
from simplestack.state import Subscription
from tests.app.test_turn import ALICE, BOB, TurnCase


class EndedTests(TurnCase):
    def ended(self) -> list[str]:
        """The statuses of Bob's subscriptions in the store."""
        return [
            record.status for record in self.world.stored(BOB) if isinstance(record, Subscription)
        ]

    def block(self) -> None:
        """Bob lets Alice watch him no more."""
        self.world.store_rules(BOB, {"block": [ALICE]})
        self.world.run(0.0)

    def test_told_once(self) -> None:
        """RFC 6665 §4.2.2: the last NOTIFY says why; when it is answered nothing is kept."""
        self.subscribe()
        self.block()
        (notify,) = self.alice.notifies()
        self.assertEqual(notify.get("Subscription-State"), "terminated;reason=rejected")
        self.assertEqual(self.ended(), [])
        self.world.restart()
        self.world.run(40.0)
        self.assertEqual(self.alice.notifies(), [])

    def test_killed_before_it_is_told(self) -> None:
        """A kill between the commit and the answer: it is told after the restart, by a higher CSeq."""
        for transport in ("udp", "tcp"):
            self.setUp()
            phone = self.world.phone("alice@example.com", transport)
            first = self.subscribe(phone)
            phone.replies.append((0, {}))
            self.block()
            (lost,) = phone.notifies()
            self.assertEqual(self.ended(), ["terminated"])
            self.world.restart()
            self.world.run(1.0)
            told = phone.notifies()
            self.assertEqual(
                [notify.get("Subscription-State") for notify in told],
                ["terminated;reason=rejected"],
            )
            self.assertEqual(told[0].call_id, first.call_id)
            self.assertGreater(told[0].cseq.number, lost.cseq.number)
            self.assertEqual(self.ended(), [])
            self.world.run(40.0)
            self.assertEqual(phone.notifies(), [])

    def test_never_answered(self) -> None:
        """A subscriber who is gone is given up with his last NOTIFY."""
        self.subscribe()
        self.alice.link.cut = True
        self.block()
        self.assertEqual(self.ended(), ["terminated"])
        self.world.run(40.0)
        self.assertEqual(self.ended(), [])
        self.assertEqual(self.world.core.turns.failing(), 0)

    def test_no_connection(self) -> None:
        """A connection that breaks under the last NOTIFY, or is not there: told when it can be."""
        phone = self.world.phone("alice@example.com", "tcp")
        self.subscribe(phone)
        phone.link.close()
        phone.link.cut = True
        self.block()
        self.assertEqual(self.ended(), ["terminated"])
        phone.link.cut = False
        self.world.restart()
        self.world.run(1.0)
        (notify,) = phone.notifies()
        self.assertEqual(notify.get("Subscription-State"), "terminated;reason=rejected")
        self.assertEqual(self.ended(), [])

    def test_lost_commit_behind_it(self) -> None:
        """Memory that is read again goes on to tell him, and he hears it by one transaction."""
        self.subscribe()
        self.alice.replies.append((0, {}))
        self.block()
        (first,) = self.alice.notifies()
        self.world.store.held = True
        self.bob.send(
            self.bob.request("REGISTER", "sip:example.com", {"Contact": [self.bob.contact]})
        )
        self.world.run(0.0)
        self.world.store.lose()
        self.world.run(40.0)
        (again,) = self.alice.notifies()
        self.assertEqual(again.get("Subscription-State"), "terminated;reason=rejected")
        self.assertGreater(again.cseq.number, first.cseq.number)
        self.assertEqual(self.ended(), [])

    def test_subscribes_again(self) -> None:
        """What is kept of the end is no subscription: it counts nowhere, and nobody sees it."""
        self.subscribe()
        self.alice.replies.append((0, {}))
        self.block()
        self.alice.notifies()
        winfo = {"Event": ["presence.winfo"]}
        self.bob.ask("SUBSCRIBE", BOB, winfo)
        self.world.run(0.0)
        (notify,) = self.bob.notifies()
        self.assertNotIn(b"alice", notify.body)
        answer = self.alice.ask("SUBSCRIBE", BOB, {"Event": ["presence"]})
        self.assertEqual(answer.status, 403)

    def test_seen_once(self) -> None:
        """RFC 3857 §4.7.2: watchers' ends are told when they come, not when they are forgotten."""
        self.subscribe(expires=60)
        self.alice.replies.append((503, {"Retry-After": ["300"]}))
        self.publish("now she wants nothing")
        self.bob.ask("SUBSCRIBE", BOB, {"Event": ["presence.winfo"]})
        self.world.run(1.0)
        self.bob.notifies()
        self.block()
        (notify,) = self.bob.notifies()
        self.assertIn(b'status="terminated"', notify.body)
        self.assertEqual(self.ended().count("terminated"), 1)
        self.world.run(200.0)
        self.assertEqual(self.ended().count("terminated"), 0)
        self.assertEqual(self.bob.notifies(), [])

    def test_numbers_are_no_news(self) -> None:
        """RFC 3857 §4.7.2: that numbers of NOTIFYs are reserved says nothing of watchers."""
        self.subscribe()
        self.bob.ask("SUBSCRIBE", BOB, {"Event": ["presence.winfo"]})
        self.world.run(1.0)
        self.bob.notifies()
        etag = ""
        for number in range(DEFAULT_LIMITS.cseq_block + 1):
            etag = self.publish(f"note {number}", etag).get("SIP-ETag") or ""
        self.world.run(1.0)
        self.assertEqual(self.bob.notifies(), [])

    def test_dialog_of_another(self) -> None:
        """RFC 3261 §12.2.1.1: after a kill it has its CSeq number with those who share its dialog."""
        first = self.alice.ask("SUBSCRIBE", BOB, {"Event": ["presence"]})
        dialog = {name: [first.get(name) or ""] for name in ("To", "Call-ID", "From")}
        # Who goes on has all there is: nothing but the last NOTIFY of the other is sent.
        (notify,) = self.alice.notifies()
        more = {"Event": ["presence;id=2"], "Suppress-If-Match": [notify.get("SIP-ETag") or ""]}
        self.assertEqual(self.alice.ask("SUBSCRIBE", BOB, dialog | more).status, 200)
        self.world.run(1.0)
        self.alice.notifies()
        self.alice.replies.append((0, {}))
        self.alice.ask("SUBSCRIBE", BOB, dialog | {"Event": ["presence"], "Expires": ["0"]})
        numbers = []
        for _ in range(3):
            numbers += [notify.cseq.number for notify in self.alice.notifies()]
            self.world.restart()
            self.world.run(1.0)
        self.publish("news")
        self.world.run(1.0)
        numbers += [notify.cseq.number for notify in self.alice.notifies()]
        self.assertGreaterEqual(len(numbers), 3)
        self.assertEqual(numbers, sorted(set(numbers)))
