"""The event package ``xcap-diff`` (RFC 5875), with the documents of RFC 5874."""

from lxml import etree
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from simplestack.documents.schema import Schema
from simplestack.documents.xcapdiff import (
    AttributeState,
    DocumentChange,
    ElementState,
    XcapDiff,
    parse_xcap_diff,
)
from simplestack.documents.xml import parse_content
from simplestack.documents.xmlpatch import apply
from simplestack.event.notifier import NotifyRequest
from simplestack.interfaces import IEventPackage
from simplestack.outcome import Incoming
from simplestack.roles.xcapdiff import XCAPDiffPackage
from simplestack.sip.errors import SIPError
from simplestack.state import Document
from simplestack.xcap.selection import MOST_ENTRIES
from simplestack.xcap.server import XCAPServer
from tests.documents.examples import DIRECTORY, meaning
from tests.event.fakes import Agent, read, subscribe
from tests.xcap.owner import AnyXML, shipped

JOE = "sip:joe@example.com"
ROOT = "sip:root@example.com"
HOME = "tests/users/sip:joe@example.com/"
INDEX = HOME + "index"
LISTS = "application/resource-lists+xml"

#: RFC 5875 §A.1.
FIRST = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<doc>\n'
    b"  <note>This is a sample document</note>\n</doc>"
)
FOO = b"<foo>this is a new element</foo>"
BAR = b"<bar>this is a bar element\n</bar>"
FOOBAR = b"<foobar>this is a foobar element</foobar>"


def document(body: bytes, etag: str, path: str = "index", auid: str = "tests") -> Document:
    """A document of Joe's."""
    return Document(JOE, f"{auid}/{path}", auid, path, etag, "application/xml", body, 1.0)


def listing(*uris: str) -> bytes:
    """A list of these URIs."""
    entries = "".join([f'<entry uri="{uri}"/>' for uri in uris])
    return (
        f'<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list>{entries}</list>'
        "</resource-lists>"
    ).encode()


def asking(body: bytes, mode: str = "", *, identity: str = JOE, **more: object) -> Incoming:
    """A SUBSCRIBE of Joe's to what is listed."""
    event = f"xcap-diff;diff-processing={mode}" if mode else "xcap-diff"
    headers = [f"Content-Type: {LISTS}", *more.pop("headers", ())]  # type: ignore[misc]  # lists only
    return subscribe(
        identity=identity,
        event=event,
        headers=headers,
        body=body,
        aor=JOE,
        **more,  # type: ignore[arg-type]  # the keywords are the caller's to get right
    )


def told(request: NotifyRequest) -> XcapDiff:
    """What a NOTIFY says; it is valid by the schema of RFC 5874 §4."""
    body = read(request).body
    Schema("xcap-diff").validate(parse_content(body))
    return parse_xcap_diff(body)


def canonical(data: bytes) -> bytes:
    """The canonical form with comments, which decides whether documents are the same."""
    written: bytes = etree.tostring(etree.fromstring(data), method="c14n", with_comments=True)
    return written


class Case(SynchronousTestCase):
    """Joe's documents and his subscriptions."""

    def setUp(self) -> None:
        """Joe has the document of RFC 5875 §A.1."""
        self.server = XCAPServer(
            [AnyXML(), *shipped()], admins=(ROOT,), root="http://xcap.example.com"
        )
        self.agent = Agent(
            XCAPDiffPackage(self.server), records=[document(FIRST, "7ahggs")], aor=JOE
        )

    def subscribed(self, *uris: str, mode: str = "") -> NotifyRequest:
        """The first NOTIFY of a subscription, not answered yet."""
        (first,) = self.agent.subscribe(asking(listing(*uris), mode))
        return first

    def acknowledged(self, *uris: str, mode: str = "") -> XcapDiff:
        """What the first NOTIFY says, which is answered."""
        first = self.subscribed(*uris, mode=mode)
        self.assertEqual(self.agent.answer(first), [])
        return told(first)

    def same(self, request: NotifyRequest, file: str) -> None:
        """A NOTIFY means what an example of RFC 5875 means."""
        expected = (DIRECTORY / "rfc5875" / file).read_bytes()
        self.assertEqual(
            meaning(etree.fromstring(read(request).body)), meaning(etree.fromstring(expected))
        )


