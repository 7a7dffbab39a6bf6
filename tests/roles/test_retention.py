"""What users write at length is not kept for its own sake: nobody fills the memory with it."""

from sys import getrefcount

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import MEDIA_TYPE, Person, Presence, Tuple, parse_presence
from simplestack.documents.presrules import ALL, UserInput
from simplestack.roles.composer import parsed
from simplestack.roles.conflicts import input_time, merged
from simplestack.roles.policies.pivot import PIVOTS
from simplestack.roles.presence import PresenceAgent
from simplestack.roles.rules import Permissions, permitted
from simplestack.roles.source import PUBLICATION, Source
from simplestack.sip.errors import SIPError
from simplestack.xcap.flatlist import target_of
from tests.roles.fakes import ALICE, Decided, incoming, request
from tests.roles.test_presence import pidf

LONG = "x" * 30_000


def person(content: str) -> Person:
    """A person of whom something is said."""
    (found,) = parse_presence(pidf(person=content)).persons
    return found


class RetentionTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """Of an address nothing is kept longer than who has it keeps it."""
        for uri in (f"sip:{LONG}@example.com", f"pres:{LONG}@example.com", LONG):
            before = getrefcount(uri)
            target_of(uri)
            PIVOTS["contact"](Tuple("t", "open", uri))
            self.assertEqual(getrefcount(uri), before)

    def test_entity(self) -> None:
        """What a document is about is not kept where it is refused."""
        body = pidf(entity=f"sip:{LONG}@example.com")
        entity = parsed(body).entity
        before = getrefcount(entity)
        publish = incoming(
            request("PUBLISH", {"Event": "presence", "Content-Type": MEDIA_TYPE}, body)
        )
        decided = Decided(PresenceAgent())
        error = self.assertRaises(SIPError, decided.decide, publish, 1.0)
        self.assertEqual(error.status, 403)
        del error
        self.assertEqual(getrefcount(entity), before)

    def test_elements(self) -> None:
        """Long elements are read again when they are needed again."""
        long = [
            person(f"<r:activities><r:other>{each}{LONG}</r:other></r:activities>") for each in "ab"
        ]
        idle = person('<r:user-input idle-threshold="60">idle<!-- --></r:user-input>')
        idle = idle._replace(
            elements=tuple([each._replace(xml=each.xml + " " * 2000) for each in idle.elements])
        )
        elements = [each.elements[0] for each in (*long, idle)]
        before = [getrefcount(each) for each in elements]
        merged(
            [
                (each, Source(PUBLICATION, each.id + str(number), Presence(ALICE), 0.0))
                for number, each in enumerate(long)
            ]
        )
        input_time(idle.elements, 0.0)
        shown = frozenset([ALL])
        permitted(
            Presence(ALICE, persons=(idle,)),
            Permissions(persons=shown, user_input=UserInput.BARE),
        )
        self.assertEqual([getrefcount(each) for each in elements], before)
