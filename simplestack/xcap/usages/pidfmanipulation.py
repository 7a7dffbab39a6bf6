"""Presence that stays without a device: ``pidf-manipulation`` (RFC 4827)."""

from collections.abc import Mapping
from typing import Any

from simplestack.documents import namespaces as ns
from simplestack.documents.pidf import MEDIA_TYPE, read_presence
from simplestack.documents.schema import Schema
from simplestack.state import Document
from simplestack.xcap.usage import ApplicationUsage

__all__ = ["PIDFManipulation"]


class PIDFManipulation(ApplicationUsage):
    """One presence document for each user, which the presence agent composes with the others."""

    auid = "pidf-manipulation"
    default_namespace = ns.PIDF
    content_type = MEDIA_TYPE
    namespaces = (
        ns.PIDF,
        ns.DATA_MODEL,
        ns.RPID,
        ns.CIPID,
        ns.CAPS,
        ns.TIMED_STATUS,
    )
    schema = Schema("all-presence")
    root = f"{{{ns.PIDF}}}presence"
    #: "The XCAP server MUST store only a single XCAP manipulated presence document for each
    #: user … using filename "index"" (§9).
    only = "index"

    def constrain(self, document: Document, root: Any, documents: Mapping[str, Document]) -> None:
        """See that it can be composed; raises DocumentError.

        What the schemas let pass and RFC 3863 does not (§7) are empty URIs: of the presentity, or
        of a device.
        """
        read_presence(root)
