"""The registrar against a plain model of RFC 3261 §10.3, over any sequence of requests."""

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from simplestack.roles.registrar import Registrar
from simplestack.sip.errors import SIPError
from simplestack.state import Binding, ChangeSet, Removed
from tests.roles.fakes import Decided, incoming, request

MAX_CONTACTS = 3


class Bound(NamedTuple):
    """What the model remembers of a contact."""

    until: float
    call_id: str
    cseq: int


class Register(NamedTuple):
    """A REGISTER: contacts with their expires, or all of them, after some seconds."""

    contacts: tuple[tuple[str, int | None], ...]
    star: bool
    expires: int | None
    call_id: str
    cseq: int
    pause: int


contact = st.tuples(
    st.sampled_from(["sip:a@h", "sip:b@h", "sip:c@h", "sip:d@h"]),
    st.sampled_from([None, 0, 30, 60, 600, 3600]),
)
register = st.builds(
    Register,
    st.lists(contact, max_size=3).map(tuple),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([None, 0, 60, 3600]),
    st.sampled_from(["one", "two"]),
    st.integers(1, 6),
    st.sampled_from([0, 1, 59, 60, 700]),
)


def expected(bound: dict[str, Bound], sent: Register, now: float) -> dict[str, Bound] | int:
    """What the bindings become, or the status that refuses the request."""
    alive = {uri: each for uri, each in bound.items() if each.until > now}
    after = dict(alive)

    def late(uri: str) -> bool:
        each = alive.get(uri)
        return each is not None and each.call_id == sent.call_id and sent.cseq <= each.cseq

    if sent.star:
        if sent.expires != 0:
            return 400
        return 500 if any(late(uri) for uri in alive) else {}
    for uri, own in sent.contacts:
        seconds = own if own is not None else sent.expires if sent.expires is not None else 3600
        if 0 < seconds < 60:
            return 423
        if uri in after and late(uri):
            return 500
        if seconds:
            if uri not in after and len(after) >= MAX_CONTACTS:
                return 403
            after[uri] = Bound(now + seconds, sent.call_id, sent.cseq)
        else:
            after.pop(uri, None)
    return after


class ModelTests(SynchronousTestCase):
    @settings(max_examples=150, deadline=None)
    @given(st.lists(register, max_size=12))
    def test_same_as_the_model(self, sequence: list[Register]) -> None:
        """After any requests the bindings are those of the steps of RFC 3261 §10.3."""
        decided = Decided(Registrar(max_contacts=MAX_CONTACTS))
        bound: dict[str, Bound] = {}
        now = 1000.0
        for sent in sequence:
            now += sent.pause
            headers: dict[str, str | list[str]] = {
                "Call-ID": sent.call_id,
                "CSeq": f"{sent.cseq} REGISTER",
            }
            if sent.star:
                headers["Contact"] = "*"
            elif sent.contacts:
                headers["Contact"] = [
                    f"<{uri}>" if own is None else f"<{uri}>;expires={own}"
                    for uri, own in sent.contacts
                ]
            if sent.expires is not None:
                headers["Expires"] = str(sent.expires)
            known = {b.uri: b for b in decided.state.bindings.values() if b.expires_at > now}
            after = expected(bound, sent, now)
            arrived = incoming(request("REGISTER", headers))
            if isinstance(after, int):
                before = dict(decided.state.bindings)
                error: SIPError = self.assertRaises(SIPError, decided.decide, arrived, now)
                self.assertEqual(error.status, after)
                self.assertEqual(decided.state.bindings, before)
                continue
            outcome = decided.decide(arrived, now)
            bound = after
            found = {
                b.uri: Bound(b.expires_at, b.call_id, b.cseq)
                for b in decided.state.bindings.values()
            }
            self.assertEqual(found, bound)
            listed = {
                str(address.uri): address.param("expires") for address in outcome.response.contacts
            }
            self.assertEqual(
                listed, {uri: str(int(each.until - now)) for uri, each in bound.items()}
            )
            self.check_changes(outcome.changes, known, now)

    def check_changes(self, changes: ChangeSet, known: dict[str, Binding], now: float) -> None:
        """The changes name a removal for what was there only, and the right events."""
        for entry in changes.of(Binding):
            if isinstance(entry, Removed):
                assert isinstance(entry.record, Binding)
                before = known.get(entry.record.uri)
                if before is None:
                    self.assertEqual(entry.reason, "expired")
                    self.assertLessEqual(entry.record.expires_at, now)
                else:
                    self.assertEqual((entry.record, entry.reason), (before, "unregistered"))
            elif entry.uri in known and entry.id == known[entry.uri].id:
                self.assertEqual(entry.event, "refreshed")
                self.assertEqual(entry.registered_at, known[entry.uri].registered_at)
            else:
                self.assertEqual((entry.event, entry.registered_at), ("registered", now))
