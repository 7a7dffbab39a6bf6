"""Packages, identifiers and requests for the tests of the event floor."""

from collections.abc import Hashable, Sequence

from zope.interface import implementer

from simplestack.event.limits import Limits
from simplestack.event.notifier import Notification, Notifier, NotifyRequest
from simplestack.event.subscription import Subscribing
from simplestack.interfaces import Body, Decision, IEventPackage
from simplestack.outcome import Incoming, Outcome
from simplestack.sip.message import Request, Response, parse_message
from simplestack.state import (
    ChangeSet,
    Document,
    Publication,
    Record,
    ResourceState,
    Subscription,
)

AOR = "sip:bob@example.com"
ALICE = "sip:alice@example.com"


@implementer(IEventPackage)
class FakePackage:
    """A package whose state is the publications, and whose rules are an attribute.

    A changed Document says that ``handlings`` may have changed.
    """

    default_expires = 3600
    partial = False

    def __init__(
        self, name: str = "presence", content_types: Sequence[str] = ("text/state",)
    ) -> None:
        self.name = name
        self.content_types = tuple(content_types)
        self.handlings: dict[str, str] = {}
        self.default = "allow"
        #: Per watcher, what makes the view.
        self.permissions: dict[str, Hashable] = {}
        self.known = True
        self.next_boundary: float | None = None
        self.built = 0

    def recognizes(self, state: ResourceState) -> bool:
        """Whether it is known."""
        return self.known

    def authorize(self, state: ResourceState, watcher: str, now: float) -> Decision:
        """What the attributes say."""
        handling = self.handlings.get(watcher, self.default)
        if handling == "polite-block":
            return Decision(handling, "nothing")
        return Decision(handling, self.permissions.get(watcher, "all"))

    def affected(self, changes: ChangeSet) -> bool:
        """Whether a publication has changed."""
        return changes.touches(Publication)

    def reauthorizes(self, changes: ChangeSet) -> bool:
        """Whether a document has changed."""
        return changes.touches(Document)

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """All publications."""
        self.built += 1
        shown = [] if permissions == "nothing" else [p.body for p in state.publications.values()]
        return Body(content_type, b"+".join(sorted(shown)) or b"closed")

    def changed(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body | None:
        """What has changed."""
        return self.full(state, permissions, content_type, now)

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """What the attribute says."""
        return self.next_boundary


class PartialPackage(FakePackage):
    """The same with partial documents: lines of ``id=body``, ``id=`` for one that is gone."""

    partial = True

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """All publications."""
        self.built += 1
        lines = [b"%b=%b" % (k.encode(), p.body) for k, p in state.publications.items()]
        return Body(content_type, b"full ", b"\n" + b"\n".join(lines))

    def changed(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body | None:
        """What has changed."""
        self.built += 1
        lines = [
            b"%b=%b" % (entry.id.encode(), entry.body)
            if isinstance(entry, Publication)
            else b"%b=" % (entry.record.id.encode(),)
            for entry in changes.of(Publication)
        ]
        return Body(content_type, b"partial ", b"\n" + b"\n".join(lines))


class Counter:
    """Identifiers that count."""

    def __init__(self) -> None:
        self.count = 0

    def _next(self, what: str) -> str:
        self.count += 1
        return f"{what}{self.count}"

    def tag(self) -> str:
        """A tag."""
        return self._next("tag")

    def branch(self) -> str:
        """A branch."""
        return self._next("z9hG4bK")

    def call_id(self) -> str:
        """A Call-ID."""
        return self._next("call")

    def entity_tag(self) -> str:
        """An entity-tag."""
        return self._next("etag")

    def record_id(self) -> str:
        """An id."""
        return self._next("s")


class FakeFlow:
    """A flow that keeps what is sent."""

    transport = "udp"
    reliable = False
    secure = False
    local = ("192.0.2.1", 5060)
    sent_by = "192.0.2.1:5060"
    remote = ("192.0.2.9", 5060)
    alive = True
    key = "udp:192.0.2.1:5060>192.0.2.9:5060"

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        """Keep it."""
        self.sent.append(data)

    def toward(self, remote: tuple[str, int]) -> "FakeFlow":
        """Itself."""
        return self


def subscribe(
    *,
    identity: str = ALICE,
    event: str | None = "presence",
    expires: int | None = 3600,
    to_tag: str = "",
    call_id: str = "call-a",
    from_tag: str = "from-a",
    cseq: int = 1,
    contact: str | None = "<sip:alice@192.0.2.9>",
    headers: Sequence[str] = (),
    body: bytes = b"",
    aor: str = AOR,
) -> Incoming:
    """A SUBSCRIBE as it reaches the notifier."""
    lines = [
        f"SUBSCRIBE {aor} SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx",
        f'From: "Alice" <{identity or "sip:anonymous@anonymous.invalid"}>;tag={from_tag}',
        f"To: <{aor}>" + (f";tag={to_tag}" if to_tag else ""),
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} SUBSCRIBE",
        "Max-Forwards: 70",
        *headers,
    ]
    if event is not None:
        lines.append(f"Event: {event}")
    if expires is not None:
        lines.append(f"Expires: {expires}")
    if contact is not None:
        lines.append(f"Contact: {contact}")
    text = "\r\n".join(lines) + f"\r\nContent-Length: {len(body)}\r\n\r\n"
    request = parse_message(text.encode() + body)
    assert isinstance(request, Request)
    return Incoming(request, aor, identity, FakeFlow.key, False, "sip:bob@192.0.2.1")


def publication(identifier: str, body: bytes, aor: str = AOR) -> Publication:
    """A publication with little in it."""
    return Publication(
        aor, identifier, "presence", "e", aor, "text/state", body, 0.0, 1_000_000_000.0
    )


def rules(text: bytes = b"") -> Document:
    """A document whose change makes packages look at their rules."""
    return Document(AOR, "pres-rules/index", "pres-rules", "index", "e", "text/xml", text, 0.0)


#: Every change is told.
UNPACED = Limits(notify_interval=0)


class Agent:
    """A notifier with its state, driven as a turn drives it, every commit at once."""

    def __init__(
        self,
        *packages: IEventPackage,
        limits: Limits = UNPACED,
        records: Sequence[Record] = (),
        aor: str = AOR,
    ) -> None:
        self.limits = limits
        self.packages: dict[str, IEventPackage] = {each.name: each for each in packages}
        self.subscribing = Subscribing(self.packages, limits)
        self.state = ResourceState(aor, records)
        self.notifier = Notifier(self.state, self.packages, limits)
        self.identifiers = Counter()
        self.now = 1000.0
        #: What the store has: all that was committed.
        self.stored = ResourceState(aor, records)
        self.response: Response | None = None

    def restart(self) -> None:
        """Lose all but what was committed."""
        self.state = ResourceState(self.state.aor, list(self.stored))
        self.notifier = Notifier(self.state, self.packages, self.limits)

    def subscribe(self, incoming: Incoming) -> list[NotifyRequest]:
        """A whole turn of a SUBSCRIBE."""
        outcome: Outcome[Response] = self.subscribing.decide(
            incoming, self.state, self.now, self.identifiers
        )
        self.response = outcome.response
        return self.change(outcome.changes, outcome.notify)

    def change(self, changes: ChangeSet, notify: Sequence[str] = ()) -> list[NotifyRequest]:
        """A whole turn of these changes."""
        return self.release(self.decide(changes, notify), changes)

    def decide(self, changes: ChangeSet, notify: Sequence[str] = ()) -> list[Notification]:
        """A turn up to its commit."""
        self.state.apply(changes)
        self.notifier.settle(changes, self.now)
        return self.notifier.after(changes, tuple(notify), self.now)

    def release(self, notifications: list[Notification], changes: ChangeSet) -> list[NotifyRequest]:
        """The commit, and what may leave after it."""
        self.stored.apply(changes)
        assert self.stored == self.state
        return self.notifier.release(notifications, self.now)

    def put(self, *records: Record) -> list[NotifyRequest]:
        """A turn that puts records."""
        return self.change(ChangeSet(self.state.aor, records))

    def expire(self) -> list[NotifyRequest]:
        """A turn of the clock."""
        return self.change(self.subscribing.expire(self.state, self.now))

    def answer(self, request: NotifyRequest, ok: bool = True) -> list[NotifyRequest]:
        """The final response to a NOTIFY."""
        identifier = request.subscription.id
        if request.final and identifier in self.state.ended:
            changes = ChangeSet(self.state.aor)
            changes.remove(self.state.ended[identifier], "told", silent=True)
            self.state.apply(changes)
            self.stored.apply(changes)
        return self.notifier.answered(identifier, request.cseq, ok, self.now)

    def unanswered(self, identifier: str) -> NotifyRequest:
        """The NOTIFY of a subscription that is not answered yet."""
        usage = self.notifier.usage(identifier)
        assert usage is not None and usage.dialog.request is not None
        return usage.dialog.request

    def one(self) -> Subscription:
        """The only subscription."""
        (record,) = self.state.subscriptions.values()
        return record


def read(request: NotifyRequest) -> Request:
    """A NOTIFY as its subscriber reads it."""
    message = parse_message(request.build(FakeFlow(), "z9hG4bKn"))
    assert isinstance(message, Request)
    return message
