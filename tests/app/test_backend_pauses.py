"""When a server of another domain that gives little, or nothing, is asked again."""

from tests.app.listworld import Row
from tests.app.test_backend import BOB, BackEndCase


class BriefTests(BackEndCase):
    def asked(self, expires: int, states: list[str], seconds: int = 3000) -> list[float]:
        """When Zoe's server is asked, that grants so much and tells these states each time."""
        times = []
        self.world.subscribe(self.alice)
        number = 0
        tag = ""
        begin = self.world.now
        while self.world.now < begin + seconds:
            if not self.zoe.replies:
                self.accept(expires, f"z{number}")
            self.take(1.0)
            for subscribe in self.subscribes():
                times.append(self.world.now - begin)
                tag = subscribe.to.tag or f"z{number}"
                for state in states:
                    number += 1
                    self.notify(subscribe, state, "x", number, tag)
        return times

    def test_brief(self) -> None:
        """Who grants no time is asked again after a pause that doubles, and not each second."""
        for expires in (0, 1, 5):
            for states in ([f"active;expires={expires}"], ["active"]):
                self.setUp()
                times = self.asked(expires, states)
                self.assertLess(len(times), 13, (expires, states))
                self.assertGreater(len(times), 7, (expires, states))
                self.assertLess(times[1], 45.0)
                self.assertEqual(self.shown(), ("active", ""))

    def test_ended_at_once(self) -> None:
        """So is who grants a long time, and ends it at once each time, for whatever reason."""
        for reason in ("timeout", "deactivated", "probation;retry-after=0"):
            self.setUp()
            times = self.asked(3600, ["active;expires=3600", f"terminated;reason={reason}"], 1000)
            self.assertLess(len(times), 25, reason)
            self.assertGreater(len(times), 10, reason)

    def test_short(self) -> None:
        """A time that is short, and no more than that, is kept."""
        times = self.asked(20, ["active;expires=20"], 200)
        self.assertGreater(len(times), 9)

    def test_brief_once(self) -> None:
        """A long time makes good for a short one before: the next short one costs a short pause."""
        self.asked(0, ["active;expires=0"], 100)
        self.zoe.replies.clear()
        self.accept(3600, "long")
        while not (found := self.subscribes()):
            self.take(1.0)
        self.notify(found[0], "active;expires=3600", "x", 50, "long")
        self.accept(0, "long")
        while not (found := self.subscribes()):
            self.take(1.0)
        self.notify(found[0], "active;expires=0", "x", 51, "long")
        self.zoe.replies.clear()
        self.accept(0, "after")
        begin = self.world.now
        while not self.subscribes():
            self.take(1.0)
        self.assertLess(self.world.now - begin, 22.0)


class DeadTests(BackEndCase):
    def test_nobody_waits(self) -> None:
        """A domain where nobody answers delays nobody, and is asked ever less."""
        self.zoe.link.cut = True
        before = self.world.now
        self.assertEqual(self.world.subscribe(self.alice).status, 200)
        self.take(1.0)
        self.assertLess(self.world.now - before, 3.0)
        row = self.table.rows[BOB]
        assert row is not None
        self.assertEqual((row.state, self.table.rows[self.aor]), ("active", None))
        self.take(40.0)
        self.assertEqual(self.shown(), ("terminated", "probation"))
        self.world.publish(self.bob, "still told")
        self.take(1.0)
        row = self.table.rows[BOB]
        assert row is not None
        self.assertIn(b"still told", row.body)
        self.zoe.link.cut = False
        self.world.log.clear()
        for _ in range(40):
            self.accept(tag="z9")
        self.take(15.0)
        (subscribe, *_) = self.subscribes()
        self.assertEqual(self.notify(subscribe, note="back", tag="z9"), 200)
        self.take()
        self.assertIn(b"back", self.row().body)

    def test_one_probe(self) -> None:
        """Of many resources of a dead domain one is asked for at a time; all come back."""
        users = [f"sip:u{number}@{self.domain}" for number in range(60)]
        self.world.friends("bob", more="".join([f'<entry uri="{each}"/>' for each in users]))
        self.zoe.link.cut = True
        self.world.subscribe(self.alice)
        self.take(35.0)
        asked = self.world.core.layer.counts()["client_transactions"]
        self.assertLessEqual(asked, 21)
        self.take(300.0)
        self.assertLessEqual(self.world.core.layer.counts()["client_transactions"], 2)
        self.zoe.link.cut = False
        self.zoe.inbox.clear()
        for _ in range(400):
            self.zoe.replies.append((404, {}))
        self.take(700.0)
        reasons = {self.table.rows[each] for each in users}
        self.assertEqual(reasons, {Row("terminated", "noresource", b"", "")})
