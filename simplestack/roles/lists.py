"""The resource list server as a role: one subscription to many resources (RFC 4662)."""

from collections.abc import Collection, Mapping
from typing import Final
from urllib.parse import urlsplit

from simplestack.documents.errors import DocumentError
from simplestack.documents.resourcelists import List, Service, parse_resource_lists
from simplestack.roles.packages import Packages
from simplestack.xcap.flatlist import ListLimits, target_of

__all__ = ["DOMAIN_USERS", "ResourceLists", "operator_service"]

#: How many references the list of one service may have.
_REFERENCES: Final = 100
#: What the operator writes before a domain in place of a document: all its users.
DOMAIN_USERS: Final = "domain:"


def operator_service(uri: str, document: bytes) -> Service:
    """The service of a list that the operator keeps, from a resource-lists document.

    ``domain:example.com`` in place of a document is all users of that domain.

    Raises ValueError, whose text says what is wrong.
    """
    if target_of(uri) is None:
        raise ValueError(f"{uri!r} is not the URI of a list; it looks like sip:team@example.com")
    if document.startswith(DOMAIN_USERS.encode()):
        return Service(uri, document.decode("utf-8", "replace").strip().lower())
    try:
        lists = parse_resource_lists(document)
    except DocumentError as error:
        raise ValueError(f"the list of {uri}: {error}") from None
    name = lists[0].display_name if len(lists) == 1 else None
    return Service(uri, None, List(None, name, lists))


class ResourceLists(Packages):
    """Serves lists: those of users' rls-services documents, those in SUBSCRIBE bodies, the operator's.

    Every event package that is served beside it can be asked for a list.  ``interval`` is the
    shortest time in seconds between two notifications of a list; ``max_entries`` the most entries
    of one list, those beyond it are left out; ``max_body`` the most octets of one NOTIFY body, 0
    for any number.  ``services`` are the operator's lists, which every user may watch.  ``root``
    is the XCAP root URI as clients see it.

    ``remote`` says whether resources of other domains are subscribed to, ``max_remote`` how many at
    the most; ``credentials`` are the user and password of this server at a domain that asks for
    them, and ``trusted`` the domains that are told whom it has authenticated (RFC 3325).
    ``external`` are the XCAP roots of other servers whose lists may be referred to.
    """

    name = "lists"
    #: Option tags that requests may require.
    extensions = ("eventlist", "recipient-list-subscribe")

    def __init__(
        self,
        *,
        interval: float = 1.0,
        max_entries: int = 500,
        max_body: int = 16_384,
        services: Mapping[str, bytes] | None = None,
        root: str = "",
        remote: bool = True,
        max_remote: int = 10_000,
        credentials: Mapping[str, tuple[str, str]] | None = None,
        trusted: Collection[str] = (),
        external: Collection[str] = (),
    ) -> None:
        super().__init__(())
        self.interval = interval
        self.max_body = max_body
        self.limits = ListLimits(max_entries, _REFERENCES)
        self.root = root
        self.remote = remote
        self.max_remote = max_remote
        #: User and password of this server at other domains.
        self.credentials: dict[str, tuple[str, str]] = dict(credentials or {})
        self.trusted = frozenset(trusted)
        for each in external:
            parts = urlsplit(each)
            if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path:
                raise ValueError(f"{each!r} is no XCAP root such as https://xcap.example.net/")
        self.external = tuple(external)
        made = [operator_service(uri, body) for uri, body in (services or {}).items()]
        #: The operator's lists by their AORs.
        self.services: dict[str, Service] = {target_of(each.uri) or "": each for each in made}
