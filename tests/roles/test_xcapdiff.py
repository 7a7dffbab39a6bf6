"""The event package ``xcap-diff`` (RFC 5875), with the documents of RFC 5874."""

import time
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
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
from simplestack.event.limits import DEFAULT_LIMITS
from simplestack.event.notifier import NotifyRequest
from simplestack.interfaces import IEventPackage
from simplestack.outcome import Incoming
from simplestack.roles.xcap import XCAP
from simplestack.roles.xcapdiff import XCAPDiffPackage
from simplestack.sip.errors import SIPError
from simplestack.state import Absence, ChangeSet, Document
from simplestack.xcap.globaltree import GlobalTree
from simplestack.xcap.message import XCAPRequest
from simplestack.xcap.selection import MOST_ENTRIES
from simplestack.xcap.selectors import GLOBAL, parse
from simplestack.xcap.server import Limits, XCAPServer
from tests.documents.examples import DIRECTORY, meaning
from tests.event.fakes import Agent, Counter, read, subscribe
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


class ChangesTests(Case):
    """What later notifications say (RFC 5875 §4.7)."""

    def test_nothing_new(self) -> None:
        """Other documents do not matter, and neither do other nodes."""
        self.acknowledged(f"{INDEX}/~~/doc/note", "resource-lists/")
        self.assertEqual(self.agent.put(document(FIRST + b"<!-- x -->", "2")), [])
        self.assertEqual(self.agent.put(document(b"<a/>", "1", "other")), [])

    def test_removal(self) -> None:
        """The rule: "If the change being reported is the removal of a document, only the "previous-etag"
        MUST be included" (RFC 5874 §3).
        """
        for mode in ("no-patching", "xcap-patching"):
            self.setUp()
            self.acknowledged(HOME, mode=mode)
            changes = ChangeSet(JOE)
            changes.remove(document(FIRST, "7ahggs"), "deleted")
            (request,) = self.agent.change(changes)
            self.assertEqual(told(request).changes, (DocumentChange(INDEX, None, "7ahggs"),))

    def test_same_body(self) -> None:
        """A new entity-tag of the same content is ``<body-not-changed>`` (RFC 5874 §3)."""
        self.acknowledged(HOME, mode="xcap-patching")
        (request,) = self.agent.put(document(FIRST, "2"))
        self.assertEqual(
            told(request).changes, (DocumentChange(INDEX, "2", "7ahggs", unchanged=True),)
        )

    def test_no_patch_that_costs_more(self) -> None:
        """The rule: "At any time, the notifier may fall back to the "no-patching" mode": where a patch is
        larger than what it makes, where the document is large, where prefixes stand in the way.
        """
        large = b"<doc>" + b"<e/>" * 20_000 + b"</doc>"
        odd = b'<doc xmlns:d="urn:mine" d:a="1">long enough for a patch to be smaller</doc>'
        for body in (b"<other/>", large, odd):
            self.setUp()
            if body is odd:
                self.agent.put(document(odd.replace(b'"1"', b'"2"'), "7ahggs"))
            self.acknowledged(HOME, mode="aggregate")
            (request,) = self.agent.put(document(body, "2"))
            self.assertEqual(told(request).changes, (DocumentChange(INDEX, "2", "7ahggs"),))

    def test_too_much(self) -> None:
        """Contents that are too large are left out: "an empty <element> element" (§4.7)."""
        body = b"<doc>" + b"".join([b"<e>%b</e>" % (b"x" * 20_000)] * 2) + b"</doc>"
        self.agent.put(document(body, "2"))
        first, second = self.acknowledged(
            f"{INDEX}/~~/doc/e%5b1%5d", f"{INDEX}/~~/doc/e%5b2%5d"
        ).changes
        assert isinstance(first, ElementState)
        assert isinstance(second, ElementState)
        self.assertIsNotNone(first.element)
        self.assertIsNone(second.element)
        self.assertIsNone(second.exists)

    def test_what_is_left_out_changes(self) -> None:
        """An element whose content was left out is told when it changes, as any other."""
        body = b"<doc>" + b"".join([b"<e>%b</e>" % (b"x" * 20_000)] * 2) + b"</doc>"
        self.agent.put(document(body, "2"))
        second = f"{INDEX}/~~/doc/e%5b2%5d"
        self.acknowledged(f"{INDEX}/~~/doc/e%5b1%5d", second)
        (request,) = self.agent.put(document(body.replace(b"x</e></doc>", b"y</e></doc>"), "3"))
        (change,) = told(request).changes
        assert isinstance(change, ElementState)
        self.assertEqual(change.selector, second)
        self.assertIsNotNone(change.element)

    def test_bounded(self) -> None:
        """However a large node is listed, and however often, a NOTIFY stays within bounds."""
        large = b"y" * 100_000
        self.agent.put(document(b"<doc a='%b'><e>%b</e></doc>" % (large, large), "2"))
        listed = [f"{INDEX}/~~/*%5b1%5d" + "/e%5b1%5d", f"{INDEX}/~~/doc/@a", f"{INDEX}/~~/doc"]
        first = self.subscribed(*listed)
        self.assertLess(len(read(first).body), 2000)
        attribute, *elements = sorted(
            told(first).changes, key=lambda each: "/@a" not in each.selector
        )
        self.assertEqual(attribute, AttributeState(f"{INDEX}/~~/doc/@a", exists=True))
        for each in elements:
            assert isinstance(each, ElementState)
            self.assertIsNone(each.element)
            self.assertIsNone(each.exists)

    def test_time(self) -> None:
        """Many nodes of a document as large as documents may be are looked up in moments."""
        for piece, pattern in (
            (b"<b/>", "b%5b{}%5d"),
            (b"<b c='%d'/>", "b%5b@c=%22{}%22%5d"),
            (b"<b c='%d'/>", "*%5b{}%5d/@c"),
        ):
            self.setUp()
            pieces = [piece % n if b"%" in piece else piece for n in range(20_000)]
            body = b"<a>" + b"".join(pieces) + b"</a>"
            self.agent.put(document(body, "1"))
            first = self.subscribed(*[f"{INDEX}/~~/a/{pattern.format(n)}" for n in range(1, 98)])
            self.assertEqual(len(told(first).changes), 97)
            self.agent.answer(first)
            begin = time.process_time()
            self.agent.put(document(body.replace(b"<a>", b"<a >"), "2"))
            self.assertLess(time.process_time() - begin, 2.0)

    def test_lost(self) -> None:
        """After a NOTIFY that failed everything is told from the last one that came through."""
        self.acknowledged(INDEX, f"{INDEX}/~~/doc/@id")
        (request,) = self.agent.put(document(b'<doc id="1"/>', "2"))
        self.assertEqual(self.agent.answer(request, ok=False), [])
        (again,) = self.agent.change(ChangeSet(JOE), [self.agent.one().id])
        self.assertEqual(told(again), told(request))
        changes = ChangeSet(JOE)
        changes.remove(document(FIRST, "2"), "deleted")
        self.agent.answer(again, ok=False)
        (third,) = self.agent.change(changes)
        self.assertEqual(
            told(third).changes,
            (
                DocumentChange(INDEX, None, "7ahggs"),
                AttributeState(f"{INDEX}/~~/doc/@id", exists=False),
            ),
        )

    def test_refresh(self) -> None:
        """The rule: "When the notifier receives a re-subscription, it MUST re-send the current full XML
        diff content"; "the subscribed URI list MAY change" (§4.4).
        """
        self.acknowledged(HOME, mode="aggregate")
        tag = self.agent.one().local_tag
        (request,) = self.agent.subscribe(
            asking(listing(INDEX, f"{INDEX}/~~/doc/@id"), "xcap-patching", to_tag=tag, cseq=2)
        )
        self.assertEqual(
            told(request).changes,
            (
                DocumentChange(INDEX, "7ahggs"),
                AttributeState(f"{INDEX}/~~/doc/@id", exists=False),
            ),
        )

    def test_restart(self) -> None:
        """After a restart the subscriber is told what there is, and what of it is not."""
        self.acknowledged(HOME, f"{INDEX}/~~/doc/@id", mode="aggregate")
        self.agent.put(document(b"<doc id='1'/>", "2"))
        self.agent.put(document(b"<doc/>", "3"))
        self.agent.restart()
        changes = ChangeSet(JOE)
        notifications = self.agent.notifier.full_state(changes, self.agent.now)
        (request,) = self.agent.release(notifications, changes)
        self.assertEqual(
            told(request).changes,
            (
                DocumentChange(INDEX, "3"),
                AttributeState(f"{INDEX}/~~/doc/@id", exists=False),
            ),
        )


