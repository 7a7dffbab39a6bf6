"""What the server answers, and what becomes of the document (RFC 4825 §7, §8, §11)."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

import simplestack.documents
from simplestack.documents.schema import Schema
from simplestack.documents.xcapcaps import parse_xcap_caps
from simplestack.documents.xml import parse_content
from simplestack.xcap.claims import Claims
from simplestack.xcap.server import Limits
from simplestack.xcap.usage import ApplicationUsage
from tests.xcap.owner import ATTRIBUTE, ELEMENT, LISTS, AnyXML, Owner

INDEX = "/resource-lists/users/sip:bill@example.com/index"
SERVICES = "/rls-services/users/sip:bill@example.com/index"
SERVICES_TYPE = "application/rls-services+xml"
RULES = "application/auth-policy+xml"
NS = b"urn:ietf:params:xml:ns:resource-lists"
SCHEMAS = Path(simplestack.documents.__file__).with_name("schemas")
XS = "{http://www.w3.org/2001/XMLSchema}"
ENTRY = b'<entry uri="sip:bob@example.com"/>'


def lists(inner: bytes = b'<list name="friends"/>') -> bytes:
    """A resource-lists document."""
    return b'<?xml version="1.0"?>\n<resource-lists xmlns="%b">%b</resource-lists>' % (NS, inner)


def services(inner: bytes) -> bytes:
    """An rls-services document."""
    return (
        b'<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="%b">%b</rls-services>'
        % (NS, inner)
    )


class DocumentTests(SynchronousTestCase):
    """Whole documents."""

    def test_life(self) -> None:
        """§7.1 to §7.3: created with 201, read, replaced with 200, deleted, gone."""
        owner = Owner()
        self.assertEqual(owner.get(INDEX).status, 404)
        answer = owner.put(INDEX, lists(), LISTS)
        self.assertEqual((answer.status, answer.body), (201, b""))
        first = answer.headers["ETag"]
        answer = owner.get(INDEX)
        self.assertEqual(answer.body, lists())
        self.assertEqual(answer.headers["Content-Type"], LISTS)
        self.assertEqual(answer.headers["ETag"], first)
        self.assertEqual(answer.headers["Last-Modified"], "Tue, 14 Nov 2023 22:13:20 GMT")
        answer = owner.put(INDEX, lists(b""), LISTS)
        self.assertEqual((answer.status, answer.body), (200, b""))
        self.assertNotEqual(answer.headers["ETag"], first)
        answer = owner.delete(INDEX)
        self.assertEqual((answer.status, answer.headers), (200, {}))
        self.assertEqual(owner.get(INDEX).status, 404)
        self.assertEqual(owner.delete(INDEX).status, 404)

    def test_octets_stay(self) -> None:
        """§6.3: white space, comments and prefixes come back as they were put."""
        body = (
            lists(b"<!-- a --> <list \n name = 'x' ><!-- b --></list >\n<?p i?>")
            + b"\n<!-- c -->\n"
        )
        owner = Owner()
        owner.has(INDEX, body, LISTS)
        self.assertEqual(owner.get(INDEX).body, body)

    def test_types(self) -> None:
        """§8.2.2: 415 where the Content-Type is not that of the usage or the kind of node."""
        owner = Owner()
        for wrong in ("", "application/xml", ELEMENT):
            answer = owner.put(INDEX, lists(), wrong)
            self.assertEqual((answer.status, answer.headers["Accept"]), (415, LISTS))
        owner.has(INDEX, lists(), f"{LISTS.upper()} ; charset=utf-8")
        node = INDEX + "/~~/resource-lists/list"
        self.assertEqual(owner.put(node, b"<list/>", LISTS).headers["Accept"], ELEMENT)
        self.assertEqual(owner.put(node + "/@name", b'"a"').headers["Accept"], ATTRIBUTE)
        self.assertEqual(owner.put(INDEX, lists(), LISTS, content_encoding="gzip").status, 415)
        self.assertEqual(owner.put(INDEX, lists(), LISTS, content_range="bytes 0-1/2").status, 400)

    def test_methods(self) -> None:
        """§8.1: POST is 405, and Allow says what can be used."""
        answer = Owner()("POST", INDEX)
        self.assertEqual(answer.status, 405)
        self.assertEqual(answer.headers["Allow"], "GET, HEAD, PUT, DELETE, OPTIONS")

    def test_unknown_usage(self) -> None:
        """§8: an application usage that is not understood is 404."""
        answer = Owner().get("/nothing/users/sip:bill@example.com/index")
        self.assertEqual(answer.status, 404)
        self.assertIn("nothing", answer.text)

    def test_directories(self) -> None:
        """§8.2.1: there are no directories below that of the user, and none can be made."""
        owner = Owner()
        home = "/resource-lists/users/sip:bill@example.com/"
        for uri in (home, home[:-1]):
            self.assertEqual(owner.get(uri).status, 404)
            self.assertEqual(owner.put(uri, lists(), LISTS).status, 404)
        answer = owner.put(home + "a/b/c", lists(), LISTS)
        self.assertEqual(answer.condition, "no-parent")
        assert answer.report is not None
        self.assertEqual(answer.report.ancestor, home)


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


class ConditionTests(SynchronousTestCase):
    """§7.11 and §8.2.6, RFC 9110 §13."""

    def setUp(self) -> None:
        """A document."""
        self.owner = Owner()
        self.owner.has(INDEX, lists(), LISTS)
        self.tag = self.owner.get(INDEX).headers["ETag"]

    def test_get(self) -> None:
        """If-None-Match with the entity-tag at hand is 304, on the document and its nodes."""
        for uri in (INDEX, INDEX + "/~~/resource-lists", INDEX + "/~~/resource-lists/list/@name"):
            for field in (self.tag, "*", f'"x" , {self.tag}', f"W/{self.tag}", f"{self.tag},"):
                answer = self.owner.get(uri, if_none_match=field)
                self.assertEqual((answer.status, answer.body), (304, b""), field)
                self.assertEqual(answer.headers["ETag"], self.tag)
            self.assertEqual(self.owner.get(uri, if_none_match='"x", W/"y"').status, 200)
            self.assertEqual(self.owner.get(uri, if_match='"x"').status, 412)
            self.assertEqual(self.owner.get(uri, if_match=f'"x",{self.tag}').status, 200)
        self.assertEqual(self.owner.get(INDEX + "2", if_none_match="*").status, 404)

    def test_writes(self) -> None:
        """A stale If-Match is 412 and names the tag; a weak one never matches."""
        node = INDEX + "/~~/resource-lists/list"
        for method, uri, body, type_ in (
            ("PUT", INDEX, lists(), LISTS),
            ("PUT", node, b"<list/>", ELEMENT),
            ("PUT", node + "/@name", b'"x"', ATTRIBUTE),
            ("DELETE", node, b"", ""),
            ("DELETE", INDEX, b"", ""),
        ):
            for headers in (
                {"if_match": '"old"'},
                {"if_match": f"W/{self.tag}"},
                {"if_none_match": "*"},
                {"if_none_match": self.tag},
                {"if_unmodified_since": "Tue, 14 Nov 2023 22:13:19 GMT"},
            ):
                answer = self.owner(method, uri, body, type_, **headers)  # type: ignore[arg-type]  # header fields
                self.assertEqual(answer.status, 412, (method, uri, headers))
                self.assertEqual(answer.headers["ETag"], self.tag)
        self.assertEqual(self.owner.put(INDEX, lists(), LISTS, if_match="*").status, 200)
        tag = self.owner.get(INDEX).headers["ETag"]
        self.assertEqual(self.owner.delete(node, if_match=f'"x", {tag}').status, 200)
        tag = self.owner.get(INDEX).headers["ETag"]
        self.assertEqual(self.owner.delete(INDEX, if_match=tag).status, 200)

    def test_creation(self) -> None:
        """If-None-Match: * creates and never overwrites; If-Match: * never creates."""
        new = INDEX + "2"
        self.assertEqual(self.owner.put(new, lists(), LISTS, if_match="*").status, 412)
        self.assertEqual(self.owner.put(new, lists(), LISTS, if_none_match="*").status, 201)
        self.assertEqual(self.owner.put(new, lists(), LISTS, if_none_match="*").status, 412)

    def test_insertion_of_a_node(self) -> None:
        """§8.2.6: "a conditional PUT of an element or attribute with an If-None-Match: * will always fail"."""
        node = INDEX + "/~~/resource-lists/list/entry"
        self.assertEqual(self.owner.put(node, ENTRY, if_none_match="*").status, 412)
        answer = self.owner.put(node, ENTRY, if_match=self.tag)
        self.assertEqual(answer.status, 201)
        self.assertEqual(self.owner.get(INDEX).headers["ETag"], answer.headers["ETag"])

    def test_dates(self) -> None:
        """RFC 9110 §13.1.3: used where there is no entity-tag, ignored where unreadable."""
        for field, status in (
            ("Tue, 14 Nov 2023 22:13:20 GMT", 304),
            ("Tue, 14 Nov 2023 22:13:19 GMT", 200),
            ("no date", 200),
            ("Tue, 99 Nov 99999999999 99:99:99 GMT", 200),
        ):
            self.assertEqual(self.owner.get(INDEX, if_modified_since=field).status, status, field)
        answer = self.owner.get(
            INDEX, if_modified_since="Tue, 14 Nov 2023 22:13:20 GMT", if_none_match='"x"'
        )
        self.assertEqual(answer.status, 200)

    def test_bad_ones(self) -> None:
        """A list that is none is 400."""
        for field in ("x", '"x', '"a" "b"', 'w/"a"', "*, *"):
            self.assertEqual(self.owner.get(INDEX, if_match=field).status, 400, field)

    @given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
    def test_no_update_is_lost(self, writers: list[int]) -> None:
        """Of those who have seen one version only the first to write does."""
        owner = Owner()
        owner.has(INDEX, lists(), LISTS)
        tag = owner.get(INDEX).headers["ETag"]
        seen = dict.fromkeys(range(4), tag)
        for writer in writers:
            current = owner.get(INDEX).headers["ETag"]
            answer = owner.put(INDEX, lists(), LISTS, if_match=seen[writer])
            self.assertEqual(answer.status, 200 if seen[writer] == current else 412)
            if answer.status == 200:
                seen[writer] = answer.headers["ETag"]


class AuthorizationTests(SynchronousTestCase):
    """§5.7: owners their own tree, all the global one, trusted users everything."""

    def test_others(self) -> None:
        """Another's documents can be neither read nor written."""
        owner = Owner()
        owner.has(INDEX, lists(), LISTS)
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = owner(method, INDEX, lists(), LISTS, identity="sip:joe@example.com")
            self.assertEqual(answer.status, 403, method)

    def test_admins(self) -> None:
        """Trusted users do both."""
        owner = Owner(admins=["sip:root@example.com"])
        for method, status in (("PUT", 201), ("GET", 200), ("DELETE", 200)):
            answer = owner(method, INDEX, lists(), LISTS, identity="sip:root@example.com")
            self.assertEqual(answer.status, status)

    def test_global_documents(self) -> None:
        """Everybody reads them, only trusted users write them."""
        owner = Owner(aor="global:xcap", admins=["sip:root@example.com"])
        index = "/resource-lists/global/index"
        self.assertEqual(owner.put(index, lists(), LISTS, identity="sip:a@b").status, 403)
        answer = owner.put(index, lists(), LISTS, identity="sip:root@example.com")
        self.assertEqual(answer.status, 201)
        self.assertEqual(owner.get(index, identity="sip:a@b").status, 200)


