"""What is published."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from mypy_extensions import mypyc_attr

from simplestack.state.row import Row

__all__ = ["Publication"]

_FIELDS: Final[dict[str, type]] = {
    "aor": str,
    "id": str,
    "package": str,
    "entity_tag": str,
    "publisher": str,
    "content_type": str,
    "body": bytes,
    "published_at": float,
    "expires_at": float,
}


@mypyc_attr(acyclic=True)
class Publication(Row):
    """Event state published with PUBLISH (RFC 3903)."""

    __slots__ = tuple(_FIELDS)

    fields: ClassVar[Mapping[str, type]] = _FIELDS

    def __init__(
        self,
        aor: str,
        #: Stays the same while the entity-tag changes with every PUBLISH.
        id: str,  # noqa: A002  # as the other records have it
        package: str,
        entity_tag: str,
        #: The authenticated identity that publishes.
        publisher: str,
        content_type: str,
        body: bytes,
        published_at: float,
        expires_at: float,
    ) -> None:
        self.aor = aor
        self.id = id
        self.package = package
        self.entity_tag = entity_tag
        self.publisher = publisher
        self.content_type = content_type
        self.body = body
        self.published_at = published_at
        self.expires_at = expires_at

    def row(self) -> tuple[Any, ...]:
        """The values of all fields in their order."""
        return (
            self.aor,
            self.id,
            self.package,
            self.entity_tag,
            self.publisher,
            self.content_type,
            self.body,
            self.published_at,
            self.expires_at,
        )
