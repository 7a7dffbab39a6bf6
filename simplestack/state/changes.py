"""Records of every kind, and the changes that are made to those of an AOR."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from mypy_extensions import mypyc_attr

from simplestack.state.binding import Binding
from simplestack.state.document import Absence, Document
from simplestack.state.publication import Publication
from simplestack.state.row import Row
from simplestack.state.subscription import Subscription

__all__ = [
    "RECORD_KINDS",
    "ChangeSet",
    "Kind",
    "Record",
    "Removed",
    "fields_of",
    "later_fields_of",
    "row_of",
]

Record: TypeAlias = Binding | Publication | Subscription | Document | Absence
Kind: TypeAlias = (
    type[Binding] | type[Publication] | type[Subscription] | type[Document] | type[Absence]
)
R = TypeVar("R", Binding, Publication, Subscription, Document, Absence)

#: Every kind of record, in a fixed order.  Each is one table whose key is ``(aor, id)``.
RECORD_KINDS: Final[tuple[Kind, ...]] = (Binding, Publication, Subscription, Document, Absence)


def fields_of(kind: Kind) -> Mapping[str, type]:
    """The fields of a kind of record in their order, with their types."""
    return kind.fields if issubclass(kind, Row) else kind.__annotations__


def later_fields_of(kind: Kind) -> Mapping[str, str]:
    """Those that came later, with what they are of the records that were there before them."""
    return kind.later if issubclass(kind, Row) else {}


def row_of(record: Record) -> Sequence[Any]:
    """The values of all fields of a record in their order."""
    return record.row() if isinstance(record, Row) else record


class Removed(NamedTuple):
    """The removal of a record, and why.

    ``reason`` is the event that the packages report: of a binding one of RFC 3680 §5.2.2
    (expired, unregistered, deactivated, rejected, probation), of a subscription the reason code
    of Subscription-State (RFC 6665 §4.1.3) or ``"timeout"`` on unsubscribing.
    ``silent`` removals send nothing to the subscriber: its dialog is gone.
    """

    record: Record
    reason: str
    retry_after: int | None = None
    silent: bool = False


@mypyc_attr(acyclic=True)
class ChangeSet:
    """What one turn changes of one AOR: ``(kind, id) → record | Removed``.

    The same object updates memory, the store and other nodes.  Later entries replace earlier ones.
    """

    __slots__ = ("aor", "entries")

    def __init__(self, aor: str, records: Iterable[Record] = ()) -> None:
        self.aor = aor
        self.entries: dict[tuple[Kind, str], Record | Removed] = {}
        for record in records:
            self.entries[type(record), record.id] = record

    def put(self, record: Record) -> None:
        """Create or replace a record."""
        self.entries[type(record), record.id] = record

    def remove(
        self,
        record: Record,
        reason: str,
        *,
        retry_after: int | None = None,
        silent: bool = False,
    ) -> None:
        """Remove a record; one that was never stored may be removed as well."""
        self.entries[type(record), record.id] = Removed(record, reason, retry_after, silent)

    def update(self, other: "ChangeSet") -> None:
        """Take over the entries of another change set of the same AOR."""
        self.entries.update(other.entries)

    def of(self, kind: type[R]) -> Iterator[R | Removed]:
        """The entries of one kind."""
        for (entry_kind, _), entry in self.entries.items():
            if entry_kind is kind:
                yield entry  # type: ignore[misc]  # the key says which kind the entry is

    def touches(self, kind: Kind) -> bool:
        """Whether any entry is of this kind."""
        return any(entry_kind is kind for entry_kind, _ in self.entries)

    def __bool__(self) -> bool:
        return bool(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ChangeSet):
            return NotImplemented
        return self.aor == other.aor and self.entries == other.entries

    def __hash__(self) -> int:
        raise TypeError("a ChangeSet is mutable")

    def __repr__(self) -> str:
        return f"ChangeSet({self.aor!r}, {list(self.entries.values())!r})"
