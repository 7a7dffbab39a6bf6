"""The turns of the clock, and those after a restart."""

from collections.abc import Callable
from dataclasses import replace

from simplestack.app.settings import Settings
from simplestack.state import Binding, ChangeSet, Document, Publication, Subscription
from tests.app.test_turn import ALICE, BOB, TurnCase, pidf
from tests.app.world import EPOCH, World
from tests.store.deferring import committed


def at(seconds: int) -> str:
    """The time so many seconds after a world began, as documents write it."""
    minutes, seconds = divmod(seconds + 20, 60)
    return f"2023-11-14T22:{13 + minutes:02}:{seconds:02}Z"


def allowing(conditions: str) -> bytes:
    """A rules document that allows everything on these conditions."""
    return (
        '<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy"'
        ' xmlns="urn:ietf:params:xml:ns:pres-rules"><cp:rule id="a">'
        f"<cp:conditions>{conditions}</cp:conditions>"
        "<cp:actions><sub-handling>allow</sub-handling></cp:actions></cp:rule></cp:ruleset>"
    ).encode()


class ClockTests(TurnCase):
    def test_expiry(self) -> None:
        """RFC 3261 §10.3, RFC 3903 §6: what is not refreshed ends in its second, also if long idle."""
        self.register(60)
        self.publish("here")
        self.world.run(59.0)
        self.assertEqual(len(self.world.stored(BOB)), 3)
        self.world.run(1.0)
        self.assertEqual({type(record) for record in self.world.stored(BOB)} & {Binding}, set())
        self.world.run(3540.0)
        self.assertFalse(
            [record for record in self.world.stored(BOB) if isinstance(record, Publication)]
        )

    def test_expiry_of_what_is_not_in_memory(self) -> None:
        """It is brought into memory to end, and its end is told nobody twice."""
        self.register(3600)
        self.world.restart()
        self.assertIsNone(self.world.core.residents.get(BOB))
        self.world.run(3600.0)
        self.assertEqual(self.bindings(BOB), [])

    def test_idle_ones_leave(self) -> None:
        """After ``resident_idle`` an AOR without subscriptions leaves memory; others stay."""
        self.register(3600)
        self.alice.ask("REGISTER", "sip:example.com", {"Contact": [self.alice.contact]})
        self.subscribe(self.bob)
        self.world.run(900.0)
        residents = self.world.core.residents
        self.assertIsNone(residents.get(ALICE))
        self.assertIsNotNone(residents.get(BOB))
        self.assertEqual(len(self.alice.ask("REGISTER", "sip:example.com").contacts), 1)

    def test_boundary_and_expiry(self) -> None:
        """RFC 3857 §4.7.2: a change is told once, also where a boundary passes in the same second."""
        rules = (
            '<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy"'
            ' xmlns="urn:ietf:params:xml:ns:pres-rules"><cp:rule id="a"><cp:conditions>'
            "<cp:identity><cp:many/></cp:identity></cp:conditions>"
            "<cp:actions><sub-handling>allow</sub-handling></cp:actions></cp:rule>"
            '<cp:rule id="b"><cp:conditions><cp:validity><cp:from>2023-01-01T00:00:00Z</cp:from>'
            "<cp:until>2023-11-14T22:14:20Z</cp:until></cp:validity></cp:conditions></cp:rule>"
            "</cp:ruleset>"
        )
        self.world.store_rules(BOB, {}, rules.encode())
        carol = self.world.phone("carol@example.com")
        self.subscribe()
        self.subscribe(carol, 60)
        self.bob.ask("SUBSCRIBE", BOB, {"Event": ["presence.winfo"]})
        self.world.run(1.0)
        self.bob.notifies()
        self.world.run(70.0)
        (notify,) = self.bob.notifies()
        self.assertIn(b"sip:carol@example.com", notify.body)
        self.assertIn(b'event="timeout"', notify.body)

    def test_slices(self) -> None:
        """Where many are due together, requests have their turn between slices of fifty."""
        turns = self.world.core.turns
        waiting: list[Callable[[], None]] = []
        turns.later = waiting.append
        for number in range(120):
            self.world.core.deadlines.set(f"sip:u{number}@example.com", EPOCH + self.world.now)
        self.world.run(1.0)
        loaded = [len([*self.world.core.residents])]
        while waiting:
            (go_on,) = waiting
            waiting.clear()
            if len(loaded) == 1:
                # A second passes meanwhile.
                self.world.core.clock_turns.tick()
                self.assertEqual(waiting, [])
            go_on()
            loaded.append(len([*self.world.core.residents]))
        self.assertEqual([each - loaded[0] for each in loaded], [0, 50, 70])

    def test_boundaries(self) -> None:
        """RFC 4745 §7.3: validities begin and end by the clock alone, each of them."""
        rules = (
            '<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy"'
            ' xmlns="urn:ietf:params:xml:ns:pres-rules">'
            '<cp:rule id="a"><cp:conditions><cp:identity>'
            '<cp:one id="sip:alice@example.com"/></cp:identity></cp:conditions>'
            "<cp:actions><sub-handling>allow</sub-handling></cp:actions></cp:rule>"
            '<cp:rule id="b"><cp:conditions><cp:identity>'
            '<cp:one id="sip:alice@example.com"/></cp:identity><cp:validity>'
            f"<cp:from>{at(100)}</cp:from><cp:until>{at(200)}</cp:until>"
            f"<cp:from>{at(300)}</cp:from><cp:until>{at(400)}</cp:until>"
            "</cp:validity></cp:conditions><cp:transformations><provide-services><all-services/>"
            "</provide-services></cp:transformations></cp:rule></cp:ruleset>"
        )
        self.world.store_rules(BOB, {"allow": [ALICE]}, rules.encode())
        self.register(3600)
        first = self.subscribe()
        self.assertNotIn(b"open", first.body)
        seen = []
        for second in range(1, 500):
            self.world.run(1.0)
            seen += [(second, b"open" in notify.body) for notify in self.alice.notifies()]
        start = self.world.now - 499
        self.assertEqual(
            [(round(second + start), shown) for second, shown in seen],
            [(100, True), (200, False), (300, True), (400, False)],
        )

    def test_rules_that_end_later(self) -> None:
        """RFC 4745 §7.4: rules that grant the same as those before them, but not as long, end."""
        everybody = "<cp:identity><cp:many/></cp:identity>"
        self.world.store_rules(BOB, {}, allowing(everybody))
        self.subscribe()
        self.world.run(10.0)
        until = f"<cp:from>{at(0)}</cp:from><cp:until>{at(100)}</cp:until>"
        rules = allowing(f"{everybody}<cp:validity>{until}</cp:validity>")
        self.world.store_rules(BOB, {}, rules)
        self.world.run(99.0 - self.world.now)
        self.assertEqual(self.alice.notifies(), [])
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        self.assertEqual(notify.get("Subscription-State"), "terminated;reason=rejected")
        self.assertEqual(notify.body, b"")

    def test_status_that_came_in_a_rest(self) -> None:
        """RFC 4480 §3.1: a status ends by the clock, also one that was told after a rest only."""
        settings = Settings(domains=("example.com",), notify_interval=5)
        self.world = World(settings=settings)
        self.alice = self.world.phone("alice@example.com")
        self.bob = self.world.phone("bob@example.com")
        self.world.store_rules(BOB, {"allow": [ALICE]})
        self.subscribe()
        etag = self.publish("before").get("SIP-ETag") or ""
        self.world.run(1.0)
        self.busy_until(at(60), etag)
        seen = []
        while self.world.now < 90.0:
            self.world.run(1.0)
            seen += [(self.world.now, b"busy" in each.body) for each in self.alice.notifies()]
        self.assertEqual([busy for _, busy in seen], [False, True, False])
        self.assertEqual(seen[-1][0], 60.0)

    def test_status_that_nobody_saw_at_first(self) -> None:
        """RFC 4480 §3.1: a status ends for who came after it, where all before him were blocked."""
        carol = self.world.phone("carol@example.com")
        handlings = {"polite-block": ["sip:carol@example.com"], "allow": [ALICE]}
        self.world.store_rules(BOB, handlings)
        self.subscribe(carol)
        etag = self.publish("before").get("SIP-ETag") or ""
        self.busy_until(at(60), etag)
        self.assertIn(b"busy", self.subscribe().body)
        self.world.run(59.0 - self.world.now)
        self.assertEqual(self.alice.notifies(), [])
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        self.assertNotIn(b"busy", notify.body)
        self.assertEqual(carol.notifies(), [])

    def busy_until(self, end: str, etag: str) -> None:
        """Bob publishes that he is busy."""
        headers = {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]}
        headers["SIP-If-Match"] = [etag]
        person = (
            '<person xmlns="urn:ietf:params:xml:ns:pidf:data-model" id="p">'
            f'<activities xmlns="urn:ietf:params:xml:ns:pidf:rpid" until="{end}"><busy/>'
            "</activities></person></presence>"
        )
        body = pidf().replace(b"</presence>", person.encode())
        self.assertEqual(self.bob.ask("PUBLISH", BOB, headers, body).status, 200)

    def test_activities_without_end(self) -> None:
        """A time that can't be written is refused, and does not stop the service of an AOR (400)."""
        headers = {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]}
        persons = "".join(
            f'<person xmlns="urn:ietf:params:xml:ns:pidf:data-model" id="{id_}">'
            '<activities xmlns="urn:ietf:params:xml:ns:pidf:rpid"'
            f' until="9999-12-31T23:59:59-14:00"><{id_}/></activities></person>'
            for id_ in ("busy", "away")
        )
        body = pidf().replace(b"</presence>", persons.encode() + b"</presence>")
        self.assertEqual(self.bob.ask("PUBLISH", BOB, headers, body).status, 400)
        self.subscribe()


