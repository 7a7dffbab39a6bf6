"""The tables: one per kind of record, and what else the store keeps.

Columns follow from the fields of the records, so that a record is its row.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

from simplestack.interfaces import Credential
from simplestack.state import RECORD_KINDS, Kind, fields_of, later_fields_of

__all__ = ["CREDENTIAL", "METADATA", "RECORD_TABLES", "REMOVAL", "REVISION", "TRIAL"]

#: Compared as octets, wherever the cluster was made: quicker, and never a matter of locale.
_TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
_TYPES: dict[type, TypeEngine[Any]] = {
    str: _TEXT,
    int: BigInteger(),
    float: Double(),
    bytes: LargeBinary(),
}

METADATA = MetaData()


def _table(
    name: str,
    fields: Mapping[str, type],
    key: tuple[str, ...],
    *,
    rowid: bool,
    later: Mapping[str, str] | None = None,
) -> Table:
    """The table of some fields; those that came ``later`` have a default, for older rows."""
    defaults = later or {}
    return Table(
        name,
        METADATA,
        *(
            Column(field, _TYPES[type_], nullable=False, server_default=defaults.get(field))
            for field, type_ in fields.items()
        ),
        PrimaryKeyConstraint(*key),
        sqlite_with_rowid=rowid,
    )


#: The table of each kind of record; its key is ``(aor, id)``, which also clusters an AOR's rows.
RECORD_TABLES: dict[Kind, Table] = {
    kind: _table(
        kind.__name__.lower(),
        fields_of(kind),
        ("aor", "id"),
        rowid=True,
        later=later_fields_of(kind),
    )
    for kind in RECORD_KINDS
}

#: Users and their secrets.
CREDENTIAL = _table("credential", Credential.__annotations__, ("domain", "username"), rowid=False)

#: Numbers that say what has changed: of the schema (how many migrations it has seen) and of the
#: credentials (how often they were changed).
REVISION = Table(
    "revision",
    METADATA,
    Column("name", _TEXT, nullable=False),
    Column("value", BigInteger(), nullable=False),
    PrimaryKeyConstraint("name"),
    sqlite_with_rowid=False,
)

#: Users who were removed, with the revision of the credentials that removed them: a running
#: server learns from it whose state it has to end.
REMOVAL = Table(
    "removal",
    METADATA,
    Column("username", _TEXT, primary_key=True, nullable=False),
    Column("domain", _TEXT, primary_key=True, nullable=False),
    Column("revision", BigInteger(), nullable=False),
    sqlite_with_rowid=False,
)

#: Empty but for the moment in which a failed store tries whether it can write again.
TRIAL = Table("trial", METADATA, Column("data", LargeBinary(), nullable=False))
