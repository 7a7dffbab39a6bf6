"""The usage that the documentation shows is found as a plug-in and works."""

import sys
from pathlib import Path

from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import twisted.plugins
from simplestack.interfaces import IApplicationUsage
from tests.xcap.owner import Owner

PAGE = Path(__file__).parents[2] / "docs" / "extending" / "application-usage.md"
INDEX = "/com.example.bookmarks/users/sip:bill@example.com/index"
TYPE = "application/vnd.example.bookmarks+xml"
NODE = "application/xcap-el+xml"


def document(inner: bytes) -> bytes:
    """A document of the usage."""
    return b'<bookmarks xmlns="urn:example:bookmarks">' + inner + b"</bookmarks>"


class PluginTests(SynchronousTestCase):
    """docs/extending/application-usage.md."""

    def setUp(self) -> None:
        """Put the page's module where ``twisted.plugin`` looks."""
        code = PAGE.read_text().partition("```python\n")[2].partition("```")[0]
        self.assertIn("# twisted/plugins/example_bookmarks.py", code)
        self.assertLess(len(code.splitlines()), 60)
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "example_bookmarks.py").write_text(code)
        twisted.plugins.__path__.append(str(directory))
        self.addCleanup(twisted.plugins.__path__.remove, str(directory))
        self.addCleanup(sys.modules.pop, "twisted.plugins.example_bookmarks", None)

    def test_shipped_ones(self) -> None:
        """The shipped usages come by the same door."""
        found = {usage.auid for usage in getPlugins(IApplicationUsage)}
        self.assertLessEqual(
            {
                "resource-lists",
                "rls-services",
                "pres-rules",
                "pidf-manipulation",
                "org.openmobilealliance.pres-rules",
                "org.openmobilealliance.xcap-directory",
                "com.example.bookmarks",
            },
            found,
        )

    def test_usage(self) -> None:
        """Documents, nodes, checks, unique values and capabilities of the third party's usage."""
        owner = Owner(*getPlugins(IApplicationUsage))
        good = document(b'<bookmark uri="http://a" tag="news"/>')
        self.assertEqual(owner.put(INDEX, good, TYPE).status, 201)
        entry = b'<bookmark uri="http://b"/>'
        uri = INDEX + "/~~/bookmarks/bookmark%5b@uri=%22http:%2F%2Fb%22%5d"
        self.assertEqual(owner.put(uri, entry, NODE).status, 201)
        self.assertEqual(owner.get(uri).body, entry)
        for inner, condition in (
            (b"<bookmark/>", "schema-validation-error"),
            (b'<bookmark uri="a"/><bookmark uri="a"/>', "uniqueness-failure"),
        ):
            self.assertEqual(owner.put(INDEX, document(inner), TYPE).condition, condition)
        owner.server.claims["com.example.bookmarks"].take(("sip:joe@example.com", "x"), ["art"])
        taken = owner.put(INDEX, document(b'<bookmark uri="a" tag="art"/>'), TYPE)
        assert taken.report is not None
        self.assertEqual(taken.report.exists[0].field, "bookmarks/bookmark%5B1%5D/@tag")
        owner.state.aor = "global:xcap"
        caps = owner.get("/xcap-caps/global/index", identity="sip:bill@example.com")
        self.assertIn(b"<auid>com.example.bookmarks</auid>", caps.body)