class AbsenceTests(Case):
    """The rule: "After the notifier has reported the existence of an XCAP component, it MUST also report its
    removal consistently" (RFC 5875 §4.7), also after it was killed between change and NOTIFY.
    """

    def delete(self) -> ChangeSet:
        """What the server decides on a DELETE of Joe's document."""
        known = self.agent.state.documents["tests/index"]
        selector = parse(f"/{INDEX}".encode())
        request = XCAPRequest("DELETE", selector, {}, b"", JOE)
        changes = self.server.decide(request, self.agent.state, self.agent.now, Counter()).changes
        self.assertTrue(changes.touches(Document), known)
        return changes

    def after_restart(self) -> XcapDiff:
        """What the subscriber is told when the server has been killed and runs again."""
        self.agent.restart()
        changes = self.role.expire(self.agent.state, self.agent.now)
        self.agent.state.apply(changes)
        notifications = self.agent.notifier.full_state(changes, self.agent.now)
        (request,) = self.agent.release(notifications, changes)
        return told(request)

    def setUp(self) -> None:
        """The role that forgets."""
        super().setUp()
        self.role = XCAP([AnyXML()])

    def test_told_after_restart(self) -> None:
        """The document was removed, the NOTIFY never left: it comes with the last entity-tag, for
        a collection as for a document.
        """
        for listed in (HOME, INDEX, "tests/", ""):
            self.setUp()
            self.acknowledged(listed)
            self.agent.change(self.delete())
            self.assertEqual(
                self.after_restart().changes, (DocumentChange(INDEX, None, "7ahggs"),), listed
            )

    def test_told_to_who_could_see_it(self) -> None:
        """What is not in the list is not told, nor what was removed before the subscription."""
        self.acknowledged("resource-lists/")
        self.agent.change(self.delete())
        self.assertEqual(self.after_restart().changes, ())
        self.setUp()
        changes = self.delete()
        self.assertFalse(changes.touches(Absence))
        self.agent.change(changes)
        self.acknowledged(HOME)
        self.assertEqual(self.after_restart().changes, ())

    def test_there_again(self) -> None:
        """What was made again is there, and nothing else is told of it."""
        self.acknowledged(HOME)
        self.agent.change(self.delete())
        selector = parse(f"/{INDEX}".encode())
        request = XCAPRequest("PUT", selector, {"content-type": "application/xml"}, b"<a/>", JOE)
        outcome = self.server.decide(request, self.agent.state, self.agent.now, Counter())
        self.agent.change(outcome.changes)
        self.assertFalse(self.agent.state.absences)
        (change,) = self.after_restart().changes
        assert isinstance(change, DocumentChange)
        self.assertEqual((change.selector, change.previous_etag), (INDEX, None))

    def test_forgotten(self) -> None:
        """It is forgotten an hour after the last of the subscriptions must have been refreshed."""
        self.acknowledged(HOME)
        self.agent.change(self.delete())
        end = self.agent.one().expires_at + 3600
        self.agent.now = end - 1
        self.assertFalse(self.role.expire(self.agent.state, self.agent.now))
        self.agent.now = end
        self.agent.change(self.role.expire(self.agent.state, self.agent.now))
        self.assertFalse(self.agent.state.absences)

    def test_bounded(self) -> None:
        """No more removals are remembered than a user may have documents: the oldest goes."""
        self.server = XCAPServer([AnyXML()], Limits(documents=3))
        self.acknowledged(HOME)
        for number in range(5):
            self.agent.now += 1
            self.agent.put(document(b"<doc/>", str(number), f"d{number}"))
            selector = parse(f"/{HOME}d{number}".encode())
            request = XCAPRequest("DELETE", selector, {}, b"", JOE)
            outcome = self.server.decide(request, self.agent.state, self.agent.now, Counter())
            self.agent.change(outcome.changes)
        self.assertEqual(
            sorted(self.agent.state.absences or ()), ["tests/d2", "tests/d3", "tests/d4"]
        )


