"""Registration information: the contacts of an AOR, and what happens to them (RFC 3680)."""

from collections.abc import Collection, Hashable
from hashlib import sha256

from zope.interface import implementer

from simplestack.documents.reginfo import EVENTS, MEDIA_TYPE, Contact, RegInfo, Registration
from simplestack.event.filtering import MEDIA_TYPE as FILTER_TYPE
from simplestack.event.partial import versioned
from simplestack.interfaces import Body, Decision, IEventPackage
from simplestack.roles.packages import Packages
from simplestack.sip.grammar import parse_params
from simplestack.sip.uri import parse_uri
from simplestack.state import Binding, ChangeSet, Removed, ResourceState

__all__ = ["RegEvent", "RegistrationPackage"]


class RegEvent(Packages):
    """Notifies of registrations.

    Each user may watch his own; ``watchers`` may watch everybody's: AORs such as
    ``sip:welcome@example.com``, or domains such as ``example.com`` for all who authenticated in
    them.  Without ``refreshes`` a mere refresh of a binding sends no NOTIFY.
    """

    name = "reg"

    def __init__(self, watchers: Collection[str] = (), refreshes: bool = True) -> None:
        super().__init__((RegistrationPackage(watchers, refreshes),))


@implementer(IEventPackage)
class RegistrationPackage:
    """The event package ``reg``."""

    name = "reg"
    content_types: tuple[str, ...] = (MEDIA_TYPE,)
    #: A little longer than a registration, which has 3600 seconds (RFC 3680 §4.4).
    default_expires = 3761
    partial = True
    #: Watcher filters (RFC 4660).
    subscribe_types = (FILTER_TYPE,)

    def __init__(self, watchers: Collection[str] = (), refreshes: bool = True) -> None:
        self._watchers = frozenset([name for name in watchers if ":" in name])
        self._domains = frozenset(
            [name.removeprefix("@").lower() for name in watchers if ":" not in name]
        )
        self._refreshes = refreshes

    def recognizes(self, state: ResourceState) -> bool:
        """True: "this state machine exists, and is well-defined, for each address-of-record in
        the domain, even if there are no contacts registered to it" (RFC 3680 §4.7.1).
        """
        return True

    def authorize(self, state: ResourceState, watcher: str, now: float) -> Decision:
        """The user himself, and those whom the operator names (RFC 3680 §4.6)."""
        if watcher and (
            watcher == state.aor
            or watcher in self._watchers
            or (self._domains and parse_uri(watcher).host in self._domains)
        ):
            return Decision("allow", None)
        return Decision("block", None)

    def affected(self, changes: ChangeSet) -> bool:
        """Whether a binding has changed."""
        return changes.touches(Binding)

    def reauthorizes(self, changes: ChangeSet) -> bool:
        """Never: who may watch is the operator's setting."""
        return False

    def full(
        self, state: ResourceState, permissions: Hashable, content_type: str, now: float
    ) -> Body:
        """All contacts; without any, the registration is in state ``init``."""
        contacts = [_contact(binding, now) for binding in state.bindings.values()]
        return _body(state.aor, "full", "active" if contacts else "init", contacts)

    def whole(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body:
        """All contacts, and those that the changes have ended."""
        contacts = [_contact(binding, now) for binding in state.bindings.values()]
        contacts += [each for each in self._altered(changes, now) if each.state == "terminated"]
        status = "active" if state.bindings else "terminated"
        return _body(state.aor, "full", status, contacts)

    def changed(
        self,
        state: ResourceState,
        permissions: Hashable,
        content_type: str,
        changes: ChangeSet,
        now: float,
    ) -> Body | None:
        """The contacts that have changed, removed ones as terminated (RFC 3680 §4.7.2)."""
        contacts = self._altered(changes, now)
        if not contacts:
            return None
        # "When the last contact expires or is removed, the registration transitions to
        # terminated." (RFC 3680 §4.7.1)
        status = "active" if state.bindings else "terminated"
        return _body(state.aor, "partial", status, contacts)

    def _altered(self, changes: ChangeSet, now: float) -> list[Contact]:
        contacts = []
        for entry in changes.of(Binding):
            if isinstance(entry, Removed):
                if isinstance(entry.record, Binding):
                    contacts.append(_removed(entry, entry.record, now))
            elif self._refreshes or entry.event != "refreshed":
                contacts.append(_contact(entry, now))
        return contacts

    def fingerprint(self, state: ResourceState, permissions: Hashable) -> bytes:
        """What the full document stands for, but for times that pass by themselves."""
        # Their order is another one when they have been read again.
        return repr(
            sorted(
                [
                    (each.id, each.uri, each.event, each.expires_at, each.cseq, each.q, each.params)
                    for each in state.bindings.values()
                ]
            )
        ).encode()

    def boundary(self, state: ResourceState, now: float) -> float | None:
        """None: a binding that expires is a change."""
        return None


def _body(aor: str, state: str, status: str, contacts: list[Contact]) -> Body:
    # "the id attribute for a "registration" element for a particular address-of-record MUST be
    # the same across all notifications sent within the subscription", and another one for another
    # AOR (RFC 3680 §5.1).
    identifier = "r" + sha256(aor.encode("utf-8", "surrogateescape")).hexdigest()[:16]
    registration = Registration(aor, identifier, status, tuple(contacts))
    return versioned(MEDIA_TYPE, RegInfo(0, state, (registration,)).to_bytes())


def _contact(binding: Binding, now: float) -> Contact:
    event = binding.event if binding.event in EVENTS else "registered"
    return _written(binding, "active", event, now, expires=max(0, int(binding.expires_at - now)))


def _removed(removed: Removed, binding: Binding, now: float) -> Contact:
    event = removed.reason if removed.reason in EVENTS else "unregistered"
    retry_after = removed.retry_after
    if event == "probation" and retry_after is None:
        # "If the event attribute has a value of probation, the "retry-after" attribute MUST be
        # present." (RFC 3680 §5.1)
        retry_after = 0
    return _written(binding, "terminated", event, now, retry_after=retry_after)


def _written(
    binding: Binding,
    state: str,
    event: str,
    now: float,
    expires: int | None = None,
    retry_after: int | None = None,
) -> Contact:
    return Contact(
        id=binding.id,
        state=state,
        event=event,
        uri=binding.uri,
        display_name=binding.display_name or None,
        duration_registered=max(0, int(now - binding.registered_at)),
        expires=expires,
        retry_after=retry_after,
        q=_q(binding.q),
        callid=binding.call_id or None,
        cseq=binding.cseq,
        unknown_params=tuple([(name, value or "") for name, value in parse_params(binding.params)]),
    )


def _q(thousandths: int) -> str:
    """A qvalue as RFC 3261 §25.1 has it: "1", "0.8", "0.125"."""
    return f"{thousandths / 1000:.3f}".rstrip("0").rstrip(".")
