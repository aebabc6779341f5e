"""Copies the tables of a hub's SQLite database into a PostgreSQL database (``hub migrate``, docs/scaling.md#from-one-node-to-several).

The source is only read, in one snapshot for all tables. Rows are copied in pieces; each piece is committed together with a note of how far
its table is, so a migration that was interrupted goes on where it stopped. The target must be empty, or hold a migration from this source.
"""

from __future__ import annotations

import graphlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.interface import Connection, StorageError
from hub.storage.migrations import versions_of
from hub.storage.schema import newest

PIECE: Final = 1_000
"""Rows of one transaction."""

PROGRESS: Final = "hub_migration"
"""The table in the target that says how far the migration is: ``name`` of a table, ``after`` the last row that was copied, ``done``."""

NOT_COPIED: Final = frozenset({"alembic_version", "event_streams", "event_records", "event_snapshots", "leases", PROGRESS})
"""The versions are the target's own; events are imported from ``events.db`` by the hub."""


class MigrationError(Exception):
    """The database cannot be migrated: what was expected, what came, and what to do."""


class Progress(NamedTuple):
    """How far the migration is."""

    table: str
    copied: int
    """Rows of the table that are in the target."""
    rows: int
    """Rows of the table."""


class Table(NamedTuple):
    """A table of the source."""

    name: str
    columns: tuple[str, ...]
    rows: int


