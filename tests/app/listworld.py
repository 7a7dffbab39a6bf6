"""Lists on the whole service, and subscribers that assemble what they are told (RFC 4662 §5.6)."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import NamedTuple

from simplestack.app.plugins import make_roles
from simplestack.app.settings import Settings
from simplestack.documents.multipart import Part, parse_multipart
from simplestack.documents.pidfdiff import MEDIA_TYPE as PARTIAL_TYPE
from simplestack.documents.pidfdiff import PidfFull, parse_pidf_diff, patch, presence_document
from simplestack.documents.rlmi import Rlmi, parse_rlmi
from simplestack.interfaces import IRole
from simplestack.roles.lists import ResourceLists
from simplestack.sip.message import Request, Response
from simplestack.state import ChangeSet, Document
from tests.app.world import EPOCH, Phone, StoringTurn, World

__all__ = [
    "ACCEPT",
    "ALICE",
    "FRIENDS",
    "ListWorld",
    "Row",
    "Table",
    "opened",
    "pidf",
    "resource_lists",
]

ALICE = "sip:alice@example.com"
FRIENDS = "sip:alice-friends@example.com"
ROOT = "http://xcap.example.com"
ACCEPT = "multipart/related, application/rlmi+xml, application/pidf+xml"


class Row(NamedTuple):
    """What a subscriber knows of a resource."""

    state: str
    reason: str
    body: bytes
    name: str


def opened(notify: Request) -> tuple[Rlmi, Mapping[str, Part]]:
    """The meta-information of a NOTIFY, and its parts by their ids."""
    media_type = notify.content_type
    assert media_type is not None and media_type.type == "multipart/related", media_type
    parameters = {name: (value or "").strip(chr(34)) for name, value in media_type.params}
    assert parameters["type"] == "application/rlmi+xml"
    root, *parts = parse_multipart(notify.body, parameters["boundary"])
    assert f"<{root.content_id}>" == parameters["start"]
    assert root.content_type.startswith("application/rlmi+xml")
    found = {part.content_id or "": part for part in parts}
    assert len(found) == len(parts)
    return parse_rlmi(root.body), found


class Table:
    """The table of RFC 4662 §5.6, made of the NOTIFYs of one subscription."""

    def __init__(self) -> None:
        self.rows: dict[str, Row | None] = {}
        self.version = -1
        #: Whether it knows that it has missed something.
        self.missed = False
        #: Of documents in parts, by URI: version and document; and how many of each kind came.
        self.versions: dict[str, int | None] = {}
        self.documents: dict[str, bytes] = {}
        self.wholes = self.steps = 0

    def take(self, notify: Request) -> Rlmi:
        """Take a NOTIFY."""
        assert notify.get("Require") == "eventlist"
        rlmi, parts = opened(notify)
        if rlmi.version <= self.version:
            return rlmi
        if rlmi.full_state:
            self.rows.clear()
            self.missed = False
        elif rlmi.version != self.version + 1:
            self.missed = True
        self.version = rlmi.version
        used = set()
        for resource in rlmi.resources:
            name = resource.names[0].text if resource.names else ""
            if not resource.instances:
                self.rows[resource.uri] = None
                continue
            (instance,) = resource.instances
            body = b""
            if instance.state == "active":
                assert instance.cid is not None
                used.add(instance.cid)
                part = parts[instance.cid]
                body = part.body
                if part.content_type == PARTIAL_TYPE:
                    body = self._whole(resource.uri, body)
            if instance.state == "terminated":
                assert instance.reason
            self.rows[resource.uri] = Row(instance.state, instance.reason or "", body, name)
        assert used == set(parts)
        return rlmi

    def _whole(self, uri: str, body: bytes) -> bytes:
        """The document that a partial one makes of what was there (RFC 5263 §5)."""
        update = parse_pidf_diff(body)
        version = update.version
        before = self.versions.get(uri)
        self.versions[uri] = version
        if isinstance(update, PidfFull):
            self.wholes += 1
            found = presence_document(body)
        else:
            self.steps += 1
            if self.missed:
                return b""
            assert before is not None and version == before + 1, (before, version)
            found = patch(self.documents[uri], update)
        self.documents[uri] = found
        return found

    def settled(self) -> dict[str, Row | None]:
        """The rows but for those of resources that are no more, which "MAY be removed" (§5.6.2)."""
        return {
            uri: row for uri, row in self.rows.items() if row is None or row.reason != "noresource"
        }


def resource_lists(*users: str, name: str = "friends", more: str = "") -> bytes:
    """A resource-lists document with one list."""
    entries = "".join(
        f'<entry uri="sip:{user}@example.com"><display-name>{user.title()}</display-name></entry>'
        for user in users
    )
    return (
        '<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">'
        f'<list name="{name}">{entries}{more}</list></resource-lists>'
    ).encode()


def pidf(user: str, note: str, basic: str = "open") -> bytes:
    """A presence document."""
    return (
        f'<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:{user}@example.com">'
        f'<tuple id="t"><status><basic>{basic}</basic></status><note>{note}</note></tuple>'
        "</presence>"
    ).encode()


class ListWorld(World):
    """A world with lists, in which everybody lets everybody watch."""

    def __init__(
        self,
        *users: str,
        handling: str = "allow",
        seed: int = 0,
        notify_interval: int = 0,
        identity_signing: str = "",
        **settings: object,
    ) -> None:
        self._list_settings = settings
        self._etags = count()
        names = users or ("alice", "bob", "carol", "dave")
        super().__init__(
            [f"{name}@example.com" for name in names],
            settings=Settings(
                domains=("example.com",),
                default_handling=handling,
                notify_interval=notify_interval,
                identity_signing=identity_signing,
                xcap_root=ROOT + "/",
            ),
            seed=seed,
        )

    def start_quietly(self, roles: Sequence[IRole] | None = None) -> None:
        """Make the service, with lists."""
        made = make_roles(self.settings) if roles is None else roles
        made = [role for role in made if role.name != "lists"]
        super().start_quietly([*made, ResourceLists(**self._list_settings)])  # type: ignore[arg-type]  # the keywords are the caller's to get right

    def put(self, auid: str, body: bytes | None, owner: str = ALICE, name: str = "index") -> None:
        """Store a document of a usage, or delete it."""
        document = Document(
            owner,
            f"{auid}/{name}",
            auid,
            name,
            f"doc{next(self._etags)}",
            f"application/{auid}+xml",
            body or b"",
            EPOCH + self.now,
        )
        changes = ChangeSet(owner, [document])
        if body is None:
            changes.remove(document, "deleted")
        self.core.turns.run(StoringTurn(owner, changes))
        self.run(0.0)

    def put_service(self, uri: str = FRIENDS, packages: str = "", owner: str = ALICE) -> None:
        """Make a service of the owner's list ``friends``."""
        self.put(
            "rls-services",
            (
                '<rls-services xmlns="urn:ietf:params:xml:ns:rls-services">'
                f'<service uri="{uri}"><resource-list>{ROOT}/resource-lists/users/{owner}/index/'
                "~~/resource-lists/list%5b@name=%22friends%22%5d</resource-list>"
                f"{packages}</service></rls-services>"
            ).encode(),
            owner,
        )

    def friends(self, *users: str, more: str = "") -> None:
        """Alice's list ``friends``."""
        self.put("resource-lists", resource_lists(*users, more=more))

    def publish(self, phone: Phone, note: str, etag: str = "", basic: str = "open") -> str:
        """Publish; the entity-tag."""
        headers = {"Event": ["presence"], "Content-Type": ["application/pidf+xml"]}
        if etag:
            headers["SIP-If-Match"] = [etag]
        response = phone.ask("PUBLISH", phone.aor, headers, pidf(phone.user, note, basic))
        assert response.status == 200, response
        return response.get("SIP-ETag") or ""

    def subscribe(
        self, phone: Phone, uri: str = FRIENDS, body: bytes = b"", **more: str
    ) -> Response:
        """Subscribe to a list."""
        headers = {"Event": ["presence"], "Supported": ["eventlist"], "Accept": [ACCEPT]}
        for name, value in more.items():
            headers[name.replace("_", "-")] = [value]
            if not value:
                del headers[name.replace("_", "-")]
        return phone.ask("SUBSCRIBE", uri, headers, body)
