"""Copies the tables of a PostgreSQL database into a separate schema before a newer hub changes them."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import structlog

from hub.storage.interface import Connection

SCHEMA: Final = "hub_before_upgrade"
"""The schema of the copy of a hub in the schema ``public``; that of another schema's hub has its name behind it. Each upgrade replaces the
copy of the upgrade before.
"""

_MAX_NAME_BYTES: Final = 63
"""PostgreSQL cuts longer names (section 4.1.1 of its manual)."""

_MAY_COPY: Final = (
    "SELECT has_database_privilege(current_database(), 'CREATE')"
    " AND NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = ? AND NOT pg_has_role(nspowner, 'USAGE'))"
)

_COPIED: Final = (
    "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = current_schema() AND c.relkind = 'r' AND pg_has_role(c.relowner, 'USAGE') AND c.relname ~ '^\\w+$'"
    " AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname !~ '^\\w+$')"
)
"""The tables that are copied. Tables of other owners are left out: an upgrade does not change them, and the user may be unable to read
them. The names of the hub's tables and columns have only letters, digits and underscores.
"""

_TABLES: Final = (
    "SELECT quote_ident(c.relname), string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_class c"  # noqa: S608
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''"
    f" WHERE c.oid IN ({_COPIED}) GROUP BY c.relname ORDER BY c.relname"
)
"""Rows of (table, its columns without those that the server computes)."""

_SEQUENCES: Final = (
    "SELECT quote_ident(s.relname), quote_ident(t.relname), quote_ident(a.attname) FROM pg_depend d"  # noqa: S608
    " JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S' AND s.relname ~ '^\\w+$' JOIN pg_class t ON t.oid = d.refobjid"
    " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid"
    " WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'"
    f" AND s.relnamespace = t.relnamespace AND t.oid IN ({_COPIED})"
)
"""The sequences that number the rows of tables, as rows of (sequence, table, column)."""

_FOREIGN_KEYS: Final = (
    "SELECT quote_ident(t.relname), quote_ident(k.conname), pg_get_constraintdef(k.oid) FROM pg_constraint k"  # noqa: S608
    " JOIN pg_class t ON t.oid = k.conrelid"
    f" WHERE k.contype = 'f' AND k.conname ~ '^\\w+$' AND k.conrelid IN ({_COPIED}) AND k.confrelid IN ({_COPIED})"
)

_log = structlog.get_logger(__name__)


def copy_schema(current: str) -> str:
    """The name of the schema for the copy of a hub in the schema ``current``: each hub of a database has one of its own."""
    name = SCHEMA if current == "public" else f"{SCHEMA}_{current}"
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    return f"{SCHEMA}_{hashlib.blake2b(current.encode(), digest_size=8).hexdigest()}"


def copy_before_upgrade(connection: Connection) -> bool:
    """Copy the tables of the current schema that belong to the hub's user, with rows, indexes, sequences and foreign keys, to
    :func:`copy_schema`, within the transaction of the upgrade. They are locked against writing until that transaction ends. If the user may
    not make a schema, or owns no table, this logs a warning and returns False.

    Raises:
        psycopg.Error: the copy cannot be made, for instance because the disk is full.
    """
    tables: list[tuple[str, str]] = connection.execute(_TABLES).fetchall()
    schema, current, path = _row(connection, "SELECT quote_ident(current_schema()), current_schema(), current_setting('search_path')")
    name = copy_schema(current)
    may_copy = _row(connection, _MAY_COPY, name)[0]
    if not tables or not may_copy:
        lacking = "owns no table" if may_copy else "may not make schemas"
        _log.warning("not_copied_before_upgrade", schema=name, advice=f"the user {lacking}: run pg_dump before an upgrade")
        return False
    (copy,) = _row(connection, "SELECT quote_ident(?)", name)
    sequences = connection.execute(_SEQUENCES).fetchall()
    foreign_keys = connection.execute(_FOREIGN_KEYS).fetchall()
    connection.execute(f"LOCK TABLE {', '.join(f'{schema}.{table}' for table, _ in tables)} IN SHARE MODE")
    connection.execute(f"DROP SCHEMA IF EXISTS {copy} CASCADE")
    connection.execute(f"CREATE SCHEMA {copy}")
    for table, columns in tables:
        connection.execute(f"CREATE TABLE {copy}.{table} (LIKE {schema}.{table} INCLUDING ALL)")
        # OVERRIDING: also copies columns whose numbers only the server may assign
        insert = f"INSERT INTO {copy}.{table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {schema}.{table}"  # noqa: S608
        connection.execute(insert)
    connection.execute("SELECT set_config('search_path', ?, true)", (copy,))  # the following statements name tables without a schema
    # the names in these statements were quoted by the server
    for sequence, table, column in sequences:
        (literal,) = _row(connection, "SELECT quote_literal(?)", f"{copy}.{sequence}")
        connection.execute(f"CREATE SEQUENCE {sequence} OWNED BY {table}.{column}")
        connection.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT nextval({literal})")
        connection.execute(f"SELECT setval({literal}, last_value, is_called) FROM {schema}.{sequence}")  # noqa: S608
    for table, key, definition in foreign_keys:
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {key} {definition}")
    connection.execute("SELECT set_config('search_path', ?, true)", (path,))
    _log.warning("copied_before_upgrade", schema=name, tables=len(tables))
    return True


def _row(connection: Connection, sql: str, *parameters: str) -> Any:
    return connection.execute(sql, parameters).fetchone()
