"""How the schema came to be: an append-only list of steps, whose length is its version.

A new database goes through all of them, so that installing and upgrading end in the same schema.
A step is never changed once it was released.
"""

from collections.abc import Callable, Mapping, Sequence

from sqlalchemy.engine.interfaces import DBAPICursor

from simplestack.store.errors import StoreError

__all__ = ["MIGRATIONS", "migrate"]

_Statements = Sequence[str]
#: Each step is a list of statements; ``{text}`` and the other types are named per database.  A
#: mapping has the statements of each database that the step concerns.
Migration = _Statements | Mapping[str, _Statements]

_FIRST: _Statements = (
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
_CONDITIONS: _Statements = (
    "ALTER TABLE subscription ADD COLUMN accept_encoding {text} DEFAULT ''",
    "ALTER TABLE subscription ADD COLUMN suppress {text} DEFAULT ''",
)

#: XCAP documents whose removal somebody may not have been told.
_ABSENCES: _Statements = (
    """CREATE TABLE absence (
        aor {text}, id {text}, auid {text}, path {text}, entity_tag {text}, removed_at {real},
        expires_at {real}, PRIMARY KEY (aor, id)) {clustered}""",
)

#: Rows in the order of their arrival, with an index.  Where they stood in that of their keys, each
#: new row and each refresh wrote a page of its own to the log.
_IN_ORDER: Migration = {
    "sqlite": (
        "ALTER TABLE binding RENAME TO former_binding",
        """CREATE TABLE binding (
            aor {text}, id {text}, uri {text}, key {text}, display_name {text}, params {text},
            q {integer}, call_id {text}, cseq {integer}, expires_at {real}, registered_at {real},
            refreshed_at {real}, event {text}, path {text}, instance {text}, reg_id {integer},
            user_agent {text}, flow {text}, PRIMARY KEY (aor, id))""",
        "INSERT INTO binding SELECT * FROM former_binding",
        "DROP TABLE former_binding",
        "ALTER TABLE publication RENAME TO former_publication",
        """CREATE TABLE publication (
            aor {text}, id {text}, package {text}, entity_tag {text}, publisher {text},
            content_type {text}, body {octets}, published_at {real}, expires_at {real},
            PRIMARY KEY (aor, id))""",
        "INSERT INTO publication SELECT * FROM former_publication",
        "DROP TABLE former_publication",
        "ALTER TABLE subscription RENAME TO former_subscription",
        """CREATE TABLE subscription (
            aor {text}, id {text}, package {text}, status {text}, event {text}, watcher {text},
            display_name {text}, call_id {text}, local_tag {text}, remote_tag {text},
            local_uri {text}, remote_uri {text}, remote_target {text}, route_set {text},
            contact {text}, remote_cseq {integer}, cseq_reserved {integer}, event_id {text},
            event_params {text}, accept {text}, content_type {text}, body {octets},
            subscribed_at {real}, expires_at {real}, flow {text}, by_flow {integer},
            user_agent {text}, accept_encoding {text} DEFAULT '', suppress {text} DEFAULT '',
            PRIMARY KEY (aor, id))""",
        "INSERT INTO subscription SELECT * FROM former_subscription",
        "DROP TABLE former_subscription",
        "ALTER TABLE document RENAME TO former_document",
        """CREATE TABLE document (
            aor {text}, id {text}, auid {text}, path {text}, entity_tag {text},
            content_type {text}, body {octets}, modified_at {real}, PRIMARY KEY (aor, id))""",
        "INSERT INTO document SELECT * FROM former_document",
        "DROP TABLE former_document",
        "ALTER TABLE absence RENAME TO former_absence",
        """CREATE TABLE absence (
            aor {text}, id {text}, auid {text}, path {text}, entity_tag {text}, removed_at {real},
            expires_at {real}, PRIMARY KEY (aor, id))""",
        "INSERT INTO absence SELECT * FROM former_absence",
        "DROP TABLE former_absence",
    )
}

MIGRATIONS: Sequence[Migration] = (_FIRST, _CONDITIONS, _ABSENCES, _IN_ORDER)

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
        statements = migration.get(backend, ()) if isinstance(migration, Mapping) else migration
        for statement in statements:
            cursor.execute(statement.format_map(words))
    if version < len(migrations):
        cursor.execute(f"UPDATE revision SET value = {len(migrations)} WHERE name = 'schema'")
