"""How the schema came to be: an append-only list of steps, whose length is its version.

A new database goes through all of them, so that installing and upgrading end in the same schema.
A step is never changed once it was released.
"""

from collections.abc import Callable, Sequence

from sqlalchemy.engine.interfaces import DBAPICursor

from simplestack.store.errors import StoreError

__all__ = ["MIGRATIONS", "migrate"]

#: Each step is a list of statements; ``{text}`` and the other types are named per database.
Migration = Sequence[str]

_FIRST: Migration = (
    """CREATE TABLE binding (
        aor {text}, id {text}, uri {text}, key {text}, display_name {text}, params {text},
        q {integer}, call_id {text}, cseq {integer}, expires_at {real}, registered_at {real},
        refreshed_at {real}, event {text}, path {text}, instance {text}, reg_id {integer},
        user_agent {text}, flow {text}, PRIMARY KEY (aor, id)) {clustered}""",
    """CREATE TABLE publication (
        aor {text}, id {text}, package {text}, entity_tag {text}, publisher {text},
        content_type {text}, body {octets}, published_at {real}, expires_at {real},
        PRIMARY KEY (aor, id)) {clustered}""",
    """CREATE TABLE subscription (
        aor {text}, id {text}, package {text}, status {text}, event {text}, watcher {text},
        display_name {text}, call_id {text}, local_tag {text}, remote_tag {text},
        local_uri {text}, remote_uri {text}, remote_target {text}, route_set {text},
        contact {text}, remote_cseq {integer}, cseq_reserved {integer}, event_id {text},
        event_params {text}, accept {text}, content_type {text}, body {octets},
        subscribed_at {real}, expires_at {real}, flow {text}, by_flow {integer},
        user_agent {text}, PRIMARY KEY (aor, id)) {clustered}""",
    """CREATE TABLE document (
        aor {text}, id {text}, auid {text}, path {text}, entity_tag {text},
        content_type {text}, body {octets}, modified_at {real},
        PRIMARY KEY (aor, id)) {clustered}""",
    """CREATE TABLE credential (
        username {text}, domain {text}, sha512_256 {text}, sha256 {text}, md5 {text},
        PRIMARY KEY (domain, username)) {clustered}""",
    """CREATE TABLE removal (
        username {text}, domain {text}, revision {integer}, PRIMARY KEY (username, domain))
        {clustered}""",
    "CREATE TABLE trial (data {octets})",
    "INSERT INTO revision VALUES ('credentials', 0)",
)

#: How a subscriber wants to be told: content codings, and what he has already (RFC 5839).
_CONDITIONS: Migration = (
    "ALTER TABLE subscription ADD COLUMN accept_encoding {text} DEFAULT ''",
    "ALTER TABLE subscription ADD COLUMN suppress {text} DEFAULT ''",
)

#: XCAP documents whose removal somebody may not have been told.
_ABSENCES: Migration = (
    """CREATE TABLE absence (
        aor {text}, id {text}, auid {text}, path {text}, entity_tag {text}, removed_at {real},
        expires_at {real}, PRIMARY KEY (aor, id)) {clustered}""",
)

MIGRATIONS: Sequence[Migration] = (_FIRST, _CONDITIONS, _ABSENCES)

_REVISION = "CREATE TABLE revision (name {text}, value {integer}, PRIMARY KEY (name)) {clustered}"

_WORDS = {
    "sqlite": {
        "text": "TEXT NOT NULL",
        "integer": "BIGINT NOT NULL",
        "real": "DOUBLE NOT NULL",
        "octets": "BLOB NOT NULL",
        "clustered": "WITHOUT ROWID",
    },
    "postgresql": {
        "text": 'TEXT COLLATE "C" NOT NULL',
        "integer": "BIGINT NOT NULL",
        "real": "DOUBLE PRECISION NOT NULL",
        "octets": "BYTEA NOT NULL",
        "clustered": "",
    },
}


def migrate(
    cursor: DBAPICursor,
    backend: str,
    exists: Callable[[], bool],
    migrations: Sequence[Migration] = MIGRATIONS,
) -> None:
    """Bring the database up to date, inside the transaction of the cursor.

    ``exists`` says whether the table ``revision`` is there.  Raises StoreError where the database
    was made by a newer simplestack.
    """
    words = _WORDS[backend]
    if exists():
        cursor.execute("SELECT value FROM revision WHERE name = 'schema'")
        row = cursor.fetchone()
        version = int(row[0]) if row else 0
    else:
        cursor.execute(_REVISION.format_map(words))
        cursor.execute("INSERT INTO revision VALUES ('schema', 0)")
        version = 0
    if version > len(migrations):
        raise StoreError(
            f"the database has schema version {version}, made by a newer simplestack than this "
            f"one, which knows up to {len(migrations)}: install the newer one, "
            "or restore a backup"
        )
    for migration in migrations[version:]:
        for statement in migration:
            cursor.execute(statement.format_map(words))
    if version < len(migrations):
        cursor.execute(f"UPDATE revision SET value = {len(migrations)} WHERE name = 'schema'")
