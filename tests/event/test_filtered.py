"""What subscribers with filters are told (RFC 4660 §5, RFC 4661 §3)."""

from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents.pidf import MEDIA_TYPE, Note, Presence, Tuple, parse_presence
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.notifier import NotifyRequest
from simplestack.interfaces import Body
from simplestack.sip.errors import SIPError
from tests.documents.test_filters import filter_set
from tests.event.fakes import AOR, Agent, publication, read, rules, subscribe
from tests.event.test_assembled import Showing
from tests.event.test_partialpresence import ACCEPT, Watching


class NotificationTests(SynchronousTestCase):
    """What watchers with filters are told."""

    def setUp(self) -> None:
        """An agent that shows presence to watchers with filters."""
        self.package = Showing()
        self.package.subscribe_types = (FILTER_TYPE,)  # type: ignore[attr-defined]  # an optional attribute
        self.agent = Agent(self.package)
        self.cseq = 1

    def subscribe(
        self, filters: str, expires: int = 3600, accept: str = f"Accept: {MEDIA_TYPE}"
    ) -> list[NotifyRequest]:
        """A SUBSCRIBE of Alice, initial or not; its NOTIFYs, answered."""
        headers, body = [accept], b""
        if filters:
            headers.append(f"Content-Type: {FILTER_TYPE}")
            body = filter_set(filters)
        mine = list(self.agent.state.subscriptions.values())
        self.cseq += 1
        return self.answered(
            self.agent.subscribe(
                subscribe(
                    headers=headers,
                    body=body,
                    expires=expires,
                    cseq=self.cseq,
                    to_tag=mine[0].local_tag if mine else "",
                )
            )
        )

    def answered(self, notifies: list[NotifyRequest]) -> list[NotifyRequest]:
        """The same after their answers."""
        for notify in notifies:
            self.agent.answer(notify)
        return notifies

    def put(self, *tuples: Tuple) -> list[NotifyRequest]:
        """Publish a document."""
        document = Presence(AOR, tuples).to_bytes()
        return self.answered(self.agent.put(publication("p", document)))

    def shown(self, notify: NotifyRequest) -> tuple[Tuple, ...]:
        """The tuples of a NOTIFY."""
        return parse_presence(read(notify).body).tuples

    def test_content(self) -> None:
        """Only what is wanted is told, and only when that has changed (4660 §5.3)."""
        self.put(Tuple("t", "open", "sip:a@b"))
        (notify,) = self.subscribe(
            '<filter id="a"><what><include>//pidf:basic</include></what></filter>'
        )
        self.assertEqual(self.shown(notify), (Tuple("t", "open"),))
        self.assertEqual(self.put(Tuple("t", "open", "sip:c@d")), [])
        (notify,) = self.put(Tuple("t", "closed", "sip:c@d"))
        self.assertEqual(self.shown(notify), (Tuple("t", "closed"),))

    def test_views(self) -> None:
        """Equal filters share a view; others have their own, with their own entity-tags."""
        self.put(Tuple("t", "open", "sip:a@b"))
        tags = []
        for number, filters in enumerate(
            (
                '<filter id="a"><what><include>//pidf:basic</include></what></filter>',
                '<filter id="z"><what><include> //pidf:basic </include></what></filter>',
                "",
            )
        ):
            headers, body = [f"Accept: {MEDIA_TYPE}"], b""
            if filters:
                headers.append(f"Content-Type: {FILTER_TYPE}")
                body = filter_set(filters)
            (notify,) = self.agent.subscribe(
                subscribe(
                    identity=f"sip:w{number}@example.com",
                    call_id=f"c{number}",
                    headers=headers,
                    body=body,
                )
            )
            self.agent.answer(notify)
            tags.append(read(notify).etag)
        self.assertEqual(tags[0], tags[1])
        self.assertNotEqual(tags[0], tags[2])
        told = self.put(Tuple("t", "closed", "sip:a@b"))
        self.assertEqual(len({id(n._body) for n in told}), 2)

    def test_empty(self) -> None:
        """A first NOTIFY with nothing in it has no body (4660 §5.3.1); later there is a root."""
        self.put(Tuple("t", "open"))
        filters = '<filter id="a"><what><include>//pidf:note</include></what></filter>'
        (notify,) = self.subscribe(filters)
        self.assertEqual(read(notify).body, b"")
        self.assertEqual(self.put(Tuple("t", "closed")), [])
        (notify,) = self.put(Tuple("t", "closed", notes=(Note("hi"),)))
        self.assertIn(b"hi", read(notify).body)
        (notify,) = self.put(Tuple("t", "closed"))
        self.assertEqual(parse_presence(read(notify).body), Presence(AOR))

    def test_trigger(self) -> None:
        """Without its trigger a change is not told; the first NOTIFY ignores it (§5.3.1)."""
        self.put(Tuple("t", "open"))
        filters = (
            '<filter id="a"><trigger><changed from="closed" to="open">//pidf:basic</changed>'
            "</trigger></filter>"
        )
        (notify,) = self.subscribe(filters)
        self.assertEqual(self.shown(notify), (Tuple("t", "open"),))
        self.assertEqual(self.put(Tuple("t", "closed"), Tuple("u", "closed")), [])
        # "The most recent XML document that was sent" has t open, and no u.
        self.assertEqual(self.put(Tuple("t", "open"), Tuple("u", "open")), [])
        self.put(Tuple("t", "closed"), Tuple("u", "closed"))
        (notify,) = self.subscribe("")
        self.assertEqual(len(self.shown(notify)), 2)
        (notify,) = self.put(Tuple("t", "open"), Tuple("u", "closed"))
        self.assertEqual(self.shown(notify), (Tuple("t", "open"), Tuple("u", "closed")))

    def test_refreshes(self) -> None:
        """A refresh without a body keeps the filters, one with changes them (4660 §5.2.2)."""
        self.put(Tuple("t", "open", "sip:a@b"))
        with_, without = (Tuple("t", "open", "sip:a@b"),), (Tuple("t", "open"),)
        self.subscribe('<filter id="a"><what><include>//pidf:basic</include></what></filter>')
        for filters, shown in (
            ("", without),
            ('<filter id="a" enabled="false"/>', with_),
            ("", with_),
            ('<filter id="a" enabled="true"/>', without),
            ('<filter id="a"><what><include>//pidf:contact</include></what></filter>', with_),
            ('<filter id="a" remove="true"/>', with_),
        ):
            (notify,) = self.subscribe(filters)
            self.assertEqual(self.shown(notify), shown, filters)
        record = self.agent.one()
        self.assertEqual((record.content_type, record.body), ("", b""))

    def test_refused(self) -> None:
        """A bad filter is refused and changes nothing, 415 where there are none (4660 §5.4)."""
        self.subscribe('<filter id="a"><what><include>//pidf:basic</include></what></filter>')
        before = self.agent.one()
        error = self.assertRaises(SIPError, self.subscribe, '<filter id="b"/>')
        self.assertEqual(error.status, 488)
        self.assertEqual(self.agent.one(), before)
        del self.package.subscribe_types  # type: ignore[attr-defined]  # an optional attribute
        error = self.assertRaises(SIPError, self.subscribe, '<filter id="a" enabled="false"/>')
        self.assertEqual(error.status, 415)

    def test_partial(self) -> None:
        """Differences are between filtered documents, the first of which is never a difference."""
        watching = Watching()
        self.put(Tuple("t", "open"))
        filters = (
            '<filter id="a"><what><include>//pidf:tuple[pidf:note="x"]</include></what></filter>'
        )
        for notify in self.subscribe(filters, accept=ACCEPT):
            watching.take(notify)
        self.assertEqual(watching.kinds, [])
        many = [Tuple(f"n{n}", "open", notes=(Note("x"),)) for n in range(9)]
        for last in ("open", "closed"):
            for notify in self.put(*many, Tuple("l", last, notes=(Note("x"),)), Tuple("t")):
                watching.take(notify)
        self.assertEqual(watching.kinds, ["full", "diff"])
        self.assertEqual([each.id for each in watching.presence.tuples][-1], "l")
        self.assertEqual(len(watching.presence.tuples), 10)

    def test_conditional(self) -> None:
        """A condition is about what the filter lets through (5839 §4)."""
        self.put(Tuple("t", "open", "sip:a@b"))
        (notify,) = self.subscribe(
            '<filter id="a"><what><include>//pidf:basic</include></what></filter>'
        )
        tag = read(notify).etag
        self.put(Tuple("t", "open", "sip:c@d"))
        told = self.agent.subscribe(
            subscribe(
                to_tag=self.agent.one().local_tag,
                cseq=9,
                headers=[f"Accept: {MEDIA_TYPE}", f"Suppress-If-Match: {tag}"],
            )
        )
        self.assertEqual(told, [])
        assert self.agent.response is not None
        self.assertEqual(self.agent.response.status, 204)

    def test_restart(self) -> None:
        """Filters are kept over a restart (4660 §5.3)."""
        self.put(Tuple("t", "open", "sip:a@b"))
        self.subscribe('<filter id="a"><what><include>//pidf:basic</include></what></filter>')
        self.agent.restart()
        (notify,) = self.put(Tuple("t", "closed", "sip:a@b"))
        self.assertEqual(self.shown(notify), (Tuple("t", "closed"),))

    def test_now_allowed(self) -> None:
        """<added> sees what the user "has now allowed the subscriber to see" (4661 §3.6.2)."""
        self.package.handlings["sip:alice@example.com"] = "polite-block"
        self.put(Tuple("t", "open"))
        document = self.agent.state.publications["p"]
        self.package.full = (  # type: ignore[method-assign]  # what polite blocking shows
            lambda state, permissions, content_type, now: Body(
                MEDIA_TYPE,
                Presence(AOR).to_bytes() if permissions == "nothing" else document.body,
            )
        )
        filters = '<filter id="a"><trigger><added>//pidf:tuple</added></trigger></filter>'
        self.subscribe(filters)
        self.package.handlings.clear()
        (notify,) = self.answered(self.agent.put(rules(b"1")))
        self.assertEqual(self.shown(notify), (Tuple("t", "open"),))
