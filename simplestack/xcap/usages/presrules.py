"""Presence authorization: ``pres-rules`` (RFC 5025 §9), and the same under OMA's name."""

from collections.abc import Mapping
from typing import Any

from simplestack.documents import namespaces as ns
from simplestack.documents.presrules import MEDIA_TYPE, read_ruleset
from simplestack.documents.schema import Schema
from simplestack.state import Document
from simplestack.xcap.usage import ApplicationUsage

__all__ = ["OMAPresRules", "PresRules"]


class PresRules(ApplicationUsage):
    """Presence authorization documents, by any name: the presence agent reads them all."""

    auid = "pres-rules"
    default_namespace = ns.PRES_RULES
    content_type = MEDIA_TYPE
    namespaces = (ns.PRES_RULES, ns.COMMON_POLICY)
    schema = Schema("all-policy")
    root = f"{{{ns.COMMON_POLICY}}}ruleset"

    def constrain(self, document: Document, root: Any, documents: Mapping[str, Document]) -> None:
        """See that the rules can be read; raises DocumentError.

        What the schema lets pass and RFC 4745 does not is a time without a zone (erratum 1455).
        """
        read_ruleset(root)


class OMAPresRules(PresRules):
    """The Presence XDM usage of the Open Mobile Alliance.

    Its documents are common policy with conditions of OMA's own, which pass the extension
    points of the IETF's schemas; the name is always ``pres-rules``.
    """

    auid = "org.openmobilealliance.pres-rules"
    default_namespace = ns.COMMON_POLICY
    namespaces = (ns.COMMON_POLICY, ns.PRES_RULES)
    only = "pres-rules"
