"""Resource lists, RLS services, conflict reports and capabilities (RFC 4825, RFC 4826)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.elements import Element
from simplestack.documents.errors import DocumentError, SchemaError, XMLError
from simplestack.documents.resourcelists import (
    DisplayName,
    Entry,
    EntryRef,
    External,
    List,
    Service,
    check_resource_lists,
    check_rls_services,
    parse_resource_lists,
    parse_rls_services,
)
from simplestack.documents.schema import Schema
from simplestack.documents.xcapcaps import XcapCaps, parse_xcap_caps
from simplestack.documents.xcaperror import (
    CONDITIONS,
    ConflictReport,
    Exists,
    XCAPError,
    parse_conflict_report,
    report,
)
from simplestack.documents.xml import parse_content


def lists(inner: str) -> bytes:
    """Give a resource-lists document."""
    return f'<resource-lists xmlns="{ns.RESOURCE_LISTS}">{inner}</resource-lists>'.encode()


def services(inner: str) -> bytes:
    """Give an rls-services document."""
    return (
        f'<rls-services xmlns="{ns.RLS_SERVICES}" xmlns:rl="{ns.RESOURCE_LISTS}">{inner}'
        "</rls-services>"
    ).encode()


class ResourceListsTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Lists in lists, entries, references and externals, in order (RFC 4826 §3.1)."""
        data = lists(
            '<list name="a"><display-name xml:lang="en">A</display-name><entry uri="sip:x@y"/>'
            '<list><entry uri="sip:z@y"><display-name>Z</display-name></entry></list>'
            '<entry-ref ref="resource-lists/users/u/index"/><external anchor="http://h/l"/></list>'
        )
        expected = List(
            "a",
            DisplayName("A", "en"),
            (
                Entry("sip:x@y"),
                List(items=(Entry("sip:z@y", DisplayName("Z")),)),
                EntryRef("resource-lists/users/u/index"),
                External("http://h/l"),
            ),
        )
        self.assertEqual(parse_resource_lists(data), (expected,))
        self.assertEqual(list(expected.uris()), ["sip:x@y", "sip:z@y"])

    def test_uniqueness(self) -> None:
        """Names, URIs, refs and anchors are unique in one parent, by case (RFC 4826 §3.4.5)."""
        for inner, field in (
            ('<list name="a"/><list/><list name="a"/>', "list%5B3%5D/@name"),
            ('<list><entry uri="a"/><entry uri="a"/></list>', "list%5B1%5D/entry%5B2%5D/@uri"),
            (
                '<list><list/><list><entry-ref ref="a"/><entry-ref ref="a"/></list></list>',
                "list%5B1%5D/list%5B2%5D/entry-ref%5B2%5D/@ref",
            ),
            (
                '<list><external anchor="http://a"/><external anchor="http://a"/></list>',
                "list%5B1%5D/external%5B2%5D/@anchor",
            ),
        ):
            root = parse_content(lists(inner))
            Schema("resource-lists").validate(root)
            found = check_resource_lists(root)
            assert found is not None
            self.assertEqual(found.condition, "uniqueness-failure")
            self.assertEqual(found.exists, (Exists(f"resource-lists/{field}"),))
            Schema("xcap-error").validate(parse_content(found.to_bytes()))

    def test_notTheSame(self) -> None:
        """Other case, other parent and no name at all are no violation."""
        inner = (
            '<list name="a"><entry uri="sip:x@y"/><entry uri="sip:X@y"/><list name="a">'
            '<entry uri="sip:x@y"/></list></list><list/><list/>'
        )
        self.assertIsNone(check_resource_lists(parse_content(lists(inner))))

    def test_references(self) -> None:
        """A ref is a relative path, an anchor an absolute HTTP URI (RFC 4826 §3.4.5)."""
        for inner in (
            '<entry-ref ref="/resource-lists/x"/>',
            '<entry-ref ref="http://h/resource-lists/x"/>',
            '<entry-ref ref="//h/x"/>',
            '<external anchor="resource-lists/x"/>',
            '<external anchor="sip:a@b"/>',
            '<external anchor="http://[::1"/>',
        ):
            found = check_resource_lists(parse_content(lists(f"<list>{inner}</list>")))
            assert found is not None
            self.assertEqual(found.condition, "constraint-failure")

    def test_services(self) -> None:
        """A service has one list, by URI or by value (RFC 4826 §4.1)."""
        data = services(
            '<service uri="sip:f@b"><resource-list>http://h/resource-lists/users/sip:a@b/index/~~/'
            "resource-lists/list</resource-list><packages><package>presence</package></packages>"
            '</service><service uri="sip:g@b"><list><rl:entry uri="sip:x@y"/></list></service>'
        )
        first, second = parse_rls_services(data)
        self.assertEqual(first.packages, ("presence",))
        self.assertEqual(second, Service("sip:g@b", list=List(items=(Entry("sip:x@y"),))))
        root = parse_content(data)
        self.assertIsNone(check_rls_services(root, "sip:a@b"))
        self.assertIsNone(check_rls_services(root, None))
        other = check_rls_services(root, "sip:eve@b")
        assert other is not None
        self.assertEqual(other.condition, "constraint-failure")

    def test_emptyValues(self) -> None:
        """Empty URIs, which the schemas let pass, take nothing from the others (RFC 4826 §4.5)."""
        data = services(
            '<service uri=""><list/></service><service uri="sip:g@b"><list>'
            '<rl:entry uri="  "/><rl:entry uri="sip:x@y"/></list><packages/></service>'
        )
        first, second = parse_rls_services(data)
        self.assertEqual((first.uri, first.packages), ("", None))
        assert second.list is not None
        self.assertEqual(list(second.list.uris()), ["", "sip:x@y"])
        self.assertEqual(second.packages, ())

    def test_serviceUniqueness(self) -> None:
        """Service URIs are unique, and lists within services hold their constraints (§4.4.5)."""
        twice = '<service uri="sip:f@b"><list/></service>' * 2
        found = check_rls_services(parse_content(services(twice)), None)
        assert found is not None
        self.assertEqual(found.exists[0].field, "rls-services/service%5B2%5D/@uri")
        inner = '<rl:entry uri="a"/><rl:entry uri="a"/>'
        data = services(f'<service uri="sip:f@b"><list>{inner}</list></service>')
        found = check_rls_services(parse_content(data), None)
        assert found is not None
        self.assertEqual(
            found.exists[0].field,
            "rls-services/service%5B1%5D/list/rl:entry%5B2%5D/@uri"
            "?xmlns(rl=urn:ietf:params:xml:ns:resource-lists)",
        )

    def test_refused(self) -> None:
        """Other roots and a service without list are refused."""
        self.assertRaises(DocumentError, parse_resource_lists, b"<resource-lists/>")
        self.assertRaises(DocumentError, parse_rls_services, b"<rls-services/>")
        self.assertRaises(DocumentError, parse_rls_services, services('<service uri="sip:f@b"/>'))


