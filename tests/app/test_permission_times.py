"""Permissions that begin and end by the clock, and who is told (RFC 4745 §7.3, RFC 6665 §4.2.2)."""

from simplestack.state import Subscription
from tests.app.test_clockturns import at
from tests.app.test_lists import ListCase
from tests.app.test_turn import BOB, TurnCase, pidf

_EVERYTHING = "<provide-services><all-services/></provide-services><provide-all-attributes/>"


def rule(handling: str, conditions: str = "", shown: str = _EVERYTHING, who: str = "alice") -> str:
    """A rule of what becomes of a watcher, on more conditions than who he is."""
    return (
        "<cp:conditions><cp:identity>"
        f'<cp:one id="sip:{who}@example.com"/></cp:identity>{conditions}</cp:conditions>'
        f"<cp:actions><sub-handling>{handling}</sub-handling></cp:actions>"
        f"<cp:transformations>{shown}</cp:transformations>"
    )


def ruleset(*rules: str) -> bytes:
    """A rules document."""
    numbered = [f'<cp:rule id="r{number}">{each}</cp:rule>' for number, each in enumerate(rules)]
    return (
        '<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy"'
        f' xmlns="urn:ietf:params:xml:ns:pres-rules">{"".join(numbered)}</cp:ruleset>'
    ).encode()


def valid(start: int, end: int) -> str:
    """A condition that holds for a time, in seconds since the world began."""
    return (
        f"<cp:validity><cp:from>{at(start)}</cp:from><cp:until>{at(end)}</cp:until></cp:validity>"
    )


class BeginTests(TurnCase):
    def rules(self, *rules: str) -> None:
        """Bob stores these rules."""
        self.world.store_rules(BOB, {}, ruleset(*rules))

    def states(self, until: float) -> list[tuple[float, str]]:
        """What Alice is told of her subscription, and when."""
        seen = []
        while self.world.now < until:
            self.world.run(1.0)
            for notify in self.alice.notifies():
                state = (notify.get("Subscription-State") or "").partition(";expires")[0]
                seen.append((self.world.now, state))
        return seen

    def watchers(self) -> list[str]:
        """The status of each watcher of Bob's presence in the store."""
        return sorted(
            record.status
            for record in self.world.stored(BOB)
            if isinstance(record, Subscription) and record.package == "presence"
        )

    def wait(self) -> None:
        """Alice's pending subscription ends, and she becomes a waiting watcher."""
        self.alice.ask("SUBSCRIBE", BOB, {"Event": ["presence"], "Expires": ["0"]})
        self.world.run(1.0)
        self.alice.notifies()
        self.assertEqual(self.watchers(), ["waiting"])

    def test_pending(self) -> None:
        """RFC 4745 §7.3: who is pending is approved when his permission begins, and sees all."""
        self.rules(rule("confirm"), rule("allow", valid(100, 200)))
        self.publish("hello")
        notify = self.subscribe()
        self.assertIn("pending", notify.get("Subscription-State") or "")
        self.world.run(99.0 - self.world.now)
        self.assertEqual(self.alice.notifies(), [])
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        self.assertIn("active", notify.get("Subscription-State") or "")
        self.assertIn(b"hello", notify.body)
        self.assertEqual(self.states(210.0), [(200.0, "terminated;reason=deactivated")])

    def test_pending_after_restart(self) -> None:
        """So is who was pending before a restart, whenever it was."""
        self.rules(rule("confirm"), rule("allow", valid(100, 200)))
        self.subscribe()
        self.world.restart()
        self.assertEqual(self.states(50.0)[-1][1], "pending")
        self.assertEqual(self.states(110.0), [(100.0, "active")])

    def test_polite(self) -> None:
        """RFC 5025 §3.2.1: who was politely blocked sees what there is when he may."""
        self.rules(rule("polite-block"), rule("allow", valid(100, 200)))
        self.publish("hello")
        self.assertNotIn(b"hello", self.subscribe().body)
        self.world.run(100.0 - self.world.now)
        (notify,) = self.alice.notifies()
        self.assertIn(b"hello", notify.body)
        self.world.run(100.0)
        (notify,) = self.alice.notifies()
        self.assertIn("active", notify.get("Subscription-State") or "")
        self.assertNotIn(b"hello", notify.body)

    def test_more(self) -> None:
        """RFC 4745 §10.2: a rule that begins to hold shows more to who sees something already."""
        services = "<provide-services><all-services/></provide-services>"
        self.rules(rule("allow", "", services), rule("allow", valid(100, 200)))
        self.publish("hello")
        self.assertNotIn(b"hello", self.subscribe().body)
        self.world.run(100.0 - self.world.now)
        (notify,) = self.alice.notifies()
        self.assertIn(b"hello", notify.body)
        self.world.run(100.0)
        (notify,) = self.alice.notifies()
        self.assertNotIn(b"hello", notify.body)

    def test_waiting(self) -> None:
        """RFC 3857 §4.7.1: a waiting watcher is approved when his permission begins."""
        self.rules(rule("confirm"), rule("allow", valid(100, 200)))
        self.bob.ask("SUBSCRIBE", BOB, {"Event": ["presence.winfo"]})
        self.wait()
        self.world.run(99.0 - self.world.now)
        self.bob.notifies()
        self.world.run(1.0)
        (notify,) = self.bob.notifies()
        self.assertIn(b'status="terminated"', notify.body)
        self.assertIn(b'event="approved"', notify.body)
        self.assertEqual(self.watchers(), [])

    def test_waiting_rejected(self) -> None:
        """RFC 3857 §4.7.1: a waiting watcher is rejected when what let him wait ends."""
        self.rules(rule("confirm", valid(0, 100)))
        self.wait()
        self.world.run(99.0 - self.world.now)
        self.assertEqual(self.watchers(), ["waiting"])
        self.world.run(1.0)
        self.assertEqual(self.watchers(), [])

    def test_waiting_where_nothing_is_in_memory(self) -> None:
        """So is one of a user who has left the memory."""
        self.rules(rule("confirm"), rule("allow", valid(1500, 2000)))
        self.wait()
        self.world.run(1400.0)
        self.assertIsNone(self.world.core.residents.get(BOB))
        self.assertEqual(self.watchers(), ["waiting"])
        self.world.run(1501.0 - self.world.now)
        self.assertEqual(self.watchers(), [])

    def test_waiting_after_restart(self) -> None:
        """After a restart it is found out when somebody next asks for him."""
        self.rules(rule("confirm"), rule("allow", valid(100, 200)))
        self.wait()
        self.world.restart()
        self.world.run(150.0)
        self.bob.ask("SUBSCRIBE", BOB, {"Event": ["presence.winfo"]})
        self.world.run(2.0)
        self.assertEqual(self.watchers(), [])
        self.assertIn(b'event="approved"', self.bob.notifies()[-1].body)

    def test_information(self) -> None:
        """RFC 3857 §4.6: who watches his own subscription is not let do so for longer."""
        self.rules(rule("allow", valid(0, 100)))
        self.alice.ask("SUBSCRIBE", BOB, {"Event": ["presence.winfo"]})
        self.assertEqual(
            self.states(110.0), [(1.0, "active"), (100.0, "terminated;reason=rejected")]
        )

    def test_information_is_not_told_in_vain(self) -> None:
        """RFC 3857 §4.7.2: watcher information says nothing where only the clock has gone on."""
        self.rules(rule("allow"), rule("allow", valid(100, 200), who="carol"))
        self.subscribe()
        self.bob.ask("SUBSCRIBE", BOB, {"Event": ["presence.winfo"]})
        self.world.run(1.0)
        self.bob.notifies()
        self.world.run(300.0)
        self.assertEqual(self.bob.notifies(), [])

    def test_sphere(self) -> None:
        """RFC 5025 §3.1.2: a period of the sphere that a rule asks for begins by the clock."""
        sphere = '<cp:sphere value="work"/>'
        self.rules(rule("confirm"), rule("allow", sphere))
        self.subscribe()
        person = (
            '<person xmlns="urn:ietf:params:xml:ns:pidf:data-model" id="p">'
            f'<sphere xmlns="urn:ietf:params:xml:ns:pidf:rpid" from="{at(100)}" until="{at(200)}">'
            "work</sphere></person></presence>"
        )
        headers = {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]}
        body = pidf().replace(b"</presence>", person.encode())
        self.assertEqual(self.bob.ask("PUBLISH", BOB, headers, body).status, 200)
        self.assertEqual(
            self.states(210.0), [(100.0, "active"), (200.0, "terminated;reason=deactivated")]
        )


