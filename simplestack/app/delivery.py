"""Sends the NOTIFY requests of all AORs, and tells of their fate."""

from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from simplestack.event.notifier import NotifyRequest
from simplestack.interfaces import Identifiers
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import parse_name_addrs
from simplestack.sip.message import Response
from simplestack.sip.uri import Uri, parse_uri
from simplestack.state import Subscription
from simplestack.transaction.failure import Lost
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.location import LARGE

__all__ = ["Delivery", "Ways"]

#: A way that was not found is not sought again for another NOTIFY in so many seconds, nor in the
#: most in twice as many: each is tried again later than that (``transaction.failure.Patience``).
_IN_VAIN: Final = 5.0


class Ways(Protocol):
    """The ways to peers; ``net.network.Network`` is one."""

    def existing(self, key: str) -> Flow | None:
        """The living flow of this key."""

    def ready(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Flow | None:
        """The flow for a request to the URI, if that takes no waiting."""

    def lasting(self, uri: Uri, prefer: str | None = None) -> Flow | None:
        """The flow that ``ready`` gives as long as it lives; None where it may change before."""

    def flow_to(self, uri: Uri, size: int = 0, prefer: str | None = None) -> Deferred[Flow]:
        """The flow for a request to the URI, when it has been found."""

    def failed(self, flow: Flow) -> None:
        """Learn that a request got no answer by this flow."""


class _Sent:
    """A NOTIFY under way; called with its final response."""

    __slots__ = ("_aor", "_delivery", "_flow", "_notify")

    def __init__(self, delivery: "Delivery", flow: Flow, aor: str, notify: NotifyRequest) -> None:
        self._delivery = delivery
        self._flow = flow
        self._aor = aor
        self._notify = notify

    def __call__(self, response: Response | None, now: float) -> None:
        self._delivery.ended(self._flow, self._aor, self._notify, response)


class Delivery:
    """Finds the flow for each NOTIFY, starts its transaction, reports the final response."""

    log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        ways: Ways,
        layer: TransactionLayer,
        identifiers: Identifiers,
        clock: Callable[[], float],
        answered: Callable[[str, NotifyRequest, Response | None, Lost | None], None],
    ) -> None:
        self._ways = ways
        self._layer = layer
        self._identifiers = identifiers
        #: The monotonic clock of the transactions.
        self._clock = clock
        self._answered = answered
        #: NOTIFYs that had no way, and when one was last told of in the log.
        self._unreached = 0
        self._said = float("-inf")
        #: The ways that were not found since a time, and before it.
        self._vain: set[tuple[str, str, str]] = set()
        self._vain_before: set[tuple[str, str, str]] = set()
        self._vain_since = float("-inf")
        #: Takes what is for a list of this server; the assembly sets it where there are lists.
        self.local: Callable[[str, NotifyRequest], None] = self._unwanted

    def send(self, aor: str, notify: NotifyRequest) -> None:
        """Send a NOTIFY.

        ``answered`` is called with the final response, or None and why none came.
        """
        flow = notify.head.flow
        if flow is not None and flow.alive and (notify.size <= LARGE or flow.reliable):
            self._start(flow, aor, notify)
            return
        subscription = notify.subscription
        if not subscription.remote_target:
            self.local(aor, notify)
            return
        flow = self._ways.existing(subscription.flow) if subscription.by_flow else None
        if flow is None:
            try:
                target = next_hop(subscription)
            except SIPError as error:
                # It is of a version that took it.
                self._unreachable(Failure(error), aor, notify)
                return
            flow = self._ways.ready(target, notify.size, subscription.flow)
            if flow is None:
                if self._in_vain(_place(subscription)):
                    self._answered(aor, notify, None, "unreachable")
                    return
                found: Deferred[Flow] = self._ways.flow_to(target, notify.size, subscription.flow)
                found.addCallback(self._start, aor, notify)
                found.addErrback(self._unreachable, aor, notify)
                return
            notify.head.flow = self._ways.lasting(target, subscription.flow)
        self._start(flow, aor, notify)

    def _in_vain(self, place: tuple[str, str, str]) -> bool:
        """Whether the way was sought just now and not found."""
        self._forget_vain(self._clock())
        return place in self._vain or place in self._vain_before

    def _forget_vain(self, now: float) -> None:
        """Forget what was sought in vain long ago."""
        passed = now - self._vain_since
        if passed >= _IN_VAIN:
            self._vain_before = self._vain if passed < 2.0 * _IN_VAIN else set()
            self._vain = set()
            self._vain_since = now

    def _unwanted(self, aor: str, notify: NotifyRequest) -> None:
        """Nobody serves lists any more."""
        self._answered(aor, notify, None, "unreachable")

    def _start(self, flow: Flow, aor: str, notify: NotifyRequest) -> None:
        if notify.abandoned:
            return
        branch = self._identifiers.branch()
        done = _Sent(self, flow, aor, notify)
        notify.transaction = self._layer.send(
            "NOTIFY", branch, notify.build(flow, branch), flow, done, self._clock()
        )

    def ended(self, flow: Flow, aor: str, notify: NotifyRequest, response: Response | None) -> None:
        """Report how a NOTIFY has ended."""
        transaction = notify.transaction
        lost: Lost | None = None
        if response is None:
            lost = "timeout" if transaction is None else transaction.failure
            if lost != "transport":
                self._ways.failed(flow)
        self._answered(aor, notify, response, lost)

    def _unreachable(self, failure: Failure, aor: str, notify: NotifyRequest) -> None:
        # Of clients who went away without a word there are thousands after a restart.
        self._unreached += 1
        now = self._clock()
        self._forget_vain(now)
        self._vain.add(_place(notify.subscription))
        if now - self._said >= 1.0:
            self._said = now
            self.log.debug(
                "no way to {target}: {reason} ({count} NOTIFYs so far)",
                target=notify.subscription.remote_target,
                reason=failure.getErrorMessage(),
                count=self._unreached,
            )
        self._answered(aor, notify, None, "unreachable")


def _place(subscription: Subscription) -> tuple[str, str, str]:
    """All that decides which way its NOTIFYs go."""
    return subscription.route_set, subscription.remote_target, subscription.flow


def next_hop(subscription: Subscription) -> Uri:
    """Where requests in the dialog go: the first route, else the remote target (RFC 3261 §12.2.1.1)."""
    if subscription.route_set:
        return parse_name_addrs(subscription.route_set)[0].uri
    return parse_uri(subscription.remote_target)
