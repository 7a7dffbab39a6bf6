"""Edits of nodes: what is put is found again, what is deleted is gone, the rest stays."""

from urllib.parse import quote
from xml.sax.saxutils import escape

from hypothesis import assume, given
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.xcap.nodes import Name
from simplestack.xcap.source import Element, Source, _scan, scan
from tests.xcap.documents import DOCUMENTS, ELEMENTS, NAMESPACES, elements, path_of
from tests.xcap.owner import ATTRIBUTE, AnyXML, Owner

INDEX = "/tests/users/sip:bill@example.com/index"
QUERY = "?xmlns(p=urn:one)xmlns(q=urn:two)"


def owner_of(document: bytes) -> Owner:
    """A user who has this document."""
    owner = Owner(AnyXML())
    owner.has(INDEX, document)
    return owner


def flat(element: Element) -> list[Element]:
    """An element and all that it contains, in document order."""
    return [element, *[each for child in element.children for each in flat(child)]]


def places(source: Source) -> tuple[object, ...]:
    """All that a source knows."""
    return tuple(getattr(source, name) for name in Source.__slots__)


class ScanTests(SynchronousTestCase):
    """The scanner agrees with the parser."""

    @given(DOCUMENTS)
    def test_same_elements(self, document: bytes) -> None:
        """Names, attributes and nesting are those that libxml2 finds (XML Namespaces 1.0)."""
        tree = list(elements(etree.fromstring(document)))
        found = flat(scan(document))
        self.assertEqual(len(found), len(tree))
        for mine, other in zip(found, tree, strict=True):
            qualified = etree.QName(other)
            self.assertTrue(mine.is_named(Name(qualified.namespace or "", qualified.localname)))
            self.assertEqual(len(mine.children), len(other.findall("*")))
            values: dict[str, str] = {}
            for attribute in mine.attributes:
                prefix, _, local = attribute.name.decode().rpartition(":")
                namespace = mine.namespace(prefix) if prefix else None
                values[f"{{{namespace}}}{local}" if namespace else local] = attribute.value
            self.assertEqual(values, dict(other.attrib))
            scope = {prefix or "": uri for prefix, uri in other.nsmap.items()}
            self.assertEqual(mine.scope(), scope)


