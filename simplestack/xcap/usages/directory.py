"""What a user has stored: ``org.openmobilealliance.xcap-directory``."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from simplestack.documents.markup import DECLARATION, attribute
from simplestack.state import Document
from simplestack.xcap.usage import ApplicationUsage

__all__ = ["XCAPDirectory"]

_NAMESPACE: Final = "urn:oma:xml:xdm:xcap-directory"
_SAFE: Final = "/:@!$&'()*+,;=~"


class XCAPDirectory(ApplicationUsage):
    """The document ``directory.xml`` of each user, computed from his other documents."""

    auid = "org.openmobilealliance.xcap-directory"
    default_namespace = _NAMESPACE
    content_type = "application/vnd.oma.xcap-directory+xml"
    namespaces = (_NAMESPACE,)
    only = "directory.xml"

    def computed(
        self, owner: str, path: str, documents: Mapping[str, Document], root: str
    ) -> bytes | None:
        """A folder for each usage, an entry for each document."""
        if not owner or path != self.only:
            return None
        folders: dict[str, list[str]] = {}
        for document in sorted(documents.values()):
            uri = f"{root}/{quote(document.auid)}/users/{quote(owner, _SAFE)}/"
            modified = datetime.fromtimestamp(int(document.modified_at), UTC).isoformat()
            folders.setdefault(document.auid, []).append(
                f'<entry uri="{attribute(uri + quote(document.path, _SAFE))}"'
                f' etag="{attribute(document.entity_tag)}"'
                f' last-modified="{modified.replace("+00:00", "Z")}" size="{len(document.body)}"/>'
            )
        inner = "".join(
            [
                f'<folder auid="{attribute(auid)}">{"".join(entries)}</folder>'
                for auid, entries in folders.items()
            ]
        )
        return (
            f'{DECLARATION}<xcap-directory xmlns="{_NAMESPACE}">{inner}</xcap-directory>'
        ).encode()
