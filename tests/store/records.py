"""Records for the tests."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from simplestack.state import (
    RECORD_KINDS,
    Absence,
    Binding,
    ChangeSet,
    Document,
    Kind,
    Publication,
    Record,
    Subscription,
    fields_of,
)

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"


def binding(aor: str = ALICE, key: str = "b1", cseq: int = 1, **fields: Any) -> Binding:
    """A binding."""
    return Binding(
        aor=aor,
        id=key,
        uri="sip:alice@192.0.2.1:5060;transport=udp",
        key="sip:alice@192.0.2.1:5060;transport=udp",
        display_name="Alice",
        params=";audio",
        q=500,
        call_id="a84b4c76e66710@192.0.2.1",
        cseq=cseq,
        expires_at=1_790_003_600.25,
        registered_at=1_790_000_000.125,
        refreshed_at=1_790_000_100.1,
        event="refreshed",
        path="<sip:edge.example.com;lr>",
        instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>",
        reg_id=1,
        user_agent="softphone 1",
        flow="udp:127.0.0.1:5060>192.0.2.1:5060",
    )._replace(**fields)


def publication(aor: str = ALICE, key: str = "p1", **fields: Any) -> Publication:
    """A publication."""
    return Publication(
        aor=aor,
        id=key,
        package="presence",
        entity_tag="kwj449x",
        publisher=ALICE,
        content_type="application/pidf+xml",
        body=b"\x00\xff<presence/>",
        published_at=1_790_000_000.0,
        expires_at=1_790_001_800.0,
    )._replace(**fields)


def subscription(aor: str = ALICE, key: str = "s1", **fields: Any) -> Subscription:
    """A subscription."""
    return Subscription(
        aor=aor,
        id=key,
        package="presence",
        status="active",
        event="approved",
        watcher=BOB,
        display_name="Bob",
        call_id="2010@192.0.2.2",
        local_tag="ffd2",
        remote_tag="xfg9",
        local_uri="<sip:alice@example.com>",
        remote_uri="<sip:bob@example.com>",
        remote_target="sip:bob@192.0.2.2",
        route_set="<sip:p1.example.com;lr>, <sip:p2.example.com;lr>",
        contact="sip:alice@127.0.0.1:5060",
        remote_cseq=4_294_967_295,
        cseq_reserved=100,
        event_id="7",
        event_params="",
        accept="application/pidf+xml",
        content_type="",
        body=b"",
        subscribed_at=1_790_000_000.0,
        expires_at=1_790_000_600.5,
        flow="tcp:127.0.0.1:5060>192.0.2.2:40312",
        by_flow=1,
        user_agent="watcher/1",
    )._replace(**fields)


def document(aor: str = ALICE, key: str = "pres-rules/index", **fields: Any) -> Document:
    """A document."""
    return Document(
        aor=aor,
        id=key,
        auid="pres-rules",
        path="index",
        entity_tag="et1",
        content_type="application/auth-policy+xml",
        body=b"<ruleset/>",
        modified_at=1_790_000_000.0,
    )._replace(**fields)


def absence(aor: str = ALICE, key: str = "pres-rules/old", **fields: Any) -> Absence:
    """That a document was removed."""
    return Absence(
        aor=aor,
        id=key,
        auid="pres-rules",
        path="old",
        entity_tag="et0",
        removed_at=1_790_000_000.0,
        expires_at=1_790_007_200.0,
    )._replace(**fields)


def one_of_each(aor: str = ALICE) -> list[Record]:
    """A record of every kind."""
    return [binding(aor), publication(aor), subscription(aor), document(aor), absence(aor)]


#: Any text that a message may bring, lone surrogates, NUL and our own mark among it.
texts = st.text(st.one_of(st.characters(), st.sampled_from("\0\ufdd0\udc80\udcffé0a")), max_size=6)
_fields: dict[type, SearchStrategy[object]] = {
    str: texts,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bytes: st.binary(max_size=12),
}
aors = st.sampled_from(
    [ALICE, BOB, "", "sip:\0@example.com", "sip:\udcff@example.com", "tel:\ufdd0"]
)
_ids = st.sampled_from(["1", "2", "\0", "\udc80", "\ufdd00000"])


def _records(kind: Kind, aor: str) -> SearchStrategy[Record]:
    fields = {name: _fields[type_] for name, type_ in fields_of(kind).items() if name != "aor"}
    fields["id"] = _ids
    make: Callable[..., Record] = kind
    return st.builds(make, aor=st.just(aor), **fields)


@st.composite
def change_sets(draw: st.DrawFn) -> ChangeSet:
    """Any change set."""
    aor = draw(aors)
    changes = ChangeSet(aor)
    for _ in range(draw(st.integers(0, 4))):
        record = draw(_records(draw(st.sampled_from(RECORD_KINDS)), aor))
        if draw(st.booleans()):
            changes.put(record)
        else:
            changes.remove(record, "expired")
    return changes