class ListTests(ListCase):
    def row(self) -> tuple[str, str]:
        """What the list says of Bob."""
        self.take()
        row = self.table.rows[BOB]
        assert row is not None
        return row.state, row.reason

    def test_blocked(self) -> None:
        """RFC 4662 §4.6: who is blocked behind a list is let in when his permission begins."""
        self.world.store_rules(BOB, {}, ruleset(rule("allow", valid(100, 200))))
        self.subscribed()
        self.assertEqual(self.row(), ("terminated", "rejected"))
        self.world.run(97.0 - self.world.now)
        self.assertEqual(self.row(), ("terminated", "rejected"))
        self.world.run(102.0 - self.world.now)
        self.assertEqual(self.row(), ("active", ""))
        self.world.run(202.0 - self.world.now)
        self.assertEqual(self.row(), ("terminated", "rejected"))

    def test_again_and_again(self) -> None:
        """So is who was let in before, and turned out, each time."""
        rules = ruleset(rule("allow", valid(0, 50)), rule("allow", valid(100, 200)))
        self.world.store_rules(BOB, {}, rules)
        self.subscribed()
        self.assertEqual(self.row(), ("active", ""))
        self.world.run(60.0 - self.world.now)
        self.assertEqual(self.row(), ("terminated", "rejected"))
        self.world.run(102.0 - self.world.now)
        self.assertEqual(self.row(), ("active", ""))

    def test_sphere(self) -> None:
        """RFC 5025 §3.1.2: who is blocked behind a list is let in when the sphere is another one."""
        self.world.store_rules(BOB, {}, ruleset(rule("allow", '<cp:sphere value="work"/>')))
        self.subscribed()
        self.assertEqual(self.row(), ("terminated", "rejected"))
        headers = {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]}
        person = (
            '<person xmlns="urn:ietf:params:xml:ns:pidf:data-model" id="p">'
            '<sphere xmlns="urn:ietf:params:xml:ns:pidf:rpid">work</sphere></person></presence>'
        )
        body = pidf().replace(b"</presence>", person.encode())
        self.assertEqual(self.bob.ask("PUBLISH", BOB, headers, body).status, 200)
        self.assertEqual(self.row(), ("active", ""))
