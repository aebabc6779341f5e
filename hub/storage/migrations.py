"""Migrations: every part that owns tables brings a package of versions; all of them are run at start, by one process at a time.

A module of such a package has ``revision``, the version's name; ``after``, the names of the versions that come before it, also of other
packages; and ``upgrade``, which gets a :class:`hub.storage.schema.Schema`.
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
"""The hub's own versions; a family names its own in ``Family.migrations``."""

_ADVISORY_LOCK: Final = int.from_bytes(hashlib.sha256(b"hub.storage.migrations").digest()[:8], "big", signed=True)


class NewerDatabaseError(StorageError):
    """A newer hub wrote the database."""


async def migrate(database: Database, packages: Sequence[str] = HUB) -> bool:
    """Bring the database to the newest version of every package; returns whether it is a new one, which had none yet. Safe when several
    processes start at once: the others wait. All that is missing is done in one transaction: a process that is killed leaves the old
    tables or the new ones. What there was is copied before (:mod:`hub.storage.upgrade_copy`, :mod:`hub.storage.upgrade_copy_postgresql`).

    Raises:
        ModuleNotFoundError: a package that is not there.
        NewerDatabaseError: the database has a version that no package knows: it was written by a newer hub.
        StorageError: the database cannot be used, or a SQLite file cannot be copied.
    """
    return await asyncio.to_thread(_migrate, database, versions_of(packages))


def versions_of(packages: Sequence[str]) -> list[Version]:
    """The versions that packages bring.

    Raises:
        ModuleNotFoundError: a package that is not there.
    """
    found = []
    for package in packages:
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            version = importlib.import_module(f"{package}.{module.name}")
            found.append(Version(version.revision, tuple(version.after), version.upgrade))
    return found


def unknown_versions(packages: Sequence[str], versions: Sequence[str]) -> list[str]:
    """Those of a database's versions that no package knows."""
    known = {version.name for version in versions_of(packages)}
    return [version for version in versions if version not in known]


def place_of(database: Database) -> str:
    """Where a database is, for people: the whole path of its file, or its URL without the password."""
    return str(database) if database.path is None else str(database.path.absolute())


class _TableRecord:
    """:class:`hub.storage.schema.Record` in a table; its name and form are those of version 0.1.0, which used Alembic."""

    __slots__ = ("_catalogue",)

    def __init__(self, *, sqlite: bool) -> None:
        # asked first: who may not create tables on PostgreSQL may not ask for one that is there with IF NOT EXISTS either
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
            if not type(error).__module__.startswith("psycopg"):  # which SQLite's users need not load
                raise
            raise StorageError(f"{database} cannot be brought up to date: {error}") from error
        finally:
            connection.close()  # a transaction that was not committed ends with it
    finally:
        backend.close()
        if lock is not None:
            lock.close()


def _upgrade(database: Database, backend: Backend, connection: Connection, versions: Sequence[Version]) -> bool:
    path = database.path
    connection.begin_writing()
    if path is None:
        # of the transaction, which is that of all versions: behind a pooler the next one may be another server connection's
        connection.execute("SELECT pg_advisory_xact_lock(?)", (_ADVISORY_LOCK,))

    def copy() -> None:
        if path is None:
            from hub.storage.upgrade_copy_postgresql import copy_before_upgrade as copy_tables  # which SQLite's users need not load

            copy_tables(connection)
            return
        try:
            copy_before_upgrade(path)  # the connection holds the write lock: nobody else writes meanwhile
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"{path} cannot be copied before its tables are changed: {error}") from error

    words = SQLITE if database.is_sqlite else POSTGRESQL
    is_new = upgrade(connection, words, versions, _TableRecord(sqlite=database.is_sqlite), copy)
    connection.execute("COMMIT")
    backend.check()  # else what was committed is in a file that nobody will read
    return is_new


def _lock(path: Path) -> IO[str]:
    """Hold a lock file beside the database; a process that dies lets go of it."""
    lock = os.fdopen(os.open(path.with_name(f"{path.name}.migrating"), os.O_CREAT | os.O_RDWR, 0o600), "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
