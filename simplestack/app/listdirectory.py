"""Which lists there are, whose they are, and what they consist of (RFC 4826 §4.4.6)."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

from twisted.internet.defer import Deferred, inlineCallbacks

from simplestack.app.resident import Residents
from simplestack.app.serviceindex import LIST, RECIPIENTS, ServiceIndex, services_of
from simplestack.documents.resourcelists import Entry, List, Service
from simplestack.event.listbody import read_body
from simplestack.interfaces import IStore
from simplestack.roles.lists import DOMAIN_USERS, ResourceLists
from simplestack.sip.errors import SIPError
from simplestack.state import Document
from simplestack.xcap.flatlist import Evaluator, FlatList, flat_body, target_of
from simplestack.xcap.message import ELEMENT

__all__ = ["SERVICES", "ListDirectory"]

SERVICES: Final = "rls-services"
#: Seconds for which what another server has said holds, and how many such answers are kept.
_KEPT: Final = 60.0
_KEPT_MOST: Final = 1000


#: Services by their addresses, of documents that have been read.
_Read: TypeAlias = dict[tuple[str, str], dict[str | None, Service]]


class Fetcher(Protocol):
    """Gets documents from other servers; ``net.fetch.Fetcher`` is one."""

    def fetch(self, url: str, accept: str) -> "Deferred[bytes]":
        """The document; fails with an error whose text says why it can't be had."""


class _WantedError(Exception):
    """An AOR has to be loaded first."""

    def __init__(self, aor: str) -> None:
        super().__init__(aor)
        self.aor = aor


class _WantedRemoteError(Exception):
    """A list on another server has to be fetched first."""

    def __init__(self, anchor: str) -> None:
        super().__init__(anchor)
        self.anchor = anchor


class _WantedUsersError(Exception):
    """The users of a domain have to be looked up first."""

    def __init__(self, domain: str) -> None:
        super().__init__(domain)
        self.domain = domain


