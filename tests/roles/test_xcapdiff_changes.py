"""Changes of documents as xcap-diff tells them, of the global tree too: RFC 5875."""

import time

from simplestack.documents.xcapdiff import AttributeState, DocumentChange, ElementState, XcapDiff
from simplestack.roles.xcap import XCAP
from simplestack.roles.xcapdiff import XCAPDiffPackage
from simplestack.state import Absence, ChangeSet, Document
from simplestack.xcap.globaltree import GlobalTree
from simplestack.xcap.message import XCAPRequest
from simplestack.xcap.selectors import GLOBAL, parse
from simplestack.xcap.server import Limits, XCAPServer
from tests.event.fakes import Agent, Counter, read
from tests.roles.test_xcapdiff import (
    FIRST,
    HOME,
    INDEX,
    JOE,
    ROOT,
    Case,
    asking,
    document,
    listing,
    told,
)
from tests.xcap.owner import AnyXML


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
