"""Entities: the versions of what a view shows, and their entity-tags (RFC 5839 §4)."""

from hashlib import blake2b
from typing import Final

from mypy_extensions import mypyc_attr

from simplestack.interfaces import Body

__all__ = ["ANYTHING", "Entity", "entity_tag", "suppresses"]

#: The Suppress-If-Match that holds whatever the entity is.
ANYTHING: Final = "*"


@mypyc_attr(acyclic=True)
class Entity:
    """One version of what a view shows: the full state, whichever part of it is sent.

    "With partial event notification … implementations MUST consider the full event state as the
    version of the entity to which the entity-tag in the NOTIFY message applies." (RFC 5839 §4)
    """

    __slots__ = ("body", "empty", "forms", "lasting", "raw", "tag")

    def __init__(
        self,
        body: Body,
        tag: str,
        raw: Body | None = None,
        empty: bool = False,
        lasting: str | None = None,
    ) -> None:
        self.body = body
        self.tag = tag
        #: The entity-tag that it has without what it tells once, and no later one does.
        self.lasting = tag if lasting is None else lasting
        #: What it was made of: the same, or more where the subscriber has a filter.
        self.raw = body if raw is None else raw
        #: Whether a filter has left nothing of it.
        self.empty = empty
        #: Its partial forms, by the entity-tag of what the subscriber has; "" is the whole.
        self.forms: dict[str, Body] | None = None


def entity_tag(content_type: str, content: bytes) -> str:
    """The entity-tag of full state.

    It is made from the state alone, so that whoever sees the same has the same tag, and has it
    again after a restart, in the next subscription, and from another server.
    """
    return blake2b(b"%b\n%b" % (content_type.encode(), content), digest_size=8).hexdigest()


def suppresses(condition: str, tag: str) -> bool:
    """Whether a Suppress-If-Match holds for the entity with this tag; "" is no condition."""
    return condition == ANYTHING or (condition == tag != "")