class ExamplesTests(Case):
    """Appendix A of RFC 5875, with its entity-tags."""

    def test_collection(self) -> None:
        """A.2: "URI references to all subscribed, existing documents"; A.3: what is added."""
        body = (DIRECTORY / "rfc5875" / "A.2-01.xml").read_bytes()
        (first,) = self.agent.subscribe(asking(body, "aggregate"))
        self.same(first, "A.2-02.xml")
        self.agent.answer(first)
        (second,) = self.agent.put(document(b"<doc/>", "terteer", "another_document"))
        self.same(second, "A.3-02.xml")

    def series(self, mode: str) -> list[NotifyRequest]:
        """A.4: three elements are put in while the answer to the first NOTIFY is under way."""
        first = self.subscribed(HOME, mode=mode)
        body = FIRST
        for element, etag in ((FOO, "fgherhryt3"), (BAR, "dgdgdfgrrr"), (FOOBAR, "63hjjsll")):
            body = body.replace(b"</doc>", element + b"</doc>")
            self.assertEqual(self.agent.put(document(body, etag)), [])
        self.last = body
        return self.agent.answer(first)

    def test_patching(self) -> None:
        """A.4: "the notifier provided the full change history in the "xcap-patching" mode"."""
        (request,) = self.series("xcap-patching")
        mine = told(request).changes
        theirs = parse_xcap_diff((DIRECTORY / "rfc5875" / "A.4-02.xml").read_bytes()).changes
        body = FIRST
        for own, other in zip(mine, theirs, strict=True):
            assert isinstance(own, DocumentChange)
            assert isinstance(other, DocumentChange)
            self.assertEqual(own[:3], other[:3])
            # The patches are not written alike, but do the same.
            patched = apply(body, own.operations)
            self.assertEqual(canonical(patched), canonical(apply(body, other.operations)))
            body = patched
        self.assertEqual(canonical(body), canonical(self.last))

    def test_aggregate(self) -> None:
        """§4.3: "only a single aggregated change from "a" to "c" with the old "1" and new "3"
        ETags"; the one patch does what the three did.
        """
        (request,) = self.series("aggregate")
        (change,) = told(request).changes
        assert isinstance(change, DocumentChange)
        self.assertEqual(change[:3], (INDEX, "63hjjsll", "7ahggs"))
        self.assertEqual(canonical(apply(FIRST, change.operations)), canonical(self.last))

    def test_aggregate_after_a_failure(self) -> None:
        """Of a NOTIFY that failed nobody knows whether it came: its step stays, the others join."""
        first = self.subscribed(HOME, mode="aggregate")
        self.agent.answer(first)
        body = FIRST
        sent: list[NotifyRequest] = []
        for number in "1234":
            body = body.replace(b"</doc>", FOO + b"</doc>")
            sent += self.agent.put(document(body, number))
        (second,) = sent
        (request,) = self.agent.answer(second, ok=False)
        self.assertEqual(
            [each[:3] for each in told(request).changes],
            [(INDEX, "1", "7ahggs"), (INDEX, "4", "1")],
        )
        # What comes next begins where this one ends.
        self.agent.answer(request)
        (third,) = self.agent.put(document(FIRST, "5"))
        self.assertEqual([each[:3] for each in told(third).changes], [(INDEX, "5", "4")])

    def test_no_patching(self) -> None:
        """A.4: without patches it is one reference, from the version known to the newest."""
        (request,) = self.series("no-patching")
        (change,) = told(request).changes
        self.assertEqual(change, DocumentChange(INDEX, "63hjjsll", "7ahggs"))

    def test_created_while_it_waits(self) -> None:
        """What came into being after the last answer is told of, though it changes no more."""
        first = self.subscribed(HOME)
        self.agent.put(document(b"<doc/>", "1", "other"))
        self.agent.put(document(FIRST, "2"))
        (request,) = self.agent.answer(first)
        self.assertEqual(
            told(request).changes,
            (DocumentChange(INDEX, "2", "7ahggs"), DocumentChange(HOME + "other", "1")),
        )

    def test_default_mode(self) -> None:
        """The rule: "the notifier MUST default to the "no-patching" mode"; so it does for unknown ones."""
        for mode in ("", "lossy"):
            self.setUp()
            (request,) = self.series(mode)
            self.assertEqual(told(request).changes, (DocumentChange(INDEX, "63hjjsll", "7ahggs"),))

    def test_attribute(self) -> None:
        """A.5: an attribute that is not there yet, then comes, then goes."""
        body = (DIRECTORY / "rfc5875" / "A.5-01.xml").read_bytes()
        (first,) = self.agent.subscribe(asking(body))
        self.same(first, "A.5-02.xml")
        self.agent.answer(first)
        (second,) = self.agent.put(document(b'<doc id="bar">new</doc>', "dwawrrtyy"))
        self.same(second, "A.5-03.xml")
        self.agent.answer(second)
        (third,) = self.agent.put(document(b"<doc>new</doc>", "dwawrrtyz"))
        self.same(third, "A.5-04.xml")

    def test_conditional(self) -> None:
        """A.6: the entity-tag is that of the same state whatever the order and the mode."""
        self.agent.put(
            document(FIRST, "63hjjsll"), document(b"<doc/>", "terteer", "another_document")
        )
        body = (DIRECTORY / "rfc5875" / "A.6-01.xml").read_bytes()
        (first,) = self.agent.subscribe(asking(body, "xcap-patching"))
        self.same(first, "A.6-02.xml")
        etag = read(first).get("SIP-ETag")
        self.agent.answer(first)
        tag = self.agent.one().local_tag
        again = asking(
            (DIRECTORY / "rfc5875" / "A.6-03.xml").read_bytes(),
            "aggregate",
            to_tag=tag,
            cseq=2,
            headers=[f"Suppress-If-Match: {etag}"],
        )
        self.assertEqual(self.agent.subscribe(again), [])
        response = self.agent.response
        assert response is not None
        self.assertEqual(response.status, 204)
        # "this re-subscription enables the processing of that mode thereafter"
        (next_,) = self.agent.put(document(FIRST.replace(b"sample", b"new"), "x"))
        (change,) = told(next_).changes
        assert isinstance(change, DocumentChange)
        self.assertEqual(change.previous_etag, "63hjjsll")
        self.assertTrue(change.operations)

    def test_figure_2(self) -> None:
        """§5: documents, a collection and an element, prefixes as in the source document."""
        example = (DIRECTORY / "rfc5875" / "5-01.xml").read_bytes()
        element = etree.fromstring(example).find("{*}element")
        assert element is not None
        body = (
            b'<s:rls-services xmlns:s="urn:ietf:params:xml:ns:rls-services"'
            b' xmlns:rl="urn:ietf:params:xml:ns:resource-lists">'
            + etree.tostring(element[0], with_tail=False)
            + b"</s:rls-services>"
        )
        self.server.root = "http://xcap.example.com/root"
        self.agent.put(
            document(b"<resource-lists/>", "7ahggs", auid="resource-lists"),
            document(b"<presence/>", "30376adf", auid="pidf-manipulation"),
            document(body, "1", auid="rls-services"),
        )
        asked = (DIRECTORY / "rfc5875" / "4.4-01.xml").read_bytes()
        (first,) = self.agent.subscribe(asking(asked, "aggregate"))
        # The selector is folded in the RFC.
        folded = b"index/\n~~"
        self.assertIn(folded, example)
        self.assertEqual(
            meaning(etree.fromstring(read(first).body)),
            meaning(etree.fromstring(example.replace(folded, b"index/~~"))),
        )


