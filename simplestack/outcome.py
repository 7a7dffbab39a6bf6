"""What a role decides: the answer, the changes, and who must be told in any case."""

from typing import Generic, NamedTuple, TypeVar

from simplestack.sip.message import Request
from simplestack.state import ChangeSet

__all__ = ["Incoming", "Outcome"]

Answer = TypeVar("Answer")


class Incoming(NamedTuple):
    """A SIP request as it reaches a role: placed, authenticated, its syntax checked."""

    request: Request
    #: The AOR that the request is about, the key of its ResourceState.
    aor: str
    #: The AOR of the authenticated sender; "" where the sender is anonymous.
    identity: str
    #: ``Flow.key`` of the flow that it came by.
    flow: str
    #: Whether requests back to the sender must use the flow: a NAT lies between, or ``;ob``.
    by_flow: bool
    #: The Contact URI by which we can be reached about this AOR over this transport.
    contact: str


class Outcome(NamedTuple, Generic[Answer]):
    """The decision of one turn; nothing of it leaves before its changes are committed."""

    #: The response: a SIP Response, or an XCAP one.
    response: Answer
    changes: ChangeSet
    #: Ids of subscriptions that get a NOTIFY whether or not what they see has changed.
    notify: tuple[str, ...] = ()
