"""The tables of a PostgreSQL database as they were before a newer hub changed them, in a schema of their own."""

from __future__ import annotations

from typing import Any, Final

import structlog

from hub.storage.interface import Connection

SCHEMA: Final = "hub_before_upgrade"
"""Where the copy is; the copy before the last upgrade is replaced."""

_MAY_COPY: Final = (
    "SELECT has_database_privilege(current_database(), 'CREATE')"
    " AND NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = ? AND NOT pg_has_role(nspowner, 'USAGE'))"
)

_TABLES: Final = (
    "SELECT quote_ident(c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = current_schema() AND c.relkind = 'r' ORDER BY c.relname"
)

_SEQUENCES: Final = (
    "SELECT quote_ident(s.relname), quote_ident(t.relname), quote_ident(a.attname) FROM pg_depend d"
    " JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' JOIN pg_class t ON t.oid = d.refobjid"
    " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid JOIN pg_namespace n ON n.oid = t.relnamespace"
    " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a' AND n.nspname = current_schema()"
)
"""The sequences that number the rows of tables: (sequence, table, column)."""

_FOREIGN_KEYS: Final = (
    "SELECT quote_ident(t.relname), quote_ident(k.conname), pg_get_constraintdef(k.oid) FROM pg_constraint k"
    " JOIN pg_class t ON t.oid = k.conrelid JOIN pg_namespace n ON n.oid = t.relnamespace"
    " WHERE k.contype = 'f' AND n.nspname = current_schema()"
)

_log = structlog.get_logger(__name__)


def copy_before_upgrade(connection: Connection) -> bool:
    """Copy every table of the current schema, with rows, indexes, sequences and foreign keys, to :data:`SCHEMA`, within the transaction of
    the upgrade. Nobody writes to the tables until that ends. Returns False, and says so in the log, where the user may not make a schema.

    Raises:
        psycopg.Error: the copy cannot be made, for instance for want of room.
    """
    if not _row(connection, _MAY_COPY, SCHEMA)[0]:
        _log.warning("not_copied_before_upgrade", schema=SCHEMA, advice="the user may not make schemas: run pg_dump before an upgrade")
        return False
    schema, path = _row(connection, "SELECT quote_ident(current_schema()), current_setting('search_path')")
    tables: list[str] = [name for (name,) in connection.execute(_TABLES).fetchall()]
    sequences = connection.execute(_SEQUENCES).fetchall()
    foreign_keys = connection.execute(_FOREIGN_KEYS).fetchall()
    connection.execute(f"LOCK TABLE {', '.join(f'{schema}.{table}' for table in tables)} IN SHARE MODE")
    connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")
    connection.execute(f"CREATE SCHEMA {SCHEMA}")
    for table in tables:
        connection.execute(f"CREATE TABLE {SCHEMA}.{table} (LIKE {schema}.{table} INCLUDING ALL)")
        connection.execute(f"INSERT INTO {SCHEMA}.{table} SELECT * FROM {schema}.{table}")  # noqa: S608  quoted names
    connection.execute("SELECT set_config('search_path', ?, true)", (SCHEMA,))  # what follows names tables without a schema
    for sequence, table, column in sequences:
        connection.execute(f"CREATE SEQUENCE {sequence} OWNED BY {table}.{column}")
        connection.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT nextval('{SCHEMA}.{sequence}')")
        connection.execute(f"SELECT setval('{SCHEMA}.{sequence}', last_value, is_called) FROM {schema}.{sequence}")  # noqa: S608  quoted names
    for table, name, definition in foreign_keys:
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
    connection.execute("SELECT set_config('search_path', ?, true)", (path,))
    _log.warning("copied_before_upgrade", schema=SCHEMA, tables=len(tables))
    return True


def _row(connection: Connection, sql: str, *parameters: str) -> Any:
    return connection.execute(sql, parameters).fetchone()