class RestartTests(TurnCase):
    def test_touched_first(self) -> None:
        """Full state comes after a restart, also where a request was there before the clock."""
        first = self.subscribe()
        self.world.start_quietly()
        self.assertEqual(self.bob.ask("REGISTER", "sip:example.com").status, 200)
        self.world.take_up()
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        self.assertEqual(notify.body, first.body)
        self.assertGreater(notify.cseq.number, 100)

    def test_told_once(self) -> None:
        """Where an expiry came before, the full state is not told twice."""
        self.subscribe()
        self.world.start_quietly()
        self.world.core.clock_turns.wake(BOB)
        self.world.take_up()
        self.world.run(1.0)
        self.assertEqual(len(self.alice.notifies()), 1)

    def test_expired_meanwhile(self) -> None:
        """What ended while the service was down ends as if it had been up."""
        self.subscribe(expires=60)
        self.register(120)
        self.alice.notifies()
        self.world.now += 90.0
        self.world.restart()
        self.world.run(1.0)
        (notify,) = self.alice.notifies()
        state = notify.subscription_state
        assert state is not None
        self.assertEqual((state.state, state.param("reason")), ("terminated", "timeout"))
        self.assertIn(b"open", notify.body)
        self.world.run(60.0)
        self.assertEqual(self.bindings(BOB), [])

    def test_expiry_is_in_it(self) -> None:
        """Full state says what has expired meanwhile: nobody is told the same again behind it."""
        self.register(60)
        self.publish("here")
        self.subscribe()
        carol = self.world.phone("carol@example.com")
        self.world.store_rules(BOB, {"allow": [ALICE, carol.aor]})
        self.subscribe(carol, 60)
        for package in ("reg", "presence.winfo"):
            self.bob.ask("SUBSCRIBE", BOB, {"Event": [package]})
        self.world.run(1.0)
        self.bob.notifies()
        self.alice.notifies()
        self.world.now += 90.0
        self.world.restart()
        self.world.run(5.0)
        watchers, contacts = sorted(self.bob.notifies(), key=lambda each: each.get("Event") or "")
        self.assertIn(b'state="init"', contacts.body)
        self.assertNotIn(b"carol", watchers.body)
        self.assertEqual([len(phone.notifies()) for phone in (self.alice, carol)], [1, 1])

    def test_role_left_out(self) -> None:
        """What roles have kept that are not served any more ends by its time, and is no work then."""
        self.register(60)
        self.publish("here")
        self.bob.ask("SUBSCRIBE", BOB, {"Event": ["reg"], "Expires": ["7200"]})
        self.bob.notifies()
        self.world.settings = replace(self.world.settings, roles=("reg",))
        self.world.restart()
        self.world.run(61.0)
        *_, notify = self.bob.notifies()
        self.assertIn(b'event="expired"', notify.body)
        self.world.run(3600.0)
        kinds = {type(record) for record in self.world.stored(BOB)}
        self.assertEqual(kinds, {Document, Subscription})
        resident = self.world.core.residents.get(BOB)
        assert resident is not None
        before = resident.used
        self.world.run(5.0)
        self.assertEqual(resident.used, before)

    def test_subscriber_of_before(self) -> None:
        """A Contact that a later version can't read keeps nobody else from being told."""
        self.world.store_rules(BOB, {"allow": ["*"]})
        carol = self.world.phone("carol@example.com")
        self.subscribe()
        (mine,) = [each for each in self.world.stored(BOB) if isinstance(each, Subscription)]
        self.subscribe(carol)
        old = mine._replace(remote_target="sip:a b@[x")
        committed(self.world.store, ChangeSet(BOB, [old]))
        self.world.restart()
        self.world.run(1.0)
        self.assertEqual(len(carol.notifies()), 1)
        self.publish("news")
        self.world.run(1.0)
        self.assertEqual(len(carol.notifies()), 1)
        self.world.run(600.0)
        self.assertNotIn(old.id, [getattr(each, "id", "") for each in self.world.stored(BOB)])
