"""The call flows in this directory, and the runner that runs them."""

import re
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.app.world import World
from tests.scenarios.runner import ScenarioError, run, run_file

FOLDER = Path(__file__).parent


class ScenariosTests(SynchronousTestCase):
    """One test for each script; its first comment says which flow of which RFC it is."""


def _test(path: Path) -> Callable[[ScenariosTests], None]:
    def test(case: ScenariosTests) -> None:
        run_file(path)

    first = path.read_text("utf-8").partition("\n")[0]
    test.__doc__ = first.lstrip("# ")
    return test


for _path in sorted(FOLDER.glob("*.flow")):
    setattr(ScenariosTests, "test_" + _path.stem.replace("-", "_"), _test(_path))


class DocumentationTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """The examples in docs/architecture/testing.md do what the page says."""
        page = FOLDER.parents[1] / "docs" / "architecture" / "testing.md"
        blocks = re.findall(r"```(\w*)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        self.assertEqual([language for language, _ in blocks], ["python", ""])
        for language, text in blocks:
            if language == "python":
                exec(compile(text, str(page), "exec"), {"World": World})
            else:
                run(text)


class RunnerTests(SynchronousTestCase):
    """What the runner must not let pass; else the scripts would show nothing."""

    BEGIN = (
        "phone alice of alice@example.com\n"
        "alice sends:\n"
        "    REGISTER sip:example.com\n"
        "    Contact: {alice.contact}\n"
    )

    def fails(self, text: str, why: str) -> None:
        """The script fails, and says why."""
        error = self.assertRaises(ScenarioError, run, text)
        self.assertIn(why, str(error))

    def test_passes(self) -> None:
        """The challenge of RFC 3261 §22.2 is answered without a word in the script."""
        world = run(self.BEGIN + "server answers alice: 200\n    Contact: <{alice.contact}>*\n")
        self.assertEqual(world.phones[0].challenged, 1)

    def test_status(self) -> None:
        """Another status code than expected fails the script at its line."""
        self.fails(self.BEGIN + "server answers alice: 403\n", "script:5: server answers")

    def test_headers(self) -> None:
        """So do other values, missing header fields, and such as must not be there."""
        begin = self.BEGIN + "server answers alice: 200\n    "
        self.fails(begin + "Contact: <sip:alice@elsewhere.example.com>*\n", "Contact is")
        self.fails(begin + "Path: *\n", "there is no Path")
        self.fails(begin + "no Contact\n", "no Contact, but")

    def test_unexpected(self) -> None:
        """What no step expects fails the script, in its middle and at its end."""
        self.fails(self.BEGIN + "time passes: 1 second\n", "script:5")
        self.fails(self.BEGIN, "at its end")

    def test_missing(self) -> None:
        """What is expected and does not come fails it."""
        script = self.BEGIN + "server answers alice: 200\nalice receives NOTIFY\n"
        self.fails(script, "alice got nothing")

    def test_values(self) -> None:
        """A name takes a value once, and then stands for it."""
        script = self.BEGIN + "server answers alice: 200\n    CSeq: {number} REGISTER\n"
        self.fails(script + "    Max-Forwards: {number}\n", "there is no Max-Forwards")
        self.fails(script + "    Call-ID: {number}\n", "Call-ID is")

    def test_xml(self) -> None:
        """Bodies are compared by XPath."""
        script = (
            "phone alice of alice@example.com\n"
            "alice sends:\n    SUBSCRIBE sip:alice@example.com\n    Event: presence\n"
            "server answers alice: 200\n"
            "alice receives NOTIFY\n    //p:basic == "
        )
        run(script + "closed\n")
        self.fails(script + "open\n", "//p:basic is 'closed' and not 'open'")

    def test_nonsense(self) -> None:
        """A step that nobody knows fails."""
        self.fails("alice dances\n", "no such step")
