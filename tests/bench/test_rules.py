"""The rules of the benchmark's row of rules."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.presrules import parse_ruleset
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_content
from simplestack.roles.rules import combined, matching
from tests.bench.messages import many_rules


class RulesTests(SynchronousTestCase):
    def test_views(self) -> None:
        """Twenty rules, and as many views; everybody is let in by one of them."""
        users = [f"u{number:05}" for number in range(500)]
        document = many_rules("bench.example", users)
        Schema("all-policy").validate(parse_content(document))
        ruleset = parse_ruleset(document)
        self.assertEqual(len(ruleset.rules), 20)
        decisions = [
            combined(matching(ruleset, f"sip:{user}@bench.example", None, 0.0))
            for user in users[:50]
        ]
        self.assertEqual({each.handling for each in decisions}, {"allow"})
        self.assertEqual(len({each.permissions for each in decisions}), 20)