class UsageTests(SynchronousTestCase):
    """The usages that are shipped."""

    def test_rls_services(self) -> None:
        """RFC 4826 §4.4.5: lists point to the owner's own, and URIs are unique in a document."""
        owner = Owner()
        good = b"<service uri='sip:a@example.com'><resource-list>http://x/resource-lists/users/sip:bill@example.com/index/~~/resource-lists/list</resource-list></service>"
        owner.has(SERVICES, services(good), SERVICES_TYPE)
        for inner, condition in (
            (good + good, "uniqueness-failure"),
            (good.replace(b"sip:bill", b"sip:joe"), "constraint-failure"),
            (good.replace(b"/resource-lists/users", b"/other/users"), "constraint-failure"),
            (good.replace(b"http://x", b""), "constraint-failure"),
            (b"<service/>", "schema-validation-error"),
            (
                b"<service uri='sip:b@x'><list><rl:entry uri='a:b'/><rl:entry uri='a:b'/></list></service>",
                "uniqueness-failure",
            ),
        ):
            answer = owner.put(SERVICES, services(inner), SERVICES_TYPE)
            self.assertEqual(answer.condition, condition, inner)

    def test_service_of_another(self) -> None:
        """RFC 4826 §4.4.5: "any document on a particular server"; alternatives are suggested."""
        owner = Owner()
        owner.server.claims["rls-services"].take(
            ("sip:joe@example.com", "x"), ["sip:a@example.com"]
        )
        inner = b"<service uri='sip:a@example.com'><list/></service>"
        answer = owner.put(SERVICES, services(inner), SERVICES_TYPE)
        assert answer.report is not None
        [exists] = answer.report.exists
        self.assertEqual(exists.field, "rls-services/service%5B1%5D/@uri")
        self.assertIn("sip:a-2@example.com", exists.alternatives)
        other = inner.replace(b"sip:a@", exists.alternatives[0].encode().partition(b"@")[0] + b"@")
        self.assertEqual(owner.put(SERVICES, services(other), SERVICES_TYPE).status, 201)

    def test_rules(self) -> None:
        """RFC 5025 §9, and the same under OMA's name with its one document."""
        ruleset = b'<cp:ruleset xmlns:cp="urn:ietf:params:xml:ns:common-policy"><cp:rule id="a"/></cp:ruleset>'
        owner = Owner()
        home = "/users/sip:bill@example.com/"
        owner.has(f"/pres-rules{home}index", ruleset, RULES)
        oma = "/org.openmobilealliance.pres-rules"
        owner.has(f"{oma}{home}pres-rules", ruleset, RULES)
        answer = owner.put(f"{oma}{home}index", ruleset, RULES)
        self.assertEqual(answer.condition, "constraint-failure")
        answer = owner.get(f"{oma}{home}pres-rules/~~/ruleset/rule/@id")
        self.assertEqual(answer.body, b'"a"')
        # "The default namespace is urn:ietf:params:xml:ns:pres-rules" (§9.3): here it is not.
        answer = owner.get(f"/pres-rules{home}index/~~/ruleset")
        self.assertEqual(answer.status, 404)
        for bad in (
            b"<ruleset/>",
            ruleset.replace(b"rule ", b"role "),
            ruleset.replace(b'"a"', b'"0"'),
        ):
            answer = owner.put(f"/pres-rules{home}index", bad, RULES)
            self.assertEqual(answer.condition, "schema-validation-error", bad)

    def test_oma_conditions(self) -> None:
        """Conditions of OMA's namespaces pass where common policy leaves room for them."""
        body = (
            b'<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"'
            b' xmlns:ocp="urn:oma:xml:xdm:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">'
            b'<rule id="wp_prs_unlisted"><conditions><ocp:other-identity/></conditions>'
            b"<actions><pr:sub-handling>confirm</pr:sub-handling></actions></rule></ruleset>"
        )
        uri = "/org.openmobilealliance.pres-rules/users/sip:bill@example.com/pres-rules"
        Owner().has(uri, body, RULES)

    def test_manipulated_presence(self) -> None:
        """RFC 4827 §9: one document, named index."""
        body = b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:bill@example.com"/>'
        owner = Owner()
        home = "/pidf-manipulation/users/sip:bill@example.com/"
        owner.has(home + "index", body, "application/pidf+xml")
        answer = owner.put(home + "other", body, "application/pidf+xml")
        self.assertEqual(answer.condition, "constraint-failure")

    def test_capabilities(self) -> None:
        """§12: what is loaded, and itself; read by everybody, written by nobody."""
        owner = Owner(AnyXML(), admins=["sip:root@example.com"], aor="global:xcap")
        answer = owner.get("/xcap-caps/global/index", identity="sip:a@b")
        self.assertEqual(answer.headers["Content-Type"], "application/xcap-caps+xml")
        Schema("xcap-caps").validate(parse_content(answer.body))
        found = parse_xcap_caps(answer.body)
        self.assertEqual(found.auids, ("tests", "xcap-caps"))
        self.assertIn("urn:ietf:params:xml:ns:xcap-caps", found.namespaces)
        self.assertIn("urn:test:default-namespace", found.namespaces)
        again = owner.get("/xcap-caps/global/index", identity="sip:a@b")
        self.assertEqual(answer.headers["ETag"], again.headers["ETag"])
        node = owner.get(
            "/xcap-caps/global/index/~~/xcap-caps/auids/auid%5b1%5d", identity="sip:a@b"
        )
        self.assertEqual(node.body, b"<auid>tests</auid>")
        for identity, status in (("sip:a@b", 403), ("sip:root@example.com", 405)):
            answer = owner.put(
                "/xcap-caps/global/index", b"<a/>", "application/xml", identity=identity
            )
            self.assertEqual(answer.status, status)

    def test_directory(self) -> None:
        """All documents of the user, with entity-tags, dates and sizes."""
        owner = Owner()
        uri = "/org.openmobilealliance.xcap-directory/users/sip:bill@example.com/directory.xml"
        self.assertEqual(len(parse_content(owner.get(uri).body)), 0)
        empty = owner.get(uri).headers["ETag"]
        owner.has(INDEX, lists(), LISTS)
        answer = owner.get(uri)
        self.assertNotEqual(answer.headers["ETag"], empty)
        self.assertEqual(answer.headers["Content-Type"], "application/vnd.oma.xcap-directory+xml")
        [folder] = parse_content(answer.body)
        [entry] = folder
        self.assertEqual(folder.get("auid"), "resource-lists")
        self.assertEqual(
            dict(entry.attrib),
            {
                "uri": "http://xcap.example.com" + INDEX,
                "etag": owner.state.documents["resource-lists/index"].entity_tag,
                "last-modified": "2023-11-14T22:13:20Z",
                "size": str(len(lists())),
            },
        )
        self.assertEqual(owner.put(uri, b"<a/>", "application/xml").status, 405)
        other = uri.replace("directory.xml", "other")
        self.assertEqual(owner.get(other).status, 404)

    def test_what_subclasses_say(self) -> None:
        """The defaults of a usage: nothing computed, nothing unique."""
        usage = ApplicationUsage()
        self.assertEqual(usage.claims(None), {})
        self.assertIsNone(usage.computed("", "index", {}, ""))
        self.assertRaises(NotImplementedError, usage.gathered, ())


class ClaimTests(SynchronousTestCase):
    """Values that are unique on the server (§5.3)."""

    ME = ("sip:me@x", "a/b")
    YOU = ("sip:you@x", "a/b")

    def test_versions(self) -> None:
        """A value is held until no version of the document that may be stored has it."""
        claims = Claims()
        claims.take(self.ME, ["x", "y"])
        claims.take(self.ME, ["y", "z"])
        claims.release(["x", "y"])
        self.assertEqual([claims.holder(each) for each in "xyz"], [None, self.ME, self.ME])
        claims.release(["y", "z"])
        self.assertEqual(len(claims), 0)
        claims.release(["y"])

    def test_alternatives(self) -> None:
        """What is suggested is free."""
        claims = Claims()
        claims.take(self.YOU, ["sip:a@x", "sip:a-2@x"])
        self.assertEqual(claims.free("sip:a@x"), ("sip:a-3@x", "sip:a-4@x", "sip:a-5@x"))
