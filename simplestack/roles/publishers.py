"""Who may publish what of whose state: rules for publishers, written as rules for watchers are.

A rule is one of common policy (RFC 4745): its identity condition names publishers, its
transformations the components and elements of RFC 5025 §3.3 that they may publish.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final

from lxml import etree

from simplestack.documents import namespaces as ns
from simplestack.documents.commonpolicy import read_conditions
from simplestack.documents.errors import DocumentError
from simplestack.documents.pidf import Presence
from simplestack.documents.presrules import (
    MEDIA_TYPE,
    Condition,
    Identity,
    OtherCondition,
    Rule,
    Ruleset,
    parse_ruleset,
)
from simplestack.documents.schema import Schema
from simplestack.roles.rules import EVERYTHING, NOTHING, Permissions, combine, holds, permitted
from simplestack.sip.errors import SIPError
from simplestack.state import Document, ResourceState
from simplestack.xcap.usage import ApplicationUsage

__all__ = ["AUID", "NAMESPACE", "PublisherRules", "Publishers"]

AUID: Final = "simplestack-publishers"
NAMESPACE: Final = "urn:simplestack:publishers"
#: Where a user says who else publishes for him.
PUBLISHERS: Final = f"{AUID}/index"

_SELF: Final = f"{{{NAMESPACE}}}self"
_PRESENTITY: Final = f"{{{NAMESPACE}}}presentity"
_NO_RULES: Final = Ruleset()


class Publishers(ApplicationUsage):
    """The usage by which users say who publishes for them: one ruleset each."""

    auid = AUID
    default_namespace = ns.COMMON_POLICY
    content_type = MEDIA_TYPE
    namespaces = (ns.COMMON_POLICY, ns.PRES_RULES, NAMESPACE)
    schema = Schema("all-policy")
    root = f"{{{ns.COMMON_POLICY}}}ruleset"
    only = "index"

    def constrain(self, document: Document, root: Any, documents: Mapping[str, Document]) -> None:
        """See that the rules can be read; raises DocumentError."""
        parse_ruleset(document.body)


class PublisherRules:
    """Says what a publisher may say of a presentity.

    Without ``rules``, the operator's document, a user publishes all of his own state, and the
    identities in ``publishers`` all of anybody's; with it, everybody what it grants, and nothing
    by default.  A user's own document grants others what they may publish for him.  What is said
    beyond that is dropped, or where ``refuses`` the whole request is refused.

    Two conditions are ours, in ``urn:simplestack:publishers``: ``<self/>`` holds where the
    publisher is the presentity, ``<presentity>`` holds members of an identity (RFC 4745 §7.1) of
    which the presentity must be one.

    :raises DocumentError: where ``rules`` can't be read.
    """

    def __init__(
        self,
        rules: bytes | None = None,
        *,
        publishers: Collection[str] = (),
        refuses: bool = False,
    ) -> None:
        self.ruleset = None if rules is None else parse_ruleset(rules)
        self.publishers = frozenset(publishers)
        self.refuses = refuses

    def granted(self, state: ResourceState, publisher: str, now: float) -> Permissions:
        """What a publisher may say of the AOR; nothing to those who may not publish at all."""
        aor = state.aor
        own = publisher == aor
        if self.ruleset is None and (own or publisher in self.publishers):
            return EVERYTHING
        if not publisher:
            return NOTHING
        rules = _matching(self.ruleset, publisher, aor, now)
        if not own and state.documents:
            document = state.documents.get(PUBLISHERS)
            if document is not None:
                rules += _matching(_ruleset(document.body), publisher, aor, now)
        return combine([rule.transformations for rule in rules]) if rules else NOTHING

    def kept(self, presence: Presence, granted: Permissions) -> Presence:
        """What of a document is kept, whose publisher may say so much.

        :raises SIPError: 403 where anything is in it beyond that, and excess is refused.
        """
        kept = permitted(presence, granted)
        if self.refuses and kept != presence:
            raise SIPError(403, text=f"you may not publish {_excess(presence, kept)}")
        return kept


def _matching(ruleset: Ruleset | None, publisher: str, aor: str, now: float) -> list[Rule]:
    if ruleset is None:
        return []
    return [
        rule
        for rule in ruleset.rules
        if all(_holds(condition, publisher, aor, now) for condition in rule.conditions)
    ]


def _holds(condition: Condition, publisher: str, aor: str, now: float) -> bool:
    if isinstance(condition, OtherCondition):
        name = condition.element.name
        if name == _SELF:
            return publisher == aor
        if name == _PRESENTITY:
            return holds(_identity(condition), aor, None, now)
        return False
    return holds(condition, publisher, None, now)


@lru_cache(256)
def _identity(condition: OtherCondition) -> Identity:
    """The members of a ``<presentity>``, read as those of an ``<identity>``."""
    node = condition.element.tree()
    node.tag = f"{{{ns.COMMON_POLICY}}}identity"
    parent = etree.Element("conditions")
    parent.append(node)
    [identity] = read_conditions(parent)
    assert isinstance(identity, Identity)
    return identity


@lru_cache(256)
def _ruleset(body: bytes) -> Ruleset:
    try:
        return parse_ruleset(body)
    except DocumentError:
        return _NO_RULES


def _excess(presence: Presence, kept: Presence) -> str:
    """The names of what is in a document and not in what is kept of it."""
    found: set[str] = set()
    for kind in ("tuples", "persons", "devices"):
        left = {each.id: each for each in getattr(kept, kind)}
        for each in getattr(presence, kind):
            same = left.get(each.id)
            if same is None:
                found.add(kind)
                continue
            found |= {element.local for element in set(each.elements) - set(same.elements)}
            found |= {
                name.rstrip("_").replace("device_id", "deviceID")
                for name in ("notes", "class_", "device_id", "status")
                if getattr(each, name, None) != getattr(same, name, None)
            }
    if presence.notes != kept.notes:
        found.add("notes")
    if presence.extensions != kept.extensions:
        found |= {each.local for each in presence.extensions}
    return ", ".join(sorted(found))[:200]