class GlobalTests(Case):
    """Documents of the global tree, which hang on no user's AOR."""

    def setUp(self) -> None:
        """The tree has a document."""
        super().setUp()
        self.tree = GlobalTree()
        self.tree.load([self.everybody(b"<doc a='1'/>", "1")])
        self.agent = Agent(XCAPDiffPackage(self.server, self.tree), aor=JOE)

    def everybody(self, body: bytes, etag: str) -> Document:
        """A document of the global tree."""
        return document(body, etag)._replace(aor=GLOBAL)

    def changed(self, changes: ChangeSet) -> XcapDiff:
        """What Joe is told of a change of the tree."""
        self.tree.apply(changes)
        own = ChangeSet(JOE)
        notifications = self.agent.notifier.show("xcap-diff", own, self.agent.now)
        (request,) = self.agent.release(notifications, own)
        self.agent.answer(request)
        return told(request)

    def test_changes(self) -> None:
        """Documents and collections of the tree are told as one's own are."""
        index = "tests/global/index"
        for listed in ("tests/global/", index, "tests/", ""):
            self.setUp()
            first = self.acknowledged(listed, f"{index}/~~/doc/@a", mode="xcap-patching")
            self.assertIn(DocumentChange(index, "1"), first.changes)
            self.assertIn(AttributeState(f"{index}/~~/doc/@a", "1"), first.changes)
            self.assertEqual(list(self.tree.watchers), [JOE])
            changes = ChangeSet(GLOBAL, [self.everybody(b"<doc a='2'/>", "2")])
            document_, attribute = self.changed(changes).changes
            self.assertEqual(document_[:3], (index, "2", "1"))
            self.assertEqual(attribute, AttributeState(f"{index}/~~/doc/@a", "2"))
            gone = ChangeSet(GLOBAL)
            gone.remove(self.everybody(b"<doc a='2'/>", "2"), "deleted")
            self.assertIn(DocumentChange(index, None, "2"), self.changed(gone).changes)

    def test_not_seen(self) -> None:
        """Who lists nothing of it does not watch it."""
        self.acknowledged("tests/users/", HOME, "tests/users/sip:joe@example.com/other")
        self.assertFalse(self.tree.watchers)

    def test_computed(self) -> None:
        """A collection of one usage has what the server computes for it, the root has not."""
        self.assertEqual(
            [each.selector for each in self.acknowledged("xcap-caps/").changes],
            ["xcap-caps/global/index"],
        )
        self.setUp()
        self.assertEqual(
            [each.selector for each in self.acknowledged("").changes], ["tests/global/index"]
        )

    def test_index(self) -> None:
        """What is made of all users' is told to those who may read it (RFC 4826 §4.4.9)."""
        index = "rls-services/global/index"
        services = document(b"<rls-services/>", "9", "index", "rls-services")
        self.tree.made["rls-services/index"] = services._replace(aor=GLOBAL)
        for listed in (index, "rls-services/global/", "rls-services/"):
            for identity, expected in ((JOE, []), (ROOT, [index])):
                self.agent = Agent(XCAPDiffPackage(self.server, self.tree), aor=JOE)
                self.tree.watchers.clear()
                (first,) = self.agent.subscribe(asking(listing(listed), identity=identity))
                self.assertEqual([each.selector for each in told(first).changes], expected)
                self.assertEqual(
                    self.tree.is_wanted("rls-services/index"), identity == ROOT, listed
                )

    def test_removed_before_a_restart(self) -> None:
        """A global document that was removed is remembered for a day."""
        self.acknowledged("tests/global/")
        selector = parse(b"/tests/global/index")
        request = XCAPRequest("DELETE", selector, {}, b"", ROOT)
        changes = self.server.decide(request, self.tree.state, 1000.0, Counter()).changes
        self.tree.apply(changes)
        self.agent.restart()
        own = ChangeSet(JOE)
        notifications = self.agent.notifier.full_state(own, self.agent.now)
        (again,) = self.agent.release(notifications, own)
        self.assertEqual(told(again).changes, (DocumentChange("tests/global/index", None, "1"),))
        role = XCAP([AnyXML()])
        self.assertFalse(role.expire(self.tree.state, 1000.0 + 86399))
        self.assertTrue(role.expire(self.tree.state, 1000.0 + 86400))


