"""A contact that is registered."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from mypy_extensions import mypyc_attr

from simplestack.state.row import Row

__all__ = ["Binding"]

_FIELDS: Final[dict[str, type]] = {
    "aor": str,
    "id": str,
    "uri": str,
    "key": str,
    "display_name": str,
    "params": str,
    "q": int,
    "call_id": str,
    "cseq": int,
    "expires_at": float,
    "registered_at": float,
    "refreshed_at": float,
    "event": str,
    "path": str,
    "instance": str,
    "reg_id": int,
    "user_agent": str,
    "flow": str,
}


@mypyc_attr(acyclic=True)
class Binding(Row):
    """A contact bound to an AOR by REGISTER (RFC 3261 §10.3).

    ``id`` names the contact in registration information (RFC 3680 §5.2.2) and lasts as long as
    the binding does.  Times are seconds of the wall clock.
    """

    __slots__ = tuple(_FIELDS)

    fields: ClassVar[Mapping[str, type]] = _FIELDS

    def __init__(
        self,
        aor: str,
        id: str,  # noqa: A002  # as the other records have it
        #: The Contact URI as it was registered.
        uri: str,
        #: The key by which two registrations are of the same contact: the comparable form of the URI,
        #: or instance and reg-id where the client sent them (RFC 5626 §6).
        key: str,
        display_name: str,
        #: Contact header field parameters as registered, without q and expires: ";a=b;c".
        params: str,
        #: Priority in thousandths, 0 to 1000.
        q: int,
        call_id: str,
        cseq: int,
        expires_at: float,
        registered_at: float,
        refreshed_at: float,
        #: What happened last: registered, created, refreshed, shortened … (RFC 3680 §5.2.2).
        event: str,
        #: Path header field values, in order, joined by ", " (RFC 3327).
        path: str,
        instance: str,
        reg_id: int,
        user_agent: str,
        #: The flow that the registration came by, as ``Flow.key``.
        flow: str,
    ) -> None:
        self.aor = aor
        self.id = id
        self.uri = uri
        self.key = key
        self.display_name = display_name
        self.params = params
        self.q = q
        self.call_id = call_id
        self.cseq = cseq
        self.expires_at = expires_at
        self.registered_at = registered_at
        self.refreshed_at = refreshed_at
        self.event = event
        self.path = path
        self.instance = instance
        self.reg_id = reg_id
        self.user_agent = user_agent
        self.flow = flow

    def row(self) -> tuple[Any, ...]:
        """The values of all fields in their order."""
        return (
            self.aor,
            self.id,
            self.uri,
            self.key,
            self.display_name,
            self.params,
            self.q,
            self.call_id,
            self.cseq,
            self.expires_at,
            self.registered_at,
            self.refreshed_at,
            self.event,
            self.path,
            self.instance,
            self.reg_id,
            self.user_agent,
            self.flow,
        )