def migrate_to_postgresql(
    source: Path, target: Database, packages: Sequence[str], report: Callable[[Progress], object], *, piece: int = PIECE
) -> Mapping[str, int]:
    """Copy every table. The target has its tables (:func:`hub.storage.migrations.migrate`). Returns the number of rows of each table.
    ``report`` is called after each piece of ``piece`` rows.

    Raises:
        MigrationError: the source has another version, or the target holds something else.
        StorageError: a database failed; the same call goes on later.
    """
    try:
        reader = sqlite3.connect(f"file:{source}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise StorageError(f"{source} cannot be opened: {error}") from error
    backend = backend_of(target)
    try:
        writer = backend.connect()
        try:
            reader.execute("BEGIN")
            _check_version(reader, source, packages)
            tables = _tables_of(reader)
            _begin(writer, target, source, reader)
            for table in tables:
                _copy(reader, writer, table, piece, report)
            return _finish(writer, tables)
        finally:
            writer.close()
    except (MigrationError, StorageError):
        raise
    except Exception as error:
        if not isinstance(error, sqlite3.Error) and not type(error).__module__.startswith("psycopg"):
            raise
        raise StorageError(f"the migration stopped: {error}") from error
    finally:
        reader.close()
        backend.close()


def _check_version(reader: sqlite3.Connection, source: Path, packages: Sequence[str]) -> None:
    try:
        present = {str(name) for (name,) in reader.execute("SELECT version_num FROM alembic_version")}
    except sqlite3.OperationalError:
        raise MigrationError(f"{source}: expected the database of a hub, got a file without its tables") from None
    expected = set(newest(versions_of(packages)))
    if present != expected:
        raise MigrationError(
            f"{source}: expected the version of this hub ({', '.join(sorted(expected))}), got {', '.join(sorted(present))}: start this "
            "version of the hub on the data folder once, and stop it, so that it brings its tables up to date"
        )


def _tables_of(reader: sqlite3.Connection) -> list[Table]:
    """The tables, each after those that it refers to."""
    names = [
        str(name)
        for (name,) in reader.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        if name not in NOT_COPIED
    ]
    refers = {name: {row[2] for row in reader.execute(f'PRAGMA foreign_key_list("{name}")')} - {name} for name in names}
    found = []
    for name in graphlib.TopologicalSorter(refers).static_order():
        columns = tuple(str(row[1]) for row in reader.execute(f'PRAGMA table_info("{name}")'))
        (rows,) = reader.execute(f'SELECT count(*) FROM "{name}"').fetchone()  # noqa: S608
        found.append(Table(name, columns, rows))
    return found


def _begin(writer: Connection, target: Database, source: Path, reader: sqlite3.Connection) -> None:
    """Make the note of progress, or check that it is of this source."""
    (identity,) = reader.execute("SELECT id FROM hub_identity").fetchone() or ("",)
    writer.begin_writing()
    (there,) = writer.execute("SELECT to_regclass(?) IS NOT NULL", (PROGRESS,)).fetchone()
    if there:
        (of,) = writer.execute(f"SELECT source FROM {PROGRESS} WHERE name = ''").fetchone()  # noqa: S608
        if of != identity:
            raise MigrationError(f"{target}: expected an empty database, or a migration of {source} that began, got one of another hub")
    else:
        (tenants,) = writer.execute("SELECT count(*) FROM tenants").fetchone()
        if tenants:
            raise MigrationError(f"{target}: expected an empty database, got one with {tenants} tenants: name a new one")
        writer.execute(
            f"CREATE TABLE {PROGRESS} (name TEXT PRIMARY KEY, source TEXT NOT NULL, after BIGINT NOT NULL, copied BIGINT NOT NULL,"
            " done BOOLEAN NOT NULL)"
        )
        writer.execute(f"INSERT INTO {PROGRESS} VALUES ('', ?, 0, 0, false)", (identity,))  # noqa: S608
    writer.execute("COMMIT")


def _copy(reader: sqlite3.Connection, writer: Connection, table: Table, piece: int, report: Callable[[Progress], object]) -> None:
    found = writer.execute(f"SELECT after, copied, done FROM {PROGRESS} WHERE name = ?", (table.name,)).fetchone()  # noqa: S608
    after, copied, done = found or (-(2**62), 0, False)
    columns = ", ".join(f'"{column}"' for column in table.columns)
    select = f'SELECT rowid, {columns} FROM "{table.name}" WHERE rowid > ? ORDER BY rowid LIMIT ?'  # noqa: S608
    places = ", ".join("?" for _ in table.columns)
    insert = f'INSERT INTO "{table.name}" ({columns}) OVERRIDING SYSTEM VALUE VALUES ({places})'  # noqa: S608
    while not done:
        rows = reader.execute(select, (after, piece)).fetchall()
        writer.begin_writing()
        if found is None:
            writer.execute(f'DELETE FROM "{table.name}"')  # noqa: S608  # what the migrations wrote into a new database
            writer.execute(f"INSERT INTO {PROGRESS} VALUES (?, '', ?, 0, false)", (table.name, after))  # noqa: S608
            found = (after, 0, False)
        for row in rows:
            writer.execute(insert, row[1:])
        if rows:
            after = rows[-1][0]
            copied += len(rows)
        done = len(rows) < piece
        writer.execute(f"UPDATE {PROGRESS} SET after = ?, copied = ?, done = ? WHERE name = ?", (after, copied, done, table.name))  # noqa: S608
        writer.execute("COMMIT")
        report(Progress(table.name, copied, table.rows))
    if copied != table.rows:
        raise MigrationError(
            f"{table.name}: expected {table.rows} rows, got {copied}: the source has changed since the migration began; stop the hub, and "
            "migrate into a new database"
        )


def _finish(writer: Connection, tables: Sequence[Table]) -> Mapping[str, int]:
    """Let the numbers of rows go on where the source's ended."""
    writer.begin_writing()
    for table in tables:
        for column in table.columns:
            (sequence,) = writer.execute("SELECT pg_get_serial_sequence(?, ?)", (table.name, column)).fetchone()
            if sequence is not None:
                writer.execute(
                    f'SELECT setval(?, greatest((SELECT max("{column}") FROM "{table.name}"), 1),'  # noqa: S608
                    f' EXISTS (SELECT 1 FROM "{table.name}"))',
                    (sequence,),
                )
    writer.execute(f"UPDATE {PROGRESS} SET done = true WHERE name = ''")  # noqa: S608
    writer.execute("COMMIT")
    return {table.name: table.rows for table in tables}