class HistoryTests(Case):
    """The rule: "The client receives the full (HTTP) ETag change history of a document" in the
    "xcap-patching" mode (RFC 5875 §4.3), however seldom it is told.
    """

    def steps(self, request: NotifyRequest) -> list[tuple[str | None, str | None]]:
        """The entity-tags before and after, of what is told."""
        found = []
        for change in told(request).changes:
            assert isinstance(change, DocumentChange)
            found.append((change.previous_etag, change.new_etag))
        return found

    def held(self, mode: str, count: int, event: str = "") -> list[NotifyRequest]:
        """What is told after changes, one a second, that were held back."""
        (first,) = self.agent.subscribe(asking(listing(HOME), mode + event))
        self.agent.answer(first)
        sent = []
        body = FIRST
        for number in range(count):
            self.agent.now += 0.1
            body = body.replace(b"</doc>", FOO + b"</doc>")
            for request in self.agent.put(document(body, str(number))):
                sent.append(request)
                self.agent.answer(request)
        self.agent.now += 60
        changes = ChangeSet(JOE)
        sent += self.agent.release(self.agent.notifier.tick(changes, self.agent.now), changes)
        return sent

    def test_pace_of_the_server(self) -> None:
        """The interval that the operator sets (§4.7: "preferably at some minimum intervals")."""
        for mode, expected in (
            ("xcap-patching", [("0", "1"), ("1", "2"), ("2", "3")]),
            ("aggregate", [("0", "3")]),
            ("no-patching", [("0", "3")]),
        ):
            self.setUp()
            limits = DEFAULT_LIMITS._replace(notify_interval=5.0)
            self.agent = Agent(
                XCAPDiffPackage(self.server),
                limits=limits,
                records=[document(FIRST, "7ahggs")],
                aor=JOE,
            )
            first, second = self.held(mode, 4)
            self.assertEqual(self.steps(first), [("7ahggs", "0")], mode)
            self.assertEqual(self.steps(second), expected, mode)

    def test_pace_of_the_subscriber(self) -> None:
        """A maximum rate (RFC 6446 §5)."""
        for mode, expected in (
            ("xcap-patching", [("7ahggs", "0"), ("0", "1"), ("1", "2"), ("2", "3")]),
            ("aggregate", [("7ahggs", "3")]),
        ):
            self.setUp()
            (only,) = self.held(mode, 4, ";max-rate=0.1")
            self.assertEqual(self.steps(only), expected, mode)

    def test_too_many(self) -> None:
        """Where there were too many to keep there are no patches for once: "the notifier MAY at any
        time temporarily use the "no-patching" mode" (§4.8); then it goes on as before.
        """
        first = self.subscribed(HOME, mode="xcap-patching")
        body = FIRST
        for number in range(40):
            body = body.replace(b"</doc>", FOO + b"</doc>")
            self.agent.put(document(body, str(number)))
        (request,) = self.agent.answer(first)
        (change,) = told(request).changes
        self.assertEqual(change, DocumentChange(INDEX, "39", "7ahggs"))
        self.agent.answer(request)
        body = body.replace(b"</doc>", FOO + b"</doc>")
        (request,) = self.agent.put(document(body, "last"))
        (change,) = told(request).changes
        assert isinstance(change, DocumentChange)
        self.assertEqual(self.steps(request), [("39", "last")])
        self.assertTrue(change.operations)


