"""The pages on composition say what the code does, and their examples work."""

import re
import tempfile
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.documents.pidf import Presence, Tuple
from simplestack.documents.xml import parse_content
from simplestack.interfaces import (
    ICompositionPolicy,
    IPresenceSource,
    IPresenceSourceFactory,
)
from simplestack.roles.conflicts import CONFLICTS
from simplestack.roles.policies.pivot import PIVOTS
from simplestack.roles.preferences import AUID, PREFERENCES, Preferences
from simplestack.roles.publishers import PublisherRules
from simplestack.roles.rules import EVERYTHING, NOTHING
from simplestack.roles.source import PUBLICATION, Source
from simplestack.state import Document, ResourceState
from tests.roles.fakes import ALICE

DOCS = Path(__file__).parents[2] / "docs"
COMPOSITION = (DOCS / "operating" / "composition.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without marks."""
    section = COMPOSITION.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    return [[cell.replace("`", "").strip() for cell in row.split(" | ")] for row in found[1:]]


def blocks(text: str, language: str) -> list[str]:
    """The code of a page."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


class CompositionTests(SynchronousTestCase):
    def test_conflicts(self) -> None:
        """The table of contradictions is the table of the code."""
        told = {element: what for element, what, *_ in rows("Contradictions")}
        expected = {name.rpartition("}")[2]: value.value for name, value in CONFLICTS.items()}
        self.assertEqual(set(told) - {"class", "any other"}, set(expected))
        for element, value in expected.items():
            self.assertTrue(told[element].startswith(value), element)

    def test_policies(self) -> None:
        """All shipped policies and pivots are told, and no others."""
        told = {row[0] for row in rows("Who decides")}
        shipped = {
            policy.name
            for policy in getPlugins(ICompositionPolicy)
            if type(policy).__module__.startswith("simplestack.")
        }
        self.assertEqual(told, shipped)
        [choices] = [row for row in rows("What a user chooses") if row[0] == "pivot"]
        self.assertEqual(choices[2].split(", "), list(PIVOTS))

    def test_examples(self) -> None:
        """The preferences are accepted, and the rules for publishers grant what they say."""
        usage = Preferences({each.name: each for each in getPlugins(ICompositionPolicy)})
        count = 0
        for block in blocks(COMPOSITION, "xml"):
            body = block.encode()
            if b"<preferences" in body:
                count += 1
                document = Document(ALICE, PREFERENCES, AUID, "index", "e", "x", body, 0.0)
                usage.check(document, parse_content(body), {})
            else:
                rules = PublisherRules(body)
                state = ResourceState(ALICE)
                self.assertEqual(rules.granted(state, ALICE, 0.0), EVERYTHING)
                granted = rules.granted(state, "sip:pbx@example.com", 0.0)
                self.assertEqual(granted.attributes, {"activities"})
                self.assertEqual(rules.granted(state, "sip:eve@example.com", 0.0), NOTHING)
        self.assertEqual(count, 2)


class ExtendingTests(SynchronousTestCase):
    def load(self, page: str) -> dict[str, Any]:
        """Run the example of a page."""
        [code] = blocks((DOCS / "extending" / page).read_text("utf-8"), "python")
        namespace: dict[str, Any] = {}
        exec(compile(code, page, "exec"), namespace)
        return namespace

    def test_policy(self) -> None:
        """The policy of the page is one, closes users at night, and says when."""
        policy = self.load("composition-policy.md")["night"]
        self.assertTrue(verifyObject(ICompositionPolicy, policy))
        source = Source(PUBLICATION, "a", Presence(ALICE, (Tuple("t", "open"),)), 0.0)
        berlin = policy.configured(parse_content(b'<composition zone="Europe/Berlin"/>'))
        for hour, basic, local, until in (
            (3, "closed", "closed", 7),
            (6, "closed", "open", 7),
            (12, "open", "open", 22),
            (21, "open", "closed", 22),
            (22, "closed", "closed", 31),
        ):
            now = hour * 3600.0
            self.assertEqual(policy.compose([source], ALICE, now).tuples[0].basic, basic)
            self.assertEqual(berlin.compose([source], ALICE, now).tuples[0].basic, local)
            self.assertEqual(policy.boundary([source], now), until * 3600)
        usage = Preferences({"night": policy})
        body = b'<preferences xmlns="urn:simplestack:preferences"><composition policy="night"/></preferences>'
        document = Document(ALICE, PREFERENCES, AUID, "index", "e", "x", body, 0.0)
        usage.check(document, parse_content(body), {})

    def test_source(self) -> None:
        """The source of the page is one, and says who is in the office."""
        factory = self.load("presence-source.md")["door"]
        self.assertTrue(verifyObject(IPresenceSourceFactory, factory))
        self.assertRaises(ValueError, factory.make, Clock(), "/nowhere")
        directory = Path(tempfile.mkdtemp(dir=Path().absolute()))
        (directory / "alice@example.com").touch()
        clock = Clock()
        source = factory.make(clock, str(directory))
        self.assertTrue(verifyObject(IPresenceSource, source))
        said: list[tuple[str, Presence | None]] = []

        def publish(aor: str, presence: Presence | None, seconds: float) -> Deferred[None]:
            said.append((aor, presence))
            return succeed(None)

        source.start(publish)
        (directory / "alice@example.com").unlink()
        clock.advance(60)
        self.assertEqual([aor for aor, _ in said], [ALICE, ALICE])
        self.assertIn(b"work", cast(Presence, said[0][1]).to_bytes())
        self.assertIsNone(said[1][1])
        source.stop()
