"""What a role decides: the answer, the changes, and who must be told in any case."""

from typing import Generic, TypeVar

from mypy_extensions import mypyc_attr

from simplestack.sip.message import Request
from simplestack.state import ChangeSet

__all__ = ["Incoming", "Outcome"]

Answer = TypeVar("Answer")


@mypyc_attr(acyclic=True)
class Incoming:
    """A SIP request as it reaches a role: placed, authenticated, its syntax checked."""

    __slots__ = ("aor", "by_flow", "contact", "flow", "identity", "request")

    def __init__(
        self, request: Request, aor: str, identity: str, flow: str, by_flow: bool, contact: str
    ) -> None:
        self.request = request
        #: The AOR that the request is about, the key of its ResourceState.
        self.aor = aor
        #: The AOR of the authenticated sender; "" where the sender is anonymous.
        self.identity = identity
        #: ``Flow.key`` of the flow that it came by.
        self.flow = flow
        #: Whether requests back to the sender must use the flow: a NAT lies between, or ``;ob``.
        self.by_flow = by_flow
        #: The Contact URI by which we can be reached about this AOR over this transport; "" where
        #: the request makes no dialog.
        self.contact = contact


class Outcome(Generic[Answer]):
    """The decision of one turn; nothing of it leaves before its changes are committed."""

    __slots__ = ("changes", "notify", "response")

    def __init__(self, response: Answer, changes: ChangeSet, notify: tuple[str, ...] = ()) -> None:
        #: The response: a SIP Response, or an XCAP one.
        self.response = response
        self.changes = changes
        #: Ids of subscriptions that get a NOTIFY whether or not what they see has changed.
        self.notify = notify