class ConflictReportTests(SynchronousTestCase):
    def test_everyCondition(self) -> None:
        """Each condition is written valid by the schema and read back (RFC 4825 §11.2)."""
        special = {
            "no-parent": ConflictReport("no-parent", "p", "http://h/x/~~/a%5b1%5d"),
            "uniqueness-failure": ConflictReport(
                "uniqueness-failure", "p", exists=(Exists("a/@b", ("x", "y<")), Exists("c"))
            ),
            "extension": ConflictReport(
                "extension", extensions=(Element("{urn:x}e", '<x:e xmlns:x="urn:x"/>'),)
            ),
        }
        for condition in CONDITIONS:
            value = special.get(condition, ConflictReport(condition, 'say "why" & how'))
            Schema("xcap-error").validate(parse_content(value.to_bytes()))
            self.assertEqual(parse_conflict_report(value.to_bytes()), value)

    def test_refused(self) -> None:
        """A document that holds no condition is refused."""
        for inner in ("", "<unknown/>", "<cannot-insert/><cannot-delete/>"):
            data = f'<xcap-error xmlns="{ns.XCAP_ERROR}">{inner}</xcap-error>'.encode()
            self.assertRaises(DocumentError, parse_conflict_report, data)

    def test_reports(self) -> None:
        """Each error of a document has its condition, with a phrase to act on."""
        for error, condition in (
            (XMLError("not-well-formed", "line 1, column 2: x", 1, 2), "not-well-formed"),
            (XMLError("not-utf-8", "x"), "not-utf-8"),
            (XMLError("dtd", "x"), "constraint-failure"),
            (SchemaError("x"), "schema-validation-error"),
            (DocumentError("x"), "constraint-failure"),
        ):
            self.assertEqual(report(error), ConflictReport(condition, error.message))
            self.assertEqual(XCAPError.of(error).status, 409)
        for kind in ("too-large", "too-deep", "too-many-nodes"):
            self.assertEqual(XCAPError.of(XMLError(kind, "x")).status, 413)


class CapabilitiesTests(SynchronousTestCase):
    def test_roundTrip(self) -> None:
        """What is written is valid by the schema and read back (RFC 4825 §12)."""
        value = XcapCaps(("pres-rules", "xcap-caps"), (), (ns.PRES_RULES,))
        Schema("xcap-caps").validate(parse_content(value.to_bytes()))
        self.assertEqual(parse_xcap_caps(value.to_bytes()), value)
        self.assertRaises(DocumentError, parse_xcap_caps, b"<xcap-caps/>")


class SchemaTests(SynchronousTestCase):
    def test_allLoad(self) -> None:
        """Every schema of the package loads without network."""
        names = (
            "all-lists all-policy all-presence all-reginfo conference-info dialog-info "
            "im-iscomposing imdn patch-ops-error resource-lists-diff rlmi simple-filter "
            "xcap-diff pidf-diff consent-status"
        )
        for name in names.split():
            wrong = parse_content(b"<nothing/>")
            self.assertRaises(SchemaError, Schema(name).validate, wrong)

    def test_line(self) -> None:
        """What a schema refuses is named with its line."""
        root = parse_content(lists("\n<list>\n<entry/></list>"))
        error = self.assertRaises(SchemaError, Schema("resource-lists").validate, root)
        self.assertEqual(error.line, 3)
        self.assertIn("line 3", str(error))
