"""The conformance page can be trusted."""

import runpy
import tomllib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

CONFORMANCE = Path(__file__).resolve().parents[2] / "docs" / "conformance"


class ConformanceTests(SynchronousTestCase):
    """RFC 6914 lists what SIMPLE is."""

    def setUp(self) -> None:
        """Read the list and the generator."""
        self.listed: list[dict[str, Any]] = tomllib.loads((CONFORMANCE / "rfcs.toml").read_text())[
            "rfc"
        ]
        self.generator = runpy.run_path(str(CONFORMANCE / "generate.py"))

    def test_served_is_tested(self) -> None:
        """What the page calls served is named by a module and by a test."""
        code = self.generator["references"]("simplestack", "*.py")
        tests = self.generator["tested"]()
        for rfc in self.listed:
            if rfc["state"] in ("served", "documents"):
                self.assertIn(rfc["number"], code, rfc["title"])
                self.assertIn(rfc["number"], tests, rfc["title"])

    def test_states(self) -> None:
        """Every RFC has one of the states that the page explains, and stands in it once."""
        numbers = [rfc["number"] for rfc in self.listed]
        self.assertEqual(len(numbers), len(set(numbers)))
        for rfc in self.listed:
            self.assertIn(rfc["state"], self.generator["STATES"])
        page = self.generator["page"]()
        for number in numbers:
            self.assertEqual(page.count(f"| [{number}]("), 1)
