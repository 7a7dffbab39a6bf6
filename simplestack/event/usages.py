"""The live ends of the subscriptions of an AOR, and where each of them looks."""

from collections.abc import Hashable, Iterable, Mapping

from simplestack.event.filtering import ALL, filtering_of
from simplestack.event.limits import DEFAULT_LIMITS, Limits
from simplestack.event.negotiation import allow_events, choose, partial_form
from simplestack.event.pace import Pace, agree, paced
from simplestack.event.states import TERMINATED, WAITING
from simplestack.event.view import Dialog, Usage, View, Watched
from simplestack.interfaces import IEventPackage
from simplestack.state import ChangeSet, ResourceState, Subscription

__all__ = ["Usages"]


class Usages:
    """All usages of an AOR by the ids of their subscriptions, and by what they see."""

    __slots__ = (
        "_events",
        "_limits",
        "_paced",
        "_packages",
        "_require",
        "_resting",
        "_turn",
        "_usages",
        "_watched",
        "state",
    )

    def __init__(
        self,
        state: ResourceState,
        packages: Mapping[str, IEventPackage],
        limits: Limits = DEFAULT_LIMITS,
        require: str = "",
    ) -> None:
        self.state = state
        self._require = require
        self._packages = packages
        self._limits = limits
        self._events = allow_events(packages)
        self._usages: dict[str, Usage] = {}
        self._watched: dict[str, Watched] = {}
        #: The usages that have agreed on rates.
        self._paced: dict[Usage, None] = {}
        #: The views that keep something back.
        self._resting: dict[View, None] = {}
        self._turn = 0
        records = {**state.subscriptions, **state.ended} if state.ended else state.subscriptions
        # An id sorts before those of the subscriptions that share its dialog, which one that has
        # ended may have made.
        for identifier in sorted(records):
            record = records[identifier]
            if record.status != WAITING:
                # "CSeq … MUST be strictly monotonically increasing" (RFC 3261 §12.2.1.1), and no
                # document version was above its CSeq number.
                usage = self._adopt(record, record.cseq_reserved, record.cseq_reserved)
                if record.status == TERMINATED:
                    usage.closing = True
                    continue
                self._set_pace(usage, record.subscribed_at)
                watched = self._place_for(record.package)
                if watched is not None:
                    watched.others[usage] = None
                    watched.fresh = True
            else:
                watched = self._wait(record.package)
                if watched is not None:
                    # What he waits for may have come while nobody was here.
                    watched.due, watched.timed = 0.0, True

    def __len__(self) -> int:
        return len(self._usages)

    def usage(self, subscription_id: str) -> Usage | None:
        """The live end of a subscription, for those who tell how it stands."""
        return self._usages.get(subscription_id)

    def has(self, subscription_id: str) -> bool:
        """Whether a subscription has a live end here."""
        usage = self._usages.get(subscription_id)
        return usage is not None and not usage.closing

    def _place(self, watched: Watched, usage: Usage, permissions: Hashable) -> View:
        """Put a usage where it sees what these permissions show, in the form that it asked for."""
        package = watched.package
        accept = usage.subscription.accept
        form = partial_form(accept, package)
        if form is not None:
            content_type, usage.deltas = form
        else:
            content_type = choose(accept, package.content_types) or package.content_types[0]
            usage.deltas = None
        # Where a package lets subscribers choose by the body, that is its own to read.
        chosen = (
            None
            if getattr(package, "narrowed", None) is not None
            else filtering_of(usage.subscription)
        )
        if chosen is None:
            usage.triggers = ()
            return watched.place(usage, content_type, permissions)
        usage.triggers = chosen.triggers
        what = chosen.what
        if what is None and package.partial:
            # Triggers are tested on whole documents.
            what = ALL
        return watched.place(usage, content_type, permissions, what)

    def _set_pace(self, usage: Usage, now: float) -> None:
        """Agree on rates, or on none, with a subscriber."""
        record = usage.subscription
        rates = None
        if record.event_params and paced(record.event_params):
            limits = self._limits
            # Lists have an interval of their own.
            package = self._packages.get(record.package)
            rates = agree(
                record.event_params,
                int(record.expires_at - now),
                getattr(package, "interval", limits.notify_interval),
                limits.repeat_interval,
            )
        if rates is None:
            usage.pace = None
            self._paced.pop(usage, None)
        elif usage.pace is None:
            usage.pace = Pace(rates, now)
            self._paced[usage] = None
        else:
            usage.pace.change(rates, now)

    def _reserve(self, dialog: Dialog, changes: ChangeSet) -> None:
        """Reserve the next block of CSeq numbers in all records that share the dialog."""
        dialog.reserved = reserved = dialog.granted + self._limits.cseq_block - 1
        subscriptions = self.state.subscriptions
        for usage in dialog.usages:
            record = usage.subscription
            if record.id in subscriptions and record.status != WAITING:
                record = record._replace(cseq_reserved=reserved)
                usage.subscription = record
                subscriptions[record.id] = record
                changes.put(record)

    def _lift(self, usage: Usage, changes: ChangeSet) -> Subscription:
        """Forget a condition that does not hold any more: the subscriber sees what comes next."""
        usage.subscription = record = usage.subscription._replace(suppress="")
        self.state.subscriptions[record.id] = record
        changes.put(record)
        return record

    def _adopt(self, record: Subscription, cseq: int, version: int) -> Usage:
        """The live end of a subscription that is new here."""
        base, shared, _ = record.id.partition("~")
        dialog = None
        if shared:
            for identifier in self.sharing(base):
                if identifier in self._usages:
                    dialog = self._usages[identifier].dialog
                    break
        if dialog is None:
            dialog = Dialog(cseq, record.cseq_reserved)
        else:
            dialog.reserved = max(dialog.reserved, record.cseq_reserved)
            if cseq > dialog.cseq:
                dialog.cseq = dialog.granted = cseq
        usage = Usage(record, dialog, version)
        self._usages[record.id] = usage
        return usage

    def sharing(self, base: str) -> Iterable[str]:
        """The ids that subscriptions of one dialog may have."""
        return [base, *[f"{base}~{n}" for n in range(1, self._limits.per_dialog)]]

    def _place_for(self, name: str) -> Watched | None:
        watched = self._watched.get(name)
        if watched is None:
            package = self._packages.get(name)
            if package is None:
                return None
            watched = self._watched[name] = Watched(name, package)
        return watched

    def _wait(self, name: str) -> Watched | None:
        """See that a package is asked when the clock changes its rules, for a waiting watcher."""
        watched = self._place_for(name)
        if watched is not None:
            watched.waits = True
        return watched

    def _wait_no_more(self) -> None:
        """Forget the packages that were kept for waiting watchers, of whom there are none."""
        for watched in list(self._watched.values()):
            watched.waits = False
            if not watched:
                del self._watched[watched.name]

    def _enrol(self, usage: Usage) -> None:
        """See that the package of a usage is watched, and the usage with it."""
        watched = self._place_for(usage.subscription.package)
        if watched is not None and usage.view is None:
            watched.others[usage] = None

    def _retire(self, usage: Usage) -> None:
        """Take a usage out of what is watched; it sees no more changes."""
        watched = self._watched.get(usage.subscription.package)
        if watched is not None:
            watched.leave(usage)
            if not watched:
                del self._watched[watched.name]

    def _vanish(self, usage: Usage, forced: dict[Usage, None]) -> None:
        """Forget a usage whose dialog is gone at the other end."""
        self._retire(usage)
        usage.closing = True
        dialog = usage.dialog
        self._drop(usage)
        if dialog.outstanding is usage:
            dialog.outstanding = dialog.request = None
            dialog.paused = False
            for other in dialog.usages:
                if other.waiting is not None:
                    forced[other] = None

    def _drop(self, usage: Usage) -> None:
        dialog = usage.dialog
        dialog.usages = tuple([other for other in dialog.usages if other is not usage])
        self._usages.pop(usage.subscription.id, None)
        self._paced.pop(usage, None)
