"""Migrations. Every part of the hub that owns tables has a package of versions. At the start, one process at a time runs those that the
database lacks.

Each module of such a package defines ``revision``, the name of the version; ``after``, the names of the versions that come before it, also
from other packages; and ``upgrade``, which gets a :class:`hub.storage.schema.Schema`.
"""

import asyncio
import fcntl
import hashlib
import importlib
import os
import pkgutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from hub import __version__
from hub.storage.backends import backend_of
from hub.storage.database import Database
from hub.storage.interface import Backend, Connection, StorageError
from hub.storage.schema import POSTGRESQL, SQLITE, UnknownVersionError, Version, newest, upgrade
from hub.storage.upgrade_copy import copy_before_upgrade

HUB: Final = ("hub.security.migrations", "hub.outbox.migrations")
"""The packages of the hub's own versions. A family names its package in ``Family.migrations``."""

_ADVISORY_LOCK: Final = int.from_bytes(hashlib.sha256(b"hub.storage.migrations").digest()[:8], "big", signed=True)


class NewerDatabaseError(StorageError):
    """A newer hub wrote the database."""


async def migrate(database: Database, packages: Sequence[str] = HUB) -> bool:
    """Bring the database to the newest version of every package. Returns whether the database is new and had no version yet. If several
    processes start at once, one of them does it and the others wait. All versions run in one transaction: if the process is killed, the
    database has either its old tables or the new ones. Before existing tables are changed, they are copied
    (:mod:`hub.storage.upgrade_copy`, :mod:`hub.storage.upgrade_copy_postgresql`).

    Raises:
        ModuleNotFoundError: a package does not exist.
        NewerDatabaseError: the database has a version that no package knows: it was written by a newer hub.
        StorageError: the database cannot be used, or a SQLite file cannot be copied.
    """
    return await asyncio.to_thread(_migrate, database, versions_of(packages))


def versions_of(packages: Sequence[str]) -> list[Version]:
    """The versions of packages.

    Raises:
        ModuleNotFoundError: a package does not exist.
    """
    found = []
    for package in packages:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            version = importlib.import_module(f"{package}.{module.name}")
            found.append(Version(version.revision, tuple(version.after), version.upgrade))
    return found


def unknown_versions(packages: Sequence[str], versions: Sequence[str]) -> list[str]:
    """The versions among those of a database that no package knows."""
    known = {version.name for version in versions_of(packages)}
    return [version for version in versions if version not in known]


def place_of(database: Database) -> str:
    """The place of a database, for people to read: the absolute path of its file, or its URL without the password."""
    return str(database) if database.path is None else str(database.path.absolute())


class _TableRecord:
    """A :class:`hub.storage.schema.Record` in a table, with the name and form of version 0.1.0, which used Alembic."""

    __slots__ = ("_catalogue",)

    def __init__(self, *, sqlite: bool) -> None:
        # used instead of CREATE TABLE IF NOT EXISTS, which PostgreSQL refuses to users who may not create tables, even if the table exists
        self._catalogue = (
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'"
            if sqlite
            else "SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL"
        )

    def read(self, connection: Connection) -> set[str]:
        """See :class:`hub.storage.schema.Record`."""
        if connection.execute(self._catalogue).fetchone() is None:
            return set()
        return {str(name) for (name,) in connection.execute("SELECT version_num FROM alembic_version").fetchall()}

    def write(self, connection: Connection, versions: Sequence[Version]) -> None:
        """See :class:`hub.storage.schema.Record`."""
        if connection.execute(self._catalogue).fetchone() is None:
            connection.execute(
                "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
            )
        connection.execute("DELETE FROM alembic_version")
        for name in newest(versions):
            connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (name,))


def _migrate(database: Database, versions: Sequence[Version]) -> bool:
    backend = backend_of(database, exclusive=False)
    lock = None if database.path is None else _lock(database.path)
    try:
        connection = backend.connect()
        try:
            return _upgrade(database, backend, connection, versions)
        except UnknownVersionError as error:
            raise NewerDatabaseError(f"{database.path or database} was written by a newer hub than {__version__}: {error}") from error
        except sqlite3.Error as error:
            raise StorageError(f"{database.path} cannot be brought up to date: {error}") from error
        except Exception as error:
            if not type(error).__module__.startswith("psycopg"):  # psycopg itself is not imported, since users of SQLite need not load it
                raise
            raise StorageError(f"{database} cannot be brought up to date: {error}") from error
        finally:
            connection.close()  # this rolls back a transaction that was not committed
    finally:
        backend.close()
        if lock is not None:
            lock.close()


def _upgrade(database: Database, backend: Backend, connection: Connection, versions: Sequence[Version]) -> bool:
    path = database.path
    connection.begin_writing()
    if path is None:
        # a lock of the transaction, not of the session: behind a pooler the next transaction may use another server connection
        connection.execute("SELECT pg_advisory_xact_lock(?)", (_ADVISORY_LOCK,))

    def copy() -> None:
        if path is None:
            from hub.storage.upgrade_copy_postgresql import copy_before_upgrade as copy_tables  # users of SQLite need not load it

            copy_tables(connection)
            return
        try:
            copy_before_upgrade(path)  # this connection holds the write lock, so that nobody else writes in the meantime
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{path} cannot be copied before its tables are changed: {error}") from error

    words = SQLITE if database.is_sqlite else POSTGRESQL
    is_new = upgrade(connection, words, versions, _TableRecord(sqlite=database.is_sqlite), copy)
    connection.execute("COMMIT")
    backend.check()  # otherwise the commit may have gone to a deleted file
    return is_new


def _lock(path: Path) -> IO[str]:
    """Lock a file beside the database; the lock ends with the process."""
    lock = os.fdopen(os.open(path.with_name(f"{path.name}.migrating"), os.O_CREAT | os.O_RDWR, 0o600), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
