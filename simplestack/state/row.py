"""What the records have in common that there are the most of."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from mypy_extensions import mypyc_attr

__all__ = ["Row"]

R = TypeVar("R", bound="Row")


@mypyc_attr(acyclic=True)
class Row:
    """A record as it lies in the store: its fields, which do not change.

    It is no NamedTuple: as compiled code has it, it is made in a tenth of the time, numbers need no
    objects, and the collector of cycles does not look into it; there are the most of these.  It has
    those methods of a NamedTuple that are needed.
    """

    __slots__ = ()

    #: The fields in their order, with their types.
    fields: ClassVar[Mapping[str, type]] = {}
    #: What those fields that came later say of the records that were there before them.
    later: ClassVar[Mapping[str, str]] = {}

    def row(self) -> tuple[Any, ...]:
        """The values of all fields in their order."""
        raise NotImplementedError

    def _replace(self: R, **changes: Any) -> R:
        """The same with other values of some fields."""
        for name in changes:
            if name not in self.fields:
                raise ValueError(f"a {type(self).__name__} has no {name}")
        values = zip(self.fields, self.row(), strict=True)
        return type(self)(*[changes.get(name, value) for name, value in values])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and type(other) is type(self) and self.row() == other.row()

    def __hash__(self) -> int:
        return hash(self.row())

    def __repr__(self) -> str:
        said = [f"{name}={value!r}" for name, value in zip(self.fields, self.row(), strict=True)]
        return f"{type(self).__name__}({', '.join(said)})"