class Client:
    """A subscriber that keeps copies by the rules of RFC 5875 §4.8."""

    def __init__(self) -> None:
        self.copies: dict[str, tuple[str, bytes]] = {}
        #: Versions that must be fetched.
        self.stale: set[str] = set()

    def take(self, diff: XcapDiff) -> None:
        """Apply what is told; what does not follow on what is known is passed over."""
        for change in diff.changes:
            assert isinstance(change, DocumentChange)
            selector = change.selector
            known = self.copies.get(selector)
            if change.new_etag is None:
                self.copies.pop(selector, None)
                self.stale.discard(selector)
            elif known is not None and known[0] == change.new_etag:
                self.stale.discard(selector)
            elif known is not None and known[0] == change.previous_etag:
                if change.unchanged:
                    self.copies[selector] = (change.new_etag, known[1])
                elif change.operations:
                    body = apply(known[1], change.operations)
                    self.copies[selector] = (change.new_etag, body)
                else:
                    self.stale.add(selector)
            else:
                self.stale.add(selector)

    def fetch(self, documents: Iterable[Document]) -> None:
        """Read what could not be patched."""
        for document in documents:
            selector = HOME + document.path
            if selector in self.stale:
                self.copies[selector] = (document.entity_tag, document.body)
        self.stale.clear()


