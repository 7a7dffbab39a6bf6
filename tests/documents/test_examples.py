"""Every example document of the RFCs whose type we know."""

from collections.abc import Callable
from typing import Protocol

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.errors import DocumentError, SchemaError
from simplestack.documents.imdn import parse_imdn
from simplestack.documents.pidf import parse_presence
from simplestack.documents.presrules import parse_ruleset
from simplestack.documents.reginfo import parse_reginfo
from simplestack.documents.resourcelists import (
    check_resource_lists,
    parse_resource_lists,
    parse_rls_services,
)
from simplestack.documents.rlmi import parse_rlmi
from simplestack.documents.schema import Schema
from simplestack.documents.watcherinfo import parse_watcherinfo
from simplestack.documents.xcaperror import parse_conflict_report
from simplestack.documents.xml import parse_content
from tests.documents.examples import examples, meaning


class Writable(Protocol):
    def to_bytes(self) -> bytes:
        """Write the document."""


class ExampleTests(SynchronousTestCase):
    def roundTrip(
        self,
        type_: str,
        parse: Callable[[bytes], Writable],
        schema: str,
        *,
        compare: bool = True,
    ) -> int:
        """Read, write and validate every example of a type, and count them."""
        count = 0
        for example in examples(type_):
            count += 1
            if example.refused:
                error = self.assertRaises(DocumentError, parse, example.data)
                self.assertEqual(type(error).__name__, example.refused, example.file)
                continue
            value = parse(example.data)
            written = value.to_bytes()
            self.assertEqual(parse(written), value, example.file)
            if example.invalid:
                self.assertRaises(SchemaError, Schema(schema).validate, parse_content(example.data))
                continue
            Schema(schema).validate(parse_content(example.data))
            Schema(schema).validate(etree.fromstring(written))
            if compare:
                self.assertEqual(
                    meaning(etree.fromstring(written)),
                    meaning(etree.fromstring(example.data)),
                    example.file,
                )
        return count

    def test_presence(self) -> None:
        """Presence documents keep their meaning and their validity (RFC 3863, 4479-4482, 5196)."""
        self.assertEqual(self.roundTrip("presence", parse_presence, "all-presence"), 44)

    def test_watcherinfo(self) -> None:
        """Watcher information keeps its meaning and its validity (RFC 3858)."""
        self.assertEqual(self.roundTrip("watcherinfo", parse_watcherinfo, "watcherinfo"), 10)

    def test_reginfo(self) -> None:
        """Registration information keeps its meaning and its validity (RFC 3680, RFC 5628)."""
        self.assertEqual(self.roundTrip("reginfo", parse_reginfo, "all-reginfo"), 7)

    def test_rulesets(self) -> None:
        """Rulesets keep their meaning and their validity (RFC 4745, RFC 5025)."""
        self.assertEqual(self.roundTrip("ruleset", parse_ruleset, "all-policy"), 10)

    def test_rlmi(self) -> None:
        """Resource list meta-information keeps its meaning and its validity (RFC 4662 §5)."""
        self.assertEqual(self.roundTrip("rlmi", parse_rlmi, "rlmi"), 4)

    def test_imdn(self) -> None:
        """Disposition notifications keep their meaning and their validity (RFC 5438 §11)."""
        self.assertEqual(self.roundTrip("imdn", parse_imdn, "imdn"), 5)

    def test_conflictReport(self) -> None:
        """The conflict report of RFC 4825 §11.1 keeps its meaning and its validity."""
        self.assertEqual(self.roundTrip("xcap-error", parse_conflict_report, "xcap-error"), 1)

    def test_resourceLists(self) -> None:
        """Resource lists are read and hold their constraints (RFC 4826 §3.4.5)."""
        count = 0
        for example in examples("resource-lists"):
            count += 1
            root = parse_content(example.data)
            Schema("all-lists").validate(root)
            # Lists of recipients name anonymous ones twice; they are not for XCAP.
            paths = root.getroottree().getelementpath
            uris = [
                (paths(node).rpartition("/")[0], node.get("uri")) for node in root.iter("{*}entry")
            ]
            twice = len(set(uris)) != len(uris)
            self.assertEqual(check_resource_lists(root) is not None, twice, example.file)
            lists = parse_resource_lists(example.data)
            self.assertEqual(len(lists), len(root), example.file)
            entries = [node.get("uri") for node in root.iter("{*}entry")]
            self.assertEqual([uri for each in lists for uri in each.uris()], entries)
        self.assertEqual(count, 25)

    def test_rlsServices(self) -> None:
        """RLS services are read; one example is not well-formed (RFC 4826 §4.4.8)."""
        for example in examples("rls-services"):
            if example.refused:
                self.assertRaises(DocumentError, parse_rls_services, example.data)
                continue
            root = parse_content(example.data)
            Schema("all-lists").validate(root)
            services = parse_rls_services(example.data)
            self.assertEqual([each.uri for each in services], [node.get("uri") for node in root])
