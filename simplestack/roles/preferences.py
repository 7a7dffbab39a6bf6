"""What a user has chosen for himself: his preferences document, and the usage that keeps it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from lxml import etree

from simplestack.documents.errors import DocumentError
from simplestack.documents.schema import Schema
from simplestack.documents.xml import parse_content, required
from simplestack.interfaces import ICompositionPolicy
from simplestack.state import Document
from simplestack.xcap.usage import ApplicationUsage

__all__ = ["AUID", "MEDIA_TYPE", "NAMESPACE", "PREFERENCES", "Preferences", "composition_of"]

AUID: Final = "simplestack-preferences"
NAMESPACE: Final = "urn:simplestack:preferences"
MEDIA_TYPE: Final = "application/vnd.simplestack.preferences+xml"

#: The id of the one document of each user.
PREFERENCES: Final = f"{AUID}/index"

_ROOT: Final = f"{{{NAMESPACE}}}preferences"
_COMPOSITION: Final = f"{{{NAMESPACE}}}composition"


class Preferences(ApplicationUsage):
    """The preferences of each user, a document of ours that he alone reads and writes.

    ``policies`` are those that a user may choose; a document that names another one, or gives one
    what it can't use, is refused.  Without policies any name passes.
    """

    auid = AUID
    default_namespace = NAMESPACE
    content_type = MEDIA_TYPE
    namespaces = (NAMESPACE,)
    schema = Schema("preferences")
    root = _ROOT
    only = "index"

    def __init__(self, policies: Mapping[str, ICompositionPolicy] | None = None) -> None:
        self.policies = policies

    def constrain(self, document: Document, root: Any, documents: Mapping[str, Document]) -> None:
        """See that the composition that is chosen can be used; raises DocumentError."""
        chosen = root.find(_COMPOSITION)
        if chosen is not None and self.policies is not None:
            configure(chosen, self.policies)


def configure(
    chosen: etree._Element, policies: Mapping[str, ICompositionPolicy]
) -> ICompositionPolicy:
    """The policy that a ``<composition>`` asks for.

    :raises DocumentError: where there is none of this name, or it can't use the element.
    """
    name = required(chosen, "policy")
    policy = policies.get(name)
    if policy is None:
        raise DocumentError(
            f"there is no composition policy {name[:40]!r}; there are {', '.join(sorted(policies))}"
        )
    configured: ICompositionPolicy = policy.configured(chosen)
    return configured


def composition_of(
    document: Document, policies: Mapping[str, ICompositionPolicy]
) -> ICompositionPolicy | None:
    """The policy that a preferences document asks for; None where it asks for none that there is."""
    chosen = _chosen(document.body)
    if chosen is None:
        return None
    try:
        return configure(chosen, policies)
    except DocumentError:
        # Put before a plug-in went away: then the user has what everybody has.
        return None


@lru_cache(256)
def _chosen(body: bytes) -> etree._Element | None:
    try:
        return parse_content(body).find(_COMPOSITION)
    except DocumentError:
        return None
