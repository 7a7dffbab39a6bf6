"""Turns: nothing leaves before its commit, nothing torn stays, the clock never stops."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from simplestack.app.turn import RETRY_AFTER
from simplestack.interfaces import Identifiers, IEventPackage, IRole
from simplestack.outcome import Incoming, Outcome
from simplestack.roles.registrar import Registrar
from simplestack.sip.message import Request, Response
from simplestack.state import Binding, ChangeSet, Record, ResourceState
from tests.app.world import Phone, World

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"
PIDF = (
    '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com">'
    '<tuple id="t"><status><basic>{}</basic></status><note>{}</note></tuple></presence>'
)


def pidf(note: str = "", basic: str = "open") -> bytes:
    """A presence document of Bob."""
    return PIDF.format(basic, note).encode()


class TurnCase(SynchronousTestCase):
    def setUp(self) -> None:
        """Alice and Bob, and Bob lets Alice watch him."""
        self.world = World()
        self.alice = self.world.phone("alice@example.com")
        self.bob = self.world.phone("bob@example.com")
        self.world.store_rules(BOB, {"allow": [ALICE]})

    def register(self, expires: int = 3600) -> Response:
        """Bob registers."""
        return self.bob.ask(
            "REGISTER",
            "sip:example.com",
            {"Contact": [f"{self.bob.contact};expires={expires}"]},
        )

    def publish(self, note: str = "", etag: str = "") -> Response:
        """Bob publishes."""
        headers = {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]}
        if etag:
            headers["SIP-If-Match"] = [etag]
        return self.bob.ask("PUBLISH", BOB, headers, pidf(note))

    def subscribe(self, phone: Phone | None = None, expires: int = 3600) -> Request:
        """A phone, Alice's if none is given, subscribes to Bob; its first NOTIFY."""
        phone = phone or self.alice
        response = phone.ask("SUBSCRIBE", BOB, {"Event": ["presence"], "Expires": [str(expires)]})
        self.assertEqual(response.status, 200)
        self.world.run(0.0)
        (notify,) = phone.notifies()
        return notify

    def bindings(self, aor: str) -> list[Binding]:
        """The bindings in the store."""
        return [record for record in self.world.stored(aor) if isinstance(record, Binding)]

    def answers(self, phone: Phone) -> list[int]:
        """The statuses of the responses in an inbox, which loses them."""
        found = [each for each in phone.inbox if isinstance(each, Response)]
        for each in found:
            phone.inbox.remove(each)
        return [each.status for each in found]


