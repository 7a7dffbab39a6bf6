"""What the server can do: ``xcap-caps`` (RFC 4825 §12)."""

from collections.abc import Mapping, Sequence

from simplestack.documents import namespaces as ns
from simplestack.documents.xcapcaps import MEDIA_TYPE, XcapCaps
from simplestack.interfaces import IApplicationUsage
from simplestack.state import Document
from simplestack.xcap.usage import ApplicationUsage

__all__ = ["XCAPCapabilities"]


class XCAPCapabilities(ApplicationUsage):
    """The document ``index`` of the global tree, computed from the usages that are loaded."""

    auid = "xcap-caps"
    default_namespace = ns.XCAP_CAPS
    content_type = MEDIA_TYPE
    namespaces = (ns.XCAP_CAPS, ns.XCAP_ERROR)
    only = "index"

    def __init__(self, usages: Sequence[IApplicationUsage] = ()) -> None:
        every = [*usages, self]
        self._document = XcapCaps(
            tuple(sorted({usage.auid for usage in every})),
            (),
            tuple(sorted({each for usage in every for each in usage.namespaces})),
        ).to_bytes()

    def authorize(self, owner: str, identity: str, method: str) -> bool:
        """Whoever is a user reads it; "There MUST NOT be an instance … in the user's tree"."""
        return not owner and method in ("GET", "HEAD")

    def computed(
        self, owner: str, path: str, documents: Mapping[str, Document], root: str
    ) -> bytes | None:
        """The capabilities."""
        return self._document if not owner and path == self.only else None
