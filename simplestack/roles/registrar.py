"""The registrar: binds contacts to an address-of-record (RFC 3261 §10.3)."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from zope.interface import implementer

from simplestack.interfaces import IApplicationUsage, Identifiers, IEventPackage, IRole
from simplestack.outcome import Incoming, Outcome
from simplestack.sip.errors import SIPError
from simplestack.sip.fields import NameAddr, format_date, parse_name_addr, split_list
from simplestack.sip.grammar import integer, quote
from simplestack.sip.memory import remember
from simplestack.sip.message import Request, Response
from simplestack.sip.uri import Uri, parse_uri
from simplestack.state import Binding, ChangeSet, ResourceState

__all__ = ["Registrar"]

_HOUR: Final = 3600
_MAX_SECONDS: Final = 2**32 - 1
_MAX_REG_ID: Final = 2**31 - 1
#: So much of a User-Agent is kept; it is shown to people only.
_USER_AGENT_LENGTH: Final = 200
_is_qvalue: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?").fullmatch
_ENDINGS: Final = ("deactivated", "probation", "rejected", "unregistered", "expired")


class _Offer(NamedTuple):
    """A Contact value of a REGISTER, made ready to become a binding."""

    uri: Uri
    uri_text: str
    #: What the same contact is found by: the comparable form of the URI.
    key: str
    display_name: str
    params: str
    q: int
    #: The ``expires`` parameter; None where there is none.
    expires: int | None
    #: Empty without ``+sip.instance``.
    instance: str
    #: Zero without a valid ``reg-id``.
    reg_id: int
    length: int


@implementer(IRole)
class Registrar:
    """Decides REGISTER requests, each of them whole or not at all.

    Seconds: ``min_expires`` is the shortest interval taken (423 below it, RFC 3261 §10.3 step 7),
    ``default_expires`` the one where a request names none, ``max_expires`` the longest granted.
    An AOR has at most ``max_contacts`` contacts (403 beyond), a contact, a Path and a Call-ID at
    most ``max_contact_length`` characters (413 beyond).  ``third_parties`` are the identities
    that may register any AOR; everybody else his own.
    """

    name = "registrar"
    methods = frozenset({"REGISTER"})
    packages: tuple[IEventPackage, ...] = ()
    usages: tuple[IApplicationUsage, ...] = ()

    def __init__(
        self,
        min_expires: int = 60,
        default_expires: int = 3600,
        max_expires: int = 86400,
        max_contacts: int = 10,
        max_contact_length: int = 2048,
        third_parties: Collection[str] = (),
    ) -> None:
        if not 0 <= min_expires <= default_expires <= max_expires:
            raise ValueError("the intervals must be min_expires ≤ default_expires ≤ max_expires")
        self.min_expires = min_expires
        self.default_expires = default_expires
        self.max_expires = max_expires
        self.max_contacts = max_contacts
        self.max_contact_length = max_contact_length
        self.third_parties = frozenset(third_parties)

    def decide(
        self, incoming: Incoming, state: ResourceState, now: float, identifiers: Identifiers
    ) -> Outcome[Response]:
        """Follow the steps of RFC 3261 §10.3.

        :raises SIPError: 400, 403, 413, 420, 423, 439 or 500 as the steps say; nothing changes.
        """
        identity = incoming.identity
        if identity != incoming.aor and identity not in self.third_parties:
            raise SIPError(403, text=f"{identity or 'anonymous'} may not register {incoming.aor}")
        request = incoming.request
        changes = ChangeSet(incoming.aor)
        current: dict[str, Binding] = {}
        for binding in state.bindings.values():
            if binding.expires_at > now:
                current[binding.id] = binding
            else:
                # Its time is over, though the clock has not been asked yet.
                changes.remove(binding, "expired")
        headers = request.headers
        values = headers.get("Contact")
        path = ""
        outbound = False
        if values:
            if "Path" in headers:
                path = self._path(request)
            if request.contact_is_star:
                self._remove_all(request, current, changes)
            else:
                offers = _read_contacts(values)
                outbound = self._register(
                    incoming, offers, state.bindings, current, path, changes, now, identifiers
                )
        response = request.response(200, to_tag=identifiers.tag())
        if current:
            # "The response MUST contain Contact header field values enumerating all
            # current bindings."
            response.headers["Contact"] = [
                f"{_written(binding)}{int(binding.expires_at - now + 0.5)}"
                for binding in current.values()
            ]
        if path:
            # "The registrar copies the Path header field values into a Path header field in
            # the successful (200 class) REGISTER response." (RFC 3327 §5.3)
            response.headers["Path"] = [path]
        if outbound:
            response.headers["Require"] = ["outbound"]
        response.headers["Date"] = [_date(int(now))]
        return Outcome(response, changes)

    def expire(self, state: ResourceState, now: float) -> ChangeSet:
        """Remove the bindings whose time is over, by the event ``expired``."""
        changes = ChangeSet(state.aor)
        for binding in state.bindings.values():
            if binding.expires_at <= now:
                changes.remove(binding, "expired")
        return changes

    # What an administrator does (RFC 3680 §4.7.1).

    def deactivate(
        self,
        state: ResourceState,
        binding_ids: Iterable[str],
        event: str = "deactivated",
        retry_after: int | None = None,
    ) -> ChangeSet:
        """Remove bindings by the administrator's will.

        After ``deactivated`` the client registers again at once, after ``probation`` when
        ``retry_after`` seconds have passed, after ``rejected`` never.

        :raises ValueError: for another event.
        """
        if event not in _ENDINGS:
            raise ValueError(f"{event!r} does not end a binding (RFC 3680 §5.2.2)")
        if event == "probation" and retry_after is None:
            raise ValueError("probation needs retry_after (RFC 3680 §5.2.2)")
        changes = ChangeSet(state.aor)
        for binding_id in binding_ids:
            binding = state.bindings.get(binding_id)
            if binding is not None:
                changes.remove(binding, event, retry_after=retry_after)
        return changes

    def shorten(
        self, state: ResourceState, binding_ids: Iterable[str], expires: int, now: float
    ) -> ChangeSet:
        """Let bindings end in ``expires`` seconds, so that clients authenticate again soon."""
        changes = ChangeSet(state.aor)
        for binding_id in binding_ids:
            binding = state.bindings.get(binding_id)
            if binding is not None and binding.expires_at > now + expires:
                changes.put(binding._replace(expires_at=now + expires, event="shortened"))
        return changes

    def create(
        self, state: ResourceState, uri: str, expires: int, now: float, identifiers: Identifiers
    ) -> ChangeSet:
        """Bind a contact by the administrator's will for ``expires`` seconds.

        :raises SIPError: 400 for a bad URI.
        """
        offer = _read_contact(f"<{uri}>")
        known = next((each for each in state.bindings.values() if each.key == offer.key), None)
        binding = Binding(
            aor=state.aor,
            id=known.id if known else identifiers.record_id(),
            uri=offer.uri_text,
            key=offer.key,
            display_name="",
            params="",
            q=offer.q,
            call_id=identifiers.call_id(),
            cseq=0,
            expires_at=now + expires,
            registered_at=known.registered_at if known else now,
            refreshed_at=now,
            event="refreshed" if known else "created",
            path="",
            instance="",
            reg_id=0,
            user_agent="",
            flow="",
        )
        return ChangeSet(state.aor, [binding])

    # The steps.

    def _path(self, request: Request) -> str:
        """The path vector of RFC 3327 §5.3, as one header field value."""
        if "path" not in request.supported:
            # "The recommended policy is for the registrar to reject the request with a 420
            # "Bad Extension" response indicating the Path extension."
            raise SIPError(
                420,
                headers=(("Unsupported", "path"),),
                text="a proxy added Path, and the client does not support it",
            )
        for address in request.get_all("Path"):
            parse_name_addr(address)
        path = ", ".join(request.headers["Path"])
        if len(path) > self.max_contact_length:
            raise SIPError(413, text=f"the Path is longer than {self.max_contact_length}")
        return path

    def _remove_all(
        self, request: Request, current: dict[str, Binding], changes: ChangeSet
    ) -> None:
        """Step 6: ``Contact: *``."""
        if request.expires != 0:
            raise SIPError(400, text='"Contact: *" needs "Expires: 0"')
        call_id, cseq = request.call_id, request.cseq.number
        for binding in current.values():
            if binding.call_id == call_id and cseq <= binding.cseq:
                raise _out_of_order(binding)
            changes.remove(binding, "unregistered")
        current.clear()

    def _register(
        self,
        incoming: Incoming,
        offers: tuple[_Offer, ...],
        before: dict[str, Binding],
        current: dict[str, Binding],
        path: str,
        changes: ChangeSet,
        now: float,
        identifiers: Identifiers,
    ) -> bool:
        """Step 7: each Contact in turn.  Answers whether outbound was applied (RFC 5626 §6)."""
        request = incoming.request
        call_id, cseq = request.call_id, request.cseq.number
        if len(call_id) > self.max_contact_length:
            raise SIPError(413, text=f"the Call-ID is longer than {self.max_contact_length}")
        default = request.expires
        if default is None:
            default = self.default_expires
        outbound = False
        for offer in offers:
            expires = self._interval(offer, default)
            key, reg_id = offer.key, offer.reg_id
            if reg_id and _outbound_applies(request):
                if expires:
                    _check_single_flow(offers, default)
                # "the corresponding binding is between an AOR and the combination of the
                # instance-id [...] and the value of "reg-id"" (RFC 5626 §6)
                key = f"{offer.instance};{reg_id}"
                # Over UDP the client would probe its flow with STUN, which is not served.
                outbound = "outbound" in request.supported and (
                    bool(path) or not incoming.flow.startswith("udp")
                )
            else:
                reg_id = 0
            binding = _find(current, key, None if reg_id else offer.uri)
            stored = before.get(binding.id) if binding is not None else None
            if stored is not None and stored.call_id == call_id and cseq <= stored.cseq:
                raise _out_of_order(stored)
            if not expires:
                if binding is not None:
                    del current[binding.id]
                    if stored is not None:
                        changes.remove(stored, "unregistered")
                    else:
                        del changes.entries[Binding, binding.id]
                continue
            if binding is None:
                if len(current) >= self.max_contacts:
                    raise SIPError(403, text=f"an AOR has at most {self.max_contacts} contacts")
                binding_id, registered_at = identifiers.record_id(), now
            else:
                binding_id, registered_at = binding.id, binding.registered_at
            user_agent = request.get("User-Agent")
            current[binding_id] = registered = Binding(
                incoming.aor,
                binding_id,
                offer.uri_text,
                key,
                offer.display_name,
                offer.params,
                offer.q,
                call_id,
                cseq,
                now + expires,
                registered_at,
                now,
                "registered" if stored is None else "refreshed",
                path,
                offer.instance,
                reg_id,
                user_agent[:_USER_AGENT_LENGTH] if user_agent else "",
                incoming.flow,
            )
            changes.put(registered)
        return outbound

    def _interval(self, offer: _Offer, default: int) -> int:
        """The seconds that a contact is bound for."""
        if offer.length > self.max_contact_length:
            raise SIPError(413, text=f"a contact is longer than {self.max_contact_length}")
        expires = default if offer.expires is None else offer.expires
        # "If and only if the requested expiration interval is greater than zero AND smaller
        # than one hour AND less than a registrar-configured minimum"
        if 0 < expires < _HOUR and expires < self.min_expires:
            raise SIPError(
                423,
                headers=(("Min-Expires", str(self.min_expires)),),
                text=f"register for at least {self.min_expires} seconds",
            )
        return expires if expires < self.max_expires else self.max_expires


def _check_single_flow(offers: tuple[_Offer, ...], default: int) -> None:
    """Refuse more than one lasting contact beside a reg-id (RFC 5626 §6)."""
    lasting = [offer for offer in offers if (default if offer.expires is None else offer.expires)]
    if len(lasting) > 1:
        raise SIPError(400, text="a registration with reg-id has one contact only")


def _find(current: dict[str, Binding], key: str, uri: Uri | None) -> Binding | None:
    """The binding of this key, or else of an equivalent URI (RFC 3261 §19.1.4)."""
    for binding in current.values():
        if binding.key == key:
            return binding
    if uri is not None:
        for binding in current.values():
            if not binding.reg_id and parse_uri(binding.uri).equals(uri):
                return binding
    return None


def _out_of_order(binding: Binding) -> SIPError:
    """A request that is older than what is bound: "the update MUST be aborted"."""
    return SIPError(
        500, text=f"CSeq is not above {binding.cseq}, which registered this contact last"
    )


def _outbound_applies(request: Request) -> bool:
    """Whether the first hop of the client supports outbound (RFC 5626 §6).

    :raises SIPError: 439 where the client counts on outbound and its first hop lacks it.
    """
    if len(request.get_all("Via")) == 1:
        return True
    path = request.get_all("Path")
    # Every proxy puts its own URI on top, so that of the client's first hop is the last.
    if path and parse_name_addr(path[-1]).uri.has_param("ob"):
        return True
    if "outbound" in request.supported:
        raise SIPError(439, text="the first proxy did not add a Path with ;ob")
    return False


def _read_contacts(values: list[str]) -> tuple[_Offer, ...]:
    """The contacts of all Contact header fields."""
    if len(values) == 1 and "," not in values[0]:
        return (_read_contact(values[0]),)
    return tuple([_read_contact(part) for value in values for part in split_list(value)])


def _read_contact(text: str) -> _Offer:
    # Long ones are not remembered, so that nobody fills the memory with them.
    return _remembered(text)


def _read(text: str) -> _Offer:
    address = parse_name_addr(text)
    uri = address.uri
    params = []
    q = 1000
    expires = None
    for name, value in address.params:
        if name == "q":
            q = _thousandths(value)
        elif name == "expires":
            expires = _HOUR if value is None else integer(value, _MAX_SECONDS)
            if expires is None:
                # "Malformed values SHOULD be treated as equivalent to 3600." (§10.2)
                expires = _HOUR
        else:
            params.append(f";{name}" if value is None else f";{name}={value}")
    instance = address.param("+sip.instance") or ""
    if instance[:10].lower() == "<urn:uuid:":
        # A UUID is written in either case (RFC 4122 §3).
        instance = instance.lower()
    # "If the registrar processes a Contact header field value with a reg-id but no
    # instance-id, it simply ignores the reg-id parameter." (RFC 5626 §6)
    reg_id = _reg_id(address) if instance else 0
    return _Offer(
        uri,
        str(uri),
        uri.key(),
        address.display,
        "".join(params),
        q,
        expires,
        instance,
        reg_id,
        len(text),
    )


_remembered: Final = remember(8192, each=1)(_read)


def _reg_id(address: NameAddr) -> int:
    text = address.param("reg-id")
    if text is None:
        return 0
    number = integer(text, _MAX_REG_ID + 1)
    if not number or number > _MAX_REG_ID:
        raise SIPError(400, text="reg-id is not a number from 1 to 2147483647")
    return number


def _thousandths(text: str | None) -> int:
    """A ``qvalue`` (RFC 3261 §25.1) in thousandths."""
    if text is None or not _is_qvalue(text):
        raise SIPError(400, text=f"q is not a number from 0 to 1 with three decimals: {text}"[:99])
    return round(float(text) * 1000)


@lru_cache(8)
def _date(now: int) -> str:
    return format_date(now)


def _written(binding: Binding) -> str:
    """The Contact value of a binding, up to the number of seconds."""
    text = f"<{binding.uri}>{binding.params}"
    if binding.display_name:
        text = f"{quote(binding.display_name)} {text}"
    if binding.q != 1000:
        text += f";q={binding.q / 1000:g}"
    return text + ";expires="
