"""Histories of documents: a client that applies what xcap-diff tells holds what the server holds."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from simplestack.documents.xcapdiff import DocumentChange, XcapDiff
from simplestack.documents.xmlpatch import apply
from simplestack.event.limits import DEFAULT_LIMITS
from simplestack.event.notifier import NotifyRequest
from simplestack.roles.xcapdiff import XCAPDiffPackage
from simplestack.state import ChangeSet, Document
from tests.event.fakes import Agent
from tests.roles.test_xcapdiff import (
    FIRST,
    FOO,
    HOME,
    INDEX,
    JOE,
    Case,
    asking,
    canonical,
    document,
    listing,
    told,
)


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
        for each in documents:
            selector = HOME + each.path
            if selector in self.stale:
                self.copies[selector] = (each.entity_tag, each.body)
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
