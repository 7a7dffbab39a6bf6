"""A filter never shows what the rules hide: filters apply after privacy (RFC 4660 §5.3.1)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from twisted.trial.unittest import SynchronousTestCase

from simplestack.documents import namespaces as ns
from simplestack.documents.pidf import Presence
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.notifier import NotifyRequest
from simplestack.roles.presence import PresenceAgent
from simplestack.sip.errors import SIPError
from simplestack.state import Document, Publication
from tests.documents.test_filters import filter_set
from tests.documents.test_pidf import presences
from tests.event.fakes import Agent, read, subscribe
from tests.event.test_filtering import _facts
from tests.roles.fakes import ALICE
from tests.roles.test_rules import DOCUMENT, ruleset
from tests.roles.test_rules_model import Plain, rules

BOB = "sip:bob@example.com"

_PATHS = (
    "//*",
    "//@*",
    "/*/*",
    "//pidf:tuple",
    "//pidf:basic",
    "//pidf:note",
    "//pidf:contact",
    "//rpid:activities",
    "//rpid:activities/*",
    "//rpid:mood",
    "//rpid:user-input",
    "//rpid:user-input/@last-input",
    '//pidf:tuple[pidf:status/pidf:basic="open"]',
    '//*[rpid:class="work"]',
    '//*[@id="t1"]',
)
_path = st.sampled_from(_PATHS)
_what = st.lists(
    st.one_of(
        st.builds("<include>{}</include>".format, _path),
        st.builds(
            '<include type="namespace">{}</include>'.format,
            st.sampled_from([ns.PIDF, ns.RPID, ns.DATA_MODEL, "urn:x"]),
        ),
        st.builds("<exclude>{}</exclude>".format, _path),
    ),
    max_size=3,
).map(lambda parts: f"<what>{''.join(sorted(parts, reverse=True))}</what>")
_trigger = st.lists(
    st.one_of(
        st.builds("<changed>{}</changed>".format, _path),
        st.builds("<added>{}</added>".format, _path),
        st.builds("<removed>{}</removed>".format, _path),
    ),
    min_size=1,
    max_size=2,
).map(lambda parts: f"<trigger>{''.join(sorted(parts, key=lambda p: 'car'.index(p[1])))}</trigger>")
_filter = st.tuples(_what, st.lists(_trigger, max_size=2).map("".join)).map("".join)


class FilterPrivacyTests(SynchronousTestCase):
    """Watchers with the same rights, of whom one has a filter."""

    @settings(max_examples=60, deadline=None)
    @given(
        rules,
        _filter,
        st.lists(st.one_of(st.just(DOCUMENT), presences(), rules), min_size=1, max_size=6),
    )
    def test_never_reveals(
        self, first: list[Plain], inner: str, steps: list[Presence | list[Plain]]
    ) -> None:
        """Nothing is told that a watcher without the filter would not know, and nothing when he
        would be told nothing: neither content nor the time of a change gets through.
        """
        agent = Agent(PresenceAgent(default_handling="allow").package, aor=ALICE)
        self.rules(agent, first)
        dialogs: dict[str, str] = {}
        known: dict[str, bytes] = {}
        for name, filters in (("plain", ""), ("filtering", inner)):
            headers, body = [], b""
            if "lude" in filters or "<trigger>" in filters:
                headers, body = (
                    [f"Content-Type: {FILTER_TYPE}"],
                    filter_set(f'<filter id="f">{filters}</filter>'),
                )
            try:
                notifies = agent.subscribe(
                    subscribe(
                        identity=BOB,
                        call_id=name,
                        from_tag=name,
                        headers=headers,
                        body=body,
                        aor=ALICE,
                    )
                )
            except SIPError as error:
                self.assertEqual(error.status, 403)
                return
            dialogs[notifies[0].subscription.id] = name
            self.take(agent, notifies, dialogs, known)
        for step in steps:
            if isinstance(step, Presence):
                published = step._replace(entity=ALICE).to_bytes()
                told = agent.put(
                    Publication(
                        ALICE,
                        "p",
                        "presence",
                        "e",
                        ALICE,
                        "application/pidf+xml",
                        published,
                        agent.now,
                        agent.now + 9999,
                    )
                )
            else:
                told = self.rules(agent, step)
            self.take(agent, told, dialogs, known)
            agent.now += 1

    def rules(self, agent: Agent, given_rules: list[Plain]) -> list[NotifyRequest]:
        """Other rules."""
        document = ruleset(*[each.xml(f"r{place}") for place, each in enumerate(given_rules)])
        return agent.put(
            Document(
                ALICE, "pres-rules/index", "pres-rules", "index", str(agent.now), "x", document, 0.0
            )
        )

    def take(
        self,
        agent: Agent,
        notifies: list[NotifyRequest],
        dialogs: dict[str, str],
        known: dict[str, bytes],
    ) -> None:
        """Compare what the two are told in one turn."""
        told = {}
        for notify in notifies:
            agent.answer(notify)
            told[dialogs[notify.subscription.id]] = read(notify)
        for name, message in told.items():
            if message.body:
                known[name] = message.body
        if "filtering" in told and "plain" in dialogs.values() and len(dialogs) == 2:
            message = told["filtering"]
            if "plain" not in told:
                # The first NOTIFY of its subscription.
                self.assertEqual(message.cseq.number, 1)
            if message.body:
                self.assertLessEqual(
                    _facts(etree.fromstring(message.body)),
                    _facts(etree.fromstring(known["plain"])),
                )
