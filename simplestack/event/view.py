"""Views: who sees the same of an AOR; and the live ends of subscriptions that look through them."""

from collections.abc import Callable, Hashable, Iterator

from simplestack.documents.filters import Trigger, What
from simplestack.event.entity import Entity
from simplestack.event.notification import Head, Notification, NotifyRequest
from simplestack.event.pace import Pace
from simplestack.event.partial import Deltas
from simplestack.event.wish import Steps, Trail
from simplestack.interfaces import IEventPackage
from simplestack.state import ChangeSet, Subscription

__all__ = ["Dialog", "Usage", "View", "Watched"]


class Dialog:
    """What the usages of one dialog share: the order of its NOTIFYs (RFC 3261 §12.2.1.1)."""

    __slots__ = ("cseq", "granted", "outstanding", "paused", "request", "reserved", "usages")

    def __init__(self, cseq: int, reserved: int) -> None:
        #: The CSeq number of the last NOTIFY sent.
        self.cseq = cseq
        #: ``cseq`` and one for each notification that is decided but not sent.
        self.granted = cseq
        #: Numbers up to this one are committed as perhaps used.
        self.reserved = reserved
        #: The usage whose NOTIFY is not answered yet.
        self.outstanding: Usage | None = None
        #: That NOTIFY.
        self.request: NotifyRequest | None = None
        #: Whether that was answered, with the wish that nothing be sent for a time.
        self.paused = False
        self.usages: tuple[Usage, ...] = ()

    def waits_for(self, usage: "Usage") -> bool:
        """Whether the NOTIFY that is not answered yet is of this usage."""
        return self.outstanding is usage


class Usage:
    """The live end of one subscription."""

    __slots__ = (
        "closing",
        "deltas",
        "dialog",
        "entity",
        "head",
        "pace",
        "sent",
        "stale",
        "subscription",
        "told",
        "trail",
        "triggers",
        "unreleased",
        "version",
        "view",
        "waiting",
    )

    def __init__(self, subscription: Subscription, dialog: Dialog, version: int) -> None:
        self.subscription = subscription
        self.dialog = dialog
        #: What it sees; None while it is pending, or not looked at since it was loaded.
        self.view: View | None = None
        #: The state that it was told last; None where it was told none, or the package is partial.
        self.entity: Entity | None = None
        #: The form in which it is told parts of the state; None where it is told all of it.
        self.deltas: Deltas | None = None
        #: What must happen before it is told; () is any change (RFC 4661 §3.6).
        self.triggers: tuple[Trigger, ...] = ()
        #: The rates that it has asked for (RFC 6446); None for none.
        self.pace: Pace | None = None
        #: The part of NOTIFY that stays the same; None where it must be made anew.
        self.head: Head | None = None
        #: The version of its next document.
        self.version = version
        #: The number of the turn that told it something last.
        self.told = 0
        #: The entity-tag of the NOTIFY that was sent last.
        self.sent = ""
        #: The states that it may know; None where its package tells whole states.
        self.trail: Trail | None = None
        #: Notifications decided whose changes are not committed yet.
        self.unreleased = 0
        #: The newest notification that waits for the answer to an earlier one.
        self.waiting: Notification | None = None
        #: Whether it may have missed a document, so that it must get full state.
        self.stale = True
        #: Whether its last notification has been decided.
        self.closing = False
        dialog.usages = (*dialog.usages, self)

    @property
    def busy(self) -> bool:
        """Whether a new notification may have to wait, and then takes the place of another.

        Lists, which have no remote target, want full state always.
        """
        return (
            self.unreleased > 0
            or self.dialog.outstanding is not None
            or self.waiting is not None
            or not self.subscription.remote_target
        )


