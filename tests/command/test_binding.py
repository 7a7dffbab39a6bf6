"""``simplestack binding``: what is registered, as the operator sees and changes it."""

import json

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.reginfo import Contact, parse_reginfo
from tests.peers.probe import Probe
from tests.peers.running import DOMAIN, Running

BOB = f"bob@{DOMAIN}"


class BindingTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Bob is registered and watches that."""
        self.server = Running(self.mktemp(), options=["--notify-interval", "0"])
        self.server.add_users("bob")
        self.addCleanup(self.server.stop)
        self.server.start()
        self.phone = Probe("bob", self.server.port)
        self.addCleanup(self.phone.close)
        self.assertEqual(self.phone.register().status, 200)
        self.phone.subscribe(f"sip:{BOB}", "reg")
        self.phone.told(self.phone.only, 1)

    def binding(self, *arguments: str, status: int = 0) -> str:
        """Run the command; what it says, on stderr where it fails."""
        done = self.server.command("binding", *arguments)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertEqual((done.stderr if status == 0 else done.stdout), "")
        return done.stdout or done.stderr

    def told(self, times: int) -> Contact:
        """The contact in the next NOTIFY."""
        self.phone.told(self.phone.only, times)
        ((contact,),) = [
            each.contacts for each in parse_reginfo(self.phone.only.body.encode()).registrations
        ]
        return contact

    def test_list(self) -> None:
        """Contact, event, the time that is left."""
        (line,) = self.binding("list", BOB).splitlines()
        self.assertRegex(line, rf"\A{self.phone.contact}  registered  (600|599|598) s left  -\Z")
        (found,) = json.loads(self.binding("list", f"sip:{BOB}", "--json"))["bindings"]
        self.assertEqual(found["contact"], self.phone.contact)

    def test_events(self) -> None:
        """RFC 3680 §4.7.1: each is told to who watches, and done."""
        self.assertIn("shortened", self.binding("shorten", BOB, "--expires", "60"))
        contact = self.told(2)
        self.assertEqual((contact.event, contact.expires), ("shortened", 60))
        # It would not be shorter.
        self.assertEqual(self.binding("shorten", BOB, self.phone.contact, "--expires", "90"), "")
        for number, event in enumerate(("deactivated", "rejected", "probation")):
            more = ("--retry-after", "30") if event == "probation" else ()
            self.assertIn("ended", self.binding("end", BOB, "--event", event, *more))
            contact = self.told(3 + 2 * number)
            self.assertEqual((contact.state, contact.event), ("terminated", event))
            self.assertEqual(contact.retry_after, 30 if more else None)
            self.assertEqual(self.phone.bindings(), "")
            self.assertEqual(self.phone.register().status, 200)
            self.assertEqual(self.told(4 + 2 * number).event, "registered")
        self.binding("end", BOB)
        self.assertEqual(self.told(9).event, "deactivated")
        self.binding("create", BOB, "sip:desk@192.0.2.9", "--expires", "300")
        contact = self.told(10)
        self.assertEqual((contact.event, contact.uri), ("created", "sip:desk@192.0.2.9"))

    def test_durable(self) -> None:
        """What it has done is committed."""
        self.binding("end", BOB)
        self.server.kill()
        self.server.start()
        self.assertEqual(self.binding("list", BOB), "")

    def test_mistakes(self) -> None:
        """One line each: 1 where it can't be done, 2 where the arguments are bad."""
        for status, arguments, words in (
            (1, ("list", f"nobody@{DOMAIN}"), "there is no user"),
            (1, ("end", BOB, "sip:other@h"), "no contact of"),
            (1, ("create", BOB, "not a uri", "--expires", "60"), "simplestack binding: "),
            (1, ("list", BOB, "--control", "/nowhere"), "no server answers"),
            (2, ("list",), "user"),
            (2, ("end", BOB, "--event", "expired"), "probation"),
            (2, ("end", BOB, "--event", "probation"), "--retry-after"),
            (2, ("end", BOB, "--retry-after", "3"), "--event probation"),
            (2, ("shorten", BOB), "--expires"),
            (2, ("shorten", BOB, "--expires", "0"), "whole number"),
        ):
            said = self.binding(*arguments, status=status)
            self.assertEqual(said.count("\n"), 1, said)
            self.assertIn(words, said, arguments)
        self.assertNotEqual(self.binding("list", BOB), "")
