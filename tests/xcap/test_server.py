"""What the server answers, and what becomes of the document (RFC 4825 §7, §8, §11)."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.schema import Schema
from simplestack.documents.xcapcaps import parse_xcap_caps
from simplestack.documents.xml import parse_content
from simplestack.xcap.claims import Claims
from simplestack.xcap.usage import ApplicationUsage
from tests.xcap.owner import ATTRIBUTE, ELEMENT, LISTS, AnyXML, Owner

INDEX = "/resource-lists/users/sip:bill@example.com/index"
SERVICES = "/rls-services/users/sip:bill@example.com/index"
SERVICES_TYPE = "application/rls-services+xml"
RULES = "application/auth-policy+xml"
NS = b"urn:ietf:params:xml:ns:resource-lists"
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
        good = b"<service uri='sip:a@example.com'><resource-list>http://xcap.example.com/resource-lists/users/sip:bill@example.com/index/~~/resource-lists/list</resource-list></service>"
        owner.has(SERVICES, services(good), SERVICES_TYPE)
        for inner, condition in (
            (good + good, "uniqueness-failure"),
            (good.replace(b"sip:bill", b"sip:joe"), "constraint-failure"),
            (good.replace(b"/resource-lists/users", b"/other/users"), "constraint-failure"),
            (good.replace(b"http://xcap.example.com", b""), "constraint-failure"),
            (b"<service/>", "schema-validation-error"),
            (
                b"<service uri='sip:b@x'><list><rl:entry uri='a:b'/><rl:entry uri='a:b'/></list></service>",
                "uniqueness-failure",
            ),
        ):
            answer = owner.put(SERVICES, services(inner), SERVICES_TYPE)
            self.assertEqual(answer.condition, condition, inner)

    def test_lists_of_services(self) -> None:
        """RFC 4826 §4.1: a list is "an XCAP element resource", whose "XCAP root MUST be the same as
        the XCAP root of the RLS services document"; §4.4.5: its AUID is ``resource-lists``.
        """
        owner = Owner()
        inner = "<service uri='sip:a@example.com'><resource-list>%s</resource-list></service>"
        home = "/resource-lists/users/sip:bill@example.com/index"
        element = "/~~/resource-lists/list%5b@name=%22a%2f@b%22%5d"
        for place, taken in (
            (f"http://xcap.example.com{home}{element}", True),
            (f"HTTP://XCAP.example.com:80{home}{element}", True),
            (f"http://xcap.example.com{home}/%7E%7E/resource-lists/list", True),
            (f"http://xcap.example.com{home}/~~/resource-lists/list?xmlns(a=b)", True),
            (f"http://xcap.example.net{home}{element}", False),
            (f"http://xcap.example.com:81{home}{element}", False),
            (f"https://xcap.example.com{home}{element}", False),
            (f"http://xcap.example.com:99999{home}{element}", False),
            (f"http://xcap.example.com/other{home}{element}", False),
            (f"http://xcap.example.com{home}", False),
            (f"http://xcap.example.com{home}/~~/", False),
            (f"http://xcap.example.com{home}{element}/@name", False),
            (f"http://xcap.example.com{home}{element}/%40name", False),
            (f"http://xcap.example.com{home}{element}/namespace::*", False),
        ):
            answer = owner.put(SERVICES, services((inner % place).encode()), SERVICES_TYPE)
            if taken:
                self.assertIn(answer.status, (200, 201), place)
            else:
                self.assertEqual(answer.condition, "constraint-failure", place)

    def test_rls_services_in_other_spellings(self) -> None:
        """RFC 4826 §4.4.5: "the XUI in the path is the same as the XUI in the URI of to the RLS
        services document", with which a user may leave out ``sip:``; and a resource has one
        service, however its URI is written (RFC 3261 §19.1.4).
        """
        owner = Owner()
        inner = (
            b"<service uri='sip:a@example.com'><resource-list>http://xcap.example.com/resource-lists/users/%b"
            b"/index/~~/resource-lists/list</resource-list></service>"
        )
        for uri in (SERVICES, SERVICES.replace("sip:", "")):
            for xui in (b"bill@example.com", b"sip:bill@EXAMPLE.com", b"sip%3Abill%40example.com"):
                answer = owner.put(uri, services(inner % xui), SERVICES_TYPE)
                self.assertIn(answer.status, (200, 201), xui)
            for xui in (
                b"joe@example.com",
                b"bill@example.org",
                b"sip:joe@example.com",
                b":",
                b"%40",
            ):
                answer = owner.put(uri, services(inner % xui), SERVICES_TYPE)
                self.assertEqual(answer.condition, "constraint-failure", xui)
        service = b"<service uri='%b'><list/></service>"
        for other in (b"sips:a@example.com", b"sip:%61@EXAMPLE.com;x=y", b"sip:a@example.com:5060"):
            both = service % b"sip:a@example.com" + service % other
            answer = owner.put(SERVICES, services(both), SERVICES_TYPE)
            self.assertEqual(answer.condition, "uniqueness-failure", other)

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

    def test_rules_that_are_not_understood(self) -> None:
        """Times have "a mandatory timezone" (RFC 4745 §7.4, erratum 1455).

        Rules without would be kept and then block everybody, since they can't be read.
        """
        ruleset = (
            b'<ruleset xmlns="urn:ietf:params:xml:ns:common-policy"><rule id="a"><conditions>'
            b"<validity><from>2020-01-01T00:00:00Z</from><until>2030-01-01T00:00:00%b</until>"
            b"</validity></conditions></rule></ruleset>"
        )
        owner = Owner()
        home = "/users/sip:bill@example.com/"
        for place in ("pres-rules%sindex", "org.openmobilealliance.pres-rules%spres-rules"):
            uri = "/" + place % home
            answer = owner.put(uri, ruleset % b"", RULES)
            self.assertEqual(answer.condition, "constraint-failure")
            self.assertIn("time zone", answer.text)
            owner.has(uri, ruleset % b"+01:00", RULES)

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

    def test_presence_that_is_not_understood(self) -> None:
        """RFC 4827 §7: "the description of PIDF" has a presentity that is named; and what can't be
        composed would be kept without being shown to anybody.
        """
        body = (
            b'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="%b"'
            b' xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model">'
            b'<dm:device id="d"><dm:deviceID>%b</dm:deviceID></dm:device></presence>'
        )
        owner = Owner()
        uri = "/pidf-manipulation/users/sip:bill@example.com/index"
        for entity, device in ((b"", b"urn:x:1"), (b"sip:bill@example.com", b" ")):
            answer = owner.put(uri, body % (entity, device), "application/pidf+xml")
            self.assertEqual(answer.condition, "constraint-failure", (entity, device))
        owner.has(uri, body % (b"sip:bill@example.com", b"urn:x:1"), "application/pidf+xml")

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
