"""Back-end subscriptions of lists to resources of other domains (RFC 4662 §4.5, RFC 6665 §4.1)."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from simplestack.app.delivery import Ways
from simplestack.app.placing import domain_of
from simplestack.app.signing import IdentitySigner
from simplestack.event.lists import EntryState, terminated_entry
from simplestack.event.subscriber import Subscriber
from simplestack.net.identifiers import RandomIdentifiers
from simplestack.roles.lists import ResourceLists
from simplestack.sip.errors import SIPError
from simplestack.sip.message import Request, Response
from simplestack.sip.uri import Uri
from simplestack.transaction.client import Done
from simplestack.transaction.flow import Flow
from simplestack.transaction.layer import TransactionLayer
from simplestack.transaction.protection import Protection
from simplestack.transaction.server import ServerTransaction

__all__ = ["BackEnd"]

#: The user part of the Contact by which notifiers reach us.
CONTACT: Final = "lists"
#: SUBSCRIBE requests to one domain that may wait for their answers at the same time; one while
#: nobody there has answered lately.
_AT_ONCE: Final = 20
#: How often one SUBSCRIBE is sent: with credentials, by another flow, for a longer time.
_TRIES: Final = 5
#: Seconds before a domain where nobody answers is asked again: at first, and at the most.
_PAUSE: Final = 15.0
_LONGEST_PAUSE: Final = 600.0
#: How long a subscription that no list needs any more is kept, in seconds.
_LINGER: Final = 30.0
#: What Via and Contact add to a request, in octets.
_HEAD: Final = 250

Key = tuple[str, str, str, tuple[str, ...]]


class _Remote:
    """One subscription, and the lists that show it."""

    __slots__ = (
        "dialog",
        "domain",
        "key",
        "planned",
        "queued",
        "shown",
        "subscriber",
        "unused_at",
        "users",
    )

    def __init__(self, key: Key, subscriber: Subscriber, domain: "_Domain") -> None:
        self.key = key
        self.subscriber = subscriber
        self.domain = domain
        #: What the lists have been told.
        self.shown: EntryState | None = subscriber.entry
        #: Ids of what watches lists that have it.
        self.users: set[str] = set()
        self.unused_at: float | None = None
        #: When it is looked at next.
        self.planned: float | None = None
        #: Whether it waits for its turn in its domain.
        self.queued = False
        #: Call-ID and tag under which NOTIFYs for it are known.
        self.dialog: tuple[str, str] | None = None


class _Domain:
    """What is known of another domain: whether anybody answers there."""

    __slots__ = ("failures", "name", "queue", "running", "size", "until")

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0
        #: Until when nothing is sent there.
        self.until = 0.0
        self.running = 0
        self.queue: deque[_Remote] = deque()
        #: Subscriptions to it.
        self.size = 0

    @property
    def most(self) -> int:
        """How many requests may wait for their answers."""
        return 1 if self.failures else _AT_ONCE


class BackEnd:
    """Keeps one subscription for each resource, package and watcher, however many lists have it.

    SUBSCRIBE requests name the watcher in From, if he is of one of ``domains``, else this server;
    ``signer`` signs that (RFC 8224).  The server authenticates to domains that the operator has
    credentials for, and asserts the watcher's identity to those that trust it.
    Where nobody answers, or 503 is answered, the whole domain is left alone for a time.

    ``told(user, aor, state)`` is called with each change, for each list that shows the resource.
    ``clock`` is the wall clock, ``monotonic`` that of the transactions.
    """

    log = Logger()

    def __init__(
        self,
        role: ResourceLists,
        accept: Mapping[str, tuple[str, ...]],
        identifiers: RandomIdentifiers,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        told: Callable[[str, str, EntryState], None],
        domains: Sequence[str],
        signer: IdentitySigner | None = None,
    ) -> None:
        self._role = role
        self._accept = accept
        self._identifiers = identifiers
        self._clock = clock
        self._monotonic = monotonic
        self._told = told
        self._ours = domains
        self._signer = signer
        #: Set by the assembly.
        self.layer: TransactionLayer
        self.ways: Ways
        self._remotes: dict[Key, _Remote] = {}
        self._domains: dict[str, _Domain] = {}
        #: By Call-ID and our tag.
        self._dialogs: dict[tuple[str, str], _Remote] = {}
        self._times: list[tuple[float, int, _Remote]] = []
        self._serial = 0
        self._protections = {
            domain: Protection(user, password, identifiers)
            for domain, (user, password) in role.credentials.items()
        }

    def __len__(self) -> int:
        return len(self._remotes)

    # ------------------------------------------------------------------ what lists ask for

    def watch(
        self, user: str, aor: str, package: str, watcher: str, sealed: tuple[str, ...] = ()
    ) -> EntryState | None:
        """Show a resource in a list from now on; what is known of it, if anything.

        ``sealed`` are types of signed or encrypted bodies that the watcher takes beside the usual
        ones; they are passed on as they come.
        """
        accept = self._accept.get(package)
        if accept is None:
            # It is told in parts that add up to nothing a list could pass on.
            return terminated_entry("noresource")
        key = (aor, package, watcher, sealed)
        now = self._clock()
        remote = self._remotes.get(key)
        if remote is not None and remote.subscriber.leaving:
            self._forget(remote)
            remote = None
        if remote is None:
            if len(self._remotes) >= self._role.max_remote:
                return terminated_entry("probation")
            name = domain_of(aor)
            domain = self._domains.get(name)
            if domain is None:
                if len(self._domains) > self._role.max_remote:
                    self._domains = {
                        each.name: each for each in self._domains.values() if each.size
                    }
                domain = self._domains[name] = _Domain(name)
            domain.size += 1
            # "RLSes that are in a different domain than the subscriber on whose behalf they are
            # creating back-end subscriptions SHOULD subscribe to the resources using their own
            # identity" (RFC 4662 §7.1.2)
            known = domain_of(watcher) in self._ours
            sender = watcher if known else f"sip:{CONTACT}@{self._ours[0]}"
            subscriber = Subscriber(
                aor, package, sender, (*accept, *sealed), self._identifiers, now
            )
            remote = self._remotes[key] = _Remote(key, subscriber, domain)
        remote.users.add(user)
        remote.unused_at = None
        remote.subscriber.again(now)
        self._look(remote, now)
        return remote.shown

    def leave(
        self, user: str, aor: str, package: str, watcher: str, sealed: tuple[str, ...] = ()
    ) -> None:
        """A list shows a resource no more."""
        remote = self._remotes.get((aor, package, watcher, sealed))
        if remote is None:
            return
        remote.users.discard(user)
        if not remote.users:
            now = self._clock()
            remote.unused_at = now
            self._plan(remote, now + _LINGER)

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """Do what is due; called every second."""
        times = self._times
        while times and times[0][0] <= now:
            when, _, remote = heappop(times)
            if remote.planned == when:
                remote.planned = None
                self._look(remote, now)

    def _plan(self, remote: _Remote, when: float) -> None:
        if remote.planned is None or when < remote.planned:
            remote.planned = when
            self._serial += 1
            heappush(self._times, (when, self._serial, remote))

    def _look(self, remote: _Remote, now: float) -> None:
        """Do what a subscription has to do by now, and see to it that it is looked at again."""
        if self._remotes.get(remote.key) is not remote:
            return
        subscriber, domain = remote.subscriber, remote.domain
        unused = remote.unused_at
        if unused is not None and now >= unused + _LINGER and not subscriber.leaving:
            request = subscriber.leave(now)
            if request is not None:
                self._send(remote, request)
        elif subscriber.due is not None and subscriber.due <= now and not subscriber.leaving:
            if now < domain.until:
                subscriber.postpone(domain.until, now)
            elif domain.running >= domain.most:
                if not remote.queued:
                    remote.queued = True
                    domain.queue.append(remote)
                return
        request = subscriber.next(now)
        if request is not None:
            self._send(remote, request)
        self._follow(remote, now)

    def _follow(self, remote: _Remote, now: float) -> None:
        """Tell the lists what has changed; let go what is over."""
        subscriber = remote.subscriber
        if subscriber.over:
            self._forget(remote)
            return
        self._enter(remote)
        if subscriber.due is not None:
            self._plan(remote, subscriber.due)
        if remote.unused_at is not None and not subscriber.leaving:
            self._plan(remote, remote.unused_at + _LINGER)
        entry = subscriber.entry
        if entry is not None and entry != remote.shown:
            remote.shown = entry
            for user in list(remote.users):
                self._told(user, subscriber.aor, entry)

    def _enter(self, remote: _Remote) -> None:
        """Know the NOTIFYs that are for a subscription, and no others."""
        key = remote.subscriber.key
        if key != remote.dialog:
            if remote.dialog is not None:
                self._dialogs.pop(remote.dialog, None)
            if key is not None:
                self._dialogs[key] = remote
            remote.dialog = key

    def _forget(self, remote: _Remote) -> None:
        if self._remotes.get(remote.key) is not remote:
            return
        del self._remotes[remote.key]
        domain = remote.domain
        domain.size -= 1
        if not domain.size and self._clock() >= domain.until:
            self._domains.pop(domain.name, None)
        if remote.dialog is not None:
            self._dialogs.pop(remote.dialog, None)
            remote.dialog = None

    # ------------------------------------------------------------------ sending

    def _send(self, remote: _Remote, request: Request) -> None:
        self._enter(remote)
        remote.domain.running += 1
        sent = Deferred.fromCoroutine(self._exchange(remote, request))
        sent.addBoth(self._answered, remote, request)

    def _answered(self, result: object, remote: _Remote, request: Request) -> None:
        now = self._clock()
        domain, subscriber = remote.domain, remote.subscriber
        domain.running -= 1
        response = result if isinstance(result, Response) else None
        if response is None and result is not None:
            self.log.debug("no SUBSCRIBE to {aor}: {why}", aor=subscriber.aor, why=result)
        if response is None or response.status == 503:
            domain.failures += 1
            pause = min(_LONGEST_PAUSE, _PAUSE * 2.0 ** min(domain.failures - 1, 10))
            if response is not None:
                # "SHOULD NOT forward any other requests to that server for the duration
                # specified in the Retry-After header field" (RFC 3261 §21.5.4)
                pause = _asked(response) or pause
            domain.until = max(domain.until, now + pause)
        else:
            domain.failures = 0
        subscriber.answered(request, response, now)
        self._look(remote, now)
        while domain.queue and (now < domain.until or domain.running < domain.most):
            waiting = domain.queue.popleft()
            waiting.queued = False
            self._look(waiting, now)

    async def _exchange(self, remote: _Remote, request: Request) -> Response | None:
        """Send a SUBSCRIBE: by one flow after the other, with credentials where asked for."""
        hop = remote.subscriber.next_hop(request)
        protection = self._protections.get(remote.domain.name)
        if remote.domain.name in self._role.trusted:
            # RFC 3325 §9.1: whom the server has authenticated
            request.set("P-Asserted-Identity", f"<{remote.key[2]}>")
        tried: set[tuple[str, tuple[str, int]]] = set()
        nonces: set[str] = set()
        response: Response | None = None
        for remaining in reversed(range(_TRIES)):
            request.remove("Via")
            _authorize(request, protection)
            flow = await self._flow(hop, request)
            place = (flow.transport, flow.remote)
            if place in tried:
                break
            request.set("Contact", f"<{_contact(flow)}>")
            if self._signer is not None:
                self._signer.sign(request, self._clock())
            done: Deferred[Response | None] = Deferred()
            self.layer.start_request(request, flow, _fire(done), self._monotonic())
            response = await done
            if response is None or response.status == 503:
                # RFC 3263 §4.3: then the next server is tried.
                tried.add(place)
                self.ways.failed(flow)
            elif not _better(request, response, protection, nonces):
                break
            if remaining:
                cseq = request.cseq
                request.set("CSeq", f"{cseq.number + 1} {cseq.method}")
        return response

    async def _flow(self, hop: Uri, request: Request) -> Flow:
        size = len(request.to_bytes()) + _HEAD
        flow = self.ways.ready(hop, size)
        return await self.ways.flow_to(hop, size) if flow is None else flow

    # ------------------------------------------------------------------ what comes

    def notified(self, request: Request, transaction: ServerTransaction) -> None:
        """Take a NOTIFY.  Raises SIPError, which is its answer."""
        remote = self._dialogs.get((request.call_id, request.to.tag or ""))
        if remote is None:
            # "If ... no matching subscription, 481" (RFC 6665 §4.1.3)
            raise SIPError(481)
        now = self._clock()
        remote.subscriber.notified(request, now)
        transaction.respond(request.response(200), self._monotonic())
        self._look(remote, now)


def _asked(response: Response) -> float | None:
    try:
        value = response.retry_after
    except SIPError:
        return None
    return None if value is None else min(max(1.0, float(value.seconds)), 86400.0)


def _authorize(request: Request, protection: Protection | None) -> None:
    if protection is None:
        return
    for name, proxy in (("Authorization", False), ("Proxy-Authorization", True)):
        request.remove(name)
        for value in protection.authorization(
            request.method, request.uri, request.body, proxy=proxy
        ):
            request.add(name, value)


def _better(
    request: Request, response: Response, protection: Protection | None, nonces: set[str]
) -> bool:
    """Learn from a response; whether the request, as it is changed now, may do better."""
    try:
        if response.status in (401, 407) and protection is not None:
            return protection.challenged(response.challenges, nonces, proxy=response.status == 407)
        if response.status == 423:
            least, asked = response.min_expires, request.expires
            if least and asked and asked < least:
                request.set("Expires", str(least))
                return True
        if protection is not None:
            info = response.get("Authentication-Info")
            if info is not None:
                protection.informed(info)
    except SIPError:
        pass
    return False


def _contact(flow: Flow) -> Uri:
    host, port = flow.local
    params = () if flow.transport == "udp" else (("transport", flow.transport),)
    return Uri("sip", CONTACT, None, f"[{host}]" if ":" in host else host, port, params)


def _fire(done: "Deferred[Response | None]") -> Done:
    """What a transaction calls in the end, so that ``done`` fires."""
    return lambda response, _: done.callback(response)