class View:
    """A body that several subscriptions share: package, content type, permissions."""

    __slots__ = (
        "built",
        "content_type",
        "entity",
        "held",
        "joins",
        "permissions",
        "rests",
        "steps",
        "tag",
        "tagged",
        "usages",
        "virtual",
        "what",
    )

    def __init__(
        self,
        content_type: str,
        permissions: Hashable,
        what: What | None = None,
        steps: Steps | None = None,
        joins: bool = False,
    ) -> None:
        self.content_type = content_type
        self.permissions = permissions
        #: Of what they show, what is wanted; None for all (RFC 4661 §3.5).
        self.what = what
        #: What says to each subscriber what is new to him; None where all are told the same.
        self.steps = steps
        #: Whether it may say one thing of several states where only the last was sent.
        self.joins = joins
        #: Full state as everybody who looks through this view was told it, or is being told.
        self.entity: Entity | None = None
        #: The number of the turn that made ``entity``.
        self.built = 0
        #: The entity-tag of what a partial package shows, and the number of the turn it is of.
        self.tag = ""
        self.tagged = 0
        #: Until when it rests after it was told, and what has changed meanwhile, if anything.
        self.rests = 0.0
        self.held: ChangeSet | None = None
        self.usages: dict[Usage, None] = {}
        #: How many of them are of subscriptions behind lists, which never rest.
        self.virtual = 0


class Watched:
    """A package of the AOR that has subscriptions or waiting watchers."""

    __slots__ = (
        "_joins",
        "_steps",
        "by_clock",
        "due",
        "fresh",
        "moved",
        "name",
        "others",
        "package",
        "timed",
        "views",
        "waits",
    )

    def __init__(self, name: str, package: IEventPackage) -> None:
        self.name = name
        self.package = package
        self._steps: Steps | None = getattr(package, "told", None)
        self._joins: Callable[[Hashable], bool] | None = getattr(package, "joins", None)
        #: Whether its documents change by the clock, and not only who may see them.
        self.by_clock = not package.partial or hasattr(package, "passed")
        self.views: dict[tuple[str, Hashable, What | None], View] = {}
        #: Usages without a view: pending ones, and loaded ones that nobody looked at yet.
        self.others: dict[Usage, None] = {}
        #: Whether ``others`` may hold active ones.
        self.fresh = False
        #: Whether there may be waiting watchers, who have no usage.
        self.waits = False
        #: Usages that changed their view in this turn.
        self.moved: list[Usage] | None = None
        #: The next time at which the clock alone changes state or rules, where ``timed``.
        self.due: float | None = None
        self.timed = False

    def __iter__(self) -> Iterator[Usage]:
        """All usages, in a list of their own: they may change their place meanwhile."""
        usages = list(self.others)
        for view in self.views.values():
            usages += view.usages
        return iter(usages)

    def __bool__(self) -> bool:
        return self.waits or self.seen

    @property
    def seen(self) -> bool:
        """Whether there are subscriptions, and not only watchers who wait."""
        return bool(self.views or self.others)

    def alter(self, now: float) -> None:
        """Ask for the next boundary anew; one that has passed stays until it is acted on."""
        if self.due is None or self.due > now:
            self.timed = False

    def place(
        self, usage: Usage, content_type: str, permissions: Hashable, what: What | None = None
    ) -> View:
        """Put a usage where it sees what these permissions show, and of that what it wants."""
        key = (content_type, permissions, what)
        view = self.views.get(key)
        if view is None:
            joins = self._joins is not None and self._joins(permissions)
            view = self.views[key] = View(content_type, permissions, what, self._steps, joins)
        if usage.view is not view:
            self.leave(usage)
            usage.view = view
            view.usages[usage] = None
            if not usage.subscription.remote_target:
                view.virtual += 1
        return view

    def leave(self, usage: Usage) -> None:
        """Take a usage out of its place; a view that nobody looks through is forgotten."""
        view = usage.view
        if view is None:
            self.others.pop(usage, None)
            if not self.others:
                # An emptied dict keeps its table.
                self.others = {}
            return
        usage.view = None
        if view.usages.pop(usage, usage) is None and not usage.subscription.remote_target:
            view.virtual -= 1
        if not view.usages:
            key = (view.content_type, view.permissions, view.what)
            if self.views.get(key) is view:
                del self.views[key]