class ListDirectory:
    """Knows the services of users' documents and of the operator, and evaluates their lists.

    ``root`` is the XCAP root URI; ``domains`` are those whose users are here.
    """

    def __init__(
        self,
        role: ResourceLists,
        store: IStore,
        residents: Residents,
        domains: Sequence[str],
        root: str,
        clock: Callable[[], float],
        users: Callable[[str], "Deferred[list[str]]"],
    ) -> None:
        self.role = role
        self._clock = clock
        self._store = store
        self._residents = residents
        self._domains = domains
        self._root = root
        #: Which services there are.
        self.index = ServiceIndex(role.services)
        #: Fetches elements from other servers; the assembly sets it where that is wanted.
        self.fetcher: Fetcher | None = None
        #: What has been fetched, or why it could not be, and when.
        self._fetched: dict[str, tuple[float, bytes | str]] = {}
        #: The users of domains that the operator has lists of, and when they were looked up.
        self._members: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._enumerate = users

    def load(self) -> Deferred[Any] | None:
        """Read which services users have; None where that is known."""
        if self.index.loaded:
            return None
        found = cast("Deferred[list[Document]]", self._store.documents(SERVICES))
        return found.addCallback(self.index.learn)

    def check(self, aor: str, package: str, watcher: str) -> None:
        """See that a watcher may have this list.

        "only that user will be allowed to subscribe" (RFC 4662 §4.4), but to the operator's lists.

        Raises SIPError 403.
        """
        name = "sip:" + aor[len(LIST) :]
        if name in self.role.services or name[4:].startswith(RECIPIENTS):
            return
        place = self.index.place(name)
        if place is not None and place[0] != watcher:
            raise SIPError(403, text="this is another's list")

    def _fetch(self, aor: str, id_: str) -> Document | None:
        resident = self._residents.get(aor)
        if resident is None:
            raise _WantedError(aor)
        return resident.state.documents.get(id_)

    def _evaluate(self, aor: str, package: str, lenient: bool) -> FlatList | None:
        """What a list consists of; None where there is none.  Raises _WantedError, SIPError."""
        name = "sip:" + aor[len(LIST) :]
        service = self._operator(name)
        owner = ""
        sources: set[tuple[str, str]] = set()
        # A list may have thousands of entries that name services of one document.
        read: _Read = {}
        if service is None:
            if name[4:].startswith(RECIPIENTS):
                return self._recipients(aor)
            place = self.index.place(name)
            if place is None:
                return None
            owner = place[0] if place[0].startswith("sip:") else ""
            service = self._users(name, owner, sources, read)
            if service is None:
                return None
        if service.packages is not None and package not in service.packages:
            # "the request MUST be rejected with a 489" (RFC 4826 §4.5)
            offered = ", ".join(filter(None, service.packages))
            headers = [("Allow-Events", offered)] if offered else []
            raise SIPError(489, headers=headers, text=f"the list is for {offered or 'no package'}")
        evaluator = Evaluator(
            self._fetch,
            owner,
            root=self._root,
            domains=self._domains,
            limits=self.role.limits,
            fetch_remote=self._element,
            nested=lambda each: self._operator(each) or self._users(each, owner, sources, read),
            lenient=lenient,
        )
        flat = evaluator.evaluate(service)
        return flat._replace(sources=flat.sources | sources)

    def _operator(self, name: str) -> Service | None:
        """The operator's service of this name.  Raises _WantedUsersError."""
        service = self.role.services.get(name)
        if service is None or not (service.resource_list or "").startswith(DOMAIN_USERS):
            return service
        domain = (service.resource_list or "")[len(DOMAIN_USERS) :]
        kept = self._members.get(domain)
        if kept is None or kept[0] < self._clock() - _KEPT:
            raise _WantedUsersError(domain)
        entries = tuple([Entry(each) for each in kept[1]])
        return service._replace(resource_list=None, list=List(None, None, entries))

    def _users(
        self, name: str, owner: str, sources: set[tuple[str, str]], read: _Read
    ) -> Service | None:
        """A user's service of this name, if he is the owner.  Raises _WantedError."""
        place = self.index.place(name)
        if place is None or (owner and place[0] != owner):
            return None
        sources.add(place)
        services = read.get(place)
        if services is None:
            document = self._fetch(*place)
            found = () if document is None else services_of(document)
            services = read[place] = {target_of(each.uri): each for each in reversed(found)}
        return services.get(name)

    def _element(self, anchor: str) -> bytes:
        """What has been fetched from another server."""
        if (
            self.fetcher is None
            or not anchor.isascii()
            or not anchor.startswith(self.role.external)
        ):
            raise SIPError(502, text=f"{anchor[:200]} is on another server, which is not asked")
        kept = self._fetched.get(anchor)
        if kept is None or kept[0] < self._clock() - _KEPT:
            raise _WantedRemoteError(anchor)
        if isinstance(kept[1], str):
            raise SIPError(502, text=f"{anchor[:200]}: {kept[1]}")
        return kept[1]

    def _keep(self, what: bytes | str, anchor: str) -> None:
        if len(self._fetched) >= _KEPT_MOST:
            self._fetched.clear()
        self._fetched[anchor] = (self._clock(), what)

    def _recipients(self, aor: str) -> FlatList | None:
        resident = self._residents.get(aor)
        if resident is None:
            raise _WantedError(aor)
        for record in resident.state.subscriptions.values():
            found = read_body(record.content_type, record.body).recipients
            if found:
                return flat_body(found, self.role.limits)
        return None

    def resolve(self, aor: str, package: str, lenient: bool = False) -> "Deferred[FlatList | None]":
        """What a list consists of now.  Fails with SIPError 489, 502."""
        return cast("Deferred[FlatList | None]", self._resolve(aor, package, lenient))

    @inlineCallbacks
    def _resolve(self, aor: str, package: str, lenient: bool) -> Any:
        # Each round has one more AOR in memory; a user's list needs two.
        for _ in range(2 + self.role.limits.references):
            try:
                return self._evaluate(aor, package, lenient)
            except _WantedError as wanted:
                missing = wanted.aor
            except _WantedRemoteError as wanted_remote:
                anchor = wanted_remote.anchor
                assert self.fetcher is not None
                fetched = self.fetcher.fetch(anchor, ELEMENT)
                fetched.addErrback(lambda failure: failure.getErrorMessage())
                self._keep((yield fetched), anchor)
                continue
            except _WantedUsersError as wanted_users:
                found = yield self._enumerate(wanted_users.domain)
                self._members[wanted_users.domain] = (self._clock(), tuple(sorted(found)))
                continue
            yield self._residents.load(missing)
        raise SIPError(503, headers=[("Retry-After", "5")])