_NAMES = st.sampled_from(["a", "b"])
_BODIES = st.lists(st.sampled_from([b"<x/>", b"<y i='1'/>", b"t", b"<y i='2'>u</y>"]), max_size=4)
_EVENTS: st.SearchStrategy[tuple[str, object, list[bytes]]] = st.one_of(
    st.tuples(st.just("put"), _NAMES, _BODIES),
    st.tuples(st.just("delete"), _NAMES, st.just([])),
    st.tuples(st.just("answer"), st.booleans(), st.just([])),
)


class SynchronizationTests(Case):
    """Whatever happens, a client ends with the documents as they are (RFC 5875 §4.8)."""

    @settings(max_examples=100, deadline=None)
    @given(
        st.sampled_from(["no-patching", "xcap-patching", "aggregate"]),
        st.lists(_EVENTS, max_size=14),
    )
    def test_any_history(self, mode: str, events: list[tuple[str, object, list[bytes]]]) -> None:
        """Puts and removals, answers that are late, and NOTIFY requests that fail."""
        self.setUp()
        client = Client()
        outstanding = [self.subscribed(HOME, mode=mode)]
        client.take(told(outstanding[0]))
        client.fetch(self.agent.state.documents.values())
        number = 0

        def sent(requests: list[NotifyRequest]) -> None:
            for request in requests:
                client.take(told(request))
                outstanding.append(request)

        def answer(ok: bool) -> None:
            if outstanding:
                request = outstanding.pop(0)
                sent(self.agent.answer(request, ok))
                if not ok and not outstanding:
                    sent(self.agent.change(ChangeSet(JOE), [self.agent.one().id]))

        for what, argument, pieces in events:
            if what == "answer":
                answer(bool(argument))
                continue
            path = str(argument)
            known = self.agent.state.documents.get(f"tests/{path}")
            if what == "delete":
                if known is None:
                    continue
                changes = ChangeSet(JOE)
                changes.remove(known, "deleted")
            else:
                number += 1
                body = b"<doc>" + b"".join(pieces) + b"</doc>"
                changes = ChangeSet(JOE, [document(body, str(number), path)])
            sent(self.agent.change(changes))
        while outstanding:
            answer(True)
        client.fetch(self.agent.state.documents.values())
        self.assertEqual(
            {selector: (etag, canonical(body)) for selector, (etag, body) in client.copies.items()},
            {
                HOME + each.path: (each.entity_tag, canonical(each.body))
                for each in self.agent.state.documents.values()
            },
        )


def canonical(data: bytes) -> bytes:
    """The canonical form with comments, which decides whether documents are the same."""
    written: bytes = etree.tostring(etree.fromstring(data), method="c14n", with_comments=True)
    return written
