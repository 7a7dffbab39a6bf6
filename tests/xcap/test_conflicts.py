"""Why a document or node is refused, as 409 says it (RFC 4825 §11)."""

from pathlib import Path

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

import simplestack.documents
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_content
from simplestack.xcap.server import Limits
from tests.xcap.owner import ATTRIBUTE, ELEMENT, LISTS, AnyXML, Owner
from tests.xcap.test_server import ENTRY, INDEX, NS, RULES, lists

SCHEMAS = Path(simplestack.documents.__file__).with_name("schemas")
XS = "{http://www.w3.org/2001/XMLSchema}"


class ConflictTests(SynchronousTestCase):
    """§11: what is reported, and that nothing is changed."""

    def conflict(self, owner: Owner, *request: object) -> str:
        """The condition of the 409 that a request gets."""
        before = owner.state.documents.copy()
        answer = owner(*request)  # type: ignore[arg-type]  # the tests know what a request takes
        self.assertEqual(answer.status, 409, answer)
        self.assertEqual(owner.state.documents, before)
        Schema("xcap-error").validate(parse_content(answer.body))
        assert answer.report is not None
        self.assertTrue(answer.report.phrase)
        return answer.condition

    def test_documents(self) -> None:
        """Each mistake in a document has its own condition."""
        owner = Owner()
        for body, condition in (
            (b"", "not-well-formed"),
            (b"<a>", "not-well-formed"),
            (lists()[:-1], "not-well-formed"),
            (lists(b"<list name='\xff'/>"), "not-utf-8"),
            (lists().decode().encode("utf-16"), "not-utf-8"),
            (lists().replace(b"?>", b" encoding='latin1'?>"), "not-utf-8"),
            (b"<!DOCTYPE a><a/>", "constraint-failure"),
            (b"<a/>", "schema-validation-error"),
            (lists(b"<bogus/>"), "schema-validation-error"),
            (lists(b'<list name="a"><entry/></list>'), "schema-validation-error"),
            (b'<entry xmlns="%b" uri="a:b"/>' % NS, "schema-validation-error"),
            (lists(b'<list name="a"/><list name="a"/>'), "uniqueness-failure"),
            (lists(b'<list><entry-ref ref="/a"/></list>'), "constraint-failure"),
        ):
            self.assertEqual(self.conflict(owner, "PUT", INDEX, body, LISTS), condition, body)

    def test_place(self) -> None:
        """The phrase says line and column."""
        answer = Owner().put(INDEX, b"<a>\n  <b></a>", LISTS)
        assert answer.report is not None and answer.report.phrase is not None
        self.assertIn("line 2, column", answer.report.phrase)

    def test_not_unique(self) -> None:
        """``field`` is the percent-encoded selector of what is not unique (§11.1)."""
        owner = Owner()
        owner.has(INDEX, lists(b'<list name="a"/><list name="b"/>'), LISTS)
        answer = owner.put(INDEX + "/~~/resource-lists/list%5b2%5d/@name", b'"a"', ATTRIBUTE)
        self.assertEqual(answer.condition, "uniqueness-failure")
        assert answer.report is not None
        self.assertEqual(answer.report.exists[0].field, "resource-lists/list%5B2%5D/@name")

    def test_nodes_are_validated_with_their_document(self) -> None:
        """§8.2.5: an edit, and a deletion, must leave a document that the schema takes."""
        owner = Owner()
        owner.has(INDEX, lists(b'<list name="a">' + ENTRY + b"</list>"), LISTS)
        node = INDEX + "/~~/resource-lists/list"
        for request in (
            ("PUT", node + "/bogus", b"<bogus/>", ELEMENT),
            ("PUT", node + "/entry/@bogus", b'"x"', ATTRIBUTE),
            ("DELETE", node + "/entry/@uri"),
        ):
            self.assertEqual(self.conflict(owner, *request), "schema-validation-error")

    def test_no_parent(self) -> None:
        """§8.2.1: the report names the closest ancestor that is there."""
        owner = Owner()
        node = INDEX + "/~~/resource-lists/list%5b@name=%22x%22%5d/list/entry"
        answer = owner.put(node, ENTRY)
        self.assertEqual(answer.condition, "no-parent")
        assert answer.report is not None
        self.assertEqual(answer.report.ancestor, "/resource-lists/users/sip:bill@example.com/")
        for inner, ancestor in (
            (b"", INDEX + "/~~/resource-lists"),
            (b'<list name="x"/>', INDEX + "/~~/resource-lists/list%5b@name=%22x%22%5d"),
            (
                b'<list name="x"><list/><list name="y"/></list>',
                INDEX + "/~~/resource-lists/list%5b@name=%22x%22%5d",
            ),
        ):
            owner.has(INDEX, lists(inner), LISTS)
            answer = owner.put(node, ENTRY)
            assert answer.report is not None
            self.assertEqual((answer.condition, answer.report.ancestor), ("no-parent", ancestor))
        answer = owner.put(INDEX + "/~~/other/list", b"<list/>")
        assert answer.report is not None
        self.assertEqual(answer.report.ancestor, INDEX)
        query = "?xmlns(p=urn:x)"
        answer = owner.put(INDEX + "/~~/resource-lists/p:a/b" + query, b"<list/>")
        assert answer.report is not None
        self.assertEqual(answer.report.ancestor, INDEX + "/~~/resource-lists" + query)

    def test_delete_that_is_not_idempotent(self) -> None:
        """§7.5: by position alone only the last may be deleted."""
        owner = Owner()
        owner.has(INDEX, lists(b'<list name="a"/><list name="b"/>'), LISTS)
        node = INDEX + "/~~/resource-lists/list%5b1%5d"
        self.assertEqual(self.conflict(owner, "DELETE", node), "cannot-delete")
        self.assertEqual(owner.delete(node + "%5b@name=%22a%22%5d").status, 200)
        self.assertEqual(owner.delete(node).status, 200)

    def test_extension_points(self) -> None:
        """§5.8: elements of unknown namespaces are taken where the schema leaves room."""
        owner = Owner()
        owner.has(INDEX, lists(b'<list><x xmlns="urn:unknown" y="z"/></list>'), LISTS)

    def test_extensions_that_are_not(self) -> None:
        """§8.2.5: what a known namespace does not declare is an error, also where it could be
        anything: in documents, elements and attributes.
        """
        owner = Owner()
        presence = "/pidf-manipulation/users/sip:bill@example.com/index"
        pidf = (
            '<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bill@example.com"'
            ' xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:u="urn:unknown"'
            ' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model">'
            '<tuple id="a"><status><basic>open</basic>%s</status></tuple></presence>'
        )
        for bad in ("<r:mode/>", "<u:x><r:mode/></u:x>", '<u:x r:mode="1"/>', "<dm:x/>"):
            put = owner.put(presence, (pidf % bad).encode(), "application/pidf+xml")
            self.assertEqual((put.status, put.condition), (409, "schema-validation-error"), bad)
        owner.has(presence, (pidf % "<u:x><u:mode/></u:x>").encode(), "application/pidf+xml")
        node = presence + "/~~/presence/tuple/status/*%5b2%5d"
        put = owner.put(node, b'<u:x xmlns:u="urn:unknown"><r:mode/></u:x>')
        self.assertEqual((put.status, put.condition), (409, "schema-validation-error"))
        self.assertEqual(owner.put(node, b'<u:x u:known="no"><r:mood/></u:x>').status, 409)
        self.assertEqual(owner.put(node, b"<u:x><r:mood><r:happy/></r:mood></u:x>").status, 200)
        rules = (
            b'<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy"'
            b' xmlns="urn:ietf:params:xml:ns:pres-rules"><cp:rule id="a"><cp:actions>%b'
            b"</cp:actions></cp:rule></cp:ruleset>"
        )
        index = "/pres-rules/users/sip:bill@example.com/index"
        put = owner.put(index, rules % b"<sub-handing>allow</sub-handing>", RULES)
        self.assertEqual((put.status, put.condition), (409, "schema-validation-error"))
        self.assertEqual(
            owner.put(index, rules % b"<sub-handling>allow</sub-handling>", RULES).status, 201
        )

    def test_extension_points_are_for_others(self) -> None:
        """§8.2.5: a document with a default namespace alone is not searched for what its schema
        does not declare, since no extension point of a usage takes elements of that namespace.
        """
        seen = set()
        files = ["all-lists.xsd", "all-policy.xsd", "all-presence.xsd"]
        while files:
            file = files.pop()
            if file in seen or file == "xml.xsd":
                continue
            seen.add(file)
            root = etree.fromstring((SCHEMAS / file).read_bytes())
            files += [str(each.get("schemaLocation")) for each in root.iter(f"{XS}import")]
            if file in ("patch-ops.xsd", "pidf-diff.xsd"):
                # No document of a usage has its elements.
                continue
            for each in root.iter(f"{XS}any"):
                self.assertEqual(each.get("namespace"), "##other", (file, each.sourceline))
        self.assertGreater(len(seen), 10)

    def test_limits(self) -> None:
        """Octets, levels and nodes beyond the limits are 413; documents beyond them 409."""
        owner = Owner(AnyXML(), limits=Limits(octets=200, documents=2, nodes=20, depth=5))
        index = "/tests/users/sip:bill@example.com/"
        for body in (b"<a>" + b"x" * 200 + b"</a>", b"<a>" + b"<b/>" * 20 + b"</a>"):
            answer = owner.put(index + "1", body, "application/xml")
            self.assertEqual(answer.status, 413)
            self.assertTrue(answer.text)
        deep = b"<a>" * 6 + b"</a>" * 6
        self.assertEqual(owner.put(index + "1", deep, "application/xml").status, 413)
        owner.has(index + "1", b"<a>" + b"x" * 150 + b"</a>")
        grown = owner.put(index + "1/~~/a/b", b"<b>" + b"x" * 100 + b"</b>")
        self.assertEqual(grown.status, 413)
        owner.has(index + "2", b"<a/>")
        answer = owner.put(index + "3", b"<a/>", "application/xml")
        self.assertEqual((answer.status, answer.condition), (409, "constraint-failure"))
        self.assertEqual(owner.put(index + "2", b"<a/>", "application/xml").status, 200)