class CommitTests(TurnCase):
    def test_nothing_before_the_commit(self) -> None:
        """Rule 3 of the house: neither response nor NOTIFY leaves before the commit."""
        self.subscribe()
        self.register()
        self.alice.notifies()
        self.world.store.held = True
        self.bob.send(
            self.bob.request(
                "PUBLISH",
                BOB,
                {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]},
                pidf("new"),
            )
        )
        self.world.run(3.0)
        self.assertFalse(self.bob.inbox)
        self.assertFalse(self.alice.inbox)
        self.world.store.release()
        self.world.run(0.0)
        self.assertEqual(self.answers(self.bob), [200])
        (notify,) = self.alice.notifies()
        self.assertIn(b"new", notify.body)

    def test_reader_waits(self) -> None:
        """Who reads what another turn has changed gets it after that turn's commit."""
        self.register(0)
        self.world.store.held = True
        self.bob.send(
            self.bob.request("REGISTER", "sip:example.com", {"Contact": [self.bob.contact]})
        )
        self.world.run(0.0)
        self.bob.send(self.bob.request("REGISTER", "sip:example.com"))
        self.world.run(1.0)
        self.assertEqual(self.answers(self.bob), [])
        self.world.store.release()
        self.world.run(0.0)
        first, second = self.bob.inbox
        assert isinstance(first, Response) and isinstance(second, Response)
        self.assertEqual(first.get_all("Contact"), second.get_all("Contact"))
        self.assertEqual(len(second.contacts), 1)

    def test_reader_of_another_aor_does_not_wait(self) -> None:
        """AORs have nothing to do with one another."""
        self.alice.ask("REGISTER", "sip:example.com")
        self.register()
        self.world.store.held = True
        self.bob.send(
            self.bob.request("REGISTER", "sip:example.com", {"Contact": [self.bob.contact]})
        )
        self.world.run(0.0)
        self.assertEqual(self.alice.ask("REGISTER", "sip:example.com").status, 200)

    def test_lost_commit(self) -> None:
        """A commit that fails: 503 with Retry-After to all that hung on it, nobody told, no effect."""
        self.register()
        self.subscribe()
        self.world.store.held = True
        self.bob.send(
            self.bob.request("REGISTER", "sip:example.com", {"Contact": ["*"], "Expires": ["0"]})
        )
        self.world.run(0.0)
        self.bob.send(self.bob.request("REGISTER", "sip:example.com"))
        self.world.run(0.0)
        self.world.store.lose()
        self.world.run(0.0)
        first, second = self.bob.inbox
        assert isinstance(first, Response) and isinstance(second, Response)
        self.bob.inbox.clear()
        for answer in (first, second):
            self.assertEqual(answer.status, 503)
            self.assertTrue(int(answer.get("Retry-After") or "0") > 0)
        self.assertFalse(self.alice.inbox)
        answer = self.bob.ask("REGISTER", "sip:example.com")
        self.assertEqual(len(answer.contacts), 1)

    def test_subscribers_are_told_after_a_lost_commit(self) -> None:
        """They get the state that is in the store, whoever brought it into memory again."""
        for touched in (False, True):
            self.setUp()
            first = self.subscribe()
            self.world.store.held = True
            self.bob.send(
                self.bob.request("REGISTER", "sip:example.com", {"Contact": [self.bob.contact]})
            )
            self.world.run(0.0)
            self.world.store.lose()
            self.world.run(1.0)
            self.bob.inbox.clear()
            if touched:
                self.assertEqual(self.bob.ask("REGISTER", "sip:example.com").status, 200)
            self.world.run(RETRY_AFTER + 1.0)
            (notify,) = self.alice.notifies()
            self.assertEqual(notify.body, first.body)
            self.assertGreater(notify.cseq.number, first.cseq.number)

    def test_unanswered_before_a_lost_commit(self) -> None:
        """A NOTIFY that waits for its answer while a commit is lost is not sent beside the next.

        RFC 6665 §4.2.2: NOTIFYs of a dialog go one after the other; the new one says all.
        """
        for status in (0, 200, 481):
            self.setUp()
            self.register()
            self.subscribe()
            self.alice.replies.append((0, {}))
            self.assertEqual(self.publish("first").status, 200)
            self.world.run(0.0)
            (lost,) = self.alice.notifies()
            self.world.store.held = True
            self.bob.send(
                self.bob.request("REGISTER", "sip:example.com", {"Contact": [self.bob.contact]})
            )
            self.world.run(0.0)
            self.world.store.lose()
            if status:
                # The answer to it comes late, and means nothing to the new one.
                self.alice.link.ends[1].send(lost.response(status).to_bytes())
            self.world.run(RETRY_AFTER + 1.0)
            told = [notify.cseq.number for notify in self.alice.notifies()]
            self.assertEqual(len(told), 1)
            self.assertGreater(told[0], lost.cseq.number)
            self.world.run(40.0)
            self.assertEqual(self.alice.notifies(), [])
            self.assertEqual(self.world.core.layer.counts()["client_transactions"], 0)

    def test_late_failure(self) -> None:
        """What was loaded after a failure is not thrown away by another failure of before."""
        self.register()
        turns, residents = self.world.core.turns, self.world.core.residents
        before = residents.get(BOB)
        assert before is not None
        self.world.store.held = True
        self.bob.send(
            self.bob.request("REGISTER", "sip:example.com", {"Contact": [self.bob.contact]})
        )
        self.world.run(0.0)
        # The store says at once which AORs it failed; the failed commits come later, one by one.
        turns.distrust([BOB])
        residents.load(BOB)
        after = residents.get(BOB)
        self.assertIsNot(after, before)
        self.world.store.lose_silently()
        self.world.run(0.0)
        self.assertEqual(self.answers(self.bob), [503])
        self.assertIs(residents.get(BOB), after)

    def test_load_fails(self) -> None:
        """Where the store can't be read the answer is 503; and all is well when it can."""
        self.world.store.available = False
        answer = self.register()
        self.assertEqual(answer.status, 503)
        self.assertTrue(int(answer.get("Retry-After") or "0") > 0)
        self.world.store.available = True
        self.assertEqual(self.register().status, 200)

    def test_restart_while_a_commit_waits(self) -> None:
        """RFC 3261 §17.2.2 has the client send again: what was not committed was not answered."""
        self.register()
        self.world.store.held = True
        self.bob.send(
            self.bob.request("REGISTER", "sip:example.com", {"Contact": ["*"], "Expires": ["0"]})
        )
        self.world.run(0.0)
        self.assertFalse(self.bob.inbox)
        self.world.store.forget_waiting()
        self.world.restart()
        self.world.run(2.0)
        # The retransmission came to the new process.
        self.assertEqual(self.answers(self.bob), [200])
        self.assertEqual(self.bob.ask("REGISTER", "sip:example.com").get_all("Contact"), [])


