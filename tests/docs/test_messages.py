"""What the pages for operators say that the server says, it says."""

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import simplestack

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(simplestack.__file__).parent
#: What twistd says, and texts whose parts are put together.
_OTHERS = ("Unknown command: simplestack",)


def _sources() -> str:
    """All string literals' text, near enough: the sources without the seams of literals."""
    text = "\n".join(path.read_text("utf-8") for path in SOURCES.rglob("*.py"))
    # Adjacent literals are one.
    return re.sub(r'"\s*\n\s*f?"', "", text)


class MessagesTests(SynchronousTestCase):
    def test_quoted(self) -> None:
        """Each text that a table or sentence quotes with an ellipsis or a status is in the sources."""
        sources = _sources()
        for name in ("troubleshooting.md", "durability.md"):
            page = (ROOT / "docs" / "operating" / name).read_text("utf-8")
            quoted = re.findall(r"`([^`\n]+)`", page)
            said = [each for each in quoted if "…" in each or each.startswith("the store ")]
            said += re.findall(r"^\| 4\d\d `([^`]+)`", page, re.M)
            self.assertTrue(said)
            for each in said:
                if each in _OTHERS:
                    continue
                for part in filter(None, (part.strip(" :") for part in each.split("…"))):
                    self.assertIn(part, sources, f"{name}: {each}")