class SelectionTests(Case):
    """Which resources a list is about (RFC 5875 §4.1, §4.4)."""

    def seen(self, *uris: str) -> list[str]:
        """The selectors of what is there of a list."""
        self.setUp()
        return [change.selector for change in self.acknowledged(*uris).changes]

    def test_places(self) -> None:
        """The rule: "A collection selection includes all documents in that collection and recursively all
        documents in sub-collections"; other sub-trees are none of Joe's.
        """
        for uri in ("", "/", "tests/", "tests/users/", HOME, f"http://xcap.example.com/{HOME}"):
            self.assertEqual(self.seen(uri), [INDEX], uri)
        self.assertEqual(
            self.seen("tests/users/joe@example.com/"), ["tests/users/joe@example.com/index"]
        )
        for uri in (
            "tests/users/sip:john@example.com/",
            "tests/global/",
            "other/",
            "resource-lists/",
            f"{HOME}index/",
            f"{HOME}deeper/",
            "http://elsewhere.example.com/" + HOME,
        ):
            self.assertEqual(self.seen(uri), [], uri)

    def test_octets(self) -> None:
        """The rule: "the "sel" selector values of the XCAP diff format MUST be octet-by-octet equivalent to
        the relevant "uri" parameter values" (§4.6), however they are written.
        """
        for uri in (INDEX, "tests/users/joe@example.com/index", HOME + "%69ndex"):
            self.assertEqual(self.seen(uri), [uri])
        self.assertEqual(self.seen("/" + INDEX), [INDEX])

    def test_overlap(self) -> None:
        """The rule: "the notifier SHOULD NOT provide overlapping similar responses" (§4.7)."""
        self.assertEqual(self.seen(HOME, INDEX, HOME + "%69ndex", "tests/"), [HOME + "%69ndex"])

    def test_waiting(self) -> None:
        """The rule: "an XCAP component that could not be located with XCAP semantics does not produce an
        error" (§4.7); nor does what no XCAP URI can be.
        """
        for uri in (
            f"{INDEX}/~~/doc/nothing",
            f"{INDEX}/~~/doc%5b",
            f"{INDEX}/~~/p:doc",
            f"{INDEX}/~~/doc/namespace::*",
            "other/users/sip:joe@example.com/index",
            "tests/nobody",
            "%ZZ",
            "tests/global/index",
            "sip:joe@example.com",
        ):
            self.assertEqual(self.seen(uri), [], uri)

    def test_components(self) -> None:
        """Elements come as written, with the namespaces around them (RFC 5874 §3)."""
        body = (
            b'<a:doc xmlns:a="urn:a" xmlns="urn:b" xmlns:d="urn:mine"><!-- c -->'
            b"<d:x q='1 &amp; 2'><y/></d:x></a:doc>"
        )
        self.agent.put(document(body, "2"))
        uri = f"{INDEX}/~~/p:doc/*%5b1%5d?xmlns(p=urn:a)"
        first = self.subscribed(uri, f"{INDEX}/~~/*/*/@q")
        octets = read(first).body
        self.assertIn(b"<d:x q='1 &amp; 2'><y/></d:x>", octets)
        attribute, element = sorted(told(first).changes, key=lambda change: change.selector)
        self.assertEqual(attribute, AttributeState(f"{INDEX}/~~/*/*/@q", "1 & 2"))
        assert isinstance(element, ElementState)
        assert element.element is not None
        self.assertEqual(element.selector, uri)
        self.assertEqual(element.element.name, ("urn:mine", "x"))
        (child,) = [each for each in element.element.walk() if each is not element.element]
        self.assertEqual(getattr(child, "name", None), ("urn:b", "y"))

    def test_computed(self) -> None:
        """Documents that the server computes can be watched as others are."""
        caps, directory = self.seen(
            "xcap-caps/global/index",
            "org.openmobilealliance.xcap-directory/users/sip:joe@example.com/directory.xml",
        )[::-1]
        self.assertEqual(caps, "xcap-caps/global/index")
        self.assertIn("directory.xml", directory)
        requests = self.agent.put(document(b"<doc/>", "2", "other"))
        (change,) = told(requests[0]).changes
        self.assertEqual(change.selector, directory)