class ElementTests(SynchronousTestCase):
    """GET, PUT and DELETE of elements (RFC 4825 §7.4 to §7.6)."""

    @given(DOCUMENTS, st.data())
    def test_get_is_what_stands_there(self, document: bytes, data: st.DataObject) -> None:
        """§7.6: from the opening bracket to the closing one, octet for octet."""
        tree = list(elements(etree.fromstring(document)))
        number = data.draw(st.integers(0, len(tree) - 1))
        answer = owner_of(document).get(f"{INDEX}/~~/{path_of(tree[number])}")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.body, flat(scan(document))[number].octets)
        self.assertIn(answer.body, document)

    @given(DOCUMENTS, ELEMENTS, st.data())
    def test_replace(self, document: bytes, body: bytes, data: st.DataObject) -> None:
        """§8.2.4: GET(PUT(x)) = x, and no octet outside the element changes."""
        tree = list(elements(etree.fromstring(document)))
        number = data.draw(st.integers(0, len(tree) - 1))
        uri = f"{INDEX}/~~/{path_of(tree[number])}"
        owner = owner_of(document)
        answer = owner.put(uri, body)
        if number == 0 and answer.status == 409:
            # The prefixes of the body were declared by the root that it would replace.
            self.assertEqual(answer.condition, "not-xml-frag")
            return
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(owner.get(uri).body, body)
        old = flat(scan(document))[number]
        after = owner.get(INDEX).body
        self.assertEqual(after, document[: old.start] + body + document[old.end :])
        self.assertEqual(places(scan(after).source), places(_scan(after)))
        etree.fromstring(after)

    @given(DOCUMENTS, ELEMENTS, st.data())
    def test_insert(self, document: bytes, body: bytes, data: st.DataObject) -> None:
        """§8.2.3: an inserted element is found by its URI, and nothing else changes."""
        root = etree.fromstring(document)
        parent = data.draw(st.sampled_from(list(elements(root))))
        new = etree.fromstring(b'<x xmlns:p="urn:one" xmlns:q="urn:two">' + body + b"</x>")[0]
        name = etree.QName(new)
        step = data.draw(st.sampled_from(["*", name.localname]))
        if step != "*" and name.namespace:
            prefix = {uri: prefix for prefix, uri in NAMESPACES.items()}.get(name.namespace)
            assume(prefix)
            step = f"{prefix}:{step}"
        position = data.draw(st.sampled_from([None, 1, 2, 3]))
        if position is not None:
            step += f"%5b{position}%5d"
        if "id" in new.attrib and data.draw(st.booleans()):
            step += f"%5b@id=%22{quote(escape(str(new.get('id'))), safe='')}%22%5d"
        uri = f"{INDEX}/~~/{path_of(parent)}/{step}{QUERY}"
        owner = owner_of(document)
        answer = owner.put(uri, body)
        after = owner.get(INDEX).body
        if answer.status == 409:
            self.assertEqual(answer.condition, "cannot-insert")
            self.assertEqual(after, document)
            return
        self.assertEqual(owner.get(uri).body, body)
        self.assertEqual(places(scan(after).source), places(_scan(after)))
        if answer.status == 201:
            if len(after) == len(document) + len(body):
                without = {after[:i] + after[i + len(body) :] for i in range(len(after))}
                self.assertIn(document, without)
            else:
                # An empty-element tag was opened to take it.
                self.assertTrue(any(each.empty for each in flat(scan(document))))
            self.assertEqual(owner.put(uri, body).status, 200)
            self.assertEqual(owner.get(INDEX).body, after)

    @given(DOCUMENTS, st.data())
    def test_delete(self, document: bytes, data: st.DataObject) -> None:
        """§8.4: after DELETE a GET is 404; white space around the element stays."""
        tree = list(elements(etree.fromstring(document)))
        assume(len(tree) > 1)
        number = data.draw(st.integers(1, len(tree) - 1))
        uri = f"{INDEX}/~~/{path_of(tree[number])}"
        owner = owner_of(document)
        answer = owner.delete(uri)
        if answer.status == 409:
            self.assertEqual(answer.condition, "cannot-delete")
            self.assertIsNotNone(tree[number].getnext())
            return
        self.assertEqual(answer.status, 200)
        self.assertEqual(owner.get(uri).status, 404)
        self.assertEqual(owner.delete(uri).status, 404)
        old = flat(scan(document))[number]
        after = owner.get(INDEX).body
        self.assertEqual(after, document[: old.start] + document[old.end :])
        self.assertEqual(places(scan(after).source), places(_scan(after)))

    def test_insert_into_an_empty_element(self) -> None:
        """An empty-element tag opens to take its first child; what it says stays."""
        owner = owner_of(b'<r><a n="/>" /><b/></r>')
        self.assertEqual(owner.put(INDEX + "/~~/r/a/c", b"<c/>").status, 201)
        self.assertEqual(owner.get(INDEX).body, b'<r><a n="/>" ><c/></a><b/></r>')

    def test_last_of_all_for_a_wildcard(self) -> None:
        """§8.2.3: a wildcard with an attribute that no sibling has puts the element last."""
        owner = owner_of(b'<r><a id="1"/><b/><!-- c --> </r>')
        owner.put(INDEX + "/~~/r/*%5b@id=%222%22%5d", b'<a id="2"/>')
        self.assertEqual(owner.get(INDEX).body, b'<r><a id="1"/><b/><!-- c --> <a id="2"/></r>')

    def test_before_the_first(self) -> None:
        """§8.2.3: position 1 with a wildcard is before all elements, after what is before them."""
        owner = owner_of(b"<r> <!-- c --><a/><b/></r>")
        owner.put(INDEX + "/~~/r/*%5b1%5d%5b@id=%221%22%5d", b'<b id="1"/>')
        self.assertEqual(owner.get(INDEX).body, b'<r> <!-- c --><b id="1"/><a/><b/></r>')

    def test_position_beyond_the_end(self) -> None:
        """§8.2.3: "If there are not n-1 sibling elements … the request will fail"."""
        owner = owner_of(b"<r><a/></r>")
        for step in ("a%5b3%5d", "*%5b3%5d", "b%5b2%5d", "a%5b0%5d", "a%5b99999999999999%5d"):
            answer = owner.put(f"{INDEX}/~~/r/{step}", b"<a/>" if step[0] != "b" else b"<b/>")
            self.assertEqual(answer.condition, "cannot-insert", step)

    def test_several_match(self) -> None:
        """§7: a selector that would select several elements can't be put to."""
        owner = owner_of(b"<r><a/><a/></r>")
        self.assertEqual(owner.put(INDEX + "/~~/r/a", b"<a/>").condition, "cannot-insert")

    def test_namespaces_are_those_around(self) -> None:
        """§8.2.3: a body may use prefixes declared above, and its own declarations are kept."""
        owner = owner_of(b'<r xmlns="urn:d" xmlns:p="urn:one"/>')
        body = b'<p:a xmlns:p="urn:one"><p:b/></p:a>'
        uri = INDEX + "/~~/d:r/q:a?xmlns(d=urn:d)xmlns(q=urn:one)"
        self.assertEqual(owner.put(uri, body).status, 201)
        self.assertEqual(owner.get(uri).body, body)
        other = owner.put(INDEX + "/~~/d:r/d:a?xmlns(d=urn:d)", b"<x:a/>")
        self.assertEqual(other.condition, "not-xml-frag")
        # Without a prefix the element is in the default namespace at the place it goes to.
        self.assertEqual(owner.put(INDEX + "/~~/d:r/a?xmlns(d=urn:d)", b"<a/>").status, 409)
        self.assertEqual(owner.put(INDEX + "/~~/d:r/d:a?xmlns(d=urn:d)", b"<a/>").status, 201)

    def test_root(self) -> None:
        """§8.2.1: the root may be replaced by one of its name, and by no other."""
        owner = owner_of(b"<!-- x --><r/>")
        self.assertEqual(owner.put(INDEX + "/~~/r", b"<r><a/></r>").status, 200)
        self.assertEqual(owner.get(INDEX).body, b"<!-- x --><r><a/></r>")
        self.assertEqual(owner.put(INDEX + "/~~/r", b"<s/>").condition, "cannot-insert")
        self.assertEqual(owner.put(INDEX + "/~~/s", b"<s/>").condition, "cannot-insert")
        self.assertEqual(owner.delete(INDEX + "/~~/r").condition, "schema-validation-error")

    def test_fragments(self) -> None:
        """§8.2.2: a body that is not one element in UTF-8 is refused, and the report says why."""
        owner = owner_of(b"<r/>")
        for body, condition in (
            (b"<a>", "not-xml-frag"),
            (b"", "not-xml-frag"),
            (b"text", "not-xml-frag"),
            (b"<a/><b/>", "not-xml-frag"),
            (b"<a/>text", "not-xml-frag"),
            (b"<!-- c --><a/>", "not-xml-frag"),
            (b"</x><a/><x>", "not-xml-frag"),
            (b"</x><x>", "not-xml-frag"),
            (b'<?xml version="1.0"?><a/>', "not-xml-frag"),
            (b"<a>&e;</a>", "not-xml-frag"),
            (b"<!DOCTYPE a><a/>", "not-xml-frag"),
            (b"<a>\xff</a>", "not-utf-8"),
            (b"<p:a/>", "not-xml-frag"),
            (b"<a/>\0", "not-xml-frag"),
        ):
            answer = owner.put(INDEX + "/~~/r/a", body)
            self.assertEqual((answer.status, answer.condition), (409, condition), body)
            self.assertTrue(answer.report and answer.report.phrase)
        self.assertEqual(owner.put(INDEX + "/~~/r/a", b" \r\n<a/>\n").status, 201)
        self.assertEqual(owner.get(INDEX).body, b"<r><a/></r>")

    def test_place_of_a_mistake(self) -> None:
        """The phrase has line and column in the body as the client wrote it."""
        owner = owner_of(b'<r xmlns="urn:a-rather-long-namespace"/>')
        answer = owner.put(
            INDEX + "/~~/d:r/d:a?xmlns(d=urn:a-rather-long-namespace)", b"<a b=></a>"
        )
        assert answer.report is not None and answer.report.phrase is not None
        self.assertTrue(answer.report.phrase.startswith("line 1, column 6"), answer.report)


