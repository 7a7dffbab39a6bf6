"""Resource lists: ``resource-lists`` (RFC 4826 §3.4)."""

from collections.abc import Mapping
from typing import Any, Final

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.resourcelists import LISTS_MEDIA_TYPE, check_resource_lists
from simplestack.documents.schema import Schema
from simplestack.state import Document
from simplestack.xcap.errors import ConflictError
from simplestack.xcap.usage import ApplicationUsage

__all__ = ["ResourceLists"]

_PREFIXES: Final = {"rl": ns.RESOURCE_LISTS}
_URIS: Final = etree.XPath("//rl:entry/@uri", namespaces=_PREFIXES, smart_strings=False)
_NAMES: Final = etree.XPath("//rl:list/@name", namespaces=_PREFIXES, smart_strings=False)
_REFERENCES: Final = etree.XPath("boolean(//rl:entry-ref|//rl:external)", namespaces=_PREFIXES)


class ResourceLists(ApplicationUsage):
    """Lists of resources, by any name."""

    auid = "resource-lists"
    default_namespace = ns.RESOURCE_LISTS
    content_type = LISTS_MEDIA_TYPE
    namespaces = (
        ns.RESOURCE_LISTS,
        "urn:ietf:params:xml:ns:copycontrol",
        "urn:ietf:params:xml:ns:consent-status",
    )
    schema = Schema("all-lists")
    root = f"{{{ns.RESOURCE_LISTS}}}resource-lists"

    def constrain(self, document: Document, root: Any, documents: Mapping[str, Document]) -> None:
        """The constraints of RFC 4826 §3.4.5."""
        # What is unique in the whole document, as it mostly is, need not be looked at by parent.
        if not _REFERENCES(root) and _differ(_URIS(root)) and _differ(_NAMES(root)):
            return
        report = check_resource_lists(root)
        if report is not None:
            raise ConflictError(report)


def _differ(values: Any) -> bool:
    return len(set(values)) == len(values)