class OrderTests(TurnCase):
    def test_order_while_loading(self) -> None:
        """Requests that wait for the same AOR go on in the order in which they came."""
        waiting: list[Deferred[None]] = []
        load = self.world.store.load

        def slowly(aor: str) -> "Deferred[list[Record]]":
            held: Deferred[None] = Deferred()
            waiting.append(held)
            return held.addCallback(lambda _: load(aor))

        self.register(0)
        self.world.core.residents.evict(BOB)
        self.world.store.load = slowly  # type: ignore[method-assign]  # a slow database
        for number in range(5):
            self.bob.send(
                self.bob.request(
                    "REGISTER",
                    "sip:example.com",
                    {
                        "Contact": [f"<sip:bob@192.0.2.{number}>"],
                        "Call-ID": ["same"],
                        "CSeq": [f"{100 + number} REGISTER"],
                    },
                )
            )
        self.world.run(0.0)
        self.assertFalse(self.bob.inbox)
        # One read for all of them.
        self.assertEqual(len(waiting), 1)
        waiting[0].callback(None)
        self.world.run(0.0)
        answers = [each for each in self.bob.inbox if isinstance(each, Response)]
        self.assertEqual([answer.cseq.number for answer in answers], [100, 101, 102, 103, 104])
        self.assertEqual([len(answer.contacts) for answer in answers], [1, 2, 3, 4, 5])


@implementer(IRole)
class Faulty:
    """A registrar with a fault."""

    name = "faulty"
    methods = frozenset({"REGISTER"})
    packages: tuple[IEventPackage, ...] = ()
    usages: tuple[object, ...] = ()

    def __init__(self) -> None:
        self._registrar = Registrar()
        self.fail_decide = False
        self.fail_expire = False

    def decide(
        self, incoming: Incoming, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[Response]:
        """Decide, or fail."""
        if self.fail_decide:
            raise ZeroDivisionError("decide")
        return self._registrar.decide(incoming, state, now, identifiers)

    def expire(self, state: ResourceState, now: float) -> ChangeSet:
        """Expire, or fail."""
        if self.fail_expire and state.aor == ALICE:
            raise ZeroDivisionError("expire")
        return self._registrar.expire(state, now)


class FaultTests(TurnCase):
    def test_decide_fails(self) -> None:
        """A role that raises what it must not: 500, a log entry, and nothing has changed."""
        role = Faulty()
        self.world.restart([role])
        self.register()
        before = self.world.stored(BOB)
        role.fail_decide = True
        answer = self.register(0)
        self.assertEqual(answer.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        role.fail_decide = False
        self.assertEqual(self.world.stored(BOB), before)
        self.assertEqual(len(self.bob.ask("REGISTER", "sip:example.com").contacts), 1)

    def test_notifier_fails(self) -> None:
        """What fails after the changes were applied leaves nothing of them in memory either."""
        self.register()
        self.subscribe()
        resident = self.world.core.residents.get(BOB)
        assert resident is not None
        package = next(
            package
            for role in self.world.roles
            for package in role.packages
            if package.name == "presence"
        )

        def fails(*arguments: object) -> object:
            raise ZeroDivisionError("changed")

        self.patch(package, "changed", fails)
        answer = self.register(0)
        self.assertEqual(answer.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.bob.ask("REGISTER", "sip:example.com").contacts), 1)
        self.assertEqual(sum(isinstance(record, Binding) for record in self.world.stored(BOB)), 1)

    def test_nothing_torn_while_a_commit_waits(self) -> None:
        """So where an earlier commit is still under way: memory is read again after it."""
        self.register(0)
        self.subscribe()
        self.world.store.held = True
        self.bob.send(
            self.bob.request("REGISTER", "sip:example.com", {"Contact": ["<sip:one@192.0.2.7>"]})
        )
        self.world.run(0.0)
        package = next(
            package
            for role in self.world.roles
            for package in role.packages
            if package.name == "presence"
        )

        def fails(*arguments: object) -> object:
            raise ZeroDivisionError("affected")

        patch = self.patch(package, "affected", fails)
        self.bob.send(
            self.bob.request("REGISTER", "sip:example.com", {"Contact": ["<sip:two@192.0.2.7>"]})
        )
        self.world.run(0.0)
        patch.restore()
        self.assertEqual(self.answers(self.bob), [500])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.bob.send(self.bob.request("REGISTER", "sip:example.com"))
        self.world.run(0.0)
        self.world.store.release()
        self.world.run(0.0)
        first, second = [each for each in self.bob.inbox if isinstance(each, Response)]
        self.assertEqual(first.get_all("Contact"), ["<sip:one@192.0.2.7>;expires=3600"])
        self.assertEqual(second.get_all("Contact"), ["<sip:one@192.0.2.7>;expires=3600"])

    def test_clock_fails(self) -> None:
        """A fault in the clock's turn of one AOR is logged and does not stop the clock of others."""
        role = Faulty()
        self.world.restart([role])
        for phone in (self.alice, self.bob):
            phone.ask(
                "REGISTER", "sip:example.com", {"Contact": [phone.contact], "Expires": ["60"]}
            )
        role.fail_expire = True
        self.world.run(61.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.bindings(BOB), [])
        self.assertEqual(len(self.bindings(ALICE)), 1)
        # It is tried again, later.
        role.fail_expire = False
        self.world.run(120.0)
        self.assertEqual(self.bindings(ALICE), [])