class AttributeTests(SynchronousTestCase):
    """GET, PUT and DELETE of attributes (RFC 4825 §7.7 to §7.9)."""

    @given(DOCUMENTS, st.data(), st.sampled_from(["id", "n", "p:id", "new", "p:new", "z:new"]))
    def test_put_and_delete(self, document: bytes, data: st.DataObject, name: str) -> None:
        """GET(PUT(x)) = x, DELETE then GET is 404, and all other octets stay."""
        tree = list(elements(etree.fromstring(document)))
        number = data.draw(st.integers(0, len(tree) - 1))
        value = data.draw(
            st.sampled_from([b'"1"', b"'it\"s'", b'"a &amp; b"', b'""', b'"<"', b"1"])
        )
        uri = f"{INDEX}/~~/{path_of(tree[number])}/@{name}{QUERY}xmlns(z=urn:z)"
        owner = owner_of(document)
        had = owner.get(uri).status == 200
        answer = owner.put(uri, value, ATTRIBUTE)
        if value in (b'"<"', b"1"):
            self.assertEqual(answer.condition, "not-xml-att-value")
            self.assertEqual(owner.get(INDEX).body, document)
            return
        self.assertEqual(answer.status, 200 if had else 201, answer)
        self.assertEqual(owner.get(uri).body, value)
        after = owner.get(INDEX).body
        element, old = flat(scan(after))[number], flat(scan(document))[number]
        self.assertEqual(after[: element.start], document[: old.start])
        self.assertEqual(after[element.open :], document[old.open :])
        self.assertEqual(owner.delete(uri).status, 200)
        self.assertEqual(owner.get(uri).status, 404)
        self.assertEqual(owner.delete(uri).status, 404)
        if not had and not name.startswith("z"):
            self.assertEqual(owner.get(INDEX).body, document)

    def test_new_one_stands_last(self) -> None:
        """What the start tag says stays as it is, white space too."""
        owner = owner_of(b"<r  a = '1'\n/>")
        self.assertEqual(owner.put(INDEX + "/~~/r/@b", b'"2"', ATTRIBUTE).status, 201)
        self.assertEqual(owner.get(INDEX).body, b"<r  a = '1' b=\"2\"\n/>")

    def test_prefix_that_is_not_declared(self) -> None:
        """An attribute of a namespace that is not in scope brings its declaration."""
        owner = owner_of(b"<r/>")
        uri = INDEX + "/~~/r/@p:b?xmlns(p=urn:one)"
        self.assertEqual(owner.put(uri, b'"2"', ATTRIBUTE).status, 201)
        self.assertEqual(owner.get(INDEX).body, b'<r xmlns:p="urn:one" p:b="2"/>')
        self.assertEqual(owner.get(uri).body, b'"2"')

    def test_namespace_declarations_are_no_attributes(self) -> None:
        """§6.3: "a namespace node is NOT an attribute"."""
        owner = owner_of(b'<r xmlns:p="urn:one"/>')
        self.assertEqual(owner.get(INDEX + "/~~/r/@xmlns").status, 404)
        answer = owner.put(INDEX + "/~~/r/@xmlns", b'"urn:x"', ATTRIBUTE)
        self.assertEqual(answer.condition, "cannot-insert")

    def test_predicate_on_the_same_attribute(self) -> None:
        """§7.7: the same value again is no conflict, another one is."""
        owner = owner_of(b'<r><a id="1"/></r>')
        uri = INDEX + "/~~/r/a%5b@id=%221%22%5d/@id"
        self.assertEqual(owner.put(uri, b"'1'", ATTRIBUTE).status, 200)
        self.assertEqual(owner.get(INDEX).body, b"<r><a id='1'/></r>")
        self.assertEqual(owner.put(uri, b'"2"', ATTRIBUTE).condition, "cannot-insert")

    def test_values(self) -> None:
        """§8.2.2: the body is an AttValue of XML 1.0 in UTF-8."""
        owner = owner_of(b"<r/>")
        for body, condition in (
            (b"", "not-xml-att-value"),
            (b'"', "not-xml-att-value"),
            (b'"a"b"', "not-xml-att-value"),
            (b'"a" b="c"', "not-xml-att-value"),
            (b'"&unknown;"', "not-xml-att-value"),
            (b'"&"', "not-xml-att-value"),
            (b'"\x01"', "not-xml-att-value"),
            (b'"\xff"', "not-utf-8"),
        ):
            answer = owner.put(INDEX + "/~~/r/@a", body, ATTRIBUTE)
            self.assertEqual((answer.status, answer.condition), (409, condition), body)


class NamespaceTests(SynchronousTestCase):
    """GET of namespace bindings (RFC 4825 §7.10, §10)."""

    @given(DOCUMENTS, st.data())
    def test_bindings_in_scope(self, document: bytes, data: st.DataObject) -> None:
        """The answer is an element of the same name with the bindings in scope and no more."""
        tree = list(elements(etree.fromstring(document)))
        element = data.draw(st.sampled_from(tree))
        answer = owner_of(document).get(f"{INDEX}/~~/{path_of(element)}/namespace::*")
        self.assertEqual(answer.headers["Content-Type"], "application/xcap-ns+xml")
        found = etree.fromstring(answer.body)
        self.assertEqual(found.tag, element.tag)
        self.assertEqual(found.nsmap, element.nsmap)
        self.assertEqual((len(found), found.text, len(found.attrib)), (0, None, 0))

    def test_read_only(self) -> None:
        """§8.2, §8.4: PUT and DELETE are 405 with Allow: GET."""
        owner = owner_of(b"<r/>")
        for method in ("PUT", "DELETE"):
            answer = owner(method, INDEX + "/~~/r/namespace::*")
            self.assertEqual(answer.status, 405)
            self.assertIn("GET", answer.headers["Allow"])
