"""A buddy list at an XCAP server: who is in it, and the service that can be subscribed to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from twisted.internet.defer import Deferred

from simplestack.client.account import Account, address_of_record
from simplestack.client.errors import ClientError, RefusedError
from simplestack.client.xcap import XCAPClient
from simplestack.documents import namespaces as ns
from simplestack.documents.errors import DocumentError
from simplestack.documents.markup import DECLARATION, attribute, text
from simplestack.documents.resourcelists import (
    LISTS_MEDIA_TYPE,
    SERVICES_MEDIA_TYPE,
    DisplayName,
    Entry,
    List,
    parse_resource_lists,
    parse_rls_services,
)
from simplestack.xcap.message import ELEMENT

__all__ = ["BuddyList"]

_LISTS: Final = "resource-lists"
_SERVICES: Final = "rls-services"
#: How often an edit is made anew because somebody else came first.
_TRIES: Final = 5
#: What the server says where what was read is no longer so: the document has changed, or what an
#: element was to be put into is gone.
_OVERTAKEN: Final = frozenset({404, 409, 412})


class _Edit(NamedTuple):
    """What is to be written at a path below the root; None removes it."""

    path: str
    body: str | None
    content_type: str = ELEMENT


class BuddyList:
    """One list of an account: a ``<list>`` in ``resource-lists``, a ``<service>`` in ``rls-services``.

    Elements are written one by one (RFC 4825 §7.4), so that what others keep in the same documents
    stays as it is; where somebody else came first, it is looked at again.  Methods fail with
    ClientError.  Raises ValueError where the name can't be in a SIP URI.
    """

    def __init__(self, client: XCAPClient, account: Account, name: str = "buddies") -> None:
        self.name = name
        #: What a SUBSCRIBE to the list is sent to.
        self.uri = f"sip:{account.user}-{name}@{account.domain}"
        try:
            address_of_record(self.uri)
        except ValueError:
            name = ""
        if not name:
            raise ValueError(
                f"a list can't be called {self.name!r}: its address would be {self.uri!r}"
            )
        self._client = client
        self._list = f'{_LISTS}/index~~/resource-lists/list[@name="{_value(name)}"]'

    def entries(self) -> Deferred[tuple[Entry, ...]]:
        """Everybody in the list, in its order; nobody where there is no list."""
        return Deferred.fromCoroutine(self._entries())

    def add(self, buddy: str, display_name: str = "") -> Deferred[bool]:
        """Put a user into the list, and see that there is a service for it.

        The result is False where he was there already by this name.
        """
        return Deferred.fromCoroutine(self._add(address_of_record(buddy), display_name))

    def remove(self, buddy: str) -> Deferred[bool]:
        """Take a user out of the list; the result is False where he was not in it."""
        aor = address_of_record(buddy)
        return self._edit(_LISTS, lambda body: self._removal(_lists(body), aor))

    async def _entries(self) -> tuple[Entry, ...]:
        fetched = await self._client.get(self._client.document(_LISTS))
        found = _named(_lists(None if fetched is None else fetched.body), self.name)
        return () if found is None else _entries(found)

    async def _add(self, aor: str, display_name: str) -> bool:
        added = await self._edit(
            _LISTS, lambda body: self._addition(body, _lists(body), aor, display_name)
        )
        await self._edit(_SERVICES, self._service)
        return added

    def _addition(
        self, body: bytes | None, lists: tuple[List, ...], aor: str, display_name: str
    ) -> _Edit | None:
        name = DisplayName(display_name) if display_name else None
        mine = _named(lists, self.name)
        if mine is None:
            inner = f'<list name="{attribute(self.name)}">{_entry(aor, name)}</list>'
            if body is not None:
                return _Edit(self._list, _declared(inner, "list", ns.RESOURCE_LISTS))
            whole = f'<resource-lists xmlns="{ns.RESOURCE_LISTS}">{inner}</resource-lists>'
            return _Edit(f"{_LISTS}/index", DECLARATION + whole, LISTS_MEDIA_TYPE)
        uri = aor
        for entry in _entries(mine):
            if _aor(entry.uri) == aor:
                if name is None or entry.display_name == name:
                    return None
                uri = entry.uri
        written = _declared(_entry(uri, name), "entry", ns.RESOURCE_LISTS)
        return _Edit(f'{self._list}/entry[@uri="{_value(uri)}"]', written)

    def _removal(self, lists: tuple[List, ...], aor: str) -> _Edit | None:
        mine = _named(lists, self.name)
        for item in () if mine is None else mine.items:
            if isinstance(item, Entry) and _aor(item.uri) == aor:
                return _Edit(f'{self._list}/entry[@uri="{_value(item.uri)}"]', None)
        return None

    def _service(self, body: bytes | None) -> _Edit | None:
        try:
            services = () if body is None else parse_rls_services(body)
        except DocumentError as error:
            raise ClientError(f"the services can't be read: {error}") from None
        if any(each.uri == self.uri for each in services):
            return None
        reference = self._client.resource(self._list)
        inner = (
            f'<service uri="{attribute(self.uri)}">'
            f"<resource-list>{text(reference)}</resource-list>"
            "<packages><package>presence</package></packages></service>"
        )
        if body is not None:
            path = f'{_SERVICES}/index~~/rls-services/service[@uri="{_value(self.uri)}"]'
            return _Edit(path, _declared(inner, "service", ns.RLS_SERVICES))
        whole = f'<rls-services xmlns="{ns.RLS_SERVICES}">{inner}</rls-services>'
        return _Edit(f"{_SERVICES}/index", DECLARATION + whole, SERVICES_MEDIA_TYPE)

    def _edit(self, auid: str, decide: Callable[[bytes | None], _Edit | None]) -> Deferred[bool]:
        """Make the edit that ``decide`` finds in the document as it is; whether there was any."""
        return Deferred.fromCoroutine(self._edited(auid, decide))

    async def _edited(self, auid: str, decide: Callable[[bytes | None], _Edit | None]) -> bool:
        client = self._client
        for remaining in reversed(range(_TRIES)):
            fetched = await client.get(client.document(auid))
            edit = decide(None if fetched is None else fetched.body)
            if edit is None:
                return False
            etag = "" if fetched is None else fetched.etag
            url = client.resource(edit.path)
            try:
                if edit.body is None:
                    await client.delete(url, match=etag)
                else:
                    await client.put(url, edit.body.encode(), edit.content_type, match=etag)
            except RefusedError as error:
                if error.status not in _OVERTAKEN or not remaining:
                    raise
                if error.status == 409 and error.detail:
                    # The server has said what is wrong with it.
                    raise
            else:
                return True
        raise ClientError("others changed the document at the same time")


def _lists(body: bytes | None) -> tuple[List, ...]:
    try:
        return () if body is None else parse_resource_lists(body)
    except DocumentError as error:
        raise ClientError(f"the lists can't be read: {error}") from None


def _named(lists: tuple[List, ...], name: str) -> List | None:
    return next((each for each in lists if each.name == name), None)


def _entries(list_: List) -> tuple[Entry, ...]:
    return tuple([item for item in list_.items if isinstance(item, Entry)])


def _aor(uri: str) -> str:
    try:
        return address_of_record(uri)
    except ValueError:
        return uri


def _entry(uri: str, name: DisplayName | None) -> str:
    inner = "" if name is None else f"<display-name>{text(name.text)}</display-name>"
    return f'<entry uri="{attribute(uri)}">{inner}</entry>'


def _declared(element: str, name: str, namespace: str) -> str:
    """An element with its namespace, whatever prefixes the document around it has."""
    return element.replace(f"<{name}", f'<{name} xmlns="{namespace}"', 1)


def _value(literal: str) -> str:
    """A value in a predicate, as ``XCAPClient.resource`` takes it (RFC 4825 §6.3)."""
    return attribute(literal).replace("%", "%25")