class RefusalTests(Case):
    """SUBSCRIBE requests that can't be understood, or are not for this one."""

    def status(self, incoming: Incoming) -> int:
        """The status of the refusal."""
        error: SIPError = self.assertRaises(SIPError, self.agent.subscribe, incoming)
        return error.status

    def test_who(self) -> None:
        """The rule: "following the read privilege rules of XCAP resources" (§7)."""
        for identity in ("sip:john@example.com", ""):
            self.assertEqual(self.status(asking(listing(HOME), identity=identity)), 403)
        (first,) = self.agent.subscribe(asking(listing(HOME), identity=ROOT))
        self.assertEqual(len(told(first).changes), 1)

    def test_bodies(self) -> None:
        """A list is needed that can be read, of a type that is understood, not endless (§4.4)."""
        self.assertEqual(self.status(subscribe(identity=JOE, event="xcap-diff", aor=JOE)), 400)
        self.assertEqual(self.status(asking(b"<resource-lists")), 400)
        self.assertEqual(self.status(asking(b"<resource-lists/>")), 400)
        many = listing(*[f"tests/{number}/" for number in range(MOST_ENTRIES + 1)])
        self.assertEqual(self.status(asking(many)), 413)
        other = subscribe(
            identity=JOE,
            event="xcap-diff",
            headers=["Content-Type: text/plain"],
            body=b"x",
            aor=JOE,
        )
        self.assertEqual(self.status(other), 415)

    def test_more_than_flat(self) -> None:
        """The rule: "elements or attributes that the notifier doesn't understand, the notifier MUST
        ignore" (§4.4).
        """
        body = listing(HOME).replace(
            b"<list>",
            b'<list name="x"><list><entry uri="resource-lists/"/></list><entry-ref ref="a"/>'
            b'<o:own xmlns:o="urn:o"/>',
        )
        (first,) = self.agent.subscribe(asking(body))
        self.assertEqual([each.selector for each in told(first).changes], [INDEX])

    def test_interface(self) -> None:
        """It is an event package with the default duration of §4.5."""
        package = XCAPDiffPackage(self.server)
        verifyObject(IEventPackage, package)
        self.assertEqual(package.default_expires, 3600)
