"""What the commands make of documents: lines for a person."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.command.lines import moment, presence_line
from simplestack.command.registrations import RegistrationReading
from simplestack.command.watch import PresenceReading
from simplestack.command.watchers import WatcherReading
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Note, Presence, Tuple, parse_presence
from simplestack.documents.reginfo import Contact, RegInfo, Registration
from simplestack.documents.watcherinfo import Watcher, WatcherInfo, WatcherList

BOB = "sip:bob@example.com"

RICH = b"""<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bob@example.com"
  xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:r="urn:ietf:params:xml:ns:pidf:rpid">
  <tuple id="a"><status><basic>closed</basic></status></tuple>
  <tuple id="b"><status><basic>open</basic></status>
    <r:activities><r:note>ignored</r:note><r:meeting/></r:activities><note>here</note></tuple>
  <note>in  general</note>
  <dm:person id="p"><r:activities><r:on-the-phone/><r:other> yak
    shaving </r:other></r:activities><dm:note>until four</dm:note></dm:person>
</presence>"""


class PresenceTests(SynchronousTestCase):
    def test_line(self) -> None:
        """One open service makes a user open (RFC 3863 §4.1.4); activities and notes follow, the
        person's before those of services (RFC 4480 §3.2).
        """
        self.assertEqual(
            presence_line(parse_presence(RICH)),
            'open  on-the-phone,yak shaving,meeting  "in  general"  "until four"  "here"',
        )

    def test_little(self) -> None:
        """A document may say little, or nothing."""
        self.assertEqual(presence_line(Presence(BOB)), "unknown  -")
        self.assertEqual(presence_line(Presence(BOB, (Tuple("a"),))), "unknown  -")
        self.assertEqual(presence_line(Presence(BOB, (Tuple("a", "closed"),))), "closed  -")

    def test_terminal(self) -> None:
        """What others wrote can't command the terminal, or pretend to be another line."""
        line = presence_line(Presence(BOB, notes=(Note("\x1b[2Jred\nsip:eve  open"),)))
        self.assertEqual(line, 'unknown  -  " [2Jred sip:eve  open"')

    def test_changes(self) -> None:
        """What says the same as before is no change."""
        reading = PresenceReading()
        self.assertEqual(len(reading.read(RICH)), 1)
        self.assertEqual(reading.read(RICH), [])
        self.assertEqual(
            reading.read(Presence(BOB, (Tuple("a", "closed"),)).to_bytes()),
            ["sip:bob@example.com  closed  -"],
        )
        self.assertRaises(DocumentError, reading.read, b"<presence/>")

    def test_moment(self) -> None:
        """The time of day can be read and sorted."""
        self.assertRegex(moment(0), r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$")


def winfo(version: int, state: str, *watchers: Watcher) -> bytes:
    """A document about bob's presence."""
    return WatcherInfo(version, state, (WatcherList(BOB, "presence", watchers),)).to_bytes()


class WatcherTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Nothing is known."""
        self.reading = WatcherReading(BOB)

    def test_changes(self) -> None:
        """RFC 3858 §4.1: full state, then changes; each watcher whose status changes makes a
        line.
        """
        alice = Watcher("sip:alice@example.com", "a", "pending", "subscribe", "Alice")
        eve = Watcher("sip:eve@example.com", "e", "active", "subscribe")
        self.assertEqual(
            self.reading.read(winfo(0, "full", alice, eve)),
            [
                'sip:alice@example.com  "Alice"  pending  subscribe',
                "sip:eve@example.com  active  subscribe",
            ],
        )
        allowed = alice._replace(status="active", event="approved")
        self.assertEqual(
            self.reading.read(winfo(1, "partial", allowed)),
            ['sip:alice@example.com  "Alice"  active  approved'],
        )
        self.assertEqual(self.reading.read(winfo(2, "full", allowed, eve)), [])
        self.assertEqual(
            self.reading.read(winfo(3, "full", allowed)), ["sip:eve@example.com  terminated  -"]
        )

    def test_nobody(self) -> None:
        """A list that is empty at first is told once."""
        self.assertEqual(
            self.reading.read(winfo(0, "full")), ["sip:bob@example.com  has no watchers"]
        )
        self.assertEqual(self.reading.read(winfo(1, "full")), [])

    def test_gap(self) -> None:
        """RFC 3858 §4.1: after a gap in the versions the full state must be asked for."""
        self.reading.read(winfo(0, "full"))
        eve = Watcher("sip:eve@example.com", "e", "active", "subscribe")
        self.assertIsNone(self.reading.read(winfo(2, "partial", eve)))
        self.assertEqual(self.reading.read(winfo(1, "partial", eve)), [])

    def test_other_package(self) -> None:
        """Watchers of another package than presence are told apart."""
        eve = Watcher("sip:eve@example.com", "e", "active", "subscribe")
        body = WatcherInfo(0, "full", (WatcherList(BOB, "reg", (eve,)),)).to_bytes()
        self.assertEqual(self.reading.read(body), ["sip:eve@example.com  active  subscribe  (reg)"])


def reginfo(version: int, state: str, *contacts: Contact) -> bytes:
    """A document about bob."""
    active = any(contact.state == "active" for contact in contacts)
    return RegInfo(
        version, state, (Registration(BOB, "r", "active" if active else "init", contacts),)
    ).to_bytes()


class RegistrationTests(SynchronousTestCase):
    def setUp(self) -> None:
        """Nothing is known."""
        self.reading = RegistrationReading()
        self.phone = Contact("1", "active", "registered", "sip:bob@192.0.2.4", expires=3600)

    def test_changes(self) -> None:
        """RFC 3680 §5: what became of each contact."""
        self.assertEqual(
            self.reading.read(reginfo(0, "full", self.phone)),
            [f"{BOB}  sip:bob@192.0.2.4  active  registered  expires in 3600 s"],
        )
        refreshed = self.phone._replace(event="refreshed", expires=1800)
        self.assertEqual(
            self.reading.read(reginfo(1, "partial", refreshed)),
            [f"{BOB}  sip:bob@192.0.2.4  active  refreshed  expires in 1800 s"],
        )
        gone = self.phone._replace(state="terminated", event="expired")
        self.assertEqual(
            self.reading.read(reginfo(2, "partial", gone)),
            [f"{BOB}  sip:bob@192.0.2.4  terminated  expired"],
        )

    def test_full_again(self) -> None:
        """A full state tells what it does not have any more, and nothing twice."""
        self.reading.read(reginfo(0, "full", self.phone))
        self.assertEqual(self.reading.read(reginfo(1, "full", self.phone)), [])
        self.assertEqual(
            self.reading.read(reginfo(2, "full")), [f"{BOB}  sip:bob@192.0.2.4  terminated  -"]
        )

    def test_nothing(self) -> None:
        """A user without contacts is told once."""
        self.assertEqual(self.reading.read(reginfo(0, "full")), [f"{BOB}  is not registered"])
        self.assertEqual(self.reading.read(reginfo(1, "full")), [])

    def test_gap(self) -> None:
        """§5.2: after a gap the full state must be asked for."""
        self.assertIsNone(self.reading.read(reginfo(3, "partial", self.phone)))
