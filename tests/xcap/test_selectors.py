"""XCAP URIs: split first, percent-decoded after (RFC 4825 §6)."""

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.sip.errors import SIPError
from simplestack.xcap.nodes import Name, Step, parse_bindings
from simplestack.xcap.nodes import parse as parse_node
from simplestack.xcap.selectors import GLOBAL, DocumentSelector, parse, root_path

DEFAULT = "urn:default"


def node(text: str, query: str = "") -> tuple[Step, ...]:
    """The steps of a node selector in a URI."""
    selector = parse(f"/a/global/index/~~/{text}?{query}".encode())
    assert selector.node is not None
    return parse_node(selector.node, selector.query, DEFAULT).steps


class DocumentSelectorTests(SynchronousTestCase):
    """RFC 4825 §6.1 and §6.2."""

    def refused(self, uri: bytes, root: bytes = b"") -> int:
        """The status with which a URI is refused, and the reason is said."""
        error: SIPError = self.assertRaises(SIPError, parse, uri, root)
        self.assertTrue(error.text)
        return error.status

    def test_trees(self) -> None:
        """§6.2: beneath each AUID are the global tree and the users'."""
        alice = DocumentSelector("resource-lists", "sip:alice@example.com", "index")
        found = parse(b"/resource-lists/users/sip:alice@example.com/index")
        self.assertEqual(found.document, alice)
        self.assertEqual(found.aor, "sip:alice@example.com")
        self.assertEqual(alice.id, "resource-lists/index")
        self.assertIsNone(found.node)
        found = parse(b"/xcap-caps/global/index")
        self.assertEqual(found.document, DocumentSelector("xcap-caps", "", "index"))
        self.assertEqual(found.aor, GLOBAL)

    def test_users(self) -> None:
        """The XUI with and without ``sip:``, encoded or not, names the same user."""
        for xui in (
            b"sip:alice@example.com",
            b"alice@example.com",
            b"sip%3Aalice%40example.com",
            b"alice@EXAMPLE.com",
            b"sips:alice@example.com",
            b"sip:%61lice@example.com",
        ):
            found = parse(b"/pres-rules/users/" + xui + b"/index")
            self.assertEqual(found.document.owner, "sip:alice@example.com", xui)
        found = parse(b"/pres-rules/users/sip:a%2Fb%3Fc@example.com/index")
        self.assertEqual(found.document.owner, "sip:a/b?c@example.com")

    def test_root(self) -> None:
        """§6.1: below a path prefix, which a proxy may take off or not."""
        self.assertEqual(root_path("https://example.com/xcap/"), b"/xcap")
        self.assertEqual(root_path("https://example.com"), b"")
        self.assertRaises(ValueError, root_path, "https://example.com/?a")
        for uri in (b"/xcap/a/global/b", b"/a/global/b"):
            found = parse(uri, b"/xcap")
            self.assertEqual(found.document, DocumentSelector("a", "", "b"))
        self.assertEqual(parse(b"/xcap/global/b", b"/xcap/x").document.auid, "xcap")

    def test_separator(self) -> None:
        """§6: the first "~~" divides, encoded or not; a later one belongs to the node selector."""
        for separator in (b"~~", b"%7E%7E", b"%7e~"):
            found = parse(b"/a/global/b/" + separator + b"/c/~~/d?q")
            self.assertEqual(found.document.path, "b")
            self.assertEqual(found.node, (b"c", b"~~", b"d"))
            self.assertEqual((found.path, found.query), (b"/a/global/b", b"q"))

    def test_encoded_slash(self) -> None:
        """A URI is split before it is decoded: no encoded slash makes a segment."""
        found = parse(b"/a/global/b/~~/c%5b@d=%22e%2ff%22%5d")
        self.assertEqual(found.node, (b"c%5b@d=%22e%2ff%22%5d",))
        self.assertEqual(self.refused(b"/a/global/b%2Fc"), 404)

    def test_what_names_no_document(self) -> None:
        """§8: what can't be on this server is 404; what can't be read is 400."""
        for uri in (
            b"/",
            b"",
            b"/a",
            b"/a/b/c",
            b"/a/users",
            b"/a/users/",
            b"/a/users/alice/index",
            b"/a/users/http:x@y/index",
            b"/a/users/sip:@/index",
            b"/a/global/../b",
            b"/a/global/./b",
            b"/a/global//b",
        ):
            self.assertEqual(self.refused(uri), 404, uri)
        for uri in (
            b"/a/global/%",
            b"/a/global/%4",
            b"/a/global/%zz",
            b"/a/global/%ff",
            b"/a/global/%00",
            b"/a/global/x%0a",
        ):
            self.assertEqual(self.refused(uri), 400, uri)
        self.assertEqual(self.refused(b"/a/global/" + b"x" * 300), 414)
        self.assertEqual(self.refused(b"/a/global/" + b"x" * 9000), 414)
        self.assertEqual(parse(b"/a/global/").document.path, "")

    @given(st.binary(max_size=60), st.sampled_from([b"", b"/xcap"]))
    def test_any_octets(self, octets: bytes, root: bytes) -> None:
        """Whatever comes is read, or refused with a reason."""
        for uri in (octets, b"/a/users/" + octets, b"/a/global/i/~~/" + octets):
            try:
                found = parse(uri, root)
                if found.node is not None:
                    parse_node(found.node, found.query, DEFAULT)
            except SIPError as error:
                self.assertIn(error.status, (400, 404, 414))
                self.assertTrue(error.text)


