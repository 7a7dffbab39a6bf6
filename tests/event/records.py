"""A subscription record with nothing special about it."""

from typing import Any

from simplestack.state import Subscription
from tests.event.fakes import ALICE, AOR, FakeFlow

_PLAIN = Subscription(
    aor=AOR,
    id="s1",
    package="presence",
    status="active",
    event="subscribe",
    watcher=ALICE,
    display_name="Alice",
    call_id="call-a",
    local_tag="s1.tag2",
    remote_tag="from-a",
    local_uri=f"<{AOR}>",
    remote_uri=f"<{ALICE}>",
    remote_target="sip:alice@192.0.2.9",
    route_set="",
    contact="sip:bob@192.0.2.1",
    remote_cseq=1,
    cseq_reserved=100,
    event_id="",
    event_params="",
    accept="",
    content_type="",
    body=b"",
    subscribed_at=1000.0,
    expires_at=4600.0,
    flow=FakeFlow.key,
    by_flow=0,
    user_agent="",
)


def subscription(**fields: Any) -> Subscription:
    """The plain record with these fields."""
    return _PLAIN._replace(**fields)