class NodeSelectorTests(SynchronousTestCase):
    """RFC 4825 §6.3 and §6.4."""

    def refused(self, text: str, query: str = "") -> int:
        """The status with which a node selector is refused, and the reason is said."""
        error: SIPError = self.assertRaises(SIPError, node, text, query)
        self.assertTrue(error.text)
        return error.status

    def test_steps(self) -> None:
        """by-name, by-pos, by-attr, by-pos-attr, and the wildcard."""
        name = Name(DEFAULT, "a")
        self.assertEqual(
            node("a/*/a%5B2%5D/a%5b@b=%22c%22%5d/*%5b03%5d%5b@b='%22'%5d"),
            (
                Step(name),
                Step(None),
                Step(name, 2),
                Step(name, None, Name("", "b"), "c"),
                Step(None, 3, Name("", "b"), '"'),
            ),
        )

    def test_names(self) -> None:
        """§6.4: prefixes are bound by the query, the default is the usage's, attributes have none."""
        bound = "xmlns(p=urn:one)xmlns(q=urn:two)"
        self.assertEqual(node("p:a%5b@q:b=%22%22%5d", bound)[0].name, Name("urn:one", "a"))
        self.assertEqual(node("a%5b@q:b=%22%22%5d", bound)[0].attribute, Name("urn:two", "b"))
        self.assertEqual(node("a%5b@b=%22%22%5d", bound)[0].attribute, Name("", "b"))
        self.assertEqual(
            node("a%5b@xml:lang=%22de%22%5d")[0].attribute,
            Name("http://www.w3.org/XML/1998/namespace", "lang"),
        )
        self.assertEqual(node("%C3%BCber")[0].name, Name(DEFAULT, "über"))

    def test_prefix_that_is_not_bound(self) -> None:
        """§8: "the server MUST reject the request with a 400 response"."""
        self.assertEqual(self.refused("p:a"), 400)
        self.assertEqual(self.refused("a%5b@p:b=%22%22%5d"), 400)
        self.assertEqual(self.refused("a/@p:b", "xmlns(q=urn:one)"), 400)

    def test_values(self) -> None:
        """att-value is an AttValue of XML 1.0: references stand for characters."""
        for written, value in (
            ("a%26amp;b", "a&b"),
            ("%26#x41;%26#66;", "AB"),
            ("a%26b", "a&b"),
            ("%20%5d/"[:6], " ]"),
            ("%E3%82%A2", "ア"),
        ):
            self.assertEqual(node(f"a%5b@b=%22{written}%22%5d")[0].value, value)

    def test_terminals(self) -> None:
        """An attribute or the namespace bindings may stand last."""
        selector = parse_node((b"a", b"@b"), b"", DEFAULT)
        self.assertEqual((selector.attribute, selector.namespaces), (Name("", "b"), False))
        selector = parse_node((b"a", b"@p:b"), b"xmlns(p=urn:one)", DEFAULT)
        self.assertEqual((selector.attribute, selector.prefix), (Name("urn:one", "b"), "p"))
        selector = parse_node((b"a", b"namespace::*"), b"", DEFAULT)
        self.assertEqual((selector.attribute, selector.namespaces), (None, True))

    def test_bad_ones(self) -> None:
        """What is meant as a selector and is none is 400."""
        for text in (
            "",
            "a//b",
            "a/",
            "@b",
            "a/@b/c",
            "a/@",
            "a/@b=c",
            "a%5b",
            "a%5b%5d",
            "a%5b@b%5d",
            "a%5b@b=c%5d",
            "a%5b@b=%22c%5d",
            "a%5b1%5d%5b2%5d",
            "a%5b@b=%22c%22%5d%5b1%5d",
            "a%5b-1%5d",
            "a%5b1%5dx",
            "%5b1%5d",
            "a%5b@b=%22%ff%22%5d",
            "namespace::*",
        ):
            self.assertEqual(self.refused(text), 400, text)

    def test_extensions(self) -> None:
        """§8: an extension-selector that is not understood is 404."""
        for text in ("id(x)", "a/text()", "parent::a", "a/namespace::p", "..", "a/%23x", "1"):
            self.assertEqual(self.refused(text), 404, text)

    def test_bindings(self) -> None:
        """§6.4: xmlns() expressions of the XPointer framework; other schemes are ignored."""
        for query, bindings in (
            (b"", {}),
            (b"xmlns(a=urn:one)xmlns(b=urn:two)", {"a": "urn:one", "b": "urn:two"}),
            (b"xmlns(a=urn:one)%20xmlns(b%20=%20urn:two)", {"a": "urn:one", "b": "urn:two"}),
            (b"xpointer(//a(b)c)xmlns(a=urn:one)", {"a": "urn:one"}),
            (b"xmlns(a=urn:^(x^)^^(y))", {"a": "urn:(x)^(y)"}),
            (b"xmlns(xml=urn:one)", {}),
            (b"xmlns%28a%3Durn%3Aone%29", {"a": "urn:one"}),
        ):
            self.assertEqual(parse_bindings(query), bindings, query)
        for query in (b"a", b"xmlns(a)", b"xmlns(a=b", b"xmlns", b"(a=b)", b"xmlns(a=^x)"):
            self.assertEqual(self.refused("a", query.decode()), 400, query)

    @given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20))
    def test_any_value(self, value: str) -> None:
        """Every attribute value can be selected by, once it is encoded."""
        written = value.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
        self.assertEqual(node(quote(f'a[@b="{written}"]', safe=""))[0].value, value)
